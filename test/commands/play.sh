# play.sh - the recipe of docs/play/, whose hash a browser must reach.
. "$(dirname "$0")/lib.sh"

it "the_recipe_of_the_page_has_the_hash_that_it_shows"
works env OUT="$t/play" sh "$root/scripts/play.sh" native
[ "$(sha)" = "$(cat "$root/docs/play/hash.txt")" ] || fault "$(sha)"

it "without_emcc_the_package_is_named"
run env OUT="$t/play" EMCC=no-such-emcc sh "$root/scripts/play.sh"
holds out "^make wasm needs emcc: apt-get install emscripten$"
lines 1 out
[ "$code" = 1 ] || fault "exit code $code"
finish
