"""Do static profiles help the prediction of courses? Arms of static-dynamic beside the world model and linear dynamics.

    python benches/static_dynamic.py GENAILAB [--equal-epochs] [SEED ...]          (needs anndata, numpy; seeds of simulations, default 1 2 3)

Of each simulated time course 10 of 16 singles keep their courses; of the other singles and of the doubles with one of them the cells of
the last time alone are kept. The courses of the doubles of the 10 are held out: a fifth of these doubles for validation, the others are the test. The arms:

    both       courses of singles, and what was measured once, with its time
    hidden     the same, the time of what was measured once missing (--static)
    dynamic    courses of singles alone
    static     what was measured once alone; judged on the doubles whose genes it knows, if there are any
    world      the world model on all of it: what was measured once is a course of one step
    world, dynamic   the world model on courses of singles alone

Arms of one model are trained for the same number of steps, that of their first arm, `both` (60 epochs) or `world` (150): an epoch over fewer
sequences has fewer steps, so such an arm gets more epochs (rounded to whole ones; the steps are printed). No training stops early. With
--equal-epochs all arms of a model have the same number of epochs at most, and may stop early, as its defaults say: the numbers of chapter 17.

Printed is the error of held-out courses from control, root mean square per number of a state, in the states of all training profiles with
a time (the arms dynamic and static have that space too, as the file is the same; the last arm and `hidden` have that of courses alone,
so their error is also given relative to persistence).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import anndata as ad
import numpy as np

ALONG, LAST = 10, 7.0
# Of a model's first arm: the models' defaults.
EPOCHS = {"static-dynamic": 60, "world-model": 150}
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


def train(program, arm, out, epochs):
    """Trains and returns the errors of held-out courses, and the optimizer steps that were taken."""
    model, data, config, more = arm
    file = out.with_suffix(".toml")
    file.write_text(config)
    run(program, ["train", "--data", data, "--model", model, "--config", file, "--epochs", epochs, "--out", out, *more])
    test = json.loads((out / "metrics.json").read_text())["test"]
    history = max(out.rglob("history.jsonl"), key=lambda path: "flow" in path.parts)
    return test, json.loads(history.read_text().splitlines()[-1])["steps"]


def main(program, seeds, equal_epochs):
    table = {}
    # Patience that no training here uses up: with it a training takes all its steps, and still ends with its best weights.
    patience = "" if equal_epochs else "[train]\nearly_stopping = 1000000\n"
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            simulated = folder / "s.h5ad"
            run(program, f"simulate --time-points 8 --cells 9000 --genes 150 --seed {seed} --out {simulated}".split())
            both, courses, static = parts(simulated, folder)
            arms = {
                "both": ("static-dynamic", both, CONFIG.format(kinds="both") + patience, []),
                "hidden": ("static-dynamic", courses, CONFIG.format(kinds="both") + patience, ["--static", static]),
                "dynamic": ("static-dynamic", both, CONFIG.format(kinds="dynamic") + patience, []),
                "static": ("static-dynamic", both, CONFIG.format(kinds="static") + patience, []),
                "world": ("world-model", both, WORLD + patience, []),
                "world, dynamic": ("world-model", courses, WORLD + patience, []),
            }
            steps_of = {}
            for name, arm in arms.items():
                epochs = EPOCHS[arm[0]]
                if not equal_epochs and arm[0] in steps_of:
                    _, per_epoch = train(program, arm, folder / f"{name} once", 1)
                    epochs = max(round(steps_of[arm[0]] / per_epoch), 1)
                test, steps = train(program, arm, folder / name, epochs)
                steps_of.setdefault(arm[0], steps)
                if test is None:
                    print(seed, name, "knows no gene of the held-out doubles", flush=True)
                    continue
                table.setdefault(name, []).append(test)
                print(seed, name, f"{steps} steps", {key: round(value, 3) for key, value in test.items()}, flush=True)
    for arm, tests in table.items():
        means = {name: np.mean([test[name] for test in tests]) for name in ["rollout_rmse", "persistence", "linear_dynamics"]}
        relative = np.mean([test["rollout_rmse"] / test["persistence"] for test in tests])
        print(arm, {name: round(float(value), 3) for name, value in means.items()}, f"of persistence {relative:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("seeds", nargs="*", default=["1", "2", "3"])
    parser.add_argument("--equal-epochs", action="store_true")
    given = parser.parse_args()
    main(given.program, given.seeds, given.equal_epochs)
