//! What is known of each judged condition beside its scores.

use super::BenchmarkData;
use crate::data::Column;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The column that tells the class of a genetic interaction, as in the published effects of Norman 2019.
const CLASS: &str = "gi_class";

/// A judged condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionFacts {
    /// As in the rows.
    pub name: String,
    /// Number of cells with it; `null` where the data does not say.
    pub cells: Option<usize>,
    /// Class of its genetic interaction; `null` where the data does not say.
    pub class: Option<String>,
}

impl BenchmarkData {
    /// The facts of every condition but control, by name.
    pub(super) fn condition_facts(&self) -> BTreeMap<String, ConditionFacts> {
        let rows = self.rows();
        let (table, cells) = match self {
            Self::Effects(data) => (&data.table, Some(data.n_cells())),
            Self::Cells(cells) => (&cells.data.cells, None),
        };
        let classes = table.column(CLASS).map(Column::to_text);
        let mut known: BTreeMap<String, ConditionFacts> = BTreeMap::new();
        for (row, &index) in rows.of_cell.iter().enumerate() {
            let condition = &rows.conditions[index as usize];
            if condition.perturbation.is_control() {
                continue;
            }
            let name = condition.to_string();
            let facts = known.entry(name.clone()).or_insert(ConditionFacts { name, cells: None, class: None });
            let n = cells.as_ref().map_or(1, |cells| cells[row]);
            facts.cells = (n > 0).then(|| facts.cells.unwrap_or(0) + n).or(facts.cells);
            let class = classes.as_ref().and_then(|classes| classes[row].clone());
            facts.class = facts.class.take().or(class.filter(|class| !class.is_empty()));
        }
        known
    }
}
