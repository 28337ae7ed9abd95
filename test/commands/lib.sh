# lib.sh - what the tests of the commands share.
#
# Each file beside this one runs alone, from any folder, as `sh test/commands/sample.sh`; ./more
# must have been built.  It begins with
#
#     . "$(dirname "$0")/lib.sh"
#
# which makes a fresh folder and goes there; in it ./more is the program.  Then come tests: the
# sentence that a test proves, and the steps that prove it.  The last line of a file is `finish`.
#
#     it "a_pair_is_its_row_with_both_scores"
#     from rows.jsonl works ./more score --model r
#     lines 16 out
#     it "a_file_that_is_not_there_is_named"
#     refused 66 "no-such.jsonl: No such file" ./more eval --model r --eval no-such.jsonl
#     finish
#
# Steps that run a command; its standard output is then in `out`, the rest in `err`, its exit
# code in $code:
#
#     run COMMAND...                 whatever comes of it
#     works COMMAND...               it exits with 0
#     refused CODE TEXT COMMAND...   it exits with CODE; its last line is "more: ... TEXT ..."
#     from FILE STEP...              the same, with FILE as standard input
#     interrupted SIGNAL FILE TEXT COMMAND...
#                                    it gets --out killed, and the signal as soon as FILE is in
#                                    that folder and holds TEXT
#
# Steps that look at what came of it; a PATTERN is a basic regular expression:
#
#     holds FILE PATTERN             a line matches
#     lacks FILE PATTERN             no line does
#     counts N FILE PATTERN          N lines do
#     lines N FILE                   FILE has N lines
#     same A B                       the files are equal
#     differ A B TEXT                they are not; or else TEXT is wrong
#     fault TEXT                     notes that TEXT is wrong with the running test
#
# Values:
#
#     $(sha)                         the hash of the weights that the last command printed
#     $(field FILE KEY)              the value of a key in every line of JSON
#     $(instruction_sets)            those of this machine, as MORE_ISA takes them
#
# The data and models that tests share are made by the functions make_..., at the end; a file of
# tests calls those it needs.

passed=0 failed=0 sentence='' bad='' in=''
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
[ -x "$root/more" ] || { echo "$root/more is missing: run make"; exit 1; }
t=$(mktemp -d "${TMPDIR:-/tmp}/more-commands-XXXXXX") || exit 1
trap 'rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM
cd "$t" || exit 1
if [ -n "$UNDER" ]; then                                # valgrind, with its options
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$UNDER" "$root/more" > more
    chmod +x more
else
    ln -s "$root/more" more
fi
# tiny models: one thread, except where --threads says otherwise; threads that wait sleep
export LC_ALL=C OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

it() {
    end_test
    sentence=$1
}
end_test() {
    [ -n "$sentence" ] || return 0
    if [ -z "$bad" ]; then
        passed=$((passed + 1))
        echo "ok     $sentence"
    else
        failed=$((failed + 1))
        echo "FAILED $sentence"
    fi
    sentence='' bad=''
}
finish() {
    end_test
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
}
fault() {
    bad=1
    printf '    %s\n' "$*"
    if [ -z "$sentence" ]; then                        # before the first test nothing may fail
        echo "0 passed, 1 failed"
        exit 1
    fi
}

run() {
    "$@" > out 2> err < "${in:-/dev/null}"
    code=$?
}
from() {
    in=$1
    shift
    "$@"
    in=''
}
works() {
    run "$@"
    [ $code = 0 ] || fault "exit $code: $* : $(tail -n 1 err)"
}
refused() {
    want=$1 text=$2
    shift 2
    run "$@"
    [ $code = "$want" ] || fault "exit $code, not $want: $*"
    last=''
    while IFS= read -r line; do last=$line; done < err
    case "$last" in
    "more: "*"$text"*) ;;
    *) fault "$last, not ...$text...: $*" ;;
    esac
}

# The signal comes when it comes: where the run had ended before, another is begun
interrupted() {
    signal=$1 file=$2 text=$3
    shift 3
    for attempt in 1 2 3 4 5 6 7 8 9; do
        rm -rf killed
        "$@" --out killed > out 2> err < /dev/null &
        pid=$!
        for poll in $(awk 'BEGIN { for (i = 0; i < 2000; i++) print i }'); do
            if grep -q -e "$text" "killed/$file" 2> x.out; then break; fi
            if [ -e killed/more_receipt.json ]; then break; fi      # the last file of a run
            sleep 0.01
        done
        kill -$signal $pid 2> x.out
        { wait $pid; } 2> x.out
        code=$?
        # where FILE still is, the part of the run that made it had not ended either
        if [ $code != 0 ] && grep -q -e "$text" "killed/$file" 2> x.out; then return; fi
    done
    fault "exit $code: it had ended before SIG$signal: $(tail -n 1 err)"
}
holds() { grep -q -e "$2" "$1" || fault "$1 does not hold $2: $(head -n 5 "$1")"; }
lacks() {
    [ -f "$1" ] || fault "no file $1"
    ! grep -e "$2" "$1" || fault "$1 holds $2"
}
counts() {
    found=$(grep -c -e "$3" "$2")
    [ "$found" = "$1" ] || fault "$2 has $found lines, not $1, of $3: $(head -n 5 "$2")"
}
lines() {
    found=$(($(wc -l < "$2")))
    [ "$found" = "$1" ] || fault "$2 has $found lines, not $1"
}
same() { cmp -s "$1" "$2" || fault "$1 and $2 differ"; }
differ() {
    cmp -s "$1" "$2"
    [ $? = 1 ] || fault "$3"
}

sha() { sed -n 's/^weights sha256 \([0-9a-f]\{64\}\)$/\1/p' out; }
field() { sed "s#.*\"$2\":\(\[[^]]*\]\|\"[^\"]*\"\|[^,}]*\).*#\1#" "$1"; }
instruction_sets() {
    for isa in scalar avx2 avx512 avx512_bf16 amx neon; do
        if MORE_ISA=$isa ./more inspect --model lm > isa.out 2>&1; then echo $isa; fi
    done
}

# ------------------------------------------------------------------------- small files, tiny models

# sentences KIND ROWS SEED: texts; or pairs, of which the chosen one says yes more often
sentences() {
    awk -v kind="$1" -v rows="$2" -v x="$3" '
    function below(n) { x = x * 16807 % 2147483647; return int(x / 1000) % n }
    function say(n,  s, i) {
        for (i = 0; i < n; i++) s = s (i ? " " : "") word[below(20)]
        return s
    }
    BEGIN {
        words = "sky sea blue green red cat dog sees likes runs over under tree house and then"
        split(words " not is was big", w, " ")
        for (i in w) word[i - 1] = w[i]
        pair = "{\"prompt\":\"\\n\\nHuman: %s?\\n\\nAssistant:\",\"chosen\":\" yes %s yes\"," \
               "\"rejected\":\" no %s\"}\n"
        for (r = 0; r < rows; r++)
            if (kind == "text") printf "{\"text\":\"%s.\"}\n", say(30)
            else printf pair, say(5), say(2 + below(4)), say(2 + below(5))
    }'
}

# text.jsonl, other.jsonl: texts; {a,b,c}.train.jsonl, {a,b}.test.jsonl: pairs
make_data() {
    sentences text 30 1 > text.jsonl
    sentences text 6 2 > other.jsonl
    sentences pair 18 3 > a.train.jsonl
    sentences pair 24 4 > b.train.jsonl
    sentences pair 12 5 > c.train.jsonl
    sentences pair 16 6 > a.test.jsonl
    sentences pair 8 7 > b.test.jsonl
}
abc="a.train.jsonl b.train.jsonl c.train.jsonl"

# lm: a language model of text.jsonl
new="--vocab_size 300 --hidden_size 32 --num_hidden_layers 2 --num_attention_heads 2
     --max_length 64 --per_step_tokens 300 --learning_rate 3e-3"
make_lm() {
    works ./more train lm $new --train text.jsonl --eval other.jsonl --out lm
    lm_sha=$(sha)
}
# lm2: one with another tokenizer
make_lm2() {
    works ./more tokenize --learn 258 --train text.jsonl --out tok
    works ./more train lm $new --train text.jsonl --tokenizer tok/tokenizer.json --max_steps 1 \
        --out lm2 --quiet
}

# r: a reward model of the pairs of a, b and c
cut="--max_length 96 --max_prompt_length 48"
recipe="$cut --learning_rate 1e-3 --per_step_pairs 6 --max_steps 4 --quiet"
pairs="--model lm $recipe"
make_reward() {
    works ./more train reward $pairs --train $abc --out r
    r_sha=$(sha)
}
# s-a, s-b: of a alone and of b alone, the second with the mean of the hidden states
make_singles() {
    works ./more train reward $pairs --train a.train.jsonl --eval a.test.jsonl --out s-a
    works ./more train reward $pairs --train b.train.jsonl --pooling mean --out s-b
}

# points.jsonl: each row of a.train.jsonl as its chosen answer with the label true, or as its
# rejected one with false; demos.jsonl: the true ones, as completions
policy="--model lm $cut --learning_rate 1e-3 --per_step_rows 6"
make_points() {
    awk '{
        p = $0
        if (NR % 2) {
            sub(/"chosen":/, "\"completion\":", p)
            sub(/,"rejected":.*/, ",\"label\":true}", p)
        } else {
            sub(/"chosen":.*,"rejected":/, "\"completion\":", p)
            sub(/}$/, ",\"label\":false}", p)
        }
        print p
    }' a.train.jsonl > points.jsonl
    grep true points.jsonl | sed 's/,"label":true//' > demos.jsonl
}
# of.jsonl: the rows of a.train.jsonl, each with one of three annotators; who.json: their two groups
make_groups() {
    awk '{ sub(/}$/, ",\"who\":\"h" (NR * NR % 7 % 3) "\"}"); print }' a.train.jsonl > of.jsonl
    echo '{"h0":"few","h1":"many","h2":"many"}' > who.json
}
# ranks.jsonl: rankings of three to five answers, best first, the last two of five equally good;
# best.jsonl: of the same rows a best answer and the rest; written.jsonl: each two answers as a
# pair; and the same of a.test.jsonl: ranks.test.jsonl, ...
make_rankings() {
    write_rankings .jsonl a.train.jsonl
    write_rankings .test.jsonl a.test.jsonl
}
write_rankings() {
    awk -v to="$1" '
    function answer(text) { return "\"" text "\"" }
    {
        split($0, part, /"(chosen|rejected)":/)
        prompt = part[1]
        good = substr(part[2], 2, length(part[2]) - 3)
        bad = substr(part[3], 2, length(part[3]) - 3)
        m = 3 + NR % 3
        a[1] = good; a[2] = bad " yes"; a[3] = bad; a[4] = bad " no"; a[5] = bad " no no"
        ranks = list = rest = ""
        for (i = 1; i <= m; i++) {
            place[i] = i < 5 ? i : 4
            list = list (i > 1 ? "," : "") answer(a[i])
            ranks = ranks (i > 1 ? "," : "") place[i]
            if (i > 1) rest = rest (i > 2 ? "," : "") answer(a[i])
        }
        print prompt "\"completions\":[" list "],\"ranks\":[" ranks "]}" > ("ranks" to)
        print prompt "\"chosen\":" answer(a[1]) ",\"rejected\":[" rest "]}" > ("best" to)
        for (i = 1; i <= m; i++)
            for (k = i + 1; k <= m; k++)
                if (place[i] != place[k])
                    print prompt "\"chosen\":" answer(a[i]) ",\"rejected\":" answer(a[k]) "}" \
                        > ("written" to)
    }' "$2"
}
# talk.jsonl: conversations of three turns of the assistant, two of them the same; turn1.jsonl,
# turn2.jsonl, turn3.jsonl: each turn as a completion behind all that was said before
make_talk() {
    awk '
    function message(role, text) {
        return "{\"role\":\"" role "\",\"content\":\"" text "\"}"
    }
    function talk(questions, answers,  q, a, n, i, all, before) {
        n = split(questions, q, ",")
        split(answers, a, ",")
        for (i = 1; i <= n; i++) {
            all = all (i > 1 ? "," : "") message("user", q[i]) "," message("assistant", a[i])
            before = before "\\n\\nHuman: " q[i] "\\n\\nAssistant:"
            printf "{\"prompt\":\"%s\",\"completion\":\" %s\"}\n", before, a[i] > "turn" i ".jsonl"
            before = before " " a[i]
        }
        printf "{\"messages\":[%s]}\n", all > "talk.jsonl"
    }
    BEGIN {
        talk("a sky,a sea,a cat", "is blue,is not blue,runs")
        talk("a tree,a house,a dog", "is green,is not green but red,likes a cat")
        talk("a sky,a sea,a cat", "is blue,is not blue,runs")
    }' < /dev/null
}
# rows_of OBJECTIVE: a file that a policy of this kind trains on
rows_of() {
    case $1 in
    dpo | ipo | orpo | simpo) echo a.train.jsonl ;;
    *) echo points.jsonl ;;
    esac
}
objectives="sft dpo ipo pointwise-dpo ulma unlikelihood kto orpo simpo"
