//! Guides as replicates.

use crate::common::real_data;
use genailab::{
    data::{Column, Counts, Dataset, Simulation, SimulationConfig},
    eval::{FEWEST_CELLS_OF_A_GUIDE, guides},
};

fn simulated() -> Dataset {
    let config = SimulationConfig { n_cells: 3_000, n_genes: 200, seed: 5, ..SimulationConfig::default() };
    Simulation::new(&config).expect("valid settings").dataset
}

/// Two guides a perturbation, cells taken in turn; `name` says what a guide is called.
fn named(data: &Dataset, name: impl Fn(&str, usize) -> String) -> Vec<Option<String>> {
    let mut seen = vec![0; data.perturbations.len()];
    let of = |cell: usize| {
        let place = &mut seen[data.labels[cell] as usize];
        *place += 1;
        Some(name(&data.perturbation_of(cell).to_string(), 1 + *place % 2))
    };
    (0..data.n_cells()).map(of).collect()
}

#[test]
fn guides_that_do_the_same_agree_as_cells_dealt_out_at_random_and_one_of_its_own_does_not() {
    let mut data = simulated();
    assert_eq!(guides(&data, 0).expect("counts"), None, "no column names guides");
    let names = named(&data, |of, number| format!("sg{of}-{number}"));
    data.cells.set("sgRNA", Column::Text(names.clone()));
    // What is no text names no guide.
    data.cells.set("guide_counts", Column::Integer((0..data.n_cells() as i64).map(|n| Some(n % 3)).collect()));
    let found = guides(&data, 0).expect("counts").expect("two guides each");
    assert_eq!(found.column, "sgRNA");
    assert!(found.agreement.len() > 5 && !found.agreement.iter().any(|one| one.perturbation.is_control()));
    for one in &found.agreement {
        assert!(one.guides.len() == 2 && one.guides.iter().all(|(_, cells)| *cells >= FEWEST_CELLS_OF_A_GUIDE));
        assert!((one.pearson - one.at_random).abs() < 0.25, "{one:?}");
    }
    let off: f64 = found.agreement.iter().map(|one| one.pearson - one.at_random).sum::<f64>();
    assert!((off / found.agreement.len() as f64).abs() < 0.05, "{off}");

    // One guide raises twenty genes that are not its target's.
    let planted = found.agreement[0].guides[0].0.clone();
    let mut counts = data.counts.to_dense();
    for (cell, _) in names.iter().enumerate().filter(|(_, name)| name.as_ref() == Some(&planted)) {
        counts.row_mut(cell).iter_mut().take(20).for_each(|count| *count += 8.0);
    }
    data.counts = Counts::from_dense(&counts);
    data.library_size = data.counts.row_sums();
    let found = guides(&data, 0).expect("counts").expect("as before");
    let gap = |one: &genailab::eval::GuideAgreement| one.at_random - one.pearson;
    let worst = found.agreement.iter().max_by(|a, b| gap(a).total_cmp(&gap(b))).expect("some");
    assert!(worst.guides[0].0 == planted && gap(worst) > 0.3, "{worst:?}");
}

#[test]
fn the_number_of_a_guide_stands_in_the_perturbation_column() {
    let mut data = simulated();
    let names = named(&data, |of, number| format!("{of}_{number}"));
    data.cells.set("perturbation", Column::Text(names));
    let found = guides(&data, 0).expect("counts").expect("two guides each");
    assert_eq!(found.column, "perturbation");
    // Other values in that column are other things: stimulations, say.
    let other = named(&data, |_, number| format!("stimulated {number}"));
    data.cells.set("perturbation", Column::Text(other));
    assert_eq!(guides(&data, 0).expect("counts"), None);
}

#[test]
fn real_guides() {
    let Some(folder) = real_data("") else { return };
    let data = Dataset::open(folder.join("schraivogel_tapseq_cells.h5ad")).expect("opened");
    let found = guides(&data, 0).expect("counts").expect("four guides each");
    assert_eq!((found.column.as_str(), found.agreement.len()), ("guide", 14));
    assert!(found.agreement.iter().all(|one| one.pearson <= one.at_random + 0.1), "{:?}", found.agreement);
}
