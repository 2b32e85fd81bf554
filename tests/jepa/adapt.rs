//! A trained JEPA for another dataset: two cell types that share genes, programs and perturbations.

use super::response::{settings, small_world};
use genailab::{
    ErrorKind,
    bench::{Curve, CurveConfig, adaptation_curve},
    data::{Dataset, Simulation, SimulationConfig, Split, TrainingData},
    device::Device,
    model::{
        Model, Trained,
        jepa::{AdaptConfig, AdaptMethod, Adaptation, Jepa, Target},
    },
    nn::AdapterFile,
    train::Run,
};
use std::sync::OnceLock;

/// The cells of each of two types.
fn pair() -> &'static [Dataset; 2] {
    static DATA: OnceLock<[Dataset; 2]> = OnceLock::new();
    DATA.get_or_init(|| {
        let config = SimulationConfig {
            n_cells: 3_000,
            n_genes: 100,
            n_singles: 18,
            doubles_per_class: 0,
            n_cell_types: 2,
            ..small_world()
        };
        let cells = Simulation::new(&config).expect("a small world").dataset;
        let types = cells.cells.column("cell_type").expect("there are types").to_text();
        ["T1", "T2"].map(|name| {
            let rows: Vec<usize> = (0..cells.n_cells()).filter(|&row| types[row].as_deref() == Some(name)).collect();
            cells.select_cells(&rows)
        })
    })
}

/// Trained on the first type.
fn base() -> &'static Jepa {
    static MODEL: OnceLock<Jepa> = OnceLock::new();
    MODEL.get_or_init(|| {
        let cells = pair()[0].clone();
        let split = Split { train: (0..cells.n_cells()).collect(), validation: Vec::new(), test: Vec::new() };
        let data = TrainingData::of_dataset(cells, &split, 0).expect("its own split");
        Jepa::fit(&data, &settings(), &mut Run::quiet(0)).expect("it trains").0
    })
}

fn target() -> Target {
    Target::new(&pair()[1], base().genes(), "second", None).expect("the same genes")
}

fn config(method: AdaptMethod) -> AdaptConfig {
    let mut config = AdaptConfig { method, sets: 24, learning_rates: vec![2e-3], ..AdaptConfig::default() };
    config.training.epochs = 4;
    config.lora.rank = 4;
    config
}

fn adapted(method: AdaptMethod, n: usize) -> Adaptation {
    let target = target();
    let seen = target.singles(|gene| base().knows(gene));
    base().adapt(&target, &seen[..n], &config(method), &Run::quiet(0)).expect("it trains")
}

/// Mean log-normalised expression of the target's control cells under each perturbation.
fn predicted(model: &Jepa) -> Vec<Vec<f64>> {
    let target = target();
    let starts: Vec<usize> = pair()[1].control_cells().into_iter().take(20).collect();
    let of = |condition| model.mean_from(&target.data, &starts, condition, 0).expect("it is known").to_vec();
    target.singles(|_| true).iter().take(4).map(of).collect()
}

#[test]
fn each_method_gives_a_model_that_is_the_same_after_a_file_and_over_its_base() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = adapted(AdaptMethod::Full, 2).report.share;
    for method in [AdaptMethod::Film, AdaptMethod::Lora, AdaptMethod::Adapter, AdaptMethod::Head] {
        let Adaptation { model, report, adapter, .. } = adapted(method, 2);
        assert!(report.share.trained > 0 && report.share.trained < whole.trained, "{method}: {report}");
        let wanted = predicted(&model);
        assert_ne!(wanted, predicted(&adapted(AdaptMethod::None, 0).model), "{method} moved nothing");
        let folder = dir.path().join(method.name());
        model.save(&folder).expect("written");
        let again = Jepa::load(&folder, Device::Cpu).expect("read");
        assert_eq!(predicted(&again), wanted, "{method}");
        assert_eq!(again.contexts(), ["second"]);

        let file = folder.join("adapter.safetensors");
        adapter.write(&file).expect("written");
        let read = AdapterFile::read(&file).expect("read");
        let (over, _) = base().with_adapter(&target(), &read, &Run::quiet(0)).expect("its base");
        assert_eq!(predicted(&over), wanted, "{method} over its base");
        let error = model.with_adapter(&target(), &read, &Run::quiet(0)).map(drop).expect_err("another base");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

fn curve() -> &'static Curve {
    static CURVE: OnceLock<Curve> = OnceLock::new();
    CURVE.get_or_init(|| {
        let config = CurveConfig {
            methods: vec![AdaptMethod::None, AdaptMethod::Lora, AdaptMethod::Scratch],
            seen: vec![2, 12],
            seeds: 1,
            adapt: config(AdaptMethod::Lora),
        };
        adaptation_curve(base(), &target(), &config, &Run::quiet(0), |_| Ok(())).expect("there are 18 perturbations")
    })
}

#[test]
fn adaptation_needs_fewer_perturbations_than_training_from_scratch() {
    let curve = curve();
    assert_eq!((curve.held_out, curve.pool), (6, 12));
    let error = |method, n| curve.l2(method, n).expect("it was run");
    assert!(error(AdaptMethod::Lora, 2) < error(AdaptMethod::Scratch, 12), "{curve:?}");
    assert!(
        error(AdaptMethod::Lora, 12) < curve.no_change[0] && curve.ceiling[0] < error(AdaptMethod::Lora, 12),
        "{curve:?}"
    );
    assert_eq!(curve.needed(AdaptMethod::Lora, AdaptMethod::Scratch), Some(2));
    assert!(curve.plot("a curve").expect("points").to_svg().contains("noise ceiling"));
}

#[test]
fn genes_are_matched_by_name_and_too_few_are_refused() {
    let data = &pair()[1];
    let order: Vec<usize> = (0..data.n_genes()).rev().filter(|&gene| gene != 7).collect();
    let turned = data.select_genes(&order).expect("its genes");
    let target = Target::new(&turned, base().genes(), "second", None).expect("99 of 100");
    assert!(target.note.contains(&base().genes()[7]) && target.note.starts_with("99 of"), "{}", target.note);
    assert_eq!((target.present.len(), target.data.gene_names()), (99, base().genes()));
    let [row, of] = [turned.counts.to_dense(), target.data.counts.to_dense()];
    assert_eq!((row.column(0), of.column(7).sum()), (of.column(99), 0.0));
    let few = data.select_genes(&(0..40).collect::<Vec<_>>()).expect("its genes");
    let error = Target::new(&few, base().genes(), "second", None).expect_err("40 of 100");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("40 of the model's 100 genes"), "{error}");
}
