#!/usr/bin/env python3
"""Loads the GGUF files that `more export` writes in llama.cpp, and compares tokens, log-probabilities, greedy texts.

    pip install llama-cpp-python==0.3.36 numpy && make
    python3 scripts/check_llama_cpp.py MODEL...          language models of real size: folders, or GGUF files
    python3 scripts/check_llama_cpp.py                   tiny ones of each family; needs what check_hf.py needs

Every MODEL is written as f32, f16 and q8_0; a MODEL that is a GGUF file is also compared as it is.  A row of the
table has, of one file:

  ids          how many tokens of texts of data/ llama.cpp and `more tokenize` have alike, up to the first that differs
  logp         the largest difference between the log-probability of a token by `more score --tokens` and by llama.cpp
  own          of f16 and q8_0: the same between llama.cpp's numbers of our file and of the file that llama.cpp itself
               makes of ours in f32
  perplexity   of the beginning of LICENSE, by `more` and by llama.cpp
  greedy       how many of five greedy texts of 40 tokens are alike

llama.cpp keeps keys and values in floats here and does without flash attention.  It multiplies f32 as floats, and that
is what is compared: NEAR, or GELU_NEAR for GPT-2 and GPT-NeoX, whose GELU it computes by tanh and takes from a table
in f16.  With weights in f16 it rounds what they are multiplied by to f16, with q8_0 and other blocks to 8 bits, where
`more` has floats: for such files there is no limit to `logp`, but `own` must be 0.  What is not so is marked WRONG, as
are other ids and, with f32, other greedy texts; then the exit status is 1."""
import glob
import json
import math
import os
import sys
import tempfile

import llama_cpp
import numpy

from run_more import PROMPTS, ROOT, TEXTS, run, run_rows

NEAR = 1e-3
GELU_NEAR = 3e-2
NEW = 40                                                # tokens of a greedy text
DOCUMENT_LENGTH = 800                                   # characters


def sample_texts():
    """Every 40th row of each training file; of those with letters outside ASCII every 10th."""
    texts = []
    for path in sorted(glob.glob(os.path.join(ROOT, "data", "*.train.jsonl"))):
        with open(path, encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
        said = ["\n".join(v for v in r.values() if isinstance(v, str)) for r in rows]
        texts += said[::40] + [s for s in said if not s.isascii()][::10]
    return texts


def count_same(a, b):
    """Up to where two lists are alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Theirs:
    """A GGUF file in llama.cpp."""

    def __init__(self, path, length):
        self.model = llama_cpp.Llama(path, n_ctx=length, n_threads=1, n_threads_batch=1, logits_all=True, type_k=0,
                                     type_v=0, verbose=False)

    def near(self):
        gelu = self.model.metadata["general.architecture"] in ("gpt2", "gptneox")
        return GELU_NEAR if gelu else NEAR

    def ids(self, text):
        return self.model.tokenize(text.encode(), add_bos=False, special=False)

    def token_logps(self, prompt, answer):
        """Of each token of the answer; prompt and answer are ids."""
        self.model.reset()
        self.model.eval(prompt + answer)
        logits = self.model.scores[len(prompt) - 1:len(prompt) + len(answer) - 1].astype(numpy.float64)
        top = logits.max(-1)
        total = top + numpy.log(numpy.exp(logits - top[:, None]).sum(-1))
        return logits[range(len(answer)), answer] - total

    def greedy(self, prompt):
        m, at, out = self.model, self.ids(prompt), []
        m.reset()
        for _ in range(NEW):
            m.eval(at)
            at = [int(m.scores[m.n_tokens - 1].argmax())]
            if llama_cpp.llama_vocab_is_eog(m._model.vocab, at[0]):
                break
            out += at
        return m.detokenize(out).decode(errors="replace")


def compare_ids(path, theirs):
    """Tokens of data/ that are alike, and how many there are."""
    text = "\n".join(sample_texts())
    ours = [int(line.split("\t")[0]) for line in run("tokenize", "--model", path, text=text).splitlines()]
    others = theirs.ids(text)
    return count_same(ours, others), max(len(ours), len(others))


def our_logps(path, rows, length):
    """Of each row its prompt, and the ids and log-probabilities of its answer."""
    return [(row["prompt"], [t["id"] for t in row["token_logps"]], [t["logp"] for t in row["token_logps"]])
            for row in run_rows("score", "--model", path, "--tokens", "--quiet", "--max_length", length,
                                "--max_prompt_length", length // 2, rows=rows)]


def their_logps(theirs, scored):
    """llama.cpp's log-probabilities of all these tokens."""
    return numpy.concatenate([theirs.token_logps(theirs.ids(prompt), ids) for prompt, ids, _ in scored])


def far(a, b):
    return numpy.abs(a - b).max()


def convert(path, dtype, out):
    """By llama.cpp."""
    how = llama_cpp.llama_model_quantize_default_params()
    how.nthread = 1
    how.ftype = {"f16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16, "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0}[dtype]
    if llama_cpp.llama_model_quantize(path.encode(), out.encode(), how):
        sys.exit("llama.cpp does not convert %s to %s" % (path, dtype))


def compare_greedy(path, theirs):
    rows = run_rows("sample", "--model", path, "--temperature", 0, "--max_new_tokens", NEW, "--quiet",
                    rows=[{"prompt": p} for p in PROMPTS])
    return sum(r["completion"] == theirs.greedy(p) for p, r in zip(PROMPTS, rows))


def mark(value, wrong):
    return "%s%s" % (value, " WRONG" if wrong else "")


def check_file(name, dtype, path, real, f32=None):
    """Prints a row of the table; is something wrong?  real: long enough for documents and greedy texts; f32: the same
    model in f32."""
    length, rows = 64, TEXTS
    if real:
        length = 512
        with open(os.path.join(ROOT, "LICENSE"), encoding="utf-8") as f:
            text = f.read(DOCUMENT_LENGTH)
        rows = [{"prompt": text[:20], "completion": text[20:]}]
    theirs, floats = Theirs(path, length), dtype == "f32"
    same, tokens = compare_ids(path, theirs)
    scored = our_logps(path, rows, length)
    ours, others = numpy.concatenate([logps for _, _, logps in scored]), their_logps(theirs, scored)
    cells = [name, dtype, mark("%d of %d" % (same, tokens), same < tokens),
             mark("%.0e" % far(ours, others), floats and not far(ours, others) <= theirs.near()), ""]
    if f32:
        own = path + ".own"
        convert(f32, dtype, own)
        apart = far(others, their_logps(Theirs(own, length), scored))
        cells[4] = mark("%g" % apart, apart != 0)
        os.remove(own)
    if real:
        alike = compare_greedy(path, theirs)
        cells += ["%.4f, %.4f" % (math.exp(-ours.mean()), math.exp(-others.mean())),
                  mark("%d of %d" % (alike, len(PROMPTS)), floats and alike < len(PROMPTS))]
    line = "| " + " | ".join(cells) + " |"
    print(line, flush=True)
    return "WRONG" in line


def check_model(name, model, real):
    wrong = False
    if model.endswith(".gguf"):
        wrong = check_file(name, "as it is", model, real)
    with tempfile.TemporaryDirectory() as d:
        f32 = os.path.join(d, "f32.gguf")
        for dtype in ("f32", "f16", "q8_0"):
            path = os.path.join(d, dtype + ".gguf")
            run("export", "--model", model, "--out", path, "--dtype", dtype, "--quiet")
            wrong = check_file(name, dtype, path, real, None if dtype == "f32" else f32) or wrong
    return wrong


def main(models):
    columns = ("model", "written as", "ids", "logp", "own", "perplexity", "greedy")[:7 if models else 5]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    wrong = False
    for model in models:
        wrong = check_model(os.path.basename(model.rstrip("/")), model, True) or wrong
    if models:
        return wrong
    from check_hf import FAMILIES, make_base
    for name in FAMILIES:
        # OLMo 2 is not written as GGUF, nor this SmolLM3; a model with a window has no more positions than that there
        if name in ("OLMo 2", "SmolLM3") or "window" in name:
            continue
        with tempfile.TemporaryDirectory() as d:
            make_base(d, name)
            wrong = check_model(name, d, False) or wrong
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
