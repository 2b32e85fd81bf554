#!/usr/bin/env bash
# Installs what genailab needs on Debian, Ubuntu and macOS, and nothing that is there already.
#
#   scripts/setup.sh run    HDF5 and a C compiler: enough to build and run
#   scripts/setup.sh test   also rustfmt, clippy, rust-src, a Vulkan driver, and .venv with the Python packages of
#                           scripts/requirements.txt
#   scripts/setup.sh lab    also JupyterLab, and the kernel "Rust (genailab)" registered in .venv
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:-test}
say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

need_rust() {
    # A fresh rustup is not on the path of a shell that was open before.
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    command -v cargo >/dev/null || fail "Rust is missing: install it as https://rustup.rs says, then try again"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $found is too old, $wanted or newer is needed: rustup update stable"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs an administrator, and there is no sudo. Run as root: $*"
    fi
}

system_packages() {
    case $(uname -s) in
    Linux)
        local missing=()
        command -v cc >/dev/null || missing+=(build-essential)
        command -v pkg-config >/dev/null || missing+=(pkg-config)
        [ -n "${HDF5_DIR:-}" ] || pkg-config --exists hdf5 2>/dev/null || pkg-config --exists hdf5-serial 2>/dev/null ||
            missing+=(libhdf5-dev)
        if [ "$level" != run ]; then
            # ensurepip is what Debian splits off.
            python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
            # The figures of stored notebooks are drawn with it.
            local folders=(/usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts")
            [ -n "$(find "${folders[@]}" -name '*.[ot]tf' -print -quit 2>/dev/null)" ] || missing+=(fonts-dejavu-core)
        fi
        if [ "$level" = test ]; then
            # A Vulkan driver that needs no GPU: the shaders are tested on it.
            [ -n "$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name '*.json' -print -quit 2>/dev/null)" ] ||
                missing+=(mesa-vulkan-drivers)
        fi
        [ ${#missing[@]} = 0 ] && return
        command -v apt-get >/dev/null ||
            fail "install a C compiler, pkg-config, the HDF5 library with its headers (and Python 3 with venv), then try again"
        say "installing the Debian packages ${missing[*]}"
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
        ;;
    Darwin)
        xcode-select -p >/dev/null 2>&1 || fail "Apple's command line tools are missing: xcode-select --install"
        local missing=()
        [ -n "${HDF5_DIR:-}" ] || brew --prefix --installed hdf5 >/dev/null 2>&1 || missing+=(hdf5)
        command -v pkg-config >/dev/null || missing+=(pkg-config)
        [ "$level" = run ] || good_python >/dev/null || missing+=(python@3.12)
        [ ${#missing[@]} = 0 ] && return
        command -v brew >/dev/null || fail "Homebrew is missing: install it as https://brew.sh says, then try again"
        say "installing with Homebrew: ${missing[*]}"
        brew install "${missing[@]}"
        ;;
    *) fail "$(uname -s) is not supported: Debian, Ubuntu or macOS" ;;
    esac
}

# Prints a Python that is new enough.
good_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

rust_components() {
    if ! command -v rustup >/dev/null; then
        say "no rustup here: rustfmt, clippy and rust-src must come from where Rust came from"
        return
    fi
    local name missing=()
    for name in rustfmt clippy rust-src; do
        rustup component list --installed | grep -q "^$name" || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] && return
    say "adding the Rust components ${missing[*]}"
    rustup component add "${missing[@]}" || say "could not add ${missing[*]}: the notebooks may fail to find a type"
}

# Makes .venv and installs the given requirement files, unless exactly these are in it.
python_venv() {
    local python stamp=.venv/requirements.installed
    python=$(good_python) || fail "Python 3.10 or newer is missing"
    if [ -x .venv/bin/python ] && cat "$@" | cmp -s - "$stamp"; then
        return
    fi
    say "installing into .venv the Python packages of $*"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check $(printf -- '-r %s ' "$@")
    cat "$@" >"$stamp"
}

need_rust
system_packages
case $level in
run) ;;
test)
    rust_components
    # JupyterLab, once it is there, stays: its packages fit the others.
    if [ -f .venv/bin/jupyter-lab ]; then
        python_venv scripts/requirements.txt scripts/requirements-lab.txt
    else
        python_venv scripts/requirements.txt
    fi
    ;;
lab)
    rust_components
    python_venv scripts/requirements.txt scripts/requirements-lab.txt
    cargo build --profile kernel --locked -p genailab-kernel
    target/kernel/genailab-kernel install --prefix .venv
    ;;
*) fail "unknown level '$level': run, test or lab" ;;
esac
