"""The closed-form baselines by numpy and scikit-learn on real effects, for tests/baselines/parity.rs.

    GENAILAB_TEST_DATA=FOLDER python tests/reference/baselines.py > tests/reference/baselines.json

The L2 norm of each predicted effect and its distance to the observed one, for a fixed half of the doubles of
norman_pseudobulk.h5ad, trained on all singles and the other half. A second task holds out single perturbations.
"""

import itertools
import json
import os
import sys
from pathlib import Path

import anndata
import numpy as np
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import pairwise_distances

folder = Path(os.environ.get("GENAILAB_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
file = anndata.read_h5ad(folder / "norman_pseudobulk.h5ad")
x = file.X.toarray() if hasattr(file.X, "toarray") else np.asarray(file.X)
measured = {gene: i for i, gene in enumerate(file.var_names)}
effects = {"+".join(sorted(p.split("+"))): row for p, row in zip(file.obs["perturbation"], x.astype(np.float64))}
singles = sorted(p for p in effects if "+" not in p)
doubles = sorted(p for p in effects if "+" in p and all(g in effects for g in p.split("+")))


def run(train, test):
    """Each model's prediction, (test, genes); a row of NaN where it has none."""
    y = np.stack([effects[p] for p in train])
    row = dict(zip(train, y))
    pairs = [p for p in train if "+" in p and all(g in row for g in p.split("+"))]
    a = np.stack([sum(row[g] for g in p.split("+")) for p in pairs])
    b = np.stack([row[p] for p in pairs])

    def total(p):
        return sum((row.get(g, np.full(x.shape[1], np.nan)) for g in p.split("+")), np.zeros(x.shape[1]))

    def applies(f):
        return np.stack([f(p) for p in test])

    out = {}
    out["no_change"] = np.zeros((len(test), x.shape[1]))
    out["mean"] = applies(lambda p: y.mean(0))
    several = np.mean([row[p] for p in train if "+" in p], axis=0)
    out["mean_doubles"] = applies(lambda p: several if "+" in p else np.full(x.shape[1], np.nan))
    out["matching_mean"] = applies(lambda p: np.mean([row.get(g, y.mean(0)) for g in p.split("+")], axis=0))
    out["additive"] = applies(total)
    factor = LinearRegression(fit_intercept=False).fit(a.reshape(-1, 1), b.ravel()).coef_[0]
    out["scaled_additive"] = applies(lambda p: total(p) * (factor if "+" in p else 1))

    # additive_pca: directions about zero; their number by the training pairs with directions from the rest.
    def directions(rows):
        return np.linalg.svd(rows, full_matrices=False)[2]

    rest = directions(np.stack([row[p] for p in train if p not in pairs]))
    errors = [((a @ rest[:k].T @ rest[:k] - b) ** 2).sum() for k in range(1, min(100, len(rest)) + 1)]
    v = directions(y)[: int(np.argmin(errors)) + 1]
    out["additive_pca"] = applies(lambda p: total(p) @ v.T @ v)

    # linear: solve_y_axb of run_linear_pretrained_model.R; control is a column of zeros.
    bulk = np.concatenate([y, np.zeros((1, x.shape[1]))]).T  # (genes, columns)
    g = PCA(10, svd_solver="full").fit_transform(bulk)

    def embed(p):
        return sum((g[measured[q]] if q in measured else np.full(10, np.nan) for q in p.split("+")), np.zeros(10))

    used = [p for p in train if not np.isnan(embed(p)).any()]
    p_emb = np.stack([embed(p) for p in used] + [np.zeros(10)]).T
    change = np.stack([row[p] for p in used] + [np.zeros(x.shape[1])]).T
    center = change.mean(1)
    ridge = 0.1 * np.eye(10)
    k = np.linalg.solve(g.T @ g + ridge, g.T) @ (change - center[:, None]) @ p_emb.T @ np.linalg.inv(
        p_emb @ p_emb.T + ridge
    )
    out["linear"] = applies(lambda p: g @ k @ embed(p) + center)

    genes = sorted({g for p in train for g in p.split("+")})

    def hot(p):
        return np.array([float(g in p.split("+")) for g in genes])

    model = RidgeCV(alphas=10.0 ** (np.arange(-4, 5) / 2), fit_intercept=False).fit(np.stack([hot(p) for p in train]), y)
    out["ridge"] = applies(
        lambda p: model.predict(hot(p)[None])[0] if set(p.split("+")) <= set(genes) else np.full(x.shape[1], np.nan)
    )

    # kernel ridge on the pair
    known = [p for p in train if "+" not in p]
    width = np.median([np.linalg.norm(row[p]) for p in known])
    order = {p: i for i, p in enumerate(known)}
    base = RBF(width)(np.stack([row[p] for p in known]))

    def kernel(p, q):
        (i, j), (m, n) = [order[g] for g in p.split("+")], [order[g] for g in q.split("+")]
        return (base[i, m] * base[j, n] + base[i, n] * base[j, m]) / 2

    square = (a * a).sum(0)
    per_gene = ((a * b).sum(0) + square.mean() * factor) / (square + square.mean())
    inverse = np.linalg.inv(np.array([[kernel(p, q) for q in pairs] for p in pairs]) + np.eye(len(pairs)))
    for name, scale in [("kernel_ridge", factor), ("kernel_ridge_per_gene", per_gene)]:
        weights = inverse @ (b - scale * a)
        out[name] = applies(
            lambda p: scale * total(p) + np.array([kernel(p, q) for q in pairs]) @ weights
            if "+" in p and all(g in row for g in p.split("+"))
            else total(p)
        )

    # nearest: the best assignment of singles
    distance = pairwise_distances(np.stack([row[p] for p in known])) ** 2

    def apart(p, q):
        p, q = [order[g] for g in p.split("+")], [order[g] for g in q.split("+")]
        return min(sum(distance[i, j] for i, j in zip(p, s)) for s in itertools.permutations(q))

    out["nearest"] = applies(
        lambda p: row[min(pairs, key=lambda q: apart(p, q))]
        if "+" in p and all(g in row for g in p.split("+"))
        else np.full(x.shape[1], np.nan)
    )
    return out, float(factor), len(v), float(model.alpha_)


def task(train, test):
    out, factor, components, penalty = run(train, test)
    observed = np.stack([effects[p] for p in test])

    def norms(rows):
        return [None if np.isnan(v) else float(v) for v in np.linalg.norm(rows, axis=1)]

    return {
        "test": test,
        "factor": factor,
        "components": components,
        "penalty": penalty,
        "models": {m: {"norm": norms(rows), "l2": norms(rows - observed)} for m, rows in out.items()},
    }


shuffled = list(np.random.default_rng(0).permutation(doubles))
held = sorted(np.random.default_rng(1).permutation(singles)[:12])
touched = [p for p in doubles if set(p.split("+")) & set(held)]
json.dump(
    {
        "doubles": task(singles + sorted(shuffled[38:]), sorted(shuffled[:38])),
        # 12 singles and every double with one of their genes are held out; all are predicted.
        "unseen": task([p for p in singles + doubles if p not in held and p not in touched], held + touched),
        # Doubles without both singles are in neither task.
        "left_out": sorted(p for p in effects if "+" in p and p not in doubles),
    },
    sys.stdout,
    indent=1,
)
