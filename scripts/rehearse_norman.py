#!/usr/bin/env python3
"""Writes a file as large as Norman 2019 in scPerturb's layout: 111,445 cells x 33,694 genes, gzip.

    scripts/rehearse_norman.py SIMULATED.h5ad OUT.h5ad

SIMULATED holds cells of the genes that respond (`genailab simulate --effects`). The genes beside them respond to nothing: their
counts are Poisson around the library size of each cell, with means that fall off as in a droplet experiment, so that a cell has
some 4,900 detected genes, more than the real one. Columns, spellings and types are those of NormanWeissman2019_filtered.h5ad.
"""
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

GENES = 33_694
ROWS = 2_000
SEED = 0


def background(n_genes, total, rng):
    """Means of the other genes at the median library size; the largest ones are ribosomal."""
    means = np.exp(rng.normal(-4.6, 2.2, n_genes))
    return means * total / means.sum()


def main(simulated, out):
    rng = np.random.default_rng(SEED)
    source = anndata.read_h5ad(simulated)
    counts = source.X.tocsr()
    n_cells, responding = counts.shape
    library = source.obs["ncounts"].to_numpy()
    rest = library - np.asarray(counts.sum(axis=1)).ravel()
    means = background(GENES - responding, 1.0, rng)
    mitochondrial = [f"MT-{name}" for name in ("ND1", "ND2", "CO1", "CO2", "ATP8", "ATP6", "CO3", "ND3", "ND4L", "ND4", "ND5", "ND6", "CYB")]
    others = mitochondrial + [f"BACKGROUND{gene}" for gene in range(GENES - responding - len(mitochondrial))]
    genes = np.array(list(source.var_names) + others)

    with h5py.File(out, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        group.attrs["shape"] = np.array([n_cells, GENES])
        grows = dict(shape=(0,), maxshape=(None,), chunks=(131_072,), compression="gzip", compression_opts=4)
        data = group.create_dataset("data", dtype="f4", **grows)
        indices = group.create_dataset("indices", dtype="i4", **grows)
        indptr, detected, sums, mito = [0], [], [], []
        for start in range(0, n_cells, ROWS):
            rows = slice(start, min(start + ROWS, n_cells))
            block = rng.poisson(rest[rows, None] * means[None, :]).astype(np.float32)
            left = counts[rows].toarray().astype(np.float32)
            block = np.concatenate([left, block], axis=1)
            present = block > 0
            length = data.shape[0]
            where = np.nonzero(present)
            for array, values in ((data, block[where]), (indices, where[1].astype(np.int32))):
                array.resize((length + len(values),))
                array[length:] = values
            per_row = present.sum(axis=1)
            indptr.extend((indptr[-1] + np.cumsum(per_row)).tolist())
            detected.extend(per_row.tolist())
            sums.extend(block.sum(axis=1).tolist())
            mito.extend(block[:, responding : responding + len(mitochondrial)].sum(axis=1).tolist())
        group.create_dataset("indptr", data=np.array(indptr, dtype=np.int64), compression="gzip")
        names = source.obs["perturbation"].astype(str).str.replace("+", "_", regex=False)
        obs = pd.DataFrame(
            {
                "guide_id": pd.Categorical(names + "__" + names),
                "read_count": (np.array(sums) * 4.2).astype(np.int64),
                "UMI_count": np.array(sums).astype(np.int64),
                "coverage": 4.2,
                "gemgroup": source.obs["gem_group"].astype(int).to_numpy(),
                "good_coverage": True,
                "number_of_cells": 1,
                "tissue_type": pd.Categorical(["cell_line"] * n_cells),
                "cell_line": pd.Categorical(["K562"] * n_cells),
                "cancer": True,
                "disease": pd.Categorical(["chronic myelogenous leukemia"] * n_cells),
                "perturbation_type": pd.Categorical(["CRISPR"] * n_cells),
                "celltype": pd.Categorical(["lymphoblasts"] * n_cells),
                "organism": pd.Categorical(["human"] * n_cells),
                "perturbation": pd.Categorical(names),
                "nperts": names.map(lambda name: 0 if name == "control" else name.count("_") + 1).astype(int).to_numpy(),
                "ngenes": np.array(detected),
                "ncounts": np.array(sums),
                "percent_mito": 100 * np.array(mito) / np.array(sums),
                "percent_ribo": 0.0,
            },
            index=[f"CELL{cell:06d}-{lane}" for cell, lane in enumerate(source.obs["gem_group"])],
        )
        var = pd.DataFrame({"ensemble_id": [f"ENSG{gene:011d}" for gene in range(GENES)]}, index=pd.Index(genes, name="gene_symbol"))
        write_elem(file, "obs", obs)
        write_elem(file, "var", var)
        for empty in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            write_elem(file, empty, {})
    print(f"{out}: {n_cells} cells x {GENES} genes, {indptr[-1]} counts, {np.mean(detected):.0f} detected genes a cell")


if __name__ == "__main__":
    main(*sys.argv[1:])
