"""Whole training steps in PyTorch and transformers on the CPU, random weights, to set beside `more bench`.

    OMP_NUM_THREADS=2 python torch_step.py lm|reward fp32|bf16 [--pairs FILE] [--tokenizer tokenizer.json]

lm: GPT-2 124M on random tokens, B x T of them a step.  reward: a Bradley-Terry step of Pythia-160M's shape on real pairs, eight
a batch in a random order, chosen and rejected stacked and padded to the longest of the batch, as TRL's RewardTrainer does.
One step is forward, loss, backward, clipping, AdamW.  bf16 is autocast over fp32 weights.  Prints one line of JSON.
"""
import argparse
import json
import os
import random
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("step", choices=["lm", "reward"])
parser.add_argument("precision", choices=["fp32", "bf16"])
parser.add_argument("--steps", type=int, default=3, help="timed steps, after one that is not")
parser.add_argument("--B", type=int, default=4, help="lm: texts")
parser.add_argument("--T", type=int, default=256, help="lm: tokens of each")
parser.add_argument("--pairs", help="reward: JSON lines of prompt, chosen, rejected")
parser.add_argument("--tokenizer", help="reward: a tokenizer.json")
parser.add_argument("--batch", type=int, default=8, help="reward: pairs a step")
parser.add_argument("--max_length", type=int, default=1024)
parser.add_argument("--max_prompt_length", type=int, default=512)
parser.add_argument("--name", default="torch", help="what to call this peer")
parser.add_argument("--compile", action="store_true", help="torch.compile the model")
parser.add_argument("--adamw", choices=["fused", "foreach", "for"], default="fused", help="PyTorch's implementation")
opt = parser.parse_args()
threads = int(os.environ.get("OMP_NUM_THREADS", 1))

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(threads)
torch.manual_seed(1)


def lm():
    config = transformers.GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False)
    model = transformers.GPT2LMHeadModel._from_config(config, attn_implementation="sdpa")
    batches = [torch.randint(0, config.vocab_size, (opt.B, opt.T)) for _ in range(opt.steps)]
    return model, batches, lambda model, x: model(input_ids=x, labels=x).loss


def tokens_of(rows, tokenizer, end):
    """The last tokens of the prompt, then as much of the answer as fits, then the end of text."""
    pairs = []
    for row in rows:
        prompt = tokenizer.encode(row["prompt"]).ids[-opt.max_prompt_length:]
        room = opt.max_length - len(prompt) - 1
        pairs.append([prompt + tokenizer.encode(row[key]).ids[:room] + [end] for key in ("chosen", "rejected")])
    return pairs


def reward():
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(opt.tokenizer)
    end, pad = (tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|padding|>"))
    config = transformers.GPTNeoXConfig(vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                                        intermediate_size=3072, hidden_dropout=0, attention_dropout=0, classifier_dropout=0,
                                        num_labels=1, pad_token_id=pad, eos_token_id=end, bos_token_id=end, use_cache=False)
    model = transformers.GPTNeoXForSequenceClassification._from_config(config, attn_implementation="sdpa")
    rows = [json.loads(line) for line in open(opt.pairs, encoding="utf-8")]
    random.Random(1).shuffle(rows)
    batches = []
    for i in range(opt.steps):
        pairs = tokens_of(rows[i * opt.batch:(i + 1) * opt.batch], tokenizer, end)
        if len(pairs) < opt.batch:
            raise SystemExit(f"{opt.pairs} has too few rows for {opt.steps} steps of {opt.batch}")
        texts = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
        longest = max(map(len, texts))
        batches.append((torch.tensor([t + [pad] * (longest - len(t)) for t in texts]),
                        torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts])))

    def loss(model, x):
        chosen, rejected = model(input_ids=x[0], attention_mask=x[1]).logits.float().view(-1).chunk(2)
        return -torch.nn.functional.logsigmoid(chosen - rejected).mean()
    return model, batches, loss


model, batches, loss_of = lm() if opt.step == "lm" else reward()
model.train()
adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, fused=opt.adamw == "fused", foreach=opt.adamw == "foreach")
run = torch.compile(model, dynamic=opt.step == "reward") if opt.compile else model


def step(x):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=opt.precision == "bf16"):
        loss = loss_of(run, x)
    adamw.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adamw.step()
    value = loss.item()
    return time.perf_counter() - start, value


step(max(batches, key=lambda x: x[0].numel()) if opt.step == "reward" else batches[0])
times, losses = zip(*(step(x) for x in batches))
line = {"name": f"step lm B{opt.B} T{opt.T}" if opt.step == "lm" else "step reward real",
        "shape": "gpt2-124m" if opt.step == "lm" else "pythia-160m",
        "peer": opt.name, "threads": threads, "precision": opt.precision}
if opt.step == "lm":
    line |= {"value": opt.B * opt.T / statistics.median(times), "unit": "tokens/s"}
else:
    line |= {"value": opt.steps * opt.batch / sum(times), "unit": "pairs/s", "padded_tokens": sum(x[0].numel() for x in batches),
             "tokens": sum(int(x[1].sum()) for x in batches)}
line |= {"seconds": [round(t, 3) for t in times], "losses": [round(x, 4) for x in losses], "torch": torch.__version__}
print(json.dumps(line), flush=True)
