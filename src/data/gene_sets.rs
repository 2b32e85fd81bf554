//! Gene sets from a GMT file, the form in which MSigDB, Reactome and Enrichr give them out.
//!
//! One set a line, fields by tabs: `NAME  DESCRIPTION  GENE  GENE  …`. Empty fields at the end of a line are let be (Enrichr
//! writes them), and of a gene with a weight (`GENE,1.0`, Enrichr again) the name is kept. Source: the file format page of
//! the Broad Institute's GSEA documentation.

use crate::{Error, Result};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

/// A named set of genes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneSet {
    /// Its name, one of a kind in a file.
    pub name: String,
    /// The second field: a word about it or an address.
    pub description: String,
    /// Gene names in the order of the file, each once.
    pub genes: Vec<String>,
}

/// The sets of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GeneSets {
    /// In the order of the file.
    pub sets: Vec<GeneSet>,
}

/// Gene sets as columns of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasuredSets {
    /// Name of each set that is kept.
    pub names: Vec<String>,
    /// Columns of its measured genes, ascending.
    pub columns: Vec<Vec<usize>>,
    /// Number of columns of the dataset.
    pub n_genes: usize,
    /// How many sets were left out and why, in words; empty if none was.
    pub notes: Vec<String>,
}

impl GeneSets {
    /// Reads a GMT file.
    ///
    /// # Errors
    /// A file that cannot be read or is not text; those of [`GeneSets::parse`], with the file's name in front.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Error::data(format!("{}, line {line}: not UTF-8 text; a GMT file is plain text", path.display()))
        })?;
        Self::parse(&text).map_err(|e| e.at(path.display()))
    }

    /// Reads the text of a GMT file.
    ///
    /// # Errors
    /// A line with fewer than three fields, a set without a name, a name that stands twice, no set at all; the message
    /// gives the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut sets = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            if line.trim().is_empty() {
                continue;
            }
            let mut fields = line.split('\t').map(str::trim);
            let name = fields.next().unwrap_or_default();
            let description = fields.next().unwrap_or_default();
            let mut genes: Vec<String> = Vec::new();
            let mut known = HashSet::new();
            for gene in fields.map(|field| field.split(',').next().unwrap_or_default().trim()) {
                if !gene.is_empty() && known.insert(gene) {
                    genes.push(gene.to_owned());
                }
            }
            if name.is_empty() {
                return Err(Error::data(format!(
                    "line {number}: the set has no name; a line is NAME, DESCRIPTION, GENES"
                )));
            }
            if genes.is_empty() {
                return Err(Error::data(format!(
                    "line {number}: the set {name:?} has no gene; a line is NAME, DESCRIPTION, GENES, parted by tabs"
                )));
            }
            if let Some(first) = seen.insert(name, number) {
                return Err(Error::data(format!("line {number}: the set {name:?} stands in line {first} too")));
            }
            sets.push(GeneSet { name: name.to_owned(), description: description.to_owned(), genes });
        }
        if sets.is_empty() {
            return Err(Error::data("line 1: no gene set; a line is NAME, DESCRIPTION, GENES, parted by tabs"));
        }
        Ok(Self { sets })
    }

    /// The sets as columns of a dataset whose genes are `genes`, matched by name as it is written; kept are those of which
    /// `min_size` to `max_size` genes are measured.
    ///
    /// # Errors
    /// No set is left: the names are of another kind (Ensembl identifiers, another species).
    pub fn measured(&self, genes: &[String], min_size: usize, max_size: usize) -> Result<MeasuredSets> {
        let place: HashMap<&str, usize> = genes.iter().enumerate().rev().map(|(i, gene)| (gene.as_str(), i)).collect();
        let mut kept = MeasuredSets { names: Vec::new(), columns: Vec::new(), n_genes: genes.len(), notes: Vec::new() };
        let (mut silent, mut small, mut large) = (0, 0, 0);
        for set in &self.sets {
            let mut columns: Vec<usize> =
                set.genes.iter().filter_map(|gene| place.get(gene.as_str()).copied()).collect();
            columns.sort_unstable();
            match columns.len() {
                0 => silent += 1,
                n if n < min_size => small += 1,
                n if n > max_size => large += 1,
                _ => {
                    kept.names.push(set.name.clone());
                    kept.columns.push(columns);
                }
            }
        }
        let of = self.sets.len();
        for (n, why) in [
            (silent, "no measured gene".to_owned()),
            (small, format!("fewer than {min_size} measured genes")),
            (large, format!("more than {max_size} measured genes")),
        ] {
            if n > 0 {
                kept.notes.push(format!("{n} of {of} gene sets have {why}"));
            }
        }
        kept.notes.extend(self.other_case(&place));
        if kept.names.is_empty() {
            return Err(Error::inapplicable(format!(
                "no gene set can be tested: {}; the data's genes are named like {:?}, the sets' like {:?}",
                kept.notes.join(", "),
                genes.first().map_or("", String::as_str),
                self.sets.first().and_then(|set| set.genes.first()).map_or("", String::as_str),
            )));
        }
        Ok(kept)
    }

    /// The sets of each gene, `(number of the set, 1 / sqrt(genes in it))`: a rare set tells more than a common one.
    pub fn memberships(&self) -> BTreeMap<String, Vec<(u32, f64)>> {
        let mut of: BTreeMap<String, Vec<(u32, f64)>> = BTreeMap::new();
        for (number, set) in (0..).zip(&self.sets) {
            let weight = 1.0 / (set.genes.len() as f64).sqrt();
            set.genes.iter().for_each(|gene| of.entry(gene.clone()).or_default().push((number, weight)));
        }
        of
    }

    /// Says so where most names differ from the data's by capital letters alone, which is how symbols of mouse and human differ.
    fn other_case(&self, measured: &HashMap<&str, usize>) -> Option<String> {
        let folded: HashMap<String, &str> = measured.keys().map(|gene| (gene.to_uppercase(), *gene)).collect();
        let named: HashSet<&str> = self.sets.iter().flat_map(|set| &set.genes).map(String::as_str).collect();
        let same = named.iter().filter(|gene| measured.contains_key(**gene)).count();
        let differ = |gene: &&&str| folded.get(&gene.to_uppercase()).is_some_and(|here| here != *gene);
        let mut others: Vec<&str> = named.iter().filter(differ).copied().collect();
        others.sort_unstable();
        let there = others.first().filter(|_| others.len() > same)?;
        let here = folded[&there.to_uppercase()];
        Some(format!(
            "{} genes differ by capital letters alone, the data's {here} and the sets' {there}, as symbols of mouse and human do: \
             use gene sets of the data's species",
            others.len()
        ))
    }
}
