# eval.sh - reward models on held-out pairs: the table, its lines of JSON, and the same table again.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
make_singles

it "eval_prints_a_table_of_models_by_sets_and_writes_pairs_and_metrics"
works ./more eval $cut --model All=r s-a Mean=s-a+s-b Own=s-%s \
    --eval a.test.jsonl b.test.jsonl:b --out e.jsonl
cp out table
longer="the longer answer wins [0-9.]* %; [0-9]* pairs are of similar length"
holds table "^a: 16 pairs, 16 prompts; $longer\$"
holds table '^b: 8 pairs, 8 prompts;'
holds table '^mean of the 2 sets;'
for m in All s-a Mean Own; do counts 3 table "^$m  *[0-9.]* *[0-9.-]* \.\. "; done
counts 2 table '^longer answer wins'
counts 96 e.jsonl '"event":"pair"'
counts 8 e.jsonl '"event":"metrics"'
for k in accuracy accuracy_95 accuracy_strict tie_rate nll brier margin ece_5 ece_10 ece_20 \
    ace_more_10 mce_10 confidence_ece_10 quantiles histogram correct wrong; do
    counts 8 e.jsonl "\"event\":\"metrics\".*\"$k\":"
done

it "the_accuracy_on_pairs_of_similar_length_stands_beside_the_longer_answer_wins"
for s in a b; do
    grep "\"event\":\"pair\",\"model\":\"All\",\"eval\":\"$s\"" e.jsonl > of_all
    for k in delta chosen_chars rejected_chars; do field of_all $k > of_all.$k; done
    want=$(paste of_all.delta of_all.chosen_chars of_all.rejected_chars | awk '{
            longer = $2 > $3 ? $2 : $3
            differ = $2 > $3 ? $2 - $3 : $3 - $2
            if (10 * differ > longer) next
            n++
            right += $1 > 0 ? 1 : $1 == 0 ? .5 : 0
        }
        END { printf "%d %.9g", n, right / n }')
    grep "\"event\":\"metrics\",\"model\":\"All\",\"eval\":\"$s\"" e.jsonl > line
    [ "$(field line similar_n) $(field line similar_accuracy)" = "$want" ] || fault "$s: $want"
    holds table "^$s: .*; ${want% *} pairs are of similar length\$"
done

# deltas MODEL SET: r(chosen) - r(rejected) of each pair
deltas() { sed -n "s/.*\"model\":\"$1\",\"eval\":\"$2\".*\"delta\":\([^,]*\),.*/\1/p" all.jsonl; }

it "a_model_of_several_folders_has_their_mean_reward"
works ./more eval $cut --model A=s-a B=s-b --eval a.test.jsonl b.test.jsonl --out e2.jsonl
counts 4 err '^[0-9]* parameters, [0-9.]* GiB needed, [0-9]* threads, '
cat e.jsonl e2.jsonl > all.jsonl
deltas s-a a > delta.1
deltas B a > delta.2
deltas Mean a > delta.3
paste delta.1 delta.2 delta.3 | awk '
    { d = ($1 + $2) / 2 - $3; if (d > 1e-7 || d < -1e-7) bad = 1 }
    END { exit bad || NR != 16 }' || fault "not the mean"

it "a_folder_with_a_percent_sign_is_each_sets_own"
for of_set in "A a" "B b"; do
    deltas Own ${of_set#* } > delta.1
    deltas ${of_set% *} ${of_set#* } > delta.2
    same delta.1 delta.2
    [ -s delta.1 ] || fault "no pairs"
done

it "results_read_back_make_the_same_table"
works ./more eval --from e.jsonl
same out table
works ./more eval $cut --model All=r s-a --eval a.test.jsonl b.test.jsonl --out x1.jsonl
works ./more eval $cut --model Mean=s-a+s-b Own=s-%s --eval a.test.jsonl b.test.jsonl \
    --from x1.jsonl
same out table

it "a_line_that_eval_did_not_write_is_refused"
pair=$(grep '"event":"pair"' e.jsonl | head -n 1)
for change in 's/"model":"[^"]*"/"model":1/' 's/,"eval":"a"//' 's/"line":[0-9]*/"line":-1/' \
    's/"group":"\([^"]*\)"/"group":1/' 's/"delta":[^,]*/"delta":"1"/' \
    's/"chosen_chars":\([0-9]*\)/"chosen_chars":"\1"/' 's/"rejected_chars":[0-9]*/"x":1/'; do
    {
        cat e.jsonl
        echo "$pair" | sed "$change"
    } > bad.jsonl
    refused 65 "bad.jsonl:$(wc -l < bad.jsonl): not a line that eval --out wrote" \
        ./more eval --from bad.jsonl
done

it "the_folds_of_a_file_are_its_pairs_each_once"
for f in 0 1 2; do
    works ./more eval $cut --model R=r --eval a.test.jsonl --folds 3 --fold $f --out fold.$f
done
works ./more eval $cut --model R=r --eval a.test.jsonl --out x.jsonl
cat fold.? | grep '"event":"pair"' | sort > x1
grep '"event":"pair"' x.jsonl | sort > x2
same x1 x2
lines 16 x1

it "a_raw_head_is_a_function_of_its_seed"
works ./more eval $cut --model Raw=lm --raw_head 1 --eval a.test.jsonl --out x1.jsonl
works ./more eval $cut --model Raw=lm --raw_head 2 --eval a.test.jsonl --out x2.jsonl
differ x1.jsonl x2.jsonl "one head for two seeds"

it "results_that_are_there_are_not_lost_to_a_run_that_fails_or_reads_them"
cp e.jsonl keep.jsonl
works ./more eval $cut --from keep.jsonl --model New=r --eval a.test.jsonl --out keep.jsonl
holds out '^Own  '
cp e.jsonl kept.jsonl
refused 66 "No such file" ./more eval $cut --model New=r --eval no-such.jsonl --out kept.jsonl
[ -s kept.jsonl ] || fault "the old results are gone"

it "models_of_other_tokenizers_are_averaged_but_only_on_the_same_rows"
make_lm2
works ./more train reward $recipe --model lm2 --train a.train.jsonl --max_steps 1 --out r2
works ./more eval $cut --model Mean=r+r2 --eval a.test.jsonl
refused 65 "leaves other pairs" ./more eval --max_length 40 --max_prompt_length 20 \
    --over_length drop --model Mean=r+r2 --eval a.test.jsonl
# a first row that one of them drops moves the answers of the others, also in the fold without it
row='{"prompt":"\\n\\nHuman: who?\\n\\nAssistant:","chosen":" %s","rejected":" no"}\n'
{
    printf "$row" "$(yes the | head -n 55 | tr '\n' ' ')"
    cat a.test.jsonl
} > first.jsonl
drop="--max_length 200 --max_prompt_length 20 --over_length drop --folds 2"
for f in 0 1; do
    for m in r+r2 r2+r; do
        refused 65 "leaves other pairs" \
            ./more eval $drop --fold $f --model Mean=$m --eval first.jsonl
    done
    works ./more eval $drop --fold $f --model Mean=r+r --eval first.jsonl
done

# rows of three annotators: 7 has 24 pairs, two of each prompt; ann 12; nobody is named in 3
sentences pair 48 9 | awk '{
    by = NR % 2 ? "7" : NR % 4 ? "\"ann\"" : NR % 16 ? "\"b\\u0001b\"" : "null"
    sub(/}$/, ",\"who\":" by "}")
    if (NR % 4 == 1) prompt = $0
    if (NR % 4 == 3) sub(/"prompt":"[^"]*"/, substr(prompt, 2, index(prompt, ",\"chosen") - 2))
    print
}' > by.jsonl

it "by_a_key_of_the_rows_each_value_has_its_numbers_and_the_worst_is_named"
works ./more eval $cut --model R=r S=s-a --eval by.jsonl --by who --out by.out
cp out table
for m in R S; do
    sed -n "/^by by who, $m/,/^\$/p" table > part
    counts 1 part '; the worst$'
    holds part '^7 .* 24 pairs, 12 prompts; the worst$'            # the only one with 20 pairs
    counts 1 part '^ann .* 12 pairs, 12 prompts$'
    counts 1 part '^b_b .* 9 pairs, 9 prompts$'
    counts 1 part '^(none) .* 3 pairs, 3 prompts$'
done
counts 8 by.out '"event":"by"'
counts 6 by.out '"event":"pair","model":"[RS]".*,"by":{"who":null}}$'
for value in '"7"' '"ann"' null; do
    grep "\"event\":\"pair\",\"model\":\"R\".*\"by\":{\"who\":$value}" by.out > of_value
    field of_value delta > deltas
    want=$(awk '{ right += $1 > 0 ? 1 : $1 == 0 ? .5 : 0 }
        END { printf "%.9g", right / NR }' deltas)
    grep "\"event\":\"by\",\"model\":\"R\",\"eval\":\"by\",\"by\":{\"who\":$value}" by.out > line
    [ "$(field line accuracy)" = "$want" ] || fault "$value: $want, not $(field line accuracy)"
done
awk '/"event":"by","model":"R"/ {
    sub(/.*"accuracy":/, "")
    if ($0 + 0 < last) exit 1
    last = $0 + 0
}' by.out || fault "not the least accurate first"

it "one_value_has_the_numbers_and_intervals_of_a_file_with_its_rows_alone"
grep '"who":7}$' by.jsonl > seven.jsonl
works ./more eval $cut --model R=r --eval seven.jsonl:by --out seven.out
grep '"event":"metrics"' seven.out | sed 's/.*"n":24/"n":24/' > want
grep '"event":"by","model":"R".*"who":"7"' by.out | sed 's/.*"n":24/"n":24/' > have
same want have
grep '"event":"metrics"' by.out > want
works ./more eval $cut --model R=r S=s-a --eval by.jsonl --out x.jsonl
grep '"event":"metrics"' x.jsonl > have
same want have

it "results_by_a_key_are_read_back_and_of_policies_there_are_some_too"
works ./more eval --from by.out --by who
same out table
refused 65 "x.jsonl:1: written without --by who" ./more eval --from x.jsonl --by who
works ./more eval $cut --reference lm --model P=lm --eval by.jsonl --by who
holds out '^7  *50.00 .* 24 pairs, 12 prompts; the worst$'
sed 's/,"who":[^}]*}/}/' by.jsonl > anonymous.jsonl
refused 65 'no row has "who", which --by names' ./more eval $cut --model r --eval anonymous.jsonl \
    --by who
{
    cat by.jsonl
    sed '1!d; s/7}$/[1,2]}/' by.jsonl
} > listed.jsonl
refused 65 'listed.jsonl:49: "who" is not one value' ./more eval $cut --model r \
    --eval listed.jsonl --by who
ids='s/"who":7}/"who":9007199254740991}/; s/"who":"ann"}/"who":9007199254740990}/'
sed "$ids" by.jsonl > ids.jsonl
works ./more eval $cut --model r --eval ids.jsonl --by who
holds out '^9007199254740991 .* 24 pairs, '
holds out '^9007199254740990 .* 12 pairs, '
sed 's/"who":7}/"who":12345678901234567}/' by.jsonl > long.jsonl
refused 65 'long.jsonl:1: "who" is a number of more digits than are read; write it as a string' \
    ./more eval $cut --model r --eval long.jsonl --by who
sed 's/"chosen":\(.*\),"rejected":.*/"completion":\1,"label":true,"who":1}/' by.jsonl > points.jsonl
refused 65 "--by needs pairs" ./more eval $cut --reference lm --model lm --eval points.jsonl \
    --by who

# in the pairs of make_data the chosen answers say yes, the others no
it "a_bag_of_words_is_a_row_beside_the_longer_answer_wins"
works ./more eval $cut --model R=r S=s-a --bag a.train.jsonl b.train.jsonl \
    --eval a.test.jsonl b.test.jsonl --out bag.out
cp out bag.table
counts 3 bag.table '^bag of words  *100.00 .*  +[0-9.]* +- [0-9.]*$'  # the last is the mean
counts 2 bag.table '^longer answer wins '
counts 24 bag.out '"event":"pair","model":"bag of words"'
works ./more eval --from bag.out
same out bag.table
works ./more eval $cut --model R=r --bag a.train.jsonl --eval a.test.jsonl
counts 1 out 'the model prefers the longer answer'

it "it_needs_no_model_and_its_bits_depend_on_nothing"
works ./more eval --bag a.train.jsonl b.train.jsonl --eval a.test.jsonl b.test.jsonl --out x.jsonl
grep '"model":"bag of words"' x.jsonl > have
grep '"model":"bag of words"' bag.out > want
same have want
for v in "--threads 3" "--max_length 16 --max_prompt_length 8"; do
    works ./more eval $v --bag a.train.jsonl b.train.jsonl --eval a.test.jsonl b.test.jsonl \
        --out y.jsonl
    same y.jsonl x.jsonl
done
for isa in $(instruction_sets); do
    works env MORE_ISA=$isa ./more eval --bag a.train.jsonl b.train.jsonl \
        --eval a.test.jsonl b.test.jsonl --out y.jsonl
    same y.jsonl x.jsonl
done

it "one_training_file_is_for_all_and_a_fold_is_held_out_of_it"
works ./more eval --bag c.train.jsonl --eval a.test.jsonl b.test.jsonl --out x.jsonl
counts 24 x.jsonl '"event":"pair","model":"bag of words"'
for f in 0 1; do
    works ./more eval --bag by.jsonl --eval by.jsonl --folds 2 --fold $f --by who --out x.$f
done
cat x.0 x.1 | grep '"event":"pair"' > both
lines 48 both
works ./more eval --from x.0 x.1 --by who
holds out '^7 .* 24 pairs, 12 prompts; the worst$'

it "what_a_bag_of_words_cannot_be_trained_on_is_said"
cp a.test.jsonl copy.jsonl
for seen in a.test.jsonl ./a.test.jsonl copy.jsonl; do
    refused 64 "--bag: trained on what is in a.test.jsonl itself" \
        ./more eval --bag $seen --eval a.test.jsonl:a
done
echo '{"prompt":"P","chosen":"a","rejected":"a"}' > ties.jsonl
refused 65 "ties.jsonl: no pairs to train a bag of words on" \
    ./more eval --bag ties.jsonl --eval a.test.jsonl
refused 64 "--bag: no file has the name of b.test.jsonl" \
    ./more eval --bag a.train.jsonl c.train.jsonl --eval a.test.jsonl b.test.jsonl
refused 64 "--bag b.train.jsonl: no evaluation file has its name" \
    ./more eval --bag a.train.jsonl b.train.jsonl --eval a.test.jsonl
refused 65 "--bag needs pairs" ./more eval --bag text.jsonl --eval a.test.jsonl
refused 66 "no-such" ./more eval --bag no-such --eval a.test.jsonl
refused 64 "--model and --eval are needed, or --bag and --eval, or --from" ./more eval --bag x

it "two_sets_or_two_models_of_one_name_are_refused"
mkdir other
cp b.test.jsonl other/a.test.jsonl
refused 64 "a" ./more eval $cut --model r --eval a.test.jsonl other/a.test.jsonl
refused 64 "r" ./more eval $cut --model r other/../r --eval a.test.jsonl
refused 64 "" ./more eval $cut --model "R=" --eval a.test.jsonl

finish
