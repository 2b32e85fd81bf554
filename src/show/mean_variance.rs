//! Variance against mean of each gene's counts: why a Poisson is not enough.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title},
    canvas::Canvas,
    legend::{Legend, Sample},
    points::{self, Kind},
    style::{BLUE, GUIDE, Mark, VERMILLION},
};
use crate::{Error, Result};

const HEIGHT: f64 = 640.0;
/// Places at which the negative binomial's curve is computed.
const CURVE_POINTS: usize = 60;

/// A point a gene on logarithmic axes, the Poisson's `variance = mean`, and the negative binomial's
/// `variance = mean + mean^2 / theta` with the median of the genes' moment estimates `theta = mean^2 / (variance - mean)`.
/// Genes of mean or variance 0 are left out. Both in UMI counts.
///
/// # Errors
/// Arrays of different lengths, or no gene that varies.
pub fn mean_variance(title: &str, means: &[f64], variances: &[f64]) -> Result<Figure> {
    if means.len() != variances.len() {
        return Err(Error::shape("mean-variance figure: means, and variances", means.len(), variances.len()));
    }
    let genes: Vec<(f64, f64)> = means
        .iter()
        .copied()
        .zip(variances.iter().copied())
        .filter(|(mean, variance)| *mean > 0.0 && *variance > 0.0 && mean.is_finite() && variance.is_finite())
        .collect();
    if genes.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} genes varies", means.len())));
    }
    // Overdispersion 1 / theta is 0 or less for a gene that varies less than a Poisson.
    let mut overdispersion: Vec<f64> = genes.iter().map(|(mean, variance)| (variance - mean) / (mean * mean)).collect();
    overdispersion.sort_by(f64::total_cmp);
    let phi = f64::midpoint(overdispersion[(genes.len() - 1) / 2], overdispersion[genes.len() / 2]);
    let beyond_poisson = overdispersion.iter().filter(|phi| **phi > 0.0).count();

    let mut entries =
        vec![(Sample::Point(BLUE, Mark::Circle), "gene".to_owned()), (Sample::Dashed(GUIDE), "Poisson".to_owned())];
    if phi > 0.0 {
        entries.push((Sample::Line(VERMILLION, Mark::Circle), format!("negative binomial, theta {:.2}", 1.0 / phi)));
    }
    let legend = Legend::new(entries);
    let x = Axis::log10("mean (UMI counts per cell)", genes.iter().map(|gene| gene.0));
    let y = Axis::log10("variance (UMI counts²)", genes.iter().map(|gene| gene.1));
    let frame = Frame::new(x, y, TITLE_HEIGHT + legend.height() + 8.0, HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
    });
    let kinds = [Kind { color: BLUE, mark: Mark::Circle, r: 6.0, opacity: 0.55 }];
    points::draw(&mut canvas, &frame, &kinds, &genes.iter().map(|&(x, y)| (x, y, 0)).collect::<Vec<_>>())?;
    canvas.draw(|pen| {
        let ((x0, x1), (y0, y1)) = (frame.x.ends(), frame.y.ends());
        let inside = |value: f64| (y0..=y1).contains(&value);
        if x0.max(y0) < x1.min(y1) {
            pen.dashed(frame.at(x0.max(y0), x0.max(y0)), frame.at(x1.min(y1), x1.min(y1)), GUIDE, 4);
        }
        let steps = (0..=CURVE_POINTS).map(|i| x0 * (x1 / x0).powf(i as f64 / CURVE_POINTS as f64));
        let curve: Vec<_> =
            steps.map(|m| (m, m + phi * m * m)).filter(|p| inside(p.1)).map(|(x, y)| frame.at(x, y)).collect();
        if phi > 0.0 {
            pen.path(&curve, VERMILLION, 4);
        }
    });
    let caption = format!(
        "{beyond_poisson} of {} genes ({:.0} %) vary more than a Poisson; the median overdispersion 1/theta is {phi:.2}.",
        genes.len(),
        100.0 * beyond_poisson as f64 / genes.len() as f64
    );
    Ok(Figure::new(title, caption, canvas))
}
