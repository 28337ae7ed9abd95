"""Ours beside other programs, interleaved: every round runs each of them once, one process at a time, in turns forwards and
backwards, and a ratio is taken within its round.  Needs only the standard library; what the peers need is in README.md.

    make && python3 scripts/peers/compare.py --rounds 5 --out run/peers.jsonl          # everything; hours on two cores
    python3 scripts/peers/compare.py --what product --precision fp32 --only "product 2048x"
    python3 scripts/peers/compare.py --what lm reward --python venv/bin/python --also "sh llm.c/run.sh"
    python3 scripts/peers/compare.py --from run/peers.jsonl                            # the tables again
"""
import argparse
import json
import math
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
add = parser.add_argument
add("--what", nargs="+", choices=["product", "lm", "reward"], default=["product", "lm", "reward"])
add("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
add("--peers", nargs="+",
    choices=["openblas", "openblas-avx512", "onednn", "onednn-packed", "onednn-rounding", "torch", "torch-avx512",
             "torch-compile", "trl"],
    help="standard: openblas onednn torch, and the two -avx512 where they differ: on AVX-512 processors not Intel's")
add("--also", nargs="+", default=[], help="more commands that print such lines of JSON, run once a round (with lm)")
add("--rounds", type=int, default=5)
add("--inner", type=int, default=3, help="rounds of `more bench` within one of ours")
add("--steps", type=int, default=3, help="timed steps of the language model within one of the peers'")
add("--threads", type=int, default=os.cpu_count())
add("--only", default="product", help="which products: the start of their names")
add("--lm-shape", default="gpt2-124m")
add("--reward-shape", choices=["pythia-160m", "smollm2-135m"], default="pythia-160m")
add("--pairs", default=os.path.join(root, "data/hh_harmless.train.jsonl"))
add("--sample", type=int, default=32, help="pairs drawn from that file, the same for all; eights")
add("--tokenizer", default=os.environ.get("TOKENIZER", os.path.join(root, "test/golden/pythia_tokenizer.json")))
add("--more", default=os.environ.get("MORE", os.path.join(root, "more")))
add("--python", default=os.environ.get("PYTHON", sys.executable), help="one that has torch and transformers")
add("--cc", default=os.environ.get("CC", "cc"))
add("--out", help="append every line that was measured to this file")
add("--from", dest="from_", help="print the tables of such a file, measure nothing")
opt = parser.parse_args()

SMALL = 2 * 512**3                                       # operations; products below are listed but not in the mean


def note(text):
    print(text, file=sys.stderr, flush=True)


def hidden_avx512():
    """Is this a processor whose AVX-512 OpenBLAS and MKL may pass over, because they do not know its maker or model?"""
    try:
        cpu = open("/proc/cpuinfo").read()
        return " avx512f " in cpu and "GenuineIntel" not in cpu
    except OSError:
        return False


def run(command, text=None, **environment):
    """Lines of JSON that a program prints, or None when it fails."""
    keep = {k: v for k, v in os.environ.items() if k not in ("MORE_ISA", "LD_PRELOAD")}
    threads = {k: str(opt.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "THREADS")}
    p = subprocess.run(command, input=text or "", capture_output=True, text=True, env={**keep, **threads, **environment})
    if p.returncode:
        note(f"failed, left out: {shlex.join(command)}\n{p.stderr[-2000:]}")
        return None
    return [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]


def ours(work, precision, only, *options):
    path = os.path.join(work, "ours.jsonl")
    how = ["--rounds", str(opt.inner), "--threads", str(opt.threads), "--precision", precision, "--out", path]
    if run([opt.more, "bench", "--only", only, *how, *options]) is None:
        return None
    lines = [json.loads(line) for line in open(path)]
    for x in lines:
        x["peer"] = "ours"
        if x["name"].startswith("step "):
            x["value"], x["unit"] = (x["pairs_per_s"], "pairs/s") if "pairs" in x else (x["tokens_per_s"], "tokens/s")
    return [x for x in lines if x["threads"] == opt.threads and x["name"].startswith(only)]


def compiled(work, source, *options):
    """The program, or None when it cannot be built."""
    to = os.path.join(work, os.path.splitext(source)[0])
    p = subprocess.run([opt.cc, "-O2", os.path.join(here, source), "-o", to, *options], capture_output=True, text=True)
    if p.returncode:
        note(f"not compared: {source} does not build\n{p.stderr[-1000:]}")
    return None if p.returncode else to


def torch(step, precision, name, preload=None, *options):
    command = [opt.python, os.path.join(here, "torch_step.py"), step, precision, "--name", name]
    command += ["--steps", str(opt.steps if step == "lm" else opt.sample // 8), *options]
    return lambda shapes: run(command, **({"LD_PRELOAD": preload} if preload else {}))


def programs(work):
    """All that a round runs: name of the program, what it measures, a function of the shapes of our products."""
    peers = opt.peers or ["openblas", "onednn", "torch"] + (["openblas-avx512", "torch-avx512"] if hidden_avx512() else [])
    sample = os.path.join(work, "pairs.jsonl")
    if "reward" in opt.what:
        lines = open(opt.pairs, encoding="utf-8").read().splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        if len(lines) < opt.sample or opt.sample % 8:
            raise SystemExit(f"{opt.pairs}: {len(lines)} pairs; --sample must be a multiple of 8 and not more")
        open(sample, "w", encoding="utf-8").writelines(lines[:opt.sample])
    real = ["--pairs", sample, "--tokenizer", opt.tokenizer]
    blas = "product" in opt.what and {"openblas", "openblas-avx512"} & set(peers) and compiled(work, "blas.c", "-lopenblas")
    dnnl = "product" in opt.what and any(p.startswith("onednn") for p in peers) and compiled(work, "dnnl.c", "-ldnnl")
    mkl = "torch-avx512" in peers and compiled(work, "mkl.c", "-shared", "-fPIC")
    for what in opt.what:
        for p in opt.precision:
            if what == "product":
                yield "ours", what, lambda _, p=p: ours(work, p, opt.only, "--shape", opt.lm_shape)
                for name, core in ("openblas", {}), ("openblas-avx512", {"OPENBLAS_CORETYPE": "SKYLAKEX"}):
                    if blas and name in peers and p == opt.precision[0]:
                        yield name, what, lambda shapes, name=name, core=core: run([blas, name], shapes, **core)
                for name in "onednn", "onednn-packed", "onednn-rounding":
                    if dnnl and name in peers:
                        yield name, what, lambda shapes, p=p, name=name: run([dnnl, p, *name.split("-")[1:]], shapes)
                continue
            if what == "lm":
                yield "ours", what, lambda _, p=p: ours(work, p, "step lm", "--shape", opt.lm_shape)
            else:
                yield "ours", what, lambda _, p=p: ours(work, p, "step reward real", "--shape", opt.reward_shape, "--train", sample,
                                                        "--tokenizer", opt.tokenizer)
            options = [*real, "--shape", opt.reward_shape] if what == "reward" else []
            if "torch" in peers:
                yield "torch", what, torch(what, p, "torch", None, *options)
            if mkl:
                yield "torch-avx512", what, torch(what, p, "torch-avx512", mkl, *options)
            if "torch-compile" in peers:
                yield "torch-compile", what, torch(what, p, "torch-compile", mkl or None, "--compile", *options)
            if "trl" in peers and what == "reward":
                yield "trl", what, torch("trl", p, "trl", None, *options)
        if what == "lm":
            for command in opt.also:
                yield command, what, lambda _, command=command: run(shlex.split(command))


def measure():
    lines = []
    with tempfile.TemporaryDirectory() as work:
        todo, shapes = list(programs(work)), None
        failed = set()
        for r in range(opt.rounds):
            order = list(enumerate(todo))
            for i, (name, what, f) in order if r % 2 == 0 else order[::-1]:
                if i in failed:
                    continue
                note(f"round {r + 1} of {opt.rounds}: {what}, {name}")
                got = f(shapes)
                if got is None:
                    failed.add(i)                                     # said why; not again
                    continue
                if name == "ours" and what == "product" and not shapes:
                    shapes = "".join(json.dumps(x, separators=(",", ":")) + "\n" for x in {key(x): x for x in got}.values())
                got = [{**x, "round": r} for x in got]
                lines += got
                if opt.out:
                    with open(opt.out, "a") as out:
                        out.writelines(json.dumps(x) + "\n" for x in got)
    return lines


def key(x):
    return (x["name"].split()[-1], x["M"], x["N"], x["K"]) if x["name"].startswith("product ") else (x["name"],)


def table(lines, kind, precision):
    """Ours in this precision against every peer in it, and against those that have only fp32."""
    value, peers, bf16 = {}, [], {x["peer"] for x in lines if x["precision"] == "bf16"}
    for x in lines:
        if not x["name"].startswith(kind):
            continue
        if x["precision"] == precision or (x["peer"] not in bf16 and x["precision"] == "fp32"):
            column = x["peer"] if x["precision"] == precision else x["peer"] + " " + x["precision"]
            value.setdefault((key(x), column), {})[x["round"]] = x["value"]
            if column not in peers and x["peer"] != "ours":
                peers.append(column)
    if not any(column == "ours" for _, column in value):
        return
    keys = list(dict.fromkeys(k for k, _ in value))
    unit = next(x["unit"] for x in lines if x["name"].startswith(kind))
    threads = sorted({x["threads"] for x in lines})
    print(f"\n{kind}, {precision}, {'/'.join(map(str, threads))} threads: {unit}, and ours / theirs (median of the rounds)")
    print(f"{'':34}{'ours':>10}" + "".join(f"{p:>22}" for p in peers))
    ratios = {p: [] for p in peers}
    for k in keys:
        mine = value.get((k, "ours"), {})
        name = "{0:8} {1:6d} {2:6d} {3:6d}".format(*k) if len(k) > 1 else k[0]
        text = f"{name:34}" + (f"{statistics.median(mine.values()):10.4g}" if mine else f"{'-':>10}")
        for p in peers:
            theirs = value.get((k, p), {})
            both = [mine[r] / theirs[r] for r in mine if r in theirs]
            text += f"{statistics.median(theirs.values()):12.4g}" if theirs else f"{'-':>12}"
            text += f"{statistics.median(both):8.3f} x" if both else f"{'-':>10}"
            if not both:
                continue
            ratio = statistics.median(both)
            if len(k) > 1 and 2 * k[1] * k[2] * k[3] >= SMALL:
                ratios[p].append(ratio)
        print(text)
    if kind == "product" and any(ratios.values()):
        mean = {p: math.exp(statistics.fmean(map(math.log, x))) for p, x in ratios.items() if x}
        n = max(map(len, ratios.values()))
        for label, of in (f"geometric mean of the {n} large", mean), ("least", {p: min(x) for p, x in ratios.items() if x}):
            print(f"{label:44}" + "".join(f"{of[p]:20.3f} x" if p in of else f"{'-':>22}" for p in peers))


measured = [json.loads(line) for line in open(opt.from_)] if opt.from_ else measure()
for kind in "product", "step lm", "step reward":
    for precision in "fp32", "bf16":
        table(measured, kind, precision)
