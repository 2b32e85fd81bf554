//! Doses in the names of perturbations: `Vorinostat@10`, `A@0.5+B@2`. This file alone reads and writes them.
//!
//! A name without a dose has dose 1, so `A@1` is `A`; a dose of 0 is control. A dose is a number without a unit: all doses of a
//! dataset are in one unit, which is told apart from the names. What follows the last `@` is a dose only if it is a number, so
//! that other names may hold an `@`.

use super::Perturbation;
use crate::{Error, Result};

/// What stands between a name and its dose.
const MARK: char = '@';
/// The dose of a name that has none.
const UNIT_DOSE: f64 = 1.0;

/// A perturbed name without its dose, and the dose; 1 for a plain name.
pub fn name_and_dose(name: &str) -> (&str, f64) {
    match written(name) {
        Some((base, dose)) if dose.is_finite() && dose >= 0.0 => (base, dose),
        _ => (name, UNIT_DOSE),
    }
}

/// The name of a perturbation at a dose: `A@0.5`; `A` for dose 1.
pub fn with_dose(name: &str, dose: f64) -> String {
    if dose == UNIT_DOSE { name.to_owned() } else { format!("{name}{MARK}{dose}") }
}

impl Perturbation {
    /// Whether a name of it has a dose other than 1.
    pub fn has_dose(&self) -> bool {
        self.genes().iter().any(|gene| name_and_dose(gene).1 != UNIT_DOSE)
    }

    /// The same names without their doses.
    pub fn without_doses(&self) -> Self {
        Self::of(self.genes().iter().map(|gene| name_and_dose(gene).0))
    }

    /// All its names at this dose.
    pub fn at_dose(&self, dose: f64) -> Self {
        Self::of(self.genes().iter().map(|gene| with_dose(name_and_dose(gene).0, dose)))
    }
}

/// A name as it is kept: with its dose in one spelling. `None` at dose 0, which is control.
pub(super) fn canonical(name: String) -> Option<String> {
    match written(&name) {
        Some((_, 0.0)) => None,
        Some((base, dose)) if dose.is_finite() && dose > 0.0 => Some(with_dose(base, dose)),
        _ => Some(name),
    }
}

/// Refuses a name whose dose is no dose, and one name at two doses in a set.
///
/// # Errors
/// A dose that is negative or not finite; `A@1+A@2`.
pub(super) fn check<'a>(label: &str, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen: Vec<(&str, f64)> = Vec::new();
    for (base, dose) in names.into_iter().filter_map(written) {
        if !dose.is_finite() || dose < 0.0 {
            return Err(Error::data(format!(
                "{label:?}: the dose of {base} is {dose}; a dose is a number of 0 (control) or more"
            )));
        }
        if seen.iter().any(|(other, its)| *other == base && *its != dose) {
            return Err(Error::data(format!("{label:?} gives {base} at two doses; write one, their sum")));
        }
        seen.push((base, dose));
    }
    Ok(())
}

/// The two sides of the last `@`, where the right one is a number.
fn written(name: &str) -> Option<(&str, f64)> {
    let (base, dose) = name.rsplit_once(MARK)?;
    let (base, dose) = (base.trim_end(), dose.trim());
    let is_number =
        dose.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) || dose.eq_ignore_ascii_case("nan");
    if base.is_empty() || !is_number {
        return None;
    }
    dose.parse().ok().map(|dose| (base, dose))
}

#[cfg(test)]
mod tests {
    use crate::data::{Perturbation, dose::name_and_dose};

    #[test]
    fn one_spelling_of_a_dose() {
        let read = |text: &str| text.parse::<Perturbation>().map(|read| read.to_string());
        for (typed, kept) in [
            ("A@10", "A@10"),
            ("A@1.0", "A"),
            ("A@1e-2", "A@0.01"),
            ("B@2+A@0.50", "A@0.5+B@2"),
            ("A@0", "control"),
            ("A@0+B", "B"),
            ("a@b", "a@b"),
            ("control@3", "control"),
        ] {
            assert_eq!(read(typed).unwrap(), kept, "{typed}");
        }
        assert_eq!(name_and_dose("x@y@2.5"), ("x@y", 2.5));
        for (wrong, why) in [("A@-1", "-1"), ("A@nan", "NaN"), ("A@1+A@2", "two doses")] {
            assert!(read(wrong).unwrap_err().to_string().contains(why), "{wrong}");
        }
    }
}
