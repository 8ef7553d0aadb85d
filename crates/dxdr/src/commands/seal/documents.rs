//! Manifests in and out: standard streams and files, YAML and JSON.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
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

    /// Fails when the file holds something else by now: a person was asked for a value meanwhile.
    pub(super) fn unchanged(&self, file: &Path) -> Result<(), Failure> {
        if **read_file(file)? == *self.text.as_bytes() {
            return Ok(());
        }
        Err(Failure::new(Kind::Refused, format!("{} was changed meanwhile", file.display()))
            .hint("nothing was written; try again"))
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
    fs::read(file).map(Zeroizing::new).map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::NotFound { "check the path" } else { "check its owner and permissions" };
        Failure::from_error(Kind::BadInput, error).context(format!("cannot read {}", file.display())).hint(hint)
    })
}

/// Everything on standard input.
pub(super) fn read_standard_input(what: &str, terminal: &Terminal) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        terminal.note(&format!("Reading {what} from the terminal; Ctrl-D ends them."));
    }
    // Grown by hand: a Vec that grows by itself leaves its old bytes behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    let mut block = Zeroizing::new([0_u8; 16 << 10]);
    loop {
        match stdin.read(&mut *block) {
            Ok(0) => return Ok(bytes),
            Ok(length) => {
                if bytes.capacity() - bytes.len() < length {
                    let mut larger = Zeroizing::new(Vec::with_capacity(bytes.capacity() * 2));
                    larger.extend_from_slice(&bytes);
                    bytes = larger;
                }
                bytes.extend_from_slice(&block[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::from_error(Kind::BadInput, error).context("cannot read standard input")),
        }
    }
}

/// Writes a file in one step: it is the old one, or the new one, and keeps its permissions. Nothing that is secret is ever written.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
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
        temporary.as_file().set_permissions(metadata.permissions()).map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}
