"""Time and peak memory of `genailab bench` on two sizes of data.

usage: python benches/bench_scale.py [--effects effects.h5ad] [--cells 91205] [--genes 2000]
needs: a release build of genailab; nothing else. Linux or macOS.

Two measurements, one JSON line each: held-out doubles of an effects dataset under 20 splits (with --effects), and a
simulated set of Norman 2019's size (91,205 cells x 2,000 genes) under one const-ae split, all baselines and all
metrics.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Linux counts in kilobytes, macOS in bytes.
UNIT = 1e3 if sys.platform == "linux" else 1e6


def measured(command: list) -> dict:
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / UNIT),
    }


def bench(genailab, data, split, seeds, folder) -> dict:
    run = measured([genailab, "bench", "--data", data, "--split", split, "--seeds", seeds, "--out", folder])
    results = json.loads((folder / "results.json").read_text())
    metrics = {row["metric"] for row in results["summary"]}
    l2 = {row["model"]: row["mean"] for row in results["summary"] if row["metric"] == "l2"}
    return {
        "data": data.name,
        "split": split,
        "seeds": seeds,
        **run,
        "models": len(results["models"]),
        "metrics": len(metrics),
        "rows": len(results["rows"]),
        "l2": {model: round(value, 3) for model, value in sorted(l2.items(), key=lambda item: item[1])},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effects", type=pathlib.Path)
    parser.add_argument("--cells", type=int, default=91205)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if options.effects:
            found = bench(options.genailab, options.effects, "doubles", 20, folder / "effects")
            print(json.dumps(found), flush=True)
        cells = folder / "simulated.h5ad"
        size = ["--cells", options.cells, "--genes", options.genes]
        simulated = measured([options.genailab, "simulate", *size, "--out", cells])
        print(json.dumps({"step": f"simulate {options.cells} cells x {options.genes} genes", **simulated}), flush=True)
        print(json.dumps(bench(options.genailab, cells, "constae", 1, folder / "cells")), flush=True)


if __name__ == "__main__":
    main()
