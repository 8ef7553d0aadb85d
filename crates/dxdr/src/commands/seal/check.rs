//! Before something is committed.

use std::path::Path;

use dxdr_api::yaml;
use dxdr_provider::{Clock as _, clock::SystemClock};
use dxdr_report::quantity::counted;
use dxdr_sealing::{
    SealedObject, SealingCertificate,
    check::{self, KnownKeys, Rule},
    sealed::objects,
};
use serde_json::{Value, json};

use super::{
    certificate,
    documents::{Input, read_file},
    files::Paths,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    paths: Paths,
    /// Certificate that ciphertexts should be sealed with: it must not have ended, and its key's size is theirs; may be given more than once [default: the pinned one].
    #[arg(long, value_name = "FILE")]
    cert: Vec<std::path::PathBuf>,
}

/// Something to mend, or worth a look.
struct Row {
    file: String,
    line: usize,
    column: usize,
    rule: &'static str,
    error: bool,
    object: String,
    message: String,
    hint: Option<String>,
}

#[derive(Default)]
struct Seen {
    rows: Vec<Row>,
    files: usize,
    sealed: usize,
    items: usize,
}

pub(super) fn run(check: &Check, _global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let certificates = if check.cert.is_empty() { certificate::pinned().into_iter().collect() } else { check.cert.clone() };
    let mut known = KnownKeys::default();
    for file in &certificates {
        let certificate = certificate::read(file)?;
        known.modulus_lengths.insert(certificate.bits() / 8);
        seen.certificate(file, &certificate);
    }
    for file in check.paths.files()? {
        seen.file(&file, &known)?;
    }
    let errors = seen.rows.iter().filter(|row| row.error).count();
    let rows: Vec<Value> = seen.rows.iter().map(Row::json).collect();
    let document = json!({
        "format": "dxdr.io/seal-check/v1",
        "files": seen.files,
        "sealedSecrets": seen.sealed,
        "items": seen.items,
        "findings": rows,
        "valid": errors == 0,
    });
    terminal.value(&document, || {
        let mut text: String = seen.rows.iter().map(Row::text).collect();
        let looked_at =
            [counted(seen.files, "file"), counted(seen.sealed, "SealedSecret"), counted(seen.items, "item")].join(", ");
        if errors == 0 {
            text.push_str(&format!("{looked_at}: nothing that must be mended\n"));
        }
        text
    });
    if errors == 0 {
        return Ok(());
    }
    Err(Failure::new(Kind::BadInput, format!("{} must be mended before this is committed", counted(errors, "finding")))
        .hint("each is named above; a file that is meant to be so is passed over with `--exclude GLOB`"))
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
            "severity": if self.error { "error" } else { "warning" },
            "object": self.object,
            "message": self.message,
            "hint": self.hint,
        })
    }

    fn text(&self) -> String {
        let severity = if self.error { "" } else { "warning: " };
        let hint = self.hint.iter().map(|hint| format!("  hint: {hint}\n")).collect::<String>();
        let about = if self.object.is_empty() { String::new() } else { format!("{}: ", self.object) };
        format!("{}:{}:{}: {severity}{}: {about}{}\n{hint}", self.file, self.line, self.column, self.rule, self.message)
    }
}

impl Seen {
    fn certificate(&mut self, file: &Path, certificate: &SealingCertificate) {
        let left = certificate.not_after().duration_since(SystemClock.now());
        let error = left.is_negative();
        if left > certificate::SOON {
            return;
        }
        let day = certificate::day(certificate.not_after());
        self.rows.push(Row {
            file: file.display().to_string(),
            line: 1,
            column: 1,
            rule: "certificate",
            error,
            object: String::new(),
            message: if error { format!("it ended on {day}") } else { format!("it ends on {day}") },
            hint: Some("fetch the controller's newest with `dxdr seal certificate --replace`".to_owned()),
        });
    }

    fn file(&mut self, file: &Path, known: &KnownKeys) -> Result<(), Failure> {
        self.files += 1;
        let Ok(input) = Input::from_bytes(file.display().to_string(), read_file(file)?) else {
            self.rows.push(Row {
                file: file.display().to_string(),
                line: 1,
                column: 1,
                rule: Rule::Malformed.as_str(),
                error: true,
                object: String::new(),
                message: "it is no text in UTF-8, and was not checked".to_owned(),
                hint: Some("save it as UTF-8".to_owned()),
            });
            return Ok(());
        };
        let documents = match yaml::read(&input.source()) {
            Ok(documents) => documents,
            Err(problems) => {
                self.unreadable(&input, &problems);
                return Ok(());
            }
        };
        for document in &documents {
            self.sealed += objects(document.value()).iter().filter(|(_, object)| object["kind"] == "SealedSecret").count();
            self.items += SealedObject::all_in(document.value(), None).iter().map(|object| object.items.len()).sum::<usize>();
            for finding in check::document(document.value(), known) {
                let place = document.place(&finding.path);
                self.rows.push(Row {
                    file: input.name.clone(),
                    line: place.line,
                    column: place.column,
                    rule: finding.rule.as_str(),
                    error: finding.rule.is_error(),
                    object: finding.object,
                    message: finding.message,
                    hint: finding.hint,
                });
            }
        }
        Ok(())
    }

    /// Templates of Helm and others are no YAML yet; what is meant to be a SealedSecret, and is none, is an error.
    fn unreadable(&mut self, input: &Input, problems: &dxdr_api::Problems) {
        let text = input.text();
        let is_of = |kind: &str| {
            text.lines().any(|line| line.trim_start().trim_start_matches("- ").starts_with(&format!("kind: {kind}")))
        };
        let is_sealed = is_of("SealedSecret") || text.contains("\"SealedSecret\"");
        let is_secret = is_of("Secret") || text.contains("\"Secret\"");
        let is_template = text.contains("{{");
        let Some(problem) = problems.0.first().filter(|_| is_sealed || is_secret) else { return };
        let hint = is_template.then(|| "it looks like a template: check what it renders to".to_owned());
        self.rows.push(Row {
            file: input.name.clone(),
            line: problem.place.line,
            column: problem.place.column,
            rule: Rule::Malformed.as_str(),
            error: !is_template,
            object: String::new(),
            message: format!("it cannot be read, and was not checked: {}", problem.message),
            hint,
        });
    }
}
