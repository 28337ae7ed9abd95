# emulate.sh - kernels.cu on this CPU (test/cuda_on_cpu.h): the layers, models and whole commands have
# the bits of kernels.c, whichever tiles are taken and in whichever order threads run.  `make
# emulate` builds what it needs: half a minute.
. "$(dirname "$0")/../commands/lib.sh"
bin=$root/test/bin
gpu=$bin/more_on_cpu
make_data

# a C test, some of its tests by words: it says itself what failed
whole() {
    works "$@"
    grep '^FAILED\|^    ' out
    holds out '^[1-9][0-9]* passed, 0 failed$'
}
# the same command of both programs: the same weights, and standard output
both() {
    works ./more "$@" --out cpu
    cpu=$(sha)
    cp out cpu.out
    works "$gpu" "$@" --out gpu
    [ ${#cpu} = 64 ] && [ "$(sha)" = "$cpu" ] || fault "other weights: $*"
}

it "the_layers_have_the_recorded_bits_on_an_emulated_gpu"
whole "$bin/on_cpu_kernels"

it "and_with_tiles_for_a_large_gpu_and_a_small_one_and_threads_in_other_orders"
whole env CUDA_ON_CPU_SMS=1 "$bin/on_cpu_kernels"
whole env CUDA_ON_CPU_SMS=1000 CUDA_ON_CPU=reverse "$bin/on_cpu_kernels"
whole env CUDA_ON_CPU=shuffle "$bin/on_cpu_kernels"

it "models_have_the_recorded_bits_after_twenty_steps_in_fp32_and_bf16"
whole_model() { (cd "$root" && "$bin/on_cpu_model" "$@"); }
whole whole_model twenty_steps frozen_model repeated tied_embedding transformers

it "the_self_test_has_the_hashes_of_every_other_machine"
works "$gpu" selftest
holds out 'functions dcf0f0c6302ac1cd  training ff18209c6edeb7bb'

make_lm
it "training_ends_with_the_weights_of_the_cpu"
both train lm $new --max_steps 3 --train text.jsonl --quiet
both train reward $pairs --max_steps 2 --train $abc --pooling mean
both train more --more release $pairs --max_steps 2 --train $abc --precision bf16

it "completions_from_the_cache_are_those_of_full_recomputation_in_each_precision"
whole env CUDA_ON_CPU=shuffle "$bin/on_cpu_generate" so_is frequencies

it "products_by_tensor_cores_are_as_exact_as_they_can_be_and_gradients_near_those_of_bf16"
whole "$bin/on_cpu_tensor_cores"
whole env CUDA_ON_CPU_SMS=1 CUDA_ON_CPU=reverse "$bin/on_cpu_tensor_cores"
whole env CUDA_ON_CPU=shuffle "$bin/on_cpu_tensor_cores"
whole whole_model tensor_cores

# the accuracies of the models m, of all sets: model, accuracy, interval
accuracies() {
    works ./more eval --eval a.test.jsonl b.test.jsonl --model "$@"
    awk '/^mean of/ { mean = 1 } mean && / [.][.] / { print $1, $2, $3, $5 }' out
}
it "training_by_tensor_cores_has_the_accuracy_of_bf16_and_names_what_it_is"
works ./more train reward $pairs --train $abc --precision bf16 --out bf16
fast="train reward $pairs --train $abc --precision bf16-fast"
works "$gpu" $fast --out fast
fast_sha=$(sha)
accuracies bf16 fast > means
holds means "^fast"
awk '{ acc[$1] = $2; low[$1] = $3; high[$1] = $4 }
     END { exit !(acc["fast"] >= low["bf16"] && acc["fast"] <= high["bf16"]) }' means ||
    fault "not within the interval: $(cat means)"
holds fast/more_receipt.json '"level": "one model of GPU"'
holds fast/more_receipt.json '"the GPU=GPU on a CPU"'
refused 65 "not of the level exact" ./more verify fast
works "$gpu" $fast --micro_batch_tokens 128 --recompute --out again
[ "$(sha)" = "$fast_sha" ] || fault "other weights with other micro-batches"
works "$gpu" train reward --model lm $cut --max_steps 1 --train $abc --precision bf16-fast --out x
holds err "bf16-fast is outside the contract"

it "a_cpu_and_a_gpu_without_such_tensor_cores_refuse_bf16_fast_by_name"
refused 64 "this program computes on a CPU: --precision bf16 takes the same operands" ./more $fast
refused 64 "GPU on a CPU has none: --precision bf16 takes the same operands" \
    env CUDA_ON_CPU=sm_75 "$gpu" $fast

it "a_policy_is_sampled_as_on_the_cpu"
make_lm2
sample="sample --model lm2 --prompts a.test.jsonl --max_new_tokens 6 --n 2"
works ./more $sample
cp out cpu.out
works "$gpu" $sample
same out cpu.out

# fits MiB ...: with so much memory of the GPU the command is refused before it starts; with the
# least with which it is not, in steps of a MiB, it trains
fits() {
    MiB=$1 least=$1
    shift
    rm -rf fits
    while run env CUDA_ON_CPU=$MiB "$gpu" "$@" --out fits; [ $code = 71 ] &&
            grep -q 'GiB of memory are needed' err; do
        MiB=$((MiB + 1))
    done
    [ $code = 0 ] || fault "$MiB MiB: $(tail -n 1 err): $*"
    [ $MiB != $least ] || fault "not refused with $MiB MiB: $*"
}
it "what_the_memory_table_announces_is_enough"
large="$cut --max_steps 1 --quiet --train a.train.jsonl"
works ./more train lm --hidden_size 128 --num_hidden_layers 1 --num_attention_heads 2 \
    --max_length 64 --max_steps 1 --train text.jsonl --dtype bf16 --quiet --out large
fits 18 train dpo --model large $large
fits 18 train dpo --model large $large --precision bf16-fast
fits 15 train reward --model large $large --lora_r 2

it "no_gpu_an_old_driver_and_too_little_memory_are_named"
refused 71 "no GPU was found" env CUDA_ON_CPU=none "$gpu" selftest
refused 71 "or one older than CUDA 13.0" env CUDA_ON_CPU=old "$gpu" selftest
refused 71 "GiB of memory are needed" \
    env CUDA_ON_CPU=6 "$gpu" train lm $new --max_steps 3 --train text.jsonl --out x
refused 71 "cudaMalloc of 4194304 bytes: out of memory" env CUDA_ON_CPU=2 "$gpu" selftest
finish
