//! `genailab-kernel`: the Jupyter kernel of the notebooks. See `--help`.

use anyhow::{Context, Result, bail};
use evcxr::CommandContext;
use genailab_kernel::{cells::Cells, kernelspec};
use std::{env, path::Path, process::ExitCode, time::Instant};

const HELP: &str = "\
The Jupyter kernel of genailab's notebooks: evcxr, with the repository's pinned dependencies.

Usage: genailab-kernel COMMAND

  --install [--prefix DIR]     register the kernel `genailab` with Jupyter: for this user, or in DIR (a virtual
                               environment)
  --uninstall [--prefix DIR]   undo that
  --prepare [FOLDER]           compile what the notebooks of FOLDER (default: notebooks) depend on, so that the first
                               one opens in seconds
  --control_file FILE          run; Jupyter calls this
  --version, --help";

fn main() -> ExitCode {
    // First of all: evcxr starts this binary again, as the process in which the cells run.
    evcxr::runtime_hook();
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["--control_file", _] => run(),
        ["--install"] => install(None),
        ["--install", "--prefix", prefix] => install(Some(Path::new(prefix))),
        ["--uninstall"] => uninstall(None),
        ["--uninstall", "--prefix", prefix] => uninstall(Some(Path::new(prefix))),
        ["--prepare"] => prepare("notebooks"),
        ["--prepare", folder] => prepare(folder),
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

fn enter(folder: &Path) -> Result<Cells> {
    let cells = Cells::prepare(folder)?;
    // SAFETY: called from main before anything that starts a thread.
    unsafe { cells.enter()? };
    Ok(cells)
}

fn run() -> Result<()> {
    let _cells = enter(Path::new("."))?;
    evcxr_jupyter::main()
}

fn prepare(folder: &str) -> Result<()> {
    let started = Instant::now();
    let cells = enter(Path::new(folder))?;
    println!("compiling what the notebooks need in {} (once: a minute or two)", cells.tmpdir().display());
    let (mut context, outputs) = CommandContext::new()?;
    // Nobody reads the outputs: a dropped receiver makes evcxr discard them.
    drop(outputs);
    context.execute(":load_config --quiet").context("the dependencies of evcxr.toml do not compile")?;
    if context.execute("let answer: i32 = 42; assert_eq!(answer, 42);").is_err() {
        bail!("the dependencies are compiled, but a cell with an assert fails; remove {}", cells.tmpdir().display());
    }
    println!("ready after {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn install(prefix: Option<&Path>) -> Result<()> {
    let binary = env::current_exe().context("cannot find this binary")?;
    let folder = kernelspec::install(prefix, &binary)?;
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
