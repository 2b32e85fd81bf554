//! The JEPA in the contract of all models: training, what it can be asked.

use super::{
    CellEncoder, JepaSettings, Phase, Pretraining,
    response::{
        Encoder, FeatureChoice, NewContexts, PredictorState, Response, ResponseConfig, StartCells, check_watched,
    },
};
use crate::{
    Error, ErrorKind, Result,
    data::{Condition, ContextColumns, DataKind, Dataset, Split, TrainingData, shuffle},
    device::Device,
    model::{
        Abilities, Generated, HeldOutScore, Model, ModelConfig as _, Sampling, State, Trained, forget_checkpoints,
    },
    nn::{EmaMomentum, Linear, init},
    train::{History, Run, TrainConfig},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2, Axis};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use rand_distr::{Distribution, StandardNormal};

/// Added to the variances before they are divided by, as a share of their mean: a feature in which cells do not differ is
/// not scaled up.
const LEAST_VARIANCE: f64 = 1e-2;

/// A joint-embedding predictive architecture of perturbed cells; see the equations of the module.
#[derive(Clone)]
pub struct Jepa {
    pub(super) settings: JepaSettings,
    pub(super) genes: Vec<String>,
    pub(super) encoder: Encoder,
    /// Mean log1p expression of each gene over the training cells, `(genes,)`.
    pub(super) means: Vec<f32>,
    pub(super) response: Option<Response>,
    /// What it began with, in words, if that was the encoder of another.
    pub(super) begun: Option<String>,
}

impl Jepa {
    /// The settings.
    pub fn settings(&self) -> &JepaSettings {
        &self.settings
    }

    /// Number of genes of each token of its encoder; `None` for an encoder whose tokens are not of fixed genes.
    pub fn token_sizes(&self) -> Option<Vec<usize>> {
        match &self.encoder.backbone.encoder {
            CellEncoder::Transformer(encoder) => Some(encoder.token_sizes()),
            CellEncoder::Linear(_) | CellEncoder::Mlp(_) | CellEncoder::Tokens(_) => None,
        }
    }

    /// Without what training combinations were measured to do beyond what is predicted from their genes.
    pub(crate) fn of_genes_alone(mut self) -> Self {
        if let Some(response) = &mut self.response {
            response.forget_combinations();
        }
        self
    }

    pub(super) fn trained(&self) -> Result<&Response> {
        self.response.as_ref().ok_or_else(|| {
            Error::inapplicable(
                "this jepa was trained in phase A alone: it embeds cells and predicts nothing; train it with --phase ab",
            )
        })
    }

    /// What phase B chose inside the training fold, in words.
    pub(crate) fn note_of_choices(&self) -> String {
        let Some(response) = &self.response else {
            return "phase A alone: no label is used in this training".to_owned();
        };
        let share = &response.share;
        let of_combinations = match () {
            () if self.settings.response.predictor != PredictorState::Trained => {
                "the predictor is not the trained one: an unseen combination is the sum of its perturbations".to_owned()
            }
            () if response.interactions.is_empty() => format!(
                "{} training combinations are too few to learn an interaction from: an unseen one is {:.2} times the sum",
                share.combinations, share.factor
            ),
            () => format!(
                "training combinations: {:.2} times the sum; left out, {:.0} % of the interaction is used, E-distance {:.3} of \
                 the scaled sum's",
                share.factor,
                100.0 * share.interaction,
                share.error
            ),
        };
        let ResponseConfig { similar_combinations, predictor, .. } = self.settings.response;
        let wants_similar = similar_combinations && predictor == PredictorState::Trained;
        let of_similar = match &response.similar {
            Some(_) => format!(
                "; they tell of similar ones: left out, {:.3} of the distance between embeddings without",
                share.similar
            ),
            None if !wants_similar => String::new(),
            None if response.measured.contexts.len() > 1 => {
                "; similar combinations are not used: the cells are of several contexts".to_owned()
            }
            None => "; they tell nothing of similar ones, or are too few for that".to_owned(),
        };
        let of_contexts = match share.contexts {
            None if self.settings.response.new_contexts == NewContexts::LeftOut => {
                "; new_contexts = left_out has no effect: it takes a trained predictor, and perturbations that were measured in two \
                 contexts or more"
                    .to_owned()
            }
            None => String::new(),
            Some(of) => format!(
                "; {} training contexts, left out: {:.2} times the shift of the others, {:.0} % of the learned response is used, \
                 E-distance {:.3} of that without",
                of.contexts,
                of.factor,
                100.0 * of.response,
                of.error
            ),
        };
        let choice = match share.choice {
            Some(choice) => choice.to_string(),
            None if self.settings.response.new_contexts == NewContexts::Chosen => {
                "; new_contexts = chosen has nothing to choose by, and end_to_end is used: it takes a trained predictor, and \
                 perturbations that were measured in three contexts or more"
                    .to_owned()
            }
            None => String::new(),
        };
        format!("{of_combinations}{of_similar}{choice}{of_contexts}")
    }

    /// What was chosen for perturbations that were never measured; `None` where the training was given no features.
    pub fn unseen(&self) -> Option<&FeatureChoice> {
        Some(&self.response.as_ref()?.unseen.as_ref()?.choice)
    }

    /// The same in words.
    pub(crate) fn note_of_unseen(&self) -> Option<String> {
        self.unseen().map(ToString::to_string)
    }

    /// Names of the contexts that were trained on.
    fn known_contexts(&self) -> Vec<String> {
        let contexts = self.response.iter().flat_map(|response| &response.measured.contexts);
        contexts.flatten().cloned().collect()
    }

    /// Rows of the kept control cells that cells of a condition are drawn from, and the generator that goes on from there.
    fn kept_controls(&self, condition: &Condition, sampling: &Sampling) -> Result<(Vec<usize>, ChaCha8Rng)> {
        let reference = &self.trained()?.reference;
        let here = |row: &usize| reference.contexts[*row] == condition.context;
        let mut rows: Vec<usize> = (0..reference.contexts.len()).filter(here).collect();
        if rows.is_empty() {
            return Err(match reference.contexts.as_slice() {
                [] | [None, ..] => {
                    Error::inapplicable(format!("{condition}: no control cell of its context was trained on"))
                }
                _ => Error::inapplicable(format!(
                    "{condition}: the model was trained on the contexts {}; name one of them (--context), or give control \
                     cells of another (--control-cells)",
                    self.known_contexts().join(", ")
                )),
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        shuffle(&mut rows, &mut rng);
        Ok((rows.into_iter().cycle().take(sampling.cells).collect(), rng))
    }

    fn start(&self, data: &Dataset, rows: &[usize]) -> Result<StartCells> {
        Ok(StartCells::new(self.embed(data, rows)?, rows.iter().map(|&row| data.library_size[row])))
    }

    fn check_genes(&self, data: &Dataset) -> Result<()> {
        match data.genes.names == self.genes {
            true => Ok(()),
            false => Err(Error::data(format!(
                "the data has {} genes and the model {}, or their order differs; align them by name first",
                data.genes.names.len(),
                self.genes.len()
            ))),
        }
    }
}

impl Trained for Jepa {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        let predicts = self.response.is_some();
        Abilities {
            cells: predicts,
            cells_from: predicts,
            embeddings: Some("X_jepa"),
            predicted_embeddings: predicts,
            ..Abilities::default()
        }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn contexts(&self) -> Vec<String> {
        self.known_contexts()
    }

    fn context_columns(&self) -> ContextColumns {
        self.response.as_ref().map(|response| response.measured.columns.clone()).unwrap_or_default()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.response.as_ref().is_some_and(|response| response.reaches(gene))
    }

    fn rests_on(&self, gene: &str) -> Option<String> {
        self.response.as_ref()?.rests_on(gene)
    }

    fn dose_range(&self, name: &str) -> Option<(f64, f64)> {
        self.response.as_ref()?.measured.dose_range(name)
    }

    fn check(&self, conditions: &[Condition]) -> Result<()> {
        let response = self.trained()?;
        conditions.iter().try_for_each(|condition| response.check(condition))
    }

    /// z of the teacher, with every gene visible.
    fn embed(&self, data: &Dataset, rows: &[usize]) -> Result<Array2<f32>> {
        self.check_genes(data)?;
        match rows.is_empty() {
            true => Err(Error::data("no cells were chosen")),
            false => self.encoder.embed(data, rows),
        }
    }

    fn predicted_embeddings(&self, data: &Dataset, rows: &[usize], condition: &Condition) -> Result<Array2<f32>> {
        let _on = self.encoder.device.enter()?;
        let start = self.start(data, rows)?;
        self.trained()?.knowing(&condition.context, &start.z).moved(&start, condition)
    }

    /// Each from a control cell of the training that the model keeps, with its library size; each of these is taken once
    /// before any is taken again.
    fn cells(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        let (rows, mut rng) = self.kept_controls(condition, sampling)?;
        self.cells_from(&self.trained()?.reference.data, &rows, condition, rng.next_u64())
    }

    /// None where an interaction or similar combinations are used, which are learned from the combinations. The factor of the sum, one
    /// number, is chosen on them in any case.
    fn without_combinations(&self) -> Option<Box<dyn Trained>> {
        match &self.response {
            Some(response) if response.share.interaction == 0.0 && response.similar.is_none() => {
                Some(Box::new(self.clone().of_genes_alone()))
            }
            _ => None,
        }
    }

    fn cells_of_noise(&self, condition: &Condition, sampling: &Sampling) -> Result<Generated> {
        self.check(std::slice::from_ref(condition))?;
        let (rows, mut rng) = self.kept_controls(condition, sampling)?;
        let z = Array2::from_shape_simple_fn((rows.len(), self.width()), || StandardNormal.sample(&mut rng));
        self.decoded(&z, condition, (&self.trained()?.reference.data, &rows), rng.next_u64())
    }

    fn cells_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, seed: u64) -> Result<Generated> {
        let _on = self.encoder.device.enter()?;
        let start = self.start(data, rows)?;
        let response = self.trained()?.knowing(&condition.context, &start.z);
        let moved = response.moved(&start, condition)?;
        let spread = response.widened(&start.z, moved, condition);
        let values = response.decoder.counts((&spread, &response.own(condition)?), data, rows, seed)?;
        let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
        Ok(Generated { values, library_size, are_counts: true })
    }

    fn mean_from(&self, data: &Dataset, rows: &[usize], condition: &Condition, _: u64) -> Result<Array1<f64>> {
        let _on = self.encoder.device.enter()?;
        let start = self.start(data, rows)?;
        let response = self.trained()?.knowing(&condition.context, &start.z);
        let spread = response.widened(&start.z, response.moved(&start, condition)?, condition);
        response.decoder.expected((&spread, &response.own(condition)?), data, rows)
    }

    fn adjusted(&self) -> Option<String> {
        self.begun.clone()
    }

    fn notes(&self) -> Vec<String> {
        let unused = "neither trained nor chosen by the validation cells".to_owned();
        let mut notes: Vec<String> = self.begun.iter().cloned().collect();
        notes.push(self.note_of_choices());
        notes.extend(self.note_of_unseen());
        notes.extend(self.response.is_some().then_some(unused));
        notes
    }

    /// See [`Jepa::held_out_embeddings`].
    fn held_out(&self, data: &Dataset, rows: &[usize], seed: u64) -> Result<Option<HeldOutScore>> {
        Ok(self.held_out_embeddings(data, rows, seed)?.map(HeldOutScore::from))
    }

    fn choices(&self) -> serde_json::Value {
        let Some(response) = &self.response else { return serde_json::Value::Null };
        let mut choices = serde_json::json!(response.share);
        if let Some(unseen) = &response.unseen {
            choices["unseen"] = serde_json::json!(unseen.choice);
        }
        choices
    }

    fn state(&self) -> Result<State> {
        self.saved()
    }
}

impl Model for Jepa {
    const KIND: &'static str = "jepa";
    const ABOUT: &'static str =
        "the JEPA: predicts the embedding of perturbed cells from that of control cells, and decodes it to cells";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const TRAINS_ON_GPU: bool = true;
    const KNOWS_CONTEXTS: bool = true;
    const COMBINES_CONTEXTS: bool = true;
    /// Each dose is a token of its own; between two doses it interpolates.
    const TAKES_DOSES: bool = true;
    const PREDICTS_ON_GPU: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    const PREDICTS_ON_CUDA: bool = true;
    type Config = JepaSettings;

    fn fit(data: &TrainingData, config: &JepaSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        data.require_counts(Self::KIND)?;
        let cells = data.cells.as_ref().ok_or_else(|| {
            Error::inapplicable("an effects dataset has no cells to embed; use the model combination")
        })?;
        if config.phase != Phase::A && config.response.training.early_stopping.is_some() {
            check_watched(&cells.conditions, &cells.split.train)?;
        }
        // Before anything is trained: a wrong file is quickly put right.
        let features = config.response.features.read()?;
        let alone = |&row: &usize| match cells.conditions[row].perturbation.genes() {
            [gene] => Some(gene.as_str()),
            _ => None,
        };
        let singles = cells.split.train.iter().filter_map(alone).collect();
        features.check(&singles, cells.data.gene_names())?;
        let (asked, config) = (config, &config.widened(singles.len()));
        // The report on phase A alone shows a validation loss; nothing is chosen by it.
        let fold = match config.phase {
            Phase::A => cells.split.clone(),
            Phase::B | Phase::Ab => Split { validation: Vec::new(), ..cells.split.clone() },
        };
        let mut begun = (config != asked).then(|| {
            format!(
                "{} single perturbations: {} features in place of {}, relative_effect = {} and similar_combinations = true; \
                 widen = false leaves the settings as they are",
                singles.len(),
                config.encoder.width,
                asked.encoder.width,
                config.response.weights.relative_effect
            )
        });
        let mut pretrained = match &config.from {
            None => Pretraining::new(&cells.data, &fold, config.encoder.clone(), run.seed)?,
            Some(dir) => {
                let trained = Self::load(dir, Device::Cpu)?;
                let (pretrained, matched) =
                    Pretraining::begun_with(&trained, &cells.data, &fold, run.seed).map_err(|e| e.at(dir.display()))?;
                begun = Some(format!("the encoder began as that of {}: {matched}", dir.display()));
                pretrained
            }
        };
        let mut settings = config.clone();
        settings.encoder = pretrained.config().clone();
        settings.from = None;
        let mut part = run.part("phase-a");
        part.progress = run.progress;
        let pretraining = TrainConfig { seed: run.seed, ..config.pretraining.clone() };
        let mut history = History::default();
        if config.phase != Phase::B {
            history = match (pretrained.fit_with(&cells.data, &fold, &pretraining, &mut part), &run.dir) {
                // A training cannot go on from a collapse.
                (Err(error), Some(dir)) if error.kind() == ErrorKind::Numeric => {
                    forget_checkpoints(dir)?;
                    return Err(error.at(format!("no model is kept in {}", dir.display())));
                }
                (trained, _) => trained?,
            };
        }
        let (target_sum, means) = (pretrained.target_sum, pretrained.means);
        let (student, teacher) = pretrained.net.into_towers();
        let standard = identity(settings.encoder.width)?;
        let mut encoder = Encoder { backbone: teacher, standard, target_sum, device: run.device };
        encoder.standard = standardising(&encoder.embed(&cells.data, &fold.train)?)?;
        run.check_interrupt()?;
        let response = match config.phase {
            Phase::A => None,
            Phase::B | Phase::Ab => {
                let momentum = settings.encoder.teacher.ema.unwrap_or(EmaMomentum::Constant { momentum: 0.0 });
                let towers = (student, &mut encoder);
                let teaching = (momentum, settings.encoder.alarm);
                let (mut response, trained) = Response::fit(data, cells, towers, &config.response, teaching, run)?;
                response.fit_unseen(cells, &encoder, &features, run)?;
                history = trained;
                Some(response)
            }
        };
        Ok((Self { settings, genes: cells.data.genes.names.clone(), encoder, means, response, begun }, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        Self::restored(state, device)
    }
}

pub(super) fn identity(width: usize) -> Result<Linear<Cpu>> {
    let device = Cpu::default();
    let mut weight = init::constant(&device, (width, width), 0.0)?;
    weight.copy_from(&Array2::<f32>::eye(width).into_iter().collect::<Vec<_>>());
    Ok(Linear { weight, bias: init::constant(&device, (width,), 0.0)? })
}

/// The linear map after which each feature of the embeddings z `(cells, width)` has mean 0 and variance 1. Features are not
/// rotated: to divide by the square roots of the smallest eigenvalues would amplify every step of the encoder's training.
pub(super) fn standardising(z: &Array2<f32>) -> Result<Linear<Cpu>> {
    let z = z.mapv(f64::from);
    let mean = z.mean_axis(Axis(0)).ok_or_else(|| Error::data("there is no training cell to embed"))?;
    let variance = z.var_axis(Axis(0), 0.0);
    let floor = LEAST_VARIANCE * variance.mean().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let scale = variance.mapv(|variance| 1.0 / (variance + floor).sqrt());
    let mut linear = identity(z.ncols())?;
    linear.weight.copy_from(&Array2::from_diag(&scale).iter().map(|&v| v as f32).collect::<Vec<_>>());
    linear.bias.copy_from(&(-&mean * &scale).iter().map(|&v| v as f32).collect::<Vec<_>>());
    Ok(linear)
}
