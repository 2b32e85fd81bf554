//! Figures: self-contained SVG that a notebook shows inline, a report embeds and a browser opens.
//!
//! A figure function takes plain numbers and names, knows no model, and returns a [`Figure`] whose caption gives the
//! number to take away. Colours are Okabe and Ito's, each with its own mark.

mod axis;
mod canvas;
mod curves;
mod effects;
mod embedding;
mod figure;
mod heatmap;
mod histogram;
mod legend;
mod mean_variance;
mod points;
mod ranked;
mod report;
mod style;

pub use curves::{Panel, Series, training_curves};
pub use effects::effect_scatter;
pub use embedding::{EmbeddingAxes, embedding};
pub use figure::Figure;
pub use heatmap::{ColourScale, heatmap};
pub use histogram::histogram;
pub use mean_variance::mean_variance;
pub use ranked::ranked;
pub use report::{Report, Verdict};
