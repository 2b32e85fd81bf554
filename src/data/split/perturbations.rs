//! Plans that hold out perturbations: which are judged, which are for validation, by the rule of each protocol.

use super::{
    HeldOutDose, SplitPlan,
    random::{Draw, at_least_one, rounded_down, shuffle, shuffled, stream},
};
use crate::{
    Error, Result,
    data::{Perturbation, dose::name_and_dose, perturbation::without_guide},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a plan takes out of training.
#[derive(Debug, Default)]
pub(super) struct HeldOut {
    /// The perturbations that are judged, and their groups where the plan has groups.
    pub(super) test: BTreeMap<Perturbation, Option<String>>,
    /// Those that settings may be chosen by.
    pub(super) validation: BTreeSet<Perturbation>,
    /// The genes that no training or validation condition has, sorted; where the plan holds out genes.
    pub(super) genes: Vec<String>,
}

/// Applies a plan to the distinct perturbations of a dataset, sorted and without control.
pub(super) fn hold_out(plan: &SplitPlan, all: &[Perturbation]) -> Result<HeldOut> {
    match *plan {
        SplitPlan::Doubles { test, seed } => {
            let doubles = shuffled(of_measured_singles(all, 2)?, seed, Draw::Conditions);
            let n = at_least_one(in_range("doubles that are held out", test, true)?, doubles.len());
            Ok(HeldOut {
                test: doubles.into_iter().take(n).map(|double| (double, None)).collect(),
                ..HeldOut::default()
            })
        }
        SplitPlan::Triples { test, seed } => {
            let triples = shuffled(of_measured_singles(all, 3)?, seed, Draw::Conditions);
            let n = at_least_one(in_range("triples that are held out", test, true)?, triples.len());
            let with_group = |triple: Perturbation| {
                let group = measured_doubles(&triple, all);
                (triple, Some(group))
            };
            Ok(HeldOut { test: triples.into_iter().take(n).map(with_group).collect(), ..HeldOut::default() })
        }
        SplitPlan::Constae { seed } => {
            let doubles = shuffled(of_measured_singles(all, 2)?, seed, Draw::Conditions);
            let judged = doubles.len() - doubles.len() / 2;
            let group = |place: usize| Some(if place < judged / 2 { "test" } else { "validation" }.to_owned());
            let test = doubles.into_iter().take(judged).enumerate().map(|(place, double)| (double, group(place)));
            Ok(HeldOut { test: test.collect(), ..HeldOut::default() })
        }
        SplitPlan::Simulation { seen_genes, trained_combinations, validation_seen, seed } => {
            let genes = in_range("genes that are seen", seen_genes, true)?;
            let combinations = in_range("combinations of seen genes that are trained on", trained_combinations, true)?;
            let again = in_range("genes and combinations that are kept from validation", validation_seen, true)?;
            let (train, test, unseen) = simulation(all, genes, combinations, seed, [Draw::Genes, Draw::Conditions]);
            let draws = [Draw::ValidationGenes, Draw::ValidationConditions];
            let (_, validation, _) = simulation(&train, again, again, seed, draws);
            Ok(HeldOut { test, validation: validation.into_keys().collect(), genes: unseen.into_iter().collect() })
        }
        SplitPlan::Doses { held_out, seed } => doses(all, held_out, seed),
        SplitPlan::Perturbations { test, validation, seed } => perturbations(all, test, validation, seed),
        SplitPlan::Combos { held_out, seed, .. } => {
            let combinations: Vec<_> = all.iter().filter(|p| p.genes().len() > 1).cloned().collect();
            let n = rounded_down(in_range("combinations that are held out", held_out, true)?, combinations.len());
            if n == 0 {
                return Err(Error::inapplicable(format!(
                    "of {} combinations (perturbations of two genes or more) none can be held out",
                    combinations.len()
                )));
            }
            let mut held_out = shuffled(combinations, seed, Draw::Conditions);
            held_out.truncate(n);
            let validation = held_out.split_off(n.div_ceil(2)).into_iter().collect();
            let test = held_out.into_iter().map(|combination| (combination, None)).collect();
            Ok(HeldOut { test, validation, genes: Vec::new() })
        }
        SplitPlan::Stratified { .. } | SplitPlan::Context { .. } | SplitPlan::CrossDataset { .. } => {
            unreachable!("these plans do not hold out perturbations, and the caller has handled them")
        }
    }
}

/// Holds out one dose of each name.
fn doses(all: &[Perturbation], which: HeldOutDose, seed: u64) -> Result<HeldOut> {
    let mut of_name: BTreeMap<&str, Vec<(f64, &Perturbation)>> = BTreeMap::new();
    for perturbation in all {
        let [name] = perturbation.genes() else { continue };
        let (base, dose) = name_and_dose(name);
        of_name.entry(base).or_default().push((dose, perturbation));
    }
    let (least, needs) = match which {
        HeldOutDose::Middle => (3, "three"),
        HeldOutDose::Highest => (2, "two"),
    };
    let mut rng = stream(seed, Draw::Conditions);
    let mut test = BTreeMap::new();
    for doses in of_name.values_mut().filter(|doses| doses.len() >= least) {
        doses.sort_by(|a, b| a.0.total_cmp(&b.0));
        let place = match which {
            HeldOutDose::Middle => {
                let mut middle: Vec<usize> = (1..doses.len() - 1).collect();
                shuffle(&mut middle, &mut rng);
                middle[0]
            }
            HeldOutDose::Highest => doses.len() - 1,
        };
        test.insert(doses[place].1.clone(), None);
    }
    if test.is_empty() {
        return Err(Error::inapplicable(format!(
            "no name of {} perturbations was measured alone at {needs} doses or more, so no dose can be held out; \
             --dose-column joins a column of doses onto the names",
            all.len()
        )));
    }
    Ok(HeldOut { test, ..HeldOut::default() })
}

/// Holds out genes, and with each of them every perturbation that has it.
fn perturbations(all: &[Perturbation], test: f64, validation: f64, seed: u64) -> Result<HeldOut> {
    let test = in_range("genes that are held out", test, false)?;
    if !(0.0..1.0).contains(&validation) {
        return Err(Error::config(format!(
            "the fraction of genes for validation is {validation}; it must be a number from 0 to below 1"
        )));
    }
    let mut genes = shuffled(genes_of(all).into_iter().collect(), seed, Draw::Genes);
    let n_test = at_least_one(test, genes.len());
    let n_validation = if validation > 0.0 { at_least_one(validation, genes.len()) } else { 0 };
    if n_test + n_validation >= genes.len() {
        return Err(Error::inapplicable(format!(
            "of {} genes {n_test} are to be judged and {n_validation} to be for validation: none is left to train on",
            genes.len()
        )));
    }
    genes.truncate(n_test + n_validation);
    let untrained: BTreeSet<String> = genes.iter().cloned().collect();
    let mut judged: Vec<String> = genes[..n_test].to_vec();
    judged.sort();
    let has = |p: &Perturbation, genes: &dyn Fn(&str) -> bool| targets(p).into_iter().any(genes);
    let mut held_out = HeldOut::default();
    for perturbation in all {
        if has(perturbation, &|gene| judged.binary_search_by(|known| known.as_str().cmp(gene)).is_ok()) {
            held_out.test.insert(perturbation.clone(), Some(group(perturbation, &untrained)));
        } else if has(perturbation, &|gene| untrained.contains(gene)) {
            held_out.validation.insert(perturbation.clone());
        }
    }
    held_out.genes = judged;
    Ok(held_out)
}

/// The rule of GEARS: what is trained on, what is held out with its group, and the unseen genes.
type Simulated = (Vec<Perturbation>, BTreeMap<Perturbation, Option<String>>, BTreeSet<String>);

fn simulation(all: &[Perturbation], seen: f64, trained: f64, seed: u64, draws: [Draw; 2]) -> Simulated {
    let mut genes = shuffled(genes_of(all).into_iter().collect(), seed, draws[0]);
    let unseen: BTreeSet<String> = genes.split_off(rounded_down(seen, genes.len())).into_iter().collect();
    let (known, mut held_out): (Vec<_>, Vec<_>) =
        all.iter().cloned().partition(|p| targets(p).iter().all(|gene| !unseen.contains(*gene)));
    let (mut train, combinations): (Vec<_>, Vec<_>) = known.into_iter().partition(|p| targets(p).len() == 1);
    let mut combinations = shuffled(combinations, seed, draws[1]);
    held_out.extend(combinations.split_off(rounded_down(trained, combinations.len())));
    train.extend(combinations);
    train.sort();
    let groups = held_out.into_iter().map(|p| (p.clone(), Some(group(&p, &unseen)))).collect();
    (train, groups, unseen)
}

/// `seen1` for a double of one seen gene, `unseen_single`, and `seen1of3` for more than two genes.
fn group(perturbation: &Perturbation, unseen: &BTreeSet<String>) -> String {
    let genes = targets(perturbation);
    let seen = genes.iter().filter(|gene| !unseen.contains(**gene)).count();
    match genes.len() {
        1 => "unseen_single".to_owned(),
        2 => format!("seen{seen}"),
        n => format!("seen{seen}of{n}"),
    }
}

/// The combinations of `size` genes, 2 or 3, whose singles are there.
fn of_measured_singles(all: &[Perturbation], size: usize) -> Result<Vec<Perturbation>> {
    let (what, number) = if size == 2 { ("double", "two") } else { ("triple", "three") };
    let single = |gene: &String| all.binary_search(&Perturbation::of([gene.as_str()])).is_ok();
    let of_size = || all.iter().filter(|p| p.genes().len() == size);
    let found: Vec<_> = of_size().filter(|p| p.genes().iter().all(single)).cloned().collect();
    if found.is_empty() {
        return Err(Error::inapplicable(format!(
            "none of {} perturbations is a {what} whose {number} singles were measured ({} are {what}s), so no {what} can \
             be held out",
            all.len(),
            of_size().count()
        )));
    }
    Ok(found)
}

/// `doubles2of3` of a triple of which two doubles are there.
fn measured_doubles(triple: &Perturbation, all: &[Perturbation]) -> String {
    let genes = triple.genes();
    let without = |left: usize| {
        Perturbation::of(genes.iter().enumerate().filter(|(place, _)| *place != left).map(|(_, gene)| gene.as_str()))
    };
    let measured = (0..genes.len()).filter(|&left| all.binary_search(&without(left)).is_ok()).count();
    format!("doubles{measured}of3")
}

/// The genes of a perturbation, the guides of one gene as one, without doses.
pub(super) fn targets(perturbation: &Perturbation) -> BTreeSet<&str> {
    perturbation.genes().iter().map(|gene| without_guide(name_and_dose(gene).0)).collect()
}

fn genes_of(all: &[Perturbation]) -> BTreeSet<String> {
    all.iter().flat_map(targets).map(str::to_owned).collect()
}

/// Checks a fraction: above 0, and below 1 or up to it.
fn in_range(what: &str, fraction: f64, up_to_one: bool) -> Result<f64> {
    if fraction > 0.0 && (fraction < 1.0 || up_to_one && fraction == 1.0) {
        return Ok(fraction);
    }
    let most = if up_to_one { "up to 1" } else { "below 1" };
    Err(Error::config(format!("the fraction of {what} is {fraction}; it must be a number above 0 and {most}")))
}
