"""Differential expression, side by side: `genailab de` and scanpy take turns on one file of cells.

usage: python benches/de_speed.py cells.h5ad [--pairs 5] [--threads N]
needs: a release build of genailab; a Python with scanpy (this one); obs["perturbation"] with `control`.

Every perturbation against control by Wilcoxon's test, with and without the correction for ties. Both sides start from
the same log-normalised cells in memory; the seconds are those of the tests alone; those of scanpy come after a first
call that compiles its numba code. Prints each pair, then one JSON line per setting: medians, the median of the pairwise
ratios, and the largest difference of a score, relative to 1 + |score|.
"""

import argparse
import csv
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time
import warnings

import anndata
import numpy as np
import scanpy as sc
from scipy import sparse

ROOT = pathlib.Path(__file__).resolve().parent.parent
warnings.filterwarnings("ignore")


def log_normalised(file: pathlib.Path) -> anndata.AnnData:
    cells = anndata.read_h5ad(file)
    counts = sparse.csr_matrix(cells.X).astype(np.float64)
    library = cells.obs["ncounts"].to_numpy(np.float64) if "ncounts" in cells.obs else np.asarray(counts.sum(1)).ravel()
    scaled = counts.multiply((1e4 / library)[:, None]).tocsr()
    scaled.data = np.log1p(scaled.data)
    perturbation = cells.obs["perturbation"].astype(str).astype("category")
    return anndata.AnnData(scaled.astype(np.float32), obs={"perturbation": perturbation.values}, var=cells.var[[]])


def scanpy_test(cells: anndata.AnnData, tie_correct: bool) -> float:
    start = time.perf_counter()
    sc.tl.rank_genes_groups(cells, "perturbation", reference="control", method="wilcoxon", tie_correct=tie_correct)
    return time.perf_counter() - start


def genailab_test(options, out: pathlib.Path, tie_correct: bool) -> float:
    command = [options.genailab, "de", "--data", options.file, "--out", out, "--json"]
    environment = dict(os.environ, **({"RAYON_NUM_THREADS": str(options.threads)} if options.threads else {}))
    done = subprocess.run(
        [str(part) for part in command + ([] if tie_correct else ["--no-tie-correction"])],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    return json.loads(done.stdout)["seconds"]


def largest_difference(cells: anndata.AnnData, table: pathlib.Path) -> float:
    theirs = sc.get.rank_genes_groups_df(cells, group=None)
    theirs = dict(zip(zip(theirs["group"], theirs["names"]), theirs["scores"]))
    with open(table) as lines:
        ours = {(row["perturbation"], row["gene"]): float(row["score"]) for row in csv.DictReader(lines)}
    assert ours.keys() == theirs.keys(), "the two sides tested other perturbations or genes"
    return max(abs(ours[key] - score) / (1 + abs(score)) for key, score in theirs.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of genailab [default: one a core]")
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()
    cells = log_normalised(options.file)
    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder) / "de.csv"
        for tie_correct in [True, False]:
            few = cells[cells.obs["perturbation"].isin(cells.obs["perturbation"].cat.categories[:3].union(["control"]))]
            scanpy_test(few.copy(), tie_correct)
            pairs = []
            for _ in range(options.pairs):
                pairs.append((genailab_test(options, table, tie_correct), scanpy_test(cells, tie_correct)))
                ours, theirs = pairs[-1]
                print(f"ties corrected: {tie_correct};  genailab {ours:.3f} s;  scanpy {theirs:.3f} s;  "
                      f"ratio {theirs / ours:.1f}", flush=True)  # fmt: skip
            print(json.dumps({
                "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
                "file": options.file.name,
                "perturbations": int(cells.obs["perturbation"].nunique() - 1),
                "tie_correct": tie_correct,
                "genailab_s": round(statistics.median(ours for ours, _ in pairs), 4),
                "scanpy_s": round(statistics.median(theirs for _, theirs in pairs), 3),
                "median_ratio": round(statistics.median(theirs / ours for ours, theirs in pairs), 1),
                "largest_difference": largest_difference(cells, table),
            }))  # fmt: skip


if __name__ == "__main__":
    main()
