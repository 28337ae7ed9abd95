# consistency.sh - how often the same answer comes again.
. "$(dirname "$0")/lib.sh"

# row PROMPT COMPLETION [REST]
row() { printf '{"prompt":"%s","completion":"%s"%s}\n' "$1" "$2" "$3"; }

it "six_three_and_one_of_ten_have_the_consistencies_of_the_paper"
for answer in yes Yes "yes." no " YES, it is" "no, never" maybe yes No "\\nYes\\n"; do
    row "is it?" "$answer"
done > rows.jsonl
from rows.jsonl works ./more consistency --answer word
holds out '^1 prompts, 10 completions of each$'
holds out '^agreement  *0\.6000$'
holds out '^entropy  *0\.1827$'
holds out '^first-second distance  *0\.3000$'
lacks out Brier
from rows.jsonl works ./more consistency
holds out '^agreement  *0\.2000$'

it "prompts_may_stand_apart_and_right_answers_are_counted"
{
    row a "it is 1,200 in all" ',"gold":1200'
    row b "no number" ',"gold":"3"'
    row a "1 + 1199 = 1200.0" ',"gold":1200'
    row b "none" ',"gold":"3"'
    row a "-1200" ',"gold":1200'
    row b "so 3." ',"gold":"3"'
    row c "x-7" && row c "7" && row c "is 7."
} > rows.jsonl
from rows.jsonl works ./more consistency --answer number --out each.jsonl
holds out '^3 prompts, 3 completions of each$'
holds out '^the most frequent answer is right for 1 of 2: 0\.5000$'
holds out '^agreement  *0\.7778   0\.1667   0\.2778$'
lines 3 each.jsonl
a='"answer":"1200","completions":3,"answers":2,"agreement":0.666666667'
[ "$(sed -n 1p each.jsonl | cut -d , -f 1-5)" = "{\"prompt\":\"a\",$a" ] || fault "$(cat each.jsonl)"
holds each.jsonl '^{"prompt":"a",.*"first_second":0\.333333333,"right":true}$'
holds each.jsonl '^{"prompt":"b","answer":"",.*"right":false}$'
holds each.jsonl '^{"prompt":"c","answer":"7",.*"agreement":1,"entropy":1,"first_second":1}$'
sed 's/"gold"/"key"/' rows.jsonl > other.jsonl
from other.jsonl works ./more consistency --answer number --gold key
holds out '^the most frequent answer is right for 1 of 2: 0\.5000$'

it "what_sample_writes_is_read"
make_data
make_lm
works ./more sample --model lm --prompts b.test.jsonl --n 3 --max_new_tokens 4
cp out drawn.jsonl
from drawn.jsonl works ./more consistency
holds out ' prompts, 3 completions of each$'

it "rows_that_say_nothing_of_consistency_are_refused"
row a yes > rows.jsonl
from rows.jsonl refused 65 "standard input:1: a prompt with one completion" ./more consistency
echo '{"prompt":"a","chosen":"b","rejected":"c"}' > rows.jsonl
from rows.jsonl refused 65 "standard input:1: a row of more sample is needed" ./more consistency
: > rows.jsonl
from rows.jsonl refused 65 "no rows" ./more consistency

finish
