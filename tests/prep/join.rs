//! Several datasets as one, and one judged by what another has taught.

use super::common::{dataset, effects};
use genailab::{
    ErrorKind,
    data::{Column, Condition, Conditions, Opened, SplitPlan, join},
};

#[test]
fn datasets_are_joined_on_the_genes_they_share() {
    let mut first =
        dataset(&["g1", "g2", "g3"], &[("control", [1.0, 2.0, 3.0]), ("A", [4.0, 0.0, 6.0]), ("B", [7.0, 8.0, 9.0])]);
    let mut second = dataset(
        &["g3", "other", "g1"],
        &[("control", [10.0, 99.0, 0.0]), ("A", [11.0, 99.0, 12.0]), ("C", [1.0, 1.0, 1.0])],
    );
    first.cells.set("batch", Column::Integer(vec![Some(1), Some(2), None]));
    second.cells.set("batch", Column::Text(vec![Some("x".into()), None, Some("y".into())]));
    first.cells.set("score", Column::Integer(vec![Some(1), Some(2), None]));
    second.cells.set("score", Column::Float(vec![0.5, 1.5, 2.5]));
    first.cells.set("only here", Column::Boolean(vec![None; 3]));
    let joined = join(&[("one", &first), ("two", &second)]).expect("they share g1 and g3");
    assert_eq!(joined.gene_names(), ["g1", "g3"]);
    let dense = joined.counts.to_dense();
    let rows: Vec<Vec<f32>> = dense.rows().into_iter().map(|row| row.to_vec()).collect();
    assert_eq!(rows, [[1.0, 3.0], [4.0, 6.0], [7.0, 9.0], [0.0, 10.0], [12.0, 11.0], [1.0, 1.0]]);
    assert_eq!(joined.library_size, [6.0, 10.0, 24.0, 109.0, 122.0, 3.0], "of all genes that each measured");
    assert_eq!(joined.cells.names, ["c0-one", "c1-one", "c2-one", "c0-two", "c1-two", "c2-two"]);
    assert_eq!(joined.lanes, ["one:all", "two:all"]);
    assert_eq!(joined.cells.column_names(), ["batch", "score", "dataset"]);
    let text = |name: &str| {
        joined
            .cells
            .column(name)
            .expect("kept")
            .to_text()
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
    };
    assert_eq!(text("batch"), ["1", "2", "", "x", "", "y"]);
    assert_eq!(text("score"), ["1", "2", "", "0.5", "1.5", "2.5"]);
    assert_eq!(text("dataset"), ["one", "one", "one", "two", "two", "two"]);
    let names: Vec<String> = (0..6).map(|cell| joined.perturbation_of(cell).to_string()).collect();
    assert_eq!(names, ["control", "A", "B", "control", "A", "C"]);
    assert!(joined.notes.iter().any(|note| note.starts_with("2 genes are shared by name, out of 3 of one, 3 of two")));

    assert!(join(&[("one", &first), ("one", &second)]).is_err() && join(&[]).is_err());
    let foreign = dataset(&["x"], &[("control", [1.0]), ("A", [1.0])]);
    let message = join(&[("one", &first), ("two", &foreign)]).expect_err("no shared gene").to_string();
    assert!(message.contains("one has g1, g2, g3; two has x"), "{message}");
}

#[test]
fn another_dataset_is_judged_on_the_perturbations_of_both() {
    let first = dataset(&["g1", "g2"], &[("control", [1.0, 2.0]), ("A", [4.0, 0.0]), ("B", [7.0, 8.0])]);
    let second = dataset(&["g2", "g1"], &[("control", [1.0, 2.0]), ("A", [4.0, 0.0]), ("C", [7.0, 8.0])]);
    let plan = SplitPlan::parse("cross-dataset:folder/cells.h5ad", 0).expect("a known name");
    for (name, training) in [("mine", "mine"), ("cells", "cells (training)")] {
        let open = |file: &std::path::Path| {
            assert_eq!(file, std::path::Path::new("folder/cells.h5ad"));
            Ok(Opened::Cells(second.clone()))
        };
        let Ok(Opened::Cells(joined)) = plan.joined(Opened::Cells(first.clone()), name, open) else {
            panic!("the two share two genes and A")
        };
        assert_eq!(joined.n_cells(), 5, "C of the judged dataset is left out");
        let conditions = Conditions::of(&joined, plan.context_column()).expect("join makes the column");
        let split = plan.divide(&conditions).expect("two datasets");
        let names = |conditions: &[Condition]| conditions.iter().map(Condition::to_string).collect::<Vec<_>>();
        assert_eq!(names(&split.test), ["A in cells"]);
        assert_eq!(names(&split.train), [format!("A in {training}"), format!("B in {training}")]);
        assert_eq!(split.split(&conditions).expect("its own dataset").train, [0, 1, 2, 3]);
        assert_eq!(plan.distinct_splits(&conditions).expect("two datasets"), Some(1));
    }
    let other = dataset(&["g2", "g1"], &[("control", [1.0, 2.0]), ("C", [7.0, 8.0])]);
    let open = |_: &std::path::Path| Ok(Opened::Cells(other.clone()));
    let error = plan.joined(Opened::Cells(first.clone()), "mine", open).expect_err("no shared perturbation");
    assert_eq!(error.kind(), ErrorKind::Inapplicable);
    let effects = || Opened::Effects(effects(&["A"]));
    assert!(plan.joined(effects(), "mine", |_| unreachable!("not needed")).is_err());
    assert!(plan.joined(Opened::Cells(first), "mine", |_| Ok(effects())).is_err());
    let same = SplitPlan::combos(0).joined(effects(), "mine", |_| unreachable!("no other file"));
    assert!(matches!(same, Ok(Opened::Effects(_))));
}
