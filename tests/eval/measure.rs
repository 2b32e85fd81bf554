//! The benchmark's metrics on real cells against cell-eval, scanpy, scipy and scikit-learn, and what must hold of a perfect,
//! an absent and a constant prediction.

use super::{assert_close, de::log_normalise, numbers, real_cells, reference};
use genailab::{
    bench::{self, MeanProfiles, MeasureOptions, Memo, ObservedCells, ObservedEffects, PcaSpace, Predicted, Scores},
    data::{Condition, Counts, Perturbation},
    eval::*,
    ndarray::{Array1, Array2, Axis},
};
use std::{collections::HashMap, sync::Arc};

/// The metrics of expression, of differential expression and of identity; others have tests of their own.
fn is_tested_here(metric: &str) -> bool {
    const NAMES: [&str; 34] = [
        "l2",
        "mse",
        "mae",
        "rmse",
        "pearson",
        "spearman",
        "cosine",
        "r2",
        "pearson_systema",
        "spearman_systema",
        "cosine_systema",
        "pearson_delta",
        "wmse",
        "r2w",
        "pds_l1",
        "pds_l2",
        "pds_cosine",
        "centroid_accuracy",
        "rank_rmse",
        "rank_logfc",
        "cosine_logfc",
        "top50_recall",
        "top50_recall_effect",
        "auroc",
        "average_precision",
        "des",
        "des_by_effect",
        "de_direction_match",
        "de_spearman_lfc_sig",
        "de_sig_genes_recall",
        "de_auprc",
        "de_auroc",
        "mse_top20_de_non_dropout",
        "pearson_top20_de_non_dropout",
    ];
    let of_set = |set: &str| ["l2", "mse", "mae", "rmse", "pearson"].iter().any(|m| metric == format!("{m}_{set}"));
    let sets = ["top1000", "top20_de", "top50_de", "top100_de", "top20_de_non_dropout"];
    let effects = ["top20_effect", "top50_effect", "top100_effect"];
    NAMES.contains(&metric)
        || sets.into_iter().any(of_set)
        || effects.into_iter().any(of_set)
        || metric.starts_with("precision_at_")
        || metric.starts_with("recall_at_")
}

/// Number of those metrics where all apply.
const METRICS: usize = 69;

fn measure(observed: &ObservedEffects, predicted: &Predicted, seed: u64) -> Scores {
    let mut scores = bench::measure(observed, predicted, &MeasureOptions::default(), seed);
    scores.rows.retain(|row| is_tested_here(&row.metric));
    scores.absent.retain(|absent| is_tested_here(&absent.metric));
    scores
}

/// The cells of tests/reference/halves.py: of each perturbation of one gene, even rows observed and odd rows predicted.
fn halves(file: &str) -> Option<(ObservedEffects, Predicted)> {
    let data = real_cells(file)?;
    let library: Vec<f64> = data.library_size.iter().map(|&size| f64::from(size)).collect();
    let expression = log_normalise(&data.counts, &library);
    let rows = |label: u32, parity: usize| -> Vec<usize> {
        (parity..data.n_cells()).step_by(2).filter(|&cell| data.labels[cell] == label).collect()
    };
    let mut labels: Vec<u32> =
        (0..data.perturbations.len() as u32).filter(|&l| data.perturbations[l as usize].genes().len() == 1).collect();
    labels.sort_by_key(|&label| data.perturbations[label as usize].to_string());
    let control: Arc<[usize]> = rows(data.perturbation("control").expect("control is there"), 0).into();
    let mean = |rows: &[usize]| -> Array1<f64> {
        expression.select_cells(rows).to_dense().mapv(f64::from).mean_axis(Axis(0)).expect("some cells")
    };
    let profile = mean(&control);
    let effect = |rows: &[usize]| (mean(rows) - &profile).mapv(|value| value as f32);
    let mut effects = Array2::zeros((0, data.n_genes()));
    for &label in &labels {
        effects.push_row(effect(&rows(label, 0)).view()).expect("a value a gene");
    }
    let n = labels.len();
    let observed = ObservedEffects {
        genes: data.gene_names().into(),
        conditions: labels.iter().map(|&l| Condition::of(data.perturbations[l as usize].clone())).collect(),
        groups: vec![None; n],
        controls: Some(profile.mapv(|v| v as f32).broadcast((n, data.n_genes())).expect("a row").to_owned()),
        training_mean: effects.mapv(f64::from).mean_axis(Axis(0)).expect("rows").mapv(|value| value as f32),
        additive: Array2::from_elem(effects.dim(), f32::NAN),
        singles: vec![Vec::new(); n],
        effects,
        cells: Some(ObservedCells {
            rows: labels.iter().map(|&label| rows(label, 0)).collect(),
            space: Arc::new(PcaSpace::of_training(&control)),
            control_rows: vec![control; n],
            expression: Arc::new(expression.clone()),
        }),
        others: MeanProfiles::default(),
        memo: Memo::default(),
    };
    let predicted = Predicted {
        model: "other_half".to_owned(),
        effects: labels.iter().map(|&label| Ok(effect(&rows(label, 1)))).collect(),
        cells: labels.iter().map(|&label| Ok(expression.select_cells(&rows(label, 1)).to_dense())).collect(),
    };
    Some((observed, predicted))
}

/// Value of each condition and metric.
fn table(scores: &Scores) -> HashMap<(&str, &str), f64> {
    scores.rows.iter().map(|row| ((row.perturbation.as_str(), row.metric.as_str()), row.value)).collect()
}

#[test]
fn scores_agree_with_cell_eval() {
    let reference = reference("cell_eval");
    for file in ["papalexi_cells", "norman_cells"] {
        let Some((observed, predicted)) = halves(file) else { continue };
        let scores = measure(&observed, &predicted, 0);
        let scores = table(&scores);
        let expected = reference["files"][file].as_object().expect("perturbations");
        assert_eq!(expected.len(), observed.conditions.len());
        let mut compared = 0;
        for (name, expected) in expected {
            let untested = expected["n_significant"] == 0;
            for (ours, theirs) in [
                ("des", "overlap_at_N"),
                ("de_direction_match", "de_direction_match"),
                ("de_sig_genes_recall", "de_sig_genes_recall"),
                ("de_auprc", "pr_auc"),
                ("de_auroc", "roc_auc"),
                ("pearson_delta", "pearson_delta"),
                ("pearson", "pearson_delta"),
                ("mse", "mse"),
                ("mae", "mae"),
                ("pds_l1", "discrimination_score_l1"),
                ("pds_l2", "discrimination_score_l2"),
                ("pds_cosine", "discrimination_score_cosine"),
            ] {
                let got = scores.get(&(name.as_str(), ours)).copied();
                // cell-eval says 0 where no gene is significant; here that is absent.
                let expected = expected[theirs].as_f64().filter(|_| !(untested && ours == "des"));
                assert_eq!(got.is_some(), expected.is_some(), "{file}, {name}, {ours}: {got:?}, {expected:?}");
                if let (Some(got), Some(expected)) = (got, expected) {
                    assert_close(got, expected, 1e-5, 1e-9, &format!("{file}, {name}, {ours}"));
                    compared += 1;
                }
            }
        }
        assert!(compared > 8 * expected.len(), "only {compared} figures were compared");
    }
}

#[test]
fn fold_change_correlation_agrees_with_cell_eval() {
    let reference = reference("cell_eval");
    for file in ["papalexi_cells", "norman_cells"] {
        let Some((observed, predicted)) = halves(file) else { continue };
        let cells = observed.cells.as_ref().expect("cells");
        let control = ReferenceCells::new(&cells.expression, &cells.control_rows[0]).expect("control cells");
        for (index, condition) in observed.conditions.iter().enumerate() {
            let test = |cells: &Array2<f32>| control.test(cells.view(), DeTest::default()).expect("valid input");
            let truth = test(&cells.expression.select_cells(&cells.rows[index]).to_dense());
            let found = test(predicted.cells[index].as_ref().expect("cells"));
            let pick = |de: &DifferentialExpression| -> Vec<f32> {
                let folds = de.log2_fold_changes.iter().zip(&truth.p_adjusted);
                folds.filter(|(_, p)| **p < SIGNIFICANCE).map(|(&fold, _)| fold as f32).collect()
            };
            let expected = reference["files"][file][condition.to_string()]["de_spearman_lfc_sig"].as_f64();
            let got = spearman(&pick(&found), &pick(&truth));
            assert_eq!(got.is_some(), expected.is_some(), "{file}, {condition}: {got:?}, {expected:?}");
            if let (Some(got), Some(expected)) = (got, expected) {
                assert_close(got, expected, 1e-5, 1e-9, &format!("{file}, {condition}, Spearman of fold changes"));
            }
        }
    }
}

#[test]
fn scores_agree_with_the_formulas_of_the_tools() {
    let reference = reference("weighted");
    for file in ["papalexi_cells", "norman_cells"] {
        let Some((observed, predicted)) = halves(file) else { continue };
        let scores = measure(&observed, &predicted, 0);
        let scores = table(&scores);
        for (name, expected) in reference[file].as_object().expect("perturbations") {
            for (metric, expected) in expected.as_object().expect("metrics") {
                let got = scores.get(&(name.as_str(), metric.as_str())).copied();
                let got = got.unwrap_or_else(|| panic!("{file}, {name}: {metric} is missing"));
                let expected = expected.as_f64().expect("a number");
                assert_close(got, expected, 1e-5, 1e-7, &format!("{file}, {name}, {metric}"));
            }
        }
    }
}

#[test]
fn normalised_scores_agree_with_cell_eval() {
    let expected = &reference("cell_eval")["normalised"];
    let list = |key: &str| -> Vec<f64> { numbers(&expected[key]) };
    for (place, user) in list("user").into_iter().enumerate() {
        assert_close(normalised_by_one(user, list("base")[place]), list("by_one")[place], 1e-12, 0.0, "by one");
        let base = list("base_by_zero")[place];
        assert_close(normalised_by_zero(user, base), list("by_zero")[place], 1e-12, 0.0, "by zero");
    }
    assert_eq!((normalised_by_one(1.0, 1.0), normalised_by_zero(0.0, 0.0)), (0.0, 0.0), "0 / 0 is 0 in the challenge");
    let base = ChallengeMeans { des: 0.106, pds: 0.514, mae: 0.027 };
    assert_eq!(challenge_score(base, base), 0.0, "the baseline itself");
    let perfect = ChallengeMeans { des: 1.0, pds: 1.0, mae: 0.0 };
    assert_close(challenge_score(perfect, base), 1.0, 1e-12, 0.0, "a perfect prediction");
}

/// Three perturbations (A, B, A+B) of 6 cells over 1,200 genes, and their control; a few genes change.
fn planted() -> ObservedEffects {
    let (genes, per_condition) = (1_200, 6);
    let value = |cell: usize, gene: usize| ((cell * 7 + gene * 13) % 11) as f32 / 10.0 + (gene % 97) as f32 / 20.0;
    let shift = |condition: usize, gene: usize| match condition {
        0 => 0.0,
        condition if gene % 400 < 40 * condition => 2.0 + condition as f32 / 3.0,
        _ => 0.0,
    };
    let dense = Array2::from_shape_fn((4 * per_condition, genes), |(cell, gene)| {
        value(cell, gene) + shift(cell / per_condition, gene)
    });
    let rows =
        |condition: usize| -> Vec<usize> { (condition * per_condition..(condition + 1) * per_condition).collect() };
    let mean = |condition: usize| dense.select(Axis(0), &rows(condition)).mean_axis(Axis(0)).expect("cells");
    let control = mean(0);
    let mut effects = Array2::zeros((0, genes));
    (1..4).for_each(|c| effects.push_row((mean(c) - &control).view()).expect("a value a gene"));
    ObservedEffects {
        genes: (0..genes).map(|gene| format!("g{gene}")).collect(),
        conditions: [vec!["g0"], vec!["g1"], vec!["g0", "g1"]].map(|g| Condition::of(Perturbation::of(g))).to_vec(),
        groups: vec![None; 3],
        controls: Some(control.broadcast((3, genes)).expect("a row").to_owned()),
        training_mean: Array1::zeros(genes),
        additive: Array2::from_elem((3, genes), f32::NAN),
        singles: vec![Vec::new(); 3],
        effects,
        cells: Some(ObservedCells {
            expression: Arc::new(Counts::from_dense(&dense)),
            rows: (1..4).map(rows).collect(),
            space: Arc::new(PcaSpace::of_training(&rows(0))),
            control_rows: vec![rows(0).into(); 3],
        }),
        others: MeanProfiles::default(),
        memo: Memo::default(),
    }
}

/// The truth as a prediction: effects and cells.
fn cheat(observed: &ObservedEffects) -> Predicted {
    let cells = observed.cells.as_ref().expect("cells");
    Predicted {
        model: "cheat".to_owned(),
        effects: observed.effects.rows().into_iter().map(|row| Ok(row.to_owned())).collect(),
        cells: cells.rows.iter().map(|rows| Ok(cells.expression.select_cells(rows).to_dense())).collect(),
    }
}

#[test]
fn the_truth_is_perfect_in_every_metric() {
    let observed = planted();
    let scores = measure(&observed, &cheat(&observed), 3);
    assert!(scores.absent.is_empty(), "{:?}", scores.absent);
    for row in &scores.rows {
        let best = match row.metric.as_str() {
            m if ["l2", "mse", "mae", "rmse", "wmse", "rank_"].iter().any(|error| m.starts_with(error)) => 0.0,
            m if m.starts_with("pds_") => 1.0,
            // As many as there are to find: 40, 80 or 120 in each of three stretches of 400 genes.
            m if m.starts_with("precision_at") || m.starts_with("recall_at") => {
                let k: f64 = m.rsplit('_').next().expect("a number").parse().expect("a number");
                let changed = match row.perturbation.as_str() {
                    "g0" => 120.0,
                    "g1" => 240.0,
                    _ => 360.0,
                };
                if m.starts_with("precision") { 1.0 } else { k / changed }
            }
            _ => 1.0,
        };
        assert_close(row.value, best, 1e-5, 1e-6, &format!("{}, {}", row.perturbation, row.metric));
        assert_eq!((row.seed, row.model.as_str()), (3, "cheat"));
    }
    let per_condition = |name: &str| scores.rows.iter().filter(|row| row.perturbation == name).count();
    assert_eq!(["g0", "g1", "g0+g1"].map(per_condition), [METRICS; 3]);
}

#[test]
fn the_most_expressed_genes_are_those_of_control() {
    let observed = planted();
    let mut predicted = cheat(&observed);
    let mut order: Vec<usize> = (0..1_200).collect();
    let control = observed.controls.as_ref().expect("profiles").row(0).to_vec();
    order.sort_by(|&a, &b| control[b].total_cmp(&control[a])); // stable: ties by order in the file
    let effect = predicted.effects[0].as_mut().expect("an effect");
    effect[order[999]] += 3.0; // the last that counts
    effect[order[1_000]] += 4.0; // the first that does not
    let scores = measure(&observed, &predicted, 0);
    let scores = table(&scores);
    assert_close(scores[&("g0", "l2_top1000")], 3.0, 1e-6, 0.0, "L2 over the 1,000 most expressed");
    assert_close(scores[&("g0", "l2")], 5.0, 1e-6, 0.0, "L2 over all");
    assert_close(scores[&("g0", "mae_top1000")], 3.0 / 1_000.0, 1e-6, 0.0, "MAE over the 1,000 most expressed");
}

#[test]
fn what_does_not_apply_is_absent_with_a_reason() {
    let observed = planted();
    let all = measure(&observed, &cheat(&observed), 0);
    let names = |scores: &Scores, condition: &str| -> Vec<String> {
        let mut names: Vec<String> =
            scores.rows.iter().filter(|r| r.perturbation == condition).map(|r| r.metric.clone()).collect();
        names.sort();
        names
    };
    let all_names = names(&all, "g0");

    // A predictor with no answer to one condition: every metric of it is absent, once.
    let mut predicted = cheat(&observed);
    predicted.effects[0] = Err("g0 was never seen".to_owned());
    predicted.cells[0] = Err("g0 was never seen".to_owned());
    let scores = measure(&observed, &predicted, 0);
    assert!(names(&scores, "g0").is_empty());
    let mut absent: Vec<String> = scores.absent.iter().map(|a| a.metric.clone()).collect();
    absent.sort();
    assert_eq!(absent, all_names);
    assert!(scores.absent.iter().all(|a| a.reason == "g0 was never seen" && a.n == 1), "{:?}", scores.absent);

    // An effects dataset has neither cells nor a profile of control; every metric is there or absent, with a reason.
    let effects = ObservedEffects { controls: None, cells: None, ..observed.clone() };
    let mut predicted = cheat(&observed);
    predicted.cells = vec![Err("the model predicts means only".to_owned()); 3];
    let scores = measure(&effects, &predicted, 0);
    let present = names(&scores, "g0");
    for needed in ["l2", "mse", "mae", "rmse", "pearson", "spearman", "cosine", "r2", "pearson_systema", "pds_l1"] {
        assert!(present.iter().any(|name| name == needed), "{needed} needs no cells");
    }
    for absent in ["l2_top1000", "cosine_logfc", "rank_logfc", "wmse", "auroc", "mse_top20_de", "des"] {
        let noted = scores.absent.iter().find(|a| a.metric == absent).unwrap_or_else(|| panic!("{absent}"));
        assert!(noted.n == 3 && noted.reason.contains("effects"), "{noted:?}");
    }
    let mut both: Vec<String> = present.into_iter().chain(scores.absent.iter().map(|a| a.metric.clone())).collect();
    both.sort();
    assert_eq!(both, all_names);

    // No change: an error has a value, a direction has none, and a ranking of equals is what chance gives.
    let mut predicted = cheat(&observed);
    predicted.effects = vec![Ok(Array1::zeros(1_200)); 3];
    let scores = measure(&observed, &predicted, 0);
    let values = table(&scores);
    for metric in ["pearson", "spearman", "cosine", "pearson_systema", "pds_cosine", "cosine_logfc", "pearson_top20_de"]
    {
        assert!(!values.contains_key(&("g0", metric)), "{metric}");
        assert!(scores.absent.iter().any(|a| a.metric == metric && a.n == 3), "{metric}");
    }
    assert_eq!((values[&("g0", "auroc")], values[&("g0", "de_direction_match")]), (0.5, 0.0));
    assert_close(values[&("g0", "des_by_effect")], 120.0 / 1_200.0, 1e-9, 0.0, "what chance finds");
    assert_eq!(values[&("g1", "rank_rmse")], 0.5, "the same prediction for all");
    let norm = observed.effects.row(0).mapv(|v| f64::from(v) * f64::from(v)).sum().sqrt();
    assert_close(values[&("g0", "l2")], norm, 1e-9, 0.0, "L2 of no change is the size of the effect");
}

#[test]
fn the_mean_of_training_fails_under_systema_only() {
    let mut observed = planted();
    observed.training_mean = observed.effects.mean_axis(Axis(0)).expect("rows");
    let mut predicted = cheat(&observed);
    // Summed in another order, as a predictor might: the last bits differ, and no direction may come of them.
    let rows: Vec<f32> = (0..1_200)
        .map(|g| (observed.effects[[2, g]] + observed.effects[[0, g]] + observed.effects[[1, g]]) / 3.0)
        .collect();
    predicted.effects = vec![Ok(Array1::from(rows)); 3];
    let scores = measure(&observed, &predicted, 0);
    let values = table(&scores);
    assert!(values[&("g0", "pearson")] > 0.5, "against control the mean does well: {}", values[&("g0", "pearson")]);
    for metric in ["pearson_systema", "spearman_systema", "cosine_systema"] {
        assert!(!values.contains_key(&("g0", metric)), "{metric}: {}", values[&("g0", metric)]);
    }
}

#[test]
fn the_truth_is_prepared_or_found_alike() {
    let (prepared, lazy) = (planted(), planted());
    prepared.prepare();
    let (a, b) = (measure(&prepared, &cheat(&prepared), 0), measure(&lazy, &cheat(&lazy), 0));
    assert_eq!((a.rows, a.absent), (b.rows, b.absent));
    // A copy that is then changed must not remember.
    let changed = ObservedEffects { effects: prepared.effects.mapv(|v| v * 2.0), ..prepared.clone() };
    let scores = measure(&changed, &cheat(&prepared), 0);
    assert!(table(&scores)[&("g0", "l2")] > 1.0);
}
