# stop.sh - runs that end before their last step.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

it "a_loss_that_is_not_finite_stops_the_run_and_leaves_the_old_model"
awk 'NR % 2 { sub("chosen", "kept"); sub("rejected", "chosen"); sub("kept", "rejected") } 1' \
    b.train.jsonl > mixed.jsonl
cp -r r x
refused 65 "is not finite" \
    ./more train reward $pairs --train mixed.jsonl --learning_rate 1e30 --out x
holds err "a lower --learning_rate may help; this step is not saved"
lacks err '[^a-z]nan[^a-z]'
for f in config.json model.safetensors tokenizer.json; do same x/$f r/$f; done
refused 65 "is not finite" \
    ./more train more $pairs --train $abc mixed.jsonl --learning_rate 1e30 --out diverged
[ ! -f diverged/model.safetensors ] || fault "a broken model was written"

it "a_starting_model_that_is_not_finite_is_named_and_no_other_rate_advised"
works ./more train lm $new --train text.jsonl --max_steps 1 --learning_rate 1e25 --out big
big="--model big $cut --max_steps 2 --quiet --out fresh"
make_points
for o in sft dpo simpo kto; do
    refused 65 "the weights of big are damaged or too large" \
        ./more train $o $big --per_step_rows 6 --train "$(rows_of $o)"
    holds err "^more: [a-z.]*.jsonl:[0-9]*: .* not finite"
    lacks err "lower --learning_rate"
done
refused 65 "the weights of big are damaged or too large" \
    ./more train reward $big --per_step_pairs 6 --raw_head 1 --train a.train.jsonl
refused 65 "the weights of big are damaged or too large" \
    ./more train more $big --per_step_pairs 6 --raw_head 1 --train $abc
lacks err "lower --learning_rate"
refused 65 "the weights of big are damaged or too large" \
    ./more train lm --model big --train text.jsonl --max_length 64 --per_step_tokens 300 --out fresh
echo hello > hello
from hello refused 65 "big: the model's logits are not finite" ./more sample --model big
[ ! -e fresh ] || fault "$(find fresh)"

# start COMMAND...: a run in the background, with the options $also, which has taken its second
# step; its number is in $pid
also=''
start() {
    rm -rf stopped
    "$@" ./more train reward $pairs --max_steps 0 --num_train_epochs 1000 --train $abc \
        --out stopped $also > out 2> err &
    pid=$!
    for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
        if grep -q '"step":2,' stopped/log.jsonl 2> x.out; then return; fi
        sleep 0.1
    done
    fault "no second step: $(tail -n 1 err)"
}
# ended CODE
ended() {
    wait $pid
    code=$?
    [ $code = "$1" ] || fault "exit $code, not $1: $(tail -n 1 err)"
}

it "a_run_that_is_asked_to_stop_saves_and_says_so"
signals="TERM USR1 XCPU"
# under nohup it is ignored, and stays so
sh -c 'kill -HUP $$' 2> x.out || signals="$signals HUP"
for signal in $signals; do
    start env
    kill -$signal $pid
    ended 75
    holds err "^more: stopped after step [0-9]* of [0-9]*; the weights so far are in stopped"
    from a.test.jsonl works ./more score $cut --model stopped
    [ -z "$(find stopped -name '*.tmp' -o -name '*.lock')" ] || fault "$(find stopped)"
done

it "a_run_that_ends_by_force_leaves_its_best_weights_so_far"
also="--eval a.test.jsonl --eval_steps 1 --load_best --lr_scheduler_type constant"
start env
kill -TERM $pid
ended 75
holds err "^more: stopped after step [0-9]* of [0-9]*; the best weights so far, of step [0-9]*, "
step=$(sed -n 's/.*the best weights so far, of step \([0-9]*\),.*/\1/p' err)
works ./more train reward $pairs --max_steps $step --num_train_epochs 1000 --train $abc \
    --lr_scheduler_type constant --out x
same x/model.safetensors stopped/model.safetensors
start env
kill -KILL $pid
{ wait $pid; } 2> x.out
from a.test.jsonl works ./more score $cut --model stopped
also=''

it "signals_that_are_ignored_at_the_start_stay_ignored"
start sh -c 'trap "" HUP USR1; exec "$@"' sh
for signal in HUP USR1 INT; do kill -$signal $pid; done    # SIGINT: sh ignores it for its jobs
step=$(grep -c '"step"' stopped/log.jsonl)
for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
    if [ "$(grep -c '"step"' stopped/log.jsonl)" -gt $((step + 2)) ]; then break; fi
    sleep 0.1
done
[ $i -lt 599 ] || fault "no further step"
kill -TERM $pid
ended 75

it "a_run_that_is_stopped_before_its_first_step_says_so_and_leaves_nothing"
mkfifo nothing_comes
exec 3<> nothing_comes
./more train reward $pairs --train - --out early/deep > out 2> err < nothing_comes &
pid=$!
for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
    if [ -e early/deep/more.lock ]; then break; fi
    sleep 0.1
done
kill -TERM $pid
ended 75
holds err "^more: stopped before the first step; nothing was trained"
[ ! -e early ] || fault "$(find early)"
# as many different texts, of which each is computed once
awk '{ for (i = 0; i < 2000; i++) { row = $0; sub(/"chosen": *"/, "&" i " ", row); print row } }' \
    a.train.jsonl > many.jsonl
./more train dpo --model lm $cut --train many.jsonl --out early > out 2> err &
pid=$!
for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
    if grep -q ' GiB needed' err; then break; fi       # it computes references
    sleep 0.1
done
kill -TERM $pid
ended 75
holds err "^more: stopped before the first step; nothing was trained"
[ ! -e early ] || fault "$(find early)"

finish
