#!/usr/bin/env python3
"""Writes test/golden/gguf with the gguf package, which shares nothing with ours.

    pip install gguf==0.19.0 numpy sentencepiece protobuf && python3 scripts/golden_gguf.py

blocks.gguf      the same numbers in every number format that is read, and blocks.json with the SHA-256 of their values
                 as float32, which gguf.quants.dequantize gives; of Q4_K and Q6_K, which it does not write, random blocks
MODEL.gguf       folders of test/golden as GGUF: names by gguf.get_tensor_name_map, rows of queries and keys and
                 query_key_value rearranged as llama.cpp's convert_hf_to_gguf.py does
*_tokenizer.gguf tokenizers of test/golden/tokenizers, without a model
"""
import hashlib, json, os
import gguf, numpy as np
from gguf import GGMLQuantizationType as Q

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden")
OUT = os.path.join(GOLDEN, "gguf")
FORMATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q6_K"]
MODELS = {"llama3": "llama", "mistral_tied": "llama", "qwen2": "qwen2", "qwen3_untied": "qwen3", "gpt2": "gpt2",
          "neox_sequential": "gptneox", "neox_tied": "gptneox", "llama_linear": "llama", "qwen2_yarn": "qwen2",
          "mistral_window": "llama"}

def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

def random_blocks(random, name):                        # any bytes, but scales that are small numbers
    block, size = gguf.GGML_QUANT_SIZES[Q[name]]
    b = random.randint(0, 256, (2, 512//block, size)).astype(np.uint8)
    scales = {"Q4_K": [0, 2], "Q6_K": [208]}[name]
    for at in scales:
        b[:, :, at:at+2] = random.standard_normal(b.shape[:2] + (1,)).astype(np.float16).view(np.uint8)
    return b.reshape(2, -1)

def blocks():
    random, sums = np.random.RandomState(1), {}
    w = gguf.GGUFWriter(os.path.join(OUT, "blocks.gguf"), "llama")
    x = random.standard_normal((2, 512)).astype(np.float32)
    x[0, :32] = 0
    x[1, 5] = -9.5
    for name in FORMATS:
        data = random_blocks(random, name) if name.endswith("_K") else gguf.quantize(x, Q[name])
        w.add_tensor(name.lower(), data, raw_dtype=Q[name])
        sums[name] = hashlib.sha256(gguf.dequantize(data, Q[name]).astype("<f4").tobytes()).hexdigest()
    finish(w)
    with open(os.path.join(OUT, "blocks.json"), "w") as f:
        json.dump(sums, f, indent=1)
        f.write("\n")

def load(folder):                                       # name: (its bits or numbers, format)
    out = {}
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        header, data = json.loads(f.read(n)), f.read()
    for name, t in header.items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[t["dtype"]]
        out[name] = (np.frombuffer(data[a:b], kind).reshape(t["shape"]), t["dtype"])
    return out

def permute(x, heads):                                  # LlamaModel.permute of convert_hf_to_gguf.py
    return x.reshape(heads, 2, x.shape[0]//heads//2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)

def join_qkv(x, heads):                                 # GPTNeoXModel.modify_tensors
    rest = x.shape[1:]
    return x.reshape(heads, 3, x.shape[0]//heads//3, *rest).swapaxes(0, 1).reshape(x.shape)

def model(name, arch):
    folder = os.path.join(GOLDEN, name)
    c = json.load(open(os.path.join(folder, "config.json")))
    get = lambda *keys: next((c[k] for k in keys if k in c), None)
    rope = c.get("rope_parameters", {})
    w = gguf.GGUFWriter(os.path.join(OUT, name + ".gguf"), arch)
    layers, heads = get("num_hidden_layers", "n_layer"), get("num_attention_heads", "n_head")
    width = get("hidden_size", "n_embd")
    w.add_block_count(layers)
    w.add_context_length(get("max_position_embeddings", "n_positions"))
    w.add_embedding_length(width)
    w.add_feed_forward_length(get("intermediate_size", "n_inner") or 4*width)
    w.add_head_count(heads)
    if "rms_norm_eps" in c:
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        w.add_head_count_kv(c["num_key_value_heads"])
        if c.get("sliding_window"):
            w.add_sliding_window(c["sliding_window"])
    else:
        w.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon"))
    dim = c.get("head_dim") or width//heads
    if arch != "gpt2":
        part = rope.get("partial_rotary_factor", 1) if arch == "gptneox" else 1
        w.add_rope_dimension_count(int(dim*part))
        w.add_rope_freq_base(float(rope["rope_theta"]))
    if c.get("head_dim"):
        w.add_key_length(dim)
        w.add_value_length(dim)
    if arch == "gptneox":
        w.add_parallel_residual(c["use_parallel_residual"])
    if rope.get("rope_type") == "llama3":               # LlamaModel.generate_extra_tensors
        factors, low, high, old = [], rope["low_freq_factor"], rope["high_freq_factor"], \
            rope["original_max_position_embeddings"]
        for i in range(0, dim, 2):
            freq = 1/rope["rope_theta"]**(i/dim)
            length = 2*np.pi/freq
            smooth = (old/length - low)/(high - low)
            factors.append(1 if length < old/high else rope["factor"] if length > old/low
                           else 1/((1 - smooth)/rope["factor"] + smooth))
        w.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    if rope.get("rope_type") in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        w.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "yarn":
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    for key, add in (("bos_token_id", w.add_bos_token_id), ("eos_token_id", w.add_eos_token_id),
                     ("pad_token_id", w.add_pad_token_id)):
        if c.get(key) is not None:
            add(c[key])
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch],
                                     layers)
    for key, (x, dtype) in sorted(load(folder).items()):
        if arch == "llama" and ".q_proj." in key:
            x = permute(x, heads)
        if arch == "llama" and ".k_proj." in key:
            x = permute(x, c["num_key_value_heads"])
        if ".query_key_value." in key:
            x = join_qkv(x, heads)
        if any(key.endswith(p + ".weight") for p in ("c_attn", "c_proj", "c_fc")):
            x = x.T
        to = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert to, key
        if x.ndim == 1 or dtype == "F32":               # as the converter: vectors in F32
            if dtype == "BF16":
                x = (x.astype(np.uint32) << 16).view(np.float32)
            w.add_tensor(to, np.ascontiguousarray(x.astype(np.float32)))
        else:
            raw = np.ascontiguousarray(x).view(np.uint8)
            w.add_tensor(to, np.ascontiguousarray(x) if dtype == "F16" else raw, raw_dtype=Q[dtype])
    finish(w)

def pairs(name, pre):
    j = json.load(open(os.path.join(GOLDEN, "tokenizers", name + ".json")))
    pieces = {i: (s, 1) for s, i in j["model"]["vocab"].items()}
    for a in j["added_tokens"]:
        pieces[a["id"]] = (a["content"], 3 if a["special"] else 4)
    n = max(pieces) + 3                                 # two more that only fill the list
    w = gguf.GGUFWriter(os.path.join(OUT, name + "_tokenizer.gguf"), "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list([pieces.get(i, (f"[PAD{i}]", 5))[0] for i in range(n)])
    w.add_token_types([pieces.get(i, ("", 5))[1] for i in range(n)])
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in j["model"]["merges"]])
    w.add_eos_token_id(j["added_tokens"][0]["id"])
    w.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    finish(w)

def sentencepiece():
    from sentencepiece import sentencepiece_model_pb2
    m = sentencepiece_model_pb2.ModelProto()
    with open(os.path.join(GOLDEN, "tokenizers", "tokenizer.model"), "rb") as f:
        m.ParseFromString(f.read())
    w = gguf.GGUFWriter(os.path.join(OUT, "sentencepiece_tokenizer.gguf"), "llama")
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list([p.piece for p in m.pieces])
    w.add_token_scores([p.score for p in m.pieces])
    w.add_token_types([p.type for p in m.pieces])
    finish(w)

if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    blocks()
    for name, arch in MODELS.items():
        model(name, arch)
    for name, pre in (("digit", "smollm"), ("llama3", "llama-bpe"), ("qwen2", "qwen2")):
        pairs(name, pre)
    sentencepiece()
