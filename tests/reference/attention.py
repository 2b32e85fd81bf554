"""Reference numbers for tests/nn/{attention,transformer,tokens,losses,set_distance}.rs, from PyTorch (float64).

usage: python attention.py > attention.json          (needs torch)

Each case gives inputs, the output, and the gradient of sum(output * upstream) for each input and weight. Weights carry
the names and the layout of genailab's layers (a linear layer is (in, out)). Sets of tokens are rows one after the other,
with their sizes beside them; PyTorch gets them padded, with a key_padding_mask.
"""
import json
import math

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def single(t):
    """The nearest float32 values: what genailab reads is exactly what PyTorch computes with."""
    return t.detach().float().double()


def flat(t):
    return [round(float(v), 9) for v in t.detach().reshape(-1)]


def case(inputs, function, names=None, **extra):
    """Runs `function(**inputs)`; `names(g)` gives the weights in genailab's layout, g reads a weight or its gradient."""
    leaves = {k: single(v).requires_grad_(True) for k, v in inputs.items()}
    output = function(**leaves)
    upstream = single(torch.randn_like(output))
    (output * upstream).sum().backward()
    result = {
        "inputs": {k: flat(v) for k, v in leaves.items()},
        "upstream": flat(upstream),
        "output": flat(output),
        "gradients": {k: flat(v.grad) for k, v in leaves.items()},
    } | extra
    if names is not None:
        result["weights"] = {k: flat(v) for k, v in names(lambda p: p).items()}
        result["weight_gradients"] = {k: flat(v) for k, v in names(lambda p: p.grad).items()}
    return result


def randomise(module):
    """Biases and norms at random too, so that no term hides behind a 0 or 1."""
    for p in module.parameters():
        with torch.no_grad():
            p.copy_(single(p + 0.3 * torch.randn_like(p)))
    return module


def prefixed(prefix, names):
    return {f"{prefix}.{k}": v for k, v in names.items()}


def linear(g, m):
    return {"weight": g(m.weight).T, "bias": g(m.bias)}


def norm(g, m):
    return {"weight": g(m.weight), "bias": g(m.bias)}


def attention(g, m):
    d = m.embed_dim
    if m._qkv_same_embed_dim:
        q, kv = g(m.in_proj_weight)[:d], g(m.in_proj_weight)[d:]
    else:
        q, kv = g(m.q_proj_weight), torch.cat([g(m.k_proj_weight), g(m.v_proj_weight)])
    bias = g(m.in_proj_bias)
    return {
        "query.weight": q.T, "query.bias": bias[:d],
        "key_value.weight": kv.T, "key_value.bias": bias[d:],
    } | prefixed("output", linear(g, m.out_proj))


def pad(x, sizes):
    """(rows, d) to (sets, longest, d), and True where there is no row."""
    longest = max(sizes)
    sets = torch.split(x, sizes)
    padded = torch.stack([torch.cat([s, s.new_zeros(longest - len(s), x.shape[1])]) for s in sets])
    return padded, torch.arange(longest)[None, :] >= torch.tensor(sizes)[:, None]


def unpad(y, sizes):
    return torch.cat([y[i, :size] for i, size in enumerate(sizes)])


def attend(m, x, context, queries, keys):
    xp, _ = pad(x, queries)
    cp, absent = pad(context, keys)
    y, _ = m(xp, cp, cp, key_padding_mask=absent, need_weights=False)
    return unpad(y, queries)


class FeedForward(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


def feed_forward(g, m):
    return prefixed("up", linear(g, m.up)) | prefixed("down", linear(g, m.down))


class Cross(nn.Module):
    """Pre-norm cross-attention block (Jaegle et al. 2021), from PyTorch's own layers."""

    def __init__(self, d, context, heads):
        super().__init__()
        self.query_norm, self.context_norm, self.norm = nn.LayerNorm(d), nn.LayerNorm(context), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, kdim=context, vdim=context, batch_first=True)
        self.feed_forward = FeedForward(d)

    def forward(self, x, context, queries, keys):
        x = x + attend(self.attention, self.query_norm(x), self.context_norm(context), queries, keys)
        return x + self.feed_forward(self.norm(x))


def cross(g, m):
    return (
        prefixed("query_norm", norm(g, m.query_norm)) | prefixed("context_norm", norm(g, m.context_norm))
        | prefixed("attention", attention(g, m.attention)) | prefixed("norm", norm(g, m.norm))
        | prefixed("feed_forward", feed_forward(g, m.feed_forward))
    )


def encoder_layer(d, heads):
    return nn.TransformerEncoderLayer(d, heads, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True)


def block(g, m):
    return (
        prefixed("attention_norm", norm(g, m.norm1)) | prefixed("attention", attention(g, m.self_attn))
        | prefixed("norm", norm(g, m.norm2)) | prefixed("feed_forward.up", linear(g, m.linear1))
        | prefixed("feed_forward.down", linear(g, m.linear2))
    )


class SetEncoder(nn.Module):
    def __init__(self, d, inputs, heads, latents, depth):
        super().__init__()
        self.latents, self.cross = nn.Parameter(torch.randn(latents, d)), Cross(d, inputs, heads)
        self.blocks = nn.ModuleList(encoder_layer(d, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(d)

    def forward(self, x, sizes):
        n = len(self.latents)
        h = self.cross(self.latents.repeat(len(sizes), 1), x, [n] * len(sizes), sizes)
        h = h.reshape(len(sizes), n, -1)
        for layer in self.blocks:
            h = layer(h)
        return self.norm(h).reshape(len(sizes) * n, -1)


def set_encoder(g, m):
    names = {"latents": g(m.latents)} | prefixed("cross", cross(g, m.cross)) | prefixed("norm", norm(g, m.norm))
    for i, layer in enumerate(m.blocks):
        names |= prefixed(f"blocks.{i}", block(g, layer))
    return names


class Pool(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.query, self.norm = nn.Parameter(torch.randn(1, d)), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)

    def forward(self, x, sizes):
        ones = [1] * len(sizes)
        return attend(self.attention, self.query.repeat(len(sizes), 1), self.norm(x), ones, sizes)


def pool(g, m):
    return {"query": g(m.query)} | prefixed("norm", norm(g, m.norm)) | prefixed("attention", attention(g, m.attention))


def film(x, gamma_beta, sizes):
    rows = torch.repeat_interleave(gamma_beta, torch.tensor(sizes), dim=0)
    gamma, beta = rows.chunk(2, dim=1)
    return (1 + gamma) * x + beta


def fourier(x, frequencies):
    angle = 2 * math.pi * x[:, None] * frequencies[None, :]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def set_mean(x, sizes):
    return torch.stack([s.mean(0) if len(s) else s.sum(0) for s in torch.split(x, sizes)])


def variance_hinge(z):
    """facebookresearch/vicreg, main_vicreg.py, with gamma 1 and epsilon 1e-4."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def info_nce(temperature):
    """The symmetric loss of openai/CLIP's paper, figure 3, at a fixed temperature."""
    def loss(a, b):
        logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
        own = torch.arange(len(a))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return loss


def covariance(z):
    c = z - z.mean(dim=0)
    c = c.T @ c / (len(z) - 1)
    return c[~torch.eye(len(c), dtype=torch.bool)].pow(2).sum() / z.shape[1]


def per_set(f):
    def run(x, y, n, m):
        return torch.stack([f(a, b) for a, b in zip(torch.split(x, n), torch.split(y, m), strict=True)])

    return run


def distances(a, b):
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def energy(a, b):
    return 2 * distances(a, b).mean() - distances(a, a).mean() - distances(b, b).mean()


def mmd(gammas):
    def kernel(a, b):
        square = (a[:, None, :] - b[None, :, :]).pow(2).sum(-1)
        return sum(torch.exp(-g * square).mean() for g in gammas) / len(gammas)

    return lambda a, b: kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)


def sliced(directions):
    """Squared 2-Wasserstein distance of each projection; sets of different size by repeating to a common one."""

    def run(a, b):
        size = math.lcm(len(a), len(b))
        a = torch.sort(a @ directions, dim=0).values.repeat_interleave(size // len(a), dim=0)
        b = torch.sort(b @ directions, dim=0).values.repeat_interleave(size // len(b), dim=0)
        return (a - b).pow(2).mean()

    return run


def build():
    d, heads = 4, 2
    cases = {}
    n, m = [3, 1, 2], [4, 2, 1]
    x, context = torch.randn(sum(n), d), torch.randn(sum(m), 6)
    mha = randomise(nn.MultiheadAttention(d, heads, batch_first=True))
    cases["self_attention"] = case(
        {"x": torch.randn(6, d)}, lambda x: attend(mha, x, x, [3, 3], [3, 3]), lambda g: attention(g, mha),
        queries=[3, 3], keys=[3, 3],
    )
    ragged = randomise(nn.MultiheadAttention(d, heads, kdim=6, vdim=6, batch_first=True))
    cases["cross_attention"] = case(
        {"x": x, "context": context}, lambda x, context: attend(ragged, x, context, n, m),
        lambda g: attention(g, ragged), queries=n, keys=m,
    )
    layer = randomise(encoder_layer(d, heads))
    cases["transformer_block"] = case(
        {"x": torch.randn(6, d)}, lambda x: layer(x.reshape(2, 3, d)).reshape(6, d), lambda g: block(g, layer),
        queries=[3, 3], keys=[3, 3],
    )
    crossing = randomise(Cross(d, 6, heads))
    cases["cross_block"] = case(
        {"x": x, "context": context}, lambda x, context: crossing(x, context, n, m), lambda g: cross(g, crossing),
        queries=n, keys=m,
    )
    encoder = randomise(SetEncoder(d, 6, heads, 3, 2))
    cases["set_encoder"] = case(
        {"x": context}, lambda x: encoder(x, m), lambda g: set_encoder(g, encoder), queries=[3] * 3, keys=m
    )
    pooling = randomise(Pool(d, heads))
    cases["attention_pool"] = case(
        {"x": x}, lambda x: pooling(x, n), lambda g: pool(g, pooling), queries=[1] * 3, keys=n
    )
    cases["film"] = case(
        {"x": x, "gamma_beta": torch.randn(3, 2 * d)}, lambda x, gamma_beta: film(x, gamma_beta, n), queries=n
    )
    cases["fourier"] = case(
        {"x": 5 * torch.randn(7), "frequencies": torch.tensor([0.05, 0.3, 1.0, 4.0])}, fourier
    )
    sizes = [2, 0, 4]
    cases["set_mean"] = case({"x": x}, lambda x: set_mean(x, sizes), queries=sizes)
    prediction, target = 1.5 * torch.randn(5, d), single(torch.randn(5, d))
    losses = {
        "smooth_l1": lambda p, t: F.smooth_l1_loss(p, t, beta=0.7),
        "l2": F.mse_loss,
        "cosine": lambda p, t: (1 - F.cosine_similarity(p, t)).mean(),
    }
    for name, loss in losses.items():
        cases[name] = case(
            {"prediction": prediction}, lambda prediction, loss=loss: loss(prediction, target), target=flat(target)
        )
        cases[f"{name}_normed"] = case(
            {"prediction": prediction},
            lambda prediction, loss=loss: loss(prediction, F.layer_norm(target, (d,))), target=flat(target),
        )
    z = torch.randn(9, d) * torch.linspace(0.2, 2, d)
    cases["vicreg_variance"] = case({"z": z}, variance_hinge)
    cases["vicreg_covariance"] = case({"z": z}, covariance)
    cases["vicreg_invariance"] = case({"a": z, "b": torch.randn(9, d)}, lambda a, b: F.mse_loss(a, b))
    n, m = [5, 3], [4, 6]
    sets = {"x": torch.randn(sum(n), d), "y": single(torch.randn(sum(m), d) + 0.5)}
    directions = single(F.normalize(torch.randn(d, 7), dim=0))
    gammas = [0.02, 0.1, 0.5]
    for name, f in {"energy": energy, "mmd": mmd(gammas), "sliced": sliced(directions)}.items():
        cases[name] = case(
            {"x": sets["x"]}, lambda x, f=f: per_set(f)(x, sets["y"], n, m),
            queries=n, keys=m, target=flat(sets["y"]), gammas=gammas, directions=flat(directions),
        )
    cases["info_nce"] = case({"a": torch.randn(6, d), "b": torch.randn(6, d)}, info_nce(0.3))
    return cases


print(json.dumps(build()))
