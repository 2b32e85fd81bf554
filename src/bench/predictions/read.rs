//! From an `.h5ad` file to predictions in genes of the dataset, or one clear error.

use super::{
    BenchmarkData, PredictionKind, PredictionMatrix, PredictionSource, Rows, Values,
    conditions::Labelled,
    scale::{Scale, is_control, scale_of},
    shared::fewest_genes,
};
use crate::{
    Error, Result,
    data::{AnnData, Counts, OpenOptions, Table, TargetSum, first_names, library_size, mean_expression, normalize},
    model::NORMALISED_TOTAL,
};
use ndarray::{Array1, Array2, Axis};
use std::collections::{BTreeSet, HashMap};

/// log1p of 10,000 counts per cell cannot be larger, but for rounding: a cell with all its counts in one gene.
const LARGEST: f32 = 9.22;

pub(super) struct Read {
    pub(super) rows: Rows,
    pub(super) notes: Vec<String>,
}

pub(super) fn read(source: &PredictionSource, data: &BenchmarkData, options: &OpenOptions) -> Result<Read> {
    let file = AnnData::open(&source.file)?;
    let (obs, var) = (file.obs()?, file.var()?);
    let mut notes = Vec::new();
    let genes = align(&var.names, data.genes(), &mut notes)?;
    let labelled = Labelled::read(&file, (&obs, &var), (data, source), options, &mut notes)?;
    let kind = kind_of(&file, source, data, &labelled, &mut notes)?;
    let place =
        Place { file: &file, matrix: &source.matrix, columns: genes.iter().map(|&(_, column)| column).collect() };
    let values = match kind {
        Some(PredictionKind::Cells) => place.cells(&obs, data, &labelled.names, &var.names, &mut notes)?,
        _ => place.means(&labelled.names, &var.names)?,
    };
    let kind = match (kind, &values) {
        (Some(kind), _) => kind,
        (None, Values::Means(means)) if means.iter().all(|&value| value >= 0.0) => PredictionKind::Profiles,
        _ => {
            return Err(Error::data(
                "each condition has one row, and some values are negative: the file does not say whether these are \
                 effects (differences to control) or profiles (mean log-normalised expression); give \
                 --predictions-are effects, or profiles",
            ));
        }
    };
    let genes: Vec<usize> = genes.into_iter().map(|(gene, _)| gene).collect();
    check_scale((kind, &values), data, &genes, &mut notes)?;
    notes.push(format!("{} of {} conditions were read", kind.name(), labelled.of.len()));
    Ok(Read { rows: Rows { values, of: labelled.of, name: source.model(), kind, genes }, notes })
}

/// The genes that the data and the file share, in the order of the data: the place of each in the data and in the file.
fn align(found: &[String], wanted: &[String], notes: &mut Vec<String>) -> Result<Vec<(usize, usize)>> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(found.len());
    let mut twice = BTreeSet::new();
    for (place, gene) in found.iter().enumerate() {
        if places.insert(gene, place).is_some() {
            twice.insert(gene.as_str());
        }
    }
    if let Some(gene) = wanted.iter().find(|gene| twice.contains(gene.as_str())) {
        return Err(Error::data(format!("the gene {gene:?} stands twice in the file; which one is meant?")));
    }
    let shared: Vec<(usize, usize)> = wanted
        .iter()
        .enumerate()
        .filter_map(|(place, gene)| places.get(gene.as_str()).map(|&column| (place, column)))
        .collect();
    let missing: Vec<String> = wanted.iter().filter(|gene| !places.contains_key(gene.as_str())).cloned().collect();
    let least = fewest_genes(wanted.len());
    if shared.len() < least {
        return Err(Error::data(format!(
            "{} of the data's {} genes are in the file, and at least {least} are needed to compare predictions; missing: {}. \
             The file names genes such as {}; name them in var as the data does",
            shared.len(),
            wanted.len(),
            first_names(&missing),
            first_names(&found[..found.len().min(3)])
        )));
    }
    if !missing.is_empty() {
        notes.push(format!(
            "{} of the data's {} genes are in the file; missing: {}",
            shared.len(),
            wanted.len(),
            first_names(&missing)
        ));
    }
    if found.len() > shared.len() {
        notes.push(format!("{} genes that the data does not have were left out", found.len() - shared.len()));
    }
    Ok(shared)
}

/// What the rows are, where the user or the file says so: `None` for means of either kind.
fn kind_of(
    file: &AnnData,
    source: &PredictionSource,
    data: &BenchmarkData,
    labelled: &Labelled,
    notes: &mut Vec<String>,
) -> Result<Option<PredictionKind>> {
    // The mark is about X.
    let marked = source.matrix == PredictionMatrix::X && file.uns_keys().iter().any(|key| key == "effect");
    let given = match source.kind {
        Some(kind) if marked && kind != PredictionKind::Effects => {
            notes.push(format!(
                "the file says that its rows are effects (uns[\"effect\"]), so they are read as effects and not as {}",
                kind.name()
            ));
            Some(PredictionKind::Effects)
        }
        given => given,
    };
    let kind = match (data, given) {
        (BenchmarkData::Effects(_), Some(kind)) if kind != PredictionKind::Effects => {
            return Err(Error::config(format!(
                "the data holds effects (differences to control), so predictions cannot be {}: without the control there \
                 is no effect to take from them",
                kind.name()
            )));
        }
        (BenchmarkData::Effects(_), _) => Some(PredictionKind::Effects),
        (BenchmarkData::Cells(_), Some(kind)) => Some(kind),
        (BenchmarkData::Cells(_), None) if marked => Some(PredictionKind::Effects),
        (BenchmarkData::Cells(_), None) if labelled.is_single() => None,
        (BenchmarkData::Cells(_), None) if labelled.is_single_but_for_some() => {
            return Err(Error::data(format!(
                "{}, and the others in one: is that one condition twice? Keep one of the rows, or say that the rows are cells \
                 (FILE:cells)",
                labelled.repeated()
            )));
        }
        (BenchmarkData::Cells(_), None) => Some(PredictionKind::Cells),
    };
    match kind {
        Some(PredictionKind::Effects | PredictionKind::Profiles) if !labelled.is_single() => Err(Error::data(format!(
            "a condition has several rows, but effects and profiles have one row per condition: {}; average them, or \
                 tell the splits apart by a column `split_seed`",
            labelled.repeated()
        ))),
        kind => Ok(kind),
    }
}

/// Where the predictions are, and which of its columns are used.
struct Place<'a> {
    file: &'a AnnData,
    matrix: &'a PredictionMatrix,
    columns: Vec<usize>,
}

impl Place<'_> {
    fn name(&self) -> String {
        match self.matrix {
            PredictionMatrix::X => "X".to_owned(),
            PredictionMatrix::Layer(name) => format!("layers/{name}"),
            PredictionMatrix::Obsm(name) => format!("obsm/{name}"),
        }
    }

    fn dense(&self) -> Result<Array2<f32>> {
        let PredictionMatrix::Obsm(name) = self.matrix else { return self.file.read_dense(&self.name()) };
        let values = self.file.read_obsm(name)?;
        let (rows, genes) = (self.file.n_obs(), self.file.n_vars());
        if values.dim() != (rows, genes) {
            return Err(Error::data(format!(
                "obsm/{name} is {} x {}, but there are {rows} rows and {genes} genes in var: one column per gene is needed, in \
                 the order of var; what is in another space (principal components, a latent) has to be decoded first",
                values.nrows(),
                values.ncols()
            )));
        }
        Ok(values)
    }

    fn means(&self, labels: &[String], genes: &[String]) -> Result<Values> {
        let means = self.dense()?.select(Axis(1), &self.columns);
        match means.indexed_iter().find(|(_, value)| !value.is_finite()) {
            Some(((row, gene), value)) => Err(not_finite(&labels[row], &genes[self.columns[gene]], *value)),
            None => Ok(Values::Means(means)),
        }
    }

    /// Cells, log-normalised where the file holds counts and the data does.
    fn cells(
        &self,
        obs: &Table,
        data: &BenchmarkData,
        labels: &[String],
        genes: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Values> {
        let mut all = match self.matrix {
            PredictionMatrix::Obsm(_) => Counts::from_dense(&self.dense()?),
            _ => self.file.read_matrix(&self.name())?,
        };
        let BenchmarkData::Cells(cells) = data else {
            return Err(Error::config("predicted cells need a dataset of cells to be compared with"));
        };
        if all.first_non_count().is_none() && cells.data.expression.is_counts() {
            let (sizes, note) = library_size(self.file, obs, all.row_sums());
            notes.extend(note);
            if sizes == all.row_sums() && cells.data.library_size != cells.data.counts.row_sums() {
                notes.push(
                    "the counts were normalised by their own sums, but the data's library sizes count more genes than the \
                     file has; give them in a column `ncounts` of obs"
                        .to_owned(),
                );
            }
            notes.push(format!("{} holds counts; they were log-normalised to 10,000 per cell", self.name()));
            all = normalize::log1p(normalize::normalize_total(&all, &sizes, TargetSum::Fixed(NORMALISED_TOTAL))?);
        }
        let all = all.select_genes(&self.columns)?;
        for (row, label) in labels.iter().enumerate() {
            let (places, values) = all.row(row);
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                return Err(not_finite(label, &genes[self.columns[places[place] as usize]], values[place]));
            }
        }
        Ok(Values::Cells(all))
    }
}

fn not_finite(label: &str, gene: &str, value: f32) -> Error {
    Error::data(format!(
        "the prediction of {label} for the gene {gene} is {value}; every value must be a finite number"
    ))
}

/// Profiles and cells must be on the scale that the data is scored on.
fn check_scale(
    (kind, values): (PredictionKind, &Values),
    data: &BenchmarkData,
    genes: &[usize],
    notes: &mut Vec<String>,
) -> Result<()> {
    let (largest, mean): (f32, Array1<f32>) = match values {
        Values::Means(means) => {
            (means.iter().copied().fold(0.0, f32::max), means.mean_axis(Axis(0)).expect("there is a row"))
        }
        Values::Cells(cells) => {
            let all: Vec<usize> = (0..cells.n_cells()).collect();
            (cells.values().iter().copied().fold(0.0, f32::max), mean_expression(cells, &all))
        }
    };
    if kind == PredictionKind::Effects {
        if is_control(mean.view(), data, genes) {
            notes.push(
                "the effects look like profiles: their mean is near the control profile of the data; if they are, say FILE:profiles"
                    .to_owned(),
            );
        }
        return Ok(());
    }
    let counts = matches!(data, BenchmarkData::Cells(cells) if cells.data.expression.is_counts());
    if counts && largest > LARGEST {
        return Err(Error::data(format!(
            "a value is {largest}, more than the log1p of 10,000 counts per cell can be ({LARGEST}): give log1p(10,000 x count / \
             library size), natural logarithm, or for cells the counts themselves"
        )));
    }
    match scale_of(mean.view(), data, genes) {
        Some(Scale::Times(factor, name)) => Err(Error::data(format!(
            "the {} are {factor:.3} times the data's control profile, as in {name} where the data is in another base; divide \
             them by {factor:.4}",
            kind.name()
        ))),
        Some(Scale::LogOfMeans) => {
            notes.push(format!(
                "the {} look like the log1p of mean counts: they are nearer to the control computed in that way than to the mean \
                 of log1p, which is smaller and which the data is scored by; they are scored as they stand. Take log1p of each \
                 cell before the mean, or give effects to a control of the same kind",
                kind.name()
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}
