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

finish
