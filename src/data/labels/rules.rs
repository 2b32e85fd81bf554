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

use super::spelling::{Spelling, spelling};
use crate::{
    Result,
    data::{
        Naming, Perturbation,
        perturbation::{cut_at_plus, join_guides, without_guide},
    },
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

    fn find_doses(&mut self, labels: &[&str]) {
        for (name, dose) in labels.iter().filter_map(|label| tuples(label)).flatten() {
            self.doses.entry(name).or_default().insert(dose);
        }
    }

    fn with_dose(&self, (name, dose): (String, String)) -> String {
        let several = self.doses.get(&name).is_some_and(|doses| doses.len() > 1);
        if several && !dose.is_empty() && self.spelling(&name) == Spelling::Name {
            format!("{name} {dose}")
        } else {
            name
        }
    }

    /// Endings after `_` that follow several names and never stand alone or in front.
    fn find_vectors(&mut self, labels: &[&str]) {
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

    fn find_separator(&mut self, column: &str, labels: &[&str]) {
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
    fn looks_like_a_name(&self, part: &str) -> bool {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
        self.is_gene(part)
            || part.starts_with(|c: char| c.is_alphabetic()) && part.chars().all(inside)
            || self.spelling(part) != Spelling::Name
    }

    /// Says which endings are taken for guides or vectors.
    fn say_guides(&mut self, column: &str, labels: &[&str]) {
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
    fn find_control(&mut self, column: &str, labels: &LabelCounts) {
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
            self.notes.push(format!("read as control in `{column}`: {}", super::few(&control)));
        }
    }
}

/// Whether nobody would doubt that a label means control.
fn is_plainly_control(label: &str) -> bool {
    let plain = label.to_lowercase().replace(['-', '_', ' '], "");
    ["control", "ctrl", "ctrl+ctrl", "nontargeting", "nontarget", "nt", "ntc"].contains(&plain.as_str())
}

fn joined(separator: &str, column: &str, example: &str) -> String {
    format!("`{separator}` was read as joining two genes in `{column}`, as in {:?}", short(example))
}

/// A label for a message; chains of guides can fill pages.
fn short(label: &str) -> String {
    const MOST: usize = 60;
    if label.chars().count() <= MOST { label.to_owned() } else { label.chars().take(MOST).chain(['…']).collect() }
}

/// `TP53`, `HLA-A`, `C9orf72` is none: capitals and digits.
fn is_symbol(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
}

/// `pDS258`, `pBA571`: a plasmid.
fn looks_like_a_vector(ending: &str) -> bool {
    let Some(rest) = ending.strip_prefix('p') else { return false };
    let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    letters >= 2 && rest.len() > letters + 1 && rest.bytes().skip(letters).all(|b| b.is_ascii_digit())
}

/// The gene of a guide whose name holds the strand: `TP53_+_7590687.23-P1P2`, `TP53_-_7590701.23-P1P2`.
fn before_strand(name: &str) -> Option<&str> {
    ["_+_", "_-_"]
        .iter()
        .find_map(|strand| name.split_once(strand))
        .map(|(gene, _)| gene)
        .filter(|gene| !gene.is_empty())
}

/// Name and dose of each entry of a label such as `[('TP53', 1.0, 'uM')]`; `None` for other labels.
fn tuples(label: &str) -> Option<Vec<(String, String)>> {
    let inner = label.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(label.trim());
    if !inner.trim_start().starts_with("('") && !inner.trim_start().starts_with("(\"") {
        return None;
    }
    let mut found = Vec::new();
    for tuple in inner.split_inclusive(')') {
        let Some((_, tuple)) = tuple.split_once('(') else { continue };
        let quote = tuple.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (name, rest) = tuple[1..].split_once(quote)?;
        let words = rest.trim_end_matches(')').split(',').map(|word| word.trim().trim_matches(['\'', '"']));
        found.push((name.to_owned(), words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")));
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[&str], genes: &[&str], naming: &Naming) -> Vec<String> {
        let counts: LabelCounts = labels.iter().map(|label| (Some((*label).to_owned()), 1)).collect();
        let genes: HashSet<&str> = genes.iter().copied().collect();
        let rules = Rules::of("gene", &counts, &genes, (naming, false));
        let text = |label: &&str| match rules.read(Some(label)).expect("a label") {
            Reading::Perturbed(read) => read.to_string(),
            other => format!("{other:?}"),
        };
        labels.iter().map(text).collect()
    }

    #[test]
    fn a_column_says_what_joins_its_genes() {
        let (usual, guides) = (Naming::default(), Naming { guide_suffix: true, ..Naming::default() });
        assert_eq!(read(&["NT", "A", "B", "A || B"], &[], &usual), ["control", "A", "B", "A+B"]);
        assert_eq!(read(&["NT", "A_1", "B_2", "A_1|B_2"], &[], &guides), ["control", "A", "B", "A+B"]);
        assert_eq!(read(&["NT", "A_1", "B_2", "A_1|B_2"], &[], &usual), ["control", "A_1", "B_2", "A_1+B_2"]);
        assert_eq!(read(&["DMSO", "N,N-amine", "drug"], &[], &usual), ["control", "N,N-amine", "drug"]);
        assert_eq!(read(&["NT", "A", "B", "A,B"], &[], &usual), ["control", "A", "B", "A+B"]);
        assert_eq!(read(&["NT", "A_B", "A;NT"], &["A", "B"], &usual), ["control", "A_B", "A"]);
        assert_eq!(read(&["NT", "chr1.5_top_two_chr2.6_top_two"], &[], &usual)[1], "chr1.5_top_two_chr2.6_top_two");
        assert_eq!(
            read(&["NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", "A_B__A_B", "A"], &[], &usual),
            ["control", "A+B", "A"]
        );
    }

    #[test]
    fn vectors_strands_and_doses_are_no_genes() {
        let (usual, guides) = (Naming::default(), Naming { guide_suffix: true, ..Naming::default() });
        let vectors = ["control", "A_pDS258", "A_pBA571", "B_pDS258", "B_pBA571"];
        assert_eq!(read(&vectors, &[], &usual), vectors);
        assert_eq!(read(&vectors, &[], &guides), ["control", "A", "A", "B", "B"]);
        let strands =
            ["non-targeting_1", "TP53_+_7590687.23-P1P2", "TP53_-_7.23-P1", "A_+_1.2-P1|B_-_3.4-P2", "B_+_5.5-P1"];
        assert_eq!(read(&strands, &[], &usual), ["control", "TP53", "TP53", "A+B", "B"]);
        let doses = ["[('DMSO_TF', 0.0, 'uM')]", "[('X', 1.0, 'uM')]", "[('X', 5.0, 'uM')]", "[('Y', 5.0, 'uM')]"];
        assert_eq!(read(&doses, &[], &usual), ["control", "X 1.0 uM", "X 5.0 uM", "Y"]);
        assert_eq!(read(&["DMSO", "(+)-JQ1", "drug"], &[], &usual), ["control", "(+)-JQ1", "drug"]);
    }

    #[test]
    fn options_come_first() {
        let naming = Naming {
            control_names: vec!["".into(), "sgX*".into()],
            drop_labels: vec!["bad".into()],
            ..Naming::default()
        };
        assert_eq!(read(&["", "sgX_1", "bad", "A"], &[], &naming), ["control", "control", "Dropped", "A"]);
        assert_eq!(read(&["WT", "A", "B"], &[], &Naming::default()), ["control", "A", "B"]);
        assert_eq!(read(&["NT", "WT", "A"], &[], &Naming::default()), ["control", "WT", "A"]);
    }
}
