//! A model card (Mitchell et al. 2019): what a model is, where it works and where it fails, what it costs, what for.
//!
//! Every statement is drawn from this benchmark's numbers and reasons; what was not measured is said to be unknown.

use super::{
    super::{Report, Verdict, models::quantile, models::sorted},
    is_better,
    view::{View, heading, headline},
    wording::{Sentence, change},
};
use crate::{
    Error, Result,
    bench::{Benchmark, Better, ModelFacts, Role, Significance, better, label},
    show::{Align, Grid},
};

/// Conditions named at each end.
const NAMED: usize = 5;
/// Fewest conditions that are divided into thirds by effect size.
const FEWEST_FOR_THIRDS: usize = 6;

impl Benchmark {
    /// The card of a model.
    ///
    /// # Errors
    /// A name that is no model of this benchmark.
    pub fn model_card(&self, model: &str) -> Result<Report> {
        let facts = self.models.iter().find(|facts| facts.name == model).ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|facts| facts.name.as_str()).collect();
            Error::config(format!("there is no model {model:?} in this benchmark; there are {}", names.join(", ")))
        })?;
        let view = View::new(self);
        let mut card = Report::new(format!("Model card: {model}")).paragraph(&facts.description);
        if let Some(line) = standing(&view, facts) {
            card = card.verdict(line.0, line.1);
        }
        card = card.table(scores(&view, model)?);
        if let Some(metric) = headline(self).first() {
            card = places(card, &view, model, metric)?;
        }
        card = card.section("What it is for");
        for line in uses(&view, facts) {
            card = card.paragraph(line);
        }
        Ok(card.section("Compute and data").table(Grid::facts("", compute(&view, facts))))
    }

    /// All cards, each with a name for its file (letters, digits, `-`, `_` and `.` only), in the order of the models.
    ///
    /// # Errors
    /// As for [`Benchmark::model_card`].
    pub fn model_cards(&self) -> Result<Vec<(String, Report)>> {
        let mut cards: Vec<(String, Report)> = Vec::new();
        let measured = |name: &str| self.summary.iter().any(|summary| summary.model == name);
        // A ceiling that the data has none of is no model.
        for facts in self.models.iter().filter(|facts| facts.role != Role::Ceiling || measured(&facts.name)) {
            let stem = super::super::report::anchor(&facts.name);
            // Names that differ only in what a file name cannot hold.
            let taken = |name: &str| cards.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            let name = std::iter::once(format!("{stem}.html"))
                .chain((2..).map(|i| format!("{stem}-{i}.html")))
                .find(|name| !taken(name))
                .expect("numbers do not end");
            cards.push((name, self.model_card(&facts.name)?));
        }
        Ok(cards)
    }
}

/// Its place against the reference, in a sentence.
fn standing(view: &View<'_>, facts: &ModelFacts) -> Option<Sentence> {
    let metric = headline(view.benchmark).first().copied()?;
    let reference = view.reference(metric)?;
    let name = label(metric);
    if facts.name == reference {
        return Some((Verdict::Plain, format!("The reference that all others are compared with by {name}.")));
    }
    let Some(comparison) = view.comparison(&facts.name, metric) else {
        let absent = view.benchmark.absent.iter().find(|a| a.model == facts.name && a.metric == metric)?;
        return Some((Verdict::Warning, format!("It has no {name}: {}.", absent.reason)));
    };
    let change = change(view, comparison);
    let (tone, words) = match comparison.verdict {
        Significance::Better => (Verdict::Good, format!("better than {reference} in {name} ({change})")),
        Significance::Worse => (Verdict::Warning, format!("worse than {reference} in {name} ({change})")),
        Significance::Unclear => (Verdict::Plain, format!("not distinguishable from {reference} in {name} ({change})")),
        Significance::None => (Verdict::Plain, format!("{change} against {reference} in {name}, without an interval")),
    };
    Some((tone, format!("On this split: {words}.")))
}

/// The headline metrics beside floor and ceiling.
fn scores(view: &View<'_>, model: &str) -> Result<Grid> {
    let (floor, ceiling) = (view.of_role(Role::Floor), view.of_role(Role::Ceiling));
    let headings = [
        ("metric", Align::Left),
        ("mean", Align::Right),
        ("floor (no change)", Align::Right),
        ("ceiling", Align::Right),
        ("rank among models", Align::Right),
    ];
    let mut grid = Grid::new("", headings);
    let text = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    for metric in headline(view.benchmark) {
        let good = better(metric).unwrap_or(Better::Lower);
        let ranked = view.ranked(view.competitors().map(|model| model.name.as_str()), metric, good);
        let rank = ranked.iter().position(|(name, _)| *name == model);
        grid.push([
            heading(metric, ""),
            text(view.mean(model, metric)),
            text(floor.and_then(|floor| view.mean(floor, metric))),
            text(ceiling.and_then(|ceiling| view.mean(ceiling, metric))),
            rank.map_or("–".to_owned(), |rank| format!("{} of {}", rank + 1, ranked.len())),
        ])?;
    }
    Ok(grid)
}

/// Best and worst conditions, groups, effect sizes.
fn places(card: Report, view: &View<'_>, model: &str, metric: &str) -> Result<Report> {
    let good = better(metric).unwrap_or(Better::Lower);
    let name = label(metric);
    let values = view.by_condition(model, metric);
    // The reference itself is seen against the floor.
    let floor = view.of_role(Role::Floor);
    let against = view.reference(metric).filter(|reference| *reference != model).or(floor.filter(|f| *f != model));
    let other = against.map(|against| view.by_condition(against, metric)).unwrap_or_default();
    let mut rows: Vec<(&str, f64, Option<f64>)> =
        values.iter().map(|(condition, value)| (*condition, *value, other.get(condition).copied())).collect();
    // Gain over the other model where there is one, else the value itself; good ones first.
    let sign = if good == Better::Lower { 1.0 } else { -1.0 };
    let key = |row: &(&str, f64, Option<f64>)| sign * (row.1 - row.2.unwrap_or(0.0));
    rows.retain(|row| against.is_none() || row.2.is_some());
    rows.sort_by(|a, b| key(a).total_cmp(&key(b)).then(a.0.cmp(b.0)));
    if rows.is_empty() {
        return Ok(card);
    }
    let mut card = card.section("Where it works and where it fails");
    let n = rows.len();
    let wins = against.map(|_| rows.iter().filter(|row| row.2.is_some_and(|o| is_better(good, row.1, o))).count());
    if let (Some(against), Some(wins)) = (against, wins) {
        card = card.paragraph(format!("Nearer to the truth than {against} on {wins} of {n} {}.", view.noun(n)));
    }
    let of_other = against.map_or("–".to_owned(), |against| format!("{name} of {against}"));
    let headings =
        [(view.noun(1), Align::Left), (name, Align::Right), (of_other.as_str(), Align::Right), ("", Align::Left)];
    let by = against.map_or("by its value".to_owned(), |against| format!("by the difference to {against}"));
    let mut grid = Grid::new(format!("Best and worst {}, {by}; means over the splits", view.noun(2)), headings);
    // Few conditions are all named, once.
    let ends = if n <= 2 * NAMED { (n.div_ceil(2), n / 2) } else { (NAMED, NAMED) };
    let best = rows[..ends.0].iter().map(|row| (row, "best"));
    let worst = rows[n - ends.1..].iter().map(|row| (row, "worst"));
    for (row, end) in best.chain(worst) {
        let other = row.2.map_or("–".to_owned(), |other| format!("{other:.3}"));
        grid.push([row.0.to_owned(), format!("{:.3}", row.1), other, end.to_owned()])?;
    }
    card = card.table(grid);
    if let Some(grid) = by_group(view, model, metric, against)? {
        card = card.table(grid);
    }
    if let Some(grid) = by_effect_size(view, &rows, name, against)? {
        card = card.table(grid);
    }
    Ok(card)
}

fn by_group(view: &View<'_>, model: &str, metric: &str, against: Option<&str>) -> Result<Option<Grid>> {
    let of = |model: &str, group: &str| {
        let groups = &view.benchmark.groups;
        groups.iter().find(|g| g.summary.model == model && g.summary.metric == metric && g.group == group)
    };
    let groups: Vec<&str> = view
        .benchmark
        .groups
        .iter()
        .filter(|group| group.summary.model == model && group.summary.metric == metric)
        .map(|group| group.group.as_str())
        .collect();
    if groups.is_empty() {
        return Ok(None);
    }
    let other = against.unwrap_or("–");
    let headings =
        [("group", Align::Left), (label(metric), Align::Right), (other, Align::Right), ("values", Align::Right)];
    let mut grid = Grid::new("By how much of a condition was seen", headings);
    for group in groups {
        let text = |model: Option<&str>| {
            let summary = model.and_then(|model| of(model, group));
            summary.map_or("–".to_owned(), |group| format!("{:.3}", group.summary.mean))
        };
        let n = of(model, group).map_or(0, |group| group.summary.n);
        grid.push([group.to_owned(), text(Some(model)), text(against), n.to_string()])?;
    }
    Ok(Some(grid))
}

/// Thirds of the conditions by the size of their observed effect: no change's L2 is exactly that.
fn by_effect_size(
    view: &View<'_>,
    rows: &[(&str, f64, Option<f64>)],
    name: &str,
    against: Option<&str>,
) -> Result<Option<Grid>> {
    let Some(floor) = view.of_role(Role::Floor) else { return Ok(None) };
    let sizes = view.by_condition(floor, "l2");
    let known: Vec<(f64, f64, Option<f64>)> =
        rows.iter().filter_map(|row| Some((*sizes.get(row.0)?, row.1, row.2))).collect();
    let all = sorted(known.iter().map(|row| row.0));
    let (Some(third), Some(two_thirds)) = (quantile(&all, 1.0 / 3.0), quantile(&all, 2.0 / 3.0)) else {
        return Ok(None);
    };
    if known.len() < FEWEST_FOR_THIRDS {
        return Ok(None);
    }
    let other = against.unwrap_or("–");
    let headings = [
        ("observed effect (L2)", Align::Left),
        (name, Align::Right),
        (other, Align::Right),
        (view.noun(2), Align::Right),
    ];
    let mut grid = Grid::new("By the size of the observed effect, thirds", headings);
    let bounds = [
        (format!("small, up to {third:.3}"), f64::NEG_INFINITY, third),
        ("middle".to_owned(), third, two_thirds),
        (format!("large, above {two_thirds:.3}"), two_thirds, f64::INFINITY),
    ];
    for (text, low, high) in bounds {
        let of: Vec<_> = known.iter().filter(|row| row.0 > low && row.0 <= high).collect();
        let mean = |values: Vec<f64>| match values.len() {
            0 => "–".to_owned(),
            n => format!("{:.3}", values.iter().sum::<f64>() / n as f64),
        };
        let (own, others) = (of.iter().map(|row| row.1).collect(), of.iter().filter_map(|row| row.2).collect());
        grid.push([text, mean(own), mean(others), of.len().to_string()])?;
    }
    Ok(Some(grid))
}

/// Intended and not intended use, from what was and was not measured.
fn uses(view: &View<'_>, facts: &ModelFacts) -> Vec<String> {
    let benchmark = view.benchmark;
    let model = facts.name.as_str();
    let what = match benchmark.data.kind.as_str() {
        "effects" => "mean effects",
        _ => "mean effects on cells",
    };
    let mut lines = Vec::new();
    let metric = headline(benchmark).first().copied();
    let verdict = metric.and_then(|metric| view.comparison(model, metric)).map(|comparison| comparison.verdict);
    let reference = metric.and_then(|metric| view.reference(metric)).unwrap_or("the reference");
    lines.push(match facts.role {
        Role::Floor => {
            "Intended: the floor of a table. A model that is not better than this has learned nothing.".to_owned()
        }
        Role::Ceiling => {
            "Intended: the ceiling of a table, what a repeated experiment of half the size would predict. It \
                          looks at the held-out cells, so it is no model and can predict nothing new."
                .to_owned()
        }
        _ if model == reference => {
            format!("Intended: the reference that a model of {what} must beat to be worth its cost.")
        }
        _ => {
            let line =
                format!("Intended: {what} of conditions like the held-out ones of this split ({}).", benchmark.split);
            match verdict {
                Some(Significance::Better) => line,
                Some(Significance::Worse) => format!("{line} Here {reference} is the better choice."),
                _ => format!("{line} Here it gives no measurable advantage over {reference}."),
            }
        }
    });
    // A reason that all models share is about the data, not about this model.
    let absent: Vec<_> = benchmark
        .absent
        .iter()
        .filter(|absent| absent.model == model)
        .filter(|absent| {
            let others = view.competitors().filter(|other| other.name != model);
            let shares = |name: &str| {
                benchmark
                    .absent
                    .iter()
                    .any(|a| a.model == name && a.reason == absent.reason && a.metric == absent.metric)
            };
            let mut others = others.peekable();
            others.peek().is_none() || !others.all(|other| shares(&other.name))
        })
        .collect();
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for absent in absent {
        match reasons.iter_mut().find(|(reason, _)| *reason == absent.reason) {
            Some(known) => known.1 = known.1.max(absent.n),
            None => reasons.push((&absent.reason, absent.n)),
        }
    }
    reasons.truncate(NAMED);
    for (reason, n) in reasons {
        let values = if n == 1 { "1 value".to_owned() } else { format!("{n} values of a metric") };
        lines.push(format!("It has no answer where: {reason} ({values})."));
    }
    lines.push(
        "Not intended: cell types, doses, times or perturbations unlike those it was judged on; decisions about people. A \
         mean over conditions says little about one condition: see the worst ones above."
            .to_owned(),
    );
    lines
}

fn compute(view: &View<'_>, facts: &ModelFacts) -> Vec<(&'static str, String)> {
    let benchmark = view.benchmark;
    let seconds = |seconds: Option<f64>| match seconds {
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms per split", 1000.0 * seconds),
        Some(seconds) => format!("{seconds:.2} s per split"),
        None => "not measured".to_owned(),
    };
    let data = &benchmark.data;
    let size = if data.cells > 0 {
        format!("{} cells x {} genes", data.cells, data.genes)
    } else {
        format!("effects of {} genes", data.genes)
    };
    let n = view.conditions().len();
    let mut rows = vec![
        ("fit", seconds(facts.fit_seconds)),
        ("predict", seconds(facts.predict_seconds)),
        ("memory", "not measured for one model alone".to_owned()),
        ("judged on", format!("{} ({size}, {} conditions)", benchmark.dataset, data.conditions)),
        (
            "held out",
            format!(
                "{} by {}, {} splits",
                format_args!("{n} {}", view.noun(n)),
                benchmark.split,
                benchmark.splits.len()
            ),
        ),
    ];
    if !facts.settings.is_null() {
        rows.push(("settings", facts.settings.to_string()));
    }
    if !data.fingerprint.is_empty() {
        rows.push(("data (SHA-256)", data.fingerprint.clone()));
    }
    rows
}
