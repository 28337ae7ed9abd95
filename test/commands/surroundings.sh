# surroundings.sh - devices and pipes to write to, folders in use, full disks, killed runs.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

it "what_is_no_file_is_written_through_and_stays_what_it_is"
evaluate="./more eval $cut --model r --eval a.test.jsonl --out"
works $evaluate plain.jsonl
mkfifo pipe
cat pipe > piped.jsonl &
reader=$!
works $evaluate pipe
wait $reader
[ -p pipe ] || fault "the pipe is gone"
same piped.jsonl plain.jsonl
for name in /dev/stdout -; do
    works $evaluate $name --quiet
    lacks err "GiB needed"
    counts 16 out '"event":"pair"'
done
[ ! -e - ] || fault "a file called -"
ln -s /dev/null to-null
works $evaluate to-null
[ -L to-null ] && [ -c /dev/null ] || fault "the device is gone"
if mknod device c 1 7 2> x.out && : 2> x.out > device; then
    refused 74 "device: No space left" $evaluate device
    [ -c device ] || fault "the device is gone"
elif [ -c /dev/full ] && [ "$(id -u)" != 0 ]; then
    refused 74 "No space left" $evaluate /dev/full
else
    echo "    (no device could be made)"
fi

it "a_closed_standard_stream_is_not_taken_for_a_file"
$evaluate closed.jsonl > x.out 2>&- || fault "exit $?"
same closed.jsonl plain.jsonl
$evaluate closed.jsonl >&- 2> err
[ $? = 74 ] || fault "standard output is closed and nothing is said"
holds err "^more: standard output: could not be written"
$evaluate closed.jsonl > x.out 2>&- <&- || fault "exit $?"
same closed.jsonl plain.jsonl

it "what_is_neither_file_nor_device_is_refused_and_stays_what_it_is"
echo precious > victim
ln -s victim link
ln -s nothing dangling
mkdir folder
for command in "eval $cut --model r --eval a.test.jsonl" \
    "compare --judge r $cut --model lm --prompts a.test.jsonl --max_new_tokens 2"; do
    refused 73 "link: is a symbolic link" ./more $command --out link
    refused 73 "dangling: is a symbolic link" ./more $command --out dangling
    refused 73 "folder: is a folder" ./more $command --out folder
    refused 73 "no/such: No such file" ./more $command --out no/such
    lacks err "completions of"                         # it was said before the work
done
best="./more bestof --judge r $cut --model lm --prompts a.test.jsonl --max_new_tokens 2 --n 2"
refused 73 "link: is a symbolic link" $best --out best --all link
refused 64 "--out and --all are both best" $best --out best --all best
[ ! -e best ] || fault "something is left"
works $best --out best --all pipe &
lines 32 pipe
wait
[ -p pipe ] || fault "the pipe is gone"
[ -L link ] && [ -L dangling ] && [ "$(cat victim)" = precious ] || fault "something was replaced"

it "a_second_run_in_the_same_folder_is_refused"
./more train reward $pairs --max_steps 0 --num_train_epochs 1000 --train $abc --out used \
    > first.out 2> first.err &
pid=$!
for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
    if grep -q '"step":2,' used/log.jsonl 2> x.out; then break; fi
    sleep 0.1
done
refused 75 "used: in use by another run" ./more train reward $pairs --train $abc --out used
refused 75 "used: in use by another run" \
    ./more tokenize --learn 300 --train text.jsonl --out used
kill -TERM $pid
wait $pid
[ $? = 75 ] || fault "the first run was disturbed: $(tail -n 1 first.err)"
works ./more train reward $pairs --train $abc --out used --resume no
same used/model.safetensors r/model.safetensors
[ ! -e used/more.lock ] || fault "the lock stays"

it "a_killed_run_leaves_nothing_that_is_in_the_way"
rm -rf killed
for i in 1 2 3; do
    ./more train reward $pairs --save_steps 1 --max_steps 0 --num_train_epochs 1000 --train $abc \
        --out killed > x.out 2> x.err &
    pid=$!
    for k in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
        if [ -e killed/config.json ]; then break; fi            # the last file of the first save
        sleep 0.1
    done
    sleep 0.0$i
    kill -KILL $pid
    wait $pid 2> x.out
    from a.test.jsonl works ./more score $cut --model killed
done
works ./more train reward $pairs --train $abc --out killed --resume no
[ -z "$(find killed -name '*.tmp' -o -name '*.lock' -o -name '*.old')" ] || fault "$(find killed)"
same killed/model.safetensors r/model.safetensors

it "a_save_that_was_cut_short_is_finished_when_the_folder_is_opened"
cp -r r cut
mv cut/config.json cut/config.json.77.old                  # all new files but one have their names
cp s-a/config.json cut/config.json.77.tmp 2> x.out || cp lm/config.json cut/config.json.77.tmp
cp lm/model.safetensors cut/model.safetensors.77.tmp
works ./more inspect --model cut
holds err "cut: a save that had been interrupted is finished"
[ "$(sha)" = "$lm_sha" ] || fault "not the new weights"
same cut/config.json lm/config.json
[ -z "$(find cut -name '*.tmp' -o -name '*.lock' -o -name '*.old')" ] || fault "$(find cut)"
cp -r r cut2
mv cut2/config.json cut2/config.json.77.old                # an error had taken the new files away
works ./more inspect --model cut2
[ "$(sha)" = "$r_sha" ] || fault "not the old weights"
same cut2/config.json r/config.json

it "a_failing_start_leaves_no_folder_and_no_log_and_the_old_ones_as_they_were"
refused 66 "nope" ./more train reward $recipe --train $abc --model nope --out a/b/c
[ ! -e a ] || fault "$(find a)"
refused 65 "pairs or rankings are needed" ./more train reward $pairs --train a.train.jsonl text.jsonl --out a/b
[ ! -e a ] || fault "$(find a)"
cp -r r old
refused 66 "no-such" ./more train reward $pairs --train no-such.jsonl --out old
refused 65 "pairs or rankings are needed" ./more train reward $pairs --train a.train.jsonl text.jsonl --out old
same old/log.jsonl r/log.jsonl
mkdir taken
mkfifo taken/log.jsonl
refused 73 "log.jsonl: is a pipe" ./more train reward $pairs --train $abc --out taken

it "too_little_memory_is_noticed_before_the_first_step_and_force_goes_on"
awk '{ for (i = 0; i < 1000; i++) print }' text.jsonl > many.jsonl
many="train lm --train many.jsonl --tokenizer lm/tokenizer.json --hidden_size 128
      --num_hidden_layers 128 --num_attention_heads 2 --max_length 64
      --micro_batch_tokens 10000000 --out huge"
refused 71 "GiB of memory are needed beside the model, " ./more $many
holds err "free here; --recompute, a lower --micro_batch_tokens or --max_length take less; --force"
lacks err "^step"
[ ! -e huge ] || fault "$(find huge)"
# it asks for the memory, which this shell does not have
refused 71 "out of memory" sh -c 'ulimit -v 8000000; exec ./more "$@"' sh $many --force
holds err "^warning: [0-9.]* GiB of memory are needed beside the model, [0-9.]* GiB are free here;"
[ ! -e huge ] || fault "$(find huge)"

it "a_limit_on_memory_is_noticed_before_the_first_step"
fewer="train lm --train text.jsonl --tokenizer lm/tokenizer.json --hidden_size 128
       --num_hidden_layers 128 --num_attention_heads 2 --max_length 64 --out huge"
refused 71 "GiB of memory are needed" sh -c 'ulimit -v 300000; exec ./more "$@"' sh $fewer
lacks err "^step"
[ ! -e huge ] || fault "$(find huge)"

it "a_file_limit_is_noticed_before_the_first_step"
refused 74 "File too large" sh -c 'ulimit -f 8; exec ./more "$@"' sh \
    train lm $new --train text.jsonl --out limited
lacks err "^step"
[ ! -e limited ] || fault "$(find limited)"
refused 74 "large.jsonl: File too large" sh -c 'ulimit -f 1; exec ./more "$@"' sh \
    eval $cut --model r --eval a.test.jsonl --out large.jsonl
[ ! -e large.jsonl ] || fault "half a file"

it "a_small_stack_is_named_before_anything_crashes"
small() { sh -c 'ulimit -s '"$1"'; shift; exec "$@"' sh "$@"; }
refused 71 "the stack may grow to 64 KiB, and 512 are needed: ulimit -s 512" \
    small 64 ./more inspect --model lm
refused 71 "the stack may grow to 511 KiB" small 511 ./more --version
awk '{ sub(/}$/, ",\"annotator\":\"p" NR % 3 "\"}"); print }' a.train.jsonl > who.jsonl
works small 512 ./more train reward $pairs --threads 2 --train $abc --out stack
same stack/model.safetensors r/model.safetensors
for command in "inspect --model lm" "eval $cut --model r --eval a.test.jsonl" \
    "doctor $cut --model lm --train a.train.jsonl" \
    "sample --model lm --prompts a.test.jsonl --max_new_tokens 2" \
    "train em --types 2 --em_steps 1 --model lm $cut --force --train who.jsonl --out stack_em" \
    "compare --judge r $cut --model lm --prompts a.test.jsonl --max_new_tokens 2" \
    "train dpo --model lm $cut --per_step_rows 6 --train a.train.jsonl --out stack"; do
    works small 512 ./more $command
done

it "a_pipe_of_data_is_read_where_one_reading_is_enough"
mkfifo data_pipe eval_pipe
works ./more train reward $pairs --train a.train.jsonl --eval a.test.jsonl --out of_files
cat a.train.jsonl > data_pipe &
cat a.test.jsonl > eval_pipe &
works ./more train reward $pairs --train data_pipe:a --eval eval_pipe:a --out of_pipes
same of_pipes/model.safetensors of_files/model.safetensors
works ./more eval $cut --model r --eval a.test.jsonl:a
cp out want
cat a.test.jsonl > data_pipe &
works ./more eval $cut --model r --eval data_pipe:a
same out want
from a.train.jsonl works ./more train reward $pairs --train - --out of_input
same of_input/model.safetensors of_files/model.safetensors
cat a.train.jsonl | ./more train reward $pairs --train /dev/stdin --out of_stdin > x.out 2>&1
same of_stdin/model.safetensors of_files/model.safetensors
wait

it "a_pipe_is_refused_where_a_file_is_read_again"
once="it more than once; give a file, not standard input or a pipe"
refused 64 "data_pipe: doctor reads $once" ./more doctor --model lm --train data_pipe
refused 64 "data_pipe: doctor reads $once" ./more doctor --model lm --train text.jsonl \
    --eval data_pipe
refused 64 "data_pipe:x: eval, for each model, reads $once" \
    ./more eval $cut --model r s=r --eval data_pipe:x
refused 64 "eval, for each model, reads $once" ./more eval $cut --model s=r+r --eval data_pipe
refused 64 "-: eval, for each model, reads $once" ./more eval $cut --model r s=r --eval -
refused 64 "eval, for each model, reads $once" \
    ./more eval $cut --model lm --reference lm --eval data_pipe
refused 64 "data_pipe: compare, for each policy, reads $once" \
    ./more compare --judge r $cut --model lm --prompts data_pipe --max_new_tokens 2
refused 64 "data_pipe: train, which learns a vocabulary first, reads $once" \
    ./more train lm $new --train data_pipe --out x

it "files_without_a_size_are_read"
refused 66 "/dev/null: not a regular file" ./more train lm $new --train /dev/null --out x
if [ -r /proc/self/status ]; then
    refused 65 "/proc/self/status:1" ./more train reward $pairs --train /proc/self/status --out x
fi
sys=/sys/kernel/mm/transparent_hugepage/enabled
if [ -r $sys ]; then
    refused 65 "$sys:1" ./more train reward $pairs --train $sys --out x
fi

if command -v gcc > x.out; then
    it "fast_math_is_a_compile_error"
    for option in -Ofast "-O2 -ffast-math"; do
        gcc -std=c11 $option -fsyntax-only "$root/kernels.c" 2> err
        holds err 'error: .*ffast-math and -Ofast change results'
    done
fi

if ldd more 2> x.out | grep -q libgomp && [ -r /proc/self/environ ]; then
    it "threads_that_wait_spin_for_a_moment_only_unless_the_environment_says_how_long"
    mkfifo nothing_comes
    exec 3<> nothing_comes
    # spins SETTING...: what the environment of a running process says, started with these settings
    spins() {
        env -u OMP_WAIT_POLICY -u OMP_NUM_THREADS "$@" ./more train reward $pairs --train - \
            --out spins < nothing_comes > x.out 2> x.err &
        pid=$!
        for i in $(awk 'BEGIN { for (i = 0; i < 600; i++) print i }'); do
            if [ -e spins/more.lock ]; then break; fi          # it has begun its work
            sleep 0.1
        done
        tr '\0' '\n' < /proc/$pid/environ | grep 'SPIN\|WAIT' > spins.txt
        kill $pid
        wait $pid 2> x.out
    }
    spins
    holds spins.txt '^GOMP_SPINCOUNT=10000$'
    lines 1 spins.txt
    spins OMP_WAIT_POLICY=active
    lacks spins.txt GOMP
    spins GOMP_SPINCOUNT=7
    holds spins.txt '^GOMP_SPINCOUNT=7$'
    spins OMP_NUM_THREADS=1
    lacks spins.txt GOMP
    works env -i ./more --version
    loader=$(ldd more | sed -n 's/^[[:space:]]*\(\/[^ ]*\/ld-[^ ]*\).*/\1/p')
    if [ -x "$loader" ]; then
        works env -u OMP_WAIT_POLICY -u OMP_NUM_THREADS "$loader" ./more --version
        holds out '^more [0-9]'
    fi
fi

# the rest needs a small disk of our own: root, or a name space that makes one
if mkdir disk && unshare -rm sh -c 'mount -t tmpfs -o size=4k tmpfs disk' 2> x.out; then
    it "a_full_disk_is_noticed_before_the_first_step"
    refused 74 "disk/o/model.safetensors: there is no room" unshare -rm sh -c \
        'mount -t tmpfs -o size=40k tmpfs disk; exec ./more train reward "$@" --out disk/o' \
        sh $pairs --train $abc
    lacks err "^step"

    it "a_disk_that_may_not_be_written_is_named_so"
    refused 73 "disk/o: the folder could not be made: Read-only file system" unshare -rm sh -c \
        'mount -t tmpfs -o ro tmpfs disk; exec ./more train reward "$@" --out disk/o' \
        sh $pairs --train $abc

    it "a_disk_that_fills_up_during_the_run_is_waited_for"
    cat > filled.sh <<'END'
        mount -t tmpfs -o size=400k tmpfs disk
        ./more train reward --model lm "$@" --out disk/o 2> err > out &
        pid=$!
        for i in $(awk 'BEGIN { for (i = 0; i < 3000; i++) print i }'); do
            if grep -q '"step":2,' disk/o/log.jsonl 2> x.out; then break; fi
            sleep 0.02
        done
        dd if=/dev/zero of=disk/full bs=1k 2> x.out
        for i in $(awk 'BEGIN { for (i = 0; i < 300; i++) print i }'); do
            if grep -q 'tried again' err; then break; fi
            sleep 0.1
        done
        [ "$stays_full" ] || rm disk/full
        [ -z "$asked" ] || kill -TERM $pid
        wait $pid
        echo $? > code
        cp -r disk/o copy
END
    long="$cut --learning_rate 1e-3 --per_step_pairs 6 --max_steps 450 --num_train_epochs 150"
    works ./more train reward --model lm $long --train $abc --out undisturbed
    rm -rf copy
    run unshare -rm sh filled.sh $long --train $abc
    [ "$(cat code)" = 0 ] || fault "exit $(cat code): $(tail -n 1 err)"
    counts 1 err "disk/o/.*: No space left on device; tried again every minute"
    same copy/model.safetensors undisturbed/model.safetensors
    counts 450 copy/log.jsonl '"event":"train"'

    it "and_a_signal_ends_the_waiting"
    rm -rf copy
    stays_full=1 asked=1 run unshare -rm sh filled.sh $long --train $abc
    [ "$(cat code)" = 74 ] || fault "exit $(cat code): $(tail -n 1 err)"
    holds err "^more: disk/o/.*: No space left on device"

    it "a_signal_that_ends_the_waiting_for_the_log_saves_the_weights_if_they_find_room"
    rm -rf copy
    asked=1 run unshare -rm sh filled.sh $long --train $abc
    [ "$(cat code)" = 75 ] || fault "exit $(cat code): $(tail -n 1 err)"
    holds err "^more: stopped after step [0-9]* of 450; the weights so far are in disk/o"
    from a.test.jsonl works ./more score $cut --model copy
else
    echo "(no small disk could be made: five tests are left out)"
fi

finish
