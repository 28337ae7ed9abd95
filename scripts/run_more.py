"""What scripts/check_*.py share: how `more` is run, and on which texts."""
import json
import os
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MORE = os.path.join(ROOT, "more")
LENGTH = ("--max_length", 64, "--max_prompt_length", 32)
ROWS = [{"prompt": "The sky is", "chosen": " blue, as it was.", "rejected": " 17 green apples!"},
        {"prompt": "Say\n", "chosen": "caf\u00e9 is not here", "rejected": "no"},
        {"prompt": "a b c d e f g h", "chosen": " i j k l m n", "rejected": " the new and the old one"}]
TEXTS = [{"prompt": r["prompt"], "completion": r[key]} for r in ROWS for key in ("chosen", "rejected")]
PROMPTS = ["The capital of France is", "Once upon a time, there was a", "def fibonacci(n):\n", "Water boils at",
           "My favourite book is"]


def run(*words, text=None, rows=None):
    """What `more` prints; rows: its standard input as JSON lines."""
    if rows is not None:
        text = "".join(json.dumps(r) + "\n" for r in rows)
    done = subprocess.run([MORE, *map(str, words)], input=text, capture_output=True, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS="1"))
    if done.returncode:
        sys.exit("more %s\n%s" % (" ".join(map(str, words)), done.stderr))
    return done.stdout


def run_rows(*words, rows):
    """The JSON lines that `more` prints."""
    return [json.loads(line) for line in run(*words, rows=rows).splitlines()]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)
