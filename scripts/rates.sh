#!/bin/sh
# Which learning rate and head rate suit a model: reward models on one half of each file's prompts, measured on the
# other, one table.  A cell that is done is not done again.  docs/USING.md shows what came of it.
#
# Usage: sh scripts/rates.sh MODEL FILE...        training files, never test files
# Environment: OUT (rates; one for each model), RATES, HEADS (head rates; raw: rate 1 from a head of N(0, 0.02)), SEEDS,
#              PRECISION (fp32; bf16), JOBS at a time (1), each on one thread
set -e
model=$1
[ $# -gt 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 64; }
shift
out=${OUT:-rates}
rates=${RATES:-5e-5 1e-4 2e-4 4e-4}
heads=${HEADS:-1 5 10 20 raw}
same="--max_length 193 --max_prompt_length 64 --folds 2 --fold 1 --threads 1 --precision ${PRECISION:-fp32}"
mkdir -p "$out"
export model out same

# one cell: FILE, SEED, RATE and HEAD to the pairs of eval; of the model the log alone is kept
list=$out/list
: > "$list"
for seed in ${SEEDS:-1}; do
    for file in "$@"; do
        for rate in $rates; do
            for head in $heads; do printf '%s\0' "$file" "$seed" "$rate" "$head" >> "$list"; done
        done
    done
done
xargs -0 -n 4 -P "${JOBS:-1}" sh -ec '
    file=$0 seed=$1 rate=$2 head=$3
    set=$(basename "$file" .jsonl)
    cell=$out/$set-$rate-$head-$seed
    [ -f "$cell.jsonl" ] && exit 0
    start="--head_rate $head"
    [ "$head" = raw ] && start="--head_rate 1 --raw_head $seed"
    ./more train reward $same --seed "$seed" --learning_rate "$rate" $start --quiet \
        --model "$model" --train "$file" --out "$cell" > "$cell.txt" 2>&1 || { tail -n 1 "$cell.txt"; exit 255; }
    ./more eval $same --quiet --model "$rate x $head=$cell" --eval "$file:$set" --out "$cell.part" >> "$cell.txt" 2>&1
    mv "$cell/log.jsonl" "$cell.log"
    rm -r "$cell"
    mv "$cell.part" "$cell.jsonl"' < "$list"

# the table, rates in their order; then how the loss moved
set --
for rate in $rates; do
    for head in $heads; do set -- "$@" "$out"/*-"$rate-$head"-?.jsonl; done
done
./more eval --quiet --from "$@"
echo
echo "mean training loss of steps 1 to 5, 6 to 10 and all others (a head of zeros starts at 0.6931)"
for rate in $rates; do
    for head in $heads; do
        cat "$out"/*-"$rate-$head"-?.log | awk -F '[:,]' -v name="$rate x $head" '
            function mean(part) { return n[part] ? sprintf("%.4f", sum[part] / n[part]) : "-" }
            /"event":"train"/ { part = $4 > 10 ? 2 : $4 > 5; sum[part] += $6; n[part]++ }
            END { printf "%-20s%8s%8s%8s\n", name, mean(0), mean(1), mean(2) }'
    done
done
