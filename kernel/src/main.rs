//! `genailab-kernel`: the Jupyter kernel of the notebooks. See `--help`.

use anyhow::{Context, Result, bail};
use genailab_kernel::{
    cells::{self, Cells},
    engine::{self, Engine, Interrupt},
    headless::{Notebook, Runner},
    jupyter, kernelspec,
};
use std::{
    env,
    path::Path,
    process::{ExitCode, id},
    time::{Duration, Instant},
};

/// Seconds that a cell may take unless told otherwise.
const TIMEOUT: &str = "600";

const HELP: &str = "\
The Jupyter kernel of genailab's notebooks, on evcxr, with the repository's pinned dependencies.

Usage: genailab-kernel COMMAND

  install [--prefix DIR]       register the kernel `genailab` with Jupyter: for this user, or in DIR (a virtual
                               environment)
  uninstall [--prefix DIR]     undo that
  prepare [FOLDER]             compile what the notebooks of FOLDER (default: notebooks) depend on, so that the first
                               one opens in seconds
  run [--timeout SECONDS] NOTEBOOK...
                               execute notebooks one after the other and write their outputs into them; a cell may
                               take 600 seconds, unless told otherwise
  check [--timeout SECONDS] NOTEBOOK...
                               execute them, but leave the files as they are
  clear NOTEBOOK...            remove outputs and cell numbers
  --control_file FILE          serve a client; Jupyter calls this
  --version, --help";

fn main() -> ExitCode {
    // First of all: evcxr starts this binary again, as the process in which the cells run.
    genailab_kernel::start_process();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["--control_file", file] => run(file),
        ["install"] => install(None),
        ["install", "--prefix", prefix] => install(Some(Path::new(prefix))),
        ["uninstall"] => uninstall(None),
        ["uninstall", "--prefix", prefix] => uninstall(Some(Path::new(prefix))),
        ["prepare"] => prepare("notebooks"),
        ["prepare", folder] => prepare(folder),
        ["run", "--timeout", seconds, ref notebooks @ ..] => execute(notebooks, seconds, true),
        ["run", ref notebooks @ ..] => execute(notebooks, TIMEOUT, true),
        ["check", "--timeout", seconds, ref notebooks @ ..] => execute(notebooks, seconds, false),
        ["check", ref notebooks @ ..] => execute(notebooks, TIMEOUT, false),
        ["clear", ref notebooks @ ..] if !notebooks.is_empty() => clear(notebooks),
        ["--version"] => {
            println!("genailab-kernel {} (evcxr 0.22.0)", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("error: wrong usage\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn enter(folder: &Path) -> Result<(Cells, Interrupt)> {
    let cells = Cells::prepare(folder)?;
    // SAFETY: called from main before anything that starts a thread.
    let interrupt = unsafe {
        cells.enter()?;
        engine::remember_backtrace();
        Interrupt::new(cells.interrupt_file())?
    };
    Ok((cells, interrupt))
}

fn run(connection_file: &str) -> Result<()> {
    // The working folder changes below.
    let connection_file = Path::new(connection_file).canonicalize().context("no connection file")?;
    // Without cells the kernel lives all the same, to say why in the notebook. They are held until the kernel ends.
    let (cells, interrupt) = match enter(Path::new(".")) {
        Ok((cells, interrupt)) => (Ok(cells), interrupt),
        // SAFETY: no thread runs yet.
        Err(error) => (Err(error), unsafe { Interrupt::new(env::temp_dir().join(format!("genailab-{}", id())))? }),
    };
    // Jupyter sets this where the kernel has to end with it.
    if env::var_os("JPY_PARENT_PID").is_some() {
        engine::end_with_parent();
    }
    let first_cell = cells.as_ref().map(Cells::first_cell).map_err(|error| format!("{error:#}"));
    jupyter::serve(&connection_file, first_cell, interrupt)?;
    // The engine's thread may be in the middle of a cell.
    std::process::exit(0)
}

fn prepare(folder: &str) -> Result<()> {
    let started = Instant::now();
    let (cells, interrupt) = enter(Path::new(folder))?;
    println!("compiling what the notebooks need in {} (once: a minute or two)", cells.tmpdir().display());
    let mut engine = Engine::start(cells.first_cell(), interrupt, Box::new(|_| ()))?;
    if engine.run("let answer: i32 = 42; assert_eq!(answer, 42);", &|_, _| String::new()).is_err() {
        bail!("the dependencies are compiled, but a cell with an assert fails; remove {}", cells.tmpdir().display());
    }
    println!("ready after {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// Executes notebooks of one course; fails if a cell of one fails.
fn execute(notebooks: &[&str], seconds: &str, write: bool) -> Result<()> {
    let seconds = seconds.parse().with_context(|| format!("--timeout {seconds}: not a number of seconds"))?;
    let limit = Duration::try_from_secs_f64(seconds).context("--timeout")?;
    // The working folder changes below.
    let paths = notebooks
        .iter()
        .map(|path| Path::new(path).canonicalize().with_context(|| format!("there is no {path}")))
        .collect::<Result<Vec<_>>>()?;
    let first = paths.first().and_then(|path| path.parent()).context("name a notebook")?;
    let (cells, interrupt) = enter(first)?;
    if let Some(other) = paths.iter().find(|path| !path.starts_with(cells.notebooks())) {
        bail!("{} is not in {}: run it on its own", other.display(), cells.notebooks().display());
    }
    let mut runner = Runner::start(cells.first_cell(), interrupt, limit)?;
    let mut failed = 0;
    for (name, path) in notebooks.iter().zip(&paths) {
        let outcome = runner.run(path)?;
        if write {
            outcome.notebook.write(path)?;
        }
        let seconds = outcome.time.as_secs_f32();
        match outcome.failure {
            None => println!("{name}: {} cells ok in {seconds:.1} s", outcome.cells),
            Some((cell, error)) => {
                failed += 1;
                println!("{name}: cell {cell} failed after {seconds:.1} s\n{}", error.traceback.join("\n"));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} notebooks failed", paths.len());
    }
    Ok(())
}

fn clear(notebooks: &[&str]) -> Result<()> {
    for path in notebooks.iter().map(Path::new) {
        let mut notebook = Notebook::read(path)?;
        notebook.clear();
        notebook.write(path)?;
    }
    Ok(())
}

fn install(prefix: Option<&Path>) -> Result<()> {
    let binary = env::current_exe().context("cannot find this binary")?;
    let folder = kernelspec::install(prefix, &binary, &cells::library())?;
    println!("the kernel \"{}\" is registered in {}", kernelspec::DISPLAY_NAME, folder.display());
    Ok(())
}

fn uninstall(prefix: Option<&Path>) -> Result<()> {
    match kernelspec::uninstall(prefix)? {
        Some(folder) => println!("removed {}", folder.display()),
        None => println!("the kernel {} was not registered", kernelspec::NAME),
    }
    Ok(())
}
