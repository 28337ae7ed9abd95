# judge.sh - features of answers: counted, and scores that a language model gives.
. "$(dirname "$0")/lib.sh"

# pairs.jsonl, ranks.jsonl, ones.jsonl: texts whose features are known
cat > pairs.jsonl <<'END'
{"prompt":"good size, good size","chosen":"good size and good","rejected":"a size","id":7}
{"prompt":"a b","chosen":"a","rejected":"a a\nb","id":8}
END
echo '{"prompt":"a b c","completions":["a b","c d e"],"ranks":[2,1]}' > ranks.jsonl
printf '%s\n' '{"prompt":"a b c","completion":"a b","reference":"a c\nb"}' > ones.jsonl

it "counted_features_are_added_to_pairs_rankings_and_answers"
works ./more judge --features length,overlap,distinct1 --eval pairs.jsonl --out f.jsonl
lines 3 f.jsonl
names='"feature_names":\["length","overlap","distinct1"\]'
holds f.jsonl "^{$names,\"feature_range\":\[\[0,1000\],\[0,1\],\[0,1\]\]}\$"
first='"features":{"chosen":{"length":4,"overlap":0.75,"distinct1":0.75},"rejected":{"length":2,'
holds f.jsonl "^{\"prompt\":\"good.*,\"id\":7,$first\"overlap\":0.5,\"distinct1\":1}}}\$"
holds f.jsonl '"id":8.*"rejected":{"length":3,"overlap":1,"distinct1":0.666666667}}}$'
holds out '^length  *2\.5000  *1\.0000  *4\.0000  0\.5000$'
cp f.jsonl counted.jsonl
works ./more judge --features length,overlap --eval ranks.jsonl --out f.jsonl
two='{"length":2,"overlap":1},{"length":3,"overlap":0.333333333}'
holds f.jsonl "\"ranks\":\[2,1\],\"features\":\[$two\]}\$"
works ./more judge --features rouge1,rougeL,rouge2_stem --eval ones.jsonl --out f.jsonl
holds f.jsonl '"features":{"rouge1":0.8,"rougeL":0.8,"rouge2_stem":0}}$'

it "train_features_reads_names_ranges_and_numbers"
works ./more train features --layers 2 --num_train_epochs 2 --train counted.jsonl --out net
holds err '^3 features: length, overlap, distinct1$'
holds net/config.json '1000'
from counted.jsonl works ./more score --model net
counts 2 out '"features":.*"scores_chosen":'

it "features_that_a_row_has_stay_unless_they_are_asked_for_again"
sed 's/}$/,"features":{"relevance":0.1,"length":9}}/' ones.jsonl > has.jsonl
works ./more judge --features length --eval has.jsonl --out f.jsonl
counts 1 f.jsonl '"features":{"relevance":0.1,"length":2}}$'
counts 0 f.jsonl 'features.*features'
cp f.jsonl g.jsonl
works ./more judge --features overlap --eval g.jsonl --out f.jsonl
holds f.jsonl '^{"feature_names":\["length","overlap"\],"feature_range":\[\[0,1000\],\[0,1\]\]}$'
holds f.jsonl '"features":{"relevance":0.1,"length":2,"overlap":1}}$'
sed 's/}$/,"features":[1,2]}/' ones.jsonl > has.jsonl
refused 65 "has.jsonl:1: has features in another form" \
    ./more judge --features length --eval has.jsonl --out f.jsonl
sed 's/}$/,"features":{"a":1,"b":"4.5"}}/' ones.jsonl > has.jsonl
refused 65 'has.jsonl:1: feature "b" is no number' \
    ./more judge --features length --eval has.jsonl --out f.jsonl

# lm: says of "good" 4.5, of "bad" no number
for i in 1 2 3 4; do
    for word in good:4.5 bad:none; do
        printf '{"prompt":"\\n\\nHuman: rate %s <score>\\n\\nAssistant:",' "${word%:*}"
        printf '"completion":" it is <score>%s</score>"}\n' "${word#*:}"
    done
done > said.jsonl
sed 's/"prompt":"\(.*\)","completion":"/"text":"\1/' said.jsonl > text.jsonl
works ./more train lm --train text.jsonl --hidden_size 32 --num_hidden_layers 1 --vocab_size 300 \
    --num_attention_heads 2 --max_length 128 --max_steps 1 --quiet --out new
works ./more train sft --model new --train said.jsonl --max_length 96 --max_prompt_length 60 \
    --max_steps 60 --per_step_rows 8 --learning_rate 1e-2 --quiet --out lm
printf 'rate {summary} <score>' > rated.txt
for answers in good:bad good:good bad:good; do
    printf '{"prompt":"p","chosen":"%s","rejected":"%s"}\n' "${answers%:*}" "${answers#*:}"
done > rows.jsonl
ask="./more judge --model lm --prompts rated.txt --max_new_tokens 16 --eval rows.jsonl"

it "perplexity_is_that_of_score"
works ./more judge --features nll,perplexity --model new --eval ones.jsonl --out f.jsonl
from ones.jsonl works ./more score --model new
nll=$(awk -v l="$(field out logp)" -v n="$(field out tokens)" 'BEGIN { printf "%.6f", -l / n }')
holds f.jsonl "\"nll\":$(echo "$nll" | cut -c 1-7)"
holds f.jsonl "\"perplexity\":$(awk -v x="$nll" 'BEGIN { printf "%.2f", exp(x) }')"

it "a_model_is_asked_and_a_row_without_a_score_is_left_out_and_told"
works $ask --features length --retries 1 --out f.jsonl
lines 2 f.jsonl
one='{"length":1,"rated":4.5}'
holds f.jsonl "\"features\":{\"chosen\":$one,\"rejected\":$one}}\$"
holds err 'rows.jsonl:1: no score for "rated"; the row is left out'
holds err '^rated: 4 of 6 answers have a score, 4 of them by the first attempt$'
holds out '^2 of 3 rows left out$'
refused 65 'rows.jsonl:1: no score for "rated"' $ask --unscored raise --retries 1 --out no.jsonl
[ ! -e no.jsonl ] || fault "written"

it "equal_questions_are_asked_once_and_those_without_a_score_again"
lines 3 f.jsonl.cache
counts 1 f.jsonl.cache '"attempt":0,"feature":"rated","score":4.5,"finish":"stop","text":" it is'
counts 1 f.jsonl.cache '"attempt":0,"feature":"rated","score":null'
counts 1 f.jsonl.cache '"attempt":1,"feature":"rated","score":null'

it "a_run_that_was_killed_goes_on_and_asks_nothing_twice"
cp f.jsonl whole.jsonl
cp f.jsonl.cache whole.cache
for bytes in 0 1 150 $(head -n 1 whole.cache | wc -c) $(($(wc -c < whole.cache) - 1)); do
    head -c "$bytes" whole.cache > f.jsonl.cache
    works $ask --features length --retries 1 --out f.jsonl
    same whole.cache f.jsonl.cache
    same whole.jsonl f.jsonl
done
works $ask --features length --retries 1 --out f.jsonl
same whole.cache f.jsonl.cache
holds err '^f.jsonl.cache: 3 attempts of earlier runs$'

it "an_answer_may_begin_with_what_the_user_says"
works $ask --retries 0 --prefill " it is <score>" --out p.jsonl
counts 1 p.jsonl.cache '"score":4.5,"finish":"stop","text":"4.5"}$'
counts 1 p.jsonl.cache '"score":null,"finish":"stop","text":"none"}$'

it "batches_and_threads_change_no_bit"
works $ask --features length --retries 1 --batch 1 --threads 2 --out g.jsonl
same whole.cache g.jsonl.cache
same whole.jsonl g.jsonl

it "another_model_rubric_or_seed_is_asked_anew"
printf 'rate {summary}: <score>' > other.txt
works $ask --features length --retries 1 --seed 1 --out f.jsonl
lines 6 f.jsonl.cache
run ./more judge --model lm --rubrics other.txt --retries 0 --eval rows.jsonl --out f.jsonl
lines 8 f.jsonl.cache
run ./more judge --model new --rubrics rated.txt --retries 0 --eval rows.jsonl --out f.jsonl
lines 10 f.jsonl.cache

it "a_model_that_gives_no_scores_is_refused_cleanly"
refused 65 "rows.jsonl: no row has all scores, nothing is written" \
    ./more judge --model new --rubrics rated.txt --eval rows.jsonl --out none.jsonl
[ ! -e none.jsonl ] || fault "written"
lines 8 none.jsonl.cache

it "a_question_that_the_model_has_no_room_for_is_not_cut"
head -c 20000 /dev/zero | tr '\0' x > long.txt
printf '{summary} <score>' >> long.txt
refused 65 "no row has all scores" \
    ./more judge --model lm --rubrics long.txt --eval rows.jsonl --out long.jsonl
holds err '^2 questions are too long for the [0-9]* positions of lm and were not asked$'
lines 0 long.jsonl.cache

it "what_cannot_be_judged_is_refused_by_name"
out="--eval pairs.jsonl --out f.jsonl"
refused 64 "there is no \"lenght\"; more judge --help lists them" ./more judge --features lenght $out
refused 64 "two features are called length" ./more judge --features length,length $out
refused 64 "--rubrics: two features are called rated" \
    ./more judge --model lm --rubrics rated.txt ./rated.txt $out
cp rated.txt 'a,b.txt'
refused 64 "--rubrics: the name of a feature holds a comma" \
    ./more judge --model lm --rubrics a,b.txt $out
refused 64 "--features or --rubrics is needed" ./more judge $out
refused 64 "--model is needed: a language model to be asked" ./more judge --rubrics rated.txt $out
refused 64 "--model: no feature that is asked for needs one" \
    ./more judge --features length --model lm $out
refused 65 "pairs.jsonl:1: no \"reference\"" ./more judge --features rougeL $out
echo '{"prompt":"p"}' > prompt.jsonl
refused 65 "prompt rows; features are of answers" \
    ./more judge --features length --eval prompt.jsonl --out f.jsonl
echo 'no place <score>' > bad.txt
refused 65 "bad.txt: no {summary}" ./more judge --model lm --rubrics bad.txt $out
echo '{summary}' > bad.txt
refused 65 "bad.txt: no <score>" ./more judge --model lm --rubrics bad.txt $out
echo '{"question":"x","attempt":0,"score":9}' > bad.cache
refused 65 "bad.cache:1: not a line of a cache" $ask --cache bad.cache --out f.jsonl
printf 'my notes' > bad.cache
refused 65 "bad.cache:1: not a line of a cache" $ask --cache bad.cache --out f.jsonl
[ "$(cat bad.cache)" = "my notes" ] || fault "$(cat bad.cache)"
refused 64 "--out and --cache are both f.jsonl" $ask --cache f.jsonl --out f.jsonl

finish
