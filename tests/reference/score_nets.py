"""Reference numbers for tests/diffusion_nets/parity.rs, from PyTorch (float64).

usage: python score_nets.py > score_nets.json          (needs torch)

Each case gives the weights by genailab's names and in its layout (a linear layer is (in, out)), the inputs, the output, and
the gradient of sum(output * upstream) for x and for each weight. The networks are written here from their equations, with
PyTorch's layer norm, activations and scaled dot-product attention: Peebles and Xie 2023 (DiT, facebookresearch/DiT models.py),
Gorishniy et al. 2021 (FT-Transformer), Perez et al. 2018 (FiLM).
"""
import json
import math

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

ROWS, DIMS, CONDITION, GROUP, HEADS, FEATURES = 5, 6, 3, 4, 2, 64
TIMES = [0.125, 0.125, 0.75, 0.75, 1.0]
DROPPED = [False, False, False, True, False]
TOKENS = math.ceil(DIMS / GROUP)


def exact(t):
    """Multiples of 1/64: exact in float32 and short in print."""
    return (t * 64).round() / 64


def flat(t):
    return [float(f"{float(v):.8g}") for v in t.detach().reshape(-1)]


class Weights(dict):
    """Weights that are made when they are first asked for."""

    def get(self, name, *shape):
        if name not in self:
            scale = 0.5 if name.endswith("bias") or len(shape) == 1 else 1.5 / math.sqrt(shape[0])
            self[name] = exact(scale * torch.randn(*shape)).requires_grad_(True)
        return self[name]

    def linear(self, name, x, outputs):
        return x @ self.get(f"{name}.weight", x.shape[-1], outputs) + self.get(f"{name}.bias", outputs)

    def norm(self, name, x):
        d = x.shape[-1]
        return F.layer_norm(x, (d,), 1 + self.get(f"{name}.weight", d), self.get(f"{name}.bias", d), 1e-5)


def timestep_embedding(t):
    """models.py of DiT, with t in [0, 1] times 1000."""
    half = FEATURES // 2
    freqs = torch.exp(-math.log(10000) * torch.arange(half) / half)
    args = 1000 * t[:, None] * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


def time(w, t, width):
    return w.linear("time.down", F.silu(w.linear("time.up", timestep_embedding(t), width)), width)


def condition(w, c, dropped, hidden, width):
    embedded = w.linear("condition.down", F.silu(w.linear("condition.up", c, hidden)), width)
    return torch.where(dropped[:, None], w.get("condition.null.weight", 1, width), embedded)


def film(w, name, x, c):
    gamma, beta = w.linear(f"{name}.projection", c, 2 * x.shape[-1]).chunk(2, dim=-1)
    if x.dim() == 3:
        gamma, beta = gamma[:, None], beta[:, None]
    return (1 + gamma) * x + beta


def attention(w, name, x, context):
    width = x.shape[-1]
    q = w.linear(f"{name}.query", x, width)
    k, v = w.linear(f"{name}.key_value", context, 2 * width).chunk(2, dim=-1)
    split = lambda t: t.reshape(t.shape[0], t.shape[1], HEADS, -1).transpose(1, 2)
    y = F.scaled_dot_product_attention(split(q), split(k), split(v))
    return w.linear(f"{name}.output", y.transpose(1, 2).reshape(x.shape), width)


def feed_forward(w, name, x):
    width = x.shape[-1]
    return w.linear(f"{name}.down", F.gelu(w.linear(f"{name}.up", x, 4 * width)), width)


def tokens(x):
    return F.pad(x, (0, TOKENS * GROUP - DIMS)).reshape(ROWS, TOKENS, GROUP)


def numbers(h):
    return h.reshape(ROWS, TOKENS * GROUP)[:, :DIMS]


def film_mlp(w, x, t, c, dropped, width=8, depth=2, embedding=4):
    c = F.silu(time(w, t, embedding) + condition(w, c, dropped, embedding, embedding))
    h = w.linear("input", x, width)
    for i in range(depth):
        update = F.silu(film(w, f"blocks.{i}.film", w.norm(f"blocks.{i}.norm", h), c))
        h = h + w.linear(f"blocks.{i}.linear", update, width)
    return w.linear("output", F.silu(w.norm("norm", h)), DIMS)


def tabular(w, x, t, c, dropped, width=8, depth=1, embedding=4):
    c = F.silu(time(w, t, embedding) + condition(w, c, dropped, embedding, embedding))
    scale, shift = w.get("feature", TOKENS, 2 * width).chunk(2, dim=-1)
    h = (1 + scale) * w.linear("input", tokens(x), width) + shift
    for i in range(depth):
        h = film(w, f"blocks.{i}.film", h, c)
        normed = w.norm(f"blocks.{i}.block.attention_norm", h)
        h = h + attention(w, f"blocks.{i}.block.attention", normed, normed)
        h = h + feed_forward(w, f"blocks.{i}.block.feed_forward", w.norm(f"blocks.{i}.block.norm", h))
    return numbers(w.linear("output", w.norm("norm", h), GROUP))


def dit(w, x, t, c, dropped, conditioning, width=8, depth=1, embedding=4, count=2):
    plain = lambda h: F.layer_norm(h, (width,), eps=1e-6)
    gate = lambda name, update: (1 + w.linear(f"{name}.projection", adaln, width))[:, None] * update
    adaln = time(w, t, embedding)
    if conditioning == "ada_ln":
        adaln = adaln + condition(w, c, dropped, embedding, embedding)
    else:
        told = condition(w, c, dropped, embedding, count * width).reshape(ROWS, count, width)
    adaln = F.silu(adaln)
    h = w.linear("input", tokens(x), width) + w.get("position", TOKENS, width)
    if conditioning == "tokens":
        h = torch.cat([h, told], dim=1)
    for i in range(depth):
        name = f"blocks.{i}"
        u = film(w, f"{name}.attention_film", plain(h), adaln)
        h = h + gate(f"{name}.attention_gate", attention(w, f"{name}.attention", u, u))
        if conditioning == "cross_attention":
            h = h + attention(w, f"{name}.cross.attention", w.norm(f"{name}.cross.norm", h), told)
        u = film(w, f"{name}.film", plain(h), adaln)
        h = h + gate(f"{name}.gate", feed_forward(w, f"{name}.feed_forward", u))
    h = film(w, "film", plain(h[:, :TOKENS]), adaln)
    return numbers(w.linear("output", h, GROUP))


def cross_block(w, name, x, context):
    """Cross-attention and a feed-forward layer, pre-norm: Jaegle et al. 2021."""
    h = x + attention(w, f"{name}.attention", w.norm(f"{name}.query_norm", x), w.norm(f"{name}.context_norm", context))
    return h + feed_forward(w, f"{name}.feed_forward", w.norm(f"{name}.norm", h))


def gene_tokens(w, x, t, c, dropped, kind, width=8, embedding=4, count=2):
    """One DiT block over tokens of genes."""
    plain = lambda h: F.layer_norm(h, (width,), eps=1e-6)
    adaln = F.silu(time(w, t, embedding) + condition(w, c, dropped, embedding, embedding))
    if kind == "groups":
        one_hot = F.one_hot(w["tokens.group_of"].long(), count).to(x.dtype)
        h = torch.einsum("rg,gj,gw->rjw", x, one_hot, w.get("tokens.input.weight", DIMS, width))
        h = h + w.get("tokens.position", count, width)
    else:
        turns = 2 * math.pi * x[:, :, None] * w["tokens.fourier.frequencies"]
        features = torch.cat([x[:, :, None], torch.sin(turns), torch.cos(turns)], dim=-1)
        h = genes = w.linear("tokens.value", features, width) + w.get("tokens.identity.weight", DIMS, width)
    if kind == "latents":
        start = w.get("tokens.latents", count, width).expand(ROWS, count, width)
        h = cross_block(w, "tokens.gather", start, genes)
    gate = lambda name, update: (1 + w.linear(f"{name}.projection", adaln, width))[:, None] * update
    u = film(w, "blocks.0.attention_film", plain(h), adaln)
    h = h + gate("blocks.0.attention_gate", attention(w, "blocks.0.attention", u, u))
    u = film(w, "blocks.0.film", plain(h), adaln)
    h = h + gate("blocks.0.gate", feed_forward(w, "blocks.0.feed_forward", u))
    if kind == "latents":
        h = cross_block(w, "tokens.scatter", genes, h)
    h = film(w, "film", plain(h), adaln)
    if kind == "groups":
        weight = w.get("tokens.output.weight", DIMS, width)
        return torch.einsum("rjw,gj,gw->rg", h, one_hot, weight) + w.get("tokens.output_bias", DIMS)
    return w.linear("tokens.output", h, 1)[:, :, 0]


def case(network, buffers={}, **settings):
    w = Weights(buffers)
    x = exact(torch.randn(ROWS, DIMS)).requires_grad_(True)
    c = exact(torch.randn(ROWS, CONDITION))
    c[1] = c[0]
    output = network(w, x, torch.tensor(TIMES), c, torch.tensor(DROPPED), **settings)
    upstream = exact(torch.randn_like(output))
    (output * upstream).sum().backward()
    # A norm's weight is written as its difference from 1 above.
    norms = {n for n in w if n.endswith("norm.weight")}
    return {
        "x": flat(x), "condition": flat(c), "times": TIMES, "dropped": DROPPED,
        "upstream": flat(upstream), "output": flat(output), "x_gradient": flat(x.grad),
        "weights": {n: flat(v + 1 if n in norms else v) for n, v in w.items()},
        "gradients": {n: flat(v.grad) for n, v in w.items() if n not in buffers},
    }


cases = {"film_mlp": case(film_mlp), "tabular": case(tabular)}
for kind in ["ada_ln", "tokens", "cross_attention"]:
    cases[f"dit_{kind}"] = case(dit, conditioning=kind)
cases["gene_groups"] = case(gene_tokens, {"tokens.group_of": torch.tensor([0.0, 1, 0, 0, 1, 1])}, kind="groups")
periods = 32 * (1 / 32) ** (torch.arange(6) / 5)
for kind in ["genes", "latents"]:
    frequencies = (1 / periods).to(torch.float32).double()
    cases[f"gene_{kind}"] = case(gene_tokens, {"tokens.fourier.frequencies": frequencies}, kind=kind)
print(json.dumps(cases))
