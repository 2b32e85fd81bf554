"""Calibration by scoringrules, numpy and scipy, for tests/biology/calibration.rs.

    python tests/reference/calibration.py > tests/reference/calibration.json
"""

import json
import sys

import numpy as np
import scoringrules
from scipy import integrate, stats

rng = np.random.default_rng(4)
sample = np.round(np.maximum(rng.normal(0.6, 1, 60), 0), 3)  # zeros and ties, as expression has them
observed = np.round(np.maximum(rng.normal(0.8, 1.2, 25), 0), 3)
repeated = np.tile(sample, (len(observed), 1))


def integral(y):
    """The definition: the integral of (F(x) - 1{x >= y})^2 of the empirical F, exact because both are steps."""
    steps = np.unique(np.append(sample, y))
    left = steps[:-1]
    height = (np.array([(sample <= x).mean() for x in left]) - (left >= y)) ** 2
    return float((height * np.diff(steps)).sum())


gaussian = [(0.0, 1.0, 0.3), (2.0, 0.5, -1.0), (-1.0, 3.0, 4.0)]
json.dump({
    "scoringrules": scoringrules.__version__,
    "sample": sample.tolist(),
    "observed": observed.tolist(),
    "crps_integral": [integral(y) for y in observed],
    "crps_nrg": scoringrules.crps_ensemble(observed, repeated, estimator="nrg").tolist(),
    "crps_fair_mean": float(scoringrules.crps_ensemble(observed, repeated, estimator="fair").mean()),
    "coverage": {
        str(level): float(((observed >= np.quantile(sample, (1 - level) / 2)) & (observed <= np.quantile(sample, (1 + level) / 2))).mean())
        for level in [0.5, 0.9]
    },
    "quantiles": {str(p): float(np.quantile(sample, p)) for p in [0.0, 0.05, 0.37, 0.5, 0.95, 1.0]},
    "gaussian": [
        {
            "mean": m,
            "sigma": s,
            "y": y,
            "crps": float(scoringrules.crps_normal(y, m, s)),
            "integral": integrate.quad(lambda x: (stats.norm.cdf(x, m, s) - (x >= y)) ** 2, m - 12 * s, m + 12 * s, points=[y])[0],
        }
        for m, s, y in gaussian
    ],
}, sys.stdout, indent=1)
