#!/bin/sh
# sanitize.sh - the tests of `make quick` with what watches a program while it runs: nothing is to
# be reported.
#
#     make sanitize                                  all of them: an hour
#     sh test/slow/sanitize.sh thread valgrind       these
#     SANITIZE_TESTS=test make sanitize              every test, not only the quick ones: hours
#
#     address, undefined    gcc's, with conversions of numbers that are too large
#     clang                 the same of clang
#     thread                clang's, of the loops that run on several threads: OpenMP tells it what
#                           waits for what by its libarcher, without which all is a race
#     valgrind              of a normal build with AVX2, which is as much as it knows; without
#                           options.sh and policy.sh, which start the program 719 times, also to
#                           train: an hour of processor time more
#
# Each is built in a copy of the tree.  A line for each; the last is "sanitize: N runs, M with
# faults".
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
t=$(mktemp -d "${TMPDIR:-/tmp}/more-sanitize-XXXXXX") || exit 1
trap 'rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM
what=${SANITIZE_TESTS:-quick}
runs=0 faults=0
unset MAKEFLAGS MFLAGS MAKELEVEL             # make below has cores of its own
cp -r "$root"/*.c "$root"/*.h "$root"/*.cu "$root"/*.md "$root/Makefile" "$root/commands" "$root/files" \
    "$root/scripts" "$root/docs" "$root/test" "$t"
ln -s "$root/data" "$t/data"
cd "$t" || exit 1
rm -rf test/bin test/debug

# tested NAME SETTING...: what came of the tests of such a build
tested() {
    name=$1
    shift
    make clean > /dev/null
    runs=$((runs + 1))
    if ! make "$@" more > log 2>&1; then
        faults=$((faults + 1))
        echo "$name: it could not be built: $(grep -m 1 -i error log)"
        return
    fi
    make "$@" "$what" > log 2>&1
    status=$?
    echo "$name: $(grep -E '^[0-9]+ passed, [0-9]+ failed$' log | tail -n 1)"
    if [ $status != 0 ] || grep -q -e 'runtime error:' -e 'ERROR: .*Sanitizer' log; then
        faults=$((faults + 1))
        grep -e FAILED -e 'runtime error:' -e 'Sanitizer' -e '^==[0-9]*== [A-Z]' log | head -n 20
    fi
}
# missing NAME PACKAGE: it is left out
missing() { echo "$1: left out: apt-get install $2"; }

checks="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=undefined"
checks="$checks -fno-sanitize-recover=float-cast-overflow"
for part in ${*:-address clang thread valgrind}; do
    case $part in
    address)
        export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
        tested "address, undefined, float-cast-overflow (gcc)" CC=gcc TEST_CFLAGS=-O0 \
            CFLAGS="-O1 -g -DMORE_DEBUG $checks"
        ;;
    clang)
        command -v clang > x.out || { missing clang "clang libclang-rt-dev"; continue; }
        export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
        # a pointer of no array plus 0 is that pointer, which clang has doubts about
        tested "address, undefined, float-cast-overflow (clang)" CC=clang OPENMP= TEST_CFLAGS=-O0 \
            CFLAGS="-O1 -g -DMORE_DEBUG $checks -fno-sanitize=pointer-overflow"
        ;;
    thread)
        echo 'int main(void) { return 0; }' > x.c
        archer=$(clang -fopenmp -print-file-name=libarcher.so 2> x.out)
        if [ ! -e "$archer" ]; then           # Debian has it beside the compiler's own libraries
            archer=$(dirname "$(readlink -f "$(command -v clang)")")/../lib/libarcher.so
        fi
        if [ ! -e "$archer" ] || ! clang -fopenmp -fsanitize=thread x.c -o x.out 2> x.err; then
            missing thread "clang libclang-rt-dev libomp-dev"
            continue
        fi
        export OMP_TOOL_LIBRARIES="$archer" OMP_NUM_THREADS=4
        export TSAN_OPTIONS=ignore_noninstrumented_modules=1
        tested "thread (clang)" CC=clang OPENMP=-fopenmp TEST_CFLAGS=-O0 \
            CFLAGS="-O1 -g -DMORE_DEBUG -fsanitize=thread" QUICK_COMMANDS=test/commands/bits.sh \
            QUICK_TESTS="$(echo test/bin/test_kernels test/bin/test_matmul test/bin/test_model \
                test/bin/test_grad test/bin/test_policy test/bin/test_reward test/bin/test_train)"
        unset OMP_TOOL_LIBRARIES OMP_NUM_THREADS TSAN_OPTIONS
        ;;
    valgrind)
        command -v valgrind > x.out || { missing valgrind valgrind; continue; }
        export UNDER="valgrind -q --error-exitcode=99 --leak-check=full"
        UNDER="$UNDER --errors-for-leak-kinds=definite,indirect,possible"
        export MORE_ISA=avx2
        tested valgrind CC=gcc OPENMP= CFLAGS="-O1 -g" QUICK_COMMANDS="$(echo \
            test/commands/usage.sh test/commands/train.sh test/commands/eval.sh \
            test/commands/score.sh)"
        unset UNDER MORE_ISA
        ;;
    esac
done
echo "sanitize: $runs runs, $faults with faults"
[ $faults = 0 ]
