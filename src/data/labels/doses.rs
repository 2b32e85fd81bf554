//! A column of doses joined onto the labels: `Vorinostat` at 10 becomes `Vorinostat@10`.

use super::{Labels, few};
use crate::{
    Error, Result,
    data::{Perturbation, Table},
};
use std::collections::BTreeSet;

/// Columns that may hold doses, in lower case: said where they are found, used only where asked for.
const COLUMNS: [&str; 6] = ["dose", "dose_value", "dose_val", "dosage", "concentration", "drugconc"];

impl Labels {
    /// Joins the doses of `column` onto the labels, or, without one, says which column may hold doses.
    ///
    /// # Errors
    /// No such column; a perturbed row whose dose is missing, no number or negative; two units; labels that have doses already.
    pub(super) fn with_doses(mut self, column: Option<&str>, obs: &Table) -> Result<Self> {
        let Some(name) = column else {
            let note = self.unused_doses(obs);
            self.notes.extend(note.clone());
            self.read_as.notes.extend(note);
            return Ok(self);
        };
        let column = obs.column(name).ok_or_else(|| {
            Error::config(format!(
                "there is no column `{name}` of doses in obs (--dose-column); the columns of obs are {}",
                super::listed(&obs.column_names().iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            ))
        })?;
        if let Some(dosed) = self.labels.iter().flatten().find(|label| label.has_dose()) {
            return Err(Error::config(format!(
                "--dose-column {name}: the labels have doses already ({dosed}); leave the option out"
            )));
        }
        let (texts, mut units, mut at_zero) = (column.to_text(), BTreeSet::new(), 0);
        for (row, label) in self.labels.iter_mut().enumerate() {
            let Some(perturbation) = label.as_mut().filter(|label| !label.is_control()) else { continue };
            let wrong = |what: &str| {
                Error::data(format!(
                    "column `{name}`: the dose of row {:?} ({perturbation}) is {what}; a perturbed row needs a number of 0 \
                     (control) or more, with or without a unit; leave rows out by --drop-label",
                    obs.names[row]
                ))
            };
            let text = texts[row].as_deref().map(str::trim).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| wrong("missing"))?;
            let (dose, unit) = number_and_unit(text).ok_or_else(|| wrong(&format!("{text:?}")))?;
            if !dose.is_finite() || dose < 0.0 {
                return Err(wrong(text));
            }
            at_zero += usize::from(dose == 0.0);
            units.insert(unit.to_owned());
            *perturbation = if dose == 0.0 { Perturbation::control() } else { perturbation.at_dose(dose) };
        }
        if units.len() > 1 {
            let units: Vec<String> = units.into_iter().map(|unit| format!("{unit:?}")).collect();
            return Err(Error::data(format!(
                "column `{name}` holds doses in several units ({}); put them into one",
                few(&units)
            )));
        }
        let unit = units.first().filter(|unit| !unit.is_empty()).map(|unit| format!(" in {unit}")).unwrap_or_default();
        let mut note = format!("the doses of `{name}`{unit} were joined onto the names: {}", self.examples());
        if at_zero > 0 {
            note.push_str(&format!("; {at_zero} labelled rows of dose 0 are control"));
        }
        self.notes.push(note.clone());
        self.read_as.notes.push(note);
        Ok(self)
    }

    /// The first names with their doses, for a message.
    fn examples(&self) -> String {
        let names: BTreeSet<&Perturbation> = self.labels.iter().flatten().filter(|label| !label.is_control()).collect();
        few(&names.into_iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// Says that a column may hold doses, where one does and the labels have none.
    fn unused_doses(&self, obs: &Table) -> Option<String> {
        if self.labels.iter().flatten().any(Perturbation::has_dose) {
            return None;
        }
        let (name, column) = obs.columns.iter().find(|(name, _)| COLUMNS.contains(&name.to_lowercase().as_str()))?;
        let doses: BTreeSet<String> = column
            .to_text()
            .into_iter()
            .flatten()
            .filter(|text| number_and_unit(text.trim()).is_some_and(|(dose, _)| dose.is_finite() && dose > 0.0))
            .collect();
        (doses.len() > 1).then(|| {
            format!(
                "`{name}` may hold doses ({}) and was not used: --dose-column {name} makes each dose of a perturbation a \
                 condition of its own (`drug@dose`)",
                few(&doses.into_iter().collect::<Vec<_>>())
            )
        })
    }
}

/// `10 uM` as 10 and `uM`.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    // From the longest beginning that is a number, so that `1e3` is one, and `10 eV` is 10.
    let ends = text.char_indices().map(|(at, character)| at + character.len_utf8()).rev();
    for end in ends {
        if let Ok(number) = text[..end].trim_end().parse::<f64>() {
            return Some((number, text[end..].trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::number_and_unit;

    #[test]
    fn units_are_told_from_numbers() {
        assert_eq!(number_and_unit("10 uM"), Some((10.0, "uM")));
        assert_eq!(number_and_unit("1e3nM"), Some((1000.0, "nM")));
        assert_eq!(number_and_unit("0.5"), Some((0.5, "")));
        assert_eq!(number_and_unit("low"), None);
    }
}
