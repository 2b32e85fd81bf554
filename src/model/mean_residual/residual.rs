//! The residual: how large it is given the metadata, and how it is distributed over genes.
//!
//! Size: `s(m)^2 = exp(c + g phi(m))`, a ridge regression of the log mean square of each row's residual, relative to the variance of
//! each gene; constant where unseen rows are not predicted better by it.
//!
//! Factor analysis (Rubin and Thayer 1982), `r = z L + noise`, z `(factors,)` and noise independent normal with variances psi, by
//! expectation maximisation: with `M = I + L psi^-1 L'` the expected factors are `z = r psi^-1 L' M^-1`, and
//! `L = (n M^-1 + Z'Z)^-1 Z'R`, `psi = diag(R'R - R'Z L) / n`.

use super::{MeanResidualSettings, ResidualKind};
use crate::{
    Result,
    data::EncodedMetadata,
    math::{
        Pca, cholesky,
        ridge::{LinearFit, PENALTIES, RidgePath, cross_validated},
        seeds::derived,
    },
    model::{
        State,
        flow::{Flow, TransportConfig},
    },
    train::{Run, TrainConfig},
};
use ndarray::{Array1, Array2, Axis};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Purpose of the random stream of a flow's weights.
const FLOW: u64 = 4;
/// Expectation maximisation steps; on simulated data the likelihood changes in its fifth digit by then.
const EM_STEPS: usize = 40;
/// Smallest share of a gene's variance that is its own noise: factors that explain a gene wholly make the likelihood infinite.
const LEAST_NOISE: f64 = 0.01;
/// Rows per factor at least.
const ROWS_PER_FACTOR: usize = 4;
/// Share of the error that a regression of the size must take away on unseen rows.
const LEAST_GAIN: f64 = 0.02;
/// Draws per row behind the intervals of a flow.
const DRAWS: usize = 100;

/// The distribution of the residual.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    /// Regression of ln s^2 on the design matrix; `None` where s is 1.
    pub size: Option<LinearFit>,
    /// L, `(factors, genes)`; the directions of the components, if there is a flow.
    pub loadings: Array2<f64>,
    /// psi, `(genes,)`.
    pub noise: Array1<f64>,
    /// Of the components' scores, conditional on the design matrix.
    pub flow: Option<(Flow, TransportConfig)>,
}

impl Residual {
    /// Fits residuals of unseen rows `(rows, genes)`.
    ///
    /// # Errors
    /// Those of a flow's training.
    pub fn fit(
        residual: &Array2<f64>,
        metadata: &EncodedMetadata,
        fold_of: &[usize],
        settings: &MeanResidualSettings,
        run: &mut Run<'_>,
    ) -> Result<Self> {
        let design = metadata.design();
        let size = match settings.residual.scale_by_metadata {
            true => size_of(residual, &design, fold_of)?,
            false => None,
        };
        let mut scaled = residual.clone();
        if let Some(size) = &size {
            let s = sizes(size, &design);
            scaled.rows_mut().into_iter().zip(&s).for_each(|(mut row, s)| row /= *s);
        }
        let (rows, genes) = scaled.dim();
        let most = (rows / ROWS_PER_FACTOR).min(genes / 2).max(1);
        let factors = settings.residual.factors.min(most);
        let pca = Pca::fit(scaled.mapv(|value| value as f32).view(), factors, 0)?;
        match settings.residual.distribution {
            ResidualKind::Gaussian => {
                let start = &pca.components * &pca.explained_variance.mapv(f64::sqrt).insert_axis(Axis(1));
                let (loadings, noise) = factor_analysis(&scaled, start)?;
                Ok(Self { size, loadings, noise, flow: None })
            }
            ResidualKind::Flow { model, sampling } => {
                let scores = scaled.dot(&pca.components.t());
                let rest = &scaled - &scores.dot(&pca.components);
                let noise = (&rest * &rest).mean_axis(Axis(0)).expect("there are rows");
                let seed = derived(run.seed, FLOW, 0);
                let mut flow = Flow::new(factors, design.ncols(), &model, seed, run.device)?;
                let config = TrainConfig { seed, early_stopping: None, ..settings.flow_train.clone() };
                let (scores, design) = (scores.mapv(|v| v as f32), design.mapv(|v| v as f32));
                flow.fit(&scores, Some(&design), &config, &mut run.part("residual"))?;
                Ok(Self { size, loadings: pca.components, noise, flow: Some((flow, sampling)) })
            }
        }
    }

    /// s of each row.
    fn sizes(&self, design: &Array2<f64>) -> Array1<f64> {
        self.size.as_ref().map_or_else(|| Array1::ones(design.nrows()), |size| sizes(size, design))
    }

    /// `n` scores of each row on the loadings, one after the other, `(rows * n, factors)`.
    fn scores(&self, design: &Array2<f64>, n: usize, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
        let rows = design.nrows() * n;
        let Some((flow, sampling)) = &self.flow else { return Ok(normal((rows, self.loadings.nrows()), rng)) };
        let of_draw: Vec<usize> = (0..rows).map(|draw| draw / n).collect();
        let condition = design.select(Axis(0), &of_draw).mapv(|value| value as f32);
        Ok(flow.sample(rows, Some(&condition), sampling, rng.random())?.mapv(f64::from))
    }

    /// `n` residuals of each row, one after the other, `(rows * n, genes)`.
    ///
    /// # Errors
    /// Those of a flow's solver.
    pub fn draw(&self, design: &Array2<f64>, n: usize, rng: &mut ChaCha8Rng) -> Result<Array2<f64>> {
        let scores = self.scores(design, n, rng)?;
        let rows = scores.nrows();
        let noise = normal((rows, self.noise.len()), rng) * &self.noise.mapv(f64::sqrt);
        let mut drawn = scores.dot(&self.loadings) + &noise;
        let sizes = self.sizes(design);
        drawn.rows_mut().into_iter().enumerate().for_each(|(draw, mut row)| row *= sizes[draw / n]);
        Ok(drawn)
    }

    /// Where the central interval of a level begins and ends, relative to the mean, `(rows, genes)` each. `quantile` is that of
    /// the normal distribution for its upper end.
    ///
    /// # Errors
    /// Those of a flow's solver.
    pub fn interval(
        &self,
        design: &Array2<f64>,
        quantile: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Array2<f64>, Array2<f64>)> {
        let shape = (design.nrows(), self.noise.len());
        let sizes = self.sizes(design);
        if self.flow.is_none() {
            let sd = ((&self.loadings * &self.loadings).sum_axis(Axis(0)) + &self.noise).mapv(f64::sqrt);
            let upper = Array2::from_shape_fn(shape, |(row, gene)| quantile * sizes[row] * sd[gene]);
            return Ok((-&upper, upper));
        }
        // A flow has no quantiles in closed form: mean and variance of its scores are those of draws, the rest is exact.
        let (mut lower, mut upper) = (Array2::zeros(shape), Array2::zeros(shape));
        for row in 0..design.nrows() {
            let scores = self.scores(&design.select(Axis(0), &[row]), DRAWS, rng)?;
            let middle = scores.mean_axis(Axis(0)).expect("several draws");
            let spread = (scores - &middle).dot(&self.loadings); // (draws, genes)
            let variance = (&spread * &spread).mean_axis(Axis(0)).expect("several draws") + &self.noise;
            let (middle, half) =
                (middle.dot(&self.loadings) * sizes[row], variance.mapv(f64::sqrt) * quantile * sizes[row]);
            lower.row_mut(row).assign(&(&middle - &half));
            upper.row_mut(row).assign(&(&middle + &half));
        }
        Ok((lower, upper))
    }

    /// Adds it to a state.
    ///
    /// # Errors
    /// Those of a flow's state.
    pub fn add_to(&self, state: State) -> Result<State> {
        let mut state = state.with_array("loadings", &self.loadings).with_vector("noise", &self.noise);
        if let Some(size) = &self.size {
            state = state.with_array("size_weights", &size.weights).with_vector("size_intercept", &size.intercept);
        }
        match &self.flow {
            Some((flow, _)) => Ok(state.with_part("flow", FLOW_KIND, flow.state()?)),
            None => Ok(state),
        }
    }
}

/// The kind of the flow's part in a saved model.
pub(super) const FLOW_KIND: &str = "flow";

fn normal(shape: (usize, usize), rng: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn(shape, || rng.sample(StandardNormal))
}

fn sizes(size: &LinearFit, design: &Array2<f64>) -> Array1<f64> {
    size.predict(design).column(0).mapv(|log_square| (0.5 * log_square).exp())
}

/// The regression of the residual's size, where it predicts that of unseen rows.
fn size_of(residual: &Array2<f64>, design: &Array2<f64>, fold_of: &[usize]) -> Result<Option<LinearFit>> {
    let squares = residual * residual;
    let variance = squares.mean_axis(Axis(0)).expect("there are rows").mapv(|v| v.max(f64::MIN_POSITIVE));
    let relative = (&squares / &variance).mean_axis(Axis(1)).expect("there are genes");
    let target = relative.mapv(|value| value.max(f64::MIN_POSITIVE).ln()).insert_axis(Axis(1));
    let chosen = cross_validated(design, &target, fold_of, &PENALTIES)?;
    // A penalty without bound leaves the mean of the other folds.
    let constant = cross_validated(design, &target, fold_of, &[f64::MAX])?;
    if chosen.error > (1.0 - LEAST_GAIN) * constant.error {
        return Ok(None);
    }
    let mut fit = RidgePath::new(design, &target)?.fit(chosen.penalty);
    // The mean of logarithms is below the logarithm of the mean: the scaled residuals shall have a mean square of 1 all the same.
    let scaled = &relative / &sizes(&fit, design).mapv(|s| s * s);
    fit.intercept += scaled.mean().expect("there are rows").ln();
    Ok(Some(fit))
}

/// Loadings `(factors, genes)` and noise variances `(genes,)` of rows r `(rows, genes)`, from the loadings `start`.
fn factor_analysis(r: &Array2<f64>, start: Array2<f64>) -> Result<(Array2<f64>, Array1<f64>)> {
    let n = r.nrows() as f64;
    let total = (r * r).mean_axis(Axis(0)).expect("there are rows");
    let least = total.mapv(|variance| (LEAST_NOISE * variance).max(f64::MIN_POSITIVE));
    let above = |noise: Array1<f64>| Array1::from_shape_fn(noise.len(), |gene| noise[gene].max(least[gene]));
    let mut loadings = start;
    let mut noise = above(&total - &(&loadings * &loadings).sum_axis(Axis(0)));
    for _ in 0..EM_STEPS {
        let weighted = &loadings / &noise; // L psi^-1, (factors, genes)
        let precision = Array2::eye(loadings.nrows()) + weighted.dot(&loadings.t());
        let covariance = cholesky::solve(&precision, &Array2::eye(loadings.nrows()))?;
        let z = r.dot(&weighted.t()).dot(&covariance); // (rows, factors)
        let moments = covariance * n + z.t().dot(&z);
        let cross = z.t().dot(r); // (factors, genes)
        loadings = cholesky::solve(&moments, &cross)?;
        noise = above(&total - &((&cross * &loadings).sum_axis(Axis(0)) / n));
    }
    Ok((loadings, noise))
}
