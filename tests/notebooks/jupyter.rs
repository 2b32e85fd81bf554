//! One notebook through the real thing: Jupyter's client, our kernel over its sockets.

use super::verdict::Verdict;
use genailab_kernel::kernelspec;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Executes the notebook with nbclient; nothing is written to it.
pub fn run(name: &str, notebook: &Path, must_pass: bool) -> Verdict {
    let unexpected = |why: String| Verdict::failed(name, vec![why]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let python = env::var_os("GENAILAB_PYTHON").map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    let has_nbclient =
        Command::new(&python).args(["-c", "import nbclient"]).output().is_ok_and(|output| output.status.success());
    if !has_nbclient {
        let why = format!("{} has no nbclient; `make setup` makes it, or set GENAILAB_PYTHON", python.display());
        return if env::var_os("GENAILAB_REQUIRE_PYTHON").is_some() {
            unexpected(why)
        } else {
            Verdict::ignored(name, why)
        };
    }
    // Registered in a folder of the test's own: neither the user's Jupyter nor the venv is touched.
    let prefix = tempfile::tempdir().expect("a temporary folder");
    if let Err(error) = kernelspec::install(Some(prefix.path()), Path::new(env!("CARGO_BIN_EXE_genailab-kernel"))) {
        return unexpected(format!("{error:#}"));
    }
    let output = Command::new(&python)
        .arg(root.join("tests/notebooks/nbclient_run.py"))
        .arg(notebook)
        .arg(root.join("notebooks"))
        .env("JUPYTER_PATH", prefix.path().join("share/jupyter"))
        .env_remove("EVCXR_TMPDIR")
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            match (output.status.code(), must_pass) {
                (Some(0), true) => Verdict::passed(name, format!(": {}", text.lines().last().unwrap_or_default())),
                // 3 is the script's word for "a cell failed"; any other code is a fault of the script or the kernel.
                (Some(3), false) => Verdict::passed(name, ": nbclient saw the cell fail".to_owned()),
                (code, _) => unexpected(format!(
                    "nbclient ended with {code:?}, the notebook has to {}:\n{text}{}",
                    if must_pass { "pass" } else { "fail" },
                    String::from_utf8_lossy(&output.stderr)
                )),
            }
        }
        Err(error) => unexpected(format!("cannot run {}: {error}", python.display())),
    }
}
