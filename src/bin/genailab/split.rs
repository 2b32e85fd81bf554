//! `genailab split`: a split alone, for a model that is trained elsewhere.

use crate::{
    options::{DataArgs, say, say_labels},
    output::check_output_file,
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    bench::{BenchmarkData, Setup},
    data::{AnnData, Dataset, Split, SplitPlan},
    train::write_atomically,
};
use serde_json::json;
use std::{collections::BTreeSet, path::PathBuf};

/// Write a split alone: which cells to train on, to validate on and to predict, for a model that is trained elsewhere
///
/// The JSON lists the cells of each part by their names in the file, and the perturbations of each part in the file's own
/// spelling. The split is the one that `genailab bench` makes with the same --split and seed, so that predictions made with it
/// can be scored there (--predictions, with a column split_seed).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// What is held out; the names are those of `genailab bench`
    #[arg(long, value_name = "NAME")]
    split: String,
    /// Seed of the split
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The .json to write
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    check_output_file(&args.out)?;
    let plan = SplitPlan::parse(&args.split, args.seed)?;
    if plan.other_file().is_some() {
        return Err(Error::config("a split of two datasets has no cells of one file; use `genailab bench` for it"));
    }
    let opened = args.columns.open(&args.data)?;
    let located = |e: Error| e.at(args.data.display());
    say_labels(&opened).map_err(located)?;
    let options = args.columns.options(&args.data)?;
    let data = Setup::new(opened, "data", &args.split, 1, &options).map_err(located)?.data;
    let rows = data.rows();
    let split = plan.divide(&rows).map_err(located)?.split(&rows)?;
    let spelled: Vec<String> = match &data {
        BenchmarkData::Effects(effects) => effects.perturbations.iter().map(ToString::to_string).collect(),
        BenchmarkData::Cells(cells) => {
            // Files that were put together have one spelling, that of the library.
            let column = args.data.only().map(|file| {
                let file = AnnData::open_with_obs(file, options.obs.as_deref())?;
                Dataset::read_as(&file, &options).map(|read| read.column)
            });
            let column = column.transpose()?.and_then(|column| cells.data.cells.column(&column));
            let labels = column.map(|column| column.to_text());
            let own = |row: usize| labels.as_ref().and_then(|labels| labels[row].clone());
            (0..cells.data.n_cells())
                .map(|row| own(row).unwrap_or_else(|| cells.data.perturbation_of(row).to_string()))
                .collect()
        }
    };
    let part = |rows_of: &[usize]| {
        let cells: Vec<&String> = rows_of.iter().map(|&row| &rows.names[row]).collect();
        let labels: BTreeSet<&String> = rows_of.iter().map(|&row| &spelled[row]).collect();
        json!({ "rows": cells, "perturbations": labels })
    };
    let Split { train, validation, test } = &split;
    let text = json!({
        "dataset": args.data.display().to_string(),
        "split": args.split,
        "seed": args.seed,
        "train": part(train),
        "validation": part(validation),
        "test": part(test),
    });
    write_atomically(&args.out, format!("{text:#}\n").as_bytes())?;
    say(format_args!(
        "{} rows to train on, {} to validate on, {} to predict: {}",
        train.len(),
        validation.len(),
        test.len(),
        args.out.display()
    ))
}
