//! The arrows of the architecture, asserted over what Cargo says and over the sources.
//!
//! ```text
//!   application   dxdr  dxdr-bench
//!   adapters      dxdr-cloud-sql  dxdr-kubernetes  dxdr-object-storage  dxdr-postgresql  dxdr-sealing   (never each other)
//!   shell         dxdr-report ─► dxdr-run ─► dxdr-provider
//!   edge          dxdr-api  dxdr-format
//!   domain        dxdr-plan ─► dxdr-policy, dxdr-catalog ─► dxdr-environment
//!   world         dxdr-sandbox  dxdr-storage-emulator  dxdr-database-emulator ─► dxdr-postgresql-server   (know nothing of dxdr)
//! ```
//!
//! Tests of a crate may reach further than the crate, so development dependencies do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::checkout;

/// What a crate is for, and with that what it must not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Pure values and decisions: no input or output, no clock, no async.
    Domain,
    /// Text and bytes of files and formats; reads and writes only through `Read` and `Write`.
    Edge,
    /// What is needed of the outside world, as traits.
    Provider,
    /// Carries plans out.
    Run,
    /// Words for people and machines.
    Report,
    /// One outside system each.
    Adapter,
    /// Servers of other systems, of use to others as they are.
    World,
    /// The only place that knows all the others.
    Application,
    /// This program.
    Chore,
}

/// Every crate of the workspace has a line here; a new one gets its layer before anything else.
const LAYERS: &[(&str, Layer)] = &[
    ("dxdr-plan", Layer::Domain),
    ("dxdr-policy", Layer::Domain),
    ("dxdr-catalog", Layer::Domain),
    ("dxdr-environment", Layer::Domain),
    ("dxdr-api", Layer::Edge),
    ("dxdr-format", Layer::Edge),
    ("dxdr-provider", Layer::Provider),
    ("dxdr-run", Layer::Run),
    ("dxdr-report", Layer::Report),
    ("dxdr-cloud-sql", Layer::Adapter),
    ("dxdr-kubernetes", Layer::Adapter),
    ("dxdr-object-storage", Layer::Adapter),
    ("dxdr-postgresql", Layer::Adapter),
    ("dxdr-sealing", Layer::Adapter),
    ("dxdr-database-emulator", Layer::World),
    ("dxdr-postgresql-server", Layer::World),
    ("dxdr-sandbox", Layer::World),
    ("dxdr-storage-emulator", Layer::World),
    ("dxdr", Layer::Application),
    ("dxdr-bench", Layer::Application),
    ("xtask", Layer::Chore),
];

/// All arrows between crates of one layer, from the first to each of the others.
const WITHIN_A_LAYER: &[(&str, &[&str])] = &[
    ("dxdr-plan", &["dxdr-policy", "dxdr-catalog", "dxdr-environment"]),
    ("dxdr-policy", &["dxdr-environment"]),
    ("dxdr-catalog", &["dxdr-environment"]),
    ("dxdr-database-emulator", &["dxdr-postgresql-server"]),
];

/// Crates of ours that a crate may name, beyond which its layer has no business.
fn may_name(layer: Layer, own: &str, other: &str, other_layer: Layer) -> bool {
    let within = || WITHIN_A_LAYER.iter().any(|(from, to)| *from == own && to.contains(&other));
    match layer {
        Layer::Domain => within(),
        Layer::Edge => other_layer == Layer::Domain,
        Layer::Provider => other == "dxdr-environment",
        Layer::Run => matches!(other_layer, Layer::Domain | Layer::Provider) || other == "dxdr-format",
        Layer::Report => matches!(other_layer, Layer::Domain | Layer::Run) || other == "dxdr-format",
        Layer::Adapter => matches!(other_layer, Layer::Domain | Layer::Provider),
        // None knows what dxdr is.
        Layer::World => within(),
        Layer::Chore => false,
        Layer::Application => other_layer != Layer::Chore,
    }
}

/// Crates from outside that a layer must not name itself.
fn forbidden_to_name(layer: Layer) -> &'static [&'static str] {
    match layer {
        // A derived serializer would make the shape of a value a promise; formats have types of their own.
        Layer::Domain => &["serde", "serde_derive", "schemars", "garde", "tracing", "async-trait", "futures"],
        Layer::Edge => &["tracing", "async-trait", "futures"],
        _ => &[],
    }
}

/// Crates from outside that must not be reached at all, through whatever others.
fn forbidden_to_reach(layer: Layer) -> &'static [&'static str] {
    match layer {
        Layer::Domain | Layer::Edge => {
            &["tokio", "kube", "kube-client", "k8s-openapi", "hyper", "reqwest", "axum", "rustls", "aws-*"]
        }
        Layer::Provider => &["kube", "kube-client", "k8s-openapi", "hyper", "reqwest", "axum", "rustls", "aws-*"],
        Layer::Run | Layer::Report => &["kube", "kube-client", "k8s-openapi", "hyper", "reqwest", "axum", "aws-*"],
        Layer::Chore => &["kube", "kube-client", "aws-sdk-*"],
        Layer::Adapter | Layer::World | Layer::Application => &[],
    }
}

/// What the sources of the domain must not say: each is a way to the outside world.
const FORBIDDEN_IN_DOMAIN: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    // An address is a value like others.
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "TimeZone::system",
    "async fn",
    "async move",
];

/// Names that say nothing: the missing noun is the finding.
const FORBIDDEN_MODULES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers"];

pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    if findings.is_empty() {
        println!("the arrows hold");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: the layers are not kept");
    for finding in &findings {
        eprintln!("  {finding}");
    }
    eprintln!("hint: what each crate may know is in ARCHITECTURE.md and crates/xtask/src/layers.rs");
    Ok(ExitCode::FAILURE)
}

fn findings() -> Result<Vec<String>> {
    let workspace = Workspace::read(&metadata()?)?;
    let mut findings = workspace.findings();
    for member in &workspace.members {
        findings.extend(findings_in_sources(member)?);
    }
    Ok(findings)
}

/// Only for this machine's platform: crates of other platforms need not be downloaded for it.
fn metadata() -> Result<Value> {
    let version = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let output = Command::new(checkout::cargo())
        .current_dir(checkout::root())
        .args(["metadata", "--format-version", "1", "--filter-platform", host])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}

struct Member {
    name: String,
    directory: PathBuf,
    /// Names of the crates its manifest depends on, without development dependencies.
    names: BTreeSet<String>,
    /// Names of all crates it is built with.
    reaches: BTreeSet<String>,
}

struct Workspace {
    members: Vec<Member>,
}

impl Workspace {
    fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ids: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let packages = list(&metadata["packages"]);
        let names: BTreeMap<String, String> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let arrows: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let built = list(&node["deps"])
                    .into_iter()
                    .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"));
                (text(&node["id"]), built.map(|dependency| text(&dependency["pkg"])).collect())
            })
            .collect();
        let mut members = Vec::new();
        for package in packages.iter().filter(|package| ids.contains(&text(&package["id"]))) {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let dependencies = list(&package["dependencies"]);
            let built = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
            members.push(Member {
                name: text(&package["name"]),
                directory: manifest.parent().context("a manifest lies in a folder")?.to_owned(),
                names: built.map(|dependency| text(&dependency["name"])).collect(),
                reaches: reachable(&text(&package["id"]), &arrows).iter().filter_map(|id| names.get(id).cloned()).collect(),
            });
        }
        if members.is_empty() {
            bail!("cargo metadata names no members of the workspace");
        }
        Ok(Self { members })
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for member in &self.members {
            let Some(layer) = layer_of(&member.name) else {
                findings.push(format!("{} has no layer: give it one in LAYERS", member.name));
                continue;
            };
            for other in &member.names {
                let forbidden = match layer_of(other) {
                    Some(other_layer) => !may_name(layer, &member.name, other, other_layer),
                    None => matches_any(other, forbidden_to_name(layer)),
                };
                if forbidden {
                    findings.push(format!("{} ({layer:?}) must not depend on {other}", member.name));
                }
            }
            for other in member.reaches.iter().filter(|other| matches_any(other, forbidden_to_reach(layer))) {
                findings.push(format!(
                    "{} ({layer:?}) must not be built with {other}; `cargo tree -p {} -i {other} -e normal` shows why it is",
                    member.name, member.name
                ));
            }
        }
        findings
    }
}

fn layer_of(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Patterns are names, or beginnings of names that end in `*`.
fn matches_any(name: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
}

/// All packages below one, by id, without itself.
fn reachable(from: &str, arrows: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(id) = open.pop() {
        for next in arrows.get(&id).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

fn findings_in_sources(member: &Member) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in sources(&member.directory.join(folder))? {
            let shown = path.strip_prefix(checkout::root()).unwrap_or(&path).display().to_string();
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
            findings.extend(
                badly_named(&path, &text).into_iter().map(|name| {
                    format!("{shown}: `{name}` says nothing about what is in it; name the module for the thing it is")
                }),
            );
            if folder == "src"
                && layer_of(&member.name) == Some(Layer::Domain)
                && !is_test_file(path.strip_prefix(&member.directory).unwrap_or(&path))
            {
                findings.extend(impure(&text).into_iter().map(|(line, what)| {
                    format!("{shown}:{line}: the domain does not use `{what}`; take the value as an argument")
                }));
            }
        }
    }
    Ok(findings)
}

/// Rust files below a folder; none for a folder that does not exist.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `tests.rs` and what lies in a folder `tests` hold the tests of the module they are under.
fn is_test_file(path: &Path) -> bool {
    path.with_extension("").components().any(|part| part.as_os_str() == "tests")
}

/// Bad module names: of the file, of the folders it lies in below the crate, of modules in its text.
fn badly_named(path: &Path, text: &str) -> Vec<String> {
    let crate_folders = path.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
    // Up to `src` or `tests`: what lies above is not a module.
    let of_path = crate_folders
        .map(|part| part.trim_end_matches(".rs").to_owned())
        .take_while(|part| !matches!(part.as_str(), "src" | "tests" | "benches" | "examples"));
    let of_text = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        let name = line.strip_prefix("mod ")?.split([' ', '{', ';']).next()?;
        // `mod name;` is found as a file.
        line.contains('{').then(|| name.to_owned())
    });
    of_path.chain(of_text).filter(|name| FORBIDDEN_MODULES.contains(&name.as_str())).collect()
}

/// Lines, counted from 1, that reach for the outside world; of a `use`, its first. Comments do not count, nor does the
/// module of unit tests, which ends the file.
fn impure(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(without_comment).enumerate().peekable();
    while let Some((number, code)) = lines.next() {
        // `mod name;` is a file of its own, and what follows it is not.
        let tests_follow = lines.peek().is_some_and(|(_, next)| next.trim_start().starts_with("mod ") && next.contains('{'));
        if code.trim() == "#[cfg(test)]" && tests_follow {
            break;
        }
        let reached = match used(code) {
            Some(begin) => {
                let mut tree = begin.to_owned();
                while !tree.contains(';')
                    && let Some((_, more)) = lines.next()
                {
                    tree.push_str(more.trim());
                }
                paths(tree.trim_end_matches(';')).join("\n")
            }
            None => code.to_owned(),
        };
        found
            .extend(FORBIDDEN_IN_DOMAIN.iter().filter(|forbidden| reached.contains(**forbidden)).map(|what| (number + 1, *what)));
    }
    found
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// What follows `use` where a line begins with one.
fn used(code: &str) -> Option<&str> {
    let code = code.trim();
    let code = match code.strip_prefix("pub") {
        Some(visible) if visible.starts_with('(') => visible.split_once(')')?.1,
        Some(visible) => visible,
        None => code,
    };
    code.trim_start().strip_prefix("use ")
}

/// The paths of a tree of imports: `a::b` and `a::c::d` of `a::{b, c::{d}}`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((begin, group)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0_usize;
    let parts = group.split(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    parts.flat_map(paths).map(|path| format!("{begin}{path}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrows_hold() {
        let findings = findings().unwrap();
        assert!(findings.is_empty(), "the layers are not kept:\n  {}", findings.join("\n  "));
    }

    fn member(name: &str, names: &[&str], reaches: &[&str]) -> Member {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Member { name: name.to_owned(), directory: PathBuf::new(), names: set(names), reaches: set(reaches) }
    }

    fn accepted(name: &str, names: &[&str], reaches: &[&str]) -> bool {
        Workspace { members: vec![member(name, names, reaches)] }.findings().is_empty()
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        assert!(accepted("dxdr-plan", &["dxdr-policy", "jiff"], &[]));
        assert!(!accepted("dxdr-policy", &["dxdr-plan"], &[]));
        assert!(!accepted("dxdr-policy", &["dxdr-catalog"], &[]));
        assert!(!accepted("dxdr-policy", &["serde"], &[]));
        assert!(!accepted("dxdr-plan", &[], &["tokio"]));
        assert!(!accepted("dxdr-format", &[], &["aws-sdk-s3"]));
        assert!(!accepted("dxdr-provider", &["dxdr-policy"], &[]));
        assert!(!accepted("dxdr-kubernetes", &["dxdr-object-storage"], &[]));
        assert!(!accepted("dxdr-run", &["dxdr-report"], &[]));
        assert!(!accepted("dxdr-run", &["dxdr-sandbox"], &[]));
        assert!(!accepted("dxdr-report", &["dxdr-kubernetes"], &[]));
        assert!(!accepted("dxdr-sandbox", &["dxdr-environment"], &[]));
        assert!(accepted("dxdr", &["dxdr-kubernetes", "dxdr-sandbox"], &["kube"]));
        assert!(!accepted("dxdr-new", &[], &[]), "a crate without a layer");
    }

    #[test]
    fn a_dependency_of_tests_only_is_not_an_arrow() {
        let metadata = serde_json::json!({
            "workspace_members": ["a"],
            "packages": [
                {"id": "a", "name": "dxdr-kubernetes", "manifest_path": "/a/Cargo.toml", "dependencies": [
                    {"name": "dxdr-sandbox", "kind": "dev"}, {"name": "kube", "kind": null}]},
                {"id": "s", "name": "dxdr-sandbox"}, {"id": "k", "name": "kube"},
            ],
            "resolve": {"nodes": [{"id": "a", "deps": [
                {"pkg": "s", "dep_kinds": [{"kind": "dev"}]}, {"pkg": "k", "dep_kinds": [{"kind": null}]}]}]},
        });
        let workspace = Workspace::read(&metadata).unwrap();
        assert_eq!(workspace.members[0].names, BTreeSet::from(["kube".to_owned()]));
        assert_eq!(workspace.members[0].reaches, BTreeSet::from(["kube".to_owned()]));
        assert!(workspace.findings().is_empty());
    }

    #[test]
    fn the_outside_world_is_found_in_code_and_not_in_comments_or_tests() {
        let text = "// std::fs is not used\nlet t = Timestamp::now(); // why\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}";
        assert_eq!(impure(text), [(2, "Timestamp::now")]);
    }

    #[test]
    fn the_outside_world_is_found_in_groups_of_imports() {
        assert_eq!(impure("use std::{collections::BTreeMap, fs};"), [(1, "std::fs")]);
        let lines =
            "//! x\npub(crate) use std::{\n    collections::{BTreeMap, BTreeSet},\n    env::{self, args}, // why\n};\nfn f() {}";
        assert_eq!(impure(lines), [(2, "std::env")]);
        assert!(impure("use std::{collections::BTreeMap, net::IpAddr};\nuse crate::{fs, environment};").is_empty());
    }

    #[test]
    fn a_file_of_tests_does_not_end_the_file_that_names_it() {
        let text = "#[cfg(test)]\nmod simulation;\nuse std::fs;\n#[cfg(test)]\nmod tests {\nuse std::env;\n}";
        assert_eq!(impure(text), [(3, "std::fs")]);
    }

    #[test]
    fn tests_of_a_module_may_lie_in_a_file_or_a_folder() {
        assert!(is_test_file(Path::new("src/restore/tests.rs")));
        assert!(is_test_file(Path::new("src/restore/tests/timing.rs")));
        assert!(!is_test_file(Path::new("src/restore.rs")));
    }

    #[test]
    fn modules_without_a_noun_are_found_as_file_folder_and_text() {
        let found = |path: &str, text: &str| badly_named(Path::new(path), text);
        assert_eq!(found("/common/crates/a/src/utils.rs", ""), ["utils"]);
        assert_eq!(found("/a/tests/it/common/mod.rs", ""), ["common"]);
        assert_eq!(found("/a/src/lib.rs", "pub mod helpers {\n}"), ["helpers"]);
        assert!(found("/common/a/src/window.rs", "mod retention;").is_empty());
    }
}
