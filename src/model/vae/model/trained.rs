//! What a trained count VAE can be asked, in the contract of all models.

use super::{CountVae, NETWORK, on_device};
use crate::{
    Error, Result,
    data::{Condition, DataKind, Dataset, MetadataColumn},
    model::{Abilities, Generated, HeldOutScore, Model, Sampling, State, Trained, vae::description::Description},
};
use ndarray::Array2;

/// Draws of z per cell for the held-out bound: its Monte-Carlo error is then far below a nat per cell.
const ELBO_DRAWS: usize = 5;
/// Draws of z per cell for the bound of the log-likelihood, and the most cells that it is averaged over: the decoder runs for
/// 25,000 draws at most, whatever the number of held-out cells.
const LIKELIHOOD_DRAWS: usize = 50;
const LIKELIHOOD_CELLS: usize = 500;

impl Trained for CountVae {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        match self.trained_on {
            DataKind::Effects => Abilities { effects: true, ..Abilities::default() },
            DataKind::Cells => {
                Abilities { cells: true, cells_from: true, embeddings: Some("X_vae"), ..Abilities::default() }
            }
        }
    }

    fn genes(&self) -> &[String] {
        &self.vocabulary.genes
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.vocabulary.perturbs(gene)
    }

    fn dose_range(&self, name: &str) -> Option<(f64, f64)> {
        let range = self.vocabulary.doses.get(self.vocabulary.place_of(name)?)?;
        Some((range.lowest, range.highest))
    }

    fn covariates(&self) -> Vec<&MetadataColumn> {
        self.vocabulary.covariates.columns()
    }

    fn with_covariate(&self, column: &str, value: &str) -> Result<Box<dyn Trained>> {
        let mut model = self.clone();
        model.vocabulary.covariates.set(column, value)?;
        Ok(Box::new(model))
    }

    fn few_control_cells(&self) -> Result<Option<usize>> {
        Ok(on_device!(&self.net, net => self.vocabulary.covariates.too_few(&net.reference.others())))
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        self.vocabulary.check(conditions.iter().map(|condition| &condition.perturbation))
    }

    fn notes(&self) -> Vec<String> {
        let covariates = &self.vocabulary.covariates;
        (!covariates.is_empty()).then(|| format!("covariates: {}", covariates.described())).into_iter().collect()
    }

    fn state(&self) -> Result<State> {
        let state = State::new(&Description {
            config: self.config.clone(),
            vocabulary: self.vocabulary.clone(),
            trained_on: self.trained_on,
            with_remainder: self.with_remainder,
        });
        on_device!(&self.net, net => state.with_network(NETWORK, net))
    }

    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        let perturbations: Vec<_> = conditions.iter().map(|condition| condition.perturbation.clone()).collect();
        Ok(self.predict_effects(&perturbations)?.mapv(f64::from))
    }

    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        if sampling.steps.is_some() || sampling.guidance.is_some() || sampling.library_size.is_some() {
            return Err(Error::inapplicable(
                "a vae has no sampler with steps or guidance, and draws library sizes from those of control cells",
            ));
        }
        self.sample(&condition.perturbation, sampling.cells, sampling.seed)
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        self.sample_from(data, rows, &condition.perturbation, None, seed)
    }

    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.embed_as_control(data, rows)
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        if self.trained_on == DataKind::Effects {
            return Ok(None);
        }
        let given = rows.len();
        let rows = &self.vocabulary.covariates.known_rows(data, rows)?;
        let elbo = self.elbo(data, rows, ELBO_DRAWS, seed)?;
        let some: Vec<usize> = rows.iter().copied().step_by(rows.len().div_ceil(LIKELIHOOD_CELLS).max(1)).collect();
        let likelihood = self.log_likelihood(data, &some, LIKELIHOOD_DRAWS, seed)?;
        let mut json = serde_json::to_value(elbo).expect("numbers always serialise");
        json["log_likelihood"] = serde_json::to_value(likelihood).expect("numbers always serialise");
        let left_out = match given - rows.len() {
            0 => String::new(),
            n => format!("; {n} cells have values of covariates that were not trained on, and were left out"),
        };
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out ELBO {:.2} nats per cell ({} cells); ln p(x) is at least {:.2}, the mean bound of {} draws ({} \
                 cells){left_out}",
                elbo.elbo, elbo.cells, likelihood.bound, likelihood.samples, likelihood.cells
            ),
            json,
        }))
    }
}
