//! Training and files.

use super::{
    choice::{Chosen, Judged, choose},
    config::JepaDiffusionSettings,
    denoiser::Points,
    generator::Generator,
    given::{KeptControls, Pairing, TrainingRows, given_width},
    held_out::{GaussianBaseline, OfCondition},
};
use crate::{
    Error, Result,
    data::{Condition, DataKind, TrainingCells, TrainingData, rows_by_condition},
    device::Device,
    math::seeds::stream,
    model::{
        Model, ModelConfig, State, Trained,
        jepa::{EmbeddedCells, Jepa},
    },
    train::{History, Run, TrainConfig},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Purposes of random streams: the control cells that training and validation cells are given.
const TRAINING_CONTROLS: u64 = 1;
const VALIDATION_CONTROLS: u64 = 2;

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: JepaDiffusionSettings,
    chosen: Chosen,
    /// Training conditions, and the mean ln library size of their cells.
    conditions: Vec<(Condition, f64)>,
}

/// Draws cells in the embedding space of a JEPA; see the equations of the module.
#[derive(Clone)]
pub struct JepaDiffusion {
    pub(super) settings: JepaDiffusionSettings,
    pub(super) jepa: Jepa,
    pub(super) kept: KeptControls,
    pub(super) generator: Generator,
    pub(super) baseline: GaussianBaseline,
    pub(super) chosen: Chosen,
}

impl JepaDiffusion {
    /// The settings.
    pub fn settings(&self) -> &JepaDiffusionSettings {
        &self.settings
    }

    /// The JEPA in whose space it draws.
    pub fn jepa(&self) -> &Jepa {
        &self.jepa
    }

    /// What was chosen on the training cells.
    pub fn chosen(&self) -> Chosen {
        self.chosen
    }

    /// Trains the diffusion in the space of a trained JEPA, as the part `generator` of `run`. `settings.jepa` is not used.
    ///
    /// # Errors
    /// A JEPA of phase A alone or of other genes; a loss that is not finite; an interruption.
    pub fn around(
        jepa: Jepa,
        cells: &TrainingCells,
        settings: &JepaDiffusionSettings,
        run: &mut Run<'_>,
    ) -> Result<(Self, History)> {
        settings.validate()?;
        let (split, conditions, seed) = (&cells.split, cells.conditions.as_slice(), run.seed);
        // What it is told of a training combination is what it will be told of an unseen one; what the JEPA misses of the
        // former is learned here.
        let jepa = jepa.of_genes_alone();
        let kept = KeptControls::of(&jepa)?;
        let embedded = jepa.embedded(cells, &split.train)?;
        let baseline = baseline(&embedded, &kept, conditions, &split.train)?;
        let mut controls: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for &row in split.train.iter().filter(|&&row| conditions[row].perturbation.is_control()) {
            controls.entry(conditions[row].context.clone()).or_default().push(row);
        }
        let most = (settings.most_rows / split.train.len().max(1)).max(1);
        let pairing = Pairing { cells: &embedded, controls: &controls, each: settings.control_cells.min(most) };
        let mut rng = stream(seed, TRAINING_CONTROLS, 0);
        let rows = TrainingRows::of(&embedded, &kept, (conditions, &split.train), &pairing, &mut rng)?;
        let validation = match split.validation.is_empty() {
            true => None,
            false => {
                let pairing = Pairing { each: 1, ..pairing };
                let seen = jepa.embedded(cells, &split.validation)?;
                let mut rng = stream(seed, VALIDATION_CONTROLS, 0);
                let rows = (conditions, split.validation.as_slice());
                Some(TrainingRows::of(&seen, &kept, rows, &pairing, &mut rng)?)
            }
        };
        let validation = validation.filter(|rows| rows.r.nrows() > 0);
        run.check_interrupt()?;
        let stopped = settings.training.early_stopping.filter(|_| validation.is_some());
        let training = TrainConfig { seed, early_stopping: stopped, ..settings.training.clone() };
        let train = Points { r: &rows.r, given: &rows.given };
        let watched = validation.as_ref().map(|rows| Points { r: &rows.r, given: &rows.given });
        let mut part = Run { progress: run.progress, ..run.part("generator") };
        let parts = (&train, watched.as_ref());
        let (generator, history) = Generator::fit(&settings.generator, &baseline.axes, parts, &training, &mut part)?;
        run.check_interrupt()?;
        let judged = Judged {
            cells: &embedded,
            kept: &kept,
            baseline: &baseline,
            controls: &controls,
            conditions,
            train: &split.train,
        };
        let chosen = choose(&judged, &generator, seed)?;
        drop(embedded);
        Ok((Self { settings: settings.clone(), jepa, kept, generator, baseline, chosen }, history))
    }
}

/// The Gaussian of the training cells, of the conditions that the JEPA predicts.
fn baseline(
    cells: &EmbeddedCells<'_>,
    kept: &KeptControls,
    conditions: &[Condition],
    train: &[usize],
) -> Result<GaussianBaseline> {
    let mut groups = Vec::new();
    for (condition, rows) in rows_by_condition(conditions, train) {
        if kept.rows(condition).is_err() || cells.jepa().check(std::slice::from_ref(condition)).is_err() {
            continue;
        }
        let library_size = rows.iter().map(|&row| cells.data().library_size[row]).collect();
        groups.push(OfCondition { condition, z: cells.pick(&rows).mapv(f64::from), library_size });
    }
    GaussianBaseline::fit(&groups)
}

impl Model for JepaDiffusion {
    const KIND: &'static str = "jepa-diffusion";
    const ABOUT: &'static str = "diffusion in the JEPA's embedding space: draws the embeddings that perturbed cells could have, and decodes them";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const TRAINS_ON_GPU: bool = true;
    const KNOWS_CONTEXTS: bool = true;
    const COMBINES_CONTEXTS: bool = true;
    const TRAINS_ON_CUDA: bool = true;
    type Config = JepaDiffusionSettings;

    fn fit(data: &TrainingData, config: &JepaDiffusionSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        data.require_counts(Self::KIND)?;
        let cells = data.cells.as_ref().ok_or_else(|| {
            Error::inapplicable(
                "an effects dataset has no cells to embed and to draw; use the model combination or diffusion",
            )
        })?;
        // The parts of the JEPA hold its checkpoints, not its own folder.
        let mut part = Run { progress: run.progress, resume: run.resume, ..run.part("jepa") };
        let (jepa, _) = Jepa::fit(data, &config.jepa, &mut part)?;
        let settings = JepaDiffusionSettings { jepa: jepa.settings().clone(), ..config.clone() };
        Self::around(jepa, cells, &settings, run)
    }

    fn restore(mut state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let Description { settings, chosen, conditions } = state.description()?;
        settings.validate()?;
        let jepa = Jepa::restore(state.part("jepa", Jepa::KIND)?, device)?;
        let kept = KeptControls::of(&jepa)?;
        let (dims, width) = (jepa.width(), given_width(&jepa)?);
        let baseline = GaussianBaseline::take_from(&state, conditions, dims)?;
        let generator = Generator::take_from(&mut state, &settings.generator, dims, width)?;
        Ok(Self { settings, jepa, kept, generator, baseline, chosen })
    }
}

impl JepaDiffusion {
    pub(super) fn saved(&self) -> Result<State> {
        let description =
            Description { settings: self.settings.clone(), chosen: self.chosen, conditions: self.baseline.described() };
        let state = State::new(&description).with_part("jepa", Jepa::KIND, self.jepa.state()?);
        self.generator.add_to(self.baseline.add_to(state))
    }
}
