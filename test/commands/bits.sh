# bits.sh - the same weights for any number of threads, any instruction set and any micro-batch.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_points
isas=$(instruction_sets)

# one_hash COMMAND...: however it runs; the hashes of its weights are then $one
one_hash() {
    train_anew "$@" --threads 1
    one=$(sha)
    [ ${#one} -ge 64 ] || fault "no hash"
    for how in "--threads 2" "--threads 3 --micro_batch_tokens 1" "--micro_batch_tokens 130" \
        "--micro_batch_tokens 150 --recompute --threads 2"; do
        train_anew "$@" $how
        [ "$(sha)" = "$one" ] || fault "another hash with $how"
    done
    for isa in $isas; do
        case "$isa, $*" in
        *bf16,*--precision* | amx,*--precision*) ;;
        *bf16,* | amx,*) continue ;;               # in fp32 they are AVX-512
        esac
        export MORE_ISA=$isa
        train_anew "$@" --threads 2
        unset MORE_ISA
        [ "$(sha)" = "$one" ] || fault "another hash with MORE_ISA=$isa"
    done
}
train_anew() {
    rm -rf x
    works ./more "$@" --out x
}
everywhere=for_all_threads_instruction_sets_and_micro_batches

it "train_lm_has_one_hash_$everywhere"
one_hash train lm $new --max_steps 3 --train text.jsonl --quiet

it "train_reward_has_one_hash_$everywhere"
one_hash train reward $pairs --max_steps 3 --train $abc

for m in release paper uniform; do
    it "train_more_${m}_has_one_hash_$everywhere"
    one_hash train more --more $m $pairs --max_steps 3 --train $abc
done

it "pooling_at_the_end_has_one_hash_too"
one_hash train more --more paper --pooling eos $pairs --max_steps 2 --train $abc

for o in $objectives; do
    it "train_${o}_has_one_hash_$everywhere"
    one_hash train $o $policy --max_steps 3 --train "$(rows_of $o)"
done

make_groups
it "group_robust_dpo_has_one_hash_$everywhere"
one_hash train dpo $policy --max_steps 3 --train of.jsonl --group_robust who --group_step 2

it "group_robust_reward_has_one_hash_$everywhere"
one_hash train reward $pairs --max_steps 3 --train of.jsonl --group_robust who --group_step 2

it "base_responses_have_one_hash_$everywhere"
sed 's/"chosen":" yes/"completion":" maybe/; s/,"rejected":.*/}/' a.train.jsonl > base.jsonl
one_hash train dpo $policy --max_steps 3 --train a.train.jsonl --bapo_base base.jsonl

it "copies_without_key_phrases_have_one_hash_$everywhere"
one_hash train dpo $policy --max_steps 3 --train a.train.jsonl --spo_gamma 5

it "several_references_have_one_hash_$everywhere"
works ./more train sft $policy --max_steps 2 --train points.jsonl --out p-sft
one_hash train dpo $policy --max_steps 3 --train a.train.jsonl --references lm p-sft
one_hash train dpo $policy --max_steps 3 --train a.train.jsonl --references p-sft lm \
    --reference_mix mdpo

make_rankings
it "rankings_have_one_hash_$everywhere"
one_hash train reward $pairs --max_steps 3 --train ranks.jsonl b.train.jsonl
one_hash train dpo $policy --max_steps 3 --train ranks.jsonl --top 2
one_hash train more --more paper $pairs --max_steps 3 --train ranks.jsonl b.train.jsonl

it "the_types_of_train_em_have_one_hash_each_$everywhere"
em="--types 2 --by who --em_steps 2 --train of.jsonl --quiet"
one_hash train em $policy $em --max_steps 2
lines 2 out
one_hash train em $pairs $em --objective reward
# the models of the heads are fitted to what the frozen one says
works ./more train em --objective heads --model lm $cut $em --threads 1 --out heads-1
one=$(sha)
for isa in $isas; do
    works env MORE_ISA=$isa ./more train em --objective heads --model lm $cut $em --threads 2 \
        --micro_batch_tokens 100 --out "heads-$isa"
    [ "$(sha)" = "$one" ] || fault "another hash of heads with MORE_ISA=$isa"
done

for what in "lm $new --train text.jsonl --quiet" "reward $pairs --train $abc"; do
    it "bf16_has_one_hash_of_its_own_for_train_${what%% *}"
    works ./more train $what --max_steps 3 --out x
    float=$(sha)
    one_hash train $what --max_steps 3 --precision bf16
    it "bf16_is_not_float_for_train_${what%% *}"
    [ "$one" != "$float" ] || fault "bf16 made no difference"
done

it "what_a_library_changed_before_main_changes_no_bit"
if cc -shared -fPIC "$root/scripts/outside.c" -o outside.so -lm 2> cc.err; then
    for what in upward zero flush; do
        works env OUTSIDE=$what LD_PRELOAD=./outside.so ./more inspect --model lm
    done
fi

it "the_golden_trainings_have_their_hashes"
works env OUT="$t/repro" TARGETS=./more sh "$root/scripts/repro.sh"
holds out "^./more  *the same 10 "
holds out "^1 targets, 0 differ, 0 skipped"

it "a_training_that_is_handed_over_has_the_hash_of_the_straight_run"
works env OUT="$t/repro" LEGS="./more ./more" sh "$root/scripts/relay.sh" more dpo-bf16
holds out "^2 relays, 0 differ"

echo "    instruction sets:" $isas
finish
