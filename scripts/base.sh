#!/bin/sh
# How data/base was made: a GPT-NeoX-shaped language model of 4.2 million parameters, trained twice over 109 MB of text,
# prose first, dialogue and demonstrations last while the rate goes to 0.  73 minutes on two cores with AVX512-BF16;
# others are slower and get the same bits.
# No preference, pointwise or ranking file is in it: their chosen answers would leak into cross-validation.
#
# Usage: sh scripts/base.sh FOLDER OUT      FOLDER holds text/ and demonstration/ as data/README.md lists them;
#                                           their SHA-256 are checked against scripts/base.sha256
set -e
folder=${1:?folder of texts} out=${2:?folder to write}
here=$(pwd)
(cd "$folder" && sha256sum -c --quiet "$here/scripts/base.sha256")
first="openstax_text novels books onestop_news rust_book python_peps sgd_dialogue tldr_pages factbook"
then="self_dialogue medquad openstax_qa grade_school_math"
demonstrations="gpteacher alpaca_gpt4 self_instruct"
set -- --train
for f in $first; do set -- "$@" "$folder/text/$f.train.jsonl"; done
set -- "$@" --then
for f in $then; do set -- "$@" "$folder/text/$f.train.jsonl"; done
for f in $demonstrations; do set -- "$@" "$folder/demonstration/$f.train.jsonl"; done
set -- "$@" --eval
for f in $first $then; do set -- "$@" "$folder/text/$f.test.jsonl"; done
for f in $demonstrations; do set -- "$@" "$folder/demonstration/$f.test.jsonl"; done
exec ./more train lm --out "$out" --dtype f16 --vocab_size 4096 --hidden_size 256 --num_hidden_layers 4 \
    --num_attention_heads 4 --max_length 256 --per_step_tokens 4096 --learning_rate 2e-3 --warmup_ratio 0.0125 --num_train_epochs 2 --precision bf16 \
    --adam_beta2 0.95 --weight_decay 0.1 --seed 1 --logging_steps 50 "$@"
