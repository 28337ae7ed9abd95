#!/usr/bin/env python3
"""Writes test/golden/tokenizers/: small tokenizers of the kinds that published models have, and what Hugging Face's
`tokenizers` makes of texts.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf && python3 scripts/golden_families.py
    python3 scripts/golden_families.py compare OURS TOKENIZER.json [FILE.jsonl ...]

cases.json holds texts and, for each tokenizer, eight hexadecimal digits a text: FNV-1a of its ids, four bytes each,
the lowest first.  The second form compares: what tokenizer_load makes of the file OURS (tokenizer.json,
tokenizer.model or vocab.json) with what `tokenizers` makes of TOKENIZER.json, on every string in the files, or on
100,000 texts drawn from all of Unicode; and the time that both take, on one thread."""
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "test", "golden")
OUT = os.path.join(GOLDEN, "tokenizers")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
MARK = "\u2581"
CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ASSIGNED = [c for c in CHARACTERS[:0x33000] if unicodedata.category(c) != "Cn"]
SOME = (list("aeinorst 's't're012.,!?\n\t \r\r\n  ") +
        list("éЖ一ａ\u0301\u0323\u00a0\u0663😀\u3000\u2003\u2581\u017f\u0345½Ⅷ\x00\x1c\x85\u2028\u200b"))
WORDS = ["the", "and", "new", "<user>", "<bot>", "hello world", "café", "cafe\u0301", "<|endoftext|>", "<s>",
         "</s>", "'S", "'LL", "'Re", "don't", "I'M", "it'\u017f", "1234567", "3.14", "\r\n\r\n", "\n\n", "\t\t",
         "<0x0A>", "<unk>", MARK, MARK * 2, "llll", "x = x+1;", "theand", " ", "  ", "   ", "你好", "안녕",
         "\U0001d7d8", "_and_", "-the-"]

def drawn(n, seed):
    """Texts of letters and white space, of words, and of any characters."""
    r, texts = random.Random(seed), []
    for _ in range(n):
        kind = r.random()
        if kind < 0.35:
            t = "".join(r.choice(SOME) for _ in range(r.randrange(40)))
        elif kind < 0.6:
            t = "".join(r.choice(WORDS) + r.choice(["", " ", "", "  ", "\n"]) for _ in range(r.randrange(14)))
        elif kind < 0.85:
            t = "".join(r.choice(ASSIGNED) + r.choice(["", "", " ", "a", "1"]) for _ in range(r.randrange(20)))
        else:
            t = "".join(r.choice(CHARACTERS) for _ in range(r.randrange(12)))
        texts.append(t)
    return texts


def byte_level(regex=True, space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=regex)


def split(pattern, *how):
    return pre_tokenizers.Split(Regex(pattern), *how)


def train_bytes(texts, name, parts, normalizer=None, added=(), **settings):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence(parts) if len(parts) > 1 else parts[0]
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(t.to_str())["model"]
    t.model = models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], **settings)
    t.add_special_tokens(["<|endoftext|>"])
    t.add_tokens(list(added))
    t.save(os.path.join(OUT, name + ".json"), pretty=False)
    return t


def merges_of(vocab, scores):
    """As transformers 4 makes them of SentencePiece's pieces: the tokenizer.json that is published with LLaMA-2."""
    merges = []
    for piece, score in scores.items():
        cuts = [(piece[:i], piece[i:], score) for i in range(1, len(piece))]
        cuts = [c for c in cuts if c[0] in vocab and c[1] in vocab]
        merges += sorted(cuts, key=lambda c: (vocab[c[0]], vocab[c[1]]))
    merges.sort(key=lambda c: (c[2], len(c[0]), len(c[1])), reverse=True)
    return [c[:2] for c in merges]


def train_pieces(texts):
    """A small SentencePiece model of LLaMA-2's settings: piece.model."""
    import sentencepiece
    model = os.path.join(OUT, "tokenizer")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for t in texts for line in t.split("\n") if "".join(sorted(line.strip(" "))) > " "
                               and max(line) < "\u0180"),
        model_prefix=model, model_type="bpe", vocab_size=700, character_coverage=0.98, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        allow_whitespace_only_pieces=True, user_defined_symbols=["<user>"], minloglevel=2, num_threads=1)
    os.remove(model + ".vocab")
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(open(model + ".model", "rb").read())
    return proto.pieces


def of_pieces(pieces, name, normalizer, pre_tokenizer, bytes_too=True, **settings):
    names = [p.piece for p in pieces if bytes_too or p.type != 6]
    scores = {p.piece: p.score for p in pieces if p.type == 1}
    t = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(names)}, merges=merges_of(scores, scores),
                             unk_token="<unk>", byte_fallback=bytes_too, **settings))
    if normalizer:
        t.normalizer = normalizer
    if pre_tokenizer:
        t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.Metaspace()
    if bytes_too:
        t.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ("<unk>", "<s>", "</s>")])
    t.add_tokens([AddedToken("<user>", normalized=False)])
    if name != "tokenizer":
        t.save(os.path.join(OUT, name + ".json"), pretty=False)
    return t


def fnv(ids):
    h = 0x811C9DC5
    for b in b"".join(i.to_bytes(4, "little") for i in ids):
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return "%08x" % h


def ids_of(t, text):
    t.encode_special_tokens = True
    return t.encode(text, add_special_tokens=False).ids


def words_of_all_characters(pre_tokenizer):
    """SHA-256 of the bytes of each word of  a C 1 C space C ' C line end  for every character C below U+33000."""
    sha = hashlib.sha256()
    for c in CHARACTERS[:0x33000 - 0x800]:
        for word, _ in pre_tokenizer.pre_tokenize_str("a%s1%s %s'%s\n" % (c, c, c, c)):
            sha.update(bytes([len(word.encode())]))
    return sha.hexdigest()


def write_all():
    os.makedirs(os.path.join(OUT, "older"), exist_ok=True)
    texts = [c["text"] for f in ("tokenizer_cases.json", "normal_form_cases.json")
             for c in json.load(open(os.path.join(GOLDEN, f)))]
    added = [AddedToken("<user>", lstrip=True, normalized=False), AddedToken("<bot>", rstrip=True, normalized=False),
             AddedToken("the", single_word=True), AddedToken("cafe\u0301", normalized=True),
             AddedToken("  ", normalized=False),
             AddedToken("and", single_word=True, lstrip=True, rstrip=True, normalized=True)]
    pieces = train_pieces(texts)
    marks = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    metaspace = pre_tokenizers.Metaspace
    tokenizers = {
        "llama3": train_bytes(texts, "llama3", [split(LLAMA3, "isolated"), byte_level(False)], ignore_merges=True),
        "qwen2": train_bytes(texts, "qwen2", [split(QWEN2, "removed", True), byte_level(False)], normalizers.NFC()),
        "digit": train_bytes(texts, "digit", [pre_tokenizers.Digits(individual_digits=True), byte_level()]),
        "digits": train_bytes(texts, "digits", [pre_tokenizers.Digits(individual_digits=False),
                                                byte_level(space=True)]),
        "added": train_bytes(texts, "added", [split(GPT2, "isolated"), byte_level(False, True)], normalizers.NFC(),
                             added),
        "tokenizer": of_pieces(pieces, "tokenizer", marks, None, fuse_unk=True),
        "metaspace": of_pieces(pieces, "metaspace", None, metaspace(prepend_scheme="first", split=False),
                               fuse_unk=True),
        "unknown": of_pieces(pieces, "unknown", normalizers.Replace("ll", "LL"), metaspace(prepend_scheme="always"),
                             False, fuse_unk=True),
        "unknowns": of_pieces(pieces, "unknowns", None, metaspace(prepend_scheme="never"), False, fuse_unk=False),
    }
    texts = [t for t in texts if len(t) < 200][::3] + drawn(300, 1)
    rows = [{"text": t, "ids": " ".join(fnv(ids_of(k, t)) for k in tokenizers.values())} for t in texts]
    with open(os.path.join(OUT, "cases.json"), "w") as f:
        f.write(json.dumps({"tokenizers": list(tokenizers), "cases": "CASES"}).replace(
            '"CASES"', "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]") + "\n")
    with open(os.path.join(OUT, "older", "vocab.json"), "w") as f:
        model = json.loads(tokenizers["qwen2"].to_str())["model"]
        json.dump(model["vocab"], f)
    with open(os.path.join(OUT, "older", "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))
    with open(os.path.join(OUT, "older", "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "added_tokens_decoder": {
            str(tokenizers["qwen2"].token_to_id("<|endoftext|>")): {
                "content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True}}}, f)
    for name, words in (("gpt2", split(GPT2, "isolated")), ("llama3", split(LLAMA3, "isolated")),
                        ("qwen2", split(QWEN2, "isolated")), ("digits", pre_tokenizers.Digits(False)),
                        ("digit", pre_tokenizers.Digits(True))):
        print(name, words_of_all_characters(words))
    print(len(texts), "texts,", len(tokenizers), "tokenizers")


def strings(value):
    if isinstance(value, str):
        yield value
    for v in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(v)


DRIVER = r"""
#include "files/tokenizer_json.c"
#include <time.h>
int main(int argc, char **argv) {
    Tokenizer t;
    Buffer in = {0};
    int *id = NULL;
    size_t n = 0, capacity = 0;
    if (argc < 4 || tokenizer_load(&t, argv[1]) < 0 || file_read(&in, argv[2]) < 0) return 1;
    FILE *out = fopen(argv[3], "wb");
    double seconds = 0;
    for (size_t at = 0; at < in.len; ) {
        uint32_t len, count;
        struct timespec a, b;
        memcpy(&len, in.data + at, 4);
        n = 0;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (tokenizer_encode(&t, in.data + at + 4, len, &id, &n, &capacity) < 0) return 1;
        clock_gettime(CLOCK_MONOTONIC, &b);
        seconds += (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        count = (uint32_t)n;
        fwrite(&count, 4, 1, out);
        fwrite(id, 4, n, out);
        at += 4 + len;
    }
    printf("%.3f\n", seconds);
    return fclose(out);
}
"""


def compare(ours, path, files):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    t, different, seconds = Tokenizer.from_file(path), 0, 0.0
    texts = [s for f in files for line in open(f, encoding="utf8") for s in strings(json.loads(line))]
    texts = texts or drawn(100000, 7)
    with tempfile.TemporaryDirectory() as d:
        name = os.path.join(d, "x")
        with open(name + ".c", "w") as f:
            f.write(DRIVER)
        with open(name + ".in", "wb") as f:
            f.write(b"".join(struct.pack("<I", len(b)) + b for b in (s.encode() for s in texts)))
        subprocess.check_call(["cc", "-std=c11", "-O2", "-I", os.path.join(HERE, ".."), name + ".c", "-o", name, "-lm"])
        our_seconds = float(subprocess.check_output([name, ours, name + ".in", name + ".out"]))
        numbers = memoryview(open(name + ".out", "rb").read()).cast("I")
    at = 0
    t.encode_special_tokens = True
    for text in texts:
        start = time.perf_counter()
        want = t.encode(text, add_special_tokens=False).ids
        seconds += time.perf_counter() - start
        ids = list(numbers[at + 1:at + 1 + numbers[at]])
        at += 1 + numbers[at]
        different += ids != want
        if ids != want:
            print("different:", repr(text)[:200])
    size = sum(len(s.encode()) for s in texts) / 1e6
    print("%d texts, %d different; %.1f MB/s, tokenizers %.1f" %
          (len(texts), different, size / our_seconds, size / seconds))
    return different > 0


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2], sys.argv[3], sys.argv[4:]))
    write_all()
