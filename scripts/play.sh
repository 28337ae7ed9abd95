#!/bin/sh
# play.sh - what docs/play/ needs, beside its page, to train in a browser (make wasm).
#
#     sh scripts/play.sh          the program as WebAssembly, the base model and three small sets
#     sh scripts/play.sh data     the model and the sets alone
#     sh scripts/play.sh native   trains by docs/play/recipe.txt with ./more, and prints the hash
#
# The program is built twice, without vector instructions and with SIMD128; the page takes what the
# browser has.  It needs emcc: apt-get install emscripten.  To look at the page:
#
#     python3 -m http.server -d docs/play 8000        then http://localhost:8000
#
# Environment: OUT (docs/play), where files are written; EMCC (emcc).
cd "$(dirname "$0")/.." || exit 1
root=$PWD out=${OUT:-docs/play} emcc=${EMCC:-emcc}

# set_of NAME CHARACTERS: the lines of a set's training file that are shorter than that
set_of() { awk -v most="$2" 'length($0) < most' "data/$1.train.jsonl" > "$out/$1.jsonl"; }
copy_data() {
    mkdir -p "$out/base" "$out/licences" && cp data/base/* "$out/base" || exit 1
    cp data/licences/oasst1_en.* data/licences/pandalm.* data/licences/open_instruct_* "$out/licences"
    set_of oasst1_en 800
    set_of pandalm 450
    set_of tulu_human 700
}

# compile NAME FLAGS: $out/NAME.js and NAME.wasm
compile() {
    objects=test/bin/$1
    $emcc -std=c11 -O3 $2 -DMORE_OBJECT -c kernels.c -o "$objects-kernels.o" &&
        $emcc -O1 $2 test/bin/wasm-more.o "$objects-kernels.o" -o "$out/$1.js" \
            -sMODULARIZE=1 -sEXPORT_NAME=More -sINVOKE_RUN=0 -sEXIT_RUNTIME=1 \
            -sEXPORTED_RUNTIME_METHODS=FS,callMain -sFORCE_FILESYSTEM=1 -sENVIRONMENT=worker,node \
            -sALLOW_MEMORY_GROWTH=1 -sTOTAL_STACK=4MB || exit 1
}

case $1 in
data) copy_data ;;
native)
    copy_data
    cd "$out" && "$root/more" $(cat "$root/docs/play/recipe.txt") --out native --resume no
    ;;
'')
    if ! command -v "$emcc" > /dev/null; then
        echo "make wasm needs emcc: apt-get install emscripten"
        exit 1
    fi
    mkdir -p test/bin
    copy_data
    $emcc -std=c11 -Os -DMORE_LINK_KERNELS -c more.c -o test/bin/wasm-more.o || exit 1
    compile more
    compile more-simd -msimd128
    rm "$out/more-simd.js"                          # it is more.js
    ls -l "$out"
    ;;
*)
    echo "usage: sh scripts/play.sh [data | native]"
    exit 1
    ;;
esac
