#!/usr/bin/env bash
# What the embedding that the JEPA's predictor works on is worth, by how it was trained, on real cells: the tables "On real cells" of
# docs/ablation.md.
#
#   benches/substrate.sh DATA_FOLDER [FOLDER]
#
# DATA_FOLDER has norman_cells.h5ad and kang_donors_cells.h5ad, genesets/hallmark.gmt and knowledge/dorothea_abcd.tsv.gz. Two to three
# hours on one core; what is finished in FOLDER is not trained again.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$(realpath "$1")
folder=$(realpath -m "${2:-target/substrate}")
tool=$PWD/target/release/genailab
mkdir -p "$folder"
frozen=encoder_frozen_after_phase_A,encoder_frozen_after_reconstruction,encoder_frozen_after_contrast,encoder_frozen_after_a_VAE
frozen+=,encoder_frozen_at_principal_components,encoder_frozen_at_random_weights
starts=no_phase_A,phase_A_by_reconstruction,phase_A_by_conditions
masks=masks:_10_%_a_target,masks:_32_%_a_target,masks:_1_target,masks:_overlap_0.5

# ablate NAME FILE OPTIONS
ablate() {
    local out=$folder/$1 file=$data/$2
    shift 2
    "$tool" ablate --data "$file" --seeds 3 "$@" $([ -e "$out/ablation.json" ] && echo --resume) --out "$out"
}

ablate norman norman_cells.h5ad --split doubles --variants as_it_is,$frozen,$starts,$masks,groups_of_even_size,random_groups
ablate norman-60 norman_cells.h5ad --split doubles --epochs 60 --variants as_it_is,$frozen,$starts,$masks
ablate norman-60-modules norman_cells.h5ad --split doubles --epochs 60 --variants as_it_is,masks_by_gene_sets,masks_by_regulons \
    --gene-sets "$data/genesets/hallmark.gmt" --regulons "$data/knowledge/dorothea_abcd.tsv.gz"
ablate kang kang_donors_cells.h5ad --split context:cell_type \
    --variants as_it_is,$frozen,$starts,$masks,groups_of_even_size,random_groups
python3 benches/ablation_pair.py "$folder/norman-60/ablation.json" "encoder frozen after phase A" \
    "encoder frozen after reconstruction" "encoder frozen after contrast" "encoder frozen after a VAE" \
    "encoder frozen at principal components" "encoder frozen at random weights"
"$tool" bench --data "$data/norman_cells.h5ad" --split doubles --seeds 3 --models additive --out "$folder/norman-sum"
