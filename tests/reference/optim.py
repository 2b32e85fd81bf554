"""Reference numbers for tests/train.rs: PyTorch's Adam, AdamW, gradient clipping and learning-rate schedules.

    python tests/reference/optim.py tests/reference/optim.json

Needs torch. Each optimizer case makes 20 steps with the gradients that stand in the file; `bias` has none (None, not
zero) in every third step. Weights are recorded after each step.
"""

import json
import sys

import torch
from torch.optim import lr_scheduler

STEPS = 20


def weights():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=generator)
    bias = torch.randn(3, generator=generator)
    return weight, bias


def gradients():
    generator = torch.Generator().manual_seed(1)
    steps = []
    for step in range(STEPS):
        scale = 10.0 ** torch.empty(1).uniform_(-2, 1, generator=generator)
        weight = torch.randn(4, 3, generator=generator) * scale
        bias = torch.randn(3, generator=generator) * scale
        steps.append((weight, None if step % 3 == 2 else bias))
    return steps


def case(name, make, clip=None):
    weight, bias = (torch.nn.Parameter(w.clone()) for w in weights())
    optimizer = make([weight, bias])
    norms, trace = [], []
    for weight_gradient, bias_gradient in gradients():
        weight.grad = weight_gradient.clone()
        bias.grad = None if bias_gradient is None else bias_gradient.clone()
        limit = float("inf") if clip is None else clip
        norms.append(float(torch.nn.utils.clip_grad_norm_([weight, bias], limit)))
        optimizer.step()
        trace.append({"weight": weight.detach().flatten().tolist(), "bias": bias.detach().tolist()})
    return {"name": name, "clip": clip, "norms": norms, "trace": trace}


def rates(make, steps, losses=None):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.01)
    scheduler = make(optimizer)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*(() if losses is None else (losses[step],)))
    return found


def warmup_cosine(optimizer, warmup=5, total=40, final=0.1):
    up = lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, end_factor=1.0, total_iters=warmup - 1)
    down = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=0.01 * final)
    return lr_scheduler.SequentialLR(optimizer, [up, down], milestones=[warmup])


def main(path):
    weight, bias = weights()
    losses = [5.0, 4.0, 4.1, 3.9999, 4.2, 4.0, 3.0, 3.5, 3.4, 3.3, 3.2, 3.1, 3.01, 2.9, 2.95, 2.95, 2.95, 2.95, 2.95, 2.95]
    reference = {
        "torch": torch.__version__,
        "weight": weight.flatten().tolist(),
        "bias": bias.tolist(),
        "gradients": [
            {"weight": w.flatten().tolist(), "bias": None if b is None else b.tolist()} for w, b in gradients()
        ],
        "cases": [
            case("adam", lambda p: torch.optim.Adam(p, lr=1e-2)),
            case("adam_l2", lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
            case("adamw", lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)),
            case("adam_clip", lambda p: torch.optim.Adam(p, lr=1e-2), clip=1.0),
        ],
        "schedules": {
            "warmup_cosine": rates(warmup_cosine, 40),
            "step": rates(lambda o: lr_scheduler.StepLR(o, step_size=3, gamma=0.5), 20),
            "exponential": rates(lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9), 20),
            "plateau_losses": losses,
            "plateau": rates(
                lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=2, threshold=1e-3, min_lr=1e-3),
                len(losses),
                losses,
            ),
        },
    }
    with open(path, "w") as file:
        json.dump(reference, file, indent=None, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
