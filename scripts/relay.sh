#!/bin/sh
# relay.sh - one training run by five machines, of both byte orders: x86-64 begins, each of the
# others goes on from the state that the one before it left when it was stopped, the last one ends
# it.  The weights must have the hash of the run that one machine did alone.
#
#     sh scripts/relay.sh [TRAINING...]     of lm reward more dpo ulma; -bf16 behind the name for
#                                           bf16; all of them
#
# Environment: LEGS, targets of scripts/repro.sh without spaces (./more s390x riscv64 wasm armhf
# aarch64); one that is not installed is left out, and said.  OUT (test/bin/repro).  The last line
# is "N relays, N differ".
cd "$(dirname "$0")/.." || exit 1
legs=${LEGS:-./more s390x riscv64 wasm armhf aarch64} each=3 relays=0 differ=0
export OUT="${OUT:-test/bin/repro}" OMP_WAIT_POLICY=passive
golden=$PWD/test/golden/repro
if [ $# = 0 ]; then set -- lm reward more dpo ulma more-bf16; fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/more-relay-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# the legs that can be run here: files leg-1, leg-2, .. with the name and the command
n=0
for leg in $legs; do
    if command=$(sh scripts/repro.sh --program "$leg"); then
        n=$((n + 1))
        echo "$leg" > "$dir/name-$n"
        echo "$command" > "$dir/leg-$n"
    else
        echo "$leg is left out: $command"
    fi
done
[ $n -gt 1 ] || { echo "a relay takes two"; exit 1; }
cp "$golden"/*.jsonl "$dir"
cd "$dir" || exit 1

# words TRAINING: what `more train` is called with
words() {
    recipe="--max_steps $((each * n)) --num_train_epochs 9 --learning_rate 0.001 --quiet"
    cut="$recipe --model lm --max_length 48 --max_prompt_length 24"
    case $1 in
    *-bf16) echo "$(words "${1%-bf16}") --precision bf16" ;;
    lm) echo "lm $recipe --train texts.jsonl --vocab_size 300 --hidden_size 24
        --num_hidden_layers 2 --num_attention_heads 2 --max_length 48 --per_step_tokens 48" ;;
    reward) echo "reward $cut --train pairs-2.jsonl --per_step_pairs 2" ;;
    more) echo "more $cut --train pairs-1.jsonl pairs-2.jsonl --per_step_pairs 2" ;;
    dpo) echo "dpo $cut --train pairs-2.jsonl --per_step_rows 2" ;;
    ulma) echo "ulma $cut --train points.jsonl --per_step_rows 4" ;;
    esac
}
hash_of() { tr -d '\r' < "$1" | sed -n 's/^weights sha256 //p'; }

# leg K STATE: machine K goes on until there is a state of step K * each, and is stopped; with a diary
# states stay where it was faster than that
leg() {
    mkdir "leg-$1.out"
    if [ -n "$2" ]; then mv "$2" "leg-$1.out"; fi
    state=leg-$1.out/state-$(($1 * each)).bin
    $(cat "leg-$1") train $(words "$training") --out "leg-$1.out" --save_steps 1 --keep 99 --diary 1 \
        > out 2> err &
    pid=$!
    while [ ! -e "$state" ] && kill -0 $pid 2> kill.err; do sleep 0.2; done
    if [ "$1" -lt $n ]; then kill -TERM $pid 2> kill.err; fi
    wait $pid 2> kill.err
    [ -e "$state" ]
}
relay() {
    training=$1 state=''
    $(cat leg-1) train $(words "$training") --out straight > out 2> err || { tail -n 1 err; return 1; }
    right=$(hash_of out)
    rm -rf leg-*.out
    way=
    for k in $(seq $n); do
        leg "$k" "$state" || { echo "$(cat "name-$k"): $(tail -n 1 err)"; return 1; }
        way="$way $(cat "name-$k") to $((k * each)),"
    done
    echo "$training:${way%,}"
    if [ "$right" = "$(hash_of out)" ]; then echo "    $right, the hash of the straight run"; return; fi
    echo "    $(hash_of out), and the straight run has $right"
    return 1
}
$(cat leg-1) train $(words lm) --out lm > out 2> err || { tail -n 1 err; exit 1; }
for training in "$@"; do
    [ -n "$(words "$training")" ] || { echo "$training: unknown"; exit 1; }
    relays=$((relays + 1))
    relay "$training" || differ=$((differ + 1))
    rm -rf straight
done
echo "$relays relays, $differ differ"
[ $differ = 0 ]
