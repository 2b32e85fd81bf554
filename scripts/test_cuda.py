"""Every model on an NVIDIA GPU against the CPU (`make test-cuda`): about 50 steps from the same seed on both, the losses within
1e-3 of each other; a training that goes on on the other device; a saved model that answers on either.

usage: python3 scripts/test_cuda.py [--genailab target/release/genailab-cuda] [--device cuda] [--models vae,jepa]
needs: the program and a GPU; nothing beyond Python.

Without a GPU it ends with exit code 1 and one line. `--device vulkan` or `--device cpu` tests the script itself on a machine
without one.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

RELEASE = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
TOLERANCE = 1e-3

CELLS, COURSES, BULK = "cells.h5ad", "courses.h5ad", "bulk.h5ad"
SIMULATED = {
    CELLS: ["--cells", 1600, "--genes", 200],
    COURSES: ["--time-points", 5, "--cells", 1600, "--genes", 100],
    BULK: ["--bulk", "--cells", 300, "--genes", 100],
}
METADATA = ["--metadata", "tissue,disease,sex,batch,age"]
# Model: its data, epochs that make about 50 steps of a network, further options.
MODELS = {
    "vae": (CELLS, 5, []),
    "combination": (CELLS, 50, []),
    "jepa": (CELLS, 3, ["--preset", "tiny"]),
    "jepa-diffusion": (CELLS, 2, ["--preset", "tiny"]),
    "diffusion": (CELLS, 5, []),
    "ebm": (CELLS, 5, []),
    "world-model": (COURSES, 20, []),
    "static-dynamic": (COURSES, 20, []),
    "causal-vae": (CELLS, 5, []),
    "mean-residual": (BULK, 20, METADATA),
    "expression-flow": (CELLS, 2, []),
}


class Failed(Exception):
    """What a command said when it failed."""


class Tool:
    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self.program, self.folder = program, folder

    def __call__(self, *words) -> str:
        command = [str(word) for word in (self.program, *words)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise Failed(lines[-1] if lines else f"exit code {done.returncode}")
        return done.stdout

    def a_perturbation(self, data: str) -> str:
        """The first one that `inspect` names."""
        return re.search(r"\(cells\): (\S+)", self("inspect", data)).group(1)

    def losses(self, out: str) -> list:
        """The training loss of each epoch of each part of a training, in the order of their folders."""
        found = []
        for file in sorted((self.folder / out).rglob("history.jsonl")):
            found += [json.loads(line)["train"]["loss"] for line in file.read_text().splitlines()]
        return found


def same(what: str, here: list, there: list) -> float:
    if len(here) != len(there) or not here:
        raise Failed(f"{what}: {len(here)} epochs on the CPU, {len(there)} there")
    worst = max(abs(a - b) / max(abs(a), 1e-6) for a, b in zip(here, there))
    if worst > TOLERANCE:
        raise Failed(f"{what}: losses differ by a share of {worst:.1e}")
    return worst


def question(tool: Tool, name: str) -> list:
    """The command that asks a model, without the folder and the device."""
    if name == "ebm":
        return ["plausibility", "--data", CELLS, "--generated", CELLS]
    if name == "mean-residual":
        return ["predict", "--like", BULK]
    return ["predict", "--perturbations", tool.a_perturbation(MODELS[name][0])]


def answers(tool: Tool, name: str, trained: str, device: str) -> str:
    """Whether a saved model answers on the device; one that does not says so."""
    out = f"{name}-from-{trained}-on-{device}{'' if name == 'ebm' else '.h5ad'}"
    try:
        tool(*question(tool, name), "--model", f"{name}-on-{trained}", "--device", device, "--out", out)
    except Failed as failed:
        if "answers on the CPU only" not in str(failed):
            raise
        return "answers on the CPU only"
    return f"answers on {device}"


def check(tool: Tool, name: str, device: str) -> str:
    data, epochs, options = MODELS[name]
    train = ["train", "--data", data, "--model", name, *options, "--seed", 1, "--epochs", epochs]
    for where in ("cpu", device):
        tool(*train, "--device", where, "--out", f"{name}-on-{where}")
    worst = same(name, tool.losses(f"{name}-on-cpu"), tool.losses(f"{name}-on-{device}"))
    # A finished training is taken up on the other device, where it loads its last state and has nothing left to do.
    tool(*train, "--device", "cpu", "--out", f"{name}-on-{device}", "--resume")
    there = answers(tool, name, "cpu", device)
    here = answers(tool, name, device, "cpu")
    return f"losses within {worst:.1e}; trained on the CPU it {there}, trained on {device} it {here}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genailab", type=pathlib.Path, default=RELEASE / "genailab-cuda")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    program = options.genailab.resolve()
    if options.device.startswith("cuda") and not has_gpu():
        sys.exit("test-cuda: no NVIDIA GPU is visible to this process (nvidia-smi lists none); nothing was tested")
    if not program.is_file():
        sys.exit(f"test-cuda: there is no program {program}; `make cuda` builds it")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        tool = Tool(program, pathlib.Path(folder))
        for file, size in SIMULATED.items():
            tool("simulate", *size, "--seed", 1, "--out", file)
        for name in options.models.split(","):
            begin = time.monotonic()
            try:
                said = check(tool, name, options.device)
            except Failed as error:
                failed, said = failed + 1, f"FAILED: {error}"
            print(f"{name}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
    sys.exit(f"test-cuda: {failed} models failed" if failed else 0)


def has_gpu() -> bool:
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except OSError:
        return False
    return listed.returncode == 0 and bool(listed.stdout.strip())


if __name__ == "__main__":
    main()
