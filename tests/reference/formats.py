"""Files of the formats that genailab reads beside .h5ad, as other programs write them, and the comparison of what it makes of them.

    formats.py make FOLDER       writes the files, and truth.json
    formats.py check FOLDER      compares FOLDER/converted/NAME.h5ad with truth.json, through anndata

MuData and loom files are written by h5py as mudata 0.3 and loompy 3 write them; the record arrays as AnnData 0.6 did.
"""

import gzip
import json
import sys
import tarfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import io, sparse

CELLS, GENES, GUIDES = 60, 25, 4
LABELS = ["control", "KLF1", "SET"]


def truth():
    rng = np.random.default_rng(5)
    counts = rng.poisson(1.3, (CELLS, GENES)) * (rng.random((CELLS, GENES)) < 0.4)
    counts[3, 7] = 70_001
    barcodes = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(CELLS)]
    genes = ["GAPDH", "KLF1", "SET", "MT-CO1", *(f"GENE{i}" for i in range(4, GENES))]
    ids = [f"ENSG{i:011d}" for i in range(GENES)]
    labels = [LABELS[i % 3] for i in range(CELLS)]
    guides = rng.poisson(2.0, (CELLS, GUIDES))
    return counts.astype(np.int64), barcodes, genes, ids, labels, guides


def adata(counts, barcodes, genes, labels):
    obs = pd.DataFrame({"perturbation": pd.Categorical(labels)}, index=barcodes)
    return anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs, pd.DataFrame(index=genes))


def features(genes, ids):
    names = [*genes, *(f"guide{i}" for i in range(GUIDES))]
    return names, [*ids, *(f"G{i}" for i in range(GUIDES))], ["Gene Expression"] * GENES + ["CRISPR Guide Capture"] * GUIDES


def tenx_v3(path, counts, barcodes, genes, ids, guides):
    names, all_ids, kinds = features(genes, ids)
    matrix = sparse.csc_matrix(np.hstack([counts, guides]).T.astype(np.int32))
    with h5py.File(path, "w") as f:
        group = f.create_group("matrix")
        group["barcodes"] = np.array(barcodes, "S")
        for name in ["data", "indices", "indptr"]:
            group.create_dataset(name, data=getattr(matrix, name), compression="gzip")
        group["shape"] = np.array(matrix.shape, np.int32)
        out = group.create_group("features")
        out["id"], out["name"], out["feature_type"] = (np.array(x, "S") for x in [all_ids, names, kinds])
        out["genome"] = np.array(["GRCh38"] * len(names), "S")
        out["_all_tag_keys"] = np.array(["genome"], "S")


def tenx_v2(path, counts, barcodes, genes, ids, genomes):
    matrix = sparse.csc_matrix(counts.T.astype(np.int32))
    with h5py.File(path, "w") as f:
        for genome in genomes:
            group = f.create_group(genome)
            group["barcodes"], group["genes"], group["gene_names"] = (np.array(x, "S") for x in [barcodes, ids, genes])
            for name in ["data", "indices", "indptr"]:
                group[name] = getattr(matrix, name)
            group["shape"] = np.array(matrix.shape, np.int32)


def mtx(folder, counts, barcodes, genes, ids, guides, version):
    folder.mkdir()
    names, all_ids, kinds = features(genes, ids)
    if version == 3:
        with gzip.open(folder / "matrix.mtx.gz", "wb") as f:
            io.mmwrite(f, sparse.coo_matrix(np.hstack([counts, guides]).T), field="integer")
        rows = ["\t".join(row) for row in zip(all_ids, names, kinds)]
        for name, lines in [("barcodes.tsv.gz", barcodes), ("features.tsv.gz", rows)]:
            with gzip.open(folder / name, "wt") as f:
                f.write("\n".join(lines) + "\n")
    else:
        prefix = "GSM1_"
        # Cells x genes, and not sorted by cell.
        io.mmwrite(folder / f"{prefix}matrix.mtx", sparse.coo_matrix(sparse.csc_matrix(counts)), field="integer")
        (folder / f"{prefix}barcodes.tsv").write_text("\n".join(barcodes) + "\n")
        (folder / f"{prefix}genes.tsv").write_text("\n".join(f"{i}\t{n}" for i, n in zip(ids, genes)) + "\n")


def h5mu(path, data, counts, barcodes):
    protein = anndata.AnnData(np.ones((CELLS, 2), np.float32), data.obs[[]].copy(), pd.DataFrame(index=["CD3", "CD4"]))
    rna = anndata.AnnData(data.X, data.obs[[]].copy(), data.var)
    # Rows in another order, and columns of modalities under their prefix.
    shared = data.obs.assign(**{"rna:x": np.arange(CELLS)}).iloc[::-1]
    with h5py.File(path, "w") as f:
        f.attrs.update({"encoding-type": "MuData", "encoding-version": "0.1.0", "encoder": "mudata"})
        f.create_group("mod")
        write_elem(f["mod"], "rna", rna)
        write_elem(f["mod"], "prot", protein)
        write_elem(f, "obs", shared)
        write_elem(f, "var", pd.DataFrame(index=[*data.var_names, *protein.var_names]))


def loom(path, counts, barcodes, genes, ids, labels):
    with h5py.File(path, "w") as f:
        f.create_dataset("matrix", data=counts.T.astype(np.float32), chunks=(8, 16), compression="gzip")
        f.create_dataset("layers/spliced", data=counts.T.astype(np.int32) // 2, chunks=(8, 16))
        f["col_attrs/CellID"] = np.array(barcodes, dtype=object)
        f["col_attrs/perturbation"] = np.array(labels, dtype=object)
        f["col_attrs/X_umap"] = np.zeros((CELLS, 2))
        f["row_attrs/Gene"] = np.array(genes, dtype=object)
        f["row_attrs/Accession"] = np.array(ids, dtype=object)
        f.create_group("row_graphs")
        f.create_group("col_graphs")
        f["attrs/LOOM_SPEC_VERSION"] = "3.0.0"


def records(path, data, fixed):
    """AnnData 0.6: obs and var as arrays of records, categories in uns."""
    text = (lambda values: np.array(list(values), "S")) if fixed else (lambda values: np.array(list(values), object))
    kind = (lambda values: values.dtype) if fixed else (lambda values: h5py.string_dtype())
    codes = data.obs["perturbation"].cat.codes.to_numpy()
    names, genes = text(data.obs_names), text(data.var_names)
    obs = np.zeros(CELLS, [("index", kind(names)), ("perturbation", "i1"), ("n", "f4"), ("flag", "?"), ("word", kind(names))])
    obs["index"], obs["perturbation"], obs["n"] = names, codes, np.arange(CELLS) / 2
    obs["flag"], obs["word"] = np.arange(CELLS) % 2 == 0, names
    var = np.zeros(GENES, [("index", kind(genes)), ("rank", "i4")])
    var["index"], var["rank"] = genes, np.arange(GENES)
    with h5py.File(path, "w") as f:
        f["obs"], f["var"] = obs, var
        group = f.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", data.shape
        for name in ["data", "indices", "indptr"]:
            group[name] = getattr(data.X, name)
        f["uns/perturbation_categories"] = np.array(list(data.obs["perturbation"].cat.categories), object)
        f["obsm"] = np.zeros(CELLS, [("X_pca", "f4", (2,))])


def tables(folder, data, counts, barcodes, genes, labels):
    plain = pd.DataFrame(counts, barcodes, genes)
    plain.assign(perturbation=labels).to_csv(folder / "cells.csv")
    plain.assign(perturbation=labels).to_csv(folder / "cells.tsv.gz", sep="\t")
    plain.T.to_csv(folder / "genes_by_cells.csv")
    with open(folder / "r_style.txt", "w") as f:
        f.write("\t".join(f'"{name}"' for name in barcodes) + "\n")
        for gene, row in zip(genes, counts.T):
            f.write("\t".join([f'"{gene}"', *map(str, row)]) + "\n")


def make(folder):
    counts, barcodes, genes, ids, labels, guides = truth()
    data = adata(counts, barcodes, genes, labels)
    tenx_v3(folder / "v3.h5", counts, barcodes, genes, ids, guides)
    tenx_v2(folder / "v2.h5", counts, barcodes, genes, ids, ["hg19"])
    tenx_v2(folder / "two_genomes.h5", counts, barcodes, genes, ids, ["hg19", "mm10"])
    mtx(folder / "mtx3", counts, barcodes, genes, ids, guides, 3)
    mtx(folder / "mtx2", counts, barcodes, genes, ids, guides, 2)
    h5mu(folder / "multi.h5mu", data, counts, barcodes)
    loom(folder / "cells.loom", counts, barcodes, genes, ids, labels)
    records(folder / "old_fixed.h5ad", data, True)
    records(folder / "old_variable.h5ad", data, False)
    tables(folder, data, counts, barcodes, genes, labels)
    # Cell Ranger's own table of guides, in another order and without the cells of one label's half.
    calls = pd.DataFrame({"cell_barcode": barcodes, "num_features": 1, "feature_call": labels, "num_umis": 7})
    calls.iloc[::-1].to_csv(folder / "calls.csv", index=False)
    data.write_zarr(folder / "cells.zarr")
    sparse.save_npz(folder / "counts.npz", data.X)
    pd.DataFrame({"cell": barcodes}).to_pickle(folder / "cells.pkl")
    (folder / "v2.h5.gz").write_bytes(gzip.compress((folder / "v2.h5").read_bytes()))
    with tarfile.open(folder / "raw.tar", "w") as f:
        f.add(folder / "v2.h5", "v2.h5")
    with gzip.open(folder / "cells.rds", "wb") as f:
        f.write(b"X\n\x00\x00\x00\x03")
    with h5py.File(folder / "cells.h5seurat", "w") as f:
        f.create_group("assays/RNA")
        f["cell.names"] = np.array(barcodes, "S")
    truth_of = {"genes": genes, "cells": barcodes, "labels": labels, "counts": counts.tolist()}
    (folder / "truth.json").write_text(json.dumps(truth_of))
    old = anndata.read_h5ad(folder / "old_fixed.h5ad")
    assert list(old.obs["perturbation"]) == labels and list(old.obs_names) == barcodes


def check(folder):
    true = json.loads((folder / "truth.json").read_text())
    counts = np.array(true["counts"])
    for path in sorted((folder / "converted").glob("*.h5ad")):
        data = anndata.read_h5ad(path)
        assert list(data.var_names) == true["genes"], (path, list(data.var_names))
        assert list(data.obs_names) == true["cells"], path
        assert sparse.issparse(data.X) and data.X.format == "csr", path
        assert (data.X.toarray() == counts).all(), path
        column = "perturbation" if "perturbation" in data.obs else "feature_call"
        assert list(data.obs[column]) == true["labels"], (path, data.obs)
        if path.stem.startswith("old"):
            old = anndata.read_h5ad(folder / f"{path.stem}.h5ad")
            for name in old.obs:
                assert list(data.obs[name].astype(str)) == list(old.obs[name].astype(str)), (path, name)
            assert list(data.var["rank"]) == list(old.var["rank"]), path
        print("agrees", path.stem)


{"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
