#!/bin/sh
# Two short steps of MORE from the shipped base, one of a reward model of rankings, and EM with two
# types of people: with every instruction set of this machine, with one thread and small micro-batches
# and with two and large ones: fails unless all give the same weights.  (scalar computes fused
# multiply-adds in software, which takes most of the minute; texts are cut so short that doctor
# would trap them.)
set -e
make -s more
out=$(mktemp -d "${TMPDIR:-/tmp}/more-bits-XXXXXX")
trap 'rm -rf "$out"' EXIT
sets="data/hh_harmless.train.jsonl data/pandalm.train.jsonl data/tulu_human.train.jsonl"
head -n 2 data/oasst1_en_rank.train.jsonl > "$out/rankings"
head -n 4 data/em_persona.train.jsonl > "$out/people"
cut="--model data/base --max_length 33 --max_prompt_length 16 --learning_rate 1e-4 --quiet --force"

# hashes ISA THREADS ROWS: of the weights, with micro-batches of so many token rows
hashes() {
    rm -rf "$out/em"
    export MORE_ISA=$1
    with="$cut --threads $2 --micro_batch_tokens $3"
    ./more train more --more release $with --train $sets --max_steps 2 --per_step_pairs 3 \
        --out "$out/more"
    ./more train reward $with --train "$out/rankings" --per_step_pairs 2 --out "$out/ranking"
    ./more train em $with --train "$out/people" --types 2 --em_steps 2 --per_step_rows 2 \
        --out "$out/em"
}

first=
for isa in scalar neon avx2 avx512 avx512_bf16 amx; do
    MORE_ISA=$isa ./more tokenize --model data/base < /dev/null > /dev/null 2>&1 || {
        echo "$isa: not on this machine"
        continue
    }
    for how in "1 40" "2 4096"; do
        hash=$(hashes $isa $how 2> "$out/err") || {
            cat "$out/err"
            exit 1
        }
        echo "$isa, threads and rows $how:"
        echo "$hash"
        [ "$hash" = "${first:=$hash}" ] || { echo "not the same"; exit 1; }
    done
done
