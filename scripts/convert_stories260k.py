"""Turns llama2.c's stories260K.bin into a Hugging Face LLaMA folder.  Needs only Python.

    python scripts/convert_stories260k.py stories260K.bin test/golden/stories260K

llama2.c rotates neighbouring pairs (2i, 2i+1) of a head, Hugging Face rotates (i, i + HD/2): so the rows of every
query and key head are reordered, even ones first.  Nothing else changes; the numbers are copied bit for bit.
"""
import json, os, struct, sys

data = open(sys.argv[1], "rb").read()
C, F, L, NH, NKV, V, P = struct.unpack_from("<7i", data)
HD, used, tensors = C // NH, 28, {}

def take(*shape):
    global used
    n = 4
    for d in shape: n *= d
    used += n
    return data[used - n:used]

def halves(heads, matrix):                             # (heads*HD, C): rows 0 2 4 .. 1 3 5 .. of each head
    rows = [h*HD + 2*i + j for h in range(heads) for j in (0, 1) for i in range(HD // 2)]
    return b"".join(matrix[r*C*4:(r + 1)*C*4] for r in rows)

def layers(name, shape, change=lambda m: m):
    for l in range(L):
        tensors[f"model.layers.{l}.{name}.weight"] = (shape, change(take(*shape)))

tensors["model.embed_tokens.weight"] = ((V, C), take(V, C))
layers("input_layernorm", (C,))
layers("self_attn.q_proj", (C, C), lambda m: halves(NH, m))
layers("self_attn.k_proj", (NKV*HD, C), lambda m: halves(NKV, m))
layers("self_attn.v_proj", (NKV*HD, C))
layers("self_attn.o_proj", (C, C))
layers("post_attention_layernorm", (C,))
layers("mlp.gate_proj", (F, C))
layers("mlp.down_proj", (C, F))
layers("mlp.up_proj", (F, C))
tensors["model.norm.weight"] = ((C,), take(C))
take(2, P, HD // 2)                                    # the two tables of angles, unused
assert used == len(data) and V > 0

header, body = {"__metadata__": {"format": "pt"}}, b""
for name, (shape, values) in sorted(tensors.items()):
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(values)]}
    body += values
header = json.dumps(header, separators=(",", ":")).encode()
header += b" " * (-len(header) % 8)
config = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": V, "hidden_size": C,
    "num_hidden_layers": L, "num_attention_heads": NH, "num_key_value_heads": NKV, "head_dim": HD,
    "intermediate_size": F, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "max_position_embeddings": P, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
    "bos_token_id": 1, "eos_token_id": 1, "torch_dtype": "float32",
}
os.makedirs(sys.argv[2], exist_ok=True)
with open(os.path.join(sys.argv[2], "model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(header)) + header + body)
with open(os.path.join(sys.argv[2], "config.json"), "w") as f:
    f.write(json.dumps(config, indent=2) + "\n")
