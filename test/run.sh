#!/bin/sh
# Runs tests side by side: programs, and files of test/commands.  Each prints into a file of its
# own, which is shown when it has ended.  The last line is "N passed, N failed".
#   sh test/run.sh TEST...           environment: JOBS, how many at a time (all cores)
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
        *) "./$0" ;;
        esac > "$printed/${0##*/}" 2>&1
        echo "$0 $?"'
}

# shows what each printed, and adds up
show() {
    passed=0 failed=0
    while read -r name status; do
        echo "$name"
        cat "$printed/${name##*/}"
        line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$printed/${name##*/}" | tail -n 1)
        p=${line%% passed*}
        f=${line#*, }
        f=${f%% failed*}
        # one that died, or failed without saying so, is a failure
        if [ -z "$line" ]; then f=1; fi
        if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
        passed=$((passed + ${p:-0}))
        failed=$((failed + f))
    done
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}

run_all "$@" | show
