#!/bin/sh
# Two short steps of MORE from the shipped base, for every instruction set this machine has and for one and two threads:
# the lines must be equal.  (scalar computes fused multiply-adds in software and takes a minute.)
for isa in scalar neon avx2 avx512; do
    for threads in 1 2; do
        hash=$(OMP_NUM_THREADS=$threads MORE_ISA=$isa ./more train more --more release --model data/base --quiet \
            --train data/hh_harmless.train.jsonl data/pandalm.train.jsonl data/tulu_human.train.jsonl --max_steps 2 \
            --per_step_pairs 3 --max_length 65 --max_prompt_length 32 --learning_rate 1e-4 --out "${TMPDIR:-/tmp}/more-bits" 2>/dev/null)
        echo "$isa $threads  ${hash:-this machine does not have it}"
    done
done
