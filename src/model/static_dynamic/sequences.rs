//! Sequences of profiles of different lengths, and how a batch of them is packed.
//!
//! A sequence is a list of tokens: the latent of a profile, when it was measured (or that the time is unknown), and the dose of each
//! perturbed gene. A course is a sequence of several tokens; a static profile is one of length 1, or of 2 after its control. A batch holds the tokens of all its
//! sequences one after the other, and [`RowSets`] says which belong together: nothing is filled up (Patch n' Pack, Dehghani et al.
//! 2023, *Patch n' Pack: NaViT*).

use super::{Kinds, StaticDynamicSettings};
use crate::{
    Error, Result,
    data::{Condition, Course, CourseLabels, StaticProfile, TrainingCells, courses, static_profiles},
    math::Pca,
    model::world::{ObservedCourses, Space, SpaceFacts},
    nn::RowSets,
    train::BatchSource,
};
use ndarray::{Array1, Array2, ArrayView1};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, sync::Arc};

/// The tokens of one sequence, in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSequence {
    /// The course or the static profile, for messages.
    pub name: String,
    /// Latents, `(tokens, latent)`; where a token is to be generated, its row is not looked at.
    pub latents: Array2<f32>,
    /// Time of each token as a share of the longest training time; `None` where it is unknown.
    pub times: Vec<Option<f32>>,
    /// Dose of each perturbed gene in the interval that ends at the token, `(tokens, genes)`.
    pub doses: Array2<f32>,
}

impl TokenSequence {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

/// Which tokens of a sequence are shown, and which of these are given clean; the others are generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Tokens that are shown, rising.
    pub tokens: Vec<usize>,
    /// Whether each shown token is given.
    pub given: Vec<bool>,
}

/// Share of training examples that generate the whole sequence.
const FROM_NOTHING: f64 = 0.15;
/// Share that continue it from its first tokens; the rest fill in missing ones.
const CONTINUED: f64 = 0.6;
/// Share of the continued ones that start from the first token alone, as `predict` does.
const FROM_CONTROL: f64 = 0.6;
/// Share of examples that show a random part of the tokens, so that the network meets sparse sequences.
const THINNED: f64 = 0.3;

impl Shown {
    /// All tokens, the first `given` of them given.
    pub fn first(len: usize, given: usize) -> Self {
        Self { tokens: (0..len).collect(), given: (0..len).map(|token| token < given).collect() }
    }

    /// A random task of training: generation from nothing, continuation or filling in. At least one token is generated.
    pub fn draw(len: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut tokens: Vec<usize> = (0..len).collect();
        if len == 2 && rng.random_bool(THINNED) {
            tokens = vec![1];
        } else if len > 2 && rng.random_bool(THINNED) {
            let share = rng.random::<f64>();
            tokens.retain(|&token| token == 0 || rng.random_bool(share));
            if tokens.len() < 2 {
                tokens.push(rng.random_range(1..len));
            }
        }
        let shown = tokens.len();
        let task = rng.random::<f64>();
        let given = if shown == 1 || task < FROM_NOTHING {
            vec![false; shown]
        } else if task < FROM_NOTHING + CONTINUED {
            let first = if rng.random_bool(FROM_CONTROL) { 1 } else { rng.random_range(1..shown) };
            (0..shown).map(|token| token < first).collect()
        } else {
            let share = rng.random::<f64>();
            let mut given: Vec<bool> = (0..shown).map(|_| rng.random_bool(share)).collect();
            if given.iter().all(|given| *given) {
                given[rng.random_range(0..shown)] = false;
            }
            given
        };
        Self { tokens, given }
    }
}

/// A packed batch: the shown tokens of its sequences, one after the other.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Which tokens are of one sequence.
    pub sets: RowSets,
    /// Clean latents, `(tokens, latent)`.
    pub latents: Array2<f32>,
    /// The latent of the nearest given token before each, else of the nearest given one after it, else 0; `(tokens, latent)`. What is
    /// generated is the difference to it.
    pub anchors: Array2<f32>,
    /// Whether each token is given.
    pub given: Vec<bool>,
    /// As in [`TokenSequence`].
    pub times: Vec<Option<f32>>,
    /// As in [`TokenSequence`], `(tokens, genes)`.
    pub doses: Array2<f32>,
}

impl Packed {
    /// Packs sequences, each with what is shown of it.
    pub fn of(sequences: &[(&TokenSequence, Shown)]) -> Self {
        let columns = |of: &dyn Fn(&TokenSequence) -> usize| sequences.first().map_or(0, |(tokens, _)| of(tokens));
        let (latent, genes) = (columns(&|t| t.latents.ncols()), columns(&|t| t.doses.ncols()));
        let mut packed = Self {
            sets: RowSets::from_sizes(sequences.iter().map(|(_, shown)| shown.tokens.len())),
            latents: Array2::zeros((0, latent)),
            anchors: Array2::zeros((0, latent)),
            given: Vec::new(),
            times: Vec::new(),
            doses: Array2::zeros((0, genes)),
        };
        let nothing = Array1::zeros(latent);
        for (tokens, shown) in sequences {
            for (place, &token) in shown.tokens.iter().enumerate() {
                let anchor = anchor(shown, place).map_or(nothing.view(), |at| tokens.latents.row(shown.tokens[at]));
                let push = |to: &mut Array2<f32>, row: ArrayView1<'_, f32>| to.push_row(row).expect("one width");
                push(&mut packed.latents, tokens.latents.row(token));
                push(&mut packed.anchors, anchor);
                push(&mut packed.doses, tokens.doses.row(token));
                packed.times.push(tokens.times[token]);
                packed.given.push(shown.given[place]);
            }
        }
        packed
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.given.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The tokens that are generated.
    pub fn generated(&self) -> Vec<u32> {
        (0..self.len()).filter(|&token| !self.given[token]).map(|token| token as u32).collect()
    }
}

/// The place of the given token that a generated one is told relative to.
fn anchor(shown: &Shown, place: usize) -> Option<usize> {
    let before = (0..place).rev().find(|&at| shown.given[at]);
    before.or_else(|| (place..shown.given.len()).find(|&at| shown.given[at]))
}

/// Sequences to train on; each is a row `repeats` times, so that a small set fills its batches.
#[derive(Debug, Clone)]
pub struct SequenceSet {
    /// The sequences.
    pub sequences: Vec<Arc<TokenSequence>>,
    /// Rows of an epoch per sequence.
    pub repeats: usize,
}

impl BatchSource for SequenceSet {
    type Batch = Vec<Arc<TokenSequence>>;

    fn len(&self) -> usize {
        self.sequences.len() * self.repeats
    }

    fn batch(&self, rows: &[usize]) -> crate::Result<Self::Batch> {
        Ok(rows.iter().map(|&row| Arc::clone(&self.sequences[row % self.sequences.len()])).collect())
    }

    fn name(&self, row: usize) -> String {
        self.sequences[row % self.sequences.len()].name.clone()
    }
}

/// How many sequences there are of each length.
pub fn lengths<'a>(sequences: impl IntoIterator<Item = &'a TokenSequence>) -> BTreeMap<usize, usize> {
    let mut lengths = BTreeMap::new();
    sequences.into_iter().for_each(|tokens| *lengths.entry(tokens.len()).or_default() += 1);
    lengths
}

/// What is trained on: courses, and profiles without a time.
pub(super) struct Material {
    pub courses: Vec<Course>,
    pub statics: Vec<StaticProfile>,
}

impl Material {
    pub fn of(
        cells: &TrainingCells,
        rows: &[usize],
        settings: &StaticDynamicSettings,
        world: &ObservedCourses,
        parts: (usize, u64),
    ) -> Result<Self> {
        let (expression, conditions) = (cells.expression()?, &cells.conditions);
        let labels = CourseLabels::of(&cells.data, conditions, &settings.courses.columns)?;
        let start = |condition: &Condition| world.start(condition.context.as_deref());
        let timed = rows.iter().any(|&row| labels.time[row] > 0.0);
        let courses = match timed {
            true => courses(expression, conditions, &labels, rows, parts, start)?,
            false => Vec::new(),
        };
        let statics = static_profiles(expression, conditions, &labels, rows, parts);
        Ok(Self { courses, statics })
    }

    pub fn keep(mut self, kinds: Kinds) -> Result<Self> {
        match kinds {
            Kinds::Both => {}
            Kinds::Dynamic => {
                self.statics.clear();
                self.courses.retain(|course| course.times.len() > 1);
            }
            Kinds::Static => self.courses.retain(|course| course.times.len() == 1),
        }
        match self.courses.is_empty() && self.statics.is_empty() {
            true => Err(Error::data("no sequence of these kinds is among the training cells; set kinds = \"both\"")),
            false => Ok(self),
        }
    }

    /// All profiles, `(profiles, genes)`, with their names.
    pub fn profiles(&self, genes: usize) -> (Array2<f32>, Vec<String>) {
        let (mut profiles, mut names) = (Array2::zeros((0, genes)), Vec::new());
        let mut push = |profile: ArrayView1<'_, f32>, name: &String| {
            profiles.push_row(profile).expect("all profiles have the genes as columns");
            names.push(name.clone());
        };
        for course in &self.courses {
            push(course.start.view(), &course.name);
            course.profiles.rows().into_iter().for_each(|profile| push(profile, &course.name));
        }
        self.statics.iter().for_each(|known| push(known.profile.view(), &known.name));
        (profiles, names)
    }

    fn perturbed(&self) -> Vec<String> {
        let conditions = self.courses.iter().map(|course| &course.condition);
        let conditions = conditions.chain(self.statics.iter().map(|known| &known.condition));
        let mut genes: Vec<String> = conditions.flat_map(|condition| condition.perturbation.genes()).cloned().collect();
        genes.sort();
        genes.dedup();
        genes
    }

    /// The principal components of all profiles.
    pub fn space(&self, genes: usize, components: usize, longest: f64) -> Result<(Space, Array1<f64>)> {
        let (profiles, _) = self.profiles(genes);
        let most = profiles.ncols().min(profiles.nrows().saturating_sub(1));
        let pca = Pca::fit(profiles.view(), components.min(most), 0)?;
        let variance = pca.explained_variance.sum() / pca.explained_variance.len() as f64;
        if variance <= 0.0 || variance.is_nan() {
            return Err(Error::data(
                "the profiles of the training sequences do not differ, so there is nothing to learn",
            ));
        }
        let facts = SpaceFacts {
            scale: variance.sqrt(),
            explained: pca.explained_variance_ratio.sum(),
            perturbed: self.perturbed(),
            interval: longest,
        };
        let variances = pca.explained_variance / variance;
        Ok((Space { mean: pca.mean, components: pca.components, facts }, variances))
    }
}
