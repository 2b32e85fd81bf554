//! Looks at all labels of a column: what joins, which endings are vectors, which label is control.

use super::{
    LabelCounts, Rules,
    forms::{before_strand, is_plainly_control, is_symbol, joined, looks_like_a_vector, short, tuples},
};
use crate::data::{
    labels::{few, spelling::Spelling},
    perturbation::{cut_at_plus, without_guide},
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Separators besides `+` and `_`, those that hold another one first.
const SEPARATORS: [&str; 6] = ["||", "|", ";", ",", "&", "/"];
/// Separators that no name holds, so that names need not be known.
const CLEAR_SEPARATORS: [&str; 3] = ["||", "|", ";"];
/// Of the parts that a separator gives, the share that must be known names (labels of their own, measured genes, control).
const KNOWN_SHARE: f64 = 0.15;
/// Of the labels that hold a separator, the share whose parts must all look like names.
const NAMED_SHARE: f64 = 0.9;
/// More symbols in one label are a chain of something else.
const MOST_SYMBOLS: usize = 3;
/// Endings of knock-outs and other modes that are no genes, in lower case.
const MODES: [&str; 12] =
    ["ko", "kd", "oe", "crispri", "crispra", "cas9", "mut", "guide", "sgrna", "grna", "low", "high"];
/// An ending that follows this many different names is no gene.
const NAMES_BEFORE_A_VECTOR: usize = 3;

impl Rules<'_> {
    pub(super) fn find_doses(&mut self, labels: &[&str]) {
        for (name, dose) in labels.iter().filter_map(|label| tuples(label)).flatten() {
            self.doses.entry(name).or_default().insert(dose);
        }
    }

    /// Endings after `_` that follow several names and never stand alone or in front.
    pub(super) fn find_vectors(&mut self, labels: &[&str]) {
        let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut elsewhere: HashSet<&str> = labels.iter().copied().collect();
        for label in labels.iter().flat_map(|label| label.split(['+', '|', ';', ',', '&'])).map(str::trim) {
            let Some((name, ending)) = label.rsplit_once('_') else { continue };
            elsewhere.extend(name.split('_'));
            before.entry(ending).or_default().insert(name);
        }
        let is_vector = |ending: &str, names: &BTreeSet<&str>| {
            !elsewhere.contains(ending)
                && !ending.is_empty()
                && !self.is_gene(ending)
                && self.spelling(ending) == Spelling::Name
                && without_guide(&format!("x_{ending}")) != "x"
                && (names.len() >= NAMES_BEFORE_A_VECTOR
                    || names.len() > 1 && looks_like_a_vector(ending)
                    || MODES.contains(&ending.to_lowercase().as_str()))
        };
        let found = before.iter().filter(|(ending, names)| is_vector(ending, names));
        self.vectors = found.map(|(ending, _)| (*ending).to_owned()).collect();
    }

    pub(super) fn find_separator(&mut self, column: &str, labels: &[&str]) {
        if labels.iter().any(|label| cut_at_plus(label).len() > 1) {
            self.joins = Some("+".to_owned());
            return;
        }
        for separator in SEPARATORS {
            let holders: Vec<&str> = labels.iter().copied().filter(|label| label.contains(separator)).collect();
            if holders.is_empty() {
                continue;
            }
            let cut = |label: &str| label.split(separator).map(|part| part.trim().to_owned()).collect();
            if self.joins(labels, separator, &holders, &cut) {
                self.joins = Some(separator.to_owned());
                self.notes.push(joined(separator, column, holders[0]));
                return;
            }
            self.notes.push(format!(
                "`{separator}` is not read as joining genes in `{column}` ({:?}); if it does, say --separator '{separator}'",
                holders[0]
            ));
        }
        // What stays one name by any reading says nothing about `_`.
        let holders: Vec<&str> = labels
            .iter()
            .copied()
            .filter(|label| {
                !self.is_gene(label) && before_strand(label).is_none() && self.join_endings(label).len() > 1
            })
            .collect();
        if holders.is_empty() {
            return;
        }
        if self.joins(labels, "_", &holders, &|label| self.join_endings(label)) {
            self.joins = Some("_".to_owned());
            self.notes.push(joined("_", column, holders[0]));
        } else {
            self.notes.push(format!(
                "`_` is not read as joining genes in `{column}` ({:?}: its parts are neither labels nor measured genes); if it \
                 does, say --separator _",
                short(holders[0])
            ));
        }
    }

    /// Whether `separator` joins names in the labels that hold it, as `cut` cuts them: all parts look like names, and some are
    /// known, or all are written as symbols of human genes.
    fn joins(&self, labels: &[&str], separator: &str, holders: &[&str], cut: &dyn Fn(&str) -> Vec<String>) -> bool {
        let bare = |name: &str| {
            let gene = before_strand(name).unwrap_or(name);
            let gene =
                gene.rsplit_once('_').filter(|(_, end)| self.vectors.contains(*end)).map_or(gene, |(gene, _)| gene);
            without_guide(gene).to_owned()
        };
        let all = |label: &str| cut(label).iter().map(|part| bare(part)).collect::<Vec<_>>();
        let named = holders.iter().filter(|label| all(label).iter().all(|part| self.looks_like_a_name(part)));
        if (named.count() as f64) < NAMED_SHARE * holders.len() as f64 {
            return false;
        }
        // With `_`, the label `A_1` is one name, and known as A.
        let alone = labels
            .iter()
            .filter(|label| if separator == "_" { cut(label).len() == 1 } else { !label.contains(separator) })
            .map(|label| bare(label));
        let alone: HashSet<String> = alone.collect();
        let parts: BTreeSet<String> = holders.iter().flat_map(|label| all(label)).collect();
        let known = parts
            .iter()
            .filter(|part| alone.contains(*part) || self.is_gene(part) || self.spelling(part) == Spelling::Control);
        let share = known.count() as f64 / parts.len().max(1) as f64;
        share >= KNOWN_SHARE
            || CLEAR_SEPARATORS.contains(&separator)
            || parts.iter().all(|part| is_symbol(part)) && holders.iter().all(|label| cut(label).len() <= MOST_SYMBOLS)
    }

    /// Letters and digits, and no measure such as `10uM`.
    pub(super) fn looks_like_a_name(&self, part: &str) -> bool {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        self.is_gene(part)
            || part.starts_with(|c: char| c.is_alphabetic()) && part.chars().all(inside)
            || self.spelling(part) != Spelling::Name
    }

    /// Says which endings are taken for guides or vectors.
    pub(super) fn say_guides(&mut self, column: &str, labels: &[&str]) {
        if let Some(label) =
            labels.iter().flat_map(|label| self.parts(label)).find(|part| before_strand(part).is_some())
        {
            let gene = before_strand(&label).unwrap_or_default();
            self.notes.push(format!("guides in `{column}` are read as their genes: {label:?} as {gene}"));
        }
        let Some(first) = self.vectors.first() else { return };
        let example = labels.iter().find(|label| label.ends_with(&format!("_{first}"))).copied().unwrap_or_default();
        let gene = example.rsplit_once('_').map_or(example, |(gene, _)| gene);
        let others =
            if self.vectors.len() > 1 { format!(" and {} others", self.vectors.len() - 1) } else { String::new() };
        let done = match self.naming.guide_suffix {
            true => format!("{example} is read as {gene}"),
            false => format!("{example} is one perturbation; --guide-suffix reads it as {gene}"),
        };
        self.notes.push(format!(
            "the ending `_{first}`{others} of `{column}` follows several names, so it is a vector or a guide and no gene: {done}"
        ));
    }

    /// Takes the one label that may mean control for it, where no other does, and says which labels are control.
    pub(super) fn find_control(&mut self, column: &str, labels: &LabelCounts) {
        let maybe: Vec<(String, usize)> = labels
            .iter()
            .filter_map(|(label, n)| {
                label.as_ref().filter(|label| self.may_be_control(label)).map(|l| (l.trim().to_owned(), *n))
            })
            .collect();
        if let [(label, n)] = maybe.as_slice()
            && !labels.keys().any(|label| self.is_control(label))
        {
            self.notes.push(format!(
                "no label of `{column}` is surely control, so {label:?} ({n} cells) is taken for it; if it is not, name the \
                 control by --control"
            ));
            self.only_control = Some(label.clone());
            return;
        }
        for (label, n) in maybe {
            self.notes.push(format!(
                "{label:?} ({n} cells) of `{column}` is read as a perturbation; if it is control, say --control '{label}', if it is \
                 neither, --drop-label '{label}'"
            ));
        }
        let control: Vec<String> = labels
            .iter()
            .filter(|(label, _)| label.as_ref().is_some_and(|l| !is_plainly_control(l)) && self.is_control(label))
            .map(|(label, n)| format!("{:?} ({n} cells)", label.as_deref().unwrap_or_default()))
            .collect();
        if !control.is_empty() {
            self.notes.push(format!("read as control in `{column}`: {}", few(&control)));
        }
    }
}
