"""Expression from metadata by ridge regression with a coefficient for every level and every pair of levels.

usage: python benches/ridge_with_pairs.py FILE.h5ad MODEL_DIR COLUMN [COLUMN ...]
needs: a folder that `genailab train --model mean-residual --data FILE.h5ad --metadata COLUMN,...` wrote; anndata, numpy.

For categorical columns of a file whose values are no counts. Trains on the rows that split.json in MODEL_DIR trains on and is
judged on those that it holds out, as the model is. The penalty is chosen by five folds of the training rows. Prints RMSE of the
held-out values: additive, and with pairs; then one JSON line.
"""

import itertools
import json
import pathlib
import sys

import anndata
import numpy as np

PENALTIES = [0.01, 0.1, 1.0, 10.0, 100.0]


def one_hot(values):
    return (values[:, None] == np.unique(values)[None, :]).astype(float)


def design(columns, with_pairs):
    blocks = [one_hot(values) for values in columns]
    if with_pairs:
        pairs = itertools.combinations(columns, 2)
        blocks += [one_hot(np.char.add(np.char.add(a, "|"), b)) for a, b in pairs]
    return np.concatenate(blocks, axis=1)


def fit(x, y, penalty):
    mean_x, mean_y = x.mean(0), y.mean(0)
    gram = (x - mean_x).T @ (x - mean_x) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, (x - mean_x).T @ (y - mean_y))
    return weights, mean_y - mean_x @ weights


def rmse(x, y, fitted):
    return float(np.sqrt(np.mean((x @ fitted[0] + fitted[1] - y) ** 2)))


def judged(x, y, train, test):
    fold = np.random.default_rng(0).permutation(len(train)) % 5
    def error(penalty):
        parts = [
            rmse(x[train[fold == k]], y[train[fold == k]], fit(x[train[fold != k]], y[train[fold != k]], penalty)) ** 2
            for k in range(5)
        ]
        return np.mean(parts)
    penalty = min(PENALTIES, key=error)
    return rmse(x[test], y[test], fit(x[train], y[train], penalty)), penalty


def main():
    file, model, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    data = anndata.read_h5ad(file)
    y = np.asarray(data.X.todense() if hasattr(data.X, "todense") else data.X, dtype=float)
    split = json.loads((model / "split.json").read_text())
    train, test = np.array(split["train"] + split["validation"]), np.array(split["test"])
    columns = [data.obs[name].astype(str).to_numpy().astype(str) for name in names]
    found = {}
    for name, with_pairs in [("additive", False), ("with_pairs", True)]:
        error, penalty = judged(design(columns, with_pairs), y, train, test)
        found[name] = error
        print(f"{name:<12} RMSE {error:.4f} on {len(test)} held-out rows (penalty {penalty})")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
