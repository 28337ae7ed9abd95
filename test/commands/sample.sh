# sample.sh - texts drawn from a language model.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
texts="--model lm --max_new_tokens 12"
sample="./more sample $texts --prompts a.test.jsonl"

it "sample_writes_a_line_for_every_completion_in_order"
works $sample --n 2
cp out drawn
holds err '^32 completions of 16 prompts: [0-9]* tokens in [0-9.]* s, [0-9]* tokens/s$'
holds err '^[0-9]* parameters, [0-9.]* GiB needed, [0-9]* threads, '
numbers='"tokens":[0-9][0-9]*,"finish":"\(eos\|length\)","logp":-[0-9.][0-9.]*}$'
counts 32 drawn '^{"prompt":".*","completion":".*","sample":[01],'"$numbers"
lines 32 drawn
awk 'index($0, "\"sample\":" (NR + 1) % 2 ",") == 0 { bad = 1 } END { exit bad }' drawn ||
    fault "not 0, 1, 0, 1: $(head -n 3 drawn)"
sed 's/,"completion.*//' drawn | uniq > x1
sed 's/,"chosen.*//' a.test.jsonl > x2
same x1 x2

it "a_completion_is_a_function_of_model_prompt_number_and_seed"
for v in "--batch 1" "--batch 7" "--batch 64" "--threads 2" "--threads 3"; do
    works $sample --n 2 $v
    same out drawn
done
for isa in $(instruction_sets); do
    works env MORE_ISA=$isa $sample --n 2
    same out drawn
done
sed -n 'p;n' drawn > number_0
works $sample --seed 7
differ out number_0 "one text for two seeds"
works $sample
same out number_0
head -n 3 a.test.jsonl > three
head -n 3 number_0 > want
from three works ./more sample $texts
same out want

it "the_narrowest_filters_are_the_most_probable_token"
works $sample --temperature 0
cp out likeliest
for v in "--top_k 1 --seed 9" "--top_p 1e-9" "--min_p 1"; do
    works $sample $v
    same out likeliest
done
works $sample --temperature 0 --repetition_penalty 3
differ out likeliest "no penalty"
works $sample --temperature 0 --precision bf16

it "what_was_drawn_can_be_scored_and_trained_on"
from drawn works ./more score $cut --model r
counts 32 out '"logp":-[0-9.]*,"reward":[-0-9.e]*}$'
works ./more train lm $new --train drawn --max_steps 1 --out x

it "the_other_keys_of_a_row_are_kept"
printf '%s\n' '{"id":7,"prompt":"the sky","chosen":"a b","rejected":"b","meta":{"x":[1, 2]},' > ids
printf '%s\n' '"margin":2,"sample":9, "by" : "u1" }' >> ids
tr -d '\n' < ids > ids.jsonl
others='"id":7,"meta":{"x":\[1, 2\]},"by" : "u1" }$'
works ./more sample $texts --prompts ids.jsonl --n 2
counts 2 out '^{"prompt":"the sky","completion":.*,"logp":[-0-9.]*,'"$others"
cp out once
works ./more sample $texts --prompts once
counts 2 out ',"sample":0,.*,'"$others"

it "any_other_text_is_one_prompt_and_nothing_begins_a_text"
printf 'the sky over\nthe sea\n' > words
from words works ./more sample $texts
holds out '^{"prompt":"the sky over\\nthe sea","completion":".*"}*'
works ./more sample $texts
holds out '^{"prompt":"","completion":"'
from text.jsonl works ./more sample $texts
lines 30 out

it "prompts_that_stand_twice_are_kept_unless_unique"
cat a.test.jsonl a.test.jsonl > twice
works ./more sample $texts --prompts twice
lines 32 out
works ./more sample $texts --prompts twice --unique
same out number_0

it "a_completion_ends_before_a_stop_string"
works $sample --n 4 --max_new_tokens 40 --stop o "never"
sed 's/.*"completion":"\(.*\)","sample.*"finish":"\(.*\)",.*/\2 \1/' out > x1
holds x1 '^stop'
lacks x1 '^[a-z]* .*o'

if script -qec true /dev/null > x.out 2>&1; then
    it "on_a_terminal_prompt_and_completion_are_plain_text"
    from three works ./more sample $texts --temperature 0
    sed -n 's/{"prompt":"\(.*\)","completion":"\(.*\)","sample.*/\1\2/p' out |
        awk '{ gsub(/\\n/, "\n"); print }' > x1
    script -qec "./more sample $texts --temperature 0 --prompts three --quiet" /dev/null \
        2> err < /dev/null | tr -d '\r' > x2
    same x1 x2
fi

it "what_sample_cannot_do_is_said"
refused 66 "no-such.jsonl: No such file" ./more sample $texts --prompts no-such.jsonl
refused 65 "a reward model, which predicts no tokens" ./more sample --model r
refused 65 "words:1:" ./more sample $texts --prompts words
for o in "n 0" "batch 0" "batch 513" "temperature -1" "top_k -1" "top_p 0" "top_p 1.1" \
    "min_p 1.1" "repetition_penalty 0" "max_new_tokens 0"; do
    refused 64 "--$o: a " ./more sample --${o% *} "${o#* }"
done
awk 'BEGIN { for (i = 0; i < 2100; i++) printf "\001" }' > long
over="prompt 1 has 2100 tokens, the model 2048 positions; --max_prompt_length cuts prompts"
from long refused 65 "$over" ./more sample $texts --max_prompt_length 0
from long works ./more sample $texts

# special tokens of a template are tokens, which the text of a prompt would not be
it "the_prompt_of_a_chat_template_is_written_as_its_messages"
cp -r lm chat
cp "$root/test/golden/templates/zephyr.jinja" chat/chat_template.jinja
echo '{"prompt":[{"role":"user","content":"Why?"}],"id":1}' > asked
echo '{"messages":[{"role":"system","content":"s"},{"from":"human","value":"a"}],"id":2}' >> asked
chat="./more sample --model chat --max_new_tokens 12 --prompts"
works $chat asked
cp out drawn
counts 1 drawn '^{"prompt":\[{"role":"user","content":"Why?"}\],"completion":"'
counts 1 drawn '^{"prompt":\[{"role":"system","content":"s"},{"role":"user","content":"a"}\],".*"id":2}$'
works $chat drawn
same out drawn
works $chat asked --template plain
counts 1 out '^{"prompt":"\\n\\nHuman: Why?\\n\\nAssistant:","completion":"'

finish
