# folders.sh - what other programs leave in a model folder: read, obeyed, kept or refused.
. "$(dirname "$0")/lib.sh"
make_data
make_lm

# folder NAME: a copy of lm; config SED, tokenizer SED: its file changed
folder() {
    rm -rf x
    cp -r lm x
}
config() {
    sed "$1" x/config.json > changed
    mv changed x/config.json
}
tokenizer() {
    sed "$1" x/tokenizer.json > changed
    mv changed x/tokenizer.json
}
short="$cut --max_steps 1 --per_step_rows 6 --quiet"

it "the_end_that_config_json_names_is_trained_and_written"
folder
tokenizer 's/<|padding|>/<|im_end|>/'
config 's/"eos_token_id": 0/"eos_token_id": 1/; s/"pad_token_id": 1/"pad_token_id": null/'
run ./more doctor --model x --train a.train.jsonl --objective dpo
holds out '1"<|im_end|>"\*'
lacks out '0"<|endoftext|>"\*'
works ./more train dpo --model x --train a.train.jsonl $short --out y
holds y/config.json '"eos_token_id": 1,'
holds y/tokenizer_config.json '"eos_token": "<|im_end|>"'

it "an_end_by_any_name_is_found_by_its_id_and_where_none_is_used_none_is_needed"
folder
tokenizer 's/<|endoftext|>/<|fin|>/'
refused 65 'tokenizer_config.json: "eos_token" is "<|endoftext|>", which the tokenizer does not' \
    ./more train dpo --model x --train a.train.jsonl $short --out y
rm x/tokenizer_config.json
works ./more train dpo --model x --train a.train.jsonl $short --out y
config 's/"eos_token_id": 0/"eos_token_id": null/'
refused 65 'x: no end of text: set "eos_token_id"' \
    ./more train dpo --model x --train a.train.jsonl $short --out z
refused 65 'no end of text' ./more train reward --model x --train a.train.jsonl $recipe \
    --pooling eos --out z
works ./more train reward --model x --train a.train.jsonl $recipe --out z
works ./more eval --model z --eval a.test.jsonl $cut
from a.test.jsonl works ./more score --model z $cut
config 's/"eos_token_id": null/"eos_token_id": 5/'
refused 65 'is 5, which is the ordinary piece "$"' \
    ./more train dpo --model x --train a.train.jsonl $short --out z

it "a_fresh_model_has_the_end_that_stands_beside_its_tokenizer"
folder
tokenizer 's/<|endoftext|>/<|fin|>/'
rm x/tokenizer_config.json
fresh="$new --train text.jsonl --tokenizer x/tokenizer.json --max_steps 1 --out fresh"
refused 65 'x/tokenizer.json: no end of text: name an added token' ./more train lm $fresh
echo '{"eos_token": "<|fin|>"}' > x/tokenizer_config.json
works ./more train lm $fresh
holds fresh/config.json '"eos_token_id": 0,'

it "every_end_of_a_list_ends_a_text_and_is_written_back"
folder
config 's/"eos_token_id": 0/"eos_token_id": [0, 9, 11]/'
works ./more train dpo --model x --train a.train.jsonl $short --out y
holds y/config.json '"eos_token_id": \[0, 9, 11\]'
echo '{"prompt": "the"}' > the.jsonl
works ./more sample --model lm --prompts the.jsonl --n 40 --max_new_tokens 40 --quiet
tokens=$(field out finish | sort | uniq -c)
config 's/"eos_token_id": .*,$/"eos_token_id": [0, 258, 259, 260, 261, 262, 263, 264, 265],/'
works ./more sample --model x --prompts the.jsonl --n 40 --max_new_tokens 40 --quiet
[ "$tokens" != "$(field out finish | sort | uniq -c)" ] || fault "$tokens"

it "a_pad_that_is_the_end_from_which_the_reward_is_read_is_refused"
folder
config 's/"pad_token_id": 1/"pad_token_id": 0/'
refused 65 'traps: 1' \
    ./more train reward --model x --train a.train.jsonl $recipe --pooling eos --out z
holds err 'pad is the eos, .* from which the reward is read'
works ./more train reward --model x --train a.train.jsonl $recipe --out z

it "score_and_eval_obey_pooling_on_any_head"
works ./more train reward $pairs --train a.train.jsonl --pooling eos --out e
works ./more train reward $pairs --train a.train.jsonl --out z
sed 's/"pooling": "eos"/"pooling": "last"/' e/config.json > changed
from a.test.jsonl works ./more score --model e $cut
mv out of_eos
mv changed e/config.json
from a.test.jsonl works ./more score --model e $cut
differ of_eos out "the pooling has no effect"
from a.test.jsonl works ./more score --model e $cut --pooling eos
same of_eos out
works ./more eval --model e --eval a.test.jsonl $cut --pooling eos
mv out of_eos
works ./more eval --model e --eval a.test.jsonl $cut
differ of_eos out "the pooling has no effect"
refused 64 '--pooling: lm is a language model' \
    ./more eval --model lm --reference lm --eval a.test.jsonl $cut --pooling eos

it "what_other_programs_left_in_a_folder_is_kept"
folder
echo '{% for m in messages %}{% endfor %}' > x/chat_template.jinja
echo '{"top_p": 0.8, "eos_token_id": [0, 5]}' > x/generation_config.json
echo 'all rights' > x/LICENSE
sed 's/{/{"chat_template": "x", "add_bos_token": false,/' lm/tokenizer_config.json \
    > x/tokenizer_config.json
works ./more train dpo --model x --train a.train.jsonl $short --out y
for f in chat_template.jinja generation_config.json LICENSE tokenizer_config.json \
    special_tokens_map.json tokenizer.json; do
    same x/$f y/$f
done
[ "$(ls x | grep -v state-)" = "$(ls y | grep -vE "reference|state-")" ] || fault "$(ls x y)"

it "a_folder_that_is_not_there_is_no_missing_file"
refused 66 'org/model-70m: no such folder; a model of a hub must be downloaded first' \
    ./more train dpo --model org/model-70m --train a.train.jsonl $short --out z
folder
rm x/tokenizer.json
refused 66 'x: there is no tokenizer.json, nor a tokenizer.model, nor vocab.json and merges.txt' \
    ./more train dpo --model x --train a.train.jsonl $short --out z

it "the_folder_to_start_from_is_not_written_over"
folder
ln -s x link
refused 64 '--out link/: the folder of --model, which would be lost' \
    ./more train dpo --model x --train a.train.jsonl $short --out link/

it "weights_that_f16_cannot_hold_are_found_before_the_first_step_and_else_saved_as_f32"
works ./more train dpo --model lm --train a.train.jsonl $short --learning_rate 1e5 --dtype f16 \
    --out large
holds err '^tensor .* which F16 cannot hold; the weights are saved as f32$'
holds large/config.json '"dtype": "float32"'
refused 65 'which F16 cannot hold' \
    ./more train dpo --model large --train a.train.jsonl $short --dtype f16 --out z16
lacks err '^step '
[ ! -f z16/log.jsonl ] || fault "it was begun"

it "a_model_exported_as_gguf_scores_and_trains_with_the_same_bits"
works ./more export --model lm --out lm.gguf
from a.train.jsonl works ./more score --model lm
mv out folder.out
from a.train.jsonl works ./more score --model lm.gguf
same out folder.out
works ./more train dpo --model lm --train a.train.jsonl $short --out y
sha=$(sha)
works ./more train dpo --model lm.gguf --train a.train.jsonl $short --out z
[ "$(sha)" = "$sha" ] || fault "other weights from lm.gguf than from lm"
same z/config.json y/config.json
from a.train.jsonl works ./more score --model z
works ./more export --model lm.gguf --out again.gguf
same again.gguf lm.gguf
works ./more export --model lm --out q8.gguf --dtype q8_0
from a.train.jsonl works ./more score --model q8.gguf
works ./more export --model lm --out lm-again
same lm/model.safetensors lm-again/model.safetensors
same lm/tokenizer.json lm-again/tokenizer.json
works ./more train dpo --model lm --references lm --train a.train.jsonl $short --out y
sha=$(sha)
works ./more train dpo --model lm --references lm.gguf --train a.train.jsonl $short --out z
[ "$(sha)" = "$sha" ] || fault "another step with lm.gguf as reference than with lm"
works ./more train dpo --model lm.gguf --references lm --train a.train.jsonl $short --out z
[ "$(sha)" = "$sha" ] || fault "another step from lm.gguf with lm as reference"
refused 64 "q8_0 is for --out FILE.gguf" ./more export --model lm --out lm-q8 --dtype q8_0
refused 64 "--dtype q8_0: training writes f32" \
    ./more train dpo --model lm --train a.train.jsonl $short --dtype q8_0 --out z

finish
