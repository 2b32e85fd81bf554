"""Weighted errors (Mejia et al. 2025), GEARS', PerturBench's and systema's metrics, for tests/eval.

    GENAILAB_TEST_DATA=FOLDER python tests/reference/weighted.py > tests/reference/weighted.json

The cells are those of halves.py; the tests are scanpy's, correlations and R2 scipy's and scikit-learn's. The formulas are
written down from the tools (their packages do not install beside a current scanpy): diversity_by_design
analyses/common.py, GEARS data_utils.py and inference.py, PerturBench analysis/benchmarks, systema evaluation. The mean of
the training perturbations is here the mean of the observed ones.
"""

import json
import sys
import warnings

import numpy as np
import scanpy as sc
from scipy import spatial, stats
from sklearn.metrics import r2_score

from halves import FILES, all_cells, means, test, with_control

warnings.filterwarnings("ignore")


def scores_against_rest(cells):
    """Scores of the observed cells of each perturbation against every other cell of the file, in the order of genes."""
    observed = cells.obs["side"].to_numpy(str) == "observed"
    name = cells.obs["perturbation"].to_numpy(str)
    cells.obs["group"] = np.where(observed, name, "all others")
    cells.obs["group"] = cells.obs["group"].astype("category")
    names = sorted(set(name[observed]))
    sc.tl.rank_genes_groups(cells, "group", groups=names, reference="rest", method="t-test_overestim_var")
    table = sc.get.rank_genes_groups_df(cells, group=names)
    return {n: part.set_index("names")["scores"].reindex(cells.var_names).to_numpy(float) for n, part in table.groupby("group", observed=True)}


def ordered(table, genes):
    """Genes of each perturbation by |score|, largest first, and |score| in the order of genes. To four decimals, because
    some scores are equal but for their last bits; equal ones in the order of genes."""
    table["size"] = table["scores"].abs().round(4)
    size = {n: part.set_index("names")["size"].reindex(genes).to_numpy(float) for n, part in table.groupby("group", observed=True)}
    by_size = {n: [genes[i] for i in np.argsort(-values, kind="stable")] for n, values in size.items()}
    return by_size, size


def top_k_recall(predicted, observed, k=50):
    """Over all orders of genes of equal predicted score; observed genes as large as the k-th all count."""
    border = np.sort(observed)[-k]
    truth = (observed >= border) & (observed > 0)
    at = np.sort(predicted)[-k]
    above, tied = predicted > at, predicted == at
    hits = truth[above].sum() + (k - above.sum()) * truth[tied].mean()
    return float(hits / min(k, truth.sum()))


def main():
    out = {}
    for file in FILES:
        cells = all_cells(file)
        genes = list(cells.var_names)
        real, pred = with_control(cells, "observed"), with_control(cells, "predicted")
        names, y, control = means(real)
        _, x, _ = means(pred)
        dy, dx = y - control, x - control
        mean = dy.mean(0)
        rest = scores_against_rest(cells)
        welch, _ = ordered(test(real, "t-test"), genes)
        _, size_y = ordered(test(real, "t-test_overestim_var"), genes)
        _, size_x = ordered(test(pred, "t-test_overestim_var"), genes)
        logfc = lambda profile: np.log2(profile + 0.1) - np.log2(control + 0.1)
        rmse = np.array([[np.sqrt(np.mean((x[i] - y[j]) ** 2)) for j in range(len(names))] for i in range(len(names))])
        cosine = spatial.distance.cdist(logfc(x), logfc(y), "cosine")
        euclid = spatial.distance.cdist(x, y)
        out[file] = {}
        for i, name in enumerate(names):
            size = np.abs(rest[name])
            w = ((size - size.min()) / (size.max() - size.min())) ** 2
            expressed = y[i] != 0
            kept = [g for g in welch[name] if expressed[genes.index(g)] or control[genes.index(g)] == 0][:20]
            places = [genes.index(g) for g in kept]
            others = [j for j in range(len(names)) if j != i]
            out[file][name] = {
                "wmse": float(np.sum(w / w.sum() * (dx[i] - dy[i]) ** 2)),
                "r2w": r2_score(dy[i] - mean, dx[i] - mean, sample_weight=w),
                "pearson_systema": stats.pearsonr(dx[i] - mean, dy[i] - mean)[0],
                "spearman_systema": stats.spearmanr(dx[i] - mean, dy[i] - mean)[0],
                "cosine_systema": 1 - spatial.distance.cosine(dx[i] - mean, dy[i] - mean),
                "mse_top20_de_non_dropout": float(np.mean((x[i] - y[i])[places] ** 2)),
                "pearson_top20_de_non_dropout": stats.pearsonr(dx[i][places], dy[i][places])[0],
                "cosine_logfc": 1 - cosine[i, i],
                "rmse": rmse[i, i],
                "rank_rmse": float(np.sum(rmse[others, i] < rmse[i, i])) / (len(names) - 1),
                "rank_logfc": float(np.sum(cosine[others, i] < cosine[i, i])) / (len(names) - 1),
                "centroid_accuracy": float(np.sum(euclid[i, others] > euclid[i, i])) / (len(names) - 1),
                "top50_recall": top_k_recall(size_x[name], size_y[name]),
            }
    json.dump(out, sys.stdout, separators=(",", ":"))


main()
