# identify.sh - which answers tell types of people apart: the theory's three cases.
. "$(dirname "$0")/lib.sh"

it "one_pair_a_person_does_not_tell_types_apart_and_three_options_or_four_pairs_do"
works ./more identify
# a line is: name, of several words; chance, truth, one type, LOW..HIGH, LOW..HIGH, apart, falls
sed 's/\.\./ /g' out | awk '
    function near(a, b, d) { return a - b < d && b - a < d }
    / [0-9.]+ +[0-9]+$/ && /-[0-9]/ {
        n = NF
        chance = $(n-8); one = $(n-6); low = $(n-5); high = $(n-4); error = $(n-2)
        apart = $(n-1); falls += $n; lines++
        if (!near(one, chance, 5e-4)) exit 1
        if (/^one pair/ && !(near(low, chance, 5e-4) && near(high, chance, 5e-4))) exit 2
        if (/^one pair/ && apart <= 1) exit 3
        if (/^(best|four)/ && !(apart < 1e-3 && error < 0.3 && low > one + 0.05)) exit 4
    }
    END { if (lines != 3 || falls) exit 5 }' || fault "$(cat out)"
holds out '^one pair: starts end up to [1-9]'
holds out '^best of three: all starts find the same types, at most 0.00'
holds out '^four pairs: all starts find the same types, at most 0.00'
holds out '^best of three  -1.098612 '
holds out '^four pairs     -2.772589 '

finish
