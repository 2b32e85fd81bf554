"""Differential expression by scanpy, for tests/eval.rs: Wilcoxon with and without ties, both t-tests.

    python tests/reference/de.py FOLDER_WITH_THE_H5AD_FILES > tests/reference/de.json

For each file: `sample`, a sub-sampled count matrix with scanpy's numbers for all its genes (the test needs no other
file), and `full`, scanpy's numbers on the whole file for a few perturbations and genes (the test reads the file).
Expression is log1p(count * 1e4 / library size), in float64 and then rounded to float32 on both sides, so that the same
cells tie; the library size is obs["ncounts"] where the file has it, else the row sum. Each test is against control; the
whole files also have them against all other cells (`rest`).
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from scipy import sparse

warnings.filterwarnings("ignore")
FILES = {
    "papalexi_cells": (["IFNGR1", "STAT2", "CD86"], 60),
    "norman_cells": (["KLF1+MAP2K6", "CBL+CNN1", "BPGM+SAMD1"], 100),
}
COLUMNS = {"scores": "scores", "p_values": "pvals", "p_adjusted": "pvals_adj", "log2_fold_changes": "logfoldchanges"}


def log_normalise(cells):
    counts = sparse.csr_matrix(cells.X).astype(np.float64)
    library = cells.obs["ncounts"].to_numpy(np.float64) if "ncounts" in cells.obs else np.asarray(counts.sum(1)).ravel()
    scaled = counts.multiply((1e4 / library)[:, None]).tocsr()
    scaled.data = np.log1p(scaled.data).astype(np.float32)
    cells.X = scaled.astype(np.float32)
    return library


TESTS = {
    "ties": {"method": "wilcoxon", "tie_correct": True},
    "no_ties": {"method": "wilcoxon", "tie_correct": False},
    "t_test": {"method": "t-test"},
    "t_test_overestim_var": {"method": "t-test_overestim_var"},
}


def test(cells, groups, genes, reference="control"):
    result = {}
    for name, settings in TESTS.items():
        sc.tl.rank_genes_groups(cells, "perturbation", groups=groups, reference=reference, **settings)
        table = sc.get.rank_genes_groups_df(cells, group=groups).set_index(["group", "names"])
        result[name] = {
            group: {column: [float(table.loc[(group, gene), scanpy]) for gene in genes] for column, scanpy in COLUMNS.items()}
            for group in groups
        }
    return result


def main(folder):
    out = {"scanpy": version("scanpy")}
    for file, (groups, n_sample_genes) in FILES.items():
        full = anndata.read_h5ad(folder / f"{file}.h5ad")
        full.obs["perturbation"] = full.obs["perturbation"].astype(str).astype("category")
        # The sample: 120 control cells, 40 of each perturbation, genes from silent to everywhere.
        rows = [np.flatnonzero(full.obs["perturbation"] == "control")[:120]]
        rows += [np.flatnonzero(full.obs["perturbation"] == group)[:40] for group in groups]
        detected = np.argsort(-np.asarray((full.X > 0).sum(0)).ravel(), kind="stable")[:180]
        sample = full[np.sort(np.concatenate(rows)), np.sort(detected[:: 180 // n_sample_genes])].copy()
        counts = sparse.csr_matrix(sample.X).copy()
        library = log_normalise(sample)
        names = ["control", *groups]
        genes = list(sample.var_names)
        part = {
            "n_genes": len(genes),
            "indptr": counts.indptr.tolist(),
            "indices": counts.indices.tolist(),
            "counts": counts.data.astype(int).tolist(),
            "library_size": library.tolist(),
            "groups": names,
            "labels": [names.index(name) for name in sample.obs["perturbation"]],
            "expected": test(sample, groups, genes),
        }
        log_normalise(full)
        few = [full.var_names[i] for i in detected[::9]]
        out[file] = {
            "sample": part,
            "full": {"genes": few, "expected": test(full, groups, few), "rest": test(full, groups, few, "rest")},
        }
    json.dump(out, sys.stdout, separators=(",", ":"))


main(Path(sys.argv[1]))
