//! What to trust, and what to measure next.

use serde::{Deserialize, Serialize};

/// A perturbation that was not measured, and what its experiment would tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextExperiment {
    /// Its name.
    pub perturbation: String,
    /// How far the prediction is expected to be off, root mean square over genes.
    pub expected_error: f64,
    /// Size of the predicted effect, root mean square over genes.
    pub effect: f64,
    /// `expected_error` as a share of `effect`: near or above 1 the prediction says little.
    pub relative: f64,
}

/// Perturbations by what their experiment would tell, most first: the expected error of the prediction, in units of
/// expression. An experiment removes that error, so the largest one first (uncertainty sampling; Settles 2009), and of those
/// that are expected to be off alike the one with the larger effect.
///
/// Each is a name, an expected error and the size of the predicted effect, root mean squares over genes; those that are
/// not finite are left out.
pub fn next_experiments(candidates: impl IntoIterator<Item = (String, f64, f64)>) -> Vec<NextExperiment> {
    let mut ranked: Vec<NextExperiment> = candidates
        .into_iter()
        .filter(|(_, error, effect)| error.is_finite() && effect.is_finite())
        .map(|(perturbation, expected_error, effect)| {
            let relative = expected_error / effect.max(1e-12);
            NextExperiment { perturbation, expected_error, effect, relative }
        })
        .collect();
    ranked.sort_by(|a, b| {
        let by_error = b.expected_error.total_cmp(&a.expected_error);
        by_error.then(b.effect.total_cmp(&a.effect)).then(a.perturbation.cmp(&b.perturbation))
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::next_experiments;

    #[test]
    fn the_least_known_come_first_and_what_is_not_a_number_is_left_out() {
        let candidates = [("a", 0.1, 1.0), ("b", 0.4, 0.2), ("c", f64::NAN, 1.0), ("d", 0.1, 2.0)];
        let ranked = next_experiments(candidates.map(|(name, error, effect)| (name.to_owned(), error, effect)));
        let names: Vec<&str> = ranked.iter().map(|next| next.perturbation.as_str()).collect();
        assert_eq!(names, ["b", "d", "a"]);
        assert!((ranked[0].relative - 2.0).abs() < 1e-12);
    }
}
