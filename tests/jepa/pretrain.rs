//! Every objective and both encoders learn, are reproducible, resume, and are read back as they were saved.

use super::{quiet, short, small};
use genailab::{
    data::{Dataset, Simulation, SimulationConfig, Split, SplitPlan, TargetSum, TrainingData, normalize},
    device::Device,
    math::Pca,
    model::{
        Model, Trained,
        jepa::{
            AntiCollapse, EncoderConfig, Jepa, JepaSettings, MaskConfig, MaskKind, Phase, Pretraining,
            PretrainingConfig, PretrainingObjective, Reader, Regularise, Size, TeacherConfig, TeacherSees, TokenConfig,
            ViewNoise,
        },
    },
    ndarray::{Array2, Axis, s},
    nn::{AttentionConfig, EmaMomentum, EmbeddingLoss, SetEncoderConfig},
    train::{EpochRecord, History, Run, TrainConfig},
};
use std::ops::ControlFlow;

fn config(objective: PretrainingObjective) -> PretrainingConfig {
    PretrainingConfig {
        encoder: EncoderConfig::Mlp { hidden: vec![48] },
        width: 24,
        objective,
        ..PretrainingConfig::mlp(Size::Small)
    }
}

fn tokens() -> EncoderConfig {
    let set =
        SetEncoderConfig { width: 16, latents: 4, depth: 1, attention: AttentionConfig { heads: 2, dropout: 0.1 } };
    EncoderConfig::Tokens(TokenConfig { identity: 8, frequencies: 4, zeros: 8, set })
}

fn train(data: &Dataset, split: &Split, config: PretrainingConfig, train: &TrainConfig) -> (Pretraining, History) {
    let mut model = Pretraining::new(data, split, config, 1).expect("a valid configuration");
    let history = model.fit_with(data, split, train, &mut quiet()).expect("it trains");
    (model, history)
}

fn embed(model: &Pretraining, data: &Dataset) -> Array2<f32> {
    model.embed(data, &(0..data.n_cells()).collect::<Vec<_>>()).expect("its own genes")
}

/// The prediction gets better, and the figures are there in every epoch.
#[track_caller]
fn check_learns(config: PretrainingConfig, epochs: usize) {
    let (data, split) = small();
    let (model, history) = train(&data, &split, config.clone(), &short(epochs));
    let of = |epoch: usize, name: &str| history.epochs[epoch].train.parts[name];
    assert!(history.epochs[epochs - 1].train.loss < history.epochs[0].train.loss, "{:?}", history.epochs);
    for epoch in 0..epochs {
        assert!(of(epoch, "embedding_std") > 0.0 && of(epoch, "effective_rank") > 1.0, "{:?}", history.epochs[epoch]);
        assert!((0.0..=1.0).contains(&of(epoch, "spread")));
        let validation = history.epochs[epoch].validation.as_ref().expect("there are validation cells");
        assert_eq!(
            validation.parts.keys().collect::<Vec<_>>(),
            history.epochs[epoch].train.parts.keys().collect::<Vec<_>>()
        );
    }
    let z = embed(&model, &data);
    assert_eq!(z.dim(), (data.n_cells(), config.width));
    assert!(z.iter().all(|value| value.is_finite()));
    let distance = history.epochs[epochs - 1].train.parts.get("teacher_distance");
    match (config.objective.has_teacher(), config.teacher.ema) {
        (true, Some(_)) => {
            let live = *distance.expect("there is a teacher");
            // A teacher that never moves stays where the student began, and the student leaves it farther behind.
            let teacher = TeacherConfig { ema: Some(EmaMomentum::Constant { momentum: 1.0 }), ..config.teacher };
            let (_, dead) = train(&data, &split, PretrainingConfig { teacher, ..config.clone() }, &short(epochs));
            let dead = dead.epochs[epochs - 1].train.parts["teacher_distance"];
            assert!(
                0.0 < live && live < dead,
                "the teacher does not follow: {live} from the student, a dead one {dead}"
            );
        }
        (true, None) => assert_eq!(distance, Some(&0.0), "without EMA the teacher is the student"),
        (false, _) => assert_eq!(distance, None),
    }
}

#[test]
fn masks_learn_with_each_loss_and_regulariser() {
    for (loss, anti_collapse, sees) in [
        (EmbeddingLoss::default(), AntiCollapse::vicreg(), TeacherSees::Target),
        (EmbeddingLoss::L2, AntiCollapse::variance_covariance(), TeacherSees::Cell),
        (EmbeddingLoss::Cosine, AntiCollapse::vicreg(), TeacherSees::Cell),
    ] {
        let teacher = TeacherConfig { sees, ..TeacherConfig::default() };
        check_learns(PretrainingConfig { loss, anti_collapse, teacher, ..config(PretrainingObjective::Masks) }, 6);
    }
}

#[test]
fn without_ema_the_teacher_is_the_student() {
    let teacher = TeacherConfig { ema: None, ..TeacherConfig::default() };
    check_learns(PretrainingConfig { teacher, ..config(PretrainingObjective::Masks) }, 4);
}

#[test]
fn predictions_can_be_what_is_held_apart() {
    check_learns(PretrainingConfig { regularise: Regularise::Predictions, ..config(PretrainingObjective::Masks) }, 4);
    let wrong =
        PretrainingConfig { regularise: Regularise::Predictions, ..config(PretrainingObjective::Reconstruction) };
    assert!(wrong.validate().expect_err("nothing to hold apart").to_string().contains("regularise"));
}

#[test]
fn views_learn() {
    check_learns(config(PretrainingObjective::views()), 6);
    check_learns(config(PretrainingObjective::Views { gene_dropout: 0.2, noise: ViewNoise::Split }), 6);
    check_learns(config(PretrainingObjective::Views { gene_dropout: 0.3, noise: ViewNoise::None }), 6);
}

#[test]
fn what_embeddings_are_compared_with_learns() {
    for objective in [PretrainingObjective::contrastive(), PretrainingObjective::Variational { beta: 1.0 }] {
        check_learns(config(objective), 6);
    }
    let groups = PretrainingConfig::groups(Size::Tiny);
    let teacher = TeacherConfig { sees: TeacherSees::Target, ..groups.teacher };
    for objective in [PretrainingObjective::contrastive(), PretrainingObjective::Variational { beta: 0.5 }] {
        check_learns(PretrainingConfig { objective, teacher, ..groups.clone() }, 4);
    }
    check_learns(PretrainingConfig { encoder: EncoderConfig::Linear, ..config(PretrainingObjective::Masks) }, 4);
}

#[test]
fn a_linear_encoder_begins_at_the_principal_components() {
    let (data, split) = small();
    let linear = PretrainingConfig {
        encoder: EncoderConfig::Linear,
        target_sum: Some(1e4),
        ..config(PretrainingObjective::Masks)
    };
    let z = embed(&Pretraining::new(&data, &split, linear, 1).expect("a valid configuration"), &data);
    let expression = normalize::log_normalize(&data, TargetSum::Fixed(1e4)).expect("counts").to_dense();
    let pca = Pca::fit(expression.select(Axis(0), &split.train).view(), 24, 1).expect("cells enough");
    let scores = pca.transform(expression.view()).expect("its own genes");
    let scale = scores.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
    let off =
        (&z.slice(s![.., ..3]).to_owned() - &scores.slice(s![.., ..3])).fold(0.0, |most: f32, v| most.max(v.abs()));
    assert!(off < 1e-3 * scale, "{off} of {scale}");
}

#[test]
fn reconstruction_learns() {
    let config = PretrainingConfig {
        anti_collapse: AntiCollapse::None,
        target_sum: Some(1e4),
        ..config(PretrainingObjective::Reconstruction)
    };
    check_learns(config, 6);
}

/// After a few epochs of a few hundred cells the decoder has hardly learnt the genes' means, and is no better than they are.
/// With more of both it learns what genes tell of each other; that is little, as most of a hidden value is its count's noise.
#[test]
fn of_enough_cells_hidden_values_are_told_better_than_by_the_genes_means() {
    let world = SimulationConfig {
        n_cells: 3000,
        n_genes: 120,
        seed: 3,
        n_singles: 5,
        doubles_per_class: 0,
        n_programs: 4,
        damaged_fraction: 0.0,
        ..SimulationConfig::default()
    };
    let data = Simulation::new(&world).expect("a world").dataset;
    let split = data.split(&SplitPlan::default()).expect("3000 cells can be divided");
    let expression = normalize::log_normalize(&data, TargetSum::Fixed(1e4)).expect("counts").to_dense();
    let mean = expression.select(Axis(0), &split.train).mean_axis(Axis(0)).expect("cells");
    let off = &expression.select(Axis(0), &split.validation) - &mean;
    // Hidden genes are drawn at random, so that the error over all genes is what is expected over them.
    let by_means = off.mapv(|v| f64::from(v * v)).mean().expect("cells");
    let config = PretrainingConfig {
        anti_collapse: AntiCollapse::None,
        target_sum: Some(1e4),
        ..config(PretrainingObjective::Reconstruction)
    };
    let (_, history) = train(&data, &split, config, &short(60));
    let error = |epoch: usize| history.epochs[epoch].validation.as_ref().expect("validation cells").parts["prediction"];
    assert!(error(59) < 0.995 * by_means, "after 60 epochs {}, the means {by_means}", error(59));
}

#[test]
fn conditions_learn() {
    check_learns(config(PretrainingObjective::Conditions { cells: 8, draws: 30, latents: 2 }), 6);
}

#[test]
fn gene_tokens_learn() {
    let config = PretrainingConfig { encoder: tokens(), ..config(PretrainingObjective::Masks) };
    check_learns(PretrainingConfig { masks: MaskConfig { targets: 1, ..MaskConfig::default() }, ..config }, 3);
}

#[test]
fn context_and_target_of_different_molecules_learn() {
    for noise in [ViewNoise::Split, ViewNoise::Poisson] {
        let masks = MaskConfig { noise, ..MaskConfig::default() };
        check_learns(PretrainingConfig { masks, ..config(PretrainingObjective::Masks) }, 4);
    }
}

#[test]
fn every_mask_kind_trains() {
    let (data, split) = small();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let names = data.gene_names();
    let gmt: String =
        (0..6).map(|set| format!("SET{set}\tmade up\t{}\n", names[set * 10..set * 10 + 12].join("\t"))).collect();
    let tsv: String = (0..4)
        .flat_map(|tf| names[tf * 9..tf * 9 + 9].iter().map(move |gene| format!("TF{tf}\t{gene}\t-0.5\n")))
        .collect();
    std::fs::write(dir.path().join("sets.gmt"), gmt).expect("it is written");
    std::fs::write(dir.path().join("tf.tsv"), tsv).expect("it is written");
    for kind in [
        MaskKind::GeneSets { file: dir.path().join("sets.gmt"), min_size: 3, max_size: 50 },
        MaskKind::Regulons { file: dir.path().join("tf.tsv"), min_size: 3 },
        MaskKind::Adversarial,
    ] {
        let masks = MaskConfig { kind, overlap: 0.1, ..MaskConfig::default() };
        let (_, history) =
            train(&data, &split, PretrainingConfig { masks, ..config(PretrainingObjective::Masks) }, &short(2));
        assert_eq!(history.epochs.len(), 2);
    }
    let masks =
        MaskConfig { kind: MaskKind::Regulons { file: "none.tsv".into(), min_size: 3 }, ..MaskConfig::default() };
    let mut model =
        Pretraining::new(&data, &split, PretrainingConfig { masks, ..config(PretrainingObjective::Masks) }, 0)
            .expect("valid");
    let error = model.fit_with(&data, &split, &short(1), &mut quiet()).expect_err("there is no such file").to_string();
    assert!(error.contains("none.tsv"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_encoder() {
    let (data, split) = small();
    let (first, history) = train(&data, &split, config(PretrainingObjective::Masks), &short(2));
    let (second, again) = train(&data, &split, config(PretrainingObjective::Masks), &short(2));
    let losses = |history: &History| history.epochs.iter().map(|epoch| epoch.train.loss).collect::<Vec<_>>();
    assert_eq!(losses(&history), losses(&again));
    let z = embed(&first, &data);
    assert_eq!(z, embed(&second, &data));
    let rows = [5, 2];
    let student = first.embed_rows(&data, &rows, Reader::Student).expect("its genes");
    let teacher = first.embed_rows(&data, &rows, Reader::Teacher).expect("its genes");
    assert_ne!(student, teacher, "the teacher lags behind");
    assert_eq!(teacher.row(0), z.row(5));
    let other = data.select_genes(&[0, 1, 2]).expect("three genes");
    assert!(first.embed(&other, &[0]).expect_err("other genes").to_string().contains("align them by name"));
}

/// Stops a training after its second epoch.
fn stop_after_two(record: &EpochRecord) -> ControlFlow<()> {
    if record.epoch == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[test]
fn a_training_resumes_bit_for_bit() {
    let (data, split) = small();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = |resume| Run { dir: Some(dir.path().to_owned()), resume, ..quiet() };
    let new = || Pretraining::new(&data, &split, config(PretrainingObjective::Masks), 1).expect("valid");
    // The EMA's schedule runs over all epochs, so the whole training is stopped by a callback and not by its length.
    let mut whole = new();
    let history = whole.fit_with(&data, &split, &short(4), &mut quiet()).expect("it trains");
    let mut part = new();
    let mut stopped = options(false);
    stopped.callbacks.push(Box::new(stop_after_two));
    part.fit_with(&data, &split, &short(4), &mut stopped).expect("it trains");
    let mut rest = new();
    let resumed = rest.fit_with(&data, &split, &short(4), &mut options(true)).expect("it resumes");
    assert_eq!(resumed.epochs.len(), 4);
    assert_eq!(resumed.epochs[3].train, history.epochs[3].train);
    assert_eq!(embed(&rest, &data), embed(&whole, &data));
}

/// Phase A of the JEPA, with this training.
fn phase_a(pretraining: TrainConfig) -> JepaSettings {
    JepaSettings {
        phase: Phase::A,
        encoder: config(PretrainingObjective::Masks),
        pretraining,
        ..JepaSettings::default()
    }
}

#[test]
fn phase_a_of_the_jepa_is_this_training_and_resumes_bit_for_bit() {
    let (data, split) = small();
    let training = TrainingData::of_dataset(data.clone(), &split, 1).expect("its own split");
    let seeded = TrainConfig { seed: 1, ..short(4) };
    let (alone, history) = train(&data, &split, config(PretrainingObjective::Masks), &seeded);
    let (whole, of_whole) = Jepa::fit(&training, &phase_a(short(4)), &mut Run::quiet(1)).expect("it trains");
    for (own, other) in history.epochs.iter().zip(&of_whole.epochs) {
        assert_eq!((&own.train, &own.validation), (&other.train, &other.validation));
    }
    // Its embedding has mean 0 and about variance 1 over the training cells, and is else the encoder's.
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let z = whole.embed(&data, &rows).expect("its own genes");
    let of_training = embed(&alone, &data).select(Axis(0), &split.train);
    let (mean, sd) = (of_training.mean_axis(Axis(0)).expect("cells"), of_training.std_axis(Axis(0), 0.0));
    let back = z.select(Axis(0), &split.train).std_axis(Axis(0), 0.0);
    assert!(back.iter().all(|sd| (0.5..1.01).contains(sd)), "{back}");
    let standard = (embed(&alone, &data) - mean) / sd * back;
    assert!((&standard - &z).iter().all(|difference| difference.abs() < 1e-3));

    // Phase A as an interruption after its second epoch leaves it.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut stopped = Run { dir: Some(dir.path().join("phase-a")), ..quiet() };
    stopped.callbacks.push(Box::new(stop_after_two));
    let mut part = Pretraining::new(&data, &split, config(PretrainingObjective::Masks), 1).expect("valid");
    part.fit_with(&data, &split, &seeded, &mut stopped).expect("it trains");
    let mut run = Run { dir: Some(dir.path().to_owned()), resume: true, ..Run::quiet(1) };
    let (resumed, of_resumed) = Jepa::fit(&training, &phase_a(short(4)), &mut run).expect("it resumes");
    assert_eq!(of_resumed.epochs.len(), 4);
    assert_eq!(resumed.embed(&data, &rows).expect("its own genes"), z);
}

#[test]
fn phase_a_that_kept_nothing_begins_anew_and_is_read_back_as_it_was_saved() {
    let (data, split) = small();
    let training = TrainingData::of_dataset(data.clone(), &split, 1).expect("its own split");
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Nothing was kept of a training that ended before its first epoch.
    let mut run = Run { dir: Some(dir.path().to_owned()), resume: true, ..Run::quiet(1) };
    let (first, _) = Jepa::fit(&training, &phase_a(short(2)), &mut run).expect("it trains");
    first.save(dir.path()).expect("it is written");
    let read = Jepa::load(dir.path(), Device::Cpu).expect("it was just written");
    let rows: Vec<usize> = (0..data.n_cells()).collect();
    let z = first.embed(&data, &rows).expect("its own genes");
    assert_eq!(read.embed(&data, &rows).expect("its own genes"), z);
    assert_eq!(read.settings(), first.settings());
    let other = data.select_genes(&[0, 1, 2]).expect("three genes");
    assert!(read.embed(&other, &[0]).expect_err("other genes").to_string().contains("align them by name"));
}

#[test]
fn settings_that_cannot_train_are_named() {
    let (data, split) = small();
    let masks = |fraction, targets| MaskConfig { fraction, targets, ..MaskConfig::default() };
    let usual = || config(PretrainingObjective::Masks);
    for (config, word) in [
        (PretrainingConfig { width: 1, ..usual() }, "width"),
        (PretrainingConfig { encoder: EncoderConfig::Mlp { hidden: vec![] }, ..usual() }, "encoder.hidden"),
        (PretrainingConfig { masks: masks(0.4, 3), ..usual() }, "3 targets of 0.4"),
        (PretrainingConfig { masks: masks(0.0, 3), ..usual() }, "masks.fraction"),
        (config(PretrainingObjective::Views { gene_dropout: 1.0, noise: ViewNoise::Poisson }), "gene_dropout"),
        (config(PretrainingObjective::Variational { beta: 0.0 }), "temperature and beta"),
        (config(PretrainingObjective::Conditions { cells: 0, draws: 1, latents: 1 }), "cells"),
    ] {
        let error = Pretraining::new(&data, &split, config, 0).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    let text = serde_json::to_string(&usual()).expect("it serialises");
    assert_eq!(serde_json::from_str::<PretrainingConfig>(&text).expect("it was just written"), usual());
    assert!(serde_json::from_str::<PretrainingConfig>(r#"{"widht": 3}"#).is_err());
}
