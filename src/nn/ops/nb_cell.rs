//! The count likelihood of one cell: [`count_nll`](super::count_nll) says how the steps hang together.

use super::{
    LOG_THETA_MAX, LOG_THETA_MIN,
    nb::{Nll, inflated_positive, inflated_zero, positive, zero},
    vmath::{exp, ln, max, sum},
};

/// theta of the genes in one cell.
pub(super) enum CellTheta<'a> {
    /// The same in all cells, prepared once: `log_theta` clamped, `theta = e^log_theta`, `inverse = 1 / theta`.
    Shared { log_theta: &'a [f32], theta: &'a [f32], inverse: &'a [f32] },
    /// This cell's own, as the decoder gave it.
    Own { log_theta: &'a [f32] },
}

/// One cell of the batch; rows over genes, except `seen` and `counts`, the CSR row.
pub(super) struct Cell<'a> {
    pub(super) logits: &'a [f32],
    pub(super) theta: CellTheta<'a>,
    pub(super) zero_logits: Option<&'a [f32]>,
    pub(super) seen: &'a [u32],
    pub(super) counts: &'a [f32],
    pub(super) library_size: f32,
    pub(super) with_remainder: bool,
}

/// Rows over genes that a task uses again for each of its cells.
pub(super) struct Scratch {
    /// mu.
    mean: Vec<f32>,
    nll: Vec<f32>,
    /// First by ln mu, at the end by the logits.
    d_mean: Vec<f32>,
    d_log_theta: Vec<f32>,
    d_zero: Vec<f32>,
    log_theta: Vec<f32>,
    theta: Vec<f32>,
    inverse_theta: Vec<f32>,
    seen: NonZeroGenes,
}

/// The genes seen in the cell, one after the other.
#[derive(Default)]
struct NonZeroGenes {
    gene: Vec<u32>,
    count: Vec<f32>,
    mean: Vec<f32>,
    log_mean: Vec<f32>,
    theta: Vec<f32>,
    log_theta: Vec<f32>,
    zero_logit: Vec<f32>,
    result: Vec<[f32; 4]>,
}

impl Scratch {
    pub(super) fn new(genes: usize) -> Self {
        let row = || vec![0.0; genes];
        Self {
            mean: row(),
            nll: row(),
            d_mean: row(),
            d_log_theta: row(),
            d_zero: row(),
            log_theta: row(),
            theta: row(),
            inverse_theta: row(),
            seen: NonZeroGenes::default(),
        }
    }

    /// Gradients that [`Cell::nll`] left here.
    pub(super) fn d_logits(&self) -> &[f32] {
        &self.d_mean
    }
    pub(super) fn d_log_theta(&self) -> &[f32] {
        &self.d_log_theta
    }
    pub(super) fn d_zero_logits(&self) -> &[f32] {
        &self.d_zero
    }
}

impl Cell<'_> {
    /// Negative log-likelihood in nats; with `GRADIENT`, its gradients are left in `scratch`. To be called inside
    /// `dispatch!`.
    #[inline(always)]
    pub(super) fn nll<const GRADIENT: bool>(&self, scratch: &mut Scratch) -> f64 {
        let Scratch { mean, nll, d_mean, d_log_theta, d_zero, log_theta, theta, inverse_theta, seen } = scratch;
        let (log_theta, theta, inverse): (&[f32], &[f32], &[f32]) = match self.theta {
            CellTheta::Shared { log_theta, theta, inverse } => (log_theta, theta, inverse),
            CellTheta::Own { log_theta: own } => {
                for ((l, (theta, inverse)), &own) in
                    log_theta.iter_mut().zip(theta.iter_mut().zip(inverse_theta.iter_mut())).zip(own)
                {
                    *l = own.clamp(LOG_THETA_MIN, LOG_THETA_MAX);
                    *theta = exp(*l);
                    *inverse = 1.0 / *theta;
                }
                (log_theta, theta, inverse_theta)
            }
        };
        let log_scale = self.softmax_mean(mean);
        all_zero::<GRADIENT>(mean, theta, inverse, nll, d_mean, d_log_theta);
        if let Some(zero_logits) = self.zero_logits {
            all_inflated::<GRADIENT>(zero_logits, nll, d_mean, d_log_theta, d_zero);
        }
        self.gather(seen, log_scale, mean, theta, log_theta);
        seen.evaluate::<GRADIENT>(self.zero_logits.is_some());
        for (&gene, &[value, by_mean, by_theta, by_zero]) in seen.gene.iter().zip(&seen.result) {
            let gene = gene as usize;
            nll[gene] = value;
            if GRADIENT {
                (d_mean[gene], d_log_theta[gene], d_zero[gene]) = (by_mean, by_theta, by_zero);
            }
        }
        if GRADIENT {
            // d nll / d l = d - rho sum(d)
            let total = (sum(d_mean) / f64::from(self.library_size)) as f32;
            d_mean.iter_mut().zip(&*mean).for_each(|(d, &mu)| *d -= mu * total);
        }
        sum(nll)
    }

    /// mu into `mean`; returns c of `ln mu = l + c`.
    #[inline(always)]
    fn softmax_mean(&self, mean: &mut [f32]) -> f32 {
        let mut top = max(self.logits);
        if self.with_remainder {
            top = top.max(0.0);
        }
        mean.iter_mut().zip(self.logits).for_each(|(mean, &l)| *mean = exp(l - top));
        let total = sum(mean) as f32 + if self.with_remainder { exp(-top) } else { 0.0 };
        let scale = self.library_size / total;
        mean.iter_mut().for_each(|mean| *mean *= scale);
        ln(self.library_size) - ln(total) - top
    }

    /// The seen genes' values, one after the other. Zeros that are stored are not seen.
    #[inline(always)]
    fn gather(&self, seen: &mut NonZeroGenes, log_scale: f32, mean: &[f32], theta: &[f32], log_theta: &[f32]) {
        seen.gene.clear();
        seen.count.clear();
        for (&gene, &count) in self.seen.iter().zip(self.counts) {
            if count != 0.0 {
                seen.gene.push(gene);
                seen.count.push(count);
            }
        }
        let pick = |out: &mut Vec<f32>, from: &[f32]| {
            out.clear();
            out.extend(seen.gene.iter().map(|&gene| from[gene as usize]));
        };
        pick(&mut seen.mean, mean);
        pick(&mut seen.log_mean, self.logits);
        pick(&mut seen.theta, theta);
        pick(&mut seen.log_theta, log_theta);
        seen.log_mean.iter_mut().for_each(|l| *l += log_scale);
        if let Some(zero_logits) = self.zero_logits {
            pick(&mut seen.zero_logit, zero_logits);
        }
    }
}

/// Every gene as a count of 0 under the NB.
#[inline(always)]
fn all_zero<const GRADIENT: bool>(
    mean: &[f32],
    theta: &[f32],
    inverse_theta: &[f32],
    nll: &mut [f32],
    d_mean: &mut [f32],
    d_log_theta: &mut [f32],
) {
    let inputs = mean.iter().zip(theta.iter().zip(inverse_theta));
    let outputs = nll.iter_mut().zip(d_mean.iter_mut().zip(d_log_theta));
    for ((&mu, (&theta, &inverse)), (nll, (d_mean, d_log_theta))) in inputs.zip(outputs) {
        let result = zero(mu, theta, inverse);
        *nll = result.value;
        if GRADIENT {
            (*d_mean, *d_log_theta) = (result.d_log_mu, result.d_log_theta);
        }
    }
}

/// Every gene as a count of 0 under the ZINB, from the same under the NB.
#[inline(always)]
fn all_inflated<const GRADIENT: bool>(
    zero_logits: &[f32],
    nll: &mut [f32],
    d_mean: &mut [f32],
    d_log_theta: &mut [f32],
    d_zero: &mut [f32],
) {
    let outputs = nll.iter_mut().zip(d_mean.iter_mut().zip(d_log_theta.iter_mut().zip(d_zero)));
    for (&z, (nll, (d_mean, (d_log_theta, d_zero)))) in zero_logits.iter().zip(outputs) {
        let (value, by_nll, by_z) = inflated_zero(*nll, z);
        *nll = value;
        if GRADIENT {
            (*d_mean, *d_log_theta, *d_zero) = (*d_mean * by_nll, *d_log_theta * by_nll, by_z);
        }
    }
}

impl NonZeroGenes {
    /// `[nll, by ln mu, by ln theta, by the zero logit]` of each seen gene.
    #[inline(always)]
    fn evaluate<const GRADIENT: bool>(&mut self, is_inflated: bool) {
        self.result.clear();
        self.result.resize(self.count.len(), [0.0; 4]);
        let inputs = self.count.iter().zip(self.mean.iter().zip(&self.log_mean));
        let inputs = inputs.zip(self.theta.iter().zip(&self.log_theta));
        for (((&x, (&mu, &log_mu)), (&theta, &log_theta)), out) in inputs.zip(&mut self.result) {
            let Nll { value, d_log_mu, d_log_theta } = positive(x, mu, log_mu, theta, log_theta);
            *out = if GRADIENT { [value, d_log_mu, d_log_theta, 0.0] } else { [value, 0.0, 0.0, 0.0] };
        }
        if is_inflated {
            for (out, &z) in self.result.iter_mut().zip(&self.zero_logit) {
                let (value, _, by_z) = inflated_positive(out[0], z);
                (out[0], out[3]) = (value, by_z);
            }
        }
    }
}
