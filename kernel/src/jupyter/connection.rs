//! The file in which Jupyter says where the kernel has to listen, and with which key messages are signed.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{fs, path::Path};
use zeromq::Socket;

/// The only scheme that Jupyter knows.
const SCHEME: &str = "hmac-sha256";

/// Ports, address and key.
#[derive(Debug, Clone, Deserialize)]
pub struct ConnectionFile {
    transport: String,
    ip: String,
    /// Port of the requests to execute, complete, inspect and so on.
    pub shell_port: u16,
    /// Port of requests that do not wait for a cell: interrupt, shut down.
    pub control_port: u16,
    /// Port of what all clients see.
    pub iopub_port: u16,
    /// Port of the kernel's questions to the user.
    pub stdin_port: u16,
    /// Port that echoes, to show that the kernel lives.
    pub hb_port: u16,
    /// The key of the signatures; empty: messages are not signed.
    pub key: String,
    #[serde(default = "scheme")]
    signature_scheme: String,
}

fn scheme() -> String {
    SCHEME.to_owned()
}

impl ConnectionFile {
    /// Reads the file that Jupyter has written.
    ///
    /// # Errors
    /// A file that cannot be read, a field that is missing, a transport or signature that this kernel does not know.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is no connection file", path.display()))?;
        if file.signature_scheme != SCHEME {
            bail!("{}: the signature scheme {} is not {SCHEME}", path.display(), file.signature_scheme);
        }
        if file.transport != "tcp" {
            bail!("{}: the transport {} is not tcp", path.display(), file.transport);
        }
        Ok(file)
    }

    /// Binds a socket to the file's address, and to no other.
    ///
    /// # Errors
    /// An address or a port that is not free.
    pub async fn bind<S: Socket>(&self, port: u16) -> Result<S> {
        // An IPv6 address stands in brackets.
        let ip = if self.ip.contains(':') { format!("[{}]", self.ip) } else { self.ip.clone() };
        let endpoint = format!("tcp://{ip}:{port}");
        let mut socket = S::new();
        socket.bind(&endpoint).await.with_context(|| format!("cannot listen at {endpoint}"))?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: &str, to: &str) -> Result<ConnectionFile> {
        let text = r#"{"transport": "tcp", "ip": "127.0.0.1", "shell_port": 1, "control_port": 2, "iopub_port": 3,
            "stdin_port": 4, "hb_port": 5, "key": "secret", "signature_scheme": "hmac-sha256", "kernel_name": "x"}"#;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kernel.json");
        fs::write(&path, text.replace(change, to)).expect("written");
        ConnectionFile::read(&path)
    }

    #[test]
    fn a_file_of_jupyter_is_read_and_others_are_refused() {
        assert_eq!(read("", "").expect("as Jupyter writes it").hb_port, 5);
        for (change, to, says) in [
            ("hmac-sha256", "none", "signature scheme none"),
            ("\"tcp\"", "\"ipc\"", "transport ipc"),
            ("\"key\"", "\"keys\"", "no connection file"),
            ("{", "", "no connection file"),
        ] {
            let error = format!("{:#}", read(change, to).expect_err("it is not usable"));
            assert!(error.contains(says), "{error}");
        }
    }
}
