//! What is read without an error and may still be wrong: said in the notes of a dataset.

use super::{Dataset, labels::few};
use std::collections::{BTreeSet, HashSet};

/// More lanes than this share of the cells are no lanes.
const MOST_LANES: f64 = 0.5;
/// Fewer cells are too few to say so.
const FEWEST_CELLS: usize = 10;

/// Whether a column names nearly every cell, and so no lane.
pub(super) fn names_each_cell(lanes: &[String]) -> bool {
    let distinct: HashSet<&String> = lanes.iter().collect();
    lanes.len() >= FEWEST_CELLS && distinct.len() as f64 > MOST_LANES * lanes.len() as f64
}

/// What the user should know of the cells that were read; `empty` are those without any count, `lane` is the column of the
/// lanes.
pub(super) fn notes(data: &Dataset, empty: &[usize], lane: Option<&str>) -> Vec<String> {
    let mut notes: Vec<String> = repeated_names(&data.cells.names).into_iter().collect();
    if data.expression.is_counts() {
        notes.extend(empty_cells(data, empty));
    }
    if let Some(lane) = lane {
        notes.extend(lane_per_cell(data, lane));
        notes.extend(confounded(data, lane));
    }
    notes
}

fn repeated_names(names: &[String]) -> Option<String> {
    let mut seen = HashSet::new();
    let repeated: Vec<&String> = names.iter().filter(|name| !seen.insert(name.as_str())).collect();
    let first = repeated.first()?;
    Some(format!(
        "{} cell names occur more than once, such as {first:?}; saved splits number them (#1, #2, …)",
        repeated.len()
    ))
}

fn empty_cells(data: &Dataset, empty: &[usize]) -> Option<String> {
    if empty.is_empty() {
        return None;
    }
    let mut left = data.cells_per_perturbation();
    empty.iter().for_each(|&cell| left[data.labels[cell] as usize] -= 1);
    let all = data.cells_per_perturbation();
    let gone: Vec<String> = (0..left.len())
        .filter(|&label| all[label] > 0 && left[label] == 0)
        .map(|label| data.perturbations[label].to_string())
        .collect();
    let whole = match gone.is_empty() {
        true => String::new(),
        false => format!(", all those of {} among them, of which nothing can be learnt", few(&gone)),
    };
    let cells = if empty.len() == 1 { "1 cell holds".to_owned() } else { format!("{} cells hold", empty.len()) };
    Some(format!("{cells} no counts{whole}"))
}

fn lane_per_cell(data: &Dataset, lane: &str) -> Option<String> {
    let lanes: HashSet<u32> = data.lane_of.iter().copied().collect();
    (data.n_cells() >= FEWEST_CELLS && lanes.len() as f64 > MOST_LANES * data.n_cells() as f64).then(|| {
        format!(
            "`{lane}` names {} lanes for {} cells, nearly one per cell, so it is no lane; name another by --lane-column",
            lanes.len(),
            data.n_cells()
        )
    })
}

/// Says which perturbations share no lane with control.
fn confounded(data: &Dataset, lane: &str) -> Option<String> {
    let lanes_of = |cells: Vec<usize>| -> BTreeSet<u32> { cells.into_iter().map(|cell| data.lane_of[cell]).collect() };
    let control = lanes_of(data.control_cells());
    if control.is_empty() || data.lanes.len() < 2 || data.n_cells() < FEWEST_CELLS {
        return None;
    }
    let mut lanes = vec![BTreeSet::new(); data.perturbations.len()];
    data.labels.iter().zip(&data.lane_of).for_each(|(&label, &lane)| {
        lanes[label as usize].insert(lane);
    });
    let apart: Vec<String> = (0..lanes.len())
        .filter(|&label| !lanes[label].is_empty() && !data.perturbations[label].is_control())
        .filter(|&label| lanes[label].is_disjoint(&control))
        .map(|label| data.perturbations[label].to_string())
        .collect();
    (!apart.is_empty()).then(|| {
        format!(
            "{} of {} perturbations share no lane (`{lane}`) with control cells ({}): what the lane does and what the \
             perturbation does cannot be told apart",
            apart.len(),
            lanes.iter().filter(|lanes| !lanes.is_empty()).count() - 1,
            few(&apart)
        )
    })
}
