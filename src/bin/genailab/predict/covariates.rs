//! `--at COLUMN=VALUE`: covariates that all cells are given.

use crate::options::say;
use genailab::{Error, Result, data::MetadataKind, model::Trained};

/// The model for cells of the values that `--at` names.
pub fn at(mut model: Box<dyn Trained>, asked: &[String]) -> Result<Box<dyn Trained>> {
    for text in asked {
        let Some((column, value)) = text.split_once('=') else {
            return Err(Error::config(format!("--at {text}: write it as COLUMN=VALUE")));
        };
        if asked.iter().filter(|other| other.split_once('=').is_some_and(|(name, _)| name == column)).count() > 1 {
            return Err(Error::config(format!("--at names {column} twice; ask for one value at a time")));
        }
        model = model.with_covariate(column, value).map_err(|e| e.at(format_args!("--at {text}")))?;
        note_extrapolated(model.as_ref(), column, value)?;
    }
    Ok(model)
}

/// Says that too few of the model's control cells have the values that `--at` names.
pub fn note_few_control_cells(model: &dyn Trained, asked: &[String]) -> Result<()> {
    let Some(few) = model.few_control_cells()? else { return Ok(()) };
    say(format_args!(
        "note: {few} of the control cells that the model keeps have {}, too few to start from; predictions start from all of them, \
         given these values",
        asked.join(" and ")
    ))
}

/// The columns and values that `--at` names.
pub fn columns(asked: &[String]) -> impl Iterator<Item = (&str, &str)> {
    asked.iter().filter_map(|text| text.split_once('='))
}

/// Says that a number lies outside those that the model was trained on.
fn note_extrapolated(model: &dyn Trained, column: &str, value: &str) -> Result<()> {
    let known = model.covariates().into_iter().find(|known| known.name == column);
    match (known.map(|known| &known.kind), value.trim().parse::<f64>()) {
        (Some(MetadataKind::Continuous { range: [low, high], .. }), Ok(number))
            if !(*low..=*high).contains(&number) =>
        {
            say(format_args!("note: {column} = {value} is extrapolated; it was {low} to {high} in training"))
        }
        _ => Ok(()),
    }
}
