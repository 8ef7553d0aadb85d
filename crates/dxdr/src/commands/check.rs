//! `dxdr check`

mod cluster;

use std::path::PathBuf;

use dxdr_api::{Problem, Problems, Severity};
use dxdr_report::readiness;
use serde_json::{Value, json};

use super::databases::cloud;
use crate::{
    app::Global,
    configuration::{World, file, manifests, world},
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Check manifests: every problem of every file, with line, column, what was found and what is expected.
///
/// Fields and values are checked, and what refers to what: unknown environments and stores, two environments with one namespace,
/// overlapping policies, schedules that never fire or cannot keep the objective. Nothing is contacted.
///
/// With `--cluster`, the cluster and the stores are looked at instead: a row each for the API server, Velero with its plugins and
/// locations, the stores, volume snapshots and the account's rights, with what to do. Exit code 3 when something is not as it must be, 7 when
/// something does not answer or a right is missing.
///
/// With `--cloud`, the Cloud SQL instances that environments use are looked at, in the same way; nothing is written.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dxdr check\n  dxdr check policies/ other.yaml\n  dxdr check policies/ --output json\n  dxdr check --cluster\n  dxdr check --cluster --dry-run --output json\n  dxdr check --cloud"
)]
pub(crate) struct Check {
    /// Files and folders; the configuration's manifests when left out.
    #[arg(conflicts_with_all = ["cluster", "cloud"])]
    paths: Vec<PathBuf>,
    /// Look at the cluster and the stores instead; `--manifests` names other manifests.
    ///
    /// A small object is written into each store, and a ServerStatusRequest for Velero; both are removed again.
    #[arg(long)]
    cluster: bool,
    /// With `--cluster`: write nothing at all; what is not tried is `unknown`.
    #[arg(long, requires = "cluster")]
    dry_run: bool,
    /// Look at the Cloud SQL instances that environments use instead.
    #[arg(long, conflicts_with = "cluster")]
    cloud: bool,
}

/// Checks and prints a row each.
pub(crate) async fn run(command: &Check, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if command.cluster {
        return cluster::run(command.dry_run, global, terminal).await;
    }
    if command.cloud {
        let rows = cloud::checked(&World::load(global)?).await?;
        terminal.value(&cloud::json(&rows), || readiness::text(&rows));
        return cluster::verdict(&rows);
    }
    let paths = if command.paths.is_empty() {
        world::paths(global, &file::load(global.config.as_deref())?)
    } else {
        command.paths.clone()
    };
    if paths.is_empty() {
        return Err(
            Failure::new(Kind::BadInput, "there are no manifests to check").hint("name files or folders: `dxdr check policies/`")
        );
    }
    let files = manifests::files(&paths)?;
    if files.is_empty() {
        return Err(Failure::new(Kind::BadInput, "there are no manifests to check: no file ends in .yaml, .yml or .json")
            .hint("folders are looked at one level deep; name files or other folders: `dxdr check policies/`"));
    }
    let (problems, valid) = match manifests::read(&paths)? {
        Ok(model) => (Problems(model.warnings), true),
        Err(problems) => (problems, false),
    };
    let rows: Vec<Value> = problems.0.iter().map(row).collect();
    terminal.value(&json!({"format": "dxdr.io/check/v1", "files": files, "problems": rows, "valid": valid}), || {
        let mut text = problems.to_string();
        if valid {
            text.push_str(&format!("{}: valid\n", dxdr_report::quantity::counted(files.len(), "file")));
        }
        text
    });
    if valid {
        return Ok(());
    }
    let errors = problems.0.iter().filter(|problem| problem.severity == Severity::Error).count();
    Err(Failure::new(Kind::BadInput, format!("the manifests are wrong in {}", dxdr_report::quantity::counted(errors, "place")))
        .hint("each of them is named above, with what is expected there"))
}

fn row(problem: &Problem) -> Value {
    json!({
        "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": &*problem.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path.to_string(),
        "message": problem.message,
        "found": problem.found,
        "expected": problem.expected,
        "hints": problem.hints,
    })
}
