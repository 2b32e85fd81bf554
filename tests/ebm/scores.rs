//! Score matching without noise; noise levels and annealed Langevin dynamics.

use super::{mixture, net, noise, samples};
use genailab::{
    dfdx::prelude::*,
    eval::sets::{EDistance, edistance},
    model::{
        diffusion::gaussian_noise,
        ebm::{
            EnergyNet, EnergyNetConfig, NoiseLevels, annealed_langevin, explicit_score_matching, overlapping_ratio,
            sliced_score_matching,
        },
    },
    ndarray::array,
    nn::init::seeded,
};

#[test]
fn sliced_is_explicit_score_matching_to_sampling_error() {
    let (net, x) = (net(4, 0, 1), noise(300, 4, 2));
    let explicit = explicit_score_matching(&net, &x, None, NoneTape).expect("it fits").array();
    let draws: Vec<f32> = (0..200)
        .map(|seed| sliced_score_matching(&net, &x, None, 1, NoneTape, &mut seeded(seed)).expect("it fits").array())
        .collect();
    let mean = draws.iter().sum::<f32>() / 200.0;
    let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f32>() / 199.0;
    let error = (variance / 200.0).sqrt();
    assert!((mean - explicit).abs() < 4.0 * error, "{mean} ± {error}, explicit {explicit}");
    assert!(error < 0.05 * explicit.abs(), "the test can fail: {error} of {explicit}");
}

/// With f = 0 the model is N(0, I): J = mean |x|^2 / 2 - dims, at its smallest on data of N(0, I), where it is -dims / 2.
#[test]
fn on_a_gaussian_the_loss_is_its_closed_form() {
    let untrained =
        EnergyNet::new(&Cpu::default(), (3, 0), EnergyNetConfig::default(), &mut seeded(1)).expect("memory");
    let x = noise(400, 3, 2);
    let found = explicit_score_matching(&untrained, &x, None, NoneTape).expect("it fits").array();
    let expected = x.iter().map(|v| v * v).sum::<f32>() / 800.0 - 3.0;
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    let many = sliced_score_matching(&untrained, &x, None, 400, NoneTape, &mut seeded(3)).expect("it fits").array();
    assert!((many - expected).abs() < 0.05, "{many} {expected}");
}

/// Song and Ermon 2020, section 3 and appendix B: CIFAR-10 has 3,072 dimensions, 232 levels from 50 to 0.01, 5 steps per level,
/// and a step length of 6.2e-6, which is 0.062 times the square of the smallest level.
#[test]
fn noise_levels_are_those_of_the_paper() {
    let ratio = overlapping_ratio(3072);
    assert!((ratio - 1.0398).abs() < 1e-3, "sqrt(2 d) / (sqrt(2 d) - 3) in many dimensions: {ratio}");
    assert_eq!(overlapping_ratio(2), 2.0);
    let sigmas: Vec<f64> = (0..232).map(|i| 50.0 * (0.01_f64 / 50.0).powf(f64::from(i) / 231.0)).collect();
    let levels: NoiseLevels = serde_json::from_value(serde_json::json!(sigmas)).expect("a list");
    assert!((levels.step_length(5) - 0.062).abs() < 0.002, "{}", levels.step_length(5));

    let x = array![[0.0_f32, 0.0], [3.0, 4.0], [1.0, 1.0]];
    let chosen = NoiseLevels::choose(&x, 0.1, 0).expect("they differ");
    assert!((chosen.sigmas()[0] - 5.0).abs() < 1e-6 && (chosen.smallest() - 0.1).abs() < 1e-9);
    let ratios: Vec<f64> = chosen.sigmas().windows(2).map(|pair| pair[0] / pair[1]).collect();
    assert!(ratios.iter().all(|ratio| *ratio <= 2.0 + 1e-9 && (ratio - ratios[0]).abs() < 1e-9), "{ratios:?}");
    let alike = array![[1.0_f32], [1.0]];
    assert!(NoiseLevels::choose(&alike, 0.1, 0).expect_err("alike").to_string().contains("do not differ"));
    assert!(NoiseLevels::choose(&x, 0.0, 0).expect_err("no noise").to_string().contains("sigma_min"));
}

#[test]
fn annealed_langevin_reaches_the_data() {
    let (data, truth) = (mixture(), samples(800, 1));
    let levels = NoiseLevels::choose(&truth, 0.05, 0).expect("they differ");
    let start = gaussian_noise(800, 2, levels.sigmas()[0], &mut seeded(2));
    let score = |x: &_, sigma: f64| Ok(data.expectations(x, 1.0, sigma)?.1 / -sigma);
    let x = annealed_langevin(score, &levels, 20, start, 3).expect("it runs").mapv(|v| v as f32);
    let apart = |a: &genailab::ndarray::Array2<f32>| edistance(a.view(), truth.view(), EDistance::Plain).expect("rows");
    assert!(apart(&x) < apart(&samples(800, 4)) + 0.02, "{} {}", apart(&x), apart(&samples(800, 4)));
}
