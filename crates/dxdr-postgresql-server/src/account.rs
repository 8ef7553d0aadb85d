//! The account that servers run as, and files that are its own.

use std::{
    fs, io,
    io::Write as _,
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

/// `nobody`, when the process is root.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Has the command run as the account.
pub(crate) fn lower(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Makes a file or a folder the account's own; what is in a folder stays as it is.
pub fn give_away(path: &Path) -> io::Result<()> {
    if is_root() { std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)) } else { Ok(()) }
}

/// A temporary folder that the account, and nobody else, may enter.
pub fn directory() -> io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    give_away(directory.path())?;
    Ok(directory)
}

/// A folder below one of the account's.
pub fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path)?;
    give_away(path)
}

/// Writes a file that only the account may read.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    give_away(path)
}
