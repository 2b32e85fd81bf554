"""Reference numbers for the linear probe and the kNN purity: scikit-learn on a small case.

    python tests/reference/probe.py > tests/reference/probe.json
"""

import json

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestNeighbors

CELLS, HELD_OUT, WIDTH, CLASSES, K = 120, 60, 5, 4, 7

rng = np.random.default_rng(11)
centres = rng.normal(size=(CLASSES, WIDTH))
labels = rng.integers(0, CLASSES, CELLS + HELD_OUT)
x = (centres[labels] + rng.normal(size=(len(labels), WIDTH))) * np.array([1.0, 5.0, 0.2, 1.0, 1.0])
x = np.round(x, 4).astype(np.float32).astype(np.float64)
train, test = x[:CELLS], x[CELLS:]
mean, scale = train.mean(0), train.std(0)
fits = []
for c in (0.1, 1.0, 100.0):
    probe = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit((train - mean) / scale, labels[:CELLS])
    predicted = probe.predict((test - mean) / scale)
    fits.append(
        {
            "c": c,
            "coefficients": probe.coef_.tolist(),
            "intercepts": probe.intercept_.tolist(),
            "accuracy": float((predicted == labels[CELLS:]).mean()),
            "balanced_accuracy": float(balanced_accuracy_score(labels[CELLS:], predicted)),
        }
    )
near = NearestNeighbors(n_neighbors=K).fit(train)
own = near.kneighbors(return_distance=False)
held_out = near.kneighbors(test, return_distance=False)
print(
    json.dumps(
        {
            "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
            "x": x.tolist(),
            "labels": labels.tolist(),
            "cells": CELLS,
            "classes": CLASSES,
            "fits": fits,
            "k": K,
            "purity": float((labels[own] == labels[:CELLS, None]).mean()),
            "purity_held_out": float((labels[held_out] == labels[CELLS:, None]).mean()),
        }
    )
)
