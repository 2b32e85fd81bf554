"""Numbers that scanpy gives for highly variable genes and normalisation; `tests/prep.rs` compares with them.

    python tests/reference/hvg.py DATA_FOLDER > tests/reference/hvg.json

DATA_FOLDER holds papalexi_cells.h5ad and norman_cells.h5ad. Needs scanpy and scikit-misc.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import anndata
import numpy as np
import scanpy
from skmisc.loess import loess

N_TOP = 40
MIN_CELLS = 34


def rounded(values):
    return [None if not np.isfinite(v) else float(f"{v:.9g}") for v in np.asarray(values, dtype=np.float64)]


def of_file(path):
    cells = anndata.read_h5ad(path)
    # Of genes that are seen in a handful of cells, many have the very same mean: scikit-misc refuses such ties.
    cells = cells[:, np.asarray((cells.X > 0).sum(0)).ravel() >= MIN_CELLS].copy()
    counts = cells.X.astype(np.float64)
    library = cells.obs["ncounts"].to_numpy() if "ncounts" in cells.obs else np.asarray(counts.sum(1)).ravel()

    v3 = anndata.AnnData(cells.X.copy())
    scanpy.pp.highly_variable_genes(v3, flavor="seurat_v3", n_top_genes=N_TOP)

    # Library sizes over all genes: what normalize_total does, with the totals given.
    normalised = anndata.AnnData(counts.multiply(1e4 / library[:, None]).tocsr())
    scanpy.pp.log1p(normalised)
    scanpy.pp.highly_variable_genes(normalised, flavor="seurat", n_top_genes=N_TOP)

    # And scanpy's own normalisation over the genes of the file, to the median.
    plain = anndata.AnnData(counts.tocsr())
    scanpy.pp.normalize_total(plain, target_sum=None)
    scanpy.pp.log1p(plain)
    profile = np.asarray(plain.X[(cells.obs["perturbation"] == "control").to_numpy()].mean(0)).ravel()

    return {
        "n_top": N_TOP,
        "seurat_v3": {
            "means": rounded(v3.var["means"]),
            "variances": rounded(v3.var["variances"]),
            "variances_norm": rounded(v3.var["variances_norm"]),
            "selected": np.flatnonzero(v3.var["highly_variable"]).tolist(),
        },
        "seurat": {
            "means": rounded(normalised.var["means"]),
            "dispersions": rounded(normalised.var["dispersions"]),
            "dispersions_norm": rounded(normalised.var["dispersions_norm"]),
            "selected": np.flatnonzero(normalised.var["highly_variable"]).tolist(),
        },
        "median_normalised_control_profile": rounded(profile),
    }


def of_curve():
    """loess alone, on points with ties."""
    rng = np.random.default_rng(0)
    x = np.round(np.sort(rng.normal(size=150)), 1)
    y = np.sin(2 * x) + 0.3 * rng.normal(size=150)
    fits = {}
    for span in (0.3, 0.75):
        model = loess(x, y, span=span, degree=2)
        model.fit()
        fits[str(span)] = rounded(model.outputs.fitted_values)
    return {"x": rounded(x), "y": rounded(y), "fitted": fits}


def main():
    folder = Path(sys.argv[1])
    result = {"versions": {name: importlib.metadata.version(name) for name in ("scanpy", "scikit-misc", "anndata")}}
    result["loess"] = of_curve()
    for name in ("papalexi_cells", "norman_cells"):
        result[name] = of_file(folder / f"{name}.h5ad")
    json.dump(result, sys.stdout)
    print()


main()
