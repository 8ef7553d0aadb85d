//! The administrator of a cluster that was just started, who installs into it.
//!
//! Through kubectl: it is at hand, speaks TLS, and has the administrator's certificate.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Runs kubectl with the administrator's kubeconfig.
pub(crate) struct Administrator {
    directory: PathBuf,
    kubectl: PathBuf,
    server: Option<String>,
}

impl Administrator {
    pub(crate) fn of(directory: &Path, kubectl: &Path) -> Self {
        Self { directory: directory.to_owned(), kubectl: kubectl.to_owned(), server: None }
    }

    /// The same, asking the server at another port of this machine.
    pub(crate) fn at(mut self, port: u16) -> Self {
        self.server = Some(format!("https://127.0.0.1:{port}"));
        self
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// The answer to a GET, or what kubectl said instead.
    pub(crate) fn raw(&self, path: &str) -> Result<String, String> {
        let output = self
            .command(&["--request-timeout=5s", "get", "--raw", path])
            .output()
            .map_err(|error| format!("cannot run kubectl: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// An object by its path, or what kubectl said instead.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        serde_json::from_str(&self.raw(path)?).map_err(|error| format!("{path} is not JSON: {error}"))
    }

    /// The same of an object that need not be there.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>, String> {
        match self.get(path) {
            Ok(object) => Ok(Some(object)),
            Err(refusal) if is_not_found(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes objects what a text (YAML or JSON) says, whatever they were.
    pub(crate) fn apply(&self, manifests: &str) -> Result<()> {
        self.run(&["apply", "--server-side", "--force-conflicts", "--filename=-"], manifests).map(drop)
    }

    /// The same of values.
    pub(crate) fn apply_objects(&self, objects: &[Value]) -> Result<()> {
        self.apply(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
    }

    /// Returns when objects of these kinds can be made.
    pub(crate) fn apply_definitions(&self, definitions: &str) -> Result<()> {
        self.apply(definitions)?;
        self.run(&["wait", "--for=condition=Established", "--timeout=60s", "--filename=-"], definitions).map(drop)
    }

    /// Returns when the objects have gone.
    pub(crate) fn delete(&self, objects: &[Value]) -> Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.run(&["delete", "--ignore-not-found", "--timeout=60s", "--filename=-"], &list).map(drop)
    }

    /// What kubectl prints.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments, "")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Refused flags close it early; what kubectl says then is the better message.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        if !output.status.success() {
            bail!("`kubectl {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).env("KUBECACHEDIR", self.directory.join("kubectl-cache"));
        if let Some(server) = &self.server {
            command.arg(format!("--server={server}"));
        }
        command.args(arguments);
        command
    }
}

/// Whether it is the server that does not have the object, rather than that it cannot be asked.
fn is_not_found(refusal: &str) -> bool {
    refusal.lines().any(|line| line.starts_with("Error from server (NotFound): "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_from_a_server_that_does_not_answer() {
        assert!(is_not_found("Error from server (NotFound): namespaces \"one\" not found\n"));
        for refusal in [
            "The connection to the server 127.0.0.1:20000 was refused - did you specify the right host or port?\n",
            "Error from server (Forbidden): namespaces \"NotFound\" is forbidden\n",
        ] {
            assert!(!is_not_found(refusal), "{refusal}");
        }
    }
}
