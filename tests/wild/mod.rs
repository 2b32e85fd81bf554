//! Files as people have them: the shapes that public bug reports describe (`wild/cases.tsv` of the real data), each through
//! the tool itself, and labels of every spelling in files made here.
//!
//! A test is named by the number of its case. What a command prints as `note: …` on stderr is what it wants known.

mod expression;
mod labels;
mod messages;
mod numbers;
mod options;
mod spellings;
mod told;

use crate::{
    commands::tool::{Ended, Place},
    common::real_data,
};
use genailab::{
    data::{AnnDataWriter, Column, Counts, Table},
    ndarray::Array2,
};

/// What a command on a file of `wild/` left behind, and where it ran; `FILE` in `line` stands for the file. `None` where the
/// data is not there.
fn case(file: &str, line: &str) -> Option<(Place, Ended)> {
    let path = real_data(&format!("wild/{file}"))?;
    let place = Place::new();
    let ended = place.run(&line.replace("FILE", &path.display().to_string()));
    Some((place, ended))
}

/// The command ends well and prints all of `parts`, on either channel.
fn says(file: &str, line: &str, parts: &[&str]) {
    let Some((_, ended)) = case(file, line) else { return };
    assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    let all = format!("{}{}", ended.stdout, ended.stderr);
    parts.iter().for_each(|part| assert!(all.contains(part), "{line}: {part:?} is missing in\n{all}"));
}

/// The command fails with one line that holds all of `parts`.
fn fails(file: &str, line: &str, parts: &[&str]) {
    let Some((_, ended)) = case(file, line) else { return };
    ended.one_line(parts);
}

/// Writes cells of three genes with these labels in the column `column`, 30 cells of each; `None` is a missing label.
fn write_labels(place: &Place, name: &str, column: &str, labels: &[Option<&str>], genes: &[&str]) {
    let cells = 30 * labels.len();
    let values = Array2::from_shape_fn((cells, genes.len()), |(cell, gene)| ((cell * 7 + gene * 3) % 5 + 1) as f32);
    let mut obs = Table::from_names((0..cells).map(|cell| format!("cell{cell}")).collect());
    let codes = (0..cells).map(|cell| labels[cell / 30].map(str::to_owned));
    let mut categories: Vec<String> = labels.iter().flatten().map(|label| (*label).to_owned()).collect();
    categories.sort();
    categories.dedup();
    let place_of = |label: Option<String>| {
        label.map_or(-1, |label| categories.iter().position(|known| *known == label).expect("a category") as i32)
    };
    let codes = codes.map(place_of).collect();
    obs.set(column, Column::Categorical { codes, categories: categories.clone() });
    let var = Table::from_names(genes.iter().map(|gene| (*gene).to_owned()).collect());
    AnnDataWriter::new(&obs, &var).x(&Counts::from_dense(&values)).write(place.path(name)).expect("written");
}
