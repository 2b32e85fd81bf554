//! Every plan on real data.

use super::common::{groups, shared_data, sizes};
use crate::common::real_data;
use genailab::{
    ErrorKind,
    data::{Condition, Conditions, Dataset, Effects, NamedSplit, Opened, SplitPlan},
};
use std::collections::BTreeMap;

fn divide(data: &Dataset, name: &str, seed: u64) -> genailab::Result<(NamedSplit, Conditions)> {
    let plan = SplitPlan::parse(name, seed)?;
    let conditions = Conditions::of(data, plan.context_column())?;
    let split = plan.divide(&conditions)?;
    split.split(&conditions)?.check(data.n_cells())?;
    Ok((split, conditions))
}

fn fingerprint(split: &NamedSplit) -> String {
    split.fingerprint()[..16].to_owned()
}

#[test]
fn norman_effects() {
    let Some(path) = real_data("norman_pseudobulk.h5ad") else { return };
    let conditions = Conditions::of_effects(&Effects::open(path).expect("an effects dataset"));
    let divide = |name: &str| SplitPlan::parse(name, 0).expect("a known name").divide(&conditions);
    let mut golden = Vec::new();
    // 104 singles; 80 doubles, 76 of them with both singles.
    for (name, expected) in [
        ("doubles", (104 + 4 + 38, 0, 38)),
        ("doubles:0.25", (104 + 4 + 57, 0, 19)),
        ("constae", (104 + 4 + 38, 0, 38)),
        ("combos", (104 + 24, 28, 28)),
    ] {
        let split = divide(name).expect("it applies");
        assert_eq!(sizes(&split), expected, "{name}");
        split.split(&conditions).expect("its own dataset").check(184).expect("disjoint and complete");
        golden.push(format!("{name} {}", fingerprint(&split)));
    }
    assert_eq!(groups(&divide("constae").expect("it applies")), BTreeMap::from([("test", 19), ("validation", 19)]));
    for name in ["simulation", "perturbations"] {
        let split = divide(name).expect("it applies");
        assert_eq!(split.train.len() + split.validation.len() + split.test.len(), 184);
        golden.push(format!("{name} {:?} {:?} {}", sizes(&split), groups(&split), fingerprint(&split)));
    }
    assert_eq!(golden.join("\n"), NORMAN_EFFECTS);
    for name in ["stratified", "context:n_cells", "cross-dataset:other.h5ad"] {
        assert_eq!(divide(name).expect_err("effects have no cells").kind(), ErrorKind::Inapplicable, "{name}");
    }
}

/// Pinned, as all of these: a change means that published splits no longer mean the same conditions.
const NORMAN_EFFECTS: &str = r#"doubles 2eba130b5df24488
doubles:0.25 44f24b1cbd69c8e5
constae 4fa06b8c7f7fc0bc
combos 21ab98403dcb68c5
simulation (96, 17, 71) {"seen0": 2, "seen1": 30, "seen2": 12, "unseen_single": 27} ff2896e5f56901e8
perturbations (117, 0, 67) {"seen0": 8, "seen1": 33, "unseen_single": 26} f30a2dc291a45bda"#;

#[test]
fn norman_cells() {
    let Some(data) = shared_data("norman_cells") else { return };
    let mut golden = Vec::new();
    for name in ["stratified", "doubles", "constae", "simulation", "perturbations", "combos", "context:gem_group"] {
        let (split, _) = divide(&data, name, 0).expect("it applies");
        golden.push(format!("{name} {:?} {}", sizes(&split), fingerprint(&split)));
        let backwards: Vec<usize> = (0..data.n_cells()).rev().collect();
        let (turned, _) = divide(&data.select_cells(&backwards), name, 0).expect("it applies");
        assert_eq!(turned, split, "{name}: the order of rows does not matter");
    }
    assert_eq!(golden.join("\n"), NORMAN_CELLS);
    let (split, conditions) = divide(&data, "combos", 0).expect("it applies");
    let rows = split.split(&conditions).expect("its own dataset");
    let controls = data.control_cells().len();
    let trained = rows.train.iter().filter(|&&cell| data.perturbation_of(cell).is_control()).count();
    assert_eq!(trained, controls / 2, "half of the control cells");
}

const NORMAN_CELLS: &str = r#"stratified (0, 0, 0) 2939df8b9f081102
doubles (30, 0, 3) 83dab07ec3c325bd
constae (30, 0, 3) 876e640ada8bccb7
simulation (16, 3, 14) 3c8e80ff51feb96f
perturbations (21, 0, 12) a6c5fbe41c6ed290
combos (23, 5, 5) 0216e729c583110a
context:gem_group (231, 0, 33) 6a2535bfe4107868"#;

#[test]
fn papalexi_replicates() {
    let Some(data) = shared_data("papalexi_cells") else { return };
    for (seed, replicate) in ["rep_1", "rep_2", "rep_3", "rep_1"].into_iter().enumerate() {
        let (split, conditions) = divide(&data, "context:replicate", seed as u64).expect("three replicates");
        assert_eq!((sizes(&split), split.held_out.as_slice()), ((50, 0, 25), &[replicate.to_owned()][..]));
        assert_eq!(groups(&split), BTreeMap::from([("seen_elsewhere", 25)]));
        let rows = split.split(&conditions).expect("its own dataset");
        let column = data.cells.column("replicate").expect("a column").to_text();
        let here = |&cell: &usize| column[cell].as_deref() == Some(replicate);
        assert!(rows.test.iter().all(|cell| here(cell) && !data.perturbation_of(*cell).is_control()));
        assert!(rows.train.iter().filter(|cell| here(cell)).all(|&cell| data.perturbation_of(cell).is_control()));
        assert_eq!(rows.test.len(), [8463, 5246, 4634, 8463][seed], "its perturbed cells");
    }
    for name in ["doubles", "constae", "combos"] {
        let error = divide(&data, name, 0).expect_err("all perturbations are singles");
        assert_eq!(error.kind(), ErrorKind::Inapplicable, "{name}");
    }
    for name in ["stratified", "simulation", "perturbations"] {
        divide(&data, name, 0).expect("it applies");
    }
    let missing = Conditions::of(&data, Some("lane")).expect_err("no such column").to_string();
    assert!(missing.contains("replicate"), "{missing}");
}

#[test]
fn jurkat_stimulation() {
    let Some(data) = shared_data("jurkat_tcr_cells") else { return };
    let (split, conditions) = divide(&data, "context:perturbation_2=stimulated", 0).expect("two states");
    assert_eq!(sizes(&split), (40, 0, 40));
    assert_eq!(split.split(&conditions).expect("its own dataset").test.len(), 3719);
    assert_eq!(divide(&data, "context:perturbation_2", 1).expect("two states").0.held_out, ["unstimulated"]);
    // Guides: both of a gene are judged, or none.
    let (split, _) = divide(&data, "perturbations:0.2", 0).expect("it applies");
    let gene = |c: &Condition| c.to_string().rsplit_once('_').expect("GENE_1").0.to_owned();
    let trained: Vec<String> = split.train.iter().map(gene).collect();
    assert!(split.test.iter().all(|c| !trained.contains(&gene(c))), "{:?}", split.held_out);
}

#[test]
fn two_experiments_become_one() {
    let Some(data) = shared_data("norman_cells") else { return };
    // Lanes as if they were two experiments, the second without some genes and with the others in another order.
    let lane = data.cells.column("gem_group").expect("a column").to_text();
    let of = |even: bool| -> Vec<usize> {
        let number = |cell: usize| lane[cell].as_ref().and_then(|lane| lane.parse::<u32>().ok()).expect("a number");
        (0..data.n_cells()).filter(|&cell| (number(cell) % 2 == 0) == even).collect()
    };
    let (first, second) = (data.select_cells(&of(false)), data.select_cells(&of(true)));
    let genes: Vec<usize> = (50..data.n_genes()).rev().collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("even.h5ad");
    second.select_genes(&genes).expect("known genes").write(&path).expect("writable");
    let plan = SplitPlan::cross_dataset(&path, 0);
    let joined = plan.joined(Opened::Cells(first), "odd", |file| genailab::data::open(file)).expect("450 shared genes");
    let Opened::Cells(joined) = joined else { panic!("cells stay cells") };
    assert_eq!((joined.n_cells(), joined.n_genes()), (data.n_cells(), 450));
    let (split, _) = {
        let conditions = Conditions::of(&joined, plan.context_column()).expect("join makes the column");
        (plan.divide(&conditions).expect("two datasets"), conditions)
    };
    assert_eq!((sizes(&split), &split.held_out[..]), ((33, 0, 33), &["even".to_owned()][..]));
}
