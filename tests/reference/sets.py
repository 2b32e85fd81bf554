"""Distances between sets of cells by scperturb, pertpy, geomloss, POT, scipy, scikit-learn and statsmodels, for
tests/sets.rs.

    python tests/reference/sets.py > tests/reference/sets.json

needs: pertpy 1.0 (with statsmodels < 0.15), scperturb 0.1, geomloss 0.3, POT 0.9, and the files of $GENAILAB_TEST_DATA (else ../shared/data).

Both sides embed the cells alike, so that no PCA stands between them:
    y = log1p(count * 1e4 / library size)                   f64, the size from ncounts, else the sum of the counts
    score = y @ W, W[g, k] = sin(0.7 (g + 1) (k + 1))       f64, 12 columns, then kept as f32
"""

import itertools
import json
import os
import pathlib
import sys
import warnings

import anndata
import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = pathlib.Path(os.environ.get("GENAILAB_TEST_DATA", ROOT.parent / "shared" / "data"))
WIDTHS = [0.25, 0.5, 1.0, 2.0, 4.0]
D = 12


def embed(adata):
    counts = np.asarray(adata.X.todense() if hasattr(adata.X, "todense") else adata.X, dtype=np.float64)
    size = np.asarray(adata.obs["ncounts"], dtype=np.float64) if "ncounts" in adata.obs else counts.sum(1)
    y = np.log1p(counts * (1e4 / size)[:, None])
    g, k = np.arange(1, counts.shape[1] + 1)[:, None], np.arange(1, D + 1)[None, :]
    return y, (y @ np.sin(0.7 * g * k)).astype(np.float32)


def digits(values):
    return [float(f"{value:.10g}") for value in np.ravel(values)]


def exact_test(x, y):
    """All ways to divide the cells, squared form."""
    from sklearn.metrics import pairwise_distances

    both = np.vstack([x, y]).astype(np.float64)
    pwd = pairwise_distances(both, metric="sqeuclidean")
    n, m = len(x), len(y)

    def e(rows):
        idx = np.zeros(n + m, dtype=bool)
        idx[list(rows)] = True
        return (2 * pwd[idx][:, ~idx].mean() - pwd[idx][:, idx].sum() / (n * (n - 1))
                - pwd[~idx][:, ~idx].sum() / (m * (m - 1)))  # fmt: skip

    observed = e(range(n))
    every = np.array([e(rows) for rows in itertools.combinations(range(n + m), n)])
    return observed, float(np.mean(every >= observed - 1e-9))


def reference(name, step):
    import geomloss
    import ot
    import pertpy
    import scperturb
    import torch
    from scipy.spatial.distance import pdist
    from scipy.stats import pearsonr, wasserstein_distance
    from sklearn.neighbors import NearestNeighbors

    adata = anndata.read_h5ad(DATA / f"{name}.h5ad")[::step].copy()
    y, scores = embed(adata)
    labels = adata.obs["perturbation"].astype(str)
    groups = sorted(set(labels))
    small = anndata.AnnData(obs=pd.DataFrame({"perturbation": labels.values}, index=adata.obs_names))
    small.obsm["X_pca"] = scores.astype(np.float64)
    out = {"step": step, "groups": groups, "sizes": [int((labels == group).sum()) for group in groups]}

    squared = scperturb.edist(small, verbose=False).loc[groups, groups].values
    plain = pertpy.tl.Distance("edistance", obsm_key="X_pca").pairwise(
        small, groupby="perturbation", show_progressbar=False, n_jobs=1)  # fmt: skip
    upper = np.triu_indices(len(groups), 1)
    out["squared"], out["plain"] = digits(squared[upper]), digits(plain.loc[groups, groups].values[upper])

    np.random.seed(0)
    tested = scperturb.etest(small, runs=1000, n_jobs=1, verbose=False).loc[[g for g in groups if g != "control"]]
    out["etest"] = {"edist": digits(tested["edist"]), "pvalue": digits(tested["pvalue"])}

    of = {group: np.flatnonzero((labels == group).values) for group in groups}
    control = small.obsm["X_pca"][of["control"]]
    names = [group for group in groups if group != "control"][:6]
    directions = np.random.default_rng(1).normal(size=(D, 10)).round(3)
    directions /= np.linalg.norm(directions, axis=0)
    out["directions"] = directions.T.ravel().tolist()
    out["pairs"] = []
    for group in names:
        x = small.obsm["X_pca"][of[group]]
        gamma = 0.5 / np.median(pdist(x)) ** 2
        mmd = pertpy.tl.Distance("mmd")
        energy = geomloss.SamplesLoss("energy", backend="tensorized")(torch.tensor(x), torch.tensor(control))
        expression = y.astype(np.float32).astype(np.float64)
        a, b = expression[of[group]], expression[of["control"]]
        genes = np.flatnonzero(((a > 0).mean(0) > 0.2) & ((b > 0).mean(0) > 0.2))
        out["pairs"].append({
            "group": group,
            "gamma": float(gamma),
            "mmd_rbf": float(sum(mmd(x, control, kernel="rbf", gamma=w * gamma) for w in WIDTHS)),
            "mmd_linear": float(mmd(x, control)),
            "mmd_energy": float(energy),
            "wasserstein_1d": digits([wasserstein_distance(x[:, k], control[:, k]) for k in range(D)]),
            "sliced_wasserstein": float(
                ot.sliced_wasserstein_distance(x, control, p=1, projections=directions)),
            "variance_correlation": float(pearsonr(a.var(0), b.var(0))[0]),
            "zero_fraction_error": float(np.median(np.abs((a == 0).mean(0) - (b == 0).mean(0)))),
            "kl_genes": genes.tolist(),
            "symmetric_kl": float(pertpy.tl.Distance("sym_kldiv")(a[:, genes], b[:, genes])),
            "exact_test": exact_test(x[:5], control[:5]),
        })  # fmt: skip

    # kNN: even cells of each group are the pool, odd ones the query.
    pool = np.concatenate([of[group][::2][:40] for group in groups])
    pool_labels = np.array([groups.index(g) for g in labels.values[pool]])
    neighbours = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(small.obsm["X_pca"][pool])
    out["knn"] = digits([
        np.mean(pool_labels[neighbours.kneighbors(small.obsm["X_pca"][of[g][1::2]])[1]] == groups.index(g))
        for g in groups
    ])  # fmt: skip
    return out


def holm_sidak():
    from statsmodels.stats.multitest import multipletests

    p = [0.001, 0.5, 0.001, 0.04, 0.01, 1.0, 0.2, 1e-12]
    return {"p": p, "adjusted": multipletests(p, method="holm-sidak")[1].tolist()}


json.dump(
    {"norman_cells": reference("norman_cells", 1), "papalexi_cells": reference("papalexi_cells", 4),
     "holm_sidak": holm_sidak()},
    sys.stdout, separators=(",", ":"),
)  # fmt: skip
