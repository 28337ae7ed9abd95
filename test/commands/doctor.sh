# doctor.sh - what training would see of some files, and the traps in them.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_points

# doctor FILE [OPTION...]: of a file to train on
doctor() {
    file=$1
    shift
    run ./more doctor --model lm $cut --train "$file" "$@"
}
# a_trap TEXT FILE [OPTION...]: it exits with 1 and has this one trap
a_trap() {
    text=$1
    shift
    doctor "$@"
    [ $code = 1 ] || fault "exit $code, not 1: $text"
    grep '^trap: ' out > traps
    lines 1 traps
    grep -qF -e "$text" traps || fault "$(cat traps), not ...$text..."
    holds err '^more: traps: 1; see the lines'
}
# a_warning TEXT FILE [OPTION...]: it exits with 0 and has this warning, perhaps among others
a_warning() {
    text=$1
    shift
    doctor "$@"
    [ $code = 0 ] || fault "exit $code, not 0: $text: $(grep '^trap: ' out)"
    grep '^warning: ' out > warnings
    grep -qF -e "$text" warnings || fault "$(cat warnings), not ...$text..."
}
no_trap() { [ $code = 0 ] || fault "exit $code: $* $(grep '^trap: ' out)"; }

# shown NAME N: the tokens of the N-th shown text of that name, one a line, with their marks
shown() {
    awk -v name="$1" -v n="$2" '
        /^    [a-z]/ { on = $1 == name && /"/ && ++i == n }
        /^[^ ]|^  [^ ]/ { on = 0 }
        on' out | grep -o '[0-9][0-9]*"\([^"\\]\|\\.\)*"[*^]*' | sed 's/"/\t"/'
}
unmarked() { sed 's/^\(.*\)^$/\1/'; }                   # without the mark of the token scored
# tokens KEY FILE LINE: what tokenize says of a row's string
tokens() {
    sed -n "$3p" "$2" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" > string
    printf "$(cat string)" > string.txt
    ./more tokenize --model lm < string.txt
}
end='0	"<|endoftext|>"'

it "doctor_finds_no_trap_in_clean_files_and_shows_lengths_memory_and_time"
doctor a.train.jsonl --eval a.test.jsonl --rows 2
no_trap
holds out '^traps: 0, warnings: '
holds out '^    18 rows: 18 kept, of which 0 cut (0 prompts, 0 answers);'
holds out '; left out: 0 too long, 0 ties, 0 bad$'
holds out '^    the longer answer is chosen in [0-9.]* % of pairs$'
for n in training "training with --recompute" scoring "training with --freeze"; do
    holds out "^    $n  *[0-9.]*  *[0-9.]*  *[0-9.]*$"
done
holds out '^    one epoch is [0-9]* rows of tokens$'
holds out '^    [0-9]* tokens/s, .* an epoch; the loss there is 0.6931 '
counts 4 out '^  line [12]$'
awk 'length > 100 { exit 1 }' out || fault "a line is wider than 100"

it "the_tokens_shown_are_those_of_tokenize_and_the_one_that_is_scored_is_marked"
for k in prompt chosen rejected; do
    for n in 1 2; do
        shown $k $n | unmarked > have
        tokens $k a.train.jsonl $n > want
        [ -s want ] || fault "no tokens"
        same have want
    done
done
shown chosen 1 > have
counts 1 have '\^$'
tail -n 1 have > last
holds last '\^$'
shown prompt 1 > have
lacks have '[*^]$'
doctor a.train.jsonl --pooling eos
shown chosen 1 | tail -n 1 > last
echo "$end^" > want
same last want
doctor a.train.jsonl --pooling mean
shown chosen 1 > have
lacks have '[^^]$'

it "tokens_that_are_trained_are_marked_and_the_end_is_among_them"
doctor a.train.jsonl --objective dpo
{
    tokens chosen a.train.jsonl 1
    echo "$end"
} | sed 's/$/*/' > want
shown chosen 1 > have
same have want
doctor text.jsonl
{
    echo "$end"
    tokens text text.jsonl 1 | sed 's/$/*/'
    echo "$end*"
} > want
shown document 1 > have
same have want
doctor a.train.jsonl --objective simpo --max_length 18 --max_prompt_length 10 \
    --over_length truncate
tokens chosen a.train.jsonl 1 | head -n 7 | sed 's/$/*/' > want
shown chosen 1 > have
same have want
echo '{"prompt":"","completion":"the sky"}' > no_prompt.jsonl
doctor no_prompt.jsonl --objective sft
shown answer 1 > have
head -n 1 have > first
lacks first '[*]'                                      # the text before it is not trained
[ "$(grep -vc '[*]' have)" = 1 ] || fault "no prompt: $(cat have)"

it "doctor_takes_every_objective_and_does_with_rows_what_its_training_does"
for o in dpo ipo pointwise-dpo ulma unlikelihood kto orpo simpo; do
    doctor a.train.jsonl --eval a.test.jsonl --objective $o
    no_trap $o
done
doctor a.train.jsonl --objective dpo --max_length 18 --max_prompt_length 10
holds out 'left out: [1-9][0-9]* too long'
printf '{"prompt":"P","completion":" %s","label":%s}\n' a true b false > labels.jsonl
doctor labels.jsonl --objective sft
holds out ' 1 kept, .* 0 bad, 1 with the label false$'
a_trap "labels.jsonl: all rows have one prompt; kto's KL needs answers to other prompts" \
    labels.jsonl --objective kto
printf '{"prompt":"P","completion":" %s","score":%s}\n' a 0.5 b 0.25 > scores.jsonl
a_trap "scores.jsonl:1: the score 0.5 does not say whether to imitate" scores.jsonl --objective sft
refused 64 "--objective x: unknown" ./more doctor --model lm --train text.jsonl --objective x

it "doctor_takes_labels_and_scores_as_training_is_told_to"
a_trap "scores from 0.25 to 0.5 where labels are needed" scores.jsonl --objective unlikelihood
doctor scores.jsonl --objective unlikelihood --labels binary
no_trap
holds out '^  line 1; label 0.5$'
doctor scores.jsonl --objective pointwise-dpo --score_scale symmetric
no_trap
holds out '^  line 1; label 1$'
holds out '^    scores: from -1 to 1, mean 0$'
doctor scores.jsonl --objective ulma --demos none
no_trap
a_trap "--demos positives: scores have no positives" scores.jsonl --objective ulma --demos positives
doctor scores.jsonl --objective ulma --compat ulma-release
no_trap
a_trap "--logp mean with --reduction tokens divides by the tokens twice" labels.jsonl \
    --objective sft --logp mean
refused 64 "--labels: more train dpo does not read it; see more train dpo --help" \
    ./more doctor --model lm --train a.train.jsonl --objective dpo --labels binary

it "doctor_shows_the_side_of_pairs_that_is_imitated"
doctor a.train.jsonl --objective sft --rows 2
grep 'the longer answer' out > want
doctor a.train.jsonl --objective sft --sft_on rejected --rows 2
lacks out '^    chosen .*"'
grep 'the longer answer' out > have                    # the pairs are the same
same have want
for n in 1 2; do
    {
        tokens rejected a.train.jsonl $n
        echo "$end"
    } | sed 's/$/*/' > want
    shown rejected $n > have
    same have want
done
doctor a.train.jsonl --objective sft --sft_on rejected --max_length 16 --max_prompt_length 10 \
    --over_length truncate
holds out '^  line 1; .*; rejected: the last 2 of 7 are cut$'
doctor a.train.jsonl --objective sft --sft_on both --rows 1
[ "$(shown chosen 1 | grep -c '[*]$') $(shown rejected 1 | grep -c '[*]$')" = "10 8" ] ||
    fault "both: $(cat out)"

it "doctor_leaves_out_the_fold_that_training_leaves_out"
for o in reward dpo sft; do
    doctor a.train.jsonl --objective $o
    rows=$(sed -n 's/^    one epoch is \([0-9]*\) rows.*/\1/p' out)
    sum=0 sum_rows=0
    for f in 0 1 2; do
        doctor a.train.jsonl --objective $o --folds 3 --fold $f --eval a.train.jsonl
        kept=$(sed -n 's/^    18 rows: \([0-9]*\) kept.*/\1/p' out | head -n 1)
        holds out " 0 bad, $((18 - kept)) in fold $f$"
        holds out "^trap: .*the prompt is trained on .*, as in $kept of 18 rows; "
        sum=$((sum + kept))
        sum_rows=$((sum_rows + $(sed -n 's/^    one epoch is \([0-9]*\) rows.*/\1/p' out)))
    done
    [ $sum = 36 ] || fault "$o: the folds leave $sum rows of 3 times 18"
    [ $sum_rows = $((2 * rows)) ] || fault "$o: $sum_rows token rows, not twice $rows"
done
a_trap "no_prompt.jsonl: no rows outside fold 0 of 2; training stops there" no_prompt.jsonl \
    --objective sft --folds 2 --fold 0

it "doctor_shows_what_the_cut_leaves"
doctor a.train.jsonl --max_length 18 --max_prompt_length 10
prompt='the first [0-9]* of [0-9]* prompt tokens are cut'
holds out "^  line 1; $prompt; chosen: the last 2 of 9 are cut$"
tokens prompt a.train.jsonl 1 | tail -n 10 > want
shown prompt 1 > have
same have want
tokens chosen a.train.jsonl 1 | head -n 7 > want
shown chosen 1 | unmarked > have
same have want

it "doctor_says_the_memory_that_training_will_take"
base=$root/data/base
# the same but for what else the process holds, which is little
announced_alike() {
    holds doctor.out "^    this training: [0-9.]* GiB, for micro-batches of at most [0-9]* rows"
    doctor=$(sed -n 's/^    this training: \([0-9.]*\) GiB.*/\1/p' doctor.out)
    train=$(sed -n 's/.* \([0-9.]*\) GiB needed.*/\1/p' err)
    echo "$doctor $train" | awk '{ d = $1 - $2; exit !($2 > 0 && d*d < 0.01*0.01) }' ||
        fault "$doctor and $train GiB"
}
for options in "" "--micro_batch_tokens 1000 --recompute" "--micro_batch_tokens 10"; do
    for o in dpo sft kto; do
        run ./more doctor --model "$base" $cut --train "$(rows_of $o)" --objective $o $options
        cp out doctor.out
        works ./more train $o --model "$base" $cut --train "$(rows_of $o)" --out m --max_steps 1 \
            --per_step_rows 6 $options
        announced_alike
    done
done

run ./more doctor --model "$base" $cut --train a.train.jsonl --freeze
cp out doctor.out
works ./more train reward --model "$base" $cut --train a.train.jsonl --out m --max_steps 1 \
    --per_step_pairs 6 --freeze
announced_alike

it "doctor_traps_a_model_that_does_not_fit_and_neither_it_nor_train_loads_it"
cp -r lm large
sed 's/"hidden_size": 32/"hidden_size": 65536/; s/"num_hidden_layers": 2/"num_hidden_layers": 128/
     s/"intermediate_size": 128/"intermediate_size": 1048576/' lm/config.json > large/config.json
rm large/model.safetensors
run ./more doctor --model large $cut --train a.train.jsonl
[ $code = 1 ] || fault "exit $code"
holds out '^trap: large: [0-9.]* GiB of memory are needed, [0-9.]* GiB are free here; what does not '
holds out '^    no time is measured: no micro-batch fits into the memory that is free$'
refused 71 "large: " ./more train reward --model large $cut --train a.train.jsonl --out m
holds err 'GiB of memory are needed, .* a smaller model is needed; --force trains all the same'
refused 66 "large" ./more train reward --model large $cut --train a.train.jsonl --out m --force

it "models_beside_and_models_that_score_or_write_are_counted_before_anything_is_loaded"
make_reward
cp -r large large-r
sed 's/ForCausalLM/ForSequenceClassification/; s/"model_type"/"num_labels": 1, "model_type"/' \
    large/config.json > large-r/config.json
for what in "train rloo --reward large-r --model lm --prompts a.test.jsonl --out m" \
            "train grpo --reward r --reference large --model lm --prompts a.test.jsonl --out m" \
            "train ppo --reward r --critic large-r --model lm --prompts a.test.jsonl --out m" \
            "train dpo --references large --model lm --train a.train.jsonl --out m" \
            "score --model large" "score --model large-r" "sample --model large" \
            "eval --model r large-r --eval a.test.jsonl" \
            "eval --model lm large --reference lm --eval a.test.jsonl" \
            "eval --model lm --reference large --eval a.test.jsonl" \
            "compare --model lm other=large --judge r --prompts a.test.jsonl" \
            "compare --model lm --reference large --judge r --prompts a.test.jsonl" \
            "compare --model lm --judge r large-r --prompts a.test.jsonl" \
            "bestof --model lm --judge large-r --prompts a.test.jsonl" \
            "trace --model large --train a.train.jsonl b.train.jsonl"; do
    from a.test.jsonl refused 71 "GiB of memory are needed, " ./more $what
    lacks err "completions of"
done
refused 66 "large" ./more trace --model large --train a.train.jsonl b.train.jsonl --force
it "what_fits_is_no_trap"
run ./more doctor --model lm $cut --train a.train.jsonl --micro_batch_tokens 1000000
holds out '^traps: 0'

# -------------------------------------------------------------------------------------------- traps

# third FROM TO: d.jsonl is a.train.jsonl with FROM in its third row made TO
third() {
    awk -v from="$1" -v to="$2" '
        NR == 3 { i = index($0, from); $0 = substr($0, 1, i - 1) to substr($0, i + length(from)) }
        1' a.train.jsonl > d.jsonl
}
# rows_added ROW...: d.jsonl is a.train.jsonl with rows 19, 20, ...
rows_added() {
    cat a.train.jsonl > d.jsonl
    printf '%s\n' "$@" >> d.jsonl
}

it "doctor_traps_an_empty_side"
sed '3s/"chosen":"[^"]*"/"chosen":""/' a.train.jsonl > d.jsonl
a_trap "d.jsonl:3: an answer is empty; remove the row or complete it" d.jsonl
sed '3s/"chosen":"[^"]*"/"chosen":" "/' a.train.jsonl > d.jsonl
a_trap "d.jsonl:3: an answer is only white space, here and in 0 more; \
remove such rows or complete them" d.jsonl

it "doctor_traps_rows_that_cannot_be_read_and_goes_on"
says() { printf '[{"role":"%s","content":"%s"}]' "$1" "$2"; }
a=$(says assistant a)
b=$(says assistant b)
rows_added "{\"prompt\":$(says tool x),\"chosen\":$a,\"rejected\":$b}"
a_trap "d.jsonl:19: the role \"tool\": tool calls are not read" d.jsonl
rows_added '{"prompt":'
a_trap "d.jsonl:19:11: a value is expected, not the end; repair or remove the row" d.jsonl
rows_added '{"prompt":' '{' '{' '{' '{' '{'
doctor d.jsonl
holds out "d.jsonl: 1 more bad rows; repair or remove them"
doctor d.jsonl --bad_rows drop
counts 6 out '^warning: d.jsonl.* bad rows;\|^warning: d.jsonl:[0-9:]* '
printf '[{"text":1},\n{"text":"a b"},\n{"text":"c"}]\n' > d.jsonl
a_trap "d.jsonl:1: \"text\" must be" d.jsonl

it "doctor_traps_two_bos_and_warns_of_special_tokens_in_texts"
third '"prompt":"' '"prompt":"<|endoftext|><|endoftext|>'
a_trap "d.jsonl:3: two BOS: the text begins with \"<|endoftext|>\", twice, \
here and in 0 more; remove it from the texts" d.jsonl
third '"chosen":"' '"chosen":"<|endoftext|>'
a_trap "d.jsonl:3: two BOS: an answer after a prompt begins with \"<|endoftext|>\", \
here and in 0 more; remove it from the answers" d.jsonl
third '"prompt":"' '"prompt":"<|endoftext|>'
a_warning "d.jsonl:3: \"<|endoftext|>\" stands in texts 1 times; \
it is read as plain text, by other programs as token 0: remove it" d.jsonl
echo '{"text":"<|endoftext|>the sky"}' > d.jsonl
a_trap "d.jsonl:1: two BOS: the text begins with \"<|endoftext|>\", \
and training puts one before it" d.jsonl

it "doctor_traps_labels_of_one_class_and_texts_of_two_labels"
printf '{"prompt":"P","completion":" %s","label":true}\n' a b c > d.jsonl
a_trap "d.jsonl: all 3 rows have the label 1; \
add rows of the other class, or train sft on the good ones" d.jsonl
printf '{"prompt":"P","completion":" %s","label":%s}\n' a true b false a false > d.jsonl
a_trap "d.jsonl:3: the same text as on line 1 has another label, \
and 0 more such texts; decide for one label" d.jsonl
holds out '^    labels: 1 true, 2 false$'
printf '{"prompt":"P","completion":" %s","score":%s}\n' a 0.5 b 0.25 a 0.75 > d.jsonl
a_warning "d.jsonl:3: the same text as on line 1 has another label" d.jsonl
holds out '^    scores: from 0.25 to 0.75, mean 0.5$'

it "doctor_traps_contradictory_pairs_and_warns_of_repeated_rows"
reverse='s/chosen/kept/; s/rejected/chosen/; s/kept/rejected/; p;'
rows_added "$(sed -n "2{ $reverse }" a.train.jsonl)"
a_warning "d.jsonl:19: the reverse of the pair on line 2, and 0 more such pairs; \
decide for one of the two, or remove both" d.jsonl
rows_added "$(sed -n "2,4{ $reverse }" a.train.jsonl)"          # more than a tenth
a_trap "d.jsonl:19: the reverse of the pair on line 2, and 2 more such pairs; \
decide for one of the two, or remove both" d.jsonl
rows_added "$(sed -n 2p a.train.jsonl)"
a_warning "d.jsonl:19: the same row as line 2, \
and 0 more rows that stand twice; remove what was not meant twice" d.jsonl
a_warning "a.train.jsonl:1: the row, or its reverse, also stands in another training file, \
and 17 more" d.jsonl a.train.jsonl

it "doctor_warns_where_prompt_and_answer_make_one_word_or_a_prompt_ends_in_a_space"
printf '{"prompt":"name a cat","chosen":"Lion","rejected":"Dog %s"}\n' a b > d.jsonl
a_warning "d.jsonl:1: prompt and answer make one word, as in 2 of 2 rows; begin the answers" d.jsonl
printf '{"prompt":"name a cat:","chosen":"Lion","rejected":"Dog %s"}\n' a b > d.jsonl
doctor d.jsonl
lacks out 'make one word'
# Chinese has no spaces; Russian has
printf '{"prompt":"\346\230\245","chosen":"\346\234\210","rejected":"\346\227\245%s"}\n' \
    a b > d.jsonl
doctor d.jsonl
lacks out 'make one word'
printf '{"prompt":"\320\272\320\276\321\202","chosen":"\320\273%s","rejected":"a"}\n' a b > d.jsonl
a_warning "d.jsonl:1: prompt and answer make one word, as in 2 of 2 rows" d.jsonl
printf '{"prompt":"name a cat: ","chosen":"Lion","rejected":"Dog %s"}\n' a b > d.jsonl
a_warning "d.jsonl:1: the prompt ends in a space, here and in 1 more rows" d.jsonl

it "doctor_and_train_warn_of_answers_that_begin_with_their_prompt"
printf '{"prompt":"Q: why is it so?","chosen":"Q: why is it so? %s","rejected":"Q: why"}\n' a b \
    > d.jsonl
again="d.jsonl:1: an answer begins with its whole prompt, as in 2 of 2 rows, which so stands there"
a_warning "$again twice; take it off the answers" d.jsonl
works ./more train reward --model lm $cut --train d.jsonl --out m --max_steps 1 --per_step_pairs 2
holds err "^warning: $again"
printf '{"prompt":"why","chosen":"why not %s","rejected":"no"}\n' a b > d.jsonl
doctor d.jsonl
lacks out 'begins with its whole prompt'

it "doctor_and_train_warn_of_pairs_that_their_own_numbers_contradict"
awk '{ sub(/}$/, ",\"score_chosen\":2,\"score_rejected\":" (NR % 6 ? 1 : 2.5) "}") } 1' \
    a.train.jsonl > d.jsonl
contrary="d.jsonl:6: the row says that the rejected answer is the better one \
(\"score_chosen\" 2 below \"score_rejected\" 2.5), as do 3 of 18 pairs; exchange"
a_warning "$contrary" d.jsonl
works ./more train reward --model lm $cut --train d.jsonl --out m --max_steps 1 --per_step_pairs 6
holds err "^warning: $contrary"
doctor a.train.jsonl
lacks out 'the better one'

it "doctor_warns_of_texts_that_differ_before_their_last_turn"
two='\n\nHuman: a?\n\nAssistant: b %s\n\nHuman: c?\n\nAssistant: d'
{
    printf '{"chosen":"%s","rejected":"%s"}\n' "$two" "$two" | sed 's/%s/yes/; s/%s/no/'
    cat a.train.jsonl
} > d.jsonl
a_warning "d.jsonl:1: the texts differ before their last turn, as in 1 of 19 rows: \
what the user says after that counts as part of the answers; end the texts" d.jsonl --objective dpo
works ./more train dpo --model lm $cut --train d.jsonl --out m --max_steps 1 --per_step_rows 6
holds err '^warning: d.jsonl:1: the texts differ before their last turn'
works ./more train reward --model lm $cut --train d.jsonl --out m --max_steps 1 --per_step_pairs 6
lacks err 'the texts differ'                           # a reward is that of a whole text

it "doctor_says_which_weights_balance_lopsided_labels_for_kto"
{
    printf '{"prompt":"P%s","completion":" a","label":true}\n' 1 2 3 4 5 6
    printf '{"prompt":"Q%s","completion":" b","label":false}\n' 1 2 3
} > d.jsonl
a_warning "d.jsonl: 6 true and 3 false labels: weighted 2 to 1, where 1 to 1.33 is advised; \
balance them with --desirable_weight 0.5 or --undesirable_weight 2" d.jsonl --objective kto

it "doctor_traps_prompts_that_are_trained_and_evaluated_on"
sed -n 5p a.train.jsonl > d.jsonl
a_trap "d.jsonl:1: the prompt is trained on (a.train.jsonl:5), as in 1 of 1 rows; \
remove these prompts from one of the two files" a.train.jsonl --eval d.jsonl

it "doctor_traps_answers_that_the_cut_takes_away_or_makes_equal"
answer=" the sky is red and the tree is big the"
prompt=$(yes "the sky" | head -n 24 | tr '\n' ' ')
rows_added "{\"prompt\":\"${prompt% }\",\"chosen\":\"$answer sky\",\"rejected\":\"$answer cat\"}"
a_trap "d.jsonl:19: chosen and rejected are the same after the cut, \
here and in 0 more of 19 pairs; raise --max_length or use" d.jsonl \
    --max_length 30 --max_prompt_length 20
rows_added "{\"prompt\":\"${prompt% }\",\"chosen\":\"a cat\",\"rejected\":\"no dog\"}"
a_trap "d.jsonl:19: of an answer only one token is left, here and in 0 more rows; \
raise --max_length or lower --max_prompt_length" d.jsonl --max_length 50 --max_prompt_length 0
a_trap "nothing is left of 18 rows (18 too long, 0 ties, 0 bad); \
raise --max_length or use --over_length truncate" a.train.jsonl \
    --max_length 4 --max_prompt_length 2 --over_length drop

it "doctor_traps_a_pad_that_is_the_eos_and_tokenizers_that_do_not_fit"
a_trap "pair data; texts or prompts with completions are needed; \
for lm convert it, or choose another --objective" a.train.jsonl --objective lm
cp -r lm lm.keep
# other_config SED: the model's configuration, changed
other_config() { sed "$1" lm.keep/config.json > lm/config.json; }
other_config 's/"pad_token_id": 1/"pad_token_id": 0/'
a_warning "lm/config.json: pad is the eos, 0 \"<|endoftext|>\", which is trained here" \
    a.train.jsonl --objective dpo
works ./more train dpo --model lm $cut --max_steps 1 --train a.train.jsonl --quiet --out dpo
a_trap "from which the reward is read: programs that skip pad read another token; \
set \"pad_token_id\" to a token" a.train.jsonl --pooling eos
a_warning "pad is the eos, 0 \"<|endoftext|>\", which is harmless with this pooling" a.train.jsonl
other_config 's/"pad_token_id": 1/"pad_token_id": 9/'
a_warning ": of a text that ends with it other programs read the reward elsewhere; \
set \"pad_token_id\" to" a.train.jsonl
other_config 's/"pad_token_id": 1/"pad_token_id": null/'
a_warning "no \"pad_token_id\", which other programs need for batches; \
set it to a token that never occurs in a text, such as \"<|padding|>\"" a.train.jsonl
other_config 's/"vocab_size": 300/"vocab_size": 290/'
a_trap "300 pieces, but the model has 290; take the tokenizer the model was trained with" \
    a.train.jsonl
# a BOS that the tokenizer has no piece for
other_config 's/"bos_token_id": 0/"bos_token_id": 1/'
sed '/<|padding|>/d; /<|endoftext|>", /s/,$//' lm.keep/tokenizer.json > lm/tokenizer.json
doctor a.train.jsonl
holds out 'bos  config.json 1 "",'
cp lm.keep/tokenizer.json lm
other_config ''
sed 's/{/{"add_bos_token": true, "chat_template": "x",/' lm.keep/tokenizer_config.json \
    > lm/tokenizer_config.json
a_warning "the folder's chat template is none that is known: rows of messages are refused" a.train.jsonl
a_warning "other programs put \"<|endoftext|>\" before a text, training here does not" a.train.jsonl
third '"prompt":"' '"prompt":"<|endoftext|>'
a_trap "d.jsonl:3: two BOS: the text begins with \"<|endoftext|>\", \
and other programs put one before it" d.jsonl

finish
