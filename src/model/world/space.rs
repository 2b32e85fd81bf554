//! What the dynamics see: principal components of pseudo-bulk profiles as states, perturbed genes and elapsed time as actions.

use super::CourseSettings;
use crate::{
    Error, Result,
    data::{
        Condition, Conditions, Controls, Counts, Course, CourseColumns, CourseLabels, Dataset, NORMALISED_TOTAL,
        Perturbation, TargetSum, TrainingCells, courses, normalize::log_normalize, rows_by_condition,
    },
    math::Pca,
    train::BatchSource,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use serde::{Deserialize, Serialize};

/// The space of states and actions.
///
/// A state `x` is the score of a mean log-normalised profile on principal components, divided by one number, so that a component
/// has variance 1 on average. An action is one number per perturbed gene (the dose, 0 where it is not perturbed) and the elapsed
/// time, in mean intervals of the training courses.
#[derive(Debug, Clone)]
pub struct Space {
    /// Mean profile, `(genes,)`.
    pub mean: Array1<f64>,
    /// Directions, `(dims, genes)`.
    pub components: Array2<f64>,
    /// What the world-model's description keeps beside the arrays.
    pub facts: SpaceFacts,
}

/// The numbers and names of a [`Space`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpaceFacts {
    /// What scores are divided by.
    pub scale: f64,
    /// Share of the variance of training profiles that the components explain.
    pub explained: f64,
    /// Genes that are perturbed in training, sorted; one number of an action each.
    pub perturbed: Vec<String>,
    /// The mean interval between times of training courses.
    pub interval: f64,
}

impl Space {
    /// The space of training courses, of at most `components` dimensions.
    ///
    /// # Errors
    /// Fewer than three profiles; profiles that do not vary.
    pub fn fit(courses: &[Course], components: usize) -> Result<Self> {
        let starts: Vec<ArrayView2<'_, f32>> =
            courses.iter().map(|course| course.start.view().insert_axis(Axis(0))).collect();
        let views: Vec<_> = courses.iter().map(|course| course.profiles.view()).chain(starts).collect();
        let profiles = concatenate(Axis(0), &views).map_err(|_| Error::data("there is no course to learn from"))?;
        let most = profiles.ncols().min(profiles.nrows().saturating_sub(1));
        let pca = Pca::fit(profiles.view(), components.min(most), 0)?;
        let variance = pca.explained_variance.sum() / pca.explained_variance.len() as f64;
        if variance <= 0.0 || variance.is_nan() {
            return Err(Error::data(
                "the profiles of the training courses do not differ, so there are no dynamics to learn",
            ));
        }
        let mut perturbed: Vec<String> =
            courses.iter().flat_map(|course| course.condition.perturbation.genes()).cloned().collect();
        perturbed.sort();
        perturbed.dedup();
        let intervals: Vec<f64> = courses.iter().flat_map(intervals).collect();
        Ok(Self {
            mean: pca.mean,
            components: pca.components,
            facts: SpaceFacts {
                scale: variance.sqrt(),
                explained: pca.explained_variance_ratio.sum(),
                perturbed,
                interval: intervals.iter().sum::<f64>() / intervals.len() as f64,
            },
        })
    }

    /// Numbers of a state.
    pub fn dims(&self) -> usize {
        self.components.nrows()
    }

    /// Numbers of an action: one per perturbed gene, and the elapsed time.
    pub fn actions(&self) -> usize {
        self.facts.perturbed.len() + 1
    }

    /// Whether a gene was perturbed in training.
    pub fn knows(&self, gene: &str) -> bool {
        self.facts.perturbed.iter().any(|known| known == gene)
    }

    /// The states of profiles `(rows, genes)`, `(rows, dims)`.
    pub fn states(&self, profiles: ArrayView2<'_, f32>) -> Array2<f32> {
        let centred = profiles.mapv(f64::from) - &self.mean;
        (centred.dot(&self.components.t()) / self.facts.scale).mapv(|value| value as f32)
    }

    /// The profiles of states `(rows, dims)`, `(rows, genes)`.
    pub fn profiles(&self, states: &Array2<f32>) -> Array2<f32> {
        let scores = states.mapv(|value| f64::from(value) * self.facts.scale);
        (scores.dot(&self.components) + &self.mean).mapv(|value| value as f32)
    }

    /// The action of a perturbation at a dose over an interval, `(actions,)`.
    ///
    /// # Errors
    /// A gene that was not perturbed in training ([`ErrorKind::Inapplicable`](crate::ErrorKind)).
    pub fn action(&self, perturbation: &Perturbation, dose: f64, interval: f64) -> Result<Array1<f32>> {
        let mut action = Array1::zeros(self.actions());
        for gene in perturbation.genes() {
            let place = self
                .facts
                .perturbed
                .binary_search(gene)
                .map_err(|_| Error::inapplicable(format!("{gene} was not perturbed in training")))?;
            action[place] = dose as f32;
        }
        action[self.actions() - 1] = (interval / self.facts.interval) as f32;
        Ok(action)
    }

    /// The actions of a perturbation at times that rise from 0, with a dose in the interval that ends at each, `(steps, actions)`.
    ///
    /// # Errors
    /// As [`Self::action`].
    pub fn plan(&self, perturbation: &Perturbation, times: &[f64], doses: &[f64]) -> Result<Array2<f32>> {
        let mut actions = Array2::zeros((0, self.actions()));
        let mut before = 0.0;
        for (&time, &dose) in times.iter().zip(doses) {
            actions.push_row(self.action(perturbation, dose, time - before)?.view()).expect("one number of actions");
            before = time;
        }
        Ok(actions)
    }

    /// A course as states and actions.
    ///
    /// # Errors
    /// As [`Self::action`].
    pub fn sequence(&self, course: &Course) -> Result<Sequence> {
        let start = course.start.view().insert_axis(Axis(0));
        let all = concatenate(Axis(0), &[start, course.profiles.view()]).expect("both have the genes as columns");
        Ok(Sequence {
            course: course.name.clone(),
            states: self.states(all.view()),
            actions: self.plan(&course.condition.perturbation, &course.times, &course.doses)?,
        })
    }
}

fn intervals(course: &Course) -> Vec<f64> {
    let before = std::iter::once(0.0).chain(course.times.iter().copied());
    course.times.iter().zip(before).map(|(time, before)| time - before).collect()
}

/// States along a course and the actions between them.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// The course it is of; several may be of one.
    pub course: String,
    /// From the start on, `(steps + 1, dims)`.
    pub states: Array2<f32>,
    /// `(steps, actions)`.
    pub actions: Array2<f32>,
}

/// Sequences to train on.
#[derive(Debug, Clone)]
pub struct Sequences(pub Vec<Sequence>);

/// Sequences side by side, one row each; short ones are filled up with steps that do not count.
#[derive(Debug, Clone)]
pub struct SequenceBatch {
    /// The states at each step, the start included, `(rows, dims)` each.
    pub states: Vec<Array2<f32>>,
    /// The actions before each step but the start, `(rows, actions)` each.
    pub actions: Vec<Array2<f32>>,
    /// Whether a step counts, the start included: 1 or 0, `(rows,)` each.
    pub weights: Vec<Vec<f32>>,
}

impl BatchSource for Sequences {
    type Batch = SequenceBatch;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<SequenceBatch> {
        let chosen: Vec<&Sequence> = rows.iter().map(|&row| &self.0[row]).collect();
        let steps = chosen.iter().map(|sequence| sequence.actions.nrows()).max().unwrap_or(0);
        // A sequence that has ended stays where it is.
        let at = |values: &Array2<f32>, step: usize| values.row(step.min(values.nrows() - 1)).to_owned();
        let stack = |of: &dyn Fn(&Sequence) -> Array1<f32>| {
            let columns = chosen.first().map_or(0, |first| of(first).len());
            let mut all = Array2::zeros((0, columns));
            chosen.iter().for_each(|s| all.push_row(of(s).view()).expect("all sequences have the same width"));
            all
        };
        let counts = |sequence: &&Sequence, step: usize| f32::from(step <= sequence.actions.nrows());
        Ok(SequenceBatch {
            states: (0..=steps).map(|step| stack(&|s| at(&s.states, step))).collect(),
            actions: (0..steps).map(|step| stack(&|s| at(&s.actions, step))).collect(),
            weights: (0..=steps).map(|step| chosen.iter().map(|s| counts(s, step)).collect()).collect(),
        })
    }

    fn name(&self, row: usize) -> String {
        self.0[row].course.clone()
    }
}

/// What the training courses say of the world before anything is learned: the space, where courses start, and when cells are
/// sampled.
#[derive(Debug, Clone)]
pub struct ObservedCourses {
    /// The space of states and actions.
    pub space: Space,
    /// The control profile of each context at its earliest time.
    pub controls: Controls,
    /// Times of the training courses, above 0.
    pub times: Vec<f64>,
}

impl ObservedCourses {
    /// Of the training cells, with the training and the validation sequences. Validation courses of unknown perturbations are left
    /// out.
    ///
    /// # Errors
    /// Columns that are not there; no training control; too few profiles.
    pub fn of(
        cells: &TrainingCells,
        settings: &CourseSettings,
        seed: u64,
    ) -> Result<(Self, Vec<Sequence>, Vec<Sequence>)> {
        let (expression, conditions, split) = (cells.expression()?, &cells.conditions, &cells.split);
        let labels = CourseLabels::of(&cells.data, conditions, &settings.columns)?;
        let controls = first_controls(expression, conditions, &labels, &split.train)?;
        let start = |condition: &Condition| start_of(&controls, condition.context.as_deref());
        let training = courses(expression, conditions, &labels, &split.train, (settings.replicates, seed), start)?;
        let space = Space::fit(&training, settings.components)?;
        let sequences = training.iter().map(|course| space.sequence(course)).collect::<Result<_>>()?;
        let known = |row: &usize| conditions[*row].perturbation.genes().iter().all(|gene| space.knows(gene));
        let rows: Vec<usize> = split.validation.iter().copied().filter(known).collect();
        let validation = match rows.is_empty() {
            true => Vec::new(),
            false => courses(expression, conditions, &labels, &rows, (1, seed), start)?
                .iter()
                .map(|course| space.sequence(course))
                .collect::<Result<_>>()?,
        };
        let mut times: Vec<f64> = training.iter().flat_map(|course| course.times.iter().copied()).collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        Ok((Self { space, controls, times }, sequences, validation))
    }

    /// The control profile that courses of a context start from, `(genes,)`; the mean of all contexts for one without control.
    pub fn start(&self, context: Option<&str>) -> Array1<f32> {
        start_of(&self.controls, context)
    }

    /// The courses of the cells `rows` of any dataset of the same genes, once each with all their cells.
    ///
    /// # Errors
    /// Columns that are not there; a perturbation that is unknown.
    pub fn sequences(&self, data: &Dataset, rows: &[usize], columns: &CourseColumns) -> Result<Vec<Sequence>> {
        let of = Conditions::of(data, columns.context.as_deref())?;
        let conditions: Vec<Condition> = (0..data.n_cells()).map(|cell| of.of_row(cell).clone()).collect();
        let labels = CourseLabels::of(data, &conditions, columns)?;
        let expression = log_normalize(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
        let start = |condition: &Condition| self.start(condition.context.as_deref());
        let all = courses(&expression, &conditions, &labels, rows, (1, 0), start)?;
        all.iter().map(|course| self.space.sequence(course)).collect()
    }
}

fn first_controls(
    expression: &Counts,
    conditions: &[Condition],
    labels: &CourseLabels,
    rows: &[usize],
) -> Result<Controls> {
    let mut first = Vec::new();
    for (condition, rows) in rows_by_condition(conditions, rows) {
        if condition.perturbation.is_control() {
            let earliest = rows.iter().map(|&row| labels.time[row]).fold(f64::INFINITY, f64::min);
            first.extend(rows.into_iter().filter(|&row| labels.time[row] == earliest));
        }
    }
    match first.is_empty() {
        true => Err(Error::data("no control cell is among the training cells, so there is no start of a course")),
        false => Ok(Controls::of_cells(expression, conditions, &first)),
    }
}

fn start_of(controls: &Controls, context: Option<&str>) -> Array1<f32> {
    match controls.of(context) {
        Some(profile) => profile.to_owned(),
        None => controls.profiles.mean_axis(Axis(0)).expect("there is control"),
    }
}
