//! Plans that hold out a context: a value of a column of cells, or a whole dataset.

use super::random::{Draw, at_least_one, shuffled};
use crate::{
    Error, Result,
    data::{Condition, Perturbation, names},
};
use std::collections::{BTreeMap, BTreeSet};

/// The group of a judged condition whose perturbation is trained on in another context.
pub(super) const SEEN: &str = "seen_elsewhere";
/// The group of one whose perturbation is not.
pub(super) const UNSEEN: &str = "unseen_elsewhere";

/// The contexts of a dataset and the perturbations of each.
pub(super) struct Contexts<'a>(BTreeMap<&'a str, BTreeSet<&'a Perturbation>>);

impl<'a> Contexts<'a> {
    /// Sorts conditions by context.
    pub(super) fn of(conditions: &'a [Condition]) -> Result<Self> {
        let mut contexts: BTreeMap<&str, BTreeSet<&Perturbation>> = BTreeMap::new();
        for condition in conditions {
            let context = condition
                .context
                .as_deref()
                .ok_or_else(|| Error::inapplicable("the conditions have no context, so there is none to hold out"))?;
            contexts.entry(context).or_default().insert(&condition.perturbation);
        }
        Ok(Self(contexts))
    }

    /// The contexts that can be held out: with control cells, which effects are differences to, and perturbed ones.
    ///
    /// # Errors
    /// One context only; one without control cells, where nothing could be trained on; nothing to hold out.
    pub(super) fn that_can_be_held_out(&self, column: &str) -> Result<Vec<&'a str>> {
        if let [only] = *self.0.keys().copied().collect::<Vec<_>>() {
            return Err(Error::inapplicable(format!(
                "{only:?} is the only value of the column {column:?}: nothing is left to train on when it is held out"
            )));
        }
        let without: Vec<String> =
            self.0.iter().filter(|(_, all)| !all.iter().any(|p| p.is_control())).map(|(&c, _)| c.to_owned()).collect();
        if !without.is_empty() {
            return Err(Error::inapplicable(format!(
                "of the {} values of the column {column:?}, {} have no control cells ({}), and an effect is a difference \
                 to the control of its context",
                self.0.len(),
                without.len(),
                names::first(&without)
            )));
        }
        let found: Vec<&str> = self.0.iter().filter(|(_, all)| all.len() > 1).map(|(&context, _)| context).collect();
        match found.is_empty() {
            true => Err(Error::inapplicable(format!("no value of the column {column:?} has perturbed cells"))),
            false => Ok(found),
        }
    }

    /// The perturbations of `context` that are judged, with their groups; a fraction `keep` of them is not.
    pub(super) fn judged(&self, context: &str, keep: f64, seed: u64) -> Result<BTreeMap<Perturbation, String>> {
        if !(0.0..1.0).contains(&keep) {
            return Err(Error::config(format!(
                "the fraction of the held-out context's perturbations that is trained on is {keep}; it must be a \
                 number from 0 to below 1"
            )));
        }
        let here = self.0.get(context).into_iter().flatten().filter(|p| !p.is_control());
        let mut judged = shuffled(here.copied().collect(), seed, Draw::Conditions);
        let kept = if keep > 0.0 { at_least_one(keep, judged.len()) } else { 0 };
        judged.drain(..kept);
        let elsewhere = |p: &Perturbation| self.0.iter().any(|(&other, all)| other != context && all.contains(p));
        let group = |p: &Perturbation| if elsewhere(p) { SEEN } else { UNSEEN }.to_owned();
        Ok(judged.into_iter().map(|p| (p.clone(), group(p))).collect())
    }
}

/// The context to hold out: the one that is named, or one in turn.
pub(super) fn chosen<'a>(found: &[&'a str], column: &str, value: Option<&str>, seed: u64) -> Result<&'a str> {
    match value {
        None => Ok(found[(seed % found.len() as u64) as usize]),
        Some(value) => found.iter().find(|&&context| context == value).copied().ok_or_else(|| {
            let known: Vec<String> = found.iter().map(|&context| context.to_owned()).collect();
            Error::config(format!(
                "the column {column:?} has no value {value:?} with control and perturbed cells; its values with both are {}",
                names::first(&known)
            ))
        }),
    }
}
