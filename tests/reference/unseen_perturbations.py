"""What the features of unseen perturbations say, by scikit-learn's kernel ridge regression.

    python tests/reference/unseen_perturbations.py > tests/reference/unseen_perturbations.json

The test is in src/model/jepa/response/unseen.rs. Each trained perturbation is left out by a regression that is fitted without it;
the penalty and the weight with the smallest mean distance are then used for the unseen ones. Two of the trained perturbations have
no features: they count in the mean alone.
"""

import json

import numpy as np
from sklearn.kernel_ridge import KernelRidge

RIDGES = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
WEIGHTS = [0.25, 0.5, 0.75, 1.0]
TRAINED, WITH_FEATURES, UNSEEN, FEATURES, WIDTH = 14, 12, 3, 5, 6


def estimate(trained, shifts, mean, asked, ridge):
    """Difference of the estimated shift to `mean`."""
    fitted = KernelRidge(alpha=ridge, kernel="cosine").fit(trained, shifts - mean)
    return fitted.predict(asked)


def main():
    rng = np.random.default_rng(0)
    features = np.round(rng.normal(size=(WITH_FEATURES + UNSEEN, FEATURES)), 6)
    shifts = np.round(
        np.vstack([features[:WITH_FEATURES] @ rng.normal(size=(FEATURES, WIDTH)), rng.normal(size=(2, WIDTH))])
        + 1.0
        + 0.5 * rng.normal(size=(TRAINED, WIDTH)),
        6,
    )
    trained, asked = features[:WITH_FEATURES], features[WITH_FEATURES:]
    means = (shifts.sum(0) - shifts) / (TRAINED - 1)
    alone = np.linalg.norm(shifts - means, axis=1)
    best = (alone.mean(), 0.0, 0.0)
    for ridge in RIDGES:
        for weight in WEIGHTS:
            errors = alone.copy()
            for gene in range(WITH_FEATURES):
                others = np.arange(WITH_FEATURES) != gene
                found = estimate(
                    trained[others], shifts[:WITH_FEATURES][others], means[gene], trained[[gene]], ridge
                )[0]
                errors[gene] = np.linalg.norm(shifts[gene] - means[gene] - weight * found)
            gain = (alone - errors)[:WITH_FEATURES]
            certain = gain.mean() > gain.std(ddof=1) / np.sqrt(WITH_FEATURES)
            if certain and errors.mean() < best[0]:
                best = (errors.mean(), ridge, weight)
    error, ridge, weight = best
    mean = shifts.mean(0)
    unseen = mean + weight * estimate(trained, shifts[:WITH_FEATURES], mean, asked, ridge)
    print(
        json.dumps(
            {
                "features": features.tolist(),
                "shifts": shifts.tolist(),
                "ridge": ridge,
                "weight": weight,
                "error": error,
                "error_of_mean": alone.mean(),
                "unseen": unseen.tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
