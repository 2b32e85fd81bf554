"""Reference numbers for tests/nn/lora.rs, from PyTorch (float64).

usage: python lora.py > lora.json          (needs torch)

A linear layer (in, out) with a low-rank addition, y = x W + b + alpha / rank (x A) B, and a bottleneck adapter,
y = x + GELU(x D + d) U + u. Each case gives inputs, the output, and the gradient of sum(output * upstream) for each input.
"""
import json

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
ALPHA, RANK = 6.0, 3


def single(t):
    """The nearest float32 values: what genailab reads is exactly what PyTorch computes with."""
    return t.detach().float().double()


def flat(t):
    return [round(float(v), 9) for v in t.detach().reshape(-1)]


def case(function, **inputs):
    leaves = {k: single(v).requires_grad_(True) for k, v in inputs.items()}
    output = function(**leaves)
    upstream = single(torch.randn_like(output))
    (output * upstream).sum().backward()
    return {
        "inputs": {k: flat(v) for k, v in leaves.items()},
        "upstream": flat(upstream),
        "output": flat(output),
        "gradients": {k: flat(v.grad) for k, v in leaves.items()},
    }


def lora(x, w, b, a, m):
    return x @ w + b + ALPHA / RANK * (x @ a) @ m


def bottleneck(x, down, d, up, u):
    return x + F.gelu(x @ down + d) @ up + u


cases = {
    "lora": case(
        lora,
        x=torch.randn(5, 7),
        w=torch.randn(7, 6),
        b=torch.randn(6),
        a=torch.randn(7, RANK),
        m=torch.randn(RANK, 6),
    ),
    "bottleneck": case(
        bottleneck,
        x=torch.randn(4, 6),
        down=torch.randn(6, 2),
        d=torch.randn(2),
        up=torch.randn(2, 6),
        u=torch.randn(6),
    ),
}
print(json.dumps(cases, indent=1))
