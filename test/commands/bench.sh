# bench.sh - what is measured, and how it is written down; not how fast it is.
. "$(dirname "$0")/lib.sh"
unset MORE_ISA
make_data
make_lm

it "bench_measures_with_one_and_all_threads_what_is_asked_for_and_writes_lines_of_json"
works env OMP_NUM_THREADS=2 \
    ./more bench --rounds 1 --only machine "product 7x" "product 33x" --out bench.jsonl
counts 12 out '^    machine'
counts 24 out '^    product'
name='"name":"[a-zA-Z0-9 ]*","isa":"[a-z0-9_]*"'
value='"value":[0-9.e+-]*,"unit":"G[A-Z/a-z]*","share":[0-9.e+-]*[,}]'
for threads in 1 2; do
    for precision in fp32 bf16; do
        run="\"threads\":$threads,\"precision\":\"$precision\",\"rounds\":1"
        counts 9 bench.jsonl "^{$name,$run,$value"
    done
done
holds bench.jsonl '"name":"product 33x65x129 forward".*"M":33,"N":129,"K":65[,}]'
holds bench.jsonl '"name":"product 33x65x129 dX".*"M":33,"N":65,"K":129[,}]'
holds bench.jsonl '"name":"product 33x65x129 dW".*"M":129,"N":65,"K":33[,}]'

it "bench_shows_what_the_order_of_sums_costs"
works ./more bench --rounds 1 --threads 1 --precision fp32 --only "sums in order" --out bench.jsonl
lines 2 bench.jsonl
holds bench.jsonl '"name":"sums in order",.*"than":"sums in another order","time_ratio":[0-9.e+]*}$'

it "bench_takes_steps_of_real_pairs_packed_and_padded"
real="--train a.train.jsonl --tokenizer lm/tokenizer.json"
works ./more bench --rounds 1 --threads 1 --precision fp32 --only "step reward real padded" $real \
    --out bench.jsonl
lines 2 bench.jsonl
name='"name":"step reward real"' pairs='"pairs":16'
holds bench.jsonl "$name,\"shape\":\"base\",.*$pairs,\"pairs_per_s\":[0-9.e+]*}$"
than='"than":"step reward real","time_ratio":[0-9.e+]*}$'
holds bench.jsonl "${name%\"} padded\",.*$pairs,.*$than"

it "bench_takes_a_step_of_rankings_beside_that_of_their_pairs"
works ./more bench --rounds 1 --threads 1 --precision fp32 --only "step ranking as" --out bench.jsonl
lines 2 bench.jsonl
pairs='"pairs":12,"pairs_per_s":[0-9.e+]*'
holds bench.jsonl "\"name\":\"step ranking\",.*\"tokens\":1094,.*$pairs}\$"
than='"than":"step ranking","time_ratio":[0-9.e+]*}$'
holds bench.jsonl "\"name\":\"step ranking as pairs\",.*\"tokens\":3660,.*$pairs,$than"

it "bench_refuses_what_it_cannot_measure"
refused 64 "--shape gpt2: unknown; see --help for the choices" ./more bench --shape gpt2
refused 64 "--only: no measurement's name starts like that" ./more bench --rounds 1 --only gpt2
refused 64 "--precision fp8: unknown" ./more bench --precision fp8
refused 64 "--tokenizer or --model is needed" ./more bench --train a.train.jsonl
refused 64 "--train: one file is enough, not 2" ./more bench --train a.train.jsonl b.train.jsonl
refused 64 "--max_length 4096: base has 2048 positions" ./more bench --max_length 4096 $real
refused 65 "text data; pairs or rankings are needed" \
    ./more bench --train text.jsonl --tokenizer lm/tokenizer.json
head -n 7 a.train.jsonl > seven.jsonl
refused 65 "seven.jsonl: fewer than 8 pairs" \
    ./more bench --rounds 1 --only step --train seven.jsonl --tokenizer lm/tokenizer.json
refused 73 "no/such" ./more bench --rounds 1 --only machine --out no/such

finish
