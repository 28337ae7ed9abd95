#!/bin/sh
# company.sh - what a neighbour costs: a step on as many threads as there are cores, while one core is
# busy with something else, beside the same step on one thread less in quiet; with two cores, two
# threads in company beside one alone.  A program whose threads wait for each other by spinning, or
# divide the work evenly beforehand, is slower than with a thread less.
#
#     sh scripts/company.sh [SHAPE [PRECISION [ROUNDS]]]       base, bf16, 5; more bench has the shapes
#
# Both are measured in turns; tokens a second of each round, and the ratio of the medians, last.
cd "$(dirname "$0")/.." || exit 1
shape=${1:-base} precision=${2:-bf16} rounds=${3:-5}
cores=$(getconf _NPROCESSORS_ONLN)
[ "$cores" -gt 1 ] || { echo "company.sh: one core has no place for a neighbour"; exit 1; }
t=$(mktemp -d "${TMPDIR:-/tmp}/more-company-XXXXXX") || exit 1
neighbour=
trap 'kill $neighbour 2> "$t/err"; rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM

# tokens THREADS: a second, of a step
tokens() {
    ./more bench --shape "$shape" --precision "$precision" --threads "$1" --rounds 1 --quiet \
        --only "step reward" --out "$t/line" > "$t/out" || exit 1
    sed -n 's/^{"name":"step reward".*"tokens_per_s":\([0-9.]*\).*/\1/p' "$t/line"
}
# median FILE: of its lines
median() { sort -n "$1" | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    tokens $((cores - 1)) >> "$t/alone"
    sh -c 'while :; do :; done' &
    neighbour=$!
    tokens "$cores" >> "$t/company"
    kill $neighbour
    wait $neighbour 2> "$t/err"
    neighbour=
    echo "$(tail -n 1 "$t/alone") tokens/s on $((cores - 1)) in quiet," \
        "$(tail -n 1 "$t/company") on $cores beside a busy core"
done
awk -v company="$(median "$t/company")" -v alone="$(median "$t/alone")" \
    'BEGIN { printf "ratio %.2f\n", company / alone }'
