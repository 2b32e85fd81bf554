"""Two models of a benchmark side by side: the paired difference of a metric, with its bootstrap interval.

    genailab bench --data effects.h5ad --split doubles --seeds 20 --models all --out my-bench
    python benches/paired.py my-bench combination kernel_ridge l2 pearson

Differences are taken per condition and seed; the interval (95 %) is over conditions, which are drawn with all their seeds,
because the same double in two splits is not two observations. Also: the median of a metric over conditions, its mean over
seeds. Needs nothing beyond Python.
"""

import collections
import json
import pathlib
import random
import statistics
import sys

DRAWS = 2000


def values(rows, metric, model):
    return {(r["perturbation"], r["seed"]): r["value"] for r in rows if (r["metric"], r["model"]) == (metric, model)}


def main(folder, first, second, metrics):
    rows = json.loads((pathlib.Path(folder) / "results.json").read_text())["rows"]
    rows = [row for row in rows if row["metric"] in metrics and row.get("perturbation")]
    for metric in metrics:
        a, b = values(rows, metric, first), values(rows, metric, second)
        of = collections.defaultdict(list)
        for key in a.keys() & b.keys():
            of[key[0]].append(a[key] - b[key])
        if not of:
            sys.exit(f"{folder}: {first} and {second} have no condition with {metric} in common")
        conditions = [of[name] for name in sorted(of)]
        mean = statistics.fmean(value for group in conditions for value in group)
        rng, draws = random.Random(0), []
        for _ in range(DRAWS):
            drawn = rng.choices(conditions, k=len(conditions))
            draws.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
        draws.sort()
        low, high = draws[DRAWS // 40], draws[-DRAWS // 40]
        lower = statistics.fmean(statistics.fmean(group) < 0 for group in conditions)
        print(
            f"{metric}: {first} - {second} = {mean:.4f} [{low:.4f}, {high:.4f}], "
            f"lower for {lower:.0%} of {len(conditions)} conditions"
        )
        for model, found in ((first, a), (second, b)):
            by_seed = collections.defaultdict(list)
            for (_, seed), value in found.items():
                by_seed[seed].append(value)
            medians = statistics.fmean(statistics.median(group) for group in by_seed.values())
            print(f"    {model}: mean {statistics.fmean(found.values()):.4f}, median {medians:.4f}")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
