//! What is changed in each variant.

use super::modules::{MODULE_VARIANTS, MaskModules};
use crate::{
    model::{
        combination::CombinationConfig,
        jepa::{
            AntiCollapse, Conditioning, ControlPairing, EncoderConfig, GeneConfig, GroupConfig, Grouping, JepaSettings,
            MaskConfig, MaskKind, Phase, PredictorState, PretrainingConfig, PretrainingObjective, Regularise, SetLoss,
            Size, TeacherSees, ValueTokens, ViewNoise,
        },
    },
    nn::EmbeddingLoss,
};

/// The name of the unchanged model.
pub const UNCHANGED: &str = "as it is";

/// Of the combination model: what is changed, and the settings.
pub(super) fn variants_of_effects(base: &CombinationConfig) -> Vec<(&'static str, CombinationConfig)> {
    let with = |change: &dyn Fn(&mut CombinationConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    // Weights grow with the square of the width; the epochs make up for it, so that all sizes cost the same.
    let sized = |width: usize, hidden: usize, epochs: f64| {
        with(&|c| {
            (c.width, c.hidden) = (width, hidden);
            c.training.epochs = ((c.training.epochs as f64 * epochs).round() as usize).max(1);
        })
    };
    vec![
        (UNCHANGED, base.clone()),
        ("scaled sum alone", with(&|c| (c.kernel_ridge, c.network) = (false, false))),
        ("no kernel ridge", with(&|c| c.kernel_ridge = false)),
        ("no network", with(&|c| c.network = false)),
        ("no trust in cell numbers", with(&|c| c.half_trust = 0.0)),
        ("no smoothing", with(&|c| c.smooth = 1)),
        ("no EMA", with(&|c| c.ema = None)),
        ("no variance, no covariance", with(&|c| (c.variance, c.covariance) = (0.0, 0.0))),
        ("L2 loss", with(&|c| c.loss = EmbeddingLoss::L2)),
        ("cosine loss", with(&|c| c.loss = EmbeddingLoss::Cosine)),
        ("FiLM", with(&|c| c.conditioning = Conditioning::Film)),
        ("cross-attention", with(&|c| c.conditioning = Conditioning::CrossAttention)),
        ("a learned vector a gene", with(&|c| c.learned = true)),
        ("an ensemble of 3", with(&|c| c.ensembles = 3)),
        ("small (16, 32), equal compute", sized(16, 32, 3.0)),
        ("large (64, 128), equal compute", sized(64, 128, 1.0 / 3.0)),
    ]
}

/// Of the JEPA: what is changed, and the settings; masks by the `modules` that there are.
pub(super) fn variants_of_jepa(base: &JepaSettings, modules: &MaskModules) -> Vec<(&'static str, JepaSettings)> {
    let with = |change: &dyn Fn(&mut JepaSettings)| {
        let mut settings = base.clone();
        change(&mut settings);
        settings
    };
    // The same predictor and decoder on an embedding that phase B leaves as it is.
    let frozen = |change: &dyn Fn(&mut JepaSettings)| {
        with(&|s| {
            s.response.train_encoder = false;
            change(s);
        })
    };
    let masks = |change: &dyn Fn(&mut MaskConfig)| with(&|s| change(&mut s.encoder.masks));
    let groups = |change: &dyn Fn(&mut GroupConfig)| {
        with(&|s| {
            if let EncoderConfig::Groups(groups) = &mut s.encoder.encoder {
                change(groups);
            }
        })
    };
    let trained_by = |objective: PretrainingObjective| {
        move |s: &mut JepaSettings| {
            s.encoder.objective = objective.clone();
            s.encoder.teacher.sees = TeacherSees::default();
        }
    };
    let reconstruction = trained_by(PretrainingObjective::Reconstruction);
    let two_views = trained_by(PretrainingObjective::split_views());
    let contrastive = trained_by(PretrainingObjective::contrastive());
    let variational = trained_by(PretrainingObjective::Variational { beta: 1.0 });
    let conditions = trained_by(PretrainingObjective::conditions());
    let components = |s: &mut JepaSettings| {
        s.encoder.encoder = EncoderConfig::Linear;
        s.encoder.teacher.sees = TeacherSees::default();
        s.phase = Phase::B;
    };
    // Another encoder of the same size; one whose tokens have no places predicts the embedding of hidden genes.
    let size = base.encoder.encoder.places().map_or(Size::Small, |places| match places.tokens {
        0..=32 => Size::Tiny,
        33..=64 => Size::Small,
        65..=128 => Size::Medium,
        _ => Size::Large,
    });
    let encoder = |of: &dyn Fn(Size) -> PretrainingConfig| {
        with(&|s| {
            let other = of(size);
            (s.encoder.encoder, s.encoder.teacher.sees) = (other.encoder, other.teacher.sees);
        })
    };
    let genes = |value: ValueTokens| {
        encoder(&|size| PretrainingConfig {
            encoder: EncoderConfig::Genes(GeneConfig { value, ..GeneConfig::of(size) }),
            ..PretrainingConfig::genes(size)
        })
    };
    let mut variants = vec![
        (UNCHANGED, base.clone()),
        ("predictor as it began", with(&|s| s.response.predictor = PredictorState::Initial)),
        ("predictor as measured", with(&|s| s.response.predictor = PredictorState::Measured)),
        ("phase A by reconstruction", with(&reconstruction)),
        ("phase A by two views", with(&two_views)),
        ("phase A by conditions", with(&conditions)),
        ("no phase A", with(&|s| s.phase = Phase::B)),
        ("encoder frozen after phase A", frozen(&|_| {})),
        ("encoder frozen after reconstruction", frozen(&reconstruction)),
        ("encoder frozen after two views", frozen(&two_views)),
        ("encoder frozen after contrast", frozen(&contrastive)),
        ("encoder frozen after conditions", frozen(&conditions)),
        ("encoder frozen after a VAE", frozen(&variational)),
        ("encoder frozen at principal components", frozen(&components)),
        ("encoder frozen at random weights", frozen(&|s| s.phase = Phase::B)),
        ("no EMA", with(&|s| s.encoder.teacher.ema = None)),
        ("no VICReg", with(&|s| (s.response.weights.variance, s.response.weights.covariance) = (0.0, 0.0))),
        ("VICReg of predictions", with(&|s| s.response.regularise = Regularise::Predictions)),
        ("counts do not train the encoder", with(&|s| s.response.weights.counts_reach_encoder = false)),
        ("MMD", with(&|s| s.response.distance = SetLoss::Mmd)),
        ("sliced Wasserstein", with(&|s| s.response.distance = SetLoss::SlicedWasserstein)),
        ("no energy distance", with(&|s| s.response.weights.energy = 0.0)),
        ("no decoded means", with(&|s| (s.response.weights.profile, s.response.weights.effect) = (0.0, 0.0))),
        ("no tuning", with(&|s| s.response.tuning.epochs = 0)),
        // Of size tiny's 8 groups a target is 2; here 1, and 3.
        ("masks: 10 % a target", masks(&|m| m.fraction = 0.1)),
        ("masks: 32 % a target", masks(&|m| m.fraction = 0.32)),
        ("masks: 1 target", masks(&|m| m.targets = 1)),
        ("masks: overlap 0.5", masks(&|m| m.overlap = 0.5)),
        ("random groups", groups(&|g| g.grouping = Grouping::Random)),
        ("groups of even size", groups(&|g| g.grouping = Grouping::EvenCorrelation)),
        ("16 groups", groups(&|g| g.groups = 16)),
        ("32 groups", groups(&|g| g.groups = 32)),
        ("cross-attention", with(&|s| s.response.conditioning = Conditioning::CrossAttention)),
        ("concatenation", with(&|s| s.response.conditioning = Conditioning::Concatenation)),
        ("random pairs", with(&|s| s.response.pairing = ControlPairing::Random)),
        ("transport pairs", with(&|s| s.response.pairing = ControlPairing::Transport)),
        ("gene tokens", encoder(&PretrainingConfig::genes)),
        ("binned gene tokens", genes(ValueTokens::Bins { levels: 16 })),
        ("ranked gene tokens", genes(ValueTokens::Ranks { levels: 16 })),
        ("Perceiver", encoder(&PretrainingConfig::tokens)),
        ("perceptron", encoder(&PretrainingConfig::mlp)),
        ("context thinned", masks(&|m| m.noise = ViewNoise::Split)),
    ];
    for (kind, names) in modules.kinds().into_iter().zip(MODULE_VARIANTS) {
        let Some(kind) = kind else { continue };
        let masked = |mut settings: JepaSettings| {
            settings.encoder.masks.kind = kind.clone();
            settings
        };
        variants.push((names[0], masked(base.clone())));
        variants.push((names[1], masked(encoder(&PretrainingConfig::genes))));
    }
    variants
}

/// The names of the variants of the JEPA, with those of the files of `modules`.
pub fn names_of_jepa_variants(modules: &MaskModules) -> Vec<&'static str> {
    variants_of_jepa(&JepaSettings::default(), modules).into_iter().map(|(name, _)| name).collect()
}

/// Of pretraining: what is changed, the settings, and the epochs as a share of those given (0: it is judged as it begins).
pub(super) fn variants_of_cells(base: &PretrainingConfig) -> Vec<(&'static str, PretrainingConfig, f64)> {
    let with = |change: &dyn Fn(&mut PretrainingConfig)| {
        let mut config = base.clone();
        change(&mut config);
        config
    };
    let masked = |change: &dyn Fn(&mut PretrainingConfig)| {
        with(&|c| {
            c.objective = PretrainingObjective::Masks;
            change(c);
        })
    };
    let sized = |hidden: usize| with(&|c| c.encoder = EncoderConfig::Mlp { hidden: vec![hidden] });
    vec![
        ("two views", with(&|c| c.objective = PretrainingObjective::split_views()), 1.0),
        (
            "two views, no anti-collapse",
            with(&|c| {
                c.objective = PretrainingObjective::split_views();
                c.anti_collapse = AntiCollapse::None;
            }),
            1.0,
        ),
        ("masked genes", masked(&|_| {}), 1.0),
        ("masked genes, adversarial", masked(&|c| c.masks.kind = MaskKind::Adversarial), 1.0),
        ("masked genes, no EMA", masked(&|c| c.teacher.ema = None), 1.0),
        ("masked genes, no anti-collapse", masked(&|c| c.anti_collapse = AntiCollapse::None), 1.0),
        (
            "masked genes, variance and covariance",
            masked(&|c| c.anti_collapse = AntiCollapse::variance_covariance()),
            1.0,
        ),
        ("masked reconstruction", with(&|c| c.objective = PretrainingObjective::Reconstruction), 1.0),
        ("contrast", with(&|c| c.objective = PretrainingObjective::contrastive()), 1.0),
        ("a VAE", with(&|c| c.objective = PretrainingObjective::Variational { beta: 1.0 }), 1.0),
        (
            "principal components",
            with(&|c| {
                c.encoder = EncoderConfig::Linear;
                c.teacher.sees = TeacherSees::default();
            }),
            0.0,
        ),
        ("sets of a condition's cells", with(&|c| c.objective = PretrainingObjective::conditions()), 1.0),
        ("hidden 64, equal compute", sized(64), 4.0),
        ("hidden 1024, equal compute", sized(1024), 0.25),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;
    use std::collections::HashSet;

    #[test]
    fn every_variant_of_the_jepa_is_valid_and_another_model() {
        let mut seen = HashSet::new();
        let modules = MaskModules { gene_sets: Some("sets.gmt".into()), regulons: Some("regulons.tsv".into()) };
        for (name, settings) in variants_of_jepa(&JepaSettings::preset(Size::Tiny), &modules) {
            settings.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
            // What phase A hides is a whole number of places.
            let places = settings.encoder.encoder.places().map_or(0, |places| places.places);
            let hidden = (settings.encoder.masks.fraction * places as f64).round();
            let mut rest = settings.clone();
            rest.encoder.masks.fraction = 0.2;
            let rest = serde_json::to_string(&rest).expect("settings always serialise");
            assert!(seen.insert((hidden as usize, rest)), "{name} is the same as another variant");
        }
    }
}
