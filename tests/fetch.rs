//! Downloads from a server that misbehaves: one that hangs up, lies, ignores what it is asked, or sends another file.

use genailab::{
    ErrorKind,
    data::fetch::{FetchOptions, Manifest, Source, Verified, fetch_source},
};
use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Serves the range that is asked for, or all.
    Serve,
    /// As `Serve`, but hangs up after so many bytes.
    HangUpAfter(usize),
    /// Serves everything, whatever is asked for.
    IgnoreRange,
    /// Says that there are so many bytes more than there are.
    ClaimMore(usize),
    /// Answers a range with the bytes after another one.
    WrongRange,
    /// Accepts, and says nothing.
    Silence,
    Status(u16),
    Redirect,
    /// Serves another file of the same length.
    OtherBody,
}

/// A server on a free port that acts by script (the last act is repeated) and notes what it was asked.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(body: Vec<u8>, script: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, mut script) = (Arc::clone(&requests), VecDeque::from(script.to_vec()));
        // Ends with the test's process: it waits for connections in between.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let act = if script.len() > 1 { script.pop_front() } else { script.front().copied() };
                let request = read_request(&stream);
                log.lock().expect("no panic with the lock").push(request.clone());
                let (act, body) = (act.expect("a script has an act"), body.clone());
                // On a thread of its own: a silent answer must not keep the next request waiting. A client that
                // hangs up is none of the server's business.
                thread::spawn(move || answer(stream, &request, &body, act));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic with the lock").clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.map(|line| line.to_ascii_lowercase() + "\n").collect()
}

fn answer(mut stream: TcpStream, request: &str, body: &[u8], act: Act) -> std::io::Result<()> {
    let asked = request.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let start: usize = if matches!(act, Act::IgnoreRange) { 0 } else { asked.unwrap_or(0) };
    let close = "ETag: \"v1\"\r\nConnection: close\r\n\r\n";
    match act {
        Act::Status(status) => return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{close}"),
        Act::Redirect => {
            return write!(stream, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n{close}");
        }
        Act::Silence => {
            thread::sleep(Duration::from_secs(5));
            return Ok(());
        }
        _ => {}
    }
    if start > 0 && start >= body.len() {
        let total = body.len();
        return write!(stream, "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n{close}");
    }
    let mut rest = body[start..].to_vec();
    let claimed = rest.len() + if let Act::ClaimMore(more) = act { more } else { 0 };
    if start > 0 {
        let start = if matches!(act, Act::WrongRange) { start + 7 } else { start };
        let (last, total) = (body.len() - 1, body.len());
        write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{last}/{total}\r\n")?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
    }
    write!(stream, "Content-Length: {claimed}\r\n{close}")?;
    match act {
        Act::HangUpAfter(bytes) => rest.truncate(bytes),
        Act::OtherBody => rest.iter_mut().for_each(|byte| *byte = !*byte),
        _ => {}
    }
    stream.write_all(&rest)
}

/// 300 kB that repeat nowhere near a block's length.
fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// By Python: `hashlib.md5(bytes((i * 2654435761 & 0xffffffff) >> 13 & 255 for i in range(300000))).hexdigest()`.
const MD5_OF_BODY: &str = "384d43b457e4391d851b65dec6507b1e";

/// A manifest of one dataset, as a user's own manifest would be.
fn source(server: &Server, size: Option<usize>, md5: Option<&str>) -> Source {
    let quoted = |text: &str| format!("\"{text}\"");
    let manifest = format!(
        r#"{{"datasets": [{{"name": "toy", "title": "a toy", "url": "{}/toy.h5ad", "file": "toy.h5ad", "size": {},
            "md5": {}, "sha256": null, "member": null, "licence": "CC0", "citation": "none", "cells": 1, "genes": 1}}]}}"#,
        server.address,
        size.map_or("null".to_owned(), |size| size.to_string()),
        md5.map_or("null".to_owned(), quoted),
    );
    Manifest::from_json(&manifest).expect("a manifest").datasets.remove(0)
}

fn options() -> FetchOptions {
    FetchOptions { retries: 3, backoff: Duration::from_millis(1), timeout: Duration::from_secs(30), progress: false }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_whole_file_is_recorded_and_found_unchanged_later() {
    let (server, dir) = (Server::start(body(), &[Act::Serve]), tempfile::tempdir().expect("a folder"));
    let source = source(&server, None, None);
    let first = fetch_source(&source, dir.path(), &options()).expect("fetched");
    assert_eq!(first.verified, Verified::Recorded, "the publisher's checksum is not known");
    assert_eq!(fs::read(&first.path).expect("in place"), body());
    assert_eq!(names(dir.path()), ["toy.h5ad", "toy.h5ad.sha256"], "nothing else is left");
    let second = fetch_source(&source, dir.path(), &options()).expect("there already");
    assert_eq!((second.verified, &second.sha256), (Verified::Unchanged, &first.sha256));
    assert_eq!(server.requests().len(), 1, "not loaded again");

    fs::write(&first.path, "overwritten").expect("written");
    let error = fetch_source(&source, dir.path(), &options()).expect_err("changed").to_string();
    assert!(error.contains("has changed since it was downloaded") && error.contains("delete it"), "{error}");
}

#[test]
fn the_publishers_checksum_is_checked() {
    let (server, dir) = (Server::start(body(), &[Act::Serve]), tempfile::tempdir().expect("a folder"));
    let fetched =
        fetch_source(&source(&server, Some(300_000), Some(MD5_OF_BODY)), dir.path(), &options()).expect("fetched");
    assert_eq!(fetched.verified, Verified::Publisher);
}

#[test]
fn a_wrong_body_is_refused_and_nothing_is_left() {
    let (server, dir) = (Server::start(body(), &[Act::OtherBody]), tempfile::tempdir().expect("a folder"));
    let error = fetch_source(&source(&server, Some(300_000), Some(MD5_OF_BODY)), dir.path(), &options())
        .expect_err("another file");
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("the publisher's is") && error.to_string().contains("thrown away"), "{error}");
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[test]
fn a_dropped_connection_is_resumed_where_it_ended() {
    let script = [Act::HangUpAfter(100_000), Act::HangUpAfter(150_000), Act::Serve];
    let (server, dir) = (Server::start(body(), &script), tempfile::tempdir().expect("a folder"));
    let fetched = fetch_source(&source(&server, None, Some(MD5_OF_BODY)), dir.path(), &options()).expect("fetched");
    assert_eq!(fs::read(&fetched.path).expect("in place"), body());
    let requests = server.requests();
    assert!(!requests[0].contains("range:"), "{}", requests[0]);
    assert!(
        requests[1].contains("range: bytes=100000-") && requests[1].contains("if-range: \"v1\""),
        "{}",
        requests[1]
    );
    assert!(requests[2].contains("range: bytes=250000-"), "{}", requests[2]);
}

#[test]
fn another_process_goes_on_where_one_gave_up() {
    let script = [Act::HangUpAfter(1000), Act::Status(503), Act::Status(503), Act::Status(503), Act::Serve];
    let (server, dir) = (Server::start(body(), &script), tempfile::tempdir().expect("a folder"));
    let source = source(&server, Some(300_000), Some(MD5_OF_BODY));
    let error = fetch_source(&source, dir.path(), &options()).expect_err("the server is down").to_string();
    assert!(error.contains("503") && error.contains("1000 bytes are kept"), "{error}");
    assert!(!dir.path().join("toy.h5ad").exists());
    fetch_source(&source, dir.path(), &options()).expect("the server is back");
    assert!(server.requests().last().expect("asked").contains("range: bytes=1000-"));
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let script = [Act::HangUpAfter(100_000), Act::IgnoreRange];
    let (server, dir) = (Server::start(body(), &script), tempfile::tempdir().expect("a folder"));
    let fetched = fetch_source(&source(&server, None, Some(MD5_OF_BODY)), dir.path(), &options()).expect("fetched");
    assert_eq!(fs::read(&fetched.path).expect("in place"), body());
}

#[test]
fn a_server_that_continues_elsewhere_is_not_believed() {
    let script = [Act::HangUpAfter(100_000), Act::WrongRange, Act::Serve];
    let (server, dir) = (Server::start(body(), &script), tempfile::tempdir().expect("a folder"));
    let fetched = fetch_source(&source(&server, None, Some(MD5_OF_BODY)), dir.path(), &options()).expect("fetched");
    assert_eq!(fs::read(&fetched.path).expect("in place"), body());
}

#[test]
fn a_length_that_is_a_lie_never_puts_a_file_in_place() {
    let (server, dir) = (Server::start(body(), &[Act::ClaimMore(500)]), tempfile::tempdir().expect("a folder"));
    let error = fetch_source(&source(&server, Some(300_000), None), dir.path(), &options()).expect_err("too long");
    assert!(error.to_string().contains("the server has 300500 bytes"), "{error}");
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));

    // Where nobody knows the size, the server's own later answers uncover it: there is nothing more to be had.
    let dir = tempfile::tempdir().expect("a folder");
    let fetched =
        fetch_source(&source(&server, None, Some(MD5_OF_BODY)), dir.path(), &options()).expect("all there is");
    assert_eq!(fs::read(&fetched.path).expect("in place"), body());
}

#[test]
fn what_is_not_there_fails_at_once() {
    let (server, dir) = (Server::start(body(), &[Act::Status(404)]), tempfile::tempdir().expect("a folder"));
    let error = fetch_source(&source(&server, None, None), dir.path(), &options()).expect_err("not there").to_string();
    assert!(error.contains("404") && error.contains("/toy.h5ad"), "{error}");
    assert_eq!(server.requests().len(), 1, "asking again would not help");
    assert!(!dir.path().join("toy.h5ad").exists());
}

#[test]
fn redirects_are_followed_and_silence_is_not_waited_for() {
    let script = [Act::Redirect, Act::Silence, Act::Serve];
    let (server, dir) = (Server::start(body(), &script), tempfile::tempdir().expect("a folder"));
    let options = FetchOptions { timeout: Duration::from_secs(1), ..options() };
    fetch_source(&source(&server, None, Some(MD5_OF_BODY)), dir.path(), &options).expect("fetched in the end");
    let requests = server.requests();
    assert!(requests[1].starts_with("get /elsewhere"), "{}", requests[1]);
}

#[test]
fn a_member_is_taken_out_of_its_archive() {
    let archive =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/archive.zip")).expect("committed");
    let (server, dir) = (Server::start(archive, &[Act::Serve]), tempfile::tempdir().expect("a folder"));
    let mut source = source(&server, None, None);
    source.member = Some("folder/deflated.txt".to_owned());
    let fetched = fetch_source(&source, dir.path(), &options()).expect("fetched");
    let text = fs::read_to_string(&fetched.path).expect("text");
    assert_eq!(text, "a line that repeats\n".repeat(100));
    assert_eq!(names(dir.path()), ["toy.h5ad", "toy.h5ad.sha256"], "the archive itself is not kept");

    fs::remove_file(&fetched.path).expect("removed");
    source.member = Some("folder/stored.txt".to_owned());
    let fetched = fetch_source(&source, dir.path(), &options()).expect("fetched");
    assert_eq!(fs::read_to_string(&fetched.path).expect("text"), "stored as it is\n");

    fs::remove_file(&fetched.path).expect("removed");
    source.member = Some("nowhere".to_owned());
    let error = fetch_source(&source, dir.path(), &options()).expect_err("no such member").to_string();
    assert!(error.contains("no 'nowhere'") && error.contains("folder/deflated.txt"), "{error}");
    assert!(!dir.path().join("toy.h5ad").exists());
}
