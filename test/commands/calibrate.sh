# calibrate.sh - temperatures and maps: fitted, kept in config.json, used by eval and score.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
# pairs of which the model is wrong on some: those of two sets, every fifth the other way round
cat a.test.jsonl b.test.jsonl a.train.jsonl | awk 'NR % 5 == 0 {
    sub(/"chosen"/, "\"was\""); sub(/"rejected"/, "\"chosen\""); sub(/"was"/, "\"rejected\"")
} { print }' > mixed.jsonl
sed 's/"model_type"/"_note": "kept",\n  "model_type"/' r/config.json > config.json
cp config.json r/config.json

it "the_temperature_in_config_json_is_that_of_eval"
works ./more eval $cut --model R=r --eval mixed.jsonl --out before.jsonl --quiet
grep '"event":"metrics"' before.jsonl > metrics
works ./more calibrate $cut --model r --eval mixed.jsonl --quiet
holds out '^r: 42 pairs of 1 file'
holds out '^r/config.json: {"pooling": "last", "temperature": '
holds r/config.json '"_note": "kept"'
[ "$(field metrics temperature)" = "$(awk '/"temperature"/ {
    sub(/.*"temperature": /, ""); sub(/}.*/, ""); printf "%.9g\n", $0 }' r/config.json)" ] ||
    fault "another temperature"

it "eval_divides_rewards_by_it_and_says_so"
works ./more eval $cut --model R=r --eval mixed.jsonl --out after.jsonl
holds err '^r: log-odds by the temperature that more calibrate left there$'
grep '"event":"metrics"' after.jsonl > metrics.after
[ "$(field metrics accuracy)" = "$(field metrics.after accuracy)" ] || fault "another accuracy"
T=$(field metrics temperature)
grep '"event":"pair"' before.jsonl > x1
grep '"event":"pair"' after.jsonl > x2
field x1 delta > d1
field x2 delta > d2
paste d1 d2 | awk -v T="$T" '{ e = $1 / T - $2; if (e > 1e-7 || e < -1e-7) bad = 1 }
    END { exit bad || NR != 42 }' || fault "not delta / T"
awk -v t="$(field metrics.after temperature)" 'BEGIN { exit t < .999999 || t > 1.000001 }' ||
    fault "what is calibrated calls for a temperature of 1"

it "score_says_how_probable_it_is_that_the_chosen_answer_is_better"
from mixed.jsonl works ./more score $cut --model r --probability --quiet
field out probability > p
paste d2 p | awk '{ e = 1 / (1 + exp(-$1)) - $2; if (e > 1e-8 || e < -1e-8) bad = 1 }
    END { exit bad || NR != 42 }' || fault "not sigma(delta / T)"
cp out scored
from scored works ./more score $cut --model r --probability --quiet
same out scored

it "the_probabilities_of_a_ranking_add_to_one_and_the_best_reward_has_the_largest"
ranking='"completions":[\2,\1," maybe"],"ranks":[3,1,2]}'
sed "s/\"chosen\":\(.*\),\"rejected\":\(.*\)}$/$ranking/" a.test.jsonl > ranks.jsonl
from ranks.jsonl works ./more score $cut --model r --probability --quiet
field out rewards | tr -d '[]' | tr , ' ' > rewards
field out probabilities | tr -d '[]' | tr , ' ' | paste rewards - | awk -v T="$T" '{
        sum = $4 + $5 + $6 - 1
        e = log($4 / $5) - ($1 - $2) / T
        if (sum > 1e-7 || sum < -1e-7 || e > 1e-5 || e < -1e-5) bad = 1
    }
    END { exit bad || NR != 16 }' || fault "not the softmax of r / T"

it "an_isotonic_map_is_kept_beside_it_and_goes_before"
works ./more calibrate $cut --model r --eval mixed.jsonl --isotonic --quiet
holds out '^isotonic map '
holds r/config.json '"isotonic": \[\['
holds r/config.json '"_note": "kept"'
works ./more inspect --model r
holds out '^calibrated: temperature .*, and an isotonic map'
from mixed.jsonl works ./more score $cut --model r --probability --quiet
field out probability > p
works ./more eval $cut --model R=r --eval mixed.jsonl --out after.jsonl --quiet
grep '"event":"pair"' after.jsonl > x2
field x2 delta | paste p - | awk '{ e = 1 / (1 + exp(-$2)) - $1; if (e > 1e-8 || e < -1e-8) bad = 1 }
    END { exit bad || NR != 42 }' || fault "eval and score differ"
from ranks.jsonl refused 64 "an isotonic map is for two answers" \
    ./more score $cut --model r --probability --quiet
refused 64 "which are not averaged with those of B" ./more eval $cut --model B=r+r \
    --eval mixed.jsonl

it "a_model_that_is_trained_on_forgets_it"
works ./more train reward $recipe --model r --train a.train.jsonl --out r2
lacks r2/config.json temperature
works ./more train reward $pairs --train $abc --out r3
[ "$(sha)" = "$r_sha" ] || fault "another start"

it "rewards_that_are_wrong_or_never_wrong_get_no_temperature"
sed 's/"chosen"/"was"/; s/"rejected"/"chosen"/; s/"was"/"rejected"/' b.train.jsonl > wrong.jsonl
cp r/config.json kept
refused 65 "the chosen answer's reward is not the higher one" \
    ./more calibrate $cut --model r --eval wrong.jsonl
./more score $cut --model r --quiet < a.test.jsonl | grep '"results":1' | head -n 3 > right.jsonl
refused 65 "the model is right on all of 3 pairs" ./more calibrate $cut --model r --eval right.jsonl
same r/config.json kept

it "what_has_no_differences_or_a_calibration_that_is_none_is_refused"
refused 64 "a language model, which says how probable a text is" \
    ./more score --model lm --probability
make_points
from points.jsonl refused 65 "pairs and rankings: which answer is best" \
    ./more score $cut --model r --probability --quiet
refused 65 "" ./more calibrate $cut --model lm --eval a.test.jsonl
for wrong in '"temperature": -1' '"temperature": "1"' '"isotonic": 3' '"isotonic": [[1, 0.4]]' \
    '"isotonic": [[1, 0.6], [0.5, 0.7]]' '"isotonic": [[1, 1]]' '"isotonic": [[1, 0.6, 2]]'; do
    sed "s/\"more\": .*/\"more\": {\"pooling\": \"last\", $wrong},/" kept > r/config.json
    name=$(echo "$wrong" | cut -d '"' -f 2)
    refused 65 "r/config.json: \"$name\" must be" ./more inspect --model r
done
finish
