"""Kendall's tau-b of random lists with ties for test/test_metrics.c, by scipy.

    pip install scipy
    python3 scripts/golden_tau.py"""
import random
from scipy.stats import kendalltau

random.seed(5)
for m in 2, 3, 4, 5, 6, 8, 16:
    a = [random.randint(0, m) for _ in range(m)]
    b = [random.randint(-m // 2 - 1, m // 2 + 1) / 2 for _ in range(m)]
    tau = float(kendalltau(a, b).statistic)
    print(f"{m}, {{{', '.join(map(str, a))}}}, {{{', '.join(map(str, b))}}}, {tau!r}")
