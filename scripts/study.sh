#!/bin/sh
# make study: the full comparison on the shipped data, cell by cell; a cell that is done is not done again.
#
#   test files    every row of the MORE paper's table 2 on the five shipped sets, seeds 1, 2, 3, all pairs
#   5-fold        Single and the control "same recipe from random weights", over the prompts of the training files
#
# Usage: sh scripts/study.sh [FOLDER]     FOLDER may hold hh_helpful and webgpt (.train.jsonl and .test.jsonl), which
# are CC BY-NC and not shipped: they join Single and the 5-fold part.  Environment: OUT (study), JOBS (all cores),
# PARTS ("test folds"): one of the two alone.  Each cell runs on one thread, JOBS side by side; the results do not
# depend on that.
set -e
folder=$1; folds= seeds= out=${OUT:-study}; jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
for part in ${PARTS:-test folds}; do
    case $part in
    test) seeds="1 2 3" ;;
    folds) folds="0 1 2 3 4" ;;
    *) echo "PARTS has test or folds, not $part"; exit 1 ;;
    esac
done
sets="hh_harmless oasst1_en opinpref pandalm tulu_human"
extra=; for s in hh_helpful webgpt; do [ -n "$folder" ] && [ -f "$folder/$s.train.jsonl" ] && extra="$extra $s"; done
# names of folders are not part of a cell's script: it says "$folder" and "$out"
file() { [ -f "data/$1.$2.jsonl" ] && echo "data/$1.$2.jsonl" || echo "\"\$folder\"/$1.$2.jsonl"; }
cut="--max_length 193 --max_prompt_length 64"
recipe="--model data/base $cut --learning_rate 2e-4 --head_rate 5 --weight_decay 0.05 --warmup_ratio 0.06"
recipe="$recipe --pooling mean --micro_batch_tokens 8192 --quiet --threads 1"
mkdir -p "$out/cells"
train= test=; for s in $sets; do train="$train $(file $s train)"; test="$test $(file $s test)"; done

# a cell is a name and a script: it trains into a folder of that name, evaluates, keeps the pairs and drops the weights
list=$out/list; : > "$list"
cell() { echo "$2" > "$out/cells/$1.sh"; echo "$1" >> "$list"; }

for fold in $folds; do
    for s in $sets $extra; do
        cell fold-$s-Bag-$fold "./more eval --threads 1 --folds 5 --fold $fold --bag $(file $s train) --eval $(file $s train):$s --out \"\$result\""
        for start in Single Random; do
            random=; [ $start = Random ] && random=--random_weights
            cell fold-$s-$start-$fold "./more train reward --seed 1 $recipe $random --per_step_pairs 16 --folds 5 --fold $fold --train $(file $s train) --out \"\$out\"/models/fold-$s-$start-$fold
./more eval $cut --threads 1 --folds 5 --fold $fold --eval $(file $s train):$s --model $start=\"\$out\"/models/fold-$s-$start-$fold --out \"\$result\""
        done
    done
done
for seed in $seeds; do
    # counting words has no seed: its pairs count once a seed as the others' do
    cell test-bag-$seed "./more eval --threads 1 --bag $train --eval $test --out \"\$result\""
    run="--seed $seed $recipe --per_step_pairs 20 --train $train"
    for way in multitask uniform release paper; do
        case $way in
            multitask) name=MultiTask;      command="reward" ;;
            uniform)   name=Uniform;        command="more --more uniform" ;;
            release)   name="MORE (release)"; command="more --more release" ;;
            paper)     name="MORE (paper)"; command="more --more paper" ;;
        esac
        cell test-$way-$seed "./more train $command $run --out \"\$out\"/models/$way-$seed
./more eval $cut --threads 1 --eval $test --model '$name'=\"\$out\"/models/$way-$seed --out \"\$result\""
    done
    # Single trains one model a set; Top is the model of the set itself, Averaging the mean of the five
    single= average=
    for s in $sets; do
        single="$single
./more train reward --seed $seed $recipe --per_step_pairs 16 --train $(file $s train) --out \"\$out\"/models/single-$seed-$s"
        average="$average+\"\$out\"/models/single-$seed-$s"
    done
    cell test-single-$seed "$single
./more eval $cut --threads 1 --eval $test --model Single=\"\$out\"/models/single-$seed-%s --out \"\$result\".single
./more eval $cut --threads 1 --eval $test --model Averaging=${average#+} --out \"\$result\".average
./more eval $cut --threads 1 --eval $test --model Raw=data/base --raw_head $seed --pooling mean --out \"\$result\".raw
cat \"\$result\".single \"\$result\".average \"\$result\".raw > \"\$result\""
    for s in $extra; do
        cell extra-single-$seed-$s "./more train reward --seed $seed $recipe --per_step_pairs 16 --train $(file $s train) --out \"\$out\"/models/extra-single-$seed-$s
./more eval $cut --threads 1 --eval $(file $s test) --model Single=\"\$out\"/models/extra-single-$seed-$s --out \"\$result\""
    done
done

# every cell that has no result yet, JOBS at a time
export out folder
xargs -n 1 -P "$jobs" sh -ec '
    [ -f "$out/cells/$0.jsonl" ] && exit 0
    result=$out/cells/$0.part
    export result
    sh -e "$out/cells/$0.sh" > "$out/cells/$0.log" 2>&1 || { echo "$0 failed:"; tail -n 2 "$out/cells/$0.log"; exit 1; }
    mv "$result" "$out/cells/$0.jsonl"
    rm -rf "$result".* "$out/models/$0" "$out/models/${0#test-}" "$out/models/${0#test-}"-*
    echo "$0 done"' < "$list"

# table NAME FILE...
table() {
    name=$1
    shift
    ./more eval --quiet --from "$@" > "$out/$name.txt"
    cat "$out/$name.txt"
}
if [ -n "$seeds" ]; then
    echo
    echo "Test files, three seeds (each pair counts once a seed; intervals and errors are clustered by prompt)"
    set --
    for way in multitask uniform release paper single bag; do set -- "$@" "$out"/cells/test-$way-?.jsonl; done
    table test "$@"
    if [ -n "$extra" ]; then table extra "$out"/cells/extra-single-*.jsonl; fi
fi
if [ -n "$folds" ]; then
    echo
    echo "5-fold cross-validation over the training prompts, one seed"
    table folds "$out"/cells/fold-*-Single-*.jsonl "$out"/cells/fold-*-Random-*.jsonl \
        "$out"/cells/fold-*-Bag-*.jsonl
fi
