"""What the PyTorch sides of `genailab bench-train` have in common: how steps are timed, and the line that they print."""

import json
import time

import torch


def timed(step, options, warm_up: int):
    """Calls `step(number)`, which returns a loss or None, `warm_up` times, then for --cells cells; prints one JSON line."""
    for number in range(warm_up):
        step(number)
    steps = max(3, options.cells // options.batch)
    start = time.perf_counter()
    for number in range(steps):
        loss = step(warm_up + number)
    seconds = time.perf_counter() - start
    print(json.dumps({
        "peer": f"torch {torch.__version__}",
        "device": options.device,
        "threads": torch.get_num_threads(),
        "cells_per_s": round(steps * options.batch / seconds, 1),
        "ms_per_step": round(1e3 * seconds / steps, 2),
        "loss": None if loss is None else round(loss, 2),
    }))  # fmt: skip
