//! The program for NVIDIA GPUs, started in place of this one.
//!
//! A program with CUDA in it is linked to NVIDIA's driver and does not start where there is none. So there are two: this one,
//! which runs everywhere, and `genailab-cuda`, the same program built with the feature `cuda` (`make cuda`).

use genailab::{
    Error, ErrorKind, Result,
    device::{Device, nvidia_gpus},
};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Its file name.
const PROGRAM: &str = "genailab-cuda";
/// Set for the program that is started: a program of that name without CUDA would start itself for ever.
const STARTED: &str = "GENAILAB_STARTED_FOR_CUDA";

/// The file of `genailab-cuda`: beside this program, or in a folder of PATH.
pub fn program() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|this| this.parent().map(Path::to_owned));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(env::split_paths(&on_path)).filter(|dir| !dir.as_os_str().is_empty());
    folders.map(|dir| dir.join(PROGRAM)).find(|file| can_be_started(file))
}

#[cfg(unix)]
fn can_be_started(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn can_be_started(file: &Path) -> bool {
    file.is_file()
}

/// Becomes `genailab-cuda` with the same arguments where an NVIDIA GPU is asked for that this program has no code for; returns
/// where there is nothing to do. Exit code and signals are those of the other program.
///
/// # Errors
/// It is not there; no driver or no such GPU is; it cannot be started.
pub fn hand_over(device: Option<Device>) -> Result<()> {
    let Some(device @ Device::Cuda(number)) = device.filter(|_| cfg!(not(feature = "cuda"))) else { return Ok(()) };
    let no = |message: String| Err(Error::new(ErrorKind::Device, message));
    match (nvidia_gpus(), program()) {
        (0, _) => no(format!("{device}: no NVIDIA GPU, or no driver for one, is visible to this process; use cpu")),
        (count, _) if number >= count => no(format!("{device}: there are only {count} GPUs, from cuda:0")),
        (_, Some(program)) if env::var_os(STARTED).is_some() => {
            no(format!("{device}: {} was built without CUDA; build it by `make cuda`", program.display()))
        }
        (_, None) => no(format!(
            "{device}: not built into this program, and {PROGRAM} is neither beside it nor on PATH; `make cuda` builds it"
        )),
        (_, Some(program)) => {
            become_it(Command::new(&program).args(env::args_os().skip(1)).env(STARTED, "1"), &program)
        }
    }
}

/// Replaces this process: signals reach the other program, and its exit code is the shell's.
#[cfg(unix)]
fn become_it(command: &mut Command, program: &Path) -> Result<()> {
    Err(Error::io("start", program, std::os::unix::process::CommandExt::exec(command)))
}

/// Waits for it.
#[cfg(not(unix))]
fn become_it(command: &mut Command, program: &Path) -> Result<()> {
    let status = command.status().map_err(|e| Error::io("start", program, e))?;
    std::process::exit(status.code().unwrap_or(1))
}
