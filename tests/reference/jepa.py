"""Reference numbers for src/model/jepa/parity.rs, from PyTorch (float64).

usage: python jepa.py > jepa.json          (needs torch)

The two phases of the JEPA on a few made-up cells, with two encoders: (a) a transformer over gene-group tokens, (b) a
Perceiver over gene tokens. Each case gives every weight under genailab's name and in its layout (a linear layer is
(in, out)), what the networks are shown, the embeddings, the terms of the loss, and the gradient of the loss for each
trained weight. What genailab draws at random (masks, the two parts of a cell's molecules) is an input here.
"""
import json
import math

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

GENES, GROUPS, HIDDEN, TOKENS, WIDTH, HEADS = 12, 3, 5, 4, 6, 2
LATENTS, IDENTITY, FREQUENCIES, POINTER = 2, 3, 2, 3
GAIN = 10.0


def single(t):
    """The nearest float32 values: what genailab reads is exactly what PyTorch computes with."""
    return t.detach().float().double()


def flat(t):
    return [round(float(v), 9) for v in t.detach().reshape(-1)]


class Weights:
    """Weights by path; a new one is drawn when it is first asked for with a shape."""

    def __init__(self):
        self.all = {}

    def make(self, path, *shape, spread=0.5, trained=True):
        self.all[path] = single(spread * torch.randn(*shape)).requires_grad_(trained)

    def linear(self, path, inputs, outputs, trained=True):
        self.make(f"{path}.weight", inputs, outputs, spread=0.8 / math.sqrt(inputs), trained=trained)
        self.make(f"{path}.bias", outputs, spread=0.2, trained=trained)

    def norm(self, path, width, trained=True):
        self.all[f"{path}.weight"] = single(1 + 0.3 * torch.randn(width)).requires_grad_(trained)
        self.make(f"{path}.bias", width, spread=0.2, trained=trained)

    def attention(self, path, width, context, trained):
        self.linear(f"{path}.query", width, width, trained)
        self.linear(f"{path}.key_value", context, 2 * width, trained)
        self.linear(f"{path}.output", width, width, trained)

    def feed_forward(self, path, width, trained):
        self.linear(f"{path}.up", width, 4 * width, trained)
        self.linear(f"{path}.down", 4 * width, width, trained)

    def block(self, path, width, trained=True):
        self.norm(f"{path}.attention_norm", width, trained)
        self.attention(f"{path}.attention", width, width, trained)
        self.norm(f"{path}.norm", width, trained)
        self.feed_forward(f"{path}.feed_forward", width, trained)

    def cross(self, path, width, context, trained=True):
        self.norm(f"{path}.query_norm", width, trained)
        self.norm(f"{path}.context_norm", context, trained)
        self.attention(f"{path}.attention", width, context, trained)
        self.norm(f"{path}.norm", width, trained)
        self.feed_forward(f"{path}.feed_forward", width, trained)

    def encoder(self, path, kind, trained):
        if kind == "groups":
            self.linear(f"{path}.entry.input", GENES, HIDDEN, trained)
            self.make(f"{path}.entry.bias", GROUPS, HIDDEN, trained=trained)
            self.linear(f"{path}.entry.token", HIDDEN, TOKENS, trained)
            self.make(f"{path}.identity", GROUPS, TOKENS, trained=trained)
            self.block(f"{path}.blocks.0", TOKENS, trained)
            self.norm(f"{path}.norm", TOKENS, trained)
            self.linear(f"{path}.readout", GROUPS * TOKENS, WIDTH, trained)
            self.all[f"{path}.place_of"] = torch.arange(GENES) % GROUPS * 1.0
        else:
            inputs = IDENTITY + 2 * FREQUENCIES
            self.make(f"{path}.identity.weight", GENES, IDENTITY, trained=trained)
            self.all[f"{path}.value.frequencies"] = single(torch.tensor([1 / 32, 4.0]))
            self.make(f"{path}.set.latents", LATENTS, TOKENS, trained=trained)
            self.cross(f"{path}.set.cross", TOKENS, inputs, trained)
            self.block(f"{path}.set.blocks.0", TOKENS, trained)
            self.norm(f"{path}.set.norm", TOKENS, trained)
            self.linear(f"{path}.output", TOKENS, WIDTH, trained)

    def __getitem__(self, path):
        return self.all[path]


def linear(w, path, x):
    return x @ w[f"{path}.weight"] + w[f"{path}.bias"]


def norm(w, path, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{path}.weight"], w[f"{path}.bias"])


def attend(w, path, x, context):
    """One set of queries (n, d) to one set of keys."""
    split = lambda t: t.reshape(len(t), HEADS, -1).transpose(0, 1)
    key, value = linear(w, f"{path}.key_value", context).chunk(2, dim=1)
    y = F.scaled_dot_product_attention(split(linear(w, f"{path}.query", x)), split(key), split(value))
    return linear(w, f"{path}.output", y.transpose(0, 1).reshape(len(x), -1))


def feed_forward(w, path, x):
    return linear(w, f"{path}.down", F.gelu(linear(w, f"{path}.up", x)))


def block(w, path, x):
    normed = norm(w, f"{path}.attention_norm", x)
    x = x + attend(w, f"{path}.attention", normed, normed)
    return x + feed_forward(w, f"{path}.feed_forward", norm(w, f"{path}.norm", x))


def cross(w, path, x, context):
    normed = norm(w, f"{path}.context_norm", context)
    x = x + attend(w, f"{path}.attention", norm(w, f"{path}.query_norm", x), normed)
    return x + feed_forward(w, f"{path}.feed_forward", norm(w, f"{path}.norm", x))


def group_tokens(w, path, x, hidden):
    """The output tokens of one cell's visible groups, {group: (tokens,)}; x (genes,) scaled counts."""
    visible = torch.tensor([g not in hidden for g in range(GENES)])
    groups = [k for k in range(GROUPS) if any(visible[k::GROUPS])]
    x = torch.log1p(x) * visible
    rows = []
    for k in groups:
        own = torch.zeros(GENES)
        own[k::GROUPS] = 1
        h = F.gelu(linear(w, f"{path}.entry.input", x * own) + w[f"{path}.entry.bias"][k])
        rows.append(linear(w, f"{path}.entry.token", h) + w[f"{path}.identity"][k])
    tokens = norm(w, f"{path}.norm", block(w, f"{path}.blocks.0", torch.stack(rows)))
    return dict(zip(groups, tokens))


def read_out(w, path, tokens):
    flat_tokens = torch.cat([tokens.get(k, torch.zeros(TOKENS)) for k in range(GROUPS)])
    return linear(w, f"{path}.readout", flat_tokens)


def perceive(w, path, x, hidden):
    genes = [g for g in range(GENES) if g not in hidden]
    turns = 2 * math.pi * torch.log1p(x[genes])[:, None] * w[f"{path}.value.frequencies"]
    tokens = torch.cat([w[f"{path}.identity.weight"][genes], torch.sin(turns), torch.cos(turns)], dim=1)
    h = cross(w, f"{path}.set.cross", w[f"{path}.set.latents"], tokens)
    h = norm(w, f"{path}.set.norm", block(w, f"{path}.set.blocks.0", h))
    return linear(w, f"{path}.output", h.mean(0))


def encode(w, path, kind, cells, hidden=None):
    """(cells, genes) to (cells, width); `hidden` names the hidden genes of each cell."""
    hidden = hidden or [[]] * len(cells)
    if kind == "groups":
        return torch.stack([read_out(w, path, group_tokens(w, path, x, h)) for x, h in zip(cells, hidden)])
    return torch.stack([perceive(w, path, x, h) for x, h in zip(cells, hidden)])


def variance(z):
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def covariance(z):
    c = z - z.mean(dim=0)
    c = c.T @ c / (len(z) - 1)
    return c[~torch.eye(len(c), dtype=torch.bool)].pow(2).sum() / z.shape[1]


def energy(a, b):
    d = lambda p, q: torch.cdist(p, q, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = lambda p: d(p, p)[~torch.eye(len(p), dtype=torch.bool)].sum() / len(p) ** 2
    return 2 * d(a, b).mean() - pairs(a) - pairs(b)


def mlp(w, path, x, layers):
    for i in range(layers):
        x = F.silu(norm(w, f"{path}.{i}.finish.layer_norm", linear(w, f"{path}.{i}.linear", x)))
    return x


def result(w, loss, inputs, outputs):
    trained = {k: v for k, v in w.all.items() if v.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    pairs = zip(trained, gradients)
    return {
        "weights": {k: flat(v) for k, v in w.all.items()},
        "gradients": {k: flat(torch.zeros_like(w[k]) if g is None else g) for k, g in pairs},
        "inputs": inputs,
        "outputs": {k: flat(v) for k, v in outputs.items()} | {"loss": flat(loss)},
    }


def counts(cells):
    return torch.poisson(3 * torch.rand(cells, GENES) ** 2)


def phase_a(kind):
    """One masked step: I-JEPA's form for (a), SC-JEPA's for (b)."""
    w = Weights()
    w.encoder("student.encoder", kind, True)
    w.encoder("teacher.encoder", kind, False)
    pointer = 0 if kind == "groups" else POINTER
    if pointer:
        w.make("predictor.pointer.weight", GENES, POINTER)
    w.linear("predictor.trunk.0.linear", WIDTH + pointer, 7)
    w.norm("predictor.trunk.0.finish.layer_norm", 7)
    w.linear("predictor.output", 7, WIDTH)
    w.all["raised"] = torch.ones(1)
    cells = single(counts(5) * 1.7)
    normed = lambda t: F.layer_norm(t, t.shape[-1:])
    if kind == "groups":
        w.make("tokens.pointer", GROUPS, TOKENS)
        w.cross("tokens.cross", TOKENS, TOKENS)
        w.block("tokens.blocks.0", TOKENS)
        w.norm("tokens.norm", TOKENS)
        w.linear("tokens.output", TOKENS, TOKENS)
        # Hidden groups, and those of each target: one pattern for every second cell.
        patterns = [([0], [[0]]), ([1, 2], [[1], [1, 2]])]
        predicted, taught, z, whole = [], [], [], []
        for row, x in enumerate(cells):
            hidden, targets = patterns[row % 2]
            seen = group_tokens(w, "student.encoder", x, [g for g in range(GENES) if g % GROUPS in hidden])
            z.append(read_out(w, "student.encoder", seen))
            teacher = group_tokens(w, "teacher.encoder", x, [])
            whole.append(read_out(w, "teacher.encoder", teacher))
            wanted = sorted({k for target in targets for k in target})
            h = cross(w, "tokens.cross", w["tokens.pointer"][wanted], torch.stack(list(seen.values())))
            h = block(w, "tokens.blocks.0", h)
            predicted.append(linear(w, "tokens.output", norm(w, "tokens.norm", h)))
            taught.append(torch.stack([teacher[k] for k in wanted]))
        z, whole = torch.stack(z), torch.stack(whole)
        loss = F.smooth_l1_loss(torch.cat(predicted), normed(torch.cat(taught)))
        of_cell = linear(w, "predictor.output", mlp(w, "predictor.trunk", z, 1))
        loss = loss + F.smooth_l1_loss(of_cell, normed(whole))
    else:
        # Hidden genes, and the genes of each target.
        patterns = [([0, 3, 5], [[0, 3], [3, 5]]), ([1, 2, 7, 8], [[1, 2], [7, 8]])]
        hidden = [patterns[row % 2][0] for row in range(len(cells))]
        z = encode(w, "student.encoder", kind, cells, hidden)
        predicted, taught = [], []
        for row, x in enumerate(cells):
            for target in patterns[row % 2][1]:
                vector = w["predictor.pointer.weight"][target].sum(0) / math.sqrt(len(target))
                h = mlp(w, "predictor.trunk", torch.cat([z[row], vector])[None], 1)
                predicted.append(linear(w, "predictor.output", h)[0])
                others = [g for g in range(GENES) if g not in target]
                taught.append(perceive(w, "teacher.encoder", x, others))
        loss = F.smooth_l1_loss(torch.stack(predicted), normed(torch.stack(taught)))
    total = 25 * loss + 25 * variance(z) + covariance(z)
    inputs = {"cells": flat(cells), "patterns": [[h, t] for h, t in patterns]}
    return result(w, total, inputs, {"z": z, "prediction": loss})


def phase_b(kind):
    """One step end to end: two sets of control cells, one of them under two genes."""
    w = Weights()
    w.encoder("student.encoder", kind, True)
    w.encoder("teacher.encoder", kind, False)
    w.make("standard.weight", WIDTH, WIDTH, spread=1.5, trained=False)
    w.make("standard.bias", WIDTH, spread=0.5, trained=False)
    w.make("predictor.effects", 4, WIDTH)
    w.make("predictor.own", 3, 1, spread=0.1)
    w.make("predictor.features", 3, WIDTH, trained=False)
    w.make("predictor.identity.weight", 3, WIDTH)
    w.linear("predictor.measured", WIDTH, WIDTH)
    w.linear("predictor.response.film.projection", WIDTH, 2 * WIDTH)
    w.norm("predictor.response.norm", WIDTH)
    for i, inputs in enumerate([WIDTH, 5]):
        w.linear(f"predictor.response.trunk.{i}.linear", inputs, 5)
        w.norm(f"predictor.response.trunk.{i}.finish.layer_norm", 5)
    w.linear("predictor.response.output", 5, WIDTH)
    w.make("decoder.log_theta", GENES)
    w.make("decoder.output.weight", WIDTH, GENES, spread=0.05)
    w.make("decoder.output.bias", GENES, spread=0.1)

    n, m = [4, 3], [5, 4]
    controls = single(counts(sum(n)) * 1.3)
    first, second = counts(sum(m)), counts(sum(m))
    library = (first + second).sum(1) + 6
    share = single(0.5 + 0.4 * torch.rand(sum(m)))
    scale = single(30 / library)
    profiles = torch.rand(2, GENES + 1)
    profiles = single(profiles / profiles.sum(1, keepdim=True))
    # Genes of each set, the measured effects that stand for each with their weights, and the column of each gene.
    genes, effects = [[0], [1, 2]], [[(0, 1.0)], [(1, 0.25), (2, 0.75)], [(3, 1.0)]]
    columns = [2, None, 7]

    standard = lambda h: linear(w, "standard", h)
    rescaled = first * (scale / share)[:, None]
    z = standard(encode(w, "student.encoder", kind, torch.cat([controls, rescaled])))
    target = standard(encode(w, "teacher.encoder", kind, (first + second) * scale[:, None])).detach()
    control, read = z[: sum(n)], z[sum(n) :]
    moved, own, token = [], [], 0
    for x, members in zip(torch.split(control, n), genes):
        delta, logit = 0, torch.zeros(GENES)
        for gene in members:
            s = sum(weight * w["predictor.effects"][row] for row, weight in effects[token])
            e = w["predictor.identity.weight"][gene] + linear(w, "predictor.measured", w["predictor.features"][gene])
            gamma, beta = linear(w, "predictor.response.film.projection", e).chunk(2)
            h = (1 + gamma) * norm(w, "predictor.response.norm", x) + beta
            h = mlp(w, "predictor.response.trunk", h, 2)
            delta = delta + s + linear(w, "predictor.response.output", h)
            if columns[gene] is not None:
                place = F.one_hot(torch.tensor(columns[gene]), GENES)
                logit = logit + GAIN * w["predictor.own"][gene] * place
            token += 1
        moved.append(x + delta)
        own.append(logit)
    targets = torch.split(target, m)
    of_energy = torch.stack([energy(a, b) for a, b in zip(moved, targets)]).mean()
    means = F.mse_loss(torch.stack([a.mean(0) for a in moved]), torch.stack([b.mean(0) for b in targets]))
    logits = lambda x: GAIN * linear(w, "decoder.output", x)
    with_rest = lambda x: torch.softmax(torch.cat([x, torch.zeros(len(x), 1)], dim=1), dim=1)
    shares = torch.stack([with_rest(logits(x) + a).mean(0) for x, a in zip(moved, own)])
    profile = -(profiles * torch.log(shares + 1e-12)).sum(1).mean()
    owners = torch.cat([a.expand(size, -1) for a, size in zip(own, m)])
    mean = with_rest(logits(read) + owners)[:, :GENES] * (library * (1 - share))[:, None]
    theta = torch.exp(w["decoder.log_theta"])
    binomial = torch.distributions.NegativeBinomial(theta, logits=torch.log(mean) - w["decoder.log_theta"])
    nll = -binomial.log_prob(second).sum(1).mean()
    # The weights are the defaults of genailab's `LossWeights`.
    total = of_energy + means + 20 * profile + 30 * nll / GENES + variance(z) + 0.04 * covariance(z)
    inputs = {
        "controls": flat(controls), "first": flat(first), "second": flat(second), "library_size": flat(library),
        "share": flat(share), "scale": flat(scale), "profiles": flat(profiles), "control_sets": n,
        "perturbed_sets": m, "genes": genes, "effects": effects, "columns": columns,
    }
    outputs = {
        "z": z, "target": target, "moved": torch.cat(moved), "energy": of_energy, "means": means, "profile": profile,
        "nll": nll, "variance": variance(z), "covariance": covariance(z),
    }
    return result(w, total, inputs, outputs)


print(json.dumps({f"{f.__name__}_{kind}": f(kind) for f in (phase_a, phase_b) for kind in ("groups", "perceiver")}))
