#!/usr/bin/env python3
"""Writes test/golden/learned_tokenizer.json, tokenizer_cases.json and normal_form_cases.json.

    pip install tokenizers==0.23.3 && python3 scripts/golden_tokenizer.py

The first holds a vocabulary learned from the cases by the slow learner below, written by Hugging Face's
`tokenizers`; the second the texts and, for it and for Pythia's tokenizer, the ids that `tokenizers` gives; the
third texts that are not in normal form C, and the ids of Pythia's, which puts them in it."""
import json
import os
import random
import unicodedata
from collections import Counter

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden")
VOCAB = 800

texts = [
    "", " ", "a", "  ", "\n", "Hello world", " Hello, world! ",
    "The quick brown fox jumps over the lazy dog.",
    "The reward model scores each answer; the answer with the higher score is the better one.",
    "A model that is trained on preferences is not told what is right, it is told which of two is better.",
    "it's I'm you're we've they'll he'd 'twas IT'S I'M 's's't'll 'x don't''s rock'n'roll '' 'S 'Re",
    "’s it’s we’re", "x = x+1; y -= 2*x; // 100% of a[i]->b", "http://example.com/a?b=c&d=%20#e_f-g.h",
    "def f(x):\n    if x > 0:\n        return x\n\n    return -x\n", "int main(void) {\n\treturn 0;\n}\n\n\n",
    "#include <stdio.h>\n\nfor (int i = 0; i < n; i++)\n    sum += w[i] * (x[i] - mean);\n",
    "{\"prompt\": \"The sky is\", \"chosen\": \" blue.\", \"rejected\": \" green.\"}\n",
    "\n\nHuman: What color is the sky?\n\nAssistant: It is blue.\n\nHuman: Why?\n\nAssistant:",
    "1 12 123 1234 12345 3.14159 1,000,000 2024-01-31 0x1f 1e-6 ½ ² Ⅷ ١٢٣ १२ ๑ 三 𝟘",
    "naïve café Ångström straße œuvre ñandú Łódź čeština",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Все люди рождаются свободными и равными",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι",
    "人人生而自由,在尊严和权利上一律平等。",
    "すべての人間は、生まれながらにして自由であり",
    "모든 인간은 태어날 때부터 자유로우며",
    "\u064a\u0648\u0644\u062f \u062c\u0645\u064a\u0639 \u0627\u0644\u0646\u0627\u0633 "
    "\u0623\u062d\u0631\u0627\u0631\u0627\u064b \u0645\u062a\u0633\u0627\u0648\u064a\u0646",
    "\u05db\u05dc \u05d1\u05e0\u05d9 \u05d4\u05d0\u05d3\u05dd "
    "\u05e0\u05d5\u05dc\u05d3\u05d5 \u05d1\u05e0\u05d9 \u05d7\u05d5\u05e8\u05d9\u05df",
    "सभ\u0940 मन\u0941ष\u094dय\u094b\u0902 क\u094b ग\u094cरव",
    "มน\u0e38ษย\u0e4cท\u0e31\u0e49งหลายเก\u0e34ดมา",
    "😀 👍🏽 👨\u200d👩\u200d👧 ❤\ufe0f 🇩🇪 ok🚀🚀",
    "e\u0327\u0301 a\u034f\u0308 q\u0307 x\u0332\u0332y \u0301",
    "zero\u200bwidth \u200d\u2060 \ufeff soft\u00adhyphen",
    "\u2126 \ufb01 \uff21 ẛ\u0323 Å", "−×÷∑∫∞ ←→ ©®™ €£¥ ° §",
    "“quoted” ‘single’ — dash – en … «guillemets»",
    "a\tb\t\tc \t d\n e\r\nf\r\n\r\ng\vh\fi",
    "a\u00a0b\u00a0\u00a0c\u1680d\u2003e\u2003\u2003f\u2028g\u2029h\u202fi\u205fj\u3000\u3000k\u0085l",
    "\x1c\x1d\x1e\x1f \x00 \x01\x02 \x7f \u0080 \u009f", "\x00\x00\x00", "a\x00b",
    "\U0010ffff\ue000\ufdd0\U000f0000 \u0378",
    "tail  ", "tail\n", "tail \n ", "  lead", "\n\n  lead", " \u3000 x", "\u3000x", "x \u0301y", "  1  !  a",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab",
    "!!!!!???!?!?",
    "abc123def456", "é1éé1!é", "CamelCaseAndUPPERlower_snake_case-kebab", "....,,,,;;;;----====____",
    "pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtsgesellschaftskapitän",
    "<|end of text|> <|padding <pad> </s>", "<|", "\\n \\u0041 \"\\\"", "$E = mc^2$, \\alpha_{i,j}",
    "\ufffd\ufffd", "\u1c89\u1c8a աբ 𐐀𐐨 𝐀 𠀀鿿", "٠० 〇 ①②",
]
texts += [" " * n + "x" for n in range(2, 30)] + ["x" + " " * n for n in (2, 3, 24, 25, 49)]
texts += ["a" + " " * 30 + "\n" + " " * 5]
texts += ["\n" * n + "x" for n in (1, 2, 3, 4)] + ["\t" * 5 + "x", " \t \t  \n \n  x"]
rng = random.Random(1)
some = list("aeinorst 's'tre 012.,!?\n\t  ") + list("é一а\u0301\u00a0\u0663😀\u3000\u2003")
texts += ["".join(rng.choice(some) for _ in range(rng.randrange(1, 80))) for _ in range(60)]
pool = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c)) not in ("Cs", "Cn")]
texts += ["".join(rng.choice(pool) + rng.choice(["", "", " ", "a"]) for _ in range(30)) for _ in range(20)]
texts = [unicodedata.normalize("NFC", t) for t in texts]

byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def learn():
    """Byte pair encoding by recounting everything after every merge."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|endoftext|>", "<|padding|>"] + alphabet
    ids = {p: i for i, p in enumerate(pieces)}
    words = Counter(w for t in texts for w, _ in byte_level.pre_tokenize_str(t))
    rows = [([ids[c] for c in w], n) for w, n in words.items()]
    merges, never = [], set()
    while len(pieces) < VOCAB:
        count = Counter()
        for row, n in rows:
            for pair in zip(row, row[1:]):
                count[pair] += n
        best = min((p for p in count if p not in never), key=lambda p: (-count[p], p))
        if count[best] < 2:
            break
        a, b = best
        if pieces[a] + pieces[b] in ids:
            never.add(best)
            continue
        new = ids[pieces[a] + pieces[b]] = len(pieces)
        pieces.append(pieces[a] + pieces[b])
        merges.append((pieces[a], pieces[b]))
        for row, _ in rows:
            i = 0
            while i + 1 < len(row):
                if (row[i], row[i + 1]) == best:
                    row[i:i + 2] = [new]
                i += 1
    return ids, merges


ids, merges = learn()
learned = Tokenizer(models.BPE(vocab=ids, merges=merges))
learned.pre_tokenizer = byte_level
learned.decoder = decoders.ByteLevel()
learned.add_special_tokens(["<|endoftext|>", "<|padding|>"])
learned.save(os.path.join(GOLDEN, "learned_tokenizer.json"), pretty=False)
pythia = Tokenizer.from_file(os.path.join(GOLDEN, "pythia_tokenizer.json"))
with open(os.path.join(GOLDEN, "tokenizer_cases.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps({"text": t, "learned": learned.encode(t).ids,
                                           "pythia": pythia.encode(t).ids}) for t in texts) + "\n]\n")
print(len(texts), "cases,", len(merges), "merges")

marked = ["e\u0301", "cafe\u0301 Zu\u0308rich", "a\u0323\u0302", "a\u0302\u0323", "o\u031b\u0301\u0323", "\u0344", "\u212b \u2126",
          "\u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af", "\u0915\u093c \u0958", "\u05d0\u05bc \ufb30", "\uf900\ufa10",
          "q\u0307\u0323", "\u0301e", " \u0301", "\n\u0301", "e\u0301" * 40, "a" + "\u0301\u0323" * 40, "<|end|>e\u0301  x"]
letters = list("aeinouyAEO ") + list("\u03b1\u03b9\u0438\u0435\u3046\u304b\u0928\u0930\u1100\u1161\u11a8")
marks = [chr(c) for c in (*range(0x300, 0x345), 0x3099, 0x93c, 0x5bc, 0x11a7, 0x11a8)]
for _ in range(140):
    marked.append("".join(rng.choice(letters) + "".join(rng.sample(marks, rng.randrange(3)))
                          for _ in range(rng.randrange(1, 20))))
with open(os.path.join(GOLDEN, "normal_form_cases.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps({"text": t, "pythia": pythia.encode(t).ids}) for t in marked) + "\n]\n")
print(len(marked), "texts not in normal form")
