"""PCA by scikit-learn (full SVD), for tests/eval.rs.

    python tests/reference/pca.py > tests/reference/pca.json
"""

import json
import sys

import numpy as np
from sklearn.decomposition import PCA

rng = np.random.default_rng(0)
out = []
for cells, d, k, rank in [(60, 8, 8, 8), (90, 40, 5, 6), (40, 60, 6, 12)]:
    data = rng.normal(size=(cells, rank)) * (2.0 ** -np.arange(rank)) @ rng.normal(size=(rank, d))
    data = np.round(data + 0.05 * rng.normal(size=(cells, d)) + 3.0, 3).astype(np.float32)
    pca = PCA(k, svd_solver="full").fit(data.astype(np.float64))
    out.append({
        "shape": [cells, d],
        "data": [float(f"{v:.3f}") for v in data.ravel()],
        "components": pca.components_.ravel().tolist(),
        "explained_variance": pca.explained_variance_.tolist(),
        "explained_variance_ratio": pca.explained_variance_ratio_.tolist(),
        "first_scores": pca.transform(data.astype(np.float64))[0].tolist(),
    })
json.dump(out, sys.stdout, separators=(",", ":"))
