//! A count VAE judged on cells that it was not trained on.

use super::{Evaluation, statistics::mean};
use crate::eval::{RankSum, SIGNIFICANCE, mse, pearson, rank_sum_test};
use crate::{
    Error, Result,
    data::{Dataset, Effects, Perturbation, TargetSum, Truth, normalize},
    model::{CountVae, Elbo, NORMALISED_TOTAL},
};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

/// How well a model predicts held-out cells.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// The evidence lower bound of the held-out cells.
    pub elbo: Elbo,
    /// Mean over cells of the Pearson correlation, over genes, of log1p expected with log1p observed counts.
    pub reconstruction: Option<f64>,
    /// Mean over cells and genes of the squared difference of the two.
    pub reconstruction_mse: f64,
    /// The same of the mean profile of the held-out cells at each cell's library size: what no knowledge of the cell gives.
    pub mean_profile_mse: f64,
    /// Predicted against observed mean effects, one row per perturbation.
    pub evaluation: Evaluation,
    /// The perturbations that were judged: those with at least two held-out cells.
    pub perturbations: Vec<Perturbation>,
    /// Predicted effects, `(perturbations, genes)`: difference to control in mean log1p expression at 10,000 counts.
    pub predicted: Array2<f32>,
    /// Observed effects of the held-out cells, same shape and units.
    pub observed: Array2<f32>,
}

/// Draws of z per cell for the held-out bound: its Monte-Carlo error is then far below one nat per cell.
const ELBO_DRAWS: usize = 5;

/// Measures `model` on the cells `rows`. Predicted effects come from `cells` drawn cells per perturbation, all starting
/// from the same control cells; a gene counts as truly changed by a Wilcoxon test among the held-out cells alone.
///
/// # Errors
/// No held-out control cells, or cells that the model does not know how to read.
pub fn evaluate_vae(model: &CountVae, data: &Dataset, rows: &[usize], cells: usize, seed: u64) -> Result<HeldOut> {
    let held_out = data.select_cells(rows);
    let all: Vec<usize> = (0..rows.len()).collect();
    let control = held_out.control_cells().first().map(|&cell| held_out.labels[cell]).ok_or_else(|| {
        Error::data("no control cell is among the held-out cells: an effect has nothing to be a difference to")
    })?;

    let normalised = normalize::log_normalize(&held_out, TargetSum::Fixed(NORMALISED_TOTAL))?;
    let effects = normalize::mean_effects(&held_out, TargetSum::Fixed(NORMALISED_TOTAL))?;
    let de = rank_sum_test(&normalised, &held_out.labels, control, RankSum::default())?;
    let judged: Vec<u32> = de.groups.clone();
    let perturbations: Vec<Perturbation> =
        judged.iter().map(|&label| held_out.perturbations[label as usize].clone()).collect();

    let baseline = model.predict_mean(&Perturbation::control(), cells, seed)?;
    let mut predicted = Array2::zeros((judged.len(), held_out.genes.len()));
    for (mut row, perturbation) in predicted.rows_mut().into_iter().zip(&perturbations) {
        row.assign(&(model.predict_mean(perturbation, cells, seed)? - &baseline));
    }
    let observed = effects.select(Axis(0), &judged.iter().map(|&label| label as usize).collect::<Vec<_>>());
    let names: Vec<String> = perturbations.iter().map(Perturbation::to_string).collect();
    let sizes: Vec<usize> = judged.iter().map(|label| held_out.labels.iter().filter(|&l| l == label).count()).collect();
    let changed: Vec<Option<Vec<bool>>> = judged.iter().map(|&label| de.changed(label, SIGNIFICANCE)).collect();

    let reconstructed = reconstruction(model, &held_out)?;
    Ok(HeldOut {
        elbo: model.elbo(&held_out, &all, ELBO_DRAWS, seed)?,
        reconstruction: reconstructed.pearson,
        reconstruction_mse: reconstructed.mse,
        mean_profile_mse: reconstructed.mse_of_mean_profile,
        evaluation: Evaluation::new("vae", &names, &sizes, predicted.view(), observed.view(), &changed)?,
        perturbations,
        predicted,
        observed,
    })
}

/// Expected beside observed counts, both as log1p.
struct Reconstruction {
    /// Mean correlation of a cell, without the cells of which it is undefined.
    pearson: Option<f64>,
    mse: f64,
    mse_of_mean_profile: f64,
}

fn reconstruction(model: &CountVae, cells: &Dataset) -> Result<Reconstruction> {
    let rows: Vec<usize> = (0..cells.n_cells()).collect();
    let (mut correlations, mut squares, mut squares_of_mean) = (Vec::new(), Vec::new(), Vec::new());
    let mut profile = Array1::<f32>::zeros(cells.n_genes()); // share of each gene of all counts
    for block in rows.chunks(1024) {
        profile += &cells.counts.select_cells(block).to_dense().sum_axis(Axis(0));
    }
    profile /= cells.library_size.iter().sum::<f32>().max(1.0);
    for block in rows.chunks(1024) {
        let expected = model.reconstruct(cells, block)?;
        let observed = cells.counts.select_cells(block).to_dense();
        for ((expected, observed), &row) in expected.rows().into_iter().zip(observed.rows()).zip(block) {
            let of_mean = profile.mapv(|share| (share * cells.library_size[row]).ln_1p()).to_vec();
            let (x, y) = (expected.mapv(f32::ln_1p).to_vec(), observed.mapv(f32::ln_1p).to_vec());
            correlations.extend(pearson(&x, &y));
            squares.extend(mse(&x, &y));
            squares_of_mean.extend(mse(&of_mean, &y));
        }
    }
    Ok(Reconstruction {
        pearson: (!correlations.is_empty()).then(|| mean(&correlations)),
        mse: mean(&squares),
        mse_of_mean_profile: mean(&squares_of_mean),
    })
}

/// How well counterfactual means agree with the truth of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthAgreement {
    /// Name: `A+B`.
    pub perturbation: String,
    /// The interaction class of a double.
    pub class: Option<String>,
    /// Pearson over expressed genes of log1p counterfactual mean with log1p true mean.
    pub mean_pearson: Option<f64>,
    /// Pearson over expressed genes of the log fold change to control, counterfactual with true.
    pub effect_pearson: Option<f64>,
}

/// A gene counts as expressed if control cells have more than this many counts of it in 10,000.
pub const EXPRESSED_IN_10K: f32 = 0.1;

/// Decodes the control cells `rows` under each perturbation of `truth` that the model knows, and compares the mean with
/// the truth at the truth's library size.
///
/// # Errors
/// Genes of the model that the truth lacks; no cells.
pub fn truth_agreement(model: &CountVae, data: &Dataset, rows: &[usize], truth: &Truth) -> Result<Vec<TruthAgreement>> {
    let truth = truth.select_genes(&data.genes.names)?;
    let true_control = truth
        .mean_of(&Perturbation::control())
        .ok_or_else(|| Error::data("the truth of this simulation has no control"))?;
    let expressed: Vec<usize> =
        (0..truth.genes.len()).filter(|&g| true_control[g] * 1e4 / truth.library_size > EXPRESSED_IN_10K).collect();
    let at_truth = |perturbation: &Perturbation| -> Result<Array1<f32>> {
        let mut counts = model.counterfactual(data, rows, perturbation)?;
        for (mut cell, &row) in counts.rows_mut().into_iter().zip(rows) {
            cell *= truth.library_size / data.library_size[row].max(1.0);
        }
        counts.mean_axis(Axis(0)).ok_or_else(|| Error::data("no cells were chosen"))
    };
    let pick = |values: &Array1<f32>| -> Vec<f32> { expressed.iter().map(|&g| values[g].ln_1p()).collect() };
    let minus = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let (model_control, control) = (pick(&at_truth(&Perturbation::control())?), pick(&true_control.to_owned()));

    let mut agreement = Vec::new();
    for (index, perturbation) in truth.perturbations.iter().enumerate() {
        if perturbation.is_control() || model.vocabulary().encode(perturbation).is_err() {
            continue;
        }
        let (predicted, expected) = (pick(&at_truth(perturbation)?), pick(&truth.means.row(index).to_owned()));
        agreement.push(TruthAgreement {
            perturbation: perturbation.to_string(),
            class: truth.classes[index].map(|class| class.name().to_owned()),
            mean_pearson: pearson(&predicted, &expected),
            effect_pearson: pearson(&minus(&predicted, &model_control), &minus(&expected, &control)),
        });
    }
    Ok(agreement)
}

/// A model of effects, by its name, and its predictions `(perturbations, genes)` judged on held-out doubles, beside the additive baseline (the sum of the two observed single
/// effects); doubles without both singles in the data are left out. `None` if there is no double to judge.
///
/// # Errors
/// A perturbation that the model does not know.
pub fn evaluate_effects(
    model: &str,
    data: &Effects,
    rows: &[usize],
    predict: impl FnOnce(&[Perturbation]) -> Result<Array2<f32>>,
) -> Result<Option<Vec<Evaluation>>> {
    let single = |gene: &String| data.perturbations.iter().position(|p| p.genes() == std::slice::from_ref(gene));
    let singles = |row: usize| data.perturbations[row].genes().iter().map(single).collect::<Option<Vec<usize>>>();
    let judged: Vec<(usize, Vec<usize>)> = rows.iter().filter_map(|&row| Some((row, singles(row)?))).collect();
    if judged.is_empty() {
        return Ok(None);
    }
    let places: Vec<usize> = judged.iter().map(|(row, _)| *row).collect();
    let perturbations: Vec<Perturbation> = places.iter().map(|&row| data.perturbations[row].clone()).collect();
    let names: Vec<String> = perturbations.iter().map(Perturbation::to_string).collect();
    let observed = data.values.select(Axis(0), &places);
    let mut additive = Array2::zeros(observed.dim());
    for (mut sum, (_, singles)) in additive.rows_mut().into_iter().zip(&judged) {
        singles.iter().for_each(|&row| sum += &data.values.row(row));
    }
    let n_cells = data.n_cells();
    let cells: Vec<usize> = places.iter().map(|&row| n_cells[row]).collect();
    let predicted = predict(&perturbations)?;
    let unknown = vec![None; names.len()];
    let judge = |name: &str, values: &Array2<f32>| {
        Evaluation::new(name, &names, &cells, values.view(), observed.view(), &unknown)
    };
    Ok(Some(vec![judge(model, &predicted)?, judge("additive", &additive)?]))
}
