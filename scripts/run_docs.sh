#!/bin/sh
# run_docs.sh - runs the commands of README.md and docs/*.md, and looks for what the pages show
#
#     sh scripts/run_docs.sh [--slow] [--list] [--help-examples] [--own FOLDER] [DOCUMENT...]
#
# A block of commands is indented by four columns, or fenced as console behind "$ ".  The blocks of
# a document run in their order in one folder, with ./more, data/ and small files and models that
# stand for the reader's own (make_own, below).  A block fenced as text is what they print: each of
# its lines must have been printed, in that order, to the digit.  A comment before a block, which a
# reader does not see, says what is not done here:
#
#     <!-- not run: needs a GPU -->      listed, with the reason
#     <!-- slow -->                      run with --slow alone, in a copy of the repository
#     <!-- slow: make run -->            and then this command alone
#
# --help-examples: the examples of `more COMMAND --help` instead.  --list: what would be run.  --own:
# a folder instead of those small files.
slow= list= examples= own= failed=0
while :; do
    case $1 in
    --slow) slow=1 ;;
    --list) list=1 ;;
    --help-examples) examples=1 ;;
    --own)
        own=$(cd "$2" && pwd) || exit 1
        shift ;;
    *) break ;;
    esac
    shift
done
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
[ -n "$*" ] || set -- README.md docs/*.md
[ -x ./more ] || { echo "more is missing: run make"; exit 1; }
t=$(mktemp -d "${TMPDIR:-/tmp}/more-docs-XXXXXX") || exit 1
trap 'rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM

# blocks DOCUMENT FOLDER: each block as a file N, of which the first line is "KIND LINE MARK"
blocks() {
    awk -v folder="$2" '
    function is_command(line) {
        return line ~ /^(\.\/more|more|make|sh|cc|git|python3|apt-get|emcc|[a-z]+=|[A-Z]+=)[ "]/ ||
               line ~ /^(make|[.]\/more)$/
    }
    function finish(kind,  first) {
        if (kind == "") {
            first = body
            while (first ~ /^#/) sub(/^[^\n]*\n/, "", first)
            sub(/\n.*/, "", first)
            kind = is_command(first) ? "commands" : "other"
        }
        printf "%s %d %s\n%s", kind, from, mark, body > sprintf("%s/%03d", folder, ++n)
        body = mark = ""
        inside = 0
    }
    fence && /^```/ {
        finish(fence == "console" ? "commands" : fence == "text" ? "text" : "other")
        fence = ""
        next
    }
    fence == "console" { if (sub(/^\$ /, "")) body = body $0 "\n"; next }
    fence { body = body $0 "\n"; next }
    inside && /^    / { if (body == "") from = NR; body = body substr($0, 5) "\n"; next }
    inside && body != "" { kept = mark; finish(""); mark = kept; inside = 1 }
    inside && !NF { next }
    inside { inside = 0; mark = "" }
    /^<!-- (not run: .*|slow.*) -->$/ { mark = substr($0, 6, length - 9); next }
    /^```/ { fence = $0 == "```" ? "other" : substr($0, 4); from = NR + 1; next }
    /^    / && !before { inside = 1; from = NR; body = substr($0, 5) "\n"; next }
    { before = NF }
    NF { mark = "" }
    END { if (body != "") finish("") }' "$1"
}

# what documents name as the reader's own: rows and models, small ones
make_own() {
    if [ -n "$slow" ]; then
        (cd "$root" && tar cf - --exclude .git --exclude run .) | tar xf -
    else
        ln -s "$root/more" "$root/data" "$root/NUMERICS.md" "$root/LICENSE" "$root/scripts" .
    fi
    head -n 24 data/em_persona.train.jsonl > mine.jsonl
    tail -n 16 data/em_persona.train.jsonl > pairs.jsonl
    awk '{
        f = sprintf(",\"features\":{\"chosen\":{\"a\":%d,\"b\":%d},\"rejected\":{\"a\":%d,\"b\":%d}}}",
                    NR % 7, NR % 3, NR % 4, NR % 5)
        sub(/}$/, f)
        print
    }' pairs.jsonl > held_out.jsonl
    sed 's/"prompt".*"annotator"/"annotator"/' held_out.jsonl > numbers.jsonl
    awk 'BEGIN { print "chosen.a,rejected.a,chosen.b,rejected.b" }
         { print NR % 7 "," NR % 4 "," NR % 3 "," NR % 5 }' pairs.jsonl > numbers.csv
    for own in rows your helpful labelled; do cp mine.jsonl $own.jsonl; done
    for own in harmless prompts; do cp pairs.jsonl $own.jsonl; done
    tail -n 400 data/em_persona.train.jsonl > other.jsonl            # several rows of each annotator
    sed 's/"chosen"/"completion"/; s/,"rejected":.*/}/' mine.jsonl > demonstrations.jsonl
    awk '{ sub(/}$/, ",\"label\":" (NR % 2 ? "true}" : "false}")); print }' demonstrations.jsonl \
        > points.jsonl
    awk '{ sub(/}$/, ",\"score\":" NR % 5 "}"); print }' demonstrations.jsonl > judged.jsonl
    awk 'length < 1500' data/vicuna80_rank.train.jsonl | head -n 8 > rankings.jsonl
    grep '[a-z]' NUMERICS.md | sed 's/[\\"]/\\&/g; s/.*/{"text":"&"}/' > texts.jsonl

    few="--max_steps 1 --per_step_rows 8 --quiet"
    ./more train sft --model data/base --train mine.jsonl $few --out sft &&
        ./more train dpo --model sft --train mine.jsonl $few --out dpo &&
        ./more train reward --model data/base --train mine.jsonl --max_steps 1 --quiet --out rm ||
        return 1
    cp -R dpo type0
    cp -R sft type1
    cp -R dpo ulma
    cp -R rm rm1
    cp -R rm rm2
    cp -R rm theirs
    cp -R rm colleagues-rm
    cp -R sft LM
    ln -s data/base base
    mkdir elsewhere
    cp mine.jsonl elsewhere
}

say() { echo "$document:$line: $*"; }

# missing BLOCK: the first of its lines that was not printed behind those before it
missing() {
    sed 1d "$1" | awk '
        NR == FNR { sub(/ +$/, ""); if ($0 != "") want[++n] = $0; next }
        { sub(/ +$/, "") }
        $0 == want[at + 1] { at++ }
        END { if (at < n) print want[at + 1] }' - "$here/printed"
}

# an error ends a block; that files differ, which diff says with 1, is none
stop_at_errors='
    trap '"'"'
        code=$?
        [[ $code = 1 && $BASH_COMMAND =~ ^(\./more diff |\. ) ]] || exit $code'"'"' ERR
    . "$1"
    exit 0'

# run_document: its blocks, in a folder of its own
run_document() {
    here=$t/$(basename "$document" .md)
    mkdir "$here" "$here/blocks"
    blocks "$document" "$here/blocks"
    [ -n "$list" ] || cp -R "$t/own" "$here/at"
    : > "$here/printed"
    skipped=
    for block in "$here"/blocks/*; do
        [ -f "$block" ] || continue
        read -r kind line mark < "$block"
        case "$kind $mark" in
        commands\ not\ run:*)
            say "$mark"
            skipped=1
            continue ;;
        commands\ slow*)
            if [ -z "$slow" ]; then
                say "not run: slow"
                skipped=1
                continue
            fi ;;
        text\ *)
            [ -n "$list" ] && continue
            lost=$(missing "$block")
            if [ -z "$lost" ]; then
                say "shown as printed"
            elif [ -n "$skipped" ]; then
                say "not compared: what prints it was not run"
            else
                say "FAILED: not printed: $lost"
                failed=$((failed + 1))
            fi
            continue ;;
        other\ *) continue ;;
        esac
        if [ -n "$list" ]; then
            say "run"
            continue
        fi
        case $mark in
        slow:*) echo "${mark#slow: }" > "$here/script" ;;
        *) sed 1d "$block" > "$here/script" ;;
        esac
        began=$(date +%s)
        if (cd "$here/at" && bash -c "$stop_at_errors" - "$here/script") > "$here/out" 2>&1 \
            < /dev/null; then
            say "ok, $(($(date +%s) - began)) s"
        else
            say "FAILED: $(tail -n 1 "$here/out")"
            failed=$((failed + 1))
        fi
        cat "$here/out" >> "$here/printed"
    done
    rm -rf "$here"
}

# the example of each command's help, in the order of the list
run_examples() {
    cd "$t/own" || exit 1
    COLUMNS=500 ./more --help | sed -n 's/^    more \(train [a-z-]*\|[a-z]*\) .*/\1/p' > ../commands
    while read -r document; do
        line=$(COLUMNS=500 ./more $document --help | awk '/^  example$/ { getline; print; exit }')
        if sh -c "$line" > ../out 2>&1 < /dev/null; then
            say ok
        else
            say "FAILED: $(tail -n 1 ../out)"
            failed=$((failed + 1))
        fi
    done < ../commands
}

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
unset NO_COLOR COLUMNS
if [ -n "$own" ]; then
    cp -R "$own" "$t/own"
elif [ -z "$list" ]; then
    mkdir "$t/own"
    (cd "$t/own" && make_own) > "$t/out" 2>&1 || { tail -n 1 "$t/out"; exit 1; }
fi
if [ -n "$examples" ]; then
    run_examples
else
    for document; do run_document; done
fi
[ -n "$list" ] || echo "$failed failed"
[ $failed = 0 ]
