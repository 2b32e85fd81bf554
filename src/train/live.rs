//! A training's progress in a notebook: a bar that moves and a curve that grows, in one output that is replaced in
//! place.

use crate::notebook::Live;
use std::{
    fmt::Write,
    time::{Duration, Instant},
};

/// A bar that moves more often than this only costs time.
const PAUSE: Duration = Duration::from_millis(250);
/// Size of the curve in pixels.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 160.0;
/// Room for the labels around it.
const MARGIN: f64 = 20.0;
/// Okabe and Ito's blue and vermilion.
const COLOURS: [&str; 2] = ["#0072B2", "#D55E00"];

/// What is shown of a running training.
pub(super) struct LiveProgress {
    live: Live,
    /// Steps of the whole training.
    total: usize,
    done: usize,
    /// One value per epoch, of training and of validation; `NaN` where there is none.
    losses: [Vec<f64>; 2],
    drawn: Option<Instant>,
}

impl LiveProgress {
    /// `None` where outputs cannot be replaced.
    pub(super) fn new(epochs: usize, steps_per_epoch: usize) -> Option<Self> {
        let total = epochs * steps_per_epoch;
        Live::new().map(|live| Self { live, total, done: 0, losses: Default::default(), drawn: None })
    }

    /// One more step is done; `line` says in words how far the training is.
    pub(super) fn step(&mut self, line: impl FnOnce() -> String) {
        self.done += 1;
        if self.drawn.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.draw(&line());
        }
    }

    /// An epoch is done, with these losses.
    pub(super) fn epoch(&mut self, training: f64, validation: Option<f64>, line: &str) {
        self.losses[0].push(training);
        self.losses[1].push(validation.unwrap_or(f64::NAN));
        self.draw(line);
    }

    fn draw(&mut self, line: &str) {
        let (done, total) = (self.done, self.total);
        let bar = format!("<progress value=\"{done}\" max=\"{total}\" aria-label=\"training\"></progress>");
        let html =
            format!("<div>{bar} <span style=\"font-family:monospace\">{line}</span></div>\n{}", curve(&self.losses));
        self.live.show(&html, line);
        self.drawn = Some(Instant::now());
    }
}

/// The losses over the epochs, as SVG; nothing before there are two.
fn curve(losses: &[Vec<f64>; 2]) -> String {
    let finite = || losses.iter().flatten().copied().filter(|loss| loss.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let epochs = losses[0].len();
    if epochs < 2 || low > high {
        return String::new();
    }
    let x = |epoch: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * epoch as f64 / (epochs - 1) as f64;
    // Equal losses lie on one line.
    let y = |loss: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * (loss - low) / (high - low).max(f64::MIN_POSITIVE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\" style=\"max-width:100%\"><title>Loss of {epochs} epochs</title>\
         <desc>The loss lies between {low:.2} and {high:.2}.</desc>\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
    );
    let labels = [(14.0, format!("{high:.2}")), (HEIGHT - 6.0, format!("{low:.2}"))];
    let names = ["training", "validation (dashed)"];
    for ((losses, colour), (name, dash)) in losses.iter().zip(COLOURS).zip(names.into_iter().zip(["none", "5 3"])) {
        let finite = losses.iter().enumerate().filter(|(_, loss)| loss.is_finite());
        let points: Vec<String> = finite.map(|(epoch, &loss)| format!("{:.1},{:.1}", x(epoch), y(loss))).collect();
        if points.is_empty() {
            continue;
        }
        let place = if name == names[0] { WIDTH - 210.0 } else { WIDTH - 140.0 };
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{place}\" y=\"14\" font-size=\"12\" fill=\"{colour}\">{name}</text>",
            points.join(" ")
        );
    }
    for (height, label) in labels {
        let _ = write!(svg, "<text x=\"4\" y=\"{height}\" font-size=\"12\" fill=\"#000000\">{label}</text>");
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#000000\">epoch {epochs}</text></svg>",
        WIDTH - 70.0,
        HEIGHT - 6.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_grows_with_the_epochs() {
        assert_eq!(curve(&[vec![1.0], vec![f64::NAN]]), "");
        let svg = curve(&[vec![3.0, 2.0, 1.0], vec![f64::NAN; 3]]);
        assert!(svg.contains("points=\"20.0,20.0 240.0,80.0 460.0,140.0\""), "{svg}");
        assert!(!svg.contains("validation"), "{svg}");
        let both = curve(&[vec![3.0, 2.0], vec![4.0, 2.5]]);
        assert!(both.contains("between 2.00 and 4.00") && both.contains("validation"), "{both}");
        assert!(!curve(&[vec![1.0, 1.0], vec![1.0, f64::INFINITY]]).contains("NaN"));
    }
}
