//! Files that are made from the types and checked in: JSON Schemas, CRDs, the command reference, completions.
//!
//! `dxdr generate FOLDER` writes them below a folder, at the paths they have in the repository. A folder that holds
//! generated files holds nothing else, so that a file whose origin is gone is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::checkout;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail and name the files that are not as they would be made
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let status = Command::new(checkout::cargo())
        .current_dir(checkout::root())
        .args(["run", "--quiet", "--package", "dxdr", "--", "generate"])
        .arg(folder.path())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("`dxdr generate` failed ({status})");
    }
    let made = read_below(folder.path())?;
    if made.is_empty() {
        bail!("`dxdr generate` made no files");
    }
    let differences = compare(checkout::root(), &made)?;
    if arguments.check {
        return Ok(report(&differences));
    }
    for difference in &differences {
        println!("{difference}");
        let (Difference::Stale(path, _) | Difference::Missing(path)) = difference else {
            continue;
        };
        let target = checkout::root().join(path);
        let parent = target.parent().unwrap_or(&target);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&target, &made[path]).with_context(|| format!("cannot write {}", target.display()))?;
    }
    if differences.is_empty() {
        println!("{} generated files are up to date", made.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn report(differences: &[Difference]) -> ExitCode {
    if differences.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: generated files are not up to date");
    for difference in differences {
        eprintln!("  {difference}");
    }
    eprintln!("hint: run `cargo xtask generate`, look at the changes, and commit them");
    ExitCode::FAILURE
}

/// Pages beside the generated ones that a test of the program keeps true.
const MADE_BY_TESTS: [&str; 1] = ["docs/reference/json.md"];

/// How the repository differs from what would be made. Paths are relative to the root.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    /// Other bytes, from this line on.
    Stale(PathBuf, usize),
    Missing(PathBuf),
    /// In a folder of generated files, and nothing makes it. Left for a person to delete or move.
    Unknown(PathBuf),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stale(path, line) => {
                write!(formatter, "{} differs from line {line} on", path.display())
            }
            Self::Missing(path) => write!(formatter, "{} is missing", path.display()),
            Self::Unknown(path) => {
                write!(formatter, "{} is made by nothing: delete it or move it elsewhere", path.display())
            }
        }
    }
}

fn compare(root: &Path, made: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (path, text) in made {
        match fs::read(root.join(path)) {
            Ok(present) if present == *text => {}
            Ok(present) => differences.push(Difference::Stale(path.clone(), first_difference(&present, text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                differences.push(Difference::Missing(path.clone()));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    let folders: BTreeSet<&Path> = made.keys().filter_map(|path| path.parent()).collect();
    for folder in folders {
        let present = root.join(folder);
        if !present.is_dir() {
            continue;
        }
        let mut names = names_in(&present)?;
        names.retain(|path| path.is_file());
        for path in names {
            let relative = folder.join(path.file_name().unwrap_or_default());
            if !made.contains_key(&relative) && !MADE_BY_TESTS.iter().any(|made| Path::new(made) == relative) {
                differences.push(Difference::Unknown(relative));
            }
        }
    }
    Ok(differences)
}

/// The line, counted from 1, on which two texts begin to differ.
fn first_difference(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    1 + one[..same].iter().filter(|byte| **byte == b'\n').count()
}

/// All files below a folder, by their path relative to it.
fn read_below(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in names_in(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
                files.insert(relative, bytes);
            }
        }
    }
    Ok(files)
}

fn names_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_missing_and_unknown_files_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs/schemas")).unwrap();
        for (name, text) in [("same.json", "1\n2\n"), ("stale.json", "1\n2\n3"), ("unknown.json", "")] {
            fs::write(root.path().join("docs/schemas").join(name), text).unwrap();
        }
        let made: BTreeMap<PathBuf, Vec<u8>> = [("same.json", "1\n2\n"), ("stale.json", "1\n4\n3"), ("missing.json", "")]
            .map(|(name, text)| (Path::new("docs/schemas").join(name), text.as_bytes().to_vec()))
            .into();

        let path = |name: &str| Path::new("docs/schemas").join(name);
        assert_eq!(
            compare(root.path(), &made).unwrap(),
            [
                Difference::Missing(path("missing.json")),
                Difference::Stale(path("stale.json"), 2),
                Difference::Unknown(path("unknown.json")),
            ]
        );
    }

    #[test]
    fn a_text_that_only_goes_on_differs_where_the_shorter_one_ends() {
        assert_eq!(first_difference(b"a\nb\n", b"a\nb\nc\n"), 3);
    }
}
