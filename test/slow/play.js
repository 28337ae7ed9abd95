// play.js - docs/play/ as make wasm built it: both programs in node, the page in a browser.
//
//     node test/slow/play.js node [more | more-simd]   trains by the recipe: the hash of hash.txt?
//     node test/slow/play.js page [FOLDER]             in Chromium without a window, the page served
//                                                      from here: Train, Stop, Train, Score; pictures
//                                                      light, dark and narrow into FOLDER, if given
// Environment: CHROMIUM (chromium); OUT (docs/play), where they are.  It takes minutes.  The last
// line is "N passed, N failed".
'use strict';
const fs = require('fs'), http = require('http'), path = require('path');
const {spawn} = require('child_process');
const folder = path.resolve(process.env.OUT || path.join(__dirname, '../../docs/play'));
const text = name => fs.readFileSync(path.join(folder, name), 'utf8').trim();
let passed = 0, failed = 0;

function check(sentence, right, what) {
  console.log((right ? 'ok     ' : 'FAILED ') + sentence + (right ? '' : ': ' + what));
  if (right) passed++;
  else failed++;
}

// ------------------------------------------------------------------------------------------- node

async function train(name) {
  const More = require(path.join(folder, 'more.js')), out = [], said = [];
  const program = new WebAssembly.Module(fs.readFileSync(path.join(folder, name + '.wasm')));
  const words = text('recipe.txt').split(/\s+/);
  const more = await More({
    instantiateWasm: (imports, done) => {
      WebAssembly.instantiate(program, imports).then(done);
      return {};
    },
    print: line => out.push(line), printErr: line => said.push(line),
    quit: (status, end) => { throw end; },
  });
  more.FS.mkdir('/base');
  for (const file of fs.readdirSync(path.join(folder, 'base'))) {
    more.FS.writeFile('/base/' + file, fs.readFileSync(path.join(folder, 'base', file)));
  }
  for (const file of words.filter(word => word.endsWith('.jsonl'))) {
    more.FS.writeFile('/' + file, fs.readFileSync(path.join(folder, file)));
  }
  const began = process.cpuUsage().user, code = more.callMain([...words, '--out', 'run', '--quiet']);
  console.log(`${name}: ${((process.cpuUsage().user - began) / 1e6).toFixed(1)} s of processor time`);
  check(name + '_has_the_native_hash', code === 0 && out.join().includes(text('hash.txt')),
    `exit code ${code}: ${out.concat(said).pop()}`);
}

// ---------------------------------------------------------------------------------------- the page

// a plain file server
function serve() {
  const types = {'.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm'};
  const server = http.createServer((request, answer) => {
    const url = new URL(request.url, 'http://localhost'), name = url.pathname.replace(/\/$/, '/index.html');
    fs.readFile(path.join(folder, path.normalize(name)), (error, data) => {
      answer.writeHead(error ? 404 : 200, {'Content-Type': types[path.extname(name)] || 'text/plain'});
      answer.end(data);
    });
  });
  return new Promise(done => server.listen(0, '127.0.0.1', () => done(server)));
}

// Chromium's protocol over a pipe: messages of JSON that end with a zero
async function browser() {
  const home = fs.mkdtempSync(path.join(require('os').tmpdir(), 'more-play-'));
  const child = spawn(process.env.CHROMIUM || 'chromium', ['--headless=new', '--no-sandbox',
    '--disable-gpu', '--disable-dev-shm-usage', '--remote-debugging-pipe', '--user-data-dir=' + home],
  {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
  const waiting = new Map(), complaints = [];
  let count = 0, rest = '', session;
  child.stdio[4].on('data', data => {
    const messages = (rest + data).split('\0');
    rest = messages.pop();
    for (const message of messages.map(m => JSON.parse(m))) {
      const done = waiting.get(message.id);
      if (done) done(message.result || message);
      else if (message.method === 'Runtime.exceptionThrown') complaints.push(message.params);
      else if (message.method === 'Log.entryAdded') complaints.push(message.params.entry);
      else if (message.method === 'Runtime.consoleAPICalled') complaints.push(message.params);
    }
  });
  const send = (method, params = {}) => new Promise(done => {
    waiting.set(++count, done);
    child.stdio[3].write(JSON.stringify({id: count, method, params, sessionId: session}) + '\0');
  });
  const {targetId} = await send('Target.createTarget', {url: 'about:blank'});
  session = (await send('Target.attachToTarget', {targetId, flatten: true})).sessionId;
  for (const domain of ['Page', 'Runtime', 'Log']) await send(domain + '.enable');
  const value = async expression => (await send('Runtime.evaluate', {expression})).result.value;
  const until = async (expression, seconds) => {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
      if (await value(expression)) return true;
      await new Promise(done => setTimeout(done, 1000));
    }
    return false;
  };
  const close = async () => {
    await new Promise(done => child.on('exit', done) && child.kill());
    fs.rmSync(home, {recursive: true, force: true, maxRetries: 9});
  };
  return {send, value, until, close, complaints};
}

async function look(page, pictures, name, width, scheme) {
  if (!pictures) return;
  await page.send('Emulation.setEmulatedMedia',
    {features: [{name: 'prefers-color-scheme', value: scheme}]});
  await page.send('Emulation.setDeviceMetricsOverride',
    {width, height: 900, deviceScaleFactor: 1, mobile: width < 500});
  const {data} = await page.send('Page.captureScreenshot', {captureBeyondViewport: true});
  fs.mkdirSync(pictures, {recursive: true});
  fs.writeFileSync(path.join(pictures, name + '.png'), Buffer.from(data, 'base64'));
}

async function test_page(pictures) {
  const server = await serve(), page = await browser();
  const shows = id => page.value(`document.getElementById('${id}').textContent`);
  const press = id => page.value(`document.getElementById('${id}').click()`);
  await page.send('Page.navigate', {url: `http://127.0.0.1:${server.address().port}/`});
  check('the_page_names_the_native_command',
    await page.until(`document.getElementById('command')?.textContent.includes('--max_steps')`, 60),
    await shows('command'));

  await press('train');
  check('the_loss_is_shown_while_it_trains',
    await page.until(`/^Step 2/.test(document.getElementById('status').textContent)`, 900),
    await shows('status'));
  await press('stop');
  check('stop_ends_the_training', /^Stopped after/.test(await shows('status')), await shows('status'));

  await press('train');
  check('it_trains_to_the_native_hash',
    await page.until(`document.getElementById('verdict').textContent ||
      /^It failed/.test(document.getElementById('status').textContent)`, 3600) &&
    await shows('here') === text('hash.txt') && /^The same/.test(await shows('verdict')),
    await shows('status') + ' ' + await shows('here'));
  check('it_measures_on_held_out_pairs',
    await page.until(`/held-out pairs/.test(document.getElementById('fit').textContent)`, 1800),
    await shows('status'));
  await press('score');
  check('it_scores_two_answers',
    await page.until(`/probability/.test(document.getElementById('scores').textContent)`, 600),
    await shows('scores'));
  const before = await shows('scores'), fit = await shows('fit');
  await page.value(`{ const t = document.getElementById('temperature'); t.value = -1;
    t.dispatchEvent(new Event('input')); }`);
  check('temperature_moves_probability_and_calibration',
    before !== await shows('scores') && fit !== await shows('fit') && await shows('t') === '0.10',
    await shows('t'));
  check('nothing_is_wider_than_a_phone', await (async () => {
    await look(page, pictures, 'light', 1000, 'light');
    await look(page, pictures, 'dark', 1000, 'dark');
    await page.send('Emulation.setDeviceMetricsOverride',
      {width: 360, height: 700, deviceScaleFactor: 1, mobile: true});
    await look(page, pictures, 'narrow', 360, 'light');
    return page.value('document.documentElement.scrollWidth <= 360');
  })(), await page.value('document.documentElement.scrollWidth'));
  console.log(before + '\n' + fit + '\n' + await shows('fit') + '\n' + await shows('status'));
  check('the_console_is_silent', page.complaints.length === 0, JSON.stringify(page.complaints[0]));
  await page.close();
  server.close();
}

(async () => {
  const [what, which] = process.argv.slice(2);
  if (what === 'node') for (const name of which ? [which] : ['more-simd', 'more']) await train(name);
  else if (what === 'page') await test_page(which);
  else console.log('usage: node test/slow/play.js node [NAME] | page [FOLDER]');
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
