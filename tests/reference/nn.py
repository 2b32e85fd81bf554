"""Reference numbers for tests/nn.rs, from PyTorch (float64) and scvi-tools.

usage: python nn.py > nn.json          (needs torch and scvi-tools)

Each case gives inputs, the output, and the gradient of sum(output * upstream) for each input.
"""
import json

import torch
import torch.nn.functional as F
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def flat(t):
    return [round(float(v), 9) for v in t.detach().reshape(-1)]


def case(inputs, function):
    """Runs `function(**inputs)` and differentiates it by each floating input."""
    leaves = {k: v.clone().requires_grad_(True) for k, v in inputs.items()}
    output = function(**leaves)
    upstream = torch.randn_like(output)
    (output * upstream).sum().backward()
    return {
        "inputs": {k: flat(v) for k, v in inputs.items()},
        "upstream": flat(upstream),
        "output": flat(output),
        "gradients": {k: flat(v.grad) for k, v in leaves.items()},
    }


def counts(cells, genes, largest):
    x = torch.poisson(torch.distributions.Gamma(0.3, 0.05).sample((cells, genes)))
    x[0, 0], x[1, 1] = largest, 0.0
    return x


def likelihood(x, library, remainder, per_cell, inflated):
    """Negative log-likelihood a cell, with the mean from a softmax and scvi-tools' distributions."""

    def nll(logits, log_theta, zero_logits=None):
        padded = torch.cat([logits, torch.zeros(len(logits), 1)], 1) if remainder else logits
        mean = torch.softmax(padded, 1)[:, : logits.shape[1]] * library[:, None]
        theta = log_theta.exp().expand_as(logits)
        if inflated:
            distribution = ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=zero_logits)
        else:
            distribution = NegativeBinomial(mu=mean, theta=theta)
        return -distribution.log_prob(x).sum(1)

    cells, genes = x.shape
    inputs = {
        "logits": 2 * torch.randn(cells, genes),
        "log_theta": 1.5 * torch.randn(*((cells, genes) if per_cell else (genes,))),
    }
    if inflated:
        inputs["zero_logits"] = 2 * torch.randn(cells, genes)
    result = case(inputs, nll)
    return result | {"counts": flat(x), "library_size": flat(library), "remainder": remainder, "per_cell": per_cell}


cells, genes = 5, 23
x = counts(cells, genes, 900.0)
wide = 3 * torch.randn(3, 40)
reference = {
    "linear": case(
        {"x": torch.randn(4, 7), "w": torch.randn(7, 5), "b": torch.randn(5)}, lambda x, w, b: F.linear(x, w.T, b)
    ),
    "layer_norm": case(
        {"x": 2 * torch.randn(4, 19) + 1, "w": torch.randn(19), "b": torch.randn(19)},
        lambda x, w, b: F.layer_norm(x, (19,), w, b, eps=1e-5),
    ),
    "batch_norm": case(
        {"x": 2 * torch.randn(6, 5) + 1, "w": torch.randn(5), "b": torch.randn(5)},
        lambda x, w, b: F.batch_norm(x, torch.zeros(5), torch.ones(5), w, b, training=True, momentum=0.1, eps=1e-5),
    ),
    "silu": case({"x": wide}, lambda x: F.silu(x)),
    "gelu": case({"x": wide}, lambda x: F.gelu(x)),
    "relu": case({"x": wide}, lambda x: F.relu(x)),
    "lgamma_digamma": {
        "z": (z := [10.0 ** (k / 4) for k in range(-24, 37)]),
        "lgamma": flat(torch.lgamma(torch.tensor(z))),
        "digamma": flat(torch.digamma(torch.tensor(z))),
    },
    "nb_gene": likelihood(x, x.sum(1), False, False, False),
    "nb_gene_remainder": likelihood(x, 3 * x.sum(1), True, False, False),
    "nb_cell_gene": likelihood(x, x.sum(1), False, True, False),
    "zinb_gene": likelihood(x, x.sum(1), False, False, True),
    "zinb_cell_gene_remainder": likelihood(x, 2 * x.sum(1), True, True, True),
}
# The running statistics that one training step leaves behind (torch: momentum 0.1, unbiased variance).
bn = torch.nn.BatchNorm1d(5)
xb = torch.tensor(reference["batch_norm"]["inputs"]["x"]).reshape(6, 5)
bn(xb)
bn.eval()
reference["batch_norm"] |= {
    "running_mean": flat(bn.running_mean),
    "running_var": flat(bn.running_var),
    "eval_output": flat(bn(xb)),
}
print(json.dumps(reference))
