#!/bin/sh
# rankings.sh - does it help to train on whole rankings (Plackett-Luce) rather than on their pairs?  A table for each
# of the two sets that people ranked, by cross-validation over prompts of the training files; the test files are not
# touched.
#
#   Plackett-Luce   the ranking as it is          best of m   --top 1, its first place
#   pairs           --pairs, each two answers; as many to a step as a step of rankings has
#
# The same start, rate, epochs and number of steps for all; nothing was chosen by these numbers.
# Usage: sh scripts/rankings.sh [OUT [FOLDS]]
set -e
out=${1:-rankings} folds=${2:-2}
cut="--max_length 193 --max_prompt_length 64 --folds $folds"
recipe="$cut --model data/base --num_train_epochs 2 --learning_rate 2e-4 --weight_decay 0.05 --warmup_ratio 0.06
    --pooling mean --seed 1 --micro_batch_tokens 8192 --quiet"
mkdir -p "$out"
# step NAME COMMAND...: a model folder, or a file of results; what is done is not done again
step() {
    name=$1
    shift
    [ -e "$out/$name" ] || { "$@" --out "$out/$name.part" && mv "$out/$name.part" "$out/$name"; }
}
# a set, and how many pairs the mean ranking of it has
for set in "oasst1_en_rank 4" "summeval_op_rank 14"; do
    pairs=${set#* } set=${set% *}
    file=data/$set.train.jsonl fold=0
    while [ $fold -lt "$folds" ]; do
        here="--fold $fold"
        step $set-luce-$fold ./more train reward $recipe $here --train $file --per_step_pairs 4
        step $set-best-$fold ./more train reward $recipe $here --train $file --per_step_pairs 4 --top 1
        step $set-pairs-$fold ./more train reward $recipe $here --train $file --pairs \
            --per_step_pairs $((4 * pairs))
        step $set-$fold.jsonl ./more eval $cut $here --eval $file --quiet --model \
            "pairs=$out/$set-pairs-$fold" "Plackett-Luce=$out/$set-luce-$fold" "best of m=$out/$set-best-$fold"
        fold=$((fold + 1))
    done
done
./more eval --from "$out"/*_rank-*.jsonl
