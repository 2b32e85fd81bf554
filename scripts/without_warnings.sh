#!/usr/bin/env bash
# Runs a command of cargo and fails if it fails or a warning of our own code is among what it says; cargo repeats the
# warnings of what was built before. `-D warnings` in RUSTFLAGS would do it too, but build every dependency again.
#
#   scripts/without_warnings.sh cargo build --release
set -uo pipefail

said=$(mktemp)
trap 'rm -f "$said"' EXIT
CARGO_TERM_COLOR=never "$@" 2>&1 | tee "$said" || exit 1
if grep -q '^warning: `genailab' "$said"; then
    echo "error: the warnings above are errors here" >&2
    exit 1
fi
