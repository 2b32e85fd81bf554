"""Peak memory of loading a dataset and training the count VAE on it for one epoch.

usage: python benches/memory.py cells.h5ad [--effects effects.h5ad]
needs: a release build of genailab; nothing else. Linux or macOS.

With --effects, also a simulated set of Norman 2019's size (91,205 cells) made from that effects dataset. Prints one JSON
line per dataset: peak resident memory in MB and the seconds it took.
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
    return {"peak_mb": round(usage.ru_maxrss / UNIT), "seconds": round(time.perf_counter() - start, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--effects", type=pathlib.Path)
    parser.add_argument("--genailab", type=pathlib.Path, default=ROOT / "target" / "release" / "genailab")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = [options.file]
        if options.effects:
            files.append(folder / "norman_like.h5ad")
            simulated = measured([options.genailab, "simulate", "--effects", options.effects, "--out", files[-1]])
            print(json.dumps({"step": "simulate 91,205 cells", **simulated}), flush=True)
        for number, file in enumerate(files):
            train = [options.genailab, "train", "--data", file, "--epochs", "1", "--out", folder / str(number)]
            print(json.dumps({"step": f"load and train one epoch: {file.name}", **measured(train)}), flush=True)


if __name__ == "__main__":
    main()
