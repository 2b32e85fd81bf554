"""Reference numbers for entropic and exact optimal transport: POT on a small case.

    python tests/reference/sinkhorn.py > tests/reference/sinkhorn.json
"""

import json

import numpy as np
import ot

N, M, WIDTH = 9, 7, 3

rng = np.random.default_rng(5)
x = np.round(rng.normal(size=(N, WIDTH)), 4).astype(np.float32)
y = np.round(rng.normal(size=(M, WIDTH)) + 0.5, 4).astype(np.float32)
a, b = rng.uniform(0.5, 1.5, N), rng.uniform(0.5, 1.5, M)
a, b = a / a.sum(), b / b.sum()
cost = ot.dist(x.astype(np.float64), y.astype(np.float64), metric="sqeuclidean")
plans = []
for epsilon in (0.02, 0.2, 2.0):
    plan = ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=200_000, stopThr=1e-13)
    plans.append({"epsilon": epsilon, "plan": plan.tolist(), "cost": float((plan * cost).sum())})

# As many cells on either side, all alike: the exact plan is an assignment.
z = np.round(rng.normal(size=(N, WIDTH)) + 0.5, 4).astype(np.float32)
uniform = np.full(N, 1 / N)
exact = ot.emd(uniform, uniform, ot.dist(x.astype(np.float64), z.astype(np.float64), metric="sqeuclidean"))
print(
    json.dumps(
        {
            "versions": {"POT": ot.__version__, "numpy": np.__version__},
            "x": x.astype(np.float64).tolist(),
            "y": y.astype(np.float64).tolist(),
            "z": z.astype(np.float64).tolist(),
            "a": a.tolist(),
            "b": b.tolist(),
            "cost": cost.tolist(),
            "plans": plans,
            "assignment": exact.argmax(1).tolist(),
        }
    )
)
