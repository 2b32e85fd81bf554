"""Log fold changes of a causal VAE against those of the simulator, beside the plain difference of means.

    genailab simulate --cells 24000 --genes 400 --seed 3 --out cells.h5ad
    genailab train --data cells.h5ad --model causal-vae --out my-causal
    .venv/bin/python benches/causal_shifts.py cells.h5ad my-causal [--tool target/release/genailab]

Prints the cosine over genes, after the mean over genes is taken off, with the true log fold change of each single perturbation: mean and
median over perturbations. The model's is of 4,000 drawn cells per perturbation, pooled; that of the means is of all cells of the file.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import anndata
import numpy as np

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("file")
arguments.add_argument("model")
arguments.add_argument("--tool", default="target/release/genailab")
args = arguments.parse_args()


def log_shares(counts):
    sums = np.asarray(counts.sum(0)).ravel() + 0.5
    return np.log(sums / sums.sum())


def log_fold_changes(data):
    labels = data.obs["perturbation"].astype(str).values
    control = log_shares(data.X[labels == "control"])
    return [log_shares(data.X[labels == name]) - control for name in singles]


def cosine(a, b):
    a, b = a - a.mean(), b - b.mean()
    return a @ b / np.sqrt((a @ a) * (b @ b))


data = anndata.read_h5ad(args.file)
truth = data.uns["truth"]
names = [str(name) for name in truth["perturbations"]]
means = np.log(truth["means"])
singles = [name for name in names if name != "control" and "+" not in name]
true = [means[names.index(name)] - means[names.index("control")] for name in singles]
with tempfile.TemporaryDirectory() as folder:
    drawn = Path(folder) / "drawn.h5ad"
    asked = ",".join(["control", *singles])
    command = [args.tool, "predict", "--model", args.model, "--perturbations", asked, "--cells", "4000", "--out", drawn]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    predicted = log_fold_changes(anndata.read_h5ad(drawn))
for name, found in [("causal VAE", predicted), ("difference of means", log_fold_changes(data))]:
    cosines = [cosine(a, b) for a, b in zip(found, true)]
    print(f"{name:<20} mean {np.mean(cosines):.3f}  median {np.median(cosines):.3f}  of {len(singles)} singles")
