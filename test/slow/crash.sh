#!/bin/sh
# crash.sh - nothing is lost: a training run is killed, refused the disk, starved and damaged in
# every way below, goes on each time, and must end with the hash of the run that nobody disturbed.
#
#     make crash                     everything: hours
#     sh test/slow/crash.sh 25       every 25th disk call, 25 times fewer kills at random: minutes
#
# A run whose weights find no disk waits for it, and is killed after some seconds.  strace makes
# calls to the system kill the run or fail; without it those rows are left out and said.  The last
# line is "crash: N attempts, M losses".
. "$(dirname "$0")/../commands/lib.sh"
each=${1:-1}
attempts=0 losses=0
make_data
make_lm
training="train more --model lm $recipe --max_steps 6 --train $abc"
often="--save_steps 1 --out o"
works ./more $training --out straight
hash=$(sha)
[ ${#hash} = 64 ] || { echo "no straight run: $(tail -n 1 err)"; exit 1; }

# goes_on WHAT: whatever happened to the folder o, the same command ends with the hash
goes_on() {
    attempts=$((attempts + 1))
    run ./more $training $often
    if [ $code = 0 ] && [ "$(sha)" = "$hash" ] && [ -z "$(ls o | grep '\.tmp$')" ]; then return; fi
    losses=$((losses + 1))
    echo "LOST: $1: exit $code: $(tail -n 1 err)"
}
# whole WHAT: the model in o, if there is one, loads
whole() {
    if [ ! -e o/config.json ]; then return; fi
    run ./more inspect --model o
    if [ $code = 0 ]; then return; fi
    losses=$((losses + 1))
    echo "LOST: $1: the folder does not load: $(tail -n 1 err)"
}
# row NAME: what has been tried since the last one
row() {
    echo "$1: $((attempts - tried)) attempts, $((losses - lost)) losses"
    tried=$attempts lost=$losses
}
tried=0 lost=0

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
        timeout -s KILL 6 strace -f -o x.out -e inject="$1:$2:when=$k" ./more $training $often > out 2> err
        whole "$1 $2 $k"
        goes_on "$1 $2 $k"
        k=$((k + each))
    done
    row "$1, $2 at each of $n calls"
}
if strace -f -o x.out true 2> x.err; then
    for call in openat write fsync close rename unlink ftruncate; do inject $call signal=KILL; done
    for how in write:error=ENOSPC write:error=EIO fsync:error=EIO close:error=EIO \
        rename:error=EACCES openat:error=EMFILE unlink:error=EACCES; do
        inject ${how%%:*} ${how#*:}
    done
else
    echo "strace is missing (apt-get install strace): kills and errors at each call are left out"
fi

# kills at random, again and again in one run, until it is through
kills=$((1000 / each))
x=7 killed=0
while [ $killed -lt $kills ]; do
    rm -rf o
    for life in 1 2 3 4 5 6 7 8 9 10; do
        x=$((x * 16807 % 2147483647))
        timeout -s KILL 0.$(printf %03d $((x % 150 + 5))) ./more $training $often > out 2> err && break
        killed=$((killed + 1))
        whole "a kill at random"
    done
    goes_on "kills at random"
done
row "$killed kills at random"

# a disk that is full for a while: files may not grow beyond so many blocks
for blocks in 1 2 20 100 150 280 400 850; do
    rm -rf o
    (ulimit -f $blocks && timeout -s KILL 3 ./more $training $often > out 2> err)
    whole "ulimit -f $blocks"
    goes_on "ulimit -f $blocks"
done
row "files that cannot grow"

# too little memory
for kib in 20000 40000 60000 80000 120000; do
    rm -rf o
    (ulimit -v $kib && timeout -s KILL 20 ./more $training $often > out 2> err)
    whole "ulimit -v $kib"
    goes_on "ulimit -v $kib"
done
row "too little memory"

# a folder in use, planted links
rm -rf o
mkdir o
: > victim
flock o/more.lock sleep 3 &
run ./more $training $often
[ $code = 75 ] || [ $code = 0 ] || { losses=$((losses + 1)); echo "LOST: a lock: exit $code"; }
wait
goes_on "a lock of another"
for name in state-1.bin model.safetensors log.jsonl more.lock; do
    rm -rf o
    mkdir o
    ln -s ../victim o/$name
    run ./more $training $often
    [ ! -s victim ] || { losses=$((losses + 1)); echo "LOST: $name: a link was followed"; }
    rm -f o/$name
    goes_on "a link at $name"
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
    [ $code = 65 ] || { losses=$((losses + 1)); echo "LOST: byte $at changed: exit $code"; }
    rm -f o/state-$last.bin
    goes_on "byte $at of a state changed"
    at=$((at + 9973 * each))
done
row "damaged states"

echo "crash: $attempts attempts, $losses losses"
[ $losses = 0 ]
