//! Splits that leak are refused, each kind of leak by name.

use super::common::{dataset, effects, perturbation, screen};
use genailab::{
    data::{
        Column, Condition, Conditions, Dataset, HvgFlavour, NamedSplit, Perturbation, Split, SplitPlan, TargetSum,
        highly_variable,
        normalize::{mean_profiles, normalize_total},
    },
    ndarray::Array1,
};

fn condition(name: &str) -> Condition {
    Condition::of(perturbation(name))
}

fn in_context(name: &str, context: &str) -> Condition {
    Condition { perturbation: perturbation(name), context: Some(context.to_owned()) }
}

fn divided(name: &str) -> (NamedSplit, Conditions) {
    let conditions = Conditions::of_effects(&effects(&screen(20, 20)));
    (SplitPlan::parse(name, 1).expect("a known name").divide(&conditions).expect("it applies"), conditions)
}

/// Twelve cells of control and of each perturbation in each of two states.
fn cells() -> Dataset {
    let names = ["control", "A", "B", "A+B", "A+C", "B+C"];
    let rows: Vec<(&str, [f32; 6])> = (0..names.len() * 24)
        .map(|cell| {
            let count = |gene: usize| ((cell * 7 + gene * 5 + cell * gene) % (3 + gene)) as f32;
            (names[cell / 24], std::array::from_fn(|gene| 1.0 + count(gene)))
        })
        .collect();
    let mut data = dataset(&["g1", "g2", "g3", "g4", "g5", "g6"], &rows);
    let state = |cell: usize| Some(if cell.is_multiple_of(2) { "rest" } else { "stimulated" }.to_owned());
    data.cells.set("state", Column::Text((0..rows.len()).map(state).collect()));
    data
}

/// The message with which a split is refused: as it is, when its rows are looked for, and when it is loaded.
fn refused(split: &NamedSplit, conditions: &Conditions) -> String {
    let message = split.refuse_leakage().expect_err("it leaks").to_string();
    assert_eq!(split.split(conditions).expect_err("it leaks").to_string(), message);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("split.json");
    split.save(&path).expect("writable");
    let loaded = NamedSplit::load(&path).expect_err("it leaks").to_string();
    assert!(loaded.ends_with(&message) && loaded.contains("split.json"), "{loaded}");
    message
}

#[test]
fn a_name_in_two_parts() {
    for name in ["doubles", "constae", "simulation", "perturbations", "combos"] {
        let (split, conditions) = divided(name);
        split.refuse_leakage().expect("as divided");
        let double = split.test[0].clone();
        let mut leaking = split.clone();
        leaking.train.push(double.clone());
        let expected = format!("the split leaks: {double} stands in training and in test");
        assert_eq!(refused(&leaking, &conditions), expected, "{name}");
        let mut leaking = split.clone();
        leaking.validation.push(double.clone());
        assert!(refused(&leaking, &conditions).contains("stands in validation and in test"), "{name}");
        let mut leaking = split.clone();
        leaking.train.push(split.train[0].clone());
        assert!(refused(&leaking, &conditions).contains("stands in training and in training"), "{name}");
        let mut leaking = split;
        leaking.test.push(Condition::of(Perturbation::control()));
        assert!(refused(&leaking, &conditions).contains("control is no condition to divide"), "{name}");
    }
}

#[test]
fn a_test_double_in_train_in_another_order_or_context() {
    let (split, conditions) = divided("doubles");
    let double = split.test[0].clone();
    // A file may spell it the other way round: it is the same set of genes.
    let mut genes = double.perturbation.genes().to_vec();
    genes.reverse();
    let json = serde_json::to_string(&split).expect("plain data");
    let turned = json.replacen("\"train\":[", &format!("\"train\":[{{\"perturbation\":\"{}\"}},", genes.join("+")), 1);
    let turned: NamedSplit = serde_json::from_str(&turned).expect("a split");
    assert_eq!(turned.train.len(), split.train.len() + 1);
    assert!(refused(&turned, &conditions).contains(&format!("{double} stands in training and in test")));
    let mut leaking = split;
    leaking.train.push(in_context(&double.perturbation.to_string(), "stimulated"));
    assert!(refused(&leaking, &conditions).contains("the perturbation is trained on as"));
}

#[test]
fn a_double_without_its_single_and_a_single_among_judged_doubles() {
    for name in ["doubles", "constae"] {
        let (split, conditions) = divided(name);
        let gene = split.test[0].perturbation.genes()[0].clone();
        let mut leaking = split.clone();
        leaking.train.retain(|c| *c != condition(&gene));
        assert!(refused(&leaking, &conditions).contains(&format!("the single {gene} is not trained on")));
    }
    let (mut split, conditions) = divided("combos");
    let single = split.train.iter().position(|c| c.perturbation.genes().len() == 1).expect("singles are trained on");
    let single = split.train.remove(single);
    split.test.push(single);
    assert!(refused(&split, &conditions).contains("the plan holds out combinations"));
}

#[test]
fn a_held_out_gene_inside_a_training_combination() {
    for name in ["perturbations", "simulation"] {
        let (split, conditions) = divided(name);
        let gene = &split.held_out[0];
        let at =
            split.test.iter().position(|c| c.perturbation.genes().len() == 2 && c.perturbation.genes().contains(gene));
        let mut leaking = split.clone();
        let combination = leaking.test.remove(at.expect("every gene is in two doubles"));
        leaking.groups.remove(&combination.to_string());
        leaking.train.push(combination.clone());
        let message = refused(&leaking, &conditions);
        assert!(
            message.starts_with(&format!("the split leaks: {combination} is trained on, but the gene ")),
            "{message}"
        );
        let mut leaking = split.clone();
        leaking.validation.push(condition(&format!("{gene}_2")));
        assert!(refused(&leaking, &conditions).contains(&format!("the gene {gene} is held out")), "a second guide");
        let mut leaking = split;
        leaking.held_out.clear();
        assert!(refused(&leaking, &conditions).contains("none of its genes is held out"));
    }
}

#[test]
fn a_held_out_context_in_training() {
    let data = cells();
    let plan = SplitPlan::context("state", Some("stimulated"), 0);
    let conditions = Conditions::of(&data, Some("state")).expect("a column");
    let split = plan.divide(&conditions).expect("two states");
    let mut leaking = split.clone();
    let moved = leaking.test.remove(0);
    leaking.groups.remove(&moved.to_string());
    leaking.train.push(moved.clone());
    assert_eq!(
        refused(&leaking, &conditions),
        format!("the split leaks: {moved} is trained on, but its context is held out")
    );
    let mut leaking = split.clone();
    let moved = leaking.train.remove(0);
    leaking.test.push(moved);
    assert!(refused(&leaking, &conditions).contains("but what is held out is stimulated"));
    let mut leaking = split.clone();
    let name = leaking.test[0].to_string();
    leaking.groups.insert(name, "unseen_elsewhere".to_owned());
    assert!(refused(&leaking, &conditions).contains("but the perturbation is trained on"));
    let mut leaking = split;
    leaking.groups.insert("Z in stimulated".to_owned(), "seen_elsewhere".to_owned());
    assert!(refused(&leaking, &conditions).contains("has a group but is not judged"));
}

#[test]
fn a_cell_in_two_parts_or_of_a_condition_that_is_not_divided() {
    let data = cells();
    let conditions = Conditions::of(&data, None).expect("no context");
    for name in ["stratified", "combos"] {
        let split = SplitPlan::parse(name, 1).expect("a known name").divide(&conditions).expect("it applies");
        let mut leaking = split.clone();
        let parts = leaking.cells.as_mut().expect("cells are divided");
        parts.train.push(parts.test[0].clone());
        assert!(refused(&leaking, &conditions).contains("stands in training and in test"), "{name}");
    }
    // A cell of a judged double, smuggled into training by its own name.
    let mut split = SplitPlan::combos(1).divide(&conditions).expect("it applies");
    let rows = split.split(&conditions).expect("its own dataset");
    let cell = *rows.test.iter().find(|&&cell| !data.perturbation_of(cell).is_control()).expect("a double is judged");
    split.cells.as_mut().expect("controls are divided").train.push(conditions.names[cell].clone());
    let message = split.split(&conditions).expect_err("it leaks").to_string();
    assert!(message.contains("it may divide control cells only"), "{message}");
    let mut split = SplitPlan::stratified(1).divide(&conditions).expect("it applies");
    split.test.push(condition("A"));
    assert!(refused(&split, &conditions).contains("conditions are divided in a split of cells"));
    split.test.clear();
    split.cells = None;
    assert!(refused(&split, &conditions).contains("names no cells"));
}

#[test]
fn a_split_of_another_dataset() {
    let (split, _) = divided("doubles");
    let of = |names: &[String]| split.split(&Conditions::of_effects(&effects(names))).expect_err("other").to_string();
    let mut more = screen(20, 20);
    more.push("new".to_owned());
    assert!(of(&more).contains("the split does not name 1 conditions of the dataset: new"), "{}", of(&more));
    let fewer = of(&screen(20, 19));
    assert!(fewer.contains("the dataset does not have 1 conditions that the split names: g000+g019"), "{fewer}");
    let data = cells();
    let conditions = Conditions::of(&data, None).expect("no context");
    let all: Vec<usize> = (0..data.n_cells()).collect();
    for name in ["stratified", "combos"] {
        let split = SplitPlan::parse(name, 1).expect("a known name").divide(&conditions).expect("it applies");
        let without = Conditions::of(&data.select_cells(&all[1..]), None).expect("no context");
        let message = split.split(&without).expect_err("a cell is missing").to_string();
        assert!(message.contains("the dataset does not have 1 cells that the split names: c0"), "{name}: {message}");
        let mut more = data.clone();
        more.cells.names[0] = "unknown".to_owned();
        let message =
            split.split(&Conditions::of(&more, None).expect("no context")).expect_err("a new cell").to_string();
        assert!(message.contains("the split does not name the cell \"unknown\""), "{name}: {message}");
    }
}

#[test]
fn test_cells_are_refused_wherever_something_is_learnt() {
    let data = cells();
    let split = data.split(&SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 3 }).expect("valid fractions");
    let fold = data.training_statistics(&split).expect("its own split");
    let train = data.select_cells(&split.train);

    let own = fold.highly_variable(HvgFlavour::Seurat, 3, None).expect("genes vary");
    assert_eq!(own, highly_variable(&train, HvgFlavour::Seurat, 3, None).expect("genes vary"), "training cells alone");
    let median = TargetSum::Median.resolve(&train.library_size).expect("counts");
    assert_eq!(fold.target_sum(TargetSum::Median, None).expect("counts"), median);
    let profile = fold.control_profile(TargetSum::Median, None).expect("controls");
    let expected = mean_profiles(&train, TargetSum::Median).expect("counts").row(0).to_owned();
    assert!((&profile - &expected).iter().all(|difference| difference.abs() < 1e-6), "{profile} {expected}");
    assert!(normalize_total(&data.counts, &data.library_size, TargetSum::Fixed(median)).is_ok());

    let controls: Vec<usize> = split.train.iter().copied().filter(|&c| data.perturbation_of(c).is_control()).collect();
    let test_control = *split.test.iter().find(|&&c| data.perturbation_of(c).is_control()).expect("one in five");
    let leaking: Vec<usize> = controls.iter().copied().chain([test_control]).collect();
    let message = |result: genailab::Result<()>| result.expect_err("a test cell").to_string();
    for (what, result) in [
        ("highly variable genes", fold.highly_variable(HvgFlavour::Seurat, 3, Some(&leaking)).map(drop)),
        ("the library size to scale to", fold.target_sum(TargetSum::Median, Some(&leaking)).map(drop)),
        ("the control profile", fold.control_profile(TargetSum::default(), Some(&leaking)).map(drop)),
        ("a normalisation of one's own", split.refuse_test_cells("a normalisation of one's own", &leaking)),
    ] {
        let message = message(result);
        let expected = format!("1 of {} cells used for {what} are test cells of the split", leaking.len());
        assert!(message.starts_with(&expected) && message.contains(&format!("cell {test_control}")), "{message}");
    }
    let some: Array1<f32> = fold.control_profile(TargetSum::default(), Some(&controls)).expect("training controls");
    let fixed = mean_profiles(&train, TargetSum::default()).expect("counts");
    assert!((&some - &fixed.row(0)).iter().all(|difference| difference.abs() < 1e-6));
    let perturbed = split.train.iter().copied().find(|&c| !data.perturbation_of(c).is_control()).expect("most cells");
    assert!(
        message(fold.control_profile(TargetSum::default(), Some(&[perturbed])).map(drop)).contains("given as control")
    );
    assert!(fold.highly_variable(HvgFlavour::Seurat, 3, Some(&[9_999])).is_err());
    split.refuse_test_cells("anything", &split.validation).expect("settings may be chosen by validation cells");
    let short = Split { train: vec![0], validation: vec![], test: vec![1] };
    assert!(data.training_statistics(&short).is_err(), "a split of another dataset");
}
