//! One HTTP download into `FILE.part`, resumed as often as it takes.
//!
//! Beside the part lies `FILE.part.json`: the address it came from and the server's name for that version (its
//! `ETag`). Both must fit for a part to be continued; the server is asked with `Range` and `If-Range`, and whatever it
//! answers is believed only as far as it fits: a 200 starts over, a 206 must begin where the part ends.

use super::{FetchOptions, Source};
use crate::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

/// Bytes read at once.
const BLOCK: usize = 1 << 16;
/// A pause between attempts never grows beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Which version of which address a part is a part of.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    url: String,
    etag: Option<String>,
}

fn beside(part: &Path, suffix: &str) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Holds the part for this process as long as the file lives.
pub fn lock(part: &Path, name: &str) -> Result<File> {
    let path = beside(part, ".lock");
    let file = File::create(&path).map_err(|error| Error::io("write", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::config(format!(
            "'{name}' is being downloaded to {} by another process; wait for it, or stop it",
            part.display()
        ))),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

/// Removes the part and what lies beside it.
pub fn clean(part: &Path) {
    for path in [part.to_owned(), beside(part, ".json"), beside(part, ".lock")] {
        // What is not there needs no removing, and what cannot be removed does no harm.
        let _ = fs::remove_file(path);
    }
}

/// Why an attempt ended before the last byte.
enum Stop {
    /// Trying again will not help.
    Final(Error),
    /// It may.
    Passing(String),
}

/// Loads `source` into `part`, from where an earlier attempt ended.
pub fn download(source: &Source, part: &Path, options: &FetchOptions) -> Result<()> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(options.timeout))
        .timeout_recv_response(Some(options.timeout))
        .timeout_per_read(Some(options.timeout))
        // A body that is compressed on its way has other offsets than the file.
        .accept_encoding("identity")
        .user_agent(concat!("genailab/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut progress = Progress::new(source, options.progress);
    let (mut failures, mut pause) = (0, options.backoff);
    loop {
        let before = length(part);
        match attempt(&agent, source, part, &mut progress) {
            Ok(()) => {
                progress.finish();
                return Ok(());
            }
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Passing(why)) => {
                if length(part) > before {
                    (failures, pause) = (0, options.backoff);
                }
                failures += 1;
                if failures > options.retries {
                    let kept = length(part);
                    return Err(Error::new(
                        ErrorKind::Network,
                        format!(
                            "{}: {why}; given up after {failures} attempts. {kept} bytes are kept in {}: the same \
                             command goes on from there",
                            source.name,
                            part.display()
                        ),
                    ));
                }
                progress.note(&format!("{why}; trying again in {:.0} s", pause.as_secs_f32()));
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn length(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |metadata| metadata.len())
}

/// One request and as much of its answer as comes.
fn attempt(agent: &Agent, source: &Source, part: &Path, progress: &mut Progress) -> Result<(), Stop> {
    let origin = read_origin(part).filter(|origin| origin.url == source.url);
    let mut offset = if origin.is_some() { length(part) } else { 0 };
    if source.size.is_some_and(|size| offset == size) {
        return Ok(());
    }
    let mut request = agent.get(&source.url);
    if offset > 0 {
        request = request.header("Range", format!("bytes={offset}-"));
        if let Some(etag) = origin.as_ref().and_then(|origin| origin.etag.as_ref()) {
            request = request.header("If-Range", etag);
        }
    }
    let response = request.call().map_err(|error| passing_or_final(source, &error))?;
    let total = match response.status().as_u16() {
        206 => match content_range(&response) {
            Some((start, total)) if start == offset => total,
            _ => {
                clean_part(part)?;
                return Err(Stop::Passing("the server continued at another place than asked".to_owned()));
            }
        },
        200 => {
            offset = 0;
            header(&response, "content-length").and_then(|length| length.parse().ok())
        }
        // Nothing is left to send: the download was complete, only not yet in its place.
        416 if unsatisfied_total(&response) == Some(offset) => return Ok(()),
        // The part is longer than the file: it is none of this file.
        416 => {
            clean_part(part)?;
            return Err(Stop::Passing("the server has fewer bytes than the part; starting over".to_owned()));
        }
        status @ (408 | 425 | 429 | 500..=599) => return Err(Stop::Passing(format!("the server answered {status}"))),
        status => return Err(Stop::Final(refused(source, &format!("the server answered {status}")))),
    };
    if let (Some(total), Some(size)) = (total, source.size)
        && total != size
    {
        clean(part);
        return Err(Stop::Final(refused(
            source,
            &format!("the server has {total} bytes, the publisher's file {size}"),
        )));
    }
    let origin = Origin { url: source.url.clone(), etag: header(&response, "etag").map(str::to_owned) };
    let file = open(part, &origin, offset).map_err(Stop::Final)?;
    let written = receive(response.into_body(), file, part, offset, progress, total.or(source.size))?;
    match total.or(source.size) {
        Some(total) if written < total => Err(Stop::Passing(format!("the connection ended after {written} bytes"))),
        Some(total) if written > total => {
            clean(part);
            Err(Stop::Final(refused(source, &format!("the server sent {written} bytes, the file has {total}"))))
        }
        _ => Ok(()),
    }
}

fn refused(source: &Source, why: &str) -> Error {
    Error::new(ErrorKind::Network, format!("{}: {why} ({})", source.name, source.url))
}

/// An address that cannot be right stays wrong; anything on the way may pass.
fn passing_or_final(source: &Source, error: &ureq::Error) -> Stop {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::RequireHttpsOnly(_) => {
            Stop::Final(refused(source, &error.to_string()))
        }
        _ => Stop::Passing(error.to_string()),
    }
}

fn read_origin(part: &Path) -> Option<Origin> {
    serde_json::from_slice(&fs::read(beside(part, ".json")).ok()?).ok()
}

fn clean_part(part: &Path) -> Result<(), Stop> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Stop::Final(Error::io("remove", part, error)))
        }
        _ => Ok(()),
    }
}

/// Opens the part for writing at `offset`, after recording what it is a part of.
fn open(part: &Path, origin: &Origin, offset: u64) -> Result<File> {
    let record = beside(part, ".json");
    if offset == 0 {
        let text = serde_json::to_vec(origin).map_err(|error| Error::data(error.to_string()))?;
        // The old part must be gone before its record changes: a part is never taken for one of another file.
        File::create(part).map_err(|error| Error::io("write", part, error))?;
        fs::write(&record, text).map_err(|error| Error::io("write", &record, error))?;
    }
    OpenOptions::new().append(true).open(part).map_err(|error| Error::io("write", part, error))
}

/// Writes the body to the file; the number of bytes that the part has then.
fn receive(
    body: Body,
    mut file: File,
    part: &Path,
    offset: u64,
    progress: &mut Progress,
    total: Option<u64>,
) -> Result<u64, Stop> {
    let mut reader = body.into_reader();
    let mut block = vec![0; BLOCK];
    let mut written = offset;
    loop {
        progress.show(written, total);
        let read = reader
            .read(&mut block)
            .map_err(|error| Stop::Passing(format!("the connection broke after {written} bytes ({error})")))?;
        if read == 0 {
            break;
        }
        file.write_all(&block[..read]).map_err(|error| Stop::Final(Error::io("write", part, error)))?;
        written += read as u64;
    }
    file.sync_all().map_err(|error| Stop::Final(Error::io("write", part, error)))?;
    Ok(written)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// `bytes 100-199/1000` as start and total; `*` for a total that the server does not know.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let (range, total) = header(response, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// `bytes */1000`, which a server answers to a range behind the end.
fn unsatisfied_total(response: &Response<Body>) -> Option<u64> {
    header(response, "content-range")?.strip_prefix("bytes */")?.parse().ok()
}

/// Says a line on stderr, which may be a log on a full disk: that is no reason to stop.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A bar on a terminal, a line for every tenth elsewhere, or nothing.
struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    lines: bool,
    tenths: u64,
}

impl Progress {
    fn new(source: &Source, wanted: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (wanted && terminal).then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(source.size.unwrap_or(0)).with_style(style).with_prefix(source.name.clone())
        });
        Self { name: source.name.clone(), bar, lines: wanted && !terminal, tenths: 0 }
    }

    fn show(&mut self, written: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            total.into_iter().for_each(|total| bar.set_length(total));
            bar.set_position(written);
        }
        if let (true, Some(total)) = (self.lines, total.filter(|&total| total > 0)) {
            let tenths = written * 10 / total;
            if tenths > self.tenths {
                self.tenths = tenths;
                say(format_args!("{}: {} % of {:.0} MB", self.name, tenths * 10, total as f64 / 1e6));
            }
        }
    }

    fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.suspend(|| say(format_args!("{}: {text}", self.name)));
        } else if self.lines {
            say(format_args!("{}: {text}", self.name));
        }
    }

    fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
