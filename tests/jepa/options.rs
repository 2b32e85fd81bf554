//! Options of phase B that are off by default: distances, activation, the width of e(p), what is held apart; and the sizes.

use super::response::{controls, error_of_singles, settings, simulated, trained, training};
use genailab::{
    data::Condition,
    device::Device,
    model::{
        Model, ModelConfig, Trained,
        jepa::{
            Conditioning, ControlPairing, EncoderConfig, GroupConfig, Jepa, JepaSettings, Regularise, ResponseConfig,
            SetLoss, Size,
        },
    },
    nn::{Activation, AttentionConfig},
    train::Run,
};

#[test]
fn other_distances_train_as_well_and_are_read_back_with_their_options() {
    for distance in [SetLoss::Mmd, SetLoss::SlicedWasserstein] {
        let mut settings = settings();
        settings.response = ResponseConfig {
            distance,
            activation: Activation::Relu,
            perturbation_width: Some(24),
            regularise: Regularise::Predictions,
            conditioning: match distance {
                SetLoss::Mmd => Conditioning::CrossAttention,
                _ => Conditioning::Concatenation,
            },
            ..settings.response
        };
        let (model, history) = Jepa::fit(&training(), &settings, &mut Run::quiet(0)).expect("it trains");
        let parts = &history.epochs[0].train.parts;
        assert!(parts.contains_key(distance.name()), "{parts:?}");
        let (other, energy) = (error_of_singles(&model), error_of_singles(trained()));
        assert!(other < 1.5 * energy, "{distance:?}: {other}, energy distance {energy}");

        let dir = tempfile::tempdir().expect("a folder");
        model.save(dir.path()).expect("written");
        let again = Jepa::load(dir.path(), Device::Cpu).expect("read");
        let (data, rows) = (&simulated().0, controls());
        let double = data.perturbations.iter().find(|p| p.genes().len() == 2).expect("a double").clone();
        let of = |model: &Jepa| {
            model.predicted_embeddings(data, &rows, &Condition::of(double.clone())).expect("it predicts")
        };
        assert_eq!(of(&again), of(&model));
    }
}

#[test]
fn options_without_a_meaning_are_refused() {
    type Change = fn(&mut ResponseConfig);
    let refused: [(Change, &str); 4] = [
        (|of| (of.distance, of.pairing) = (SetLoss::Mmd, ControlPairing::Random), "pairing"),
        (|of| (of.distance, of.weights.energy) = (SetLoss::SlicedWasserstein, 0.0), "energy"),
        (|of| of.perturbation_width = Some(0), "perturbation_width"),
        (
            |of| {
                of.regularise = Regularise::Predictions;
                (of.weights.variance, of.weights.covariance) = (0.0, 0.0);
            },
            "regularise",
        ),
    ];
    for (change, wanted) in refused {
        let mut settings = settings();
        change(&mut settings.response);
        let error = settings.validate().expect_err("it means nothing").to_string();
        assert!(error.contains(wanted), "{error}");
    }
    // The names of a configuration file.
    let read = |json: &str| serde_json::from_str::<ResponseConfig>(json).expect("a table [response]");
    let all = read(
        r#"{"distance": "sliced_wasserstein", "activation": "gelu", "perturbation_width": 128, "regularise": "predictions"}"#,
    );
    assert_eq!((all.distance, all.activation), (SetLoss::SlicedWasserstein, Activation::Gelu));
    assert_eq!((all.perturbation_width, all.regularise), (Some(128), Regularise::Predictions));
    assert_eq!(read("{}"), ResponseConfig::default());
}

#[test]
fn the_large_size_is_as_wide_as_its_tokens_and_the_others_are_as_they_were() {
    let widths =
        [Size::Tiny, Size::Small, Size::Medium, Size::Large].map(|size| JepaSettings::preset(size).encoder.width);
    assert_eq!(widths, [32, 48, 64, 256]);
    let EncoderConfig::Groups(GroupConfig { groups, tokens, depth, attention, predictor_depth, .. }) =
        JepaSettings::preset(Size::Large).encoder.encoder
    else {
        panic!("tokens of groups");
    };
    assert_eq!((groups, tokens, depth, predictor_depth), (64, 256, 6, 4));
    assert_eq!(attention, AttentionConfig { heads: 8, dropout: 0.0 });
}
