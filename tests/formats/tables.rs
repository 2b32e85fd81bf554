//! Text tables: separators, quotation marks, orientation, and what is no table.

use crate::commands::tool::{Place, json};

/// The JSON that `inspect` prints of a file with this content.
fn inspected(name: &str, content: &str) -> serde_json::Value {
    let place = Place::new();
    place.write(name, content);
    let ended = place.run(&format!("inspect --json {name}"));
    place.write("said.json", ended.done());
    json(&place.path("said.json"))
}

/// Cells, genes and the sum of all counts.
fn counted(said: &serde_json::Value) -> (u64, u64, f64) {
    let whole = |name: &str| said[name].as_u64().expect("a number");
    (whole("n_obs"), whole("n_vars"), said["sum"].as_f64().expect("a number"))
}

#[test]
fn separators_quotation_marks_and_line_ends() {
    for content in [
        "cell,perturbation,KLF1,SET\na,control,1,0\nb,\"KLF1, twice\",2,3\n",
        "cell\tperturbation\tKLF1\tSET\r\na\tcontrol\t1\t0\r\nb\tKLF1\t2\t3\r\n",
        "\u{feff}cell;perturbation;KLF1;SET\na;control;1;0\nb;KLF1;2;3",
        "perturbation\tKLF1\tSET\na\tcontrol\t1\t0\nb\tKLF1\t2\t3\n",
    ] {
        let said = inspected("x.txt", content);
        assert_eq!(counted(&said), (2, 2, 6.0), "{content}");
        assert_eq!(said["obs"], serde_json::json!(["perturbation"]), "{content}");
    }
}

#[test]
fn orientation_and_annotation() {
    let turned = inspected("x.csv", "gene,AAACCCAAGT-1,AAACCCAAGC-1,AAACCCAAGG-1\nKLF1,1,0,2\nSET,0,0,5\n");
    assert_eq!(counted(&turned), (3, 2, 8.0));
    let by_genes = inspected("x.csv", ",s1,s2,s3\nENSG00000141510,1,0,2\nENSG00000141511,0,0,5\n");
    assert_eq!(counted(&by_genes), (3, 2, 8.0));
    let annotated = inspected("x.csv", "cell,batch,KLF1,n_counts\n1,1,3,10\n2,2,4,11\n");
    assert_eq!(annotated["obs"], serde_json::json!(["batch", "n_counts"]));
    assert_eq!(counted(&annotated), (2, 1, 7.0));
}

#[test]
fn what_is_no_table() {
    let place = Place::new();
    for (name, content, parts) in [
        ("ragged.csv", "cell,A,B\na,1,2\nb,3\n", ["line 3 has 2 fields, and the first has 3", "ragged.csv"]),
        ("header.csv", "cell,A\na,1,2,3\n", ["the header names 2 columns, and the next line has 4", "header.csv"]),
        ("prose.txt", "This is a README.\nIt has no table.\n", ["is not an HDF5 file", "prose.txt"]),
    ] {
        place.write(name, content);
        place.fails(&format!("inspect {name}"), &parts);
    }
    let rows: String =
        (0..600).map(|row| format!("c{row},{}\n", if row == 550 { "x".to_owned() } else { row.to_string() })).collect();
    place.write("late.csv", &format!("cell,A\n{rows}"));
    place.fails("inspect late.csv", &["line 552, column \"A\": \"x\" is no number"]);
    std::fs::write(place.path("cut.csv.gz"), [0x1f, 0x8b, 8, 0, 0, 0]).expect("written");
    place.fails("inspect cut.csv.gz", &["is not an HDF5 file"]);
}
