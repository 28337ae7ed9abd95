#!/bin/sh
# random_folder.sh - writes a model folder of Pythia-1.4B's shape in bf16, with weights by lot: to
# see what a model of that size takes, where none can be had.
#
#     sh scripts/random_folder.sh FOLDER [LAYERS] [CHANNELS]        2.8 GB; a minute
#
# A weight is one of +-0.0115 and +-0.0230, whose two bytes are each 3c or bc, so that bytes by lot
# need not be looked at one by one; gains are 1, biases 0.  The tokenizer is data/base's.
set -eu
out=$1 layers=${2:-24} C=${3:-2048}
V=50304 F=$((4 * C))
base=$(dirname "$0")/../data/base
mkdir -p "$out"
cp "$base"/tokenizer.json "$base"/tokenizer_config.json "$base"/special_tokens_map.json "$out"
cat > "$out/config.json" <<END
{"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "vocab_size": $V,
 "hidden_size": $C, "num_hidden_layers": $layers, "num_attention_heads": 16,
 "intermediate_size": $F, "max_position_embeddings": 2048, "hidden_act": "gelu",
 "layer_norm_eps": 1e-05, "use_parallel_residual": true, "rotary_pct": 0.25,
 "rotary_emb_base": 10000, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 0,
 "dtype": "bfloat16"}
END

# tensors: each line NAME ROWS COLUMNS KIND, in the order of the file; 0 columns: a vector
tensors() {
    echo "gpt_neox.embed_in.weight $V $C lot"
    l=0
    while [ $l -lt "$layers" ]; do
        p=gpt_neox.layers.$l
        echo "$p.input_layernorm.weight $C 0 one"
        echo "$p.input_layernorm.bias $C 0 zero"
        echo "$p.post_attention_layernorm.weight $C 0 one"
        echo "$p.post_attention_layernorm.bias $C 0 zero"
        echo "$p.attention.query_key_value.weight $((3 * C)) $C lot"
        echo "$p.attention.query_key_value.bias $((3 * C)) 0 zero"
        echo "$p.attention.dense.weight $C $C lot"
        echo "$p.attention.dense.bias $C 0 zero"
        echo "$p.mlp.dense_h_to_4h.weight $F $C lot"
        echo "$p.mlp.dense_h_to_4h.bias $F 0 zero"
        echo "$p.mlp.dense_4h_to_h.weight $C $F lot"
        echo "$p.mlp.dense_4h_to_h.bias $C 0 zero"
        l=$((l + 1))
    done
    echo "gpt_neox.final_layer_norm.weight $C 0 one"
    echo "gpt_neox.final_layer_norm.bias $C 0 zero"
    echo "embed_out.weight $V $C lot"
}

# the header of safetensors: its length in 8 bytes, the lowest first, then JSON
header() {
    at=0 comma=''
    printf '{'
    tensors | while read -r name rows columns kind; do
        n=$((rows * (columns ? columns : 1))) shape="$rows"
        [ "$columns" = 0 ] || shape="$rows,$columns"
        printf '%s"%s":{"dtype":"BF16","shape":[%s],"data_offsets":[%d,%d]}' "$comma" "$name" \
            "$shape" $at $((at + 2*n))
        at=$((at + 2*n)) comma=,
    done
    printf '}'
}
length_of() {
    n=$1 i=0
    while [ $i -lt 8 ]; do
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256)) i=$((i + 1))
    done
}
values() {
    tensors | while read -r name rows columns kind; do
        bytes=$((2 * rows * (columns ? columns : 1)))
        case $kind in
        lot)
            head -c $bytes /dev/urandom | LC_ALL=C tr '\000-\177\200-\377' '[\074*128][\274*128]'
            ;;
        one)  yes "$(printf '\200\077')" | tr -d '\n' | head -c $bytes ;;
        zero) head -c $bytes /dev/zero ;;
        esac
    done
}
header > "$out/header.tmp"
{ length_of "$(wc -c < "$out/header.tmp")"; cat "$out/header.tmp"; values; } \
    > "$out/model.safetensors"
rm "$out/header.tmp"
ls -l "$out/model.safetensors"
