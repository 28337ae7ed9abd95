# rankings.sh - rows of three and more answers: trained on whole, as pairs, and refused.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_rankings

it "a_reward_model_learns_an_order"
works ./more train reward $pairs --max_steps 30 --train ranks.jsonl --eval ranks.test.jsonl --out r
holds err '^plan: 30 steps of 6 rankings; 10 epochs of 18 rankings$'
holds err '^ranks: accuracy [0-9.]*  best answer [0-9.]*  tau [0-9.]*  loss [0-9.]*$'
holds r/log.jsonl '"eval_ranks_best":[0-9.]*,"eval_ranks_accuracy":\(1\|0\.[6-9]\)'
awk '/"event":"train"/ {
    sub(/.*"loss":/, "")
    if (!first) first = $0 + 0
    last = $0 + 0
} END { exit !(first > 1.5 && last < first - .5) }' r/log.jsonl || fault "$(grep train r/log.jsonl)"

it "a_policy_that_is_its_reference_costs_the_logarithm_of_the_orders"
awk -v three=3 'NR % three == 0' ranks.jsonl > three.jsonl
works ./more train dpo $policy --beta 2 --max_steps 20 --train three.jsonl --out d
holds err 'the loss starts at 1.7917[56]'
holds d/log.jsonl '"rewards/accuracies":1,'

it "the_first_place_alone_is_the_choice_of_the_best"
for o in reward dpo; do
    run=$policy
    [ $o = dpo ] || run=$pairs
    works ./more train $o $run --max_steps 3 --train ranks.jsonl --top 1 --out x
    top=$(sha)
    works ./more train $o $run --max_steps 3 --train best.jsonl --out x
    [ "$(sha)" = "$top" ] || fault "$o: another hash"
    works ./more train $o $run --max_steps 3 --train ranks.jsonl --out x
    [ "$(sha)" != "$top" ] || fault "$o: --top makes no difference"
done

it "pairs_are_those_that_are_written_out"
for o in reward dpo simpo kto; do
    run=$policy
    [ $o = reward ] && run=$pairs
    works ./more train $o $run --max_steps 3 --train ranks.jsonl --pairs --out x
    taken_apart=$(sha)
    holds err '^ranks: 18 rows of kind pair in 108 records, 108 kept'
    works ./more train $o $run --max_steps 3 --train written.jsonl --out x
    [ "$(sha)" = "$taken_apart" ] || fault "$o: another hash"
done

it "a_row_of_weight_0_teaches_nothing"
sed 's/}$/,"weight":0}/' ranks.jsonl > weightless.jsonl
works ./more train reward $pairs --max_steps 2 --train weightless.jsonl --out x
holds err 'the weight of every row is 0'
holds x/log.jsonl '"loss":0,'

it "rankings_and_pairs_are_mixed"
works ./more train reward $pairs --max_steps 3 --train ranks.jsonl b.train.jsonl --out x
holds err '^plan: 3 steps of 6 pairs and rankings; '
holds x/log.jsonl '"loss/ranks":'

it "more_bundles_rankings_and_pairs"
# of one set lambda is 1; as released and as in the paper the step is that of train reward
works ./more train reward $pairs --max_steps 3 --train ranks.jsonl --out x
alone=$(sha)
for mode in release paper uniform; do
    works ./more train more --more $mode $pairs --max_steps 3 --train ranks.jsonl --out x
    [ "$(sha)" = "$alone" ] || fault "$mode: another hash"
done
for mode in release paper; do
    works ./more train more --more $mode $pairs --max_steps 3 --train ranks.jsonl b.train.jsonl --out x
    mixed=$(sha)
    holds err '^plan: 3 steps of 6 pairs and rankings; '
    holds x/log.jsonl '"lambda/ranks":[01][0-9.e-]*,"loss/ranks":[0-9.]*,"grad_norm/ranks":[1-9.]'
    works ./more train more --more $mode $pairs --max_steps 3 --train ranks.jsonl b.train.jsonl \
        --micro_batch_tokens 100 --threads 2 --out x
    [ "$(sha)" = "$mixed" ] || fault "$mode: another hash in small micro-batches"
done

it "groups_of_rankings_are_weighed_by_their_losses"
sed 's/}$/,"who":"few"}/; 4,$s/"few"/"many"/' ranks.jsonl > who.jsonl
for o in "reward $pairs" "dpo $policy"; do
    works ./more train $o --max_steps 3 --train who.jsonl --out x
    plain=$(sha)
    works ./more train $o --max_steps 3 --train who.jsonl --group_robust who --group_step 2 --out x
    [ "$(sha)" != "$plain" ] || fault "no difference: $o"
done

it "what_takes_no_rankings_says_what_does"
for o in ipo orpo simpo kto ulma pointwise-dpo unlikelihood sft; do
    refused 65 "ranks.jsonl: rankings of three and more answers; train reward, more and dpo take \
them whole; --pairs makes a pair of each two" ./more train $o $policy --train ranks.jsonl --out x
done
refused 65 "--pairs makes a pair of each two" \
    ./more train simpo $policy --train a.train.jsonl --eval ranks.jsonl --out x
refused 65 "train lm takes texts" ./more train lm $new --train ranks.jsonl --out x

it "what_is_of_pairs_alone_is_refused_of_rankings"
refused 64 "--label_smoothing: ranks.jsonl holds rankings" \
    ./more train dpo $policy --train ranks.jsonl --label_smoothing 0.1 --out x
sed 's/}$/,"margin":1}/' ranks.jsonl > margin.jsonl
refused 65 "margin.jsonl:1: a margin is of pairs, not of a ranking" \
    ./more train reward $pairs --train margin.jsonl --out x

it "rankings_that_tie_everywhere_are_refused_with_the_remedy"
sed 's/"ranks":.*/"ranks":[1,1,1]}/; s/\("completions":\["[^"]*","[^"]*","[^"]*"\).*\],/\1],/' \
    ranks.jsonl > equal.jsonl
for o in "reward $pairs" "dpo $policy" "simpo --pairs $policy"; do
    refused 65 "equal.jsonl: nothing is left of 18 rows: 18 ties (no two different answers of \
which one is better), 0 too long" ./more train $o --train equal.jsonl --out x
done

it "doctor_plans_and_times_rankings"
works ./more doctor --model lm $cut --train ranks.jsonl
holds out '^ranks.jsonl, to train on: ranking data$'
holds out '^plan: 1 step of 18 rankings'
holds out 'tokens/s, [0-9]*:[0-9]*:[0-9]* an epoch$'
works ./more doctor --model lm $cut --train ranks.jsonl --pairs
holds out '^ranks.jsonl, to train on: pair data$'
holds out 'an epoch; the loss there is 0.6931'

it "the_best_weights_of_rankings_are_kept_by_loss_and_by_accuracy"
for metric in loss accuracy; do
    works ./more train reward $pairs --max_steps 3 --train ranks.jsonl --eval ranks.test.jsonl \
        --eval_steps 1 --load_best --best_metric $metric --out x
    holds err "^best: step [123], eval $metric "
done

# a language model with a head at random, whose rewards are no order
untrained='--model lm --raw_head 3'
# a row of `eval --out` of an event
line_of() { grep "\"event\":\"$1\"" $2; }

it "eval_has_the_best_answer_tau_and_the_likelihood_of_rankings"
works ./more eval $cut $untrained --eval ranks.test.jsonl --out eval.jsonl
holds out '^ranks: 16 rankings of 4\.0 answers, whose pairs are above; a guess finds the best of 26\.'
holds out '^ranks: 96 pairs, 16 prompts'
holds out '^lm .* \.\. .* \.\. .* \.\. '
cp out table
from ranks.test.jsonl works ./more score $cut $untrained
awk -v key='"rewards":[' '{
    # places are those of make_rankings: 1, 2, 3, 4, 4
    at = index($0, key)
    list = substr($0, at + length(key))
    sub(/\].*/, "", list)
    m = split(list, r, ",")
    best = 1
    loglik = 0
    for (i = 1; i <= m; i++) {
        place = i < 5 ? i : 4
        if (r[i] > r[best]) best = i
        total = exp(r[i])
        worse = 0
        for (k = i + 1; k <= m; k++) {
            if ((k < 5 ? k : 4) == place) continue
            worse = 1
            total += exp(r[k])
            pairs++
            right += r[i] > r[k] ? 1 : r[i] == r[k] ? 0.5 : 0
        }
        if (worse) loglik += r[i] - log(total)
    }
    found += best == 1
    sum += loglik
} END { printf "%.6f %.6f %.6f\n", found / NR, sum / NR, right / pairs }' out > want
line_of rankings eval.jsonl > numbers
for key in best loglik accuracy; do field numbers $key; done | xargs printf '%.6f %.6f %.6f\n' > have
same want have

it "the_longest_answer_and_a_guess_stand_beside_the_model"
[ "$(line_of ranking eval.jsonl | field /dev/stdin longest_best | awk '{ sum += $1 }
    END { printf "%.6f", sum / NR }')" = "$(field numbers longest_best | xargs printf '%.6f')" ] ||
    fault "$(cat numbers)"
counts 2 table '^longer answer wins '

it "results_of_rankings_are_read_back"
works ./more eval --from eval.jsonl --out again.jsonl
line_of rankings again.jsonl > numbers.again
same numbers numbers.again
works ./more eval $cut $untrained --eval ranks.test.jsonl
cp out direct
works ./more eval --from eval.jsonl
same direct out
sed '/"event":"ranking",/s/"tau":[^,]*,//' eval.jsonl > bad.jsonl
refused 65 "bad.jsonl:97: not a line that eval --out wrote" ./more eval --from bad.jsonl

it "pairs_of_rankings_are_those_that_are_written_out"
works ./more eval $cut $untrained --eval ranks.test.jsonl --pairs --out a.jsonl
works ./more eval $cut $untrained --eval written.test.jsonl:ranks --out b.jsonl
for f in a b eval; do
    line_of metrics $f.jsonl | field /dev/stdin accuracy
    line_of metrics $f.jsonl | field /dev/stdin nll
done > three
[ "$(sort -u three | wc -l)" = 2 ] || fault "$(cat three)"
counts 0 a.jsonl '"event":"ranking'

it "the_first_places_have_a_likelihood_of_their_own"
works ./more eval $cut $untrained --eval ranks.test.jsonl --top 1 --out top.jsonl
works ./more eval $cut $untrained --eval best.test.jsonl:ranks --out best.jsonl.eval
for f in top.jsonl best.jsonl.eval; do line_of rankings $f | field /dev/stdin loglik; done > two
[ "$(sort -u two | wc -l)" = 1 ] || fault "$(cat two)"

it "policies_are_measured_by_their_implicit_rewards"
works ./more eval $cut --model d --reference lm --beta 2 --eval ranks.test.jsonl --out policy.jsonl
holds out '^ranks: 16 rankings of '
holds out '^d on ranks: perplexity of the best answers '
counts 16 policy.jsonl '"event":"ranking"'

it "a_bag_of_words_learns_from_rankings_and_is_measured_by_them"
works ./more eval $cut $untrained --bag ranks.jsonl --eval ranks.test.jsonl
counts 2 out '^bag of words'

it "rankings_are_parted_by_a_key"
awk '{ sub(/}$/, ",\"who\":\"h" NR % 2 "\"}"); print }' ranks.test.jsonl > parted.jsonl
works ./more eval $cut $untrained --eval parted.jsonl --by who
holds out '^h0 .*pairs, 8 prompts'

finish
