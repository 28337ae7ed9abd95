#!/bin/sh
# make domain: reward models of a few named features on OpinPref, from 100 judgements up, beside a reward model that
# reads the texts; what such a reward rewards; a policy trained with it.  A step that is done is not done again.
#
#   scores    experts judged pairs of summaries; a language model had scored each in seven aspects (data/features).
#             Trained on 100 to 800 of the 800 training pairs, measured on the 140 of the release's validation file
#   counts    five numbers counted from the summaries themselves, and the shipped base as a reward model of the same
#             texts.  Trained on 100 to 656 pairs of data/opinpref.train, measured on the 99 of data/opinpref.test
#   policies  SFT on the better summaries; best-of-4 and RLOO by a reward of counts, all of the prompts of one half; a
#             reward model of texts of the other half judges
#
# Nothing is chosen by what is printed.
# Usage: sh scripts/domain.sh [OUT]        SEEDS=10: of features; TEXT_SEEDS=1: of the reward model of texts
set -e
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
out=${1:-domain} seeds=${SEEDS:-10} text_seeds=${TEXT_SEEDS:-1}
scores=data/features/opinpref_features.train.jsonl scores_test=data/features/opinpref_features.valid.jsonl
texts=data/opinpref.train.jsonl texts_test=data/opinpref.test.jsonl
counted="--features coverage,overlap,distinct1,repetition,length"
unlengthy="--features coverage,overlap,distinct1,repetition"         # a policy could make texts longer for `length`
cut="--max_length 193 --max_prompt_length 64"
reward="$cut --model data/base --num_train_epochs 2 --per_step_pairs 16 --learning_rate 2e-4 --head_rate 5
    --weight_decay 0.05 --warmup_ratio 0.06 --pooling mean --micro_batch_tokens 8192 --quiet"
linear="--layers linear --weight_decay 0" net="--layers 6,4,2" mean="--layers mean"
mkdir -p "$out/models"

# subset FILE N SEED: N rows by lot, and a line of names
subset() {
    grep '"feature_names"' "$1" || true
    awk -v seed="$3" 'BEGIN { x = 7919 * seed + 1 } /"feature_names"/ { next }
        { x = x * 16807 % 2147483647; print x "\t" $0 }' "$1" | sort -n | head -n "$2" | cut -f 2-
}
# kept FILE COMMAND...: what it prints is kept in OUT/FILE, and shown if it fails
kept() {
    file=$out/$1
    shift
    "$@" > "$file" 2>&1 || { cat "$file"; exit 1; }
}
# one DATA MODEL N SEED TEST COMMAND...: a line "data model n seed accuracy loss" in sizes.txt
touch "$out/sizes.txt"
one() {
    line="$1 $2 $3 $4" test=$5 model=$out/models/$1-$2
    shift 5
    if grep -q "^$line " "$out/sizes.txt"; then return; fi
    rm -rf "$model"
    kept last.log "$@" --seed "${line##* }" --out "$model"
    kept last.log ./more eval $cut --quiet --model "$model" --eval "$test" --out "$out/one.jsonl"
    sed -n "s/.*\"event\":\"metrics\".*\"accuracy\":\([0-9.e-]*\),.*\"nll\":\([0-9.e-]*\),.*/$line \1 \2/p" \
        "$out/one.jsonl" >> "$out/sizes.txt"
}
# step NAME COMMAND...: a model folder or a file
step() {
    name=$1
    shift
    if [ -e "$out/$name" ]; then return; fi
    kept last.log "$@" --out "$out/$name.part"
    mv "$out/$name.part" "$out/$name"
}

for seed in $(awk -v n="$seeds" 'BEGIN { for (i = n; i >= 1; i--) print i }'); do
    for n in 100 200 400 800; do                    # so that seed 1 of all rows is the model that stays
        few=$out/few.jsonl
        subset $scores $n $seed > "$few"
        one scores linear $n $seed $scores_test ./more train features $linear --train "$few"
        one scores 6,4,2 $n $seed $scores_test ./more train features $net --train "$few"
        one scores mean $n $seed $scores_test ./more train features $mean --train "$few"
        subset $texts $n $seed > "$few"
        one counts linear $n $seed $texts_test ./more train features $counted $linear --train "$few"
        one counts 6,4,2 $n $seed $texts_test ./more train features $counted $net --train "$few"
        if [ "$seed" -le "$text_seeds" ]; then
            one counts texts $n $seed $texts_test ./more train reward $reward --train "$few"
        fi
    done
done
awk -f scripts/domain_table.awk "$out/sizes.txt"
awk -f scripts/domain_figure.awk "$out/sizes.txt" > "$out/sizes.svg"

step models/authors ./more train features --layers authors --train $scores
m=$out/models
echo; echo "All pairs; intervals are by pair"
kept scores.txt ./more eval --quiet --eval $scores_test --model "linear=$m/scores-linear" "6,4,2=$m/scores-6,4,2" \
    "mean=$m/scores-mean" "authors=$m/authors"
kept counts.txt ./more eval --quiet $cut --eval $texts_test --model "counts=$m/counts-linear" "texts=$m/counts-texts" \
    "both=$m/counts-linear+$m/counts-texts"
kept by-scores.txt ./more eval --quiet --eval $scores_test --by annotator --model "linear=$m/scores-linear"
kept by-counts.txt ./more eval --quiet $cut --eval $texts_test --by annotator --model "texts=$m/counts-texts"
sed -nE '/pairs, [0-9]+ prompts|%   95|^[a-z0-9,]+ +[0-9]|^longer/p' "$out/scores.txt" "$out/counts.txt"
sed -nE '/^op[1-4] |by annotator/p' "$out/by-scores.txt" "$out/by-counts.txt"
echo
./more explain --model "$m/scores-linear" --eval $scores --train $scores --out "$out/explain.json"

half="--folds 2 --fold 0" policy="--per_step_rows 16 --over_length truncate --weight_decay 0.05 --warmup_ratio 0.06
    --micro_batch_tokens 8192 --seed 1 --quiet"
draw="--max_new_tokens 96 --batch 64" turn=$(printf '\n\nHuman:')
step models/judge ./more train reward $reward --folds 2 --fold 1 --train $texts --seed 1
step models/half ./more train features $unlengthy $linear $half --train $texts
step models/sft ./more train sft $cut $policy $half --model data/base --train $texts --learning_rate 2e-4 \
    --num_train_epochs 2
step best.jsonl ./more bestof $cut $draw $half --model "$m/sft" --judge "$m/half" --prompts $texts \
    --stop "$turn" --temperature 1 --seed 1 --n 4 --quiet
step models/best-of-4 ./more train sft $cut $policy $half --model "$m/sft" --train "$out/best.jsonl" \
    --learning_rate 1e-4
step models/rloo ./more train rloo $cut $draw $half --model "$m/sft" --reward "$m/half" \
    --prompts $texts --stop "$turn" --n 4 --per_step_rows 8 --learning_rate 5e-5 --max_steps 60 --seed 1 --quiet \
    --micro_batch_tokens 8192
for by in judge half; do
    echo
    case $by in
    judge) echo "Policies, by a reward model of texts that was trained on other prompts" ;;
    half) echo "Policies, by the reward of counts that best-of-4 and RLOO were trained with" ;;
    esac
    ./more compare $cut $draw --stop "$turn" --temperature 1 --seed 1 --prompts $texts_test --quiet \
        --judge "$m/$by" --model "SFT=$m/sft" "best-of-4=$m/best-of-4" "RLOO=$m/rloo"
done
echo; echo "accuracy by number of pairs: $out/sizes.svg; what the linear reward rewards: $out/explain.svg"
