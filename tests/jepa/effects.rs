//! The combination model: what it learns of combinations, its predictions for unseen genes, and that it is read back.

use genailab::data::EffectTable;
use genailab::train::Run;
use genailab::{
    ErrorKind,
    bench::screen::{Candidates, Closeness, Search, retrieve, screen},
    data::{Condition, Effects, GeneSets, Perturbation, TrainingData},
    device::Device,
    model::{
        Model, Trained,
        combination::{CombinationConfig, CombinationModel, CombinationSettings, GeneFeature, Mixture},
    },
    train::TrainConfig,
};
use ndarray::{Array1, Array2, Axis, array};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{fmt::Write, fs};

const GENES: usize = 80;
const PERTURBED: usize = 16;

/// Sixteen single effects on four programs, and all doubles of them: saturating sums, with noise.
struct World {
    singles: Array2<f64>,
    rng: ChaCha8Rng,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let programs = Array2::from_shape_simple_fn((4, GENES), || rng.random_range(-1.0..1.0_f64).powi(3) * 3.0);
        let mut singles = Array2::zeros((PERTURBED, GENES));
        for (gene, mut effect) in singles.rows_mut().into_iter().enumerate() {
            // Genes of a program differ in strength, and by a part of their own.
            effect.scaled_add(rng.random_range(0.5..1.5), &programs.row(gene % 4));
            effect.mapv_inplace(|value| value + 0.1 * rng.random_range(-1.0..1.0));
        }
        Self { singles, rng }
    }

    fn name(gene: usize) -> String {
        format!("P{gene:02}")
    }

    fn double(&mut self, a: usize, b: usize) -> Array1<f64> {
        let sum = &self.singles.row(a) + &self.singles.row(b);
        sum.mapv(|value| 1.5 * (value / 1.5).tanh() + 0.05 * self.rng.random_range(-1.0..1.0))
    }

    /// All singles, and the doubles for which `kept` holds.
    fn data(&mut self, kept: impl Fn(usize, usize) -> bool) -> (EffectTable, EffectTable) {
        let none = || (Vec::new(), Array2::zeros((0, GENES)));
        let (mut train, mut test) = (none(), none());
        for a in 0..PERTURBED {
            train.0.push(Condition::of(Perturbation::of([Self::name(a)])));
            train.1.push_row(self.singles.row(a)).expect("as wide");
            for b in a + 1..PERTURBED {
                let effect = self.double(a, b);
                let part = if kept(a, b) { &mut train } else { &mut test };
                part.0.push(Condition::of(Perturbation::of([Self::name(a), Self::name(b)])));
                part.1.push_row(effect.view()).expect("as wide");
            }
        }
        let genes: Vec<String> = (0..GENES).map(|gene| format!("G{gene}")).collect();
        let of = |(conditions, effects): (Vec<Condition>, Array2<f64>)| EffectTable {
            genes: genes.clone().into(),
            n_cells: vec![100; conditions.len()],
            conditions,
            effects: effects.mapv(|value| value as f32),
        };
        (of(train), of(test))
    }
}

fn config() -> CombinationConfig {
    let training = TrainConfig { epochs: 20, ..CombinationConfig::default().training };
    CombinationConfig { folds: 3, training, ..CombinationConfig::default() }
}

fn error(predicted: &Array2<f64>, data: &EffectTable) -> f64 {
    let rows = predicted.rows().into_iter().zip(data.effects.rows());
    rows.map(|(p, y)| p.iter().zip(y).map(|(p, &y)| (p - f64::from(y)).powi(2)).sum::<f64>().sqrt()).sum()
}

fn every_third(a: usize, b: usize) -> bool {
    (a + 2 * b).is_multiple_of(3)
}

#[test]
fn saturation_is_learned_and_adding_is_beaten() {
    let (train, test) = World::new(1).data(every_third);
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    let predicted = model.effects(&test.conditions).expect("known genes");
    let sums = model.sums(&test.conditions).expect("known genes");
    let factor = {
        let (trained, truth) = (model.sums(&train.conditions).expect("known"), train.effects.mapv(f64::from));
        let doubles: Vec<usize> =
            (0..truth.nrows()).filter(|&row| train.conditions[row].perturbation.genes().len() == 2).collect();
        let (a, y) = (trained.select(Axis(0), &doubles), truth.select(Axis(0), &doubles));
        (&a * &y).sum() / (&a * &a).sum()
    };
    let (ours, additive, scaled) = (error(&predicted, &test), error(&sums, &test), error(&(&sums * factor), &test));
    assert!(ours < 0.7 * scaled && scaled < additive, "combination {ours}, scaled {scaled}, additive {additive}");
    let mixture = model.mixture();
    let (start, left_out) = (mixture.scaled_sum_l2.expect("enough"), mixture.left_out_l2.expect("enough"));
    assert!(left_out <= start, "{mixture:?}");
    assert_eq!(model.history().len(), 3, "one training per fold");
}

#[test]
fn control_singles_and_order() {
    let (train, _) = World::new(2).data(every_third);
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    let effect = |genes: &[&str]| model.effect(&Condition::of(Perturbation::of(genes.iter().copied()))).expect("known");
    assert!(effect(&[]).iter().all(|&value| value == 0.0), "control does nothing");
    assert_eq!(
        effect(&["P03"]).mapv(|v| v as f32),
        train
            .effects
            .row(train.conditions.iter().position(|c| c.perturbation == Perturbation::of(["P03"])).expect("there"))
    );
    assert_eq!(effect(&["P01", "P02"]), effect(&["P02", "P01"]));
    // One asked alone or with others, whichever seed the others had.
    let both = [["P00", "P05"], ["P01", "P02"]].map(|genes| Condition::of(Perturbation::of(genes)));
    let together = model.effects(&both).expect("known");
    let apart = effect(&["P01", "P02"]);
    assert!((&together.row(1) - &apart).iter().all(|v| v.abs() < 1e-5));
    // Three genes at once are no other matter.
    assert!(effect(&["P00", "P01", "P02"]).iter().all(|value| value.is_finite()));
    let again = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    assert_eq!(again.effects(&both).expect("known"), together, "a seed decides");
}

#[test]
fn without_combinations_effects_add() {
    let (train, test) = World::new(3).data(|_, _| false);
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    assert_eq!(model.effects(&test.conditions).expect("known"), model.sums(&test.conditions).expect("known"));
    assert_eq!((model.mixture().kernel_ridge, model.mixture().left_out_l2), (0.0, None));
}

/// The four programs as gene sets.
fn sets() -> String {
    (0..4).fold(String::new(), |mut text, program| {
        let members: Vec<String> = (0..PERTURBED).filter(|gene| gene % 4 == program).map(World::name).collect();
        writeln!(text, "program {program}\t\t{}", members.join("\t")).expect("a string takes all");
        text
    })
}

#[test]
fn a_gene_without_an_effect_is_known_by_its_sets() {
    let (mut train, _) = World::new(4).data(every_third);
    let hidden = Perturbation::of(["P06"]);
    let row = train.conditions.iter().position(|c| c.perturbation == hidden).expect("there");
    let truth = train.effects.row(row).mapv(f64::from);
    let rows: Vec<usize> = (0..train.conditions.len())
        .filter(|&row| !train.conditions[row].perturbation.genes().contains(&"P06".to_owned()))
        .collect();
    train = EffectTable {
        conditions: rows.iter().map(|&row| train.conditions[row].clone()).collect(),
        effects: train.effects.select(Axis(0), &rows),
        n_cells: vec![100; rows.len()],
        ..train
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sets.gmt");
    fs::write(&file, sets()).expect("a file");
    assert_eq!(GeneSets::open(&file).expect("valid").sets.len(), 4);
    let with_sets = CombinationConfig { gene_sets: Some(file), ..config() };
    let model = CombinationModel::fit_table(&train, &with_sets, &Run::quiet(0)).expect("trainable");
    assert!(model.unseen().features.contains(&GeneFeature::GeneSets), "{:?}", model.unseen());
    let predicted = model.effect(&Condition::of(hidden.clone())).expect("it has features");
    let singles: Vec<usize> =
        (0..train.conditions.len()).filter(|&r| train.conditions[r].perturbation.genes().len() == 1).collect();
    let mean = train.effects.select(Axis(0), &singles).mapv(f64::from).mean_axis(Axis(0)).expect("singles");
    let distance = |a: &Array1<f64>| (a - &truth).mapv(|v| v * v).sum().sqrt();
    assert!(distance(&predicted) < 0.6 * distance(&mean), "{} {}", distance(&predicted), distance(&mean));
    let double = Condition::of(Perturbation::of(["P01", "P06"]));
    assert!(model.effect(&double).expect("both are known").iter().all(|v| v.is_finite()));

    // Without features there is nothing to say, and every such gene is named.
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    let error = model.check(&[double, Condition::of(Perturbation::of(["NEW"]))]).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);
    assert!(error.to_string().contains("NEW, P06"), "{error}");
}

#[test]
fn features_that_tell_nothing_change_nothing() {
    let (train, _) = World::new(5).data(every_third);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sets.gmt");
    // Sets across the programs: what they share is the mean.
    let text = (0..4).fold(String::new(), |text, set| {
        let members: Vec<String> = (0..PERTURBED).filter(|gene| gene / 4 == set).map(World::name).collect();
        text + &format!("set {set}\t\t{}\tQ{set}\n", members.join("\t"))
    });
    fs::write(&file, text).expect("a file");
    let config = CombinationConfig { gene_sets: Some(file), features: vec![GeneFeature::GeneSets], ..config() };
    let model = CombinationModel::fit_table(&train, &config, &Run::quiet(0)).expect("trainable");
    assert!(model.unseen().error > 0.9, "{:?}", model.unseen());
}

#[test]
fn what_was_saved_comes_back() {
    let (train, test) = World::new(6).data(every_third);
    let config = CombinationConfig { learned: true, ..config() };
    let model = CombinationModel::fit_table(&train, &config, &Run::quiet(1)).expect("trainable");
    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path()).expect("a folder can be written");
    let back = CombinationModel::load(folder.path(), Device::Cpu).expect("it was saved");
    assert_eq!((back.config(), back.mixture(), back.genes()), (model.config(), model.mixture(), model.genes()));
    let (before, after) =
        (model.effects(&test.conditions).expect("known"), back.effects(&test.conditions).expect("known"));
    let furthest = (&before - &after).iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    assert!(furthest < 1e-4, "{furthest}");
    fs::write(folder.path().join("model.safetensors"), b"cut off").expect("a file");
    assert!(
        CombinationModel::load(folder.path(), Device::Cpu)
            .expect_err("damaged")
            .to_string()
            .contains("model.safetensors")
    );
}

#[test]
fn a_screen_finds_what_made_the_effect() {
    let (train, test) = World::new(7).data(every_third);
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    let genes: Vec<String> = model.perturbed().cloned().collect();
    let pairs = Candidates::Pairs.of(&genes);
    assert_eq!((pairs.len(), Candidates::All.of(&genes).len()), (120, 136));
    let wanted = test.effects.row(0).to_vec();
    let hits = screen(&model, &pairs, &wanted, Closeness::L2).expect("a screen");
    assert!(hits.windows(2).all(|pair| pair[0].l2 <= pair[1].l2), "the nearest first");
    let place = hits.iter().position(|hit| hit.perturbation == test.conditions[0].perturbation).expect("a candidate");
    assert!(place < 12, "the true pair came at {place} of 120");

    let asked: Vec<Perturbation> = test.conditions.iter().map(|c| c.perturbation.clone()).collect();
    let found = retrieve(&model, &pairs, &asked, test.effects.view(), Closeness::L2).expect("candidates all");
    let mean = |rank: fn(&genailab::bench::screen::Retrieved) -> usize| -> f64 {
        found.iter().map(|f| rank(f) as f64).sum::<f64>() / found.len() as f64
    };
    let (ours, additive) = (mean(|f| f.rank), mean(|f| f.additive_rank));
    assert!(ours < additive && ours < 20.0, "mean rank {ours}, by adding {additive}, of 120");

    for (target, word) in [(vec![0.0; GENES], "zero"), (vec![f32::NAN; GENES], "finite"), (vec![1.0; 3], "80")] {
        let error = screen(&model, &pairs, &target, Closeness::Cosine).expect_err("no target").to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// The first genes are those that are perturbed, and go up by much where they are: the label of an activation screen.
fn labelled(data: &EffectTable) -> EffectTable {
    let mut labelled = data.clone();
    let genes = (0..GENES).map(|gene| if gene < PERTURBED { World::name(gene) } else { format!("G{gene}") });
    labelled.genes = genes.collect();
    for (condition, mut effect) in data.conditions.iter().zip(labelled.effects.rows_mut()) {
        for gene in 0..PERTURBED {
            let perturbed = condition.perturbation.genes().contains(&World::name(gene));
            effect[gene] = if perturbed { 50.0 } else { 0.0 };
        }
    }
    labelled
}

#[test]
fn a_screen_does_not_read_the_label() {
    let (train, test) = World::new(12).data(every_third);
    let (train, test) = (labelled(&train), labelled(&test));
    let model = CombinationModel::fit_table(&train, &config(), &Run::quiet(0)).expect("trainable");
    let pairs = Candidates::Pairs.of(&model.perturbed().cloned().collect::<Vec<_>>());
    let wanted = test.effects.row(0).to_vec();
    let place = |target: &[f32], search: Search| {
        let hits = screen(&model, &pairs, target, search).expect("a screen");
        hits.iter().position(|hit| hit.perturbation == test.conditions[0].perturbation).expect("a candidate")
    };
    let whole = Search { own_genes: true, ..Search::default() };
    assert_eq!(place(&wanted, whole.clone()), 0, "the label gives it away");
    // A wrong label, of two other genes, decides where it is read, and changes nothing where it is not.
    let mut mislabelled = wanted.clone();
    let own = test.conditions[0].perturbation.genes().to_vec();
    for (gene, value) in mislabelled.iter_mut().take(PERTURBED).enumerate() {
        *value = if own.contains(&World::name(gene)) { 0.0 } else { f32::from(gene % 8 == 7) * 50.0 };
    }
    assert!(place(&mislabelled, whole) > 20, "read as another pair");
    assert_eq!(place(&mislabelled, Search::default()), place(&wanted, Search::default()));

    let left_out = |search: Search| GENES - search.columns(model.genes(), &pairs).expect("some are left").len();
    assert_eq!(left_out(Search::default()), PERTURBED);
    assert_eq!(left_out(Search { target_genes: vec!["G20".to_owned()], ..Search::default() }), PERTURBED + 1);
    let asked: Vec<Perturbation> = test.conditions.iter().map(|c| c.perturbation.clone()).collect();
    let first = |search: Search| {
        let found = retrieve(&model, &pairs, &asked, test.effects.view(), search).expect("candidates all");
        found.iter().filter(|found| found.rank == 1).count() as f64 / found.len() as f64
    };
    let (with, without) = (first(Search { own_genes: true, ..Search::default() }), first(Search::default()));
    assert!(with > 0.95 && without < with - 0.1, "first with the labels {with}, without {without}");
    let all: Vec<Perturbation> = model.genes().iter().map(|gene| Perturbation::of([gene.as_str()])).collect();
    assert_eq!(
        Search::default().columns(model.genes(), &all).expect_err("none is left").kind(),
        ErrorKind::Inapplicable
    );
}

#[test]
fn settings_that_cannot_train_are_named() {
    let (train, _) = World::new(8).data(every_third);
    for (config, word) in [
        (CombinationConfig { folds: 1, ..config() }, "folds"),
        (CombinationConfig { width: 0, ..config() }, "width"),
        (CombinationConfig { dropout: 1.0, ..config() }, "dropout"),
        (CombinationConfig { kernel_width: 0.0, ..config() }, "kernel_width"),
    ] {
        let error = CombinationModel::fit_table(&train, &config, &Run::quiet(0)).expect_err("refused");
        assert!(error.to_string().contains(word), "{error}");
    }
    let nothing = EffectTable { effects: Array2::zeros(train.effects.dim()), ..train };
    assert_eq!(
        CombinationModel::fit_table(&nothing, &config(), &Run::quiet(0)).expect_err("zeros").kind(),
        ErrorKind::Inapplicable
    );
}

#[test]
fn all_three_conditionings_train() {
    use genailab::model::jepa::Conditioning::{Concatenation, CrossAttention, Film};
    let (train, test) = World::new(9).data(every_third);
    for conditioning in [Concatenation, Film, CrossAttention] {
        let model =
            CombinationModel::fit_table(&train, &CombinationConfig { conditioning, ..config() }, &Run::quiet(0))
                .expect("trainable");
        for history in model.history() {
            let loss = |epoch: usize| history.epochs[epoch].train.parts["interaction_residual"];
            assert!(loss(19) < loss(0), "{conditioning:?}: {} to {}", loss(0), loss(19));
        }
        assert!(model.effects(&test.conditions).expect("known").iter().all(|v| v.is_finite()));
    }
}

#[test]
fn cells_are_summed_up() {
    let (data, _) = super::small();
    let effects = Effects::of_cells(&data).expect("there is control");
    assert_eq!(effects.perturbations.len(), data.perturbations.iter().filter(|p| !p.is_control()).count());
    assert_eq!(effects.n_cells().iter().sum::<usize>(), data.n_cells() - data.control_cells().len());
}

#[test]
fn the_part_that_carries_over_is_used_and_the_other_is_not() {
    let truth = array![[2.0, 0.0], [0.0, 4.0]];
    let noise = array![[0.0, 3.0], [-3.0, 0.0]];
    let chosen = Mixture::choose(&truth, &[noise.clone(), truth.clone()], &[1.0, 1.0], [true; 2]);
    assert_eq!((chosen.kernel_ridge, chosen.network), (0.0, 1.0));
    assert_eq!((chosen.scaled_sum_l2, chosen.left_out_l2), (Some(3.0), Some(0.0)));
    let refused = Mixture::choose(&truth, &[noise.clone(), truth.clone()], &[1.0, 1.0], [true, false]);
    assert_eq!(refused.network, 0.0);
    let none = Mixture::choose(&truth, &[noise.clone(), noise], &[1.0, 1.0], [true; 2]);
    assert_eq!((none.kernel_ridge, none.network, none.left_out_l2), (0.0, 0.0, none.scaled_sum_l2));
}

#[test]
fn half_of_a_part_that_is_twice_too_long() {
    let truth = array![[1.0, 1.0]];
    let chosen = Mixture::choose(&truth, &[&truth * 2.0, Array2::zeros((1, 2))], &[1.0], [true; 2]);
    assert_eq!((chosen.kernel_ridge, chosen.left_out_l2), (0.5, Some(0.0)));
}

#[test]
fn an_interrupted_ensemble_is_resumed_bit_for_bit() {
    let (train, test) = World::new(10).data(every_third);
    let data = TrainingData::of_table(train, None, 3);
    // The share of the networks is seen in the predictions only where the kernel ridge has none.
    let model = CombinationConfig { kernel_ridge: false, ..config() };
    let settings = CombinationSettings { model };
    let (whole, _) = CombinationModel::fit(&data, &settings, &mut Run::quiet(3)).expect("trainable");

    let folder = tempfile::tempdir().expect("a folder");
    let run = |resume| Run { dir: Some(folder.path().to_owned()), resume, ..Run::quiet(3) };
    let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut stopped = Run { interrupt: Some(flag), ..run(false) };
    let error = CombinationModel::fit(&data, &settings, &mut stopped).expect_err("interrupted at once");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    // As if it had been stopped in the second network: the first is done, the third has not begun.
    CombinationModel::fit(&data, &settings, &mut run(false)).expect("trainable");
    std::fs::remove_dir_all(folder.path().join("network-2")).expect("it was trained");
    std::fs::remove_file(folder.path().join("network-1/last.safetensors")).expect("it was trained");
    let (resumed, _) = CombinationModel::fit(&data, &settings, &mut run(true)).expect("resumed");
    assert_eq!(resumed.mixture(), whole.mixture());
    assert_eq!(resumed.state().expect("whole"), whole.state().expect("whole"));
    assert_eq!(resumed.effects(&test.conditions).expect("known"), whole.effects(&test.conditions).expect("known"));
}
