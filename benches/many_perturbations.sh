#!/usr/bin/env bash
# What the settings for many perturbations are worth to the JEPA (size tiny): unseen doubles of cells made up from measured effects,
# with those settings (widen = true) and without.
#
#   benches/many_perturbations.sh EFFECTS.h5ad [CELLS] [SEED] [FOLDER]
#
# EFFECTS has one row a perturbation (uns["effect"]); SEED is that of the cells. For README's figures: norman_pseudobulk.h5ad with
# 25000 cells of seed 5, and with 111445 of seed 7. 20 minutes with 25000 cells on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
effects=$(realpath "$1")
cells=${2:-25000}
seed=${3:-5}
folder=$(realpath -m "${4:-target/many_perturbations}")
tool=$PWD/target/release/genailab
mkdir -p "$folder"
cd "$folder"
name=cells-$cells-seed-$seed
[ -e "$name.h5ad" ] || "$tool" simulate --effects "$effects" --cells "$cells" --seed "$seed" --out "$name.h5ad"
for widen in true false; do
    # Size tiny, as `run` takes it.
    cat >"widen-$widen.toml" <<TOML
[jepa]
widen = $widen
[jepa.encoder]
width = 32
encoder = { kind = "groups", groups = 8, hidden = 64, tokens = 32, depth = 1, predictor_depth = 1, attention = { heads = 2, dropout = 0.0 } }
predictor = { hidden = [64] }
[jepa.pretraining]
epochs = 6
[jepa.response]
hidden = 32
TOML
    echo "== widen = $widen"
    "$tool" bench --data "$name.h5ad" --split doubles --seeds 1 --out "$name-$widen" --config "widen-$widen.toml" \
        --models scaled_additive,kernel_ridge,combination,log_rate_sum,jepa
done
