# functions.sh - our exp, erf and the like over all floats: recorded digests of every 65537th, and
# largest errors.
. "$(dirname "$0")/lib.sh"

it "the_functions_have_the_recorded_digests_and_small_errors"
cc -O0 "$root/scripts/hash_functions.c" -o hash_functions -lm 2> err || fault "$(head -n 3 err)"
works ./hash_functions all 65537
cat > right << 'END'
expf 39fc8994830ad1d7
erff c0ed16d104406d19
tanhf c54f15f4b0fa69f7
sigmoidf 37d06c921f723bff
exp 5ba4ae097271c17b
log f22d0e246450ce2f
log1p c810f2516248724c
expm1 c6a9be243352886a
sin 0bb3118c5b099e0d
cos 6ff8a1fed806d8c7
END
awk '{ print $1, $4 }' out > is
same is right
awk '$6 == "ulp" && $5 > 4 { bad = 1 } END { exit bad }' out || fault "$(cat out)"
refused_use=$(./hash_functions nothing 2>&1)
[ $? = 64 ] || fault "$refused_use"

finish
