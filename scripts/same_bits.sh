#!/bin/sh
# Two short steps of MORE from the shipped base, with every instruction set of this machine and with
# one and two threads: fails unless all give the same weights.  (scalar computes fused multiply-adds
# in software, which takes most of the time, and is asked once; texts are cut so short that doctor
# would trap them.)
set -e
make -s more
out=$(mktemp -d "${TMPDIR:-/tmp}/more-bits-XXXXXX")
trap 'rm -rf "$out"' EXIT
sets="data/hh_harmless.train.jsonl data/pandalm.train.jsonl data/tulu_human.train.jsonl"
first=
for isa in scalar neon avx2 avx512 avx512_bf16 amx; do
    MORE_ISA=$isa ./more tokenize --model data/base < /dev/null > /dev/null 2>&1 || {
        echo "$isa: not on this machine"
        continue
    }
    threads="1 2"
    if [ $isa = scalar ]; then threads=2; fi
    for threads in $threads; do
        hash=$(MORE_ISA=$isa ./more train more --more release --model data/base --threads $threads \
            --train $sets --max_steps 2 --per_step_pairs 3 --max_length 33 --max_prompt_length 16 \
            --learning_rate 1e-4 --quiet --force --out "$out" 2> "$out/err") || {
            cat "$out/err"
            exit 1
        }
        echo "$isa, $threads threads: $hash"
        [ "$hash" = "${first:=$hash}" ] || { echo "not the same"; exit 1; }
    done
done
