#!/usr/bin/env bash
# Runs the phases of `make test` and ends with a table of what each took.
#
#   scripts/phases.sh
#
# Two lanes run side by side, because the compiler keeps one core busy for minutes with each of the largest crates: one
# checks, builds and tests the library, the other builds the kernel and what the notebooks depend on, and runs them. Each
# phase is a target of the Makefile; its output is shown as one block when it ends. After a failure no further phase begins.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=target/phases
rm -rf "$logs"
mkdir -p "$logs"
begun=$SECONDS

# phase NAME TARGET: makes the target, shows what it said, notes its seconds and how it ended.
phase() {
    local name=$1 target=$2 start=$SECONDS ended=ok
    if [ -e "$logs/failed" ]; then
        echo "$name not-run -" >>"$logs/table"
        return 1
    fi
    echo "== $name: begun"
    make --no-print-directory "$target" >"$logs/$target.log" 2>&1 || ended=FAILED
    # One block, though the other lane may have something to say at the same time.
    until mkdir "$logs/printing" 2>/dev/null; do sleep 0.1; done
    echo "== $name: $ended after $((SECONDS - start)) s"
    cat "$logs/$target.log"
    rmdir "$logs/printing"
    echo "$name $ended $((SECONDS - start))" >>"$logs/table"
    [ $ended = ok ] || { touch "$logs/failed" && return 1; }
}

library() {
    phase lint lint && phase docs docs && phase build build && phase tests unit
}

kernel() {
    phase kernel kernel && phase notebook-dependencies notebook-dependencies && phase kernel-tests kernel-unit &&
        phase book book-check && phase notebooks notebooks
}

table() {
    echo
    echo "phase                    seconds"
    while read -r name ended seconds; do
        printf '%-24s %7s%s\n' "$name" "$seconds" "$([ "$ended" = ok ] || echo "  $ended")"
    done <"$logs/table"
    printf '%-24s %7s\n' total $((SECONDS - begun))
}
trap table EXIT

phase set-up setup || exit 1
# Each lane is a process group of its own, so that Ctrl-C ends the compilers too.
set -m
library &
lanes=-$!
kernel &
lanes="$lanes -$!"
set +m
trap 'kill -- $lanes 2>/dev/null; exit 130' INT TERM
wait
[ ! -e "$logs/failed" ]
