#!/bin/sh
# fuzz.sh - whatever is read, given anything: libFuzzer runs each target of test/fuzz/fuzz.c from
# seeds of the shipped data and the golden files, with the words that the readers know.
#
#     make fuzz                                    FUZZ_SECONDS (600) for each target: hours
#     make fuzz FUZZ_TARGETS="json gguf"           these alone
#     FUZZ_TARGET=gguf test/bin/fuzz INPUT         what was found, again; in the folder of `where`
#
# What is found is kept in test/bin/found, what leads further in test/bin/corpus, from where the
# next call goes on.  A line for each target; the last is "fuzz: N targets, M findings".
. "$(dirname "$0")/../commands/lib.sh"
seconds=${FUZZ_SECONDS:-600}
fuzz=$root/test/bin/fuzz
corpus=$root/test/bin/corpus
found=$root/test/bin/found
golden=test/golden
mkdir -p test "$corpus" "$found"
cp -r "$root/test/golden" test/
echo "where: $t"

# ------------------------------------------------------------------ what stands beside the inputs

make_data
tiny="--hidden_size 8 --num_hidden_layers 1 --num_attention_heads 2 --max_length 64
      --per_step_tokens 300 --max_steps 1 --train text.jsonl --quiet"
short="--max_length 96 --max_prompt_length 48 --quiet"
works ./more train lm $tiny --vocab_size 300 --out lm
works ./more train reward --model lm $short --train a.train.jsonl --max_steps 1 --out r
mkdir named
cp $golden/templates/tokenizer.json named
printf '{"eos_token":"<|im_end|>","bos_token":"<s>"}' > named/tokenizer_config.json
works ./more train lm $tiny --tokenizer named/tokenizer.json --out chat
cp named/tokenizer_config.json chat
cp $golden/templates/chatml.jinja chat/chat_template.jinja
make_talk
works ./more train features --train "$root/data/features/opinpref_features.train.jsonl" --quiet \
    --num_train_epochs 1 --out features
head -n 4 "$root/data/features/opinpref_features.valid.jsonl" > features.jsonl
printf 'The sky isn'"'"'t blue, 12345 <s>caf\303\251\n\n  {"a": 1}\360\237\230\200\n' > words.txt
mkdir tok merges shards
cp lm/tokenizer_config.json tok
cp $golden/llama_linear/* shards
mv shards/model.safetensors shards/model-00001-of-00001.safetensors
awk '{ sub(/}$/, ",\"annotator\":\"p" NR % 4 "\"}"); print }' b.train.jsonl > people.jsonl
works ./more train em --model lm $short --train people.jsonl --em_steps 1 --max_steps 1 --out em

# three runs whose states are read: rewards, a policy of pairs, one of drawn texts
lora="--lora_r 1 --lora_targets dense $short --max_steps 2000"
awk '{ sub(/}$/, ",\"who\":\"g" NR % 2 "\"}"); print }' a.train.jsonl > of.jsonl
more="train more --train $abc"
dpo="train dpo --train of.jsonl --group_robust who --spo_gamma 1"
rloo="train rloo --reward r --prompts a.test.jsonl --max_new_tokens 3 --n 2 --per_step_rows 2"
for what in more dpo rloo; do
    eval "command=\$$what"
    command=$(echo $command --model lm $lora)
    ./more $command --save_steps 1 --keep 9 --out saved-$what > out.txt 2> err &
    pid=$!
    for i in $(awk 'BEGIN { for (i = 0; i < 500; i++) print i }'); do
        if [ -e saved-$what/state-3.bin ]; then break; fi
        sleep 0.01
    done
    kill -KILL $pid
    { wait $pid; } 2> x.out
    export "FUZZ_$what=$command --resume state.bin --out resumed"
done
cp saved-more/log.jsonl .
mkdir receipt
works ./more $more --model lm $short --max_steps 3 --diary 1 --out straight
works ./more $more --model lm $short --max_steps 2 --out saved
works ./more eval --model A=r --eval a.test.jsonl $short --out results.jsonl

# ------------------------------------------------------------------------------------------ seeds

# seed FILE...: each is one input
seed() {
    for file in "$@"; do
        seeds=$((seeds + 1))
        cp "$file" seeds/$seeds
    done
}
# seed_lines FILE...: each line is one
seed_lines() {
    cat "$@" > lines.txt
    while IFS= read -r line; do
        seeds=$((seeds + 1))
        printf '%s\n' "$line" > seeds/$seeds
    done < lines.txt
}
# seed_parts FILE...: they are one, with zero bytes between them
seed_parts() {
    seeds=$((seeds + 1))
    cat "$1" > seeds/$seeds
    shift
    for file in "$@"; do
        printf '\000' >> seeds/$seeds
        cat "$file" >> seeds/$seeds
    done
}
# words FILE...: a dictionary of the strings in these files of the program
words() {
    (cd "$root" && cat "$@") | grep -oh '"[A-Za-z_<|][^"\\%]\{1,40\}"' | sort -u > dictionary
}
: > none
make_seeds() {
    case $1 in
    json)
        words files/json.c test/test_json.c
        seed $golden/configs/*.json lm/tokenizer_config.json $golden/lora_llama/adapter_config.json
        ;;
    rows | doctor)
        words template.c shapes.c answers.c unread.c chat.c dataset.c row_features.c
        sed -n 's/.*"\({\\".*}\).*/\1/p' "$root/test/test_dataset.c" "$root/test/test_chat.c" |
            sed 's/\\"/"/g; s/\\\\/\\/g' > shapes.jsonl
        seed_lines shapes.jsonl talk.jsonl
        for file in "$root"/data/*.train.jsonl; do
            head -n 2 "$file" | cut -c 1-3000 > two.jsonl
            seed two.jsonl
        done
        seed_lines people.jsonl
        ;;
    features)
        words row_features.c features.c csv.c
        seed features.jsonl
        sed -n 's/.*"\({\\".*}\).*/\1/p' "$root/test/test_features.c" |
            sed 's/\\"/"/g' > shapes.jsonl
        seed_lines shapes.jsonl
        ;;
    table)
        words row_features.c csv.c
        printf 'chosen.a,rejected.a,chosen.b,rejected.b\n1,2,3,4\n"5",6e0,-7,.8\n' > table.csv
        printf 'chosen.a\trejected.a\n1\t2\n"3"\t4\n' > table.tsv
        seed table.csv table.tsv
        ;;
    tokenizer)
        words files/tokenizer_json.c patterns.c vocabulary.c specials.c
        seed $golden/tokenizers/*.json $golden/templates/tokenizer.json lm/tokenizer.json
        rm -f seeds/2
        ;;
    sentencepiece)
        words files/sentencepiece.c
        seed $golden/tokenizers/tokenizer.model
        ;;
    merges)
        words files/merges_txt.c
        seed_parts $golden/tokenizers/older/vocab.json $golden/tokenizers/older/merges.txt \
            $golden/tokenizers/older/tokenizer_config.json
        ;;
    text)
        words specials.c chat.c
        seed words.txt
        seed_lines text.jsonl
        ;;
    settings)
        words specials.c chat.c files/config.c files/beside.c
        for template in $golden/templates/*.jinja; do
            seed_parts named/tokenizer_config.json $template lm/special_tokens_map.json none
        done
        printf '{"eos_token_id":[420,421],"bos_token_id":421}' > generation.json
        seed_parts lm/tokenizer_config.json none named/tokenizer_config.json generation.json
        ;;
    safetensors)
        words files/safetensors.c
        seed $golden/llama_linear/model.safetensors $golden/lora_llama/adapter_model.safetensors
        ;;
    index)
        words files/safetensors.c
        (cd "$root" && ./more inspect --model test/golden/llama_linear) | awk '
            /numbers/ { s = s (s ? "," : "") "\"" $NF "\":\"model-00001-of-00001.safetensors\"" }
            END { printf "{\"metadata\":{\"total_size\":1},\"weight_map\":{%s}}", s }' > index.json
        seed index.json
        ;;
    gguf)
        words files/gguf.c files/gguf_tokenizer.c
        seed $golden/gguf/*.gguf
        ;;
    config)
        words files/config.c
        seed $golden/*/config.json $golden/configs/*.json lm/config.json
        ;;
    adapter)
        words files/adapter.c files/config.c
        seed $golden/lora_*/adapter_config.json saved-more/adapter_config.json
        ;;
    features_folder)
        words files/features_folder.c row_features.c
        seed_parts features/config.json features/model.safetensors
        ;;
    mixture)
        words commands/mixture.c
        printf '{"models":["lm","chat"],"weights":[0.25,0.75],"other":[1]}' > two.json
        printf '{"models":["lm","lm"],"weights":[1,0]}' > same.json
        seed two.json same.json
        ;;
    state)
        words resume.c commands/options.c
        for file in saved-*/state-[23].bin; do
            head -c -8 "$file" > cut.bin
            seed cut.bin
        done
        ;;
    receipt)
        words commands/diff.c commands/verify.c receipt.c files/diary.c
        seed_parts straight/more_receipt.json straight/diary.jsonl
        seed_parts saved/more_receipt.json none
        ;;
    people)
        words files/people_json.c
        printf '{"p0":"a","p1":"b","p2":"a","p3":1}' > groups.json
        seed em/people.json groups.json
        ;;
    results)
        words commands/cells.c
        seed_lines results.jsonl
        printf '{"event":"ranking","model":"A","eval":"e","line":1,%s%s%s%s%s\n' \
            '"group":"00000000000000ff",' '"answers":3,"best":1,"chance":0.5,"tau":0.1,' \
            '"loglik":-1,"right":2,"compared":3,' \
            '"longest_best":0,"longest_tau":0,' '"longest_right":1}' > ranking.jsonl
        seed ranking.jsonl
        ;;
    cache)
        words commands/scoring.c
        printf '{"question":"%064d","attempt":0,"score":3,"text":"<score>3</score>"}\n' 1 \
            > cache.jsonl
        printf '{source} {summary} <score>4.5</score>' > rubric.txt
        seed cache.jsonl rubric.txt "$root"/data/judge/conciseness.txt
        ;;
    options)
        words commands/options.c objectives.c
        (cd "$root" && ./more train dpo --help) > help.txt
        sed -n 's/^ *\(--[a-z_]*\).*/train\ndpo\n\1\n1/p' help.txt > words.list
        seed words.list
        printf 'eval\n--model\nA=a+b\nc\n--eval=x\n--seed\n3\n' > call.txt
        seed call.txt
        ;;
    esac
}

# -------------------------------------------------------------------------------------------- runs

all=$(sed -n 's/.*{\.name = "\([a-z_]*\)".*/\1/p' "$root/test/fuzz/fuzz.c")
targets=0 findings=0
export ASAN_OPTIONS=allocator_may_return_null=1:detect_stack_use_after_return=0
for target in ${FUZZ_TARGETS:-$all}; do
    targets=$((targets + 1))
    rm -rf seeds
    mkdir -p seeds "$corpus/$target"
    seeds=0
    make_seeds "$target"
    before=$(ls "$found" | wc -l)
    FUZZ_TARGET=$target "$fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -malloc_limit_mb=256 -max_len=65536 -close_fd_mask=3 -print_final_stats=1 \
        -dict=dictionary -artifact_prefix="$found/$target-" "$corpus/$target" seeds \
        > fuzz.out 2> fuzz.err < none
    new=$(($(ls "$found" | wc -l) - before))
    findings=$((findings + new))
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' fuzz.err)
    cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' fuzz.err | tail -n 1)
    echo "$target: ${runs:-no} runs, ${cover:-no} edges, $new findings"
    if [ $new != 0 ] || [ -z "$runs" ]; then
        cp fuzz.err "$found/$target.log"
        grep -m 3 -e 'ERROR' -e 'SUMMARY' -e 'runtime error' -e '^FUZZ' fuzz.err
        if [ -z "$runs" ] && [ $new = 0 ]; then findings=$((findings + 1)); fi
    fi
done
echo "fuzz: $targets targets, $findings findings"
[ $findings = 0 ]
