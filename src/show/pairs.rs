//! Two values against each other: predicted and observed effect, one point per gene; one model and another, one point per
//! condition.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    legend::{Labels, Legend, Sample},
    models::{is_better, words},
    points::{self, Kind},
    style::{BLUE, GUIDE, INK, Mark, TICK_SIZE, VERMILLION},
};
use crate::{
    Error, Result,
    bench::Better,
    eval::{pearson, top_k},
};

const HEIGHT: f64 = 720.0;
/// Decimals of the caption's numbers.
const STEP: f64 = 0.01;

/// A scatter of the predicted against the observed mean effect of each gene, with the line of identity. The `n_labels`
/// genes of largest observed |effect| are marked and named. Both effects are differences to control in mean log1p
/// expression, `(genes,)`.
///
/// # Errors
/// Arrays of different lengths, or no gene at all; an effect that is not finite.
pub fn effect_scatter<S: AsRef<str>>(
    title: &str,
    genes: &[S],
    predicted: &[f32],
    observed: &[f32],
    n_labels: usize,
) -> Result<Figure> {
    if genes.len() != predicted.len() || genes.len() != observed.len() {
        let lengths = (predicted.len(), observed.len());
        return Err(Error::shape("effect figure: genes, and (predicted, observed)", genes.len(), lengths));
    }
    let wrong = predicted.iter().zip(observed).position(|(x, y)| !x.is_finite() || !y.is_finite());
    if genes.is_empty() || wrong.is_some() {
        let what = wrong.map_or("there are no genes".to_owned(), |i| {
            format!(
                "gene {} has the effects {} and {}; both must be finite",
                genes[i].as_ref(),
                predicted[i],
                observed[i]
            )
        });
        return Err(Error::data(format!("figure {title:?}: {what}")));
    }
    let size: Vec<f32> = observed.iter().map(|effect| effect.abs()).collect();
    let largest = top_k(&size, n_labels);
    let kind = |color, mark, r, opacity| Kind { color, mark, r, opacity };
    let kinds = [kind(BLUE, Mark::Circle, 6.0, 0.55), kind(VERMILLION, Mark::Diamond, 8.0, 1.0)];
    let value = |i: usize| (f64::from(observed[i]), f64::from(predicted[i]));
    let mut cloud: Vec<(f64, f64, usize)> = (0..genes.len()).map(|i| (value(i).0, value(i).1, 0)).collect();
    largest.iter().for_each(|&i| cloud[i].2 = 1);
    cloud.sort_by_key(|point| point.2);

    let legend = Legend::new([
        (Sample::Point(BLUE, Mark::Circle), "gene".to_owned()),
        (Sample::Point(VERMILLION, Mark::Diamond), format!("{} largest observed effects", largest.len())),
        (Sample::Dashed(GUIDE), "prediction = observation".to_owned()),
    ]);
    let x = Axis::linear("observed effect (difference to control, mean log1p)", cloud.iter().map(|p| p.0));
    let y = Axis::linear("predicted effect (mean log1p)", cloud.iter().map(|p| p.1));
    let frame = Frame::new(x, y, TITLE_HEIGHT + legend.height() + 8.0, HEIGHT);
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        // Identity, where both axes reach.
        let ((x0, x1), (y0, y1)) = (frame.x.ends(), frame.y.ends());
        if let Some((low, high)) = range([x0.max(y0), x1.min(y1)]).filter(|_| x0.max(y0) < x1.min(y1)) {
            pen.dashed(frame.at(low, low), frame.at(high, high), GUIDE, 3);
        }
    });
    points::draw(&mut canvas, &frame, &kinds, &cloud)?;
    canvas.draw(|pen| {
        let mut labels = Labels::within((frame.left, frame.top, frame.right, frame.bottom));
        let at = |i: usize| frame.at(value(i).0, value(i).1);
        largest.iter().for_each(|&i| labels.keep_free(at(i), 7.0));
        for &i in &largest {
            labels.write(pen, genes[i].as_ref(), at(i), 13.0, Font::new(TICK_SIZE, INK, Anchor::Middle));
        }
    });
    let correlation = pearson(predicted, observed)
        .map_or("The correlation is not defined: one side does not vary".to_owned(), |r| format!("Pearson {r:.3}"));
    let caption = format!("{correlation} over {} genes.", genes.len());
    Ok(Figure::new(title, caption, canvas))
}

/// A condition, and the metric of the two models there.
#[derive(Debug, Clone, PartialEq)]
pub struct PairPoint {
    /// What was perturbed.
    pub name: String,
    /// Of the model along the x axis.
    pub x: f64,
    /// Of the model along the y axis.
    pub y: f64,
}

/// A metric of the model `y` (upward) against that of the model `x`, with the diagonal on which they are equal; both axes
/// are the same. The `n_labels` conditions farthest from the diagonal are marked and named.
///
/// # Errors
/// No condition; a value that is not finite.
pub fn model_pair(
    title: &str,
    metric: &str,
    better: Better,
    (x, y): (&str, &str),
    points: &[PairPoint],
    n_labels: usize,
) -> Result<Figure> {
    if let Some(wrong) = points.iter().find(|point| !point.x.is_finite() || !point.y.is_finite()) {
        return Err(Error::data(format!(
            "figure {title:?}: {} has {metric} {} and {}; both must be finite",
            wrong.name, wrong.x, wrong.y
        )));
    }
    if points.is_empty() {
        return Err(Error::data(format!("figure {title:?}: {x} and {y} have no condition in common")));
    }
    let apart = |point: &PairPoint| (point.y - point.x).abs();
    let mut order: Vec<&PairPoint> = points.iter().collect();
    order.sort_by(|a, b| apart(a).total_cmp(&apart(b)).then(b.name.cmp(&a.name)));
    let named = order.len() - n_labels.min(order.len());
    let cloud: Vec<(f64, f64, usize)> =
        order.iter().enumerate().map(|(i, point)| (point.x, point.y, usize::from(i >= named))).collect();
    let kind = |color, mark, r, opacity| Kind { color, mark, r, opacity };
    let kinds = [kind(BLUE, Mark::Circle, 7.0, 0.7), kind(VERMILLION, Mark::Diamond, 9.0, 1.0)];

    let legend = Legend::new([
        (Sample::Point(BLUE, Mark::Circle), "held-out condition".to_owned()),
        (Sample::Point(VERMILLION, Mark::Diamond), format!("{} farthest from the diagonal", order.len() - named)),
        (Sample::Dashed(GUIDE), "equal".to_owned()),
    ]);
    let all = || points.iter().flat_map(|point| [point.x, point.y]);
    let frame = Frame::new(
        Axis::linear(&format!("{metric} of {x}"), all()),
        Axis::linear(&format!("{metric} of {y}"), all()),
        TITLE_HEIGHT + legend.height() + 8.0,
        HEIGHT,
    );
    let mut canvas = Canvas::new(frame.bottom + frame.below());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        let (low, high) = frame.x.ends();
        pen.dashed(frame.at(low, low), frame.at(high, high), GUIDE, 3);
    });
    points::draw(&mut canvas, &frame, &kinds, &cloud)?;
    canvas.draw(|pen| {
        let mut labels = Labels::within((frame.left, frame.top, frame.right, frame.bottom));
        let outliers: Vec<&PairPoint> = order[named..].iter().rev().copied().collect();
        let at = |point: &PairPoint| frame.at(point.x, point.y);
        outliers.iter().for_each(|point| labels.keep_free(at(point), 9.0));
        for point in outliers {
            labels.write(pen, &point.name, at(point), 15.0, Font::new(TICK_SIZE, INK, Anchor::Middle));
        }
    });
    let won = points.iter().filter(|point| is_better(better, point.y, point.x)).count();
    let mean = |pick: fn(&PairPoint) -> f64| points.iter().map(pick).sum::<f64>() / points.len() as f64;
    let caption = format!(
        "{y} is better on {won} of {}; mean {} against {} of {x} ({}).",
        points.len(),
        number(mean(|point| point.y), STEP),
        number(mean(|point| point.x), STEP),
        words(better)
    );
    Ok(Figure::new(title, caption, canvas))
}
