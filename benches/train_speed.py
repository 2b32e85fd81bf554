"""Training speed, side by side: `genailab bench-train` and PyTorch take turns on one simulated file.

usage: python benches/train_speed.py [--pairs 5] [--peer benches/torch_vae.py] [--batch 128]
needs: a release build of genailab; a Python with torch and anndata (this one).

Prints each pair, then one JSON line with the medians and the median of the pairwise ratios.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def last_json_line(command: list) -> dict:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peer", type=pathlib.Path, default=ROOT / "benches" / "torch_vae.py")
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "cells.h5ad"
        subprocess.run(
            [options.genailab, "simulate", "--cells", "12000", "--genes", "5000", "--out", file],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        pairs = []
        for _ in range(options.pairs):
            ours = last_json_line([options.genailab, "bench-train", "--data", file, "--batch", options.batch, "--json"])
            theirs = last_json_line([sys.executable, options.peer, file, "--batch", options.batch])
            pairs.append((ours, theirs))
            print(f"genailab {ours['cells_per_s']:.0f} cells/s, loss {ours['loss']:.2f};  "
                  f"PyTorch {theirs['cells_per_s']:.0f} cells/s, loss {theirs['loss']:.2f};  "
                  f"ratio {ours['cells_per_s'] / theirs['cells_per_s']:.2f}", flush=True)  # fmt: skip

    def median(figure):
        return statistics.median(map(figure, pairs))

    print(json.dumps({
        "machine": f"{platform.machine()}, {platform.system()}",
        "batch": options.batch,
        "genailab_cells_per_s": median(lambda pair: pair[0]["cells_per_s"]),
        "torch_cells_per_s": median(lambda pair: pair[1]["cells_per_s"]),
        "median_ratio": round(median(lambda pair: pair[0]["cells_per_s"] / pair[1]["cells_per_s"]), 3),
        "median_loss_ratio": round(median(lambda pair: pair[0]["loss"] / pair[1]["loss"]), 4),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
