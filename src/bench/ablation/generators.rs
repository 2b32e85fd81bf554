//! Generators of expression against each other: rectified flow and DDPM at equal compute, and the tokenisations at equal time.
//!
//! **Objectives.** The same network is trained on the same cells for the same number of steps by rectified flow, and as a DDPM that
//! predicts the noise or v. Held-out cells are then drawn with 1, 2, 4, .. evaluations of the network per cell: Euler's method for the
//! flow, DDIM and the ancestral sampler for a DDPM.
//!
//! **Tokens.** Each tokenisation is trained by rectified flow for as long as the first one takes with the passes that were asked for:
//! the time of one pass is the median of some that are measured before. All draw with the steps of the settings. What a training took
//! in the end stands in its row.
//!
//! A draw has the perturbation and the library size of a held-out cell. Distances are in log-normalised expression over all genes:
//! sliced Wasserstein of all cells together, and plain E-distance of each perturbation with at least [`FEWEST`] held-out cells,
//! averaged. The floor is what as many other real cells of the same perturbations score in place of draws: training cells.

use super::{JUDGED, Trial};
use crate::{
    Error, ErrorKind, Result,
    bench::Setup,
    data::{Dataset, Perturbation, Split, SplitPlan, TrainingData, shuffle},
    eval::sets::{EDistance, GeneMoments, edistance, sliced_wasserstein, subsample},
    math::median,
    model::{
        Generated, Model,
        diffusion::{Parameterization, Sampler, Solver, net::Tokenization},
        expression_flow::{CellDraw, ExpressionFlow, ExpressionFlowSettings, ExpressionObjective, ExpressionSampling},
        jepa::Grouping,
    },
    show::{Figure, Panel, Series, training_curves},
    train::{Progress, Run},
};
use ndarray::{Array2, Axis};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Evaluations of the network per drawn cell.
const EVALUATIONS: [usize; 6] = [1, 2, 4, 8, 16, 50];
/// Held-out cells that are drawn again, at most.
const MOST: usize = 800;
/// Held-out cells of a perturbation whose E-distance counts, at least.
const FEWEST: usize = 15;
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 200;
/// Passes by which the time of a pass is measured, after a first one that finds modules and takes memory.
const MEASURED: usize = 5;
/// The row of real cells.
const FLOOR: &str = "other real cells";

/// Which generators are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeneratorStudy {
    /// Rectified flow and DDPM at equal compute.
    Objectives,
    /// The tokenisations at equal training time.
    Tokens,
}

impl GeneratorStudy {
    /// The split of a seed: a stratified fifth of the cells is held out.
    fn plan(seed: u64) -> SplitPlan {
        SplitPlan::Stratified { validation: 0.0, test: JUDGED, seed }
    }

    /// The cells that are held out by none of so many seeds; by these, genes can be chosen.
    ///
    /// # Errors
    /// As [`Setup::training_cells`].
    pub fn training_cells(seeds: u64, cells: &Dataset) -> Result<Vec<usize>> {
        let plans: Vec<(u64, SplitPlan)> = (0..seeds).map(|seed| (seed, Self::plan(seed))).collect();
        Setup::training_cells(&plans, cells)
    }
}

/// Held-out cells, and what is compared with them.
struct HeldOut<'a> {
    perturbations: Vec<&'a Perturbation>,
    libraries: Vec<f32>,
    /// Log-normalised, `(cells, genes)`.
    expression: Array2<f32>,
    /// Places of the cells of each perturbation that has enough.
    of_perturbation: Vec<Vec<usize>>,
}

impl<'a> HeldOut<'a> {
    fn new(data: &'a Dataset, split: &Split, seed: u64) -> Self {
        let mut rows = subsample(&split.test, MOST, seed);
        rows.sort_unstable();
        let perturbations: Vec<&Perturbation> = rows.iter().map(|&row| data.perturbation_of(row)).collect();
        let mut places: BTreeMap<&Perturbation, Vec<usize>> = BTreeMap::new();
        perturbations.iter().enumerate().for_each(|(place, of)| places.entry(of).or_default().push(place));
        Self {
            libraries: rows.iter().map(|&row| data.library_size[row]).collect(),
            expression: log_normalised(data, &rows),
            of_perturbation: places.into_values().filter(|places| places.len() >= FEWEST).collect(),
            perturbations,
        }
    }

    /// A training cell of the same perturbation for each, none twice while there are others.
    fn other_cells(&self, data: &Dataset, split: &Split, seed: u64) -> Vec<usize> {
        let mut train = split.train.clone();
        shuffle(&mut train, &mut ChaCha8Rng::seed_from_u64(seed));
        let mut of: BTreeMap<&Perturbation, Vec<usize>> = BTreeMap::new();
        train.iter().for_each(|&row| of.entry(data.perturbation_of(row)).or_default().push(row));
        let mut taken: BTreeMap<&Perturbation, usize> = BTreeMap::new();
        let next = |perturbation: &&'a Perturbation| {
            let known = of.get(*perturbation)?;
            let taken = taken.entry(*perturbation).or_default();
            *taken += 1;
            Some(known[(*taken - 1) % known.len()])
        };
        self.perturbations.iter().filter_map(next).collect()
    }

    fn figures(&self, drawn: &Array2<f32>, seed: u64) -> Result<Vec<(String, f64)>> {
        let undefined = || Error::new(ErrorKind::Numeric, "the drawn cells are not finite");
        let distance = sliced_wasserstein(drawn.view(), self.expression.view(), DIRECTIONS, seed);
        let of = |places: &Vec<usize>| {
            let [drawn, real] = [drawn, &self.expression].map(|cells| cells.select(Axis(0), places));
            edistance(drawn.view(), real.view(), EDistance::Plain)
        };
        let energies: Vec<f64> = self.of_perturbation.iter().filter_map(of).collect();
        let moments = |cells: &Array2<f32>| GeneMoments::of_dense(cells.view()).ok_or_else(undefined);
        let (ours, real) = (moments(drawn)?, moments(&self.expression)?);
        let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(vec![
            ("sliced Wasserstein".to_owned(), distance.ok_or_else(undefined)?),
            ("E-distance".to_owned(), mean(&energies)),
            ("error of means".to_owned(), apart(&ours.mean, &real.mean)),
            ("error of variances".to_owned(), apart(&ours.variance, &real.variance)),
            ("zeros".to_owned(), mean(&ours.zero_fraction)),
            ("zeros, real".to_owned(), mean(&real.zero_fraction)),
        ])
    }

    fn drawn(&self, model: &ExpressionFlow, sampling: ExpressionSampling, seed: u64) -> Result<Vec<(String, f64)>> {
        let draw = CellDraw { perturbations: &self.perturbations, libraries: &self.libraries, sampling };
        let start = Instant::now();
        let cells = model.draw(&draw, seed)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut figures = self.figures(&cells.log_normalised(), seed)?;
        figures.push(("ms per draw".to_owned(), 1e3 * seconds / self.libraries.len() as f64));
        Ok(figures)
    }
}

fn log_normalised(data: &Dataset, rows: &[usize]) -> Array2<f32> {
    let library_size = rows.iter().map(|&row| data.library_size[row]).collect();
    Generated { values: data.counts.select_cells(rows).to_dense(), library_size, are_counts: true }.log_normalised()
}

/// The trainings of [`GeneratorStudy::Objectives`], and how each draws.
fn objectives(base: &ExpressionFlowSettings) -> Vec<(ExpressionFlowSettings, Vec<(&'static str, ExpressionSampling)>)> {
    let with = |objective, parameterization| {
        let mut settings = base.clone();
        (settings.model.objective, settings.model.parameterization) = (objective, parameterization);
        settings
    };
    let by = |sampler| ExpressionSampling { solver: Solver::Euler, sampler, ..ExpressionSampling::default() };
    let (flow, ddpm) = (ExpressionObjective::RectifiedFlow, ExpressionObjective::Ddpm);
    vec![
        (with(flow, Parameterization::Epsilon), vec![("rectified flow", by(Sampler::Ddim))]),
        (
            with(ddpm, Parameterization::Epsilon),
            vec![("DDPM by DDIM", by(Sampler::Ddim)), ("DDPM, ancestral", by(Sampler::Ddpm))],
        ),
        (with(ddpm, Parameterization::V), vec![("DDPM of v by DDIM", by(Sampler::Ddim))]),
    ]
}

fn name(generator: &str, evaluations: usize) -> String {
    format!("{generator}, {evaluations} evaluation{}", if evaluations == 1 { "" } else { "s" })
}

/// Trains and judges the generators on a stratified split of each seed, those that are `wanted` by name and seed; `report` gets
/// each trial when it is done.
///
/// # Errors
/// Too few cells of each perturbation; a training that fails; an interruption.
pub fn compare_generators(
    data: &Dataset,
    (study, base): (GeneratorStudy, &ExpressionFlowSettings),
    (seeds, interrupt): (u64, Option<&Arc<AtomicBool>>),
    wanted: &dyn Fn(&str, u64) -> bool,
    report: &mut dyn FnMut(Trial) -> Result<()>,
) -> Result<()> {
    let data = Arc::new(data.clone());
    for seed in 0..seeds {
        let split = data.split(&GeneratorStudy::plan(seed))?;
        if split.test.is_empty() {
            return Err(Error::data("there are too few cells of each perturbation to hold a fifth of them out"));
        }
        let held_out = HeldOut::new(&data, &split, seed);
        if held_out.of_perturbation.is_empty() {
            return Err(Error::data(format!("no perturbation has {FEWEST} held-out cells; give more cells")));
        }
        let training = TrainingData::of_dataset(Arc::clone(&data), &split, seed)?;
        let fit = |settings: &ExpressionFlowSettings, epochs: usize| {
            let mut settings = settings.clone();
            settings.train.epochs = epochs;
            let mut run = Run { seed, interrupt: interrupt.cloned(), progress: Progress::Silent, ..Run::default() };
            let (model, history) = ExpressionFlow::fit(&training, &settings, &mut run)?;
            Ok::<_, Error>((model, history.epochs.iter().map(|pass| pass.seconds).collect::<Vec<f64>>()))
        };
        let mut told = |variant: String, figures| report(Trial { variant, seed, figures, ..Trial::default() });
        if wanted(FLOOR, seed) {
            let others = log_normalised(&data, &held_out.other_cells(&data, &split, seed));
            told(FLOOR.to_owned(), held_out.figures(&others, seed)?)?;
        }
        let epochs = base.train.epochs;
        match study {
            GeneratorStudy::Objectives => {
                for (settings, draws) in objectives(base) {
                    let names = draws.iter().flat_map(|(of, _)| EVALUATIONS.map(|n| name(of, n)));
                    if !names.into_iter().any(|name| wanted(&name, seed)) {
                        continue;
                    }
                    let (model, passes) = fit(&settings, epochs)?;
                    let seconds: f64 = passes.iter().sum();
                    for (of, sampling) in draws {
                        for steps in EVALUATIONS {
                            let mut figures = held_out.drawn(&model, ExpressionSampling { steps, ..sampling }, seed)?;
                            figures.push(("seconds of training".to_owned(), seconds));
                            told(name(of, steps), figures)?;
                        }
                    }
                }
            }
            GeneratorStudy::Tokens => {
                let count = base.model.net.tokens.count(1);
                let mut allowed = None;
                let all = ["patches", "modules", "latents", "genes"];
                if !all.iter().any(|tokens| wanted(tokens, seed)) {
                    continue;
                }
                for tokens in all {
                    // The first one sets the time, in a resumed study too.
                    if allowed.is_some() && !wanted(tokens, seed) {
                        continue;
                    }
                    let mut settings = base.clone();
                    settings.model.net.tokens = Tokenization::named(tokens, count)?;
                    if tokens != "modules" {
                        settings.modules = Grouping::default();
                    }
                    let measured = fit(&settings, 1 + MEASURED)?.1.split_off(1);
                    let pass = median(measured).expect("passes were measured").max(1e-6);
                    let allowed = *allowed.get_or_insert(pass * epochs as f64);
                    if !wanted(tokens, seed) {
                        continue;
                    }
                    let epochs = ((allowed / pass).round() as usize).max(1);
                    let (model, passes) = fit(&settings, epochs)?;
                    let mut figures = held_out.drawn(&model, base.sampling, seed)?;
                    figures.push(("seconds of training".to_owned(), passes.iter().sum()));
                    figures.push(("passes".to_owned(), epochs as f64));
                    figures.push(("weights".to_owned(), model.n_params()? as f64));
                    told(tokens.to_owned(), figures)?;
                }
            }
        }
    }
    Ok(())
}

/// The distances of the objectives against the evaluations per draw, means over the seeds.
///
/// # Errors
/// No trial of them.
pub fn evaluations_figure(trials: &[Trial]) -> Result<Figure> {
    let panel = |figure: &str| {
        let mut of: Vec<(&str, BTreeMap<usize, Vec<f64>>)> = Vec::new();
        for trial in trials {
            let value = trial.figures.iter().find(|(known, _)| known == figure).map(|(_, value)| *value);
            let Some(value) = value else { continue };
            let read = trial.variant.rsplit_once(", ").and_then(|(generator, rest)| {
                Some((generator, rest.split_once(" evaluation")?.0.parse::<usize>().ok()?))
            });
            let (generator, at) = match read {
                Some((generator, evaluations)) => (generator, vec![evaluations]),
                None if trial.variant == FLOOR => (FLOOR, EVALUATIONS.to_vec()),
                None => continue,
            };
            let place = of.iter().position(|(known, _)| *known == generator).unwrap_or_else(|| {
                of.push((generator, BTreeMap::new()));
                of.len() - 1
            });
            at.into_iter().for_each(|n| of[place].1.entry(n).or_default().push(value));
        }
        let series = of.into_iter().map(|(generator, values)| {
            let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            let x = values.keys().map(|&n| (n as f64).log2()).collect();
            Series::new(generator.to_owned(), x, values.values().map(mean).collect())
        });
        Panel { y_label: figure.to_owned(), series: series.collect() }
    };
    let panels = [panel("sliced Wasserstein"), panel("E-distance")];
    let figure = training_curves("Held-out cells, by evaluations per draw", "log2 of evaluations per draw", &panels)?;
    Ok(figure.with_caption(
        "Means over the seeds; lower is better. Other real cells are the floor of what a generator can reach.",
    ))
}
