//! The world model in the contract of all models.

use super::{
    WorldSettings,
    baselines::{Dynamics, LinearDynamics, Persistence, rollout_error},
    net::Rssm,
    plan::{Plan, PlanConfig, cross_entropy},
    space::{Sequence, Sequences, Space, SpaceFacts},
};
use crate::{
    Error, Result,
    data::{
        Condition, Conditions, Controls, CourseLabels, DataKind, Dataset, NORMALISED_TOTAL, Perturbation, TargetSum,
        TrainingData, courses, mean_expression, normalize::log_normalize, rows_by_condition,
    },
    device::Device,
    model::{Abilities, CoursePrediction, CourseQuery, HeldOutScore, Model, ModelConfig, State, Trained},
    train::{History, Run, TrainConfig, fit},
};
use dfdx::prelude::{Cpu, NoneTape};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A recurrent state-space model of time courses: see the [module](super).
#[derive(Debug, Clone)]
pub struct WorldModel {
    settings: WorldSettings,
    genes: Vec<String>,
    /// Times of the training data, above 0.
    times: Vec<f64>,
    controls: Controls,
    space: Space,
    net: Rssm<Cpu>,
    linear: LinearDynamics,
}

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: WorldSettings,
    genes: Vec<String>,
    times: Vec<f64>,
    contexts: Vec<Option<String>>,
    space: SpaceFacts,
    dims: usize,
}

impl WorldModel {
    /// The space of states and actions.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The linear dynamics that were fitted to the same sequences.
    pub fn linear(&self) -> &LinearDynamics {
        &self.linear
    }

    /// Times of the training data, above 0.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The control profile that courses of a context start from, `(genes,)`; the mean of all contexts for one without control.
    pub fn start(&self, context: Option<&str>) -> Array1<f32> {
        start_of(&self.controls, context)
    }

    /// The courses of the cells `rows` as sequences in this model's space, once each with all their cells.
    ///
    /// # Errors
    /// Columns that are not there; genes that are not the model's; a perturbation that it does not know.
    pub fn sequences(&self, data: &Dataset, rows: &[usize]) -> Result<Vec<Sequence>> {
        if data.genes.names != self.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        let columns = &self.settings.courses.columns;
        let conditions = conditions(data, columns.context.as_deref())?;
        let labels = CourseLabels::of(data, &conditions, columns)?;
        let expression = log_normalize(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
        let start = |condition: &Condition| self.start(condition.context.as_deref());
        let courses = courses(&expression, &conditions, &labels, rows, (1, 0), start)?;
        courses.iter().map(|course| self.space.sequence(course)).collect()
    }

    /// The perturbation and its doses that lead from control to a target profile `(genes,)` at the last training time, found by the
    /// cross-entropy method in imagination.
    ///
    /// # Errors
    /// A target of another length; settings out of range.
    pub fn plan(&self, target: &Array1<f32>, config: &PlanConfig, seed: u64) -> Result<Plan> {
        if target.len() != self.genes.len() {
            return Err(Error::shape("target of a plan", self.genes.len(), target.len()));
        }
        let target = self.space.states(target.view().insert_axis(Axis(0)));
        let start = self.space.states(self.start(None).view().insert_axis(Axis(0)));
        cross_entropy(&self.space, &self.times, &target.row(0).to_owned(), config, seed, |actions| {
            let rows = actions[0].nrows();
            let starts = start.broadcast((rows, self.space.dims())).expect("one row for all").to_owned();
            let carry = self.net.filter::<NoneTape>(&[starts], &[], None)?;
            let last = self.net.imagine(carry, actions, None)?.pop().expect("a plan has a step");
            Ok(crate::nn::ops::download(&last))
        })
    }

    /// The error of the roll-outs of this model, of persistence and of linear dynamics, from the first `seen` states on.
    fn errors(&self, sequences: &[Sequence], seen: usize) -> Result<[f64; 3]> {
        Ok([
            rollout_error(self, sequences, seen)?,
            rollout_error(&Persistence, sequences, seen)?,
            rollout_error(&self.linear, sequences, seen)?,
        ])
    }
}

impl Dynamics for WorldModel {
    fn rollout(&self, seen: ArrayView2<'_, f32>, actions: &Array2<f32>) -> Result<Array2<f32>> {
        roll(&self.net, seen, actions, None)
    }
}

/// States after those seen; drawn with `rng`, else by the means.
fn roll(
    net: &Rssm<Cpu>,
    seen: ArrayView2<'_, f32>,
    actions: &Array2<f32>,
    mut rng: Option<&mut ChaCha8Rng>,
) -> Result<Array2<f32>> {
    let row = |row: ndarray::ArrayView1<'_, f32>| row.insert_axis(Axis(0)).to_owned();
    let seen: Vec<Array2<f32>> = seen.rows().into_iter().map(row).collect();
    let actions: Vec<Array2<f32>> = actions.rows().into_iter().map(row).collect();
    let (before, after) = actions.split_at(seen.len().saturating_sub(1).min(actions.len()));
    let carry = net.filter::<NoneTape>(&seen, before, rng.as_deref_mut())?;
    let mut states = Array2::zeros((0, seen[0].ncols()));
    for state in net.imagine(carry, after, rng)? {
        states.append(Axis(0), crate::nn::ops::download(&state).view()).expect("one width");
    }
    Ok(states)
}

fn conditions(data: &Dataset, context: Option<&str>) -> Result<Vec<Condition>> {
    let conditions = Conditions::of(data, context)?;
    Ok((0..data.n_cells()).map(|cell| conditions.of_row(cell).clone()).collect())
}

/// The control profile of each context at its earliest time, of the cells `rows`.
fn first_controls(
    expression: &crate::data::Counts,
    conditions: &[Condition],
    labels: &CourseLabels,
    rows: &[usize],
) -> Result<Controls> {
    let mut controls = Controls { contexts: Vec::new(), profiles: Array2::zeros((0, expression.n_genes())) };
    for (condition, rows) in rows_by_condition(conditions, rows) {
        if condition.perturbation.is_control() {
            let first = rows.iter().map(|&row| labels.time[row]).fold(f64::INFINITY, f64::min);
            let rows: Vec<usize> = rows.into_iter().filter(|&row| labels.time[row] == first).collect();
            controls.contexts.push(condition.context.clone());
            let profile = mean_expression(expression, &rows);
            controls.profiles.push_row(profile.view()).expect("a profile has one value per gene");
        }
    }
    match controls.contexts.is_empty() {
        true => Err(Error::data("no control cell is among the training cells, so there is no start of a course")),
        false => Ok(controls),
    }
}

fn start_of(controls: &Controls, context: Option<&str>) -> Array1<f32> {
    match controls.of(context) {
        Some(profile) => profile.to_owned(),
        None => controls.profiles.mean_axis(Axis(0)).expect("there is control"),
    }
}

impl Model for WorldModel {
    const KIND: &'static str = "world-model";
    const ABOUT: &'static str =
        "a recurrent state-space model of time courses: the course of unseen perturbations, and plans that reach a target";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const KNOWS_CONTEXTS: bool = true;
    const NEEDS_COUNTS: bool = false;
    type Config = WorldSettings;

    fn fit(data: &TrainingData, config: &WorldSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no times to learn a course from"));
        };
        let (expression, conditions, split) = (cells.expression()?, &cells.conditions, &cells.split);
        let labels = CourseLabels::of(&cells.data, conditions, &config.courses.columns)?;
        let controls = first_controls(expression, conditions, &labels, &split.train)?;
        let start = |condition: &Condition| start_of(&controls, condition.context.as_deref());
        let of_rows = |rows: &[usize], replicates: usize| {
            courses(expression, conditions, &labels, rows, (replicates, run.seed), start)
        };
        let training = of_rows(&split.train, config.courses.replicates)?;
        let space = Space::fit(&training, config.courses.components)?;
        let sequences = training.iter().map(|course| space.sequence(course)).collect::<Result<Vec<_>>>()?;
        let known = |course: &&crate::data::Course| {
            course.condition.perturbation.genes().iter().all(|gene| space.facts.perturbed.contains(gene))
        };
        let validation = match split.validation.is_empty() {
            true => Vec::new(),
            false => {
                let courses = of_rows(&split.validation, 1)?;
                courses.iter().filter(known).map(|course| space.sequence(course)).collect::<Result<Vec<_>>>()?
            }
        };
        let mut times: Vec<f64> = training.iter().flat_map(|course| course.times.iter().copied()).collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let linear = LinearDynamics::fit(&sequences)?;
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let device = Cpu::default();
        let mut net = Rssm::new(&device, (space.dims(), space.actions()), config.model, &mut rng)?;
        let stopped = config.train.early_stopping.filter(|_| !validation.is_empty());
        let train = TrainConfig { seed: run.seed, early_stopping: stopped, ..config.train.clone() };
        let history = fit(&mut net, &Sequences(sequences), Some(&Sequences(validation)), &device, &train, run)?;
        let genes = cells.data.gene_names().to_vec();
        Ok((Self { settings: config.clone(), genes, times, controls, space, net, linear }, history))
    }

    fn restore(state: State, device: Device) -> Result<Self> {
        Self::check_device(device)?;
        let Description { settings, genes, times, contexts, space, dims } = state.description()?;
        settings.validate()?;
        let (n, actions) = (genes.len(), space.perturbed.len() + 1);
        let space = Space {
            mean: state.vector("space.mean", n)?,
            components: state.array("space.components", Some(dims), Some(n))?,
            facts: space,
        };
        let profiles = state.array("controls", Some(contexts.len()), Some(n))?.mapv(|value| value as f32);
        if contexts.is_empty() || times.is_empty() || !space.facts.perturbed.is_sorted() {
            return Err(Error::data("its parts do not fit together; train again"));
        }
        let linear = LinearDynamics {
            weights: state.array("linear.weights", Some(dims + actions), Some(dims))?,
            offset: state.vector("linear.offset", dims)?,
        };
        let mut net =
            Rssm::new(&Cpu::default(), (dims, actions), settings.model, &mut ChaCha8Rng::seed_from_u64(0))?;
        state.fill("net", &mut net)?;
        Ok(Self { settings, genes, times, controls: Controls { contexts, profiles }, space, net, linear })
    }
}

impl Trained for WorldModel {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn abilities(&self) -> Abilities {
        Abilities { courses: true, ..Abilities::default() }
    }

    fn genes(&self) -> &[String] {
        &self.genes
    }

    fn contexts(&self) -> Vec<String> {
        self.controls.contexts.iter().flatten().cloned().collect()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.space.facts.perturbed.iter().any(|known| known == gene)
    }

    fn course(&self, condition: &Condition, query: &CourseQuery) -> Result<CoursePrediction> {
        let times = if query.times.is_empty() { self.times.clone() } else { query.times.clone() };
        let doses = if query.doses.is_empty() { vec![1.0; times.len()] } else { query.doses.clone() };
        let rises = times.iter().zip(std::iter::once(&0.0).chain(&times)).all(|(time, before)| time > before);
        if !rises || doses.len() != times.len() || doses.iter().any(|dose| !(0.0..=f64::MAX).contains(dose)) {
            return Err(Error::config(
                "times must rise and be above 0, and there must be one dose of at least 0 for each time",
            ));
        }
        let actions = self.space.plan(&condition.perturbation, &times, &doses)?;
        let start = self.start(condition.context.as_deref());
        let seen = self.space.states(start.view().insert_axis(Axis(0)));
        let mut rng = ChaCha8Rng::seed_from_u64(query.seed);
        let mut profiles = Vec::new();
        for _ in 0..query.samples.max(1) {
            let states = roll(&self.net, seen.view(), &actions, (query.samples > 0).then_some(&mut rng))?;
            let mut course = Array2::zeros((times.len() + 1, self.genes.len()));
            course.row_mut(0).assign(&start);
            course.slice_mut(s![1.., ..]).assign(&self.space.profiles(&states));
            profiles.push(course);
        }
        let from_zero = |values: Vec<f64>| std::iter::once(0.0).chain(values).collect();
        Ok(CoursePrediction { times: from_zero(times), doses: from_zero(doses), profiles })
    }

    fn state(&self) -> Result<State> {
        State::new(&Description {
            settings: self.settings.clone(),
            genes: self.genes.clone(),
            times: self.times.clone(),
            contexts: self.controls.contexts.clone(),
            space: self.space.facts.clone(),
            dims: self.space.dims(),
        })
        .with_vector("space.mean", &self.space.mean)
        .with_array("space.components", &self.space.components)
        .with_array("controls", &self.controls.profiles.mapv(f64::from))
        .with_array("linear.weights", &self.linear.weights)
        .with_vector("linear.offset", &self.linear.offset)
        .with_network("net", &self.net)
    }

    fn notes(&self) -> Vec<String> {
        let start = match self.times.first() {
            Some(first) => format!("courses begin with the earliest control, placed at time 0; the first time after it is {first}"),
            None => String::new(),
        };
        vec![
            format!(
                "sequences of mean profiles in {} principal components ({:.0} % of the variance of the training profiles)",
                self.space.dims(),
                100.0 * self.space.facts.explained
            ),
            start,
        ]
    }

    fn held_out(&self, data: &Dataset, rows: &[usize], _: u64) -> Result<Option<HeldOutScore>> {
        let known = |row: &usize| {
            let perturbation: &Perturbation = data.perturbation_of(*row);
            !perturbation.is_control() && perturbation.genes().iter().all(|gene| self.perturbs(gene))
        };
        let rows: Vec<usize> = rows.iter().copied().filter(known).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let sequences = self.sequences(data, &rows)?;
        let [own, persistence, linear] = self.errors(&sequences, 1)?;
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out courses ({}): error of the roll-out from control {own:.3}, persistence {persistence:.3}, linear dynamics \
                 {linear:.3} (root mean square per number of a state)",
                sequences.len()
            ),
            json: serde_json::json!({
                "courses": sequences.len(), "rollout_rmse": own, "persistence": persistence, "linear_dynamics": linear,
            }),
        }))
    }
}
