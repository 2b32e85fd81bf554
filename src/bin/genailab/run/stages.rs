//! The later stages of a run: the combination model on perturbations never seen, and diffusion around what it predicts.

use super::Stages;
use crate::{
    calibrate::story::{sections, verdicts},
    options::say,
};
use genailab::{
    ErrorKind, Result,
    bench::{Benchmark, BenchmarkData, Task, uncertainty::Study},
    data::{Conditions, DataKind, Effects, Opened, Split, SplitPlan, TrainingData, Truth},
    device::Device,
    model::{
        CountVae, Model, ModelConfig, Trained,
        latent_diffusion::{DiffusionModel, DiffusionSettings, LatentDiffusion},
        registry::train,
    },
    show::{Report, Verdict, verdict},
    train::{Progress, Run},
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// What the combination model is compared with on perturbations never seen.
const COMPARED: [&str; 6] = ["no_change", "mean", "additive", "scaled_additive", "kernel_ridge", "combination"];
/// Sentences of the benchmark's verdict that a run's report repeats.
const SENTENCES: usize = 2;

/// What the later stages found; what could not be done is a note.
#[derive(Default)]
pub struct Later {
    combination: Option<Benchmark>,
    seen: Option<Study>,
    unseen: Option<Study>,
    notes: Vec<String>,
}

impl Later {
    /// The later stages on cells: diffusion in the latent space of the run's VAE, judged on the run's held-out cells; and,
    /// where there are doubles to hold out, the combination model and diffusion on doubles never seen, trained anew without
    /// them.
    pub fn of_cells(
        training: &TrainingData,
        split: &Split,
        vae: &CountVae,
        truth: Option<&Truth>,
        stages: &Stages<'_>,
    ) -> Result<Self> {
        let mut later = Self::default();
        let cells = training.cells.as_ref().expect("the run is on cells");
        let (data, seed) = (cells.data.as_ref(), stages.settings.seed);
        let prepared = BenchmarkData::new(Opened::Cells(data.clone()), None)?;
        let mut settings = DiffusionSettings::default_for(DataKind::Cells);
        if let Some(epochs) = stages.args.epochs {
            settings.set_epochs(epochs);
            settings.train.epochs = epochs;
        }
        say("diffusion in the latent space")?;
        let mut run = later.quiet(stages, "diffusion")?;
        let fitted = LatentDiffusion::around(vae.clone(), cells, &settings.cells, &mut run);
        if let Some((model, _)) = later.reasoned("latent diffusion", fitted)? {
            save(DiffusionModel::Cells(Box::new(model.clone())), run.dir.as_deref())?;
            let task = Task::new(&prepared, split, &BTreeMap::new(), seed);
            if let Some(task) = later.reasoned("held-out cells", task)? {
                later.seen = Some(Study::of_cells(&model, &task, truth)?);
            }
        }
        stages.check_interrupt()?;
        let rows = Conditions::of(data, None)?;
        if later.reasoned("perturbations never seen", SplitPlan::doubles(seed).divide(&rows))?.is_some() {
            say("doubles never seen: the combination model beside the baselines, and diffusion around it")?;
            let compared = Benchmark::run(data.clone(), "doubles", 1, &COMPARED);
            later.combination = later.reasoned("the combination model", compared)?;
            stages.check_interrupt()?;
            let task = Task::of_plan(&prepared, &SplitPlan::doubles(seed), seed)?;
            let mut run = later.quiet(stages, "unseen")?;
            let fitted = train::<DiffusionModel>(&task.training, &settings, &mut run);
            if let Some((DiffusionModel::Cells(model), _)) =
                later.reasoned("diffusion on doubles never seen", fitted)?
            {
                later.unseen = Some(Study::of_cells(&model, &task, truth)?);
            }
        }
        Ok(later)
    }

    /// The later stages on effects: trained on the training and validation part of the run's VAE, judged on its held-out
    /// doubles.
    pub fn of_effects(data: &Effects, split: &Split, stages: &Stages<'_>) -> Result<Self> {
        let mut later = Self::default();
        let seed = stages.settings.seed;
        if split.test.is_empty() {
            later.notes.push("no double was held out, so nothing judges the later stages".to_owned());
            return Ok(later);
        }
        say("doubles never seen: the combination model beside the baselines, and diffusion around it")?;
        let compared = Benchmark::run(data.clone(), "doubles", 1, &COMPARED);
        later.combination = later.reasoned("the combination model", compared)?;
        stages.check_interrupt()?;
        let mut kept = [split.train.clone(), split.validation.clone()].concat();
        kept.sort_unstable();
        let split = Split { train: kept, validation: Vec::new(), test: split.test.clone() };
        let training = TrainingData::of_effects(data, &split, seed)?;
        let mut run = later.quiet(stages, "diffusion")?;
        let settings = DiffusionSettings::default_for(DataKind::Effects);
        let fitted = train::<DiffusionModel>(&training, &settings, &mut run);
        if let Some((DiffusionModel::Effects(model), _)) = later.reasoned("diffusion", fitted)? {
            let prepared = BenchmarkData::new(Opened::Effects(data.clone()), None)?;
            let task = Task::new(&prepared, &split, &BTreeMap::new(), seed)?;
            later.unseen = Some(Study::of_effects(&model, &task)?);
        }
        Ok(later)
    }

    /// The run of a later stage, without progress; on the CPU where its model cannot use the device of the run.
    fn quiet(&mut self, stages: &Stages<'_>, folder: &str) -> Result<Run<'static>> {
        let mut run = Run { progress: Progress::Silent, ..stages.run(folder) };
        if let Err(reason) = DiffusionModel::check_device(run.device) {
            say(format_args!("note: {reason}; this stage is computed there"))?;
            run.device = Device::Cpu;
        }
        Ok(run)
    }

    /// A stage that this data is not for is passed over with a note.
    fn reasoned<T>(&mut self, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Inapplicable | ErrorKind::Data | ErrorKind::Config) => {
                self.notes.push(format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a reader should take away of each stage.
    pub fn verdicts(&self) -> Vec<(Verdict, String)> {
        let combination =
            self.combination.iter().flat_map(|benchmark| verdict(benchmark, "l2").into_iter().take(SENTENCES));
        let studies = self.seen.iter().chain(&self.unseen).flat_map(verdicts);
        let notes = self.notes.iter().map(|note| (Verdict::Warning, format!("Not done: {note}.")));
        combination.chain(studies).chain(notes).collect()
    }

    /// The sections of the later stages.
    pub fn report(&self, mut report: Report) -> Result<Report> {
        if let Some(benchmark) = &self.combination {
            report = report
                .section("Stage 2: the combination model on doubles never seen")
                .paragraph(
                    "Half of the doubles are held out, and every model sees the rest only: mean L2 error and Pearson \
                     correlation of the predicted mean effect over all genes. `genailab bench` compares more models on \
                     more splits.",
                )
                .table(benchmark.table(&["l2", "pearson"]));
        }
        for (title, study) in [
            ("Stage 3: diffusion, other cells of perturbations that were trained on", &self.seen),
            ("Stage 3: diffusion, doubles never seen", &self.unseen),
        ] {
            if let Some(study) = study {
                report = sections(report.section(title), study)?;
            }
        }
        Ok(report)
    }

    /// For `results.json`.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "combination": self.combination.as_ref().map(|benchmark| &benchmark.summary),
            "diffusion": { "seen": self.seen, "unseen": self.unseen },
            "notes": self.notes,
        })
    }
}

fn save(model: DiffusionModel, dir: Option<&Path>) -> Result<()> {
    model.save(dir.expect("every stage has a folder"))
}
