#!/usr/bin/env bash
# Builds target/release/genailab-cuda: the command line tool for NVIDIA GPUs (`make cuda`).
#
# With a CUDA toolkit on this machine (nvcc is found) that toolkit is used. Without one, its compiler and libraries are
# taken from NVIDIA's Python packages into target/cuda; no GPU and no driver is needed to build.
#
#   scripts/cuda.sh         the program
#   scripts/cuda.sh test    the tests of single operations, where there is a GPU
#
#   CUDA_COMPUTE_CAP=90   the kernels' architecture: 80 A100, 86 RTX 30, 89 RTX 40 and L4, 90 H100 and H200; where it is
#                         not set, that of this machine's GPU, or 80, which newer GPUs run as well
#   CUDA_TARGET=target    cargo's target folder
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "cuda: $*"; }
fail() {
    echo "cuda: $*" >&2
    exit 1
}

target=${CUDA_TARGET:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

# One release of the toolkit: a driver refuses kernels of a toolkit that is newer than itself.
packages=(
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.0.2.14 nvidia-cuda-cccl==13.0.85
)

[ "$(uname -s)" = Linux ] || fail "CUDA is built on Linux; on an Apple machine use --device metal, which is built in"

# The toolkit in the folder $1, laid out as an installed one, so that the build finds everything by CUDA_PATH.
lay_out_toolkit() {
    local to=$1 python=python3 wheel library
    [ -f "$to/complete" ] && return
    [ -x .venv/bin/python ] && python=.venv/bin/python
    "$python" -m pip --version >/dev/null 2>&1 || fail "no nvcc, and no pip to get it with: install CUDA, or run scripts/setup.sh test"
    say "no nvcc here: fetching the toolkit's Python packages (0.5 GB) into $to"
    rm -rf "$to"
    mkdir -p "$to/lib64/stubs"
    "$python" -m pip download -q --no-deps --only-binary :all: -d "$to/wheels" "${packages[@]}" ||
        fail "the toolkit's packages could not be fetched from the Python package index"
    for wheel in "$to"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$to"; done
    rm -rf "$to/wheels"
    chmod +x "$to"/nvidia/cu13/bin/* "$to"/nvidia/cu13/nvvm/bin/*
    for library in bin include nvvm; do ln -sfn "nvidia/cu13/$library" "$to/$library"; done
    for library in "$to"/nvidia/cu13/lib/lib*.so.*; do
        ln -sf "../nvidia/cu13/lib/$(basename "$library")" "$to/lib64/"
        ln -sf "../nvidia/cu13/lib/$(basename "$library")" "$to/lib64/$(basename "${library%%.so.*}").so"
    done
    stub_of_driver "$to"
    touch "$to/complete"
}

# The linker wants libcuda.so, which comes with a driver. This one has every function's name and does nothing; the
# program loads the driver's own.
stub_of_driver() {
    grep -ohE '\bcu[A-Z][A-Za-z0-9]+(_v[0-9]+|_ptsz|_ptds)*' "$1/include/cuda.h" | sort -u |
        awk '{ print "__attribute__((weak)) int " $1 "(void) { return 3; }" }' >"$1/driver.c"
    cc -w -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$1/lib64/stubs/libcuda.so" "$1/driver.c"
    rm "$1/driver.c"
}

# dfdx asks nvidia-smi for the architecture, even where CUDA_COMPUTE_CAP names it.
answer_for_nvidia_smi() {
    mkdir -p "$target/cuda-answers"
    printf '#!/bin/sh\nprintf "compute_cap\\n%s\\n"\n' "${1%?}.${1#"${1%?}"}" >"$target/cuda-answers/nvidia-smi"
    chmod +x "$target/cuda-answers/nvidia-smi"
    export PATH="$target/cuda-answers:$PATH"
}

if nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null); then
    CUDA_PATH=${CUDA_PATH:-$(cd "$(dirname "$(readlink -f "$nvcc")")/.." && pwd)}
    say "the toolkit in $CUDA_PATH"
else
    lay_out_toolkit "$target/cuda"
    CUDA_PATH=$target/cuda
fi
export CUDA_PATH PATH="$CUDA_PATH/bin:$PATH"

if [ -n "${CUDA_COMPUTE_CAP:-}" ] || ! nvidia-smi --query-gpu=compute_cap --format=csv >/dev/null 2>&1; then
    export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
    answer_for_nvidia_smi "$CUDA_COMPUTE_CAP"
fi

if [ "${1:-build}" = test ]; then
    export LD_LIBRARY_PATH="$CUDA_PATH/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    exec cargo test --release --locked -p genailab --features cuda,metal --target-dir "$target/cuda-build" \
        --test integration on_cuda::
fi

# In its own folder, as the libraries differ from those of the plain build. The libraries of CUDA are looked for beside
# the program, in the toolkit that was laid out here, and where they are usually installed, before the system's places.
# Tags of the old kind: NVRTC loads a library of its own by name, which the newer kind does not find.
places="\$ORIGIN:\$ORIGIN/../cuda/lib64:/usr/local/cuda/lib64"
cargo rustc --release --locked -p genailab --features cuda,metal --bin genailab --target-dir "$target/cuda-build" -- \
    -C strip=symbols -C link-arg="-Wl,--disable-new-dtags,-rpath,$places"
mkdir -p "$target/release"
cp "$target/cuda-build/release/genailab" "$target/release/genailab-cuda.new"
mv "$target/release/genailab-cuda.new" "$target/release/genailab-cuda"
say "$target/release/genailab-cuda, $(du -m "$target/release/genailab-cuda" | cut -f1) MiB"

# Some of dfdx's kernels are compiled when they are first used, with headers that are looked for at the paths of this build.
headers=$(ls -td "$target"/cuda-build/release/build/dfdx-*/out/cuda_utils.cuh | head -n 1)
say "on another machine it also needs CUDA's libraries (LD_LIBRARY_PATH), and at these very paths"
say "  $CUDA_PATH/include"
say "  $(dirname "$headers")"
