//! Transcripts: commands of a shell with what they print, run against a server and compared.
//!
//! ```text
//! # a comment
//! $ kubectl create configmap a --from-literal=x=1
//!     configmap/a created
//! ~$ kubectl get serviceaccount default -o name
//!     serviceaccount/default
//! $ kubectl create -f - <<END
//! > {"apiVersion": "v1"}
//! > END
//!     ! error: ...
//!     [exit code 1]
//! ```
//!
//! Output is indented; what comes on standard error has a `!` before it. A command behind `~$` is repeated until it prints what
//! is expected, for what controllers do a moment later. Times, uids, revisions, ages and allocated addresses are
//! replaced by their names, and widths of columns and empty lines do not count.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;

/// Where commands run: the folder has the kubeconfig, and files the commands make.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    comment: String,
    eventually: bool,
    command: Vec<String>,
    output: Vec<String>,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        if let Some(output) = line.strip_prefix("    ") {
            steps.last_mut().expect("a command before its output").output.push(output.to_owned());
        } else if let Some(more) = line.strip_prefix("> ").or_else(|| (line == ">").then_some("")) {
            steps.last_mut().expect("a command before its continuation").command.push(more.to_owned());
        } else if let Some(command) = line.strip_prefix("~$ ").or_else(|| line.strip_prefix("$ ")) {
            let (comment, eventually) = (std::mem::take(&mut comment), line.starts_with('~'));
            steps.push(Step { comment, eventually, command: vec![command.to_owned()], output: Vec::new() });
        } else {
            comment.push_str(line);
            comment.push('\n');
        }
    }
    steps
}

fn write(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        text.push_str(&step.comment);
        let prompt = if step.eventually { "~$" } else { "$" };
        let _ = writeln!(text, "{prompt} {}", step.command[0]);
        for line in &step.command[1..] {
            let _ = writeln!(text, "{}", format!("> {line}").trim_end());
        }
        for line in &step.output {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Runs the commands of a transcript and returns it with what they printed.
pub(crate) fn run(text: &str, place: &Place) -> String {
    let mut steps = parse(text);
    for step in &mut steps {
        let begin = Instant::now();
        let expected = step.output.clone();
        loop {
            step.output = execute(&step.command.join("\n"), place);
            if !step.eventually || step.output == expected || begin.elapsed() > Duration::from_secs(20) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    write(&steps)
}

fn execute(command: &str, place: &Place) -> Vec<String> {
    let folder = place.kubectl.parent().unwrap_or(Path::new("/"));
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["60", "sh", "-c", command])
        .current_dir(&place.folder)
        .env("PATH", path)
        .env("KUBECONFIG", place.folder.join("kubeconfig"))
        .env("KUBECACHEDIR", place.folder.join("cache"))
        .env("NAMESPACE", &place.namespace)
        .env_remove("POD_NAMESPACE")
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let mut lines = Vec::new();
    for (prefix, bytes) in [("", &output.stdout), ("! ", &output.stderr)] {
        let text = normal(&String::from_utf8_lossy(bytes), &place.namespace);
        lines.extend(text.lines().filter(|line| !line.is_empty()).map(|line| format!("{prefix}{line}")));
    }
    if !output.status.success() {
        lines.push(format!("[exit code {}]", output.status.code().unwrap_or(-1)));
    }
    lines
}

/// Replaces what differs from run to run.
fn normal(text: &str, namespace: &str) -> String {
    // The order matters: what a pattern takes is not seen by those after it.
    const PATTERNS: [(&str, &str); 14] = [
        (r"\t", "  "),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r#"(resourceVersion"?: )"\d+""#, r#"$1"REVISION""#),
        (r"https?://127\.0\.0\.1:\d+", "SERVER"),
        (r"\b10\.\d+\.\d+\.\d+\b", "ADDRESS"),
        (r"\b3[0-2]\d{3}\b", "PORT"),
        (r"(\w) {2,}", "$1  "),
        (r"([^\s\w]) {2,}", "$1  "),
        (r"(?m) +$", ""),
        (r"(?m)  (\d+[smhdy])+$", "  AGE"),
        (r"  (\d+[smhdy])+  ", "  AGE  "),
        (r#""continue": *"[^"]+""#, r#""continue": "TOKEN""#),
    ];
    static COMPILED: LazyLock<Vec<(Regex, &str)>> =
        LazyLock::new(|| PATTERNS.map(|(pattern, name)| (Regex::new(pattern).expect("a pattern"), name)).into());
    let mut text = text.replace(namespace, "NAMESPACE");
    for (pattern, name) in COMPILED.iter() {
        text = pattern.replace_all(&text, *name).into_owned();
    }
    text
}

/// The commands that printed something else than expected, with both outputs: `-` expected, `+` printed.
pub(crate) fn difference(expected: &str, printed: &str) -> String {
    let mut text = String::new();
    for (expected, printed) in parse(expected).iter().zip(&parse(printed)) {
        if expected.output == printed.output {
            continue;
        }
        let _ = writeln!(text, "$ {}", expected.command.join("\n> "));
        let same = expected.output.iter().zip(&printed.output).take_while(|(one, other)| one == other).count();
        let rest = (expected.output[same..].iter().rev())
            .zip(printed.output[same..].iter().rev())
            .take_while(|(one, other)| one == other)
            .count();
        for (mark, output) in [('-', &expected.output), ('+', &printed.output)] {
            for line in &output[same..output.len() - rest] {
                let _ = writeln!(text, "  {mark} {line}");
            }
        }
    }
    text
}
