"""Reference numbers for diffusion pseudotime: scanpy's `tl.diffmap` and `tl.dpt` on a curve that branches.

    python tests/reference/pseudotime.py > tests/reference/pseudotime.json

`paper` is the distance of Haghverdi et al. 2016 (online methods, eqs. 6 and 9) from scanpy's eigenvectors, without that of eigenvalue 1;
`scanpy` is `obs["dpt_pseudotime"]`, to which scanpy adds the squared difference of that eigenvector, too.
"""

import json

import anndata
import numpy as np
import scanpy as sc

CELLS, NEIGHBOURS, COMPONENTS, ROOT = 240, 15, 15, 0

rng = np.random.default_rng(3)
time = np.linspace(0.0, 1.0, CELLS)
branch = np.where(time > 0.6, np.where(np.arange(CELLS) % 2, 1.0, -1.0), 0.0)
x = np.column_stack([3 * time, np.sin(3 * time), 2 * branch * (time - 0.6)])
x = np.column_stack([x, np.zeros(CELLS)]) + 0.05 * rng.normal(size=(CELLS, 4))
x = x.astype(np.float32).round(4)

data = anndata.AnnData(x)
sc.pp.neighbors(data, n_neighbors=NEIGHBOURS, use_rep="X", method="gauss", transformer="sklearn")
# One more, as scanpy counts that of eigenvalue 1.
sc.tl.diffmap(data, n_comps=COMPONENTS + 1)
data.uns["iroot"] = ROOT
sc.tl.dpt(data, n_dcs=COMPONENTS + 1)
values, vectors = data.uns["diffmap_evals"].astype(float), data.obsm["X_diffmap"].astype(float)
assert values[0] > 0.9999 > values[1] and values[-1] > 0
rows = vectors[:, 1:] * values[1:] / (1 - values[1:])
paper = np.sqrt(((rows - rows[ROOT]) ** 2).sum(1))
print(
    json.dumps(
        {
            "versions": {"scanpy": sc.__version__, "numpy": np.__version__},
            "neighbours": NEIGHBOURS,
            "components": COMPONENTS,
            "root": ROOT,
            "x": [round(float(v), 4) for v in x.ravel()],
            "columns": x.shape[1],
            "eigenvalues": values[1:].tolist(),
            "paper": [round(v, 7) for v in (paper / paper.max()).tolist()],
            "scanpy": [round(float(v), 7) for v in data.obs["dpt_pseudotime"]],
        }
    )
)
