#!/bin/sh
# make align: a judge and six policies from the shipped base and data, compared on test prompts; a step that
# is done is not done again.
#
#   judge    a reward model of the pairs of fold 0; no policy is trained on prompts of this fold
#   SFT      answers labelled true of the other prompts, as all that follows, each from SFT: best-of-4 (the
#            judge's choice of SFT's own samples), DPO (pairs), point-wise DPO, ULMA, unlikelihood (points)
#
# Rates and epochs were chosen on the training files: the judge's by the log loss of the pairs of fold 1;
# SFT's by the perplexity of the answers labelled true in fold 0.  Those of the others by the area under the
# curve (AUC) of implicit rewards in fold 0: of 5e-5, 1e-4 and 2e-4 (unlikelihood: 1e-5 to 2e-4) and beta 0.1,
# 0.5 and 2 the smallest rate, then the smallest beta, within a standard error (0.018) of the best whose
# perplexity is at most a tenth above SFT's.  That of best-of-4 was not chosen.
#
# The halves change places for a second AUC: of policies trained on fold 0 on the answers of fold 1, by which
# nothing was chosen.
# Usage: sh scripts/align.sh [OUT]
set -e
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}             # no spinning: threads that sample meet often
out=${1:-align}
pairs=data/hh_harmless.train.jsonl points=data/hh_harmless_point.train.jsonl test=data/hh_harmless
cut="--max_length 193 --max_prompt_length 64" turn=$(printf '\n\nHuman:')
recipe="$cut --weight_decay 0.05 --warmup_ratio 0.06 --seed 1 --logging_steps 20 --micro_batch_tokens 8192
    --folds 2"
reward="$recipe --fold 1 --model data/base --per_step_pairs 16 --pooling mean --head_rate 5"
policy="$recipe --per_step_rows 16 --over_length truncate"
write="$cut --max_new_tokens 128 --temperature 1 --seed 1 --batch 64"
pairs_beta=0.1 points_beta=2
mkdir -p "$out"
keep() {
    file=$out/$1; shift
    [ -e "$file" ] || { "$@" > "$file.part" && mv "$file.part" "$file"; }
}
# step NAME OBJECTIVE OPTION...: a model folder
step() {
    name=$1 objective=$2
    shift 2
    [ -e "$out/$name" ] || {
        ./more train "$objective" --out "$out/$name.part" "$@" && mv "$out/$name.part" "$out/$name"
    }
}

step judge reward $reward --train $pairs --learning_rate 2e-4
# from_sft NAME OPTION...: a policy that starts from SFT, of the objective of that name
from_sft() {
    name=$1
    shift
    step "$name$suffix" "$name" $policy --fold $fold --model "$out/sft$suffix" "$@"
}
# train_policies FOLD SUFFIX: SFT and what starts from it, on all prompts but those of the fold
train_policies() {
    fold=$1 suffix=$2
    step "sft$suffix" sft $policy --fold $fold --model data/base --train $points --learning_rate 2e-4 \
        --num_train_epochs 2
    from_sft dpo --train $pairs --beta $pairs_beta --learning_rate 5e-5
    from_sft pointwise-dpo --train $points --beta $points_beta --learning_rate 5e-5
    from_sft ulma --train $points --beta $points_beta --learning_rate 5e-5
    from_sft unlikelihood --train $points --learning_rate 1e-5
}
train_policies 0 ''
train_policies 1 -swapped
[ -e "$out/best.jsonl" ] || ./more bestof --model "$out/sft" --judge "$out/judge" --prompts $points \
    --folds 2 --fold 0 --n 4 $write --stop "$turn" --out "$out/best.jsonl"
step best-of-4 sft $policy --fold 0 --model "$out/sft" --train "$out/best.jsonl" --learning_rate 1e-4

keep judge.txt ./more eval $cut --model "$out/judge" --bag $pairs --eval $test.test.jsonl
# implicit POLICY BETA: on test files, and on the half of the training points that the swapped one did not see
implicit() {
    keep "implicit-$1.txt" ./more eval $cut --reference "$out/sft" --beta "$2" --model "$out/$1" \
        --eval ${test}_point.test.jsonl $test.test.jsonl
    keep "implicit-$1-swapped.txt" ./more eval $cut --reference "$out/sft-swapped" --beta "$2" \
        --model "$out/$1-swapped" --folds 2 --fold 1 --eval $points
}
implicit dpo $pairs_beta; implicit unlikelihood $pairs_beta     # it has no beta: any
implicit pointwise-dpo $points_beta; implicit ulma $points_beta
compare() {
    keep "$1.txt" ./more compare $write --stop "$turn" --prompts $test.test.jsonl --judge "$out/judge" \
        --judge_labels $test.test.jsonl --out "$out/$1.jsonl" --model ${2:+"$2"} "SFT=$out/sft" "best-of-4 SFT=$out/best-of-4" "DPO=$out/dpo" \
        "point-wise DPO=$out/pointwise-dpo" "ULMA=$out/ulma" "unlikelihood=$out/unlikelihood"
}
compare against-base base=data/base
compare against-sft
echo; echo "The judge on test pairs"; cat "$out/judge.txt"
echo; echo "Implicit rewards of held-out answers, the reference is SFT"; cat "$out"/implicit-*.txt
echo; cat "$out/against-base.txt"; echo; cat "$out/against-sft.txt"
