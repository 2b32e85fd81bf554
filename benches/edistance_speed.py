"""E-distance of all pairs of perturbations, side by side: `genailab distances` and pertpy take turns on the same cells and
principal components.

usage: python benches/edistance_speed.py FILE.h5ad [--pairs 5] [--perturbation-column perturbation]
needs: a release build of genailab; a Python with pertpy and scanpy (this one).

scanpy finds 50 principal components of log-normalised expression once; both read them from the file. Timed is the
computation of the whole matrix, as each side's user waits for it: pertpy's `Distance("edistance").pairwise`, its distances
between cells included (`--jobs` threads, all by default), and genailab's `--metric edistance-plain`, the same quantity.
Prints each pair, checks that both matrices agree, then one JSON line with the medians and the median of the pairwise ratios.
"""

import argparse
import csv
import json
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent


def prepare(options, file: pathlib.Path):
    """The cells with their principal components, written to `file` and returned."""
    import anndata
    import numpy as np
    import scanpy

    adata = anndata.read_h5ad(options.file)
    whole = adata.copy()
    size = np.asarray(adata.obs["ncounts"]) if "ncounts" in adata.obs else np.asarray(adata.X.sum(1)).ravel()
    whole.X = np.log1p(np.asarray(adata.X.todense() if hasattr(adata.X, "todense") else adata.X) * (1e4 / size)[:, None])
    scanpy.pp.pca(whole, n_comps=min(50, min(whole.shape) - 1), random_state=0)
    adata.obsm["X_pca"] = whole.obsm["X_pca"].astype(np.float32)
    adata.write_h5ad(file)
    return adata


def ours(options, file: pathlib.Path, out: pathlib.Path) -> tuple[dict, dict]:
    done = subprocess.run(
        [options.genailab, "distances", "--data", file, "--metric", "edistance-plain", "--embedding", "X_pca",
         "--perturbation-column", options.perturbation_column, "--cells", "1000000", "--out", out, "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    with open(out) as table:
        # A+B is a set: both sides may spell it their own way.
        matrix = {frozenset((key(row["a"]), key(row["b"]))): float(row["distance"]) for row in csv.DictReader(table)}
    return json.loads(done.stdout), matrix


def key(name: str) -> str:
    return "+".join(sorted(name.split("+")))


def theirs(options, adata) -> tuple[float, object]:
    import pertpy

    # A fresh copy: pertpy keeps the distances between cells in it, and would not compute them again.
    adata = adata.copy()
    distance = pertpy.tl.Distance("edistance", obsm_key="X_pca")
    started = time.perf_counter()
    matrix = distance.pairwise(
        adata, groupby=options.perturbation_column, show_progressbar=False, n_jobs=options.jobs)  # fmt: skip
    return time.perf_counter() - started, matrix


def largest_difference(mine: dict, peer) -> float:
    worst = 0.0
    for i, a in enumerate(peer.index):
        for b in peer.index[i + 1 :]:
            expected = peer.loc[a, b]
            worst = max(worst, abs(mine[frozenset((key(a), key(b)))] - expected) / abs(expected))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--perturbation-column", default="perturbation")
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    with tempfile.TemporaryDirectory() as folder:
        file, out = pathlib.Path(folder) / "cells.h5ad", pathlib.Path(folder) / "distances.csv"
        adata = prepare(options, file)
        pairs, worst = [], 0.0
        for _ in range(options.pairs):
            report, mine = ours(options, file, out)
            seconds, peer = theirs(options, adata)
            worst = max(worst, largest_difference(mine, peer))
            pairs.append((report["seconds"], seconds))
            print(f"genailab {report['seconds']:.4f} s;  pertpy {seconds:.3f} s;  "
                  f"ratio {seconds / report['seconds']:.1f};  largest relative difference {worst:.1e}", flush=True)  # fmt: skip
    if worst > 1e-5:
        raise SystemExit(f"the two do not agree: a relative difference of {worst:.1e}")
    print(json.dumps({
        "machine": f"{platform.machine()}, {platform.system()}",
        "file": options.file.name,
        "distances": report["distances"],
        "genailab_seconds": statistics.median(pair[0] for pair in pairs),
        "pertpy_seconds": round(statistics.median(pair[1] for pair in pairs), 4),
        "median_ratio": round(statistics.median(pair[1] / pair[0] for pair in pairs), 2),
        "largest_relative_difference": worst,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
