# features.sh - more train features, and what other commands do with its folders.
. "$(dirname "$0")/lib.sh"

train=$root/data/features/opinpref_features.train.jsonl
valid=$root/data/features/opinpref_features.valid.jsonl
make_data
make_lm
make_reward

it "a_linear_reward_of_opinprefs_features_has_the_known_minimum_and_accuracies"
works ./more train features --layers linear --weight_decay 0 --train $train --eval $valid --out lin
holds err "opinpref_features: loss 0.482138  accuracy 0.7512  ties 0.0050  of 800 pairs"
holds err "opinpref_features: loss 0.505992  accuracy 0.7536"
holds err "the exact minimum"
linear=$(sha)
holds lin/config.json '"model_type": "more_features"'

it "eval_and_score_take_it_like_any_reward_model_and_average_several"
works ./more train features --train $train --out net --quiet
works ./more eval --model LIN=lin NET=net BOTH=lin+net --eval $valid --by annotator --out cells
holds out "^LIN  *75.36 "
holds out "140 pairs, 140 prompts$"
lacks out "longer answer"
counts 140 cells '"event":"pair","model":"BOTH"'
from $valid works ./more score --model lin
lines 141 out
holds out '^{"feature_names"'
counts 140 out '"scores_chosen":'
cp out scored
from scored works ./more score --model lin
same out scored

it "inspect_shows_names_ranges_and_weights"
works ./more inspect --model lin
holds out "a reward model of 7 features, layers linear: 8 parameters"
holds out "hallucination, from 0 to 5, divided by 5"
holds out "1.202749 aspect-coverage  *-1.948038 opinion-faithfulness"
holds out "weights sha256 $linear"

it "the_weights_are_the_same_for_any_threads_and_instruction_set"
works ./more train features --train $train --out again --num_train_epochs 2
bits=$(sha)
for isa in $(instruction_sets); do
    works env MORE_ISA=$isa OMP_NUM_THREADS=2 ./more train features --train $train --out again \
        --num_train_epochs 2
    [ "$(sha)" = "$bits" ] || fault "other bits with $isa"
done

it "the_names_of_a_file_must_be_the_models"
printf '%s\n' '{"features": {"chosen": {"a": 1}, "rejected": {"a": 0}}}' > other.jsonl
refused 65 'other.jsonl:1: feature "aspect-coverage" is missing; needed are aspect-coverage, op' \
    ./more eval --model lin --eval other.jsonl
sed 1d $valid > nameless.jsonl
refused 65 'nameless.jsonl:1: a list of numbers without names' \
    ./more eval --model lin --eval nameless.jsonl
names=aspect-coverage,opinion-faithfulness,opinion-coverage,conciseness,relevance,hallucination
works ./more eval --model lin --eval nameless.jsonl --features $names,language-correctness
holds out "^lin  *75.36 "

it "a_table_trains_as_its_rows_do"
awk -F'[][]' 'NR == 1 {
    n = split("aspect-coverage opinion-faithfulness opinion-coverage conciseness relevance hallucination language-correctness", name, " ")
    for (i = 1; i <= n; i++) printf "chosen.%s,rejected.%s,", name[i], name[i]
    print "id"
    next
}
{
    split($2, c, ", ")
    split($4, r, ", ")
    for (i = 1; i <= n; i++) printf "%s,%s,", c[i], r[i]
    print NR
}' $train > train.csv
works ./more train features --layers linear --weight_decay 0 --feature_range 0,5 --train train.csv \
    --out table
[ "$(sha)" = "$linear" ] || fault "other weights"

it "a_dead_model_is_called_dead"
run ./more train features --layers authors --train $train --out dead --seed 0 --num_train_epochs 3
for seed in 1 2 3 4 5 6 7; do
    grep -q "the model is dead" err && break
    works ./more train features --layers authors --train $train --out dead --seed $seed \
        --num_train_epochs 3
done
holds err "the output is a relu"
holds err "the model is dead: all pairs are tied, the loss is log 2: its output, a relu, is 0"
holds err "loss 0.693147  accuracy 0.5000  ties 1.0000"

it "search_draws_what_is_not_given_and_keeps_the_best_on_folds_of_the_training_file"
head -101 $train > small.jsonl
works ./more train features --train small.jsonl --out found --search 4 --search_folds 3 \
    --num_train_epochs 10 --layers 3 --seed 3
counts 4 err "^trial [1-4] of 4: layers 3"
counts 5 err ", 10 epochs,"
holds err "^trial 1 of 4: layers 3, rate 0.0200, warm-up 0.30"
best=$(sed -n 's/^trial.*held-out loss //p' err | sort -n | head -1)
holds err "^chosen: .*held-out loss $best"
found=$(sha)
works ./more train features --train small.jsonl --out found --search 4 --search_folds 3 \
    --num_train_epochs 10 --layers 3 --seed 3 --eval $valid
[ "$(sha)" = "$found" ] || fault "the evaluation file changes what is chosen"

it "rankings_and_chosen_names_train"
cat > rank.jsonl <<END
{"features": [{"a": 3, "b": 1}, {"a": 2, "b": 5}, {"a": 1, "b": 2}]}
{"features": [{"a": 1, "b": 4}, {"a": 3, "b": 1}, {"a": 2, "b": 5}], "ranks": [3, 1, 2]}
END
works ./more train features --train rank.jsonl --features a --layers 2 --out rank
holds err "1 features: a"
works ./more eval --model rank --eval rank.jsonl
holds out "2 rankings of 3.0 answers"
printf '%s\n' '{"features": {"a": 2, "b": 0}, "id": 7}' > one.jsonl
from one.jsonl works ./more score --model rank
holds out '"id": 7,"reward":'

it "features_that_are_counted_need_no_numbers_in_the_rows"
works ./more train features --features length,distinct1,overlap --train a.train.jsonl --out counted \
    --num_train_epochs 20
holds err "3 features: length, distinct1, overlap"
counted=$(sha)
works ./more judge --features length,distinct1,overlap --eval a.train.jsonl --out judged.jsonl
works ./more train features --train judged.jsonl --out judged --num_train_epochs 20
[ "$(sha)" = "$counted" ] || fault "other weights from the numbers that more judge writes"
works ./more eval --model C=counted BOTH=counted+r --eval a.test.jsonl $cut
holds out "^BOTH "
holds out "^longer answer wins"

it "bestof_compare_and_rloo_take_it_alone_or_with_others"
write="$cut --max_new_tokens 12 --seed 3 --quiet"
works ./more bestof --model lm --judge counted --prompts a.test.jsonl $write --n 3 --out best --all all
lines 48 all
grep -v '"completion":""' all > rows
from rows works ./more score --model counted
field rows reward > want
field out reward > have
same want have
works ./more compare --model lm --judge counted r --prompts a.test.jsonl $write
cp out two
works ./more compare --model lm --judge counted --prompts a.test.jsonl $write
differ out two "the second judge counts"
works ./more train rloo --model lm --reward counted --prompts a.test.jsonl $write --n 3 \
    --per_step_rows 5 --max_steps 2 --out policy
counts 2 policy/log.jsonl '"event":"train".*"reward":-*[0-9]'

it "a_feature_that_only_rows_bring_cannot_judge_what_is_written"
refused 65 '--judge lin: feature "aspect-coverage" is not counted from a text alone' \
    ./more bestof --model lm --judge lin --prompts a.test.jsonl $write --out best
printf '%s\n' '{"features": [{"length": 1}, {"length": 2}]}' > own.jsonl
works ./more train features --train own.jsonl --out own
refused 65 '"length" is none that is counted from texts, in the range' \
    ./more eval --model own --eval a.test.jsonl
refused 65 "the row has no \"features\"; more judge adds some" \
    ./more train features --train a.train.jsonl --out x
refused 65 'a.train.jsonl:1: feature "rougeL" compares with a "reference"' \
    ./more train features --features rougeL --train a.train.jsonl --out x

it "what_it_cannot_use_is_refused_by_name"
refused 64 "one file of --train and --out are needed" ./more train features --train $train
refused 64 "--layers 6,x: linear, mean, authors" \
    ./more train features --train $train --out x --layers 6,x
refused 65 "pairs or rankings are needed" ./more train features --train one.jsonl --out x
printf '%s\n' '{"features": [{"a": 1}, {"a": 2}], "margin": 1}' > margin.jsonl
refused 65 "margin.jsonl:1: a margin" ./more train features --train margin.jsonl --out x
printf '%s\n' '{"features": [{"a": 1}, {"a": 2}], "weight": 0}' > zero.jsonl
refused 65 "the weight of every row is 0" ./more train features --train zero.jsonl --out x
refused 64 "--activation tanh,: tanh, relu" \
    ./more train features --train $train --out x --activation tanh,
refused 64 "--features: the name of a feature has from 1 to 63 bytes, not 0" \
    ./more train features --train $train --out x --features relevance,
printf 'chosen.a,rejected.a' > header.csv
refused 65 "header.csv: no rows" ./more train features --train header.csv --out x
printf 'chosen.a,rejected.a\r1,2\r' > old.csv
refused 65 "old.csv:1: a carriage return that ends no line" \
    ./more train features --train old.csv --out x
refused 64 "--feature_range 5,0: LOW,HIGH" \
    ./more train features --train $train --out x --feature_range 5,0
refused 65 'is 4.35, its range is 0 to 4; correct' \
    ./more train features --train $train --out x --feature_range 0,4
refused 64 "are of models of texts" ./more score --model lin --tokens < one.jsonl
refused 65 "a reward model of features, which reads no text" \
    ./more sample --model lin --prompts one.jsonl
refused 65 "one.jsonl:1: features without a text, which train features" \
    ./more eval --model r --eval one.jsonl

it "a_folder_that_was_tampered_with_is_refused"
cp -r lin bad
sed 's/"layers": "linear"/"layers": "3"/' lin/config.json > bad/config.json
refused 65 'bad/config.json: "activations" must be a list of 2' ./more inspect --model bad
sed 's/"feature_scale": \[5/"feature_scale": [0/' lin/config.json > bad/config.json
refused 65 '"feature_scale" must be a list of 7 positive' ./more inspect --model bad
sed 's/"aspect-coverage",//; s/\[0,5\],//; s/\[5,/[/' lin/config.json > bad/config.json
refused 65 'tensor layers.0.weight has not the shape' ./more inspect --model bad
sed 's/"feature_scale": \[5/"feature_scale": [5,5/' lin/config.json > bad/config.json
refused 65 '"feature_scale" must be a list of 7 positive' ./more inspect --model bad
cp lin/config.json bad/config.json
printf '\0' | dd of=bad/model.safetensors bs=1 seek=$(($(wc -c < bad/model.safetensors) - 5)) \
    conv=notrunc 2>/dev/null
refused 65 "their checksum is" ./more inspect --model bad

finish
