"""How many features an embedding needs to hold the effects of single perturbations: the share of their squares that the
leading principal directions leave.

Usage: effect_rank.py EFFECTS.h5ad

EFFECTS has one row a perturbation (uns["effect"]); combinations are left out. For README's figures: norman_pseudobulk.h5ad.
"""

import sys

import anndata
import numpy as np

WIDTHS = (16, 32, 48, 64, 128)


def main():
    data = anndata.read_h5ad(sys.argv[1])
    effects = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    single = ["+" not in name for name in data.obs["perturbation"].astype(str)]
    # Not centred: control, whose effect is zero, has to be told from the perturbations too.
    squares = np.linalg.svd(effects[single].astype(float), compute_uv=False) ** 2
    print(f"{sum(single)} single perturbations, {effects.shape[1]} genes")
    for width in WIDTHS:
        print(f"{width:4} features leave {squares[width:].sum() / squares.sum():6.1%} of the squared effects")


if __name__ == "__main__":
    main()
