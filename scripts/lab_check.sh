#!/usr/bin/env bash
# Opens notebook 02 in JupyterLab, in a Chromium without a window, from a folder outside the repository; runs all cells,
# and checks that none failed and that its figures are shown. `make lab-check`; not part of `make test`, because few
# machines have a Chromium.
#
#   GENAILAB_REQUIRE_CHROMIUM=1 scripts/lab_check.sh    fails, and does not skip, where there is no Chromium
#   GENAILAB_KERNEL=FILE scripts/lab_check.sh           with a kernel that was built elsewhere
set -euo pipefail
cd "$(dirname "$0")/.."

pictures=target/lab-check
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ]; then
    echo "lab-check: SKIPPED, nothing was checked: no chromium, chromium-browser or google-chrome on the path; install one" >&2
    [ -z "${GENAILAB_REQUIRE_CHROMIUM:-}" ] || exit 1
    exit 0
fi

kernel=${GENAILAB_KERNEL:-}
if [ -z "$kernel" ]; then
    scripts/setup.sh test
    cargo build --profile kernel --locked -p genailab-kernel
    kernel=target/kernel/genailab-kernel
fi

# An environment of its own: the user's Jupyter and .venv stay as they are.
venv=$pictures/venv
if ! cmp -s scripts/requirements-lab-check.txt "$venv/installed"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements-lab-check.txt
    cp scripts/requirements-lab-check.txt "$venv/installed"
fi
export GENAILAB_LIBRARY=$PWD
"$kernel" install --prefix "$venv"
"$kernel" prepare
JUPYTER_PREFER_ENV_PATH=1 "$venv/bin/python" kernel/benches/jupyterlab.py --chapter notebooks/02_count_vae.ipynb "$pictures" "$chromium"
echo "lab-check: passed; look at $pictures/chapter.png"
