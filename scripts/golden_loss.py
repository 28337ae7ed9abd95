"""Golden numbers for test/test_loss.c, from the definitions alone: python3 scripts/golden_loss.py

Metrics of the made-up differences `delta` in plain Python; minimum-norm weights in exact fractions, by trying
every subset of the vectors."""
from fractions import Fraction
from itertools import combinations
from math import exp, log
from statistics import quantiles

n = 61
delta = [((37 * j) % 101 - 40) / 48 for j in range(n)]
delta[7] = delta[11] = 0.0
delta[3], delta[5] = 4.0, -3.0
longer = [(j * j) % 5 % 3 - 1 for j in range(n)]             # 1: the chosen answer is longer, -1: the other


def sigma(x):
    return 1 / (1 + exp(-x))


def gaps(points, M):                             # per bin (m/M, (m+1)/M]: count, |mean y - mean p|
    for m in range(M):
        inside = [(p, y) for p, y in points if (p > m / M or m == 0) and p <= (m + 1) / M]
        if inside:
            k = len(inside)
            yield k, abs(sum(y for _, y in inside) / k - sum(p for p, _ in inside) / k)


def calibration(points, M):
    g = list(gaps(points, M))
    return sum(k * x for k, x in g) / len(points), sum(x for _, x in g) / len(g), max(x for _, x in g)


def half(x):
    return 1 if x > 0 else 0.5 if x == 0 else 0


twice = [(sigma(d), 1) for d in delta] + [(sigma(-d), 0) for d in delta]
once = [(max(sigma(d), sigma(-d)), half(d)) for d in delta]
print("accuracy", sum(map(half, delta)) / n, "strict", sum(d > 0 for d in delta) / n)
print("nll", sum(log(1 + exp(-d)) for d in delta) / n, "brier", sum((1 - sigma(d)) ** 2 for d in delta) / n,
      "margin", sum(delta) / n)
for M in 5, 10, 20:
    print("M", M, "ece ace mce", *calibration(twice, M), "confidence", calibration(once, M)[0])
order = sorted(delta, key=lambda d: (abs(d), d))
print("equal mass", sum(abs(sum(sigma(abs(d)) - half(d) for d in order[n * m // 10:n * (m + 1) // 10]))
                        for m in range(10)) / n)
q = quantiles(delta, n=20, method="inclusive")
print("quantiles", min(delta), q[0], q[4], q[9], q[14], q[18], max(delta))
for side in [d for d in delta if d > 0], [d for d in delta if d < 0]:
    q1, q2, q3 = quantiles(side, n=4, method="inclusive")
    out = [d for d in side if d < q1 - 1.5 * (q3 - q1) or d > q3 + 1.5 * (q3 - q1)]
    print("box", len(side), sum(side) / len(side), q1, q2, q3, len(out), sum(out) / max(1, len(out)))
edge = [Fraction(2 * b, 5) - 4 for b in range(21)]
print("histogram", [sum(edge[b] <= d < edge[b + 1] or b == 19 and d == 4 for d in delta) for b in range(20)])
print("longer preferred", sum(half(s * d) for s, d in zip(longer, delta) if s) / sum(s != 0 for s in longer),
      "wins", sum(map(half, longer)) / n)


def solve(A, b):                                             # Gauss-Jordan in fractions; None if singular
    A = [row + [x] for row, x in zip(A, b)]
    for i in range(len(A)):
        p = next((r for r in range(i, len(A)) if A[r][i]), None)
        if p is None:
            return None
        A[i], A[p] = A[p], A[i]
        A[i] = [x / A[i][i] for x in A[i]]
        for r in range(len(A)):
            if r != i:
                A[r] = [x - A[r][i] * y for x, y in zip(A[r], A[i])]
    return [row[-1] for row in A]


def min_norm(g):
    K, best = len(g), None
    M = [[Fraction(sum(a * b for a, b in zip(x, y))) for y in g] for x in g]
    for size in range(1, K + 1):
        for S in combinations(range(K), size):
            A = [[M[i][j] for j in S] + [Fraction(-1)] for i in S] + [[Fraction(1)] * size + [Fraction(0)]]
            x = solve(A, [Fraction(0)] * size + [Fraction(1)])
            if x is None or min(x[:-1]) < 0:
                continue
            lam = [Fraction(0)] * K
            for i, v in zip(S, x):
                lam[i] = v
            value = sum(lam[i] * M[i][j] * lam[j] for i in range(K) for j in range(K))
            if best is None or value < best[0]:
                best = value, lam
    return best


for K, C, shift in (6, 4, 4), (6, 6, 2), (7, 5, 3), (8, 8, 5):
    g = [[(7 * i + 5 * c + 3 * i * i * c) % 13 - shift for c in range(C)] for i in range(K)]
    value, lam = min_norm(g)
    print("min norm", K, C, shift, float(value), [round(float(x), 9) for x in lam])
