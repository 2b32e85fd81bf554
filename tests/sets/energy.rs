//! The energy test: right under the null, sensitive, repeatable.

use super::{close, gaussian, plain::FORMS};
use genailab::{eval::sets::*, ndarray::Array2};

#[test]
fn energy_test_p_values_are_uniform_under_the_null() {
    let (sets, shuffles) = (400, 200);
    for form in FORMS {
        let p_values: Vec<f64> = (0..sets)
            .map(|set| {
                let x = gaussian(12, 3, 0.0, 1.0, 1000 + 2 * set);
                let y = gaussian(17, 3, 0.0, 1.0, 1001 + 2 * set);
                energy_test(x.view(), y.view(), form, shuffles, set).expect("defined").p_value
            })
            .collect();
        for level in [0.05, 0.25, 0.5, 0.75] {
            let share = p_values.iter().filter(|&&p| p <= level).count() as f64 / sets as f64;
            // Four standard errors of a binomial share.
            let allowed = 4.0 * (level * (1.0 - level) / sets as f64).sqrt();
            assert!((share - level).abs() < allowed, "{form:?}: a share of {share} is at or below {level}");
        }
    }
}

#[test]
fn energy_test_tells_sets_apart_and_repeats() {
    let x = gaussian(30, 5, 0.0, 1.0, 20);
    let shifted = gaussian(40, 5, 1.0, 1.0, 21);
    let wide = gaussian(40, 5, 0.0, 3.0, 22);
    for form in FORMS {
        let test = energy_test(x.view(), shifted.view(), form, 500, 1).expect("defined");
        close(edistance(x.view(), shifted.view(), form), test.statistic, 1e-9, "the statistic");
        assert_eq!(test.p_value, 1.0 / 500.0, "never 0: at least one of the shuffles counts");
        assert_eq!(energy_test(x.view(), shifted.view(), form, 500, 1), Some(test));
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(one_thread.install(|| energy_test(x.view(), shifted.view(), form, 500, 1)), Some(test));
    }
    let p = |form| energy_test(x.view(), wide.view(), form, 500, 2).expect("defined").p_value;
    assert!(p(EDistance::Plain) <= 0.01);
    assert!(p(EDistance::Squared) > 0.01, "equal means: the squared form must not see the spread");
    // Cells that are all the same: every shuffle is a tie, and ties speak for the null.
    let still = Array2::from_elem((6, 2), 1.5_f32);
    assert_eq!(energy_test(still.view(), still.view(), EDistance::Squared, 50, 0).expect("defined").p_value, 1.0);
}
