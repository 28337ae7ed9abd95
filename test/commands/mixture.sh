# mixture.sh - a mixture.json in place of a model.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_lm2
make_reward
train="./more train dpo --model lm $cut --learning_rate 1e-2 --per_step_rows 6 --max_steps 6
       --quiet"
works $train --train a.train.jsonl --out p1
sed 's/"chosen"/"x"/; s/"rejected"/"chosen"/; s/"x"/"rejected"/' a.train.jsonl > turned.jsonl
works $train --train turned.jsonl --out p2
printf '{"models":["p1","p2"],"weights":[0.7,0.3],"value":1}\n' > mix.json
printf '{"models":["p1","p2"],"weights":[1,0]}\n' > first.json
write="--max_prompt_length 48 --max_new_tokens 12 --seed 3 --quiet"

it "each_prompt_is_completed_by_one_policy_as_that_one_would_alone"
for m in p1 p2 mix.json first.json; do
    works ./more sample --model $m --prompts b.train.jsonl --n 2 $write
    cp out drawn.$m
done
same drawn.first.json drawn.p1
differ drawn.p1 drawn.p2 "the policies write the same"
paste -d '\t' drawn.mix.json drawn.p1 drawn.p2 | awk -F '\t' '
    $1 == $2 && $1 != $3 { one[int((NR - 1) / 2)]++; n1++ }
    $1 == $3 && $1 != $2 { two[int((NR - 1) / 2)]++; n2++ }
    $1 != $2 && $1 != $3 { print "neither: " $1; bad = 1 }
    END {
        for (p in one) if (p in two) { print "both for prompt " p; bad = 1 }
        exit bad || n1 < 20 || n2 < 4 || NR != 48
    }' > wrong || fault "$(cat wrong)"

it "the_draw_does_not_depend_on_threads_and_batches_but_on_the_seed"
for o in "--threads 2" "--batch 3"; do
    works ./more sample --model mix.json --prompts b.train.jsonl --n 2 $write $o
    same out drawn.mix.json
done
works ./more sample --model mix.json --prompts b.train.jsonl --n 2 $write --temperature 0
cp out greedy
works ./more sample --model mix.json --prompts b.train.jsonl --n 2 $write --temperature 0 --seed 4
differ out greedy "another seed draws the same policies"

it "a_text_has_the_sum_of_the_policies_probabilities_by_their_weights"
for m in p1 p2 mix.json first.json; do
    from a.test.jsonl works ./more score --model $m $cut --tokens
    cp out scored.$m
    for k in logps_chosen logps_rejected; do field scored.$m $k; done > logps.$m
done
same scored.first.json scored.p1
paste logps.p1 logps.p2 logps.mix.json | awk '
    { d = log(0.7 * exp($1) + 0.3 * exp($2)) - $3; if (d > 1e-9 || d < -1e-9) { print; bad = 1 } }
    END { exit bad || NR != 32 }' > wrong || fault "$(cat wrong)"

it "what_its_tokens_add_is_the_text"
sed 's/.*"token_logps_chosen":\(\[[^]]*\]\).*/\1/' scored.mix.json > tokens
field scored.mix.json logps_chosen | paste - tokens | awk '
    { n = split($0, part, "\"logp\":"); s = 0; for (i = 2; i <= n; i++) s += part[i] + 0
      d = s - $1; if (n < 3 || d > 1e-4 || d < -1e-4) { print; bad = 1 } }
    END { exit bad || NR != 16 }' > wrong || fault "$(cat wrong)"

it "eval_and_compare_take_its_probabilities"
works ./more eval --reference lm --model mix=mix.json p1 first=first.json --eval a.test.jsonl $cut \
    --out results
sed 16q logps.mix.json > of_chosen
field scored.mix.json tokens_chosen | paste of_chosen - | awk '
    { s -= $1; n += $2 } END { printf "%.4f\n", exp(s / n) }' > want
holds out "^mix on a: perplexity of chosen answers $(cat want)"
grep '"event":"policy","model":"p1"' results | sed 's/"p1"/"first"/' > x
grep '"event":"policy","model":"first"' results > y
same x y
works ./more compare --model lm mix=mix.json p1 first=first.json --judge r --prompts a.test.jsonl \
    $cut $write --out compared
grep '"event":"compare","model":"mix"' compared | sed 's/.*"perplexity":\([0-9.]*\).*/\1/' |
    awk '{ printf "%.4f\n", $1 }' > have
same have want
grep '"event":"completion","model":"first"' compared | sed 's/"first"/"p1"/' > x
grep '"event":"completion","model":"p1"' compared > y
grep -o '"completion":"[^"]*"' x > x1
grep -o '"completion":"[^"]*"' y > y1
same x1 y1
for k in logp kl; do field x $k > x.$k; field y $k > y.$k; done
paste x.logp y.logp x.kl y.kl | awk '
    { d = $1 - $2; e = $3 - $4
      if (d * d > 1e-12 || e * e > 1e-9) { print; bad = 1 } }
    END { exit bad || NR != 16 }' > wrong || fault "$(cat wrong)"

it "its_divergence_is_that_of_what_it_wrote"
grep '"event":"completion","model":"mix"' compared > rows
field rows logp > rows.logp
for m in p1 p2; do
    works ./more compare --model mix=mix.json lm --reference $m --judge r --prompts a.test.jsonl \
        $cut $write --out by.$m
    grep '"event":"completion","model":"mix"' by.$m > x
    field x ref_logp > logp.$m
done
paste logp.p1 logp.p2 rows.logp | awk '
    { d = log(0.7 * exp($1) + 0.3 * exp($2)) - $3; if (d > 1e-9 || d < -1e-9) { print; bad = 1 } }
    END { exit bad || NR != 16 }' > wrong || fault "$(cat wrong)"
field rows kl | awk '$1 < 0 { exit 1 }' || fault "a divergence below 0"

it "what_takes_no_mixture_says_so"
said="mix.json: a file; a folder is needed, with config.json and model.safetensors in it, or a .gguf"
for c in "train dpo --train a.train.jsonl --out trained" "doctor --train a.train.jsonl" tokenize; do
    refused 66 "$said" ./more $c --model mix.json
done
said="mix.json: a file; a folder is needed"
refused 66 "$said" ./more eval --model mix.json --eval a.test.jsonl $cut
refused 66 "$said" ./more compare --model p1 --reference mix.json --judge r \
    --prompts a.test.jsonl $cut $write
refused 66 "$said" ./more compare --model mix.json p1 --judge r --prompts a.test.jsonl $cut $write
holds err '; KL is measured to the first of --model, or to --reference$'
lacks err 'completions of'
from a.test.jsonl refused 64 "a mixture of policies, which has no reward" \
    ./more score --model mix.json --raw_head 1

it "a_mixture_that_is_none_is_refused"
no() {
    printf '%s\n' "$1" > bad.json
    refused 65 "$2" ./more sample --model bad.json --prompts a.test.jsonl
}
no '{"weights":[1]}' 'bad.json: no mixture: "models", a list of folders, and "weights"'
no '{"models":["p1"],"weights":[0.5,0.5]}' "no mixture"
no '{"models":[],"weights":[]}' "no mixture"
no '{"models":["p1","p2"],"weights":[0.5,0.6]}' "the weights' sum is 1.1, not 1"
no '{"models":["p1","p2"],"weights":[-0.5,1.5]}' "policy 1: a folder and a weight that is not neg"
no '{"models":["p1",2],"weights":[0.5,0.5]}' "policy 2: a folder and a weight"
no '{"models":["p1","lm2"],"weights":[0.5,0.5]}' "lm2 has another tokenizer than p1; mix policies"
no '{"models":["p1","r"],"weights":[0.5,0.5]}' "r is a reward model; policies are mixed"
no '[1]' "must be a JSON object"
printf '{"models":["p1","gone"],"weights":[0.5,0.5]}' > bad.json
refused 66 "bad.json: no folder gone here; a mixture's folders are seen from where more runs" \
    ./more sample --model bad.json --prompts a.test.jsonl

finish
