//! LatentAdditive of PerturBench (Wu et al., arXiv 2408.10609; `latent_additive.py`), in the space of effects.
//!
//! ```text
//! z = f(control) + g(multi-hot of the perturbed genes)          (conditions, latent)
//! scores = h(z)                                                 (conditions, components)
//! d = scores V                                                  (conditions, genes)
//! ```
//!
//! f, g and h are perceptrons of linear layers, layer norm and ReLU with a linear layer at their end. Effects add up in
//! the latent space only; h may bend them. Loss: mean squared error.
//!
//! What differs from PerturBench, so that a training takes a fraction of a second: rows are conditions, not cells; the
//! output are the scores of the effect on the principal components V of the training effects (the part of the squared
//! error outside of them no weight can change), not softplus expression; the control enters by the scores of the control
//! profile of the condition's context among the contexts' (what a context has of its own), which is constant where there
//! is one context, and in an effects dataset.

mod net;

use crate::{
    Error, ErrorKind, Result,
    data::Condition,
    data::TrainingData,
    device::Device,
    math::directions,
    model::SettingsFile,
    predict::{Fitted, Predictor},
    train::{BatchSource, Progress, Run, TrainConfig, fit_on},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use net::{Net, Rows, Widths};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// LatentAdditive: see the module's equations.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentAdditive {
    /// Width of the hidden layers; two in each network. PerturBench's default is 128.
    pub width: usize,
    /// Latent dimensions. PerturBench's default is 32.
    pub latent: usize,
    /// Probability that a hidden unit is dropped in training.
    pub dropout: f32,
    /// Most principal components of the training effects that are predicted.
    pub components: usize,
    /// Part of the training combinations that the training is stopped by, where the split has no validation.
    pub validation_fraction: f64,
    /// How it is trained; without anything to watch there is no early stopping, and `epochs` are run.
    pub training: TrainConfig,
}

impl Default for LatentAdditive {
    fn default() -> Self {
        Self {
            width: 128,
            latent: 32,
            dropout: 0.1,
            components: 50,
            validation_fraction: 0.2,
            training: TrainConfig {
                epochs: 100,
                batch_size: 32,
                weight_decay: 1e-2,
                early_stopping: Some(15),
                ..TrainConfig::default()
            },
        }
    }
}

impl LatentAdditive {
    fn validate(&self) -> Result<()> {
        let rules = [
            (self.width == 0, "width must be at least 1"),
            (self.latent == 0, "latent must be at least 1"),
            (self.components == 0, "components must be at least 1"),
            (!(0.0..1.0).contains(&self.dropout), "dropout must be at least 0 and below 1"),
            (!(0.0..1.0).contains(&self.validation_fraction), "validation_fraction must be at least 0 and below 1"),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, rule)) => Err(Error::config(*rule)),
            None => self.training.validate(),
        }
    }
}

impl Predictor for LatentAdditive {
    fn name(&self) -> &str {
        "latent_additive"
    }

    fn description(&self) -> &str {
        "Encoders of control and of the perturbed genes, added in a latent space and decoded (PerturBench)"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("names and numbers always serialise")
    }

    fn configure(&mut self, file: &SettingsFile) -> Result<()> {
        *self = file.over(self, Self::validate)?;
        Ok(())
    }

    fn set_device(&mut self, device: Device) -> Result<()> {
        device.check()?;
        match device {
            Device::Cpu => Ok(()),
            other => Err(Error::new(
                ErrorKind::Device,
                format!("{} is computed on the CPU only, not on {other}; use --device cpu", self.name()),
            )),
        }
    }

    fn fit(&self, data: &TrainingData) -> Result<Box<dyn Fitted>> {
        let training = data.effects()?;
        let mut perturbed: Vec<String> =
            training.conditions.iter().flat_map(|condition| condition.perturbation.genes()).cloned().collect();
        perturbed.sort_unstable();
        perturbed.dedup();
        let effects = training.effects.mapv(f64::from);
        let components = directions(&effects, self.components)?; // V, (components, genes)
        let scores = effects.dot(&components.t());
        // One scale for all scores, so that the loss stays the error in expression.
        let scale = scores.mapv(|score| score * score).mean().expect("there is a score").sqrt();
        let space = Space { perturbed, contexts: Contexts::of(data)?, components, scale };

        let known = |condition: &&Condition| space.multi_hot(condition).is_ok();
        let mut train: Vec<usize> = (0..training.conditions.len()).collect();
        let watched = match data.validation()?.is_empty() {
            true => {
                let held_out = training.validation_rows(self.validation_fraction, data.seed);
                train.retain(|row| held_out.binary_search(row).is_err());
                let conditions: Vec<&Condition> = held_out.iter().map(|&row| &training.conditions[row]).collect();
                space.rows(&conditions, &effects.select(Axis(0), &held_out))?
            }
            false => {
                let validation = data.validation()?;
                let rows: Vec<usize> =
                    (0..validation.len()).filter(|&row| known(&&validation.conditions[row])).collect();
                let conditions: Vec<&Condition> = rows.iter().map(|&row| &validation.conditions[row]).collect();
                space.rows(&conditions, &validation.effects.select(Axis(0), &rows).mapv(f64::from))?
            }
        };
        let conditions: Vec<&Condition> = train.iter().map(|&row| &training.conditions[row]).collect();
        let rows = space.rows(&conditions, &effects.select(Axis(0), &train))?;

        let device = Cpu::seed_from_u64(data.seed);
        let mut rng = ChaCha8Rng::seed_from_u64(data.seed);
        let widths = Widths {
            control: space.contexts.features.ncols(),
            perturbed: space.perturbed.len(),
            hidden: self.width,
            latent: self.latent,
            output: space.components.nrows(),
        };
        let mut net = Net::new(&device, widths, self.dropout, &mut rng)?;
        let config = TrainConfig {
            seed: data.seed,
            early_stopping: self.training.early_stopping.filter(|_| !watched.is_empty()),
            ..self.training.clone()
        };
        let mut options = Run { progress: Progress::Silent, ..Run::default() };
        fit_on(&mut net, &rows, Some(&watched), &config, &mut options)?;
        Ok(Box::new(Trained { net, space }))
    }
}

/// What conditions are turned into, and what comes back.
struct Space {
    /// Genes perturbed in training, sorted.
    perturbed: Vec<String>,
    contexts: Contexts,
    /// V, `(components, genes)`.
    components: Array2<f64>,
    scale: f64,
}

impl Space {
    fn multi_hot(&self, condition: &Condition) -> Result<Array1<f32>> {
        let mut hot = Array1::zeros(self.perturbed.len());
        for gene in condition.perturbation.genes() {
            let place = self.perturbed.binary_search(gene);
            hot[place.map_err(|_| Error::inapplicable(format!("{gene} was not perturbed in training")))?] = 1.0;
        }
        Ok(hot)
    }

    /// Inputs and targets of conditions with these effects, `(conditions, genes)`.
    fn rows(&self, conditions: &[&Condition], effects: &Array2<f64>) -> Result<Rows> {
        let mut control = Array2::zeros((0, self.contexts.features.ncols()));
        let mut perturbed = Array2::zeros((0, self.perturbed.len()));
        for condition in conditions {
            control.push_row(self.contexts.features_of(condition)?).expect("as wide as all");
            perturbed.push_row(self.multi_hot(condition)?.view()).expect("as wide as all");
        }
        let scores = (effects.dot(&self.components.t()) / self.scale).mapv(|score| score as f32);
        let names = conditions.iter().map(ToString::to_string).collect();
        Ok(Rows { control, perturbed, scores, names })
    }
}

/// What the control of each context has of its own, `(contexts, features)`.
struct Contexts {
    names: Vec<Option<String>>,
    features: Array2<f32>,
}

impl Contexts {
    fn of(data: &TrainingData) -> Result<Self> {
        let constant = |names| Self { names, features: Array2::zeros((1, 1)) };
        let Some(controls) = data.controls()? else { return Ok(constant(vec![None])) };
        let profiles = controls.profiles.mapv(f64::from);
        let Some(mean) = profiles.mean_axis(Axis(0)).filter(|_| controls.contexts.len() > 1) else {
            return Ok(constant(controls.contexts.clone()));
        };
        let own = profiles - &mean;
        // Contexts of equal controls cannot be told apart; then the input is zero, as in one context.
        let features = match directions(&own, own.nrows()) {
            Ok(directions) => own.dot(&directions.t()),
            Err(_) => Array2::zeros((own.nrows(), 1)),
        };
        let size = features.mapv(|value| value * value).mean().unwrap_or(0.0).sqrt().max(f64::MIN_POSITIVE);
        Ok(Self { names: controls.contexts.clone(), features: features.mapv(|value| (value / size) as f32) })
    }

    fn features_of(&self, condition: &Condition) -> Result<ArrayView1<'_, f32>> {
        let place = match self.features.nrows() {
            1 => Some(0),
            _ => self.names.iter().position(|name| *name == condition.context),
        };
        let place = place.ok_or_else(|| Error::inapplicable(format!("{condition}: its context has no control")))?;
        Ok(self.features.row(place))
    }
}

/// The trained network.
struct Trained {
    net: Net<Cpu>,
    space: Space,
}

impl Fitted for Trained {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        let space = &self.space;
        let none = Array2::zeros((1, space.components.ncols()));
        let scores = self.net.predict(&space.rows(&[condition], &none)?.batch(&[0])?)?.mapv(f64::from);
        Ok((scores.row(0).dot(&space.components) * space.scale).mapv(|value| value as f32))
    }
}
