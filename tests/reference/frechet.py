"""Fréchet distances of Gaussians by scipy's matrix square root, as the FID is computed.

    python tests/reference/frechet.py > tests/reference/frechet.json
"""

import json

import numpy as np
from scipy.linalg import sqrtm
from scipy.stats import ks_2samp


def points(rows, dims, phase, scale):
    i, j = np.meshgrid(np.arange(rows), np.arange(dims), indexing="ij")
    values = scale * np.sin(0.7 * (i + 1) * (j + 1) + phase) + 0.3 * np.cos(0.11 * i * i + j) + 0.05 * phase * j
    return values.astype(np.float32).astype(np.float64)


def frechet(x, y):
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(cx @ cy)
    difference = x.mean(0) - y.mean(0)
    return float(difference @ difference + np.trace(cx + cy - 2 * np.real(root)))


cases = []
for rows_x, rows_y, dims, phase, scale in [(50, 40, 3, 0.5, 1.0), (200, 150, 8, 1.0, 2.0), (30, 60, 12, 0.1, 0.6)]:
    x, y = points(rows_x, dims, 0.0, 1.0), points(rows_y, dims, phase, scale)
    cases.append(
        {
            "rows": [rows_x, rows_y],
            "dims": dims,
            "phase": phase,
            "scale": scale,
            "frechet": frechet(x, y),
            "ks": [float(ks_2samp(x[:, d], y[:, d]).statistic) for d in range(dims)],
        }
    )
print(json.dumps({"cases": cases}, indent=1))
