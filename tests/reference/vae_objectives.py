"""Reference numbers for the objectives of the count VAE: numpy and scipy on a small batch of latents.

    python tests/reference/vae_objectives.py > tests/reference/vae_objectives.json

The total correlation is the minibatch-weighted estimate of Chen et al. 2018 as in the authors' code (`elbo_decomposition`):
logsumexp over the batch minus ln(N M), here with N = 1. The importance-weighted bound is Burda et al. 2016, eq. 8. Gradients
are central differences in double precision, good to about 1e-8.
"""

import json

import numpy as np
import scipy
from scipy.special import logsumexp
from scipy.stats import norm

ROWS, LATENTS, SAMPLES = 7, 3, 4

rng = np.random.default_rng(3)
mu = (0.8 * rng.normal(size=(ROWS, LATENTS))).round(4)
logvar = (-0.5 + 0.4 * rng.normal(size=(ROWS, LATENTS))).round(4)
z = (mu + rng.normal(size=(ROWS, LATENTS))).round(4)
log_weights = (-300 + 5 * rng.normal(size=(ROWS, SAMPLES))).round(3)


def total_correlation(z, mu, logvar):
    # [i, j, k]: latent k of row i under the posterior of row j.
    log = norm.logpdf(z[:, None], mu[None], np.exp(logvar[None] / 2))
    joint = logsumexp(log.sum(2), axis=1) - np.log(ROWS)
    marginals = (logsumexp(log, axis=1) - np.log(ROWS)).sum(1)
    return (joint - marginals).mean()


def log_ratio(z, mu, logvar):
    return norm.logpdf(z).sum(1) - norm.logpdf(z, mu, np.exp(logvar / 2)).sum(1)


def bounds(log_weights):
    return logsumexp(log_weights, axis=1) - np.log(SAMPLES)


def gradients(f, *arguments, step=1e-5):
    found = []
    for number, argument in enumerate(arguments):
        gradient = np.zeros_like(argument)
        for place in np.ndindex(argument.shape):
            sides = []
            for sign in (1, -1):
                moved = argument.copy()
                moved[place] += sign * step
                sides.append(f(*arguments[:number], moved, *arguments[number + 1 :]))
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        found.append(gradient.ravel().tolist())
    return found


latents = (z, mu, logvar)
print(
    json.dumps(
        {
            "versions": {"scipy": scipy.__version__, "numpy": np.__version__},
            "rows": ROWS,
            "latents": LATENTS,
            "samples": SAMPLES,
            "inputs": [a.ravel().tolist() for a in latents],
            "total_correlation": float(total_correlation(*latents)),
            "total_correlation_gradients": gradients(total_correlation, *latents),
            "log_ratio": log_ratio(*latents).tolist(),
            "log_ratio_gradients": gradients(lambda *a: log_ratio(*a).sum(), *latents),
            "log_weights": log_weights.ravel().tolist(),
            "bounds": bounds(log_weights).tolist(),
            "bound_gradients": gradients(lambda w: bounds(w).sum(), log_weights),
        }
    )
)
