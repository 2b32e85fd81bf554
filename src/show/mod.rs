//! Figures: self-contained SVG that a notebook shows inline, a report embeds and a browser opens.
//!
//! A figure function takes plain numbers and names, knows no model, and returns a [`Figure`] whose caption gives the
//! number to take away. Colours are Okabe and Ito's, each with its own mark.

mod axis;
mod benchmark;
mod canvas;
mod curves;
mod dots;
mod effects;
mod embedding;
mod figure;
mod grid;
mod groups;
mod heatmap;
mod histogram;
mod interactions;
mod legend;
mod map;
mod mean_variance;
mod model_heatmap;
mod model_pair;
mod models;
mod plane;
mod points;
mod ranked;
mod ratio;
mod report;
mod results;
mod rows;
mod scatter;
mod style;

pub use crate::bench::Better;
pub use benchmark::verdict;
pub use curves::{Panel, Series, training_curves};
pub use dots::condition_dots;
pub use effects::effect_scatter;
pub use embedding::{EmbeddingAxes, embedding};
pub use figure::Figure;
pub use grid::{Align, Cell, Grid};
pub(crate) use grid::{escape, show_in_notebook};
pub use groups::group_panels;
pub use heatmap::{ColourScale, heatmap};
pub use histogram::histogram;
pub use interactions::interaction_curve;
pub use map::{MapPanel, map_grid, maps};
pub use mean_variance::mean_variance;
pub use model_heatmap::model_heatmap;
pub use model_pair::{PairPoint, model_pair};
pub use models::ModelValues;
pub use plane::{PlanePanel, plane};
pub use ranked::ranked;
pub use ratio::l2_ratio;
pub use report::{Report, Verdict};
pub use scatter::{ScatterPanel, scatter};
