//! Verdicts on parts of the results: singles apart from combinations, and predicted cells apart from their mean.

use super::{
    super::Verdict,
    conditions::{ERROR, noun},
    view::{SYSTEMA, View, number_of_genes},
    wording::{Sentence, by_how_much, change},
};
use crate::bench::{ADDITIVE, Comparison, MEAN, NO_CHANGE, Role, SIMILARITY_WEIGHTED, Significance};

/// The distance of predicted to observed cells.
const EDISTANCE: &str = "edistance";
/// What a model of cells must be better than: its possible names, of which the first that was measured counts, and what it
/// does.
const RIVALS: [(&[&str], &str); 5] = [
    (&[NO_CHANGE], "no change"),
    (&[ADDITIVE], "the additive shift"),
    (&[SIMILARITY_WEIGHTED], "the shift of near contexts"),
    (&["log_rate_sum"], "the sum of log rates"),
    (&["vae", "vae_conditional"], "the count VAE"),
];

/// Single perturbations apart from combinations, where a split judges both: one part of a combination may be known, but
/// nothing is known of an unseen single, and a mean over both would look like knowledge of unseen genes. One sentence per
/// number of genes: the best model against the mean of the training perturbations in L2, and against no change in Pearson
/// against that mean (systema), which the mean itself does not have.
pub(super) fn by_number_of_genes(view: &View<'_>) -> Vec<Sentence> {
    view.numbers_of_genes().into_iter().filter_map(|n| of_number(view, n)).collect()
}

fn of_number(view: &View<'_>, n: usize) -> Option<Sentence> {
    let kept = |name: &str| number_of_genes(name) == n;
    let compared = view.competitors().filter(|model| model.name != MEAN).filter_map(|model| {
        let comparison = view.benchmark.compare_where(&model.name, MEAN, ERROR, kept)?;
        Some((model.name.as_str(), comparison))
    });
    let (model, comparison) = compared.min_by(|(_, a), (_, b)| a.difference.total_cmp(&b.difference))?;
    let how = by_how_much(view, &comparison);
    let said = match comparison.verdict {
        Significance::Better => format!("{model} beats {MEAN} {how}"),
        Significance::Worse => format!("no model beats {MEAN}; the nearest, {model}, loses to it {how}"),
        Significance::Unclear => format!("{model} is not distinguishable from {MEAN} {how}"),
        Significance::None => format!("{model} against {MEAN}: {how}, without an interval"),
    };
    let mut good = comparison.verdict == Significance::Better;
    let systema = against_floor(view, model, kept).map_or_else(String::new, |(better, text)| {
        good &= better;
        text
    });
    let tone = if good { Verdict::Good } else { Verdict::Warning };
    Some((tone, format!("On {} alone ({}): {said}{systema}.", noun(n), comparison.conditions)))
}

/// The systema-referenced Pearson of a model beside that of no change, which is not 0 where effects are weak: less than the
/// mean effect in the same direction is correlated with none at all. Whether it is better, and the sentence.
fn against_floor(view: &View<'_>, model: &str, kept: impl Fn(&str) -> bool) -> Option<(bool, String)> {
    let mean = view.benchmark.mean_where(model, SYSTEMA, &kept)?;
    let interval = match (mean.low, mean.high) {
        (Some(low), Some(high)) => format!(" (95 % interval {low:.3} to {high:.3})"),
        _ => String::new(),
    };
    let text =
        format!("; its Pearson against the mean of the training perturbations (systema) is {:.3}{interval}", mean.mean);
    let floor = view.of_role(Role::Floor);
    let Some(paired) = floor.and_then(|floor| view.benchmark.compare_where(model, floor, SYSTEMA, &kept)) else {
        return Some((false, text));
    };
    let than = match paired.verdict {
        Significance::Better => "above",
        Significance::Worse => "below",
        Significance::Unclear | Significance::None => "not distinguishable from",
    };
    let of_floor = mean.mean - paired.difference;
    Some((paired.verdict == Significance::Better, format!("{text}, {than} the {of_floor:.3} of no change")))
}

/// Are the predicted cells right, and not only their mean? One sentence per model that predicts cells itself: its E-distance
/// against the [`RIVALS`], from paired comparisons.
pub(super) fn populations(view: &View<'_>) -> Vec<Sentence> {
    view.competitors().filter(|model| model.draws_cells).filter_map(|model| of_population(view, &model.name)).collect()
}

fn of_population(view: &View<'_>, model: &str) -> Option<Sentence> {
    let mean = view.mean(model, EDISTANCE)?;
    let compared: Vec<(&str, Comparison)> = RIVALS
        .iter()
        .filter_map(|&(names, words)| {
            let compare = |rival: &&str| view.benchmark.compare(model, rival, EDISTANCE);
            Some((words, names.iter().filter(|rival| **rival != model).find_map(compare)?))
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
                Significance::Better => format!("lower than {words} ({change})"),
                Significance::Worse => format!("higher than {words} ({change})"),
                Significance::Unclear => format!("not distinguishable from {words} ({change})"),
                Significance::None => format!("{change} against {words}, too few conditions for an interval"),
            }
        })
        .collect();
    let all = |verdict: Significance| compared.iter().all(|(_, comparison)| comparison.verdict == verdict);
    let tone = if all(Significance::Better) { Verdict::Good } else { Verdict::Warning };
    Some((
        tone,
        format!("{model}: squared E-distance of its cells to the observed ones {mean:.2}, {}.", said.join(", ")),
    ))
}
