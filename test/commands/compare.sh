# compare.sh - policies compared on the same prompts by a judge.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
write="$cut --max_new_tokens 12 --seed 3 --quiet"
compared="--judge r --prompts a.test.jsonl $write"

it "a_policy_ties_with_itself_and_has_no_divergence_from_itself_to_the_last_bit"
works ./more train sft --model lm --train a.train.jsonl $cut --learning_rate 1e-3 \
    --per_step_rows 5 --max_steps 3 --quiet --out sft
works ./more compare --model base=lm lm sft=sft $compared --out results
holds out '^lm .* 0\.0 (0\.0 \.\. 0\.0)  *100\.0 (100\.0 \.\. 100\.0) '
lacks out ')[0-9-]'
cp out table
awk 'FNR > 2 && length > 110 { exit 1 }' table || fault "a line of more than 110 columns"
for m in base lm sft; do holds table "^$m "; done
grep '"event":"compare","model":"lm"' results > of_lm
for k in tie:1 win:0 lose:0 reward_difference:0 kl:0 log_ratio:0 log_perplexity_difference:0; do
    [ "$(field of_lm ${k%:*})" = ${k#*:} ] || fault "$k: $(cat of_lm)"
done

it "the_numbers_are_means_over_the_completions"
grep '"event":"completion","model":"sft"' results > rows
grep '"event":"compare","model":"sft"' results > of_sft
for k in reward tokens logp ref_logp win finish kl; do field rows $k > rows.$k; done
for k in reward log_ratio log_ratio_per_token tokens win tie lose ended kl kl_per_token; do
    field of_sft $k
done > printed
paste -d ' ' rows.reward rows.tokens rows.logp rows.ref_logp rows.win rows.finish rows.kl | awk '
    FILENAME == "printed" { want[FNR] = $1; next }
    {
        n++
        reward += $1
        tokens += $2
        log_ratio += $3 - $4
        kl += $7
        win += $5 == 1
        tie += $5 == 0.5
        lose += $5 == 0
        ended += $6 != "\"length\""
    }
    function check(i, x) {
        if (want[i] - x > 1e-5 || x - want[i] > 1e-5) { print i, want[i], x; bad = 1 }
    }
    END {
        check(1, reward / n)
        check(2, log_ratio / n)
        check(3, log_ratio / tokens)
        check(4, tokens / n)
        check(5, win / n)
        check(6, tie / n)
        check(7, lose / n)
        check(8, ended / n)
        check(9, kl / n)
        check(10, kl / tokens)
        exit bad || n != 16
    }' printed - > wrong || fault "$(cat wrong)"

# a judge that is right by 1 on 3 of 4 pairs has T = 1 / log 3; see test_metrics.c for the intervals
it "what_people_would_prefer_is_the_mean_of_sigma_of_rewards_over_the_judges_temperature"
cat a.test.jsonl b.test.jsonl a.train.jsonl | awk 'NR % 4 == 0 {
    sub(/"chosen"/, "\"was\""); sub(/"rejected"/, "\"chosen\""); sub(/"was"/, "\"rejected\"")
} { print }' > mixed.jsonl
works ./more eval $cut --model R=r --eval mixed.jsonl --out labels --quiet
T=$(grep '"event":"metrics"' labels > x; field x temperature)
works ./more compare --model lm sft=sft $compared --judge_labels mixed.jsonl --out judged
holds out "^of 42 pairs of mixed.jsonl the judge is right on .*: its temperature is $(
    echo "$T" | awk '{ printf "%.3g", $1 }') ("
grep '"event":"completion","model":"lm"' judged > x1
grep '"event":"completion","model":"sft"' judged > x2
field x1 reward > x1.reward
field x2 reward > x2.reward
sed -n 's/^sft  *\([0-9.]*\) % (.*)$/\1/p' out | paste -d ' ' x1.reward x2.reward - | awk -v T="$T" '
    { p += 1 / (1 + exp(($1 - $2) / T)) / 16 }
    FNR == 1 { want = $3 }
    END { e = want - 100 * p; exit e > .051 || e < -.051 || FNR != 16 }' || fault "$(tail -n 2 out)"
./more score $cut --model r --quiet < a.test.jsonl | grep '"results":1' | head -n 3 > right.jsonl
works ./more compare --model lm sft=sft $compared --judge_labels right.jsonl
holds out '^of 3 pairs of right.jsonl the judge is right on 100.0 %, which gives no temperature: '
lacks out 'people would prefer'
refused 65 "--judge_labels needs pairs" \
    ./more compare --model lm sft=sft $compared --judge_labels text.jsonl

it "the_divergence_is_never_negative_and_of_one_token_r_less_1_less_its_logarithm"
awk '$1 < 0 { exit 1 }' rows.kl || fault "negative: $(cat rows.kl)"
holds table 'KL a text (95 %) .*KL a token (95 %) .*log pi/ref (95 %)'
works ./more compare --model base=lm sft=sft --judge r --prompts a.test.jsonl $cut --seed 3 \
    --max_new_tokens 1 --out x --quiet
grep '"event":"completion","model":"sft"' x > rows
for k in logp ref_logp kl; do field rows $k > rows.$k; done
paste rows.logp rows.ref_logp rows.kl | awk '
    { d = exp($2 - $1) - 1 - ($2 - $1) - $3; if (d > 1e-8 || d < -1e-8 || $3 <= 0) bad = 1 }
    END { exit bad || NR != 16 }' || fault "$(paste rows.logp rows.ref_logp rows.kl)"

it "the_perplexities_are_those_of_eval"
works ./more eval $cut --reference lm --model sft=sft --eval a.test.jsonl
perplexity=$(field of_sft perplexity | awk '{ printf "%.4f", $1 }')
mean=$(field of_sft item_perplexity | awk '{ printf "%.4f", $1 }')
holds out "perplexity of chosen answers $perplexity, mean over texts $mean"

make_talk
it "of_conversations_sft_eval_and_compare_measure_all_turns_or_the_last_ones"
has() { grep -o 'perplexity of the answers .*' "$1"; }
for turns in all last; do
    works ./more train sft --model lm --train a.train.jsonl --eval talk.jsonl $cut --out p \
        --train_turns $turns --max_steps 1 --per_step_rows 6
    has err > of_sft
    works ./more eval --reference lm --model p --eval talk.jsonl $cut --train_turns $turns
    has out > of_eval
    same of_eval of_sft
    grep 'turns of the assistant' err | sort -u > eval_says
    works ./more compare --model lm p=p --judge r --prompts talk.jsonl $cut --max_new_tokens 5 \
        --out drawn.$turns --train_turns $turns
    grep 'turns of the assistant' err | sort -u | diff - eval_says > diff.out || fault "turns"
    tail -n 1 drawn.$turns > line
    sed 's/.*"perplexity":\([^,]*\),.*"item_perplexity":\([^,]*\),.*/\1 \2/' line > x1
    sed 's/[^0-9.]*\([0-9.]*\)[^0-9.]*\([0-9.]*\)/\1 \2/' of_sft | paste - x1 | awk '
        { print; a = $1 - $3; b = $2 - $4 }
        END { exit !(NF == 4 && $1 > 1 && a * a < 1e-8 && b * b < 1e-8) }' > both || fault "$(cat both)"
    cp of_sft $turns
done
differ all last "the last turn is all"
works ./more eval --reference lm --model p --eval talk.jsonl $cut
has out > x1
same x1 all
holds eval_says '^talk: 3 of 9 turns of the assistant are targets, the last of each conversation$'

it "their_prompts_are_all_before_the_last_answer_in_either_case"
for turns in all last; do
    grep '"event":"completion"' drawn.$turns | sed 's/"reward".*//' > x.$turns
done
same x.all x.last
counts 2 x.all 'lm'
grep -o '"prompt":"[^"]*"' turn3.jsonl | sort -u > want
grep -o '"prompt":"[^"]*"' x.all | sort -u > have
same have want

it "threads_and_batches_change_no_number"
for o in "--threads 2" "--batch 3" "--micro_batch_tokens 100"; do
    works ./more compare --model base=lm lm sft=sft $compared $o --out x
    same out table
    same results x
done

it "compare_and_bestof_draw_the_same_completions"
works ./more bestof --model sft $compared --n 1 --out x --all all
field all reward > rewards
same rows.reward rewards

it "prompts_alone_have_no_perplexity_and_any_model_is_the_reference"
sed 's/,"chosen".*/}/' a.test.jsonl > alone
works ./more compare --model lm sft --judge r --prompts alone $write --reference sft
lacks out 'perplexity of'                              # of what answers?

it "what_compare_cannot_do_without_is_asked_for"
refused 64 "--model, --judge and --prompts are needed" ./more compare --model lm
refused 64 "two models are called lm" ./more compare --model lm lm $compared
refused 65 "a language model; a reward model is needed" \
    ./more compare --model lm $compared --judge lm
works ./more bestof --model lm $compared --folds 2 --fold 0 --n 1 --out x
sed 1q x | sed 's/,"reward".*/}/' > fold-1.jsonl
refused 64 "give a file, not standard input" \
    ./more compare --model lm --judge r --prompts - $write
refused 65 "in fold 0 of 2" \
    ./more compare --model lm --judge r --prompts fold-1.jsonl $write --folds 2 --fold 0
refused 66 "no-such" ./more compare --model lm $compared --reference no-such
refused 65 "r: a reward model, which predicts no tokens; KL is measured to a language model" \
    ./more compare --model lm $compared --reference r
lacks err 'completions of'                             # before anything is written
mkdir short
cp lm/* short
sed 's/\("max_position_embeddings": *\)[0-9]*/\118/' lm/config.json > short/config.json
refused 65 "tokens with its prompt, the reference 18 positions" \
    ./more compare --model lm $compared --max_length 16 --max_prompt_length 10 --reference short
refused 73 "is a folder" ./more compare --model lm $compared --out .

finish
