//! The figures of mean embeddings: predictions joined to what was observed in a plane, and bars per condition.

use super::{
    super::{Figure, ModelValues, PlanePanel, axis::number, condition_bars, plane},
    figures::highlights,
    view::View,
};
use crate::{
    Error, Result,
    bench::{
        ADDITIVE, Benchmark, Better, CEILING, MEAN, MeanPoints, NO_CHANGE, OwnSpace, SIMILARITY_WEIGHTED, better, label,
    },
    eval::l2,
    math::Pca,
};
use ndarray::{Array2, Axis, concatenate};

/// Panels of the plane: two rows.
const MOST_PANELS: usize = 6;

impl OwnSpace {
    /// A metric per held-out condition: the model beside its opponents, means over the seeds.
    ///
    /// # Errors
    /// A metric that was not measured.
    pub fn bars(&self, metric: &str) -> Result<Figure> {
        let benchmark = self.as_benchmark();
        let opponents = [self.reference(), NO_CHANGE, CEILING];
        let noun = View::new(&benchmark).noun(1);
        let title = format!("Each held-out {noun}: {} in the space of {}", label(metric), self.model);
        bars(&benchmark, &title, metric, &self.model, &opponents)
    }

    /// The predicted and the observed mean embeddings of the first seed in the plane of the first two principal components of
    /// the observed ones, joined by lines: the model, and the strongest opponents.
    ///
    /// # Errors
    /// Fewer than three observed means; results that were read from a file, which hold no points.
    pub fn plane(&self, benchmark: &Benchmark) -> Result<Figure> {
        let points = self.points.as_ref().ok_or_else(no_points)?;
        let names = [self.model.as_str(), self.reference(), "ridge"];
        let title = format!("Predicted and observed means in the space of {}", self.model);
        let unit = format!("features of {}", self.model);
        draw_plane(&title, &unit, points, &names, View::new(benchmark).noun(points.observed.len()))
    }

    fn reference(&self) -> &str {
        self.comparisons.first().map_or(ADDITIVE, |comparison| comparison.reference.as_str())
    }
}

impl Benchmark {
    /// The predicted and the observed mean of each held-out condition of the first seed in the common space: the plane of the
    /// first two principal components of the observed means, a line from each prediction to what was observed, and a panel per
    /// model.
    ///
    /// # Errors
    /// An effects dataset, which has no such space; fewer than three observed means; results that were read from a file, which
    /// hold no points.
    pub fn embedding_plane(&self) -> Result<Figure> {
        let points = self.example.as_ref().and_then(|example| example.points.as_ref()).ok_or_else(no_points)?;
        let view = View::new(self);
        let mut names: Vec<&str> = self.own_spaces.iter().map(|space| space.model.as_str()).collect();
        names.extend(highlights(self));
        names.extend([SIMILARITY_WEIGHTED, ADDITIVE, MEAN]);
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name) && ![NO_CHANGE, CEILING].contains(name));
        let title = "Predicted and observed means in the common space";
        draw_plane(title, "components of the training cells", points, &names, view.noun(points.observed.len()))
    }

    /// A metric of the mean embeddings in the common space per held-out condition: the best model (a model that predicts
    /// embeddings, where there is one) beside the reference, the floor and the ceiling; means over the seeds.
    ///
    /// # Errors
    /// A metric that was not measured.
    pub fn embedding_bars(&self, metric: &str) -> Result<Figure> {
        let view = View::new(self);
        let good = better(metric).ok_or_else(no_points)?;
        let reference = view.reference(metric).unwrap_or(ADDITIVE);
        let own = self.own_spaces.first().map(|space| space.model.as_str());
        let others = view.competitors().map(|model| model.name.as_str()).filter(|name| *name != reference);
        let best = view.ranked(others, metric, good).first().map(|(name, _)| *name);
        let model = own.or(best).ok_or_else(|| Error::data("no model was measured beside the reference"))?;
        let title = format!("Each held-out {}: {} in the common space", view.noun(1), label(metric));
        bars(self, &title, metric, model, &[reference, NO_CHANGE, CEILING])
    }
}

fn no_points() -> Error {
    Error::data(
        "the benchmark holds no mean embeddings to draw: an effects dataset has none, and results.json keeps none",
    )
}

fn bars(benchmark: &Benchmark, title: &str, metric: &str, model: &str, opponents: &[&str]) -> Result<Figure> {
    let view = View::new(benchmark);
    let conditions = view.conditions();
    let values = |name: &str| {
        let of = view.by_condition(name, metric);
        ModelValues::new(name, conditions.iter().map(|condition| of.get(condition).copied()).collect())
    };
    let mut models = vec![values(model)];
    let opponents = opponents.iter().filter(|name| **name != model).map(|name| values(name));
    models.extend(opponents.filter(|of| of.finite().next().is_some()));
    condition_bars(title, label(metric), better(metric).unwrap_or(Better::Higher), &conditions, &models)
}

/// A panel per predictor that has predictions, in the order of `names`.
fn draw_plane(title: &str, of_what: &str, points: &MeanPoints, names: &[&str], noun: &str) -> Result<Figure> {
    let matrix = |rows: &[Vec<f32>]| {
        let width = rows.first().map_or(0, Vec::len);
        Array2::from_shape_fn((rows.len(), width), |(row, column)| rows[row][column])
    };
    let (observed, mut controls) = (matrix(&points.observed), points.controls.clone());
    controls.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    controls.dedup();
    let controls = matrix(&controls);
    let all =
        concatenate(Axis(0), &[observed.view(), controls.view()]).map_err(|error| Error::data(error.to_string()))?;
    let pca = Pca::fit(all.view(), 2, 0)?;
    let shown = |rows: &Array2<f32>| pca.transform(rows.view());
    let (observed_at, controls_at) = (shown(&observed)?, shown(&controls)?);
    let (mut panels, mut means) = (Vec::new(), Vec::new());
    for name in names {
        let Some((_, predicted)) = points.predicted.iter().find(|(known, _)| known == name) else { continue };
        let answered: Vec<usize> = (0..predicted.len()).filter(|&row| predicted[row].is_some()).collect();
        if answered.is_empty() || panels.len() == MOST_PANELS {
            continue;
        }
        let of: Vec<Vec<f32>> = answered.iter().filter_map(|&row| predicted[row].clone()).collect();
        let errors = answered.iter().zip(&of).filter_map(|(&row, of)| l2(of, &points.observed[row]));
        means.push(format!("{name} {}", number(errors.sum::<f64>() / of.len() as f64, 0.001)));
        let (from, to) = (shown(&matrix(&of))?, observed_at.select(Axis(0), &answered));
        let panel = PlanePanel::new(
            *name,
            [("observed", to.clone()), ("predicted", from.clone()), ("control", controls_at.clone())],
        );
        panels.push(panel.with_paths(&[from, to]));
    }
    let share = |axis: usize| format!("{:.0} %", 100.0 * pca.explained_variance_ratio[axis]);
    let axes = [0, 1].map(|axis| format!("PC {} ({})", axis + 1, share(axis)));
    let figure = plane(title, (&axes[0], &axes[1]), &panels)?;
    Ok(figure.with_caption(format!(
        "Mean embeddings of {} held-out {noun} of the first split; a line joins each prediction to what was observed. Axes: principal \
         components of the observed means and control, with their share of the variance. Mean L2 in all {} {of_what}: {}.",
        points.observed.len(),
        observed.ncols(),
        means.join(", "),
    )))
}
