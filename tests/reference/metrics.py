"""Metrics by scipy, scikit-learn and statsmodels, for tests/eval.rs.

    python tests/reference/metrics.py > tests/reference/metrics.json
"""

import json
import sys

import numpy as np
from scipy import spatial, stats
from sklearn import metrics
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(0)
cases = []
for genes, noise in [(12, 0.1), (40, 0.7), (200, 3.0)]:
    observed = np.round(rng.normal(0, 0.4, genes), 2).astype(np.float32)  # rounded, so that there are ties
    predicted = np.round(observed + noise * rng.normal(0, 0.4, genes), 2).astype(np.float32)
    changed = np.abs(observed) > 0.45
    x, y = predicted.astype(np.float64), observed.astype(np.float64)
    p = rng.uniform(0, 1, genes) ** 3
    weights = np.random.default_rng(genes).uniform(0, 1, genes) ** 2
    cases.append({
        "predicted": [float(v) for v in predicted],
        "observed": [float(v) for v in observed],
        "changed": changed.tolist(),
        "pearson": stats.pearsonr(x, y)[0],
        "spearman": stats.spearmanr(x, y)[0],
        "r2": metrics.r2_score(y, x),
        "mse": metrics.mean_squared_error(y, x),
        "mae": metrics.mean_absolute_error(y, x),
        "rmse": metrics.mean_squared_error(y, x) ** 0.5,
        "l2": float(np.linalg.norm(x - y)),
        "cosine": 1 - spatial.distance.cosine(x, y),
        "auroc": metrics.roc_auc_score(changed, np.abs(predicted)),
        "average_precision": metrics.average_precision_score(changed, np.abs(predicted)),
        "weights": weights.tolist(),
        "r2_weighted": metrics.r2_score(y, x, sample_weight=weights),
        "wmse": metrics.mean_squared_error(y, x, sample_weight=weights),
        "manhattan": spatial.distance.cityblock(x, y),
        "p_values": p.tolist(),
        "p_adjusted": multipletests(p, method="fdr_bh")[1].tolist(),
    })
students = [[t, df, 2 * stats.t.sf(abs(t), df)] for t in [0.0, 1e-3, 0.4, 1.7, -2.5, 8.0, 37.0] for df in [1.0, 2.3, 11.0, 98.6, 2e4, 3e6]]
json.dump({"cases": cases, "students": students}, sys.stdout, indent=1)
