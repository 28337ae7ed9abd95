#!/usr/bin/env python3
"""Prints the tables of unicode.c and tokenizer.c: normal form C, and which characters are letters, numbers and
white space.

    pip install unicodedata2==16.0.0 tokenizers==0.23.3 && python3 scripts/unicode_tables.py

Numbers stand in base 32, lowest digit first, as the characters '0' + digit, plus 32 where another digit follows.
Classes of Unicode 16; of normal form C only what `tokenizers` does, which knows an older Unicode: a newer
character that it leaves alone is left alone."""
import unicodedata2
from tokenizers import normalizers

SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
         0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CHARACTERS = [c for c in range(0x33000) if not 0xD800 <= c < 0xE000]
nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str


def kind(c):
    return 3 if c in SPACE else {"L": 1, "N": 2}.get(unicodedata2.category(chr(c))[0], 0)


def number(v):
    digits = ""
    while v >= 32:
        digits, v = digits + chr(80 + v % 32), v // 32
    return digits + chr(48 + v)


def combining(c):
    """The combining class, if tokenizers sorts c after, or before, a mark of another class."""
    k = unicodedata2.combining(chr(c))
    other = "\u0315" if k == 1 else "\u0334"
    return k if k and nfd("a" + chr(c) + other) == nfd("a" + other + chr(c)) else 0


def runs(of, end, base):
    """A run of n characters c with the same of(c) is the number base n + of(c)."""
    text, start = "", 0
    for c in range(end + 1):
        if c == end or of(c) != of(start):
            text, start = text + number(base * (c - start) + of(start)), c
    return text


def decompositions():
    """Of each character: how many after the one before it, the first part, and 2 x the second (0: none), plus 1
    where the two do not become the one again."""
    text, before = "", 0
    for c in CHARACTERS:
        parts = unicodedata2.decomposition(chr(c)).split()
        if not parts or parts[0][0] == "<" or nfd(chr(c)) == chr(c):
            continue
        first, second = (int(p, 16) for p in (parts + ["0"])[:2])
        excluded = len(parts) == 2 and nfc(chr(first) + chr(second)) != chr(c)
        text += number(c - before) + number(first) + number(2 * second + excluded)
        before = c
    return text


def show(name, text):
    letters = [{"\\": "\\\\", "?": "\\?"}.get(c, c) for c in text]
    print("static const char %s[] =" % name)
    while letters:
        line = ""
        while letters and len(line) < 92:
            line += letters.pop(0)
        print('    "' + line + '"' + ("" if letters else ";"))


classes = {c: combining(c) for c in CHARACTERS}
print("// tokenizer.c: Unicode", unicodedata2.unidata_version)
end = max(c for c in CHARACTERS if kind(c)) + 1
print("enum { CLASS_END = 0x%x };" % end)
show("class_runs", runs(kind, end, 4))
print("// unicode.c")
end = max(c for c in classes if classes[c]) + 1
print("enum { COMBINING_END = 0x%x };" % end)
show("combining_runs", runs(lambda c: classes.get(c, 0), end, 256))
show("decompositions", decompositions())
