//! A perturbation is a set of genes: `A+B` is `B+A`, and control is the empty set.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// How control cells are called, in lower case and without `-`, `_`, `.` and spaces. Sources: scPerturb (`control`), GEARS
/// (`ctrl`), Replogle 2022 (`non-targeting`), Papalexi 2021 (`NT`), Norman 2019 (`NegCtrl`), Adamson 2016 and others.
const CONTROL_NAMES: [&str; 12] = [
    "control",
    "ctrl",
    "nontargeting",
    "nontarget",
    "nontargetingcontrol",
    "nt",
    "ntc",
    "negctrl",
    "negcontrol",
    "negativecontrol",
    "unperturbed",
    "untreated",
];
/// Spellings of a missing label.
const MISSING_NAMES: [&str; 6] = ["", "nan", "na", "none", "<na>", "null"];

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

    /// The set of these genes; order and repetition do not matter.
    pub fn of<S: Into<String>>(genes: impl IntoIterator<Item = S>) -> Self {
        let mut genes: Vec<String> = genes.into_iter().map(Into::into).collect();
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
        // What was written is known to be normalised, so only `+` joins: names may hold `_`.
        let naming = Naming { separator: Some('+'), ..Naming::default() };
        naming.parse(&String::deserialize(deserializer)?, |_| false).map_err(serde::de::Error::custom)
    }
}

/// How labels are read as perturbations.
///
/// Files spell perturbations in many ways; this is the rule that makes a [`Perturbation`] of a label:
///
/// 1. A control spelling (`control`, `ctrl`, `non-targeting`, `NT`, …, in any case) is control.
/// 2. A label with `+` is a set of genes: `A+B`, GEARS' `A+ctrl` and `ctrl+A` (control parts say nothing and go).
/// 3. Otherwise `_` joins two genes, as scPerturb writes doubles (`A_B`), but not where
///    - a label of the same column has a `+`: the file joins with `+`, so `_` belongs to names;
///    - the label as a whole is the name of a measured gene (`Y_RNA`);
///    - the part after it is a guide's number (`1`, `g1`, `sg2`): `EGR1_2` is the second guide against EGR1 and stays
///      one name, or becomes `EGR1` with [`Naming::guide_suffix`]. `A_1_B_2` is the double of `A_1` and `B_2`.
///
/// `-` never joins: it is part of many gene names (`HLA-A`, `NKX2-1`).
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// What joins the genes of a double: `+` or `_`; `None` for both, by the rule.
    pub separator: Option<char>,
    /// Whether a guide's number at the end of a name goes: `EGR1_2` becomes `EGR1`.
    pub guide_suffix: bool,
    /// Further names of control, compared without regard to case.
    pub control_names: Vec<String>,
}

impl Naming {
    /// Reads one label. `is_gene` says whether a name that holds `_` is that of a measured gene.
    ///
    /// # Errors
    /// An empty label, or one with an empty part (`A+`).
    pub fn parse(&self, label: &str, is_gene: impl Fn(&str) -> bool) -> Result<Perturbation> {
        let label = label.trim();
        if self.is_control(label) {
            return Ok(Perturbation::control());
        }
        let parts: Vec<String> = match self.separator {
            Some('_') => join_guides(label),
            Some(separator) => label.split(separator).map(str::to_owned).collect(),
            None if label.contains('+') => label.split('+').map(str::to_owned).collect(),
            None if is_gene(label) => vec![label.to_owned()],
            None => join_guides(label),
        };
        let mut genes = Vec::with_capacity(parts.len());
        for part in &parts {
            let part = part.trim();
            if part.is_empty() {
                return Err(Error::data(format!(
                    "{label:?} is not a perturbation: one of its parts is empty; write A, A+B or control"
                )));
            }
            if !self.is_control(part) {
                genes.push(if self.guide_suffix && !is_gene(part) { without_guide(part) } else { part });
            }
        }
        Ok(Perturbation::of(genes))
    }

    /// Whether a label, or one part of it, names control; a guide's number at its end does not matter (`NT_3`).
    pub fn is_control(&self, name: &str) -> bool {
        let plain = |name: &str| name.to_lowercase().replace(['-', '_', '.', ' '], "");
        let known = |name: &str| CONTROL_NAMES.contains(&name);
        let name = name.trim();
        let whole = plain(name);
        // Numbers without a `_` are taken off the long names only (`NegCtrl0`): `NT5` could be a gene.
        known(&whole)
            || known(&plain(without_guide(name)))
            || (whole.len() > 4 && known(whole.trim_end_matches(|c: char| c.is_ascii_digit())))
            || self.control_names.iter().any(|control| control.trim().eq_ignore_ascii_case(name))
    }
}

/// Whether a label stands for a missing value (`nan`, `None`, empty, …).
pub(super) fn is_missing(label: &str) -> bool {
    MISSING_NAMES.contains(&label.trim().to_lowercase().as_str())
}

/// Cuts at `_`, but leaves a guide's number with the name before it.
fn join_guides(label: &str) -> Vec<String> {
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
pub(super) fn without_guide(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((gene, number)) if !gene.is_empty() && is_guide_number(number) => gene,
        _ => name,
    }
}
