//! Time-course Perturb-seq with known dynamics.
//!
//! The activities `s` of the gene programs (all but the cell cycle) follow, in units of one time point,
//!
//! ```text
//! ds/dt = -lambda s + kappa tanh( J s + sum over perturbed genes g of d_g(t) u_g )     stable: |J| < lambda / kappa
//! a_g   relaxes to d_g(t), half of the way in 0.7 time points                          activation of the perturbed gene itself
//! rho_cg proportional to exp( b_g + sum_k (a_ck + s_k) W_kg + u_{l(c) g} + e_g a_g )   a cell, as elsewhere in this module
//! ```
//!
//! `d(t)` is the dose: it acts from the start on (`on`), for the first half of the course (`pulse`) or from its middle on
//! (`late`). The tanh saturates, so a double is not the sum of its singles. Cells are drawn anew at each time, as sequencing
//! destroys them; control is drawn at every time, and perturbed cells after time 0.
//!
//! The file has the columns `time`, `dose` (what acted in the interval that ends at this time) and `course`. Its `uns["truth"]` is
//! that of [`Truth`], one row per course and time, with the entries `times`, `doses`, `courses` and `states` `(rows, programs)`.

use super::{
    SimulationConfig, Truth,
    landscape::{CYCLE_PROGRAMS, Landscape},
    truth,
};
use crate::{
    Error, Result,
    data::{AnnDataWriter, Column, Dataset, Perturbation, Uns, labels::UNS, shuffle},
};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::path::Path;

/// Rate at which an activity decays, per time point.
const DECAY: f64 = 0.5;
/// Largest rate at which it is produced.
const PRODUCTION: f64 = 0.75;
/// Norm of J as a share of what is stable.
const COUPLING: f64 = 0.8;
/// Programs that a perturbed gene pushes, and how hard.
const PUSHED_PROGRAMS: usize = 4;
const PUSH: std::ops::Range<f64> = 1.5..4.0;
/// Euler steps per time point.
const STEPS: usize = 20;
/// Power iterations for the norm of J; the norm is then known to a few per cent.
const ITERATIONS: usize = 50;
/// The random stream of the dynamics.
const DYNAMICS_STREAM: u64 = 6;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeCourseConfig {
    /// Cells, genes, singles, lanes, density, seed; doubles, triples, cell types and paired cells of it are not used.
    pub base: SimulationConfig,
    /// Number of times, 0 included.
    pub n_times: usize,
    /// Number of doubles, random pairs of singles.
    pub n_doubles: usize,
    /// The doses at which a perturbation acts, each above 0.
    pub doses: Vec<f64>,
}

impl Default for TimeCourseConfig {
    /// 8 times, 16 singles, 16 doubles, one dose; 12,000 cells x 1,000 genes.
    fn default() -> Self {
        let base = SimulationConfig { n_cells: 12_000, n_singles: 16, damaged_fraction: 0.0, ..Default::default() };
        Self { base, n_times: 8, n_doubles: 16, doses: vec![1.0] }
    }
}

/// A simulated time course and the truth behind it.
#[derive(Debug, Clone)]
pub struct TimeCourseSimulation {
    /// The cells, with the columns `time`, `dose` and `course`.
    pub dataset: Dataset,
    /// Expected counts, one row per course and time.
    pub truth: Truth,
    /// The course of each row of the truth: `control`, `on`, `pulse` or `late`, with the dose where there are several.
    pub courses: Vec<String>,
    /// The time of each row.
    pub times: Vec<f64>,
    /// The dose in the interval that ends at the time of each row.
    pub doses: Vec<f64>,
    /// The program activities of each row, `(rows, programs)`.
    pub states: Array2<f32>,
}

/// The dynamics of the programs.
struct Dynamics {
    /// J, `(programs, programs)`.
    coupling: Array2<f64>,
    /// u, `(singles, programs)`.
    pushes: Array2<f64>,
}

/// When the dose acts.
#[derive(Clone, Copy)]
enum Schedule {
    On,
    Pulse,
    Late,
}

impl Schedule {
    fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Pulse => "pulse",
            Self::Late => "late",
        }
    }

    /// Whether the dose acts in the interval that ends at this time.
    fn acts(self, time: usize, n_times: usize) -> bool {
        match self {
            Self::On => true,
            Self::Pulse => time <= n_times / 2,
            Self::Late => time > n_times / 2,
        }
    }
}

/// Rows of the landscape: one per course and time.
#[derive(Default)]
struct Rows {
    perturbations: Vec<Perturbation>,
    courses: Vec<String>,
    times: Vec<usize>,
    doses: Vec<f64>,
    effects: Vec<Array1<f64>>,
    states: Vec<Array1<f64>>,
}

impl Dynamics {
    fn draw(singles: usize, programs: usize, rng: &mut ChaCha8Rng) -> Self {
        let coupling = Array2::from_shape_fn((programs, programs), |_| rng.sample::<f64, _>(StandardNormal));
        let mut direction = Array1::from_elem(programs, 1.0);
        for _ in 0..ITERATIONS {
            direction = coupling.t().dot(&coupling.dot(&direction));
            direction /= direction.dot(&direction).sqrt();
        }
        let along = coupling.dot(&direction);
        let coupling = coupling * (COUPLING * DECAY / PRODUCTION / along.dot(&along).sqrt());
        let mut pushes = Array2::zeros((singles, programs));
        for mut push in pushes.rows_mut() {
            let mut order: Vec<usize> = (0..programs).collect();
            shuffle(&mut order, rng);
            for &program in order.iter().take(PUSHED_PROGRAMS) {
                push[program] = rng.random_range(PUSH) * if rng.random::<bool>() { 1.0 } else { -1.0 };
            }
        }
        Self { coupling, pushes }
    }

    /// The state one time point later, under a push.
    fn step(&self, state: &Array1<f64>, push: &Array1<f64>) -> Array1<f64> {
        let mut state = state.clone();
        for _ in 0..STEPS {
            let production = (self.coupling.dot(&state) + push).mapv(f64::tanh) * PRODUCTION;
            state = &state + &((production - &state * DECAY) / STEPS as f64);
        }
        state
    }
}

impl TimeCourseSimulation {
    /// Simulates a made-up time course.
    ///
    /// # Errors
    /// A setting that is out of range, or too few cells for what is asked.
    pub fn new(config: &TimeCourseConfig) -> Result<Self> {
        let base = SimulationConfig { doubles_per_class: 0, ..config.base.clone() };
        base.check()?;
        let singles = base.n_singles;
        let pairs = singles * singles.saturating_sub(1) / 2;
        if !(3..=1_000).contains(&config.n_times) || config.n_doubles > pairs {
            return Err(Error::config(format!(
                "{} time points and {} doubles of {singles} singles were asked for; there must be 3 to 1000 time points, and at \
                 most {pairs} doubles",
                config.n_times, config.n_doubles
            )));
        }
        if config.doses.is_empty() || config.doses.iter().any(|dose| !(dose.is_finite() && *dose > 0.0)) {
            return Err(Error::config("each dose must be a number above 0, and there must be one at least"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(base.seed);
        rng.set_stream(1);
        let mut landscape = Landscape::built_in(&base, &mut rng)?;
        rng.set_stream(DYNAMICS_STREAM);
        let rows = rows(&landscape, config, &mut rng);
        give_rows(&mut landscape, &rows, &base)?;
        Self::of(&landscape, rows, base.seed)
    }

    fn of(landscape: &Landscape, rows: Rows, seed: u64) -> Result<Self> {
        let drawn = landscape.draw_cells(seed)?;
        let of_cells = |values: &dyn Fn(usize) -> f64| -> Vec<f64> {
            drawn.labels.iter().map(|&row| values(row as usize)).collect()
        };
        let mut cells = drawn.cells.clone();
        cells.set("time", Column::Float(of_cells(&|row| rows.times[row] as f64)));
        cells.set("dose", Column::Float(of_cells(&|row| rows.doses[row])));
        let courses = drawn.labels.iter().map(|&row| Some(rows.courses[row as usize].clone())).collect();
        cells.set("course", Column::Text(courses));
        let labels: Vec<Perturbation> =
            drawn.labels.iter().map(|&row| rows.perturbations[row as usize].clone()).collect();
        cells.set("perturbation", Column::Text(labels.iter().map(|label| Some(label.to_string())).collect()));
        let lanes: Vec<String> = drawn.lane_of.iter().map(|&lane| drawn.lanes[lane as usize].clone()).collect();
        let library = Some(drawn.library_size.clone());
        let dataset = Dataset::new(drawn.counts, drawn.genes, cells, &labels, Some(&lanes), library)?;
        let programs = rows.states.first().map_or(0, Array1::len);
        Ok(Self {
            dataset,
            truth: landscape.truth(seed),
            courses: rows.courses,
            times: rows.times.iter().map(|&time| time as f64).collect(),
            doses: rows.doses,
            states: Array2::from_shape_fn((rows.states.len(), programs), |(row, k)| rows.states[row][k] as f32),
        })
    }

    /// Number of courses, control included.
    pub fn n_courses(&self) -> usize {
        let last = self.times.iter().copied().fold(0.0, f64::max);
        self.times.iter().filter(|time| **time == last).count()
    }

    /// Writes the cells as `.h5ad`, with the truth in `uns["truth"]`. Nothing is left half-written.
    ///
    /// # Errors
    /// A folder that is not there or not writable, or a full disk.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut cells = self.dataset.cells.clone();
        self.dataset.annotate(&mut cells);
        let Uns::Dict(mut entries) = self.truth.to_uns() else { unreachable!("the truth is a dictionary") };
        let column = |values: &[f64]| Uns::from(Array1::from_iter(values.iter().map(|&value| value as f32)));
        entries.push(("times".to_owned(), column(&self.times)));
        entries.push(("doses".to_owned(), column(&self.doses)));
        entries.push(("courses".to_owned(), Uns::Texts(self.courses.clone())));
        entries.push(("states".to_owned(), Uns::from(self.states.clone())));
        AnnDataWriter::new(&cells, &self.dataset.genes)
            .x(&self.dataset.counts)
            .uns(UNS, self.dataset.hints())
            .uns(truth::KEY, Uns::Dict(entries))
            .write(path)
    }
}

/// The courses: control; and each perturbation at each dose, acting throughout and, in turn, early or late.
fn rows(landscape: &Landscape, config: &TimeCourseConfig, rng: &mut ChaCha8Rng) -> Rows {
    let singles: Vec<&Perturbation> = landscape.perturbations.iter().filter(|p| !p.is_control()).collect();
    let genes: Vec<usize> = singles.iter().map(|p| gene_of(landscape, p)).collect();
    let activation: Vec<f64> =
        genes.iter().enumerate().map(|(single, &gene)| landscape.log_effects[[single + 1, gene]]).collect();
    let programs = landscape.loadings.nrows() - CYCLE_PROGRAMS;
    let dynamics = Dynamics::draw(singles.len(), programs, rng);
    let mut pairs: Vec<(usize, usize)> = (0..singles.len()).flat_map(|a| (0..a).map(move |b| (b, a))).collect();
    shuffle(&mut pairs, rng);
    pairs.truncate(config.n_doubles);
    let mut members: Vec<Vec<usize>> = (0..singles.len()).map(|single| vec![single]).collect();
    members.extend(pairs.into_iter().map(|(a, b)| vec![a, b]));

    let mut rows = Rows::default();
    for time in 0..config.n_times {
        let nothing = (Array1::zeros(landscape.genes.len()), Array1::zeros(programs));
        rows.push((Perturbation::control(), "control".to_owned()), (time, 0.0), nothing);
    }
    for (number, members) in members.iter().enumerate() {
        let perturbation = Perturbation::of(members.iter().map(|&m| landscape.genes[genes[m]].clone()));
        let other = if number % 2 == 0 { Schedule::Pulse } else { Schedule::Late };
        for (&dose, schedule) in config.doses.iter().flat_map(|dose| [(dose, Schedule::On), (dose, other)]) {
            let course = match config.doses.len() {
                1 => schedule.name().to_owned(),
                _ => format!("{} at dose {dose}", schedule.name()),
            };
            let full: Array1<f64> = members
                .iter()
                .map(|&m| dynamics.pushes.row(m).to_owned())
                .fold(Array1::zeros(programs), |sum, push| sum + push);
            let (mut state, mut activity) = (Array1::zeros(programs), 0.0);
            for time in 1..config.n_times {
                let acting = if schedule.acts(time, config.n_times) { dose } else { 0.0 };
                state = dynamics.step(&state, &(&full * acting));
                activity += (acting - activity) * (1.0 - (-1.0_f64).exp());
                let mut effect = Array1::zeros(landscape.genes.len());
                for (program, &level) in state.iter().enumerate() {
                    effect.scaled_add(level, &landscape.loadings.row(program + CYCLE_PROGRAMS));
                }
                members.iter().for_each(|&m| effect[genes[m]] += activation[m] * activity);
                rows.push((perturbation.clone(), course.clone()), (time, acting), (effect, state.clone()));
            }
        }
    }
    rows
}

impl Rows {
    fn push(
        &mut self,
        (perturbation, course): (Perturbation, String),
        (time, dose): (usize, f64),
        (effect, state): (Array1<f64>, Array1<f64>),
    ) {
        self.perturbations.push(perturbation);
        self.courses.push(course);
        self.times.push(time);
        self.doses.push(dose);
        self.effects.push(effect);
        self.states.push(state);
    }
}

fn gene_of(landscape: &Landscape, single: &Perturbation) -> usize {
    let name = single.genes().iter().next().expect("a single has a gene");
    landscape.genes.iter().position(|gene| gene == name).expect("singles are named by genes of the landscape")
}

/// Puts the rows in place of the landscape's perturbations, and cells to each.
fn give_rows(landscape: &mut Landscape, rows: &Rows, base: &SimulationConfig) -> Result<()> {
    let n_control = rows.perturbations.iter().filter(|p| p.is_control()).count();
    let perturbed = (rows.times.len() - n_control) as f64;
    let share = |p: &Perturbation| match p.is_control() {
        true => base.control_fraction / n_control as f64,
        false => (1.0 - base.control_fraction) / perturbed,
    };
    let shares: Vec<f64> = rows.perturbations.iter().map(share).collect();
    landscape.cells = super::landscape::apportion(base.n_cells, &shares);
    if landscape.cells.contains(&0) {
        return Err(Error::config(format!(
            "{} cells are too few for {} samples (a course at a time each); ask for more cells, or fewer perturbations or times",
            base.n_cells,
            rows.times.len()
        )));
    }
    landscape.log_effects =
        Array2::from_shape_fn((rows.effects.len(), landscape.genes.len()), |(row, gene)| rows.effects[row][gene]);
    landscape.classes = vec![None; rows.effects.len()];
    landscape.perturbations = rows.perturbations.clone();
    Ok(())
}
