//! The later stages of a run: the JEPA, diffusion in its space and in the VAE's, and all models beside the baselines on perturbations
//! never seen.

use super::{Stages, embeddings};
use crate::{
    calibrate::story::{sections, verdicts},
    options::{Fractions, say},
};
use genailab::{
    Error, ErrorKind, Result,
    bench::{Benchmark, BenchmarkData, RunOptions, Task, chosen, run_with, uncertainty::Study},
    data::{Conditions, DataKind, Effects, Opened, Split, SplitPlan, TrainingData, Truth},
    device::Device,
    model::{
        CountVae, Model, ModelConfig, Trained,
        jepa::{HeldOutEmbeddings, Jepa, JepaSettings, Size},
        jepa_diffusion::{JepaDiffusion, JepaDiffusionSettings},
        latent_diffusion::{DiffusionModel, DiffusionSettings, LatentDiffusion},
        registry::train,
    },
    predict::{ModelPredictor, Predictor, SavedModel},
    show::{Report, Verdict, verdict},
    train::{Progress, Run, TrainConfig},
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// What the JEPA is compared with on perturbations never seen, beside the combination model.
const COMPARED: [&str; 6] = ["no_change", "mean", "additive", "scaled_additive", "kernel_ridge", "combination"];
/// What the models of a run are compared with on held-out cells of perturbations that they were trained on.
const COMPARED_SEEN: [&str; 3] = ["no_change", "mean", "additive"];
/// The metrics of the run's tables.
const METRICS: [&str; 3] = ["l2", "pearson", "edistance_plain"];
/// The size of the run's JEPA: a minute on a laptop.
const JEPA_SIZE: Size = Size::Tiny;
/// Passes of the diffusion in the JEPA's space, each with one control cell per training cell: a fraction of what `train` takes, as the
/// run has other stages to do.
const JEPA_SPACE_PASSES: usize = 20;
/// Sentences of the benchmark's verdict that a run's report repeats.
const SENTENCES: usize = 2;

/// What the later stages found; what could not be done is a note.
#[derive(Default)]
pub struct Later {
    /// The models on held-out cells of perturbations that they were trained on.
    held_out: Option<Benchmark>,
    /// The models, trained anew, on doubles never seen.
    doubles: Option<Benchmark>,
    /// What the JEPA chose inside its training fold, in sentences.
    jepa: Vec<String>,
    /// Its predicted embeddings beside those of the held-out cells.
    embeddings: Option<HeldOutEmbeddings>,
    /// Diffusion in the JEPA's space on held-out cells.
    in_jepa_space: Option<Study>,
    seen: Option<Study>,
    unseen: Option<Study>,
    notes: Vec<String>,
}

impl Later {
    /// The later stages on cells: the JEPA, diffusion in its space, and diffusion in the latent space of the run's VAE, judged on the
    /// run's held-out cells; and, where there are doubles to hold out, JEPA, combination model and diffusion on doubles never seen, trained
    /// anew without them.
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
        settings.train.epochs = stages.passes(settings.train.epochs, split.train.len());
        let mut of_jepa = JepaSettings::preset(JEPA_SIZE);
        match stages.args.epochs {
            Some(epochs) => of_jepa.set_epochs(epochs),
            None => {
                let TrainConfig { epochs, .. } = &mut of_jepa.response.training;
                let passes = stages.passes(*epochs, split.train.len());
                if passes < *epochs {
                    say(format!(
                        "the JEPA's phase B passes {passes} times in place of {epochs}, as the data is large (--epochs)"
                    ))?;
                }
                *epochs = passes;
            }
        }
        say("the JEPA: its encoder, then predictor and decoder with it")?;
        let mut run = later.quiet::<Jepa>(stages, "jepa")?;
        let fitted = train::<Jepa>(training, &of_jepa, &mut run);
        let jepa = later.reasoned("the JEPA", fitted)?.map(|(jepa, _)| jepa);
        let mut models = chosen(&COMPARED_SEEN)?;
        models.push(Box::new(SavedModel::new("vae", stages.args.out.join("vae"))));
        if let Some(jepa) = &jepa {
            later.jepa = jepa.notes();
            later.embeddings = jepa.held_out_embeddings(data, &split.test, seed)?;
            models.push(Box::new(SavedModel::new(Jepa::KIND, stages.args.out.join("jepa"))));
        }
        stages.check_interrupt()?;
        let Fractions { validation, test } = stages.settings.split;
        let plan = SplitPlan::Stratified { validation, test, seed };
        later.held_out = Some(compare(&prepared, "held-out cells", (seed, plan), &models)?);
        stages.check_interrupt()?;
        let task = Task::new(&prepared, split, &BTreeMap::new(), seed);
        let task = later.reasoned("held-out cells", task)?;
        if let (Some(jepa), Some(task)) = (jepa, &task) {
            later.in_jepa_space = later.in_space_of(jepa, (training, task), stages)?;
            stages.check_interrupt()?;
        }
        say("diffusion in the latent space")?;
        let mut run = later.quiet::<DiffusionModel>(stages, "diffusion")?;
        let fitted = without_doses(training)
            .and_then(|()| LatentDiffusion::around(vae.clone(), cells, &settings.cells, &mut run));
        if let Some((model, _)) = later.reasoned("latent diffusion", fitted)? {
            save(DiffusionModel::Cells(Box::new(model.clone())), run.dir.as_deref())?;
            if let Some(task) = &task {
                later.seen = Some(Study::of_cells_while(&model, task, truth, &|| stages.check_interrupt())?);
            }
        }
        stages.check_interrupt()?;
        let rows = Conditions::of(data, None)?;
        if later.reasoned("perturbations never seen", SplitPlan::doubles(seed).divide(&rows))?.is_some() {
            say("doubles never seen: the JEPA and the combination model beside the baselines, and diffusion")?;
            let mut models = chosen(&COMPARED)?;
            models.push(Box::new(
                ModelPredictor::new::<Jepa>(Jepa::KIND, &[DataKind::Cells]).with_config::<Jepa>(of_jepa),
            ));
            let compared = compare(&prepared, "doubles", (seed, SplitPlan::doubles(seed)), &models);
            later.doubles = later.reasoned("doubles never seen", compared)?;
            stages.check_interrupt()?;
            let task = Task::of_plan(&prepared, &SplitPlan::doubles(seed), seed)?;
            let mut run = later.quiet::<DiffusionModel>(stages, "unseen")?;
            let fitted = train::<DiffusionModel>(&task.training, &settings, &mut run);
            if let Some((DiffusionModel::Cells(model), _)) =
                later.reasoned("diffusion on doubles never seen", fitted)?
            {
                later.unseen = Some(Study::of_cells_while(&model, &task, truth, &|| stages.check_interrupt())?);
            }
        }
        Ok(later)
    }

    /// Diffusion in the space of the run's JEPA, judged on the run's held-out cells.
    fn in_space_of(
        &mut self,
        jepa: Jepa,
        (training, task): (&TrainingData, &Task),
        stages: &Stages<'_>,
    ) -> Result<Option<Study>> {
        say("diffusion in the space of the JEPA")?;
        let cells = training.cells.as_ref().expect("the run is on cells");
        let mut run = self.quiet::<JepaDiffusion>(stages, "jepa-diffusion")?;
        // Its only training is a part of this run, which knows by its checkpoint whether it was begun.
        run.resume = stages.args.resume;
        let usual = JepaDiffusionSettings::default();
        let mut settings = JepaDiffusionSettings { jepa: jepa.settings().clone(), control_cells: 1, ..usual };
        let passes = stages.args.epochs.unwrap_or(JEPA_SPACE_PASSES);
        settings.training.epochs = stages.passes(passes, cells.split.train.len());
        let fitted = without_doses(training).and_then(|()| JepaDiffusion::around(jepa, cells, &settings, &mut run));
        let Some((model, _)) = self.reasoned("diffusion in the JEPA's space", fitted)? else { return Ok(None) };
        model.save(run.dir.as_deref().expect("every stage has a folder"))?;
        Study::of_model(Box::new(model), task, &|| stages.check_interrupt()).map(Some)
    }

    /// The later stages on effects: trained on the training and validation part of the run's VAE, judged on its held-out
    /// doubles.
    pub fn of_effects(data: &Effects, split: &Split, stages: &Stages<'_>) -> Result<Self> {
        let mut later = Self::default();
        let seed = stages.settings.seed;
        let no_cells = "the JEPA and diffusion in its space: they learn from cells, and an effects dataset has none";
        later.notes.push(no_cells.to_owned());
        if split.test.is_empty() {
            later.notes.push("no double was held out, so nothing judges the later stages".to_owned());
            return Ok(later);
        }
        say("doubles never seen: the combination model beside the baselines, and diffusion around it")?;
        let compared = Benchmark::run(data.clone(), "doubles", 1, &COMPARED);
        later.doubles = later.reasoned("the combination model", compared)?;
        stages.check_interrupt()?;
        let mut kept = [split.train.clone(), split.validation.clone()].concat();
        kept.sort_unstable();
        let split = Split { train: kept, validation: Vec::new(), test: split.test.clone() };
        let training = TrainingData::of_effects(data, &split, seed)?;
        let mut run = later.quiet::<DiffusionModel>(stages, "diffusion")?;
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
    fn quiet<M: Model>(&self, stages: &Stages<'_>, folder: &str) -> Result<Run<'static>> {
        let mut run = Run { progress: Progress::Silent, ..stages.run(folder) };
        if let Err(reason) = M::check_device(run.device) {
            say(format_args!("note: {reason}; this stage is computed there"))?;
            run.device = Device::Cpu;
        }
        Ok(run)
    }

    /// A stage that this data is not for, or whose training fails, is passed over with a note.
    fn reasoned<T>(&mut self, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Inapplicable | ErrorKind::Data | ErrorKind::Config | ErrorKind::Numeric
                ) =>
            {
                self.notes.push(format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What a reader should take away of each stage.
    pub fn verdicts(&self) -> Vec<(Verdict, String)> {
        let sentences = |(benchmark, metric)| verdict(benchmark, metric).into_iter().take(SENTENCES);
        let doubles = self.doubles.iter().flat_map(|of| [(of, "l2"), (of, "edistance_plain")]).flat_map(sentences);
        let jepa = self.jepa.iter().map(|note| (Verdict::Plain, format!("JEPA: {note}.")));
        let in_jepa_space = self.in_jepa_space.iter().flat_map(verdicts);
        let in_jepa_space = in_jepa_space.map(|(kind, line)| (kind, format!("Diffusion in the JEPA's space. {line}")));
        let studies = in_jepa_space.chain(self.seen.iter().chain(&self.unseen).flat_map(verdicts));
        let notes = self.notes.iter().map(|note| (Verdict::Warning, format!("Not done: {note}.")));
        doubles.chain(jepa).chain(studies).chain(notes).collect()
    }

    /// The sections of the later stages.
    pub fn report(&self, mut report: Report) -> Result<Report> {
        if let Some(benchmark) = &self.held_out {
            report = report
                .section("Stage 2: the JEPA and the VAE on held-out cells")
                .paragraph(
                    "Perturbations that the models were trained on, judged on cells that they were not: `mean` and \
                     `additive` give the effects measured on training cells, which is hard to beat here. L2 error and Pearson \
                     correlation of the mean effect over all genes; plain E-distance between predicted and held-out cells.",
                )
                .table(benchmark.table(&METRICS));
        }
        if let Some(found) = &self.embeddings {
            report = embeddings::section(report, found)?;
        }
        if let Some(benchmark) = &self.doubles {
            report = report
                .section("Doubles never seen: all models beside the baselines")
                .paragraph(
                    "Half of the doubles are held out, and every model is trained anew on the rest. The columns are those of \
                     the table above; what predicts means only is judged in E-distance by control cells moved to that \
                     mean. `genailab bench` compares more models on more splits, contexts among them.",
                )
                .table(benchmark.table(&METRICS));
        }
        for (title, study) in [
            (
                "Stage 3: diffusion in the JEPA's space, other cells of perturbations that were trained on",
                &self.in_jepa_space,
            ),
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
            "held_out_embeddings": self.embeddings,
            "held_out_cells": self.held_out.as_ref().map(|benchmark| &benchmark.summary),
            "unseen_doubles": self.doubles.as_ref().map(|benchmark| &benchmark.summary),
            "jepa_diffusion": { "seen": self.in_jepa_space },
            "diffusion": { "seen": self.seen, "unseen": self.unseen },
            "notes": self.notes,
        })
    }
}

/// The models on the data of a split.
fn compare(
    data: &BenchmarkData,
    name: &str,
    plan: (u64, SplitPlan),
    models: &[Box<dyn Predictor>],
) -> Result<Benchmark> {
    let options = RunOptions { dataset: "data".to_owned(), split: name.to_owned(), ..RunOptions::default() };
    run_with(data, &[plan], models, &options)
}

/// Refuses names with doses, of which a diffusion would take each for another perturbation.
fn without_doses(training: &TrainingData) -> Result<()> {
    match training.dosed() {
        None => Ok(()),
        Some(dosed) => Err(Error::inapplicable(format!("diffusion takes no doses, and names have some ({dosed})"))),
    }
}

fn save(model: DiffusionModel, dir: Option<&Path>) -> Result<()> {
    model.save(dir.expect("every stage has a folder"))
}
