#!/usr/bin/env python3
"""Loads every kind of folder that `more` writes in transformers and PEFT, and compares their numbers with `more score`.

    pip install torch==2.13.0 transformers==5.24.0 peft==0.21.2 accelerate gguf==0.19.0 && make
    python3 scripts/check_hf.py                              the table: families x folders
    python3 scripts/check_hf.py SMOLLM2 FILE.gguf            greedy texts of a real model, as a folder and as GGUF

For each family a tiny model with random weights is made by transformers, and trained by `more` for two steps: as a
policy, saved in f32, bf16 and f16, as a reward model with each pooling, and as adapters.  The table has the largest
difference between the log-probability of a text, or its reward, that `more score` prints and the same number from
transformers in float64, of the weights as they were saved.  `refused` is what is wanted of pooling `mean`: a reward
that transformers would read elsewhere has a model type which it does not know.  What differs by more than 1e-4 is
marked, and the exit status is 1."""
import json
import os
import re
import sys
import tempfile

import torch
import transformers
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from run_more import LENGTH, PROMPTS, ROOT, ROWS, TEXTS, run, run_rows, write_rows

TOKENIZER = os.path.join(ROOT, "test", "golden", "tokenizers", "llama3.json")
END = "<|endoftext|>"
NEAR = 1e-4

NEOX = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=64)
LLAMA = dict(NEOX, num_key_value_heads=2)
GPT2 = dict(n_embd=32, n_layer=2, n_head=4, n_positions=64)
ROPE3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=16)
T = transformers
FAMILIES = {
    "GPT-NeoX": (T.GPTNeoXConfig, NEOX),
    "GPT-NeoX, sequential, tied": (T.GPTNeoXConfig, dict(NEOX, use_parallel_residual=False, tie_word_embeddings=True)),
    "GPT-2": (T.GPT2Config, GPT2),
    "GPT-2, untied": (T.GPT2Config, dict(GPT2, tie_word_embeddings=False)),
    "LLaMA": (T.LlamaConfig, LLAMA),
    "LLaMA-3 scaling, biases, tied": (T.LlamaConfig, dict(LLAMA, rope_parameters=ROPE3, attention_bias=True,
                                                          mlp_bias=True, tie_word_embeddings=True)),
    "Mistral, window of 6": (T.MistralConfig, dict(LLAMA, sliding_window=6)),
    "Qwen2, tied, yarn": (T.Qwen2Config, dict(LLAMA, tie_word_embeddings=True, rope_parameters=YARN)),
    "Qwen2, window in one layer": (T.Qwen2Config, dict(LLAMA, use_sliding_window=True, sliding_window=5,
                                                       max_window_layers=1)),
    "Qwen3": (T.Qwen3Config, dict(LLAMA, head_dim=16)),
    "SmolLM3": (T.SmolLM3Config, dict(LLAMA, no_rope_layers=[1, 0])),
    "OLMo 2": (T.Olmo2Config, LLAMA),
}


def make_base(folder, name, width=32):
    """A model of the family with random weights and so many channels."""
    cls, settings = FAMILIES[name]
    settings = dict(settings, **{"n_embd" if cls is T.GPT2Config else "hidden_size": width})
    if "head_dim" in settings:
        settings["head_dim"] = width // 2
    t = Tokenizer.from_file(TOKENIZER)
    t.add_special_tokens(["<|padding|>"])
    end, pad = t.token_to_id(END), t.token_to_id("<|padding|>")
    torch.manual_seed(len(name))
    config = cls(**settings, vocab_size=t.get_vocab_size(), bos_token_id=end, eos_token_id=end,
                 pad_token_id=pad)
    model = AutoModelForCausalLM.from_config(config)
    for key, p in model.named_parameters():
        norm = "norm" in key or ".ln_" in key
        p.data = 1 + 0.2 * torch.randn_like(p) if norm else 0.2 * torch.randn_like(p)
    model.tie_weights()
    model.save_pretrained(folder)
    t.save(os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}, f)


def texts(folder):
    """Prompt ids and answer ids of both answers of each row."""
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    ids = lambda s: t.encode(s, add_special_tokens=False).ids
    return [(ids(r["prompt"]), ids(r["completion"])) for r in TEXTS]


def theirs(folder, adapter, reward, pooling):
    """transformers' numbers of the same texts, in float64: rewards, or log-probabilities of answers."""
    classes = {(0, 0): AutoModelForCausalLM, (0, 1): AutoModelForSequenceClassification,
               (1, 0): AutoPeftModelForCausalLM, (1, 1): AutoPeftModelForSequenceClassification}
    more = dict(num_labels=1) if reward and adapter else {}
    model = classes[bool(adapter), bool(reward)].from_pretrained(folder, dtype=torch.float32, **more).double().eval()
    end, values = Tokenizer.from_file(TOKENIZER).token_to_id(END), []
    pad = model.config.pad_token_id
    for prompt, answer in texts(folder):
        ids = prompt + answer + ([end] if pooling == "eos" or not reward else [])
        with torch.no_grad():
            if reward:                      # with pads behind, as in a batch
                mask = [1] * len(ids) + [0, 0]
                out = model(input_ids=torch.tensor([ids + [pad, pad]]), attention_mask=torch.tensor([mask]))
                values.append(out.logits[0, 0].item())
                continue
            logp = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
        values.append(sum(logp[t, ids[t + 1]].item() for t in range(len(prompt) - 1, len(ids) - 1)))
    return values


def ours(folder):
    out = run_rows("score", "--model", folder, "--quiet", *LENGTH, rows=TEXTS)
    return [r["reward"] if "reward" in r else r["logp"] for r in out]


def difference(folder, adapter=False, reward=False, pooling="last"):
    a, b = ours(folder), theirs(folder, adapter, reward, pooling)
    return max(abs(x - y) for x, y in zip(a, b))


def cell(value):
    return value if isinstance(value, str) else "%.0e%s" % (value, "" if value <= NEAR else " WRONG")


def check_family(d, name):
    base, train = os.path.join(d, "base"), os.path.join(d, "rows.jsonl")
    make_base(base, name)
    write_rows(train, ROWS)
    step = ("--model", base, "--train", train, "--max_steps", 2, "--learning_rate", "1e-3", "--quiet",
            *LENGTH)
    lora = ("--lora_r", 3, "--lora_alpha", 7)
    cells = {}
    for dtype in ("f32", "bf16", "f16"):
        out = os.path.join(d, "sft-" + dtype)
        run("train", "sft", *step, "--out", out, "--dtype", dtype)
        cells["policy " + dtype] = difference(out)
    for pooling in ("last", "eos", "mean"):
        out = os.path.join(d, "rm-" + pooling)
        run("train", "reward", *step, "--out", out, "--pooling", pooling)
        if pooling != "mean":
            cells["reward, " + pooling] = difference(out, reward=True, pooling=pooling)
            continue
        try:
            theirs(out, False, True, pooling)
            cells["reward, mean"] = "WRONG: loads"
        except (KeyError, ValueError):
            cells["reward, mean"] = "refused"
    out = os.path.join(d, "lora")
    run("train", "sft", *step, *lora, "--out", out)
    cells["adapter"] = difference(out, adapter=True)
    run("export", "--model", out, "--out", os.path.join(d, "merged"))
    cells["merged"] = difference(os.path.join(d, "merged"))
    out = os.path.join(d, "lora-rm")
    run("train", "reward", *step, *lora, "--out", out)
    cells["adapter, reward"] = difference(out, adapter=True, reward=True)
    return cells


def table():
    head, lines, wrong = None, [], False
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as d:
            cells = check_family(d, name)
        if not head:
            head = list(cells)
            print("| family | " + " | ".join(head) + " |\n" + "|---" * (len(head) + 1) + "|")
        line = "| %s | %s |" % (name, " | ".join(cell(cells[k]) for k in head))
        wrong = wrong or "WRONG" in line
        print(line, flush=True)
    return wrong


def greedy(folder, gguf):
    """How many of 40 greedy tokens are those of transformers, of the folder and of the file."""
    t = AutoTokenizer.from_pretrained(folder)
    wrong = False
    print("| model | prompt | equal tokens of 40 |\n|---|---|---|")
    for what in (folder, gguf):
        if what == gguf:
            model = AutoModelForCausalLM.from_pretrained(os.path.dirname(gguf), gguf_file=os.path.basename(gguf),
                                                         dtype=torch.float32)
        else:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        rows = [{"prompt": p} for p in PROMPTS]
        out = run_rows("sample", "--model", what, "--temperature", 0, "--max_new_tokens", 40, "--quiet", rows=rows)
        for prompt, row in zip(PROMPTS, out):
            ids = t(prompt, return_tensors="pt", add_special_tokens=False).input_ids
            with torch.no_grad():
                want = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40)
            text = t.decode(want[0, ids.shape[1]:], skip_special_tokens=True)
            said = row["completion"]
            have = t(said, add_special_tokens=False).input_ids
            again = t(text, add_special_tokens=False).input_ids
            same = 40 if said == text else next((i for i, (x, y) in enumerate(zip(have, again)) if x != y), 0)
            wrong = wrong or same < 40
            print("| %s | %s | %d |" % (re.sub(r".*/", "", what.rstrip("/")), json.dumps(prompt), same), flush=True)
        del model
    return wrong


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    sys.exit(greedy(*sys.argv[1:]) if len(sys.argv) == 3 else table())
