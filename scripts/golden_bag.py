"""scikit-learn's numbers for bagofwords.c: weights for test/test_bagofwords.c, or of files of pairs.

    pip install scikit-learn==1.9.1
    python3 scripts/golden_bag.py                           # weights of the test's made-up pairs
    python3 scripts/golden_bag.py TRAIN.jsonl TEST.jsonl    # accuracy on TEST, largest weights

Each pair enters twice, as (x, 1) and (-x, 0), because LogisticRegression wants two classes; so its
C is half of ours."""
import json, re, sys
from collections import Counter
import numpy
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression

C = 0.001


def words(text):
    return re.findall(rb"[0-9a-z\x80-\xff]+", text.encode().lower())  # bytes: ASCII alone is made small


def differences(pairs, vocabulary=None):
    counts = []
    for p in pairs:
        x = Counter(words(p["chosen"]))
        x.subtract(words(p["rejected"]))
        counts.append(x)
    if vocabulary is None:
        vocabulary = {w: i for i, w in enumerate(sorted(set().union(*counts)))}
    entries = [(j, vocabulary[w], n) for j, x in enumerate(counts) for w, n in x.items() if w in vocabulary]
    j, i, n = zip(*entries)
    return csr_matrix((n, (j, i)), (len(pairs), len(vocabulary)), dtype=float), vocabulary


def fit(x):
    y = numpy.repeat([1, 0], x.shape[0])
    model = LogisticRegression(C=C / 2, fit_intercept=False, tol=1e-12, max_iter=10000, solver="newton-cg")
    return model.fit(vstack([x, -x]), y).coef_[0]


if len(sys.argv) == 3:
    train, test = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
    x, vocabulary = differences(train)
    w = fit(x)
    z = differences(test, vocabulary)[0] @ w
    print(f"{len(vocabulary)} words, accuracy {numpy.mean((z > 0) + (z == 0) / 2):.9f}")
    order = numpy.argsort(w)
    names = sorted(vocabulary)
    print("for  ", *(names[i].decode(errors="replace") for i in order[:-16:-1]))
    print("against", *(names[i].decode(errors="replace") for i in order[:15]))
else:
    name = "sky sea blue green red cat dog sees likes runs".split()
    pairs = []
    for r in range(40):
        chosen = [name[(7 * r + 3 * k * k) % 10] for k in range(3 + r % 4)] + ["sea"] * (r % 3 > 0)
        rejected = [name[(5 * r + k * (k + r)) % 10] for k in range(2 + r % 5)]
        pairs.append({"chosen": " ".join(chosen), "rejected": " ".join(rejected)})
    x, vocabulary = differences(pairs)
    w = fit(x)
    for word in name:
        print(word, repr(float(w[vocabulary[word.encode()]])))
