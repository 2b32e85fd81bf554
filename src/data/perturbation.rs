//! A perturbation is a set of genes: `A+B` is `B+A`, and control is the empty set.

use super::{
    dose,
    labels::{Spelling, spelling},
};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A set of perturbed genes, sorted; empty for control.
///
/// It is parsed from text by the default [`Naming`], and serialised as `A+B` or `control`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Perturbation(Vec<String>);

impl Perturbation {
    /// The unperturbed cell.
    pub fn control() -> Self {
        Self::default()
    }

    /// The set of these genes; order and repetition do not matter. A name may have a dose, `A@0.5`: see [`dose`].
    pub fn of<S: Into<String>>(genes: impl IntoIterator<Item = S>) -> Self {
        let mut genes: Vec<String> = genes.into_iter().map(Into::into).filter_map(dose::canonical).collect();
        genes.sort();
        genes.dedup();
        Self(genes)
    }

    /// The perturbed genes, sorted.
    pub fn genes(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing is perturbed.
    pub fn is_control(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_control() { f.write_str("control") } else { f.write_str(&self.0.join("+")) }
    }
}

impl FromStr for Perturbation {
    type Err = Error;

    /// Reads what a user typed, by the default [`Naming`].
    fn from_str(label: &str) -> Result<Self> {
        Naming::default().parse(label, |_| false)
    }
}

impl Serialize for Perturbation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Perturbation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What was written is known to be normalised: only `+` joins, and nothing but `control` is control.
        match String::deserialize(deserializer)?.as_str() {
            "control" => Ok(Self::control()),
            text => match cut_at_plus(text) {
                parts if parts.iter().any(String::is_empty) => {
                    Err(serde::de::Error::custom(format!("{text:?} is not a perturbation")))
                }
                parts => Ok(Self::of(parts)),
            },
        }
    }
}

/// How labels are read as perturbations: what a user may set, and the rule for a single label without a column around it.
///
/// Files spell perturbations in many ways. A label that a user types is read so (the labels of a file are read by more than
/// this, because a column says what joins its genes):
///
/// 1. A control spelling (`control`, `ctrl`, `non-targeting`, `NT`, `DMSO`, …, in any case) is control.
/// 2. A label with `+` is a set of genes: `A+B`, GEARS' `A+ctrl` and `ctrl+A` (control parts say nothing and go).
/// 3. Otherwise `_` joins two genes, as scPerturb writes doubles (`A_B`), but not where
///    - the label as a whole is a known name (`Y_RNA`);
///    - the part after it is a guide's number (`1`, `g1`, `sg2`): `EGR1_2` is the second guide against EGR1 and stays
///      one name, or becomes `EGR1` with [`Naming::guide_suffix`]. `A_1_B_2` is the double of `A_1` and `B_2`.
///
/// `-` never joins: it is part of many gene names (`HLA-A`, `NKX2-1`). `A@10` is A at dose 10: see [`dose`].
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// What joins the genes of a double: `+`, `_`, `|`, …; `None`: found out.
    pub separator: Option<String>,
    /// Whether the guide at the end of a name goes: `EGR1_2` becomes `EGR1`.
    pub guide_suffix: bool,
    /// Further names of control, compared without regard to case. `NAME*` means all that begin with NAME, the empty text an
    /// empty label, `NaN` a missing one.
    pub control_names: Vec<String>,
    /// Labels whose cells are left out, written as those of `control_names`.
    pub drop_labels: Vec<String>,
}

impl Naming {
    /// Reads one label. `is_gene` says whether a name that holds `_` is that of a measured gene.
    ///
    /// # Errors
    /// An empty label, or one with an empty part (`A+`).
    pub fn parse(&self, label: &str, is_gene: impl Fn(&str) -> bool) -> Result<Perturbation> {
        let label = label.trim();
        let is_control = |name: &str| self.names_control(name) || spelling(name, &is_gene) == Spelling::Control;
        if is_control(label) {
            return Ok(Perturbation::control());
        }
        let parts: Vec<String> = match self.separator.as_deref() {
            Some("_") => join_guides(label),
            Some("+") => cut_at_plus(label),
            Some(separator) => label.split(separator).map(str::to_owned).collect(),
            None if is_gene(label) => vec![label.to_owned()],
            None => match cut_at_plus(label) {
                parts if parts.len() > 1 => parts,
                _ => join_guides(label),
            },
        };
        dose::check(label, parts.iter().map(|part| part.trim()))?;
        let mut genes = Vec::with_capacity(parts.len());
        for part in &parts {
            let part = part.trim();
            if part.is_empty() {
                return Err(Error::data(format!(
                    "{label:?} is not a perturbation: one of its parts is empty; write A, A+B or control"
                )));
            }
            if !is_control(part) {
                genes.push(if self.guide_suffix && !is_gene(part) { without_guide(part) } else { part });
            }
        }
        Ok(Perturbation::of(genes))
    }

    /// Whether a label, or one part of it, names control; a guide's number at its end does not matter (`NT_3`).
    pub fn is_control(&self, name: &str) -> bool {
        self.names_control(name) || spelling(name, |_| false) == Spelling::Control
    }

    /// Whether the user calls this label control.
    pub(super) fn names_control(&self, label: &str) -> bool {
        self.control_names.iter().any(|pattern| fits(pattern, label))
    }

    /// Whether the user leaves cells with this label out.
    pub(super) fn drops(&self, label: &str) -> bool {
        self.drop_labels.iter().any(|pattern| fits(pattern, label))
    }
}

/// Whether a label is `NAME`, or begins as `NAME*` says, in any case.
fn fits(pattern: &str, label: &str) -> bool {
    let (pattern, label) = (pattern.trim().to_lowercase(), label.trim().to_lowercase());
    match pattern.strip_suffix('*') {
        Some(start) if !start.is_empty() => label.starts_with(start),
        _ => label == pattern,
    }
}

/// Cuts at every `+` that joins two names; one between `(`, `_` or `:` and `)`, `/`, `_`, `:` or the end is a sign or a strand
/// (`(+)-JQ1`, `(+/-)-verapamil`, `TP53_+_7590687`).
pub(crate) fn cut_at_plus(label: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = label.chars().peekable();
    let mut before = None;
    while let Some(character) = characters.next() {
        let is_sign =
            matches!(before, Some('(' | '_' | ':')) && matches!(characters.peek(), None | Some(')' | '/' | '_' | ':'));
        match parts.last_mut() {
            Some(last) if character != '+' || is_sign => last.push(character),
            _ => parts.push(String::new()),
        }
        before = Some(character);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// Cuts at `_`, but leaves a guide's number with the name before it.
pub(super) fn join_guides(label: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in label.split('_') {
        match parts.last_mut() {
            Some(last) if is_guide_number(piece) => {
                last.push('_');
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts
}

/// `1`, `12`, `g1`, `sg2`, `guide3`.
fn is_guide_number(piece: &str) -> bool {
    let digits = ["guide", "sg", "g", ""].iter().find_map(|prefix| piece.strip_prefix(prefix)).unwrap_or(piece);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The name without a guide's number at its end.
pub(crate) fn without_guide(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((gene, number)) if !gene.is_empty() && is_guide_number(number) => gene,
        _ => name,
    }
}
