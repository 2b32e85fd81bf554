"""Speed of each device, beside PyTorch on the same device: training of the count VAE and the JEPA, draws by DDIM.

usage: python benches/devices.py [--genailab target/release/genailab-cuda] [--devices cuda,vulkan] [--minutes 8] [--quick]
needs: a release build of genailab; a Python with torch, numpy and anndata (this one). No Rust, no network.

On a machine with an NVIDIA GPU the devices are cuda, and vulkan on the same card where the program has it; on one without a
GPU, cpu. PyTorch has no Vulkan: beside vulkan it computes on cuda where that is there, else on the CPU. The two sides take
turns; a figure is the median of the pairs. What does not fit into --minutes is named and left out. --quick measures small
sizes in a minute or two, to see that everything runs. Prints a table, then one JSON line.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import torch

BENCHES = pathlib.Path(__file__).resolve().parent
RELEASE = BENCHES.parent / "target" / "release"

# Name, --model of bench-train, script of the peer and its further options, batch.
JOBS = [
    ("VAE, batch 128", "vae", ["torch_vae.py"], 128),
    ("VAE, batch 512", "vae", ["torch_vae.py"], 512),
    ("VAE, batch 4,096", "vae", ["torch_vae.py"], 4096),
    ("JEPA small, batch 256", "jepa-small", ["torch_jepa.py", "--size", "small"], 256),
    ("JEPA medium, batch 256", "jepa-medium", ["torch_jepa.py", "--size", "medium"], 256),
    ("DDIM, 50 steps, 4,096 vectors", "ddim", ["torch_ddim.py"], 4096),
]
QUICK = [(f"{model}, quick", model, peer, 64) for _, model, peer, _ in (JOBS[0], JOBS[3], JOBS[4], JOBS[5])]


def program(given) -> pathlib.Path:
    """The program with CUDA where there is a GPU, else the plain one."""
    names = ["genailab-cuda", "genailab"] if torch.cuda.is_available() else ["genailab", "genailab-cuda"]
    candidates = [given] if given else [RELEASE / name for name in names]
    found = [path for path in candidates if path.is_file()]
    return found[0] if found else sys.exit(f"devices.py: no program at {' or '.join(map(str, candidates))}; give --genailab")


def usable(genailab, wanted) -> list:
    """The devices that are measured; those that are asked for must be there."""
    if wanted:
        return wanted.split(",")
    report = subprocess.run([genailab, "doctor"], capture_output=True, text=True).stdout
    works = {line.split()[1].rstrip(":") for line in report.splitlines() if line.split()[:1] == ["ok"]}
    return [device for device in ("cuda", "vulkan") if device in works and torch.cuda.is_available()] or ["cpu"]


def last_json_line(command, timeout):
    """The figures that a command prints, or the line that says why there are none."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"not done after {timeout:.0f} s"
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return lines[-1] if lines else f"ended with exit code {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(job, device, file, options, left):
    """One row of the table: the medians of the pairs, or why there are none."""
    name, model, peer, batch = job
    cells = max(options.cells, 3 * batch)
    torch_device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    size = ["--batch", batch, "--cells", cells]
    needs_data = model != "ddim"
    ours_data, theirs_data = (["--data", file], [file]) if needs_data else ([], [])
    ours_command = [options.genailab, "bench-train", *ours_data, "--model", model, "--device", device, *size, "--json"]
    theirs_command = [sys.executable, BENCHES / peer[0], *theirs_data, *peer[1:], *size, "--device", torch_device]
    pairs = []
    while len(pairs) < options.pairs and (not pairs or left() > 0):
        ours = last_json_line(ours_command, max(left(), 20))
        theirs = last_json_line(theirs_command, max(left(), 20))
        for side, figures in (("genailab", ours), ("PyTorch", theirs)):
            if isinstance(figures, str):
                return {"job": name, "device": device, "error": f"{side}: {figures}"}
        pairs.append((ours["cells_per_s"], theirs["cells_per_s"]))
    return {
        "job": name,
        "device": device,
        "torch_device": torch_device,
        "pairs": len(pairs),
        "genailab_per_s": statistics.median(ours for ours, _ in pairs),
        "torch_per_s": statistics.median(theirs for _, theirs in pairs),
        "ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
    }


def shown(row) -> str:
    start = f"{row['job']:30} {row['device']:7}"
    if "error" in row:
        return f"{start} {row['error']}"
    return (
        f"{start} genailab {row['genailab_per_s']:>11,.0f}/s   PyTorch on {row['torch_device']} {row['torch_per_s']:>11,.0f}/s   "
        f"ratio {row['ratio']:.2f} ({row['pairs']} pairs)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genailab", type=pathlib.Path)
    parser.add_argument("--devices")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=8000)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.genailab = program(options.genailab)
    if options.quick:
        options.cells, options.pairs = 256, 1
    begin = time.monotonic()

    def left() -> float:
        return 60 * options.minutes - (time.monotonic() - begin)

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "cells.h5ad"
        size = ["400", "300"] if options.quick else ["12000", "5000"]
        command = [options.genailab, "simulate", "--cells", size[0], "--genes", size[1], "--out", file]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = []
        for device in usable(options.genailab, options.devices):
            for job in QUICK if options.quick else JOBS:
                rows.append(
                    measure(job, device, file, options, left)
                    if left() > 0
                    else {"job": job[0], "device": device, "error": f"left out: {options.minutes:g} minutes were over"}
                )
                print(shown(rows[-1]), flush=True)
    print(json.dumps({
        "machine": f"{platform.machine()}, {platform.system()}",
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "rows": rows,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
