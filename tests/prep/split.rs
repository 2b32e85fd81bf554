//! Splits: how plans are called, and the rule of each.

use super::common::{dataset, effects, groups, in_contexts, perturbation, screen, sizes};
use genailab::{
    ErrorKind,
    data::{Condition, Conditions, HeldOutDose, NamedSplit, SplitPlan, SplitUnit},
};
use std::collections::{BTreeMap, BTreeSet};

const SPLIT: SplitPlan = SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 3 };

/// Divides the perturbations of a screen.
fn divide(plan: &SplitPlan, perturbations: &[String]) -> NamedSplit {
    plan.divide(&Conditions::of_effects(&effects(perturbations))).expect("the plan applies")
}

fn genes(conditions: &[Condition]) -> BTreeSet<&str> {
    conditions.iter().flat_map(|c| c.perturbation.genes()).map(String::as_str).collect()
}

#[test]
fn every_perturbation_stands_in_every_part() {
    let labels = [(0, 40), (1, 3), (2, 2), (3, 10), (4, 7)];
    let rows: Vec<(&str, [f32; 1])> = labels
        .iter()
        .flat_map(|&(label, n)| std::iter::repeat_n((["control", "A", "B", "C", "D"][label], [1.0]), n))
        .collect();
    let data = dataset(&["g1"], &rows);
    let split = data.split(&SPLIT).expect("valid fractions");
    split.check(data.labels.len()).expect("disjoint and complete");
    assert_eq!(split, data.split(&SPLIT).expect("valid fractions"), "the same seed, the same split");
    let other = SplitPlan::Stratified { validation: 0.1, test: 0.2, seed: 4 };
    assert_ne!(split, data.split(&other).expect("valid fractions"));
    let count = |part: &[usize], label: u32| part.iter().filter(|&&cell| data.labels[cell] == label).count();
    let sizes = |label| (count(&split.train, label), count(&split.validation, label), count(&split.test, label));
    assert_eq!(sizes(0), (28, 4, 8));
    assert_eq!(sizes(1), (1, 1, 1));
    assert_eq!(sizes(2), (2, 0, 0), "too few to divide");
    assert_eq!(sizes(3), (7, 1, 2));
    assert_eq!(sizes(4), (5, 1, 1));
    for (validation, test) in [(0.5, 0.5), (-0.1, 0.1), (f64::NAN, 0.1), (0.0, 1.0)] {
        assert!(data.split(&SplitPlan::Stratified { validation, test, seed: 0 }).is_err(), "{validation} {test}");
    }
}

#[test]
fn the_same_split_on_every_machine() {
    let rows: Vec<(&str, [f32; 1])> = std::iter::repeat_n(("control", [1.0]), 12).collect();
    let mut data = dataset(&["g1"], &rows);
    // Cells are sorted by name before they are drawn: here in the order of rows.
    data.cells.names = (0..12).map(|cell| format!("c{cell:02}")).collect();
    let split = data.split(&SPLIT).expect("valid fractions");
    // Pinned: a change here means that published splits no longer mean the same cells.
    assert_eq!((split.validation, split.test), (vec![8], vec![2, 9]));
}

#[test]
fn names_on_the_command_line() {
    for (name, expected) in [
        ("stratified", SplitPlan::Stratified { validation: 0.1, test: 0.1, seed: 7 }),
        ("doubles", SplitPlan::Doubles { test: 0.5, seed: 7 }),
        ("doubles:0.2", SplitPlan::Doubles { test: 0.2, seed: 7 }),
        ("triples", SplitPlan::Triples { test: 1.0, seed: 7 }),
        ("triples:0.2", SplitPlan::Triples { test: 0.2, seed: 7 }),
        ("constae", SplitPlan::Constae { seed: 7 }),
        (
            "simulation",
            SplitPlan::Simulation { seen_genes: 0.75, trained_combinations: 0.75, validation_seen: 0.9, seed: 7 },
        ),
        ("perturbations", SplitPlan::Perturbations { test: 0.25, validation: 0.0, seed: 7 }),
        ("perturbations:0.1", SplitPlan::Perturbations { test: 0.1, validation: 0.0, seed: 7 }),
        ("combos", SplitPlan::Combos { held_out: 0.7, control_train: 0.5, seed: 7 }),
        ("doses", SplitPlan::Doses { held_out: HeldOutDose::Middle, seed: 7 }),
        ("doses:highest", SplitPlan::Doses { held_out: HeldOutDose::Highest, seed: 7 }),
        ("context:lane", SplitPlan::Context { column: "lane".into(), value: None, keep: 0.0, seed: 7 }),
        (
            "context:cell type=T = 4:x",
            SplitPlan::Context { column: "cell type".into(), value: Some("T = 4:x".into()), keep: 0.0, seed: 7 },
        ),
        ("cross-dataset:C:/b.h5ad", SplitPlan::CrossDataset { file: "C:/b.h5ad".into(), keep: 0.0, seed: 7 }),
    ] {
        let plan = SplitPlan::parse(name, 7).expect("a known name");
        assert_eq!(plan, expected, "{name}");
        assert_eq!(SplitPlan::parse(&plan.to_string(), 7).expect("as it is shown"), plan);
        assert_eq!(plan.seed(), 7);
        let json = serde_json::to_string(&plan).expect("plain data");
        assert_eq!(serde_json::from_str::<SplitPlan>(&json).expect("its own JSON"), plan, "{json}");
    }
    let unknown = SplitPlan::parse("random", 0).expect_err("no such plan").to_string();
    assert!(!unknown.contains('\n'));
    for (name, what) in SplitPlan::NAMES {
        assert!(unknown.contains(name) && !what.is_empty(), "{unknown}");
        let example = name.replace("[:FRACTION]", "").replace("[:middle|highest]", "").replace("[=VALUE]", "");
        SplitPlan::parse(&example, 0).expect("the list holds what is parsed");
    }
    for name in [
        "doubles:",
        "doubles:0",
        "doubles:1.5",
        "doubles:NaN",
        "triples:2",
        "constae:1",
        "context",
        "context:",
        "context:a=",
        "cross-dataset",
        "cross-dataset:",
        "",
        "Doubles",
    ] {
        let error = SplitPlan::parse(name, 0).expect_err("malformed");
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    let short: SplitPlan = serde_json::from_str(r#"{"plan":"combos","seed":7}"#).expect("all else has a default");
    assert_eq!(short, SplitPlan::combos(7));
    assert!(
        serde_json::from_str::<SplitPlan>(r#"{"plan":"combos","seed":7,"heldout":0.5}"#).is_err(),
        "a typing error"
    );
}

#[test]
fn doubles_are_held_out_and_their_singles_are_not() {
    let mut perturbations = screen(30, 20);
    perturbations.extend(["g000+elsewhere".to_owned(), "g001+g002+g003".to_owned()]);
    let split = divide(&SplitPlan::Doubles { test: 0.3, seed: 1 }, &perturbations);
    assert_eq!(sizes(&split), (46, 0, 6));
    for stays in ["g000+elsewhere", "g001+g002+g003"] {
        assert!(split.train.contains(&Condition::of(perturbation(stays))), "{stays} cannot be judged by its singles");
    }
    assert_eq!(sizes(&divide(&SplitPlan::Doubles { test: 1.0, seed: 1 }, &perturbations)), (32, 0, 20));
    assert_eq!(sizes(&divide(&SplitPlan::Doubles { test: 0.001, seed: 1 }, &perturbations)).2, 1, "never none");
    assert_ne!(split.test, divide(&SplitPlan::Doubles { test: 0.3, seed: 2 }, &perturbations).test);
}

#[test]
fn triples_are_held_out_and_their_doubles_are_not() {
    let mut perturbations = screen(30, 20);
    // Of the first two doubles are measured (g000+g001, g001+g002), of the second none; the third has a gene that was never alone.
    perturbations.extend(["g000+g001+g002", "g003+g010+g020", "g000+g001+elsewhere"].map(str::to_owned));
    let split = divide(&SplitPlan::triples(1), &perturbations);
    assert_eq!(sizes(&split), (51, 0, 2));
    assert_eq!(groups(&split), BTreeMap::from([("doubles0of3", 1), ("doubles2of3", 1)]));
    for stays in ["g000+g001", "g001+g002", "g000+g001+elsewhere"] {
        assert!(split.train.contains(&Condition::of(perturbation(stays))), "{stays}");
    }
    assert_eq!(sizes(&divide(&SplitPlan::Triples { test: 0.5, seed: 1 }, &perturbations)).2, 1);
    let conditions = Conditions::of_effects(&effects(&perturbations));
    assert_eq!(SplitPlan::triples(0).distinct_splits(&conditions).expect("triples"), Some(1), "nothing is drawn");
    let mut leaking = split.clone();
    leaking.train.retain(|condition| *condition != Condition::of(perturbation("g002")));
    let message = leaking.refuse_leakage().expect_err("a single is missing").to_string();
    assert!(message.contains("the single g002 is not trained on"), "{message}");
}

#[test]
fn constae_trains_on_half_of_the_doubles_and_judges_both_other_parts() {
    let split = divide(&SplitPlan::Constae { seed: 1 }, &screen(100, 124));
    assert_eq!(sizes(&split), (162, 0, 62), "100 singles and 62 doubles; 62 doubles");
    assert_eq!(groups(&split), BTreeMap::from([("test", 31), ("validation", 31)]));
    let odd = divide(&SplitPlan::Constae { seed: 1 }, &screen(100, 131));
    assert_eq!(sizes(&odd), (165, 0, 66));
    assert_eq!(groups(&odd), BTreeMap::from([("test", 33), ("validation", 33)]));
    assert_eq!(groups(&divide(&SplitPlan::Constae { seed: 1 }, &screen(3, 1))), BTreeMap::from([("validation", 1)]));
}

#[test]
fn simulation_groups_count_seen_genes() {
    let mut perturbations = screen(40, 60);
    perturbations.push("g001+g009+g017".to_owned());
    let plan = SplitPlan::simulation(5);
    let split = divide(&plan, &perturbations);
    assert_eq!(split.held_out.len(), 10, "a quarter of 40 genes");
    let held_out: BTreeSet<&str> = split.held_out.iter().map(String::as_str).collect();
    assert!(genes(&split.train).is_disjoint(&held_out) && genes(&split.validation).is_disjoint(&held_out));
    let mut of_seen = 0;
    for name in &perturbations {
        let condition = Condition::of(perturbation(name));
        let all = condition.perturbation.genes();
        let seen = all.iter().filter(|gene| !held_out.contains(gene.as_str())).count();
        let expected = match (all.len(), seen) {
            (1, 1) => None,
            (1, _) => Some("unseen_single".to_owned()),
            (2, 2) => {
                of_seen += 1;
                split.groups.contains_key(name).then(|| "seen2".to_owned())
            }
            (2, seen) => Some(format!("seen{seen}")),
            (n, seen) => (seen < n || split.groups.contains_key(name)).then(|| format!("seen{seen}of{n}")),
        };
        of_seen += usize::from(all.len() == 3 && seen == 3);
        assert_eq!(split.groups.get(&condition.to_string()), expected.as_ref(), "{name}");
        assert_eq!(split.test.contains(&condition), expected.is_some(), "{name}");
    }
    let judged = split.groups.values().filter(|group| ["seen2", "seen3of3"].contains(&group.as_str())).count();
    assert_eq!(judged, of_seen - of_seen * 3 / 4, "a quarter of the combinations of seen genes");
    // The same rule on the rest: 3 of its 30 genes, and a tenth of the combinations of the others.
    let trained: BTreeSet<&str> = genes(&split.train);
    let singles = |conditions: &[Condition]| conditions.iter().filter(|c| c.perturbation.genes().len() == 1).count();
    assert_eq!((singles(&split.train), singles(&split.validation)), (27, 3));
    for watched in split.validation.iter().filter(|c| c.perturbation.genes().len() == 1) {
        assert!(!trained.contains(watched.perturbation.genes()[0].as_str()), "{watched} is in a training combination");
    }
    let none = SplitPlan::Simulation { seen_genes: 0.75, trained_combinations: 0.75, validation_seen: 1.0, seed: 5 };
    let none = divide(&none, &perturbations);
    assert_eq!((none.validation.len(), &none.test), (0, &split.test), "validation does not change the test");
}

#[test]
fn held_out_genes_stand_in_no_training_condition() {
    let perturbations = screen(40, 60);
    let split = divide(&SplitPlan::Perturbations { test: 0.2, validation: 0.1, seed: 2 }, &perturbations);
    let held_out: BTreeSet<&str> = split.held_out.iter().map(String::as_str).collect();
    assert_eq!(held_out.len(), 8);
    assert!(genes(&split.train).is_disjoint(&held_out) && genes(&split.validation).is_disjoint(&held_out));
    assert!(split.test.iter().all(|c| c.perturbation.genes().iter().any(|gene| held_out.contains(gene.as_str()))));
    let singles = |conditions: &[Condition]| conditions.iter().filter(|c| c.perturbation.genes().len() == 1).count();
    assert_eq!((singles(&split.train), singles(&split.validation), singles(&split.test)), (28, 4, 8));
    assert_eq!(groups(&split).keys().copied().collect::<Vec<_>>(), ["seen0", "seen1", "unseen_single"]);
    let (train, validation, test) = sizes(&split);
    assert_eq!(train + validation + test, 100);
}

#[test]
fn guides_of_one_gene_are_held_out_together() {
    let guides: Vec<String> =
        (0..20).flat_map(|gene| (1..=3).map(move |guide| format!("G{gene:02}_{guide}"))).collect();
    for plan in [SplitPlan::perturbations(0), SplitPlan::simulation(0)] {
        let split = divide(&plan, &guides);
        let targets = |conditions: &[Condition]| -> BTreeSet<String> {
            conditions.iter().map(|c| c.to_string().split('_').next().expect("a gene").to_owned()).collect()
        };
        assert_eq!((split.test.len(), targets(&split.test).len()), (15, 5));
        assert!(targets(&split.train).is_disjoint(&targets(&split.test)));
        assert_eq!(groups(&split), BTreeMap::from([("unseen_single", 15)]));
    }
}

#[test]
fn combos_are_perturbenchs() {
    // Norman 2019 has 105 singles and 131 doubles; PerturBench trains on 40 of them, 45 are for validation, 46 for test.
    let split = divide(&SplitPlan::combos(42), &screen(105, 131));
    assert_eq!(sizes(&split), (105 + 40, 45, 46));
    assert_eq!(split.cells, None, "effects have no control cells to divide");
    let rows: Vec<(&str, [f32; 1])> = [("control", 11), ("A", 4), ("B", 4), ("A+B", 4), ("A+C", 4), ("B+C", 4)]
        .into_iter()
        .flat_map(|(name, n)| std::iter::repeat_n((name, [1.0]), n))
        .collect();
    let data = dataset(&["g1"], &rows);
    let conditions = Conditions::of(&data, None).expect("no context");
    let split = SplitPlan::combos(1).divide(&conditions).expect("there are three doubles");
    assert_eq!((sizes(&split), split.unit), ((3, 1, 1), SplitUnit::Conditions));
    let rows = split.split(&conditions).expect("its own dataset");
    rows.check(31).expect("disjoint and complete");
    let controls = |part: &[usize]| part.iter().filter(|&&cell| cell < 11).count();
    assert_eq!([&rows.train, &rows.validation, &rows.test].map(|part| controls(part)), [5, 3, 3]);
    assert_eq!([&rows.train, &rows.validation, &rows.test].map(|part| part.len() - controls(part)), [12, 4, 4]);
}

#[test]
fn a_context_is_held_out_but_for_its_controls() {
    let data = in_contexts([&["A", "B", "C"], &["A", "B", "D"]]);
    let conditions = Conditions::of(&data, Some("state")).expect("a column");
    let split = SplitPlan::context("state", Some("stimulated"), 0).divide(&conditions).expect("two contexts");
    assert_eq!((sizes(&split), &split.held_out[..]), ((3, 0, 3), &["stimulated".to_owned()][..]));
    let expected = [("A", "seen_elsewhere"), ("B", "seen_elsewhere"), ("D", "unseen_elsewhere")]
        .map(|(name, group)| (format!("{name} in stimulated"), group.to_owned()));
    assert_eq!(split.groups, BTreeMap::from(expected));
    let rows = split.split(&conditions).expect("its own dataset");
    assert_eq!(rows.test, (13..22).collect::<Vec<_>>());
    assert!(rows.train.contains(&11) && rows.train.contains(&12), "its controls are trained on");

    let value = |seed| SplitPlan::context("state", None, seed).divide(&conditions).expect("two contexts").held_out;
    assert_eq!(
        [value(0), value(1), value(2)],
        [["rest"], ["stimulated"], ["rest"]].map(|v| v.map(str::to_owned).to_vec())
    );
    let distinct = |plan: &SplitPlan| plan.distinct_splits(&conditions).expect("two contexts");
    assert_eq!(distinct(&SplitPlan::context("state", None, 0)), Some(2));
    assert_eq!(distinct(&SplitPlan::context("state", Some("rest"), 0)), Some(1));
    assert_eq!(distinct(&SplitPlan::combos(0)), None);

    let keep = |keep, seed| SplitPlan::Context { column: "state".into(), value: Some("rest".into()), keep, seed };
    assert_eq!(sizes(&keep(0.34, 0).divide(&conditions).expect("two contexts")), (4, 0, 2));
    assert_eq!(keep(1.0, 0).divide(&conditions).expect_err("nothing left").kind(), ErrorKind::Config);
    let missing = SplitPlan::context("state", Some("stimulate"), 0).divide(&conditions).expect_err("no such value");
    assert!(missing.to_string().contains("rest, stimulated"), "{missing}");
}

#[test]
fn plans_that_do_not_apply_say_why() {
    let singles = effects(&screen(10, 0));
    let effects_of = Conditions::of_effects(&singles);
    let cells = in_contexts([&["A", "B"], &["A"]]);
    let plain = Conditions::of(&cells, None).expect("no context");
    let one_state = cells.select_cells(&[0, 1, 2, 3]);
    let one_state = Conditions::of(&one_state, Some("state")).expect("a column");
    let without_control = cells.select_cells(&(2..12).collect::<Vec<_>>());
    let without_control = Conditions::of(&without_control, Some("state")).expect("a column");
    let context = SplitPlan::context("state", None, 0);
    for (plan, conditions, reason) in [
        (SplitPlan::stratified(0), &effects_of, "is for cells"),
        (context.clone(), &effects_of, "is for cells"),
        (SplitPlan::cross_dataset("b.h5ad", 0), &effects_of, "is for cells"),
        (SplitPlan::doubles(0), &effects_of, "(0 are doubles)"),
        (SplitPlan::triples(0), &plain, "(0 are triples)"),
        (SplitPlan::Constae { seed: 0 }, &plain, "(0 are doubles)"),
        (SplitPlan::combos(0), &plain, "of 0 combinations"),
        (SplitPlan::Perturbations { test: 0.9, validation: 0.0, seed: 0 }, &plain, "none is left to train on"),
        (context.clone(), &one_state, "\"rest\" is the only value"),
        (context.clone(), &without_control, "have no control cells (rest)"),
    ] {
        let error = plan.divide(conditions).expect_err("it does not apply");
        assert_eq!(error.kind(), ErrorKind::Inapplicable, "{plan}: {error}");
        assert!(error.to_string().contains(reason), "{plan}: {error}");
    }
    let error = context.divide(&plain).expect_err("conditions without context");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("needs conditions with the context \"state\""), "{error}");
    let screen = Conditions::of_effects(&effects(&screen(10, 10)));
    for plan in [
        SplitPlan::Doubles { test: 0.0, seed: 0 },
        SplitPlan::Doubles { test: f64::NAN, seed: 0 },
        SplitPlan::Perturbations { test: 1.0, validation: 0.0, seed: 0 },
        SplitPlan::Perturbations { test: 0.2, validation: -0.1, seed: 0 },
        SplitPlan::Combos { held_out: 1.1, control_train: 0.5, seed: 0 },
        SplitPlan::Simulation { seen_genes: 0.0, trained_combinations: 0.75, validation_seen: 0.9, seed: 0 },
    ] {
        assert_eq!(plan.divide(&screen).expect_err("out of range").kind(), ErrorKind::Config, "{plan:?}");
    }
}
