//! The plain-words verdict: what the numbers say, and what they do not.
//!
//! Every sentence comes from the paired differences and their intervals. "Beats" and "loses to" stand only where the whole
//! 95 % interval lies on one side of zero; what lies between is said to be not distinguishable. Intervals are of one
//! comparison each.

use super::{
    super::Verdict,
    verdict_parts::{by_number_of_genes, populations},
    view::{PEARSON, SYSTEMA, View},
    wording::{Sentence, by_how_much, change, count},
};
use crate::bench::{
    ADDITIVE, Benchmark, Better, Comparison, MEAN, Role, SIMILARITY_WEIGHTED, Significance, better, label,
};

/// Fewer splits than these do not say how much their choice matters.
const FEW_SEEDS: usize = 3;
/// Fewer conditions than these make a bootstrap interval unreliable: it is known to be too narrow for small samples.
const FEW_CONDITIONS: usize = 10;

/// The verdict on the metric that a benchmark is headed by: sentences, the most important first.
pub fn verdict(benchmark: &Benchmark, metric: &str) -> Vec<(Verdict, String)> {
    let view = View::new(benchmark);
    let Some(reference) = view.reference(metric) else { return nothing_to_compare(&view, metric) };
    let mut sentences = against_reference(&view, metric, reference);
    // A file that is the best or the nearest of all already has its sentence.
    let told = files(&view, metric, reference);
    sentences.extend(
        told.into_iter()
            .filter(|(how, _)| !sentences.iter().any(|(_, text)| text.contains(how)))
            .map(|(_, sentence)| sentence)
            .collect::<Vec<_>>(),
    );
    sentences.extend(by_number_of_genes(&view));
    sentences.extend(populations(&view));
    sentences.extend(reference_and_floor(&view, metric, reference));
    sentences.extend(floor(&view, metric));
    sentences.extend(ceiling(&view, metric));
    sentences.extend(mean_baseline(&view));
    sentences.extend(evidence(&view, metric));
    sentences.extend(benchmark.notes.iter().map(|note| (Verdict::Warning, note.clone())));
    sentences
}

fn nothing_to_compare(view: &View<'_>, metric: &str) -> Vec<Sentence> {
    let mut models: Vec<&str> = view.benchmark.summary.iter().map(|summary| summary.model.as_str()).collect();
    models.dedup();
    let text = match models.as_slice() {
        [] => "Nothing was measured: no model has a score.".to_owned(),
        [model] => {
            let value = view.mean(model, metric).map_or(String::new(), |m| format!(" ({} {m:.3})", label(metric)));
            format!("Only {model} was measured{value}: there is no other model to compare it with.")
        }
        _ => format!("No reference has a value of {}, so no model is compared by it.", label(metric)),
    };
    let notes = view.benchmark.notes.iter().map(|note| (Verdict::Warning, note.clone()));
    [(Verdict::Warning, text)].into_iter().chain(notes).collect()
}

/// "kernel_ridge beats additive by 17 % in L2 …", or that no model beats it.
fn against_reference(view: &View<'_>, metric: &str, reference: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    if reference == SIMILARITY_WEIGHTED {
        let text = format!(
            "A context is held out, so the reference is {reference}: the effects in the other contexts, weighted by the \
             similarity of their control profiles."
        );
        sentences.push((Verdict::Plain, text));
    } else if reference != ADDITIVE {
        let absent = view.benchmark.absent.iter().find(|absent| absent.model == ADDITIVE && absent.metric == metric);
        let reason = absent.map_or("it was not run".to_owned(), |absent| absent.reason.clone());
        let text = format!(
            "There is no additive prediction to compare with ({reason}); {reference} is the reference instead."
        );
        sentences.push((Verdict::Plain, text));
    }
    let compared: Vec<&Comparison> = view.competitors().filter_map(|m| view.comparison(&m.name, metric)).collect();
    let name = label(metric);
    if compared.is_empty() {
        let text = format!("{reference} has no competitor here: only the floor or the ceiling stands beside it.");
        sentences.push((Verdict::Warning, text));
        return sentences;
    }
    let of = |verdict: Significance| compared.iter().copied().filter(|c| c.verdict == verdict).collect::<Vec<_>>();
    let (mut better, unclear, worse) = (of(Significance::Better), of(Significance::Unclear), of(Significance::Worse));
    let direction = compared[0].better.unwrap_or(Better::Lower);
    best_first(view, &mut better, direction);
    let models = |n: usize| if n == 1 { "1 model".to_owned() } else { format!("{n} models") };
    if let Some((best, rest)) = better.split_first() {
        // Few conditions are no good news yet: see `evidence`.
        let tone = if best.conditions < FEW_CONDITIONS { Verdict::Plain } else { Verdict::Good };
        sentences.push((tone, format!("{} beats {reference} {}.", best.model, by_how_much(view, best))));
        if !rest.is_empty() {
            let rest: Vec<String> = rest.iter().map(|c| format!("{} ({})", c.model, change(view, c))).collect();
            sentences.push((
                Verdict::Plain,
                format!("So {} {}.", if rest.len() == 1 { "does" } else { "do" }, rest.join(", ")),
            ));
        }
        let not = unclear.len() + worse.len();
        if not > 0 {
            let of = |comparisons: &[&Comparison], what: &str| {
                let names: Vec<&str> = comparisons.iter().map(|c| c.model.as_str()).collect();
                (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
            };
            let parts: Vec<String> =
                [of(&unclear, "not distinguishable from it"), of(&worse, "worse")].into_iter().flatten().collect();
            let does = if not == 1 { "does" } else { "do" };
            let text = format!("{} {does} not beat {reference} ({}).", models(not), parts.join("; "));
            sentences.push((Verdict::Plain, text));
        }
    } else if unclear.len() + worse.len() == 0 {
        let mut nearest = compared.clone();
        best_first(view, &mut nearest, direction);
        let text = format!(
            "Whether {reference} is beaten cannot be said: with {} judged there is no interval. {} has the {} mean {name} \
             ({}), which may be chance.",
            count(view, nearest[0].conditions),
            nearest[0].model,
            if direction == Better::Lower { "lowest" } else { "highest" },
            change(view, nearest[0]),
        );
        sentences.push((Verdict::Warning, text));
    } else {
        let text = match compared.len() {
            1 => format!("{} does not beat {reference}.", compared[0].model),
            n => format!("None of the {n} other models beats {reference}."),
        };
        sentences.push((Verdict::Warning, text));
        let mut nearest = [unclear.clone(), worse.clone()].concat();
        best_first(view, &mut nearest, direction);
        sentences.push((
            Verdict::Plain,
            match nearest[0].verdict {
                Significance::Unclear => {
                    format!(
                        "The nearest, {}, is not distinguishable from it {}.",
                        nearest[0].model,
                        by_how_much(view, nearest[0])
                    )
                }
                _ => format!("The nearest, {}, loses to it {}.", nearest[0].model, by_how_much(view, nearest[0])),
            },
        ));
        if worse.len() > 1 || (worse.len() == 1 && !unclear.is_empty()) {
            let names: Vec<&str> = worse.iter().map(|c| c.model.as_str()).collect();
            sentences
                .push((Verdict::Plain, format!("Worse than {reference} by their interval: {}.", names.join(", "))));
        }
    }
    sentences
}

/// By the size of the difference, in the direction that is good; models that predict a part of the conditions come last.
fn best_first(view: &View<'_>, comparisons: &mut [&Comparison], better: Better) {
    comparisons.sort_by(|a, b| {
        let order = a.difference.total_cmp(&b.difference);
        let order = if better == Better::Higher { order.reverse() } else { order };
        view.is_partial(&a.model).cmp(&view.is_partial(&b.model)).then(order).then(a.model.cmp(&b.model))
    });
}

/// One sentence per file of predictions, which its author looks for first; before it, the part that is specific to it.
fn files(view: &View<'_>, metric: &str, reference: &str) -> Vec<(String, Sentence)> {
    let files = view.competitors().filter(|model| model.role == Role::File);
    let told = files.filter_map(|model| {
        let your = format!("Your {}", model.name);
        let Some(comparison) = view.comparison(&model.name, metric) else {
            let absent = view.benchmark.absent.iter().find(|a| a.model == model.name && a.metric == metric)?;
            let text = format!("{your} has no {}: {}.", label(metric), absent.reason.trim_end_matches('.'));
            return Some((text.clone(), (Verdict::Warning, text)));
        };
        let how = by_how_much(view, comparison);
        let (tone, text) = match comparison.verdict {
            Significance::Better => (Verdict::Good, format!("{your} beats {reference} {how}.")),
            Significance::Worse => (Verdict::Warning, format!("{your} loses to {reference} {how}.")),
            Significance::Unclear => (Verdict::Plain, format!("{your} is not distinguishable from {reference} {how}.")),
            Significance::None => (Verdict::Plain, format!("{your} against {reference}: {how}, without an interval.")),
        };
        Some((how, (tone, text)))
    });
    told.collect()
}

/// Whether the reference itself is better than doing nothing: beating it means little where it is not.
fn reference_and_floor(view: &View<'_>, metric: &str, reference: &str) -> Option<Sentence> {
    let floor = view.of_role(Role::Floor)?;
    let comparison = view.comparison(floor, metric)?;
    let text = match comparison.verdict {
        Significance::Worse | Significance::None => return None,
        Significance::Better => {
            format!("{reference} loses to {floor}, which is better than it {}.", by_how_much(view, comparison))
        }
        Significance::Unclear => {
            format!("{floor} is not distinguishable from {reference} {}.", by_how_much(view, comparison))
        }
    };
    Some((Verdict::Warning, text))
}

/// Who is worse than doing nothing.
fn floor(view: &View<'_>, metric: &str) -> Option<Sentence> {
    let floor = view.of_role(Role::Floor)?;
    let at = view.mean(floor, metric)?;
    let better = better(metric)?;
    let worse: Vec<&str> = view
        .competitors()
        .filter(|model| view.mean(&model.name, metric).is_some_and(|mean| super::is_better(better, at, mean)))
        .map(|model| model.name.as_str())
        .collect();
    if worse.is_empty() {
        return None;
    }
    let text = format!("Worse than {floor} in mean {} ({at:.3}): {}.", label(metric), worse.join(", "));
    Some((Verdict::Warning, text))
}

/// How much of the way from the floor to the noise ceiling the best model goes.
fn ceiling(view: &View<'_>, metric: &str) -> Option<Sentence> {
    let better = better(metric)?;
    let name = label(metric);
    let Some((ceiling, at)) = view.of_role(Role::Ceiling).and_then(|name| Some((name, view.mean(name, metric)?)))
    else {
        let model = view.benchmark.models.iter().find(|model| model.role == Role::Ceiling)?;
        let absent = view.benchmark.absent.iter().find(|a| a.model == model.name && a.metric == metric)?;
        let text =
            format!("There is no noise ceiling: {}. How good a prediction could be is not known.", absent.reason);
        return Some((Verdict::Plain, text));
    };
    let ranked = view.ranked(view.competitors().map(|model| model.name.as_str()), metric, better);
    let &(best, mean) = ranked.first()?;
    if super::is_better(better, mean, at) {
        let text = format!(
            "The noise ceiling ({ceiling}, {name} {at:.3}: half of the held-out cells against the other half) is passed by \
             {best} ({mean:.3}): a model that averages over many cells can be nearer to the truth than half of a condition's \
             cells are. Sampling noise is a large part of every error here."
        );
        return Some((Verdict::Warning, text));
    }
    let floor = view.of_role(Role::Floor).and_then(|floor| view.mean(floor, metric));
    let text = match floor.filter(|floor| super::is_better(better, at, *floor)) {
        Some(floor) => format!(
            "{best} goes {:.0} % of the way from no change ({name} {floor:.3}) to the noise ceiling ({at:.3}: half of the \
             held-out cells against the other half).",
            100.0 * (mean - floor) / (at - floor)
        ),
        None => format!(
            "The noise ceiling is {name} {at:.3} (half of the held-out cells against the other half); {best} \
                         reaches {mean:.3}."
        ),
    };
    Some((Verdict::Plain, text))
}

/// Control-referenced Pearson rewards the mean of all perturbations; systema's reference does not.
fn mean_baseline(view: &View<'_>) -> Option<Sentence> {
    let against_control = view.mean(MEAN, PEARSON)?;
    let best =
        view.ranked(view.competitors().map(|m| m.name.as_str()).filter(|name| *name != MEAN), PEARSON, Better::Higher);
    let &(leader, leading) = best.first()?;
    let other = match (view.mean(MEAN, SYSTEMA), view.mean(leader, SYSTEMA)) {
        (mean, Some(of_leader)) => {
            let mean = mean.map_or("has none".to_owned(), |mean| format!("has {mean:.2}"));
            format!(
                "against the mean of the training perturbations (systema) {leader} has {of_leader:.2} and the mean {mean}"
            )
        }
        (_, None) => return None,
    };
    let text = format!(
        "The reference matters: correlated against control, the mean of the training perturbations ({MEAN}) has Pearson \
         {against_control:.2} without knowing what was perturbed, and {leader} {leading:.2}; {other}."
    );
    Some((Verdict::Plain, text))
}

/// Few splits, few conditions.
fn evidence(view: &View<'_>, metric: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let seeds = view.benchmark.splits.len();
    if seeds < FEW_SEEDS {
        let splits = if seeds == 1 { "One split".to_owned() } else { format!("{seeds} splits") };
        let text = format!(
            "{splits}: how much the choice of what is held out matters is not known. Run with --seeds 5 or more."
        );
        sentences.push((Verdict::Warning, text));
    }
    let conditions = view.benchmark.comparisons.iter().filter(|c| c.metric == metric).map(|c| c.conditions).max();
    if let Some(n) = conditions.filter(|n| *n < FEW_CONDITIONS) {
        let text = format!("Only {} judged: an interval of so few is too narrow.", count(view, n));
        sentences.push((Verdict::Warning, text));
    }
    sentences
}
