"""HSIC by scikit-learn and by dcor, for tests/causal_vae.

    python tests/reference/hsic.py > tests/reference/hsic.json

needs: scikit-learn 1.7 or newer, dcor 0.6 or newer

x_ij = sin(0.7 (i + 1) (j + 1)), y_ij = cos(0.3 (i + 1)) + 0.5 sin(1.3 (i + 1) (j + 2)), 24 rows, 3 and 2 columns, i and j from 0.
The squared distance covariance is the HSIC of the kernels -|x - x'| and -|y - y'| (Sejdinovic et al. 2013), so that dcor, which
knows no kernels, checks the criterion too.
"""

import json

import dcor
import numpy as np
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.preprocessing import KernelCenterer

n = 24
i = np.arange(1, n + 1)[:, None]
x = np.sin(0.7 * i * np.arange(1, 4)[None, :])
y = np.cos(0.3 * i) + 0.5 * np.sin(1.3 * i * np.arange(2, 4)[None, :])


def centred(k):
    return KernelCenterer().fit_transform(k)


kx, ky = rbf_kernel(x, gamma=0.5), rbf_kernel(y, gamma=1.25)
# Sets of genes as rows of zeros and ones: control, singles, a double.
sets = [[], [0], [1], [0, 1]]
hot = np.zeros((n, 2))
for row in range(n):
    hot[row, sets[row % 4]] = 1
kp = cosine_similarity(hot) + np.outer(hot.sum(1) == 0, hot.sum(1) == 0)
result = {
    "gaussian": float((centred(kx) * centred(ky)).mean()),
    "sets": float((centred(kx) * centred(kp)).mean()),
    "distance_covariance_squared": float(dcor.distance_covariance_sqr(x, y)),
}
print(json.dumps(result, indent=1))
