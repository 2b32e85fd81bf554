//! Predicted cells against observed cells: is the population right, and not its mean only?

use super::{super::Verdict as Tone, verdict::change, view::View};
use crate::bench::{Comparison, Verdict};

/// The distance of predicted to observed cells.
const METRIC: &str = "edistance";
/// What a model of populations must be better than: its names, the first that was measured, and what it does.
const RIVALS: [(&[&str], &str); 3] = [
    (&["no_change"], "no change"),
    (&["additive"], "the additive shift"),
    (&["vae", "vae_conditional"], "the count VAE"),
];
/// Models that claim to predict populations.
const CLAIM: &str = "jepa";

/// A sentence for each JEPA: its E-distance against no change, the additive shift and the VAE, from paired comparisons.
pub(super) fn verdict(view: &View<'_>) -> Vec<(Tone, String)> {
    let models = view.competitors().filter(|model| model.name.starts_with(CLAIM));
    models.filter_map(|model| one(view, &model.name)).collect()
}

fn one(view: &View<'_>, model: &str) -> Option<(Tone, String)> {
    let mean = view.mean(model, METRIC)?;
    let compared: Vec<(&str, Comparison)> = RIVALS
        .iter()
        .filter_map(|&(names, words)| {
            let compare = |rival: &&str| view.benchmark.compare(model, rival, METRIC);
            Some((words, names.iter().find_map(compare)?))
        })
        .collect();
    if compared.is_empty() {
        return None;
    }
    let said: Vec<String> = compared
        .iter()
        .map(|(words, comparison)| {
            let change = change(view, comparison);
            match comparison.verdict {
                Verdict::Better => format!("lower than {words} ({change})"),
                Verdict::Worse => format!("higher than {words} ({change})"),
                Verdict::Unclear => format!("not distinguishable from {words} ({change})"),
                Verdict::None => format!("{change} against {words}, too few conditions for an interval"),
            }
        })
        .collect();
    let all = |verdict: Verdict| compared.iter().all(|(_, comparison)| comparison.verdict == verdict);
    let tone = if all(Verdict::Better) { Tone::Good } else { Tone::Warning };
    Some((tone, format!("{model}: E-distance of its cells to the observed ones {mean:.2}, {}.", said.join(", "))))
}
