#!/bin/sh
# A policy trained with a reward model, beside SFT and the best of four, judged by a reward model of other
# prompts; a step that is done is not done again.
#
#   judge    a reward model of the pairs of fold 0; nothing else is trained on prompts of this fold
#   reward   one of the pairs of the other prompts, as all that follows
#   SFT      answers labelled true; from it best-of-4 (the choice of `reward` among SFT's own samples) and
#            RLOO, which draws four texts of each prompt and takes the rewards of `reward`
#
# Nothing here was tuned: SFT and the reward models as in align.sh.
# Usage: sh scripts/rl.sh [OUT]         STEPS=100: RLOO's
set -e
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}             # no spinning: threads that sample meet often
out=${1:-rl} steps=${STEPS:-100}
pairs=data/hh_harmless.train.jsonl points=data/hh_harmless_point.train.jsonl test=data/hh_harmless.test.jsonl
cut="--max_length 193 --max_prompt_length 64" turn=$(printf '\n\nHuman:')
recipe="$cut --weight_decay 0.05 --warmup_ratio 0.06 --seed 1 --logging_steps 20 --micro_batch_tokens 8192
    --folds 2"
reward="$recipe --model data/base --per_step_pairs 16 --pooling mean --head_rate 5 --learning_rate 2e-4"
policy="$recipe --fold 0 --per_step_rows 16 --over_length truncate"
draw="--max_new_tokens 64 --batch 64"
write="$cut $draw --temperature 1 --seed 1"
mkdir -p "$out"
# step NAME OBJECTIVE OPTION...: a model folder
step() {
    name=$1 objective=$2
    shift 2
    [ -e "$out/$name" ] || {
        ./more train "$objective" --out "$out/$name.part" "$@" && mv "$out/$name.part" "$out/$name"
    }
}

step judge reward $reward --fold 1 --train $pairs
step reward reward $reward --fold 0 --train $pairs
step sft sft $policy --model data/base --train $points --learning_rate 2e-4 --num_train_epochs 2
[ -e "$out/best.jsonl" ] || ./more bestof --model "$out/sft" --judge "$out/reward" --prompts $points \
    --folds 2 --fold 0 --n 4 $write --stop "$turn" --out "$out/best.jsonl"
step best-of-4 sft $policy --model "$out/sft" --train "$out/best.jsonl" --learning_rate 1e-4
step rloo rloo $recipe --fold 0 --model "$out/sft" --reward "$out/reward" --prompts $points $draw \
    --stop "$turn" --n 4 --per_step_rows 8 --learning_rate 5e-5 --max_steps "$steps"

# by the judge, and by the reward that was optimised
for by in judge reward; do
    [ -e "$out/by-$by.txt" ] || {
        ./more compare $write --stop "$turn" --prompts $test --judge "$out/$by" --out "$out/by-$by.jsonl" \
            --model "SFT=$out/sft" "best-of-4=$out/best-of-4" "RLOO=$out/rloo" > "$out/by-$by.txt.part" &&
            mv "$out/by-$by.txt.part" "$out/by-$by.txt"
    }
done
echo; echo "By a reward model of other prompts"; cat "$out/by-judge.txt"
echo; echo "By the reward that was optimised"; cat "$out/by-reward.txt"
