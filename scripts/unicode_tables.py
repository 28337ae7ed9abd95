#!/usr/bin/env python3
"""Prints the table of tokenizer.c that says which characters are letters, numbers and white space.

    pip install unicodedata2==16.0.0 && python3 scripts/unicode_tables.py

A run of n characters of class k (0 other, 1 letter, 2 number, 3 white space) is the number 4 n + k, in
base 32, lowest digit first, as the characters '0' + digit, plus 32 where another digit follows."""
import unicodedata2

SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
         0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


def kind(c):
    return 3 if c in SPACE else {"L": 1, "N": 2}.get(unicodedata2.category(chr(c))[0], 0)


last = max(c for c in range(0x110000) if kind(c))
code, start = "", 0
for c in range(last + 2):
    if kind(c) == kind(start) and c <= last:
        continue
    v = 4 * (c - start) + kind(start)
    while v >= 32:
        code, v = code + chr(80 + v % 32), v // 32
    code, start = code + chr(48 + v), c
code = [{"\\": "\\\\", "?": "\\?"}.get(c, c) for c in code]
print("// Unicode", unicodedata2.unidata_version)
print("enum { CLASS_END = 0x%x };" % (last + 1))
print("static const char class_runs[] =")
while code:
    line = ""
    while code and len(line) < 92:
        line += code.pop(0)
    print('    "' + line + '"' + ("" if code else ";"))
