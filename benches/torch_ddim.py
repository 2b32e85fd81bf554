"""The Python side of `genailab bench-train --model ddim`: 50 steps of DDIM through the same network in PyTorch.

usage: python benches/torch_ddim.py [--batch 4096] [--cells 8000] [--device cpu]

Vectors of 64 numbers; a residual perceptron of four blocks of 256 features, each scaled and shifted by the time's embedding;
v-parameterisation, the linear schedule of Ho et al. 2020. The weights are not trained, which does not matter for the speed.
Prints one JSON line.
"""

import argparse
import math

import torch
from torch import nn
from torch.nn.functional import silu

from torch_timing import timed

DIMS, WIDTH, DEPTH, EMBEDDING, STEPS = 64, 256, 4, 64, 50


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(64, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.input, self.output = nn.Linear(DIMS, WIDTH), nn.Linear(WIDTH, DIMS)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(DEPTH + 1))
        self.films = nn.ModuleList(nn.Linear(EMBEDDING, 2 * WIDTH) for _ in range(DEPTH))
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))

    def forward(self, x, t: float):
        frequencies = torch.exp(-math.log(10_000) * torch.arange(32, device=x.device) / 32)
        angles = 1000 * t * frequencies
        c = silu(self.time(torch.cat([angles.cos(), angles.sin()])[None]))
        h = self.input(x)
        for norm, film, layer in zip(self.norms, self.films, self.layers):
            gamma, beta = film(c).chunk(2, dim=1)
            h = h + layer(silu((1 + gamma) * norm(h) + beta))
        return self.output(silu(self.norms[-1](h)))


def mean_and_std(t: float):
    mean = math.exp(-0.25 * t * t * 19.9 - 0.5 * t * 0.1)
    return mean, math.sqrt(1 - mean * mean)


@torch.no_grad()
def draw(net, rows: int, device):
    x = torch.randn(rows, DIMS, device=device)
    times = [1 + (1e-3 - 1) * step / (STEPS - 1) for step in range(STEPS)]
    for t, u in zip(times, times[1:] + [None]):
        (m, s), v = mean_and_std(t), net(x, t)
        data, noise = m * x - s * v, s * x + m * v
        if u is None:
            return data.cpu()
        m, s = mean_and_std(u)
        x = m * data + s * noise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--cells", type=int, default=8000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)
    net = Denoiser().to(device)

    def step(_: int):
        draw(net, options.batch, device)

    timed(step, options, 1)


if __name__ == "__main__":
    main()
