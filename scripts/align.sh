#!/bin/sh
# make align: a judge and six policies from the shipped base and data, compared on test prompts; a step that is done is
# not done again.
#
#   judge    a reward model of pairs of the prompts in fold 0; no policy is trained on these prompts
#   SFT      the answers labelled true of the other prompts, as all that follows, each from SFT:
#            DPO (pairs), point-wise DPO, ULMA, unlikelihood (points), best-of-4 (the judge's choice of SFT's samples)
#
# The rates were chosen on the training files: by the area under the curve of implicit rewards, and for SFT by the perplexity
# of answers labelled true, both on fold 0.  Usage: sh scripts/align.sh [OUT]
set -e
out=${1:-align}
pairs=data/hh_harmless.train.jsonl points=data/hh_harmless_point.train.jsonl test=data/hh_harmless
cut="--max_length 193 --max_prompt_length 64" turn=$(printf '\n\nHuman:')
recipe="$cut --per_step_pairs 16 --weight_decay 0.05 --warmup_ratio 0.06 --seed 1 --logging_steps 20 --micro_batch_tokens 8192"
policy="$(echo "$recipe" | sed s/pairs/rows/) --over_length truncate --folds 2 --fold 0"
write="$cut --max_new_tokens 128 --temperature 1 --seed 1 --batch 64"
mkdir -p "$out"
step() { [ -e "$out/$1/model.safetensors" ] || ./more train "$2" --out "$out/$1" $3; }

step judge reward "$recipe --model data/base --train $pairs --folds 2 --fold 1 --pooling mean --learning_rate 2e-4 --head_rate 5
    --num_train_epochs 2"
step sft sft                     "$policy --model data/base --train $points --learning_rate 2e-4 --num_train_epochs 2"
step dpo dpo                     "$policy --model $out/sft --train $pairs   --learning_rate 5e-5"
step pointwise-dpo pointwise-dpo "$policy --model $out/sft --train $points  --learning_rate 5e-5"
step ulma ulma                   "$policy --model $out/sft --train $points  --learning_rate 5e-5"
step unlikelihood unlikelihood   "$policy --model $out/sft --train $points  --learning_rate 5e-5"
[ -e "$out/best.jsonl" ] || ./more bestof --model "$out/sft" --judge "$out/judge" --prompts $points --folds 2 --fold 0 --n 4 \
    $write --stop "$turn" --out "$out/best.jsonl"
step best-of-4 sft "$policy --model $out/sft --train $out/best.jsonl --learning_rate 1e-4"

[ -e "$out/judge.txt" ] || ./more eval $cut --model "$out/judge" --eval $test.test.jsonl > "$out/judge.txt"
[ -e "$out/auc.txt" ] || ./more eval $cut --reference "$out/sft" --eval ${test}_point.test.jsonl $test.test.jsonl --model \
    "DPO=$out/dpo" "point-wise DPO=$out/pointwise-dpo" "ULMA=$out/ulma" "unlikelihood=$out/unlikelihood" > "$out/auc.txt"
[ -e "$out/compare.txt" ] || ./more compare $write --stop "$turn" --prompts $test.test.jsonl --judge "$out/judge" \
    --out "$out/compare.jsonl" --model base=data/base "SFT=$out/sft" "DPO=$out/dpo" "point-wise DPO=$out/pointwise-dpo" \
    "ULMA=$out/ulma" "unlikelihood=$out/unlikelihood" "best-of-4 SFT=$out/best-of-4" > "$out/compare.txt"
cat "$out/judge.txt"
echo
echo "Held-out implicit rewards, reference SFT"
cat "$out/auc.txt"
echo
cat "$out/compare.txt"
