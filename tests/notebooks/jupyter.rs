//! One notebook through the real thing: Jupyter's client, our kernel over its sockets.

use super::verdict::Verdict;
use genailab_kernel::kernelspec;
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Executes the notebook with nbclient; nothing is written to it.
pub fn run(name: &str, notebook: &Path, must_pass: bool) -> Verdict {
    let output = match python(name, "nbclient_run.py", &[notebook.as_os_str(), notebooks().as_os_str()]) {
        Ok(output) => output,
        Err(verdict) => return verdict,
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.code(), must_pass) {
        (Some(0), true) => Verdict::passed(name, format!(": {}", text.lines().last().unwrap_or_default())),
        // 3 is the script's word for "a cell failed"; any other code is a fault of the script or the kernel.
        (Some(3), false) => Verdict::passed(name, ": nbclient saw the cell fail".to_owned()),
        (code, _) => {
            let expected = if must_pass { "pass" } else { "fail" };
            let stderr = String::from_utf8_lossy(&output.stderr);
            let why = format!("nbclient ended with {code:?}, the notebook has to {expected}:\n{text}{stderr}");
            Verdict::failed(name, vec![why])
        }
    }
}

/// Sends Jupyter's messages one by one and checks the answers.
pub fn replay_messages(name: &str) -> Verdict {
    let output = match python(name, "protocol.py", &[notebooks().as_os_str()]) {
        Ok(output) => output,
        Err(verdict) => return verdict,
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Verdict::passed(name, format!(": {}", text.lines().last().unwrap_or_default())),
        false => Verdict::failed(name, vec![text, String::from_utf8_lossy(&output.stderr).into_owned()]),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

fn notebooks() -> PathBuf {
    root().join("notebooks")
}

/// Runs a script of this folder, with the kernel registered in a folder of the test's own: neither the user's Jupyter
/// nor the venv is touched. An error is the verdict of the test `name`.
fn python(name: &str, script: &str, arguments: &[&OsStr]) -> Result<Output, Verdict> {
    let python = env::var_os("GENAILAB_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    let has_nbclient =
        Command::new(&python).args(["-c", "import nbclient"]).output().is_ok_and(|output| output.status.success());
    if !has_nbclient {
        let why = format!("{} has no nbclient; `make setup` makes it, or set GENAILAB_PYTHON", python.display());
        return Err(match env::var_os("GENAILAB_REQUIRE_PYTHON") {
            Some(_) => Verdict::failed(name, vec![why]),
            None => Verdict::ignored(name, why),
        });
    }
    let failed = |why: String| Verdict::failed(name, vec![why]);
    let prefix = tempfile::tempdir().expect("a temporary folder");
    kernelspec::install(Some(prefix.path()), Path::new(env!("CARGO_BIN_EXE_genailab-kernel")), root())
        .map_err(|error| failed(format!("{error:#}")))?;
    Command::new(&python)
        .arg(root().join("tests/notebooks").join(script))
        .args(arguments)
        .env("JUPYTER_PATH", prefix.path().join("share/jupyter"))
        .env_remove("EVCXR_TMPDIR")
        .output()
        .map_err(|error| failed(format!("cannot run {}: {error}", python.display())))
}
