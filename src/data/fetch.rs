//! Public datasets: the manifest that names them, and a download that can be trusted.
//!
//! A file lands in its place only whole and verified. While it is loading it is `FILE.part`; an interrupted download
//! goes on from there, also in another process. What is verified, in this order: the size (the manifest's, else the
//! server's), the publisher's MD5 or SHA-256 (the manifest's), and at every later use the SHA-256 that was recorded in
//! `FILE.sha256` when the file arrived.

mod archive;
mod download;
#[doc(hidden)]
pub mod hash;

use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The manifest that the library is built with.
pub const MANIFEST: &str = include_str!("../../datasets/manifest.json");

/// The datasets that can be fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order in which they are listed.
    pub datasets: Vec<Source>,
}

/// A dataset that somebody publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name that the user gives: `norman`.
    pub name: String,
    /// One line that says what it is.
    pub title: String,
    /// Where it is downloaded from.
    pub url: String,
    /// What it is called on disk.
    pub file: String,
    /// Size of the download in bytes, where known.
    pub size: Option<u64>,
    /// The publisher's MD5 of the download, where published.
    pub md5: Option<String>,
    /// The publisher's SHA-256 of the download, where published.
    pub sha256: Option<String>,
    /// Where the download is a ZIP archive: the file in it that is wanted, and kept as `file`.
    pub member: Option<String>,
    /// The licence under which it is published.
    pub licence: String,
    /// What to cite.
    pub citation: String,
    /// Number of cells, where known.
    pub cells: Option<u64>,
    /// Number of genes, where known.
    pub genes: Option<u64>,
}

impl Manifest {
    /// The manifest in `datasets/manifest.json`.
    ///
    /// # Errors
    /// None in a build that passed its tests.
    pub fn builtin() -> Result<Self> {
        Self::from_json(MANIFEST)
    }

    /// The manifest that `$GENAILAB_MANIFEST` names (a mirror's, say), else the built-in one.
    ///
    /// # Errors
    /// A file that cannot be read, or is no manifest.
    pub fn current() -> Result<Self> {
        match env::var_os("GENAILAB_MANIFEST").filter(|path| !path.is_empty()) {
            None => Self::builtin(),
            Some(path) => {
                let path = Path::new(&path);
                let text = fs::read_to_string(path).map_err(|e| Error::io("read the manifest", path, e))?;
                Self::from_json(&text).map_err(|e| e.at(path.display()))
            }
        }
    }

    /// A manifest of the same form.
    ///
    /// # Errors
    /// JSON of another form, or a file name that is a path.
    pub fn from_json(text: &str) -> Result<Self> {
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| Error::data(format!("the dataset manifest: {error}")))?;
        if let Some(bad) = manifest.datasets.iter().find(|s| s.file.is_empty() || s.file.contains(['/', '\\'])) {
            return Err(Error::data(format!("the dataset manifest: '{}' is not a file name", bad.file)));
        }
        Ok(manifest)
    }

    /// The dataset of that name; upper and lower case are the same.
    ///
    /// # Errors
    /// There is none; the message lists those that are.
    pub fn find(&self, name: &str) -> Result<&Source> {
        self.datasets.iter().find(|source| source.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<&str> = self.datasets.iter().map(|source| source.name.as_str()).collect();
            Error::config(format!("no dataset is called '{name}'; there are: {}", names.join(", ")))
        })
    }
}

/// How stubborn, patient and talkative a download is.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// How often in a row it may fail without a single new byte before it is given up.
    pub retries: u32,
    /// Pause after the first failure; doubled after each further one.
    pub backoff: Duration,
    /// How long the server may stay silent.
    pub timeout: Duration,
    /// Whether progress is shown on stderr: a bar on a terminal, else a line for every tenth.
    pub progress: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { retries: 6, backoff: Duration::from_secs(1), timeout: Duration::from_secs(60), progress: true }
    }
}

/// A file that is there and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What it was compared with.
    pub verified: Verified,
}

/// What a file was compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Just downloaded, and its checksum is the publisher's.
    Publisher,
    /// Just downloaded; the publisher's checksum is not known. The SHA-256 is recorded for later.
    Recorded,
    /// It was there already, and is unchanged since it arrived.
    Unchanged,
}

/// Where downloads are kept: `$GENAILAB_CACHE`, else `genailab` in the user's cache folder.
///
/// # Errors
/// The platform names no cache folder.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("GENAILAB_CACHE").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    dirs::cache_dir().map(|dir| dir.join("genailab")).ok_or_else(|| {
        Error::config("this system names no cache folder; set GENAILAB_CACHE to the folder for downloads")
    })
}

/// Downloads the dataset `name` of the built-in manifest into `dir` (default: [`cache_dir`]) unless it is there, and
/// verifies it either way.
///
/// # Errors
/// An unknown name, a download that failed for good, a file that is not what was published, a folder that cannot be
/// written. Nothing is left in the file's place then.
pub fn fetch(name: &str, dir: Option<&Path>) -> Result<Fetched> {
    let manifest = Manifest::builtin()?;
    let dir = dir.map_or_else(cache_dir, |dir| Ok(dir.to_owned()))?;
    fetch_source(manifest.find(name)?, &dir, &FetchOptions::default())
}

/// [`fetch`] for a dataset of any manifest.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_source(source: &Source, dir: &Path, options: &FetchOptions) -> Result<Fetched> {
    fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
    let path = dir.join(&source.file);
    if path.exists() {
        return verify_existing(source, path);
    }
    let download = dir.join(format!("{}.part", source.file));
    // Held until the file is in its place: two processes must not write the same part.
    let _lock = download::lock(&download, &source.name)?;
    if path.exists() {
        return verify_existing(source, path);
    }
    download::download(source, &download, options)?;
    let (checked, by) = verify_download(source, &download)?;
    let (finished, sha256) = match &source.member {
        None => (download.clone(), checked),
        Some(member) => {
            let extracted = dir.join(format!("{}.extracting", source.file));
            archive::extract(&download, member, &extracted).map_err(|error| {
                // On a full disk it stands in the way of the next attempt.
                let _ = fs::remove_file(&extracted);
                error.at(&source.name)
            })?;
            let sha256 = hash::of_file(&extracted)?.sha256;
            (extracted, sha256)
        }
    };
    // The record first: a file in its place always has one.
    hash::record(&path, &sha256)?;
    fs::rename(&finished, &path).map_err(|error| Error::io("rename to", &path, error))?;
    download::clean(&download);
    Ok(Fetched { path, sha256, verified: by })
}

/// A fresh download against what the publisher says of it.
fn verify_download(source: &Source, part: &Path) -> Result<(String, Verified)> {
    let found = hash::of_file(part)?;
    for (kind, expected, found) in [("MD5", &source.md5, &found.md5), ("SHA-256", &source.sha256, &found.sha256)] {
        if let Some(expected) = expected
            && !expected.eq_ignore_ascii_case(found)
        {
            download::clean(part);
            return Err(Error::new(
                ErrorKind::Network,
                format!(
                    "{}: what {} sent has the {kind} {found}, the publisher's is {expected}; it was thrown away. \
                     Fetch it again, and if this repeats, look at the address in a browser",
                    source.name, source.url
                ),
            ));
        }
    }
    let known = source.md5.is_some() || source.sha256.is_some();
    Ok((found.sha256, if known { Verified::Publisher } else { Verified::Recorded }))
}

/// A file that was there already against what was recorded when it arrived.
fn verify_existing(source: &Source, path: PathBuf) -> Result<Fetched> {
    let found = hash::of_file(&path)?;
    let recorded = hash::recorded(&path)?;
    let damaged =
        |what: String| Error::data(format!("{} {what}; delete it and fetch '{}' again", path.display(), source.name));
    match recorded {
        Some(recorded) if recorded.eq_ignore_ascii_case(&found.sha256) => {
            Ok(Fetched { path, sha256: found.sha256, verified: Verified::Unchanged })
        }
        Some(recorded) => {
            Err(damaged(format!("has changed since it was downloaded: SHA-256 {}, then {recorded}", found.sha256)))
        }
        // Put there by hand: good if it is the publisher's.
        None if source.member.is_none() => {
            if source.size.is_some_and(|size| size != found.size) {
                return Err(damaged(format!("has {} bytes, expected {}", found.size, source.size.unwrap_or_default())));
            }
            for (expected, found) in [(&source.md5, &found.md5), (&source.sha256, &found.sha256)] {
                if expected.as_ref().is_some_and(|expected| !expected.eq_ignore_ascii_case(found)) {
                    return Err(damaged(format!("is not the publisher's file: checksum {found}")));
                }
            }
            hash::record(&path, &found.sha256)?;
            let known = source.md5.is_some() || source.sha256.is_some();
            let verified = if known { Verified::Publisher } else { Verified::Recorded };
            Ok(Fetched { path, sha256: found.sha256, verified })
        }
        None => {
            hash::record(&path, &found.sha256)?;
            Ok(Fetched { path, sha256: found.sha256, verified: Verified::Recorded })
        }
    }
}
