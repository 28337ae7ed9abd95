# receipt.sh - what trainings say of themselves, and whether it is so: receipts, diaries, verify,
# diff.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
isa=$(instruction_sets | head -n 1)
mkdir temporary
export TMPDIR="$PWD/temporary"                              # of replays

# flip FILE PLACE: the lowest bit of a byte
flip() {
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "\\$(printf %o $((byte / 2 * 2 + 1 - byte % 2)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc 2> x.out
}
# value FILE NAME: of a receipt
value() { sed -n "s/.*\"$2\": *\"\([^\"]*\)\".*/\1/p" "$1/more_receipt.json"; }

it "a_training_leaves_a_receipt_with_the_hashes_of_what_it_was"
more="train more $pairs --train $abc"
works ./more $more --diary 1 --out m
[ "$(value m model.safetensors)" = "$(sha)" ] || fault "other weights"
[ "$(value m level)" = exact ] || fault "another level"
digests=$(./more selftest | sed -n '1{s/.*functions/functions/; s/  training/, training/; p;}')
[ "$(value m numerics)" = "$digests" ] || fault "$digests: other numerics"
for f in $abc lm/tokenizer.json; do
    hash=$(sha256sum $f 2> x.out || shasum -a 256 $f)
    holds m/more_receipt.json "=${hash%% *}\""
done
lines 4 m/diary.jsonl
hash=$(tail -n 1 m/diary.jsonl | sed 's/.*"hash":"//; s/"}//')
holds m/more_receipt.json "\"diary\": {\"every\": 1, \"hash\": \"$hash\"}"
works ./more $more --out plain --seed 7
[ ! -e plain/diary.jsonl ] || fault "a diary that nobody asked for"
works ./more train reward --model m $cut --train a.train.jsonl --max_steps 1 --out next --quiet
differ m/more_receipt.json next/more_receipt.json "the receipt was kept by the next training"

it "the_hash_of_a_line_is_of_the_hash_before_and_of_the_line"
if command -v sha256sum > /dev/null; then
    before=$(sed -n '2{s/.*"hash":"//; s/"}//; p;}' m/diary.jsonl)
    line=$(sed -n '3{s/,"hash.*//; p;}' m/diary.jsonl)
    hash=$(printf '%s%s' "$before" "$line" | sha256sum)
    sed -n 3p m/diary.jsonl | grep -q "\"hash\":\"${hash%% *}\"" || fault "another hash"
fi

it "verify_trains_again_to_the_same_steps_and_weights_on_other_threads_and_instruction_sets"
for way in "verify m" "verify m/more_receipt.json --threads 3 --micro_batch_tokens 130" \
    "verify plain --recompute"; do
    works env MORE_ISA=$isa ./more $way
    holds out "trained again, to the same weights$"
done
[ -z "$(ls temporary)" ] || fault "it stays: $(ls temporary)"
mkdir away
mv $abc away
refused 66 "a.train.jsonl: No such file" ./more verify m
works ./more verify m --train away/a.train.jsonl away/b.train.jsonl away/c.train.jsonl --out kept
holds out "trained again, to the same weights$"
same kept/model.safetensors m/model.safetensors
same kept/diary.jsonl m/diary.jsonl
mv away/* .

it "every_kind_of_training_is_verified"
make_points
make_groups
lora="train reward $pairs --lora_r 4 --lora_targets dense --train $abc"
lm="train lm $new --train text.jsonl --max_steps 2 --eval other.jsonl"
dpo="train dpo $policy --train of.jsonl --group_robust who --spo_gamma 1 --max_steps 2"
stop="train rloo --model lm --reward r $cut --max_new_tokens 5 --n 2 --per_step_rows 3 --max_steps 2
      --prompts a.test.jsonl --stop yes"
best="train reward $pairs --train $abc --eval a.test.jsonl --eval_steps 1 --load_best"
for command in "$lora" "$lm" "$dpo" "$stop" "$best"; do
    rm -rf x
    works ./more $command --diary 2 --out x --quiet
    works ./more verify x
    holds out "trained again, to the same weights$"
done
works ./more train rloo --model lm --reward r $cut --max_new_tokens 5 --n 2 --per_step_rows 3 \
    --max_steps 2 --prompts a.test.jsonl --stop "
yes" --out x --quiet
works ./more verify x
awk '{ sub(/}$/, ",\"annotator\":\"p" NR % 4 "\"}"); print }' b.train.jsonl > people.jsonl
em="train em --model lm $cut --train people.jsonl --quiet"
works ./more $em --objective heads --out x3
TMPDIR= works ./more verify x3
holds out "trained again, to the same weights$"
holds err "^/tmp/more-verify-[^/]*/people.json: log-likelihood"        # no TMPDIR is named
em="$em --learning_rate 3e-3 --per_step_rows 6 --num_train_epochs 1 --em_steps 1"
works ./more $em --diary 1 --out x4
[ -e x4/type-2/diary.jsonl ] || fault "no diary of a type"
works ./more verify x4
holds out "trained again, to the same weights$"
flip x4/type-2/model.safetensors 9000
refused 1 "x4/type-2/model.safetensors: not the weights of the receipt: " ./more verify x4
cat > numbers.jsonl << 'END'
{"features":{"chosen":{"good":3,"long":1},"rejected":{"good":1,"long":2}}}
{"features":{"chosen":{"good":2,"long":2},"rejected":{"good":1,"long":1}}}
END
works ./more train features --train numbers.jsonl --out x5
works ./more verify x5
holds out "trained again, to the same weights$"

it "the_diary_of_a_run_that_was_interrupted_is_that_of_the_straight_run"
steps="--max_steps 30 --diary 3"
works ./more $more $steps --out straight
interrupted KILL state-4.bin '' ./more $more $steps --save_steps 2 --keep 100
[ ! -e killed/more_receipt.json ] || fault "a receipt before the end"
printf '{"step":' >> killed/diary.jsonl                     # a line that was cut
works ./more $more $steps --out killed --threads 2 --micro_batch_tokens 140 --save_steps 7
holds err "goes on after step"
same killed/diary.jsonl straight/diary.jsonl
lines 10 killed/diary.jsonl
works ./more diff killed straight

it "chosen_steps_are_verified_from_the_states_before_them"
works ./more $more --max_steps 30 --diary 1 --save_steps 10 --keep 3 --out s
[ -e s/state-20.bin ] || fault "no state is left: $(ls s)"
works ./more $more --max_steps 30 --diary 1 --out elsewhere --resume s/state-10.bin
same elsewhere/diary.jsonl s/diary.jsonl
works ./more verify s --steps 12..23
holds out "the replay begins with s/state-10.bin$"
holds out "to the same steps as far as step 23$"
works ./more verify s --steps 2..3
holds out "to the same steps as far as step 3$"
refused 64 "--steps 3: A..B is needed" ./more verify s --steps 3
refused 64 "single steps are compared with the diary" ./more verify plain --steps 2..3
sed 's/"step":15,"loss":"\(.\)./"step":15,"loss":"\1e/' s/diary.jsonl > changed.jsonl
cp changed.jsonl s/diary.jsonl
refused 65 "s/diary.jsonl:15: step 15 does not follow from the recipe" ./more verify s

it "the_first_thing_that_differs_is_named"
cp a.train.jsonl kept.jsonl
sed '1s/yes/Yes/' kept.jsonl > a.train.jsonl
refused 1 "m/more_receipt.json: another training: sha256 of file 1 of --train is " ./more verify m
refused 1 "another training: sha256 of file 1 of --train is " ./more verify m --no_replay
cp kept.jsonl a.train.jsonl
cp -r lm changed
sed 's/^{/{ /' lm/tokenizer.json > changed/tokenizer.json
refused 1 "another training: sha256 of the tokenizer is " ./more verify m --model changed
works ./more train lm --model lm $cut --train text.jsonl --max_steps 1 --out other --quiet
refused 1 "another training: the checksum of the weights at the start is " \
    ./more verify m --model other
works ./more verify m --no_replay
holds out "recipe, data, tokenizer and start are its own$"
cp -r m n
flip n/model.safetensors 9000
refused 1 "n/model.safetensors: not the weights of the receipt" ./more verify n
# a receipt that claims another rate, with the hash to it: the first step has another outcome
sed 's/rate=0.001"/rate=0.0011"/' m/more_receipt.json > n/more_receipt.json
cp m/model.safetensors n
refused 65 "n/diary.jsonl:1: step 1 does not follow from the recipe" ./more verify n
rm n/diary.jsonl
refused 1 "n/more_receipt.json: trained again, to other weights" ./more verify n
holds out "^n/more_receipt.json: steps\|^n/more_receipt.json: weights: sha256 of model.safetensors"
sed 's/functions ./functions x/' m/more_receipt.json > n/more_receipt.json
refused 1 "n/more_receipt.json: its numbers are those of functions x" ./more verify n
sed 's/"exact"/"fast"/' m/more_receipt.json > n/more_receipt.json
refused 65 "n/more_receipt.json: not of the level exact" ./more verify n
echo '{}' > n/more_receipt.json
refused 65 "n/more_receipt.json: not a receipt" ./more verify n
# emptied KEY VALUE: the receipt with another value, which has nothing to compare or to run
emptied() {
    tr -d '\n' < m/more_receipt.json | sed "s/\"$1\": *[[{][^]}]*[]}]/\"$1\": $2/" > n/more_receipt.json
    refused 65 "n/more_receipt.json: not a receipt" ./more verify n --no_replay
}
emptied command '[]'
emptied command '["train"]'
emptied command '["train", 1]'
emptied recipe '[]'
emptied recipe '["train=reward", null]'
emptied weights '{}'
emptied weights '{"model.safetensors": 1}'
refused 66 "nowhere" ./more verify nowhere
refused 64 "one receipt, or its folder, is needed" ./more verify --quiet

# forged FOLDER: its receipt and diary, made to fit one another again
forged() {
    hash=$(awk '/"recipe"/ { in_it = 1; next }
        in_it { last = /\],$/; sub(/^ *"/, ""); sub(/"[],]*$/, ""); print }
        last { exit }' $1/more_receipt.json | sha256sum)
    hash=${hash%% *}
    cp $1/diary.jsonl x.jsonl
    while read -r line; do
        line=${line%%,\"hash*}
        hash=$(printf '%s%s' $hash "$line" | sha256sum)
        hash=${hash%% *}
        echo "$line,\"hash\":\"$hash\"}"
    done < x.jsonl > $1/diary.jsonl
    sed "s/\"hash\": \".*\"/\"hash\": \"$hash\"/" $1/more_receipt.json > x.json
    cp x.json $1/more_receipt.json
}
it "the_step_that_differs_is_found_while_training"
works ./more train more $pairs --train $abc --diary 1 --out w2 --learning_rate 1.1e-3
if command -v sha256sum > x.out; then
    cp -r m w
    cp m/diary.jsonl kept-diary.jsonl
    forged w
    same w/diary.jsonl kept-diary.jsonl
    sed 's/"step":3,"loss":"\(..\)./"step":3,"loss":"\1a/' kept-diary.jsonl > w/diary.jsonl
    forged w
    refused 1 "w/more_receipt.json: step 3 is the first that differs: its loss is 0.5998" \
        ./more verify w
    sed 's/"step":2,\(.*\)"weights":"./"step":2,\1"weights":"f/' kept-diary.jsonl > w/diary.jsonl
    forged w
    refused 1 "w/more_receipt.json: step 2 is the first that differs: the same loss, but" \
        ./more verify w
fi

it "diff_names_the_tensor_the_step_and_the_field_that_differ"
cp -r m n2
flip n2/model.safetensors 9000
refused 1 "m and n2 differ" ./more diff m n2
holds out "^tensor .*: 1 of [0-9]* values differ, by at most [0-9.e-]* and [0-9]* ulp$"
holds out "^1 of 28 tensors, 1 of [0-9]* values differ"
refused 1 "differ" ./more diff m/model.safetensors n2/model.safetensors
refused 1 "m and w2 differ" ./more diff m w2
holds out "^receipt: recipe: --learning_rate is 0.001 and 0.0011$"
holds out "^diary: step 1 is the first that differs: of the same loss"
refused 1 "differ" ./more diff m/diary.jsonl w2/diary.jsonl
refused 1 "differ" ./more diff m/more_receipt.json w2/more_receipt.json
works ./more diff m kept
holds out "^m and kept are the same$"
works ./more export --model lm --out lm.gguf
works ./more diff lm.gguf lm.gguf
refused 1 "differ" ./more diff lm r
holds out "^tensor .*: in r alone$"
works ./more train lm --model lm $cut --train text.jsonl --max_steps 1 --dtype bf16 --out b --quiet
refused 1 "differ" ./more diff lm b
holds out "^tensor .*: not of one shape and number format$"
works ./more diff x4 x4
refused 64 "two folders or files are needed" ./more diff m
refused 66 "nowhere" ./more diff m nowhere

finish
