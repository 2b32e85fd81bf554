//! `genailab bench`: predictors on held-out conditions, measured side by side.

use crate::{
    options::{DataArgs, OutputFolder, say},
    train::write_json,
};
use genailab::{
    Result,
    data::SplitPlan,
    eval::{
        baselines::baselines,
        benchmark::{BenchmarkData, run as benchmark},
    },
};
use serde_json::json;
use std::path::PathBuf;

/// Measure predictors on conditions that they have not seen
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad file to use: cells or effects
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What is held out: doubles
    #[arg(long, value_name = "NAME")]
    split: String,
    /// Number of splits, each with its own seed
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// Folder for results.json and report.html
    #[arg(long, value_name = "DIR", default_value = "genailab-bench")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let plans =
        (0..args.seeds).map(|seed| Ok((seed, SplitPlan::parse(&args.split, seed)?))).collect::<Result<Vec<_>>>()?;
    let plan = SplitPlan::parse(&args.split, 0)?;
    let name = args.data.file_stem().unwrap_or_default().to_string_lossy();
    let opened = plan.joined(args.columns.open(&args.data)?, &name, |file| args.columns.open(file))?;
    let data = BenchmarkData::new(opened, plan.context_column())?;
    let out = OutputFolder::new(&args.out)?;
    let done = benchmark(&data, &plans, &baselines())?;
    write_json(&out.join("results.json"), &json!({ "dataset": args.data, "split": args.split, "rows": done.rows }))?;
    for model in baselines() {
        for metric in ["l2", "pearson"] {
            let values: Vec<f64> = done
                .rows
                .iter()
                .filter(|row| row.model == model.name() && row.metric == metric)
                .map(|row| row.value)
                .collect();
            if !values.is_empty() {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                say(format_args!("{:<12} {metric:<8} {mean:.3} ({} values)", model.name(), values.len()))?;
            }
        }
    }
    Ok(())
}
