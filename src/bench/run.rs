//! Models x seeds, in parallel, each finished part kept.

use super::{
    Answer, Benchmark, BenchmarkData, CEILING, FileFacts, InteractionCurve, MeanPoints, MeasureOptions, Task,
    assemble::{assemble, facts_of, split_facts},
    data::sha256,
    interaction_curve, measure, own_space,
    parts::{Found, Part, Parts},
    predictions::{OnSharedGenes, PredictionFile},
};
use crate::{
    Error, ErrorKind, Result,
    data::{Conditions, NamedSplit, SplitPlan},
    model::Trained,
    notebook,
    predict::{Fitted, Predictor},
};
use rayon::prelude::*;
use serde_json::json;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Bytes that the training folds of the splits in work may take together; one is always in work.
const TASK_BYTES: usize = 1 << 30;
/// Bytes that predicted cells in work may take together; one model is always in work.
const CELL_BYTES: usize = 1 << 29;
/// Changes whenever a kept part means something else.
const FORMAT: u32 = 4;

/// How a benchmark runs.
#[derive(Default)]
pub struct RunOptions<'a> {
    /// What the data is called in the results.
    pub dataset: String,
    /// What the split is called in the results.
    pub split: String,
    /// Choices about the metrics.
    pub metrics: MeasureOptions,
    /// Predictions that were made elsewhere, each measured as a model.
    pub files: &'a [PredictionFile],
    /// Where finished parts are kept (`parts/`) and splits written (`splits/SEED.json`).
    pub folder: Option<&'a Path>,
    /// Raised by Ctrl-C: no new part is begun.
    pub interrupt: Option<&'a AtomicBool>,
    /// Called after every finished part.
    pub progress: Option<&'a (dyn Fn(&PartProgress<'_>) + Sync)>,
}

/// A part that ended.
#[derive(Debug, Clone, Copy)]
pub struct PartProgress<'a> {
    /// Parts that are finished, those of an earlier run too.
    pub done: usize,
    /// All parts.
    pub total: usize,
    /// Seed of the part's split.
    pub seed: u64,
    /// The part's model.
    pub model: &'a str,
}

/// Runs every predictor on every split; nothing is kept on disk. [`Benchmark::dataset`] and [`Benchmark::split`] stay empty:
/// [`run_with`] gives them names.
///
/// # Errors
/// A plan that does not fit the data.
pub fn run(data: &BenchmarkData, plans: &[(u64, SplitPlan)], models: &[Box<dyn Predictor>]) -> Result<Benchmark> {
    run_with(data, plans, models, &RunOptions::default())
}

/// As [`run`], resumable: parts that an earlier run finished in the same folder are read, not computed.
///
/// The results do not depend on the number of threads, nor on what was read and what computed. At any time there is one
/// split's training fold in memory, or as many as fit into 1 GB.
///
/// A model that fails (a loss that is not finite, a collapse), or a file that cannot be scored, has no scores: the reason
/// stands in [`Benchmark::absent`] and in [`Benchmark::notes`], the other models are measured, and the next run in the same
/// folder tries again.
///
/// Where a file has some of the data's genes only, all models are fitted and compared on the genes that all files have.
///
/// # Errors
/// A plan that does not fit the data, two models of one name, a folder that cannot be written.
/// [`ErrorKind::Interrupted`] after Ctrl-C, or an interruption in a notebook; the finished parts stay.
pub fn run_with(
    data: &BenchmarkData,
    plans: &[(u64, SplitPlan)],
    models: &[Box<dyn Predictor>],
    options: &RunOptions<'_>,
) -> Result<Benchmark> {
    let all_genes = data.genes().len();
    let shared = OnSharedGenes::new(data, options.files)?;
    let (data, files) = (shared.data.as_ref(), &shared.files);
    let models: Vec<&dyn Predictor> =
        models.iter().map(Box::as_ref).chain(files.iter().map(|file| -> &dyn Predictor { file })).collect();
    for (index, model) in models.iter().enumerate() {
        if models[..index].iter().any(|other| other.name() == model.name()) || model.name() == CEILING {
            return Err(Error::config(format!(
                "two models are called {:?}; give a prediction file another name by NAME=FILE",
                model.name()
            )));
        }
    }
    let rows = data.rows();
    let splits: Vec<(u64, NamedSplit)> =
        plans.iter().map(|(seed, plan)| Ok((*seed, plan.divide(&rows)?))).collect::<Result<_>>()?;
    if splits.is_empty() {
        return Err(Error::config("there is no split: at least one seed is needed"));
    }
    let engine = Engine { data, rows: &rows, splits, models, files, options, parts: Parts::new(options.folder) };
    engine.save_splits()?;
    let facts = data.facts();
    let jobs = engine.jobs(&facts.fingerprint);
    let (parts, mut notes) = engine.finish(&jobs)?;
    notes.extend(shared.notes);
    let splits = engine.splits.iter().map(|(seed, split)| split_facts(*seed, split, &rows)).collect::<Result<_>>()?;
    let of_files: Vec<FileFacts> =
        options.files.iter().zip(files).map(|(file, shared)| facts_of(file, shared, all_genes)).collect();
    Ok(Benchmark { files: of_files, ..assemble(engine, facts, splits, parts, notes) })
}

/// What is run, on what.
pub(super) struct Engine<'a> {
    pub data: &'a BenchmarkData,
    rows: &'a Conditions,
    pub splits: Vec<(u64, NamedSplit)>,
    pub models: Vec<&'a dyn Predictor>,
    pub files: &'a [PredictionFile],
    pub options: &'a RunOptions<'a>,
    parts: Parts,
}

/// What a part is about.
#[derive(Clone, Copy)]
enum Who<'a> {
    /// The observed effects of the first split, for figures.
    Observed,
    Ceiling,
    Model(&'a dyn Predictor),
}

impl Who<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Observed => "observed",
            Self::Ceiling => CEILING,
            Self::Model(model) => model.name(),
        }
    }
}

struct Job<'a> {
    split: usize,
    who: Who<'a>,
    key: String,
}

impl<'a> Engine<'a> {
    fn save_splits(&self) -> Result<()> {
        let Some(folder) = self.options.folder.map(|folder| folder.join("splits")) else { return Ok(()) };
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create the folder", &folder, error))?;
        self.splits.iter().try_for_each(|(seed, split)| split.save(folder.join(format!("{seed}.json"))))
    }

    /// All parts, those of one split together.
    fn jobs(&self, fingerprint: &str) -> Vec<Job<'a>> {
        let metrics = sha256(format!("{:?}", self.options.metrics).as_bytes());
        let job = |split: usize, who: Who<'a>| {
            let settings = match who {
                Who::Model(model) => model.settings(),
                Who::Observed | Who::Ceiling => serde_json::Value::Null,
            };
            let (seed, of) = &self.splits[split];
            let key = Parts::key(&json!({
                "format": FORMAT,
                "genailab": env!("CARGO_PKG_VERSION"),
                "data": fingerprint,
                "seed": seed,
                "split": of.fingerprint(),
                "model": who.name(),
                "settings": settings,
                "metrics": metrics,
                "example": split == 0,
            }));
            Job { split, who, key }
        };
        let of_split = |split| {
            let first = (split == 0).then_some(Who::Observed);
            let all = first.into_iter().chain(self.models.iter().map(|model| Who::Model(*model))).chain([Who::Ceiling]);
            all.map(move |who| job(split, who))
        };
        (0..self.splits.len()).flat_map(of_split).collect()
    }

    /// Reads or computes every part; the notes are about files that were damaged.
    fn finish(&self, jobs: &[Job<'_>]) -> Result<(Vec<Part>, Vec<String>)> {
        let mut notes = Vec::new();
        let mut parts: Vec<Option<Part>> = jobs
            .iter()
            .map(|job| match self.parts.read(&job.key) {
                Found::Whole(part) => Some(*part),
                Found::Damaged(file) => {
                    notes.push(format!("{file} was damaged; it was computed again"));
                    None
                }
                Found::Nothing => None,
            })
            .collect();
        let done = AtomicUsize::new(parts.iter().flatten().count());
        let mut pending: Vec<usize> = (0..self.splits.len()).collect();
        pending.retain(|&split| jobs.iter().zip(&parts).any(|(job, part)| job.split == split && part.is_none()));
        for block in pending.chunks(self.splits_at_once()) {
            let tasks = block.par_iter().map(|&split| Ok((split, self.task(split)?))).collect::<Result<Vec<_>>>()?;
            // With all threads now, rather than by the first model while those that it works beside wait for it.
            tasks.iter().for_each(|(_, task)| task.observed.prepare());
            let missing: Vec<usize> = (0..jobs.len()).filter(|&job| parts[job].is_none()).collect();
            let work: Vec<(usize, &Task)> = missing
                .into_iter()
                .filter_map(|job| {
                    tasks.iter().find(|(split, _)| *split == jobs[job].split).map(|(_, task)| (job, task))
                })
                .collect();
            for block in work.chunks(models_at_once(&tasks[0].1)) {
                let finished: Vec<(usize, Part)> = block
                    .par_iter()
                    .with_max_len(1)
                    .map(|&(index, task)| {
                        self.check_interrupt(&done, jobs.len())?;
                        let job = &jobs[index];
                        let part = self.part(job, task).map_err(|error| match error.kind() {
                            ErrorKind::Interrupted => self.interrupted(&done, jobs.len()),
                            _ => error.at(format!("seed {}", self.seed(job))),
                        })?;
                        // In a notebook, an interrupted training hands over what it has: not what is measured here. After
                        // Ctrl-C it ends with an error, and a part that is finished is kept.
                        if notebook::is_interrupted() {
                            return Err(self.interrupted(&done, jobs.len()));
                        }
                        // A failure may have been one of the machine: it is not kept, so that the next run tries again.
                        if part.failure.is_none() {
                            self.parts.write(&job.key, &part)?;
                        }
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if let Some(progress) = self.options.progress {
                            let (seed, model) = (self.seed(job), job.who.name());
                            progress(&PartProgress { done, total: jobs.len(), seed, model });
                        }
                        Ok((index, part))
                    })
                    .collect::<Result<_>>()?;
                finished.into_iter().for_each(|(index, part)| parts[index] = Some(part));
            }
        }
        Ok((parts.into_iter().map(|part| part.expect("every pending split was worked on")).collect(), notes))
    }

    fn seed(&self, job: &Job<'_>) -> u64 {
        self.splits[job.split].0
    }

    fn check_interrupt(&self, done: &AtomicUsize, total: usize) -> Result<()> {
        let asked = self.options.interrupt.is_some_and(|flag| flag.load(Ordering::SeqCst));
        match asked || notebook::is_interrupted() {
            true => Err(self.interrupted(done, total)),
            false => Ok(()),
        }
    }

    fn interrupted(&self, done: &AtomicUsize, total: usize) -> Error {
        let done = done.load(Ordering::Relaxed);
        let kept = match self.options.folder {
            Some(folder) => {
                format!(
                    "{done} of {total} parts are finished and kept in {}; the same command goes on",
                    folder.display()
                )
            }
            None => format!("{done} of {total} parts were finished, and none is kept"),
        };
        Error::new(ErrorKind::Interrupted, format!("interrupted; {kept}"))
    }

    /// Splits whose training folds fit into memory together.
    fn splits_at_once(&self) -> usize {
        let bytes = match self.data {
            BenchmarkData::Effects(data) => 2 * 4 * data.values.len(),
            // Counts and expression, an index and a value each.
            BenchmarkData::Cells(cells) => 2 * 8 * cells.expression.nnz(),
        };
        (TASK_BYTES / bytes.max(1)).max(1)
    }

    fn task(&self, split: usize) -> Result<Task> {
        let (seed, split) = &self.splits[split];
        let task = Task::new(self.data, &split.split(self.rows)?, &split.groups, *seed)?;
        task.observed.prepare();
        Ok(task)
    }

    /// Why the file of a model cannot be scored, where it has one.
    fn refusal_of(&self, model: &str) -> Option<&str> {
        self.files.iter().find(|file| file.name() == model).and_then(PredictionFile::refusal)
    }

    fn part(&self, job: &Job<'_>, task: &Task) -> Result<Part> {
        let mut part = Part { seed: self.seed(job), model: job.who.name().to_owned(), ..Part::default() };
        let (scores, effects) = match job.who {
            Who::Observed => {
                part.conditions = task.observed.conditions.clone();
                part.effects = Some(task.observed.effects.rows().into_iter().map(|row| Some(row.to_vec())).collect());
                part.points = MeanPoints::observed(&task.observed);
                return Ok(part);
            }
            Who::Ceiling => {
                let (observed, predicted) = task.ceiling();
                observed.prepare();
                (measure(&observed, &predicted, &self.options.metrics, part.seed), predicted.effects)
            }
            Who::Model(model) => {
                let also = |fitted: &dyn Fitted| -> Result<_> {
                    let own_space = match self.data {
                        BenchmarkData::Cells(cells) => own_space::measure(task, cells, model.name(), fitted.model())?,
                        BenchmarkData::Effects(_) => None,
                    };
                    Ok((own_space, fitted.model().and_then(Trained::adjusted)))
                };
                let answer = match task.answer_and(model, also) {
                    Ok((answer, asked)) => {
                        (part.own_space, part.adjusted) = asked.unwrap_or_default();
                        answer
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                    Err(error) => {
                        let reason = match self.refusal_of(model.name()) {
                            Some(refusal) => format!("the file cannot be scored: {refusal}"),
                            None => format!("the model failed: {error}"),
                        };
                        part.failure = Some(error.to_string());
                        Answer::none(task, model.name(), &reason)
                    }
                };
                if part.failure.is_none() {
                    part.fit_seconds = Some(answer.fit_seconds);
                    part.predict_seconds = Some(answer.predict_seconds);
                }
                part.draws_cells = answer.draws_cells;
                let curve = || interaction_curve(&task.observed, &answer.predicted).ok();
                part.interactions = (job.split == 0).then(curve).flatten().map(|curve| InteractionCurve {
                    model: part.model.clone(),
                    recall_and_fdp: curve.recall_and_fdp(),
                    auprc: curve.auprc,
                    base_rate: curve.prevalence(),
                });
                part.points =
                    (job.split == 0).then(|| MeanPoints::predicted(&task.observed, &answer.predicted)).flatten();
                (measure(&task.observed, &answer.predicted, &self.options.metrics, part.seed), answer.predicted.effects)
            }
        };
        part.scores = scores.rows.into_iter().map(|row| (row.perturbation, row.metric, row.value)).collect();
        part.absent = scores.absent.into_iter().map(|absent| (absent.metric, absent.reason, absent.n)).collect();
        part.effects =
            (job.split == 0).then(|| effects.into_iter().map(|effect| effect.ok().map(|e| e.to_vec())).collect());
        Ok(part)
    }
}

/// Models of one split whose predicted cells fit into memory together.
fn models_at_once(task: &Task) -> usize {
    let cells: usize = task.observed.cells.iter().flat_map(|cells| &cells.rows).map(Vec::len).sum();
    (CELL_BYTES / (4 * cells * task.observed.genes.len()).max(1)).max(1)
}
