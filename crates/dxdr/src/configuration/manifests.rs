//! Reading manifests from files and folders.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use dxdr_api::{Model, Problems, SourceText};

use crate::failure::{Failure, Kind};

/// Where manifests are looked for when nothing says where.
pub(crate) const DEFAULT: &str = "policies";

/// Reads, parses and checks all manifests of `paths`. All problems of all files come back together.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Model, Failure> {
    read(paths)?.map_err(|problems| {
        Failure::new(Kind::BadInput, format!("the manifests are wrong\n{problems}"))
            .hint("`dxdr check` lists every problem; nothing was changed")
    })
}

/// The same, with the problems as a value.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Result<Model, Problems>, Failure> {
    let mut texts = Vec::new();
    for file in files(paths)? {
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
        texts.push((file.display().to_string(), text));
    }
    let sources: Vec<SourceText<'_>> = texts.iter().map(|(name, text)| SourceText { name, text }).collect();
    Ok(dxdr_api::load(&sources))
}

/// Every `.yaml`, `.yml` and `.json` of the paths, folders one level deep, in the order of their names.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
                let file = entry.map_err(|error| unreadable(path, error))?.path();
                let known =
                    file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
                // A link that leads nowhere is no manifest that can be passed over.
                if known && (file.is_file() || (file.is_symlink() && !file.exists())) {
                    found.push(file);
                }
            }
            found.sort();
            files.append(&mut found);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(Failure::new(Kind::BadInput, format!("there is no file or folder {}", path.display()))
                .hint("name your manifests with `--manifests PATH`, or in .dxdr/config.yaml"));
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::InvalidData => "manifests are text in UTF-8: save it as that, or take it out of the folder",
        ErrorKind::NotFound => "it is a link that leads nowhere: mend or remove it",
        _ => "check its owner and permissions",
    };
    Failure::from_error(Kind::BadInput, error).context(format!("cannot read {}", path.display())).hint(hint)
}
