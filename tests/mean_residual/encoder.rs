//! Which columns are read as what, and what is refused.

use genailab::data::{Column, MetadataEncoder, MetadataKind, Table};

fn table() -> Table {
    let mut table = Table::from_names((0..24).map(|row| format!("s{row}")).collect());
    let text = |of: &dyn Fn(usize) -> String| Column::Text((0..24).map(|row| Some(of(row))).collect());
    table.set("tissue", text(&|row| ["liver", "lung"][row % 2].to_owned()));
    table.set("age", text(&|row| if row == 3 { "unknown".to_owned() } else { format!("{}.0", 20 + row) }));
    table.set("time", Column::Float((0..24).map(|row| [2.0, 8.0, 24.0][row % 3]).collect()));
    table.set("ID", text(&|row| format!("patient {row}")));
    table.set("site", text(&|_| "one".to_owned()));
    table
}

fn fit(columns: &[&str]) -> genailab::Result<MetadataEncoder> {
    let wanted: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    MetadataEncoder::fit(&table(), &(0..24).collect::<Vec<_>>(), &wanted)
}

#[test]
fn text_is_categorical_and_numbers_are_continuous_where_there_are_many() {
    let encoder = fit(&["tissue", "age", "time"]).expect("three columns");
    let is_continuous: Vec<bool> =
        encoder.columns.iter().map(|column| matches!(column.kind, MetadataKind::Continuous { .. })).collect();
    assert_eq!(is_continuous, [false, true, false], "{}", encoder.described());
    assert_eq!((encoder.n_levels(), encoder.n_numbers()), (5, 2), "a missing age has an indicator");
    let encoded = encoder.encode(&table(), &[0, 3]).expect("known rows");
    let design = encoded.design();
    assert_eq!(design.dim(), (2, 7));
    // liver, lung, then 2, 24, 8 as sorted text; row 3 is lung at time 2, of unknown age.
    assert_eq!(design.row(1).to_vec(), [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert!(design[[0, 5]] < -1.0 && design[[0, 6]] == 0.0, "the youngest is below the mean: {design}");
    let forced = fit(&["time:continuous"]).expect("numbers");
    assert_eq!((forced.n_levels(), forced.n_numbers()), (0, 1));
}

#[test]
fn columns_that_cannot_be_used_are_refused_by_name() {
    for (columns, parts) in [
        (vec![], vec!["--metadata", "tissue, age"]),
        (vec!["nosuch"], vec!["nosuch", "tissue"]),
        (vec!["ID"], vec!["ID", "24 values in 24"]),
        (vec!["site"], vec!["site", "one value"]),
        (vec!["tissue", "tissue"], vec!["tissue", "twice"]),
        (vec!["tissue:continuous"], vec!["tissue", "no numbers"]),
    ] {
        let error = fit(&columns).expect_err("it cannot be used").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn unseen_values_are_named_and_equal_numbers_are_one_level() {
    let encoder = fit(&["tissue", "time", "age"]).expect("columns");
    let mut rows = Table::from_names(["a", "b", "c"].map(str::to_owned).to_vec());
    let text = |values: [&str; 3]| Column::Text(values.map(|value| Some(value.to_owned())).to_vec());
    rows.set("tissue", text(["liver", "spleen", "lung"]));
    rows.set("time", text(["2", "2.0", "8"]));
    rows.set("age", text(["30", "95", "old"]));
    let (known, unknown) = encoder.known_rows(&rows, &[0, 1, 2]).expect("all columns");
    assert_eq!(known, [0], "an age outside of the training range is a number all the same; {unknown:?}");
    assert_eq!(unknown, ["age = old", "tissue = spleen"]);
    let error = encoder.encode(&rows, &[0, 1]).expect_err("an unseen tissue").to_string();
    assert!(error.contains("row b") && error.contains("spleen") && error.contains("liver"), "{error}");
}
