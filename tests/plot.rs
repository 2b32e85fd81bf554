//! `plot`: every figure is valid XML with a title and a description, small, and holds the marks of its data.
//!
//! To look at them: `GENAILAB_FIGURES=folder cargo test --test integration plot::` keeps the figures and a sample report there.

use genailab::{
    bench::InteractionCurve,
    ndarray::{Array2, array},
    show::{Align, Grid, axis::Axis, *},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Normal, Poisson};

const LARGEST_FIGURE: usize = 150_000;

fn normal(rng: &mut ChaCha8Rng, mean: f64, sd: f64) -> f64 {
    Normal::new(mean, sd).expect("a positive spread").sample(rng)
}

fn history() -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let epochs: Vec<f64> = (0..40).map(f64::from).collect();
    let mut curve = |name: &str, from: f64, to: f64, pace: f64, noise: f64| {
        let y = epochs.iter().map(|e| to + (from - to) * (-e / pace).exp() + normal(&mut rng, 0.0, noise)).collect();
        Series::new(name, epochs.clone(), y)
    };
    let loss = vec![curve("train", 410.0, 352.0, 7.0, 0.4), curve("validation", 398.0, 356.0, 6.0, 1.2)];
    let kl = vec![curve("train", 0.5, 14.0, 9.0, 0.1), curve("validation", 0.5, 13.6, 9.0, 0.2)];
    let panels = [
        Panel { y_label: "loss (nats per cell)".into(), series: loss },
        Panel { y_label: "KL (nats per cell)".into(), series: kl },
    ];
    training_curves("Training of the count VAE", "epoch", &panels).expect("curves")
}

/// Cells in clusters, and each one's category: some large ones, many small ones, control.
fn cells(n: usize) -> (Array2<f32>, Vec<String>) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let centres: Vec<(f64, f64)> = (0..24).map(|_| (normal(&mut rng, 0.0, 5.0), normal(&mut rng, 0.0, 4.0))).collect();
    let mut points = Array2::zeros((n, 2));
    let names = (0..n)
        .map(|row| {
            let u: f64 = rng.random();
            let c = if u < 0.2 { 0 } else { ((u * u * 24.0) as usize).min(23) };
            points[[row, 0]] = normal(&mut rng, centres[c].0, 0.8) as f32;
            points[[row, 1]] = normal(&mut rng, centres[c].1, 0.8) as f32;
            if c == 0 { "control".to_owned() } else { format!("GENE{c}+KLF1") }
        })
        .collect();
    (points, names)
}

fn many_cells() -> Figure {
    let (points, names) = cells(20_000);
    embedding(
        "Latent space of 20,000 cells",
        EmbeddingAxes::Arbitrary("UMAP 1", "UMAP 2"),
        points.view(),
        &names,
        Some("control"),
    )
    .expect("cells")
}

fn few_cells() -> Figure {
    let (points, names) = cells(400);
    let axes = EmbeddingAxes::Measured("PC 1 (31 % of the variance)", "PC 2 (12 % of the variance)");
    embedding("Latent space of 400 cells", axes, points.view(), &names, Some("control")).expect("cells")
}

fn effects(genes: usize) -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let observed: Vec<f32> = (0..genes).map(|_| (normal(&mut rng, 0.0, 1.0).powi(3) * 0.08) as f32).collect();
    let predicted: Vec<f32> = observed.iter().map(|&v| 0.8 * v + normal(&mut rng, 0.0, 0.05) as f32).collect();
    let names: Vec<String> = (0..genes).map(|g| format!("GENE{g}")).collect();
    effect_scatter("CEBPE+KLF1: predicted and observed effect", &names, &predicted, &observed, 10).expect("genes")
}

fn pearsons(n: usize) -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let items: Vec<(String, Option<f64>)> = (0..n)
        .map(|i| (format!("CEBPE+GENE{i}"), (i != 3).then(|| 0.95 - rng.random::<f64>().powi(2) * 1.1)))
        .collect();
    ranked("Pearson of the effect, by perturbation", "Pearson of predicted and observed effect", &items)
        .expect("values")
}

fn cells_per_perturbation() -> Figure {
    let items: Vec<(String, Option<f64>)> =
        (0..24).map(|i| (format!("GENE{i}"), Some(f64::from(2400 / (i + 1))))).collect();
    ranked("Cells per perturbation", "cells", &items).expect("values")
}

fn genes_per_cell() -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let values: Vec<f64> = (0..5_000).map(|_| (8.1 + normal(&mut rng, 0.0, 0.25)).exp().round()).collect();
    histogram("Genes per cell", "genes detected per cell", "cells", &values, &[("QC minimum", 1500.0)]).expect("values")
}

/// Names that are too long for one line, lines that stand close together.
fn long_names() -> Vec<(&'static str, Figure)> {
    let series = |name: &str| Series::new(name, vec![0.0, 1.0, 2.0], vec![0.3, 0.2, 0.25]);
    let panel = |y_label: &str, name: &str| Panel { y_label: y_label.into(), series: vec![series(name)] };
    let panels = [
        panel(
            "loss of the decoded interaction relative to that of no interaction",
            "diffusion around the combination model",
        ),
        panel("effective rank of the embeddings (of 64)", "all"),
    ];
    let x_label =
        "share of the unseen doubles that are kept, those that the model is surest of first, of all held-out ones";
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let draws: Vec<f64> = (0..300).map(|_| normal(&mut rng, -0.1, 0.8)).collect();
    let clouds = ["one", "two", "three"].map(|name| PlanePanel::new(name, [("a", array![[0.0, 1.0], [1.0, 0.0]])]));
    let long_axes =
        ("ln of the counts of a control cell, per gene, in the training set", "mutual information / entropy (nats)");
    let limits = [("predicted", -0.12), ("measured", -0.38), ("at the edge", 2.4)];
    vec![
        ("long_names", training_curves("Long names", x_label, &panels).expect("curves")),
        ("long_axes", plane("Long axes", long_axes, &clouds).expect("values")),
        ("close_lines", histogram("What a gene could do", "effect", "draws", &draws, &limits).expect("values")),
    ]
}

fn models_by_metric() -> Figure {
    let values = array![[0.0, 23.7, f64::NAN], [0.39, 21.9, 0.61], [0.705, 19.4, 0.78], [0.735, 15.9, 0.81]];
    let (models, metrics) = (["no change", "mean", "additive", "kernel ridge"], ["Pearson", "L2 (log1p)", "AUROC"]);
    heatmap("Models and metrics", &models, &metrics, values.view(), "mean over test doubles", ColourScale::PerColumn)
        .expect("values")
}

fn effects_by_gene(rows: usize, columns: usize) -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let values = Array2::from_shape_simple_fn((rows, columns), || normal(&mut rng, 0.1, 0.5).powi(3));
    let perturbations: Vec<String> = (0..rows).map(|i| format!("GENE{i}+KLF1")).collect();
    let genes: Vec<String> = (0..columns).map(|i| format!("HBG{i}")).collect();
    heatmap("Effects", &perturbations, &genes, values.view(), "effect (mean log1p)", ColourScale::Shared)
        .expect("values")
}

fn overdispersion() -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    for _ in 0..900 {
        let mean = normal(&mut rng, -1.5, 1.6).exp();
        let gamma = Gamma::new(2.0, mean / 2.0).expect("positive");
        let counts: Vec<f64> = (0..400)
            .map(|_| Poisson::new(gamma.sample(&mut rng).max(1e-9)).expect("positive").sample(&mut rng))
            .collect();
        let m = counts.iter().sum::<f64>() / 400.0;
        means.push(m);
        variances.push(counts.iter().map(|c| (c - m) * (c - m)).sum::<f64>() / 399.0);
    }
    mean_variance("Counts vary more than a Poisson", &means, &variances).expect("genes")
}

const MODELS: [&str; 12] = [
    "kernel_ridge",
    "additive",
    "no_change",
    "noise_ceiling",
    "my_predictions.h5ad",
    "scaled_additive",
    "mean_of_perturbations",
    "matching_mean",
    "additive_in_pca_space",
    "ridge_on_multi_hot",
    "nearest_perturbation",
    "latent_additive",
];
const HIGHLIGHT: [&str; 5] = ["kernel_ridge", "additive", "no_change", "noise_ceiling", "my_predictions.h5ad"];

/// Errors around 20, each model with its own level; `additive` misses one condition.
fn errors(n: usize, models: usize) -> (Vec<String>, Vec<ModelValues>) {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let conditions: Vec<String> = (0..n).map(|i| format!("CEBPE+GENE{i}")).collect();
    let hardness: Vec<f64> = (0..n).map(|_| 12.0 + normal(&mut rng, 0.0, 3.0).abs() * 2.0).collect();
    let values = MODELS[..models].iter().enumerate().map(|(m, model)| {
        let level = [0.82, 1.0, 1.22, 0.35, 0.95, 0.86, 1.13, 1.08, 1.01, 0.97, 1.3, 0.9][m];
        let of =
            |(i, hard): (usize, &f64)| (m != 1 || i != 2).then(|| level * hard * (1.0 + normal(&mut rng, 0.0, 0.06)));
        ModelValues::new(*model, hardness.iter().enumerate().map(of).collect())
    });
    let values = values.collect();
    (conditions, values)
}

fn dots(n: usize, models: usize) -> Figure {
    let (conditions, values) = errors(n, models);
    condition_dots("L2 of every held-out double", "L2 (log1p)", Better::Lower, &conditions, &values, &HIGHLIGHT)
        .expect("values")
}

fn bars(n: usize, models: usize) -> Figure {
    let (conditions, values) = errors(n, models);
    condition_bars("L2 of every held-out double", "L2 (log1p)", Better::Lower, &conditions, &values).expect("values")
}

/// Few points, each joined to another: predicted and observed means.
fn joined() -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let observed = Array2::from_shape_fn((30, 2), |_| normal(&mut rng, 0.0, 2.0) as f32);
    let predicted = observed.mapv(|at| 0.8 * at + normal(&mut rng, 0.0, 0.3) as f32);
    let clouds = [("observed", observed.clone()), ("predicted", predicted.clone()), ("control", array![[0.0, 0.0]])];
    let panel = PlanePanel::new("additive", clouds).with_paths(&[predicted, observed]);
    plane("Predicted and observed means", ("PC 1", "PC 2"), &[panel]).expect("values")
}

fn ratios(models: usize) -> Figure {
    let (_, values) = errors(40, models);
    let reference = values[1.min(models - 1)].clone();
    let ratio = |model: &ModelValues| {
        let pairs = model.values.iter().zip(&reference.values);
        ModelValues::new(&model.model, pairs.map(|(a, b)| Some((*a)? / (*b)?)).collect())
    };
    let ratios: Vec<ModelValues> = values.iter().map(ratio).collect();
    l2_ratio("L2 of each model over that of additive", "L2", &reference.model, &ratios, &HIGHLIGHT).expect("ratios")
}

fn predicted_and_observed(models: usize, genes: usize) -> Figure {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let observed: Vec<f32> = (0..genes).map(|_| (normal(&mut rng, 0.0, 1.0).powi(3) * 0.08) as f32).collect();
    let panels: Vec<ScatterPanel> = MODELS[..models]
        .iter()
        .enumerate()
        .map(|(m, model)| {
            let share = if m == 2 { 0.0 } else { 0.9 - 0.05 * m as f32 };
            let noise = if m == 2 { 0.0 } else { 0.02 + 0.02 * m as f64 };
            let predicted = observed.iter().map(|&v| share * v + normal(&mut rng, 0.0, noise) as f32).collect();
            ScatterPanel { name: (*model).to_owned(), predicted, observed: observed.clone() }
        })
        .collect();
    scatter("Predicted and observed effects", &panels).expect("panels")
}

fn interactions() -> Figure {
    let curves: Vec<InteractionCurve> = MODELS[..8]
        .iter()
        .enumerate()
        .map(|(m, model)| {
            let recall = (1..=60).map(|i| f64::from(i) / 60.0);
            let precision = |r: f64| 0.05 + (0.9 - 0.08 * m as f64) * (1.0 - r).powf(1.5);
            let points: Vec<(f64, f64)> = recall.map(|r| (r, 1.0 - precision(r))).collect();
            let auprc = points.iter().map(|(_, fdp)| 1.0 - fdp).sum::<f64>() / 60.0;
            InteractionCurve { model: (*model).to_owned(), recall_and_fdp: points, auprc, base_rate: 0.05 }
        })
        .collect();
    interaction_curve("Genetic interactions found", "synergies", &curves, &HIGHLIGHT).expect("curves")
}

fn models_and_metrics(models: usize) -> Figure {
    let metrics =
        [("L2", Better::Lower), ("Pearson", Better::Higher), ("AUROC", Better::Higher), ("MAE", Better::Lower)];
    let values = Array2::from_shape_fn((models, 4), |(m, k)| {
        let good = 1.0 - 0.07 * ((m * 5 + k) % 12) as f64;
        match k {
            _ if m == 2 && k == 1 => f64::NAN,
            0 => 20.0 / good,
            3 => 0.04 / good,
            _ => good * 0.8,
        }
    });
    model_heatmap("Models and metrics", &MODELS[..models], &metrics, values.view()).expect("values")
}

fn by_group() -> Figure {
    let groups = [("seen 0 of 2", 9), ("seen 1 of 2", 52), ("seen 2 of 2", 18), ("unseen single", 37)];
    let (_, values) = errors(4, 12);
    group_panels("L2 by group", "L2 (log1p)", Better::Lower, &groups, &values, &HIGHLIGHT).expect("values")
}

/// A function of the plane with its gradient, and one with a hole.
fn rings() -> Figure {
    let (places, few) = (map_grid(-2.0, 2.0, 40), map_grid(-2.0, 2.0, 6));
    let height = |p: (f64, f64)| (-(p.0.hypot(p.1) - 1.2_f64).powi(2) / 0.1).exp();
    let values = Array2::from_shape_fn((40, 40), |(i, j)| height((places[[40 * i + j, 0]], places[[40 * i + j, 1]])));
    let away = Array2::from_shape_fn(few.dim(), |(i, j)| few[[i, j]]);
    let holed = Array2::from_shape_fn((40, 40), |at| if values[at] < 0.1 { f64::NAN } else { values[at] });
    let panels = [MapPanel::new("a ring", values).with_arrows(&few, &away, 0.2), MapPanel::new("a hole", holed)];
    maps("A ring", ("x", "y"), (-2.0, 2.0), "height", &panels).expect("values")
}

/// Points that are carried along bent paths, in two panels.
fn carried() -> Figure {
    let start = Array2::from_shape_fn((200, 2), |(row, axis)| ((row * (7 + 6 * axis)) % 41) as f32 / 20.0 - 1.0);
    let places: Vec<Array2<f32>> = (0..=8)
        .map(|step| {
            let turn = 0.1 * step as f32;
            Array2::from_shape_fn((200, 2), |(row, axis)| {
                let (x, y) = (start[[row, 0]], start[[row, 1]]);
                if axis == 0 { x * turn.cos() - y * turn.sin() } else { x * turn.sin() + y * turn.cos() + turn }
            })
        })
        .collect();
    let clouds = || [("start", start.clone()), ("end", places[8].clone())];
    let panels = [PlanePanel::new("turned", clouds()).with_paths(&places), PlanePanel::new("without paths", clouds())];
    plane("Points on their way", ("x", "y"), &panels).expect("values")
}

fn gallery() -> Vec<(&'static str, Figure)> {
    vec![
        ("history", history()),
        ("many_cells", many_cells()),
        ("few_cells", few_cells()),
        ("effects_few", effects(250)),
        ("effects_many", effects(5_000)),
        ("ranked_few", pearsons(12)),
        ("ranked_many", pearsons(120)),
        ("cells_per_perturbation", cells_per_perturbation()),
        ("histogram", genes_per_cell()),
        ("maps", rings()),
        ("plane", carried()),
        ("heatmap_models", models_by_metric()),
        ("heatmap_small", effects_by_gene(12, 40)),
        ("heatmap_large", effects_by_gene(100, 800)),
        ("mean_variance", overdispersion()),
        ("dots_few", dots(5, 3)),
        ("dots_many", dots(60, 12)),
        ("dots_too_many", dots(140, 12)),
        ("bars_few", bars(6, 4)),
        ("bars_too_many", bars(60, 3)),
        ("joined", joined()),
        ("ratios", ratios(12)),
        ("ratio_single", ratios(1)),
        ("scatter_many", predicted_and_observed(12, 20_000)),
        ("scatter_few", predicted_and_observed(2, 200)),
        ("scatter_single", predicted_and_observed(1, 5_000)),
        ("interactions", interactions()),
        ("model_heatmap", models_and_metrics(12)),
        ("model_heatmap_single", models_and_metrics(1)),
        ("by_group", by_group()),
    ]
    .into_iter()
    .chain(long_names())
    .collect()
}

fn sample_report() -> Report {
    let mut table = Grid::new(
        "Held-out cells",
        [("model", Align::Left), ("ELBO (nats per cell)", Align::Right), ("Pearson", Align::Right)],
    );
    table.push(["count VAE", "-356.1", "0.874"]).expect("three cells");
    table.push(["additive <A+B>", "-", "0.705"]).expect("three cells");
    Report::new("Count VAE on Norman 2019 & friends")
        .verdict(
            Verdict::Good,
            "It predicts unseen doubles better than adding the two single effects (Pearson 0.874, not 0.705).",
        )
        .verdict(Verdict::Plain, "Trained on 3,037 cells x 500 genes in 41 seconds on a CPU.")
        .verdict(
            Verdict::Warning,
            "12 of 33 perturbations change no gene that the Wilcoxon test finds; they have no AUROC.",
        )
        .section("Training")
        .paragraph("The loss is the negative ELBO, summed over genes and latent dimensions, averaged over cells.")
        .figure(history())
        .section("How well does it predict?")
        .table(table)
        .figure(effects(250))
        .figure(pearsons(12))
        .section("The cells")
        .figure(many_cells())
        .section("Settings and versions")
        .table(Grid::facts("", [("seed", "0"), ("latent dimensions", "64"), ("genailab", env!("CARGO_PKG_VERSION"))]))
        .code("genailab run --data norman_cells.h5ad --out report")
}

/// Checks that tags nest, attributes are quoted and nothing is left unescaped; gives the number of each tag.
fn parse_xml(text: &str) -> std::collections::HashMap<String, usize> {
    let (mut open, mut count) = (Vec::new(), std::collections::HashMap::new());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("tag not closed: {}", &rest[start..][..80]));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<'), "< inside a tag: {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tag");
            continue;
        }
        let (body, closed) = tag.strip_suffix('/').map_or((tag, false), |body| (body, true));
        let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        let mut seen = Vec::new();
        let mut left = attributes.trim();
        while !left.is_empty() {
            let (key, value) = left.split_once("=\"").unwrap_or_else(|| panic!("attribute not quoted: {left}"));
            let (value, after) = value.split_once('"').unwrap_or_else(|| panic!("attribute not closed: {left}"));
            check_text(value);
            assert!(!seen.contains(&key), "attribute {key} twice in <{name}>");
            assert!(key != "x" || !value.contains("NaN"), "a mark without a place: <{tag}>");
            seen.push(key);
            left = after.trim_start();
        }
        *count.entry(name.to_owned()).or_insert(0) += 1;
        if !closed {
            open.push(name.to_owned());
        }
    }
    check_text(rest);
    assert!(open.is_empty(), "tags left open: {open:?}");
    count
}

fn check_text(text: &str) {
    for after in text.split('&').skip(1) {
        let entity = after.split(';').next().unwrap_or_default();
        assert!(
            ["amp", "lt", "gt", "quot", "apos", "#39"].contains(&entity),
            "unescaped &: {}",
            &after[..after.len().min(20)]
        );
    }
    assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "control character in {text:?}");
}

/// The text without its images, whose base64 may hold any letters.
fn without_images(svg: &str) -> String {
    let mut parts = svg.split("base64,");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

#[test]
fn every_figure_is_valid_named_and_small() {
    let folder = std::env::var_os("GENAILAB_FIGURES").map(std::path::PathBuf::from);
    for (name, figure) in gallery() {
        let svg = figure.to_svg();
        let tags = parse_xml(&svg);
        assert_eq!((tags["svg"], tags["title"], tags["desc"]), (1, 1, 1), "{name}");
        assert!(
            svg.contains("role=\"img\"") && !figure.title().is_empty() && figure.caption().ends_with('.'),
            "{name}"
        );
        assert!(figure.caption().chars().any(|c| c.is_ascii_digit()), "{name}: the caption has a number");
        let text = without_images(&svg);
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{name}");
        assert!(!svg.contains("http") || svg.matches("http").count() == 1, "{name}: nothing is fetched");
        assert!(figure.to_html().len() < LARGEST_FIGURE, "{name} takes {} bytes", figure.to_html().len());
        if let Some(folder) = &folder {
            figure.save(folder.join(format!("{name}.svg"))).expect("the folder is there");
        }
    }
    if let Some(folder) = folder {
        sample_report().save(folder.join("report.html")).expect("the folder is there");
    }
}

#[test]
fn figures_are_the_same_every_time() {
    for ((name, first), (_, second)) in gallery().into_iter().zip(gallery()) {
        assert_eq!(first, second, "{name}");
    }
}

#[test]
fn few_points_are_marks_and_many_are_a_picture() {
    let tags = parse_xml(&few_cells().to_svg());
    let marks = tags["circle"] + tags["polygon"];
    assert!((400..=410).contains(&marks), "400 cells and a legend, but {marks} marks");
    assert!(!tags.contains_key("image"));
    let tags = parse_xml(&many_cells().to_svg());
    assert_eq!(tags["image"], 1);
    assert!(tags["circle"] < 10, "only the legend is drawn");
    let tags = parse_xml(&effects(250).to_svg());
    assert_eq!(
        (tags["circle"], tags["polygon"]),
        (240 + 1, 10 + 1),
        "240 genes and the 10 largest, each with a legend"
    );
    let few = pearsons(12).to_svg();
    assert_eq!(parse_xml(&few)["circle"], 11, "one of the 12 has no value");
    assert!(pearsons(12).caption().contains("Not defined for 1"));
    assert_eq!(parse_xml(&pearsons(120).to_svg())["circle"], 40);
    assert_eq!(parse_xml(&models_by_metric().to_svg())["rect"], 12 + 1, "12 cells and the ground");
    assert_eq!(parse_xml(&effects_by_gene(100, 800).to_svg())["image"], 1);
}

/// The pixels of the PNG in a figure, as its decoder gives them.
fn picture(figure: &Figure) -> (usize, Vec<u8>) {
    use base64::Engine;
    let svg = figure.to_svg();
    let data = svg.split_once("base64,").and_then(|(_, rest)| rest.split_once('"')).expect("an embedded picture").0;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits into memory")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    (info.width as usize, pixels)
}

#[test]
fn the_picture_holds_the_points() {
    // 1,200 cells on four spots: the picture shows four discs' worth of ink, in the two categories' colours.
    let points = Array2::from_shape_fn((1_200, 2), |(row, column)| ((row >> column) & 1) as f32);
    let names: Vec<&str> = (0..1_200).map(|row| if row & 1 == 0 { "even" } else { "odd" }).collect();
    let figure =
        embedding("Four spots", EmbeddingAxes::Arbitrary("x", "y"), points.view(), &names, None).expect("cells");
    let (_, pixels) = picture(&figure);
    let of = |r: u8, g: u8, b: u8| {
        pixels.chunks(4).filter(|p| p[..3] == [r, g, b]).map(|p| f64::from(p[3]) / 255.0).sum::<f64>()
    };
    let disc = std::f64::consts::PI * 5.0 * 5.0;
    let circles = of(0x00, 0x72, 0xb2);
    assert!((circles / (2.0 * disc) - 1.0).abs() < 0.05, "two blue discs of area {disc:.0} each, but {circles:.0}");
    let squares = of(0xd5, 0x5e, 0x00);
    assert!((squares / (2.0 * (2.0 * 0.88 * 5.0_f64).powi(2)) - 1.0).abs() < 0.05, "two squares, but {squares:.0}");
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let none: [f64; 0] = [];
    let empty = Panel { y_label: "loss".into(), series: vec![Series::new("train", vec![0.0], vec![f64::NAN])] };
    let uneven = Panel { y_label: "loss".into(), series: vec![Series::new("train", vec![0.0, 1.0], vec![1.0])] };
    let points = Array2::<f32>::zeros((2, 2));
    let axes = EmbeddingAxes::Arbitrary("x", "y");
    let (no_values, matrix) = (Array2::from_elem((1, 1), f64::NAN), Array2::<f64>::zeros((2, 1)));
    for (what, result) in [
        ("no panel", training_curves("t", "epoch", &[])),
        ("no finite value", training_curves("t", "epoch", &[empty])),
        ("x and y differ", training_curves("t", "epoch", &[uneven])),
        ("no value", histogram("t", "v", "cells", &none, &[])),
        ("no gene", mean_variance("t", &[0.0], &[0.0])),
        ("lengths", mean_variance("t", &[1.0], &[])),
        ("names", embedding("t", axes, points.view(), &["a"], None)),
        ("no cell", embedding("t", axes, Array2::zeros((0, 2)).view(), &none.map(|_| "a"), None)),
        ("no value", ranked("t", "v", &[("a", None)])),
        ("lengths", effect_scatter("t", &["a"], &[1.0], &[], 1)),
        ("NaN", effect_scatter("t", &["a"], &[f32::NAN], &[0.0], 1)),
        ("no value", heatmap("t", &["a"], &["b"], no_values.view(), "v", ColourScale::Shared)),
        ("lengths", condition_bars("t", "v", Better::Lower, &["a"], &[ModelValues::new("m", vec![])])),
        ("no value", condition_bars("t", "v", Better::Lower, &["a"], &[ModelValues::new("m", vec![None])])),
        ("no model", condition_bars("t", "v", Better::Lower, &["a"], &[])),
        ("names", heatmap("t", &["a"], &["b"], matrix.view(), "v", ColourScale::Shared)),
    ] {
        assert!(result.is_err(), "{what} must be refused");
    }
}

#[test]
fn a_single_value_is_drawn() {
    let one = [Series::new("train", vec![0.0], vec![1.0])];
    for figure in [
        training_curves("t", "epoch", &[Panel { y_label: "loss".into(), series: one.to_vec() }]),
        histogram("t", "v", "cells", &[3.0], &[]),
        mean_variance("t", &[1.0], &[1.0]),
        embedding("t", EmbeddingAxes::Arbitrary("x", "y"), array![[1.0, 2.0]].view(), &["a"], Some("a")),
        ranked("t", "v", &[("a", Some(0.0))]),
        effect_scatter("t", &["a"], &[0.5], &[0.5], 3),
        heatmap("t", &["a"], &["b"], array![[0.0]].view(), "v", ColourScale::Shared),
    ] {
        let svg = figure.expect("one value is enough").to_svg();
        parse_xml(&svg);
        assert!(!svg.contains("NaN"), "{svg}");
    }
}

#[test]
fn names_are_escaped_everywhere() {
    let nasty = "</title><script>alert('&\u{7}')</script>";
    let figure = ranked(nasty, nasty, &[(nasty, Some(1.0)), ("b", Some(2.0))]).expect("values");
    assert!(!parse_xml(&figure.to_svg()).contains_key("script"));
    let report = Report::new(nasty)
        .verdict(Verdict::Plain, nasty)
        .section(nasty)
        .paragraph(nasty)
        .code(nasty)
        .table(Grid::facts(nasty, [(nasty, nasty)]))
        .figure(figure);
    assert!(!report.to_html().contains("<script"), "{}", report.to_html());
}

/// The texts of an SVG, each after its attributes.
fn texts(figure: &Figure) -> Vec<(String, String)> {
    let svg = figure.to_svg();
    let of = |element: &str| {
        let (attributes, rest) = element.split_once('>').expect("an element");
        (attributes.to_owned(), rest.split('<').next().unwrap_or_default().trim().to_owned())
    };
    svg.split("<text").skip(1).map(of).collect()
}

#[test]
fn long_names_are_broken_into_lines_and_not_cut() {
    let figures = long_names();
    let mut curves = texts(&figures[0].1);
    curves.extend(texts(&figures[1].1));
    let joined = curves.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
    assert!(!joined.contains('…'), "{joined}");
    for whole in
        ["relative to that of no interaction", "diffusion around the combination model", "of all held-out ones"]
    {
        assert!(joined.contains(whole), "{whole:?} is not in {joined}");
    }
    // The measured line is left of the predicted one, whose line passes through its row: its name stands at its left.
    let names = texts(&figures[2].1);
    let measured = names.iter().find(|(_, text)| text.starts_with("measured")).expect("a name");
    assert!(measured.0.contains("text-anchor=\"end\""), "{measured:?}");
}

#[test]
fn the_noise_ceiling_is_not_counted_as_a_model() {
    // Of the twelve, one is the reference and one the ceiling, whose ratio is the lowest.
    let figure = ratios(12);
    let caption = figure.caption();
    assert!(
        caption.contains("The median ratio to additive is below 1 for 5 of 10 models. Lowest: kernel_ridge"),
        "{caption}"
    );
}

#[test]
fn files_are_whole_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loss.svg");
    history().save(&path).expect("written");
    history().save(&path).expect("written over");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), history().to_svg());
    let report = folder.path().join("report.html");
    sample_report().save(&report).expect("written");
    let html = std::fs::read_to_string(&report).expect("readable");
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert!(
        html.contains("prefers-color-scheme: dark") && html.contains("name=\"viewport\"") && !html.contains("<script")
    );
    assert_eq!(html.matches("<figure>").count(), 4);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 2, "no temporary file is left");
    let message = history().save(folder.path().join("loss.png")).expect_err("not an .svg").to_string();
    assert!(message.ends_with("the name must end in .svg"), "{message}");
    let message = history().save(folder.path().join("no/such/loss.svg")).expect_err("no folder").to_string();
    assert!(message.starts_with("cannot write ") && message.contains("no/such/loss.svg"), "{message}");
}

#[test]
fn ticks_are_round_numbers() {
    let texts = |axis: Axis| axis.ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(Axis::from_to("x", -0.31, 0.72)), ["−0.2", "0.0", "0.2", "0.4", "0.6"]);
    assert_eq!(texts(Axis::from_to("x", 0.0, 19_000.0)), ["0", "5,000", "10,000", "15,000"]);
    assert_eq!(texts(Axis::from_to("x", -1.0, 1.0)), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
    assert_eq!(texts(Axis::log10("x", [0.01, 1000.0])), ["0.01", "0.1", "1", "10", "100", "1,000"]);
    assert_eq!(texts(Axis::log10("x", [30.0, 90.0])), ["30", "50", "70"]);
}

#[test]
fn one_value_and_none_still_make_an_axis() {
    for axis in [Axis::linear("x", [3.0]), Axis::linear("x", [f64::NAN]), Axis::from_zero("x", [0.0; 2])] {
        assert!(axis.high > axis.low && !axis.ticks.is_empty(), "{axis:?}");
    }
}
