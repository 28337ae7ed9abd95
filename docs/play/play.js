// play.js - the page's script, and its worker's: the program trains in a worker, so that the page
// stays alive, and says there what it logs.  No library.
//
//     page    {train: scalar}   ->  worker   {loading: share} {log: line} .. {hash} {pairs}
//             {score: row}      ->           {scores: row}
//                               <-           {failed: text}
'use strict';

const number = (words, option) => words[words.indexOf(option) + 1];
// numbers of the recipe that hold for evaluation and scoring too
const cut = words => ['--max_length', '--max_prompt_length'].flatMap(o => [o, number(words, o)]);
const sets = words => words.slice(words.indexOf('--train') + 1).filter((w, i, all) =>
  all.slice(0, i + 1).every(x => !x.startsWith('--')));

if (typeof document === 'undefined') worker();
else page();

// -------------------------------------------------------------------------------------- the worker

function worker() {
  let program, words;                       // a WebAssembly.Module; the recipe
  const files = new Map();                  // path -> bytes: those of every run of the program

  // fetches what the program needs, and says how far it is
  async function load(scalar) {
    const get = async path => {
      const answer = await fetch(path);
      if (!answer.ok) throw new Error(path + ' is not there: make wasm builds it');
      return new Uint8Array(await answer.arrayBuffer());
    };
    words = new TextDecoder().decode(await get('recipe.txt')).trim().split(/\s+/);
    const base = ['config.json', 'tokenizer.json', 'tokenizer_config.json',
      'special_tokens_map.json', 'model.safetensors'].map(name => 'base/' + name);
    const paths = [...base, ...sets(words)];
    for (const [i, path] of paths.entries()) {
      files.set(path, await get(path));
      postMessage({loading: (i + 1) / (paths.length + 1)});
    }
    program = await WebAssembly.compile(await get(scalar ? 'more.wasm' : 'more-simd.wasm'));
    importScripts('more.js');
  }

  // Runs a command with the files, which get those it leaves in `keep`.  Returns what it printed.
  async function run(args, {input = '', keep = [], onLog} = {}) {
    const out = [], said = [], bytes = new TextEncoder().encode(input);
    let at = 0, line = '';
    const more = await More({
      instantiateWasm: (imports, done) => {
        WebAssembly.instantiate(program, imports).then(instance => done(instance));
        return {};
      },
      stdin: () => at < bytes.length ? bytes[at++] : null,
      print: text => out.push(text),
      printErr: text => said.push(text),
    });
    for (const [path, data] of files) {
      if (path.includes('/')) more.FS.mkdirTree('/' + path.slice(0, path.lastIndexOf('/')));
      more.FS.writeFile('/' + path, data);
    }
    if (onLog) {                            // each line of the log, when it is written
      const write = more.FS.write;
      more.FS.write = (stream, buffer, offset, length, ...rest) => {
        if (stream.path && stream.path.endsWith('/log.jsonl')) {
          const lines = (line + new TextDecoder().decode(buffer.slice(offset, offset + length)))
            .split('\n');
          line = lines.pop();
          lines.forEach(onLog);
        }
        return write.call(more.FS, stream, buffer, offset, length, ...rest);
      };
    }
    const code = more.callMain(args);
    if (code) throw new Error(said.pop() || 'exit code ' + code);
    for (const path of keep) files.set(path, more.FS.readFile('/' + path));
    return out.join('\n');
  }

  async function train(scalar) {
    const began = performance.now();
    await load(scalar);
    const model = ['config.json', 'tokenizer.json', 'tokenizer_config.json',
      'special_tokens_map.json', 'model.safetensors'].map(name => 'run/' + name);
    const printed = await run([...words, '--out', 'run', '--quiet'],
      {keep: model, onLog: text => postMessage({log: JSON.parse(text)})});
    const seconds = (performance.now() - began) / 1000;
    postMessage({hash: /weights sha256 (\w+)/.exec(printed)[1], seconds});

    // the pairs that were held out, by the same fold
    await run(['eval', '--model', 'run', '--eval', ...sets(words), '--folds',
      number(words, '--folds'), '--fold', number(words, '--fold'), ...cut(words), '--quiet',
      '--out', 'pairs.jsonl'], {keep: ['pairs.jsonl']});
    const lines = new TextDecoder().decode(files.get('pairs.jsonl')).trim().split('\n');
    files.delete('pairs.jsonl');
    postMessage({pairs: lines.map(line => JSON.parse(line)).filter(p => p.event === 'pair').map(p => p.delta)});
  }

  async function score(row) {
    const printed = await run(['score', '--model', 'run', ...cut(words), '--quiet'],
      {input: JSON.stringify(row) + '\n'});
    const {scores_chosen: a, scores_rejected: b} = JSON.parse(printed);
    postMessage({scores: {a, b}});
  }

  onmessage = async ({data}) => {
    try {
      if ('train' in data) await train(data.train);
      else await score(data.score);
    } catch (error) {
      postMessage({failed: error.message});
    }
  };
}

// ---------------------------------------------------------------------------------------- the page

function page() {
  const $ = id => document.getElementById(id);
  const dashes = ['s0', 's1', 's2'];
  let work = null;                          // the worker, from Train on
  let words = [], steps = [], pairs = [], scores = null;

  // a part of a drawing, with text
  function draw(svg, name, attributes, text) {
    const part = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    if (text !== undefined) part.textContent = text;
    svg.append(part);
  }
  // Axes from (first, low) to (right, high), ticks labelled; returns where a point is.
  function axes(svg, first, right, low, high, {xTicks, yTicks, xName}) {
    const [, , width, height] = svg.getAttribute('viewBox').split(' ').map(Number);
    const left = 42, bottom = height - 40, top = 12, end = width - 14;
    const x = v => left + (v - first) / (right - first) * (end - left);
    const y = v => bottom - (Math.min(high, Math.max(low, v)) - low) / (high - low) * (bottom - top);
    svg.replaceChildren();
    draw(svg, 'path', {class: 'axis', d: `M${left} ${top}V${bottom}H${end}`});
    for (const v of xTicks) draw(svg, 'text', {x: x(v), y: bottom + 16, 'text-anchor': 'middle'}, v);
    for (const v of yTicks) {
      draw(svg, 'text', {x: left - 6, y: y(v) + 4, 'text-anchor': 'end'}, v);
      draw(svg, 'path', {class: 'axis', d: `M${left - 3} ${y(v)}h3`});
    }
    draw(svg, 'text', {class: 'soft', x: (left + end) / 2, y: bottom + 33, 'text-anchor': 'middle'},
      xName);
    return {x, y};
  }
  const path = (at, values) =>
    values.map((v, i) => (i ? 'L' : 'M') + at.x(i + 1).toFixed(1) + ' ' + at.y(v).toFixed(1)).join('');

  // lines: [name, values]..; each is named at its side of the chart, in the kind of its line
  function chart(svg, lines, low, high, yTicks) {
    const n = Number(number(words, '--max_steps')) || 16;
    const at = axes(svg, 0, n, low, high, {xTicks: [n / 4, n / 2, 3 * n / 4, n], yTicks, xName: 'step'});
    lines.forEach(([name, values], i) => {
      draw(svg, 'path', {class: 'line ' + dashes[i], d: path(at, values)});
      const y = 22 + 16 * i;
      draw(svg, 'path', {class: 'line ' + dashes[i], d: `M230 ${y - 4}h32`});
      const last = values.length ? ' ' + values[values.length - 1].toFixed(3) : '';
      draw(svg, 'text', {x: 268, y}, name + last);
    });
  }
  function drawTraining() {
    const loss = steps.map(s => s.loss);
    const mean = loss.map((_, i) => {
      const last = loss.slice(Math.max(0, i - 7), i + 1);
      return last.reduce((a, b) => a + b, 0) / last.length;
    });
    chart($('loss'), [['last eight', mean], ['each', loss]], 0.4, 1, [0.4, 0.6, 0.8, 1]);
    const names = sets(words).map(file => file.replace('.jsonl', ''));
    chart($('lambda'), names.map(k => [k, steps.map(s => s['lambda/' + k])]), 0, 1,
      [0, 0.25, 0.5, 0.75, 1]);
  }

  // ---- temperature

  const sigma = x => 1 / (1 + Math.exp(-x));
  const temperature = () => 10 ** Number($('temperature').value);
  // mean of -log sigma(d / T)
  const logLoss = T => pairs.reduce((sum, d) => sum + Math.log1p(Math.exp(-d / T)), 0) / pairs.length;

  function drawReliability() {
    const T = temperature(), at = axes($('reliability'), 0.5, 1, 0, 1, {
      xTicks: [0.5, 0.6, 0.7, 0.8, 0.9, 1], yTicks: [0, 0.25, 0.5, 0.75, 1],
      xName: 'probability of the answer it prefers'});
    const bins = Array.from({length: 5}, () => ({n: 0, right: 0, p: 0}));
    $('t').textContent = T.toFixed(2);
    draw($('reliability'), 'path', {class: 'ideal', d:
      `M${at.x(0.5)} ${at.y(0.5)}L${at.x(1)} ${at.y(1)}`});
    for (const d of pairs) {
      const p = sigma(Math.abs(d) / T), bin = bins[Math.min(4, Math.floor((p - 0.5) * 10))];
      bin.n++;
      bin.p += p;
      bin.right += d > 0 ? 1 : d < 0 ? 0 : 0.5;
    }
    let ece = 0;
    for (const b of bins.filter(bin => bin.n)) {
      const p = b.p / b.n, right = b.right / b.n;
      ece += b.n / pairs.length * Math.abs(p - right);
      draw($('reliability'), 'path', {class: 'line s0', d:
        `M${at.x(p)} ${at.y(p)}V${at.y(right)}`});
      draw($('reliability'), 'circle', {cx: at.x(p), cy: at.y(right), r: 3 + Math.sqrt(b.n)});
    }
    // last, in a row above the axis: beside the circles one would lie on another
    bins.forEach((b, m) => b.n && draw($('reliability'), 'text', {class: 'count',
      x: at.x(0.55 + 0.1 * m), y: at.y(0) - 6, 'text-anchor': 'middle'},
    b.n + (b.n === 1 ? ' pair' : ' pairs')));
    if (pairs.length) {
      const right = pairs.filter(d => d > 0).length / pairs.length;
      $('fit').textContent = `${pairs.length} held-out pairs, ${(100 * right).toFixed(0)} % right: ` +
        `log loss ${logLoss(T).toFixed(4)} (a coin: 0.6931), calibration error ${ece.toFixed(3)}`;
    }
    showScores();
  }
  function showScores() {
    if (!scores) return;
    const p = sigma((scores.a - scores.b) / temperature());
    $('scores').textContent = `r(A) = ${scores.a.toFixed(4)}, r(B) = ${scores.b.toFixed(4)}: ` +
      `A is better with probability ${(100 * p).toFixed(1)} %`;
  }

  // ---- what the worker says, and what the reader does

  function state(training, trained, text) {
    $('train').disabled = training;
    $('scalar').disabled = training;
    $('stop').disabled = !training;
    $('score').disabled = !trained;
    if (text) $('status').textContent = text;
  }
  async function heard({data}) {
    const n = Number(number(words, '--max_steps'));
    if ('loading' in data) {
      $('status').textContent = `Fetching the model: ${(100 * data.loading).toFixed(0)} %`;
    } else if ('log' in data && data.log.event === 'train') {
      steps.push(data.log);
      $('progress').value = steps.length / n;
      $('status').textContent = `Step ${steps.length} of ${n}: loss ${data.log.loss.toFixed(3)}`;
      drawTraining();
    } else if ('hash' in data) {
      const native = (await (await fetch('hash.txt')).text()).trim();
      $('here').textContent = data.hash;
      $('native').textContent = native;
      $('verdict').textContent = data.hash === native ? 'The same weights, to the last bit.'
        : 'NOT the same weights: please report it with the name of your browser.';
      $('status').textContent = `Trained in ${data.seconds.toFixed(0)} s. Measuring on held-out pairs ..`;
    } else if ('pairs' in data) {
      pairs = data.pairs;
      state(false, true, $('status').textContent.replace(/ Measuring.*/, ''));
      $('scores').textContent = 'Trained: it can score.';
      drawReliability();
    } else if ('scores' in data) {
      scores = data.scores;
      state(false, true);
      showScores();
    } else if ('failed' in data) {
      work.terminate();
      state(false, false, 'It failed: ' + data.failed);
    }
  }
  // https://webassembly.github.io/spec: a function that returns a v128
  const hasSimd = WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1,
    123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]));

  $('train').onclick = () => {
    if (work) work.terminate();
    work = new Worker('play.js');
    work.onmessage = heard;
    work.onerror = event => heard({data: {failed: event.message || 'the worker did not start'}});
    steps = [];
    pairs = [];
    scores = null;
    for (const id of ['here', 'native']) $(id).textContent = '-';
    for (const id of ['verdict', 'scores', 'fit']) $(id).textContent = '';
    state(true, false, 'Fetching the model');
    $('stop').focus();
    drawTraining();
    work.postMessage({train: $('scalar').checked});
  };
  $('stop').onclick = () => {
    work.terminate();
    state(false, false, `Stopped after ${steps.length} steps. Train begins anew.`);
    $('train').focus();
  };
  $('pair').onsubmit = event => {
    event.preventDefault();
    state(false, false);
    $('scores').textContent = 'Scoring ..';
    work.postMessage({score: {prompt: '\n\nHuman: ' + $('prompt').value.trim() + '\n\nAssistant:',
      chosen: ' ' + $('a').value.trim(), rejected: ' ' + $('b').value.trim()}});
  };
  $('temperature').oninput = drawReliability;
  if (!hasSimd) $('scalar').checked = true;

  (async () => {
    if (location.protocol === 'file:') {
      state(true, false, 'Browsers load nothing from file://. Serve the folder: ' +
        'python3 -m http.server -d docs/play 8000, and open http://localhost:8000');
      $('stop').disabled = true;
      return;
    }
    words = (await (await fetch('recipe.txt')).text()).trim().split(/\s+/);
    for (const word of ['./more', ...words]) {          // no line ends within an option
      const span = document.createElement('span');
      span.textContent = word;
      $('command').append(span, ' ');
    }
    drawTraining();
    drawReliability();
  })();
}
