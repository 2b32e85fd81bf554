//! The contract of a model: what every model can be asked, and how one is trained, saved and restored.
//!
//! [`Model`] is what the author of a model implements; [`Trained`] is what its users see, whatever the model. The registry
//! (`registry`) lists the models, and every command finds them there.

use super::{CoursePrediction, CourseQuery, FromMetadata, Generated, ModelConfig, State};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, ContextColumns, DataKind, Dataset, MetadataColumn, TrainingData},
    device::Device,
    train::{History, Run},
};
use ndarray::{Array1, Array2, Axis};
use std::{any::Any, collections::BTreeSet, path::Path};

/// A model: its settings, its training, and how it comes back from a file.
pub trait Model: Trained + Sized + 'static {
    /// Its name on the command line, in `model.json` and in messages.
    const KIND: &'static str;
    /// One sentence for lists of models: what it is and what it predicts.
    const ABOUT: &'static str;
    /// The kinds of datasets that it is trained on.
    const LEARNS_FROM: &'static [DataKind];
    /// Whether it can be trained on cells of several contexts (cell types, donors) and asked for one of them, or for a new one.
    const KNOWS_CONTEXTS: bool = false;
    /// Whether a context may be the levels of several columns (cell type and donor), of which it learns one by one.
    const COMBINES_CONTEXTS: bool = false;
    /// Whether names with doses (`drug@dose`) mean something to it: a learned curve, or a condition of its own per dose. A model
    /// that takes none is not trained on them.
    const TAKES_DOSES: bool = false;
    /// Whether it learns courses along time, in which a dose is a number that changes and no part of a name.
    const LEARNS_COURSES: bool = false;
    /// Whether profiles without a time can stand beside its courses (`train --static`).
    const TAKES_STATIC: bool = false;
    /// Whether its cells must have counts; else real values will do.
    const NEEDS_COUNTS: bool = true;
    /// Whether all of its networks are trained by [`train::fit`](crate::train::fit), which takes them to Metal or Vulkan.
    const TRAINS_ON_GPU: bool = false;
    /// Whether a trained model answers on Metal or Vulkan too, and not only on the CPU.
    const PREDICTS_ON_GPU: bool = false;
    /// Whether all of its networks are trained by [`train::fit_on`](crate::train::fit_on), which takes them to CUDA, or are made
    /// there.
    const TRAINS_ON_CUDA: bool = false;
    /// Whether a trained model answers on CUDA too, and not only on the CPU.
    const PREDICTS_ON_CUDA: bool = false;
    /// Its settings.
    type Config: ModelConfig;

    /// Trains a model on `data`, as `run` says: seed, device, folder, resume, interruption and progress.
    ///
    /// # Errors
    /// Data of a kind that it does not learn from ([`ErrorKind::Inapplicable`](crate::ErrorKind)); a loss that is not
    /// finite; an interruption; a folder that cannot be written.
    fn fit(data: &TrainingData, config: &Self::Config, run: &mut Run<'_>) -> Result<(Self, History)>;

    /// The model that [`Trained::state`] described.
    ///
    /// # Errors
    /// Arrays that are missing or have other shapes than the description says; a device that is not there.
    fn restore(state: State, device: Device) -> Result<Self>;

    /// Checks that the model can be trained on a device. The default: the CPU, the GPUs of [`nn::gpu`](crate::nn::gpu) where
    /// [`Self::TRAINS_ON_GPU`] says so, and CUDA where [`Self::TRAINS_ON_CUDA`] does.
    ///
    /// # Errors
    /// It cannot; the message names the model.
    fn check_device(device: Device) -> Result<()> {
        device.check()?;
        match device {
            Device::Cpu => Ok(()),
            Device::Metal | Device::Vulkan if Self::TRAINS_ON_GPU => Ok(()),
            Device::Cuda(_) if Self::TRAINS_ON_CUDA => Ok(()),
            other => {
                let elsewhere = if Self::TRAINS_ON_CUDA { "cpu or cuda" } else { "cpu" };
                Err(Error::new(
                    ErrorKind::Device,
                    format!("{} cannot be computed on {other}; use --device {elsewhere}", Self::KIND),
                ))
            }
        }
    }

    /// Reads a saved model.
    ///
    /// # Errors
    /// No model there, one of another kind or version, damaged files; a device that it cannot be computed on.
    fn load(dir: &Path, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let answers = match device {
            Device::Cpu => true,
            Device::Metal | Device::Vulkan => Self::PREDICTS_ON_GPU,
            Device::Cuda(_) => Self::PREDICTS_ON_CUDA,
        };
        if !answers {
            let message =
                format!("{} can be trained on {device}, but answers on the CPU only; use --device cpu", Self::KIND);
            return Err(Error::new(ErrorKind::Device, message));
        }
        let state = State::read(dir, Self::KIND)?;
        Self::restore(state, device).map_err(|e| e.at(dir.display()))
    }
}

/// What a trained model can be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Mean effects of conditions: [`Trained::effects`].
    pub effects: bool,
    /// Draws of the mean effect of a condition: [`Trained::effect_draws`].
    pub effect_draws: bool,
    /// Cells of a condition: [`Trained::cells`].
    pub cells: bool,
    /// Cells that start from given control cells: [`Trained::cells_from`].
    pub cells_from: bool,
    /// Embeddings of cells: [`Trained::embed`]; the name of their matrix in `obsm`.
    pub embeddings: Option<&'static str>,
    /// Embeddings of cells under a condition, in the space of [`Trained::embed`]: [`Trained::predicted_embeddings`].
    pub predicted_embeddings: bool,
    /// Energies of cells, low where they are plausible: [`Trained::energies`].
    pub energies: bool,
    /// Courses of conditions along time: [`Trained::course`].
    pub courses: bool,
    /// Whether [`Sampling::steps`], [`Sampling::guidance`] and [`Sampling::library_size`] mean something.
    pub sampler: bool,
}

/// Which cells are drawn, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Number of cells.
    pub cells: usize,
    /// Seed of the draw.
    pub seed: u64,
    /// Whether the mean is drawn too, where it is not known: each call then has a mean of its own.
    pub draw_mean: bool,
    /// Steps of the sampler; `None`: as the model was configured.
    pub steps: Option<usize>,
    /// Scale of classifier-free guidance; `None`: as the model was configured.
    pub guidance: Option<f64>,
    /// Library size of every cell (UMI counts over all measured genes); `None`: those of control cells.
    pub library_size: Option<f32>,
}

impl Sampling {
    /// This many cells, and the defaults for the rest.
    pub fn new(cells: usize, seed: u64) -> Self {
        Self { cells, seed, draw_mean: false, steps: None, guidance: None, library_size: None }
    }
}

/// A trained model, whatever its kind. What a model cannot do ([`Trained::abilities`]) is an error that says so.
pub trait Trained: Any {
    /// [`Model::KIND`].
    fn kind(&self) -> &'static str;

    /// What it can be asked.
    fn abilities(&self) -> Abilities;

    /// Gene names, one per column of what it predicts.
    fn genes(&self) -> &[String];

    /// Names of the contexts that it was trained on; none where it was told of none.
    fn contexts(&self) -> Vec<String> {
        Vec::new()
    }

    /// The columns of cells whose levels its contexts are; none where it was told of no context, or only of their names.
    fn context_columns(&self) -> ContextColumns {
        ContextColumns::default()
    }

    /// Whether the model can predict a perturbation of this gene.
    fn perturbs(&self, gene: &str) -> bool;

    /// What the prediction of a perturbation rests on that was never measured, in a sentence; `None` for one that was, and for a model
    /// that does not say.
    fn rests_on(&self, gene: &str) -> Option<String> {
        let _ = gene;
        None
    }

    /// The lowest and the highest dose at which a name (without its dose) was trained on; `None` where the model knows no doses of
    /// it.
    fn dose_range(&self, name: &str) -> Option<(f64, f64)> {
        let _ = name;
        None
    }

    /// The times after the start that it was trained on, rising; none of a model that knows no times.
    fn times(&self) -> &[f64] {
        &[]
    }

    /// The columns of cells that it takes as conditions beside the perturbation.
    fn covariates(&self) -> Vec<&MetadataColumn> {
        Vec::new()
    }

    /// The same model for cells that all have this value of a covariate.
    ///
    /// # Errors
    /// A column that is none of [`Self::covariates`]; a value that was not trained on.
    fn with_covariate(&self, column: &str, value: &str) -> Result<Box<dyn Trained>> {
        let _ = value;
        Err(unable(
            self.kind(),
            &format!("knows no covariate {column:?}, nor any other; a vae can be trained with some (--covariate)"),
        ))
    }

    /// How many of its control cells have the covariates that [`Self::with_covariate`] gave it, where these are so few that predictions
    /// start from all control cells, given these values.
    ///
    /// # Errors
    /// A model that is not trained.
    fn few_control_cells(&self) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Named arrays and a description: everything that [`Model::restore`] needs.
    ///
    /// # Errors
    /// Those of the walk over a network's parameters.
    fn state(&self) -> Result<State>;

    /// Mean effects of conditions, `(conditions, genes)`, in the unit of the training data: differences to the control of
    /// the condition's context in mean log-normalised expression. Zero for control.
    ///
    /// # Errors
    /// A condition that it cannot predict ([`ErrorKind::Inapplicable`](crate::ErrorKind)); a model without this ability.
    fn effects(&self, conditions: &[Condition]) -> Result<Array2<f64>> {
        let _ = conditions;
        Err(unable(self.kind(), "predicts no mean effects"))
    }

    /// The course of a condition along time.
    ///
    /// # Errors
    /// As [`Self::effects`]; times that do not rise.
    fn course(&self, condition: &Condition, query: &CourseQuery) -> Result<CoursePrediction> {
        let _ = (condition, query);
        Err(unable(self.kind(), "knows no times"))
    }

    /// `n` draws of the mean effect of a condition, `(n, genes)`: how far the predicted mean may be off.
    ///
    /// # Errors
    /// As [`Self::effects`].
    fn effect_draws(&self, condition: &Condition, n: usize, seed: u64) -> Result<Array2<f64>> {
        let _ = (condition, n, seed);
        Err(unable(self.kind(), "draws no effects"))
    }

    /// Cells of a condition.
    ///
    /// # Errors
    /// As [`Self::effects`]; a sampling option that the model has no use for.
    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let _ = (condition, sampling);
        Err(unable(self.kind(), "draws no cells"))
    }

    /// The model as one of expression from metadata; `None` of a model that knows no metadata.
    fn metadata_model(&self) -> Option<&dyn FromMetadata> {
        None
    }

    /// The same model without what it knows of the training combinations: its errors on them estimate the errors of this one on
    /// unseen combinations, which both predict alike. `None` where they took part in what predicts unseen ones.
    fn without_combinations(&self) -> Option<Box<dyn Trained>> {
        None
    }

    /// Cells of a condition whose embeddings are drawn from N(0, I) and decoded: what the decoder alone is worth.
    ///
    /// # Errors
    /// As [`Self::cells`]; a model whose embeddings are not standardised, or that has none.
    fn cells_of_noise(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let _ = (condition, sampling);
        Err(unable(self.kind(), "decodes no noise"))
    }

    /// One cell for each of the control cells `rows` of `data`: what it would be under the condition.
    ///
    /// # Errors
    /// As [`Self::effects`]; genes of `data` that are not the model's.
    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        let _ = (data, rows, condition, seed);
        Err(unable(self.kind(), "starts from no given cells"))
    }

    /// Mean log-normalised expression, `(genes,)`, of the cells of [`Self::cells_from`]. A model that knows the expected
    /// value returns that in place of the mean of drawn cells.
    ///
    /// # Errors
    /// As [`Self::cells_from`].
    fn mean_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Array1<f64>> {
        let cells = self.cells_from(data, rows, condition, seed)?.log_normalised();
        let mean = cells.mapv(f64::from).mean_axis(Axis(0));
        mean.ok_or_else(|| Error::data("no cell was given to start from"))
    }

    /// The embedding of each of the cells `rows`, `(rows, width)`.
    ///
    /// # Errors
    /// No cells; genes of `data` that are not the model's; a model without this ability.
    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        let _ = (data, rows);
        Err(unable(self.kind(), "embeds no cells"))
    }

    /// The energy of each of the cells `rows`, `(rows,)`, in nats up to a constant: the lower, the more plausible.
    ///
    /// # Errors
    /// No cells; genes of `data` that are not the model's; a perturbation that a conditional energy does not know
    /// ([`ErrorKind::Inapplicable`](crate::ErrorKind)); a model without this ability.
    fn energies(&self, data: &Dataset, rows: &[usize]) -> Result<Array1<f64>> {
        let _ = (data, rows);
        Err(unable(self.kind(), "gives no energies"))
    }

    /// The embedding that each of the control cells `rows` of `data` is predicted to have under the condition,
    /// `(rows, width)`, in the space of [`Self::embed`].
    ///
    /// # Errors
    /// As [`Self::effects`]; genes of `data` that are not the model's.
    fn predicted_embeddings(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array2<f32>> {
        let _ = (data, rows, condition);
        Err(unable(self.kind(), "predicts no embeddings"))
    }

    /// Why the cells of several draws with [`Sampling::draw_mean`] have the same mean, where they do although the mean of
    /// this condition is not known.
    fn why_mean_is_fixed(&self, condition: &Condition) -> Option<String> {
        let _ = condition;
        None
    }

    /// What the training did otherwise than its settings say, or began with: a benchmark says it beside the scores.
    fn adjusted(&self) -> Option<String> {
        None
    }

    /// What a reader should know of the training beside its losses, in sentences.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the training chose by validation, for `metrics.json`.
    fn choices(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Scores of held-out cells that only this kind of model has (a likelihood bound), for `metrics.json`; `None` where it
    /// has none.
    ///
    /// # Errors
    /// As [`Self::embed`].
    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        let _ = (data, rows, seed);
        Ok(None)
    }

    /// Checks that every gene of `conditions` can be predicted.
    ///
    /// # Errors
    /// Those that cannot, all named: [`ErrorKind::Inapplicable`](crate::ErrorKind).
    fn check(&self, conditions: &[Condition]) -> Result<()> {
        let genes = conditions.iter().flat_map(|condition| condition.perturbation.genes());
        let unknown: BTreeSet<&str> = genes.map(String::as_str).filter(|gene| !self.perturbs(gene)).collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(Error::inapplicable(format!(
                "{} not perturbed in training",
                match unknown.len() {
                    1 => format!("{} was", unknown.into_iter().collect::<String>()),
                    _ => format!("{} were", unknown.into_iter().collect::<Vec<_>>().join(", ")),
                }
            ))),
        }
    }

    /// Writes the model to a folder: `model.json` and `model.safetensors`, all or nothing.
    ///
    /// # Errors
    /// As [`Self::state`]; a folder that cannot be written.
    fn save(&self, dir: &Path) -> Result<()> {
        self.state()?.write(dir, self.kind())
    }
}

/// A score of held-out cells in a model's own terms.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutScore {
    /// For a terminal: `held-out ELBO -690.12 nats per cell (512 cells)`.
    pub line: String,
    /// For `metrics.json`.
    pub json: serde_json::Value,
}

fn unable(kind: &str, what: &str) -> Error {
    Error::inapplicable(format!("a model of kind {kind} {what}"))
}
