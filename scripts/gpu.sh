#!/bin/sh
# What to run on a machine with an NVIDIA GPU and nvcc: does kernels.cu keep the contract there, and
# how fast is it?  Stops at the first thing that is wrong; docs/GPU.md has the table to be filled in.
#     sh scripts/gpu.sh            minutes
#     WHOLE=1 sh scripts/gpu.sh    and the commands' tests, and make run on both machines: an hour
#     PYTORCH=1 sh scripts/gpu.sh  and steps of the same models in PyTorch, which must be installed
set -e
cd "$(dirname "$0")/.."
out=$(mktemp -d "${TMPDIR:-/tmp}/more-gpu-XXXXXX")
trap 'rm -rf "$out"' EXIT
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

echo "== the program for a CPU, then for the GPU =="
make more > "$out/make" 2>&1 || { cat "$out/make"; exit 1; }
cp more "$out/more_cpu"
make cuda cuda-tests > "$out/make" 2>&1 || { cat "$out/make"; exit 1; }
cp more "$out/more_gpu"

echo "== the contract =="
"$out/more_gpu" selftest
"$out/more_gpu" gradcheck

echo "== the tests that look into tensors; products by tensor cores =="
for t in kernels model generate tensor_cores; do test/bin/cuda_$t; done

if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        echo "== compute-sanitizer: $tool =="
        compute-sanitizer --tool $tool --error-exitcode 1 "$out/more_gpu" selftest
        compute-sanitizer --tool $tool --error-exitcode 1 test/bin/cuda_tensor_cores whole
    done
fi

echo "== one training on both machines; by tensor cores the same twice =="
sets="data/hh_harmless.train.jsonl data/pandalm.train.jsonl data/tulu_human.train.jsonl"
recipe="train more --more release --model data/base --train $sets --max_steps 20 --quiet"
for run in cpu.fp32 gpu.fp32 cpu.bf16 gpu.bf16 gpu.bf16-fast; do
    "$out/more_${run%%.*}" $recipe --precision "${run#*.}" --out "$out/$run" > "$out/$run.sha"
    echo "$run: $(cat "$out/$run.sha")"
done
"$out/more_gpu" $recipe --precision bf16-fast --micro_batch_tokens 2048 --recompute \
    --out "$out/again" > "$out/again.sha"
cmp "$out/cpu.fp32.sha" "$out/gpu.fp32.sha"
cmp "$out/cpu.bf16.sha" "$out/gpu.bf16.sha"
cmp "$out/gpu.bf16-fast.sha" "$out/again.sha"

echo "== accuracy and ECE of fp32, bf16 and bf16-fast: within one another's intervals? =="
"$out/more_gpu" eval --eval data/hh_harmless.test.jsonl data/pandalm.test.jsonl \
    data/tulu_human.test.jsonl --model "$out/gpu.fp32" "$out/gpu.bf16" "$out/gpu.bf16-fast"

if [ -n "$WHOLE" ]; then
    echo "== the commands' tests, ./more being the program for a GPU =="
    # but those of kernels.c's instruction sets and speed, and those that build programs
    tests=$(ls test/commands/*.sh | grep -v '/\(lib\|bits\|bench\|functions\|three_edits\).sh')
    sh test/run.sh $tests

    echo "== make run on both machines =="
    for machine in gpu cpu; do
        cp "$out/more_$machine" more
        sh scripts/run.sh 60 "$out/run_$machine"
    done
    for m in multitask uniform more more-paper; do
        cmp "$out/run_cpu/$m/model.safetensors" "$out/run_gpu/$m/model.safetensors"
    done
    cp "$out/more_gpu" more
fi

echo "== speed =="
"$out/more_gpu" bench
if [ -n "$PYTORCH" ]; then
    "$out/more_gpu" bench --shape gpt2-124m pythia-160m --only "step lm"
    python3 scripts/gpu_pytorch.py
fi
