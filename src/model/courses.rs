//! What a model of time courses is asked, and what it answers.

use ndarray::Array2;

/// A question for the course of a condition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CourseQuery {
    /// Times, rising and above 0; none: those of the training data.
    pub times: Vec<f64>,
    /// The dose in the interval that ends at each time, relative to the largest of training; none: 1 throughout.
    pub doses: Vec<f64>,
    /// Draws of the course; 0: its mean.
    pub samples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// The predicted course of a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct CoursePrediction {
    /// Time 0, which is the control that the course starts from, and the times that were asked for.
    pub times: Vec<f64>,
    /// The dose in the interval that ends at each time; 0 at time 0.
    pub doses: Vec<f64>,
    /// Mean log-normalised expression at each time, `(times, genes)`; one array per draw, or one.
    pub profiles: Vec<Array2<f32>>,
    /// Standard deviation of each gene over the draws behind a mean course, `(times, genes)`; `None` of drawn courses, and of a model
    /// that gives its mean without draws.
    pub spread: Option<Array2<f32>>,
}
