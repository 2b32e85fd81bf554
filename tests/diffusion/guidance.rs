//! Guidance: no condition, the condition, and further.

use super::common::{covariance, largest, mean, rng};
use genailab::{
    model::{
        diffusion::{
            Denoiser, GaussianMixture, Guided, Sampler, SamplerConfig, Sde, TimeGrid, Velocity, guide, prior, sample,
        },
        flow::{FlowPath, MixtureVelocity},
    },
    ndarray::{Array2, array},
};

/// Two labels that overlap.
fn labelled() -> GaussianMixture {
    GaussianMixture::round(&[0.5, 0.5], &array![[-0.7, 0.0], [0.7, 0.0]], 0.6).expect("a mixture")
}

#[test]
fn scale_0_is_unconditional_1_conditional_and_between_is_linear() {
    let sde = Sde::default();
    let (all, one) = (labelled().denoiser(sde), labelled().component(1).expect("two").denoiser(sde));
    let x = prior(&sde, 20, 2, &mut rng(0));
    let noise = |scale| Guided::denoiser(&all, &one, scale).expect("fits").noise(&x, 0.4).expect("fits");
    assert_eq!(noise(0.0), all.noise(&x, 0.4).expect("fits"));
    assert_eq!(noise(1.0), one.noise(&x, 0.4).expect("fits"));
    assert!(largest(&(noise(0.0) * 0.5 + noise(1.0) * 0.5), &noise(0.5)) < 1e-12);
    assert!(largest(&(noise(1.0) * 2.0 - noise(0.0)), &noise(2.0)) < 1e-12);
    assert_eq!(guide(&noise(0.0), &noise(1.0), 3.0), noise(3.0));

    let path = FlowPath::Linear;
    let (all, one) =
        (MixtureVelocity::new(labelled(), path), MixtureVelocity::new(labelled().component(1).expect("two"), path));
    let velocity = |scale| Guided::velocity(&all, &one, scale).expect("fits").velocity(&x, 0.4).expect("fits");
    assert_eq!(velocity(0.0), all.velocity(&x, 0.4).expect("fits"));
    assert_eq!(velocity(1.0), one.velocity(&x, 0.4).expect("fits"));
    assert!(largest(&(velocity(1.0) * 2.0 - velocity(0.0)), &velocity(2.0)) < 1e-12);
}

#[test]
fn a_larger_scale_is_surer_of_its_label_and_less_diverse() {
    let sde = Sde::default();
    let (all, one) = (labelled().denoiser(sde), labelled().component(1).expect("two").denoiser(sde));
    let drawn = |scale| -> Array2<f64> {
        let guided = Guided::denoiser(&all, &one, scale).expect("fits");
        let config = SamplerConfig { grid: TimeGrid::LogSnr, ..SamplerConfig::new(Sampler::ProbabilityFlow, 60) };
        sample(&guided, &sde, &config, prior(&sde, 6000, 2, &mut rng(1)), &mut rng(1)).expect("a sampler")
    };
    let judged = |scale| {
        let x = drawn(scale);
        let sure = labelled().shares(&x).expect("fits").column(1).mean().expect("rows");
        (sure, covariance(&x)[[0, 0]], mean(&x)[0])
    };
    let (none, plain, strong) = (judged(0.0), judged(1.0), judged(4.0));
    // Unconditional: both labels; standard error of the share below 0.005.
    assert!((none.0 - 0.5).abs() < 0.03, "{none:?}");
    assert!((plain.1 - 0.36).abs() < 0.03 && (plain.2 - 0.7).abs() < 0.03, "the component itself: {plain:?}");
    assert!(strong.0 > plain.0 + 0.02 && plain.0 > none.0 + 0.2, "{none:?}, {plain:?}, {strong:?}");
    assert!(strong.1 < 0.8 * plain.1, "{plain:?}, {strong:?}");
    assert!(strong.2 > plain.2 + 0.1, "it overshoots the label's mean: {plain:?}, {strong:?}");
}
