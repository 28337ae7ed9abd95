# explain.sh - more explain: what a reward model of features rewards.
. "$(dirname "$0")/lib.sh"

train=$root/data/features/opinpref_features.train.jsonl
valid=$root/data/features/opinpref_features.valid.jsonl
works ./more train features --layers linear --weight_decay 0 --train $train --out lin

it "explain_prints_what_is_known_of_opinprefs_linear_reward"
works ./more explain --model lin --eval $train --train $train --out lin.json
holds out "loss 0.482138, accuracy 75.12 % of 800 pairs"
# weight, slope a fifth of it, influence; loss without it; loss and accuracy by itself
holds out "^language-correctness  *3.150  *0.630  *[.0-9]*  *1.353 .* 0.00708  *0.4912  *72.8$"
holds out "^opinion-faithfulness  *-1.948  *-0.390  *[.0-9]*  *-0.730 .* 0.00163  *0.5202  *69.2$"
[ "$(awk '/^[a-z-]*-?[a-z]+  / && $2 ~ /[.]/ { print $1 }' out | head -n 3 | tr '\n' ' ')" = \
    "language-correctness hallucination opinion-faithfulness " ] || fault "not by influence"

it "a_sign_that_belies_the_feature_is_called_collinearity"
holds out "^opinion-faithfulness: by itself more is better in 69.2 % of pairs, but the reward falls"
holds out "such a sign is collinearity, not dislike"
lacks out "^language-correctness: "

it "the_same_numbers_are_in_the_json_and_the_picture_beside_it"
holds lin.json '"loss":0.48213[78]'
holds lin.json '{"feature":"hallucination","weight":2.7359'
counts 7 lin.json '"feature":'
holds lin.json '"longer_model":null'
counts 7 lin.svg '<polyline'
counts 3 lin.svg 'class="minus" x='
holds lin.svg '>+1.353</text>'
holds lin.svg '</svg>'

it "rows_with_texts_say_how_the_model_stands_to_the_longer_answer"
printf '%s\n' \
    '{"prompt":"p","chosen":"long","rejected":"no","features":{"chosen":{"a":1},"rejected":{"a":0}}}' \
    '{"prompt":"q","chosen":"no","rejected":"long","features":{"chosen":{"a":3},"rejected":{"a":1}}}' \
    '{"prompt":"r","chosen":"long","rejected":"no","features":{"chosen":{"a":0},"rejected":{"a":1}}}' \
    > texts.jsonl
works ./more train features --layers linear --weight_decay 0 --train texts.jsonl --out one
works ./more explain --model one --eval texts.jsonl
holds out "prefers the longer answer in 33.3 % of the pairs; people do in 66.7 %"

it "what_explain_cannot_do_is_refused"
refused 64 "FILE.json is needed" ./more explain --model lin --eval $valid --out lin.txt
refused 64 "one --model and one --eval are needed" ./more explain --model lin
refused 64 "one feature, which cannot be dropped" \
    ./more explain --model one --eval texts.jsonl --train texts.jsonl
works ./more train features --layers 3 --num_train_epochs 1 --train $train --out net
cp -r net untold
sed 's/"rows": [0-9]*/"rows": 0/' net/config.json > untold/config.json
refused 65 '"training": "rows" is out of range' \
    ./more explain --model untold --eval $train --train $train
awk '!/"training"/' net/config.json > untold/config.json
refused 65 'untold: config.json has no "training"' \
    ./more explain --model untold --eval $train --train $train
refused 65 'feature "aspect-coverage" is missing' ./more explain --model lin --eval texts.jsonl

finish
