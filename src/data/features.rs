//! Which rows of `var` are genes, and what they are called.
//!
//! Cell Ranger counts guides and antibodies beside genes (`feature_types`). A guide's count is the label of its cell, so a model
//! that sees it predicts nothing: such features are left out. Genes may be named by Ensembl ids while perturbations are named
//! by symbols; then the symbols of `var` are used, where it has them.

use super::{Column, Perturbation, Table};
use std::collections::BTreeMap;

/// What Cell Ranger calls a gene.
const GENE_EXPRESSION: &str = "gene expression";
/// Columns of `var` that may hold symbols, in lower case.
const SYMBOLS: [&str; 12] = [
    "gene_name",
    "gene_names",
    "gene_symbol",
    "gene_symbols",
    "symbol",
    "symbols",
    "feature_name",
    "gene_short_name",
    "hgnc_symbol",
    "name",
    "gene",
    "feature",
];
/// Share of names that must be Ensembl ids for all to be read so, and of ids that must have a symbol.
const MOST: f64 = 0.5;

/// The rows of `var` that are genes and a note, where some are not.
pub(super) fn genes_only(var: &Table) -> Option<(Vec<usize>, String)> {
    let is_gene = |kind: &Option<String>| kind.as_deref().is_some_and(|kind| kind.to_lowercase() == GENE_EXPRESSION);
    for (name, column) in var.columns.iter().filter(|(_, column)| is_text(column)) {
        let kinds = column.to_text();
        let kept: Vec<usize> = (0..kinds.len()).filter(|&row| is_gene(&kinds[row])).collect();
        if kept.is_empty() || kept.len() == kinds.len() {
            continue;
        }
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        kinds.iter().filter(|kind| !is_gene(kind)).for_each(|kind| {
            *others.entry(kind.as_deref().unwrap_or("without a kind")).or_default() += 1;
        });
        let others: Vec<String> = others.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let note = format!("features that are no genes were left out, by `{name}` of var: {}", others.join(", "));
        return Some((kept, note));
    }
    None
}

/// `var` with symbols in place of Ensembl ids, and a note; `None` where its names are none or it has no symbols.
pub(super) fn with_symbols(var: &Table) -> Option<(Table, String)> {
    if !are_ensembl(&var.names) {
        return None;
    }
    let (column, symbols) = SYMBOLS.iter().find_map(|usual| {
        let (name, column) =
            var.columns.iter().find(|(name, column)| name.to_lowercase() == *usual && is_text(column))?;
        let symbols = column.to_text();
        let named = symbols.iter().flatten().filter(|symbol| !symbol.trim().is_empty() && !is_ensembl(symbol)).count();
        (named as f64 > MOST * symbols.len() as f64).then(|| (name.clone(), symbols))
    })?;
    let mut renamed = var.clone();
    renamed.set("gene_id", Column::Text(var.names.iter().cloned().map(Some).collect()));
    for (name, symbol) in renamed.names.iter_mut().zip(symbols) {
        if let Some(symbol) = symbol.filter(|symbol| !symbol.trim().is_empty()) {
            *name = symbol;
        }
    }
    Some((renamed, format!("genes are named by Ensembl ids; their symbols are read from `{column}` of var")))
}

/// Whether names are Ensembl ids.
pub(super) fn are_ensembl(names: &[String]) -> bool {
    let n = names.iter().filter(|name| is_ensembl(name)).count();
    n > 0 && n as f64 > MOST * names.len() as f64
}

/// Whether most perturbed genes are named by Ensembl ids.
pub(super) fn targets_are_ensembl(labels: &[Option<Perturbation>]) -> bool {
    let mut targets: Vec<String> = labels.iter().flatten().flat_map(|label| label.genes().to_vec()).collect();
    targets.sort_unstable();
    targets.dedup();
    are_ensembl(&targets)
}

/// `ENSG00000141510`, `ENSMUSG00000059552.14`.
fn is_ensembl(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("ENS") else { return false };
    let rest = rest.split('.').next().unwrap_or(rest);
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_uppercase());
    rest.len() > digits.len() && digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_text(column: &Column) -> bool {
    matches!(column, Column::Categorical { .. } | Column::Text(_))
}
