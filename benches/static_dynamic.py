"""Do static profiles help the prediction of courses? Arms of static-dynamic beside the world model and linear dynamics.

    python benches/static_dynamic.py GENAILAB [SEED ...]          (needs anndata, numpy; seeds of simulations, default 1 2 3)

Of each simulated time course 10 of 16 singles keep their courses; of the other singles and of the doubles with one of them the cells of
the last time alone are kept. The courses of the doubles of the 10 are held out: a fifth of these doubles for validation, the others are the test. The arms:

    both       courses of singles, and what was measured once, with its time
    hidden     the same, the time of what was measured once missing (--static)
    dynamic    courses of singles alone
    static     what was measured once alone; judged on the doubles whose genes it knows, if there are any
    world      the world model on all of it: what was measured once is a course of one step
    world, dynamic   the world model on courses of singles alone

Printed is the error of held-out courses from control, root mean square per number of a state, in the states of all training profiles with
a time (the arms dynamic and static have that space too, as the file is the same; the last arm and `hidden` have that of courses alone,
so their error is also given relative to persistence).
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import anndata as ad
import numpy as np

ALONG, LAST = 10, 7.0
CONFIG = '[flow]\nkinds = "{kinds}"\n[split]\nvalidation = 0.2\ntest = 0.79\n'
WORLD = "[split]\nvalidation = 0.2\ntest = 0.79\n"


def run(program, arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr[-600:]}")


def parts(file, folder):
    """The file of courses and of what was measured once, and each of the two alone, without the times of the second."""
    data = ad.read_h5ad(file)
    names = data.obs["perturbation"].astype(str)
    singles = sorted({name for name in names if "+" not in name and name != "control"})
    along = set(np.random.default_rng(0).permutation(singles)[:ALONG])
    # All genes of a course are among those with courses: singles of them, and the doubles that are held out.
    has_course = names.map(lambda name: name == "control" or set(name.split("+")) <= along).to_numpy()
    once = ~has_course & (data.obs["time"] == LAST).to_numpy() & (data.obs["course"] == "on").to_numpy()
    both, courses, static = (folder / f"{name}.h5ad" for name in ["both", "courses", "static"])
    data[has_course | once].write_h5ad(both)
    # A file of screened cells has control cells: here those of the last time.
    control = (names == "control").to_numpy() & (data.obs["time"] == LAST).to_numpy()
    data[has_course & ~control].write_h5ad(courses)
    rest = data[once | control].copy()
    del rest.obs["time"]
    rest.write_h5ad(static)
    return both, courses, static


def main(program, seeds):
    table = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            simulated = folder / "s.h5ad"
            run(program, f"simulate --time-points 8 --cells 9000 --genes 150 --seed {seed} --out {simulated}".split())
            both, courses, static = parts(simulated, folder)
            arms = {
                "both": ("static-dynamic", both, CONFIG.format(kinds="both"), []),
                "hidden": ("static-dynamic", courses, CONFIG.format(kinds="both"), ["--static", static]),
                "dynamic": ("static-dynamic", both, CONFIG.format(kinds="dynamic"), []),
                "static": ("static-dynamic", both, CONFIG.format(kinds="static"), []),
                "world": ("world-model", both, WORLD, []),
                "world, dynamic": ("world-model", courses, WORLD, []),
            }
            for arm, (model, data, config, more) in arms.items():
                (folder / "c.toml").write_text(config)
                out = folder / arm
                run(program, ["train", "--data", data, "--model", model, "--config", folder / "c.toml", "--out", out, *more])
                test = json.loads((out / "metrics.json").read_text())["test"]
                if test is None:
                    print(seed, arm, "knows no gene of the held-out doubles", flush=True)
                    continue
                table.setdefault(arm, []).append(test)
                print(seed, arm, {name: round(value, 3) for name, value in test.items()}, flush=True)
    for arm, tests in table.items():
        means = {name: np.mean([test[name] for test in tests]) for name in ["rollout_rmse", "persistence", "linear_dynamics"]}
        relative = np.mean([test["rollout_rmse"] / test["persistence"] for test in tests])
        print(arm, {name: round(float(value), 3) for name, value in means.items()}, f"of persistence {relative:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["1", "2", "3"])
