#!/bin/sh
# repro.sh - ten golden trainings on every target that can be built and run here: one hash each?
#
#     make repro                          all of them: an hour on two cores, most of it compilers
#     make repro TARGETS="s390x threads"  those whose names contain one of these words
#     sh scripts/repro.sh --list          their names, and the packages of Debian that they take
#     sh scripts/repro.sh --program NAME  builds a target's program and says how it is run
#
# A training reads test/golden/repro, on every target from the same files, and starts from the
# language model that the target itself has trained.  Its hash must be that of
# test/golden/repro/hashes.txt.  A target that is not installed is skipped, and the package named;
# nothing is installed, nothing asks for root or a network.  Programs stay in OUT (test/bin/repro)
# and are built again when a source is newer.  The last line is "N targets, N differ, N skipped".
# Environment: TARGETS, JOBS (all cores), OUT.
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
root=$PWD golden=$PWD/test/golden/repro out=${OUT:-test/bin/repro}
trainings="lm reward more ulma em"

# targets: a line each.  NAME | PACKAGES | COMPILER.. | RUN BY.. | OPTIONS OF TRAINING..
# No compiler: ./more as it is.  With a + before the compiler the layers alone are optimised, which
# takes a quarter of the time.  No words are quoted; RUN BY may begin with VARIABLE=VALUE.
targets() {
    grep -v "^$" <<END
./more|make|||
x86-64 scalar|make||MORE_ISA=scalar|
x86-64 AVX2|make||MORE_ISA=avx2|
x86-64 AVX-512|make||MORE_ISA=avx512|
x86-64 AVX512-BF16|make||MORE_ISA=avx512_bf16|
x86-64 AMX|make||MORE_ISA=amx|

gcc -O0|gcc|gcc -O0||
gcc -O1|gcc|gcc -O1||
gcc -O3 -march=native|gcc|gcc -O3 -march=native||
gcc -Os|gcc|gcc -Os||
gcc -O2 -flto|gcc|gcc -O2 -flto -fopenmp||
clang -O0|clang|clang -O0||
clang -O2|clang|clang -O2||
clang -O3 -march=native|clang|clang -O3 -march=native||
clang -O2 -flto|clang lld|clang -O2 -flto -fuse-ld=lld||
clang -O2 -fopenmp|clang libomp-dev|clang -O2 -fopenmp||
tcc|tcc|tcc||
musl|musl-tools|musl-gcc -O2 -static||

i686 SSE2|gcc-i686-linux-gnu|+i686-linux-gnu-gcc -O2 -msse2 -mfpmath=sse -static||
i686 SSE2 scalar|gcc-i686-linux-gnu|+i686-linux-gnu-gcc -O2 -msse2 -mfpmath=sse -static|MORE_ISA=scalar|
aarch64 NEON|gcc-aarch64-linux-gnu qemu-user|aarch64-linux-gnu-gcc -O2 -static|qemu-aarch64|
aarch64 scalar|gcc-aarch64-linux-gnu qemu-user|aarch64-linux-gnu-gcc -O2 -static|MORE_ISA=scalar qemu-aarch64|
armhf|gcc-arm-linux-gnueabihf qemu-user|+arm-linux-gnueabihf-gcc -O2 -static|qemu-arm|
armhf VFPv4|gcc-arm-linux-gnueabihf qemu-user|+arm-linux-gnueabihf-gcc -O2 -mfpu=neon-vfpv4 -static|qemu-arm|
armel|gcc-arm-linux-gnueabi qemu-user|+arm-linux-gnueabi-gcc -O2 -static|qemu-arm|
riscv64|gcc-riscv64-linux-gnu qemu-user|+riscv64-linux-gnu-gcc -O2 -static|qemu-riscv64|
s390x|gcc-s390x-linux-gnu qemu-user|s390x-linux-gnu-gcc -O2 -static|qemu-s390x|
ppc64le|gcc-powerpc64le-linux-gnu qemu-user|+powerpc64le-linux-gnu-gcc -O2 -static|qemu-ppc64le|
ppc64|gcc-powerpc64-linux-gnu qemu-user|+powerpc64-linux-gnu-gcc -O2 -static|qemu-ppc64|
ppc|gcc-powerpc-linux-gnu qemu-user|+powerpc-linux-gnu-gcc -O2 -static|qemu-ppc|
mips64|gcc-mips64-linux-gnuabi64 qemu-user|+mips64-linux-gnuabi64-gcc -O2 -static|qemu-mips64|
mips64el|gcc-mips64el-linux-gnuabi64 qemu-user|+mips64el-linux-gnuabi64-gcc -O2 -static|qemu-mips64el|
mips|gcc-mips-linux-gnu qemu-user|+mips-linux-gnu-gcc -O2 -static|qemu-mips|
mipsel|gcc-mipsel-linux-gnu qemu-user|+mipsel-linux-gnu-gcc -O2 -static|qemu-mipsel|
sparc64|gcc-sparc64-linux-gnu qemu-user|+sparc64-linux-gnu-gcc -O2 -static|qemu-sparc64|
wasm|emscripten nodejs|+emcc -O2 -sNODERAWFS=1 -sALLOW_MEMORY_GROWTH=1 -sTOTAL_STACK=4MB -sEXIT_RUNTIME=1 -sWASM_ASYNC_COMPILATION=0|node|

threads 1|make|||--threads 1
threads 2|make|||--threads 2
threads 3|make|||--threads 3
threads 7|make|||--threads 7
threads 16|make|||--threads 16
micro-batches of 1 text|make|||--micro_batch_tokens 1
micro-batches of 130 token rows|make|||--micro_batch_tokens 130 --threads 2
recompute|make|||--micro_batch_tokens 130 --recompute
German locale|locales||OUTSIDE=german|
rounding upward from outside|make||OUTSIDE=upward|
rounding toward zero from outside|make||OUTSIDE=zero|
flush-to-zero from outside|make||OUTSIDE=flush|
END
}

# The targets that were asked for, numbered by their lines.
chosen() {
    targets | awk -F '|' -v words="$TARGETS" '
        BEGIN { n = split(words, word, " ") }
        {
            wanted = !n
            for (i = 1; i <= n; i++) if (index($1, word[i])) wanted = 1
            if (wanted) print NR
        }'
}
# read_target NUMBER: $name, $packages, $compile, $by, $options; and $program, a file
read_target() {
    IFS='|' read -r name packages compile by options <<END
$(targets | sed -n "${1}p")
END
    program=$root/more
    if [ -n "$compile" ]; then
        program=$out/programs/$(printf %s "$compile" | tr -c 'A-Za-z0-9' _)
        case ${compile#+} in
        emcc*) program=$program.js ;;
        *mingw*) program=$program.exe ;;
        esac
    fi
}
# missing WORDS: the first command of a command line, if it is not there
missing() {
    for word in ${1#+}; do
        case $word in
        *=*) continue ;;
        esac
        command -v "$word" > /dev/null || echo "$word"
        return
    done
}

# compile: $program by $compile
compile() {
    cc=${compile#+}
    if [ "$cc" = "$compile" ]; then
        $cc more.c -o "$program" -lm
    else
        $cc -DMORE_OBJECT -c kernels.c -o "$program.o" &&
            $cc -O0 -DMORE_LINK_KERNELS more.c "$program.o" -o "$program" -lm
    fi
}
# build NUMBER: its program, unless it is newer than the sources; what the compiler says is in a log
build() {
    read_target "$1"
    if [ -z "$compile" ] || [ -n "$(missing "$compile")$(missing "$by")" ]; then return; fi
    if [ -e "$program" ] && [ -z "$(find ./*.[ch] commands files -name '*.[ch]' -newer "$program")" ]
    then return; fi
    rm -f "$program"
    compile > "$program.log" 2>&1 || rm -f "$program"
}

# words WHAT PRECISION: what `more train` is called with
words() {
    recipe="--max_steps 6 --learning_rate 0.001 --quiet --precision $2 $options"
    cut="$recipe --model lm-$2 --max_length 48 --max_prompt_length 24"
    case $1 in
    lm) echo "lm $recipe --train texts.jsonl --vocab_size 300 --hidden_size 24
        --num_hidden_layers 2 --num_attention_heads 2 --max_length 48 --per_step_tokens 48" ;;
    reward) echo "reward $cut --train pairs-2.jsonl --per_step_pairs 2" ;;
    more) echo "more $cut --train pairs-1.jsonl pairs-2.jsonl --per_step_pairs 2" ;;
    ulma) echo "ulma $cut --train points.jsonl --per_step_rows 4" ;;
    em) echo "em $cut --train pairs-2.jsonl --per_step_rows 2 --types 2 --by who --em_steps 1" ;;
    esac
}
# train_all: with $program, in a fresh folder; lines "WHAT PRECISION HASH..", of which the last
# one is "WHAT PRECISION failed: .." if the program did
train_all() {
    for precision in fp32 bf16; do
        for what in $trainings; do
            env $by "$program" train $(words $what $precision) --out $what-$precision > out 2> err || {
                echo "$what $precision failed: $(tail -n 1 err)"
                return
            }
            echo "$what $precision" $(tr -d '\r' < out | sed -n 's/^weights sha256 //p')
        done
    done
}
# says RESULTS: what came of a target
says() {
    awk '
        NR == FNR { right[$1 " " $2] = $0; n++; next }
        $3 == "failed:" { print; bad = 1; exit }
        $0 != right[$1 " " $2] { print "differs first in " $1 " " $2; bad = 1; exit }
        END { if (!bad) print "the same " n }' "$golden/hashes.txt" "$1"
}
# try NUMBER: a line about the target, and its results in a file
try() {
    read_target "$1"
    began=$(date +%s) said=
    lacks=$(missing "$compile")$(missing "$by")
    if [ -n "$lacks" ]; then
        said="skipped: no $lacks here: apt-get install $packages"
    elif [ ! -e "$program" ] && grep -q "'omp.h' file not found" "$program.log"; then
        said="skipped: no omp.h here: apt-get install $packages"
    elif [ ! -e "$program" ]; then
        said="did not build: $(grep -m 1 error "$program.log")"
    fi
    case $by in
    OUTSIDE=*)
        by="LD_PRELOAD=$out/outside.so LOCPATH=$out/locales LC_ALL=de_DE.UTF-8 $by"
        [ -e "$out/outside.so" ] || said="skipped: outside.so did not build"
        ;;
    MORE_ISA=*)
        if [ -z "$said" ] && ! env $by "$program" tokenize --model "$root/data/base" < /dev/null \
            > /dev/null 2> "$out/err-$1"; then
            said="skipped: $(tail -n 1 "$out/err-$1")"
        fi
        ;;
    esac
    if [ -z "$said" ]; then
        rm -rf "$out/run-$1"
        mkdir "$out/run-$1"
        cp "$golden"/*.jsonl "$out/run-$1"
        (cd "$out/run-$1" && train_all) > "$out/results-$1"
        said=$(says "$out/results-$1")
        rm -rf "$out/run-$1"
    fi
    printf '%-34s %s  (%d s)\n' "$name" "$said" $(($(date +%s) - began)) | tee "$out/said-$1"
}

if [ "$1" = --list ]; then
    targets | awk -F '|' '{ printf "%-34s %s\n", $1, $2 }'
    exit
fi
mkdir -p "$out/programs" || exit 1
out=$(cd "$out" && pwd)
export OUT="$out" OMP_WAIT_POLICY=passive
case $1 in
--build) build "$2" ;;
--program)
    read_target "$(targets | grep -n -m 1 "^$2|" | cut -d : -f 1)"
    lacks=$(missing "$compile")$(missing "$by")
    [ -z "$lacks" ] || { echo "no $lacks here: apt-get install $packages"; exit 1; }
    build "$(targets | grep -n -m 1 "^$2|" | cut -d : -f 1)"
    [ -e "$program" ] || { grep -m 1 error "$program.log"; exit 1; }
    echo "env $by $program"
    ;;
--try) try "$2" ;;
'')
    [ -n "$(chosen)" ] || { echo "no target has such a name; scripts/repro.sh --list"; exit 1; }
    rm -f "$out"/said-* "$out"/results-*
    {
        cc -shared -fPIC scripts/outside.c -o "$out/outside.so" -lm
        mkdir -p "$out/locales"
        localedef -i de_DE -f UTF-8 "$out/locales/de_DE.UTF-8"
    } > "$out/outside.log" 2>&1

    # of the targets that share a program one builds it
    for n in $(chosen); do
        read_target $n
        echo "$n $program"
    done | awk '!seen[$2]++ { print $1 }' | xargs -n 1 -P "$jobs" sh "$0" --build
    chosen | xargs -n 1 -P "$jobs" sh "$0" --try
    echo
    cat "$golden/hashes.txt"
    echo
    cat "$out"/said-* | awk '
        / skipped: / { skipped++; next }
        !/ the same / { differ++ }
        END {
            printf "%d targets, %d differ, %d skipped\n", NR - skipped, differ, skipped
            exit differ > 0
        }'
    ;;
esac
