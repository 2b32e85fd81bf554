"""The difference of two variants of `genailab ablate` on the same conditions and seeds, with a 95 % bootstrap interval over
conditions: its own table compares with "as it is" alone.

usage: python3 benches/ablation_pair.py ABLATION.json "encoder frozen after phase A" "encoder frozen after reconstruction" [...]
Each further variant is compared with the first. Needs nothing beyond Python.
"""

import json
import random
import sys

DRAWS = 4000


def scores(ablation):
    """{(variant, metric): {condition: {seed: value}}}"""
    found = {}
    for trial in ablation["trials"]:
        for row in trial.get("scores", []):
            of = found.setdefault((trial["variant"], row["metric"]), {})
            of.setdefault(row["perturbation"], {})[trial["seed"]] = row["value"]
    return found


def mean(values):
    return sum(values) / len(values)


def main(file, first, *others):
    with open(file) as text:
        found = scores(json.load(text))
    metrics = sorted({metric for variant, metric in found if variant == first})
    if not metrics:
        sys.exit(f"{file}: no scores of {first!r}; it has {sorted({variant for variant, _ in found})}")
    for other in others:
        for metric in metrics:
            a, b = found[first, metric], found.get((other, metric), {})
            pairs = [[a[c][s] - b[c][s] for s in a[c] if s in b[c]] for c in a if c in b]
            pairs = [differences for differences in pairs if differences]
            if not pairs:
                sys.exit(f"{file}: {other!r} was not judged on the conditions of {first!r}")
            draw = random.Random(0)
            means = sorted(mean(sum(draw.choices(pairs, k=len(pairs)), [])) for _ in range(DRAWS))
            low, high = means[round(0.025 * DRAWS)], means[round(0.975 * DRAWS) - 1]
            print(f"{first} less {other}, {metric}: {mean(sum(pairs, [])):+.3f} ({low:+.3f} to {high:+.3f}), {len(pairs)} conditions")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
