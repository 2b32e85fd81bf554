"""One pre-norm transformer block in PyTorch, the peer of `cargo test --release --test nn -- --ignored speed`.

usage: python benches/torch_block.py [--threads 2] [--steps 20]

Width 128, 4 heads, 64 tokens, a batch of 64, GELU, a feed-forward layer of 512, no dropout, f32. Prints one JSON line:
the median of the milliseconds of a forward and backward pass (gradients of the input and of all weights).
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

WARM_UP_STEPS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True)
    x = torch.randn(64, 64, 128, requires_grad=True)
    times = []
    for step in range(WARM_UP_STEPS + arguments.steps):
        block.zero_grad()
        x.grad = None
        start = time.perf_counter()
        block(x).square().mean().backward()
        if step >= WARM_UP_STEPS:
            times.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"torch": torch.__version__, "threads": arguments.threads, "ms": round(statistics.median(times), 2)}))


if __name__ == "__main__":
    main()
