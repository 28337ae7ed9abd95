#!/usr/bin/env python3
"""Numbers for test_features.c: thirty full-batch steps of three networks in PyTorch 2.13.0, in float64, from weights
0.5 sin(1), 0.5 sin(2), ... in the order W, b, layer by layer.

    python3 scripts/golden_features.py
"""
import json
import math

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
UNITS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


def read(path):
    rows = [json.loads(line) for line in open(path)][1:]
    both = [torch.tensor([row["features"][side] for row in rows]) / 5 for side in ("chosen", "rejected")]
    return both


def network(hidden, unit, authors):
    layers, n = [], 7
    for i, k in enumerate(hidden):
        layers.append(nn.Linear(n, k))
        if not authors or i == 0:
            layers.append(UNITS[unit]())
        n = k
    layers.append(nn.Linear(n, 1))
    if authors:
        layers.append(UNITS[unit]())
    return nn.Sequential(*layers)


def train(hidden, unit, authors, steps=30, rate=0.05, warmup_ratio=0.3):
    chosen, rejected = read("data/features/opinpref_features.train.jsonl")
    net = network(hidden, unit, authors)
    weights = list(net.parameters())
    k = 0
    with torch.no_grad():
        for w in weights:
            for i in range(w.numel()):
                k += 1
                w.view(-1)[i] = 0.5 * math.sin(k)
    adamw = torch.optim.AdamW(weights, lr=rate, weight_decay=0.05)
    warmup = int(warmup_ratio * steps)
    for t in range(steps):
        after = math.pi * (t - warmup) / (steps - warmup)
        factor = (t + 1) / (warmup + 1) if t < warmup else 0.5 * (1 + math.cos(after))
        for group in adamw.param_groups:
            group["lr"] = rate * factor
        adamw.zero_grad()
        nn.functional.softplus(net(rejected) - net(chosen)).mean().backward()
        nn.utils.clip_grad_norm_(weights, 0.02)
        adamw.step()
    with torch.no_grad():
        loss = nn.functional.softplus(net(rejected) - net(chosen)).mean().item()
        print(hidden, unit, "authors" if authors else "", "%.12f %.12f" % (loss, net(chosen[0]).item()))


train([6, 4, 2], "tanh", False)
train([6, 4, 2], "sigmoid", True)
train([5, 3], "relu", False)
