//! Registers the kernel with Jupyter, under a name of its own: an evcxr that is installed as `rust` is left alone.

use crate::cells;
use anyhow::{Context, Result, anyhow};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The name that notebooks ask for.
pub const NAME: &str = "genailab";
/// What JupyterLab shows.
pub const DISPLAY_NAME: &str = "Rust (genailab)";

/// The kernelspec folder under `prefix` (a virtual environment), or in the user's Jupyter folder.
///
/// # Errors
/// No prefix, and no home folder either.
pub fn folder(prefix: Option<&Path>) -> Result<PathBuf> {
    let data = match prefix {
        Some(prefix) => prefix.join("share/jupyter"),
        None => user_data_dir()?,
    };
    Ok(data.join("kernels").join(NAME))
}

/// Jupyter's own rule: `JUPYTER_DATA_DIR`, else the platform's place.
fn user_data_dir() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = from("JUPYTER_DATA_DIR") {
        return Ok(folder);
    }
    let home = from("HOME").ok_or_else(|| anyhow!("HOME is not set: name a folder with --prefix"));
    if cfg!(target_os = "macos") {
        return Ok(home?.join("Library/Jupyter"));
    }
    match from("XDG_DATA_HOME") {
        Some(data) => Ok(data.join("jupyter")),
        None => Ok(home?.join(".local/share/jupyter")),
    }
}

/// Writes the kernelspec for `binary` and returns its folder. Notebooks outside a course use the library in `library`.
/// Doing it twice changes nothing.
///
/// # Errors
/// A path that is not UTF-8, a folder that cannot be written.
pub fn install(prefix: Option<&Path>, binary: &Path, library: &Path) -> Result<PathBuf> {
    let folder = folder(prefix)?;
    let utf8 =
        |path: &'_ Path| path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("{} is not UTF-8", path.display()));
    let (binary, library) = (utf8(binary)?, utf8(library)?);
    let spec = serde_json::json!({
        "argv": [binary, "--control_file", "{connection_file}"],
        "display_name": DISPLAY_NAME,
        "language": "rust",
        // A signal would stop the kernel itself; as a message, it stops the cell.
        "interrupt_mode": "message",
        // For notebooks outside a course.
        "env": {cells::LIBRARY: library},
    });
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join("kernel.json");
    fs::write(&file, format!("{spec:#}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(folder)
}

/// Removes the kernelspec and returns the folder that is gone; `None` if there was none.
///
/// # Errors
/// A folder that cannot be removed.
pub fn uninstall(prefix: Option<&Path>) -> Result<Option<PathBuf>> {
    let folder = folder(prefix)?;
    if !folder.exists() {
        return Ok(None);
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_twice_then_uninstall_twice() {
        let prefix = tempfile::tempdir().expect("a temporary folder");
        let prefix = Some(prefix.path());
        for _ in 0..2 {
            let folder =
                install(prefix, Path::new("/somewhere/genailab-kernel"), Path::new("/library")).expect("installed");
            assert!(folder.ends_with("share/jupyter/kernels/genailab"));
            let text = fs::read_to_string(folder.join("kernel.json")).expect("written");
            let spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(spec["argv"][0], "/somewhere/genailab-kernel");
            assert_eq!(spec["display_name"], DISPLAY_NAME);
            assert_eq!(spec["env"]["GENAILAB_LIBRARY"], "/library");
        }
        assert!(uninstall(prefix).expect("removed").is_some());
        assert!(uninstall(prefix).expect("nothing to do").is_none());
    }
}
