"""What covariates are worth to the count VAE: responses of single cell types, with and without being told of the type.

    .venv/bin/python benches/covariates.py FILE.h5ad [--tool target/release/genailab] [--column cell_type] [--seeds 3]

FILE holds counts, obs["perturbation"] with `control`, and a column of cell types. Two tasks, one row per type and predictor; the
figure is the L2 distance between the predicted and the observed effect, a difference to control in mean log1p of counts per 10,000:

- seen: a VAE is trained on a random 70 % of all cells; the effects are those of the other 30 %.
- unseen: the perturbed cells of one type are held out, and its control cells are trained on.

`not told` draws cells of no particular type; `told` is asked for the type (`--covariate`, `--at`); `from its cells` starts from the
control cells of the type (`--control-cells`) and is told nothing; `mean of others` is the mean effect of the other types.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import anndata
import numpy as np

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("file")
arguments.add_argument("--tool", default="target/release/genailab")
arguments.add_argument("--column", default="cell_type")
arguments.add_argument("--seeds", type=int, default=3)
args = arguments.parse_args()


def log_normalised(counts):
    counts = np.asarray(counts.todense() if hasattr(counts, "todense") else counts, float)
    return np.log1p(counts / np.maximum(counts.sum(1, keepdims=True), 1.0) * 1e4)


def tool(*words):
    subprocess.run([args.tool, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def effects(values, labels):
    """The mean effect of each perturbation."""
    control = values[labels == "control"].mean(0)
    return {name: values[labels == name].mean(0) - control for name in np.unique(labels) if name != "control"}


def predicted(model, *more):
    names = ",".join(["control", *perturbations])
    tool("predict", "--model", model, "--perturbations", names, "--out", folder / "drawn.h5ad", *more)
    drawn = anndata.read_h5ad(folder / "drawn.h5ad")
    return effects(log_normalised(drawn.X), drawn.obs["perturbation"].astype(str).values)


def distance(found, truth):
    return np.mean([np.linalg.norm(found[name] - truth[name]) for name in truth])


def judged(train, seed, of_type, truth, others):
    """L2 of each predictor, for one type, by the models of this training file."""
    control = train[(types[train.obs_names] == of_type) & (train.obs["perturbation"].astype(str) == "control")]
    control.write_h5ad(folder / "control.h5ad")
    draws = ["--cells", 2000, "--seed", seed]
    return {
        "not told": distance(predicted(folder / "plain", *draws), truth),
        "told": distance(predicted(folder / "told", "--at", f"{args.column}={of_type}", *draws), truth),
        "from its cells": distance(
            predicted(folder / "plain", "--control-cells", folder / "control.h5ad", "--samples", 8, "--seed", seed), truth
        ),
        "no change": np.mean([np.linalg.norm(effect) for effect in truth.values()]),
    } | others


def trained(train, seed):
    train.write_h5ad(folder / "train.h5ad")
    for name, more in [("plain", []), ("told", ["--covariate", args.column])]:
        tool("train", "--data", folder / "train.h5ad", "--model", "vae", "--seed", seed, "--out", folder / name, *more)


def show(task, found):
    columns = list(found[0][1])
    print(f"\n| {task} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for of_type in sorted({name for name, _ in found}):
        rows = [figures for name, figures in found if name == of_type]
        print(f"| {of_type} | " + " | ".join(f"{np.mean([row[c] for row in rows]):.2f}" for c in columns) + " |", flush=True)
    means = [np.mean([figures[c] for _, figures in found]) for c in columns]
    print("| mean | " + " | ".join(f"{mean:.2f}" for mean in means) + " |", flush=True)


data = anndata.read_h5ad(args.file)
labels = data.obs["perturbation"].astype(str).values
types = data.obs[args.column].astype(str)
perturbations = sorted(set(labels) - {"control"})
values = log_normalised(data.X)
with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    found = []
    for seed in range(args.seeds):
        held_out = np.random.default_rng(seed).random(data.n_obs) < 0.3
        trained(data[~held_out].copy(), seed)
        for of_type in np.unique(types):
            here = held_out & (types.values == of_type)
            found.append((of_type, judged(data[~held_out].copy(), seed, of_type, effects(values[here], labels[here]), {})))
    show("seen", found)
    found = []
    for seed in range(args.seeds):
        for of_type in np.unique(types):
            here = types.values == of_type
            train = data[~(here & (labels != "control"))].copy()
            trained(train, seed)
            others = [effects(values[types.values == o], labels[types.values == o]) for o in np.unique(types) if o != of_type]
            mean = {name: np.mean([effect[name] for effect in others], 0) for name in perturbations}
            truth = effects(values[here], labels[here])
            found.append((of_type, judged(train, seed, of_type, truth, {"mean of others": distance(mean, truth)})))
    show("unseen", found)
