# resume.sh - runs that are interrupted go on, and end with the bits of the straight run.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward
make_groups

# numbers LOG: its lines without what depends on the clock and the machine
numbers() {
    sed 's/,"tokens_per_s.*//; s/,"wall_s":[0-9.]*//; s/,"[a-z]*_s":[0-9.]*//g' "$1/log.jsonl"
}
# straight COMMAND...: to the end; the hash is then $straight, the folder `straight`
straight() {
    rm -rf straight
    works ./more "$@" --out straight
    straight=$(sha)
    numbers straight > straight.log
}
# begun SIGNAL COMMAND...: the same in `killed`, ended by a signal after a few steps
begun() {
    begun_by=$1
    shift
    interrupted $begun_by state-3.bin '' ./more "$@" --save_steps 1 --keep 100
}
# goes_on COMMAND...: to the end of the straight run
goes_on() {
    works "$@"
    holds err "state-[0-9]*.bin: goes on after step [0-9]* of 30$"
    [ "$(sha)" = "$straight" ] || fault "another hash"
}

isa=$(instruction_sets | head -n 1)
steps="--max_steps 30"
lm="train lm $new $steps --train text.jsonl --eval other.jsonl --eval_steps 7 --quiet"
more="train more $pairs $steps --train $abc"
dpo="train dpo --model lm $cut --per_step_rows 6 --learning_rate 1e-3 $steps --train of.jsonl
     --group_robust who --spo_gamma 1 --eval a.test.jsonl --quiet"
ppo="train ppo --model lm --reward r --critic r --critic_rate 10 $cut --ppo_epochs 3
     --max_new_tokens 5 --n 2 --per_step_rows 3 --learning_rate 1e-3 $steps --prompts a.test.jsonl --quiet"
lora="train reward $pairs $steps --lora_r 4 --lora_targets dense --train $abc"
for what in lm more dpo ppo lora; do
    eval "command=\$$what"
    it "train_${what}_goes_on_with_the_bits_and_the_log_of_the_straight_run"
    straight $command
    begun KILL $command
    goes_on ./more $command --out killed --save_minutes 0.0001
    numbers killed > killed.log
    same killed.log straight.log
    [ -z "$(find killed -name '*.tmp' -o -name '*.lock')" ] || fault "$(find killed)"
done

it "other_threads_micro_batches_instruction_sets_and_folders_give_the_same_bits"
straight $more
begun KILL $more
cp -r killed copy
rm -f killed/log.jsonl
goes_on env MORE_ISA=$isa ./more $more --out killed --threads 3 --micro_batch_tokens 130 \
    --recompute --logging_steps 3 --save_steps 4 --keep 1
goes_on ./more $more --out elsewhere --resume copy
numbers elsewhere > elsewhere.log
same elsewhere.log straight.log
cp copy/state-2.bin .
goes_on ./more $more --out elsewhere2 --resume state-2.bin

it "a_run_that_has_finished_is_not_repeated"
works ./more $more --out elsewhere
holds err "^elsewhere/state-30.bin: finished already; --resume no trains anew"
[ "$(sha)" = "$straight" ] || fault "another hash"
lacks err "GiB needed"
works ./more $more --out elsewhere --threads 2              # another way to the same weights
holds err "GiB needed"
[ "$(sha)" = "$straight" ] || fault "another hash"
works ./more $more --out elsewhere --resume no
holds err "GiB needed"
works ./more $more --out elsewhere --learning_rate 1e-4
holds err "GiB needed"
cp -r straight emptied
rm emptied/model.safetensors
works ./more $more --out emptied
same emptied/model.safetensors straight/model.safetensors

it "what_is_another_run_is_refused_and_the_difference_named"
refused 64 "bin: of another run: --learning_rate was 0.001, is 0.002; the same recipe goes on" \
    ./more $more --learning_rate 2e-3 --out copy
refused 64 "bin: of another run: train was more, is reward;" \
    ./more train reward $pairs $steps --train $abc --out copy
refused 64 "bin: of another run: --max_steps was 30, is 31;" ./more $more --max_steps 31 --out copy
sed '$d' c.train.jsonl > fewer.jsonl
refused 64 "bin: of another run: sha256 of file 3 of --train was " \
    ./more train more $pairs $steps --train a.train.jsonl b.train.jsonl fewer.jsonl --out copy
cp -r lm changed
sed 's/^{/{ /' lm/tokenizer.json > changed/tokenizer.json
refused 64 "bin: of another run: sha256 of the tokenizer was " \
    ./more train more --model changed $recipe $steps --train $abc --out copy
works ./more train lm --model lm $cut --train text.jsonl --max_steps 1 --out other --quiet
refused 64 "bin: of another run: the checksum of the weights at the start was " \
    ./more train more --model other $recipe $steps --train $abc --out copy
mkdir gguf
works ./more export --model lm --out gguf/m.gguf
two="train dpo --model lm --reference gguf --tokenizer lm/tokenizer.json $cut --max_steps 2
     --train of.jsonl --quiet"
works ./more $two --out two
works ./more export --model lm --out gguf/m.gguf --dtype bf16
refused 64 "bin: of another run: the checksum of --references 1 was " \
    ./more $two --out three --resume two
refused 66 "--resume nowhere: there is no run there to go on with" \
    ./more $more --out elsewhere3 --resume nowhere
[ -e copy/state-3.bin ] || fault "the state is gone"
mkdir apart
for f in a.train.jsonl b.train.jsonl c.train.jsonl; do cp $f apart/other-$f; done
goes_on ./more train more $pairs $steps --train apart/other-* --out copy

it "a_state_that_was_damaged_is_noticed_and_the_one_before_it_named"
begun KILL $more
last=$(ls killed | sed -n 's/^state-\([0-9]*\).bin$/\1/p' | sort -n | tail -n 1)
printf 'x' | dd of=killed/state-$last.bin bs=1 seek=5000 conv=notrunc 2> x.out
before="--resume killed/state-$((last - 1)).bin"
refused 65 "state-$last.bin: damaged: " ./more $more --out killed
holds err "; $before goes on from the one before it, --resume no begins anew$"
goes_on ./more $more --out killed $before --save_steps 9
begun KILL $more
last=$(ls killed | sed -n 's/^state-\([0-9]*\).bin$/\1/p' | sort -n | tail -n 1)
head -c 3000 killed/state-$last.bin > cut.bin
cp cut.bin killed/state-$last.bin
refused 65 "state-$last.bin: damaged: " ./more $more --out killed
for f in killed/state-*.bin; do cp cut.bin $f; done
refused 65 "; --resume no begins anew" ./more $more --out killed
lacks err "the one before it"
works ./more $more --out killed --resume no
[ "$(sha)" = "$straight" ] || fault "another hash"

it "a_run_that_is_asked_to_stop_prints_the_command_that_goes_on"
cp a.train.jsonl "it's a.jsonl"
again="--resume no --quiet --max_steps 30 --save_steps 1 --keep 9"
./more train reward $pairs --train "it's a.jsonl" --out straight --max_steps 30 > out 2> err
straight=$(sha)
interrupted TERM state-3.bin '' ./more train reward $pairs --train "it's a.jsonl" $again
[ $code = 75 ] || fault "exit $code"
holds err "^more: stopped after step [0-9]* of 30; the weights so far are in killed"
command=$(sed -n '/^this goes on with it:$/{n;p;}' err)
holds err "--train 'it'.''s a.jsonl' --quiet --max_steps 30 --save_steps 1 --keep 9 --out killed"
goes_on sh -c "$command"

it "the_best_weights_and_the_evaluations_go_on_too"
best="train reward $pairs --max_steps 30 --train $abc --eval a.test.jsonl --eval_steps 2
      --learning_rate 1e-2 --early_stopping_patience 3"
straight $best
holds err "^stopped early"
begun KILL $best
works ./more $best --out killed
holds err "goes on after step"
[ "$(sha)" = "$straight" ] || fault "another hash"
same killed/model.safetensors straight/model.safetensors
numbers killed > killed.log
same killed.log straight.log
begun KILL $best
cp lm/model.safetensors killed/model.safetensors
run ./more $best --out killed
[ $code = 65 ] || [ "$(sha)" = "$straight" ] || fault "exit $code, other weights"

it "a_run_goes_on_only_where_its_best_weights_are"
begun KILL $best
refused 64 "are not in --out nowhere2; go on in their folder, or copy it" \
    ./more $best --out nowhere2 --resume killed
lacks err "GiB needed"
mkdir -p taken
cp lm/* taken
refused 64 "are not in --out taken; go on in their folder, or copy it" \
    ./more $best --out taken --resume killed
cp -r killed copied
works ./more $best --out copied --resume killed
[ "$(sha)" = "$straight" ] || fault "another hash"
same copied/model.safetensors straight/model.safetensors

it "em_goes_on_in_the_middle_of_an_iteration"
awk '{ sub(/}$/, ",\"annotator\":\"p" NR % 4 "\"}"); print }' b.train.jsonl > people.jsonl
em="train em --model lm $cut --learning_rate 3e-3 --per_step_rows 2 --num_train_epochs 4 --quiet
    --train people.jsonl --em_steps 2"
works ./more $em --out straight
cp out straight.out
interrupted KILL start-1-iteration-1/type-2/state-3.bin '' ./more $em --save_steps 1 --keep 100
works ./more $em --out killed
holds err "iteration 1, type 1: .*/state-[0-9]*.bin: goes on after step 24 of 24"
holds err "iteration 1, type 2: .*/state-[0-9]*.bin: goes on after step [0-9]* of 24"
same out straight.out
[ -z "$(find killed -name 'state-*')" ] || fault "$(find killed)"

finish
