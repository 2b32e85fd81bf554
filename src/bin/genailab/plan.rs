//! `genailab plan`: which perturbation leads from control to a target state?

use crate::{
    options::{DataArgs, say, with_genes},
    output::check_output_file,
    provenance,
    sources::DataFiles,
    train::write_json,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{Dataset, NORMALISED_TOTAL, Opened, Perturbation, TargetSum, mean_expression, normalize::log_normalize},
    device::Device,
    model::{
        Model, Trained,
        world::{Plan, PlanConfig, WorldModel},
    },
    ndarray::{ArrayView1, Axis},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf};

/// Find the perturbation that leads from control to a target state, by a trained world-model
///
/// The target is the mean profile of the cells of --data, or of those that --where chooses. The model imagines what the
/// perturbations of its training data, alone and together, lead to at its last time, and searches by the cross-entropy method.
///
/// --out FILE.json holds the perturbation, its dose in each interval, the distance to the target that is left, that of doing nothing,
/// and the next best perturbations.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the world-model that `genailab train --model world-model` wrote
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataFiles,
    /// Only the cells with this value in a column of obs; given several times, all must hold
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// Most genes that a plan perturbs together
    #[arg(long, value_name = "N", default_value_t = 2)]
    max_genes: usize,
    /// Let each interval have its own dose, between 0 and 1
    #[arg(long)]
    vary_dose: bool,
    /// Plans drawn in each iteration
    #[arg(long, value_name = "N", default_value_t = 256)]
    population: usize,
    /// Iterations of the search
    #[arg(long, value_name = "N", default_value_t = 10)]
    iterations: usize,
    /// Seed of the search
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The JSON file to write
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    #[command(flatten)]
    columns: DataArgs,
}

/// One plan in so many is kept as elite; the next are drawn near the elites.
const ELITES: usize = 10;
/// Values of a column that a message names.
const SHOWN: usize = 8;

fn condition(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("give a column and a value: COLUMN=VALUE".to_owned()),
    }
}

pub fn run(args: &Args) -> Result<()> {
    if args.max_genes == 0 || args.iterations == 0 || args.population < ELITES {
        return Err(Error::config(format!(
            "--max-genes and --iterations must be at least 1, and --population at least {ELITES}"
        )));
    }
    if let Some(out) = &args.out {
        check_output_file(out)?;
    }
    provenance::reads(&args.model)?;
    let model = WorldModel::load(&args.model, Device::Cpu)?;
    let located = |e: Error| match e.kind() {
        ErrorKind::Data | ErrorKind::Inapplicable => e.at(args.data.display()),
        _ => e,
    };
    let data = match args.columns.open_unlabelled(&args.data)? {
        Opened::Cells(data) => with_genes(&data, model.genes()).map_err(located)?,
        Opened::Effects(_) => {
            return Err(Error::config("--data is an effects dataset; give cells, or profiles of samples"));
        }
    };
    let cells = chosen(&data, "--where", &args.conditions)?;
    let expression = log_normalize(&data, TargetSum::Fixed(NORMALISED_TOTAL)).map_err(located)?;
    let target = mean_expression(&expression, &cells);
    let config = PlanConfig {
        genes: args.max_genes,
        population: args.population,
        elites: args.population / ELITES,
        iterations: args.iterations,
        vary_dose: args.vary_dose,
    };
    let plan = model.plan(&target, &config, args.seed)?;
    let state = |profile: ArrayView1<'_, f32>| model.space().states(profile.insert_axis(Axis(0)));
    let moved = state(target.view()) - state(model.start(None).view());
    let nothing = moved.mapv(|e| f64::from(e).powi(2)).sum().sqrt();
    if let Some(out) = &args.out {
        write_json(out, &to_json(args, &plan, (model.times(), nothing, cells.len())))?;
    }
    tell(&plan, (model.times(), nothing, cells.len()))
}

/// The rows that the conditions of `option` choose.
pub fn chosen(data: &Dataset, option: &str, conditions: &[(String, String)]) -> Result<Vec<usize>> {
    let mut cells: Vec<usize> = (0..data.n_cells()).collect();
    for (column, value) in conditions {
        let values = data.cells.column(column).ok_or_else(|| {
            let names: Vec<&str> = data.cells.columns.iter().map(|(name, _)| name.as_str()).collect();
            Error::config(format!("{option} {column}={value}: there is no column {column}, only {}", names.join(", ")))
        })?;
        let values = values.to_text();
        let before = std::mem::take(&mut cells);
        cells = before
            .iter()
            .copied()
            .filter(|&cell| values[cell].as_deref().is_some_and(|it| is_same(it, value)))
            .collect();
        if cells.is_empty() {
            let known: BTreeSet<&str> = before.iter().filter_map(|&cell| values[cell].as_deref()).collect();
            let more = if known.len() > SHOWN { ", ..." } else { "" };
            return Err(Error::config(format!(
                "{option} {column}={value}: no cell is left; {column} is {}{more} there",
                known.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    Ok(cells)
}

/// Whether two texts name the same: as texts, as numbers (`3` and `3.0`) or as sets of genes (`A+B` and `B+A`).
fn is_same(a: &str, b: &str) -> bool {
    let numbers = a.parse::<f64>().ok().zip(b.parse::<f64>().ok());
    let sets = || a.parse::<Perturbation>().ok().zip(b.parse::<Perturbation>().ok());
    a == b || numbers.is_some_and(|(a, b)| a == b) || sets().is_some_and(|(a, b)| a.genes().len() > 1 && a == b)
}

fn to_json(args: &Args, plan: &Plan, (times, nothing, cells): (&[f64], f64, usize)) -> Value {
    let others = plan
        .others
        .iter()
        .map(|(perturbation, distance)| json!({ "perturbation": perturbation, "distance": distance }));
    json!({
        "model": args.model, "data": args.data.display(), "cells": cells, "seed": args.seed,
        "perturbation": plan.perturbation, "times": times, "doses": plan.doses, "distance": plan.distance,
        "distance_of_control": nothing, "best_by_iteration": plan.best, "others": others.collect::<Vec<_>>(),
    })
}

fn tell(plan: &Plan, (times, nothing, cells): (&[f64], f64, usize)) -> Result<()> {
    let doses: Vec<String> =
        times.iter().zip(&plan.doses).map(|(time, dose)| format!("{dose:.2} until {time}")).collect();
    say(format_args!("target: the mean of {cells} cells, {nothing:.3} from control (units of a state)"))?;
    say(format_args!("plan: {} at doses {}", plan.perturbation, doses.join(", ")))?;
    say(format_args!("distance that is left: {:.3}", plan.distance))?;
    if plan.distance >= nothing {
        say("note: no plan is nearer to the target than control is")?;
    }
    plan.others
        .iter()
        .try_for_each(|(perturbation, distance)| say(format_args!("  next best: {perturbation}, {distance:.3}")))
}
