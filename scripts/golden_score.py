"""Log-probabilities for test/commands/score.sh: GPT-NeoX in numpy, in double, from its definition.

    pip install numpy safetensors tokenizers
    python3 scripts/golden_score.py data/base < pairs.jsonl     # log p and tokens of both answers of each row"""
import json, sys
from math import erf
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

folder = sys.argv[1]
config = json.load(open(f"{folder}/config.json"))
weights = {name: x.astype(np.float64) for name, x in load_file(f"{folder}/model.safetensors").items()}
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
C, H = config["hidden_size"], config["num_attention_heads"]
D = C // H
R = int(D * config["rotary_pct"])  # rotated channels of a head
gelu = np.vectorize(lambda x: x * (1 + erf(x / 2**0.5)) / 2)


def linear(x, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(x, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config["layer_norm_eps"])
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def rotate(x):  # (H, T, D): the halves of the first R channels
    angle = np.outer(np.arange(x.shape[1]), config["rotary_emb_base"] ** (-np.arange(0, R, 2) / R))
    a, b = x[..., : R // 2], x[..., R // 2 : R]
    turned = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    return np.concatenate([*turned, x[..., R:]], -1)


def attention(x, name):
    T = len(x)
    qkv = linear(x, f"{name}.query_key_value").reshape(T, H, 3 * D).transpose(1, 0, 2)
    q, k, v = rotate(qkv[..., :D]), rotate(qkv[..., D : 2 * D]), qkv[..., 2 * D :]
    scores = np.where(np.tri(T), q @ k.transpose(0, 2, 1) / D**0.5, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = scores / scores.sum(-1, keepdims=True) @ v
    return linear(mixed.transpose(1, 0, 2).reshape(T, C), f"{name}.dense")


def log_probabilities(tokens):
    embedding = weights["gpt_neox.embed_in.weight"]
    x = embedding[tokens]
    for layer in range(config["num_hidden_layers"]):
        name = f"gpt_neox.layers.{layer}"
        hidden = gelu(linear(norm(x, f"{name}.post_attention_layernorm"), f"{name}.mlp.dense_h_to_4h"))
        x = x + attention(norm(x, f"{name}.input_layernorm"), f"{name}.attention") + linear(
            hidden, f"{name}.mlp.dense_4h_to_h")
    logits = norm(x, "gpt_neox.final_layer_norm") @ embedding.T  # tied
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


for line in sys.stdin:
    row = json.loads(line)
    prompt = tokenizer.encode(row["prompt"], add_special_tokens=False).ids
    for key in "chosen", "rejected":
        answer = tokenizer.encode(row[key], add_special_tokens=False).ids + [config["eos_token_id"]]
        tokens = prompt + answer
        logp = log_probabilities(tokens[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
        print(f"{logp[len(prompt) - 1:].sum():.6f} {len(answer)}", end=" ")
    print()
