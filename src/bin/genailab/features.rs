//! The options by which models know perturbations that were never measured.

use crate::provenance;
use genailab::{Error, Result, data::FeatureSources};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where features of perturbations are read from.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct FeatureArgs {
    /// Gene sets (GMT), by which perturbations of genes are known that were never perturbed in training (combination, diffusion, jepa,
    /// jepa-diffusion); expression-flow: the modules of genes; `bench` also: for the metrics of enrichment
    #[arg(long, value_name = "FILE.gmt")]
    pub gene_sets: Option<PathBuf>,
    /// Signed regulons, lines of `tf<TAB>target[<TAB>weight]` (DoRothEA, CollecTRI), for the same (jepa, jepa-diffusion)
    #[arg(long, value_name = "FILE.tsv")]
    regulons: Option<PathBuf>,
    /// A table of features for the same (jepa, jepa-diffusion): .tsv or .csv with a header; the first column names perturbations as the
    /// data does, the others are numbers, such as an embedding of a protein or of a text, or classes as 0 and 1
    #[arg(long, value_name = "TABLE")]
    perturbation_features: Option<PathBuf>,
    /// The co-expression of genes in control cells for the same (jepa, jepa-diffusion): it needs no file
    #[arg(long)]
    co_expression: bool,
}

/// An option, and what it says alone.
type Given = (&'static str, FeatureSources);

impl FeatureArgs {
    /// Notes the files, and refuses one that cannot be read: before a large data file is.
    ///
    /// # Errors
    /// As [`FeatureSources::read`].
    pub fn check(&self) -> Result<()> {
        let all = self.all();
        all.files().try_for_each(provenance::reads)?;
        all.read().map(drop)
    }

    /// What all options say.
    pub fn all(&self) -> FeatureSources {
        FeatureSources {
            gene_sets: self.gene_sets.clone(),
            regulons: self.regulons.clone(),
            table: self.perturbation_features.clone(),
            co_expression: self.co_expression,
        }
    }

    /// Each option that was given.
    fn given(&self) -> Vec<Given> {
        let FeatureSources { gene_sets, regulons, table, co_expression } = self.all();
        let none = FeatureSources::default;
        let all = [
            ("--gene-sets", FeatureSources { gene_sets, ..none() }),
            ("--regulons", FeatureSources { regulons, ..none() }),
            ("--perturbation-features", FeatureSources { table, ..none() }),
            ("--co-expression", FeatureSources { co_expression, ..none() }),
        ];
        all.into_iter().filter(|(_, sources)| !sources.is_empty()).collect()
    }

    /// Hands on each option by `set`, which returns the settings after it; `before` are those before the first, of `name`.
    ///
    /// # Errors
    /// An option that no setting has a use for, other than those that something else has a use for (`used`).
    pub fn give(
        &self,
        name: &str,
        used: &[&str],
        before: Value,
        mut set: impl FnMut(&FeatureSources) -> Value,
    ) -> Result<()> {
        let mut before = before;
        for (option, sources) in self.given() {
            let after = set(&sources);
            // A file of settings may have said the same before.
            if after == before && !says(&after, &json!(sources)) && !used.contains(&option) {
                return Err(Error::config(format!("{option}: {name} has no use for it; leave it out, or take jepa")));
            }
            before = after;
        }
        Ok(())
    }
}

/// Whether settings name one of these sources, under its own name.
fn says(settings: &Value, sources: &Value) -> bool {
    match settings {
        Value::Object(settings) => settings.iter().any(|(name, value)| {
            let given = !value.is_null() && value != &Value::Bool(false);
            given && sources.get(name) == Some(value) || says(value, sources)
        }),
        Value::Array(all) => all.iter().any(|settings| says(settings, sources)),
        _ => false,
    }
}
