//! The world model in the contract of all models.

use super::{
    WorldSettings,
    baselines::{Dynamics, LinearDynamics, Persistence, rollout_error},
    net::Rssm,
    plan::{Plan, PlanConfig, cross_entropy},
    space::{ObservedCourses, Sequence, Sequences, Space, SpaceFacts},
};
use crate::{
    Error, Result,
    data::{Condition, Controls, CourseLabels, DataKind, Dataset, Perturbation, TrainingData},
    device::Device,
    model::{Abilities, CoursePrediction, CourseQuery, HeldOutScore, Model, ModelConfig, State, Trained},
    train::{History, Run, TrainConfig, fit_on},
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
    world: ObservedCourses,
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
        &self.world.space
    }

    /// The linear dynamics that were fitted to the same sequences.
    pub fn linear(&self) -> &LinearDynamics {
        &self.linear
    }

    /// The control profile that courses of a context start from, `(genes,)`; the mean of all contexts for one without control.
    pub fn start(&self, context: Option<&str>) -> Array1<f32> {
        self.world.start(context)
    }

    /// The courses of the cells `rows` as sequences in this model's space, once each with all their cells.
    ///
    /// # Errors
    /// Columns that are not there; genes that are not the model's; a perturbation that it does not know.
    pub fn sequences(&self, data: &Dataset, rows: &[usize]) -> Result<Vec<Sequence>> {
        if data.genes.names != self.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        self.world.sequences(data, rows, &self.settings.courses.columns)
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
        let target = self.world.space.states(target.view().insert_axis(Axis(0)));
        let start = self.world.space.states(self.start(None).view().insert_axis(Axis(0)));
        cross_entropy(&self.world.space, &self.world.times, &target.row(0).to_owned(), config, seed, |actions| {
            let rows = actions[0].nrows();
            let starts = start.broadcast((rows, self.world.space.dims())).expect("one row for all").to_owned();
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

impl Model for WorldModel {
    const KIND: &'static str = "world-model";
    const ABOUT: &'static str = "a recurrent state-space model of time courses: the course of unseen perturbations, and plans that reach a target";
    const LEARNS_FROM: &'static [DataKind] = &[DataKind::Cells];
    const KNOWS_CONTEXTS: bool = true;
    const LEARNS_COURSES: bool = true;
    const NEEDS_COUNTS: bool = false;
    const TRAINS_ON_CUDA: bool = true;
    type Config = WorldSettings;

    fn fit(data: &TrainingData, config: &WorldSettings, run: &mut Run<'_>) -> Result<(Self, History)> {
        config.validate()?;
        let Some(cells) = &data.cells else {
            return Err(Error::inapplicable("an effects dataset has no times to learn a course from"));
        };
        CourseLabels::of(&cells.data, &cells.conditions, &config.courses.columns)?.require_times()?;
        let (world, sequences, validation) = ObservedCourses::of(cells, &config.courses, run.seed)?;
        let space = &world.space;
        let linear = LinearDynamics::fit(&sequences)?;
        let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
        let device = Cpu::default();
        let mut net = Rssm::new(&device, (space.dims(), space.actions()), config.model, &mut rng)?;
        let stopped = config.train.early_stopping.filter(|_| !validation.is_empty());
        let train = TrainConfig { seed: run.seed, early_stopping: stopped, ..config.train.clone() };
        let history = fit_on(&mut net, &Sequences(sequences), Some(&Sequences(validation)), &train, run)?;
        let genes = cells.data.gene_names().to_vec();
        Ok((Self { settings: config.clone(), genes, world, net, linear }, history))
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
        let mut net = Rssm::new(&Cpu::default(), (dims, actions), settings.model, &mut ChaCha8Rng::seed_from_u64(0))?;
        state.fill("net", &mut net)?;
        let world = ObservedCourses { space, controls: Controls { contexts, profiles }, times };
        Ok(Self { settings, genes, world, net, linear })
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
        self.world.controls.contexts.iter().flatten().cloned().collect()
    }

    fn perturbs(&self, gene: &str) -> bool {
        self.world.space.knows(gene)
    }

    fn times(&self) -> &[f64] {
        &self.world.times
    }

    fn course(&self, condition: &Condition, query: &CourseQuery) -> Result<CoursePrediction> {
        let times = if query.times.is_empty() { self.world.times.clone() } else { query.times.clone() };
        let doses = if query.doses.is_empty() { vec![1.0; times.len()] } else { query.doses.clone() };
        let rises = times.iter().zip(std::iter::once(&0.0).chain(&times)).all(|(time, before)| time > before);
        if !rises || doses.len() != times.len() || doses.iter().any(|dose| !(0.0..=f64::MAX).contains(dose)) {
            return Err(Error::config(
                "times must rise and be above 0, and there must be one dose of at least 0 for each time",
            ));
        }
        let actions = self.world.space.plan(&condition.perturbation, &times, &doses)?;
        let start = self.start(condition.context.as_deref());
        let seen = self.world.space.states(start.view().insert_axis(Axis(0)));
        let mut rng = ChaCha8Rng::seed_from_u64(query.seed);
        let mut profiles = Vec::new();
        for _ in 0..query.samples.max(1) {
            let states = roll(&self.net, seen.view(), &actions, (query.samples > 0).then_some(&mut rng))?;
            let mut course = Array2::zeros((times.len() + 1, self.genes.len()));
            course.row_mut(0).assign(&start);
            course.slice_mut(s![1.., ..]).assign(&self.world.space.profiles(&states));
            profiles.push(course);
        }
        let from_zero = |values: Vec<f64>| std::iter::once(0.0).chain(values).collect();
        Ok(CoursePrediction { times: from_zero(times), doses: from_zero(doses), profiles, spread: None })
    }

    fn state(&self) -> Result<State> {
        State::new(&Description {
            settings: self.settings.clone(),
            genes: self.genes.clone(),
            times: self.world.times.clone(),
            contexts: self.world.controls.contexts.clone(),
            space: self.world.space.facts.clone(),
            dims: self.world.space.dims(),
        })
        .with_vector("space.mean", &self.world.space.mean)
        .with_array("space.components", &self.world.space.components)
        .with_array("controls", &self.world.controls.profiles.mapv(f64::from))
        .with_array("linear.weights", &self.linear.weights)
        .with_vector("linear.offset", &self.linear.offset)
        .with_network("net", &self.net)
    }

    fn notes(&self) -> Vec<String> {
        let start = match self.world.times.first() {
            Some(first) => {
                format!("courses begin with the earliest control, placed at time 0; the first time after it is {first}")
            }
            None => String::new(),
        };
        vec![
            format!(
                "sequences of mean profiles in {} principal components ({:.0} % of the variance of the training profiles)",
                self.world.space.dims(),
                100.0 * self.world.space.facts.explained
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
