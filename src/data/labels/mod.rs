//! What a file says of its rows: which columns to read ([`OpenOptions`], or the file's own hints), and the perturbation
//! of each row.

mod beside;
mod choice;
mod doses;
mod read_as;
mod rules;
mod spelling;

pub use read_as::{ReadAs, ReadLabel};
pub(in crate::data) use spelling::{Spelling, spelling};

use super::{AnnData, Column, Expression, Naming, Perturbation, Table};
use crate::{Error, Result};
use choice::{Chosen, best, counted, named};
use rules::{Reading, Rules};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

/// Labels shown in a message.
const SHOWN: usize = 6;
/// The dictionary in `uns` where files of this library say which column holds what.
pub(super) const UNS: &str = "genailab";

/// What to read from a file, where the rules would choose otherwise.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The column of `obs` that names perturbations; `A,B` is a pair of columns, a gene each. Without it: of `perturbation`,
    /// `condition`, `gene`, `sgRNA` and like names that hold text, the one with control cells and the most targets.
    pub perturbation_column: Option<String>,
    /// The column of `obs` that holds doses, which are joined onto the names: `Vorinostat@10`. Without it no column is.
    pub dose_column: Option<String>,
    /// The layer that holds counts; `X` and `raw/X` may be named, too.
    pub counts_layer: Option<String>,
    /// The column of `obs` that names lanes. Without it: the first of `gem_group`, `lane`, `batch`, `replicate`.
    pub lane_column: Option<String>,
    /// How labels are read as perturbations.
    pub naming: Naming,
    /// Whether counts that a correction made fractions of (SoupX, CellBender) are rounded; otherwise they are refused.
    pub round_counts: bool,
    /// What the values are; found out if not given.
    pub expression: Option<Expression>,
    /// A table (`.csv`, `.tsv`) whose columns the cells get, matched by their names: for formats that hold counts alone.
    pub obs: Option<PathBuf>,
    /// Whether a file that names no perturbation, or no control, is opened all the same, for what needs no label.
    pub labels_optional: bool,
}

impl OpenOptions {
    /// The same for another file than the one that they were given for: a column or a layer that it lacks is found by its usual
    /// names. The notes say so.
    pub(crate) fn for_another(&self, file: &AnnData) -> (Self, Vec<String>) {
        let columns = file.obs_columns();
        let is_column = |name: &str| columns.iter().any(|column| column == name);
        let is_pair =
            |name: &str| name.split_once(',').is_some_and(|(a, b)| is_column(a.trim()) && is_column(b.trim()));
        let is_layer = |name: &str| ["X", "raw/X"].contains(&name) || file.layers().iter().any(|layer| layer == name);
        let mut options = self.clone();
        let mut notes = Vec::new();
        let mut keep = |what: &str, option: &mut Option<String>, is_there: &dyn Fn(&str) -> bool| {
            if let Some(name) = option.take_if(|name| !is_there(name)) {
                notes.push(format!("there is no {what} `{name}`, so it is found by its usual names"));
            }
        };
        keep("column", &mut options.perturbation_column, &|name| is_column(name) || is_pair(name));
        keep("column", &mut options.lane_column, &is_column);
        keep("column", &mut options.dose_column, &is_column);
        keep("layer", &mut options.counts_layer, &is_layer);
        (options, notes)
    }
}

/// The perturbation of each row, and the column it was read from.
pub(crate) struct Labels {
    /// One per row; `None` where the label is missing or left out.
    pub(crate) labels: Vec<Option<Perturbation>>,
    /// The column that was chosen; `None` where the file has none and none is needed.
    pub(crate) column: Option<String>,
    /// What the labels were read as.
    pub(crate) read_as: ReadAs,
    /// What the user should know about the choice.
    pub(crate) notes: Vec<String>,
}

/// Chooses the perturbation column of `obs` and reads its labels.
pub(crate) fn perturbation_labels(file: &AnnData, obs: &Table, genes: &Table, options: &OpenOptions) -> Result<Labels> {
    let own = hint(file, "perturbation_column").filter(|name| obs.column(name).is_some());
    let measured: HashSet<&str> = genes.names.iter().map(String::as_str).collect();
    // Whoever names a column wants it read, even where labels are not needed.
    let may_lack = options.labels_optional && options.perturbation_column.is_none() && options.dose_column.is_none();
    let chosen = match options.perturbation_column.as_ref().or(own.as_ref()) {
        Some(name) => named(name, obs)?,
        None => match best(obs, &measured, &options.naming) {
            Err(_) if may_lack => return Ok(Labels::unlabelled(obs.len())),
            chosen => chosen?,
        },
    };
    let is_own = own.is_some() && own.as_ref() == Some(&chosen.name);
    match Labels::read(chosen, &measured, &options.naming, is_own) {
        Err(_) if may_lack => Ok(Labels::unlabelled(obs.len())),
        read => read?.with_doses(options.dose_column.as_deref(), obs),
    }
}

impl Labels {
    /// All cells as control: what a training without labels needs.
    fn unlabelled(rows: usize) -> Self {
        Self {
            labels: vec![Some(Perturbation::control()); rows],
            column: None,
            read_as: ReadAs { column: "none".to_owned(), labels: Vec::new(), notes: Vec::new() },
            notes: vec!["no column of obs names perturbations, so no label is used".to_owned()],
        }
    }

    fn read(chosen: Chosen, measured: &HashSet<&str>, naming: &Naming, is_own: bool) -> Result<Self> {
        let Chosen { name: column, values, mut notes } = chosen;
        let counts = counted(&values);
        let mut rules = Rules::of(&column, &counts, measured, (naming, is_own));
        let mut parsed: HashMap<Option<&str>, Option<Perturbation>> = HashMap::with_capacity(counts.len());
        let mut labels = Vec::with_capacity(counts.len());
        for (label, &cells) in &counts {
            let reading = rules.read(label.as_deref()).map_err(|e| e.at(format!("column `{column}`")))?;
            labels.push(ReadLabel::new(label.clone(), cells, &reading));
            let perturbation = match reading {
                Reading::Perturbed(perturbation) => Some(perturbation),
                Reading::Unlabelled | Reading::Dropped => None,
            };
            parsed.insert(label.as_deref(), perturbation);
        }
        labels.sort_by(|a, b| b.cells.cmp(&a.cells).then_with(|| a.label.cmp(&b.label)));
        notes.append(&mut rules.notes);
        notes.extend(left_out(&column, &labels));
        let read_as = ReadAs { column: column.clone(), labels, notes: notes.clone() };
        let labels: Vec<Option<Perturbation>> =
            values.iter().map(|label| parsed.get(&label.as_deref()).cloned().flatten()).collect();
        if labels.iter().all(Option::is_none) {
            return Err(Error::data(format!(
                "column `{column}` of obs holds no perturbation names: all labels are missing or left out; name another column \
                 by --perturbation-column"
            )));
        }
        Ok(Self { labels, column: Some(column), read_as, notes })
    }

    /// An error that no row is control.
    pub(super) fn no_control(&self, obs: &Table) -> Error {
        let column = &self.read_as.column;
        let labels = |genes: fn(Option<usize>) -> bool| -> Vec<String> {
            let of = self.read_as.labels.iter().filter(|label| genes(label.genes));
            of.map(|label| format!("{} ({})", label.shown().trim_matches('"'), label.cells)).collect()
        };
        let unlabelled = self.read_as.labels.iter().find(|label| label.genes.is_none());
        let unlabelled = match unlabelled {
            Some(label) => {
                let name = label.label.as_deref().unwrap_or("NaN").trim();
                let cells: usize = self.read_as.labels.iter().filter(|l| l.genes.is_none()).map(|l| l.cells).sum();
                format!(
                    "; {cells} cells have no label ({}; --control '{name}' makes them control)",
                    few(&labels(|genes| genes.is_none()))
                )
            }
            None => String::new(),
        };
        let kind = match obs.column(column) {
            Some(values @ (Column::Boolean(_) | Column::Integer(_))) => {
                format!(" and holds {}, which name no perturbation", choice::kind(values))
            }
            _ => String::new(),
        };
        Error::data(format!(
            "column `{column}` of obs has no control cells (`control`, `ctrl`, `non-targeting`, `NT`, …){kind}: its labels are \
             {}{unlabelled}; say which label is control by --control NAME, or name another column by --perturbation-column",
            few(&labels(|genes| genes.is_some()))
        ))
    }
}

/// What was left out for want of a label, and because the user asked.
fn left_out(column: &str, labels: &[ReadLabel]) -> Vec<String> {
    let of = |name: &str| -> (usize, Vec<String>) {
        let found: Vec<&ReadLabel> =
            labels.iter().filter(|label| label.read_as == name && label.genes.is_none()).collect();
        let shown = found.iter().map(|label| format!("{}: {}", label.shown(), label.cells)).collect();
        (found.iter().map(|label| label.cells).sum(), shown)
    };
    let mut notes = Vec::new();
    let (cells, shown) = of("no label");
    if cells > 0 {
        let first = labels.iter().find(|label| label.genes.is_none() && label.read_as == "no label");
        let name = first.and_then(|label| label.label.as_deref()).unwrap_or("NaN").trim();
        notes.push(format!(
            "{cells} cells without a label in `{column}` were left out ({}); --control '{name}' makes them control",
            few(&shown)
        ));
    }
    let (cells, shown) = of("left out");
    if cells > 0 {
        notes.push(format!("{cells} cells of `{column}` were left out as asked for ({})", few(&shown)));
    }
    notes
}

/// The first of some names, and how many there are.
pub(in crate::data) fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}

/// What a file that this library wrote says about itself.
pub(super) fn hint(file: &AnnData, key: &str) -> Option<String> {
    file.uns(&format!("{UNS}/{key}")).ok().flatten()?.as_text().map(str::to_owned)
}

/// Names for a message.
pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}
