# docs.sh - pages whose numbers are the program's: their commands are run, and every line that they
# quote must be in what the commands print, in that order.
. "$(dirname "$0")/lib.sh"
ln -s "$root/data" data

# quoted PAGE: the lines of its blocks of text; commands PAGE: those of its console, without "$ "
quoted() { awk '/^```text$/ { on = 1; next } /^```$/ { on = 0 } on' "$1"; }
commands() { awk '/^```console$/ { on = 1; next } /^```$/ { on = 0 } on' "$1" | sed 's/^\$ //'; }

it "the_numbers_of_one_pair_are_those_of_more_trace"
commands "$root/docs/ONE_PAIR.md" > script
works sh -e script
quoted "$root/docs/ONE_PAIR.md" > want
awk '
    NR == FNR { want[++n] = $0; next }
    $0 == want[at + 1] { at++ }
    END { if (at < n) print want[at + 1] }' want out > missing
[ ! -s missing ] || fault "not printed: $(cat missing)"
counts 3 want '^lambda of '

it "a_step_that_is_not_planned_and_weights_that_are_not_computed_are_refused"
refused 64 "the plan has 1 steps of one bundle" ./more trace --model data/base --train oasst.jsonl \
    pandalm.jsonl --step 2
refused 64 "its weights are 1/K" ./more trace --model data/base --train oasst.jsonl --more uniform
echo '{"prompt":"a","completions":[" b"," c"," d"],"ranks":[1,2,3]}' > ranks.jsonl
refused 65 "ranks.jsonl: rankings of three and more answers; trace needs pairs" \
    ./more trace --model data/base --train oasst.jsonl ranks.jsonl

it "a_trace_takes_the_memory_of_one_bundle_however_long_the_files_are"
works sh -c 'ulimit -v 3000000 && ./more trace --model data/base --max_steps 2 \
    --train data/pandalm.train.jsonl data/tulu_human.train.jsonl'

# answer N: the N-th diff of the tour
answer() { awk -v n="$1" '/^```diff$/ { if (++k == n) { on = 1; next } } /^```$/ { on = 0 } on' "$root/docs/TOUR.md"; }

it "the_answers_of_the_tours_exercises_apply_compile_and_do_what_it_says"
mkdir tour
cp -R "$root"/*.c "$root"/*.h "$root"/commands "$root"/files tour
for n in 1 2 3; do
    answer $n > diff.$n
    works patch -p1 -F0 -s -d tour -i ../diff.$n
done
works sh -c 'cd tour && ${CC:-cc} -std=c11 -O0 more.c -o ../toured -lm'
works ./toured gradcheck
works ./toured trace --model data/base --train oasst.jsonl pandalm.jsonl tulu.jsonl --more paper \
    --normalize sqrt --max_steps 4 --pooling mean --quiet
holds out 'lambda of oasst'
cp out toured.out

it "the_script_runs_the_blocks_of_a_page_and_looks_for_what_it_shows"
cat > page.md << 'end'
Words, and an equation:

    a = b + c

    echo not a command

<!-- not run: needs a moon -->

    ./more moon

No more marks.

    # the version, by the hand of a reader
    ./more --version > version

    ./more inspect --model nowhere      # a comment

Then:

```console
$ number=1.50
$ echo $number
```

```text
1.50
```

```text
1.51
```
end
sed '/not run/d' page.md > other.md
mkdir own
ln -s "$root/more" own
run sh "$root/scripts/run_docs.sh" --own own "$t/page.md" "$t/other.md"
[ $code = 1 ] || fault "exit $code"
sed "s#^$t/##; s/ok, [0-9]* s/ok/; s/\\(FAILED: more: [^:]*\\).*/\\1/" out > said
cat > want << 'end'
page.md:9: not run: needs a moon
page.md:13: ok
page.md:16: FAILED: more: nowhere
page.md:21: ok
page.md:26: shown as printed
page.md:30: not compared: what prints it was not run
other.md:8: FAILED: more: moon
other.md:12: ok
other.md:15: FAILED: more: nowhere
other.md:20: ok
other.md:25: shown as printed
other.md:29: FAILED: not printed: 1.51
4 failed
end
diff want said > differences || fault "$(cat differences)"
finish
