//! Manifests in and out: standard streams and files, YAML and JSON.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use dxdr_api::{
    Place, SourceText,
    yaml::{self, AnyDocument},
};
use dxdr_environment::FieldPath;
use zeroize::{Zeroize as _, Zeroizing};

use super::refused;
use crate::{
    failure::{Failure, Kind},
    terminal::{Output, Terminal},
};

/// Bytes that are read of one input at most.
const LIMIT: usize = 256 << 20;

/// Bytes that are read at once.
const BLOCK: usize = 16 << 10;

/// How manifests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// An object a document, indented.
    Json,
    /// In block style, `---` in front of each document.
    Yaml,
}

impl Format {
    /// What was asked for: by `--format`, by `-o`, or by the name of the file to write.
    pub(super) fn asked(flag: Option<Self>, output: Output, file: Option<&Path>) -> Option<Self> {
        let by_name = || match file?.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        };
        match (flag, output) {
            (Some(format), _) => Some(format),
            (None, Output::Json) => Some(Self::Json),
            (None, Output::Yaml) => Some(Self::Yaml),
            (None, Output::Text) => by_name(),
        }
    }
}

/// A text that may hold secrets, and the name that people know it by.
pub(super) struct Input {
    pub(super) name: String,
    text: Zeroizing<String>,
}

impl Input {
    /// Reads a file, or standard input.
    pub(super) fn read(file: Option<&Path>, terminal: &Terminal) -> Result<Self, Failure> {
        let name = file.map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
        let bytes = match file {
            Some(file) => read_file(file)?,
            None => read_standard_input("Secrets", terminal)?,
        };
        Self::from_bytes(name, bytes)
    }

    /// What was read already.
    pub(super) fn from_bytes(name: String, mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, Failure> {
        // No copy is made, and what is no text is overwritten.
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Self { name, text: Zeroizing::new(text) }),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(refused(format!("{name} is no text in UTF-8")).hint("save it as UTF-8"))
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its documents; at least one.
    pub(super) fn documents(&self) -> Result<Vec<AnyDocument>, Failure> {
        let documents = yaml::read(&self.source()).map_err(|problems| refused(problems).hint("nothing was written"))?;
        if documents.is_empty() {
            return Err(
                refused(format!("there is no manifest in {}", self.name)).hint("pipe one in, or name a file with `-f FILE`")
            );
        }
        Ok(documents)
    }

    /// Writes the file that this was read from anew, unless it holds something else by now: nothing that somebody wrote meanwhile is lost.
    pub(super) fn replace(&self, file: &Path, text: &str) -> Result<(), Failure> {
        write_over(file, Some(self.text.as_bytes()), text)
    }

    pub(super) fn source(&self) -> SourceText<'_> {
        SourceText { name: &self.name, text: &self.text }
    }

    /// What the input is written as.
    pub(super) fn format(&self) -> Format {
        if self.text.trim_start_matches('\u{feff}').trim_start().starts_with('{') { Format::Json } else { Format::Yaml }
    }

    /// `FILE:LINE:COLUMN` of a field.
    pub(super) fn place(&self, document: &AnyDocument, path: &FieldPath) -> String {
        let Place { line, column } = document.place(path);
        format!("{}:{line}:{column}", self.name)
    }
}

/// The bytes of a file that may hold secrets.
pub(super) fn read_file(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::NotFound { "check the path" } else { "check its owner and permissions" };
        Failure::from_error(Kind::BadInput, error).context(format!("cannot read {}", file.display())).hint(hint)
    };
    let mut open = fs::File::open(file).map_err(failed)?;
    let length = open.metadata().map_or(0, |metadata| metadata.len());
    read_whole(&mut open, length, LIMIT).map_err(failed)
}

/// Everything on standard input.
pub(super) fn read_standard_input(what: &str, terminal: &Terminal) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        terminal.note(&format!("Reading {what} from the terminal; Ctrl-D ends them."));
    }
    read_whole(&mut stdin, 0, LIMIT)
        .map_err(|error| Failure::from_error(Kind::BadInput, error).context("cannot read standard input"))
}

/// Reads to the end. That it is not reached within `limit` bytes is an error: a device may have none.
fn read_whole(source: &mut dyn io::Read, expected: u64, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Grown by hand: a Vec that grows by itself leaves its old bytes behind.
    let expected = usize::try_from(expected).unwrap_or(limit).min(limit);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.max(BLOCK) + 1));
    let mut block = Zeroizing::new([0_u8; BLOCK]);
    loop {
        match source.read(&mut *block) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                if bytes.len() + length > limit {
                    let message = format!("it goes on behind {limit} bytes, and nothing that is sealed is as large");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
                }
                if bytes.capacity() - bytes.len() < length {
                    let mut larger = Zeroizing::new(Vec::with_capacity(bytes.capacity() * 2));
                    larger.extend_from_slice(&bytes);
                    bytes = larger;
                }
                bytes.extend_from_slice(&block[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a file in one step: it is the old one, or the new one, and keeps its owner and its permissions. Nothing that is secret is ever written.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    write_over(file, None, text)
}

/// The same, where the file still holds `before`.
fn write_over(file: &Path, before: Option<&[u8]>, text: &str) -> Result<(), Failure> {
    // A link stays one: what it leads to is written. Of a pipe or a device there is no older version to keep, and it must stay what it is.
    if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) || fs::canonicalize(file).is_err() && file.is_symlink() {
        return fs::OpenOptions::new().write(true).open(file).and_then(|mut open| open.write_all(text.as_bytes())).map_err(
            |error| {
                Failure::from_error(Kind::Failed, error)
                    .context(format!("cannot write {}", file.display()))
                    .hint("name a file, or leave the flag out for standard output")
            },
        );
    }
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| {
        let hint = "it is as it was; check the folder's permissions and the space on its disk";
        Failure::from_error(Kind::Failed, error).context(format!("cannot write {}", file.display())).hint(hint)
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dxdr-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What umask leaves of it; an existing file keeps its own.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder).map_err(failed)?;
    temporary.write_all(text.as_bytes()).map_err(failed)?;
    if let Ok(metadata) = fs::metadata(&target) {
        owned_alike(file, &metadata, temporary.as_file())?;
        temporary.as_file().set_permissions(metadata.permissions()).map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    // The last look before the new one takes its place.
    if let Some(before) = before
        && **read_file(&target)? != *before
    {
        return Err(Failure::new(Kind::Refused, format!("{} was changed meanwhile", file.display()))
            .hint("nothing was written; try again"));
    }
    temporary.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Lets a file that takes the place of another belong to the same people. That other one has no second name, under which it would stay as it was.
#[cfg(unix)]
fn owned_alike(file: &Path, replaced: &fs::Metadata, with: &fs::File) -> Result<(), Failure> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    if replaced.nlink() > 1 {
        return Err(refused(format!(
            "{} has {} names (hard links), and would change under one of them only",
            file.display(),
            replaced.nlink()
        ))
        .hint("it is as it was; make it a file of its own first: `cp FILE NEW && mv NEW FILE`"));
    }
    let owner = |metadata: &fs::Metadata| (metadata.uid(), metadata.gid());
    if with.metadata().is_ok_and(|metadata| owner(&metadata) == owner(replaced)) {
        return Ok(());
    }
    fchown(with, Some(replaced.uid()), Some(replaced.gid())).map_err(|error| {
        Failure::from_error(Kind::Refused, error)
            .context(format!("{} belongs to others (user {}, group {})", file.display(), replaced.uid(), replaced.gid()))
            .hint("it is as it was; let its owner do this")
    })
}

/// Who owns a file is no matter of numbers here.
#[cfg(not(unix))]
fn owned_alike(_: &Path, _: &fs::Metadata, _: &fs::File) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_file_that_somebody_else_changed_meanwhile_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.yaml");
        let input = |text: &str| Input { name: "db.yaml".to_owned(), text: Zeroizing::new(text.to_owned()) };
        fs::write(&file, "theirs").unwrap();
        let refused = input("ours").replace(&file, "new").unwrap_err();
        assert!(format!("{:#}", refused.error).contains("was changed meanwhile"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
        input("theirs").replace(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_has_no_end_is_not_read_for_ever() {
        let read = |length: u64| read_whole(&mut io::repeat(b'x').take(length), 0, 100_000);
        assert_eq!(read(100_000).unwrap().len(), 100_000);
        assert_eq!(read(u64::MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
