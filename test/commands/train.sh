# train.sh - language models and reward models: what a run prints, logs, saves and depends on.
. "$(dirname "$0")/lib.sh"
make_data

it "a_language_model_and_reward_models_are_trained_from_small_files"
make_lm
cp err lm.err
make_reward
make_singles
make_points

it "a_run_says_its_settings_its_memory_its_progress_and_what_it_learned"
holds lm.err '^more train lm$'
holds lm.err 'hidden_size=32'
holds lm.err 'seed=42'
holds lm.err '^text: 30 rows of kind text, 30 kept, 0 dropped (too long), 0 ties, 0 truncated'
holds lm.err '^[0-9]* parameters, [0-9]* steps, [0-9.]* GiB needed, [0-9]* threads, '
holds lm.err '^step [0-9]*/[0-9]*  loss [0-9.]*  [0-9]* tokens/s  [0-9]*:[0-9][0-9] left'
holds lm.err '^other: [0-9.]* bits per byte$'

it "a_run_says_where_the_reward_is_read"
for how in "--model lm = last" "--model lm --pooling mean = mean" "--model s-b = mean" \
    "--model s-b --pooling last = last" "--model s-a = last"; do
    works ./more train reward ${how% = *} $recipe --train a.train.jsonl --out x
    holds err "^[0-9]* parameters, pooling ${how#* = }, [0-9]* steps, "
done
lacks lm.err 'parameters, pooling'

it "a_run_in_fp32_says_where_bf16_would_be_faster_and_only_there"
faster="^bf16 products are faster on this machine: --precision bf16$"
for isa in $(instruction_sets); do
    works env MORE_ISA=$isa ./more train lm $new --max_steps 1 --train text.jsonl --out x
    case $isa in
    amx | avx512_bf16) counts 1 err "$faster" ;;
    *) lacks err "$faster" ;;
    esac
    works env MORE_ISA=$isa ./more train lm $new --max_steps 1 --train text.jsonl --out x --bf16
    lacks err "$faster"
done
works ./more train lm $new --max_steps 1 --train text.jsonl --out x --quiet
lacks err "$faster"

it "recompute_takes_less_memory"
sentences text 160 1 > long.jsonl
# announced: GiB, by the run before, of which $process are not the model: a sanitizer adds to it
announced() { sed -n 's/.* steps, \([0-9.]*\) GiB needed.*/\1/p' err; }
# needed OPTION...: GiB
needed() {
    works ./more train lm $new --max_steps 1 --train long.jsonl --out x "$@"
    gib=$(announced)
}
needed --micro_batch_tokens 8
process=$gib
big="--micro_batch_tokens 8000 --num_hidden_layers 6"
needed $big --resume no
stored=$gib
needed $big --recompute --resume no
echo "$stored $gib $process" | awk '{ exit !($2 > $3 && $2 - $3 < ($1 - $3) / 2) }' ||
    fault "$gib GiB of $stored, $process without"
works ./more inspect --model lm
holds out '^training 4096 rows at a time takes [0-9.]* GiB, with --recompute [0-9.]*$'

it "a_step_may_take_the_same_rows_again_and_again"
head -n 1 text.jsonl > text1.jsonl
for k in a b; do head -n 1 $k.train.jsonl > $k.one.jsonl; done
works ./more train lm $new --train text1.jsonl --num_train_epochs 100 --max_steps 1 --out x
works ./more train reward $pairs --train a.one.jsonl --num_train_epochs 100 --max_steps 1 --out x
works ./more train more $pairs --train a.one.jsonl b.one.jsonl --num_train_epochs 100 \
    --max_steps 1 --out x
works ./more train dpo --model lm $cut --per_step_rows 6 --train a.one.jsonl \
    --num_train_epochs 100 --max_steps 1 --out x

it "the_hash_printed_logged_and_shown_is_that_of_the_file"
works ./more inspect --model lm
[ "$(sha)" = "$lm_sha" ] || fault "inspect: $(sha)"
if command -v sha256sum > x.out; then
    [ "$(sha256sum < lm/model.safetensors)" = "$lm_sha  -" ] || fault "sha256sum"
fi
holds lm/log.jsonl "\"weights_sha256\":\"$lm_sha\""

it "a_model_folder_is_whole_and_leaves_no_temporary_files"
for f in config.json model.safetensors tokenizer.json tokenizer_config.json \
    special_tokens_map.json log.jsonl; do
    [ -s r/$f ] || fault "no $f"
done
[ -z "$(find . -name '*.tmp')" ] || fault "$(find . -name '*.tmp')"
same lm/tokenizer.json r/tokenizer.json
holds r/config.json GPTNeoXForSequenceClassification

it "more_logs_lambda_loss_and_gradient_norm_of_each_set_and_lambda_sums_to_1"
for m in release paper uniform; do
    works ./more train more --more $m $pairs --train $abc --out m-$m
    for k in a b c; do
        norm=''
        [ $m = uniform ] || norm=",\"grad_norm/$k\":[0-9.]*"
        holds m-$m/log.jsonl "\"lambda/$k\":0.[0-9]*,\"loss/$k\":[0-9.]*$norm"
    done
    grep '"event":"train"' m-$m/log.jsonl | awk -F'"lambda/[abc]":' '
        { sum = $2 + $3 + $4; if (sum < .99999 || sum > 1.00001) bad = 1 }
        END { exit bad || NR != 4 }' || fault "$m: lambda"
done
counts 4 m-uniform/log.jsonl '"lambda/a":0.333333,'

it "the_progress_line_has_each_sets_own_loss_and_the_accuracy_of_the_last_logging_steps"
loud="--model lm $cut --learning_rate 1e-3 --per_step_pairs 6 --max_steps 4 --logging_steps 3"
# mean_of_last KEY: its mean over the last three steps of x/log.jsonl
mean_of_last() {
    grep "\"$1\":" x/log.jsonl | tail -n 3 > last.jsonl
    field last.jsonl "$1" | awk -v digits="${2:-3}" '{ sum += $1 } END { printf "%.*f", digits, sum / 3 }'
}
for o in more "more --more uniform"; do
    works ./more train $o $loud --train $abc --out x
    own="a $(mean_of_last loss/a), b $(mean_of_last loss/b), c $(mean_of_last loss/c)"
    holds err "^step 4/4  loss [0-9.]* ($own)  accuracy $(mean_of_last accuracy)  "
done
grep '"step":4' x/log.jsonl > last.jsonl
running=$(field last.jsonl running_accuracy | awk '{ printf "%.3f", $1 }')
[ "$running" = "$(mean_of_last accuracy)" ] || fault "$running in the log"
works ./more train reward $loud --train $abc --out x
holds err '^step 4/4  loss [0-9.]* (a 0.[0-9]*, b 0.[0-9]*, c 0.[0-9]*)  accuracy '
grep '"train"' x/log.jsonl | awk -F'"loss/[abc]":' '{ seen += NF - 1 } END { exit !(seen > 4) }' ||
    fault "mixed sets have no losses in the log"
works ./more train reward $loud --train a.train.jsonl --out x
holds err '^step 4/4  loss [0-9.]*  accuracy '
lacks x/log.jsonl '"loss/'

it "of_more_sets_than_a_line_holds_the_lowest_and_the_highest_loss_are_shown"
works ./more train more $loud --out x --train a.train.jsonl:a_name_that_is_long \
    b.train.jsonl:another_long_one c.train.jsonl:the_third_of_them
for k in a_name_that_is_long another_long_one the_third_of_them; do
    echo "$(mean_of_last loss/$k 9) $(echo $k | cut -c 1-10)"
done | sort | awk '{ printf "%.3f %s\n", $1, $2 }' > low.high
low=$(head -n 1 low.high) high=$(tail -n 1 low.high)
own="${low#* } ${low% *} .. ${high#* } ${high% *}"
holds err "^step 4/4  loss [0-9.]* ($own)  accuracy "

it "group_robust_reward_models_weigh_the_worst_group_most"
make_groups
awk '{ sub(/}$/, ",\"who\":\"" NR % 2 "\"}"); print }' a.test.jsonl > halves.jsonl
robust="$pairs --per_step_pairs 16 --train halves.jsonl"
works ./more train reward $robust --max_steps 1 --out x
one=$(sha)
works ./more train reward $robust --max_steps 1 --group_robust who --out x
[ "$(sha)" = "$one" ] || fault "two equal groups that cost the same are not the mean"
works ./more train reward $robust --max_steps 3 --out x
one=$(sha)
works ./more train reward $robust --max_steps 3 --group_robust who --group_step 5 --out x
[ "$(sha)" != "$one" ] || fault "it makes no difference"
grep '"train"' x/log.jsonl | tail -n 1 > last.jsonl
alpha=$(field last.jsonl alpha/0)
loss0=$(field last.jsonl group_loss/0) loss1=$(field last.jsonl group_loss/1)
sed -n 's/.*"event":"train","step":2,.*"alpha.0":\([0-9.]*\).*/\1/p' x/log.jsonl > before
awk -v a="$alpha" -v x="$loss0" -v y="$loss1" '{
    d = 1 / (1 + (1 / $1 - 1) * exp(5 * (y - x))) - a
    exit !(d < 1e-5 && d > -1e-5)
}' before || fault "alpha: $(cat before) $alpha $loss0 $loss1"
refused 64 "several files are brought to one size" \
    ./more train reward $pairs --train of.jsonl halves.jsonl --group_robust who --out x
works ./more train reward $pairs --train of.jsonl halves.jsonl --group_robust who \
    --group_loss mean --out x
counts 4 x/log.jsonl '"alpha/h0":.*"alpha/1":'
holds x/log.jsonl '"group_loss/1":.*"loss/halves":'

it "weights_are_stored_in_16_bits_when_asked"
works ./more train lm $new --train text.jsonl --then other.jsonl --out x --dtype f16
half=$(wc -c < x/model.safetensors) whole=$(wc -c < lm/model.safetensors)
[ $((half * 19 / 10)) -lt $((whole)) ] || fault "f16 is not smaller"
works ./more train reward $recipe --train c.train.jsonl --model x --out x16 --dtype bf16
from c.train.jsonl works ./more score --model x16

it "evaluating_and_saving_on_the_way_changes_nothing"
works ./more train reward $pairs --train a.train.jsonl --eval a.test.jsonl --eval_steps 2 \
    --save_steps 3 --out x
counts 2 x/log.jsonl '"event":"eval","step":[24],"eval_a_loss":'
same x/model.safetensors s-a/model.safetensors

# Held-out pairs of which two thirds are the wrong way round: their loss rises while a's falls.
awk 'NR % 3 { sub("chosen", "kept"); sub("rejected", "chosen"); sub("kept", "rejected") } 1' \
    b.test.jsonl > wrong.jsonl
select="--model lm $cut --per_step_pairs 6 --num_train_epochs 4 --learning_rate 3e-3 --head_rate 1
        --lr_scheduler_type constant --train a.train.jsonl"
held="--eval a.test.jsonl wrong.jsonl --eval_steps 1"
# best_of METRIC ORDER LAST: the first step of the best mean of both files, up to step LAST
best_of() {
    for step in $(awk -v n=$3 'BEGIN { for (i = 1; i <= n; i++) print i }'); do
        grep "\"event\":\"eval\",\"step\":$step," x/log.jsonl > evaluated
        for k in a wrong; do grep "eval_${k}_$1" evaluated > one && field one eval_${k}_$1; done |
            awk -v step=$step '{ sum += $1 } END { printf "%.9f %d\n", sum / 2, step }'
    done | sort -k1,1$2 -k2,2n | head -n 1
}

it "load_best_leaves_the_weights_of_the_best_evaluation"
for metric in loss accuracy; do
    works ./more train reward $select $held --load_best --best_metric $metric --out x
    order=g
    [ $metric = loss ] || order=gr
    best=$(best_of $metric $order 12)
    step=${best#* }
    printed=$(echo "$best" | awk '{ printf "%.4f", $1 }')
    holds err "^best: step $step, eval $metric $printed; its weights are saved.  They are chosen by"
    holds x/log.jsonl "\"event\":\"end\",.*,\"best_step\":$step,\"best_$metric\":0.[0-9]*}"
    x_sha=$(sha)
    [ "$(./more inspect --model x | sed -n 's/^weights sha256 //p')" = "$x_sha" ] ||
        fault "another hash than the file's"
    works ./more train reward $select --max_steps $step --out y
    [ "$(sha)" = "$x_sha" ] || fault "$metric: not the weights of step $step"
    [ $metric = accuracy ] || [ $step -gt 1 -a $step -lt 12 ] || fault "step $step is at an end"
done

it "the_earlier_of_equal_evaluations_is_the_best"
works ./more train reward $select $held --learning_rate 0 --load_best --out x
holds err '^best: step 1, eval loss 0.6931;'

it "a_run_stops_early_after_evaluations_that_are_no_better"
works ./more train reward $select $held --early_stopping_patience 2 --out x
step=$(sed -n 's/^best: step \([0-9]*\),.*/\1/p' err)
holds err "^stopped early, after step $((step + 2)) of 12: 2 evaluations without a better eval loss"
counts $((step + 2)) x/log.jsonl '"event":"train"'
counts $((2 * (step + 2))) x/log.jsonl '"event":"eval"'
x_sha=$(sha)
works ./more train reward $select $held --load-best-model-at-end --metric-for-best-model loss \
    --out y
[ "$(sha)" = "$x_sha" ] || fault "other weights than without stopping"
works ./more train reward $select $held --early_stopping_patience 20 --out y
[ "$(sha)" = "$x_sha" ] || fault "other weights than with more patience"
lacks err '^stopped early'

it "language_models_and_policies_have_a_best_evaluation_too"
works ./more train lm $new --train text.jsonl --eval other.jsonl --eval_steps 1 --load_best --out x
grep '"event":"eval"' x/log.jsonl > evaluated
lowest=$(field evaluated eval_other_bits_per_byte | sort -g | head -n 1)
holds x/log.jsonl "\"best_loss\":$lowest}"
make_points
held="$policy --force --eval_steps 1 --load_best --out x"
works ./more train sft $held --train a.train.jsonl --eval demos.jsonl
grep '"event":"eval"' x/log.jsonl > evaluated
lowest=$(field evaluated eval_demos_perplexity | sort -g | head -n 1 | awk '{ print log($1) }')
tail -n 1 x/log.jsonl > end
field end best_loss | awk -v x=$lowest '{ exit !($1 - x < 1e-5 && x - $1 < 1e-5) }' ||
    fault "not the log of $lowest"
works ./more train dpo $held --train a.train.jsonl --eval a.test.jsonl --best_metric accuracy
holds err '^best: step [0-9]*, eval accuracy [01].[0-9]*;'
works ./more train kto $held --train points.jsonl --eval points.jsonl --best_metric accuracy
holds err '^best: step [0-9]*, eval accuracy [01].[0-9]*;'
grep '"event":"eval"' x/log.jsonl > evaluated
highest=$(field evaluated eval_points_auc | sort -gr | head -n 1)
holds x/log.jsonl "\"best_accuracy\":$highest}"

it "where_no_evaluation_gives_a_number_the_last_weights_are_saved"
grep true points.jsonl > true.jsonl                    # of one class: no area under the curve
works ./more train kto $held --train points.jsonl --eval true.jsonl --best_metric accuracy
holds err '^best: no evaluation gave a number; the last weights are saved$'
x_sha=$(sha)
works ./more train kto $policy --train points.jsonl --out y
[ "$(sha)" = "$x_sha" ] || fault "other weights"

it "choosing_the_best_asks_for_what_it_needs"
best="./more train reward $select --out x"
refused 64 "--load_best: there is nothing to choose by; give held-out files" $best --load_best
refused 64 "--early_stopping_patience: there is nothing to choose by" \
    $best --early_stopping_patience 1
refused 64 "--load_best: --eval_steps is needed" $best --load_best --eval a.test.jsonl
refused 64 "--best_metric: nothing is chosen by it without --load_best" $best --best_metric loss
refused 64 "no held-out loss of points is computed; --best_metric accuracy" \
    ./more train kto $held --train points.jsonl --eval points.jsonl
refused 64 "demos.jsonl: completion data has none; choose by loss" \
    ./more train sft $held --train a.train.jsonl --eval demos.jsonl --best_metric accuracy

# plan LINE COMMAND..: how the plan that COMMAND trains by is said
plan() {
    line=$1
    shift
    works "$@" --out x
    holds err "^plan: $line\$"
}
# sums_up COMMAND..: a step of fewer than it could hold is the mean of what it has: as if it could
# hold no more
sums_up() {
    works "$@" 18 --out x
    works "$@" 1000 --out x2
    holds err "^plan: 1 step of 18 [a-z]*; 1 epoch of 18 [a-z]*\$"
    same x/model.safetensors x2/model.safetensors
}

it "what_an_epoch_leaves_is_a_smaller_step_with_its_own_mean"
full="--model lm $cut --learning_rate 1e-3 --quiet"
plan "2 steps of 10 pairs, the last of 8; 1 epoch of 18 pairs" \
    ./more train reward $full --train a.train.jsonl --per_step_pairs 10
plan "4 steps of 10 pairs, the last of 6; 2 epochs of 18 pairs" \
    ./more train dpo $full --train a.train.jsonl --per_step_rows 10 --num_train_epochs 2
plan "8 steps of 9 pairs; 1 epoch of 72 pairs" \
    ./more train more $full --train $abc --per_step_pairs 10
plan "1 step of 18 points; 1 epoch of 18 points" \
    ./more train kto $full --train points.jsonl --per_step_rows 20
sums_up ./more train reward $full --train a.train.jsonl --per_step_pairs
sums_up ./more train sft $full --train a.train.jsonl --per_step_rows
sums_up ./more train dpo $full --train a.train.jsonl --per_step_rows
sums_up ./more train kto $full --train points.jsonl --per_step_rows
works ./more train lm $new --train text1.jsonl --per_step_tokens 100000 --out x
works ./more train lm $new --train text1.jsonl --per_step_tokens 1000000 --out x2
same x/model.safetensors x2/model.safetensors

it "max_steps_takes_as_many_epochs_as_it_needs"
plan "7 steps of 6 pairs; 2.333 epochs of 18 pairs" \
    ./more train reward $full --train a.train.jsonl --per_step_pairs 6 --max_steps 7
plan "2 steps of 5 pairs; 0.5556 epochs of 18 pairs; --max_steps leaves out 8 of them" \
    ./more train reward $full --train a.train.jsonl --per_step_pairs 5 --max_steps 2
plan "3 steps of 3 pairs; 0.5 epochs of 18 pairs; --num_train_epochs leaves out 9 of them" \
    ./more train simpo $full --train a.train.jsonl --per_step_rows 3 --num_train_epochs 0.5
printf 'the sky is blue and the sea is green' > few.txt
works ./more train lm --model lm --train few.txt --then few.txt:again --max_length 4 \
    --per_step_tokens 1 --num_train_epochs 1000 --max_steps 20 --out x
# of the first file nothing is left out, of the second all
sed -n 's/^plan: .* of \([0-9]*\) windows; --max_steps leaves out \([0-9]*\) of them$/\1 \2/p' err |
    awk '{ found = $1 == 2 * $2 } END { exit !found }' || fault "$(grep '^plan' err)"
same_rate="--lr_scheduler_type constant --train a.train.jsonl --per_step_rows 6"
works ./more train dpo $full $same_rate --max_steps 7 --out x
works ./more train dpo $full $same_rate --num_train_epochs 5 --save_steps 7 --max_steps 8 --out x2
# the first seven steps of eight are those seven
grep '"event":"train"' x/log.jsonl | sed 's/,"tokens_per_s.*//' > seven
grep '"event":"train"' x2/log.jsonl | sed 's/,"tokens_per_s.*//' | head -n 7 > of_eight
same seven of_eight

it "random_weights_starts_from_others"
works ./more train reward $pairs --train $abc --random_weights --out x
[ "$(sha)" != "$r_sha" ] || fault "the same as without"

# Adam's first step is the rate itself, with the gradient's sign
it "the_reward_head_has_ten_times_the_rate_or_what_head_rate_says"
for how in " = 0.010000" "--head_rate 1 = 0.001000" "--head_rate 2.5 = 0.002500"; do
    works ./more train reward $pairs --max_steps 1 --train $abc ${how% = *} --out x
    works ./more inspect --model x
    holds out "^ *32 numbers  rms  ${how#* = }  .*  score.weight$"
done

it "raw_head_starts_from_a_random_head_of_that_seed"
for seed in 3 4; do
    works ./more train reward $pairs --train $abc --raw_head $seed --out raw-$seed
done
differ raw-3/model.safetensors r/model.safetensors "the same as from a zero head"
differ raw-3/model.safetensors raw-4/model.safetensors "one head for two seeds"

it "freeze_trains_the_head_alone_in_the_memory_of_scoring"
works ./more train reward $pairs --train $abc --freeze --out frozen
frozen_sha=$(sha)
holds err '^35104 parameters, 32 of them trained, pooling last, 4 steps, '
works ./more train reward $pairs --train $abc --freeze --micro_batch_tokens 150 --recompute --out x
[ "$(sha)" = "$frozen_sha" ] || fault "the size of micro-batches matters"
# below FOLDER: all of its weights but the head, which are the last 32 numbers; the header's length
# stands in the first 8 bytes
below() {
    header=$(head -c 4 $1/model.safetensors | od -An -t u4)
    tail -c +$((header + 9)) $1/model.safetensors > weights
    head -c $(($(wc -c < weights) - 4 * 32)) weights
}
works ./more train reward $pairs --train $abc --learning_rate 0 --out x
below x > start
below frozen > below.head
same below.head start
differ frozen/model.safetensors x/model.safetensors "the head was not trained"
grep '"event":"train"' frozen/log.jsonl | sed 's/,"learning_rate.*//' > frozen.log
grep '"event":"train"' r/log.jsonl | sed 's/,"learning_rate.*//' > whole.log
[ "$(head -n 1 frozen.log)" = "$(head -n 1 whole.log)" ] || fault "another first step"
differ frozen.log whole.log "the whole model was trained"
big="--model big --micro_batch_tokens 8000 --max_steps 1 --train long.pairs.jsonl --out x"
sentences pair 2000 9 > long.pairs.jsonl
works ./more train lm $new --max_steps 1 --train text.jsonl --num_hidden_layers 6 --out big
works ./more train reward $big --per_step_pairs 400
stored=$(announced)
works ./more train reward $big --per_step_pairs 400 --freeze
echo "$stored $(announced) $process" | awk '{ exit !($2 > $3 && $2 - $3 < ($1 - $3) / 3) }' ||
    fault "$(announced) GiB of $stored, $process without"
for m in release paper uniform; do
    works ./more train more --more $m $pairs --train $abc --freeze --out x
    below x > below.head
    same below.head start
done
refused 64 "--freeze: unknown option of more train dpo; see --help (elsewhere: train a reward" \
    ./more train dpo --freeze

it "training_leaves_a_fold_out"
for f in 0 1; do works ./more train reward $pairs --train $abc --folds 2 --fold $f --out f-$f; done
differ f-0/model.safetensors f-1/model.safetensors "two folds, one model"
head -n 1 a.train.jsonl > one.jsonl
for f in 0 1; do                                       # the one row is in one of the two folds
    run ./more eval $cut --model r --eval one.jsonl --folds 2 --fold $f
    if [ $code = 0 ]; then mine=$f; fi
done
refused 65 "no pairs to train on" \
    ./more train reward $pairs --train one.jsonl --folds 2 --fold "$mine" --out x

it "the_seed_changes_the_result"
works ./more train reward $pairs --seed 7 --train $abc --out x
[ "$(sha)" != "$r_sha" ] || fault "the same pairs in the same order"
works ./more train lm $new --seed 7 --train text.jsonl --out x
[ "$(sha)" != "$lm_sha" ] || fault "the same weights"

it "train_says_what_doctor_knows_and_stops_at_a_trap"
sed -n 5p a.train.jsonl > leak.jsonl
leak="./more train reward $pairs --train a.train.jsonl --eval leak.jsonl --out trapped"
refused 65 "traps: 1; see the lines that begin with \"trap:\" and more doctor; --force" $leak
holds err '^trap: leak.jsonl:1: the prompt is trained on (a.train.jsonl:5)'
[ ! -f trapped/model.safetensors ] || fault "it was trained"
works $leak --force
holds err '^trap: leak.jsonl:1: the prompt is trained on'
printf '{"prompt":"P%s","completion":" a","label":true}\n' 1 2 3 4 5 6 > true.jsonl
points="--model lm $cut --train true.jsonl --per_step_rows 2 --out x"
for o in pointwise-dpo kto unlikelihood; do
    refused 65 "traps: 1" ./more train $o $points
    holds err '^trap: true.jsonl: all 6 rows have the label 1; add rows of the other class'
done
works ./more train ulma $points                        # which is imitation
works ./more train reward $pairs --train a.train.jsonl --out x
lacks err '^trap:'
printf '{"prompt":"name a cat","chosen":"Lion","rejected":"Dog %s"}\n' a b > words.jsonl
works ./more train reward $pairs --per_step_pairs 1 --train words.jsonl --out x
holds err '^warning: words.jsonl:1: prompt and answer make one word, as in 2 of 2 rows'
printf 'the sky\n<|endoftext|>\nthe sea\n<|endoftext|>\n' > ends.txt
works ./more train lm --model lm --train ends.txt --max_length 64 --per_step_tokens 10 --out x
ends='^warning: ends.txt:1: "<|endoftext|>" stands in texts 2 times; it is read as plain text'
holds err "$ends"
works ./more train lm --model lm --train text.jsonl --then ends.txt --max_length 64 --out x
holds err "$ends"

finish
