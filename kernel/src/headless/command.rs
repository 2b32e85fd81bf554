//! The commands `run`, `check`, `lint` and `clear`.

use super::{
    compare::{self, differences},
    execution::{self, Execution, execute},
    junit,
    lint::lint,
    notebook::{Notebook, may_write, no_more_writing, write_whole},
    parameters,
    pictures::store_figures,
    worker::{Seat, side_by_side},
};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser};
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};
use std::{
    collections::BTreeSet,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How a program ends that was used wrongly.
const WRONG_USAGE: u8 = 2;
/// How a program ends that a signal stopped, as a shell counts it: this and the signal's number.
const STOPPED: i32 = 128;

/// Notebooks without Jupyter.
#[derive(Debug, Parser)]
#[command(name = "genailab-kernel", disable_version_flag = true)]
enum Command {
    /// Execute notebooks and write their outputs into them
    Run(Run),
    /// Execute notebooks, compare what they show with their stored outputs, and lint them; files stay as they are
    Check(Check),
    /// Look for what is wrong with the file, the structure and the accessibility of notebooks, without executing them
    Lint(Notebooks),
    /// Remove outputs and cell numbers
    Clear(Notebooks),
}

#[derive(Debug, Args)]
struct Notebooks {
    /// Notebooks (files *.ipynb)
    #[arg(required = true, value_name = "NOTEBOOK")]
    notebooks: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    notebooks: Notebooks,
    /// How long a cell may take, unless its tag timeout=SECONDS says otherwise
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = execution::seconds, allow_negative_numbers = true)]
    timeout: Duration,
    /// Notebooks side by side; each takes a core and up to 3 GB of memory
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Write a report in JUnit's format: a suite per notebook, a case per code cell
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Start a new process for each notebook, which takes seconds, instead of using one again
    #[arg(long)]
    isolate: bool,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    options: Options,
    /// Set a parameter that the cell tagged `parameters` defines; may be repeated, needs --output
    #[arg(short, num_args = 2, value_names = ["NAME", "VALUE"], allow_hyphen_values = true, requires = "output")]
    parameter: Vec<String>,
    /// Write to this file (*.ipynb) or folder instead of into the notebooks
    #[arg(long, value_name = "FILE|FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    options: Options,
    /// How far numbers in text may be from the stored ones, relative to the larger
    #[arg(long, value_name = "FRACTION", default_value_t = compare::TOLERANCE, value_parser = fraction)]
    tolerance: f64,
}

fn fraction(text: &str) -> Result<f64> {
    let fraction = text.parse::<f64>().ok().filter(|fraction| (0.0..1.0).contains(fraction));
    fraction.context("not a number from 0 to 1, such as 0.05")
}

/// What became of a notebook.
pub(super) struct Outcome {
    /// As the user called it.
    pub name: String,
    pub execution: Execution,
    /// Cells that show something else than is stored: number and how.
    pub differences: Vec<(usize, String)>,
    /// Rules that are broken.
    pub rules: Vec<String>,
    /// Whether there were outputs to compare.
    compared: bool,
    /// The outputs could not be written.
    unwritten: Option<String>,
}

/// A notebook to run.
struct Plan {
    /// Its place in the order in which the user named them.
    index: usize,
    name: String,
    /// Where it is, or lies, absolute.
    folder: PathBuf,
    notebook: Notebook,
    /// Where its outputs go.
    output: Option<PathBuf>,
}

/// Does what the arguments say, of which the first is the command.
pub fn command(arguments: &[&str]) -> ExitCode {
    let command = match Command::try_parse_from(std::iter::once(&"genailab-kernel").chain(arguments)) {
        Ok(command) => command,
        Err(error) if !error.use_stderr() => {
            tell(error.render().ansi());
            return ExitCode::SUCCESS;
        }
        Err(error) => return wrong_usage(&first_paragraph(&error.to_string())),
    };
    let result = match &command {
        Command::Run(Run { options, parameter, output }) => {
            let parameters: Vec<_> = parameter.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            plans_of_run(options, &parameters, output.as_deref()).and_then(|plans| work(options, plans, None))
        }
        Command::Check(Check { options, tolerance }) => {
            plans(&options.notebooks).and_then(|plans| work(options, plans, Some(*tolerance)))
        }
        Command::Lint(notebooks) => lint_all(notebooks),
        Command::Clear(notebooks) => clear_all(notebooks),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => wrong_usage(&format!("error: {error:#}")),
    }
}

fn wrong_usage(line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(WRONG_USAGE)
}

/// What clap says of an error, without usage and tips, in one line.
fn first_paragraph(message: &str) -> String {
    message.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Prints a line, without colours where there is no terminal. Nobody may be left to read it: `check … | head`.
fn tell(line: impl fmt::Display) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// Reads all notebooks before anything is done with one.
fn plans(Notebooks { notebooks }: &Notebooks) -> Result<Vec<Plan>> {
    let mut seen = BTreeSet::new();
    let mut plans = Vec::new();
    for path in notebooks {
        let name = path.display().to_string();
        ensure!(!path.is_dir(), "{name} is a folder: name its notebooks, as in {name}/*.ipynb");
        let absolute = path.canonicalize().with_context(|| format!("cannot read {name}"))?;
        let notebook = Notebook::read(path)?;
        execution::check_limits(&notebook).with_context(|| name.clone())?;
        if seen.insert(absolute.clone()) {
            let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
            plans.push(Plan { index: plans.len(), name, folder, notebook, output: None });
        }
    }
    Ok(plans)
}

fn plans_of_run(options: &Options, parameters: &[(String, String)], output: Option<&Path>) -> Result<Vec<Plan>> {
    let mut plans = plans(&options.notebooks)?;
    let sources: BTreeSet<PathBuf> = options.notebooks.notebooks.iter().filter_map(|p| p.canonicalize().ok()).collect();
    let mut outputs = BTreeSet::new();
    let one_file = output.filter(|output| output.extension().is_some_and(|extension| extension == "ipynb"));
    ensure!(one_file.is_none() || plans.len() == 1, "--output names one file for {} notebooks", plans.len());
    if let Some(folder) = output.filter(|_| one_file.is_none()) {
        fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    for plan in &mut plans {
        if !parameters.is_empty() {
            parameters::inject(&mut plan.notebook, parameters).with_context(|| plan.name.clone())?;
        }
        let source = Path::new(&plan.name).to_owned();
        let target = match (one_file, output) {
            (Some(file), _) => file.to_owned(),
            (None, Some(folder)) => folder.join(source.file_name().context("it was read")?),
            (None, None) => source,
        };
        if output.is_some() && target.canonicalize().is_ok_and(|target| sources.contains(&target)) {
            bail!("--output would overwrite the notebook {}", target.display());
        }
        ensure!(outputs.insert(target.clone()), "two notebooks would be written to {}", target.display());
        may_write(&target)?;
        plan.output = Some(target);
    }
    Ok(plans)
}

/// Runs all; with a tolerance, compares and lints too. True if nothing is wrong with any.
fn work(options: &Options, plans: Vec<Plan>, tolerance: Option<f64>) -> Result<bool> {
    let begun = Instant::now();
    if let Some(file) = &options.junit {
        may_write(file)?;
    }
    end_when_stopped()?;
    let outcomes = Mutex::new(Vec::new());
    side_by_side(plans, usize::from(options.jobs), |seat, plan| {
        let index = plan.index;
        let outcome = work_on(seat, plan, options.timeout, tolerance);
        if options.isolate {
            seat.leave();
        }
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.tell(tolerance.is_some());
        outcomes.push((index, outcome));
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if let Some(file) = &options.junit {
        write_whole(file, &junit::xml(&outcomes, begun.elapsed())?)?;
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.is_good()).count();
    if failed > 0 {
        eprintln!("error: {failed} of {} notebooks failed", outcomes.len());
    }
    Ok(failed == 0)
}

fn work_on(seat: &mut Seat, plan: Plan, timeout: Duration, tolerance: Option<f64>) -> Outcome {
    let Plan { name, folder, notebook: stored, output, .. } = plan;
    let mut execution = execute(seat, &folder, stored.clone(), timeout);
    let unwritten = match &output {
        // Whoever could not start it has nothing to write.
        Some(file) if execution.broken.is_none() => {
            store_figures(&mut execution.notebook).and_then(|()| execution.notebook.write(file)).err()
        }
        _ => None,
    };
    let unwritten = unwritten.map(|error| format!("{error:#}"));
    let mut outcome =
        Outcome { name, execution, differences: Vec::new(), rules: Vec::new(), compared: false, unwritten };
    if let Some(tolerance) = tolerance {
        outcome.compared = stored.code().any(|cell| !cell.outputs().is_empty());
        if outcome.compared {
            outcome.differences = differences(&stored, &outcome.execution, tolerance);
        }
        if outcome.execution.broken.is_none() && outcome.execution.failure().is_none() {
            outcome.rules = lint(&stored);
            let new = lint(&outcome.execution.notebook).into_iter().filter(|line| !outcome.rules.contains(line));
            outcome.rules.extend(new.collect::<Vec<_>>());
        }
    }
    outcome
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.execution.broken.is_none()
            && self.execution.failure().is_none()
            && self.differences.is_empty()
            && self.rules.is_empty()
            && self.unwritten.is_none()
    }

    fn tell(&self, checked: bool) {
        let (name, seconds) = (&self.name, self.execution.time().as_secs_f32());
        if let Some(why) = &self.execution.broken {
            return tell(format_args!("{name}: did not run: {why}"));
        }
        match self.execution.failure() {
            Some((step, error)) => {
                tell(format_args!(
                    "{name}: cell {} failed after {seconds:.1} s\n{}",
                    step.number,
                    error.traceback.join("\n")
                ));
            }
            None => {
                let outputs = match (checked, self.compared, self.differences.len()) {
                    (false, ..) => String::new(),
                    (true, false, _) => ", no stored outputs to compare with".to_owned(),
                    (true, true, 0) => ", outputs as stored".to_owned(),
                    (true, true, differ) => format!(", {differ} show something else than is stored"),
                };
                let cells = counted(self.execution.cells.len(), "cell");
                tell(format_args!("{name}: {cells} ok in {seconds:.1} s{outputs}"));
            }
        }
        self.differences.iter().for_each(|(number, why)| tell(format_args!("  cell {number}: {why}")));
        if !self.differences.is_empty() {
            tell(format_args!("  {}", compare::refresh(name)));
        }
        self.rules.iter().chain(&self.unwritten).for_each(|line| tell(format_args!("  {line}")));
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn lint_all(notebooks: &Notebooks) -> Result<bool> {
    let plans = plans(notebooks)?;
    let mut failed = 0;
    for Plan { name, notebook, .. } in &plans {
        let found = lint(notebook);
        match found.len() {
            0 => tell(format_args!("{name}: ok")),
            count => tell(format_args!("{name}: {}", counted(count, "problem"))),
        }
        found.iter().for_each(|line| tell(format_args!("  {line}")));
        failed += usize::from(!found.is_empty());
    }
    if failed > 0 {
        eprintln!("error: {failed} of {} notebooks failed", plans.len());
    }
    Ok(failed == 0)
}

fn clear_all(notebooks: &Notebooks) -> Result<bool> {
    let plans = plans(notebooks)?;
    end_when_stopped()?;
    plans.iter().try_for_each(|plan| may_write(Path::new(&plan.name)))?;
    for Plan { name, mut notebook, .. } in plans {
        notebook.clear();
        notebook.write(Path::new(&name))?;
    }
    Ok(true)
}

/// From now on Ctrl-C ends the program between two files, not in the middle of one.
fn end_when_stopped() -> Result<()> {
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot watch for Ctrl-C")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _guard = no_more_writing();
            eprintln!("stopped: notebooks that were not finished are as they were");
            // Workers and the processes of their cells end soon after.
            process::exit(STOPPED + signal);
        }
    });
    Ok(())
}
