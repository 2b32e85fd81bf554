//! Effects as log2 fold changes of mean profiles.
//!
//! A predicted mean below zero (a large predicted loss of a gene that control hardly expresses) counts as zero: there is
//! no less than none.

use crate::eval::de::log2_fold_change;

/// What PerturBench adds to a mean before it takes the logarithm (Wu et al. 2024, `logFC_adata(pseudocount=0.1)`).
pub const PERTURBENCH_PSEUDOCOUNT: f64 = 0.1;

/// PerturBench's log fold change `(genes,)`: `log2(mean + 0.1) - log2(mean_control + 0.1)`, of means of log-normalised
/// expression (it does not undo the logarithm of the cells). `control` and `effect` are `(genes,)`.
pub fn perturbench_log_fold_change(control: &[f32], effect: &[f32]) -> Vec<f32> {
    let log = |mean: f64| (mean.max(0.0) + PERTURBENCH_PSEUDOCOUNT).log2();
    let fold = |(&control, &effect): (&f32, &f32)| {
        let control = f64::from(control);
        (log(control + f64::from(effect)) - log(control)) as f32
    };
    control.iter().zip(effect).map(fold).collect()
}

/// scanpy's log fold change `(genes,)` of a predicted mean: `log2((exp(mean) - 1 + 1e-9) / (exp(mean_control) - 1 + 1e-9))`.
pub fn fold_change_of_means(control: &[f32], effect: &[f32]) -> Vec<f32> {
    let fold = |(&control, &effect): (&f32, &f32)| {
        let control = f64::from(control).max(0.0);
        log2_fold_change((control + f64::from(effect)).max(0.0), control) as f32
    };
    control.iter().zip(effect).map(fold).collect()
}
