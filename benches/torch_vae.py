"""The Python side of the training-speed comparison: the same count VAE in eager PyTorch.

usage: python benches/torch_vae.py FILE.h5ad [--batch 128] [--cells 8000] [--device cpu]

The model is what `genailab bench-train` trains: genes-512-256-64 and back, a 64-wide embedding of the perturbation in
encoder and decoder, SiLU, NB likelihood with one theta per gene, Adam at 1e-3. Prints one JSON line: cells per second over
the timed steps (including the conversion of sparse rows to dense rows, as in a data loader), ms per step, the last loss.
"""

import argparse

import anndata
import numpy as np
import torch
from torch import nn
from torch.nn.functional import silu, softmax

from torch_timing import timed

WARM_UP_STEPS = 5


class CountVae(nn.Module):
    def __init__(self, genes: int, perturbations: int):
        super().__init__()
        self.embedding = nn.Embedding(perturbations, 64)
        self.encoder = nn.ModuleList([nn.Linear(genes + 64, 512), nn.Linear(512, 256)])
        self.mu, self.logvar = nn.Linear(256, 64), nn.Linear(256, 64)
        self.decoder = nn.ModuleList([nn.Linear(64 + 64, 256), nn.Linear(256, 512)])
        self.output = nn.Linear(512, genes)
        self.log_theta = nn.Parameter(torch.zeros(genes))

    def forward(self, x, perturbation):
        condition = self.embedding(perturbation)
        h = torch.cat([torch.log1p(x), condition], dim=1)
        for layer in self.encoder:
            h = silu(layer(h))
        mu, logvar = self.mu(h), self.logvar(h).clamp(-12, 12)
        h = torch.cat([mu + torch.randn_like(mu) * (logvar / 2).exp(), condition], dim=1)
        for layer in self.decoder:
            h = silu(layer(h))
        mean = softmax(self.output(h), dim=1) * x.sum(dim=1, keepdim=True) + 1e-8
        theta = self.log_theta.exp()
        log_both = (theta + mean).log()
        log_likelihood = (
            torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
            + theta * (self.log_theta - log_both) + x * (mean.log() - log_both)
        )  # fmt: skip
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
        return kl.sum(dim=1).mean() - log_likelihood.sum(dim=1).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--cells", type=int, default=8000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)

    data = anndata.read_h5ad(options.file)
    counts = data.X.tocsr()
    labels = torch.as_tensor(data.obs["perturbation"].astype("category").cat.codes.to_numpy().astype(np.int64)).to(device)
    model = CountVae(counts.shape[1], int(labels.max()) + 1).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = np.random.default_rng(0).permutation(counts.shape[0])

    def step(number: int) -> float:
        rows = np.take(order, np.arange(number * options.batch, (number + 1) * options.batch), mode="wrap")
        loss = model(torch.from_numpy(counts[rows].toarray()).to(device), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    timed(step, options, WARM_UP_STEPS)


if __name__ == "__main__":
    main()
