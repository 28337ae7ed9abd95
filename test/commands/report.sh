# report.sh - pages of charts, whose numbers are those of the logs.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

# numbers TITLE PAGE: the points of the first line of the chart of that title, as x y in its units
numbers() {
    awk -v title="$1" '
        /^<svg .*data-x=/ { axes = $0 }
        index($0, ">" title "</text>") { found = 1 }
        found && /class="line s0"/ {
            split(axes, a, "\"")
            for (i in a) {
                if (a[i] ~ /data-x=$/) split(a[i + 1], x, " ")
                if (a[i] ~ /data-y=$/) split(a[i + 1], y, " ")
            }
            sub(/.* d="/, "")
            sub(/".*/, "")
            gsub(/[ML]/, "")
            n = split($0, p, " ")
            for (i = 1; i < n; i += 2) {
                print x[1] + (p[i] - 76) / 400 * (x[2] - x[1]), y[2] - (p[i+1] - 30) / 210 * (y[2] - y[1])
            }
            exit
        }' "$2"
}
# near A B: line by line the same two numbers, to a hundredth of a pixel
near() {
    paste "$1" "$2" | awk '{
            for (i = 1; i <= 2; i++) {
                d = $i - $(i + 2)
                if (d > 2e-3 || d < -2e-3) bad = 1
            }
        }
        END { exit bad || NR == 0 }' || fault "$(paste "$1" "$2" | head -n 3)"
}

it "the_curves_are_the_logs"
works ./more train more $pairs --train $abc --out m
works ./more report --out page.html r m
for key in loss margin accuracy; do
    grep '"event":"train"' r/log.jsonl > x
    field x step > steps
    field x $key | paste -d ' ' steps - > logged
    numbers $key page.html > drawn
    near logged drawn
done
grep '"event":"train"' m/log.jsonl > x
field x step > steps
field x lambda/a | paste -d ' ' steps - > logged
numbers "weights of the sets, lambda" page.html > drawn
near logged drawn
holds page.html '</svg> r &nbsp;'
holds page.html '</svg> m &nbsp;'

it "the_page_is_whole_and_needs_nothing_else"
holds page.html '^<!doctype html>$'
holds page.html '^</html>$'
lacks page.html '<script\|src=\|href=\|url(\|@import'
counts "$(grep -c '<figure>' page.html)" page.html '</figure>'
lacks page.html '[^a-z]nan[^a-z]\|[^a-z]inf[^a-z]'

# 6.5 pixels a character of 12 pixels, beside the label before
it "labels_of_an_axis_do_not_touch"
mkdir long
for k in 0 1 2 3 4; do
    echo '{"event":"train","step":'$((100060 + 570 * k))',"loss":1}'
done > long/log.jsonl
works ./more report --out page.html long
grep 'text-anchor="middle">[-0-9.e]*<' page.html |
    sed 's/.*x="//; s/" y="/ /; s/".*>\(.*\)<.*/ \1/' > labels
awk '$2 == y && $1 - x < 3.25 * (length($3) + length(last)) + 2 { print last " and " $3; exit 1 }
     { x = $1; y = $2; last = $3 }' labels > touch || fault "$(cat touch)"

it "the_reliability_diagram_has_every_pair_and_the_tables_numbers"
cat a.test.jsonl b.test.jsonl a.train.jsonl | awk 'NR % 5 == 0 {
    sub(/"chosen"/, "\"was\""); sub(/"rejected"/, "\"chosen\""); sub(/"was"/, "\"rejected\"")
} { print }' > mixed.jsonl
works ./more eval $cut --model R=r --eval mixed.jsonl --out results --quiet
works ./more report --out page.html results
awk '/reliability of R on mixed/ { on = 1 } on && /<text class="label/ { sub(/<\/text>.*/, "");
    sub(/.*>/, ""); n += $0 } /<\/figure>/ { on = 0 } END { exit n != 42 }' page.html ||
    fault "other bars than of 42 pairs"
grep '"event":"metrics"' results > x
printf 'rewards: ECE %.4f\n' "$(field x ece_10)" > want
grep -q "$(cat want)" page.html || fault "no $(cat want)"
holds page.html '>rewards by R on mixed<'
holds page.html '>R on mixed by length<'
sed 's/,"reward_chosen":[^}]*//' results > of_an_older_eval
works ./more report --out page.html of_an_older_eval
lacks page.html 'rewards by R'

it "policies_people_and_mixtures_have_charts"
works ./more compare --model lm sft=lm --judge r --prompts a.test.jsonl $cut --max_new_tokens 6 \
    --quiet --out compared
make_groups
works ./more train em --objective reward $pairs --train of.jsonl --by who --types 2 --em_steps 2 \
    --out em
works ./more report --out page.html compared em
holds page.html '>reward against KL<'
holds page.html '>who is of which type<'
counts 6 page.html '<rect class="bar'
echo '{"models":["a","b"],"ways":[{"name":"uniform","worst":1.5,"worst_95":[1,2]},
    {"name":"min-max","worst":0.5,"worst_95":[0.25,1]}]}' | tr -d '\n' > mixture.json
works ./more report --out page.html mixture.json
holds page.html '<rect class="bar s0".*<title>1.5</title>'
holds page.html '<rect class="bar s1".*<title>0.5</title>'

it "a_run_that_is_going_is_shown_as_far_as_it_is_and_drawn_as_text"
mkdir going
{ sed -n '1,3p' r/log.jsonl; printf '{"event":"train","step":3,"lo'; } > going/log.jsonl
works ./more report --out page.html going
holds page.html 'going: still going, or interrupted: step 2 of 4'
works ./more report --watch going
holds out '^going: step 2 of 4, loss '
counts 2 out '[|][ ]*\*'

it "numbers_without_a_place_and_names_that_are_code_leave_a_whole_page"
odd='o"d<d>&x'
mkdir "$odd"
long=$(printf '%0120d' 0)
cat > "$odd/log.jsonl" << end
{"event":"plan","steps":1e30}
{"event":"train","step":1,"loss":1e308,"accuracy":null,"margin":"x","grad_norm":0}
{"event":"train","step":2,"loss":-1e308,"accuracy":1,"margin":{},"grad_norm":5e-324}
{"event":"train","step":3,"lambda/$long":0.5}
{"event":"train","step":4,"lambda/$long":1}
end
works ./more report --out page.html "$odd"
holds page.html '^<p>o&quot;d&lt;d&gt;&amp;x: still going, or interrupted: step 2</p>$'
counts 1 page.html "$long"
lacks page.html '[^a-z]nan[^a-z]\|[^a-z]inf[^a-z]'
works ./more report --watch "$odd"

it "runs_of_one_name_are_called_by_their_paths"
mkdir one
cp -R r one
works ./more report --out page.html r one/r/log.jsonl m
holds page.html '</svg> one/r/log.jsonl &nbsp;'
holds page.html '</svg> m &nbsp;'
works ./more report --out page.html one/r/log.jsonl
holds page.html '</svg> r &nbsp;'

it "what_is_no_run_is_refused_by_name"
for wrong in '{"a":1}' '{"ways":[{"name":"x","worst":1}]}'; do
    echo "$wrong" > mixture.json
    refused 65 "mixture.json: not a mixture.json" ./more report --out page.html mixture.json
done
echo '{"event":"other"}' > other
refused 65 "other: neither pairs of eval" ./more report --out page.html other
refused 65 "compared is not a run" ./more report --watch compared
refused 64 "runs are needed" ./more report --out page.html
refused 64 "--out is needed" ./more report r
refused 66 "lm2: No such file" ./more report --out page.html lm2
mkdir empty
refused 66 "empty: no log.jsonl, people.json or mixture.json" ./more report --out page.html empty
refused 65 "text.txt: not a log.jsonl" sh -c 'echo words > text.txt; ./more report --out p text.txt'
echo '{"event":"plan","steps":4}' > going/log.jsonl
refused 65 "going/log.jsonl: no step yet" ./more report --out page.html going

it "watch_waits_for_the_first_step_of_a_run_that_has_only_begun"
rm -f out
(for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
    if grep -q 'no step yet' out 2> x.out; then break; fi
    sleep 0.1
done
echo '{"event":"train","step":1,"loss":0.5}' >> going/log.jsonl) &
works ./more report --watch going
wait
holds out '^going: no step yet$'
holds out '^going: step 1 of 4, loss 0.5000$'
echo '{"event":"end"}' > going/log.jsonl
works ./more report --watch going
holds out '^going: ended without a step$'

it "a_folder_of_train_em_is_shown_with_the_trainings_of_its_types"
make_groups
works ./more train em --model lm --train of.jsonl --by who --em_steps 1 --max_steps 2 \
    --per_step_rows 6 $cut --quiet --out types
works ./more report --out page.html types
holds page.html '>who is of which type<'
holds page.html '</svg> type-1 &nbsp;'
holds page.html '</svg> type-2 &nbsp;'
finish
