//! Why evcxr did not start, in words: most of the time a tool is missing.

use anyhow::{Error, anyhow};
use std::process::Command;

/// Reads evcxr's report.
pub fn explain(report: &str) -> Error {
    let has_cargo = Command::new("cargo").arg("--version").output().is_ok_and(|output| output.status.success());
    anyhow!(message(report, has_cargo))
}

fn message(report: &str, has_cargo: bool) -> String {
    if !has_cargo {
        return "Rust is missing: install it from https://rustup.rs, then restart the kernel".to_owned();
    }
    if report.contains("linker `") && report.contains("` not found") {
        return "a C compiler is missing, which links the cells: install it (Debian: apt install build-essential; \
                macOS: xcode-select --install), then restart the kernel"
            .to_owned();
    }
    format!("evcxr did not start: {report}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert!(message("Cannot find `cargo` binary", false).starts_with("Rust is missing"));
        assert!(message("error: linker `cc` not found", true).starts_with("a C compiler is missing"));
        assert_eq!(message("no space left", true), "evcxr did not start: no space left");
    }
}
