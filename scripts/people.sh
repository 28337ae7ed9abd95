#!/bin/sh
# make people: who is of which hidden group, and a policy for each, on data/em_persona, where two groups answer in
# opposite ways; a step that is done is not done again.
#
#   heads-K   the cheap way first: EM over K reward heads of the frozen base, K = 1, 2, 3; BIC says which K; a figure
#   sft       the shipped base imitates the answers, so that it says Yes or No
#   single    one DPO policy for all: a coin, for whatever one group chooses the other rejects
#   em        EM-DPO with two types, people at first divided by lot
#   cluster   the first iteration from clusters by agreement: Cluster-DPO
#   halves-K  two iterations from K = 1, 2, 3 clusters, people judged by rows not trained on: which K?
#
# Groups are read by eval and the figure alone.
# Usage: sh scripts/people.sh [OUT]
set -e
out=${1:-people}
train=data/em_persona.train.jsonl test=data/em_persona.test.jsonl
cut="--max_length 96 --max_prompt_length 88"
recipe="$cut --train $train --warmup_ratio 0.06 --per_step_rows 16 --seed 1 --quiet"
policy="$recipe --learning_rate 1e-3"
mkdir -p "$out"
# done_once NAME COMMAND...: writes to OUT/NAME, under another name until it is whole
done_once() {
    name=$1
    shift
    [ -e "$out/$name" ] || { "$@" --out "$out/$name.part" && mv "$out/$name.part" "$out/$name"; }
}
# em NAME OPTION...: train em goes on by itself
em() {
    name=$1
    shift
    ./more train em $policy --model "$out/sft" --gamma hard "$@" --out "$out/$name"
}

for K in 1 2 3; do
    done_once heads-$K ./more train em --objective heads --types $K --starts 3 --seed 1 $cut --quiet \
        --model data/base --train $train
done
echo; echo "Heads of the frozen base"
./more eval $cut --people "$out/heads-2/people.json" --eval $test --groups data/em_groups.json
for K in 1 2 3; do
    sed -n "s/.*\"bic\":\([-0-9.e+]*\).*/K = $K  BIC \1/p" "$out/heads-$K/people.json" | head -n 1
done
cat "$out/heads-2/people.json" data/em_groups.json | awk -f scripts/people_figure.awk > "$out/people.svg"
echo "who is of which type, iteration by iteration: $out/people.svg"

done_once sft ./more train sft --force $recipe --model data/base
done_once single ./more train dpo --force $policy --model "$out/sft"
em em --em_steps 12
em cluster --start spectral --em_steps 1
for K in 1 2 3; do em halves-$K --types $K --start spectral --estep split-half --em_steps 2; done

echo; echo "One policy for all"
./more eval $cut --reference "$out/sft" --model "single=$out/single" --eval $test
for name in em cluster; do
    echo; echo "$name"
    ./more eval $cut --reference "$out/sft" --people "$out/$name/people.json" --eval $test --groups data/em_groups.json
done
echo; echo "Log-likelihood of a row that was not trained on"
for K in 1 2 3; do
    sed -n 's/.*"log_likelihood":\([^,]*\),"rows":\([0-9]*\).*/\1 \2/p' "$out/halves-$K/people.json" | tail -n 2 |
        awk -v K=$K '{ sum += $1; n += $2 } END { if (n) printf "K = %d  %.4f\n", K, sum / n }'
done
