//! A collapse that is planted is noticed: training ends or the regulariser is raised, and no model is left.

use super::{quiet, short, small};
use genailab::{
    ErrorKind,
    data::TrainingData,
    model::{
        check_folder,
        jepa::{
            AntiCollapse, CollapseAlarm, EncoderConfig, Jepa, JepaSettings, OnCollapse, Phase, Pretraining,
            PretrainingConfig, Size, TeacherConfig,
        },
        registry::train,
    },
    train::{Run, TrainConfig},
};

/// No EMA, nothing that keeps embeddings apart, a hundred times the learning rate.
fn doomed(alarm: CollapseAlarm, anti_collapse: AntiCollapse) -> (PretrainingConfig, TrainConfig) {
    let config = PretrainingConfig {
        encoder: EncoderConfig::Mlp { hidden: vec![48] },
        width: 24,
        teacher: TeacherConfig { ema: None, ..TeacherConfig::default() },
        anti_collapse,
        alarm,
        ..PretrainingConfig::mlp(Size::Small)
    };
    let usual = short(12);
    (config, TrainConfig { learning_rate: 100.0 * usual.learning_rate, ..usual })
}

#[test]
fn a_planted_collapse_stops_the_training() {
    let (data, split) = small();
    let (config, train) = doomed(CollapseAlarm::default(), AntiCollapse::None);
    let mut model = Pretraining::new(&data, &split, config, 1).expect("valid");
    let error = model.fit_with(&data, &split, &train, &mut quiet()).expect_err("it collapses");
    assert_eq!(error.kind(), ErrorKind::Numeric);
    let text = error.to_string();
    for word in ["collapsed in epoch", "spread", "effective rank", "anti_collapse", "learning_rate"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_collapse_leaves_no_model_and_nothing_to_resume() {
    let (data, split) = small();
    let (encoder, pretraining) = doomed(CollapseAlarm::default(), AntiCollapse::None);
    let settings = JepaSettings { phase: Phase::A, encoder, pretraining, ..JepaSettings::default() };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = TrainingData::of_dataset(data, &split, 1).expect("its own split");
    let mut run = Run { dir: Some(dir.path().to_owned()), ..Run::quiet(1) };
    let error = train::<Jepa>(&data, &settings, &mut run).err().expect("it collapses");
    assert_eq!(error.kind(), ErrorKind::Numeric);
    for file in ["model.json", "model.safetensors", "phase-a/last.safetensors"] {
        assert!(!dir.path().join(file).exists(), "{file}");
    }
    check_folder(dir.path(), false).expect("the same command begins anew");
}

#[test]
fn the_same_settings_with_the_usual_cures_do_not_collapse() {
    let (data, split) = small();
    let (config, _) = doomed(CollapseAlarm::default(), AntiCollapse::vicreg());
    let config = PretrainingConfig { teacher: TeacherConfig::default(), ..config };
    let mut model = Pretraining::new(&data, &split, config, 1).expect("valid");
    model.fit_with(&data, &split, &short(12), &mut quiet()).expect("it does not collapse");
}

#[test]
fn raising_multiplies_the_regulariser_and_then_stops() {
    let (data, split) = small();
    // An alarm that nothing can satisfy, so that what is tested does not hang on how a training goes.
    let raise = |times| CollapseAlarm {
        min_spread: 2.0,
        min_rank: 0.0,
        grace_epochs: 1,
        then: OnCollapse::Raise { factor: 10.0, times },
    };
    let (config, _) = doomed(raise(2), AntiCollapse::variance_covariance());
    let mut model = Pretraining::new(&data, &split, config.clone(), 1).expect("valid");
    let error = model.fit_with(&data, &split, &short(8), &mut quiet()).expect_err("it is raised twice, then stops");
    let text = error.to_string();
    assert!(text.contains("collapsed in epoch 4") && text.contains("raised"), "{text}");

    let config = PretrainingConfig { alarm: raise(20), ..config };
    let mut model = Pretraining::new(&data, &split, config, 1).expect("valid");
    let history = model.fit_with(&data, &split, &short(4), &mut quiet()).expect("it goes on");
    let raised: Vec<f64> = history.epochs.iter().map(|epoch| epoch.train.parts["raised"]).collect();
    assert_eq!(raised, [1.0, 1.0, 10.0, 100.0]);

    let (config, _) = doomed(raise(1), AntiCollapse::None);
    let error = Pretraining::new(&data, &split, config, 1).expect_err("nothing to raise").to_string();
    assert!(error.contains("anti_collapse"), "{error}");
}
