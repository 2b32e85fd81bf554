"""Held-out ELBO, side by side: `genailab train` and scvi-tools' SCVI on the same cells of one file.

usage: python benches/scvi_elbo.py FILE.h5ad [--epochs 60] [--seeds 3]
needs: a release build of genailab; a Python with scvi-tools (this one).

Both: latent 10, one hidden layer of 128, NB with one theta per gene, size factor = sum of the counts kept, batch 128,
Adam 1e-3, the same number of epochs with KL annealing over the first third, 10 % of the cells held out (genailab's own
split, read by both). Prints the held-out ELBO in nats per cell for each seed and, at the end, one JSON line.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent

CONFIG = """
[model]
latent = 10
hidden = [128]
likelihood = "nb"
library_size = "kept"
dropout = 0.1
kl_annealing = "linear"
kl_warmup_epochs = {warmup}

[train]
epochs = {epochs}
batch_size = 128
learning_rate = 1e-3

[split]
validation = 0.0
test = 0.1
"""


def ours(options, file: pathlib.Path, seed: int, folder: pathlib.Path) -> tuple[float, dict]:
    config, out = folder / "config.toml", folder / f"seed{seed}"
    config.write_text(CONFIG.format(epochs=options.epochs, warmup=options.epochs / 3))
    subprocess.run(
        [options.genailab, "train", "--data", file, "--model", "vae", "--config", config, "--seed", str(seed),
         "--out", out],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return json.loads((out / "metrics.json").read_text())["test"]["elbo"], json.loads((out / "split.json").read_text())


def theirs(options, file: pathlib.Path, seed: int, split: dict) -> float:
    warnings.filterwarnings("ignore")
    import anndata
    import scvi

    scvi.settings.seed = seed
    scvi.settings.verbosity = 40
    data = anndata.read_h5ad(file)
    train, test = data[split["train"]].copy(), data[split["test"]].copy()
    scvi.model.SCVI.setup_anndata(train)
    model = scvi.model.SCVI(
        train, n_latent=10, n_hidden=128, n_layers=1, gene_likelihood="nb", dispersion="gene", dropout_rate=0.1
    )
    model.train(
        max_epochs=options.epochs, batch_size=128, train_size=1.0, accelerator="cpu", enable_progress_bar=False,
        plan_kwargs={"lr": 1e-3, "n_epochs_kl_warmup": options.epochs // 3},
    )  # fmt: skip
    elbo = model.get_elbo(test)
    # scvi-tools reports the negative bound, a tensor or a float by version.
    return -abs(float(elbo))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            mine, split = ours(options, options.file, seed, pathlib.Path(folder))
            peer = theirs(options, options.file, seed, split)
            rows.append((mine, peer))
            print(f"seed {seed}: genailab {mine:.2f}, SCVI {peer:.2f} nats per cell "
                  f"({100 * (mine - peer) / abs(peer):+.2f} %)", flush=True)  # fmt: skip
    print(json.dumps({
        "file": options.file.name,
        "epochs": options.epochs,
        "genailab_elbo": round(statistics.median(mine for mine, _ in rows), 2),
        "scvi_elbo": round(statistics.median(peer for _, peer in rows), 2),
        "median_difference_percent": round(
            statistics.median(100 * (mine - peer) / abs(peer) for mine, peer in rows), 3),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
