//! How the labels of one column are read: what joins genes, which endings are guides or vectors, which label is control.
//!
//! A single label is often ambiguous (`KLF1_pDS258`: two genes, or a gene and a vector?); all labels of a column together are
//! not. So the column is looked at first:
//!
//! 1. What joins: `+` between names, if any label has one. Else `||`, `|` or `;` between names. Else `,`, `&`, `/` or `_`,
//!    if some of the names are known (labels of their own, measured genes, control) or all are symbols of human genes.
//! 2. An ending that follows several names, and is never a name itself (`_pDS258`), is a vector or a guide.
//! 3. `+` and `-` between `_` or `:` (`TP53_+_7590687.23-P1P2`) are the strand of a guide against the gene before it.
//! 4. `[('TP53', 1.0, 'uM')]` (STATE, Tahoe-100M) is a list of name, dose and unit. The dose stays in the name only where the
//!    column has several doses of it.

mod detect;
mod forms;
#[cfg(test)]
mod tests;

use super::spelling::{Spelling, spelling};
use crate::{
    Result,
    data::{
        Naming, Perturbation, dose,
        perturbation::{cut_at_plus, join_guides, without_guide},
    },
};
use forms::{before_strand, tuples};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a label was read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) enum Reading {
    /// A perturbation, or control.
    Perturbed(Perturbation),
    /// The cell has no label.
    Unlabelled,
    /// The user asked to leave it out.
    Dropped,
}

/// The labels of a column with their numbers of cells; `None` is a missing value.
pub(in crate::data) type LabelCounts = BTreeMap<Option<String>, usize>;

/// What was found out about a column.
pub(in crate::data) struct Rules<'a> {
    naming: &'a Naming,
    genes: &'a HashSet<&'a str>,
    joins: Option<String>,
    /// Endings that are vectors or guides.
    vectors: BTreeSet<String>,
    /// Doses of each name of tuple-like labels.
    doses: HashMap<String, BTreeSet<String>>,
    /// The label that is taken for control because no other is.
    only_control: Option<String>,
    /// What the user should know.
    pub(in crate::data) notes: Vec<String>,
}

impl<'a> Rules<'a> {
    /// Looks at the labels of `column`. `plus` says that the file itself is known to join with `+` only.
    pub(in crate::data) fn of(
        column: &str,
        labels: &LabelCounts,
        genes: &'a HashSet<&'a str>,
        (naming, plus): (&'a Naming, bool),
    ) -> Self {
        let mut rules = Self {
            naming,
            genes,
            joins: naming.separator.clone().or_else(|| plus.then(|| "+".to_owned())),
            vectors: BTreeSet::new(),
            doses: HashMap::new(),
            only_control: None,
            notes: Vec::new(),
        };
        let spelled: Vec<&str> = labels
            .keys()
            .flatten()
            .map(|label| label.trim())
            .filter(|label| rules.special(Some(label)).is_none() && rules.spelling(label) != Spelling::Unlabelled)
            .collect();
        rules.find_doses(&spelled);
        let plain: Vec<&str> = spelled.into_iter().filter(|label| tuples(label).is_none()).collect();
        rules.find_vectors(&plain);
        if rules.joins.is_none() {
            rules.find_separator(column, &plain);
        }
        rules.say_guides(column, &plain);
        rules.find_control(column, labels);
        rules
    }

    /// Reads one label; `None` is a missing value.
    pub(in crate::data) fn read(&self, label: Option<&str>) -> Result<Reading> {
        if let Some(reading) = self.special(label) {
            return Ok(reading);
        }
        let Some(label) = label.map(str::trim) else { return Ok(Reading::Unlabelled) };
        if self.only_control.as_deref() == Some(label) {
            return Ok(Reading::Perturbed(Perturbation::control()));
        }
        match self.spelling(label) {
            Spelling::Unlabelled => return Ok(Reading::Unlabelled),
            Spelling::Control => return Ok(Reading::Perturbed(Perturbation::control())),
            Spelling::MaybeControl => return Ok(Reading::Perturbed(Perturbation::of([label]))),
            Spelling::Name => {}
        }
        let parts = self.parts(label);
        if parts.iter().any(|part| part.trim().is_empty()) {
            return Err(crate::Error::data(format!(
                "{label:?} is not a perturbation: one of its parts is empty; write A, A+B or control, name what joins genes by \
                 --separator, or leave the label out by --drop-label"
            )));
        }
        dose::check(label, parts.iter().map(|part| part.trim()))?;
        if parts.iter().all(|part| self.spelling(part) == Spelling::Unlabelled) {
            return Ok(Reading::Unlabelled);
        }
        let names = parts.iter().map(|part| part.trim()).filter(|part| match self.spelling(part) {
            Spelling::Control => false,
            // Beside a gene: a guide that was not seen, or one against nothing.
            Spelling::Unlabelled | Spelling::MaybeControl => parts.len() == 1,
            Spelling::Name => !self.naming.names_control(part),
        });
        Ok(Reading::Perturbed(Perturbation::of(names.map(|part| self.name_of(part)).collect::<Vec<_>>())))
    }

    /// Whether some label means control by its spelling or because the user says so.
    pub(in crate::data) fn is_control(&self, label: &Option<String>) -> bool {
        matches!(self.read(label.as_deref()), Ok(Reading::Perturbed(read)) if read.is_control())
    }

    /// Whether a label might mean control, but was not taken for it.
    pub(in crate::data) fn may_be_control(&self, label: &str) -> bool {
        self.only_control.as_deref() != Some(label.trim())
            && self.special(Some(label)).is_none()
            && self.spelling(label) == Spelling::MaybeControl
    }

    /// Whether a label is control only because no other is.
    pub(in crate::data) fn is_taken_for_control(&self, label: Option<&str>) -> bool {
        self.only_control.is_some() && self.only_control.as_deref() == label.map(str::trim)
    }

    /// What the options say of a label.
    fn special(&self, label: Option<&str>) -> Option<Reading> {
        if self.naming.names_control(label.unwrap_or("NaN")) {
            return Some(Reading::Perturbed(Perturbation::control()));
        }
        self.naming.drops(label.unwrap_or("NaN")).then_some(Reading::Dropped)
    }

    fn is_gene(&self, name: &str) -> bool {
        self.genes.contains(name)
    }

    fn spelling(&self, label: &str) -> Spelling {
        spelling(label, |name| self.is_gene(name))
    }

    /// The parts of a label that is neither control nor missing.
    fn parts(&self, label: &str) -> Vec<String> {
        if let Some(tuples) = tuples(label) {
            return tuples.into_iter().map(|tuple| self.with_dose(tuple)).collect();
        }
        // Two positions with the same guide pair: `A_B__A_B`.
        let label = match label.split_once("__") {
            Some((left, right)) if left == right => left,
            _ => label,
        };
        match self.joins.as_deref() {
            Some("+") => cut_at_plus(label),
            Some("_") if self.is_gene(label) => vec![label.to_owned()],
            Some("_") => match self.join_endings(label) {
                parts
                    if self.naming.separator.is_some()
                        || parts.iter().all(|p| p.is_empty() || self.looks_like_a_name(p)) =>
                {
                    parts
                }
                _ => vec![label.to_owned()],
            },
            Some(separator) => label.split(separator).map(str::to_owned).collect(),
            None => vec![label.to_owned()],
        }
    }

    /// Cuts at `_`, but leaves numbers of guides and vectors with the name before them.
    fn join_endings(&self, label: &str) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for piece in join_guides(label) {
            match parts.last_mut() {
                Some(last) if self.vectors.contains(&piece) => {
                    last.push('_');
                    last.push_str(&piece);
                }
                _ => parts.push(piece),
            }
        }
        parts
    }

    /// The perturbed gene of a part: without the strand and place of a guide, and without its number where asked for.
    fn name_of(&self, part: &str) -> String {
        if self.is_gene(part) {
            return part.to_owned();
        }
        if let Some(gene) = before_strand(part) {
            return gene.to_owned();
        }
        if !self.naming.guide_suffix {
            return part.to_owned();
        }
        let without_vector = match part.rsplit_once('_') {
            Some((gene, ending)) if !gene.is_empty() && self.vectors.contains(ending) => gene,
            _ => part,
        };
        let gene = without_guide(without_vector);
        // `KLF1-2` and `sgKLF1` only where KLF1 is a measured gene: `NKX2-1` is a gene, too.
        let numbered = gene.rsplit_once('-').map(|(gene, _)| gene).filter(|gene| self.is_gene(gene));
        let bare = numbered.unwrap_or(gene);
        bare.strip_prefix("sg").filter(|gene| self.is_gene(gene)).unwrap_or(bare).to_owned()
    }

    fn with_dose(&self, (name, dose): (String, String)) -> String {
        let several = self.doses.get(&name).is_some_and(|doses| doses.len() > 1);
        if several && !dose.is_empty() && self.spelling(&name) == Spelling::Name {
            format!("{name} {dose}")
        } else {
            name
        }
    }
}
