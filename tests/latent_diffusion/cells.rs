//! Cells drawn by latent diffusion.

use genailab::{
    Error, ErrorKind,
    data::{Condition, Dataset, Perturbation, Simulation, SimulationConfig, Split, SplitPlan, TrainingData},
    device::Device,
    model::{
        CountVae, KlAnnealing, Model, Trained, VaeConfig, VaeSettings,
        combination::CombinationConfig,
        diffusion::{DiffusionConfig, SampleConfig, net::ScoreNetConfig},
        flow::{FlowConfig, TransportConfig},
        latent_diffusion::{
            DiffusionModel, DiffusionSettings, Draw, EffectDiffusionConfig, GeneratorConfig, LatentDiffusion,
            LatentDiffusionConfig, Library, SpaceKind,
        },
    },
    train::{Progress, Run, TrainConfig},
};
use ndarray::{Array1, Axis};
use std::{path::Path, sync::OnceLock};

fn quiet() -> Run<'static> {
    Run { progress: Progress::Silent, ..Run::default() }
}

/// Simulated cells, the condition of each, a split, and a VAE of the training cells.
struct World {
    data: Dataset,
    conditions: Vec<Condition>,
    split: Split,
    vae: CountVae,
    double: Condition,
}

fn vae_of(data: &Dataset, split: &Split, model: VaeConfig, epochs: usize) -> CountVae {
    let train = TrainConfig { epochs, ..TrainConfig::default() };
    let settings = VaeSettings { model, train, ..VaeSettings::default() };
    CountVae::fit(&TrainingData::of_dataset(data.clone(), split, 0).unwrap(), &settings, &mut quiet()).unwrap().0
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let config =
            SimulationConfig { n_cells: 2500, n_genes: 80, seed: 5, damaged_fraction: 0.0, ..Default::default() };
        let data = Simulation::new(&config).unwrap().dataset;
        let conditions: Vec<Condition> =
            (0..data.n_cells()).map(|cell| Condition::of(data.perturbation_of(cell).clone())).collect();
        let mut split = data.split(&SplitPlan::doubles(0)).unwrap();
        // Some training cells, not whole conditions, are watched.
        let (watched, train) = split.train.iter().partition(|&&row| row.is_multiple_of(10));
        (split.validation, split.train) = (watched, train);
        let double = conditions[split.test[0]].clone();
        // A low beta, because so few steps would leave the latents at the prior.
        let model = VaeConfig { latent: 8, hidden: vec![64], beta: 0.3, ..VaeConfig::default() };
        let vae = vae_of(&data, &split, model, 30);
        World { data, conditions, split, vae, double }
    })
}

fn quick() -> LatentDiffusionConfig {
    let net = ScoreNetConfig::film_mlp(64, 2);
    let mut config = LatentDiffusionConfig {
        generator: GeneratorConfig::Diffusion {
            model: DiffusionConfig { net, ..DiffusionConfig::default() },
            sampling: SampleConfig::ddim(20),
        },
        effects: EffectDiffusionConfig {
            combination: CombinationConfig { network: false, ..CombinationConfig::default() },
            ..EffectDiffusionConfig::default()
        },
        ..LatentDiffusionConfig::default()
    };
    config.training.epochs = 15;
    config.effects.spread.training.epochs = 20;
    config
}

fn fitted(config: &LatentDiffusionConfig) -> Result<LatentDiffusion, Error> {
    let World { data, split, vae, .. } = world();
    let training = TrainingData::of_dataset(data.clone(), split, 0)?;
    let cells = training.cells.as_ref().expect("a dataset of cells");
    LatentDiffusion::around(vae.clone(), cells, config, &mut quiet()).map(|(model, _)| model)
}

/// Mean log-normalised expression of the training cells of control, `(genes,)`.
fn control() -> Array1<f64> {
    let World { data, conditions, split, .. } = world();
    let rows: Vec<usize> =
        split.train.iter().copied().filter(|&row| conditions[row].perturbation.is_control()).collect();
    let mut sum = Array1::<f64>::zeros(data.n_genes());
    for &row in &rows {
        let (genes, values) = data.counts.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            sum[gene as usize] += f64::from((value * 1e4 / data.library_size[row]).ln_1p());
        }
    }
    sum / rows.len() as f64
}

#[test]
fn the_mean_of_drawn_cells_is_the_predicted_one_and_counts_are_counts() {
    let model = fitted(&quick()).unwrap();
    let double = &world().double;
    let draw = Draw { cells: 1500, ..Draw::default() };
    let drawn = model.sample(double, draw, 3).unwrap();
    assert!(drawn.are_counts && drawn.values.iter().all(|x| *x >= 0.0 && x.fract() == 0.0));
    let wanted = (control() + model.mean().effect(double).unwrap()).mapv(|mean| mean.max(0.0));
    let mean = drawn.log_normalised().mapv(f64::from).mean_axis(Axis(0)).unwrap();
    let deviation = drawn.log_normalised().mapv(f64::from).var_axis(Axis(0), 1.0).mapv(f64::sqrt);
    // Matched on 128 cells, compared on 1,500: the standard error of a gene's mean is that of 128 cells.
    let off = (&mean - &wanted).mapv(f64::abs) / deviation.mapv(|sd| sd.max(0.05) / 128f64.sqrt());
    assert!(off.mean().unwrap() < 1.5, "means are off by {} standard errors of 128 cells", off.mean().unwrap());
    assert_eq!(drawn.values, model.sample(double, draw, 3).unwrap().values, "the same seed gives the same cells");
    assert_ne!(drawn.values, model.sample(double, draw, 4).unwrap().values);
    let effect = model.effect(double, 0).unwrap() - model.mean().effect(double).unwrap();
    assert!(effect.dot(&effect).sqrt() < 0.1 * wanted.dot(&wanted).sqrt(), "the mean is the combination model's");
}

#[test]
fn a_given_library_size_is_kept_and_bad_questions_are_answered_in_one_line() {
    let mut model = fitted(&quick()).unwrap();
    let World { double, .. } = world();
    let given = Draw { cells: 200, library: Library::Given(3000.0), ..Draw::default() };
    let drawn = model.sample(double, given, 1).unwrap();
    assert!(drawn.library_size.iter().all(|&size| size == 3000.0));
    let refused = |error: Error, words: &[&str]| {
        let line = error.to_string();
        assert!(words.iter().all(|word| line.contains(word)) && !line.contains('\n'), "{line}");
    };
    let bad = Draw { library: Library::Given(-1.0), ..given };
    refused(model.sample(double, bad, 1).unwrap_err(), &["library size", "-1"]);
    let stranger = Condition::of(Perturbation::of(["NOSUCH", "NEITHER"]));
    refused(model.sample(&stranger, given, 1).unwrap_err(), &["NOSUCH", "NEITHER"]);
    refused(model.set_sampling(Some(0), None).unwrap_err(), &["steps"]);
    refused(model.set_sampling(None, Some(-1.0)).unwrap_err(), &["guidance", "-1"]);
}

/// The model as it comes back from a folder.
fn through_a_folder(model: &LatentDiffusion) -> LatentDiffusion {
    let dir = tempfile::tempdir().unwrap();
    DiffusionModel::Cells(Box::new(model.clone())).save(dir.path()).unwrap();
    match DiffusionModel::load(dir.path(), Device::Cpu).unwrap() {
        DiffusionModel::Cells(model) => *model,
        DiffusionModel::Effects(_) => panic!("it was a model of cells"),
    }
}

#[test]
fn a_model_file_that_was_edited_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    DiffusionModel::Cells(Box::new(fitted(&quick()).unwrap())).save(dir.path()).unwrap();
    let path = dir.path().join("model.json");
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (edit, word) in [
        (
            &(|json: &mut serde_json::Value| json["description"]["homes"][0][1] = serde_json::json!([]))
                as &dyn Fn(&mut _),
            "control",
        ),
        (&|json: &mut serde_json::Value| json["description"]["homes"][0][1][0]["lane"] = 99.into(), "lane"),
        (&|json: &mut serde_json::Value| json["description"]["homes"][0][1][0]["library_size"] = 0.into(), "library"),
        (&|json: &mut serde_json::Value| json["description"]["spread"]["Ok"]["seen"] = 0.into(), "spread"),
        (&|json: &mut serde_json::Value| json["description"]["homes"] = serde_json::json!([]), "shape"),
        (&|json: &mut serde_json::Value| json["description"]["trained"] = serde_json::json!([]), "shape"),
        (&|json: &mut serde_json::Value| drop(json["parts"].as_object_mut().unwrap().remove("generator")), "generator"),
        (&|json: &mut serde_json::Value| json["parts"]["spread"] = "flow".into(), "flow"),
    ] {
        let mut json = saved.clone();
        edit(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = DiffusionModel::load(dir.path(), Device::Cpu).map(drop).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
    }
}

#[test]
fn a_part_that_was_edited_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    DiffusionModel::Cells(Box::new(fitted(&quick()).unwrap())).save(dir.path()).unwrap();
    let path = dir.path().join("generator").join("model.json");
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (edit, word) in [
        (&(|json: &mut serde_json::Value| json["description"]["dims"] = 3.into()) as &dyn Fn(&mut _), "scales"),
        (&|json: &mut serde_json::Value| json["description"]["scales"]["x"]["std"][0] = 0.into(), "scales"),
        (
            &|json: &mut serde_json::Value| json["description"]["config"]["net"]["width"] = 1_000_000_000.into(),
            "larger than its arrays",
        ),
    ] {
        let mut json = saved.clone();
        edit(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = DiffusionModel::load(dir.path(), Device::Cpu).map(drop).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
    }
}

#[test]
fn a_saved_model_draws_the_same_cells() {
    let model = fitted(&quick()).unwrap();
    let again = through_a_folder(&model);
    let draw = Draw { cells: 300, ..Draw::default() };
    let means = |model: &LatentDiffusion| {
        model.sample(&world().double, draw, 1).unwrap().log_normalised().mean_axis(Axis(0)).unwrap()
    };
    let off = (means(&model) - means(&again)).mapv(f32::abs);
    // Arrays are saved in single precision: a count here and there is drawn otherwise.
    assert!(off.mean().unwrap() < 0.02, "{off}");
}

#[test]
fn a_cell_stays_what_it_is_under_its_own_condition() {
    let model = fitted(&quick()).unwrap();
    let World { data, conditions, split, vae, double, .. } = world();
    let control = Condition::of(Perturbation::control());
    let rows: Vec<usize> = split.train.iter().copied().filter(|&row| conditions[row] == control).take(40).collect();
    let reconstructed = vae.reconstruct(data, &rows).unwrap();
    let apart = |to: &Condition| {
        let moved = model.counterfactual(data, &rows, (&control, to), 0).unwrap();
        let off = moved.iter().zip(&reconstructed).map(|(a, b)| f64::from((a.ln_1p() - b.ln_1p()).abs()));
        off.sum::<f64>() / reconstructed.len() as f64
    };
    assert!(apart(&control) < apart(double), "{} and {}", apart(&control), apart(double));
}

#[test]
fn flows_and_expression_space_draw_cells_too() {
    let flow = |from_control: bool| GeneratorConfig::Flow {
        model: FlowConfig { net: ScoreNetConfig::film_mlp(64, 2), ..FlowConfig::default() },
        transport: TransportConfig::default(),
        from_control,
    };
    let spaces = [
        (SpaceKind::Latent, flow(false)),
        (SpaceKind::Latent, flow(true)),
        (SpaceKind::Expression { components: 10 }, quick().generator),
    ];
    for (space, generator) in spaces {
        let mut config = LatentDiffusionConfig { space, generator, ..quick() };
        config.training.epochs = 5;
        let model = fitted(&config).unwrap();
        let drawn = model.sample(&world().double, Draw { cells: 400, ..Draw::default() }, 1).unwrap();
        assert_eq!(drawn.are_counts, space == SpaceKind::Latent);
        let wanted = (control() + model.mean().effect(&world().double).unwrap()).mapv(|mean| mean.max(0.0));
        let mean = drawn.log_normalised().mapv(f64::from).mean_axis(Axis(0)).unwrap();
        let off = (&mean - &wanted).mapv(f64::abs).mean().unwrap();
        assert!(off < 0.25, "{space:?}: means are off by {off}");
        through_a_folder(&model);
    }
}

#[test]
fn an_interrupted_training_is_resumed_bit_for_bit() {
    let config = SimulationConfig { n_cells: 500, n_genes: 40, seed: 8, damaged_fraction: 0.0, ..Default::default() };
    let data = Simulation::new(&config).unwrap().dataset;
    let split = data.split(&SplitPlan::doubles(0)).unwrap();
    let data = TrainingData::of_dataset(data, &split, 3).unwrap();
    let mut settings = DiffusionSettings { cells: quick(), ..DiffusionSettings::default() };
    settings.vae = VaeConfig { latent: 4, hidden: vec![16], beta: 0.01, ..VaeConfig::default() };
    settings.train.epochs = 4;
    let dir = tempfile::tempdir().unwrap();
    let fit = |epochs, dir: Option<&Path>| {
        let mut settings = settings.clone();
        settings.cells.training = TrainConfig { epochs, ..TrainConfig::default() };
        settings.cells.effects.spread.training = settings.cells.training.clone();
        let mut run = Run { dir: dir.map(Path::to_owned), resume: epochs > 2, ..Run::quiet(3) };
        DiffusionModel::fit(&data, &settings, &mut run).unwrap()
    };
    let (whole, _) = fit(5, None);
    // As if it had been stopped after the generator's second epoch: the VAE is done, the learning rate is the same at
    // every step.
    let (_, begun) = fit(2, Some(dir.path()));
    let (resumed, history) = fit(5, Some(dir.path()));
    assert_eq!(history.epochs[..2], begun.epochs, "what was done is not done again: it has the same times");
    assert_eq!(history.epochs.len(), 5);
    assert_eq!(resumed.state().unwrap(), whole.state().unwrap());
}

#[test]
fn a_collapsed_latent_and_test_cells_in_training_are_refused() {
    let World { data, split, .. } = world();
    // A KL term that outweighs everything: the posterior is the prior, and z says nothing.
    let model = VaeConfig {
        latent: 4,
        hidden: vec![16],
        beta: 1e4,
        kl_annealing: KlAnnealing::Constant,
        free_nats: Some(0.0),
        ..VaeConfig::default()
    };
    let collapsed = vae_of(data, split, model, 10);
    let training = TrainingData::of_dataset(data.clone(), split, 0).unwrap();
    let cells = training.cells.as_ref().unwrap();
    let refused = LatentDiffusion::around(collapsed, cells, &quick(), &mut quiet()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("collapsed"), "{refused}");

    let mut leaking = split.clone();
    leaking.train.push(split.test[0]);
    let refused = TrainingData::of_dataset(data.clone(), &leaking, 0).map(drop).unwrap_err();
    assert_ne!(refused.kind(), ErrorKind::Inapplicable);
    assert!(refused.to_string().contains("twice"), "{refused}");
}
