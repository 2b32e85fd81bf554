//! Wrong input is one line that says what to do.

use super::common::{cells, effects};
use genailab::bench::{Benchmark, chosen};

#[track_caller]
fn says<T>(result: genailab::Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("an error is wanted") };
    let text = error.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is missing: {text}"));
}

#[test]
fn what_a_notebook_may_get_wrong() {
    let run = |split: &str, seeds, models: &[&str]| Benchmark::run(effects(), split, seeds, models);
    says(run("quadruples", 1, &[]), &["there is no split \"quadruples\"", "doubles", "constae"]);
    says(run("doubles", 1, &["additiv"]), &["there is no model \"additiv\"", "additive", "no_change"]);
    says(run("doubles", 0, &[]), &["0 seeds", "at least 1"]);
    says(run("context:batch", 1, &[]), &["effects"]);
    says(Benchmark::run(cells(), "context:well", 1, &[]), &["there is no column \"well\"", "batch"]);
    let mut singles = effects();
    let rows: Vec<usize> = (0..crate::bench::common::SINGLES).collect();
    singles.values = singles.values.select(genailab::ndarray::Axis(0), &rows);
    singles.perturbations.truncate(rows.len());
    singles.table = singles.table.select(&rows);
    says(Benchmark::run(&singles, "doubles", 1, &[]), &["doubles"]);
}

#[test]
fn the_floor_and_the_reference_are_always_there() {
    let names = |asked: &[&str]| -> Vec<String> {
        chosen(asked).unwrap().iter().map(|model| model.name().to_owned()).collect()
    };
    assert_eq!(names(&["no_change"]), ["no_change", "additive"]);
    assert!(names(&[]).contains(&"additive".to_owned()));
    assert!(names(&["all"]).len() >= names(&[]).len());
}

#[test]
fn a_notebook_shows_a_table() {
    let found = Benchmark::run(effects(), "doubles", 2, &["additive"]).unwrap();
    let text = found.to_string();
    for part in [
        "no_change (floor)",
        "noise_ceiling (ceiling)",
        "additive",
        "l2 ratio",
        "conditions of 120 genes), split doubles, 2 seeds",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    assert!(found.to_grid().to_html().contains("<td>additive</td>"));
}
