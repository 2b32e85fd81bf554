//! The figures of a benchmark, as methods: each picks its numbers and hands them to a figure function.

use super::{
    super::{
        Figure, ModelValues, ScatterPanel, condition_dots, group_panels, interaction_curve, l2_ratio, model_heatmap,
        scatter,
    },
    table::order,
    view::{View, headline},
};
use crate::{
    Error, Result,
    bench::{Benchmark, Better, CEILING, Role, better, label},
};
use ndarray::Array2;

/// Colours that the eye tells apart.
const MOST_HIGHLIGHTS: usize = 7;
/// Panels of a scatter figure, at most: four rows.
const MOST_PANELS: usize = 12;

/// The models that stand out in every figure: the best, the reference, the floor, the ceiling, the user's own.
pub(super) fn highlights(benchmark: &Benchmark) -> Vec<&str> {
    let view = View::new(benchmark);
    let mut names: Vec<&str> = Vec::new();
    if let Some(metric) = headline(benchmark).first() {
        let good = better(metric).unwrap_or(Better::Lower);
        let best = view.ranked(view.competitors().map(|model| model.name.as_str()), metric, good);
        names.extend(best.first().map(|(best, _)| *best));
        names.extend(view.reference(metric));
    }
    names.extend(view.of_role(Role::Floor));
    names.extend(view.of_role(Role::Ceiling));
    names.extend(view.competitors().filter(|model| model.role == Role::File).map(|model| model.name.as_str()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    names.truncate(MOST_HIGHLIGHTS);
    names
}

/// The metric that heads a benchmark.
pub(super) fn primary(benchmark: &Benchmark) -> Result<&str> {
    let none = || Error::data("the benchmark has no metric that says which model is better");
    headline(benchmark).first().copied().ok_or_else(none)
}

fn missing(metric: &str) -> Error {
    Error::config(format!("no metric {metric:?} that says which model is better was measured"))
}

impl Benchmark {
    /// The ratio of each model's L2 (or the first error that was measured) to the reference's, as a distribution over
    /// conditions; means over the seeds.
    ///
    /// # Errors
    /// No error metric, or no reference.
    pub fn l2_ratio(&self) -> Result<Figure> {
        let view = View::new(self);
        let metric = headline(self).into_iter().find(|metric| better(metric) == Some(Better::Lower));
        let metric = metric.ok_or_else(|| Error::data("the benchmark has no error metric to take ratios of"))?;
        let reference = view.reference(metric).ok_or_else(|| Error::data("no model is there to divide by"))?;
        let models: Vec<ModelValues> = order(&view)
            .into_iter()
            .map(|model| {
                let ratios = view.ratios(model, reference, metric);
                ModelValues::new(model, ratios.into_values().map(Some).collect())
            })
            .collect();
        let title = format!("{} compared with {reference}", label(metric));
        l2_ratio(&title, label(metric), reference, &models, &highlights(self))
    }

    /// Every model on every held-out condition by a metric; means over the seeds.
    ///
    /// # Errors
    /// A metric that was not measured, or has no better side.
    pub fn condition_dots(&self, metric: &str) -> Result<Figure> {
        let view = View::new(self);
        let good = better(metric).ok_or_else(|| missing(metric))?;
        let conditions = view.conditions();
        let models: Vec<ModelValues> = order(&view)
            .into_iter()
            .map(|model| {
                let of = view.by_condition(model, metric);
                ModelValues::new(model, conditions.iter().map(|condition| of.get(condition).copied()).collect())
            })
            .collect();
        let title = format!("{} of every held-out {}", label(metric), view.noun(1));
        condition_dots(&title, label(metric), good, &conditions, &models, &highlights(self))
    }

    /// Predicted against observed effects of the first seed, all conditions and genes together, one panel per model; at most
    /// twelve, those that stand out first. The noise ceiling is left out: its halves are part of what was observed.
    ///
    /// # Errors
    /// No effects were kept, as in results that were read from a file.
    pub fn scatter(&self) -> Result<Figure> {
        let view = View::new(self);
        let none = || Error::data("the benchmark holds no effects to draw: they are not kept in results.json");
        let example = self.example.as_ref().ok_or_else(none)?;
        let mut models: Vec<&str> = order(&view).into_iter().filter(|model| *model != CEILING).collect();
        let marked = highlights(self);
        models.sort_by_key(|model| marked.iter().position(|name| name == model).unwrap_or(marked.len()));
        let panels: Vec<ScatterPanel> = models
            .into_iter()
            .filter_map(|model| {
                let (_, predicted) = example.predicted.iter().find(|(name, _)| name == model)?;
                let mut panel = ScatterPanel { name: model.to_owned(), predicted: Vec::new(), observed: Vec::new() };
                for (predicted, observed) in predicted.rows().into_iter().zip(example.observed.rows()) {
                    if predicted.iter().all(|value| value.is_finite()) {
                        panel.predicted.extend(predicted);
                        panel.observed.extend(observed);
                    }
                }
                (!panel.observed.is_empty()).then_some(panel)
            })
            .take(MOST_PANELS)
            .collect();
        let n = example.conditions.len();
        let title = format!("Predicted and observed effects, {n} {} of seed {}", view.noun(n), example.seed);
        scatter(&title, &panels)
    }

    /// How the models find synergies of the first seed, precision against recall.
    ///
    /// # Errors
    /// No curve was kept: data without doubles, models that predict no interaction, results that were read from a file.
    pub fn interaction_curve(&self) -> Result<Figure> {
        let curves = self.example.as_ref().map_or(&[][..], |example| &example.interactions);
        interaction_curve(
            "Synergies: genes that a double changes more than its singles",
            "synergies",
            curves,
            &highlights(self),
        )
    }

    /// Models x metrics in colours, darker is better in every column.
    ///
    /// # Errors
    /// A metric that has no better side; none that was measured.
    pub fn model_heatmap(&self, title: &str, metrics: &[&str]) -> Result<Figure> {
        let view = View::new(self);
        let models = order(&view);
        let columns: Vec<(String, Better)> = metrics
            .iter()
            .map(|metric| Ok((label(metric).to_owned(), better(metric).ok_or_else(|| missing(metric))?)))
            .collect::<Result<_>>()?;
        let values = Array2::from_shape_fn((models.len(), metrics.len()), |(row, column)| {
            view.mean(models[row], metrics[column]).unwrap_or(f64::NAN)
        });
        model_heatmap(title, &models, &columns, values.view())
    }

    /// A metric by groups of conditions, one panel per group.
    ///
    /// # Errors
    /// The split has no groups; a metric without a better side.
    pub fn group_panels(&self, metric: &str) -> Result<Figure> {
        let view = View::new(self);
        let good = better(metric).ok_or_else(|| missing(metric))?;
        let mut groups: Vec<(&str, usize)> = Vec::new();
        for one in self.groups.iter().filter(|one| one.summary.metric == metric) {
            match groups.iter_mut().find(|(name, _)| *name == one.group) {
                Some(known) => known.1 = known.1.max(one.summary.n),
                None => groups.push((&one.group, one.summary.n)),
            }
        }
        if groups.is_empty() {
            return Err(Error::data(format!("the split {:?} has no groups of conditions", self.split)));
        }
        groups.sort_unstable();
        let mean = |model: &str, group: &str| {
            let of = |one: &&crate::bench::GroupSummary| {
                one.summary.model == model && one.summary.metric == metric && one.group == group
            };
            self.groups.iter().find(of).map(|one| one.summary.mean)
        };
        let models: Vec<ModelValues> = order(&view)
            .into_iter()
            .map(|model| ModelValues::new(model, groups.iter().map(|(group, _)| mean(model, group)).collect()))
            .collect();
        let title = format!("{} by how much of a condition was seen", label(metric));
        group_panels(&title, label(metric), good, &groups, &models, &highlights(self))
    }
}
