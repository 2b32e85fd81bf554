"""Genetic interactions by statsmodels, scipy, scikit-learn and dcor, for tests/biology/interactions.rs.

    GENAILAB_TEST_DATA=FOLDER python tests/reference/interactions.py > tests/reference/interactions.json

`local_fdr`: Efron's local FDR with the settings of R's locfdr(nulltype = 1), from statsmodels' Poisson GLM on scipy's natural
cubic splines and a truncated normal maximised by scipy. `doubles`: GEARS' get_coeffs. `published`: how well the scores tell the
published classes of Norman's doubles apart. Needs norman_pseudobulk.h5ad.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import anndata
import dcor
import numpy as np
import statsmodels.api as sm
from scipy import optimize, stats
from scipy.interpolate import CubicSpline
from sklearn.linear_model import TheilSenRegressor
from sklearn.metrics import average_precision_score, roc_auc_score

warnings.filterwarnings("ignore")
DATA = Path(os.environ.get("GENAILAB_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
GENES = 300


def locfdr(z, bins=119, df=7):
    breaks = np.linspace(z.min(), z.max(), bins + 1)
    x = (breaks[1:] + breaks[:-1]) / 2
    y = np.bincount(np.clip(np.ceil((z - z.min()) / (breaks[1] - breaks[0])), 1, bins).astype(int) - 1, minlength=bins)
    knots = np.quantile(x, np.arange(df + 1) / df)
    basis = CubicSpline(knots, np.eye(df + 1), bc_type="natural")(x)
    f = sm.GLM(y, basis, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=500).fittedvalues
    med, q = np.median(z), np.quantile(z, [0.25, 0.75])
    scale = (q[1] - q[0]) / (2 * stats.norm.ppf(0.75))
    b = 1 if len(z) > 500_000 else 4.3 * np.exp(-0.26 * np.log10(len(z)))

    def mle(center, half):
        low, high = center - half, center + half
        inside = z[(z >= low) & (z <= high)]

        def loss(p):
            d, s = p[0] * half + center, np.exp(p[1]) * half
            mass = stats.norm.cdf(high, d, s) - stats.norm.cdf(low, d, s)
            return -stats.norm.logpdf(inside, d, s).mean() + np.log(mass)

        p = optimize.minimize(loss, [0, 0], method="Nelder-Mead", options={"xatol": 1e-12, "fatol": 1e-15, "maxiter": 5000}).x
        d, s = p[0] * half + center, np.exp(p[1]) * half
        mass = stats.norm.cdf(high, d, s) - stats.norm.cdf(low, d, s)
        return d, s, len(inside) / len(z) / mass

    d, s, _ = mle(med, b * scale)
    d, s, p0 = mle(d, b * s)
    f0 = stats.norm.pdf(x, d, s)
    f0 *= f.sum() / f0.sum()
    fdr = np.minimum(p0 * f0 / f, 1)
    one = fdr == 1
    low = x[(x <= d) & one].min(initial=d)
    high = x[(x >= d) & one].max(initial=d)
    fdr[((x >= low) & (x <= high)) | (np.abs(x - d) <= s)] = 1
    at = np.interp(z, x, fdr)
    thresholds = {}
    for name, side in [("lower", z < 0), ("upper", z > 0)]:
        distance = np.abs(at - 0.05)
        distance[~side] = np.inf
        reached = (at[side] <= 0.05).any()
        near = np.flatnonzero(distance == distance.min())
        thresholds[name] = float(z[near[np.argmin(np.abs(z[near]))]]) if reached else None
    misfit = ((y - f) ** 2 / (f + 1))[1:-1].sum() / (bins - 2 - df)
    return {"delta": d, "sigma": s, "p0": p0, "misfit": misfit, "x": x.tolist(), "fitted": f.tolist(), "fdr": fdr.tolist(), **thresholds}


def scores(a, b, d, theil_sen):
    singles = np.c_[a, b]
    c = sm.RLM(d, singles, M=sm.robust.norms.HuberT()).fit(tol=1e-13, maxiter=500, conv="coefs").params
    first, second = dcor.distance_correlation(a, d), dcor.distance_correlation(b, d)
    out = {
        "huber": c.tolist(),
        "model_fit": np.corrcoef(singles @ c, d)[0, 1],
        "similarity": dcor.distance_correlation(singles, d),
        "singles_similarity": dcor.distance_correlation(a, b),
        "equality": min(first, second) / max(first, second),
    }
    if theil_sen:
        fit = TheilSenRegressor(fit_intercept=False, max_subpopulation=1e5, max_iter=100_000, tol=1e-11, random_state=0).fit(singles, d)
        out["theil_sen"] = fit.coef_.tolist()
    return out


def main():
    rng = np.random.default_rng(7)
    mixture = np.concatenate([rng.normal(0.05, 0.3, 3600), rng.normal(1.4, 0.3, 240), rng.normal(-1.5, 0.4, 160)])
    mixture = np.round(mixture, 4).astype(np.float32).astype(float)
    out = {"local_fdr": {"values": [round(v, 4) for v in mixture.tolist()], "expected": locfdr(mixture)}}

    a, b = rng.normal(size=(2, 40)).astype(np.float32).astype(float)
    d = (0.9 * a + 0.4 * b + 0.2 * rng.standard_t(2, 40)).astype(np.float32).astype(float)
    out["double"] = {"first": a.tolist(), "second": b.tolist(), "double": d.tolist(), "expected": scores(a, b, d, True)}

    score = np.round(rng.normal(size=300), 1)  # rounded, so that there are ties
    truth = rng.random(300) < 1 / (1 + np.exp(2 - score))
    out["ranking"] = {
        "scores": score.tolist(),
        "truth": truth.tolist(),
        "auprc": average_precision_score(truth, score),
        "auc": roc_auc_score(truth, score),
    }

    data = anndata.read_h5ad(DATA / "norman_pseudobulk.h5ad")
    effects = {name: row.astype(float) for name, row in zip(data.obs["perturbation"], data.X)}
    published = dict(zip(data.obs["perturbation"], data.obs["gi_class"].astype(str)))
    doubles = [n for n in effects if "+" in n and all(g in effects for g in n.split("+"))]
    strength = sum(effects[g] ** 2 for n in doubles for g in n.split("+"))
    genes = np.sort(np.argsort(-strength, kind="stable")[:GENES])
    departures = np.concatenate([
        (data.X[list(effects).index(n)] - (data.X[list(effects).index(n.split("+")[0])] + data.X[list(effects).index(n.split("+")[1])]))
        for n in doubles
    ]).astype(float)
    out["norman"] = {"local_fdr": locfdr(departures), "doubles": {}}
    rows = []
    for n in doubles:
        a, b = (effects[g][genes] for g in n.split("+"))
        s = scores(a, b, effects[n][genes], True)
        out["norman"]["doubles"][n] = s
        rows.append((n, np.hypot(*s["huber"]), np.hypot(*s["theil_sen"]), s))
    known = [r for r in rows if published[r[0]] not in ("", "nan", "UNLABELLED")]
    kind = [published[r[0]] for r in known]
    synergy = [k.startswith("SYNERGY") or k == "POTENTIATION" for k in kind]
    auc = lambda truth, value: roc_auc_score(truth, value)
    out["norman"]["published"] = {
        "n": len(known),
        "magnitude_spearman_huber_theil_sen": stats.spearmanr([r[1] for r in rows], [r[2] for r in rows])[0],
        "auc_synergy_huber": auc(synergy, [r[1] for r in known]),
        "auc_synergy_theil_sen": auc(synergy, [r[2] for r in known]),
        "auc_suppression": auc([k == "SUPPRESSOR" for k in kind], [-r[1] for r in known]),
        "auc_redundancy": auc([k == "REDUNDANT" for k in kind], [r[3]["similarity"] for r in known]),
        "auc_neomorphism": auc([k == "NEOMORPHIC" for k in kind], [-r[3]["model_fit"] for r in known]),
        "auc_epistasis": auc([k == "EPISTASIS" for k in kind], [-r[3]["equality"] for r in known]),
    }
    json.dump(out, sys.stdout, separators=(",", ":"))


main()
