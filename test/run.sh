#!/bin/sh
# Runs tests side by side: programs, and files of test/commands.  Each prints into files of its
# own, which are shown when it has ended; what it wrote to standard error only if it failed.  The
# last line is "N passed, N failed".
#   sh test/run.sh TEST...           environment: JOBS, how many at a time (all cores); UNDER, what
#                                    programs are run by (valgrind), where anything does
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
printed=$(mktemp -d "${TMPDIR:-/tmp}/more-tests-XXXXXX") || exit 1
trap 'rm -rf "$printed"' EXIT
trap 'exit 1' HUP INT TERM
export printed
export OMP_WAIT_POLICY=passive               # threads that spin would wait for each other
unset MAKEFLAGS MFLAGS MAKELEVEL             # a test that calls make is not part of this one

# a line "TEST STATUS" for each that has ended
run_all() {
    printf '%s\n' "$@" | xargs -n 1 -P "$jobs" sh -c '
        case $0 in
        *.sh) sh "$0" ;;
        *) $UNDER "./$0" ;;
        esac > "$printed/${0##*/}" 2> "$printed/${0##*/}.err"
        echo "$0 $?"'
}

# show N: what each of N tests printed, and the sum
show() {
    missing=$1 passed=0 failed=0
    while read -r name status; do
        shown=$printed/${name##*/}
        missing=$((missing - 1))
        echo "$name"
        cat "$shown"
        line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$shown" | tail -n 1)
        p=${line%% passed*}
        f=${line#*, }
        f=${f%% failed*}
        # one that died, or failed without saying so, is a failure
        if [ -z "$line" ]; then f=1; fi
        if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
        if [ "$f" != 0 ]; then cat "$shown.err"; fi
        passed=$((passed + ${p:-0}))
        failed=$((failed + f))
    done
    failed=$((failed + missing))             # killed with the shell that ran it
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}

run_all "$@" | show $#
