#!/usr/bin/env bash
# The whole way at the size of Norman 2019, on a file that is made up but as large and of the same layout.
#
#   scripts/rehearse_norman.sh EFFECTS.h5ad [FOLDER]
#
# EFFECTS has one row a perturbation (uns["effect"]); the cells do what it says. Fetches the file from a server on this machine,
# then inspects, trains, benchmarks, calibrates and, where the kernel is built, executes notebooks 01, 02, 05 and 10 on it. Ends
# with a table of seconds and peak memory; what each step said is in FOLDER/logs. Takes an hour and 3 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
effects=$(realpath "$1")
folder=$(realpath -m "${2:-target/rehearsal}")
tool=$PWD/target/release/genailab
python=$PWD/.venv/bin/python
kernel=$PWD/target/kernel/genailab-kernel
logs=$folder/logs
mkdir -p "$logs"
: >"$folder/table"

# step NAME COMMAND...: runs it, notes its seconds and the peak of its memory.
step() {
    local name=$1
    shift
    echo "== $name"
    "$python" - "$folder/table" "$name" "$@" >"$logs/$name.log" 2>&1 <<'PYTHON' || { tail -n 5 "$logs/$name.log"; exit 1; }
import resource, subprocess, sys, time
table, name, *command = sys.argv[1:]
start = time.monotonic()
code = subprocess.run(command).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
with open(table, "a") as file:
    file.write(f"{name:<28} {time.monotonic() - start:8.1f} s {peak:8.0f} MB{'' if code == 0 else '   FAILED'}\n")
sys.exit(code)
PYTHON
}

if [ ! -e "$folder/served/norman.h5ad" ]; then
    mkdir -p "$folder/served"
    step simulate "$tool" simulate --effects "$effects" --cells 111445 --out "$folder/simulated.h5ad"
    step make-file "$python" scripts/rehearse_norman.py "$folder/simulated.h5ad" "$folder/served/part.h5ad"
    mv "$folder/served/part.h5ad" "$folder/served/norman.h5ad"
fi

"$python" -m http.server --bind 127.0.0.1 --directory "$folder/served" 8617 >"$logs/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; echo; cat "$folder/table"' EXIT
export GENAILAB_CACHE=$folder/cache GENAILAB_MANIFEST=$folder/manifest.json
cat >"$GENAILAB_MANIFEST" <<JSON
{"datasets": [{"name": "norman", "title": "as large as Norman 2019", "url": "http://127.0.0.1:8617/norman.h5ad",
  "file": "norman.h5ad", "md5": "$(md5sum "$folder/served/norman.h5ad" | cut -d' ' -f1)", "licence": "none", "citation": "none"}]}
JSON

cd "$folder"
step fetch "$tool" fetch norman
step inspect "$tool" inspect norman
step read-by-anndata "$python" -c 'import anndata, sys; print(anndata.read_h5ad(sys.argv[1]).X.nnz)' cache/norman.h5ad
step read-everything "$tool" split --data norman --split doubles --out split.json
step run "$tool" run --data norman --out run
step bench-doubles "$tool" bench --data norman --split doubles --seeds 1 --out bench
step calibrate "$tool" calibrate --data norman --out calibrate
if [ -x "$kernel" ]; then
    export GENAILAB_DATA=$folder/cache/norman.h5ad
    for notebook in 01 02 05 10; do
        step "notebook-$notebook" "$kernel" run --output "$folder/notebooks" "$OLDPWD"/notebooks/${notebook}_*.ipynb
    done
fi
