# bestof.sh - rejection sampling: the best of n completions by a reward model.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
write="$cut --max_new_tokens 12 --seed 3 --quiet"
bestof="./more bestof --model lm --judge r --prompts a.test.jsonl $write"

it "the_best_of_n_is_the_first_sample_with_the_largest_reward"
works $bestof --n 3 --out best --all all
lines 16 best
lines 48 all
grep -n '"completion":""' all | cut -d: -f1 > empty    # an empty completion is never the best
field all reward > rewards
field all sample > samples
awk '
    FILENAME == "empty" { empty[$1] = 1; next }
    FILENAME == "rewards" { reward[FNR] = $1; next }
    {
        prompt = int((FNR - 1) / 3)
        if (!(FNR in empty) && (!(prompt in most) || reward[FNR] > most[prompt])) {
            most[prompt] = reward[FNR]
            sample[prompt] = $1
        }
    }
    END { for (p = 0; p < 16; p++) if (p in most) print sample[p], most[p] }
' empty rewards samples > want
field best reward > rewards
field best sample | paste -d ' ' - rewards > have
same want have

it "the_rewards_are_those_of_score_for_the_same_rows"
grep -v '"completion":""' all > rows
from rows works ./more score --model r $cut
field rows reward > want
field out reward > have
same have want

it "of_several_judges_a_text_has_the_mean_the_least_or_the_rewards_of_the_severest"
make_singles
several="./more bestof --model lm --prompts a.test.jsonl $write --n 3 --out x"
works $several --judge s-b --all all-b
works $several --judge r s-b --all mean
works $several --judge r s-b --reward_mix min --all min
works $several --judge r s-b --reward_mix maxmin --all maxmin
for f in all all-b mean min maxmin; do field $f reward > $f.reward; done
paste all.reward all-b.reward mean.reward min.reward maxmin.reward | awk '
    {
        mean = ($1 + $2) / 2
        if (mean - $3 > 1e-6 || $3 - mean > 1e-6) print "mean", $0
        if ($4 != ($1 < $2 ? $1 : $2)) print "min", $0
        a += $1
        b += $2
        if ($5 != $1) not_a = 1
        if ($5 != $2) not_b = 1
    }
    END { if (a < b ? not_a : not_b) print "maxmin", a, b }' > wrong
lines 0 wrong
refused 65 "--judge lm: a language model" $several --judge r lm

it "the_other_keys_of_the_prompts_rows_are_kept"
awk '{ sub(/}$/, ",\"id\":\"u" NR "\"}"); print }' a.test.jsonl > ids.jsonl
works ./more bestof --model lm --judge r --prompts ids.jsonl $write --n 3 --out x --all y
sed 's/,"id":"[^"]*"}$/}/' x > bare
same bare best
counts 16 x ',"id":"u[0-9]*"}$'
counts 48 y ',"id":"u[0-9]*"}$'

it "the_best_completions_train_a_policy"
works ./more train sft --model lm --train best $cut --per_step_rows 4 --max_steps 2 --out sft

it "each_prompt_is_taken_once_and_a_fold_is_left_out"
cat a.test.jsonl a.test.jsonl > twice
works ./more bestof --model lm --judge r --prompts twice $write --n 3 --out x
same best x
for f in 0 1; do works $bestof --folds 2 --fold $f --out best-$f; done
cat best-0 best-1 > both
lines 16 both

it "threads_and_batches_do_not_change_the_best"
for o in "--threads 2" "--batch 1" "--batch 5 --threads 3 --micro_batch_tokens 60"; do
    works $bestof --n 3 $o --out x
    same best x
done

it "what_bestof_cannot_do_without_is_asked_for"
refused 64 "--model, --judge and --prompts are needed" ./more bestof --model lm --judge r --out x
refused 64 "--out is needed" $bestof
refused 64 "--fold must be below --folds" $bestof --folds 2 --fold 2 --out x
refused 65 "a language model; a reward model is needed" $bestof --judge lm --out x
refused 64 "--model: one folder is enough, not 2" $bestof --model r --out x
refused 65 "a reward model" \
    ./more bestof --model r --judge r --prompts a.test.jsonl $write --out x
refused 66 "no-such" $bestof --judge no-such --out x
refused 66 "no-such" $bestof --prompts no-such --out x
refused 64 "the model has 2048 positions" $bestof --judge_max_length 4096 --out x
sed 1q best-1 | sed 's/,"reward".*/}/' > fold-0.jsonl
refused 65 "outside fold 0 of 2" \
    ./more bestof --model lm --judge r --prompts fold-0.jsonl $write --folds 2 --fold 0 --out x
letters="a b c d e f g h i j k l m n o p q r s t u v w x y z"
refused 65 "every completion is empty" $bestof --out x --top_k 1 \
    --stop " " $letters . , '"' '{' '}' : ! "$(printf '\357\277\275')"

finish
