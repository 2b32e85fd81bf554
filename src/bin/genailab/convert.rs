//! `genailab convert`: any file that is read, as an `.h5ad`.

use crate::{
    options::{say, warn},
    output::check_output_file,
    provenance,
};
use genailab::{
    Result,
    data::{AnnData, ConvertOptions, convert},
};
use std::path::PathBuf;

/// Write any file that genailab reads as an .h5ad
///
/// Read are .h5ad, .h5mu (FILE.h5mu:MODALITY), the .h5 of Cell Ranger, a folder with matrix.mtx, barcodes.tsv and features.tsv,
/// .loom, and tables (.csv, .tsv); all but .h5ad also by every other command. What was chosen or left out is said on stderr.
#[derive(clap::Args)]
pub struct Args {
    /// The file or folder to read
    input: PathBuf,
    /// The .h5ad to write
    out: PathBuf,
    /// A table of cells (.csv, .tsv) whose columns are added to obs, matched by barcode
    #[arg(long, value_name = "FILE.csv")]
    obs: Option<PathBuf>,
    /// How strongly arrays are compressed: 0 (not at all) to 9
    #[arg(long, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=9))]
    gzip: u8,
    /// Keep features that are no genes: guides, antibodies
    #[arg(long)]
    all_features: bool,
}

pub fn run(args: &Args) -> Result<()> {
    check_output_file(&args.out)?;
    args.obs.iter().chain([&args.input]).try_for_each(|file| provenance::reads(file))?;
    let file = AnnData::open_with_obs(&args.input, args.obs.as_deref())?;
    let options = ConvertOptions { gzip: args.gzip, all_features: args.all_features };
    let done = convert(&file, &args.out, &options)?;
    done.notes.iter().for_each(|note| warn(format_args!("note: {note}")));
    let (cells, genes) = done.shape;
    say(format_args!(
        "{cells} cells x {genes} genes, {} values that are not zero: {}",
        done.nonzero,
        args.out.display()
    ))
}
