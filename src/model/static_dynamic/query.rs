//! What a trained model is asked: sequences of which a part is known, courses, and held-out courses beside other dynamics.

use super::{
    model::StaticDynamic,
    net::noise,
    sequences::{Packed, Shown},
};
use crate::{
    Error, Result,
    data::{
        Condition, Conditions, Counts, Course, CourseLabels, Dataset, NORMALISED_TOTAL, Perturbation, TargetSum,
        courses, normalize::log_normalize,
    },
    model::{
        CoursePrediction, CourseQuery, HeldOutScore, Trained,
        world::{Persistence, Sequence, Space, rollout_error},
    },
};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One profile of a sequence that is to be completed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// When it is measured, at least 0; `None`: unknown, as of a static profile.
    pub time: Option<f64>,
    /// The relative dose in the interval that ends at this time; at time 0 nothing has acted.
    pub dose: f64,
    /// Mean log-normalised expression `(genes,)` where it is known; `None`: it is drawn.
    pub profile: Option<Array1<f32>>,
}

/// A completed sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The sequence of each draw, `(parts, genes)`; known profiles are as they were given.
    pub draws: Vec<Array2<f32>>,
}

impl Completion {
    /// The mean over the draws, `(parts, genes)`.
    pub fn mean(&self) -> Array2<f32> {
        // Relative to the first draw, so that the mean of a known profile is that profile to the last bit.
        let first = &self.draws[0];
        let sum = self.draws.iter().fold(Array2::<f32>::zeros(first.dim()), |sum, draw| sum + (draw - first));
        first + sum / self.draws.len() as f32
    }

    /// The standard deviation over the draws, `(parts, genes)`; 0 of a single one.
    pub fn spread(&self) -> Array2<f32> {
        let mean = self.mean();
        let squares =
            self.draws.iter().fold(Array2::zeros(mean.dim()), |sum, draw| sum + (draw - &mean).mapv(|e| e * e));
        squares.mapv(|sum: f32| (sum / (self.draws.len() as f32 - 1.0).max(1.0)).sqrt())
    }
}

impl StaticDynamic {
    /// The space that held-out courses are judged in.
    pub fn judged_in(&self) -> &Space {
        &self.world.space
    }

    /// The latents of profiles `(profiles, genes)`, `(profiles, latent)`: mean 0 and variance 1 over the training profiles.
    ///
    /// # Errors
    /// Profiles of other genes.
    pub fn latents(&self, profiles: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if profiles.ncols() != self.genes.len() {
            return Err(Error::shape("profiles to encode", self.genes.len(), profiles.ncols()));
        }
        let latents = self.coder.encode(&self.space.states(profiles))?.mapv(f64::from);
        Ok(((latents - &self.standard[0]) / &self.standard[1]).mapv(|value| value as f32))
    }

    /// The profiles of latents `(profiles, latent)`, `(profiles, genes)`.
    ///
    /// # Errors
    /// Latents of another width.
    pub fn profiles(&self, latents: &Array2<f32>) -> Result<Array2<f32>> {
        let latents = latents.mapv(f64::from) * &self.standard[1] + &self.standard[0];
        Ok(self.space.profiles(&self.coder.decode(&latents.mapv(|value| value as f32))?))
    }

    /// The courses of the cells `rows` of a dataset, once each with all their cells; `None` if none was measured after the start.
    ///
    /// # Errors
    /// Columns that are not there; genes that are not the model's.
    pub fn courses(&self, data: &Dataset, rows: &[usize]) -> Result<Option<Vec<Course>>> {
        let expression = self.expression(data)?;
        let columns = &self.settings.courses.columns;
        let of = Conditions::of(data, columns.context.as_deref())?;
        let conditions: Vec<Condition> = (0..data.n_cells()).map(|cell| of.of_row(cell).clone()).collect();
        let labels = CourseLabels::of(data, &conditions, columns)?;
        if !rows.iter().any(|&row| labels.time[row] > 0.0) {
            return Ok(None);
        }
        let start = |condition: &Condition| self.world.start(condition.context.as_deref());
        courses(&expression, &conditions, &labels, rows, (1, 0), start).map(Some)
    }

    /// Log-normalised expression of the cells of a dataset of the model's genes.
    pub(super) fn expression(&self, data: &Dataset) -> Result<Counts> {
        if data.genes.names != self.genes {
            return Err(Error::data("the genes of the cells are not those of the model, in its order"));
        }
        log_normalize(data, TargetSum::Fixed(NORMALISED_TOTAL))
    }

    /// Completes a sequence of profiles of a perturbation, `draws` times: generation from nothing where no profile is given,
    /// continuation where the first are, filling in where others are, a static profile where there is one part.
    ///
    /// # Errors
    /// A gene that was not perturbed in training ([`ErrorKind::Inapplicable`](crate::ErrorKind)); no part or draw; times that do not
    /// rise, doses that are no numbers of at least 0; profiles of other genes.
    pub fn complete(&self, perturbation: &Perturbation, parts: &[Part], draws: usize, seed: u64) -> Result<Completion> {
        let shape = (draws * parts.len(), self.coder.latent());
        self.completed(perturbation, parts, draws, &noise(shape, &mut ChaCha8Rng::seed_from_u64(seed)))
    }

    /// The same from given noise, `(draws * parts, latent)`.
    fn completed(
        &self,
        perturbation: &Perturbation,
        parts: &[Part],
        draws: usize,
        noise: &Array2<f32>,
    ) -> Result<Completion> {
        check(parts, draws, self.genes().len())?;
        let mut tokens = self.empty_tokens(perturbation.to_string());
        for part in parts {
            let latent = match &part.profile {
                Some(profile) => self.latents(profile.view().insert_axis(Axis(0)))?.row(0).to_owned(),
                None => Array1::zeros(tokens.latents.ncols()),
            };
            self.push_token(&mut tokens, (perturbation, part.dose), part.time, latent.view())?;
        }
        let shown = Shown {
            tokens: (0..parts.len()).collect(),
            given: parts.iter().map(|part| part.profile.is_some()).collect(),
        };
        let packed = Packed::of(&vec![(&tokens, shown); draws]);
        let how = (self.settings.flow.method, self.settings.flow.steps);
        let profiles = self.profiles(&self.net.draw(&packed, noise, how)?)?;
        let of_draw = |draw: usize| {
            let mut own = profiles.slice(ndarray::s![draw * parts.len()..(draw + 1) * parts.len(), ..]).to_owned();
            for (mut row, part) in own.rows_mut().into_iter().zip(parts) {
                part.profile.iter().for_each(|profile| row.assign(profile));
            }
            own
        };
        Ok(Completion { draws: (0..draws).map(of_draw).collect() })
    }

    /// The course of a condition from control; see [`Trained::course`].
    pub(super) fn course_of(&self, condition: &Condition, query: &CourseQuery) -> Result<CoursePrediction> {
        let times = if query.times.is_empty() { self.world.times.clone() } else { query.times.clone() };
        let doses = if query.doses.is_empty() { vec![1.0; times.len()] } else { query.doses.clone() };
        if doses.len() != times.len() || times.first().is_some_and(|first| *first <= 0.0) {
            return Err(Error::config(
                "times must rise and be above 0, and there must be one dose of at least 0 for each time",
            ));
        }
        let start = self.world.start(condition.context.as_deref());
        let first = Part { time: Some(0.0), dose: 0.0, profile: Some(start) };
        let later = times.iter().zip(&doses).map(|(&time, &dose)| Part { time: Some(time), dose, profile: None });
        let parts: Vec<Part> = std::iter::once(first).chain(later).collect();
        let (profiles, spread) = match query.samples {
            0 => {
                let draws = self.settings.flow.draws;
                let noise = opposite_pairs(draws, parts.len(), self.coder.latent(), query.seed);
                let completion = self.completed(&condition.perturbation, &parts, draws, &noise)?;
                (vec![completion.mean()], (draws > 1).then(|| completion.spread()))
            }
            draws => (self.complete(&condition.perturbation, &parts, draws, query.seed)?.draws, None),
        };
        let from_zero = |values: Vec<f64>| std::iter::once(0.0).chain(values).collect();
        Ok(CoursePrediction { times: from_zero(times), doses: from_zero(doses), profiles, spread })
    }

    /// Held-out courses beside persistence and linear dynamics; see [`Trained::held_out`].
    pub(super) fn score(&self, data: &Dataset, rows: &[usize]) -> Result<Option<HeldOutScore>> {
        let known = |row: &usize| {
            let perturbation: &Perturbation = data.perturbation_of(*row);
            !perturbation.is_control() && perturbation.genes().iter().all(|gene| self.perturbs(gene))
        };
        let rows: Vec<usize> = rows.iter().copied().filter(known).collect();
        let Some(courses) = self.courses(data, &rows)? else { return Ok(None) };
        let space = &self.world.space;
        let own = course_error(self, space, &courses)?;
        let sequences = courses.iter().map(|course| sequence(space, course)).collect::<Result<Vec<_>>>()?;
        let persistence = rollout_error(&Persistence, &sequences, 1)?;
        let linear = rollout_error(&self.linear, &sequences, 1)?;
        Ok(Some(HeldOutScore {
            line: format!(
                "held-out courses ({}): error of the mean course from control {own:.3}, persistence {persistence:.3}, linear dynamics \
                 {linear:.3} (root mean square per number of a state)",
                courses.len()
            ),
            json: serde_json::json!({
                "courses": courses.len(), "rollout_rmse": own, "persistence": persistence, "linear_dynamics": linear,
            }),
        }))
    }
}

/// Noise of draws in pairs of opposite sign, `(draws * parts, latent)`: what is odd in the noise cancels out of a mean, which needs
/// fewer draws for it.
fn opposite_pairs(draws: usize, parts: usize, latent: usize, seed: u64) -> Array2<f32> {
    let half = noise((draws.div_ceil(2) * parts, latent), &mut ChaCha8Rng::seed_from_u64(seed));
    Array2::from_shape_fn((draws * parts, latent), |(row, k)| {
        let (draw, part) = (row / parts, row % parts);
        half[[draw / 2 * parts + part, k]] * if draw % 2 == 0 { 1.0 } else { -1.0 }
    })
}

fn check(parts: &[Part], draws: usize, genes: usize) -> Result<()> {
    if parts.is_empty() || draws == 0 {
        return Err(Error::config("a sequence needs one part and one draw at least"));
    }
    let times: Vec<f64> = parts.iter().filter_map(|part| part.time).collect();
    let is_time = |time: &f64| (0.0..=f64::MAX).contains(time);
    if !times.iter().all(is_time) || times.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Error::config("times must be numbers of at least 0 and rise"));
    }
    if let Some(part) = parts.iter().find(|part| !(0.0..=f64::MAX).contains(&part.dose)) {
        return Err(Error::config(format!("dose = {}, but it must be a number of at least 0", part.dose)));
    }
    match parts.iter().filter_map(|part| part.profile.as_ref()).find(|profile| profile.len() != genes) {
        Some(profile) => Err(Error::shape("known profile of a sequence", genes, profile.len())),
        None => Ok(()),
    }
}

/// A course as states and actions, of which the space may not know every gene: such a gene does nothing.
fn sequence(space: &Space, course: &Course) -> Result<Sequence> {
    let known = course.condition.perturbation.genes().iter().filter(|gene| space.knows(gene)).cloned();
    let condition = Condition { perturbation: Perturbation::of(known), context: course.condition.context.clone() };
    space.sequence(&Course { condition, ..course.clone() })
}

/// Root-mean-square error of the mean courses that a model predicts from control, per number of a state: what
/// [`rollout_error`](crate::model::world::rollout_error) is for dynamics, for any model that predicts courses.
///
/// # Errors
/// A course that the model cannot predict; no course.
pub fn course_error(model: &dyn Trained, space: &Space, courses: &[Course]) -> Result<f64> {
    let (mut squares, mut numbers) = (0.0, 0_usize);
    for course in courses {
        let query = CourseQuery { times: course.times.clone(), doses: course.doses.clone(), ..CourseQuery::default() };
        let predicted = model.course(&course.condition, &query)?.profiles;
        let after = predicted.first().map(|profiles| profiles.slice(ndarray::s![1.., ..]).to_owned());
        let after = after.ok_or_else(|| Error::data("a model predicted no course"))?;
        let errors = space.states(after.view()) - space.states(course.profiles.view());
        squares += errors.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>();
        numbers += errors.len();
    }
    match numbers {
        0 => Err(Error::data("there is no held-out course")),
        n => Ok((squares / n as f64).sqrt()),
    }
}
