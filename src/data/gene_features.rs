//! Features of perturbations, by which one that was never measured is compared with those that were.
//!
//! | kind | features of a gene | weight of each |
//! |---|---|---|
//! | `gene_sets` | the gene sets that it belongs to | `1 / sqrt(genes in the set)` |
//! | `regulons` | the transcription factors that it is a target of, and its own targets if it is one | that of the file over the root of the number of targets (or of factors): the sign tells activation from repression |
//! | `co_expression` | its loadings on the principal components of control cells | the component's standard deviation |
//! | `table` | the columns of a table: an embedding of its protein or of a text about it, classes as 0 and 1 | columns are standardised |
//!
//! A row of features is scaled to length 1, so that the similarity of two perturbations is the cosine of their rows. Names are
//! compared as they are written, with their doses.

use super::{Counts, GeneSets, Regulons, first_names, read_table};
use crate::{Error, Result, math::Pca};
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::{Path, PathBuf},
};

/// Principal components of control cells whose loadings are features.
const COMPONENTS: usize = 30;

/// Where features of perturbations are read from; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureSources {
    /// Gene sets: a GMT file.
    pub gene_sets: Option<PathBuf>,
    /// Signed regulons: a file of `tf<TAB>target[<TAB>weight]`.
    pub regulons: Option<PathBuf>,
    /// A table (.tsv, .csv, also gzipped) with a header: the first column names perturbations, the others are numbers.
    pub table: Option<PathBuf>,
    /// Whether genes are compared by their co-expression in the control cells of the training, which needs no file.
    pub co_expression: bool,
}

/// A kind of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// Gene sets.
    GeneSets,
    /// Regulons.
    Regulons,
    /// Co-expression in control cells.
    CoExpression,
    /// A table of the user.
    Table,
}

impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneSets => "gene sets",
            Self::Regulons => "regulons",
            Self::CoExpression => "co-expression in control cells",
            Self::Table => "the table of features",
        })
    }
}

impl FeatureSources {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what `others` name.
    pub fn add(&mut self, others: &Self) {
        for (own, other) in [
            (&mut self.gene_sets, &others.gene_sets),
            (&mut self.regulons, &others.regulons),
            (&mut self.table, &others.table),
        ] {
            if other.is_some() {
                own.clone_from(other);
            }
        }
        self.co_expression |= others.co_expression;
    }

    /// The files that are named.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.gene_sets, &self.regulons, &self.table].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be read or is no GMT file, no file of regulons or no table of numbers: which, and where in it.
    pub fn read(&self) -> Result<PerturbationFeatures> {
        let mut blocks = Vec::new();
        if let Some(file) = &self.gene_sets {
            blocks.push(FeatureBlock::of_gene_sets(&GeneSets::open(file)?));
        }
        if let Some(file) = &self.regulons {
            blocks.push(FeatureBlock::of_regulons(&Regulons::open(file)?));
        }
        if let Some(file) = &self.table {
            blocks.push(FeatureBlock::of_table(file)?);
        }
        Ok(PerturbationFeatures { sources: self.clone(), blocks })
    }
}

/// Features that were read.
#[derive(Debug, Clone, Default)]
pub struct PerturbationFeatures {
    /// Where they come from.
    pub sources: FeatureSources,
    /// One block per kind; that of co-expression is made of the training's control cells and is not among them yet.
    pub blocks: Vec<FeatureBlock>,
}

impl PerturbationFeatures {
    /// Refuses a file that has none of the perturbations `trained`. Of gene sets, which metrics of enrichment have a use for as well,
    /// one of the `genes` of the data is enough.
    ///
    /// # Errors
    /// Such a file, with names of both sides.
    pub fn check(&self, trained: &BTreeSet<&str>, genes: &[String]) -> Result<()> {
        let of = |kind: FeatureKind| self.blocks.iter().find(|block| block.kind == kind);
        let FeatureSources { gene_sets, regulons, table, .. } = &self.sources;
        let files =
            [(FeatureKind::GeneSets, gene_sets), (FeatureKind::Regulons, regulons), (FeatureKind::Table, table)];
        for (kind, file) in files {
            let (Some(block), Some(file)) = (of(kind), file) else { continue };
            let of_the_data = kind == FeatureKind::GeneSets && genes.iter().any(|gene| block.has(gene));
            if !of_the_data && !block.names().any(|name| trained.contains(name)) {
                let theirs: Vec<String> = block.names().map(str::to_owned).collect();
                let ours: Vec<String> = trained.iter().map(|&name| name.to_owned()).collect();
                return Err(Error::config(format!(
                    "{}: none of its {} names is a perturbation that is trained on; they are {}, and the perturbations {}: \
                     names must be spelt alike",
                    file.display(),
                    theirs.len(),
                    first_names(&theirs),
                    first_names(&ours)
                )));
            }
        }
        Ok(())
    }
}

/// The features of one kind.
#[derive(Debug, Clone)]
pub struct FeatureBlock {
    /// Which kind.
    pub kind: FeatureKind,
    /// Of each perturbation, `(number of the feature, value)`: a row of length 1.
    rows: BTreeMap<String, Vec<(u32, f64)>>,
    /// Number of features.
    width: usize,
}

impl FeatureBlock {
    /// Rows of any length; those that are zero are left out.
    pub fn new(kind: FeatureKind, rows: BTreeMap<String, Vec<(u32, f64)>>) -> Self {
        let scaled = |(name, mut row): (String, Vec<(u32, f64)>)| {
            let length = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
            row.iter_mut().for_each(|(_, value)| *value /= length);
            (length > 0.0 && length.is_finite()).then_some((name, row))
        };
        let rows: BTreeMap<String, Vec<(u32, f64)>> = rows.into_iter().filter_map(scaled).collect();
        let width = rows.values().flatten().map(|(feature, _)| *feature as usize + 1).max().unwrap_or(0);
        Self { kind, rows, width }
    }

    /// The sets of each gene.
    pub fn of_gene_sets(sets: &GeneSets) -> Self {
        Self::new(FeatureKind::GeneSets, sets.memberships())
    }

    /// The transcription factors of each gene, and the targets of each transcription factor.
    pub fn of_regulons(regulons: &Regulons) -> Self {
        let mut factors: BTreeMap<&str, usize> = BTreeMap::new();
        for (target, _) in regulons.regulons.iter().flat_map(|regulon| &regulon.targets) {
            *factors.entry(target).or_default() += 1;
        }
        let places: HashMap<&str, u32> = factors.keys().copied().zip(regulons.regulons.len() as u32..).collect();
        let mut rows: BTreeMap<String, Vec<(u32, f64)>> = BTreeMap::new();
        for (number, regulon) in (0..).zip(&regulons.regulons) {
            let share = 1.0 / (regulon.targets.len() as f64).sqrt();
            for (target, weight) in &regulon.targets {
                rows.entry(target.clone()).or_default().push((number, weight * share));
                let of_target = 1.0 / (factors[target.as_str()] as f64).sqrt();
                rows.entry(regulon.tf.clone()).or_default().push((places[target.as_str()], weight * of_target));
            }
        }
        Self::new(FeatureKind::Regulons, rows)
    }

    /// The standardised columns of a table.
    ///
    /// # Errors
    /// No table, a name that stands twice, a value that is missing or no number, fewer than two rows: with the place.
    pub fn of_table(file: &Path) -> Result<Self> {
        let table = read_table(file)?;
        let problem = |message: String| Error::data(message).at(file.display());
        let mut seen = BTreeSet::new();
        if let Some(name) = table.names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(problem(format!(
                "{name:?} stands in two rows; the first column must name each perturbation once"
            )));
        }
        if table.names.len() < 2 || table.columns.len() < 2 {
            return Err(problem(
                "a table of features has a header, two rows or more, the name of a perturbation in the first column and a \
                 number in each other one"
                    .to_owned(),
            ));
        }
        let mut rows: Vec<Vec<(u32, f64)>> = vec![Vec::new(); table.names.len()];
        for (number, (name, column)) in (0..).zip(&table.columns[1..]) {
            let numbers = match column.to_f64() {
                Some(numbers) => numbers,
                None => column.to_text().iter().map(|text| number_of(text.as_deref())).collect(),
            };
            if let Some(row) = numbers.iter().position(|value| !value.is_finite()) {
                let found = column.to_text()[row].clone().map_or("empty".to_owned(), |text| format!("{text:?}"));
                return Err(problem(format!(
                    "column {name:?} of {:?} is {found}, which is no number; leave the column or the row out",
                    table.names[row]
                )));
            }
            let values = Array1::from(numbers);
            let (mean, deviation) = (values.mean().unwrap_or(0.0), values.std(0.0));
            if deviation > 0.0 {
                rows.iter_mut().zip(values).for_each(|(row, value)| row.push((number, (value - mean) / deviation)));
            }
        }
        Ok(Self::new(FeatureKind::Table, table.names.into_iter().zip(rows).collect()))
    }

    /// Loadings of `genes` on the principal components of control cells, in log-normalised expression `(cells, genes)`; the block
    /// is empty where there are fewer than three cells.
    ///
    /// # Errors
    /// An expression that is not finite.
    pub fn of_co_expression(expression: &Counts, controls: &[usize], genes: &[String], seed: u64) -> Result<Self> {
        let components = COMPONENTS.min(controls.len().saturating_sub(1)).min(genes.len());
        if controls.len() < 3 || components == 0 {
            return Ok(Self::new(FeatureKind::CoExpression, BTreeMap::new()));
        }
        let pca = Pca::fit(expression.select_cells(controls).to_dense().view(), components, seed)?;
        let scale = pca.explained_variance.mapv(|variance| variance.max(0.0).sqrt());
        let loadings = pca.components * &scale.insert_axis(Axis(1)); // (components, genes)
        let row = |(column, gene): (usize, &String)| -> (String, Vec<(u32, f64)>) {
            (gene.clone(), (0..).zip(loadings.column(column).iter().copied()).collect())
        };
        Ok(Self::new(FeatureKind::CoExpression, genes.iter().enumerate().map(row).collect()))
    }

    /// The perturbations that have features, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// Whether a perturbation has features.
    pub fn has(&self, name: &str) -> bool {
        self.rows.contains_key(name)
    }

    /// Cosine of each of `names` with each of `others`, 0 where one of them has no features, `(names, others)`.
    pub fn similarities<S: AsRef<str> + Sync>(&self, names: &[S], others: &[S]) -> Array2<f64> {
        let mut by_feature = Array2::<f64>::zeros((self.width, others.len()));
        for (column, other) in others.iter().enumerate() {
            let row = self.rows.get(other.as_ref()).into_iter().flatten();
            row.for_each(|&(feature, value)| by_feature[[feature as usize, column]] = value);
        }
        let mut cosines = Array2::zeros((names.len(), others.len()));
        cosines.axis_iter_mut(Axis(0)).into_par_iter().zip(names.par_iter()).for_each(|(mut cosines, name)| {
            let row = self.rows.get(name.as_ref()).into_iter().flatten();
            row.for_each(|&(feature, value)| cosines.scaled_add(value, &by_feature.row(feature as usize)));
        });
        cosines
    }
}

/// Truth values are numbers too; what is none is not a number.
fn number_of(text: Option<&str>) -> f64 {
    match text.map(str::to_lowercase).as_deref() {
        Some("true") => 1.0,
        Some("false") => 0.0,
        Some(text) => text.trim().parse().unwrap_or(f64::NAN),
        None => f64::NAN,
    }
}
