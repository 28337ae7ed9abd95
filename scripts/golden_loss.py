"""Golden numbers for test/test_loss.c and test/test_metrics.c, from the definitions alone.

    pip install torch==2.13.0 numpy
    python3 scripts/golden_loss.py test/golden        # prints some, writes policy_losses.json

Metrics of the made-up differences `delta` in plain Python; minimum-norm weights in exact fractions,
by trying every subset of the vectors; policy losses as their papers write them, in float64, with
the gradients of PyTorch's autograd; the area under the ROC curve by counting pairs."""
import json, sys
from fractions import Fraction
from itertools import combinations
from math import exp, log
from statistics import quantiles
import numpy, torch
from torch.nn.functional import logsigmoid

n = 61
delta = [((37 * j) % 101 - 40) / 48 for j in range(n)]
delta[7] = delta[11] = 0.0
delta[3], delta[5] = 4.0, -3.0
longer = [(j * j) % 5 % 3 - 1 for j in range(n)]  # 1: the chosen answer is longer, -1: the other


def sigma(x):
    return 1 / (1 + exp(-x))


def gaps(points, M):  # of each bin (m/M, (m+1)/M] that is not empty: count, |mean y - mean p|
    for m in range(M):
        inside = [(p, y) for p, y in points if (p > m / M or m == 0) and p <= (m + 1) / M]
        if inside:
            k = len(inside)
            yield k, abs(sum(y for _, y in inside) / k - sum(p for p, _ in inside) / k)


def calibration(points, M):
    g = list(gaps(points, M))
    ece = sum(k * x for k, x in g) / len(points)
    ace = sum(x for _, x in g) / len(g)
    return ece, ace, max(x for _, x in g)


def half(x):
    if x == 0:
        return 0.5
    return int(x > 0)


twice = [(sigma(d), 1) for d in delta] + [(sigma(-d), 0) for d in delta]
once = [(max(sigma(d), sigma(-d)), half(d)) for d in delta]
print("accuracy", sum(map(half, delta)) / n, "strict", sum(d > 0 for d in delta) / n)
print("nll", sum(log(1 + exp(-d)) for d in delta) / n,
      "brier", sum((1 - sigma(d)) ** 2 for d in delta) / n, "margin", sum(delta) / n)
for M in 5, 10, 20:
    print("M", M, "ece ace mce", *calibration(twice, M), "confidence", calibration(once, M)[0])
order = sorted(delta, key=lambda d: (abs(d), d))
tenths = [order[n * m // 10:n * (m + 1) // 10] for m in range(10)]
print("equal mass", sum(abs(sum(sigma(abs(d)) - half(d) for d in tenth)) for tenth in tenths) / n)
q = quantiles(delta, n=20, method="inclusive")
print("quantiles", min(delta), q[0], q[4], q[9], q[14], q[18], max(delta))
for side in [d for d in delta if d > 0], [d for d in delta if d < 0]:
    q1, q2, q3 = quantiles(side, n=4, method="inclusive")
    out = [d for d in side if d < q1 - 1.5 * (q3 - q1) or d > q3 + 1.5 * (q3 - q1)]
    mean, mean_out = sum(side) / len(side), sum(out) / max(1, len(out))
    print("box", len(side), mean, q1, q2, q3, len(out), mean_out)
edge = [Fraction(2 * b, 5) - 4 for b in range(21)]
print("histogram", [sum(edge[b] <= d < edge[b + 1] or b == 19 and d == 4 for d in delta)
                    for b in range(20)])
preferred = [half(s * d) for s, d in zip(longer, delta) if s]
print("longer preferred", sum(preferred) / len(preferred), "wins", sum(map(half, longer)) / n)


def solve(A, b):  # Gauss-Jordan in fractions; None if singular
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
            A = [[M[i][j] for j in S] + [Fraction(-1)] for i in S]
            A.append([Fraction(1)] * size + [Fraction(0)])
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

# ---------------------------------------------------------------------------------------- policies
rng = numpy.random.default_rng(12)
N = 5


def numbers(low, high, n, unit):  # multiples of unit: exact in float32
    return torch.tensor(rng.integers(low, high, n) * unit, dtype=torch.float64)


def log_odds(logp):
    return logp - torch.log(-torch.expm1(logp))


def sft(x, c):
    return -x


def dpo(x, c, beta, label_smoothing):
    u = beta * ((x[:N] - c["ref"][:N]) - (x[N:] - c["ref"][N:]))
    return -(1 - label_smoothing) * logsigmoid(u) - label_smoothing * logsigmoid(-u)


def ipo(x, c, beta):
    return ((x[:N] - c["ref"][:N]) - (x[N:] - c["ref"][N:]) - 1 / (2 * beta)) ** 2


def simpo(x, c, beta, simpo_gamma):
    return -logsigmoid(beta * x[:N] - beta * x[N:] - simpo_gamma)


def orpo(x, c, beta):  # beta: the paper's lambda
    return -x[:N] - beta * logsigmoid(log_odds(x[:N]) - log_odds(x[N:]))


def pointwise_dpo(x, c, beta, log_z, continuous=0):
    s = beta * (x - c["ref"]) + log_z
    if continuous:
        return (c["label"] - s) ** 2
    return -c["label"] * logsigmoid(s) - (1 - c["label"]) * logsigmoid(-s)


def ulma(x, c, beta, log_z, continuous):
    return torch.where(c["is_demo"] == 1, -x, pointwise_dpo(x, c, beta, log_z, continuous))


def unlikelihood(x, c):
    return -c["label"] * x + (1 - c["label"]) * x


def kto(x, c, beta, kl, desirable_weight, undesirable_weight):
    ratio = x - c["ref"]
    return torch.where(c["label"] == 1, desirable_weight * (1 - torch.sigmoid(beta * (ratio - kl))),
                       undesirable_weight * (1 - torch.sigmoid(beta * (kl - ratio))))


def rloo(x, c):
    return -c["label"] * x


def ppo(x, c, clip_range):
    rho = torch.exp(x - c["old"])
    return -torch.minimum(rho * c["label"], rho.clamp(1 - clip_range, 1 + clip_range) * c["label"])


def grpo(x, c, clip_range, beta):
    return ppo(x, c, clip_range) + beta * (torch.exp(c["ref"] - x) - (c["ref"] - x) - 1)


def stored(x, c, demo_share):
    return torch.where(c["is_demo"] == 1, -demo_share * x, -(1 - demo_share) * c["label"] * x)


LABELS = {"binary": (0, 2, 1), "soft": (0, 9, 1 / 8), "score": (-16, 17, 1 / 8)}


def inputs(pairs, mean=False, labels="binary"):
    n = 2 * N if pairs else N
    logp = numbers(-300, -1, n, 1 / 64) if mean else numbers(-6000, -500, n, 1 / 64)
    low, high, unit = LABELS[labels]
    return {"logp": logp, "ref": logp + numbers(-400, 401, n, 1 / 64),
            "label": numbers(low, high, N, unit), "is_demo": numbers(0, 2, N, 1),
            "weight": numbers(1, 33, N, 1 / 16)}


def drawn():  # tokens that were drawn, whose labels are advantages
    logp = numbers(-300, -1, N, 1 / 64)
    return {"logp": logp, "ref": logp + numbers(-40, 41, N, 1 / 64),
            "old": logp + numbers(-40, 41, N, 1 / 64), "label": numbers(-16, 17, N, 1 / 8),
            "is_demo": numbers(0, 2, N, 1), "weight": numbers(1, 33, N, 1 / 16)}


cases = []
for loss, settings, c in [  # settings: the fields of LossSettings, 0 where not named
        (dpo, dict(beta=0.1, label_smoothing=0.0), inputs(True)),
        (dpo, dict(beta=0.5, label_smoothing=0.1), inputs(True)),
        (dpo, dict(beta=2.0, label_smoothing=0.25), inputs(True, True)),
        (ipo, dict(beta=0.1), inputs(True)),
        (ipo, dict(beta=1.0), inputs(True, True)),
        (simpo, dict(beta=2.0, simpo_gamma=1.0), inputs(True, True)),
        (simpo, dict(beta=10.0, simpo_gamma=3.0), inputs(True, True)),
        (orpo, dict(beta=0.1), inputs(True, True)),
        (orpo, dict(beta=1.0), inputs(True, True)),
        (orpo, dict(beta=0.5), inputs(True, True)),
        (pointwise_dpo, dict(beta=0.1, log_z=0.0), inputs(False)),
        (pointwise_dpo, dict(beta=0.5, log_z=-0.75), inputs(False, labels="soft")),
        (pointwise_dpo, dict(beta=0.1, log_z=0.0, continuous=1), inputs(False, labels="score")),
        (pointwise_dpo, dict(beta=0.25, log_z=0.5, continuous=1), inputs(False, labels="score")),
        (ulma, dict(beta=0.1, log_z=0.0, continuous=0), inputs(False)),
        (ulma, dict(beta=0.5, log_z=0.25, continuous=0), inputs(False, labels="soft")),
        (ulma, dict(beta=0.1, log_z=-0.5, continuous=1), inputs(False, labels="score")),
        (unlikelihood, {}, inputs(False)),
        (unlikelihood, {}, inputs(False, labels="soft")),
        (kto, dict(beta=0.1, kl=0.0, desirable_weight=1.0, undesirable_weight=1.0), inputs(False)),
        (kto, dict(beta=0.5, kl=1.25, desirable_weight=1.0, undesirable_weight=1.5), inputs(False)),
        (sft, {}, inputs(False)),
        (rloo, {}, drawn()),
        (ppo, dict(clip_range=0.2), drawn()),
        (ppo, dict(clip_range=0.5), drawn()),
        (grpo, dict(clip_range=0.2, beta=0.04), drawn()),
        (grpo, dict(clip_range=0.3, beta=0.5), drawn()),
        (stored, dict(demo_share=0.35), drawn())]:
    if loss is orpo and settings["beta"] == 0.5:  # nearly certain answers, and hopeless ones
        c["logp"] = torch.tensor([-2.0**-22, -2.0**-10, -90, -2.0**-16, -700,
                                  -2.0**-3, -2.0**-20, -800, -2.0**-12, -30], dtype=torch.float64)
    x = c["logp"].clone().requires_grad_()
    total = (c["weight"] * loss(x, c, **settings)).sum()
    total.backward()
    cases.append({"objective": loss.__name__, "settings": settings,
                  **{k: v.tolist() for k, v in c.items()},
                  "loss": total.item(), "gradient": x.grad.tolist()})
with open((sys.argv[1] if len(sys.argv) > 1 else "test/golden") + "/policy_losses.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")

# MRPO: log ref_i of a pair, the first reference the base; clipped, weighed, mixed; DPO of beta 0.1
policy = torch.tensor([-20.0, -25.0], dtype=torch.float64, requires_grad=True)
for ref, width, equal in ([[-22, -24], [-21, -26]], 0, True), ([[-22, -24], [-21, -26]], 0, False), \
        ([[-22, -24], [-19, -27.5], [-22.25, -24.5]], 0.1, False):
    ref = torch.tensor(ref, dtype=torch.float64)
    gap = (ref[:, 0] - ref[:, 1]).abs()
    a = torch.full((len(ref),), 1 / len(ref), dtype=torch.float64) if equal else gap / gap.sum()
    if width:
        b = ref.mean(0).abs()
        e = width * b / b.sum()
        ref = torch.maximum(torch.minimum(ref, (1 - e) * ref[0]), (1 + e) * ref[0])
    mixed = -torch.logsumexp(torch.log(a)[:, None] - ref, 0)
    one = -logsigmoid(0.1 * ((policy - mixed)[0] - (policy - mixed)[1]))
    each = policy[None, :] - ref
    mean = (a * -logsigmoid(0.1 * (each[:, 0] - each[:, 1]))).sum()
    print("mrpo", a.tolist(), mixed.tolist(), one.item(), "mdpo", mean.item(),
          [torch.autograd.grad(x, policy)[0][0].item() for x in (one, mean)], ref.tolist())

# two steps of group-robust optimisation of three groups: alpha, then the loss
alpha, rate = torch.full((3,), 1 / 3, dtype=torch.float64), 0.5
for loss in [0.9, 0.6, 0.0], [0.25, 2.5, 1.0]:
    loss = torch.tensor(loss, dtype=torch.float64)
    alpha = alpha * torch.exp(rate * loss)
    alpha /= alpha.sum()
    print("groups", alpha.tolist(), (alpha @ loss).item())

score = [29 * j % 71 // 8 for j in range(90)]
positive = [j * j % 7 < 2 for j in range(90)]
wins = [half(score[i] - score[j]) for i in range(90) for j in range(90)
        if positive[i] and not positive[j]]
print("auc", sum(wins) / len(wins), "of", sum(positive), "positive")
