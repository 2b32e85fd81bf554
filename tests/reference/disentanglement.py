"""Reference numbers for disentanglement scores: numpy and scikit-learn on three small cases.

    python tests/reference/disentanglement.py > tests/reference/disentanglement.json

MIG as in disentanglement_lib (Locatello et al. 2019): 20 bins of equal width, `sklearn.metrics.mutual_info_score`. SAP as there
for continuous factors: squared correlation. DCI (Eastwood & Williams 2018) with `sklearn.linear_model.Lasso`.
"""

import json

import numpy as np
import sklearn
from sklearn.linear_model import Lasso
from sklearn.metrics import mutual_info_score, r2_score

BINS, ALPHA = 20, 0.01


def binned(column):
    return np.digitize(column, np.histogram(column, BINS)[1][1:-1])


def gap(table):
    ordered = np.sort(table, axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def information(z, v):
    zs, vs = [[binned(c) for c in x.T] for x in (z, v)]
    return np.array([[mutual_info_score(a, b) / mutual_info_score(b, b) for b in vs] for a in zs])


def squared_correlations(z, v):
    table = np.zeros((z.shape[1], v.shape[1]))
    for i, a in enumerate(z.T):
        if a.std() > 0:
            table[i] = [np.corrcoef(a, b)[0, 1] ** 2 for b in v.T]
    return table


def concentration(importance):
    """Of each row."""
    shares = importance / np.maximum(importance.sum(1, keepdims=True), 1e-300)
    logs = np.where(shares > 0, np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    spread = 1 + (shares * logs).sum(1) / np.log(importance.shape[1])
    return np.where(importance.sum(1) > 0, spread, 0.0)


def dci(z, v, fitted):
    def standardised(x):
        sd = x[:fitted].std(0)
        return (x - x[:fitted].mean(0)) / np.where(sd > 0, sd, np.inf)

    x, y = standardised(z), standardised(v)
    fits = [Lasso(alpha=ALPHA, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x[:fitted], c) for c in y[:fitted].T]
    importance = np.abs(np.array([fit.coef_ for fit in fits])).T
    weights = importance.sum(1) / importance.sum()
    r2 = [max(0.0, r2_score(c[fitted:], fit.predict(x[fitted:]))) for fit, c in zip(fits, y.T)]
    return {
        "importance": importance.ravel().tolist(),
        "disentanglement": float((weights * concentration(importance)).sum()),
        "completeness": float(concentration(importance.T).mean()),
        "informativeness": float(np.mean(r2)),
    }


rng = np.random.default_rng(5)
cells, fitted = 240, 160
factors = np.column_stack([rng.normal(size=(cells, 2)), rng.integers(0, 2, cells)]).round(4)
noise = rng.normal(size=(cells, 5))
aligned = np.column_stack([factors + 0.3 * noise[:, :3], 0.1 * noise[:, 3], np.zeros(cells)])
turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
rotated = np.column_stack([(factors + 0.3 * noise[:, :3]) @ turn, noise[:, 3]])
cases = []
for name, z in (("aligned", aligned), ("rotated", rotated), ("noise", noise)):
    z = z.round(4).astype(np.float32).astype(np.float64)
    table = information(z, factors)
    cases.append(
        {
            "name": name,
            "z": z.ravel().tolist(),
            "latents": z.shape[1],
            "information": table.ravel().tolist(),
            "mig": gap(table),
            "sap": gap(squared_correlations(z, factors)),
            "dci": dci(z, factors, fitted),
        }
    )
print(
    json.dumps(
        {
            "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
            "factors": factors.ravel().tolist(),
            "cells": cells,
            "fitted": fitted,
            "alpha": ALPHA,
            "bins": BINS,
            "cases": cases,
        }
    )
)
