# score.sh - rewards added to rows of JSON.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

# score FILE [OPTION...]: the scored rows are then in out
score() {
    rows=$1
    shift
    from "$rows" works ./more score $cut --model r --quiet "$@"
}

it "a_pair_is_its_row_with_both_scores_and_the_result_added"
score a.test.jsonl
cp out scored
sed 's/,"scores_chosen":[^}]*}$/}/' scored > bare
same bare a.test.jsonl
added='"scores_chosen":\([^,]*\),"scores_rejected":\([^,]*\),"results":\([^,]*\)}$'
sed "s/.*$added/\1 \2 \3/" scored > numbers
awk '{ result = $1 > $2 ? 1 : $1 < $2 ? 0 : .5; if (NF != 3 || result != $3) bad = 1 }
    END { exit bad || NR != 16 }' numbers || fault "results"
awk '{
        for (i = 1; i < 3; i++) {
            digits = $i
            sub(/e.*/, "", digits)
            gsub(/[-.]/, "", digits)
            sub(/^0*/, "", digits)
            n = length(digits)
            if (n > most) most = n
        }
    }
    END { exit most != 9 }' numbers || fault "not 9 significant digits"

it "score_and_eval_agree"
works ./more eval $cut --model R=r --eval a.test.jsonl --out x.jsonl
sed -n 's/.*"delta":\([^,]*\),.*/\1/p' x.jsonl | paste numbers - | awk '
    { d = $1 - $2 - $4; if (d > 1e-8 || d < -1e-8) bad = 1 }
    END { exit bad || NR != 16 }' || fault "eval says something else"

it "a_point_has_one_reward_and_an_answer_scores_the_same_alone_and_in_a_pair"
sed 's/"chosen":\(.*\),"rejected":.*/"completion":\1,"label":true}/' a.test.jsonl > points.jsonl
score points.jsonl
sed 's/,"reward":[^}]*}$/}/' out > bare
same bare points.jsonl
sed 's/.*"reward":\(.*\)}$/\1/' out > x1
cut -d ' ' -f 1 numbers > x2
same x1 x2

it "a_ranking_has_its_rewards_in_the_order_of_the_row"
ranking='"completions":[\2,\1," maybe"],"ranks":[3,1,2]}'
sed "s/\"chosen\":\(.*\),\"rejected\":\(.*\)}$/$ranking/" a.test.jsonl > ranks.jsonl
score ranks.jsonl
sed 's/,"rewards":[^}]*}$/}/' out > bare
same bare ranks.jsonl
sed 's/.*"rewards":\[\([^,]*\),\([^,]*\),\([^,]*\)\]}$/\2 \1/' out > x1
cut -d ' ' -f 1,2 numbers > x2
same x1 x2

it "scored_rows_can_be_scored_again_and_are_the_same"
for f in a.test.jsonl points.jsonl ranks.jsonl other.jsonl; do
    score $f
    cp out once
    score once
    same out once
    sed 's/^{/{"reward":9,"id":7,/' $f > old.jsonl
    score old.jsonl
    sed 's/"id":7,//; s/"reward":9,//' out > bare
    grep -q '"reward":9' once && fault "the test's own reward"
    same bare once
done
printf '%s\n' '{"results" : [1, "a,}"] , "chosen":"a b", "x" : {"reward":1}, "rejected":"a c" }' \
    '{"\u0072esults": 3, "scores_chosen":[{}],"chosen":"a b","rejected":"a c"}' > odd.jsonl
score odd.jsonl
sed 's/,"scores_chosen":[^}]*}$/}/' out > bare
printf '%s\n' '{ "chosen":"a b", "x" : {"reward":1}, "rejected":"a c" }' \
    '{"chosen":"a b","rejected":"a c"}' > want
same bare want
cp out once
score once
same out once

it "every_row_comes_back_ties_too"
{
    sed 's/,"ranks".*/}/; s/," maybe"//' ranks.jsonl
    echo '{"prompt":"P","completions":[" a"," a"],"ranks":[1,1]}'
} > two.jsonl
score two.jsonl
lines 17 out
counts 17 out '"rewards":\[[^,]*,[^,]*\]}$'
{
    cat b.test.jsonl
    echo '{"prompt":"P","chosen":" a","rejected":" a"}'
} > tie.jsonl
score tie.jsonl
lines 9 out
tail -n 1 out > last.out
holds last.out '"results":0.5}$'

it "texts_are_scored"
score other.jsonl
sed 's/,"reward":[^}]*}$/}/' out > bare
same bare other.jsonl

it "rows_of_any_layout_come_back_one_a_line"
printf '\357\273\277\r\n{"text":"a","id":1}\r\n\n  {"text":"b"}' > odd.jsonl
score odd.jsonl
sed 's/"reward":[^}]*/R/' out > bare
printf '%s\n' '{"text":"a","id":1,R}' '{"text":"b",R}' > want
same bare want
printf '[ {"text": "a",\n   "id": 1}\n , {"text": "b"}]\n' > array.json
score array.json
lines 2 out
counts 2 out '^{.*"reward":.*}$'

it "a_text_scores_the_same_whatever_its_neighbours"
backwards() { awk '{ row[NR] = $0 } END { for (i = NR; i; i--) print row[i] }' "$1"; }
backwards a.test.jsonl > back.jsonl
score back.jsonl
backwards out > x1
same x1 scored
score a.test.jsonl --micro_batch_tokens 1
same out scored
score a.test.jsonl --micro_batch_tokens 150 --threads 3
same out scored
for i in 1 7 16; do
    sed -n ${i}p a.test.jsonl > one.jsonl
    sed -n ${i}p scored > want
    score one.jsonl
    same out want
done

it "what_was_read_is_reported_apart_from_the_data"
from a.test.jsonl works ./more score $cut --model r
holds err '^stdin: 16 rows of kind pair, 16 kept'

# ------------------------------------------------------------------------------- language models

it "of_a_language_model_a_row_gets_log_probability_and_tokens"
from a.test.jsonl works ./more score $cut --model lm
holds err '^a language model: log-probabilities$'
cp out of_pairs
sed 's/,"logps_chosen":[^}]*}$/}/' of_pairs > bare
same bare a.test.jsonl
added='"logps_chosen":-[0-9.]*,"logps_rejected":-[0-9.]*,"tokens_chosen":[0-9]*,'
counts 16 of_pairs "$added"'"tokens_rejected":[0-9]*}$'
field of_pairs logps_chosen > chosen
field of_pairs tokens_chosen > tokens
from points.jsonl works ./more score $cut --model lm --quiet
field out logp > x1
same x1 chosen
field out tokens > x1
same x1 tokens
from ranks.jsonl works ./more score $cut --model lm --quiet
counts 16 out '"logps":\[[-0-9.]*,[-0-9.]*,[-0-9.]*\],"tokens":\[[0-9]*,[0-9]*,[0-9]*\]}$'
sed 's/.*"logps":\[[^,]*,\([^,]*\),.*/\1/' out > x1
same x1 chosen

it "the_log_probabilities_are_those_of_an_independent_program"
head -n 3 "$root/data/hh_harmless.test.jsonl" > three.jsonl
cat > want <<END
-172.326903 38 -520.361894 130
-127.528766 33 -162.054864 51
-64.537105 18 -37.539780 10
END
from three.jsonl works ./more score --model "$root/data/base" --quiet
for k in logps_chosen tokens_chosen logps_rejected tokens_rejected; do field out $k > x.$k; done
paste -d ' ' x.logps_chosen x.tokens_chosen x.logps_rejected x.tokens_rejected want | awk '
    {
        for (i = 1; i < 5; i++) {
            d = $i - $(i + 4)
            if (d > 1e-4 || d < -1e-4) bad = 1
        }
    }
    END { exit bad || NR != 3 }' || fault "scripts/golden_score.py has other numbers: $(cat x.*)"

it "each_token_has_its_id_piece_and_log_probability_and_their_sum_is_the_answers"
from points.jsonl works ./more score $cut --model lm --quiet --tokens
sed 's/,"token_logps":.*/}/' out > x1
from points.jsonl works ./more score $cut --model lm --quiet
same x1 out
from points.jsonl works ./more score $cut --model lm --quiet --tokens
sed 's/.*"logp":\([^,]*\),"tokens":\([^,]*\),"token_logps":\[\(.*\)\]}$/\1 \2 \3/' out |
    sed 's/{"id":[0-9]*,"piece":"[^"]*","logp":\([^}]*\)},*/\1 /g' | awk '{
        sum = 0
        for (i = 3; i <= NF; i++) sum += $i
        if (NF != $2 + 2 || sum - $1 > 1e-5 || $1 - sum > 1e-5) bad = 1
    }
    END { exit bad || NR != 16 }' || fault "not the sum"
counts 16 out '{"id":0,"piece":"<|endoftext|>","logp":[^}]*}\]}$'
first=$(sed -n '1s/.*"completion":"\([^"]*\)".*/\1/p' points.jsonl | tr -d '\n' |
    ./more tokenize --model lm | sed -n '1s/^\([0-9]*\)	\(.*\)/{"id":\1,"piece":\2,/p')
sed 1q out > one
holds one "\"token_logps\":\[$first"
from a.test.jsonl works ./more score $cut --model lm --quiet --tokens
counts 16 out '"token_logps_chosen":\[{.*}\],"token_logps_rejected":\[{.*}\]}$'

it "the_first_token_without_a_prompt_has_none_and_that_is_said"
echo '{"prompt":"","completion":"the sky"}' > without
from without works ./more score $cut --model lm --tokens
holds err '^1 rows without a prompt: the first token of their answers has no log-probability$'
n=$(printf 'the sky' | ./more tokenize --model lm | wc -l)
[ "$(field out tokens)" = $((n)) ] || fault "$n tokens and the end less the first: $(cat out)"

it "texts_have_the_log_probability_of_train_lm_from_which_come_its_bits_per_byte"
works ./more train lm --model lm $new --max_length 512 --train text.jsonl --eval other.jsonl \
    --max_steps 1 --out again
sed -n 's/^other: \([0-9.]*\) bits per byte$/\1/p' err > want
from other.jsonl works ./more score --max_length 512 --model again
lacks err 'without a prompt'
field out logp > logps
sed 's/.*"text":"\([^"]*\)".*/\1/' other.jsonl | awk '{ print length }' | paste logps - | awk '
    { logp += $1; bytes += $2 }
    END { printf "%.4f\n", -logp / log(2) / bytes }' > have
same have want

# a model of bytes: a text has one way to be cut into tokens, so what was drawn is what is read
yes '{"text":"sky sea"}
{"text":"dog"}' | head -n 60 > words.jsonl
works ./more tokenize --learn 258 --train words.jsonl --out bytes
works ./more train lm $new --train words.jsonl --tokenizer bytes/tokenizer.json \
    --num_train_epochs 20 --per_step_tokens 100 --learning_rate 1e-2 --out bytes --quiet
sample="--model bytes --prompts a.test.jsonl --n 6 --max_new_tokens 24"
works ./more sample $sample
grep '"finish":"eos"' out | grep -v '[^ -~]' | grep -v '"completion":""' > drawn
sed 's/"completion":\(.*\),"sample".*/"chosen":\1,"rejected":"a cat!"}/' drawn > texts.jsonl
n=$(($(wc -l < drawn)))

it "the_log_probability_of_a_sampled_text_is_that_of_sample_score_and_training_to_the_last_bit"
[ $n -gt 20 ] || fault "$n texts"
from texts.jsonl works ./more score $cut --model bytes --quiet
cp out scored
for k in logp tokens; do
    field drawn $k > of_sample
    field scored ${k%s}s_chosen > of_score
    same of_sample of_score
done
works ./more train dpo --model bytes $cut --train texts.jsonl --per_step_rows 5 \
    --max_steps 1 --out p
holds err '^the policy is the reference: [0-9]* texts agree to the last bit'
od -v -A n -t f8 -j 80 -N $((16 * n)) p/reference.bin | tr -s ' ' '\n' | grep . |
    awk 'NR % 2 { printf "%.17g\n", $1 }' > of_training
field scored logps_chosen > of_score
same of_training of_score

it "for_any_batch_threads_and_instruction_set"
for v in "--threads 2" "--threads 3" "--micro_batch_tokens 1" "--micro_batch_tokens 100"; do
    from texts.jsonl works ./more score $cut --model bytes --quiet $v
    same out scored
done
works ./more sample $sample
cp out all_drawn
for v in "--batch 1" "--batch 7" "--threads 3"; do
    works ./more sample $sample $v
    same out all_drawn
done
for isa in $(instruction_sets); do
    from texts.jsonl works env MORE_ISA=$isa ./more score $cut --model bytes --quiet
    same out scored
    works env MORE_ISA=$isa ./more sample $sample
    same out all_drawn
done

it "in_bf16_too"
works ./more sample $sample --precision bf16
grep '"finish":"eos"' out | grep -v '[^ -~]' | grep -v '"completion":""' > drawn
from drawn works ./more score $cut --model bytes --quiet --precision bf16
field drawn logp > of_sample
field out logp > of_score
same of_sample of_score
differ of_sample of_training "bf16 is float"

make_talk
it "of_a_conversation_all_turns_of_the_assistant_count_as_in_sft_or_the_last"
logps_of() {                                            # FILE [OPTION...]: to of_FILE
    file=$1
    shift
    from $file works ./more score --model lm --quiet "$@"
    sed 's/.*"logp":\([^,]*\),"tokens":\([0-9]*\).*/\1 \2/' out > of_$file
}
for i in 1 2 3; do logps_of turn$i.jsonl; done
logps_of talk.jsonl --tokens
sed 's/,"logp":.*/}/' out > bare
same bare talk.jsonl
end='"piece":"<|endoftext|>"'
counts 3 out "$end.*$end.*$end,\"logp\":[^}]*}\]}$"
sed 's/.*"token_logps"://; s/{"id":[0-9]*,"piece":"[^"]*","logp":\([^}]*\)},*/\1 /g' out |
    tr -d '[]}' | awk '{
        sum = 0
        for (i = 1; i <= NF; i++) sum += $i
        printf "%.9f %d\n", sum, NF
    }' > of_tokens
paste -d ' ' of_talk.jsonl of_turn1.jsonl of_turn2.jsonl of_turn3.jsonl of_tokens | awk '
    function far(x, y, d) { return x - y > d || y - x > d }
    {
        if ($2 != $4 + $6 + $8 || far($1, $3 + $5 + $7, 1e-9)) bad = 1
        if ($2 != $10 || far($1, $9, 1e-4)) bad = 1
    }
    END { exit bad || NR != 3 }' || fault "not the sum of the turns"
logps_of talk.jsonl --train_turns last
same of_talk.jsonl of_turn3.jsonl
from talk.jsonl works ./more score --model lm
holds err '^stdin: 9 of 9 turns of the assistant are targets$'
from talk.jsonl works ./more score --model lm --train_turns last
holds err '^stdin: 3 of 9 turns of the assistant are targets, the last of each conversation$'
from talk.jsonl refused 64 "--train_turns: a reward model reads one reward" \
    ./more score --model r --train_turns all

it "a_conversation_that_training_parts_is_one_row_again"
parted="--max_length 48 --max_prompt_length 24"
from talk.jsonl works ./more score --model lm $parted --tokens
holds err '^stdin: 3 rows of kind completion in [6-9] records'
cp out parted
sed 's/,"logp":.*/}/' out > bare
same bare talk.jsonl
sed 's/.*"tokens":\([0-9]*\),"token_logps.*/\1/' parted > x1
cut -d ' ' -f 2 of_tokens > x2
same x1 x2
sed -n '2p' talk.jsonl > one.jsonl
sed -n '2p' parted > want
from one.jsonl works ./more score --model lm $parted --tokens
same out want

it "what_is_not_finite_is_refused"
for m in lm r; do
    cp -r $m nan                                       # with no checksum that says more
    sed 's/more_checksum/none_checksum/' $m/model.safetensors > nan/model.safetensors
    size=$(wc -c < nan/model.safetensors)
    for i in 1 2 3 4; do printf '\377\377\177\177'; done |
        dd of=nan/model.safetensors bs=1 seek=$((size - 16)) conv=notrunc 2> dd.err
    from a.test.jsonl refused 65 "ot a finite number" ./more score $cut --model nan
    rm -r nan
done

it "what_score_cannot_do_with_a_model_is_said"
refused 64 "--tokens: a reward model has one number for a text" ./more score --model r --tokens
refused 64 "--pooling: lm is a language model, which has no reward to read" \
    ./more score --model lm --pooling mean
from a.test.jsonl works ./more score $cut --model lm --raw_head 1 --pooling mean
counts 16 out '"scores_chosen":'

finish
