#!/bin/sh
# make people: who is of which hidden group, a policy for each, and one that is fair to both, on data/em_persona,
# where two groups of people answer in opposite ways; then the control, data/opinpref, whose people are alike.
#
#   how many   EM over K reward heads of the frozen base, K = 1 .. 4: which K has the least BIC?
#   who        EM-DPO from a start by lot, and Cluster-DPO, against one policy for all, which is a coin
#   fair       the mixture of the two policies whose worst off type loses least; its distillation into one policy;
#              group-robust DPO with the groups that EM found; what each type loses by each of them
#
# Hidden groups are read by eval and the figure alone, test rows by eval and the last regret alone.  A step that is
# done is not done again; what each printed is in OUT/NAME.log.
# Usage: sh scripts/people.sh [OUT [FOLDER]]     FOLDER may hold em_domain.train.jsonl, em_domain.test.jsonl and
# em_groups.json (four groups; CC BY-NC, not shipped), which are then taken too.
set -e
out=${1:-people} folder=$2
train=data/em_persona.train.jsonl test=data/em_persona.test.jsonl groups=data/em_groups.json
cut="--max_length 96 --max_prompt_length 88"
long="--max_length 320 --max_prompt_length 64"                               # of opinpref
longer="--max_length 128 --max_prompt_length 32 --over_length truncate"     # of em_domain
heads="--objective heads --em_steps 40 --starts 3 --seed 1 --quiet --model data/base"
steps="--warmup_ratio 0.06 --per_step_rows 16 --seed 1 --quiet"
dpo="$cut $steps --learning_rate 3e-4 --beta 1"
say="--max_prompt_length 88 --max_new_tokens 8 --seed 1 --quiet"
mkdir -p "$out"

# once NAME WHAT COMMAND...: makes OUT/NAME by COMMAND --out OUT/NAME, and says how long it took
once() {
    name=$1 what=$2 began=$(date +%s)
    shift 2
    [ ! -e "$out/$name" ] || return 0
    "$@" --out "$out/part-$name" > "$out/$name.log" 2>&1 || { tail -n 3 "$out/$name.log"; exit 1; }
    mv "$out/part-$name" "$out/$name"
    printf '%5d s  %-12s %s\n' $(($(date +%s) - began)) "$name" "$what"
}
# em NAME WHAT OPTION...: the same of train em, which goes on where it was and finds what is finished
em() {
    name=$1 what=$2 began=$(date +%s)
    shift 2
    ./more train em $dpo --train $train --model "$out/sft" --gamma hard "$@" --out "$out/$name" \
        > "$out/$name.log" 2>&1 || { tail -n 3 "$out/$name.log"; exit 1; }
    ! grep -q "finished already" "$out/$name.log" || return 0
    printf '%5d s  %-12s %s\n' $(($(date +%s) - began)) "$name" "$what"
    sed -n 's/^\(iteration [0-9]*\) of [0-9]*\(.*\), [0-9.]* s$/                      \1\2/p' "$out/$name.log"
}
# value KEY NAME: a number of OUT/NAME/people.json
value() { sed -n "s/.*\"$1\":\([-0-9.e+]*\).*/\1/p" "$out/$2/people.json" | tail -n 1; }
# judge NAME WHAT OPTION...: eval of test rows to OUT/NAME.eval; its row for the table
judge() {
    name=$1 what=$2
    shift 2
    ./more eval --quiet "$@" > "$out/$name.eval" 2> "$out/$name.eval.log"
    awk -v what="$what" '
        $1 == "people" || $1 == "single" { row = sprintf("%6s  %s .. %s %10.3f", $2, $3, $5, -$11) }
        /right on .* of their/ { sub(/.*right on /, ""); types = types " " $1 }
        /^clustering/ { found = $2 }
        END { printf "%-34s %s %8s  %s\n", what, row, found, types }' "$out/$name.eval"
}
# prompts FILE: its different prompts, as rows
prompts() { awk -F '","chosen":' '!seen[$1]++ { print $1 "\"}" }' "$1"; }

echo "Seconds, what is made in $out, and what it is:"
for K in 1 2 3 4; do
    once heads-$K "reward heads of the frozen base, types of people: $K" \
        ./more train em $heads $cut --types $K --train $train
done
for K in 1 2 3; do
    once control-$K "the same of opinpref, 4 annotators, types: $K" \
        ./more train em $heads $long --types $K --train data/opinpref.train.jsonl
done
once sft "the base imitates everybody's answers, so that it says Yes or No" \
    ./more train sft --force $cut $steps --model data/base --train $train
once single "one DPO policy for all" ./more train dpo --force $dpo --model "$out/sft" --train $train
em em "EM-DPO, two types, people at first divided by lot" --em_steps 8
em cluster "Cluster-DPO: types are clusters of people who agree" --start spectral --em_steps 1

# the policies of the types as they were found, and their shares
set -- type-1="$out/em/type-1" type-2="$out/em/type-2"
eta=$(sed -n 's/^"eta":\[\([^],]*\),\([^],]*\)\],$/\1 \2/p' "$out/em/people.json")
regret() { ./more regret $say --beta 1 --reference "$out/sft" --eta ${eta:-0.5 0.5} "$@"; }
prompts $train | head -n 512 > "$out/train.prompts.jsonl"
prompts $train > "$out/all.prompts.jsonl"
prompts $test > "$out/test.prompts.jsonl"
once mixture.json "the min-max mixture, on 512 prompts of the training rows" \
    regret --model "$@" --prompts "$out/train.prompts.jsonl"
if [ ! -e "$out/drawn.jsonl" ]; then
    ./more sample $say --model "$out/mixture.json" --prompts "$out/all.prompts.jsonl" > "$out/part-drawn.jsonl" \
        2> "$out/drawn.log"
    mv "$out/part-drawn.jsonl" "$out/drawn.jsonl"
fi
once distilled "one policy that imitates what the mixture says" \
    ./more train sft --force $cut $steps --learning_rate 3e-4 --bad_rows drop --model "$out/sft" --train "$out/drawn.jsonl"
# {"a05": "type-1", ...}, as EM found them
awk 'BEGIN { printf "{" }
    /^\{"annotator":/ {
        split($0, part, "\"")
        printf "%s\n\"%s\": \"type-%d\"", n++ ? "," : "", part[4], /"gamma":\[1,/ ? 1 : 2
    }
    END { print "\n}" }' "$out/em/people.json" > "$out/found.json"
once robust "group-robust DPO, the groups those that EM found" ./more train dpo --force $dpo \
    --group_robust annotator --groups "$out/found.json" --model "$out/sft" --train $train
once regret.json "what each type loses, on the prompts of the test rows" \
    regret --prompts "$out/test.prompts.jsonl" --model "$@" \
    --also mixture="$out/mixture.json" distilled="$out/distilled" robust="$out/robust" single="$out/single"
cat "$out/heads-2/people.json" $groups "$out/regret.json" | awk -f scripts/people_figure.awk > "$out/people.svg"
if [ -f "$folder/em_domain.train.jsonl" ]; then
    for K in 1 2 3 4 5; do
        once domain-$K "reward heads on em_domain, types of people: $K" \
            ./more train em $heads $longer --types $K --train "$folder/em_domain.train.jsonl"
    done
fi

echo
echo "How many types?  The least BIC says."
printf '%-8s %12s %12s %12s\n' "" em_persona opinpref "${folder:+em_domain}"
for K in 1 2 3 4 5; do
    [ -e "$out/heads-$K" ] || [ -e "$out/domain-$K" ] || continue
    printf 'K = %d   ' $K
    for set in heads control domain; do
        bic=
        [ ! -e "$out/$set-$K" ] || bic=$(value bic $set-$K | awk '{ printf "%.0f", $1 }')
        printf ' %12s' "$bic"
    done
    echo
done

echo
echo "Test rows of em_persona: how often has the answer that the annotator chose the higher reward?"
printf '%-34s %s\n' "" " right   95 %           held-out    found   by type"
judge single "one policy for all" $cut --eval $test --reference "$out/sft" --model "single=$out/single"
for K in 1 2 3 4; do
    judge heads-$K "heads of the frozen base, types: $K" $cut --eval $test --groups $groups \
        --people "$out/heads-$K/people.json"
done
for name in em cluster; do
    what="EM-DPO"
    [ $name = em ] || what="Cluster-DPO"
    judge $name "$what" $cut --eval $test --groups $groups --reference "$out/sft" --people "$out/$name/people.json"
done
if [ -f "$folder/em_domain.test.jsonl" ]; then
    for K in 1 4; do
        judge domain-$K "em_domain, heads, types: $K" $longer --eval "$folder/em_domain.test.jsonl" \
            --groups "$folder/em_groups.json" --people "$out/domain-$K/people.json"
    done
fi
echo "held-out: log-likelihood of a test row.  found: annotators whose type matches their hidden group, in %,"
echo "which nothing but this column and the figure reads."

echo
echo "What does a type lose if another policy than its own answers?  (rewards are of DPO, beta log-ratios)"
sed -n '/^regret (95 %)/,$p' "$out/regret.json.log"
echo "who is of which type, iteration by iteration, and the regrets: $out/people.svg"
