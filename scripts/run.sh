#!/bin/sh
# make run: reward models on five real preference sets from the shipped base, four ways to weigh the sets; one table.
# Usage: sh scripts/run.sh [STEPS [OUT]]      STEPS steps of 20 pairs (4 bundles, each a pair from every set)
set -e
steps=${1:-60} out=${2:-run}
sets="hh_harmless oasst1_en opinpref pandalm tulu_human"
train= test=
for s in $sets; do train="$train data/$s.train.jsonl"; test="$test data/$s.test.jsonl"; done
recipe="--model data/base --max_steps $steps --per_step_pairs 20 --learning_rate 2e-4 --head_rate 5 --weight_decay 0.05
        --warmup_ratio 0.06 --max_length 193 --max_prompt_length 64 --pooling mean --seed 1 --logging_steps 20 --micro_batch_tokens 8192"
mkdir -p "$out"
./more train reward $recipe --train $train --out "$out/multitask"
./more train more --more uniform $recipe --train $train --out "$out/uniform"
./more train more --more release $recipe --train $train --out "$out/more"
./more train more --more paper   $recipe --train $train --out "$out/more-paper"
./more eval --max_length 193 --max_prompt_length 64 --eval $test --bag $train --out "$out/results.jsonl" \
    --model "MultiTask=$out/multitask" "Uniform=$out/uniform" "MORE (release)=$out/more" "MORE (paper)=$out/more-paper"
echo
echo "The MORE model is in $out/more:  ./more score --model $out/more --max_length 193 --max_prompt_length 64 < your.jsonl"
