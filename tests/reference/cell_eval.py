"""Scores of the Virtual Cell Challenge by Arc Institute's cell-eval, for tests/eval.

    GENAILAB_TEST_DATA=FOLDER python tests/reference/cell_eval.py > tests/reference/cell_eval.json

The cells are those of halves.py. cell-eval is given the tables of scanpy's Wilcoxon test (ties corrected,
Benjamini-Hochberg) on both sides, because its own test (pdex) corrects for continuity; `overlap_at_N_pdex` is what it
says with its own. `normalised` is cell-eval's score against a baseline.
"""

import importlib
import json
import os
import sys
import warnings
from importlib.metadata import version

# This script has the name of a package's module: look that up elsewhere first.
here = os.path.dirname(os.path.abspath(__file__))
sys.path = [place for place in sys.path if os.path.abspath(place or ".") != here] + [here]

import numpy as np
import polars as pl

metrics = importlib.import_module("cell_eval.metrics._anndata")
de_metrics = importlib.import_module("cell_eval.metrics._de")
score = importlib.import_module("cell_eval._score")
types = importlib.import_module("cell_eval._types")
evaluator = importlib.import_module("cell_eval._evaluator")
from halves import FILES, all_cells, test, with_control

warnings.filterwarnings("ignore")


def table(cells):
    frame = test(cells, "wilcoxon", tie_correct=True)
    return pl.DataFrame({
        "target": frame["group"].astype(str).to_numpy(),
        "feature": frame["names"].astype(str).to_numpy(),
        "log2_fold_change": frame["logfoldchanges"].to_numpy(np.float64),
        "p_value": frame["pvals"].to_numpy(),
        "fdr": frame["pvals_adj"].to_numpy(),
    })


def main():
    out = {"cell_eval": version("cell-eval"), "files": {}}
    pl.enable_string_cache()
    for file in FILES:
        cells = all_cells(file)
        real, pred = with_control(cells, "observed"), with_control(cells, "predicted")
        dense = lambda data: type(data)(data.X.toarray().astype(np.float64), obs=data.obs.copy(), var=data.var.copy())
        pair = types.PerturbationAnndataPair(real=dense(real), pred=dense(pred), pert_col="perturbation", control_pert="control")
        de = types.initialize_de_comparison(real=table(real), pred=table(pred))
        own = evaluator._build_de_comparison(anndata_pair=pair, num_threads=2)
        results = {
            "overlap_at_N": de_metrics.de_overlap_metric(de, k=None),
            "overlap_at_N_pdex": de_metrics.de_overlap_metric(own, k=None),
            "de_direction_match": de_metrics.DEDirectionMatch()(de),
            "de_spearman_lfc_sig": de_metrics.DESpearmanLFC()(de),
            "de_sig_genes_recall": de_metrics.DESigGenesRecall()(de),
            "pr_auc": de_metrics.compute_pr_auc(de),
            "roc_auc": de_metrics.compute_roc_auc(de),
            "pearson_delta": metrics.pearson_delta(pair),
            "mse": metrics.mse(pair),
            "mae": metrics.mae(pair),
            **{f"discrimination_score_{m}": metrics.discrimination_score(pair, metric=m) for m in ["l1", "l2", "cosine"]},
        }
        names = sorted(results["mae"])
        n_significant = de.real.filter_to_significant(0.05).group_by("target").len()
        n_significant = dict(zip(n_significant["target"].cast(str), n_significant["len"]))
        number = lambda value: None if value is None or not np.isfinite(value) else float(value)
        out["files"][file] = {
            name: {"n_significant": n_significant.get(name, 0)}
            | {metric: number(values.get(name)) for metric, values in results.items()}
            for name in names
        }
    user, base = np.array([0.3, 0.05, 1.0, 0.2]), np.array([0.1, 0.2, 1.0, 0.0])
    with np.errstate(all="ignore"):
        clip = lambda values: np.clip(np.nan_to_num(values, nan=0.0, posinf=None), 0, None).tolist()
        out["normalised"] = {
            "user": user.tolist(),
            "base": base.tolist(),
            "by_one": clip(score._calc_norm_by_one(user, base)),
            "by_zero": clip(score._calc_norm_by_zero(user, np.array([0.4, 0.1, 0.5, 0.2]))),
            "base_by_zero": [0.4, 0.1, 0.5, 0.2],
        }
    json.dump(out, sys.stdout, separators=(",", ":"))


main()
