#!/bin/sh
# crash.sh - nothing is lost: a training run is killed, refused the disk, starved and damaged in
# every way below, goes on each time, and must end with the hash of the run that nobody disturbed.
#
#     make crash                     every 10th call to the disk, allocation and so on: an hour
#     make crash CRASH_EACH=1        all of them, and 1,000 kills at random: most of a day
#     sh test/slow/crash.sh 200      minutes
#     make crash CRASH_EACH=25 CRASH_KILLS=1000      of the kills at random 1,000 all the same
#
# Two runs: MORE with its momentum, and adapters of a reward model.  A run whose weights find no
# disk waits for it, and is killed after some seconds.  strace makes calls to the system kill the
# run or fail; without it those rows are left out and said.  The last line is "crash: N attempts, M
# losses".
. "$(dirname "$0")/../commands/lib.sh"
each=${1:-10}
kills=${CRASH_KILLS:-$((1000 / each))}
attempts=0 losses=0
make_data
make_lm
make_reward
often="--save_steps 1 --out o"

# begins NAME COMMAND...: what is run from here on; $hash is that of the run nobody disturbs
begins() {
    name=$1
    shift
    training=$*
    works ./more $training --out straight
    hash=$(sha)
    rm -rf straight
    [ ${#hash} = 64 ] || { echo "no straight run: $(tail -n 1 err)"; exit 1; }
}
# lost WHAT: it is
lost() {
    losses=$((losses + 1))
    echo "LOST: $name: $1"
}
# goes_on WHAT: whatever happened to the folder o, the same command ends with the hash
goes_on() {
    attempts=$((attempts + 1))
    run ./more $training $often
    if [ $code = 0 ] && [ "$(sha)" = "$hash" ] && [ -z "$(ls o | grep '\.tmp$')" ]; then return; fi
    lost "$1: exit $code: $(tail -n 1 err)"
}
# whole WHAT: the model in o, if there is one, loads
whole() {
    if [ ! -e o/config.json ] && [ ! -e o/adapter_config.json ]; then return; fi
    run ./more inspect --model o
    [ $code = 0 ] || lost "$1: the folder does not load: $(tail -n 1 err)"
}
# row NAME: what has been tried since the last one
row() {
    echo "$name: $1: $((attempts - tried)) attempts, $((losses - before)) losses"
    tried=$attempts before=$losses
}
tried=0 before=0

# calls_of CALL: how often the straight run makes it
calls_of() {
    rm -rf o
    strace -f -o calls -e trace="$1" ./more $training $often > out 2> err
    grep -c "$1(" calls
}
# inject CALL HOW: at each such call of a run
inject() {
    n=$(calls_of "$1")
    k=1
    while [ $k -le $n ]; do
        rm -rf o
        timeout -s KILL 6 strace -f -o x.out -e inject="$1:$2:when=$k" \
            ./more $training $often > out 2> err
        whole "$1 $2 $k"
        goes_on "$1 $2 $k"
        k=$((k + each))
    done
    row "$1, $2 at each of $n calls"
}
# at_every_call: kills and errors at the calls to the disk
at_every_call() {
    if ! strace -f -o x.out true 2> x.err; then
        echo "strace is missing (apt-get install strace): the calls to the disk are left out"
        return
    fi
    for call in openat write fsync close rename unlink ftruncate; do inject $call signal=KILL; done
    for how in write:error=ENOSPC write:error=EIO fsync:error=EIO close:error=EIO \
        rename:error=EACCES openat:error=EMFILE unlink:error=EACCES; do
        inject ${how%%:*} ${how#*:}
    done
}
# at_random KILLS: again and again in one run, until it is through
x=7
at_random() {
    killed=0
    while [ $killed -lt $1 ]; do
        rm -rf o
        for life in 1 2 3 4 5 6 7 8 9 10; do
            x=$((x * 16807 % 2147483647))
            at=0.$(printf %03d $((x % 150 + 5)))
            timeout -s KILL $at ./more $training $often > out 2> err && break
            killed=$((killed + 1))
            whole "a kill at random"
        done
        goes_on "kills at random"
    done
    row "$killed kills at random"
}

begins adapters "train reward --model lm $recipe --max_steps 6 --lora_r 4 --lora_targets dense
    --train $abc"
at_every_call
at_random $((kills / 2))
begins MORE "train more --model lm $recipe --max_steps 6 --train $abc"
at_every_call
at_random $((kills / 2))

# a disk that is full for a while: files may not grow beyond so many blocks
for blocks in 1 2 20 100 150 280 400 850; do
    rm -rf o
    (ulimit -f $blocks && timeout -s KILL 3 ./more $training $often > out 2> err)
    whole "ulimit -f $blocks"
    goes_on "ulimit -f $blocks"
done
row "files that cannot grow"

# too little memory: what does not fit is said before the first step
for kib in 20000 40000 60000 80000 120000; do
    rm -rf o
    (ulimit -v $kib && timeout -s KILL 20 ./more $training $often > out 2> err)
    whole "ulimit -v $kib"
    goes_on "ulimit -v $kib"
done
large="train lm $new --hidden_size 128 --num_hidden_layers 128 --train text.jsonl --out o"
for kib in 200000 300000 400000; do
    attempts=$((attempts + 1))
    rm -rf o
    (ulimit -v $kib && exec ./more $large > out 2> err)
    code=$?
    if [ $code != 71 ] || ! grep -q 'GiB of memory are needed' err || [ -e o ]; then
        lost "a run that needs more than ulimit -v $kib: exit $code: $(tail -n 1 err)"
    fi
done
row "too little memory"

# a folder in use, planted links
rm -rf o
mkdir o
: > victim
flock o/more.lock sleep 3 &
run ./more $training $often
[ $code = 75 ] || [ $code = 0 ] || lost "a lock: exit $code"
wait
goes_on "a lock of another"
for link in state-1.bin model.safetensors log.jsonl more.lock; do
    rm -rf o
    mkdir o
    ln -s ../victim o/$link
    run ./more $training $often
    [ ! -s victim ] || lost "a link at $link was followed"
    rm -f o/$link
    goes_on "a link at $link"
done
row "locks and planted links"

# stopped, then damaged: every state that is hurt is refused, and the one before it goes on
rm -rf half
i=10
while [ ! -e o/state-2.bin ] || ls o/state-6.bin > x.out 2>&1; do
    rm -rf o
    timeout -s KILL 0.$(printf %03d $i) ./more $training $often --keep 9 > out 2> err
    i=$((i % 600 + 7))
done
last=$(ls o | sed -n 's/^state-\([0-9]*\).bin$/\1/p' | sort -n | tail -n 1)
cp -r o half
size=$(wc -c < half/state-$last.bin)
at=0
while [ $at -lt $size ] && [ $size -gt 9999 ]; do
    rm -rf o
    cp -r half o
    printf '\377\000\377' | dd of=o/state-$last.bin bs=1 seek=$at conv=notrunc 2> x.out
    if cmp -s o/state-$last.bin half/state-$last.bin; then printf '\001' |
        dd of=o/state-$last.bin bs=1 seek=$at conv=notrunc 2> x.out; fi
    run ./more $training $often
    [ $code = 65 ] || lost "byte $at changed: exit $code"
    rm -f o/state-$last.bin
    goes_on "byte $at of a state changed"
    at=$((at + 9973 * each))
done
row "damaged states"

# starve COMMAND...: each of its allocations fails, and no other.  It says so, and nothing is leaked
# or overwritten; where it does without, its output is the same.
starve() {
    rm -rf o
    MORE_STARVED=number works ./starved "$@"
    cp out fed
    n=$(cat number)
    k=1
    while [ $k -le $n ]; do
        rm -rf o
        attempts=$((attempts + 1))
        MORE_STARVE=$k run ./starved "$@"
        if grep -q -e Sanitizer -e 'runtime error' err; then
            lost "allocation $k: $(grep -m 1 -e Sanitizer -e 'runtime error' err)"
        elif [ $code = 0 ]; then
            cmp -s out fed || lost "allocation $k: another output"
        elif [ $code != 71 ]; then
            lost "allocation $k: exit $code: $(tail -n 1 err)"
        fi
        if [ $name = MORE ] && [ $code != 0 ]; then goes_on "allocation $k"; fi
        k=$((k + each))
    done
    row "$1, each of $n allocations fails"
}
if [ -x "$root/test/bin/starved" ]; then
    export ASAN_OPTIONS=detect_stack_use_after_return=0
    ln -s "$root/test/bin/starved" .
    awk '{ sub(/}$/, ",\"annotator\":\"p" NR % 4 "\"}"); print }' b.train.jsonl > people.jsonl
    starve $training $often
    name=others
    starve inspect --model "$root/test/golden/gguf/qwen2.gguf"
    in=text.jsonl
    starve tokenize --tokenizer "$root/test/golden/tokenizers/tokenizer.model"
    in=a.test.jsonl
    starve score --model r $cut
    in=''
    starve eval --model r $cut --eval a.test.jsonl
    starve sample --model lm --prompts a.test.jsonl --max_new_tokens 5 --seed 1
    starve train em --model lm $cut --train people.jsonl --em_steps 1 --max_steps 2 --quiet --out o
    starve train features --train "$root/data/features/opinpref_features.valid.jsonl" \
        --num_train_epochs 1 --out o --quiet
else
    echo "test/bin/starved is missing (make test/bin/starved): failing allocations are left out"
fi

echo "crash: $attempts attempts, $losses losses"
[ $losses = 0 ]
