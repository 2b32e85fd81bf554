//! Runs every notebook of the course without Jupyter, two side by side, as part of the tests.
//!
//! ```text
//! cargo test --release -p genailab-kernel --test notebooks            all
//! cargo test --release -p genailab-kernel --test notebooks -- 01      those whose name contains 01
//! cargo test ... -- --nocapture                                       with what the cells print
//! ```
//!
//! The runner must not be fooled, so it first runs notebooks that are planted to fail (`tests/planted/`), each of
//! which has to fail in its own way; and some go through the real Jupyter kernel too, as do Jupyter's messages one by
//! one (`nbclient_run.py`, `protocol.py`).

#[path = "notebooks/jupyter.rs"]
mod jupyter;
#[path = "notebooks/rules.rs"]
mod rules;
#[path = "notebooks/session.rs"]
mod session;
#[path = "notebooks/verdict.rs"]
mod verdict;

use genailab_kernel::headless::{Notebook, Seat, side_by_side};
use rules::{Role, has_top_level_question_mark};
use session::{Failure, Outcome};
use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use verdict::{End, Verdict};

/// Notebooks side by side. Cells compile on one core most of the time.
const WORKERS: usize = 2;

/// What the course promises for a notebook once the library is built. Being over it is reported, not failed: the
/// machine may be busy.
const BUDGET: Duration = Duration::from_secs(90);
/// What no cell may take, on any machine, however busy: the longest takes 40 s on a quiet one.
const LIMIT: Duration = Duration::from_secs(600);
/// Slow cells listed at the end.
const SLOWEST: usize = 8;

/// What the rules of the course must find in `tests/planted/careless.ipynb`, each in its own words.
const CARELESS: [&str; 14] = [
    "2 top headings",
    "kernelspec is 'rust'",
    "no cell asserts",
    "stores execution counts",
    "cell 2 stores a figure as Jupyter does",
    "a path of one machine",
    "cell 1 adds a dependency",
    "cell 2 has a bare `?`",
    "cell 1 has 41 lines",
    "cell 2 prints 16 lines",
    "does not say 'Objectives'",
    "does not say 'Prerequisites'",
    "does not say 'Time'",
    "0 headings '### Exercise N'",
];

/// How a planted notebook has to end: its file, and the cell and failure that are expected.
type Planted = (&'static str, fn(Option<&(Option<usize>, Failure)>) -> bool);

const PLANTED: [Planted; 10] = [
    ("three_cells", |failure| failure.is_none()),
    ("panic", |failure| matches!(failure, Some((Some(2), Failure::Panic(text))) if text.contains("planted"))),
    ("question_mark", |failure| matches!(failure, Some((Some(3), Failure::QuestionMark(_))))),
    ("endless_loop", |failure| matches!(failure, Some((Some(2), Failure::Timeout(_))))),
    ("compile_error", |failure| matches!(failure, Some((Some(2), Failure::Compile(_))))),
    (
        "lost_variable",
        |failure| matches!(failure, Some((Some(3), Failure::LostVariable(names))) if names == &["names"]),
    ),
    (
        "debug_text",
        |failure| matches!(failure, Some((Some(2), Failure::DebugText(text))) if text.starts_with("Shape {")),
    ),
    ("abort", |failure| matches!(failure, Some((Some(2), Failure::Crash(_))))),
    ("no_figure", |failure| matches!(failure, Some((None, Failure::NoFigure)))),
    (
        "stale_output",
        |failure| matches!(failure, Some((None, Failure::Stale(cells))) if cells.len() == 1 && cells[0].starts_with("cell 3: line 1 was `loss 0.70`")),
    ),
];

fn main() -> ExitCode {
    // First of all: evcxr starts this binary again, as the process in which the cells run.
    genailab_kernel::start_process();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    // As a worker names it.
    let root = &root.canonicalize().expect("this test was compiled in it");
    let options = Options::parse();
    let mut tests = plan(root, &options);
    tests.sort_by_cached_key(Test::order);
    if options.list {
        tests.iter().for_each(|test| println!("{}: test", test.name()));
        return ExitCode::SUCCESS;
    }
    let mut report = Report { filtered: plan(root, &Options::default()).len() - tests.len(), ..Report::default() };
    println!("\nrunning {} notebook tests", tests.len());
    let (verdicts, incoming) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let verdicts = verdicts;
            let cores = thread::available_parallelism().map_or(1, usize::from);
            side_by_side(tests, WORKERS.min(cores), |seat, test| {
                let begun = Instant::now();
                let verdict = test.run(root, seat, options.echo).after(begun.elapsed());
                verdicts.send(verdict).expect("the receiver outlives the workers");
            });
        });
        incoming.iter().for_each(|verdict| report.add(verdict));
    });
    report.finish()
}

/// libtest's arguments, as far as they mean something here.
#[derive(Default)]
struct Options {
    filters: Vec<String>,
    list: bool,
    echo: bool,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self::default();
        for argument in env::args().skip(1) {
            match argument.as_str() {
                "--list" => options.list = true,
                "--nocapture" | "--no-capture" => options.echo = true,
                other if other.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn wants(&self, test: &Test) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| test.name().contains(filter.as_str()))
    }
}

enum Test {
    /// The notebook that breaks every rule of the course; it is only read.
    Careless(PathBuf),
    /// A planted notebook and how it has to end.
    Planted(PathBuf, Planted),
    /// A notebook of the course or of the solutions.
    Notebook { path: PathBuf, name: String, role: Role, has_solution: bool },
    /// A notebook through the real kernel, and whether it has to pass.
    Jupyter(PathBuf, bool),
    /// The kernel's protocol, message by message.
    Protocol,
}

impl Test {
    fn name(&self) -> String {
        match self {
            Self::Careless(_) => "planted/careless".to_owned(),
            Self::Planted(_, (name, _)) => format!("planted/{name}"),
            Self::Notebook { name, .. } => name.clone(),
            Self::Jupyter(path, _) => {
                format!("jupyter/{}", path.file_stem().unwrap_or_default().to_string_lossy())
            }
            Self::Protocol => "jupyter/protocol".to_owned(),
        }
    }

    /// When it runs: the proof of the runner first, then the longest, at the end the short solutions, so that no core is idle
    /// for long. Most cells take about as long, to compile. The tests through Jupyter take minutes, and the worker of such a
    /// test has to go, so they come one after another, late, beside the solutions.
    fn order(&self) -> (u8, Reverse<usize>) {
        let (phase, path) = match self {
            Self::Planted(path, _) => (0, path),
            Self::Careless(_) => return (1, Reverse(0)),
            Self::Notebook { path, role: Role::Course, .. } => (2, path),
            Self::Protocol => return (3, Reverse(0)),
            Self::Jupyter(path, _) => (4, path),
            Self::Notebook { path, .. } => (5, path),
        };
        (phase, Reverse(Notebook::read(path).map_or(0, |notebook| notebook.code().count())))
    }

    fn run(&self, root: &Path, seat: &mut Seat, echo: bool) -> Verdict {
        let name = self.name();
        let folder = &root.join("notebooks");
        let mut cells = Vec::new();
        let result = match self {
            Self::Careless(path) => check_rules(path),
            Self::Planted(path, planted) => run_planted(path, planted, folder, seat, echo),
            Self::Notebook { path, role, has_solution, .. } => read(path).and_then(|notebook| {
                let mut found = rules::broken(&notebook, *role, *has_solution);
                let outcome = session::run(&notebook, *role, folder, seat, LIMIT, echo);
                found.extend(outcome.failure.as_ref().map(describe));
                let summary = summary(&outcome);
                cells = outcome.cells;
                if found.is_empty() { Ok(summary) } else { Err(found) }
            }),
            // The kernel that Jupyter starts takes the compiled dependencies over.
            Self::Jupyter(path, must_pass) => {
                seat.leave();
                return jupyter::run(&name, path, *must_pass);
            }
            Self::Protocol => {
                seat.leave();
                return jupyter::replay_messages(&name);
            }
        };
        let verdict = match result {
            Ok(summary) => Verdict::passed(&name, summary),
            Err(why) => Verdict::failed(&name, why),
        };
        Verdict { cells, ..verdict }
    }
}

fn read(path: &Path) -> Result<Notebook, Vec<String>> {
    Notebook::read(path).map_err(|error| vec![format!("{error:#}")])
}

/// Everything there is to run: the runner's proof, the course, its solutions, the real kernel.
fn plan(root: &Path, options: &Options) -> Vec<Test> {
    let planted = |name: &str| root.join(format!("tests/planted/{name}.ipynb"));
    let notebooks = root.join("notebooks");
    let course = numbered(&notebooks);
    let mut tests = vec![Test::Careless(planted("careless"))];
    tests.extend(PLANTED.iter().map(|&(name, ends)| Test::Planted(planted(name), (name, ends))));
    for (folder, prefix, role) in
        [(notebooks.clone(), "", Role::Course), (notebooks.join("solutions"), "solutions/", Role::Solution)]
    {
        tests.extend(numbered(&folder).into_iter().map(|path| Test::Notebook {
            name: format!("{prefix}{}", path.file_stem().unwrap_or_default().to_string_lossy()),
            has_solution: notebooks.join("solutions").join(path.file_name().unwrap_or_default()).is_file(),
            role,
            path,
        }));
    }
    let good = course.into_iter().next().unwrap_or_else(|| planted("three_cells"));
    tests.extend([Test::Jupyter(good, true), Test::Jupyter(planted("panic"), false), Test::Protocol]);
    tests.retain(|test| options.wants(test));
    tests
}

/// `NN_*.ipynb` in `folder`, sorted.
fn numbered(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ipynb"))
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit()))
        .collect();
    found.sort();
    found
}

struct Report {
    started: Instant,
    passed: usize,
    ignored: usize,
    filtered: usize,
    failed: Vec<String>,
    slowest: Vec<(Duration, String)>,
}

impl Default for Report {
    fn default() -> Self {
        Self { started: Instant::now(), passed: 0, ignored: 0, filtered: 0, failed: Vec::new(), slowest: Vec::new() }
    }
}

impl Report {
    /// Shows a verdict: one block per test.
    fn add(&mut self, verdict: Verdict) {
        let Verdict { name, end, time, summary, why, cells } = verdict;
        let seconds = time.as_secs_f32();
        match end {
            End::Passed => println!("test {name} ... ok ({seconds:.1} s{summary})"),
            End::Failed => println!("test {name} ... FAILED after {seconds:.1} s"),
            End::Ignored => println!("test {name} ... IGNORED: {summary}"),
        }
        why.iter().for_each(|line| println!("  {line}"));
        for (time, cell) in cells {
            println!("  {:>6.1} s  cell {cell}", time.as_secs_f32());
            self.slowest.push((time, format!("{name} cell {cell}")));
        }
        match end {
            End::Passed => self.passed += 1,
            End::Failed => self.failed.push(name),
            End::Ignored => self.ignored += 1,
        }
    }

    fn finish(mut self) -> ExitCode {
        self.slowest.sort_by_key(|(time, _)| Reverse(*time));
        if !self.slowest.is_empty() {
            println!("\nslowest cells:");
        }
        for (time, place) in self.slowest.iter().take(SLOWEST) {
            println!("  {:>6.1} s  {place}", time.as_secs_f32());
        }
        if !self.failed.is_empty() {
            println!("\nfailures:");
            self.failed.iter().for_each(|name| println!("    {name}"));
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!("\nnotebooks: {} passed, {} failed", self.passed, self.failed.len());
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
            self.passed,
            self.failed.len(),
            self.ignored,
            self.filtered,
            self.started.elapsed().as_secs_f32()
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn check_rules(path: &Path) -> Result<String, Vec<String>> {
    let found = rules::broken(&read(path)?, Role::Course, false);
    let mut cleared = read(path)?;
    cleared.clear();
    if !rules::broken(&cleared, Role::Course, false).iter().any(|line| line.contains("stores no outputs")) {
        return Err(vec!["the rules do not notice that a chapter stores no outputs".to_owned()]);
    }
    let unnoticed = CARELESS.iter().filter(|words| !found.iter().any(|line| line.contains(**words)));
    let unnoticed: Vec<String> = unnoticed.map(|words| format!("the rules do not notice: {words}")).collect();
    // One more: that its exercises have no solutions.
    match (unnoticed.is_empty(), found.len() == CARELESS.len() + 1) {
        (true, true) => Ok(format!(": {} rules broken, all noticed", found.len())),
        (true, false) => Err(found),
        (false, _) => Err(unnoticed),
    }
}

fn run_planted(
    path: &Path,
    &(name, ends_as_expected): &Planted,
    folder: &Path,
    seat: &mut Seat,
    echo: bool,
) -> Result<String, Vec<String>> {
    let notebook = read(path)?;
    let mut found = Vec::new();
    let flagged = notebook.code().any(|cell| has_top_level_question_mark(&cell.source()));
    if flagged != (name == "question_mark") {
        found.push(format!("the search for a bare `?` says {flagged}"));
    }
    let outcome = session::run(&notebook, Role::Planted, folder, seat, LIMIT, echo);
    let ended = outcome.failure.as_ref().map_or("it passed".to_owned(), describe);
    if !ends_as_expected(outcome.failure.as_ref()) {
        found.push(format!("planted to end otherwise, but {ended}"));
    }
    if found.is_empty() {
        let ended = ended.lines().next().unwrap_or_default();
        Ok(format!(", start {:.1} s: {ended}", outcome.start.as_secs_f32()))
    } else {
        Err(found)
    }
}

fn describe(failure: &(Option<usize>, Failure)) -> String {
    match failure {
        (Some(cell), failure) => format!("cell {cell}: {failure}"),
        (None, failure) => failure.to_string(),
    }
}

fn summary(outcome: &Outcome) -> String {
    let cells: Duration = outcome.cells.iter().map(|(time, _)| *time).sum();
    let late = if cells > BUDGET { format!(", OVER THE BUDGET of {} s", BUDGET.as_secs()) } else { String::new() };
    format!(
        ": start {:.1} s, {} cells {:.1} s, {} figures{late}",
        outcome.start.as_secs_f32(),
        outcome.cells.len(),
        cells.as_secs_f32(),
        outcome.figures
    )
}
