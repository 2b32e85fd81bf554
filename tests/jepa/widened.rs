//! The JEPA of a screen with many perturbations: more features, effects weighed as a share, and what similar combinations do.

use super::response::{controls, settings, simulated, training};
use genailab::{
    data::{Condition, Dataset, Perturbation, SplitPlan, Table, TrainingData},
    device::Device,
    model::{
        Model, ModelConfig, Trained,
        jepa::{Jepa, JepaSettings, LossWeights, Phase, Size},
    },
    train::Run,
};
use std::sync::Arc;

#[test]
fn an_embedding_gets_as_many_features_as_there_are_perturbations() {
    let tiny = JepaSettings::preset(Size::Tiny);
    assert_eq!(tiny.widened(32), tiny, "32 features are enough");
    for (singles, width) in [(33, 64), (104, 128), (129, 256), (4_000, 256)] {
        let wide = tiny.widened(singles);
        assert_eq!(wide.encoder.width, width, "{singles} perturbations");
        assert!(wide.response.similar_combinations && wide.response.weights.relative_effect > 0.0);
    }
    let mut own = tiny.clone();
    own.response.weights.relative_effect = 1.5;
    assert_eq!(own.widened(104).response.weights.relative_effect, 1.5, "what was set stays");
    let kept = [
        JepaSettings { widen: false, ..tiny.clone() },
        JepaSettings { phase: Phase::A, ..tiny.clone() },
        JepaSettings { from: Some("other".into()), ..tiny },
    ];
    kept.iter().for_each(|settings| assert_eq!(settings.widened(104), *settings));
    let mut by_hand = JepaSettings::preset(Size::Tiny);
    by_hand.encoder.width = 12;
    assert_eq!(by_hand.widened(104), by_hand, "a width of no size was set by hand");
    let mut wrong = JepaSettings::preset(Size::Tiny);
    wrong.response.weights.relative_effect = -1.0;
    assert!(wrong.validate().expect_err("negative").to_string().contains("weight"));
}

/// The single perturbations of the small world, with doubles of a plain rule: those of the first two genes do nothing, and half of the
/// cells of each other one are as under either of its genes.
fn planted() -> Arc<Dataset> {
    let data = &simulated().0;
    let singles: Vec<&Perturbation> = data.perturbations.iter().filter(|p| p.genes().len() == 1).collect();
    let mut rows: Vec<usize> = (0..data.n_cells()).filter(|&row| data.perturbation_of(row).genes().len() < 2).collect();
    let mut labels: Vec<Perturbation> = rows.iter().map(|&row| data.perturbation_of(row).clone()).collect();
    let controls = data.control_cells();
    for (number, first) in singles.iter().enumerate() {
        for second in &singles[number + 1..] {
            let cells = match number {
                0 | 1 => controls.iter().copied().take(60).collect::<Vec<_>>(),
                _ => [first, second].iter().flat_map(|of| data.cells_of(of).into_iter().take(30)).collect(),
            };
            let double = Perturbation::of([first.genes()[0].clone(), second.genes()[0].clone()]);
            labels.extend(cells.iter().map(|_| double.clone()));
            rows.extend(cells);
        }
    }
    let part = data.select_cells(&rows);
    let names = (0..rows.len()).map(|cell| format!("cell {cell}")).collect();
    let (genes, cells) = (part.genes, Table::from_names(names));
    Arc::new(Dataset::new(part.counts, genes, cells, &labels, None, Some(part.library_size)).expect("one label a cell"))
}

#[test]
fn similar_combinations_are_learned_from_said_and_saved() {
    let data = planted();
    let split = data.split(&SplitPlan::doubles(0)).expect("there are doubles");
    let training = TrainingData::of_dataset(Arc::clone(&data), &split, 0).expect("its own split");
    let mut without = settings();
    without.encoder.width = 24;
    let mut with = without.clone();
    with.response.similar_combinations = true;
    let [model, without] =
        [with, without].map(|settings| Jepa::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains").0);
    let notes = model.notes().join("\n");
    let share = model.choices()["similar"].as_f64().expect("a share");
    assert!(share < 1.0, "those of the first two genes tell of one another: {share}");
    assert!(notes.contains("they tell of similar ones"), "{notes}");
    assert!(model.without_combinations().is_none(), "it uses the training combinations");

    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path()).expect("written");
    let again = Jepa::load(folder.path(), Device::Cpu).expect("read");
    let unseen = split.test.iter().map(|&row| data.perturbation_of(row)).find(|p| p.genes().len() == 2);
    let unseen = Condition::of(unseen.expect("doubles are held out").clone());
    let rows: Vec<usize> =
        split.train.iter().copied().filter(|&row| data.perturbation_of(row).is_control()).take(20).collect();
    let moved = |model: &Jepa| model.predicted_embeddings(&data, &rows, &unseen).expect("its genes were trained on");
    assert_eq!(moved(&again), moved(&model));
    assert_eq!(without.choices()["similar"], 1.0);
    let single = Condition::of(Perturbation::of([unseen.perturbation.genes()[0].clone()]));
    let of_single = |model: &Jepa| model.predicted_embeddings(&data, &rows, &single).expect("trained on");
    assert_eq!(of_single(&without), of_single(&model), "single perturbations are as they were");
    assert_ne!(moved(&without), moved(&model));
}

/// A relative weight is an absolute one over the mean square of the observed effects of single perturbations.
#[test]
fn a_relative_weight_is_of_the_mean_square_of_the_effects() {
    let (data, training) = (&simulated().0, training());
    let effects = training.effects().expect("there is control");
    let train = &simulated().1.train;
    let (mut square, mut cells) = (0.0, 0.0);
    for single in data.perturbations.iter().filter(|p| p.genes().len() == 1) {
        let n = train.iter().filter(|&&row| data.perturbation_of(row) == single).count() as f32;
        let effect = effects.effect_of(single, None).expect("trained on");
        square += n * effect.mapv(|v| v * v).mean().expect("there are genes");
        cells += n;
    }
    let trained = |weights: &dyn Fn(LossWeights) -> LossWeights| {
        let mut settings = settings();
        settings.response.training.epochs = 1;
        settings.response.weights = weights(settings.response.weights);
        let model = Jepa::fit(&training, &settings, &mut Run::quiet(0)).expect("it trains").0;
        let single = data.perturbations.iter().find(|p| p.genes().len() == 1).expect("there are").clone();
        model.mean_from(data, &controls()[..20], &Condition::of(single), 0).expect("it decodes")
    };
    let relative = trained(&|weights| LossWeights { effect: 0.0, relative_effect: 3.0, ..weights });
    let absolute = trained(&|weights| LossWeights { effect: 3.0 * cells / square, ..weights });
    let without = trained(&|weights| LossWeights { effect: 0.0, ..weights });
    let off = |other: &genailab::ndarray::Array1<f64>| (&relative - other).mapv(f64::abs).sum();
    assert!(off(&absolute) < 0.02 * off(&without), "{} {}", off(&absolute), off(&without));
}
