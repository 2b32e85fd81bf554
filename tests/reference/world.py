"""Numbers of PyTorch for the world model: a GRU cell with its gradients, and the balanced KL divergence of two Gaussians.

    .venv/bin/python tests/reference/world.py > tests/reference/world.json
"""

import json

import torch
from torch.distributions import Independent, Normal, kl_divergence

torch.manual_seed(0)
torch.set_num_threads(1)
rows, inputs, hidden = 3, 4, 5


def listed(tensor):
    return {"shape": list(tensor.shape), "values": tensor.detach().flatten().tolist()}


cell = torch.nn.GRUCell(inputs, hidden)
x = torch.randn(rows, inputs, requires_grad=True)
h = torch.randn(rows, hidden, requires_grad=True)
out = cell(x, h)
weight = torch.randn(rows, hidden)
(out * weight).sum().backward()
gru = {"x": listed(x), "h": listed(h), "out": listed(out), "weight": listed(weight)}
gru |= {"x_grad": listed(x.grad), "h_grad": listed(h.grad)}
for side, w, b in [("input", cell.weight_ih, cell.bias_ih), ("hidden", cell.weight_hh, cell.bias_hh)]:
    for name, part_w, part_b, grad in zip(["reset", "update", "new"], w.chunk(3), b.chunk(3), w.grad.chunk(3)):
        # PyTorch keeps weights as (out, in).
        gru[f"{side}_{name}"] = {"weight": listed(part_w.T.contiguous()), "bias": listed(part_b), "grad": listed(grad.T.contiguous())}

latents, alpha, free = 4, 0.8, 1.0
parts = {name: torch.randn(6, latents) for name in ["post_mean", "prior_mean"]}
parts |= {name: torch.rand(6, latents) + 0.2 for name in ["post_std", "prior_std"]}
parts = {name: value.requires_grad_() for name, value in parts.items()}
post = lambda f: Independent(Normal(f(parts["post_mean"]), f(parts["post_std"])), 1)
prior = lambda f: Independent(Normal(f(parts["prior_mean"]), f(parts["prior_std"])), 1)
keep, stop = lambda t: t, lambda t: t.detach()
of_prior, of_posterior = kl_divergence(post(stop), prior(keep)), kl_divergence(post(keep), prior(stop))
# DreamerV2: the mean over the batch, not below the free nats.
loss = alpha * of_prior.mean().clamp(min=free) + (1 - alpha) * of_posterior.mean().clamp(min=free)
loss.backward()
kl = {name: listed(value) for name, value in parts.items()}
kl |= {f"{name}_grad": listed(value.grad) for name, value in parts.items()}
kl |= {"alpha": alpha, "free": free, "of_rows": listed(of_prior), "loss": loss.item()}
print(json.dumps({"gru": gru, "kl": kl}))
