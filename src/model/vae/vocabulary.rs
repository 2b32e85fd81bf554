//! The names behind the inputs and outputs of a VAE.

use super::{
    covariates::Covariates,
    encoding::{DoseRange, EncodedPerturbations, perturbed_names},
};
use crate::{
    Error, Result,
    data::{Dataset, EffectTable, Perturbation, dose::name_and_dose},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// The names behind a model's inputs and outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Genes that are modelled: the columns, in order.
    pub genes: Vec<String>,
    /// Genes that were perturbed in training, without doses, sorted.
    pub perturbed: Vec<String>,
    /// The training doses of each of them; empty where all were 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doses: Vec<DoseRange>,
    /// Lanes seen in training, sorted.
    pub lanes: Vec<String>,
    /// Columns of cells that are conditions too.
    #[serde(default, skip_serializing_if = "Covariates::is_empty")]
    pub covariates: Covariates,
    /// Mean and standard deviation of the natural log of the library size in training.
    pub log_library: (f32, f32),
}

impl Vocabulary {
    /// The vocabulary of the cells `rows` of a dataset.
    pub fn of_cells(data: &Dataset, rows: &[usize]) -> Self {
        let seen: BTreeSet<u32> = rows.iter().map(|&row| data.labels[row]).collect();
        let logs = || rows.iter().map(|&row| f64::from(data.library_size[row].max(1.0)).ln());
        let n = rows.len().max(1) as f64;
        let mean = logs().sum::<f64>() / n;
        let deviation = (logs().map(|log| (log - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (perturbed, doses) = perturbed_names(seen.iter().map(|&label| &data.perturbations[label as usize]));
        Self {
            genes: data.genes.names.clone(),
            perturbed,
            doses,
            lanes: data.lanes.clone(),
            covariates: Covariates::default(),
            // Where all cells have the same size, there is no deviation to divide by.
            log_library: (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 }),
        }
    }

    /// The vocabulary of effects.
    pub fn of_effects(table: &EffectTable) -> Self {
        let (perturbed, doses) = perturbed_names(table.conditions.iter().map(|condition| &condition.perturbation));
        Self {
            genes: table.genes.to_vec(),
            perturbed,
            doses,
            lanes: Vec::new(),
            covariates: Covariates::default(),
            log_library: (0.0, 1.0),
        }
    }

    /// The same with the columns `wanted` of the cells `rows` as covariates.
    ///
    /// # Errors
    /// As [`Covariates::fit`].
    pub fn with_covariates(self, data: &Dataset, rows: &[usize], wanted: &[String]) -> Result<Self> {
        Ok(Self { covariates: Covariates::fit(data, rows, wanted)?, ..self })
    }

    /// The embedding indices of a perturbation.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn encode(&self, perturbation: &Perturbation) -> Result<EncodedPerturbations> {
        self.encode_all([perturbation])
    }

    /// Checks that every gene of `perturbations` was perturbed in training.
    ///
    /// # Errors
    /// Those that were not, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    pub fn check<'a>(&self, perturbations: impl IntoIterator<Item = &'a Perturbation>) -> Result<()> {
        let asked: BTreeSet<&str> =
            perturbations.into_iter().flat_map(Perturbation::genes).map(String::as_str).collect();
        let unknown: Vec<&str> = asked.into_iter().filter(|gene| !self.perturbs(gene)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if let Some(dosed) = unknown.iter().find(|name| self.place_of(name_and_dose(name).0).is_some()) {
            return Err(Error::inapplicable(format!(
                "{dosed} has a dose, and this model was trained without doses; leave the dose out, or train on names with doses \
                 (--dose-column)"
            )));
        }
        let meant: Vec<&str> = unknown
            .iter()
            .filter_map(|gene| self.perturbed.iter().find(|known| known.eq_ignore_ascii_case(gene)))
            .map(String::as_str)
            .collect();
        let hint = match meant.is_empty() {
            true => String::new(),
            false => format!("; did you mean {}?", meant.join(", ")),
        };
        let examples: Vec<&str> = self.perturbed.iter().take(8).map(String::as_str).collect();
        Err(Error::inapplicable(format!(
            "unknown perturbed genes: {}; this model was trained on {} perturbed genes ({}{}){hint}",
            unknown.join(", "),
            self.perturbed.len(),
            examples.join(", "),
            if self.perturbed.len() > examples.len() { ", …" } else { "" }
        )))
    }

    /// Whether `gene` was perturbed in training, at whatever dose where there were doses.
    pub fn perturbs(&self, gene: &str) -> bool {
        let (base, dose) = name_and_dose(gene);
        self.place_of(base).is_some() && (dose == 1.0 || self.knows_doses())
    }

    /// The standardised log library size of a cell with this library size (UMI counts).
    pub fn standardise(&self, library_size: f32) -> f32 {
        (library_size.max(1.0).ln() - self.log_library.0) / self.log_library.1
    }

    /// Where each of the model's genes stands in `names`.
    ///
    /// # Errors
    /// Genes of the model that are not in `names`: how many, and the first of them.
    pub fn align(&self, names: &[String]) -> Result<Vec<usize>> {
        let place: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let missing: Vec<&str> =
            self.genes.iter().map(String::as_str).filter(|gene| !place.contains_key(gene)).collect();
        if let Some(first) = missing.first() {
            return Err(Error::data(format!(
                "the data lacks {} of the {} genes that the model was trained on, {first} among them; use data with \
                 the same gene names",
                missing.len(),
                self.genes.len()
            )));
        }
        Ok(self.genes.iter().map(|gene| place[gene.as_str()]).collect())
    }
}
