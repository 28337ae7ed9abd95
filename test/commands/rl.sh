# rl.sh - policies trained with the rewards of their own texts: rloo, grpo, ppo; and of stored ones.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
rl="--model lm --reward r $cut --max_new_tokens 12 --n 3 --per_step_rows 5 --learning_rate 1e-3
    --quiet"
prompts="--prompts a.test.jsonl"

it "each_trains_and_logs_reward_kl_entropy_and_length"
for o in rloo grpo ppo; do
    works ./more train $o $rl $prompts --max_steps 5 --out $o
    sha > $o.sha
    counts 5 $o/log.jsonl '"event":"train".*"reward":-*[0-9].*"kl":.*"entropy":.*"length":'
    holds $o/log.jsonl '"step":1,.*"kl":0,'                 # the policy starts as the reference
    lacks $o/log.jsonl '"step":5,.*"kl":0,'
    holds err "log-probabilities of drawn tokens were those of training to the last bit"
done
differ rloo.sha grpo.sha "rloo and grpo train the same weights"

it "the_weights_do_not_depend_on_threads_micro_batches_or_instruction_sets"
for o in rloo grpo ppo; do
    works ./more train $o $rl $prompts --max_steps 5 --out x --threads 3 --batch 4
    sha > x.sha
    same x.sha $o.sha
    works ./more train $o $rl $prompts --max_steps 5 --out x --micro_batch_tokens 60 --recompute
    sha > x.sha
    same x.sha $o.sha
done
for isa in $(instruction_sets); do
    MORE_ISA=$isa works ./more train ppo $rl $prompts --max_steps 5 --out x
    sha > x.sha
    same x.sha ppo.sha
done

it "adapters_without_a_reference_are_held_against_their_base_without_a_second_model"
lora="$prompts --lora_r 3 --learning_rate 2e-2 --max_steps 5"
for o in rloo grpo ppo; do
    works ./more train $o $rl $lora --out lora-$o
    sha > x.sha
    lacks lora-$o/log.jsonl '"step":5,.*"kl":0,'
    grep '"event":"train"' lora-$o/log.jsonl > x.steps
    works ./more train $o $rl $lora --reference lm --out held-$o --threads 2 --micro_batch_tokens 60
    sha > y.sha
    same x.sha y.sha
    grep '"event":"train"' held-$o/log.jsonl > y.steps
    field x.steps kl > x.kl
    field y.steps kl > y.kl
    same x.kl y.kl
done
base="--model $root/data/base --reward r $cut $prompts --lora_r 3 --max_new_tokens 2 --n 2
    --per_step_rows 1 --max_steps 1"
announced() { sed -n 's/.* steps, \([0-9.]*\) GiB needed.*/\1/p' err; }
works ./more train rloo $base --out z
alone=$(announced)
works ./more train rloo $base --reference "$root/data/base" --out z2
echo "$alone $(announced)" | awk '{ exit !($1 > 0 && $2 - $1 > 0.015) }' ||
    fault "$alone and $(announced) GiB"

it "ppo_takes_the_same_texts_for_its_epochs"
grep '"event":"train"' ppo/log.jsonl > steps
field steps rollout | tr -d '\n' > have
printf 11112 > want
same have want
field steps clipped | sed -n '1p;5p' > have                 # on-policy: no ratio but 1
printf '0\n0\n' > want
same have want

it "a_critic_learns_what_is_to_come_with_the_same_bits"
critic="./more train ppo $rl $prompts --max_steps 4 --critic r --critic_rate 10"
works $critic --out x
sha > x.sha
differ x.sha ppo.sha "a critic changes nothing"
grep '"event":"train"' x/log.jsonl > steps
field steps value_loss | awk 'NR == 1 { first = $1 } END { if ($1 >= first / 2) print first, $1 }' \
    > wrong
lines 0 wrong
works $critic --out x --threads 2 --micro_batch_tokens 60 --batch 3
sha > y.sha
same x.sha y.sha
refused 65 "--critic lm: a language model" $critic --critic lm --out x
few='s/"max_position_embeddings": [0-9]*/"max_position_embeddings": 24/'
for folder in r lm; do
    cp -r $folder few-$folder
    sed "$few" $folder/config.json > few-$folder/config.json
done
refused 65 "--critic few-r: 24 positions, lm has 2048" $critic --critic few-r --out x
refused 65 "--reference few-lm: 24 positions" $critic --reference few-lm --out x
make_lm2
refused 65 "--reference lm2: another tokenizer than that of lm" $critic --reference lm2 --out x
refused 64 "--gae_lambda says nothing without --critic" \
    ./more train ppo $rl $prompts --gae_lambda 1 --out x

it "a_drawn_text_has_the_reward_that_bestof_gives_it"
works ./more train rloo $rl $prompts --per_step_rows 16 --max_steps 1 --out x
grep '"event":"train"' x/log.jsonl > steps
field steps reward > have
works ./more bestof --model lm --judge r $prompts $cut --max_new_tokens 12 --n 60 --out y \
    --all all --quiet
field all reward | awk -v have="$(cat have)" '
    { n++; s += $1; q += $1 * $1 }
    END {
        m = s / n
        e = sqrt((q / n - m * m) / 48)
        if (have - m > 4 * e || m - have > 4 * e) print m, e, have
    }' > wrong
lines 0 wrong

it "several_rewards_are_mixed_and_each_is_logged"
make_singles
works ./more train rloo $rl $prompts --max_steps 2 --reward_mix maxmin --reward s-b --out x
counts 2 x/log.jsonl '"reward_1":.*"reward_2":'
grep '"event":"train"' x/log.jsonl > steps
field steps reward > reward
field steps reward_1 > one
field steps reward_2 > two
paste reward one two | awk '{
    least = $2 < $3 ? $2 : $3
    if (least - $1 > 1e-8 || $1 - least > 1e-8) print
}' > wrong
lines 0 wrong

it "training_ends_when_the_reward_rises_by_length"
awk '{
    words = " the of and to in is"
    n = NR % 4 + 1
    long = short = ""
    for (i = 0; i < n; i++) short = short substr(words, 1 + (NR * 7 + i * 3) % 14, 5)
    for (i = 0; i < n + 2 + NR % 5; i++) long = long substr(words, 1 + (NR * 5 + i * 3) % 14, 5)
    sub(/,"chosen".*/, "")
    print $0 ",\"chosen\":\"" long "\",\"rejected\":\"" short "\"}"
}' $abc > long.jsonl
works ./more train reward --model lm $cut --learning_rate 1e-2 --per_step_pairs 6 --quiet \
    --num_train_epochs 6 --train long.jsonl --out likes-length
pays="./more train rloo --model lm --reward likes-length $cut $prompts --max_new_tokens 20 --n 4
    --per_step_rows 8 --learning_rate 1e-2 --lr_scheduler_type constant --beta 0.01 --max_steps 30
    --stop e a --quiet"
works $pays --length_share 0.5 --out x
holds err "^stopped after 2[0-9] rollouts: length alone explains [5-9][0-9] % of the reward's rise"
counts 1 x/log.jsonl '"event":"length","share":0'
works $pays --length_share 0 --out on
counts 30 on/log.jsonl '"event":"train"'

it "prompts_come_from_rows_of_any_kind_and_evaluation_draws_too"
awk '{ sub(/,"chosen".*/, "}"); print }' a.test.jsonl > only.jsonl
works ./more train rloo $rl --train only.jsonl --max_steps 5 --out x
sha > x.sha
same x.sha rloo.sha
works ./more train rloo $rl $prompts --max_steps 5 --out x --eval b.test.jsonl --eval_steps 2 \
    --load_best
counts 3 x/log.jsonl '"event":"eval".*"eval_b_reward":'
works ./more sample --model x --prompts a.test.jsonl --max_new_tokens 4

it "what_it_cannot_do_is_refused"
refused 64 "--reward is needed" ./more train rloo --model lm $prompts --out x
refused 64 "from 2 to 256 completions" ./more train rloo $rl $prompts --n 1 --out x
refused 64 "unknown option" ./more train rloo $rl $prompts --critic r --out x
refused 65 "--reward lm: a language model" ./more train rloo $rl --reward lm $prompts --out x
refused 64 "--train is needed" ./more train rloo $rl --out x
refused 64 "are one thing here" ./more train rloo $rl $prompts --train a.test.jsonl --out x
refused 64 "doctor --objective sft looks at the prompts" \
    ./more doctor --model lm --train a.test.jsonl --objective ppo
refused 64 "choose by loss" ./more train rloo $rl $prompts --eval b.test.jsonl --eval_steps 2 \
    --best_metric accuracy --load_best --out x
refused 65 "prompts are needed" ./more train rloo $rl --prompts text.jsonl --out x

it "stored_answers_with_rewards_and_demonstrations_train_a_policy"
make_points
awk '{ sub(/"label":true/, "\"score\":1.5"); sub(/"label":false/, "\"score\":-0.5"); print }' \
    points.jsonl > scored.jsonl
stored="./more train stored $policy --train scored.jsonl --demo demos.jsonl --max_steps 3 --quiet"
works $stored --out x
sha > x.sha
works $stored --out x --threads 2 --micro_batch_tokens 80
sha > y.sha
same x.sha y.sha

finish
