//! The second and third stage of a run: the JEPA on perturbations never seen, and diffusion around what it says.

use crate::{
    calibrate::story::{sections, verdicts},
    options::say,
};
use genailab::{
    ErrorKind, Result,
    bench::{Benchmark, BenchmarkData, Task, uncertainty::Study},
    data::{Condition, Conditions, Dataset, Effects, Opened, Split, SplitPlan, Truth},
    model::{
        CountVae,
        combination::EffectTable,
        latent_diffusion::{EffectDiffusion, EffectDiffusionConfig, FoldCells, LatentDiffusion},
    },
    predict::DiffusionPredictor,
    show::{Report, Verdict, verdict},
    train::{Progress, Run},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// What the JEPA is compared with on perturbations never seen.
const COMPARED: [&str; 6] = ["no_change", "mean", "additive", "scaled_additive", "kernel_ridge", "jepa"];
/// Sentences of the benchmark's verdict that a run's report repeats.
const SENTENCES: usize = 2;

/// What the later stages found; what could not be done is a note.
#[derive(Default)]
pub struct Later {
    jepa: Option<Benchmark>,
    seen: Option<Study>,
    unseen: Option<Study>,
    notes: Vec<String>,
}

impl Later {
    /// The later stages on cells: diffusion in the latent space of the run's VAE, judged on the run's held-out cells; and,
    /// where there are doubles to hold out, the JEPA and diffusion on doubles never seen, trained anew without them.
    pub fn of_cells(
        data: &Dataset,
        split: &Split,
        vae: &CountVae,
        truth: Option<&Truth>,
        (out, seed, epochs): (&Path, u64, Option<usize>),
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut later = Self::default();
        let prepared = BenchmarkData::new(Opened::Cells(data.clone()), None)?;
        let mut predictor = DiffusionPredictor::default();
        if let Some(epochs) = epochs {
            predictor.vae.training.epochs = epochs;
            predictor.cells.training.epochs = epochs;
        }
        say("diffusion in the latent space")?;
        let mut options = quiet(interrupt);
        let conditions: Vec<Condition> =
            (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
        let fold = FoldCells { data, conditions: &conditions, split };
        let fitted = LatentDiffusion::fit(fold, vae.clone(), &predictor.cells, seed, &mut options);
        if let Some((model, _)) = later.reasoned("latent diffusion", fitted)? {
            model.save(&out.join("diffusion"))?;
            let task = Task::new(&prepared, split, &BTreeMap::new(), seed);
            if let Some(task) = later.reasoned("held-out cells", task)? {
                later.seen = Some(Study::of_cells(&model, &task, truth)?);
            }
        }
        let rows = Conditions::of(data, None)?;
        if later.reasoned("perturbations never seen", SplitPlan::doubles(seed).divide(&rows))?.is_some() {
            say("doubles never seen: the JEPA beside the baselines, and diffusion around it")?;
            let jepa = Benchmark::run(data.clone(), "doubles", 1, &COMPARED);
            later.jepa = later.reasoned("the JEPA", jepa)?;
            let task = Task::of_plan(&prepared, &SplitPlan::doubles(seed), seed)?;
            let fitted = predictor.fit_cells(&task.training);
            if let Some(model) = later.reasoned("diffusion on doubles never seen", fitted)? {
                later.unseen = Some(Study::of_cells(&model, &task, truth)?);
            }
        }
        Ok(later)
    }

    /// The later stages on effects: trained on what the run's VAE was trained on or watched, judged on its held-out doubles.
    pub fn of_effects(
        data: &Effects,
        split: &Split,
        (out, seed): (&Path, u64),
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut later = Self::default();
        if split.test.is_empty() {
            later.notes.push("no double was held out, so nothing judges the later stages".to_owned());
            return Ok(later);
        }
        say("doubles never seen: the JEPA beside the baselines, and diffusion around it")?;
        later.jepa = later.reasoned("the JEPA", Benchmark::run(data.clone(), "doubles", 1, &COMPARED))?;
        let mut train = [split.train.clone(), split.validation.clone()].concat();
        train.sort_unstable();
        let mut options = quiet(interrupt);
        let config = EffectDiffusionConfig::default();
        let fitted = EffectDiffusion::fit(&EffectTable::of_effects(data, &train), &config, seed, &mut options);
        if let Some(model) = later.reasoned("diffusion", fitted)? {
            model.save(&out.join("diffusion"))?;
            let split = Split { train, validation: Vec::new(), test: split.test.clone() };
            let prepared = BenchmarkData::new(Opened::Effects(data.clone()), None)?;
            let task = Task::new(&prepared, &split, &BTreeMap::new(), seed)?;
            later.unseen = Some(Study::of_effects(&model, &task)?);
        }
        Ok(later)
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
        let jepa = self.jepa.iter().flat_map(|benchmark| verdict(benchmark, "l2").into_iter().take(SENTENCES));
        let studies = self.seen.iter().chain(&self.unseen).flat_map(verdicts);
        let notes = self.notes.iter().map(|note| (Verdict::Warning, format!("Not done: {note}.")));
        jepa.chain(studies).chain(notes).collect()
    }

    /// The sections of the later stages.
    pub fn report(&self, mut report: Report) -> Result<Report> {
        if let Some(benchmark) = &self.jepa {
            report = report
                .section("Stage 2: the JEPA on doubles never seen")
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
            "jepa": self.jepa.as_ref().map(|benchmark| &benchmark.summary),
            "diffusion": { "seen": self.seen, "unseen": self.unseen },
            "notes": self.notes,
        })
    }
}

fn quiet(interrupt: &Arc<AtomicBool>) -> Run<'static> {
    Run { interrupt: Some(Arc::clone(interrupt)), progress: Progress::Silent, ..Run::default() }
}
