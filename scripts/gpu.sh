#!/bin/sh
# What to run on a machine with an NVIDIA GPU and nvcc: does kernels.cu keep the contract there, and
# how fast is it?  Stops at the first thing that is wrong; docs/GPU.md has the table to be filled in.
#     sh scripts/gpu.sh            PYTORCH=1: beside PyTorch, which must be installed
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

echo "== the tests that look into tensors =="
for t in kernels model generate tensor_cores; do test/bin/cuda_$t; done

if command -v compute-sanitizer > /dev/null; then
    echo "== races, addresses =="
    compute-sanitizer --tool racecheck --error-exitcode 1 "$out/more_gpu" selftest
    compute-sanitizer --tool memcheck --error-exitcode 1 "$out/more_gpu" selftest
fi

echo "== one training on both machines =="
sets="data/hh_harmless.train.jsonl data/pandalm.train.jsonl data/tulu_human.train.jsonl"
for machine in cpu gpu; do
    for precision in fp32 bf16; do
        "$out/more_$machine" train more --more release --model data/base --train $sets \
            --max_steps 20 --precision $precision --quiet --out "$out/$machine.$precision" \
            > "$out/$machine.$precision.sha"
        echo "$machine, $precision: $(cat "$out/$machine.$precision.sha")"
    done
done
cmp "$out/cpu.fp32.sha" "$out/gpu.fp32.sha"
cmp "$out/cpu.bf16.sha" "$out/gpu.bf16.sha"

echo "== speed =="
"$out/more_gpu" bench
[ -z "$PYTORCH" ] || python3 scripts/gpu_pytorch.py
