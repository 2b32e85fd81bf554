//! `--context`: the columns that cells have contexts by, and the context that predictions are asked for.

use crate::options::say;
use genailab::{
    Error, Result,
    data::{ContextColumns, ContextSize, TrainingCells, context_sizes},
    model::Trained,
};
use std::collections::BTreeMap;

/// With fewer control cells, what is predicted in a context depends much on which cells they are.
const FEW_CONTROLS: usize = 20;
/// Contexts that a message names.
const SHOWN: usize = 5;

/// The context that predictions are asked for.
#[derive(Debug, Clone, Default)]
pub struct AskedContext {
    /// Its name; `None` where the model knows no contexts, or the control cells are of an unnamed one.
    pub name: Option<String>,
    /// Its column and level, of a model with several columns.
    pub levels: Vec<(String, String)>,
}

impl AskedContext {
    /// What the options `given` ask of a model, whose control cells may be of a new context where they are given.
    ///
    /// # Errors
    /// A context that the model knows nothing of; none where it has to be known; a column that is missing, or named twice.
    pub fn of(model: &dyn Trained, given: &[String], may_be_new: bool) -> Result<Self> {
        let (known, columns) = (model.contexts(), model.context_columns());
        let several = columns.are_several();
        match given {
            [] if may_be_new || known.is_empty() => Ok(Self::default()),
            [] if several => Err(Error::config(format!(
                "the model was trained on contexts of {}: name the level of each by {}, or give control cells of another context \
                 (predict --control-cells)",
                columns.names().join(" and "),
                written(&columns)
            ))),
            [] => Err(Error::config(format!(
                "the model was trained on the contexts {}: name one by --context, or give control cells of another \
                 (predict --control-cells)",
                known.join(", ")
            ))),
            [name, ..] if known.is_empty() => Err(Error::config(format!(
                "--context {name}: the model was trained without contexts; leave the option out, or train it with --context"
            ))),
            [name] if known.contains(name) || (may_be_new && !several) => {
                let levels = columns.levels(name).filter(|_| several).unwrap_or_default();
                Ok(Self { name: Some(name.clone()), levels: columns.names().iter().cloned().zip(levels).collect() })
            }
            given if several => Self::of_levels(&columns, &known, given, may_be_new),
            [name] => Err(Error::config(format!(
                "--context {name}: the model was trained on {}; name one of these, or give control cells of another \
                 (predict --control-cells)",
                known.join(", ")
            ))),
            given => Err(Error::config(format!(
                "--context is given {} times, and the contexts of this model are the values of one column; give it once",
                given.len()
            ))),
        }
    }

    fn of_levels(columns: &ContextColumns, known: &[String], given: &[String], may_be_new: bool) -> Result<Self> {
        let mut levels: BTreeMap<&str, &str> = BTreeMap::new();
        for text in given {
            let level_of = |name: &'_ String| text.strip_prefix(name.as_str())?.strip_prefix('=');
            let named = columns.names().iter().filter_map(|name| Some((name.as_str(), level_of(name)?)));
            let Some((name, level)) = named.max_by_key(|(name, _)| name.len()) else {
                return Err(Error::config(format!(
                    "--context {text}: the model was trained on contexts of {}; write {}",
                    columns.names().join(" and "),
                    written(columns)
                )));
            };
            if levels.insert(name, level).is_some() {
                return Err(Error::config(format!("--context names {name} twice; ask for one level at a time")));
            }
        }
        let missing: Vec<&str> =
            columns.names().iter().map(String::as_str).filter(|name| !levels.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(Error::config(format!(
                "--context: the level of {} is missing; write {}",
                missing.join(" and "),
                written(columns)
            )));
        }
        let ordered: Vec<&str> = columns.names().iter().map(|name| levels[name.as_str()]).collect();
        let name = columns.context(&ordered);
        if !may_be_new && !known.contains(&name) {
            return Err(not_trained(columns, known, &ordered));
        }
        let levels = levels.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
        Ok(Self { name: Some(name), levels })
    }
}

/// How the levels of these columns are asked for.
fn written(columns: &ContextColumns) -> String {
    columns.names().iter().map(|name| format!("--context {name}=LEVEL")).collect::<Vec<_>>().join(" ")
}

/// The error for levels without control cells in the training: which of them is unknown, or that they were never together.
fn not_trained(columns: &ContextColumns, known: &[String], levels: &[&str]) -> Error {
    let known: Vec<Vec<String>> = known.iter().filter_map(|name| columns.levels(name)).collect();
    for (place, (column, level)) in columns.names().iter().zip(levels).enumerate() {
        let mut of_column: Vec<&str> = known.iter().map(|levels| levels[place].as_str()).collect();
        of_column.sort_unstable();
        of_column.dedup();
        if !of_column.contains(level) {
            return Error::config(format!(
                "--context {column}={level}: the model was trained on {}; name one of these, or give control cells of another \
                 (predict --control-cells)",
                of_column.join(", ")
            ));
        }
    }
    Error::config(format!(
        "--context: no control cell of {} was trained on, though each of these levels was; give control cells of this context \
         (predict --control-cells)",
        columns.context(levels)
    ))
}

/// Refuses contexts whose perturbed cells have no control cell to be compared with, and says which contexts have few.
pub fn check_controls(cells: &TrainingCells) -> Result<()> {
    let sizes = context_sizes(&cells.conditions, &cells.split.train);
    let perturbed: Vec<(&str, ContextSize)> = sizes.into_iter().filter(|(_, size)| size.perturbed > 0).collect();
    let none: Vec<_> = perturbed.iter().filter(|(_, size)| size.controls == 0).copied().collect();
    if !none.is_empty() {
        return Err(Error::config(format!(
            "--context: {} of {} contexts have no control cell to train on ({}), and an effect is a difference to the control cells \
             of its context: leave a column out, or leave these cells out of the file",
            none.len(),
            perturbed.len(),
            shown(&none, |size| format!("{} perturbed cells", size.perturbed))
        )));
    }
    let few: Vec<_> = perturbed.iter().filter(|(_, size)| size.controls < FEW_CONTROLS).copied().collect();
    if few.is_empty() {
        return Ok(());
    }
    say(format_args!(
        "note: {} of {} contexts have fewer than {FEW_CONTROLS} control cells to train on ({}): predictions there start from these \
         few",
        few.len(),
        perturbed.len(),
        shown(&few, |size| size.controls.to_string())
    ))
}

fn shown(contexts: &[(&str, ContextSize)], number: impl Fn(&ContextSize) -> String) -> String {
    let named = contexts.iter().take(SHOWN).map(|(name, size)| format!("{name}: {}", number(size)));
    let more = if contexts.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", named.collect::<Vec<_>>().join(", "))
}
