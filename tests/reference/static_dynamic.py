"""Reference numbers for tests/static_dynamic/parity.rs, from PyTorch (float64).

usage: python static_dynamic.py > static_dynamic.json          (needs torch)

The velocity over sequences of 3, 1 and 2 tokens, written from its equations for a padded batch: every sequence is filled up to the
longest, and a mask keeps attention from what was filled in. genailab packs the same sequences without filling up. The output, the
loss over the generated tokens, and the gradient of the loss for each weight.
"""
import json
import math

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

LENGTHS, LATENT, GENES, WIDTH, HEADS, FEATURES, FREQUENCIES = [3, 1, 2], 2, 2, 8, 2, 64, 4
GIVEN = [True, False, False, False, True, False]
TIMES = [0.0, 0.5, 1.0, None, 0.0, 0.25]
FLOW_TIMES = [0.25, 0.5, 0.875]
TOKENS = sum(LENGTHS)


def exact(t):
    """Multiples of 1/64: exact in float32 and short in print."""
    return (t * 64).round() / 64


def flat(t):
    return [float(f"{float(v):.8g}") for v in t.detach().reshape(-1)]


class Weights(dict):
    """Weights that are made when they are first asked for."""

    def linear(self, name, x, outputs):
        for part, shape in [("weight", (x.shape[-1], outputs)), ("bias", (outputs,))]:
            if f"{name}.{part}" not in self:
                scale = 0.5 if part == "bias" else 1 / math.sqrt(shape[0])
                self[f"{name}.{part}"] = exact(scale * torch.randn(*shape)).requires_grad_(True)
        return x @ self[f"{name}.weight"] + self[f"{name}.bias"]


def padded(x):
    """(tokens, ...) to (sequences, longest, ...)."""
    return torch.nn.utils.rnn.pad_sequence(list(x.split(LENGTHS)), batch_first=True)


mask = padded(torch.ones(TOKENS, dtype=torch.bool))  # (sequences, longest)


def told():
    """Given, time known, doses, and sines and cosines of a known time with periods from 4 to 1/2."""
    known = torch.tensor([0.0 if t is None else 1.0 for t in TIMES])
    times = torch.tensor([0.0 if t is None else t for t in TIMES])
    frequencies = 0.25 * torch.exp(torch.arange(FREQUENCIES) * math.log(8) / (FREQUENCIES - 1))
    turns = 2 * math.pi * times[:, None] * frequencies[None]
    waves = torch.cat([torch.sin(turns), torch.cos(turns)], dim=1) * known[:, None]
    given = torch.tensor([float(g) for g in GIVEN])
    return torch.cat([given[:, None], known[:, None], doses, waves], dim=1)


def timestep_embedding(t):
    freqs = torch.exp(-math.log(10000) * torch.arange(FEATURES // 2) / (FEATURES // 2))
    args = 1000 * t[..., None] * freqs
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


def attention(name, x):
    q = w.linear(f"{name}.query", x, WIDTH)
    k, v = w.linear(f"{name}.key_value", x, 2 * WIDTH).chunk(2, dim=-1)
    split = lambda t: t.reshape(t.shape[0], t.shape[1], HEADS, -1).transpose(1, 2)
    y = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask[:, None, None])
    return w.linear(f"{name}.output", y.transpose(1, 2).reshape(x.shape), WIDTH)


def film(name, x, c):
    gamma, beta = w.linear(f"{name}.projection", c, 2 * WIDTH).chunk(2, dim=-1)
    return (1 + gamma) * x + beta


def velocity(x):
    """(tokens, latent) to the same shape."""
    plain = lambda h: F.layer_norm(h, (WIDTH,), eps=1e-6)
    gate = lambda name, update, c: (1 + w.linear(f"{name}.projection", c, WIDTH)) * update
    t = torch.tensor(FLOW_TIMES).repeat_interleave(torch.tensor(LENGTHS))
    t = padded(torch.where(torch.tensor(GIVEN), torch.ones(TOKENS), t))
    time = w.linear("flow_time.down", F.silu(w.linear("flow_time.up", timestep_embedding(t), WIDTH)), WIDTH)
    of_token = w.linear("told.1", F.silu(w.linear("told.0", padded(told()), WIDTH)), WIDTH)
    c = F.silu(time + of_token)
    h = w.linear("input", padded(torch.cat([x, anchors, told()], dim=1)), WIDTH)
    block = "blocks.0"
    u = film(f"{block}.attention_film", plain(h), c)
    h = h + gate(f"{block}.attention_gate", attention(f"{block}.attention", u), c)
    u = film(f"{block}.film", plain(h), c)
    u = w.linear(f"{block}.feed_forward.down", F.gelu(w.linear(f"{block}.feed_forward.up", u, 4 * WIDTH)), WIDTH)
    h = h + gate(f"{block}.gate", u, c)
    return w.linear("output", film("film", plain(h), c), LATENT)[mask]


w = Weights()
latents, noise = exact(torch.randn(TOKENS, LATENT)), exact(torch.randn(TOKENS, LATENT))
doses = exact(torch.rand(TOKENS, GENES))
# The nearest given token before, else the nearest after it, else 0.
anchors = torch.stack([latents[0]] * 3 + [torch.zeros(LATENT)] + [latents[4]] * 2)
given = torch.tensor(GIVEN)
t = torch.tensor(FLOW_TIMES).repeat_interleave(torch.tensor(LENGTHS))[:, None]
target = latents - anchors
x = torch.where(given[:, None], latents, (1 - t) * noise + t * target)
v = velocity(x)
loss = ((v - (target - noise))[~given] ** 2).mean()
loss.backward()
print(json.dumps({
    "lengths": LENGTHS, "given": GIVEN, "times": TIMES, "flow_times": FLOW_TIMES,
    "latents": flat(latents), "noise": flat(noise), "doses": flat(doses), "x": flat(x),
    "velocity": flat(v), "loss": float(loss.detach()),
    "weights": {name: flat(value) for name, value in w.items()},
    "gradients": {name: flat(value.grad) for name, value in w.items()},
}))
