# lora.sh - adapters: trained alone, saved as PEFT has them, merged where they are used.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
lora="--lora_r 4 --learning_rate 1e-2"

it "adapters_and_a_reward_head_are_trained_in_less_memory_than_the_whole"
wide="train lm $new --hidden_size 256 --max_steps 1 --train text.jsonl --quiet"
works ./more $wide --out wide
# needed OPTION...: GiB, as announced
needed() {
    works ./more train reward --model wide $cut --max_steps 1 --train a.train.jsonl "$@" --out x
    gib=$(sed -n 's/.* steps, \([0-9.]*\) GiB needed.*/\1/p' err)
    rm -rf x
}
needed
whole=$gib
needed $lora
echo "$whole $gib" | awk '{ exit !($2 > 0 && $2 < $1) }' || fault "$gib GiB of $whole"
holds err '^[0-9]* parameters, [0-9]* of them trained, pooling last, 1 steps, '

it "an_adapter_is_a_folder_of_peft_and_scores_as_what_it_is_merged_to"
works ./more train reward $pairs $lora --train a.train.jsonl --out rm
hash=$(sha)
[ -e rm/model.safetensors ] && fault "a whole model was saved"
holds rm/adapter_config.json '"peft_type": "LORA"'
holds rm/adapter_config.json '"task_type": "SEQ_CLS"'
holds rm/adapter_config.json '"dense_h_to_4h"'
from a.train.jsonl works ./more score --model rm
mv out scores
works ./more export --model rm --out merged
[ "$(sha)" = "$hash" ] && fault "the hash of the adapter"
from a.train.jsonl works ./more score --model merged
same scores out
works ./more inspect --model rm
holds out '^weights sha256 '"$hash"'$'
holds out ' numbers  rms .* base_model\.model\.gpt_neox\.layers\.1\..*\.lora_B\.weight$'
counts "$(sed -n 's/^weights: \([0-9]*\) tensors.*/\1/p' out)" out ' numbers  rms '

it "an_adapter_alone_takes_all_else_from_its_base_model"
mkdir bare
cp rm/adapter_config.json rm/adapter_model.safetensors bare
[ -e rm/config.json ] && fault "config.json, for which transformers would look for all weights"
from a.train.jsonl works ./more score --model bare
same scores out

it "threads_micro_batches_and_recomputing_change_no_bit_of_an_adapter"
for how in "--threads 3" "--micro_batch_tokens 150" --recompute; do
    works ./more train reward $pairs $lora --train a.train.jsonl --out x --resume no $how
    [ "$(sha)" = "$hash" ] || fault "another hash with $how"
done

it "policies_start_as_their_base_to_the_last_bit"
works ./more train dpo --model lm $lora --lora_targets query_key_value,dense --max_steps 3 \
    --train a.train.jsonl --out dpo
holds err 'texts agree to the last bit; the loss starts at 0.693147'
dpo=$(sha)
cp dpo/reference.bin kept.bin
works ./more train dpo --model lm $lora --seed 7 --max_steps 1 --train a.train.jsonl --out dpo2 \
    --reference_cache kept.bin
holds err 'log-probabilities of the same weights and texts from kept.bin'
works ./more sample --model dpo --prompts a.train.jsonl --temperature 0 --max_new_tokens 4
mv out drawn
works ./more export --model dpo --out dpo-merged
works ./more sample --model dpo-merged --prompts a.train.jsonl --temperature 0 --max_new_tokens 4
same drawn out
works ./more train dpo --model dpo --max_steps 1 --train a.train.jsonl --out after
holds err 'texts agree to the last bit'
works ./more train sft --model lm $lora --max_steps 1 --train a.train.jsonl --out sft
works ./more train lm --model lm $lora --max_steps 1 --train text.jsonl --out more-lm
works ./more train more $pairs $lora --train $abc --out mo

it "a_frozen_base_stays_as_its_file_has_it_and_changes_no_bit"
works ./more export --model wide --dtype q8_0 --out wide.gguf
works ./more train lm --model wide --train text.jsonl --max_steps 1 --learning_rate 0 --dtype bf16 \
    --out wide-bf16 --quiet
# same_hash MODEL COMMAND...: without and with --base_dtype fp32
same_hash() {
    model=$1
    shift
    works ./more train "$@" --model $model --out x
    hash=$(sha)
    rm -rf x
    works ./more train "$@" --model $model --out x --base_dtype fp32
    [ "$(sha)" = "$hash" ] || fault "$model $*: another hash"
    rm -rf x
}
small="$cut --max_steps 2 --train a.train.jsonl"
for model in wide.gguf wide-bf16; do
    same_hash $model dpo $small $lora
    same_hash $model reward $small $lora --precision bf16
    same_hash $model reward $small --freeze --learning_rate 1e-3
    from a.train.jsonl works ./more score --model $model
    mv out scores
    from a.train.jsonl works ./more score --model $model --base_dtype file
    same scores out
done
same_hash wide-bf16 rloo $cut --lora_r 2 --max_steps 1 --reward rm --train a.train.jsonl \
    --max_new_tokens 8 --n 2
works ./more train reward $small --model wide-bf16 --freeze --dtype bf16 --out x
mv x/model.safetensors narrow.safetensors
works ./more train reward $small --model wide-bf16 --freeze --dtype bf16 --base_dtype fp32 \
    --resume no --out x
cmp -s x/model.safetensors narrow.safetensors || fault "a frozen base is saved as another"
rm -rf x
refused 64 "all weights are to change" ./more train dpo $small --model wide-bf16 --out x \
    --base_dtype file

it "what_cannot_be_an_adapter_is_refused"
train="./more train reward --train a.train.jsonl $recipe --out z"
refused 64 "adapters need the weights of --model" ./more train lm --lora_r 2 --train text.jsonl \
    --out z
refused 64 "--freeze and --lora_r" $train --model lm --lora_r 2 --freeze
refused 64 "\"v_proj\" is no matrix of a GPT-NeoX model; there are all-linear, query_key_value" \
    $train --model lm --lora_r 2 --lora_targets dense,v_proj
refused 64 "more export --model rm --out FOLDER" $train --model rm --lora_r 2
refused 73 "merged: has model.safetensors, of a whole model" ./more train reward $pairs $lora \
    --train a.train.jsonl --out merged
refused 73 "rm: has adapter_config.json, of an adapter" ./more train reward $pairs \
    --train a.train.jsonl --out rm --resume no
refused 65 "rm: a reward model, which predicts no tokens" ./more sample --model rm \
    --prompts a.train.jsonl

# damage CODE WORDS SED: what is said of the adapter when its settings are changed
damage() {
    sed "$3" rm/adapter_config.json > bare/adapter_config.json
    from a.train.jsonl refused $1 "$2" ./more score --model bare
}
base='s|"base_model.*|"base_model_name_or_path": '
damage 66 "base_model_name_or_path is /gone, and there is no" "$base\"/gone\",|"
damage 65 "base_model_name_or_path must be the folder" "${base}3,|"
damage 65 "is an adapter too" "$base\"rm\",|"
damage 65 "peft_type is not LORA" 's|"LORA"|"IA3"|'
damage 65 "use_dora is not read here" 's|"r": 4|"r": 4, "use_dora": true|'
damage 65 "alpha_pattern is not read" 's|"r": 4|"r": 4, "alpha_pattern": {"dense": 1}|'
damage 65 '"r" must be a number from 1 to 65536' 's|"r": 4,||'
damage 65 'has another rank than "r" of adapter_config.json' 's|"r": 4|"r": 8|'
damage 65 'has another rank than "r" of adapter_config.json' 's|"r": 4|"r": 4.5|'
sed 's|"r": 4|"r": 8, "rank_pattern": {"dense": 4}|' rm/adapter_config.json \
    > bare/adapter_config.json
from a.train.jsonl works ./more score --model bare
damage 65 "init_lora_weights changed the base" 's|weights": true|weights": "pissa_niter_4"|'
cp rm/adapter_config.json bare
head -c 5000 rm/adapter_model.safetensors > bare/adapter_model.safetensors
from a.train.jsonl refused 65 "after the file, which is truncated" ./more score --model bare
sed 's|score.weight|other.weight|' rm/adapter_model.safetensors > bare/adapter_model.safetensors
from a.train.jsonl refused 65 "other.weight is none of the base model" ./more score --model bare
sed 's|mlp.dense_4h_to_h.lora_B|mlp.dense_4h_to_h.lora_C|' rm/adapter_model.safetensors \
    > bare/adapter_model.safetensors
from a.train.jsonl refused 65 "has no lora_B beside it" ./more score --model bare
rm bare/adapter_model.safetensors
from a.train.jsonl refused 66 "bare: an adapter without adapter_model.safetensors" ./more score --model bare
finish
