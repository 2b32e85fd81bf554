"""E[ln(1 + s x)] of negative binomial counts by scipy: rows of scale, mean, theta, value, for src/model/vae/log1p.rs.

Up to a mean of 1e5 the probabilities of scipy.stats.nbinom are summed; beyond, x is nearly its gamma rate r, and
ln(1 + s x) is replaced by its expectation over the Poisson noise to second order, integrated over r by scipy.integrate.quad.
"""

import json
from pathlib import Path

import numpy as np
from scipy import integrate, stats

CASES = [
    (1.0, 2.0, 0.3), (0.5, 50.0, 1.0), (3.0, 700.0, 5.0), (1.0, 1e4, 0.5), (0.2, 1e4, 200.0),
    (1.0, 1e5, 0.5), (1.0, 1e5, 50.0), (0.01, 1e6, 2.0), (1.0, 1e7, 1.0), (1e-4, 1e8, 0.5), (1.0, 1e8, 3.0),
    (1e-2, 1e8, 1e4), (2.0, 1e6, 1e3),
]


def summed(scale, mean, theta):
    x = stats.nbinom(theta, theta / (theta + mean))
    most = int(x.isf(1e-15)) + 10
    counts = np.arange(most)
    return float(np.sum(x.pmf(counts) * np.log1p(scale * counts)))


def integrated(scale, mean, theta):
    def f(u):
        rate = stats.gamma.ppf(u, theta, scale=mean / theta)
        slope = scale / (1 + scale * rate)
        return np.log1p(scale * rate) - 0.5 * slope * slope * rate

    # In u the density is flat; the ends are where the logarithm is steep.
    points = [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-3, 1 - 1e-6, 1 - 1e-9]
    edges = [0.0, *points, 1.0]
    return float(sum(integrate.quad(f, a, b, epsabs=1e-12, epsrel=1e-12, limit=500)[0] for a, b in zip(edges, edges[1:])))


rows = [[s, m, t, summed(s, m, t) if m <= 1e5 else integrated(s, m, t)] for s, m, t in CASES]
Path(__file__).with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
