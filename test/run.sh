#!/bin/sh
# Runs the test programs given, and the command line's tests; the last line is "N passed, N failed".
export OMP_WAIT_POLICY=passive              # tiny models: threads that spin would wait for each other on a busy machine
passed=0 failed=0
for t in "$@" "sh test/test_commands.sh"; do
    echo "$t"
    out=$($t 2>&1); status=$?
    echo "$out"
    line=$(echo "$out" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -n 1)
    p=${line%% passed*}; f=${line#*, }; f=${f%% failed*}
    passed=$((passed + ${p:-0})); failed=$((failed + ${f:-0}))
    # a program that died, or failed without saying so, is a failure
    if [ -z "$line" ] || { [ $status -ne 0 ] && [ "${f:-0}" -eq 0 ]; }; then failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
