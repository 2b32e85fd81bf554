//! Figures: self-contained SVG that a notebook shows inline, a report embeds and a browser opens.
//!
//! A figure function takes plain numbers and names, knows no model, and returns a [`Figure`] whose caption gives the
//! number to take away. Colours are Okabe and Ito's, each with its own mark.

#[doc(hidden)]
pub mod axis;
mod bars;
mod benchmark;
mod by_condition;
mod canvas;
mod curves;
mod distributions;
mod dose_response;
mod embedding;
mod grid;
mod heatmap;
mod legend;
mod map;
mod models;
mod pairs;
mod plane;
mod points;
mod report;
mod results;
mod scatter;
mod style;

pub use crate::bench::Better;
pub use bars::condition_bars;
pub use benchmark::verdict;
pub use by_condition::{condition_dots, group_panels, l2_ratio};
pub use canvas::Figure;
pub use curves::{Panel, Series, interaction_curve, lines, training_curves};
pub use distributions::{histogram, mean_variance, ranked};
pub use dose_response::{DosePanel, DoseSeries, dose_response};
pub use embedding::{EmbeddingAxes, embedding};
pub(crate) use grid::escape;
pub use grid::{Align, Cell, Grid};
pub use heatmap::{ColourScale, heatmap, model_heatmap};
pub use map::{MapPanel, map_grid, maps};
pub use models::ModelValues;
pub use pairs::{PairPoint, effect_scatter, model_pair};
pub use plane::{PlanePanel, plane};
pub use report::{Report, Verdict};
pub use scatter::{ScatterPanel, scatter};
