"""Reference numbers for tests/diffusion/, from numpy, scipy and torch (float64).

usage: python diffusion.py > diffusion.json          (needs numpy, scipy, torch)

Nothing here uses the closed forms under test: integrals of rates are numeric quadratures, moments of the diffusions are solutions
of their differential equations, rates of the cosine and sigmoid schedules and all scores are automatic derivatives.
"""
import json
import math

import numpy as np
import torch
from scipy.integrate import quad, solve_ivp
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal

torch.set_default_dtype(torch.float64)
TIMES = [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 1.0]


def by_derivative(log_alpha_bar, top):
    def beta(t):
        time = torch.tensor(float(t), requires_grad=True)
        (slope,) = torch.autograd.grad(log_alpha_bar(time), time)
        return min(-slope.item(), top)

    return beta


def cosine(t, s=0.008):
    """Improved DDPM, eq. 17, as in its published code: cos((t + s) / (1 + s) pi / 2) ** 2."""
    return torch.cos((t + s) / (1 + s) * math.pi / 2) ** 2


RATES = {
    "linear": lambda t: 0.1 + 19.9 * t,
    "quadratic": lambda t: 0.1 + 29.9 * t**2,
    "cosine": by_derivative(lambda t: torch.log(cosine(t)), 100.0),
    "sigmoid": by_derivative(lambda t: torch.nn.functional.logsigmoid(-20.0 * (t - 0.5)), math.inf),
}


def integral(beta, t):
    # Split where the cosine's rate is clipped: its slope jumps there.
    edges = [0.0] + [e for e in (0.25, 0.5, 0.75, 0.95, 0.97987) if e < t] + [t]
    return sum(quad(beta, a, b, epsabs=1e-13, epsrel=1e-12, limit=400)[0] for a, b in zip(edges, edges[1:]))


def schedules():
    out = {}
    for name, beta in RATES.items():
        area = [integral(beta, t) for t in TIMES]
        out[name] = {"beta": [beta(t) for t in TIMES], "integral": area, "alpha_bar": [math.exp(-a) for a in area]}
    # As DDPM counts them (the rule of Improved DDPM and of diffusers' betas_for_alpha_bar), as long as nothing is clipped.
    steps = 1000
    bar = [cosine(torch.tensor(i / steps)).item() for i in range(steps + 1)]
    out["cosine_discrete"] = [min(1 - bar[i + 1] / bar[i], 0.999) for i in range(975)]
    return out


def moments():
    """Mean factor and variance of x_t for x_0 of variance 0, from dm/dt = f m and dV/dt = 2 f V + g^2."""
    beta, low, high = RATES["linear"], 0.01, 50.0
    sigma = lambda t: low * (high / low) ** t

    def solve(f, g2, start):
        run = solve_ivp(
            lambda t, y: [f(t) * y[0], 2 * f(t) * y[1] + g2(t)],
            (0, 1), [1.0, start], method="DOP853", t_eval=TIMES, rtol=1e-12, atol=1e-16,
        )
        return {"mean": run.y[0].tolist(), "std": np.sqrt(run.y[1]).tolist()}

    area = lambda t: 0.1 * t + 9.95 * t * t
    drift = lambda t: -0.5 * beta(t)
    return {
        "vp": solve(drift, beta, 0.0),
        "sub_vp": solve(drift, lambda t: beta(t) * (1 - math.exp(-2 * area(t))), 0.0),
        # d sigma^2 / dt, by a derivative.
        "ve": solve(lambda t: 0.0, lambda t: 2 * sigma(t) ** 2 * math.log(high / low), low**2),
    }


def mixture():
    """Log densities and scores of a noised mixture, x = a x_0 + b epsilon."""
    weights = [0.3, 0.7]
    means = [[1.0, -0.5], [-1.0, 1.5]]
    covariances = [[[0.5, 0.2], [0.2, 0.3]], [[0.2, -0.1], [-0.1, 0.6]]]
    points = [[0.0, 0.0], [1.2, -0.7], [-2.0, 3.0], [4.0, 4.0]]
    cases = []
    for a, b in [(1.0, 0.0), (0.8, 0.6), (0.1, 0.995), (1.0, 3.0)]:
        parts = [
            (w, a * np.array(m), a * a * np.array(c) + b * b * np.eye(2)) for w, m, c in zip(weights, means, covariances)
        ]
        density = sum(w * multivariate_normal(m, c).pdf(points) for w, m, c in parts)
        x = torch.tensor(points, requires_grad=True)
        log = torch.logsumexp(
            torch.stack([
                math.log(w) + torch.distributions.MultivariateNormal(torch.tensor(m), torch.tensor(c)).log_prob(x)
                for w, m, c in parts
            ]), 0)
        (score,) = torch.autograd.grad(log.sum(), x)
        cases.append({"a": a, "b": b, "log_density": np.log(density).tolist(), "score": score.tolist()})
    return {"weights": weights, "means": means, "covariances": covariances, "points": points, "cases": cases}


def assignments():
    """Least total costs of matrices that both sides compute: ((7919 i + 104729 j + 31 i j) mod 1009) + (i - j)^2 mod 17."""
    out = []
    for n, m in [(1, 1), (5, 5), (12, 30), (64, 64), (256, 256)]:
        i, j = np.indices((n, m))
        cost = (7919 * i + 104729 * j + 31 * i * j) % 1009 + (i - j) ** 2 % 17
        rows, columns = linear_sum_assignment(cost)
        out.append({"rows": n, "columns": m, "cost": int(cost[rows, columns].sum())})
    return out


def adaptive():
    """A Lotka-Volterra system, its end and scipy's evaluations at the same tolerance."""
    field = lambda t, y: [1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3 * y[1]]
    exact = solve_ivp(field, (0, 10), [10.0, 5.0], method="DOP853", rtol=1e-13, atol=1e-13)
    run = solve_ivp(field, (0, 10), [10.0, 5.0], method="RK45", rtol=1e-6, atol=1e-6)
    return {"end": exact.y[:, -1].tolist(), "evaluations": int(run.nfev)}


print(json.dumps({
    "times": TIMES,
    "schedules": schedules(),
    "moments": moments(),
    "mixture": mixture(),
    "assignments": assignments(),
    "lotka_volterra": adaptive(),
}, indent=1))
