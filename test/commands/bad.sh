# bad.sh - files that are missing, damaged, hostile or of another kind, and places not to write to.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

it "a_file_that_is_not_there_is_named"
refused 66 "no-such.jsonl: No such file" ./more train lm $new --train no-such.jsonl --out x
refused 66 "no-such.jsonl: No such file" ./more eval $cut --model r --eval no-such.jsonl
refused 66 "no-such.jsonl: No such file" ./more eval --from no-such.jsonl
refused 66 "no-such-folder" ./more score --model no-such-folder
refused 66 "no-such-folder" \
    ./more train reward $recipe --train $abc --model no-such-folder --out x
refused 66 "no-such.json" ./more tokenize --tokenizer no-such.json
refused 66 ".: not a regular file" ./more train lm $new --train . --out x

it "a_bad_line_is_named_by_file_and_line"
{
    cat a.train.jsonl
    echo '{"prompt":"P","chosen":"a","rejected":'
} > cut.jsonl
{
    cat a.train.jsonl
    echo
    echo '{"prompt":"P","chosen":"a","answer":"b"}'
} > half.jsonl
refused 65 "cut.jsonl:19:" ./more train reward $pairs --train b.train.jsonl cut.jsonl --out x
refused 65 "half.jsonl:20: no \"rejected\" beside \"chosen\"" \
    ./more eval $cut --model r --eval half.jsonl
from cut.jsonl refused 65 ":19:" ./more score $cut --model r
[ ! -s out ] || fault "rows before a bad one were written"
refused 65 ": no rows" ./more score --model r
echo '{"prompt":"P"}' > prompt.jsonl
from prompt.jsonl refused 65 "prompts without answers have no reward" ./more score --model r
from prompt.jsonl refused 65 "prompts without answers have no log-probability" \
    ./more score --max_length 512 --model lm
echo '{"event":"pair","model":"R"}' > x.jsonl
refused 65 "x.jsonl:1: not a line that eval --out wrote" ./more eval --from x.jsonl
echo '{"event":"train"}' > x.jsonl
refused 65 "x.jsonl: no pairs in it" ./more eval --from x.jsonl

it "bad_rows_can_be_left_out_named_and_counted"
{
    cat a.train.jsonl
    for i in 1 2 3 4 5 6 7; do echo '{"prompt":"P","chosen":"","rejected":"a"}'; done
} > seven.jsonl
refused 65 "seven.jsonl:19: an answer is empty" \
    ./more train reward $pairs --train seven.jsonl --out x
works ./more train reward $pairs --train a.train.jsonl --out x
want=$(sha)
works ./more train reward $pairs --train seven.jsonl --bad_rows drop --out x
[ "$(sha)" = "$want" ] || fault "the rows that are left train another model"
counts 5 err '^seven.jsonl:[0-9]*: an answer is empty.*; the row is left out$'
holds err '^seven: 18 rows of kind pair, 18 kept.*; 7 bad rows are left out$'
from seven.jsonl works ./more score $cut --model r --bad_rows drop
lines 18 out
grep '""' seven.jsonl > bad.jsonl
refused 65 "bad.jsonl: all 7 rows are bad" \
    ./more train reward $pairs --train bad.jsonl --bad_rows drop --out x

it "a_plain_text_trains_a_language_model"
printf 'It was night, and all slept.\nBut one.\n' > night.txt
works ./more train lm $new --train night.txt --per_step_tokens 10 --out x
holds err '^night.txt: read as plain text: one document$'
printf '{"text":"It was night, and all slept.\\nBut one.\\n"}\n' > night.jsonl
want=$(sha)
works ./more train lm $new --train night.jsonl --per_step_tokens 10 --out x
[ "$(sha)" = "$want" ] || fault "the same text as a row trains another model"
refused 65 "night.txt:1: not JSON lines" ./more train reward $pairs --train night.txt --out x
printf '[Night.]\nAll slept.\n' > stage.txt
works ./more train lm $new --train stage.txt --per_step_tokens 10 --out x
holds err '^stage.txt: read as plain text: one document$'
printf '[{"text":"It was night, and all slept."}]\n' > rows.txt
works ./more train lm $new --train rows.txt --per_step_tokens 10 --out x
lacks err 'plain text'
printf 'number,body\n1,It was night.\n' > table.csv
refused 65 "table.csv: a table (CSV or TSV); JSON lines are needed" \
    ./more train lm $new --train table.csv --out x

it "the_keys_of_rows_without_an_answer_are_told"
echo '{"prompt":"a","better_one":"b","other":"c"}' > names.jsonl
refused 65 "names.jsonl: prompt data: found prompt, better_one, other; pairs or rankings are needed" \
    ./more train reward $pairs --train names.jsonl --out x

it "a_known_set_is_said"
for i in 1 2 3 4 5 6; do
    printf '{"history":"sky %s","human_ref_A":"blue","human_ref_B":"red",' $i
    printf '"labels":%s}\n' $((i % 2))
done > shp.jsonl
works ./more train reward $pairs --train shp.jsonl --out x --force
holds err '^shp: read as SHP: history is the user.s message; labels 1: human_ref_A is better, 0: '

it "data_of_another_kind_is_refused"
refused 65 "text data; pairs or rankings are needed" ./more train reward $pairs --train text.jsonl --out x
refused 65 "text data; pairs or rankings are needed" ./more eval $cut --model r --eval text.jsonl
refused 65 "pair data; texts or prompts with completions are needed" \
    ./more train lm $new --train a.train.jsonl --out x

it "a_file_to_evaluate_on_without_pairs_is_refused_before_training"
echo '{"prompt":"P","chosen":"a","rejected":"a"}' > ties.jsonl
refused 65 "ties" \
    ./more train reward $pairs --train a.train.jsonl --eval ties.jsonl --out new
[ ! -f new/log.jsonl ] || fault "it was noticed after training only"

it "a_language_model_has_no_rewards_and_the_remedy_is_named"
headless="lm: a language model without a reward head"
refused 65 "$headless; train one, or give --raw_head SEED" \
    ./more eval $cut --model lm --eval a.test.jsonl
refused 65 "a reward model, which predicts no tokens" \
    ./more train lm $new --model r --train text.jsonl --out x

it "a_truncated_or_hostile_model_folder_is_refused_and_the_file_named"
# hostile FILE CODE TEXT: scoring with the folder of a reward model, but evil in place of FILE
hostile() {
    rm -rf h
    cp -r r h
    cp evil h/$1
    from a.test.jsonl refused "$2" "$3" ./more score $cut --model h
}
good=r/model.safetensors
size=$(wc -c < $good)
for n in 0 7 8 100 $((size / 2)) $((size - 1)); do
    head -c $n $good > evil
    hostile model.safetensors 65 model.safetensors
done
{
    cat $good
    echo
} > evil
hostile model.safetensors 65 model.safetensors
printf '\377\377\377\377\377\377\377\377{}' > evil
hostile model.safetensors 65 model.safetensors
printf '\022\000\000\000\000\000\000\000{"a":{"dtype":1}}' > evil
hostile model.safetensors 65 model.safetensors
{
    printf '\377\000\000\000\000\000\000\000'
    tail -c +9 $good
} > evil
hostile model.safetensors 65 model.safetensors
for f in config.json tokenizer.json; do
    : > evil
    hostile $f 65 $f
    head -c 100 r/$f > evil
    hostile $f 65 $f
    echo '[]' > evil
    hostile $f 65 $f
done
# changed KEY NUMBER TEXT: another number in the configuration
changed() {
    sed "s/\"$1\": *-*[0-9]*/\"$1\": $2/" r/config.json > evil
    hostile config.json 65 "$3"
}
changed hidden_size 64 shape
changed hidden_size -32 hidden_size
changed num_hidden_layers 3 missing
changed num_hidden_layers 1 model.safetensors
changed vocab_size 2000000000 ""
rm -rf h
cp -r r h
rm h/model.safetensors
refused 66 "model.safetensors" ./more score --model h
mkdir h/model.safetensors
refused 66 "model.safetensors" ./more score --model h

it "weights_and_margins_of_rows_are_said_0_everywhere_and_beyond_all_rewards_too"
sed 's/}$/,"weight":0}/' a.train.jsonl > weightless.jsonl
sed '3s/}$/,"margin":1e38}/' a.train.jsonl > far.jsonl
works ./more train reward $pairs --train weightless.jsonl --out x
holds err "^weightless.jsonl: the weight of every row is 0: nothing is learned from it"
works ./more train reward $pairs --max_steps 1 --train far.jsonl --out x
holds err "^far.jsonl:3: a margin of 1e+38, which no rewards reach"
works ./more train reward $pairs --train a.train.jsonl --out x
lacks err "weight of every row\|a margin of\|the rows have"
sed '3s/}$/,"margin":1.5,"weight":4}/' a.train.jsonl > both.jsonl
works ./more train reward $pairs --max_steps 1 --train both.jsonl --out x
holds err '^both: the rows have a "margin", 0 to 1.5: the loss asks the chosen reward to exceed the'
holds err '^both: the rows have a "weight", 1 to 4, by which their losses count$'
works ./more train dpo $policy --max_steps 1 --train both.jsonl --out x
holds err '^both: the rows have a "margin", 0 to 1.5: it is of reward models, and does not count here$'
holds err '^both: the rows have a "weight", 1 to 4'

it "a_place_that_cannot_be_written_is_named"
refused 73 "text.jsonl" ./more train lm $new --train text.jsonl --out text.jsonl/x
refused 73 "text.jsonl" ./more train reward $pairs --train $abc --out text.jsonl
refused 73 "text.jsonl" ./more tokenize --learn 300 --train text.jsonl --out text.jsonl/x
refused 73 "no/such" ./more eval $cut --model r --eval a.test.jsonl --out no/such
mkdir -p folder/model.safetensors
refused 73 "model.safetensors" ./more train reward $pairs --train $abc --out folder
mkdir link
refused 73 "symbolic link" sh -c 'ln -s ../text.jsonl link/model.safetensors.$$.tmp
    exec ./more train reward "$@" --out link' x $pairs --train $abc

if [ -c /dev/full ]; then
    it "a_full_disk_behind_standard_output_is_an_error"
    full() {
        "$@" > /dev/full 2> err < "${in:-/dev/null}"
        code=$?
        [ $code = 74 ] || fault "exit $code, not 74: $*"
        holds err "^more: standard output: "
    }
    from a.test.jsonl full ./more score $cut --model r
    from text.jsonl full ./more tokenize --model lm
    full ./more eval $cut --model r --eval a.test.jsonl
    from a.test.jsonl full ./more sample --model lm
    full ./more inspect --model r
    full ./more --help
fi

finish
