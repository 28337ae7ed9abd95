#!/bin/sh
# The commands from end to end: ./more on a tiny model and small files that are made here.  Run from the repository
# root; a test's name is the sentence it proves; the last line is "N passed, N failed".
#   sh test/test_commands.sh [PART...]      only these parts: help usage train policy eval score sample bestof compare
#                                           look doctor bench bad stop bits
t=$(mktemp -d "${TMPDIR:-/tmp}/more-commands-XXXXXX") || exit 1
trap 'rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 bad=
LC_ALL=C; export LC_ALL
unset MORE_ISA
OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive; export OMP_NUM_THREADS OMP_WAIT_POLICY      # tiny models; --threads where it matters

fault() { bad=1; printf '    %s\n' "$*"; }                                    # notes what is wrong with the running test
proves() {                                                            # ends it: its name
    if [ -z "$bad" ]; then passed=$((passed + 1)); echo "ok     $1"; else failed=$((failed + 1)); echo "FAILED $1"; fi
    bad=
}
# run COMMAND...: standard output to $t/1, the rest to $t/2, the exit code to $code
run() { "$@" > "$t/1" 2> "$t/2" < "${in:-/dev/null}"; code=$?; }
from() { in=$1; shift; "$@"; in=; }                                   # standard input of a command
works() { run "$@"; [ $code = 0 ] || fault "exit $code: $* : $(tail -n 1 "$t/2")"; }
# refused CODE TEXT COMMAND...: the last line is "more: ... TEXT ..."
refused() {
    want=$1 text=$2; shift 2
    run "$@"
    [ $code = "$want" ] || fault "exit $code, not $want: $*"
    last=; while IFS= read -r line; do last=$line; done < "$t/2"
    case "$last" in "more: "*"$text"*) ;; *) fault "$last, not ...$text...: $*" ;; esac
}
same() { cmp -s "$1" "$2" || fault "$1 and $2 differ"; }
holds() { grep -q -e "$2" "$1" || fault "$1 does not hold $2"; }
sha() { sed -n 's/^weights sha256 \([0-9a-f]\{64\}\)$/\1/p' "$t/1"; }
part() { [ -z "$parts" ] || case " $parts " in *" $1 "*) ;; *) return 1 ;; esac; }
parts=$*

# ------------------------------------------------------------------------------------------- small files, a model

# sentences KIND ROWS SEED: texts; or pairs, of which the chosen one says yes more often
sentences() {
    awk -v kind="$1" -v rows="$2" -v x="$3" '
    function next_(n) { x = x * 16807 % 2147483647; return int(x / 1000) % n }
    function say(n,  s, i) { for (i = 0; i < n; i++) s = s (i ? " " : "") word[next_(20)]; return s }
    BEGIN {
        split("sky sea blue green red cat dog sees likes runs over under tree house and then not is was big", w, " ")
        for (i in w) word[i - 1] = w[i]
        for (r = 0; r < rows; r++)
            if (kind == "text") printf "{\"text\":\"%s.\"}\n", say(30)
            else printf "{\"prompt\":\"\\n\\nHuman: %s?\\n\\nAssistant:\",\"chosen\":\" yes %s yes\",\"rejected\":\" no %s\"}\n",
                say(5), say(2 + next_(4)), say(2 + next_(5))
    }'
}
sentences text 30 1 > "$t/text.jsonl"
sentences text 6 2 > "$t/other.jsonl"
sentences pair 18 3 > "$t/a.train.jsonl"
sentences pair 24 4 > "$t/b.train.jsonl"
sentences pair 12 5 > "$t/c.train.jsonl"
sentences pair 16 6 > "$t/a.test.jsonl"
sentences pair 8 7 > "$t/b.test.jsonl"
abc="$t/a.train.jsonl $t/b.train.jsonl $t/c.train.jsonl"

new="--vocab_size 300 --hidden_size 32 --num_hidden_layers 2 --num_attention_heads 2 --max_length 64 --per_step_tokens 300
     --learning_rate 3e-3"
cut="--max_length 96 --max_prompt_length 48"
recipe="$cut --learning_rate 1e-3 --per_step_pairs 6 --max_steps 4 --quiet"
pairs="--model $t/lm $recipe"
works ./more train lm $new --train "$t/text.jsonl" --eval "$t/other.jsonl" --out "$t/lm"
lm_sha=$(sha); cp "$t/2" "$t/lm.err"
works ./more train reward $pairs --train $abc --out "$t/r"
r_sha=$(sha)
works ./more train reward $pairs --train "$t/a.train.jsonl" --eval "$t/a.test.jsonl" --out "$t/s-a"
works ./more train reward $pairs --train "$t/b.train.jsonl" --pooling mean --out "$t/s-b"
proves "a_language_model_and_reward_models_are_trained_from_small_files"
[ $failed = 0 ] || { echo "$passed passed, $failed failed"; exit 1; }

# ------------------------------------------------------------------------------------------------ help and usage

all="threads quiet help"
data="precision micro_batch_tokens max_length max_prompt_length over_length template prompt_key chosen_key rejected_key"
training="$data train eval out dtype learning_rate num_train_epochs max_steps weight_decay adam_beta1 adam_beta2 adam_epsilon
          max_grad_norm warmup_ratio lr_scheduler_type logging_steps eval_steps save_steps seed recompute"
rewards="$training head_rate per_step_pairs pooling random_weights raw_head folds fold"
policies="$training per_step_rows folds fold"
points="logp reduction labels score_scale"
writing="precision max_prompt_length template prompt_key chosen_key rejected_key prompts temperature top_k top_p min_p
         repetition_penalty max_new_tokens stop batch seed"
options_of() {
    echo $all; case "$1" in selftest) ;; inspect|gradcheck) echo model ;; *) echo model tokenizer ;; esac; case "$1" in
    "train lm")     echo $training then vocab_size hidden_size num_hidden_layers num_attention_heads per_step_tokens ;;
    "train reward") echo $rewards ;;
    "train more")   echo $rewards more normalize alpha ;;
    "train sft")    echo $policies logp reduction sft_on ;;
    "train dpo")    echo $policies logp beta reference_cache label_smoothing ;;
    "train ipo")    echo $policies logp beta reference_cache ;;
    "train pointwise-dpo") echo $policies $points beta reference_cache log_z ;;
    "train ulma")   echo $policies $points beta reference_cache log_z demo demos sft_on compat ;;
    "train unlikelihood") echo $policies $points ;;
    "train kto")    echo $policies $points beta reference_cache desirable_weight undesirable_weight ;;
    "train orpo")   echo $policies logp orpo_lambda ;;
    "train simpo")  echo $policies logp beta simpo_gamma ;;
    eval)           echo $data eval from out seed folds fold raw_head pooling reference beta logp ;;
    score)          echo $data raw_head pooling ;;
    sample)         echo precision seed max_prompt_length template prompt_key chosen_key rejected_key prompts n unique temperature top_k \
                         top_p min_p repetition_penalty max_new_tokens stop batch ;;
    tokenize)       echo train out learn ;;
    doctor)         echo $data train eval objective rows pooling recompute ;;
    bestof|compare) echo $writing judge judge_max_length judge_max_prompt_length micro_batch_tokens max_length out folds fold
                    if [ "$1" = bestof ]; then echo n all; else echo reference; fi ;;
    bench)          echo train out shape precision only rounds max_length max_prompt_length ;;
    esac
}
commands=$(./more --help | awk '/^    more [a-z]/ { print $2 == "train" ? $2 "_" $3 : $2 }')

if part help; then
    works ./more --help
    works ./more train --help
    for c in train_lm train_reward train_more train_sft train_dpo train_ulma doctor eval score sample tokenize inspect; do
        case " $(echo $commands) " in *" $c "*) ;; *) fault "no $c" ;; esac
    done
    proves "help_lists_the_commands"
    for c in $commands; do
        command=$(echo $c | tr _ ' ')
        works ./more $command --help
        sed -n 's/^    --\([a-z0-9_]*\).*/\1/p' "$t/1" | sort > "$t/have"
        options_of "$command" | tr ' ' '\n' | sort > "$t/want"
        diff "$t/have" "$t/want" > "$t/diff" || fault "$command: $(cat "$t/diff")"
    done
    proves "the_help_of_every_command_mentions_its_options_and_no_other"
fi

if part usage; then
    run ./more; [ $code = 64 ] || fault "exit $code"
    for c in frobnicate "train" "train frobnicate" "eval2"; do
        run ./more $c; [ $code = 64 ] || fault "exit $code: $c"
        holds "$t/2" "^more: $c.*: unknown command; see more --help"
    done
    proves "an_unknown_command_is_a_usage_error"
    for c in $commands; do
        command=$(echo $c | tr _ ' ')
        refused 64 "--frobnicate: unknown option of more $command; see --help" ./more $command --frobnicate 3
        own=" $(echo $(options_of "$command")) "
        for o in train eval out dtype then vocab_size seed learning_rate head_rate more pooling folds from raw_head learn max_length top_k; do
            case "$own" in *" $o "*) ;; *)
                refused 64 "--$o: unknown option of more $command; see --help" ./more $command --$o ;;
            esac
        done
    done
    proves "an_option_of_another_command_is_refused"
    refused 64 "--out: a value is missing" ./more train lm --train x --out
    refused 64 "--out: a value is missing" ./more train lm --out --train x
    refused 64 "--model: a value is missing" ./more eval --model
    refused 64 "model: not an option; see more score --help" ./more score model
    refused 64 "-x: not an option" ./more score -x 3
    refused 64 "--out" ./more train lm --train "$t/no-such.jsonl" --out ""
    refused 64 "--model" ./more score --model=
    proves "a_missing_value_is_a_usage_error"
    for o in "max_steps -1" "max_steps 1.5" "max_steps 3000000000" "max_steps x" "max_steps 1x" "learning_rate nan" "learning_rate -1" \
             "learning_rate inf" "warmup_ratio 1.01" "adam_beta1 1" "per_step_tokens 0" "vocab_size 257" "max_length 1" "threads -1" \
             "num_train_epochs 0" "seed -1"; do
        refused 64 "--$o: a " ./more train lm --${o% *} "${o#* }"
    done
    for o in "over_length cut" "lr_scheduler_type step"; do
        refused 64 "--$o: unknown; see --help for the choices" ./more train lm --${o% *} "${o#* }"
    done
    refused 64 "--pooling first: unknown" ./more train more --pooling first
    refused 64 "--more none: unknown" ./more train more --more=none
    refused 64 "--normalize l3: unknown" ./more train more --normalize l3
    refused 64 "--dtype f8: unknown; see --help for the choices" ./more train reward $pairs --train $abc --out "$t/f8" --dtype f8
    [ -f "$t/f8/log.jsonl" ] && fault "it was noticed after training only"
    refused 64 "--template chatml: unknown" ./more train reward $pairs --train $abc --out "$t/x" --template chatml
    refused 64 "MORE_ISA=z80: unknown here" env MORE_ISA=z80 ./more inspect --model "$t/lm"
    proves "a_value_out_of_range_is_a_usage_error"
    refused 64 "--train is needed" ./more train lm --out "$t/x"
    refused 64 "--out is needed" ./more train lm --train "$t/text.jsonl"
    refused 64 "--model is needed" ./more train reward --train $abc --out "$t/x"
    refused 64 "--model and --eval are needed, or --from" ./more eval --model "$t/r"
    refused 64 "--model is needed" ./more score
    refused 64 "--model is needed" ./more sample
    refused 64 "--model is needed" ./more inspect
    refused 64 "--model is needed" ./more doctor --train "$t/text.jsonl"
    refused 64 "--train is needed" ./more doctor --model "$t/lm"
    refused 64 "standard input" ./more doctor --model "$t/lm" --train -
    refused 64 "the model has 2048 positions" ./more doctor --model "$t/lm" --train "$t/text.jsonl" --max_length 4096
    refused 64 "--tokenizer or --model is needed" ./more tokenize
    refused 64 "--learn needs --train and --out" ./more tokenize --learn 300
    refused 64 "at least 258 pieces are needed" ./more tokenize --learn 257 --train "$t/text.jsonl" --out "$t/x"
    refused 64 "--fold must be below --folds" ./more train reward $pairs --train $abc --out "$t/x" --folds 3 --fold 3
    refused 64 "--fold must be below --folds" ./more eval --model "$t/r" --eval "$t/a.test.jsonl" --folds 3 --fold 3
    refused 64 "--fold must be below --folds" ./more train reward $pairs --train $abc --out "$t/x" --fold 1
    refused 64 "--hidden_size must be a multiple of 4 x --num_attention_heads" ./more train lm $new --train "$t/text.jsonl" \
        --out "$t/x" --num_attention_heads 3
    refused 64 "the model has 2048 positions" ./more score --model "$t/r" --max_length 4096
    refused 64 "leaves no room for an answer" ./more score --model "$t/r" --max_length 64 --max_prompt_length 63
    refused 64 "--model: " ./more score --model "$t/r" "$t/lm"
    refused 64 "--model: " ./more train reward $pairs --model "$t/r" --train $abc --out "$t/x"
    refused 64 "more than" ./more train lm --train $(awk 'BEGIN { for (i = 0; i < 1025; i++) print "x" }')
    proves "what_a_command_cannot_do_without_is_asked_for"
    works ./more inspect --model_name_or_path "$t/lm"
    works ./more train lm $new --train "$t/text.jsonl" --output-dir="$t/x" --max-steps 1 --num_layers 1 --num-heads 4 --quiet
    proves "dashes_equal_signs_and_other_names_of_options_are_understood"
fi

# -------------------------------------------------------------------------------------------------------- training

if part train; then
    holds "$t/lm.err" '^more train lm$'
    holds "$t/lm.err" 'hidden_size=32'
    holds "$t/lm.err" 'seed=42'
    holds "$t/lm.err" '^text: 30 rows of kind text, 30 kept, 0 dropped (too long), 0 ties, 0 truncated'
    holds "$t/lm.err" '^[0-9]* parameters, [0-9]* steps, [0-9.]* GiB needed, [0-9]* threads, '
    holds "$t/lm.err" '^step [0-9]*/[0-9]*  loss [0-9.]*  [0-9]* tokens/s  [0-9]*:[0-9][0-9] left'
    holds "$t/lm.err" '^other: [0-9.]* bits per byte$'
    proves "a_run_says_its_settings_its_memory_its_progress_and_what_it_learned"
    needed() { works ./more train lm $new --max_steps 1 --train "$t/text.jsonl" --out "$t/x" "$@"
               sed -n 's/.* steps, \([0-9.]*\) GiB needed.*/\1/p' "$t/2"; }
    big="--micro_batch_tokens 8000 --num_hidden_layers 6"
    echo "$(needed $big) $(needed $big --recompute)" | awk '{ exit !($2 > 0 && $2 < $1 / 2) }' || fault memory
    works ./more inspect --model "$t/lm"
    holds "$t/1" '^training 4096 rows at a time takes [0-9.]* GiB, with --recompute [0-9.]*$'
    proves "recompute_takes_less_memory"
    works ./more inspect --model "$t/lm"
    [ "$(sha)" = "$lm_sha" ] || fault "inspect: $(sha)"
    if command -v sha256sum > "$t/x.out"; then
        [ "$(sha256sum < "$t/lm/model.safetensors")" = "$lm_sha  -" ] || fault "sha256sum"
    fi
    holds "$t/lm/log.jsonl" "\"weights_sha256\":\"$lm_sha\""
    proves "the_hash_printed_logged_and_shown_is_that_of_the_file"
    for f in config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json log.jsonl; do
        [ -s "$t/r/$f" ] || fault "no $f"
    done
    [ -z "$(find "$t" -name '*.tmp')" ] || fault "$(find "$t" -name '*.tmp')"
    same "$t/lm/tokenizer.json" "$t/r/tokenizer.json"
    holds "$t/r/config.json" GPTNeoXForSequenceClassification
    proves "a_model_folder_is_whole_and_leaves_no_temporary_files"
    for m in release paper uniform; do
        works ./more train more --more $m $pairs --train $abc --out "$t/m-$m"
        for k in a b c; do
            norm=; [ $m = uniform ] || norm=",\"grad_norm/$k\":[0-9.]*"
            holds "$t/m-$m/log.jsonl" "\"lambda/$k\":0.[0-9]*,\"loss/$k\":[0-9.]*$norm"
        done
        grep '"event":"train"' "$t/m-$m/log.jsonl" | awk -F'"lambda/[abc]":' '
            { s = $2 + $3 + $4; if (s < .99999 || s > 1.00001) bad = 1 } END { exit bad || NR != 4 }' || fault "$m: lambda"
    done
    grep -c '"lambda/a":0.333333,' "$t/m-uniform/log.jsonl" | grep -q '^4$' || fault "uniform is not uniform"
    proves "more_logs_lambda_loss_and_gradient_norm_of_each_set_and_lambda_sums_to_1"
    works ./more train lm $new --train "$t/text.jsonl" --then "$t/other.jsonl" --out "$t/x" --dtype f16
    [ $(($(wc -c < "$t/x/model.safetensors") * 19 / 10)) -lt $(wc -c < "$t/lm/model.safetensors") ] || fault "f16 is not smaller"
    works ./more train reward $recipe --train "$t/c.train.jsonl" --model "$t/x" --out "$t/x" --dtype bf16
    from "$t/c.train.jsonl" works ./more score --model "$t/x"
    proves "weights_are_stored_in_16_bits_when_asked"
    works ./more train reward $pairs --train "$t/a.train.jsonl" --eval "$t/a.test.jsonl" --eval_steps 2 --save_steps 3 --out "$t/x"
    [ "$(grep -c '"event":"eval","step":[23],"eval_a_loss":' "$t/x/log.jsonl")" = 2 ] || fault "$(cat "$t/x/log.jsonl")"
    cmp -s "$t/x/model.safetensors" "$t/s-a/model.safetensors" || fault "evaluating and saving change the result"
    proves "evaluating_and_saving_on_the_way_changes_nothing"
    works ./more train reward $pairs --train $abc --random_weights --out "$t/x"
    [ "$(sha)" != "$r_sha" ] || fault "the same as without"
    proves "random_weights_starts_from_others"
    for seed in 3 4; do works ./more train reward $pairs --train $abc --raw_head $seed --out "$t/raw-$seed"; done
    cmp -s "$t/raw-3/model.safetensors" "$t/r/model.safetensors" && fault "the same as from a zero head"
    cmp -s "$t/raw-3/model.safetensors" "$t/raw-4/model.safetensors" && fault "one head for two seeds"
    proves "raw_head_starts_from_a_random_head_of_that_seed"
    for f in 0 1; do works ./more train reward $pairs --train $abc --folds 2 --fold $f --out "$t/f-$f"; done
    cmp -s "$t/f-0/model.safetensors" "$t/f-1/model.safetensors" && fault "two folds, one model"
    refused 65 "no pairs to train on" ./more train reward $pairs --train "$t/one.jsonl" $(
        head -n 1 "$t/a.train.jsonl" > "$t/one.jsonl"
        for f in 0 1; do ./more eval $cut --model "$t/r" --eval "$t/one.jsonl" --folds 2 --fold $f > "$t/x.out" 2>&1 && echo --folds 2 --fold $f; done) \
        --out "$t/x"
    proves "training_leaves_a_fold_out"
    works ./more train reward $pairs --seed 7 --train $abc --out "$t/x"
    [ "$(sha)" != "$r_sha" ] || fault "the same pairs in the same order"
    works ./more train lm $new --seed 7 --train "$t/text.jsonl" --out "$t/x"
    [ "$(sha)" != "$lm_sha" ] || fault "the same weights"
    proves "the_seed_changes_the_result"
fi

# -------------------------------------------------------------------------------------------------------- policies

# the pairs of a file as points: each row the chosen answer with the label true, or the rejected one with false
as_points() { awk '{ p = $0; sub(/"chosen":/, "\"completion\":", p)
    if (NR % 2) sub(/,"rejected":.*/, ",\"label\":true}", p)
    else { p = $0; sub(/"chosen":.*,"rejected":/, "\"completion\":", p); sub(/}$/, ",\"label\":false}", p) }
    print p }' "$1"; }
as_points "$t/a.train.jsonl" > "$t/points.jsonl"
grep true "$t/points.jsonl" | sed 's/,"label":true//' > "$t/demos.jsonl"
sed 's/"label":true/"score":4.5/; s/"label":false/"score":1.5/' "$t/points.jsonl" > "$t/scores.jsonl"
sed 's/"label":true/"score":1.0/; s/"label":false/"score":0/' "$t/points.jsonl" > "$t/ones.jsonl"
policy="--model $t/lm $cut --learning_rate 1e-3 --per_step_rows 6"
rows_of() { case $1 in dpo | ipo | orpo | simpo) echo "$t/a.train.jsonl" ;; *) echo "$t/points.jsonl" ;; esac; }
keys() { for k in $2; do
             [ "$(grep -c "\"event\":\"train\".*\"$k\":" "$1/log.jsonl")" = "$(grep -c '"event":"train"' "$1/log.jsonl")" ] || fault "$1: no $k"
         done; }

if part policy; then
    for o in sft dpo ipo pointwise-dpo ulma unlikelihood kto orpo simpo; do
        rows=18; [ $o != sft ] || rows=9                              # all rows a step
        works ./more train $o $policy --per_step_rows $rows --num_train_epochs 8 --train "$(rows_of $o)" --eval "$t/a.test.jsonl" --out "$t/p-$o"
        cp "$t/2" "$t/p-$o.err"
        sed -n 's/.*"event":"train".*"loss":\([^,]*\),.*/\1/p' "$t/p-$o/log.jsonl" | awk '{ n++; x[n] = $1 } END { exit !(n == 8 && x[8] < x[1]) }' || fault "$o: the loss did not go down"
        holds "$t/p-$o.err" '^a: accuracy [0-9.]*  margin '
        holds "$t/p-$o/config.json" GPTNeoXForCausalLM
        holds "$t/p-$o/log.jsonl" '"eval_a_accuracy":'
        holds "$t/p-$o/log.jsonl" '"eval_a_perplexity":'
    done
    proves "every_policys_loss_goes_down_and_its_folder_is_a_language_model"
    for o in dpo ipo; do keys "$t/p-$o" "rewards/chosen rewards/rejected rewards/margins rewards/accuracies logps/chosen logps/rejected kl kl_per_token"; done
    for o in orpo simpo; do keys "$t/p-$o" "rewards/chosen rewards/margins rewards/accuracies logps/chosen logps/rejected"; done
    for o in pointwise-dpo ulma kto; do keys "$t/p-$o" "kl kl_per_token"; done
    for o in pointwise-dpo ulma unlikelihood kto; do
        for k in rewards/positive rewards/negative logps/positive logps/negative; do holds "$t/p-$o/log.jsonl" "\"$k\":"; done
    done
    holds "$t/p-kto/log.jsonl" '"kl_mismatched":'
    holds "$t/p-dpo.err" '^step [0-9]*/[0-9]*  loss [0-9.]*  accuracy [0-9.]*  margin [-0-9.]*  chosen [-0-9.]*  rejected [-0-9.]*  [0-9]* tokens/s'
    holds "$t/p-kto.err" '^labels: 9 true, 9 false$'
    holds "$t/p-sft.err" '^points: 9 of 18 rows have the label true and are imitated$'
    proves "policies_log_rewards_log_probabilities_and_the_distance_from_the_start"
    for o in dpo pointwise-dpo; do
        holds "$t/p-$o.err" '^the policy is the reference: [0-9]* texts agree to the last bit; the loss starts at 0.693147 = log 2$'
    done
    grep '"step":1,' "$t/p-dpo/log.jsonl" | grep -q '"loss":0.69314.*"rewards/accuracies":0.5,.*"kl":0,' || fault "$(head -n 1 "$t/p-dpo/log.jsonl")"
    proves "a_policy_starts_as_its_reference_and_says_so"

    again() { works ./more train dpo $policy --max_steps 2 --out "$t/p-again" "$@"; }
    again --train "$t/a.train.jsonl"; one=$(sha)
    holds "$t/2" "^reference: 36 log-probabilities in [0-9.]* s, kept in $t/p-again/reference.bin$"
    again --train "$t/a.train.jsonl" --beta 0.3 --seed 5
    holds "$t/2" "^reference: 36 log-probabilities of the same weights and texts from $t/p-again/reference.bin$"
    again --train "$t/a.train.jsonl" --micro_batch_tokens 100
    holds "$t/2" "of the same weights and texts"
    [ "$(sha)" = "$one" ] || fault "another hash from the cache"
    works ./more train dpo $policy --max_steps 1 --train "$t/a.train.jsonl" --out "$t/x" --reference_cache "$t/p-again/reference.bin"
    holds "$t/2" "of the same weights and texts from $t/p-again/reference.bin"
    proves "the_references_log_probabilities_are_computed_once"
    for other in "--train $t/b.train.jsonl" "--train $t/a.train.jsonl --eval $t/a.test.jsonl" \
                 "--train $t/a.train.jsonl --max_prompt_length 10" "--train $t/a.train.jsonl --precision bf16" \
                 "--train $t/a.train.jsonl --model $t/p-sft"; do
        again --train "$t/a.train.jsonl"
        case $other in *--model*) works ./more train dpo --model "$t/p-sft" $cut --per_step_rows 6 --max_steps 1 --out "$t/p-again" --train "$t/a.train.jsonl" ;;
        *) again $other ;; esac
        holds "$t/2" "reference.bin: of other weights, texts or options; computed again"
    done
    head -c 300 "$t/p-again/reference.bin" > "$t/x.bin"; cp "$t/x.bin" "$t/p-again/reference.bin"
    works ./more train dpo --model "$t/p-sft" $cut --per_step_rows 6 --max_steps 1 --out "$t/p-again" --train "$t/a.train.jsonl"
    holds "$t/2" "reference.bin: damaged; computed again"
    mkdir "$t/folder"
    refused 66 "$t/folder: " ./more train dpo $policy --max_steps 1 --train "$t/a.train.jsonl" --out "$t/x" --reference_cache "$t/folder"
    proves "other_weights_texts_or_options_and_damage_make_the_reference_anew"

    works ./more train sft $policy --train "$t/demos.jsonl" --logp mean --reduction joint --out "$t/x"; one=$(sha)
    works ./more train ulma $policy --train "$t/points.jsonl" --logp mean --out "$t/x"; [ "$(sha)" != "$one" ] || fault "labels made no difference"
    grep true "$t/points.jsonl" > "$t/true.jsonl"
    works ./more train ulma $policy --train "$t/true.jsonl" --logp mean --out "$t/x"; [ "$(sha)" = "$one" ] || fault "ulma is not sft"
    refused 64 "choose --reduction joint" ./more train sft $policy --train "$t/true.jsonl" --logp mean --out "$t/x"
    works ./more train sft $policy --train "$t/true.jsonl" --logp mean --reduction joint --out "$t/x"; [ "$(sha)" = "$one" ] || fault "true points are not demonstrations"
    works ./more train ulma $policy --demos none --train "$t/points.jsonl" --out "$t/x"; one=$(sha)
    works ./more train pointwise-dpo $policy --train "$t/points.jsonl" --out "$t/x"; [ "$(sha)" = "$one" ] || fault "ulma without demonstrations is not pointwise-dpo"
    proves "ulma_with_demonstrations_alone_is_sft_and_without_any_is_pointwise_dpo"
    works ./more train ulma $policy --train "$t/scores.jsonl" --score_scale symmetric --demo "$t/demos.jsonl" --out "$t/x"
    holds "$t/2" '^scores from 1.5 to 4.5, mapped to \[-1, 1\], as numbers to reach$'
    holds "$t/x/log.jsonl" '"rewards/demos":'; holds "$t/x/log.jsonl" '"rewards/scored":'
    works ./more train kto $policy --train "$t/scores.jsonl" --score_scale unit --labels binary --out "$t/x"; one=$(sha)
    holds "$t/2" '^scores from 1.5 to 4.5, mapped to \[0, 1\], as soft labels$'
    works ./more train kto $policy --train "$t/points.jsonl" --out "$t/x"; [ "$(sha)" = "$one" ] || fault "the ends of the scale are not the labels"
    works ./more train kto $policy --train "$t/a.train.jsonl" --out "$t/x"
    holds "$t/2" '^labels: 18 true, 18 false$'
    proves "scores_are_scaled_as_asked_and_pairs_are_two_points"
    works ./more train ulma $policy --compat ulma-release --train "$t/ones.jsonl" --out "$t/x"; one=$(sha)
    holds "$t/2" 'logp=mean  reduction=class-means'
    works ./more train ulma $policy --logp mean --reduction class-means --train "$t/points.jsonl" --out "$t/x"
    [ "$(sha)" = "$one" ] || fault "its parts make something else"
    works ./more train ulma $policy --logp mean --train "$t/points.jsonl" --out "$t/x"; [ "$(sha)" != "$one" ] || fault "class means made no difference"
    proves "compat_ulma_release_is_what_its_help_says"
    works ./more train sft $policy --train "$t/a.train.jsonl" --out "$t/x"; one=$(sha)
    sed 's/,"rejected":.*/}/; s/"chosen"/"completion"/' "$t/a.train.jsonl" > "$t/chosen.jsonl"
    works ./more train sft $policy --train "$t/chosen.jsonl" --out "$t/x"; [ "$(sha)" = "$one" ] || fault "not the chosen answers"
    for side in rejected both; do
        works ./more train sft $policy --sft_on $side --train "$t/a.train.jsonl" --out "$t/x"; [ "$(sha)" != "$one" ] || fault "$side is chosen"
    done
    echo '{"messages":[{"role":"user","content":"sky"},{"role":"assistant","content":"blue"}]}' > "$t/chat.jsonl"
    works ./more train sft $policy --per_step_rows 1 --train "$t/chat.jsonl" --eval "$t/chat.jsonl" --out "$t/x"
    holds "$t/2" '^chat: perplexity of the answers [0-9.]*, mean over texts [0-9.]*$'
    proves "sft_imitates_completions_conversations_and_a_side_of_pairs"

    works ./more eval $cut --reference "$t/lm" --model DPO=$t/p-dpo SimPO=$t/p-simpo --eval "$t/a.test.jsonl" "$t/points.jsonl" "$t/chat.jsonl" --out "$t/p.jsonl"
    holds "$t/1" '^a: 16 pairs, 16 prompts;'
    [ "$(grep -c '^DPO  \|^SimPO  ' "$t/1")" = 2 ] || fault "$(cat "$t/1")"
    holds "$t/1" '^DPO on points: AUC 1*0*\.[0-9]* (95 % [0-9.]* \.\. [0-9.]*, [0-9]* prompts) of 9 good texts above 9 others  perplexity of good answers '
    [ "$(grep -c '"event":"policy"' "$t/p.jsonl")" = 6 ] || fault "$(grep policy "$t/p.jsonl")"
    in_eval=$(sed -n 's/.*"event":"metrics","model":"DPO".*"margin":\([^,]*\),.*/\1/p' "$t/p.jsonl")
    in_training=$(sed -n 's/.*"eval_a_margin":\([^,]*\),.*/\1/p' "$t/p-dpo/log.jsonl")
    [ -n "$in_eval" ] && [ "$in_eval" = "$in_training" ] || fault "$in_eval, in training $in_training"
    works ./more eval $cut --reference "$t/lm" --model Start=$t/lm --eval "$t/a.test.jsonl"
    holds "$t/1" '^Start  *50.00 .* 1.000 '
    proves "eval_of_policies_prints_what_training_printed_and_a_reference_has_no_reward"

    awk '{ sub(/"chosen":" yes/, "\"chosen\":\" no"); print }' "$t/a.train.jsonl" > "$t/alike.jsonl"
    works ./more train dpo $policy --learning_rate 3e-2 --max_grad_norm 0 --num_train_epochs 20 --train "$t/alike.jsonl" --out "$t/x"
    holds "$t/2" '^chosen answers became less likely: their mean log-probability against the reference went from [-0-9.]* in the$'
    works ./more train orpo $policy --orpo_lambda 1000 --learning_rate 3e-2 --max_grad_norm 0 --num_train_epochs 20 --train "$t/alike.jsonl" --out "$t/x"
    awk -F '"logps/chosen":' '/"event":"train"/ { split($2, x, ","); if (!n++) first = x[1]; last = x[1] } END { exit !(last < first) }' \
        "$t/x/log.jsonl" || fault "under orpo they did not"
    grep -q "asks for the difference alone" "$t/2" && fault "orpo imitates too"
    proves "chosen_answers_that_become_less_likely_are_explained"
    for i in 1 2 3 4 5 6 7 8 9 10 11; do echo '{"prompt":"a'$i'","completion":" b","label":true}'; done > "$t/true.jsonl"
    works ./more eval $cut --reference "$t/lm" --model DPO="$t/p-dpo" --eval "$t/true.jsonl"
    holds "$t/1" 'perplexity of good answers [0-9.]*'
    proves "true_answers_alone_are_all_good"

    refused 65 "points.jsonl: point data; pairs are needed (chosen and rejected)" ./more train dpo $policy --train "$t/points.jsonl" --out "$t/x"
    refused 65 "demos.jsonl: completion data; points (a completion with label or score) or pairs are needed" ./more train kto $policy --train "$t/demos.jsonl" --out "$t/x"
    refused 65 "text.jsonl: text data; completions, pairs or points are needed (train lm takes texts)" ./more train sft $policy --train "$t/text.jsonl" --out "$t/x"
    refused 65 "text.jsonl: text data; pairs, points or completions are needed" ./more train dpo $policy --train "$t/a.train.jsonl" --eval "$t/text.jsonl" --out "$t/x"
    refused 65 "text.jsonl: text data; pairs, points or completions are needed" ./more eval $cut --reference "$t/lm" --model "$t/p-dpo" --eval "$t/text.jsonl"
    refused 65 "scores.jsonl:1: the score 4.5 does not say whether to imitate" ./more train sft $policy --train "$t/scores.jsonl" --out "$t/x"
    refused 65 "no row has the label true: nothing to imitate" ./more train sft $policy --train "$t/false.jsonl" --out "$t/x" $(grep false "$t/points.jsonl" > "$t/false.jsonl")
    refused 65 "scores from 1.5 to 4.5 where labels are needed" ./more train kto $policy --train "$t/scores.jsonl" --out "$t/x"
    refused 65 "scores from 1.5 to 4.5 are no labels; --score_scale unit" ./more train ulma $policy --labels binary --train "$t/scores.jsonl" --out "$t/x"
    refused 65 "--score_scale: every score is 1" ./more train ulma $policy --score_scale unit --train "$t/true.jsonl" --out "$t/x"
    refused 64 "--demos positives: scores have no positives" ./more train ulma $policy --demos positives --train "$t/scores.jsonl" --out "$t/x"
    refused 65 "all rows have one prompt; kto's KL needs answers to other prompts" ./more train kto $policy --per_step_rows 1 --train "$t/one.jsonl" --out "$t/x" \
        $(head -n 1 "$t/points.jsonl" > "$t/one.jsonl")
    refused 64 "--max_prompt_length is needed" ./more train kto $policy --max_prompt_length 0 --train "$t/points.jsonl" --out "$t/x"
    refused 65 "too little data for a single step; lower --per_step_pairs, --per_step_rows" ./more train dpo $policy --per_step_rows 60 --train "$t/a.train.jsonl" --out "$t/x"
    refused 64 "--model is needed: the folder to start from" ./more train sft $cut --train "$t/demos.jsonl" --out "$t/x"
    refused 65 "a reward model, which predicts no tokens" ./more train dpo --model "$t/r" $cut --train "$t/a.train.jsonl" --out "$t/x"
    refused 66 "no-such" ./more eval $cut --reference "$t/no-such" --model "$t/p-dpo" --eval "$t/a.test.jsonl"
    works ./more tokenize --learn 258 --train "$t/text.jsonl" --out "$t/tok"
    works ./more train lm $new --train "$t/text.jsonl" --tokenizer "$t/tok/tokenizer.json" --max_steps 1 --out "$t/lm2" --quiet
    refused 65 "has another tokenizer than the reference" ./more eval $cut --reference "$t/lm2" --model "$t/p-dpo" --eval "$t/a.test.jsonl"
    refused 64 "--label_smoothing 0.6: a number" ./more train dpo $policy --label_smoothing 0.6
    if command -v sha256sum > "$t/x.out"; then                        # a cache of the right key with other numbers
        again --train "$t/a.train.jsonl"
        { head -c 80 "$t/p-again/reference.bin"; head -c 288 /dev/zero; } > "$t/x.bin"
        { cat "$t/x.bin"; sha256sum < "$t/x.bin" | head -c 64; } > "$t/p-again/reference.bin"
        refused 65 "p-again/reference.bin is not of these weights; remove it" ./more train dpo $policy --train "$t/a.train.jsonl" --out "$t/p-again"
    fi
    proves "what_a_policy_cannot_be_trained_on_is_refused_and_the_remedy_named"
    for f in 0 1; do
        works ./more train sft $policy --per_step_rows 3 --max_steps 2 --train "$t/a.train.jsonl" --folds 2 --fold $f --out "$t/fold-$f"
        works ./more eval $cut --reference "$t/lm" --model p="$t/p-dpo" --eval "$t/a.test.jsonl" --folds 2 --fold $f --out "$t/fold.$f"
    done
    cmp -s "$t/fold-0/model.safetensors" "$t/fold-1/model.safetensors" && fault "two folds, one policy"
    sed -n 's/.*"event":"policy".*"n":\([0-9]*\).*/\1/p' "$t/fold.0" "$t/fold.1" | awk '{ n += $1 } END { exit n != 32 || NR != 2 }' || fault "folds"
    head -n 1 "$t/a.train.jsonl" > "$t/one.jsonl"
    for f in 0 1; do ./more train sft $policy --per_step_rows 1 --train "$t/one.jsonl" --folds 2 --fold $f --out "$t/w.fold" 2>&1; done > "$t/w.err"
    holds "$t/w.err" "one.jsonl: no rows outside fold [01] of 2"
    proves "policies_leave_a_fold_out_and_eval_takes_it_alone"
fi

# ------------------------------------------------------------------------------------------------------ evaluating

if part eval; then
    works ./more eval $cut --model All=$t/r "$t/s-a" "Mean=$t/s-a+$t/s-b" "Own=$t/s-%s" --eval "$t/a.test.jsonl" "$t/b.test.jsonl:b" \
        --out "$t/e.jsonl"
    cp "$t/1" "$t/table"
    holds "$t/table" '^a: 16 pairs, 16 prompts; the longer answer wins [0-9.]* %$'
    holds "$t/table" '^b: 8 pairs, 8 prompts;'
    holds "$t/table" '^mean of the 2 sets;'
    for m in All s-a Mean Own; do
        [ "$(grep -c "^$m  *[0-9.]* *[0-9.-]* \.\. " "$t/table")" = 3 ] || fault "rows of $m: $(cat "$t/table")"
    done
    [ "$(grep -c '^longer answer wins' "$t/table")" = 2 ] || fault "longer answer wins"
    [ "$(grep -c '"event":"pair"' "$t/e.jsonl")" = 96 ] || fault "$(wc -l < "$t/e.jsonl") lines"
    [ "$(grep -c '"event":"metrics"' "$t/e.jsonl")" = 8 ] || fault "metrics"
    for k in accuracy accuracy_95 accuracy_strict tie_rate nll brier margin ece_5 ece_10 ece_20 ace_more_10 mce_10 confidence_ece_10 \
             quantiles histogram correct wrong; do
        [ "$(grep -c "\"event\":\"metrics\".*\"$k\":" "$t/e.jsonl")" = 8 ] || fault "no $k"
    done
    proves "eval_prints_a_table_of_models_by_sets_and_writes_pairs_and_metrics"
    deltas() { sed -n "s/.*\"model\":\"$1\",\"eval\":\"$2\".*\"delta\":\([^,]*\),.*/\1/p" "$t/e.jsonl" > "$t/delta.$3"; }
    works ./more eval $cut --model A=$t/s-a B=$t/s-b --eval "$t/a.test.jsonl" "$t/b.test.jsonl" --out "$t/e2.jsonl"
    cat "$t/e2.jsonl" >> "$t/e.jsonl"
    deltas s-a a 1; deltas B a 2; deltas Mean a 3
    paste "$t/delta.1" "$t/delta.2" "$t/delta.3" | awk '
        { d = ($1 + $2) / 2 - $3; if (d > 1e-7 || d < -1e-7) bad = 1 } END { exit bad || NR != 16 }' || fault "not the mean"
    proves "a_model_of_several_folders_has_their_mean_reward"
    deltas Own a 1; deltas A a 2; same "$t/delta.1" "$t/delta.2"
    deltas Own b 1; deltas B b 2; same "$t/delta.1" "$t/delta.2"
    proves "a_folder_with_a_percent_sign_is_each_sets_own"
    grep -v '"model":"[AB]"' "$t/e.jsonl" > "$t/e3.jsonl"
    works ./more eval --from "$t/e3.jsonl"; same "$t/1" "$t/table"
    works ./more eval $cut --model All=$t/r "$t/s-a" --eval "$t/a.test.jsonl" "$t/b.test.jsonl" --out "$t/x1.jsonl"
    works ./more eval $cut --model "Mean=$t/s-a+$t/s-b" "Own=$t/s-%s" --eval "$t/a.test.jsonl" "$t/b.test.jsonl" --from "$t/x1.jsonl"
    same "$t/1" "$t/table"
    proves "results_read_back_make_the_same_table"
    for f in 0 1 2; do works ./more eval $cut --model R=$t/r --eval "$t/a.test.jsonl" --folds 3 --fold $f --out "$t/fold.$f"; done
    cat "$t"/fold.? | sed -n 's/"event":"pair"/&/p' | sort > "$t/x1"
    works ./more eval $cut --model R=$t/r --eval "$t/a.test.jsonl" --out "$t/x.jsonl"
    grep '"event":"pair"' "$t/x.jsonl" | sort > "$t/x2"
    same "$t/x1" "$t/x2"
    proves "the_folds_of_a_file_are_its_pairs_each_once"
    works ./more eval $cut --model Raw=$t/lm --raw_head 1 --eval "$t/a.test.jsonl" --out "$t/x1.jsonl"
    works ./more eval $cut --model Raw=$t/lm --raw_head 2 --eval "$t/a.test.jsonl" --out "$t/x2.jsonl"
    cmp -s "$t/x1.jsonl" "$t/x2.jsonl" && fault "one head for two seeds"
    proves "a_raw_head_is_a_function_of_its_seed"
    cp "$t/e3.jsonl" "$t/keep.jsonl"
    works ./more eval $cut --from "$t/keep.jsonl" --model New=$t/r --eval "$t/a.test.jsonl" --out "$t/keep.jsonl"
    holds "$t/1" '^Own  '
    refused 66 "No such file" ./more eval $cut --model New=$t/r --eval "$t/no-such.jsonl" --out "$t/e3.jsonl"
    [ -s "$t/e3.jsonl" ] || fault "the old results are gone"
    proves "results_that_are_there_are_not_lost_to_a_run_that_fails_or_reads_them"
    works ./more tokenize --learn 258 --train "$t/text.jsonl" --out "$t/tok"
    works ./more train lm $new --train "$t/text.jsonl" --tokenizer "$t/tok/tokenizer.json" --max_steps 1 --out "$t/lm2" --quiet
    works ./more train reward $recipe --model "$t/lm2" --train "$t/a.train.jsonl" --max_steps 1 --out "$t/r2"
    works ./more eval $cut --model "Mean=$t/r+$t/r2" --eval "$t/a.test.jsonl"
    refused 65 "leaves other pairs" ./more eval --max_length 40 --max_prompt_length 20 --over_length drop \
        --model "Mean=$t/r+$t/r2" --eval "$t/a.test.jsonl"
    # a first row that one of them drops moves the answers of the others, also in the fold that it is not in
    { printf '{"prompt":"\\n\\nHuman: who?\\n\\nAssistant:","chosen":" %s","rejected":" no"}\n' "$(yes the | head -n 55 | tr '\n' ' ')"
      cat "$t/a.test.jsonl"; } > "$t/first.jsonl"
    for f in 0 1; do
        for m in "r r2" "r2 r"; do
            refused 65 "leaves other pairs" ./more eval --max_length 200 --max_prompt_length 20 --over_length drop --folds 2 --fold $f \
                --model "Mean=$t/${m% *}+$t/${m#* }" --eval "$t/first.jsonl"
        done
        works ./more eval --max_length 200 --max_prompt_length 20 --over_length drop --folds 2 --fold $f --model "Mean=$t/r+$t/r" --eval "$t/first.jsonl"
    done
    proves "models_of_other_tokenizers_are_averaged_but_only_on_the_same_rows"
    mkdir -p "$t/other"; cp "$t/b.test.jsonl" "$t/other/a.test.jsonl"
    refused 64 "a" ./more eval $cut --model "$t/r" --eval "$t/a.test.jsonl" "$t/other/a.test.jsonl"
    refused 64 "r" ./more eval $cut --model "$t/r" "$t/other/../r" --eval "$t/a.test.jsonl"
    refused 64 "" ./more eval $cut --model "R=" --eval "$t/a.test.jsonl"
    proves "two_sets_or_two_models_of_one_name_are_refused"
fi

# --------------------------------------------------------------------------------------------------------- scoring

score() { rows=$1; shift; from "$rows" works ./more score $cut --model "$t/r" --quiet "$@"; }
if part score; then
    score "$t/a.test.jsonl"; cp "$t/1" "$t/pairs"
    sed 's/,"scores_chosen":[^}]*}$/}/' "$t/pairs" > "$t/y"; same "$t/y" "$t/a.test.jsonl"
    sed 's/.*"scores_chosen":\([^,]*\),"scores_rejected":\([^,]*\),"results":\([^,]*\)}$/\1 \2 \3/' "$t/pairs" > "$t/numbers"
    awk '{ r = $1 > $2 ? 1 : $1 < $2 ? 0 : .5; if (NF != 3 || r != $3) bad = 1 } END { exit bad || NR != 16 }' "$t/numbers" || fault "results"
    awk '{ for (i = 1; i < 3; i++) { s = $i; sub(/e.*/, "", s); gsub(/[-.]/, "", s); sub(/^0*/, "", s); n = length(s)
           if (n > most) most = n; if (n > 9) bad = 1 } } END { exit bad || most != 9 }' "$t/numbers" || fault "not 9 significant digits"
    proves "a_pair_is_its_row_with_both_scores_and_the_result_added"
    works ./more eval $cut --model R=$t/r --eval "$t/a.test.jsonl" --out "$t/x.jsonl"
    sed -n 's/.*"delta":\([^,]*\),.*/\1/p' "$t/x.jsonl" | paste "$t/numbers" - | awk '
        { d = $1 - $2 - $4; if (d > 1e-8 || d < -1e-8) bad = 1 } END { exit bad || NR != 16 }' || fault "eval says something else"
    proves "score_and_eval_agree"
    sed 's/"chosen":\(.*\),"rejected":.*/"completion":\1,"label":true}/' "$t/a.test.jsonl" > "$t/points.jsonl"
    score "$t/points.jsonl"; cp "$t/1" "$t/points"
    sed 's/,"reward":[^}]*}$/}/' "$t/points" > "$t/y"; same "$t/y" "$t/points.jsonl"
    sed 's/.*"reward":\(.*\)}$/\1/' "$t/points" > "$t/x1"; cut -d ' ' -f 1 "$t/numbers" > "$t/x2"; same "$t/x1" "$t/x2"
    proves "a_point_has_one_reward_and_an_answer_scores_the_same_alone_and_in_a_pair"
    sed 's/"chosen":\(.*\),"rejected":\(.*\)}$/"completions":[\2,\1," maybe"],"ranks":[3,1,2]}/' "$t/a.test.jsonl" > "$t/ranks.jsonl"
    score "$t/ranks.jsonl"; cp "$t/1" "$t/ranks"
    sed 's/,"rewards":[^}]*}$/}/' "$t/ranks" > "$t/y"; same "$t/y" "$t/ranks.jsonl"
    sed 's/.*"rewards":\[\([^,]*\),\([^,]*\),\([^,]*\)\]}$/\2 \1/' "$t/ranks" > "$t/x1"; cut -d ' ' -f 1,2 "$t/numbers" > "$t/x2"; same "$t/x1" "$t/x2"
    proves "a_ranking_has_its_rewards_in_the_order_of_the_row"
    {   sed 's/,"ranks".*/}/; s/," maybe"//' "$t/ranks.jsonl"
        echo '{"prompt":"P","completions":[" a"," a"],"ranks":[1,1]}'; } > "$t/two.jsonl"
    score "$t/two.jsonl"
    [ "$(wc -l < "$t/1")" -eq 17 ] || fault "$(wc -l < "$t/1") rows of 17"
    [ "$(grep -c '"rewards":\[[^,]*,[^,]*\]}$' "$t/1")" = 17 ] || fault "$(tail -n 1 "$t/1")"
    {   cat "$t/b.test.jsonl"; echo '{"prompt":"P","chosen":" a","rejected":" a"}'; } > "$t/tie.jsonl"
    score "$t/tie.jsonl"
    [ "$(wc -l < "$t/1")" -eq 9 ] || fault "$(wc -l < "$t/1") rows of 9"
    tail -n 1 "$t/1" | grep -q '"results":0.5}$' || fault "$(tail -n 1 "$t/1")"
    proves "every_row_comes_back_ties_too"
    score "$t/other.jsonl"
    sed 's/,"reward":[^}]*}$/}/' "$t/1" > "$t/y"; same "$t/y" "$t/other.jsonl"
    proves "texts_are_scored"
    printf '\357\273\277\r\n{"text":"a","id":1}\r\n\n  {"text":"b"}' > "$t/odd.jsonl"
    score "$t/odd.jsonl"
    [ "$(sed 's/"reward":[^}]*/R/' "$t/1" | tr -d '\n')" = '{"text":"a","id":1,R}{"text":"b",R}' ] || fault "$(cat "$t/1")"
    printf '[ {"text": "a",\n   "id": 1}\n , {"text": "b"}]\n' > "$t/array.json"
    score "$t/array.json"
    [ "$(wc -l < "$t/1")" -eq 2 ] && [ "$(grep -c '^{.*"reward":.*}$' "$t/1")" = 2 ] || fault "$(cat "$t/1")"
    proves "rows_of_any_layout_come_back_one_a_line"
    awk '{ row[NR] = $0 } END { for (i = NR; i; i--) print row[i] }' "$t/a.test.jsonl" > "$t/back.jsonl"
    score "$t/back.jsonl"
    awk '{ row[NR] = $0 } END { for (i = NR; i; i--) print row[i] }' "$t/1" > "$t/y"; same "$t/y" "$t/pairs"
    score "$t/a.test.jsonl" --micro_batch_tokens 1; same "$t/1" "$t/pairs"
    score "$t/a.test.jsonl" --micro_batch_tokens 150 --threads 3; same "$t/1" "$t/pairs"
    for i in 1 7 16; do
        sed -n ${i}p "$t/a.test.jsonl" > "$t/one.jsonl"; sed -n ${i}p "$t/pairs" > "$t/y"
        score "$t/one.jsonl"; same "$t/1" "$t/y"
    done
    proves "a_text_scores_the_same_whatever_its_neighbours"
    from "$t/a.test.jsonl" works ./more score $cut --model "$t/r"
    holds "$t/2" '^stdin: 16 rows of kind pair, 16 kept'
    proves "what_was_read_is_reported_apart_from_the_data"
fi

# -------------------------------------------------------------------------------- the best of n, policies compared

write="$cut --max_new_tokens 12 --seed 3 --quiet"
judged="--model $t/lm --judge $t/r --prompts $t/a.test.jsonl $write"
field() { sed "s/.*\"$2\":\(\[[^]]*\]\|\"[^\"]*\"\|[^,}]*\).*/\1/" "$1"; }    # of each line

if part bestof; then
    works ./more bestof $judged --n 3 --out "$t/best" --all "$t/all"
    [ "$(wc -l < "$t/best") $(wc -l < "$t/all")" = "16 48" ] || fault "$(wc -l "$t/best" "$t/all")"
    field "$t/all" reward > "$t/w.x"; field "$t/all" sample > "$t/w.y"; grep -n '"completion":""' "$t/all" | cut -d: -f1 > "$t/w.z"
    awk 'FILENAME == ARGV[1] { empty[$1] = 1; next } FILENAME == ARGV[2] { r[FNR] = $1; next }
        { g = int((FNR - 1) / 3); if (!(FNR in empty) && (!(g in b) || r[FNR] > b[g])) { b[g] = r[FNR]; s[g] = $1 } }
        END { for (g = 0; g < 16; g++) if (g in b) print s[g], b[g] }' "$t/w.z" "$t/w.x" "$t/w.y" > "$t/want"
    field "$t/best" reward > "$t/w.x"; field "$t/best" sample | paste -d ' ' - "$t/w.x" > "$t/have"
    same "$t/want" "$t/have"
    proves "the_best_of_n_is_the_first_sample_with_the_largest_reward"
    grep -v '"completion":""' "$t/all" > "$t/rows"
    from "$t/rows" works ./more score --model "$t/r" $cut
    sed 's/.*"reward":\([^,]*\),.*"reward":\([^}]*\)}$/\1 \2/' "$t/1" | awk '$1 != $2 { bad = 1 } END { exit bad || !NR }' || fault "$(cat "$t/1")"
    proves "the_rewards_are_those_of_score_for_the_same_rows"
    works ./more train sft --model "$t/lm" --train "$t/best" $cut --per_step_rows 4 --max_steps 2 --quiet --out "$t/sft"
    proves "the_best_completions_train_a_policy"
    cat "$t/a.test.jsonl" "$t/a.test.jsonl" > "$t/twice"
    works ./more bestof --model "$t/lm" --judge "$t/r" --prompts "$t/twice" $write --n 3 --out "$t/w.x"
    same "$t/best" "$t/w.x"
    for f in 0 1; do works ./more bestof $judged --folds 2 --fold $f --out "$t/best-$f"; done
    [ $(cat "$t/best-0" "$t/best-1" | wc -l) = 16 ] || fault "folds"
    proves "each_prompt_is_taken_once_and_a_fold_is_left_out"
    for o in "--threads 2" "--batch 1" "--batch 5 --threads 3 --micro_batch_tokens 60"; do
        works ./more bestof $judged --n 3 $o --out "$t/w.x"
        same "$t/best" "$t/w.x"
    done
    proves "threads_and_batches_do_not_change_the_best"
    refused 64 "--model, --judge and --prompts are needed" ./more bestof --model "$t/lm" --judge "$t/r" --out "$t/w.x"
    refused 64 "--out is needed" ./more bestof $judged
    refused 64 "--fold must be below --folds" ./more bestof $judged --folds 2 --fold 2 --out "$t/w.x"
    refused 65 "a language model; a reward model is needed" ./more bestof $judged --judge "$t/lm" --out "$t/w.x"
    refused 64 "--model: one folder is enough, not 2" ./more bestof $judged --model "$t/r" --out "$t/w.x"
    refused 65 "a reward model" ./more bestof --model "$t/r" --judge "$t/r" --prompts "$t/a.test.jsonl" $write --out "$t/w.x"
    refused 66 "no-such" ./more bestof $judged --judge "$t/no-such" --out "$t/w.x"
    refused 66 "no-such" ./more bestof $judged --prompts "$t/no-such" --out "$t/w.x"
    refused 64 "the model has 2048 positions" ./more bestof $judged --judge_max_length 4096 --out "$t/w.x"
    sed 1q "$t/best-1" | sed 's/,"reward".*/}/' > "$t/fold-0.jsonl"
    refused 65 "outside fold 0 of 2" ./more bestof --model "$t/lm" --judge "$t/r" --prompts "$t/fold-0.jsonl" $write \
        --folds 2 --fold 0 --out "$t/w.x"
    refused 65 "every completion is empty" ./more bestof $judged --out "$t/w.x" --stop " " \
        a b c d e f g h i j k l m n o p q r s t u v w x y z . , '"' '{' '}' : ! "$(printf '\357\277\275')" --top_k 1
    proves "what_bestof_cannot_do_without_is_asked_for"
fi

if part compare; then
    works ./more train sft --model "$t/lm" --train "$t/a.train.jsonl" $cut --learning_rate 1e-3 --per_step_rows 5 --max_steps 3 --quiet --out "$t/sft"
    compared="--judge $t/r --prompts $t/a.test.jsonl $write"
    works ./more compare --model base="$t/lm" "$t/lm" sft="$t/sft" $compared --out "$t/results"
    cp "$t/1" "$t/table"
    awk 'FNR > 2 && length > 110 { exit 1 }' "$t/table" || fault "a line of more than 110 columns"
    for m in base lm sft; do grep -q "^$m " "$t/table" || fault "no $m"; done
    grep '"event":"compare","model":"lm"' "$t/results" > "$t/w.x"
    for k in tie:1 win:0 lose:0 reward_difference:0 kl:0 log_perplexity_difference:0; do
        [ "$(field "$t/w.x" ${k%:*})" = ${k#*:} ] || fault "$k: $(cat "$t/w.x")"
    done
    proves "a_policy_ties_with_itself_and_has_no_divergence_from_itself_to_the_last_bit"
    grep '"event":"completion","model":"sft"' "$t/results" > "$t/rows"
    grep '"event":"compare","model":"sft"' "$t/results" > "$t/w.x"
    for k in reward tokens logp ref_logp win finish; do field "$t/rows" $k > "$t/w.k.$k"; done
    paste -d ' ' "$t/w.k.reward" "$t/w.k.tokens" "$t/w.k.logp" "$t/w.k.ref_logp" "$t/w.k.win" "$t/w.k.finish" | awk -v want="$(for k in reward \
        kl kl_per_token tokens win tie lose ended; do field "$t/w.x" $k; done | tr '\n' ' ')" '
        function off(i, x) { if (w[i] - x > 1e-5 || x - w[i] > 1e-5) { print i, w[i], x; bad = 1 } }
        { r += $1; n += $2; kl += $3 - $4; win += $5 == 1; tie += $5 == 0.5; lose += $5 == 0; ended += $6 != "\"length\"" }
        END { split(want, w, " "); off(1, r / NR); off(2, kl / NR); off(3, kl / n); off(4, n / NR); off(5, win / NR); off(6, tie / NR)
              off(7, lose / NR); off(8, ended / NR); exit bad || NR != 16 }' > "$t/w.y" || fault "$(cat "$t/w.y")"
    proves "the_numbers_are_means_over_the_completions"
    works ./more eval $cut --reference "$t/lm" --model sft="$t/sft" --eval "$t/a.test.jsonl"
    holds "$t/1" "perplexity of chosen answers $(field "$t/w.x" perplexity | awk '{ printf "%.4f", $1 }'), mean over texts $(
        field "$t/w.x" item_perplexity | awk '{ printf "%.4f", $1 }')"
    proves "the_perplexities_are_those_of_eval"
    for o in "--threads 2" "--batch 3" "--micro_batch_tokens 100"; do
        works ./more compare --model base="$t/lm" "$t/lm" sft="$t/sft" $compared $o --out "$t/w.x"
        same "$t/1" "$t/table"; same "$t/results" "$t/w.x"
    done
    proves "threads_and_batches_change_no_number"
    works ./more bestof --model "$t/sft" $compared --n 1 --out "$t/w.x" --all "$t/all"
    field "$t/all" reward > "$t/w.y"
    same "$t/w.k.reward" "$t/w.y"
    proves "compare_and_bestof_draw_the_same_completions"
    sed 's/,"chosen".*/}/' "$t/a.test.jsonl" > "$t/alone"
    works ./more compare --model "$t/lm" "$t/sft" --judge "$t/r" --prompts "$t/alone" $write --reference "$t/sft"
    grep -q perplexity "$t/1" && grep -q 'perplexity of' "$t/1" && fault "of what answers?"
    proves "prompts_alone_have_no_perplexity_and_any_model_is_the_reference"
    refused 64 "--model, --judge and --prompts are needed" ./more compare --model "$t/lm"
    refused 64 "two models are called lm" ./more compare --model "$t/lm" "$t/lm" $compared
    refused 65 "a language model; a reward model is needed" ./more compare --model "$t/lm" $compared --judge "$t/lm"
    works ./more bestof $judged --folds 2 --fold 0 --n 1 --out "$t/w.x"
    sed 1q "$t/w.x" | sed 's/,"reward".*/}/' > "$t/fold-1.jsonl"
    refused 64 "give a file, not standard input" ./more compare --model "$t/lm" --judge "$t/r" --prompts - $write
    refused 65 "in fold 0 of 2" ./more compare --model "$t/lm" --judge "$t/r" --prompts "$t/fold-1.jsonl" $write --folds 2 --fold 0
    refused 66 "no-such" ./more compare --model "$t/lm" $compared --reference "$t/no-such"
    mkdir -p "$t/short"; cp "$t/lm"/* "$t/short"
    sed 's/\("max_position_embeddings": *\)[0-9]*/\118/' "$t/lm/config.json" > "$t/short/config.json"
    refused 65 "tokens with its prompt, the reference 18 positions" ./more compare --model "$t/lm" $compared --max_length 16 \
        --max_prompt_length 10 --reference "$t/short"
    refused 73 "is a folder" ./more compare --model "$t/lm" $compared --out "$t"
    proves "what_compare_cannot_do_without_is_asked_for"
fi

# -------------------------------------------------------------------------------------------------------- sampling

if part sample; then
    texts="--model $t/lm --max_new_tokens 12"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --n 2; cp "$t/1" "$t/drawn"
    holds "$t/2" '^32 completions of 16 prompts: [0-9]* tokens in [0-9.]* s, [0-9]* tokens/s$'
    awk '{ if ($0 !~ /^{"prompt":".*","completion":".*","sample":[01],"tokens":[0-9]+,"finish":"(eos|length)","logp":-[0-9.]+}$/) bad = 1
           if (index($0, "\"sample\":" (NR + 1) % 2 ",") == 0) bad = 1 } END { exit bad || NR != 32 }' "$t/drawn" || fault "$(head -n 3 "$t/drawn")"
    sed 's/,"completion.*//' "$t/drawn" | uniq > "$t/x1"; sed 's/,"chosen.*//' "$t/a.test.jsonl" > "$t/x2"; same "$t/x1" "$t/x2"
    proves "sample_writes_a_line_for_every_completion_in_order"
    for v in "--batch 1" "--batch 7" "--batch 64" "--threads 2" "--threads 3"; do
        works ./more sample $texts --prompts "$t/a.test.jsonl" --n 2 $v; same "$t/1" "$t/drawn"
    done
    for isa in scalar avx2 avx512 avx512_bf16 amx neon; do
        MORE_ISA=$isa ./more inspect --model "$t/lm" > "$t/1" 2> "$t/2" || continue
        works env MORE_ISA=$isa ./more sample $texts --prompts "$t/a.test.jsonl" --n 2; same "$t/1" "$t/drawn"
    done
    works ./more sample $texts --prompts "$t/a.test.jsonl" --seed 7
    sed -n 'p;n' "$t/drawn" > "$t/x1"; cmp -s "$t/1" "$t/x1" && fault "one text for two seeds"
    works ./more sample $texts --prompts "$t/a.test.jsonl"; same "$t/1" "$t/x1"
    head -n 3 "$t/a.test.jsonl" > "$t/three"; head -n 3 "$t/x1" > "$t/x2"
    from "$t/three" works ./more sample $texts; same "$t/1" "$t/x2"
    proves "a_completion_is_a_function_of_model_prompt_number_and_seed"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --temperature 0; cp "$t/1" "$t/x1"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --top_k 1 --seed 9; same "$t/1" "$t/x1"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --top_p 1e-9; same "$t/1" "$t/x1"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --min_p 1; same "$t/1" "$t/x1"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --temperature 0 --repetition_penalty 3; cmp -s "$t/1" "$t/x1" && fault "no penalty"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --temperature 0 --precision bf16
    proves "the_narrowest_filters_are_the_most_probable_token"
    from "$t/drawn" works ./more score $cut --model "$t/r"
    [ "$(grep -c '"logp":-[0-9.]*,"reward":[-0-9.e]*}$' "$t/1")" = 32 ] || fault "$(head -n 2 "$t/1")"
    works ./more train lm $new --train "$t/drawn" --max_steps 1 --out "$t/x"
    proves "what_was_drawn_can_be_scored_and_trained_on"
    printf 'the sky over\nthe sea\n' > "$t/words"
    from "$t/words" works ./more sample $texts
    holds "$t/1" '^{"prompt":"the sky over\\nthe sea","completion":".*"}*'
    works ./more sample $texts; holds "$t/1" '^{"prompt":"","completion":"'
    from "$t/text.jsonl" works ./more sample $texts; [ "$(wc -l < "$t/1")" = 30 ] || fault "$(wc -l < "$t/1") lines"
    proves "any_other_text_is_one_prompt_and_nothing_begins_a_text"
    cat "$t/a.test.jsonl" "$t/a.test.jsonl" > "$t/twice"
    works ./more sample $texts --prompts "$t/twice"; [ "$(wc -l < "$t/1")" = 32 ] || fault "$(wc -l < "$t/1") lines"
    works ./more sample $texts --prompts "$t/twice" --unique; sed -n 'p;n' "$t/drawn" > "$t/x1"; same "$t/1" "$t/x1"
    proves "prompts_that_stand_twice_are_kept_unless_unique"
    works ./more sample $texts --prompts "$t/a.test.jsonl" --n 4 --max_new_tokens 40 --stop o "never"
    sed 's/.*"completion":"\(.*\)","sample.*"finish":"\(.*\)",.*/\2 \1/' "$t/1" > "$t/x1"
    holds "$t/x1" '^stop'
    grep -q '^[a-z]* .*o' "$t/x1" && fault "$(cat "$t/x1")"
    proves "a_completion_ends_before_a_stop_string"
    if script -qec true /dev/null > "$t/x.out" 2>&1; then
        from "$t/three" works ./more sample $texts --temperature 0
        sed -n 's/{"prompt":"\(.*\)","completion":"\(.*\)","sample.*/\1\2/p' "$t/1" | awk '{ gsub(/\\n/, "\n"); print }' > "$t/x1"
        script -qec "./more sample $texts --temperature 0 --prompts $t/three --quiet" /dev/null 2> "$t/2" < /dev/null | tr -d '\r' > "$t/x2"
        same "$t/x1" "$t/x2"
        proves "on_a_terminal_prompt_and_completion_are_plain_text"
    fi
    refused 66 "$t/no-such.jsonl: No such file" ./more sample $texts --prompts "$t/no-such.jsonl"
    refused 65 "a reward model, which predicts no tokens" ./more sample --model "$t/r"
    refused 65 "words:1:" ./more sample $texts --prompts "$t/words"
    for o in "n 0" "batch 0" "batch 513" "temperature -1" "top_k -1" "top_p 0" "top_p 1.1" "min_p 1.1" "repetition_penalty 0" "max_new_tokens 0"; do
        refused 64 "--$o: a " ./more sample --${o% *} "${o#* }"
    done
    awk 'BEGIN { for (i = 0; i < 2100; i++) printf "\001" }' > "$t/long"
    from "$t/long" refused 65 "prompt 1 has 2100 tokens, the model 2048 positions; --max_prompt_length cuts prompts" ./more sample $texts --max_prompt_length 0
    from "$t/long" works ./more sample $texts
    proves "what_sample_cannot_do_is_said"
fi

# --------------------------------------------------------------------------------------------------------- looking

if part look; then
    printf 'the sky, \303\244 sea\n\000\377' > "$t/bytes"
    from "$t/bytes" works ./more tokenize --model "$t/lm"
    awk -F '\t' '{ if (NF != 2 || $1 !~ /^[0-9]+$/ || $2 !~ /^".*"$/) bad = 1 } END { exit bad }' "$t/1" || fault "$(cat "$t/1")"
    printf 'the sky over the sea' > "$t/words"
    from "$t/words" works ./more tokenize --tokenizer "$t/lm/tokenizer.json"
    [ "$(cut -f 2 "$t/1" | tr -d '"\n')" = "the sky over the sea" ] || fault "$(cat "$t/1")"
    [ "$(wc -l < "$t/1")" -lt 15 ] || fault "nothing was learned"
    proves "tokenize_shows_the_pieces_of_a_text"
    works ./more tokenize --learn 300 --train "$t/text.jsonl" --out "$t/v/w"
    same "$t/v/w/tokenizer.json" "$t/lm/tokenizer.json"
    proves "a_vocabulary_learned_apart_is_the_one_that_training_learns"
    works ./more inspect --model "$t/lm"
    holds "$t/1" '^GPT-NeoX, language model: [0-9]* parameters$'
    works ./more inspect --model "$t/s-b"
    holds "$t/1" '^GPT-NeoX, reward model: '
    holds "$t/1" 'channels 32, layers 2, heads 2'
    holds "$t/1" 'a score head, pooling mean'
    proves "inspect_shows_what_a_folder_holds"
    works ./more selftest
    holds "$t/1" '^this machine keeps the contract$'
    works ./more gradcheck --model "$t/lm"
    works ./more gradcheck --model "$t/s-b"
    proves "the_machine_and_the_gradients_of_a_model_can_be_checked"
fi

# ------------------------------------------------------------------------------------------------- before training

# doctor FILE [OPTION...]: of a file to train on; trap TEXT FILE [OPTION...]: it exits with 1 and has this one trap
doctor() { file=$1; shift; run ./more doctor --model "$t/lm" $cut --train "$file" "$@"; }
trap_() {
    text=$1; shift
    doctor "$@"
    [ $code = 1 ] || fault "exit $code, not 1: $text"
    [ "$(grep -c '^trap: ' "$t/1")" = 1 ] || fault "not one trap: $(grep '^trap: ' "$t/1")"
    grep '^trap: ' "$t/1" | grep -qF -e "$text" || fault "$(grep '^trap: ' "$t/1"), not ...$text..."
    holds "$t/2" '^more: traps: 1; see the lines'
}
warning() {
    text=$1; shift
    doctor "$@"
    [ $code = 0 ] || fault "exit $code, not 0: $text: $(grep '^trap: ' "$t/1")"
    grep '^warning: ' "$t/1" | grep -qF -e "$text" || fault "$(grep '^warning: ' "$t/1"), not ...$text..."
}
# name N: the tokens of the N-th shown text called so, one a line, id and piece, with their marks
shown() {
    awk -v name="$1" -v n="$2" '/^    [a-z]/ { on = $1 == name && /"/ && ++i == n } /^[^ ]|^  [^ ]/ { on = 0 } on' "$t/1" |
        grep -o '[0-9][0-9]*"\([^"\\]\|\\.\)*"[*^]*' | sed 's/"/\t"/'
}
# tokens KEY FILE LINE: what tokenize says of a row's string
tokens() {
    sed -n "$3p" "$2" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" > "$t/string"
    printf "$(cat "$t/string")" > "$t/string.txt"
    ./more tokenize --model "$t/lm" < "$t/string.txt"
}
if part doctor; then
    doctor "$t/a.train.jsonl" --eval "$t/a.test.jsonl" --rows 2
    [ $code = 0 ] || fault "exit $code: $(grep '^trap: ' "$t/1")"
    holds "$t/1" '^traps: 0, warnings: '
    holds "$t/1" '^    18 rows: 18 kept, of which 0 cut (0 prompts, 0 answers); left out: 0 too long, 0 ties, 0 bad$'
    holds "$t/1" '^    the longer answer is chosen in [0-9.]* % of pairs$'
    for n in training "training with --recompute" scoring; do holds "$t/1" "^    $n  *[0-9.]*  *[0-9.]*  *[0-9.]*$"; done
    holds "$t/1" '^    one epoch is [0-9]* rows of tokens$'
    holds "$t/1" '^    [0-9]* tokens/s, .* an epoch; the loss there is 0.6931 '
    [ "$(grep -c '^  line [12]$' "$t/1")" = 4 ] || fault "rows shown: $(grep '^  line' "$t/1")"
    awk -v t="$t" 'length > 100 && index($0, t) == 0 { bad = 1 } END { exit bad }' "$t/1" || fault "a line is wider than 100"
    proves "doctor_finds_no_trap_in_clean_files_and_shows_lengths_memory_and_time"

    for k in prompt chosen rejected; do
        for n in 1 2; do
            shown $k $n | sed 's/^\(.*\)^$/\1/' > "$t/x1"; tokens $k "$t/a.train.jsonl" $n > "$t/x2"
            [ -s "$t/x2" ] || fault "no tokens"
            same "$t/x1" "$t/x2"
        done
    done
    shown chosen 1 > "$t/x1"; [ "$(grep -c '\^$' "$t/x1")" = 1 ] && tail -n 1 "$t/x1" | grep -q '\^$' || fault "$(cat "$t/x1")"
    shown prompt 1 | grep -q '[*^]$' && fault "a prompt's token is marked"
    doctor "$t/a.train.jsonl" --pooling eos
    shown chosen 1 | tail -n 1 | grep -qF '0	"<|endoftext|>"^' || fault "eos: $(shown chosen 1)"
    doctor "$t/a.train.jsonl" --pooling mean
    shown chosen 1 | grep -qv '\^$' && fault "mean: $(shown chosen 1)"
    proves "the_tokens_shown_are_those_of_tokenize_and_the_one_that_is_scored_is_marked"
    doctor "$t/a.train.jsonl" --objective dpo
    { tokens chosen "$t/a.train.jsonl" 1; echo '0	"<|endoftext|>"'; } | sed 's/$/*/' > "$t/x2"
    shown chosen 1 > "$t/x1"; same "$t/x1" "$t/x2"
    doctor "$t/text.jsonl"
    { echo '0	"<|endoftext|>"'; tokens text "$t/text.jsonl" 1 | sed 's/$/*/'; echo '0	"<|endoftext|>"*'; } > "$t/x2"
    shown document 1 > "$t/x1"; same "$t/x1" "$t/x2"
    doctor "$t/a.train.jsonl" --objective simpo --max_length 18 --max_prompt_length 10 --over_length truncate
    tokens chosen "$t/a.train.jsonl" 1 | head -n 7 | sed 's/$/*/' > "$t/x2"; shown chosen 1 > "$t/x1"; same "$t/x1" "$t/x2"
    echo '{"prompt":"","completion":"the sky"}' > "$t/no_prompt.jsonl"; doctor "$t/no_prompt.jsonl" --objective sft
    [ "$(shown answer 1 | head -n 1 | grep -c '[*]')$(shown answer 1 | grep -vc '[*]')" = 01 ] || fault "no prompt: $(shown answer 1)"
    proves "tokens_that_are_trained_are_marked_and_the_end_is_among_them"
    for o in dpo ipo pointwise-dpo ulma unlikelihood kto orpo simpo; do
        doctor "$t/a.train.jsonl" --eval "$t/a.test.jsonl" --objective $o; [ $code = 0 ] || fault "$o: $(grep '^trap: ' "$t/1")"
    done
    doctor "$t/a.train.jsonl" --objective dpo --max_length 18 --max_prompt_length 10; holds "$t/1" 'left out: [1-9][0-9]* too long'
    printf '{"prompt":"P","completion":" %s","label":%s}\n' a true b false > "$t/labels.jsonl"
    doctor "$t/labels.jsonl" --objective sft; holds "$t/1" ' 1 kept, .* 0 bad, 1 with the label false$'
    trap_ "$t/labels.jsonl: all rows have one prompt; kto's KL needs answers to other prompts" "$t/labels.jsonl" --objective kto
    printf '{"prompt":"P","completion":" %s","score":%s}\n' a 0.5 b 0.25 > "$t/scores.jsonl"
    trap_ "$t/scores.jsonl:1: the score 0.5 does not say whether to imitate" "$t/scores.jsonl" --objective sft
    refused 64 "--objective x: unknown" ./more doctor --model "$t/lm" --train "$t/text.jsonl" --objective x
    proves "doctor_takes_every_objective_and_does_with_rows_what_its_training_does"
    doctor "$t/a.train.jsonl" --max_length 18 --max_prompt_length 10
    holds "$t/1" '^  line 1; the first [0-9]* of [0-9]* prompt tokens are cut; chosen: the last 2 of 9 are cut$'
    tokens prompt "$t/a.train.jsonl" 1 | tail -n 10 > "$t/x2"
    shown prompt 1 > "$t/x1"; same "$t/x1" "$t/x2"
    tokens chosen "$t/a.train.jsonl" 1 | head -n 7 > "$t/x2"
    shown chosen 1 | sed 's/^\(.*\)^$/\1/' > "$t/x1"; same "$t/x1" "$t/x2"
    proves "doctor_shows_what_the_cut_leaves"

    d=$t/doctor.jsonl
    third() { awk -v from="$1" -v to="$2" 'NR == 3 { i = index($0, from); $0 = substr($0, 1, i - 1) to substr($0, i + length(from)) } 1' \
              "$t/a.train.jsonl" > "$d"; }
    row() { { cat "$t/a.train.jsonl"; printf '%s\n' "$@"; } > "$d"; }
    sed '3s/"chosen":"[^"]*"/"chosen":""/' "$t/a.train.jsonl" > "$d"
    trap_ "$d:3: an answer is empty; remove the row or complete it" "$d"
    sed '3s/"chosen":"[^"]*"/"chosen":" "/' "$t/a.train.jsonl" > "$d"
    trap_ "$d:3: an answer is only white space, here and in 0 more; remove such rows or complete them" "$d"
    proves "doctor_traps_an_empty_side"
    row '{"prompt":[{"role":"tool","content":"x"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}'
    trap_ "$d:19: unknown role \"tool\": use system, user or assistant" "$d"
    row '{"prompt":'
    trap_ "$d:19:11: a value is expected, not the end; repair or remove the row" "$d"
    row '{"prompt":' '{' '{' '{' '{' '{'
    doctor "$d"; holds "$t/1" "$d: 1 more bad rows; repair or remove them"
    printf '[{"text":1},\n{"text":"a b"},\n{"text":"c"}]\n' > "$d"
    trap_ "$d:1: \"text\" must be" "$d"
    proves "doctor_traps_rows_that_cannot_be_read_and_goes_on"
    third '"prompt":"' '"prompt":"<|endoftext|><|endoftext|>'
    trap_ "$d:3: two BOS: the text begins with \"<|endoftext|>\", twice, here and in 0 more; remove it from the texts" "$d"
    third '"chosen":"' '"chosen":"<|endoftext|>'
    trap_ "$d:3: two BOS: an answer after a prompt begins with \"<|endoftext|>\", here and in 0 more; remove it from the answers" "$d"
    third '"prompt":"' '"prompt":"<|endoftext|>'
    warning "$d:3: \"<|endoftext|>\" stands in texts 1 times; it is read as plain text, by other programs as token 0: remove it" "$d"
    echo '{"text":"<|endoftext|>the sky"}' > "$d"
    trap_ "$d:1: two BOS: the text begins with \"<|endoftext|>\", and training puts one before it" "$d"
    proves "doctor_traps_two_bos_and_warns_of_special_tokens_in_texts"
    printf '{"prompt":"P","completion":" %s","label":true}\n' a b c > "$d"
    trap_ "$d: all 3 rows have the label 1; add rows of the other class, or train sft on the good ones" "$d"
    printf '{"prompt":"P","completion":" %s","label":%s}\n' a true b false a false > "$d"
    trap_ "$d:3: the same text as on line 1 has another label, and 0 more such texts; decide for one label" "$d"
    holds "$t/1" '^    labels: 1 true, 2 false$'
    printf '{"prompt":"P","completion":" %s","score":%s}\n' a 0.5 b 0.25 a 0.75 > "$d"
    warning "$d:3: the same text as on line 1 has another label" "$d"
    holds "$t/1" '^    scores: from 0.25 to 0.75, mean 0.5$'
    proves "doctor_traps_labels_of_one_class_and_texts_of_two_labels"
    row "$(sed -n 2p "$t/a.train.jsonl" | sed 's/chosen/kept/; s/rejected/chosen/; s/kept/rejected/')"
    trap_ "$d:19: the reverse of the pair on line 2, and 0 more such pairs; decide for one of the two, or remove both" "$d"
    row "$(sed -n 2p "$t/a.train.jsonl")"
    warning "$d:19: the same row as line 2, and 0 more rows that stand twice; remove what was not meant twice" "$d"
    warning "$t/a.train.jsonl:1: the row, or its reverse, also stands in another training file, and 17 more" "$d" "$t/a.train.jsonl"
    proves "doctor_traps_contradictory_pairs_and_warns_of_repeated_rows"
    sed -n 5p "$t/a.train.jsonl" > "$d"
    trap_ "$d:1: the prompt is trained on ($t/a.train.jsonl:5), as in 1 of 1 rows; remove these prompts from one of the two files" \
        "$t/a.train.jsonl" --eval "$d"
    proves "doctor_traps_prompts_that_are_trained_and_evaluated_on"
    row '{"prompt":"P","chosen":" the sky is red and the tree is big the sky","rejected":" the sky is red and the tree is big the cat"}'
    trap_ "$d:19: chosen and rejected are the same after the cut, here and in 0 more of 19 pairs; raise --max_length or use" "$d" \
        --max_length 30 --max_prompt_length 20
    row '{"prompt":"the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky the sky","chosen":"a cat","rejected":"no dog"}'
    trap_ "$d:19: of an answer only one token is left, here and in 0 more rows; raise --max_length or lower --max_prompt_length" "$d" \
        --max_length 50 --max_prompt_length 0
    trap_ "nothing is left of 18 rows (18 too long, 0 ties, 0 bad); raise --max_length or use --over_length truncate" \
        "$t/a.train.jsonl" --max_length 4 --max_prompt_length 2 --over_length drop
    proves "doctor_traps_answers_that_the_cut_takes_away_or_makes_equal"
    trap_ "pair data; texts or prompts with completions are needed; for lm convert it, or choose another --objective" "$t/a.train.jsonl" --objective lm
    cp -r "$t/lm" "$t/lm.keep"
    sed 's/"pad_token_id": 1/"pad_token_id": 0/' "$t/lm.keep/config.json" > "$t/lm/config.json"
    trap_ "$t/lm/config.json: pad is the eos, 0 \"<|endoftext|>\", which is trained" "$t/a.train.jsonl" --objective dpo
    trap_ "from which the reward is read: programs that skip pad read another token; set \"pad_token_id\" to a token" "$t/a.train.jsonl" --pooling eos
    warning "pad is the eos, 0 \"<|endoftext|>\", which is harmless with this pooling" "$t/a.train.jsonl"
    sed 's/"pad_token_id": 1/"pad_token_id": null/' "$t/lm.keep/config.json" > "$t/lm/config.json"
    warning "no \"pad_token_id\", which other programs need for batches; set it to a token that never occurs in a text, such as \"<|padding|>\"" \
        "$t/a.train.jsonl"
    sed 's/"vocab_size": 300/"vocab_size": 290/' "$t/lm.keep/config.json" > "$t/lm/config.json"
    trap_ "300 pieces, but the model has 290; take the tokenizer the model was trained with" "$t/a.train.jsonl"
    cp "$t/lm.keep/config.json" "$t/lm/config.json"
    sed 's/{/{"add_bos_token": true, "chat_template": "x",/' "$t/lm.keep/tokenizer_config.json" > "$t/lm/tokenizer_config.json"
    warning "the folder's chat template is not applied: messages become Human: and Assistant: turns" "$t/a.train.jsonl"
    warning "other programs put \"<|endoftext|>\" before a text, training here does not" "$t/a.train.jsonl"
    third '"prompt":"' '"prompt":"<|endoftext|>'
    trap_ "$d:3: two BOS: the text begins with \"<|endoftext|>\", and other programs put one before it" "$d"
    rm -rf "$t/lm"; mv "$t/lm.keep" "$t/lm"
    proves "doctor_traps_a_pad_that_is_the_eos_and_tokenizers_that_do_not_fit"
fi

# ------------------------------------------------------------------------------------------------------- measuring

if part bench; then
    works env OMP_NUM_THREADS=2 ./more bench --rounds 1 --only machine "product 7x" "product 33x" --out "$t/bench.jsonl"
    [ "$(grep -c '^    machine' "$t/1")" = 10 ] && [ "$(grep -c '^    product' "$t/1")" = 24 ] || fault "$(cat "$t/1")"
    for kind in '1,"precision":"fp32" 9' '2,"precision":"fp32" 9' '1,"precision":"bf16" 8' '2,"precision":"bf16" 8'; do
        line="^{\"name\":\"[a-zA-Z0-9 ]*\",\"isa\":\"[a-z0-9_]*\",\"threads\":${kind% *},\"rounds\":1,"
        line="$line\"value\":[0-9.e+-]*,\"unit\":\"G[A-Z/a-z]*\",\"share\":[0-9.e+-]*[,}]"
        [ "$(grep -c "$line" "$t/bench.jsonl")" = ${kind#* } ] || fault "$(cat "$t/bench.jsonl")"
    done
    holds "$t/bench.jsonl" '"name":"product 33x65x129 forward".*"M":33,"N":129,"K":65[,}]'
    holds "$t/bench.jsonl" '"name":"product 33x65x129 dX".*"M":33,"N":65,"K":129[,}]'
    holds "$t/bench.jsonl" '"name":"product 33x65x129 dW".*"M":129,"N":65,"K":33[,}]'
    proves "bench_measures_with_one_and_all_threads_what_is_asked_for_and_writes_lines_of_json"
    real="--train $t/a.train.jsonl --tokenizer $t/lm/tokenizer.json"
    works ./more bench --rounds 1 --threads 1 --precision fp32 --only "step reward real padded" $real --out "$t/bench.jsonl"
    [ "$(wc -l < "$t/bench.jsonl")" = 2 ] || fault "$(cat "$t/bench.jsonl")"
    holds "$t/bench.jsonl" '"name":"step reward real","shape":"base",.*"pairs":16,"pairs_per_s":[0-9.e+]*}$'
    holds "$t/bench.jsonl" '"name":"step reward real padded",.*"pairs":16,.*"than":"step reward real","time_ratio":[0-9.e+]*}$'
    proves "bench_takes_steps_of_real_pairs_packed_and_padded"
    refused 64 "--shape gpt2: unknown; see --help for the choices" ./more bench --shape gpt2
    refused 64 "--only: no measurement's name starts like that" ./more bench --rounds 1 --only gpt2
    refused 64 "--precision fp8: unknown" ./more bench --precision fp8
    refused 64 "--tokenizer or --model is needed" ./more bench --train "$t/a.train.jsonl"
    refused 64 "--train: one file is enough, not 2" ./more bench --train "$t/a.train.jsonl" "$t/b.train.jsonl"
    refused 64 "--max_length 4096: base has 2048 positions" ./more bench --max_length 4096 $real
    refused 65 "text data; pairs are needed" ./more bench --train "$t/text.jsonl" --tokenizer "$t/lm/tokenizer.json"
    head -n 7 "$t/a.train.jsonl" > "$t/seven.jsonl"
    refused 65 "seven.jsonl: fewer than 8 pairs" ./more bench --rounds 1 --only step --train "$t/seven.jsonl" --tokenizer "$t/lm/tokenizer.json"
    refused 73 "$t/no/such" ./more bench --rounds 1 --only machine --out "$t/no/such"
    proves "bench_refuses_what_it_cannot_measure"
fi

# ----------------------------------------------------------------------------------------------------- what is bad

if part bad; then
    refused 66 "$t/no-such.jsonl: No such file" ./more train lm $new --train "$t/no-such.jsonl" --out "$t/x"
    refused 66 "$t/no-such.jsonl: No such file" ./more eval $cut --model "$t/r" --eval "$t/no-such.jsonl"
    refused 66 "$t/no-such.jsonl: No such file" ./more eval --from "$t/no-such.jsonl"
    refused 66 "no-such-folder" ./more score --model "$t/no-such-folder"
    refused 66 "no-such-folder" ./more train reward $recipe --train $abc --model "$t/no-such-folder" --out "$t/x"
    refused 66 "no-such.json" ./more tokenize --tokenizer "$t/no-such.json"
    refused 66 "$t: not a regular file" ./more train lm $new --train "$t" --out "$t/x"
    proves "a_file_that_is_not_there_is_named"
    { cat "$t/a.train.jsonl"; echo '{"prompt":"P","chosen":"a","rejected":'; } > "$t/cut.jsonl"
    { cat "$t/a.train.jsonl"; echo; echo '{"prompt":"P","chosen":"a","answer":"b"}'; } > "$t/half.jsonl"
    refused 65 "$t/cut.jsonl:19:" ./more train reward $pairs --train "$t/b.train.jsonl" "$t/cut.jsonl" --out "$t/x"
    refused 65 "$t/half.jsonl:20: no \"rejected\" beside \"chosen\"" ./more eval $cut --model "$t/r" --eval "$t/half.jsonl"
    from "$t/cut.jsonl" refused 65 ":19:" ./more score $cut --model "$t/r"
    [ -s "$t/1" ] && fault "rows before a bad one were written"
    refused 65 ": no rows" ./more score --model "$t/r"
    echo '{"prompt":"P"}' > "$t/prompt.jsonl"
    from "$t/prompt.jsonl" refused 65 "prompts without answers have no reward" ./more score --model "$t/r"
    echo '{"event":"pair","model":"R"}' > "$t/x.jsonl"
    refused 65 "$t/x.jsonl:1: not a line that eval --out wrote" ./more eval --from "$t/x.jsonl"
    echo '{"event":"train"}' > "$t/x.jsonl"
    refused 65 "$t/x.jsonl: no pairs in it" ./more eval --from "$t/x.jsonl"
    proves "a_bad_line_is_named_by_file_and_line"
    refused 65 "text data; pairs are needed" ./more train reward $pairs --train "$t/text.jsonl" --out "$t/x"
    refused 65 "text data; pairs are needed" ./more eval $cut --model "$t/r" --eval "$t/text.jsonl"
    refused 65 "pair data; texts or prompts with completions are needed" ./more train lm $new --train "$t/a.train.jsonl" --out "$t/x"
    refused 65 "too little data for a single step" ./more train reward $pairs --per_step_pairs 60 --train "$t/a.train.jsonl" --out "$t/x"
    proves "data_of_another_kind_and_too_little_data_are_refused"
    echo '{"prompt":"P","chosen":"a","rejected":"a"}' > "$t/ties.jsonl"
    refused 65 "ties" ./more train reward $pairs --train "$t/a.train.jsonl" --eval "$t/ties.jsonl" --out "$t/new"
    [ -f "$t/new/log.jsonl" ] && fault "it was noticed after training only"
    proves "a_file_to_evaluate_on_without_pairs_is_refused_before_training"
    refused 65 "$t/lm: a language model without a reward head; train one, or give --raw_head SEED" ./more score --model "$t/lm"
    refused 65 "$t/lm: a language model without a reward head" ./more eval $cut --model "$t/lm" --eval "$t/a.test.jsonl"
    refused 65 "a reward model, which predicts no tokens" ./more train lm $new --model "$t/r" --train "$t/text.jsonl" --out "$t/x"
    proves "a_language_model_has_no_rewards_and_the_remedy_is_named"

    # hostile FILE CODE TEXT: the folder of a reward model with $t/evil in place of the file
    hostile() {
        rm -rf "$t/h"; cp -r "$t/r" "$t/h"; cp "$t/evil" "$t/h/$1"
        from "$t/a.test.jsonl" refused "$2" "$3" ./more score $cut --model "$t/h"
    }
    good=$t/r/model.safetensors size=$(wc -c < "$t/r/model.safetensors")
    for n in 0 7 8 100 $((size / 2)) $((size - 1)); do head -c $n "$good" > "$t/evil"; hostile model.safetensors 65 model.safetensors; done
    { cat "$good"; echo; } > "$t/evil";                                         hostile model.safetensors 65 model.safetensors
    printf '\377\377\377\377\377\377\377\377{}' > "$t/evil";                    hostile model.safetensors 65 model.safetensors
    printf '\022\000\000\000\000\000\000\000{"a":{"dtype":1}}' > "$t/evil";     hostile model.safetensors 65 model.safetensors
    { printf '\377\000\000\000\000\000\000\000'; tail -c +9 "$good"; } > "$t/evil"; hostile model.safetensors 65 model.safetensors
    for f in config.json tokenizer.json; do
        : > "$t/evil";                       hostile $f 65 $f
        head -c 100 "$t/r/$f" > "$t/evil";   hostile $f 65 $f
        echo '[]' > "$t/evil";               hostile $f 65 $f
    done
    changed() { sed "s/\"$1\": *-*[0-9]*/\"$1\": $2/" "$t/r/config.json" > "$t/evil"; hostile config.json "$3" "$4"; }
    changed hidden_size 64 65 shape
    changed hidden_size -32 65 hidden_size
    changed num_hidden_layers 3 65 missing
    changed num_hidden_layers 1 65 model.safetensors
    changed vocab_size 2000000000 65 ""
    rm -rf "$t/h"; cp -r "$t/r" "$t/h"; rm "$t/h/model.safetensors"
    refused 66 "model.safetensors" ./more score --model "$t/h"
    mkdir "$t/h/model.safetensors"
    refused 66 "model.safetensors" ./more score --model "$t/h"
    proves "a_truncated_or_hostile_model_folder_is_refused_and_the_file_named"

    refused 73 "$t/text.jsonl" ./more train lm $new --train "$t/text.jsonl" --out "$t/text.jsonl/x"
    refused 73 "$t/text.jsonl" ./more train reward $pairs --train $abc --out "$t/text.jsonl"
    refused 73 "$t/text.jsonl" ./more tokenize --learn 300 --train "$t/text.jsonl" --out "$t/text.jsonl/x"
    refused 73 "$t/no/such" ./more eval $cut --model "$t/r" --eval "$t/a.test.jsonl" --out "$t/no/such"
    rm -rf "$t/x"; mkdir -p "$t/x/model.safetensors"
    refused 73 "model.safetensors" ./more train reward $pairs --train $abc --out "$t/x"
    rm -rf "$t/x"; mkdir -p "$t/x"; ln -s "$t/text.jsonl" "$t/x/model.safetensors.tmp"
    refused 73 "symbolic link" ./more train reward $pairs --train $abc --out "$t/x"
    rm -rf "$t/x"
    proves "a_place_that_cannot_be_written_is_named"
    if [ -c /dev/full ]; then
        full() { "$@" > /dev/full 2> "$t/2" < "${in:-/dev/null}"; code=$?; [ $code = 74 ] || fault "exit $code, not 74: $*"; }
        from "$t/a.test.jsonl" full ./more score $cut --model "$t/r"
        holds "$t/2" "^more: standard output: "
        from "$t/text.jsonl" full ./more tokenize --model "$t/lm"
        full ./more eval $cut --model "$t/r" --eval "$t/a.test.jsonl"
        from "$t/a.test.jsonl" full ./more sample --model "$t/lm"
        full ./more inspect --model "$t/r"
        full ./more --help
        proves "a_full_disk_behind_standard_output_is_an_error"
    fi
fi

# -------------------------------------------------------------------------------------------------------- stopping

if part stop; then
    awk 'NR % 2 { sub("chosen", "kept"); sub("rejected", "chosen"); sub("kept", "rejected") } { print }' "$t/b.train.jsonl" > "$t/mixed.jsonl"
    rm -rf "$t/x"; cp -r "$t/r" "$t/x"
    refused 65 "is not finite" ./more train reward $pairs --train "$t/mixed.jsonl" --learning_rate 1e30 --out "$t/x"
    holds "$t/2" "a lower --learning_rate may help; this step is not saved"
    for f in config.json model.safetensors tokenizer.json; do same "$t/x/$f" "$t/r/$f"; done
    rm -rf "$t/x"
    refused 65 "is not finite" ./more train more $pairs --train $abc "$t/mixed.jsonl" --learning_rate 1e30 --out "$t/x"
    [ -f "$t/x/model.safetensors" ] && fault "a broken model was written"
    proves "a_loss_that_is_not_finite_stops_the_run_and_leaves_the_old_model"
    rm -rf "$t/x"
    ./more train reward $pairs --max_steps 0 --num_train_epochs 1000 --train $abc --out "$t/x" > "$t/1" 2> "$t/2" &
    pid=$! i=0
    while [ $i -lt 100 ] && ! grep -q '"step":2,' "$t/x/log.jsonl" 2> "$t/x.out"; do sleep 0.1; i=$((i + 1)); done
    kill -TERM $pid
    wait $pid; code=$?
    [ $code = 75 ] || fault "exit $code"
    holds "$t/2" "^more: stopped after step [0-9]* of [0-9]*; the weights so far are in $t/x"
    from "$t/a.test.jsonl" works ./more score $cut --model "$t/x"
    proves "a_run_that_is_asked_to_stop_saves_and_says_so"
fi

# ------------------------------------------------------------------------------------------------------ the same bits

if part bits; then
    isas=
    for isa in scalar avx2 avx512 avx512_bf16 amx neon; do
        MORE_ISA=$isa ./more inspect --model "$t/lm" > "$t/1" 2> "$t/2" && isas="$isas $isa"
    done
    # bits NAME COMMAND...: one hash for any number of threads, instruction set and micro-batch
    bits() {
        name=$1; shift
        works ./more "$@" --out "$t/x" --threads 1; one=$(sha)
        for v in "--threads 2" "--threads 3" "--micro_batch_tokens 1" "--micro_batch_tokens 130" \
                 "--micro_batch_tokens 100000 --threads 2" "--micro_batch_tokens 150 --recompute"; do
            works ./more "$@" --out "$t/x" $v
            [ "$(sha)" = "$one" ] || fault "another hash with $v"
        done
        for isa in $isas; do
            works env MORE_ISA=$isa ./more "$@" --out "$t/x" --threads 2
            [ "$(sha)" = "$one" ] || fault "another hash with MORE_ISA=$isa"
        done
        [ ${#one} = 64 ] || fault "no hash"
        proves "$name"
    }
    bits train_lm_has_one_hash_for_all_threads_instruction_sets_and_micro_batches \
        train lm $new --max_steps 3 --train "$t/text.jsonl" --quiet
    bits train_reward_has_one_hash_for_all_threads_instruction_sets_and_micro_batches \
        train reward $pairs --max_steps 3 --train $abc
    for m in release paper uniform; do
        bits train_more_${m}_has_one_hash_for_all_threads_instruction_sets_and_micro_batches \
            train more --more $m $pairs --max_steps 3 --train $abc
    done
    bits pooling_at_the_end_has_one_hash_too train more --more paper --pooling eos $pairs --max_steps 2 --train $abc
    for o in sft dpo ipo pointwise-dpo ulma unlikelihood kto orpo simpo; do
        bits train_${o}_has_one_hash_for_all_threads_instruction_sets_and_micro_batches train $o $policy --max_steps 3 --train "$(rows_of $o)"
    done
    for what in "lm $new --train $t/text.jsonl --quiet" "reward $pairs --train $abc"; do
        works ./more train $what --max_steps 3 --out "$t/x"; float=$(sha)
        bits bf16_has_one_hash_of_its_own_for_train_${what%% *} train $what --max_steps 3 --precision bf16
        [ "$one" != "$float" ] || fault "bf16 made no difference"
    done
    proves bf16_is_not_float
    echo "    instruction sets:$isas"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
