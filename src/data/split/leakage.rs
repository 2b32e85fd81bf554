//! Leakage: what training has seen of what is judged. A split that leaks is refused, however it came about.

use super::{NamedSplit, SplitPlan, SplitUnit, context::UNSEEN, perturbations::targets};
use crate::{
    Error, Result,
    data::{Condition, Perturbation},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

impl NamedSplit {
    /// Checks that training and validation have seen nothing of what is judged, by the rule of the plan:
    ///
    /// - no condition and no cell stands in two parts, and control is no condition to train on or judge;
    /// - except where contexts are held out, no judged perturbation is trained on in another context;
    /// - `Simulation`, `Perturbations`: no training or validation condition has a held-out gene, and each judged one has, but
    ///   for the combinations of seen genes that `Simulation` judges;
    /// - `Doubles`, `Constae`, `Triples`: each judged double or triple has its singles in training;
    /// - `Context`, `CrossDataset`: only the held-out context is judged, and nothing of it is trained on but what the
    ///   plan keeps.
    ///
    /// # Errors
    /// The first rule that is broken, with the names that break it.
    pub fn refuse_leakage(&self) -> Result<()> {
        self.names_stand_once()?;
        match &self.plan {
            SplitPlan::Context { keep, .. } | SplitPlan::CrossDataset { keep, .. } => self.context_is_held_out(*keep),
            _ => {
                self.perturbations_stand_in_one_part()?;
                match self.plan {
                    SplitPlan::Doubles { .. } | SplitPlan::Constae { .. } => self.combinations_have_their_singles(2),
                    SplitPlan::Triples { .. } => self.combinations_have_their_singles(3),
                    SplitPlan::Simulation { .. } | SplitPlan::Perturbations { .. } => self.genes_are_held_out(),
                    SplitPlan::Combos { .. } => self.combinations_are_held_out(),
                    _ => Ok(()),
                }
            }
        }
    }

    fn parts(&self) -> [(&'static str, &[Condition]); 3] {
        [("training", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }

    /// Training and validation: what predictors see.
    fn seen(&self) -> impl Iterator<Item = &Condition> {
        self.train.iter().chain(&self.validation)
    }

    fn names_stand_once(&self) -> Result<()> {
        let mut place: BTreeMap<&Condition, &str> = BTreeMap::new();
        for (part, conditions) in self.parts() {
            for condition in conditions {
                if condition.perturbation.is_control() {
                    return leak(format!("{condition} stands in {part}, but control is no condition to divide"));
                }
                if let Some(other) = place.insert(condition, part) {
                    return leak(format!("{condition} stands in {other} and in {part}"));
                }
            }
        }
        let judged: HashSet<String> = self.test.iter().map(Condition::to_string).collect();
        if let Some(name) = self.groups.keys().find(|name| !judged.contains(*name)) {
            return leak(format!("{name:?} has a group but is not judged"));
        }
        if self.unit == SplitUnit::Cells && !place.is_empty() {
            return leak("conditions are divided in a split of cells".to_owned());
        }
        let Some(cells) = &self.cells else {
            return if self.unit == SplitUnit::Cells {
                leak("a split of cells names no cells".to_owned())
            } else {
                Ok(())
            };
        };
        let mut place: HashMap<&str, &str> = HashMap::new();
        for (part, names) in [("training", &cells.train), ("validation", &cells.validation), ("test", &cells.test)] {
            for name in names {
                if let Some(other) = place.insert(name, part) {
                    return leak(format!("the cell {name:?} stands in {other} and in {part}"));
                }
            }
        }
        Ok(())
    }

    fn perturbations_stand_in_one_part(&self) -> Result<()> {
        let judged: BTreeMap<&Perturbation, &Condition> = self.test.iter().map(|c| (&c.perturbation, c)).collect();
        match self.seen().find_map(|c| judged.get(&c.perturbation).map(|test| (c, test))) {
            Some((seen, test)) => leak(format!("{test} is judged, but the perturbation is trained on as {seen}")),
            None => Ok(()),
        }
    }

    fn combinations_have_their_singles(&self, size: usize) -> Result<()> {
        let trained: BTreeSet<&Perturbation> = self.train.iter().map(|c| &c.perturbation).collect();
        for test in &self.test {
            let genes = test.perturbation.genes();
            if genes.len() != size {
                let what = if size == 2 { "doubles" } else { "triples" };
                return leak(format!("{test} is judged, but the plan judges {what}"));
            }
            if let Some(gene) = genes.iter().find(|gene| !trained.contains(&Perturbation::of([gene.as_str()]))) {
                return leak(format!("{test} is judged, but the single {gene} is not trained on"));
            }
        }
        Ok(())
    }

    fn combinations_are_held_out(&self) -> Result<()> {
        match self.test.iter().chain(&self.validation).find(|c| c.perturbation.genes().len() < 2) {
            Some(single) => leak(format!("{single} is held out, but the plan holds out combinations")),
            None => Ok(()),
        }
    }

    fn genes_are_held_out(&self) -> Result<()> {
        let held_out: BTreeSet<&str> = self.held_out.iter().map(String::as_str).collect();
        for seen in self.seen() {
            if let Some(gene) = targets(&seen.perturbation).intersection(&held_out).next() {
                return leak(format!("{seen} is trained on, but the gene {gene} is held out"));
            }
        }
        let combinations = matches!(self.plan, SplitPlan::Simulation { .. });
        for test in &self.test {
            let genes = targets(&test.perturbation);
            if genes.is_disjoint(&held_out) && !(combinations && genes.len() > 1) {
                return leak(format!("{test} is judged, but none of its genes is held out"));
            }
        }
        Ok(())
    }

    fn context_is_held_out(&self, keep: f64) -> Result<()> {
        let held_out = |c: &Condition| c.context.as_ref().is_some_and(|context| self.held_out.contains(context));
        if let Some(test) = self.test.iter().find(|c| !held_out(c)) {
            return leak(format!("{test} is judged, but what is held out is {}", self.held_out.join(", ")));
        }
        if let Some(seen) = self.seen().find(|c| keep == 0.0 && held_out(c)) {
            return leak(format!("{seen} is trained on, but its context is held out"));
        }
        let trained: BTreeSet<&Perturbation> = self.seen().map(|c| &c.perturbation).collect();
        let unseen = |test: &&Condition| self.groups.get(&test.to_string()).is_some_and(|group| group == UNSEEN);
        match self.test.iter().filter(unseen).find(|test| trained.contains(&test.perturbation)) {
            Some(test) => leak(format!("{test} stands in the group {UNSEEN}, but the perturbation is trained on")),
            None => Ok(()),
        }
    }
}

fn leak(what: String) -> Result<()> {
    Err(Error::data(format!("the split leaks: {what}")))
}
