"""Gene-set enrichment by scipy, statsmodels and gseapy, for tests/biology/enrichment.rs.

    GENAILAB_TEST_DATA=FOLDER python tests/reference/enrichment.py > tests/reference/enrichment.json

`simulated`: scores of genes with ties, sets of several sizes. `norman`: effects of norman_pseudobulk.h5ad on
genesets/hallmark.gmt, tested as `genailab enrich` does.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import anndata
import gseapy
import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

warnings.filterwarnings("ignore")
DATA = Path(os.environ.get("GENAILAB_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def tests(genes, scores, changed, sets):
    names = list(sets)
    z, p, over, hits = [], [], [], []
    for name in names:
        inside = np.isin(genes, list(sets[name]))
        test = stats.mannwhitneyu(scores[inside], scores[~inside], use_continuity=False, method="asymptotic")
        sign = np.sign(test.statistic - inside.sum() * (~inside).sum() / 2)
        z.append(sign * stats.norm.isf(test.pvalue / 2))
        p.append(test.pvalue)
        hits.append(int(inside[changed].sum()))
        over.append(stats.hypergeom.sf(hits[-1] - 1, len(genes), inside.sum(), len(changed)))
    ranking = pd.Series(scores, index=genes)
    prerank = gseapy.prerank(rnk=ranking, gene_sets=sets, min_size=1, max_size=10_000, permutation_num=10, no_plot=True, outdir=None, seed=1, threads=1)
    es = prerank.res2d.set_index("Term")["ES"].astype(float)
    ora = gseapy.enrich([genes[i] for i in changed], sets, background=list(genes), outdir=None, no_plot=True).res2d.set_index("Term")
    return {
        "names": names,
        "z": z,
        "p": p,
        "p_adjusted": multipletests(p, method="fdr_bh")[1].tolist(),
        "hits": hits,
        "over_p": over,
        "over_p_adjusted": multipletests(over, method="fdr_bh")[1].tolist(),
        "es": [es[name] for name in names],
        # gseapy lists the sets with a hit only.
        "gseapy_over_p": {name: float(ora.loc[name, "P-value"]) for name in names if name in ora.index},
    }


def main():
    rng = np.random.default_rng(3)
    genes = [f"G{i}" for i in range(120)]
    scores = np.round(rng.normal(size=120), 1).astype(np.float32).astype(float)
    sets = {f"S{k}": sorted(rng.choice(genes, size, replace=False)) for k, size in enumerate([5, 8, 12, 30])}
    sets["UP"] = [g for g, s in zip(genes, scores) if s > 0.9]
    changed = np.sort(np.argsort(-np.abs(scores), kind="stable")[:12])
    out = {"gseapy": gseapy.__version__}
    # Ties in a walk have no order, so the running sum is compared on scores without them.
    untied = (scores + rng.permutation(120) * 1e-4).astype(np.float32).astype(float)
    out["simulated"] = {
        "genes": genes,
        "scores": scores.tolist(),
        "untied": untied.tolist(),
        "changed": changed.tolist(),
        "sets": sets,
        "expected": {**tests(genes, scores, changed, sets), "es": tests(genes, untied, changed, sets)["es"]},
    }
    data = anndata.read_h5ad(DATA / "norman_pseudobulk.h5ad")
    genes = list(data.var_names)
    known = set(genes)
    sets = {}
    for line in (DATA / "genesets" / "hallmark.gmt").read_text().splitlines():
        name, _, *members = line.split("\t")
        members = [g for g in dict.fromkeys(members) if g in known]
        if 5 <= len(members) <= 500:
            sets[name] = members
    out["norman"] = {}
    for name in ["KLF1", "CEBPA", "CBL+CNN1"]:
        effect = data.X[list(data.obs["perturbation"]).index(name)].astype(float)
        out["norman"][name] = tests(genes, effect, np.argsort(-np.abs(effect), kind="stable")[:100], sets)
    json.dump(out, sys.stdout, separators=(",", ":"))


main()
