# regret.sh - the mixture of policies whose worst off type loses least.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_lm2
make_reward
train="./more train dpo --model lm $cut --learning_rate 1e-2 --per_step_rows 6 --max_steps 8
       --quiet"
works $train --train a.train.jsonl --out p1
sed 's/"chosen"/"x"/; s/"rejected"/"chosen"/; s/"x"/"rejected"/' b.train.jsonl > turned.jsonl
works $train --train turned.jsonl --out p2
write="--max_prompt_length 48 --max_new_tokens 12 --seed 3 --quiet"
asked="--reference lm --prompts b.train.jsonl $write"

it "the_log_ratios_are_those_of_compare"
works ./more regret --model p1 p2 $asked --out mix.json
cp out table
for ref in lm p1 p2; do
    works ./more compare --model p1 p2 --reference $ref --judge r --prompts b.train.jsonl $cut \
        --max_new_tokens 12 --seed 3 --quiet --out compared
    for m in p1 p2; do
        grep "\"event\":\"completion\",\"model\":\"$m\"" compared > rows
        field rows ref_logp | awk '{ s += $1 } END { printf "%.9f\n", s / NR }' > $ref.of.$m
    done
done
cat p1.of.p1 lm.of.p1 p1.of.p2 lm.of.p2 p2.of.p1 p2.of.p2 | tr '\n' ' ' > want
grep '^"L"' mix.json | tr -d '"L:[]' | tr ',' ' ' | paste -d ' ' want - | awk '
    function far(a, b) { return a - b > 1e-6 || b - a > 1e-6 }
    { exit far($1 - $2, $7) || far($3 - $4, $8) || far($5 - $2, $9) || far($6 - $4, $10) || NF < 10
    }' || fault "$(cat want) $(grep '^"L"' mix.json)"

it "the_weights_are_those_of_the_closed_form_and_the_gaps_are_said"
grep '^"L"' mix.json | tr -d '"L:[]' | tr ',' ' ' | awk '
    { a = $1 - $2; b = $4 - $3; if (a <= 0 || b <= 0) exit 1
      printf "%.9f %.9f %.9f\n", a / (a + b), b / (a + b), 0.1 * a * b / (a + b) }' > want
grep '^"weights"' mix.json | tr -d '"a-z:[]' | tr ',' ' ' > w
sed -n 's/^"value":\([^,]*\),"gap":\([^,]*\),.*/\1 \2/p' mix.json | paste -d ' ' want w - | awk '
    function far(a, b) { return a - b > 1e-8 || b - a > 1e-8 }
    { exit far($1, $4) || far($2, $5) || far($3, $6) || far($7, 0) || NF != 7 }' ||
    fault "$(cat want w) $(cat mix.json)"
holds table '^worst regret  *[0-9.]*  *[0-9.]*$'
holds table '^duality gap  *[-0-9.e]*  *[-0-9.e]*$'
holds table '^regret (95 %)  *worst  *of p1  *of p2$'
for way in p1 p2 uniform min-max; do holds table "^$way  *[0-9.]* ([0-9.]* \.\. [0-9.]*) "; done
holds table "^p1 .* 0\.000 (0\.000 \.\. 0\.000) .*[1-9]"       # its own type loses nothing
awk 'FNR > 1 && length > 110 { exit 1 }' table || fault "a line of more than 110 columns"

it "the_file_is_json_and_a_mixture"
sed -n 's/^,*"weights":\[\([^]]*\)\].*/\1/p' mix.json | tr ',' '\n' |
    awk '{ sum += $1 } END { d = sum - 1; exit !(NR == 2 && d * d < 1e-24) }' ||
    fault "weights of another sum than 1: $(cat mix.json)"
works ./more sample --model mix.json --prompts b.train.jsonl $write
lines 24 out

it "threads_and_batches_change_no_number"
for o in "--threads 2" "--batch 3" "--micro_batch_tokens 100"; do
    works ./more regret --model p1 p2 $asked $o --out x.json
    same out table
    same x.json mix.json
done

it "more_completions_of_a_prompt_are_a_mean_and_other_policies_have_regrets_too"
works ./more regret --model A=p1 B=p2 $asked --n 3 --eta 0.7 0.3 --out x.json \
    --also mix=mix.json base=lm first=p1
holds out '^2 policies on 24 prompts of b.train.jsonl, 3 completions each'
for way in A B uniform eta min-max mix base first; do
    holds out "^$way  *[0-9.]* ([0-9.]* \.\. [0-9.]*) "
done
grep '^A ' out | tail -n 1 | sed 's/^A *//' > x
grep '^first ' out | tail -n 1 | sed 's/^first *//' > y
same x y
holds x.json '"models":\["p1","p2"\]'

it "what_types_may_lose_depends_on_their_weights_of_fairness"
works ./more regret --model p1 p2 $asked --fairness 4 1 --out x.json
holds out 'worst is of the regrets by their weights of fairness: p1 4 p2 1'
grep '^"weights"' x.json | tr -d '"a-z:[]' | tr ',' ' ' | paste -d ' ' - w | awk '
    { exit !($1 > $3) }' || fault "$(cat x.json)"

it "less_the_divergence_a_type_loses_that_to_its_policy"
works ./more regret --model p1 p2 $asked --kl --out x.json
cp out table
for m in p1 p2; do
    works ./more compare --model p1 p2 --reference $m --judge r --prompts b.train.jsonl $cut \
        --max_new_tokens 12 --seed 3 --quiet --out compared
    grep '"event":"compare"' compared > rows
    field rows log_ratio | tr '\n' ' '
done > want
grep '^"L"' x.json | tr -d '"L:[]' | tr ',' ' ' | paste -d ' ' want - | awk '
    function far(a, b) { return a + b > 1e-6 || a + b < -1e-6 }
    { exit far($1, $5) || far($2, $6) || far($3, $7) || far($4, $8) || $2 <= 0 }' ||
    fault "$(cat want) $(grep '^"L"' x.json)"
holds table '^log pi - log pi of the writer, mean'
holds table '^to be taken off all regrets of a mixture, beta I(w): uniform 0\.0[0-9]* min-max 0\.0'

it "one_policy_under_two_names_is_one_type"
works ./more regret --model p1 again=p1 $asked --out x.json
holds out '^p1 and again: neither type loses by the other.s policy more than chance'
holds out '^worst regret  *0.000000  *0.000000$'

it "from_a_mixture_to_one_policy"
works ./more sample --model mix.json --prompts b.train.jsonl $write --n 2
{
    cat out
    sed 1q out | sed 's/"completion":"[^"]*"/"completion":""/'
} > drawn.jsonl
works ./more train sft --model lm --train drawn.jsonl $cut --learning_rate 1e-3 --out one --quiet \
    --bad_rows drop
works ./more regret --model p1 p2 $asked --also one
holds out "^one  *[0-9.]* ("

it "what_regret_cannot_do_without_is_asked_for"
refused 64 "--model is needed: a policy for each type" ./more regret $asked
refused 64 "one policy has nothing to lose to others; give two or more" \
    ./more regret --model p1 $asked
refused 64 "--reference is needed: the model that the policies started from" \
    ./more regret --model p1 p2 --prompts b.train.jsonl
refused 64 "--prompts is needed: a file of rows" ./more regret --model p1 p2 --reference lm
refused 64 "--prompts is needed: a file of rows" \
    ./more regret --model p1 p2 --reference lm --prompts -
refused 65 "--reference r: a reward model; regret is of policies" \
    ./more regret --model p1 p2 --reference r --prompts b.train.jsonl
refused 65 "--model r: a reward model" ./more regret --model p1 r $asked
refused 65 "--model lm2: another tokenizer than lm has" ./more regret --model p1 lm2 $asked
refused 65 "--also lm2: another tokenizer than lm has" ./more regret --model p1 p2 --also lm2 $asked
refused 65 "--also r: a reward model" ./more regret --model p1 p2 --also x=r $asked
refused 64 "--fairness: 3 numbers for 2 policies" \
    ./more regret --model p1 p2 $asked --fairness 1 1 1
refused 64 "--fairness x: a number from 0" ./more regret --model p1 p2 $asked --fairness 1 x
refused 64 "--fairness: all are 0" ./more regret --model p1 p2 $asked --fairness 0 0
refused 64 "--eta: the sum is 1.3, not 1" ./more regret --model p1 p2 $asked --eta 0.7 0.6
refused 64 "--out x: the name must end in .json" ./more regret --model p1 p2 $asked --out x
refused 64 "two models are called p1" ./more regret --model p1 p1 $asked
refused 64 "--temperature" ./more regret --model p1 p2 $asked --temperature 0.5
: > empty.jsonl
refused 65 "empty.jsonl" ./more regret --model p1 p2 --reference lm --prompts empty.jsonl
refused 66 "no-such" ./more regret --model p1 p2 --reference lm --prompts no-such.jsonl
refused 66 "mix.json: a file; a folder is needed" ./more regret --model p1 mix.json $asked

finish
