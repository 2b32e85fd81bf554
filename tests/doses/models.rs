//! What models make of doses: the gradient of the curve in the training path, curves found again, saved and resumed; models that
//! take no doses.

use super::{DOSES, cells, simulation};
use crate::common::{
    nudge::{Nudge, Whole},
    training_loss::training_loss,
};
use genailab::{
    data::{
        Condition, DataKind, EffectTable, Effects, Perturbation, Split, SplitPlan, TrainingData, dose::name_and_dose,
    },
    device::Device,
    dfdx::prelude::{Backward, Cpu, NoneTape, OwnedTape},
    model::{
        CellSource, CellView, CountVae, KlAnnealing, Likelihood, Model, ModelConfig, Trained, VaeConfig, VaeNet,
        VaeSettings, Vocabulary,
        jepa::{EncoderConfig, GroupConfig, Jepa, JepaSettings, Size},
        registry::Registry,
    },
    ndarray::Array1,
    nn::Params,
    predict::{Fitted, baselines::predictor},
    train::{BatchSource, Run, TrainConfig},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::OnceLock;

fn small(likelihood: Likelihood) -> VaeConfig {
    VaeConfig { latent: 4, hidden: vec![16], condition: 6, likelihood, ..VaeConfig::default() }
}

/// Of each name, a middle dose is held out.
fn held_out() -> Split {
    SplitPlan::parse("doses", 0).and_then(|plan| plan.apply(cells())).expect("five doses")
}

fn training(split: &Split) -> TrainingData {
    TrainingData::of_dataset(cells().clone(), split, 0).expect("its own split")
}

#[test]
fn the_curve_has_the_gradient_of_the_training_loss() {
    let rows: Vec<usize> = (0..48).collect();
    let vocabulary = Vocabulary::of_cells(cells(), &rows);
    let config = VaeConfig { kl_annealing: KlAnnealing::Constant, ..small(Likelihood::Nb) };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut net = VaeNet::new(&Cpu::default(), &vocabulary, &config, false, &mut rng).expect("a small network");
    let view = CellView { total_library: false, with_target: false };
    let source = CellSource::new(cells(), &rows, &vocabulary, view).expect("known perturbations");
    let batch = source.batch(&rows).expect("rows of the source");
    for name in ["condition.doser.half_dose.weight", "condition.doser.slope.weight", "condition.perturbation.weight"] {
        let mut gradients = training_loss(&mut net, &batch, OwnedTape::default()).total.backward();
        let mut whole = Whole { gradients: &mut gradients, name, found: Vec::new() };
        net.walk("", &mut whole).expect("a walk");
        let gradients = whole.found;
        let (element, gradient) =
            gradients.iter().copied().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).expect("weights");
        assert!(gradient.abs() > 1e-3, "{name}: a gradient of {gradient} tells nothing");
        let step = 5e-3;
        let mut at = |step: f32| {
            net.walk_mut("", &mut Nudge { name, element, step }).expect("a walk");
            training_loss(&mut net, &batch, NoneTape).parts.iter().map(|(_, value)| f64::from(*value)).sum::<f64>()
        };
        let (above, below) = (at(step), at(-2.0 * step));
        at(step);
        let numeric = (above - below) / (2.0 * f64::from(step));
        let error = (numeric - f64::from(gradient)).abs();
        assert!(error < 0.03 * numeric.abs() + 5e-3, "{name}[{element}]: gradient {gradient}, numeric {numeric}");
    }
}

fn trained() -> &'static CountVae {
    static MODEL: OnceLock<CountVae> = OnceLock::new();
    MODEL.get_or_init(|| {
        let settings = VaeSettings {
            model: VaeConfig { latent: 6, hidden: vec![48], condition: 16, ..VaeConfig::default() },
            train: TrainConfig { epochs: 50, ..TrainConfig::default() },
            ..VaeSettings::default()
        };
        CountVae::fit(&training(&held_out()), &settings, &mut Run::quiet(0)).expect("finite").0
    })
}

#[test]
fn learned_half_doses_follow_the_true_ones() {
    let curves = trained().dose_curves();
    let pairs: Vec<(f64, f64)> = simulation()
        .truth
        .dose_curves
        .iter()
        .map(|truth| {
            let learned = curves.iter().find(|curve| curve.name == truth.name).expect("it was trained on");
            (truth.half_dose.ln(), learned.half_dose.ln())
        })
        .collect();
    let (true_k, learned_k): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let r = genailab::eval::pearson(
        &true_k.iter().map(|&k| k as f32).collect::<Vec<_>>(),
        &learned_k.iter().map(|&k| k as f32).collect::<Vec<_>>(),
    )
    .expect("they vary");
    assert!(r > 0.5, "log half-doses correlate by {r}: true {true_k:?}, learned {learned_k:?}");
}

#[test]
fn a_predicted_curve_beats_the_mean_of_the_other_doses_at_a_held_out_dose() {
    let split = held_out();
    let data = training(&split);
    let model = predictor("dose_mean").expect("it is there").fit(&data).expect("names have doses");
    let all = Effects::of_cells(cells()).expect("control is there");
    let judged: Vec<usize> = (0..all.perturbations.len())
        .filter(|&row| split.test.iter().any(|&cell| cells().perturbation_of(cell) == &all.perturbations[row]))
        .collect();
    assert_eq!(judged.len(), 10);
    let controls = cells().control_cells();
    let mean = |p: &Perturbation| trained().mean_from(cells(), &controls, &Condition::of(p.clone()), 1).expect("known");
    let control = mean(&Perturbation::control());
    let truth = EffectTable::of_effects(&all, &judged);
    let (mut of_model, mut of_mean) = (0.0, 0.0);
    for (row, condition) in truth.conditions.iter().enumerate() {
        let true_effect: Array1<f64> = truth.effect(row);
        let off = |effect: Array1<f64>| (effect - &true_effect).mapv(|x| x * x).sum().sqrt();
        of_model += off(mean(&condition.perturbation) - &control);
        of_mean += off(Fitted::effect(model.as_ref(), condition).expect("trained at other doses").mapv(f64::from));
    }
    assert!(of_model < of_mean, "L2 of the model {of_model}, of the mean of the other doses {of_mean}");
}

#[test]
fn curves_are_saved_and_resumed_bit_for_bit() {
    let split = cells().split(&SplitPlan::stratified(1)).expect("enough cells");
    let data = training(&split);
    let settings = |epochs| VaeSettings {
        model: small(Likelihood::Nb),
        train: TrainConfig { epochs, ..TrainConfig::default() },
        ..VaeSettings::default()
    };
    let (whole, _) = CountVae::fit(&data, &settings(2), &mut Run::quiet(3)).expect("finite");
    let folder = tempfile::tempdir().expect("a folder");
    let run = |resume| Run { dir: Some(folder.path().to_owned()), resume, ..Run::quiet(3) };
    CountVae::fit(&data, &settings(1), &mut run(false)).expect("finite");
    let (resumed, _) = CountVae::fit(&data, &settings(2), &mut run(true)).expect("it resumes");
    assert_eq!(resumed.state().expect("whole"), whole.state().expect("whole"));
    let saved = folder.path().join("model");
    whole.save(&saved).expect("written");
    let read = CountVae::load(&saved, Device::Cpu).expect("read");
    assert_eq!(read.dose_curves(), whole.dose_curves());
    assert_eq!(read.dose_range(&read.dose_curves()[0].name), Some((DOSES[0], DOSES[4])));
    let started = CountVae::untrained(&data, &settings(1), &Run::quiet(3)).expect("small").dose_curves();
    assert_ne!(started, whole.dose_curves(), "training moves them");
}

#[test]
fn a_model_without_doses_refuses_them() {
    let registry = Registry::default();
    let data = training(&held_out());
    let refused = registry.family("ebm").and_then(|family| family.settings(None, DataKind::Cells)).expect("defaults");
    let error = refused.train(&data, &mut Run::quiet(0)).map(drop).expect_err("names have doses").to_string();
    assert!(error.contains("takes no doses") && error.contains("vae"), "{error}");

    // Trained at dose 1 only, the count VAE knows no other.
    let plain: Vec<usize> = (0..cells().n_cells()).filter(|&row| !cells().perturbation_of(row).has_dose()).collect();
    let plain = cells().select_cells(&plain);
    let every = Split { train: (0..plain.n_cells()).collect(), validation: Vec::new(), test: Vec::new() };
    let plain = TrainingData::of_dataset(plain, &every, 0).expect("its own split");
    let settings = VaeSettings { model: small(Likelihood::Nb), ..VaeSettings::default_for(DataKind::Cells) };
    let model = CountVae::untrained(&plain, &settings, &Run::quiet(0)).expect("small");
    assert!(model.dose_curves().is_empty());
    let name = &model.vocabulary().perturbed[0];
    let asked = Condition::of(Perturbation::of([name.as_str()]).at_dose(3.0));
    let error = model.check(&[asked]).expect_err("no doses were trained on").to_string();
    assert!(error.contains("without doses"), "{error}");
    assert_eq!(name_and_dose(name), (name.as_str(), 1.0));
}

#[test]
fn effects_have_doses_too() {
    let effects = Effects::of_cells(cells()).expect("control is there");
    let every = Split { train: (0..effects.perturbations.len()).collect(), validation: vec![], test: vec![] };
    let data = TrainingData::of_effects(&effects, &every, 0).expect("its own split");
    let usual = VaeSettings::default_for(DataKind::Effects);
    let settings = VaeSettings {
        model: small(Likelihood::Gaussian),
        train: TrainConfig { epochs: 30, ..usual.train.clone() },
        ..usual
    };
    let (model, _) = CountVae::fit(&data, &settings, &mut Run::quiet(0)).expect("finite");
    let name = &model.dose_curves()[0].name;
    let at = |dose: f64| Condition::of(Perturbation::of([name.clone()]).at_dose(dose));
    let size = |dose: f64| model.effects(&[at(dose)]).expect("known").mapv(f64::abs).sum();
    assert_ne!(size(0.2), size(5.0), "doses that were never measured differ, too");
}

#[test]
fn the_jepa_interpolates_between_doses_and_refuses_others() {
    let mut settings = JepaSettings::preset(Size::Tiny);
    let groups = GroupConfig { groups: 6, hidden: 24, tokens: 16, depth: 1, ..GroupConfig::of(Size::Tiny) };
    settings.encoder.encoder = EncoderConfig::Groups(groups);
    settings.encoder.width = 16;
    settings.pretraining.epochs = 1;
    settings.response.training.epochs = 2;
    settings.response.folds = 2;
    let (model, _) = Jepa::fit(&training(&held_out()), &settings, &mut Run::quiet(0)).expect("it trains");
    let name = simulation().truth.dose_curves[0].name.clone();
    let at = |dose: f64| Condition::of(Perturbation::of([name.clone()]).at_dose(dose));
    assert_eq!(model.dose_range(&name), Some((DOSES[0], DOSES[4])));
    let controls = &cells().control_cells()[..20];
    let moved =
        |dose: f64| model.predicted_embeddings(cells(), controls, &at(dose)).expect("within the doses of training");
    let split = held_out();
    let trained = |dose: &f64| split.train.iter().any(|&cell| *cells().perturbation_of(cell) == at(*dose).perturbation);
    let known: Vec<f64> = DOSES.into_iter().filter(trained).collect();
    assert_eq!(known.len(), 4, "one dose is held out");
    let (low, high) = (known[0], known[1]);
    let halfway = (moved(low) + moved(high)) / 2.0;
    let off = (moved((low * high).sqrt()) - halfway).iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(off < 1e-4, "the middle of the logs is the mean of the embeddings: off by {off}");
    assert!((&moved(low) - &moved(high)).iter().any(|&difference| difference.abs() > 1e-3), "doses differ");
    for dose in [0.01, 100.0] {
        let error = model.check(&[at(dose)]).expect_err("nothing is known there").to_string();
        assert!(error.contains("beyond the doses"), "{error}");
    }
}
