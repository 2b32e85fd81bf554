"""Holds genailab's reading and writing of .h5ad files against Python's anndata and scanpy.

    anndata_parity.py make FOLDER
        writes files in the forms that the installed anndata knows, one a form
    anndata_parity.py check GENAILAB (ORIGINAL REWRITTEN)...
        compares `genailab inspect --json` with anndata for each file, and each file with what genailab made of it
    anndata_parity.py scanpy FILE
        runs a file that genailab wrote through scanpy's first steps

Exit code 77: anndata or scanpy is not installed.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

try:
    import anndata
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

warnings.filterwarnings("ignore")


def base(x, genes=None):
    n, m = (8, 5) if x is None else x.shape
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n)])
    var = pd.DataFrame(index=genes or [f"gene{i}" for i in range(m)])
    return anndata.AnnData(X=x, obs=obs, var=var)


def counts():
    return np.random.default_rng(0).poisson(0.7, (8, 5))


def with_columns():
    data = base(sp.csr_matrix(counts().astype("float32")))
    data.obs["ordered"] = pd.Categorical(list("aabbccab"), categories=["c", "b", "a"], ordered=True)
    data.obs["category with gaps"] = pd.Categorical(["x", None, "y", "x", None, "y", "x", "x"])
    data.obs["category of numbers"] = pd.Categorical([1, 2, 1, 2, 3, 3, 1, 1])
    data.obs["category of truth"] = pd.Categorical([True, False] * 4)
    data.obs["nullable integer"] = pd.array([1, None, 3, 4, 5, 6, None, -8], dtype="Int64")
    data.obs["nullable truth"] = pd.array([True, None, False, True, True, False, None, True], dtype="boolean")
    data.obs["truth"] = [True, False] * 4
    data.obs["text"] = ["", "ä", "c", "d", "e", "f", "g", "h"]
    data.obs["text with gaps"] = ["a", np.nan, "c", "d", np.nan, "f", "g", "h"]
    data.obs["small"] = np.arange(8, dtype="uint8")
    data.obs["real"] = [0.5, np.nan, np.inf, -1.0, 1e-300, 1e300, 3.0, 4.0]
    data.obs["half"] = np.arange(8, dtype="float32") / 4
    data.var["highly_variable"] = [True, False, True, False, True]
    return data


def with_parts():
    data = base(sp.csc_matrix(np.log1p(counts())))
    data.layers["counts"] = sp.csr_matrix(counts())
    data.layers["dense"] = counts().astype("float64")
    data.obsm["X_pca"] = np.arange(16.0).reshape(8, 2)
    data.obsm["sparse"] = sp.csr_matrix(np.eye(8, 3))
    data.obsm["frame"] = pd.DataFrame({"p": np.arange(8), "q": np.arange(8) / 2}, index=data.obs_names)
    data.uns["nested"] = {"text": "t", "numbers": np.arange(3.0), "deeper": {"n": 1}}
    data.raw = base(sp.csr_matrix(np.hstack([counts(), counts()]).astype("float32")))
    return data


def nullable_text():
    anndata.settings.allow_write_nullable_strings = True
    data = base(counts().astype("float32"))
    data.obs["nullable text"] = pd.array(["a", None, "c", "d", None, "f", "g", "h"], dtype="string")
    return data


FORMS = {
    "csr": lambda: base(sp.csr_matrix(counts().astype("float32"))),
    "csc": lambda: base(sp.csc_matrix(counts().astype("float64"))),
    "csc_int64": lambda: base(sp.csc_matrix(counts().astype("int64"))),
    "csr_int32": lambda: base(sp.csr_matrix(counts().astype("int32"))),
    "dense_float32": lambda: base(counts().astype("float32")),
    "dense_int64": lambda: base(counts().astype("int64")),
    "dense_uint16": lambda: base(counts().astype("uint16")),
    "explicit_zeros": lambda: base(sp.csr_matrix((np.float32([0, 2, 0]), [1, 0, 2], [0, 1, 3]), shape=(2, 3))),
    "no_x": lambda: base(None),
    "no_cells": lambda: base(sp.csr_matrix((0, 5), dtype="float32")),
    "no_values": lambda: base(sp.csr_matrix((8, 5), dtype="float32")),
    "repeated_genes": lambda: base(counts().astype("float32"), genes=["a", "b", "a", "a", "b"]),
    "columns": with_columns,
    "parts": with_parts,
    "nullable_text": nullable_text,
}


def make(folder):
    for name, form in FORMS.items():
        for compression in (None, "gzip", "lzf"):
            path = Path(folder) / f"{name}_{compression}.h5ad"
            form().write_h5ad(path, compression=compression)


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def stored(matrix):
    """Number of values as genailab counts them: those stored if sparse, those that are not zero if dense."""
    return matrix.nnz if sp.issparse(matrix) else int(np.count_nonzero(matrix))


def kind(x):
    if x is None:
        return "none"
    return getattr(x, "format", "dense")


def inspected(binary, path):
    return json.loads(subprocess.run([binary, "inspect", "--json", path], check=True, capture_output=True).stdout)


def expected(data):
    x = data.X
    return {
        "n_obs": data.n_obs,
        "n_vars": data.n_vars,
        "nnz": 0 if x is None else stored(x),
        "sum": 0.0 if x is None else float(x.astype("float64").sum()),
        "x": kind(x),
        "obs": list(data.obs.columns),
        "var": list(data.var.columns),
        "layers": list(data.layers),
        "obsm": list(data.obsm),
    }


def values(column):
    """A column as plain values: text for anything categorical, None where missing."""
    missing = column.isna()
    if column.dtype.name in ("category", "object", "string", "str"):
        column = column.astype(object).map(lambda v: str(v).lower() if isinstance(v, (bool, np.bool_)) else str(v))
    return [None if gone else value for value, gone in zip(column.tolist(), missing)]


def same_frame(what, left, right):
    assert list(left.index) == list(right.index), f"{what}: names differ"
    assert list(left.columns) == list(right.columns), f"{what}: {list(left.columns)} != {list(right.columns)}"
    for name in left.columns:
        assert values(left[name]) == values(right[name]), f"{what}.{name}: {left[name]} != {right[name]}"


def check(binary, paths):
    for original, rewritten in zip(paths[::2], paths[1::2]):
        one, other = anndata.read_h5ad(original), anndata.read_h5ad(rewritten)
        for path, data in ((original, one), (rewritten, other)):
            got, want = inspected(binary, path), expected(data)
            np.testing.assert_allclose(got.pop("sum"), want.pop("sum"), rtol=1e-9, err_msg=path)
            assert got == want, f"{path}: genailab says {got}, anndata {want}"
        same_frame(f"{original}: obs", one.obs, other.obs)
        same_frame(f"{original}: var", one.var, other.var)
        pairs = [("X", one.X, other.X)] if one.X is not None else []
        pairs += [(f"layers/{name}", one.layers[name], other.layers[name]) for name in one.layers]
        pairs += [(f"obsm/{name}", one.obsm[name], other.obsm[name]) for name in other.obsm]
        for name, left, right in pairs:
            left, right = dense(left).astype("float32"), dense(right)
            np.testing.assert_array_equal(left, right, err_msg=f"{original}: {name}")
        print(f"agrees: {original}")


def through_scanpy(path):
    try:
        import scanpy
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    data = scanpy.read_h5ad(path)
    assert data.X.format == "csr" and data.X.has_sorted_indices, data.X
    scanpy.pp.normalize_total(data)
    scanpy.pp.log1p(data)
    scanpy.pp.pca(data, n_comps=2)
    scanpy.tl.rank_genes_groups(data, "perturbation", reference="control")
    assert set(data.obs["perturbation"].cat.categories) >= {"control", "A", "A+B"}, data.obs
    print(f"scanpy {scanpy.__version__}, anndata {anndata.__version__}: {data.shape}")


command, *arguments = sys.argv[1:]
if command == "make":
    make(*arguments)
elif command == "check":
    check(arguments[0], arguments[1:])
else:
    through_scanpy(*arguments)
