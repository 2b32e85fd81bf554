//! The saved form of splits: the same on every machine, for any order of rows, and from a file.

use super::common::{dataset, effects, in_contexts, screen};
use genailab::{
    data::{Conditions, Dataset, Effects, NamedSplit, Split, SplitPlan},
    ndarray::Axis,
};
use std::collections::BTreeSet;

/// Pinned: a change here means that published splits no longer mean the same conditions.
#[test]
fn golden_splits_of_a_screen() {
    let screen = Conditions::of_effects(&effects(&screen(50, 70)));
    let data = in_contexts([&["A", "B", "C"], &["A", "B", "D"]]);
    let mut found = Vec::new();
    for plan in [
        SplitPlan::doubles(11),
        SplitPlan::Constae { seed: 11 },
        SplitPlan::simulation(11),
        SplitPlan::Perturbations { test: 0.25, validation: 0.1, seed: 11 },
        SplitPlan::combos(11),
    ] {
        found.push((plan.to_string(), plan.divide(&screen).expect("it applies").fingerprint()));
    }
    for plan in
        [SplitPlan::stratified(11), SplitPlan::Context { column: "state".into(), value: None, keep: 0.34, seed: 11 }]
    {
        let conditions = Conditions::of(&data, plan.context_column()).expect("a column");
        found.push((plan.to_string(), plan.divide(&conditions).expect("it applies").fingerprint()));
    }
    let found: Vec<String> = found.iter().map(|(plan, hash)| format!("{plan} {}", &hash[..16])).collect();
    assert_eq!(found.join("\n"), GOLDEN);
}

const GOLDEN: &str = "\
doubles:0.5 d4aa5b5bf9a910ba
constae 7bde38e2a72eb34d
simulation f6e97d13d39883d9
perturbations:0.25 81ecb0de0d4b6b9b
combos 6158a36d4da00dda
stratified 9fc779d0ac44c4f9
context:state ead431168d8e75a4";

#[test]
fn the_order_of_rows_does_not_matter() {
    let Effects { values, genes, perturbations, table } = effects(&screen(50, 70));
    let backwards: Vec<usize> = (0..perturbations.len()).rev().collect();
    let turned = Effects {
        values: values.select(Axis(0), &backwards),
        genes: genes.clone(),
        perturbations: backwards.iter().map(|&row| perturbations[row].clone()).collect(),
        table: table.select(&backwards),
    };
    let data = Effects { values, genes, perturbations, table };
    let (here, there) = (Conditions::of_effects(&data), Conditions::of_effects(&turned));
    for name in ["doubles", "constae", "simulation", "perturbations", "combos"] {
        let plan = SplitPlan::parse(name, 4).expect("a known name");
        let split = plan.divide(&here).expect("it applies");
        assert_eq!(split, plan.divide(&there).expect("it applies"), "{name}");
        let turned: BTreeSet<usize> =
            split.split(&there).expect("named").test.into_iter().map(|r| backwards[r]).collect();
        assert_eq!(turned.into_iter().collect::<Vec<_>>(), split.split(&here).expect("named").test, "{name}");
    }
    let data = in_contexts([&["A", "B", "C"], &["A", "B", "D"]]);
    let backwards: Vec<usize> = (0..data.n_cells()).rev().collect();
    let turned = data.select_cells(&backwards);
    for name in ["stratified", "perturbations", "context:state"] {
        let plan = SplitPlan::parse(name, 4).expect("a known name");
        let of = |data: &Dataset| {
            plan.divide(&Conditions::of(data, plan.context_column()).expect("a column")).expect("fits")
        };
        assert_eq!(of(&data), of(&turned), "{name}");
    }
}

#[test]
fn cells_of_one_name_are_told_apart_by_what_they_are() {
    let rows: Vec<(&str, [f32; 2])> =
        (0..12).map(|cell| (if cell < 6 { "control" } else { "A" }, [1.0 + cell as f32, 2.0])).collect();
    let mut data = dataset(&["g1", "g2"], &rows);
    for cell in [0, 3, 4, 7, 8] {
        data.cells.names[cell] = "AAAC-1".to_owned();
    }
    data.cells.names[5] = "AAAC-1#2".to_owned();
    let conditions = Conditions::of(&data, None).expect("no context");
    let distinct: BTreeSet<&String> = conditions.names.iter().collect();
    assert_eq!(distinct.len(), 12, "{:?}", conditions.names);
    assert_eq!(
        [0, 3, 4, 7, 8].map(|cell| conditions.names[cell].as_str()),
        ["#1", "#3", "#4", "#5", "#6"].map(|n| match n {
            "#1" => "AAAC-1#1",
            "#3" => "AAAC-1#3",
            "#4" => "AAAC-1#4",
            "#5" => "AAAC-1#5",
            _ => "AAAC-1#6",
        }),
        "#2 is taken by another cell"
    );
    let order = [7, 5, 11, 0, 2, 10, 9, 4, 1, 8, 3, 6];
    let shuffled = Conditions::of(&data.select_cells(&order), None).expect("no context");
    for (row, &cell) in order.iter().enumerate() {
        assert_eq!(shuffled.names[row], conditions.names[cell]);
    }
    let split = SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 3 }.divide(&conditions).expect("it applies");
    let here = split.split(&conditions).expect("its own dataset");
    let there: BTreeSet<usize> =
        split.split(&shuffled).expect("the same cells").test.iter().map(|&row| order[row]).collect();
    assert_eq!(there.into_iter().collect::<Vec<_>>(), here.test);
}

#[test]
fn a_named_split_is_saved_whole_and_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = in_contexts([&["A", "B", "A+B", "A+C", "B+C"], &["A", "B", "C", "A+B"]]);
    for name in ["stratified", "doubles", "constae", "simulation", "perturbations", "combos", "context:state=rest"] {
        let plan = SplitPlan::parse(name, 3).expect("a known name");
        let conditions = Conditions::of(&data, plan.context_column()).expect("a column");
        let split = plan.divide(&conditions).unwrap_or_else(|error| panic!("{name}: {error}"));
        let path = folder.path().join("split.json");
        split.save(&path).expect("the folder is writable");
        let loaded = NamedSplit::load(&path).expect("just written");
        assert_eq!(loaded, split);
        assert_eq!(loaded.fingerprint(), split.fingerprint());
        loaded.split(&conditions).expect("the same dataset").check(data.n_cells()).expect("disjoint and complete");
        assert_eq!(data.split(&plan).expect("it applies"), loaded.split(&conditions).expect("the same dataset"));
    }
    assert_eq!(std::fs::read_dir(&folder).expect("it exists").count(), 1, "no temporary file stays");
    let path = folder.path().join("rows.json");
    Split { train: vec![0], validation: vec![], test: vec![1] }.save(&path).expect("writable");
    let message = NamedSplit::load(&path).expect_err("rows, not names").to_string();
    assert!(message.contains("rows.json is not a split"), "{message}");
}

#[test]
fn a_split_is_written_whole_and_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("split.json");
    let split = Split { train: vec![0, 3], validation: vec![1], test: vec![2] };
    split.save(&path).expect("the folder is writable");
    assert_eq!(Split::load(&path).expect("just written"), split);
    assert_eq!(std::fs::read_dir(&folder).expect("it exists").count(), 1, "no temporary file stays");
    assert!(split.check(3).is_err() && split.check(5).is_err() && split.check(4).is_ok());
    std::fs::write(&path, "{}").expect("writable");
    let message = Split::load(&path).expect_err("not a split").to_string();
    assert!(message.contains("split.json is not a split"), "{message}");
    assert!(split.save(folder.path().join("absent/split.json")).is_err());
}
