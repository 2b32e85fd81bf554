//! Predicted against observed effect, a point a gene.

use super::{
    Figure,
    axis::{Axis, Frame, TITLE_HEIGHT, draw_title, range},
    canvas::{Anchor, Canvas, Font},
    legend::{Labels, Legend, Sample},
    points::{self, Kind},
    style::{BLUE, GUIDE, INK, Mark, TICK_SIZE, VERMILLION},
};
use crate::{
    Error, Result,
    eval::{pearson, top_k},
};

const HEIGHT: f64 = 720.0;

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
