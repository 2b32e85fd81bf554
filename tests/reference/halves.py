"""The cells that cell_eval.py and weighted.py compare: of each perturbation, those of even rows are the observed ones and
those of odd rows the predicted ones; both sides share the control cells of even rows. Expression is
log1p(count * 1e4 / library size) in float32, as in de.py. Perturbations of one gene only.
"""

import os
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from scipy import sparse

FILES = ["papalexi_cells", "norman_cells"]
DATA = Path(os.environ.get("GENAILAB_TEST_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))


def all_cells(file):
    """Log-normalised cells, with the side of each: `observed`, `predicted`, `control` or `other`."""
    cells = anndata.read_h5ad(DATA / f"{file}.h5ad")
    counts = sparse.csr_matrix(cells.X).astype(np.float64)
    library = cells.obs["ncounts"].to_numpy(np.float64) if "ncounts" in cells.obs else np.asarray(counts.sum(1)).ravel()
    scaled = counts.multiply((1e4 / library)[:, None]).tocsr()
    scaled.data = np.log1p(scaled.data).astype(np.float32)
    name = cells.obs["perturbation"].astype(str).to_numpy()
    even = np.arange(len(name)) % 2 == 0
    single = np.array(["+" not in n and n != "control" for n in name])
    side = np.where(single, np.where(even, "observed", "predicted"), np.where((name == "control") & even, "control", "other"))
    obs = {"perturbation": name, "side": side}
    return anndata.AnnData(scaled.astype(np.float32), obs=obs, var=cells.var[[]])


def with_control(cells, side):
    return cells[np.isin(cells.obs["side"].to_numpy(str), [side, "control"])].copy()


def means(cells):
    """Names of the perturbations, mean profile of each `(perturbations, genes)`, that of control."""
    name = cells.obs["perturbation"].to_numpy(str)
    names = sorted(set(name) - {"control"})
    mean = lambda which: np.asarray(cells.X[name == which].astype(np.float64).mean(0)).ravel()
    return names, np.stack([mean(n) for n in names]), mean("control")


def test(cells, method, **settings):
    """scanpy's table against control, a frame indexed by perturbation and gene."""
    cells.obs["perturbation"] = cells.obs["perturbation"].astype("category")
    sc.tl.rank_genes_groups(cells, "perturbation", reference="control", method=method, **settings)
    names = sorted(set(cells.obs["perturbation"]) - {"control"})
    return sc.get.rank_genes_groups_df(cells, group=names if len(names) > 1 else None)
