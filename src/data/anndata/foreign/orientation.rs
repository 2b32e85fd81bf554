//! Whether the lines of a text table are cells or genes, by what their names look like.

use crate::data::features;

/// Genes that every screen of human or mouse cells measures.
const COMMON_GENES: [&str; 8] = ["ACTB", "GAPDH", "B2M", "MALAT1", "TUBA1B", "EEF1A1", "TMSB4X", "FTH1"];
/// Share of names that decides what a list of names is.
const MOST: f64 = 0.5;

/// Why lines are genes and columns cells, where the names tell.
pub(super) fn is_transposed(lines: &[String], columns: &[String]) -> Option<&'static str> {
    if are_barcodes(columns) && !are_barcodes(lines) {
        return Some("its header holds barcodes");
    }
    (are_genes(lines) && !are_genes(columns)).then_some("its lines are named by genes")
}

/// `ACGTACGTACGTACGT-1`, also with a sample's name before it.
fn are_barcodes(names: &[String]) -> bool {
    let is_barcode = |name: &&String| {
        name.split(|c: char| !c.is_ascii_uppercase())
            .any(|part| part.len() >= 10 && part.bytes().all(|b| b"ACGTN".contains(&b)))
    };
    names.iter().filter(is_barcode).count() as f64 > MOST * names.len() as f64
}

fn are_genes(names: &[String]) -> bool {
    let is_common = |name: &&String| {
        let name = name.to_uppercase();
        let of_ribosome =
            |start| name.strip_prefix(start).is_some_and(|rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()));
        COMMON_GENES.contains(&name.as_str()) || name.starts_with("MT-") || of_ribosome("RPL") || of_ribosome("RPS")
    };
    features::are_ensembl(names) || names.iter().any(|name| is_common(&name))
}
