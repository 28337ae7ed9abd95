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
for f in config.json model.safetensors tokenizer.json; do same x/$f r/$f; done
refused 65 "is not finite" \
    ./more train more $pairs --train $abc mixed.jsonl --learning_rate 1e30 --out fresh
[ ! -f fresh/model.safetensors ] || fault "a broken model was written"

it "a_run_that_is_asked_to_stop_saves_and_says_so"
./more train reward $pairs --max_steps 0 --num_train_epochs 1000 --train $abc --out stopped \
    > out 2> err &
pid=$!
for i in $(awk 'BEGIN { for (i = 0; i < 100; i++) print i }'); do
    if grep -q '"step":2,' stopped/log.jsonl 2> x.out; then break; fi
    sleep 0.1
done
kill -TERM $pid
wait $pid
code=$?
[ $code = 75 ] || fault "exit $code"
holds err "^more: stopped after step [0-9]* of [0-9]*; the weights so far are in stopped"
from a.test.jsonl works ./more score $cut --model stopped

finish
