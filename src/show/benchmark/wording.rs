//! How a paired comparison is put into words.

use super::{super::Verdict, view::View};
use crate::bench::{Better, Comparison, Significance, label};

/// A sentence, and whether it is good news.
pub(super) type Sentence = (Verdict, String);

/// "by 17 % in L2 (95 % interval 12 to 22 %), on 31 of 38 doubles"; absolute where a percentage means nothing.
pub(super) fn by_how_much(view: &View<'_>, comparison: &Comparison) -> String {
    let name = label(&comparison.metric);
    let lower_is_better = comparison.better == Some(Better::Lower);
    // How much better: positive is good, whichever way the metric points.
    let sign = if lower_is_better { -1.0 } else { 1.0 };
    let losing = sign * comparison.difference < 0.0;
    let unclear = comparison.verdict == Significance::Unclear;
    let mut text = match scale(view, comparison) {
        Some(scale) => {
            let percent = |difference: f64| 100.0 * sign * difference / scale;
            let ends = interval(comparison, |d| if losing && !unclear { -percent(d) } else { percent(d) });
            let size = percent(comparison.difference);
            match unclear {
                true => {
                    let better = if size >= 0.0 { "better" } else { "worse" };
                    let ends = ends.map_or(String::new(), |(low, high)| {
                        format!(", 95 % interval from {low:.0} to {high:.0} %, where negative is worse")
                    });
                    format!("in {name} ({:.1} % {better}{ends})", size.abs())
                }
                false => {
                    let ends =
                        ends.map_or(String::new(), |(low, high)| format!(" (95 % interval {low:.0} to {high:.0} %)"));
                    format!("by {:.0} % in {name}{ends}", size.abs())
                }
            }
        }
        None => {
            let ends = interval(comparison, |d| d)
                .map_or(String::new(), |(low, high)| format!(" (95 % interval {low:+.3} to {high:+.3})"));
            let by = if unclear { "in" } else { "by" };
            let difference = comparison.difference;
            if unclear {
                format!("{by} {name}: {difference:+.3}{ends}")
            } else {
                format!("{by} {:.3} in {name}{ends}", difference.abs())
            }
        }
    };
    if let Some(won) = comparison.won {
        let n = (won * comparison.conditions as f64).round() as usize;
        text += &format!(", nearer on {n} of {}", count(view, comparison.conditions));
        if let Some(coverage) = view.part_of(&comparison.model) {
            text += &format!(" (it predicts {coverage})");
        }
    }
    text
}

/// "−17 %" or "+0.031".
pub(super) fn change(view: &View<'_>, comparison: &Comparison) -> String {
    match scale(view, comparison) {
        Some(scale) => {
            let percent = 100.0 * comparison.difference / scale;
            format!("{}{:.0} %", if percent.round() < 0.0 { "−" } else { "+" }, percent.abs())
        }
        None => format!("{}{:.3}", if comparison.difference < 0.0 { "−" } else { "+" }, comparison.difference.abs()),
    }
}

/// The reference's mean over the pairs, for metrics whose ratio has a meaning.
fn scale(view: &View<'_>, comparison: &Comparison) -> Option<f64> {
    let ratio = comparison.ratio?;
    // difference = (ratio - 1) x mean of the reference over the same pairs.
    let of_pairs = comparison.difference / (ratio - 1.0);
    let mean = if of_pairs.is_finite() { Some(of_pairs) } else { view.mean(&comparison.reference, &comparison.metric) };
    mean.filter(|mean| *mean > 0.0)
}

/// The interval's ends, changed and in order.
fn interval(comparison: &Comparison, change: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
    let (a, b) = (change(comparison.low?), change(comparison.high?));
    Some((a.min(b), a.max(b)))
}

pub(super) fn count(view: &View<'_>, n: usize) -> String {
    format!("{n} {}", view.noun(n))
}
