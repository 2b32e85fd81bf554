//! `genailab fetch`.

use crate::options::{say, warn};
use genailab::data::fetch::{FetchOptions, Manifest, Verified, cache_dir, fetch_source};
use std::path::PathBuf;

/// Download a public dataset, or go on with a download that was interrupted, and verify it.
///
/// The file's path is printed on stdout. A file that is there already is verified again, not loaded again.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the dataset: see `genailab datasets`.
    name: String,
    /// Folder to put it in [default: $GENAILAB_CACHE, else genailab in the user's cache folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(args: &Args) -> genailab::Result<()> {
    let manifest = Manifest::current()?;
    let source = manifest.find(&args.name)?;
    let dir = args.dir.clone().map_or_else(cache_dir, Ok)?;
    let fetched = fetch_source(source, &dir, &FetchOptions::default())?;
    let verdict = match fetched.verified {
        Verified::Publisher => "verified against the publisher's checksum",
        Verified::Recorded => "the publisher's checksum is not known; this one is recorded and verified from now on",
        Verified::Unchanged => "unchanged since it was downloaded",
    };
    warn(format_args!("{}: SHA-256 {}: {verdict}", source.name, fetched.sha256));
    warn(format_args!("licence {}; please cite {}", source.licence, source.citation));
    say(fetched.path.display())
}
