# train em: models for the hidden types of people; what their people.json says; eval --people.
. "$(dirname "$0")/lib.sh"
make_data
make_lm

# people ROWS SEED: pairs of p0 .. p7, who choose " yes" if their number is even, else " no"
people() {
    sentences pair "$1" "$2" | awk '{
        sub(/"chosen":.*/, "")
        yes = "\"chosen\":\" yes\",\"rejected\":\" no\""
        no = "\"chosen\":\" no\",\"rejected\":\" yes\""
        print $0 (NR % 2 ? no : yes) ",\"annotator\":\"p" NR % 8 "\"}"
    }'
}
people 48 1 > people.jsonl
people 24 2 > held.jsonl
echo '{"p0":"a","p2":"a","p4":"a","p6":"a","p1":"b","p3":"b","p5":"b","p7":"b","q":"c"}' > groups.json
small="--model lm $cut --learning_rate 3e-3 --quiet"
em="$small --train people.jsonl"

it "one_type_has_the_very_weights_of_plain_dpo"
works ./more train dpo --force $em --out plain
plain=$(sha)
works ./more train em --types 1 $em --out one
[ "$(sha)" = "$plain" ] || fault "$(sha), not $plain"
same plain/model.safetensors one/type-1/model.safetensors
works ./more train em --types 1 --estep split-half $em --out one-half
same plain/model.safetensors one-half/type-1/model.safetensors

it "one_type_has_the_very_weights_of_a_plain_reward_model"
works ./more train reward --force $em --out plain-reward
works ./more train em --objective reward --types 1 $em --out one-reward
same plain-reward/model.safetensors one-reward/type-1/model.safetensors

it "one_type_of_adapters_has_the_very_weights_of_plain_adapters"
lora="--lora_r 2 --lora_alpha 6 --learning_rate 2e-2"
for kind in dpo reward; do
    works ./more train $kind --force $em $lora --lora_targets query_key_value,dense --out lora-$kind
    plain=$(sha)
    works ./more train em --objective $kind --types 1 $em $lora \
        --lora_targets query_key_value,dense --out one-lora-$kind
    [ "$(sha)" = "$plain" ] || fault "$kind: $(sha), not $plain"
    for file in adapter_model.safetensors adapter_config.json; do
        same lora-$kind/$file one-lora-$kind/type-1/$file
    done
done

it "types_are_adapters_over_one_base"
hard="--gamma hard --num_train_epochs 4"
works ./more train em $hard $em $lora --out adapters
holds err "^iteration 1, type 1: [0-9]* parameters, [0-9]* of them trained, .* GiB needed"
counts 1 err "GiB needed"
holds err "type 1: 4 of 8 annotators, share 0.500"
[ -e adapters/type-1/model.safetensors ] && fault "a whole model was saved"
holds adapters/type-2/adapter_config.json '"base_model_name_or_path": "'"$(pwd -P)/lm"'"'
holds adapters/more_receipt.json '"type-2/adapter_model.safetensors"'
works ./more verify adapters --no_replay
works ./more train em $hard --threads 2 --micro_batch_tokens 40 --recompute $em $lora \
    --out adapters-2
same adapters/people.json adapters-2/people.json

it "adapters_of_types_are_read_by_all_that_follows"
works ./more eval $cut --reference lm --people adapters/people.json --eval held.jsonl \
    --groups groups.json
holds out "^people  *100.00 "
holds out "^clustering  *100.00 % of 8 annotators"
works ./more regret --model adapters/type-1 adapters/type-2 --reference lm --prompts held.jsonl \
    --max_new_tokens 3 --out mixture.json
works ./more sample --model mixture.json --prompts held.jsonl --max_new_tokens 3
lines 24 out
mv out drawn.jsonl
works ./more train sft $small --lora_r 2 --train drawn.jsonl --bad_rows drop --out fair
works ./more compare --model one=adapters/type-1 fair --prompts held.jsonl --judge lora-reward \
    --max_new_tokens 3

it "the_first_iteration_from_given_clusters_is_plain_training_of_each_cluster"
works ./more train em --start groups.json --em_steps 1 $em --out clusters
grep -E '"p[1357]"' people.jsonl > odd.jsonl
works ./more train dpo --force $small --train odd.jsonl --out odd
same odd/model.safetensors clusters/type-1/model.safetensors

it "clusters_that_have_changed_are_another_run"
sed 's/"p6":"a"/"p6":"b"/' groups.json > changed.json
cp groups.json kept.json
cp changed.json groups.json
refused 64 "clusters/people.json: of other options, weights or rows" \
    ./more train em --start groups.json --em_steps 1 $em --out clusters
cp kept.json groups.json

it "people_are_found_by_what_they_choose"
works ./more train em --gamma hard --num_train_epochs 4 $em --out two
holds err "^8 annotators of 48 rows, 2 types"
holds err "iteration 1 of 5: log-likelihood -[0-9.]* a row, shares 0.500 0.500, entropy 0.000"
holds err "type 1: 4 of 8 annotators, share 0.500"
for p in 1 3 5 7; do holds two/people.json "\"p$p\",\"rows\":6,\"gamma\":.1,0."; done
for p in 0 2 4 6; do holds two/people.json "\"p$p\",\"rows\":6,\"gamma\":.0,1."; done

it "a_finished_run_says_so_and_is_not_that_of_other_options_or_rows"
cp two/people.json x.json
works ./more train em --gamma hard --num_train_epochs 4 $em --out two
holds err "two/people.json: finished already"
lines 2 out
same two/people.json x.json
refused 64 "two/people.json: of other options, weights or rows; give another --out" \
    ./more train em --gamma soft --num_train_epochs 4 $em --out two
sed 's/p7/p5/' people.jsonl > other.jsonl
refused 64 "two/people.json: of other options, weights or rows; give another --out" \
    ./more train em --gamma hard --num_train_epochs 4 $small --train other.jsonl --out two

it "threads_and_micro_batches_change_nothing"
works ./more train em --gamma hard --num_train_epochs 4 --threads 2 --micro_batch_tokens 40 $em \
    --out again
same two/people.json again/people.json
rm -r again

it "people_are_predicted_by_their_own_type"
sed 's/"p7"/"new"/' held.jsonl > new.jsonl
works ./more eval $cut --reference lm --people two/people.json --eval held.jsonl new.jsonl \
    --groups groups.json --out people.out
holds out "^type-1 * 4 of 8 annotators, share 0.500; right on 100.00 % of their 12 pairs"
holds out "^people  *100.00 "
holds out "^type-1  *50.00 "
holds out "^clustering  *100.00 % of 8 annotators"
holds out "^worst annotator"
lacks out "by annotator"

it "a_newcomer_is_predicted_by_the_shares_or_by_their_first_rows"
# of p 1, 3, 5 gamma is 1, 0; of new the shares are half and half
awk '{
    match($0, /"delta":[^,]*/)
    delta = substr($0, RSTART + 8, RLENGTH - 8)
}
/"pair"/ && /"eval":"new"/ && /"model":"type-1"/ { first[++m] = delta; new[m] = /"annotator":"new"/ }
/"pair"/ && /"eval":"new"/ && /"model":"type-2"/ { second[++n] = delta }
/"pair"/ && /"eval":"new"/ && /"model":"people"/ { both[++k] = delta }
END {
    for (i = 1; i <= k; i++) {
        if (!new[i]) continue;
        p = (1 / (1 + exp(-first[i])) + 1 / (1 + exp(-second[i]))) / 2
        error = both[i] - log(p / (1 - p))
        if (error > 1e-9 || error < -1e-9) bad++
        seen++
    }
    print seen, bad + 0
}' people.out > sums
[ "$(cat sums)" = "3 0" ] || fault "$(cat sums)"
works ./more eval $cut --reference lm --people two/people.json --eval new.jsonl --fit_rows 1 \
    --out fit.out
counts 23 fit.out '"pair".*"model":"people"'
holds out "^people  *100.00 "

it "heads_of_one_frozen_model_find_the_same_people"
heads="--objective heads --model lm $cut --quiet --train people.jsonl"
works ./more train em $heads --out heads
holds err "^[0-9]* features of 96 answers"
holds err "type 1: 4 of 8 annotators, share 0.500"
for p in 1 3 5 7; do holds heads/people.json "\"p$p\",\"rows\":6,\"gamma\":.0*[.01]"; done
works ./more eval $cut --people heads/people.json --eval people.jsonl --groups groups.json \
    --out heads.out
holds out "^people  *100.00 "
holds out "^clustering  *100.00 % of 8 annotators"

it "margins_of_the_saved_heads_are_those_that_were_fitted"
awk '
function after(key,    at) {
    at = index($0, "\"" key "\":")
    return substr($0, at + length(key) + 3)
}
/"annotator":"p/ && /"log_likelihood":/ {
    who = substr(after("annotator"), 2, 2)
    split(substr(after("log_likelihood"), 2), A, /[],]/)
    want[who 1] = A[1]
    want[who 2] = A[2]
}
/"pair"/ && /"model":"type-[12]"/ {
    who = substr(after("annotator"), 2, 2) substr(after("model"), 7, 1)
    sum[who] -= log(1 + exp(-(after("delta") + 0)))
}
END {
    for (who in want) {
        n++
        error = sum[who] - want[who]
        if (error > 1e-4 || error < -1e-4) bad++
    }
    print n, bad + 0
}' heads/people.json heads.out > sums
[ "$(cat sums)" = "16 0" ] || fault "$(cat sums)"

it "heads_are_the_same_bits_whatever_the_threads_and_micro_batches"
works ./more train em $heads --threads 1 --micro_batch_tokens 100 --out heads-1
works ./more train em $heads --threads 3 --out heads-3
same heads-1/people.json heads-3/people.json
same heads-1/type-2/model.safetensors heads-3/type-2/model.safetensors

it "heads_do_not_read_what_only_training_reads"
refused 64 "--learning_rate: more train em --objective heads does not read it" \
    ./more train em $heads --learning_rate 1e-3 --out x
refused 64 "--mstep: more train em --objective heads does not read it" \
    ./more train em $heads --mstep warm --out x
refused 64 "--ridge: more train dpo does not read it" ./more train em $em --ridge 2 --out x
works ./more train em $heads --out heads
holds err "heads/people.json: finished already"
refused 64 "heads/people.json: of other options" ./more train em $heads --ridge 2 --out heads

it "a_person_mixes_the_types_rewards_as_their_first_rows_are_likeliest"
# fits OUT ROWS: how many people have a fit, and how many of these or of their margins are wrong:
# the best weight of type 1 on a grid; the mixed margin of the rows that are left
fits() {
    awk -v rows="$2" '
    function after(key) { return substr($0, index($0, "\"" key "\":") + length(key) + 3) }
    function who(  s) { s = substr(after("annotator"), 2); return substr(s, 1, index(s, "\"") - 1) }
    function loglik(h, w,  i, sum) {
        for (i = 1; i <= rows; i++)
            sum -= log(1 + exp(-w * first[h, line[h, i]] - (1 - w) * second[h, line[h, i]]))
        return sum
    }
    /"pair"/ && /"model":"type-1"/ {
        line[who(), ++count[who()]] = after("line") + 0
        first[who(), after("line") + 0] = after("delta") + 0
    }
    /"pair"/ && /"model":"type-2"/ { second[who(), after("line") + 0] = after("delta") + 0 }
    /"event":"fit"/ {
        h = who()
        split(substr(after("weights"), 2), w, /[],]/)
        weight[h] = w[1]
        people++
        for (best = i = 0; i <= 1000; i++)
            if (loglik(h, i / 1000) > loglik(h, best)) best = i / 1000
        if (after("rows") + 0 != rows || w[1] - best > 1e-3 || best - w[1] > 1e-3) bad++
        if (w[1] + w[2] - 1 > 1e-15 || 1 - w[1] - w[2] > 1e-15) bad++
    }
    /"pair"/ && /"model":"people"/ {
        h = who()
        l = after("line") + 0
        error = after("delta") - weight[h] * first[h, l] - (1 - weight[h]) * second[h, l]
        if (error > 1e-9 || error < -1e-9) bad++
        left++
    }
    END { print people, left, bad + 0 }' "$1"
}
# with some who choose now this, now that
sed '10s/chosen/swapped/; 10s/rejected/chosen/; 10s/swapped/rejected/' held.jsonl > mixed.jsonl
works ./more eval $cut --reference lm --people two/people.json --eval mixed.jsonl --fit mixture \
    --fit_rows 2 --out mixed.out
[ "$(fits mixed.out 2)" = "8 8 0" ] || fault "$(fits mixed.out 2)"
works ./more eval $cut --people heads/people.json --eval mixed.jsonl --fit mixture --fit_rows 2 \
    --out mixed.out
[ "$(fits mixed.out 2)" = "8 8 0" ] || fault "$(fits mixed.out 2)"
works ./more eval --from mixed.out --people heads/people.json --fit mixture --fit_rows 2 \
    --out again.out
grep '"people"' mixed.out > x.out
grep '"people"' again.out > y.out
same x.out y.out
works ./more eval --from mixed.out --people heads/people.json --out again.out
counts 24 again.out '"pair".*"model":"people"'

it "a_mixture_needs_rows_to_be_fitted_to"
refused 64 "--fit mixture: --fit_rows N is needed" \
    ./more eval --people heads/people.json --eval mixed.jsonl --fit mixture
refused 64 "--fit says nothing without --people" \
    ./more eval --model r --eval mixed.jsonl --fit mixture
refused 65 "mixed: --fit_rows leaves no rows to predict" \
    ./more eval $cut --people heads/people.json --eval mixed.jsonl --fit mixture --fit_rows 3

it "what_people_need_is_said"
refused 64 "the types are policies: --reference is needed" \
    ./more eval --people two/people.json --eval held.jsonl
refused 64 "the people of two/people.json are by \"annotator\"" \
    ./more eval --people two/people.json --by who --eval held.jsonl --reference lm
refused 64 "of 2 types, not 1" \
    ./more eval --people two/people.json --model lm --eval held.jsonl --reference lm
refused 65 "lm/config.json: not a people.json" \
    ./more eval --people lm/config.json --eval held.jsonl --reference lm
echo '{"p0":"a"}' > few.json
refused 65 "few.json: the group of annotator \"p1\" is missing" \
    ./more eval $cut --people two/people.json --eval held.jsonl --reference lm --groups few.json
sed "s/\"a\"/\"$(printf %070d 0)\"/" groups.json > long.json
refused 65 "annotator \"p0\" is missing, or is no number or string of less than 64 bytes" \
    ./more eval $cut --people two/people.json --eval held.jsonl --reference lm --groups long.json

it "a_run_that_was_interrupted_goes_on_with_the_same_bits"
steps="--em_steps 3 --mstep warm --starts 2 --estep split-half --start dirichlet"
works ./more train em $steps $em --out whole
cp out whole.out
left="more_receipt.json people.json reference.bin type-1 type-2 "
[ "$(ls whole | tr '\n' ' ')" = "$left" ] || fault "$(ls whole)"
# at START ITERATION SIGNAL: ends the run as soon as people.json has that iteration
at() {
    interrupted $3 people.json "\"start\":$1,\"iteration\":$2,\"log" ./more train em $steps $em
    works ./more train em $steps $em --out killed
    holds err "killed/people.json: goes on after iteration"
    same whole.out out
    same whole/people.json killed/people.json
    [ "$(ls killed | tr '\n' ' ')" = "$left" ] || fault "$(ls killed)"
}
at 1 1 TERM
at 1 2 KILL
at 2 1 KILL

it "a_run_of_adapters_that_was_interrupted_goes_on_in_the_midst_of_a_type"
warm="$em $lora --em_steps 2 --mstep warm --objective reward --per_step_pairs 1 --save_steps 1"
works ./more train em $warm --out warm
cp out warm.out
interrupted KILL start-1-iteration-2/type-2/state-2.bin '' ./more train em $warm --keep 100
[ -e killed/start-1-iteration-2/type-2/model.safetensors ] && fault "a whole model was saved"
works ./more train em $warm --out killed
holds err "^iteration 2, type 1: .*type-1/state-24.bin: goes on after step 24 of 24"
holds err "^iteration 2, type 2: .*type-2/state-[0-9]*.bin: goes on after step [0-9]* of 24"
same warm.out out
same warm/people.json killed/people.json

it "what_cannot_be_is_refused_with_the_remedy"
sed 's/,"annotator.*/}/' people.jsonl > nobody.jsonl
refused 65 "nobody.jsonl:1: the row has no \"annotator\": every row needs one, or --by KEY" \
    ./more train em $small --train nobody.jsonl --out x
sed 's/p[0-9]"/p"/' people.jsonl > single.jsonl
refused 65 "all rows have one annotator: types need several people" \
    ./more train em $small --train single.jsonl --out x
refused 64 "--types" ./more train em $em --types 9 --out x
(head -n 8 people.jsonl; sed 's/p[0-9]"/alone"/; q' people.jsonl) > one-row.jsonl
refused 65 "annotator alone has one row, which cannot be halved; --estep full takes all rows" \
    ./more train em $small --train one-row.jsonl --estep split-half --out x
refused 64 "dpo, reward or heads is needed" ./more train em $em --objective ipo --out x
refused 64 "dpo, reward or heads is needed" ./more train em $em --objective more --out x
refused 64 "more train dpo does not read it" ./more train em $em --head_rate 2 --out x
refused 64 "one file is enough, not 2" ./more train em $em a.train.jsonl --out x
refused 65 "the group of annotator \"p1\" is missing" ./more train em $em --start few.json --out x
sed "s/p[1-7]\"/q\"/" people.jsonl > pair.jsonl
refused 65 "there cannot be more types than people" \
    ./more train em $small --train pair.jsonl --types 3 --out x
finish
