# usage.sh - what is refused before anything is read: exit code 64.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_reward

it "an_unknown_command_is_a_usage_error"
run ./more
[ $code = 64 ] || fault "exit $code"
for c in frobnicate "frob nicate" "eval2"; do
    run ./more $c
    [ $code = 64 ] || fault "exit $code: $c"
    holds err "^more: $c.*: unknown command; see more --help"
done

it "train_alone_lists_what_can_be_trained"
run ./more train
[ $code = 64 ] || fault "exit $code"
for objective in lm reward more sft dpo simpo; do
    holds out "^    more train *$objective "
done
works ./more train --help
holds out "^    more train *dpo "
refused 64 "train frobnicate: unknown; more train lists what can be trained" ./more train frobnicate

it "the_version_and_help_are_said"
works ./more --version
holds out '^more [0-9][0-9]*\.[0-9][0-9]*\.[0-9]'
works ./more help
holds out '^    more eval '

it "no_file_that_is_read_is_written_over"
cp a.test.jsonl mine.jsonl
ln -s mine.jsonl link.jsonl
own="--prompts mine.jsonl $cut --max_new_tokens 2"
refused 64 "--out link.jsonl: the file of --eval, which would be lost" \
    ./more eval --model r --eval b.test.jsonl mine.jsonl:own $cut --out link.jsonl
refused 64 "--out ./mine.jsonl: the file of --prompts, which would be lost" \
    ./more bestof --model lm --judge r $own --out ./mine.jsonl
refused 64 "--all mine.jsonl: the file of --prompts, which would be lost" \
    ./more bestof --model lm --judge r $own --out best.jsonl --all mine.jsonl
refused 64 "--out mine.jsonl: the file of --paths, which would be lost" \
    ./more report --out mine.jsonl mine.jsonl
refused 64 "--out r/: the folder of --reward, which would be lost" \
    ./more train rloo --model lm --reward lm2 r --prompts a.test.jsonl --out r/
refused 64 "--out lm: the folder of --model, which would be lost" \
    ./more export --model lm --dtype bf16 --out lm
refused 64 "--out lm: a model is there, whose tokenizer would be lost" \
    ./more tokenize --learn 258 --train text.jsonl --out lm
works ./more train dpo $policy --train a.train.jsonl --max_steps 1 --lora_r 1 --out adapter
refused 64 "--out lm: the base model of adapter, which would be lost" \
    ./more export --model adapter --out lm
works ./more export --model lm --out lm.gguf
refused 64 "--out ./lm.gguf: the file of --model, which would be lost" \
    ./more export --model lm.gguf --dtype q8_0 --out ./lm.gguf
refused 64 "mine.jsonl: not a file of references, and it would be lost" \
    ./more train dpo $policy --train a.train.jsonl --out x --reference_cache mine.jsonl
same mine.jsonl a.test.jsonl

it "names_of_other_trainers_mean_ours_and_a_near_name_is_suggested"
see="unknown option of more train dpo; see --help"
refused 64 "--lerning_rate: $see (is it --learning_rate?)" ./more train dpo --lerning_rate 1
refused 64 "--max_stps=3: $see (is it --max_steps?)" ./more train dpo --max_stps=3
refused 64 "--per-device-train-batchsize: $see (is it --per_device_train_batch_size?)" \
    ./more train dpo --per-device-train-batchsize 3
refused 64 "--gradient_checkpoint: $see (is it --gradient_checkpointing?)" \
    ./more train dpo --gradient_checkpoint
refused 64 "--frobnicate: $see" ./more train dpo --frobnicate 1
refused 64 "--bf16 takes no value" ./more train dpo --bf16=1
refused 64 "unknown option of more train lm; see --help" ./more train lm --batch_size 3
run ./more train dpo --model lm --train no.jsonl --output_dir x --lr 3e-4 --epochs 2 --bf16 \
    --per-device-train-batch-size 7 --max_seq_length 399 --gradient_checkpointing
[ $code = 66 ] || fault "exit $code"
for value in learning_rate=0.0003 num_train_epochs=2 precision=bf16 per_step_rows=7 \
    max_length=399 recompute=1; do
    holds err " $value"
done
run ./more train reward --model lm --train no.jsonl --out x --per_device_train_batch_size 7
holds err "per_step_pairs=7"

it "what_compat_means_is_not_contradicted"
ulma="./more train ulma --model lm --train points.jsonl --out x --compat ulma-release"
refused 64 "--compat ulma-release means --logp mean; leave out --logp sum" $ulma --logp sum
refused 64 "means --reduction class-means; leave out --reduction joint" $ulma --reduction joint
refused 66 "points.jsonl" $ulma --logp mean --reduction class-means

it "a_missing_value_is_a_usage_error"
refused 64 "--out: a value is missing" ./more train lm --train x --out
refused 64 "--out: a value is missing" ./more train lm --out --train x
refused 64 "--model: a value is missing" ./more eval --model
refused 64 "model: not an option; see more score --help" ./more score model
refused 64 "-x: not an option" ./more score -x 3
refused 64 "--out" ./more train lm --train no-such.jsonl --out ""
refused 64 "--model" ./more score --model=

it "a_value_out_of_range_is_a_usage_error"
for o in "max_steps -1" "max_steps 1.5" "max_steps 3000000000" "max_steps x" "max_steps 1x" \
    "learning_rate nan" "learning_rate -1" "learning_rate inf" "warmup_ratio 1.01" "adam_beta1 1" \
    "per_step_tokens 0" "vocab_size 257" "max_length 1" "threads -1" "num_train_epochs 0" \
    "seed -1"; do
    refused 64 "--$o: a " ./more train lm --${o% *} "${o#* }"
done
for o in "over_length cut" "lr_scheduler_type step"; do
    refused 64 "--$o: unknown; see --help for the choices" ./more train lm --${o% *} "${o#* }"
done
refused 64 "--pooling first: unknown" ./more train more --pooling first
refused 64 "--more none: unknown" ./more train more --more=none
refused 64 "--normalize l3: unknown" ./more train more --normalize l3
refused 64 "--dtype f8: unknown; see --help for the choices" \
    ./more train reward $pairs --train $abc --out f8 --dtype f8
[ ! -f f8/log.jsonl ] || fault "it was noticed after training only"
refused 64 "--template chat: unknown" \
    ./more train reward $pairs --train $abc --out x --template chat
./more train reward --help | tr -s ' \n' ' ' > reward.help
for form in $(sed -n 's/.*--template chat: unknown; \(.*\) are known/\1/p' err | tr -d ,); do
    case $form in and | turns) continue ;; esac
    grep -q "[ ,:]$form[,;]" reward.help || fault "the template $form is not in the help"
done
refused 64 "MORE_ISA=z80: unknown here" env MORE_ISA=z80 ./more inspect --model lm

it "what_a_command_cannot_do_without_is_asked_for"
refused 64 "--train is needed" ./more train lm --out x
refused 64 "--out is needed" ./more train lm --train text.jsonl
refused 64 "--model is needed" ./more train reward --train $abc --out x
refused 64 "--model and --eval are needed, or --bag and --eval, or --from" ./more eval --model r
refused 64 "--model and --eval are needed, or" ./more eval --from x.jsonl --model r
refused 64 "--model and --eval are needed, or" ./more eval --from x.jsonl --eval a.test.jsonl
refused 64 "--model is needed" ./more score --quiet
refused 64 "--model is needed" ./more sample --quiet
refused 64 "--model is needed" ./more inspect --quiet
refused 64 "--model is needed" ./more doctor --train text.jsonl
refused 64 "--train is needed" ./more doctor --model lm
refused 64 "standard input" ./more doctor --model lm --train -
refused 64 "the model has 2048 positions" \
    ./more doctor --model lm --train text.jsonl --max_length 4096
refused 64 "--tokenizer or --model is needed" ./more tokenize --quiet
refused 64 "--learn needs --train and --out" ./more tokenize --learn 300
refused 64 "at least 258 pieces are needed" \
    ./more tokenize --learn 257 --train text.jsonl --out x
refused 64 "--fold must be below --folds" \
    ./more train reward $pairs --train $abc --out x --folds 3 --fold 3
refused 64 "--fold must be below --folds" \
    ./more eval --model r --eval a.test.jsonl --folds 3 --fold 3
refused 64 "--fold must be below --folds" ./more train reward $pairs --train $abc --out x --fold 1
refused 64 "--hidden_size must be a multiple of 4 x --num_attention_heads" \
    ./more train lm $new --train text.jsonl --out x --num_attention_heads 3
refused 64 "the model has 2048 positions" ./more score --model r --max_length 4096
refused 64 "leaves no room for an answer" \
    ./more score --model r --max_length 64 --max_prompt_length 63
refused 64 "--model: " ./more score --model r lm
refused 64 "--model: " ./more train reward $pairs --model r --train $abc --out x
refused 64 "more than" ./more train lm --train $(awk 'BEGIN { for (; i < 1025; i++) print "x" }')

it "dashes_equal_signs_and_other_names_of_options_are_understood"
works ./more inspect --model_name_or_path lm
works ./more train lm $new --train text.jsonl --output-dir=x --max-steps 1 --num_layers 1 \
    --num-heads 4 --quiet

finish
