//! `genailab-kernel`: the Jupyter kernel of the notebooks. See `--help`.

use anyhow::{Context, Result, bail};
use genailab_kernel::{
    cells::{self, Cells},
    engine::{self, Engine, Interrupt},
    headless, jupyter, kernelspec,
};
use std::{
    env,
    path::Path,
    process::{ExitCode, id},
    time::Instant,
};

const HELP: &str = "\
The Jupyter kernel of genailab's notebooks, on evcxr, with the repository's pinned dependencies.

Usage: genailab-kernel COMMAND

  install [--prefix DIR]       register the kernel `genailab` with Jupyter: for this user, or in DIR (a virtual
                               environment)
  uninstall [--prefix DIR]     undo that
  prepare [FOLDER]             compile what the notebooks of FOLDER (default: notebooks) depend on, so that the first
                               one opens in seconds
  run NOTEBOOK...              execute notebooks and write their outputs into them
  check NOTEBOOK...            execute them, compare their outputs with the stored ones, and lint them
  lint NOTEBOOK...             look for what is wrong with the file, its structure and its accessibility
  clear NOTEBOOK...            remove outputs and cell numbers
                               (each of these has options: genailab-kernel run --help)
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
        ["run" | "check" | "lint" | "clear", ..] => return headless::command(&args),
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
