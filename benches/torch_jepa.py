"""The Python side of `genailab bench-train --model jepa-small|jepa-medium`: the same JEPA in eager PyTorch.

usage: python benches/torch_jepa.py FILE.h5ad [--size small] [--batch 256] [--cells 8000] [--device cpu]

From the visible genes of a cell, the embedding that a moving average of the encoder has of each of three hidden fifths of the
genes; 16 patterns of hidden genes per batch, smooth L1 on layer-normed targets, VICReg's variance and covariance terms,
Adam at 1e-3. The encoder is a perceptron with a vector for each hidden gene: 256 to 128 features (small), 512-512 to 256
(medium). Prints one JSON line. The losses of the two sides are not comparable: each draws its own weights and patterns.
"""

import argparse

import anndata
import numpy as np
import torch
from torch import nn
from torch.nn.functional import layer_norm, silu, smooth_l1_loss

from torch_timing import timed

WARM_UP_STEPS = 5
PATTERNS, TARGETS, FRACTION, POINTER, MOMENTUM = 16, 3, 0.2, 64, 0.996
SIZES = {"small": ([256], 128, 256), "medium": ([512, 512], 256, 512)}


class Encoder(nn.Module):
    def __init__(self, genes: int, hidden: list, width: int):
        super().__init__()
        self.input = nn.Linear(genes, hidden[0])
        self.hidden = nn.Parameter(torch.empty(genes, hidden[0]).uniform_(-(genes**-0.5), genes**-0.5))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for features in hidden)
        self.trunk = nn.ModuleList(nn.Linear(a, b) for a, b in zip(hidden, hidden[1:]))
        self.output = nn.Linear(hidden[-1], width)

    def forward(self, x, hides, pattern):
        """x (rows, genes), hides (patterns, genes) with 1 for a hidden gene, the pattern of each row."""
        h = self.input(torch.log1p(x * (1 - hides)[pattern])) + (hides @ self.hidden)[pattern]
        h = silu(self.norms[0](h))
        for layer, norm in zip(self.trunk, self.norms[1:]):
            h = silu(norm(layer(h)))
        return self.output(h)


class Predictor(nn.Module):
    def __init__(self, genes: int, width: int, hidden: int):
        super().__init__()
        self.pointer = nn.Parameter(torch.randn(genes, POINTER))
        self.first, self.norm, self.last = nn.Linear(width + POINTER, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, width)

    def forward(self, z, targets, of_row):
        pointer = (targets @ self.pointer) * targets.sum(dim=1, keepdim=True).rsqrt()
        return self.last(silu(self.norm(self.first(torch.cat([z, pointer[of_row]], dim=1)))))


def vicreg(z):
    z = z - z.mean(dim=0)
    variance = torch.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()
    covariance = z.T @ z / (len(z) - 1)
    off = covariance.square().sum() - covariance.diagonal().square().sum()
    return variance, off / z.shape[1]


def patterns(genes: int, device) -> torch.Tensor:
    """(patterns, targets, genes), 1 for a gene of the target."""
    share = round(FRACTION * genes)
    order = torch.rand(PATTERNS, TARGETS, genes, device=device).argsort(dim=2)
    return (order < share).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--cells", type=int, default=8000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)

    counts = anndata.read_h5ad(options.file).X.tocsr()
    genes = counts.shape[1]
    library = np.asarray(counts.sum(axis=1)).ravel()
    scale = (np.median(library) / np.maximum(library, 1)).astype(np.float32)
    hidden, width, of_predictor = SIZES[options.size]
    student, teacher = (Encoder(genes, hidden, width).to(device) for _ in range(2))
    teacher.load_state_dict(student.state_dict())
    predictor = Predictor(genes, width, of_predictor).to(device)
    optimizer = torch.optim.Adam([*student.parameters(), *predictor.parameters()], lr=1e-3)
    order = np.random.default_rng(0).permutation(counts.shape[0])

    def step(number: int) -> float:
        rows = np.take(order, np.arange(number * options.batch, (number + 1) * options.batch), mode="wrap")
        x = torch.from_numpy(counts[rows].toarray() * scale[rows, None]).to(device)
        targets = patterns(genes, device)
        hides = targets.amax(dim=1)
        pattern = torch.arange(len(x), device=device) % PATTERNS
        z = student(x, hides, pattern)
        each = (pattern[:, None] * TARGETS + torch.arange(TARGETS, device=device)).flatten()  # (rows * targets,)
        of_target = targets.flatten(0, 1)
        with torch.no_grad():
            taught = teacher(x.repeat_interleave(TARGETS, dim=0), 1 - of_target, each)
            taught = layer_norm(taught, taught.shape[1:])
        predicted = predictor(z.repeat_interleave(TARGETS, dim=0), of_target, each)
        variance, covariance = vicreg(z)
        loss = 25 * smooth_l1_loss(predicted, taught) + 25 * variance + covariance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - MOMENTUM)
        return loss.item()

    timed(step, options, WARM_UP_STEPS)


if __name__ == "__main__":
    main()
