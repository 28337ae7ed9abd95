"""Whole training steps in PyTorch and transformers on the CPU, random weights, to set beside `more bench`.

    OMP_NUM_THREADS=2 python torch_step.py lm|reward|trl fp32|bf16 [--pairs FILE] [--tokenizer tokenizer.json]

lm: GPT-2 124M on random tokens, B x T of them a step.  reward: a Bradley-Terry step of the shape of Pythia-160M or SmolLM2-135M
on real pairs, eight a batch in a random order, chosen and rejected stacked and padded to the longest of the batch, as TRL's
RewardTrainer does.  trl: that trainer itself on the same batches, without its recomputation of activations.
One step is forward, loss, backward, clipping, AdamW.  bf16 is autocast over fp32 weights.  Prints one line of JSON.
"""
import argparse
import json
import os
import random
import statistics
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("step", choices=["lm", "reward", "trl"])
parser.add_argument("precision", choices=["fp32", "bf16"])
parser.add_argument("--steps", type=int, default=3, help="timed steps, after one that is not")
parser.add_argument("--B", type=int, default=4, help="lm: texts")
parser.add_argument("--T", type=int, default=256, help="lm: tokens of each")
parser.add_argument("--pairs", help="reward: JSON lines of prompt, chosen, rejected")
parser.add_argument("--tokenizer", help="reward: a tokenizer.json")
parser.add_argument("--shape", choices=["pythia-160m", "smollm2-135m"], default="pythia-160m", help="reward, trl: of the model")
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


def reward_model(end, pad):
    """The shape's sequence classifier with one output."""
    common = dict(num_labels=1, pad_token_id=pad, eos_token_id=end, bos_token_id=end, use_cache=False, attention_dropout=0)
    if opt.shape == "smollm2-135m":
        config = transformers.LlamaConfig(vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9,
                                          num_key_value_heads=3, intermediate_size=1536, rope_theta=100000.0,
                                          max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True, **common)
        return transformers.LlamaForSequenceClassification._from_config(config, attn_implementation="sdpa")
    config = transformers.GPTNeoXConfig(vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                                        intermediate_size=3072, hidden_dropout=0, classifier_dropout=0, **common)
    return transformers.GPTNeoXForSequenceClassification._from_config(config, attn_implementation="sdpa")


ENDS = {"pythia-160m": ("<|endoftext|>", "<|padding|>"), "smollm2-135m": ("<|im_end|>", "<|im_end|>")}


def reward():
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(opt.tokenizer)
    end, pad = (tokenizer.token_to_id(t) for t in ENDS[opt.shape])
    model = reward_model(end, pad)
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
                        torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts]), pairs))

    def loss(model, x):
        chosen, rejected = model(input_ids=x[0], attention_mask=x[1]).logits.float().view(-1).chunk(2)
        return -torch.nn.functional.logsigmoid(chosen - rejected).mean()
    return model, batches, loss


def timed_steps():
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, fused=opt.adamw == "fused",
                              foreach=opt.adamw == "foreach")
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

    step(warm_up)
    return zip(*(step(x) for x in batches))


def timed_trl():
    import datasets
    import trl
    times, start = [], [0.0]

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *args, **more):
            start[0] = time.perf_counter()

        def on_step_end(self, *args, **more):
            times.append(time.perf_counter() - start[0])

    class InOrder(trl.RewardTrainer):
        def _prepare_dataset(self, dataset, *args, **more):
            return dataset                                                # tokens already

        def _get_train_sampler(self, *args):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    pairs = [pair for x in [warm_up, *batches] for pair in x[2]]
    columns = {"chosen_ids": [c for c, _ in pairs], "rejected_ids": [r for _, r in pairs]}
    rows = datasets.Dataset(datasets.table.InMemoryTable.from_pydict(columns), fingerprint="pairs")
    end, pad = ENDS[opt.shape]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=opt.tokenizer, eos_token=end, pad_token=pad)
    with tempfile.TemporaryDirectory() as folder:
        how = trl.RewardConfig(output_dir=folder, per_device_train_batch_size=opt.batch, max_steps=len(batches) + 1, use_cpu=True,
                               bf16=opt.precision == "bf16", gradient_checkpointing=False, max_length=None, learning_rate=1e-5,
                               weight_decay=0.1, max_grad_norm=1.0, optim="adamw_torch_fused", report_to=[], save_strategy="no",
                               logging_steps=1, disable_tqdm=True, dataloader_pin_memory=False)
        trainer = InOrder(model=model, args=how, train_dataset=rows, processing_class=tokenizer,
                          callbacks=[Clock()])
        trainer.train()
    losses = [x["loss"] for x in trainer.state.log_history if "loss" in x]
    return times[1:], [float(x) for x in losses[1:]]


model, batches, loss_of = lm() if opt.step == "lm" else reward()
model.train()
warm_up = batches[0] if opt.step == "lm" else max(batches, key=lambda x: x[0].numel())
times, losses = timed_trl() if opt.step == "trl" else timed_steps()
line = {"name": f"step lm B{opt.B} T{opt.T}" if opt.step == "lm" else "step reward real",
        "shape": "gpt2-124m" if opt.step == "lm" else opt.shape,
        "peer": opt.name, "threads": threads, "precision": opt.precision}
if opt.step == "lm":
    line |= {"value": opt.B * opt.T / statistics.median(times), "unit": "tokens/s"}
else:
    line |= {"value": opt.steps * opt.batch / sum(times), "unit": "pairs/s", "padded_tokens": sum(x[0].numel() for x in batches),
             "tokens": sum(int(x[1].sum()) for x in batches)}
line |= {"seconds": [round(t, 3) for t in times], "losses": [round(x, 4) for x in losses], "torch": torch.__version__}
print(json.dumps(line), flush=True)
