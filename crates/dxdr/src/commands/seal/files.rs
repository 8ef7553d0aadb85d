//! The files of a repository that may hold manifests.

use std::{
    collections::HashSet,
    fs,
    path::{Component, Path, PathBuf},
};

use ignore::{WalkBuilder, gitignore::GitignoreBuilder, overrides::OverrideBuilder};

use super::refused;
use crate::failure::{Failure, Kind};

/// Files and folders.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Paths {
    /// Files and folders; of folders, every .yaml, .yml and .json below them that .gitignore does not name.
    paths: Vec<PathBuf>,
    /// Pass over what matches, as in .gitignore; may be given more than once.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

impl Paths {
    /// The files and folders as they were named.
    pub(super) fn named(&self) -> &[PathBuf] {
        &self.paths
    }

    pub(super) fn none(&self) -> bool {
        self.paths.is_empty()
    }

    /// The files, each once, in the order of their names.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.paths.is_empty() {
            return Err(Failure::new(Kind::Usage, "no file and no folder is named").hint("for example `.`"));
        }
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.exists() {
                return Err(refused(format!("there is no file or folder {}", path.display())).hint("check the path"));
            }
            self.below(path, &mut files)?;
        }
        // A file that is reached over several ways is one: links are taken where the file itself is not.
        files.sort_by_cached_key(|file| (file.is_symlink(), file.clone()));
        let mut known = HashSet::new();
        files.retain(|file| known.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
        files.sort();
        Ok(files)
    }

    /// Whether a file that was named itself is to be passed over: patterns count from here, as its name does.
    fn is_excluded(&self, file: &Path) -> Result<bool, Failure> {
        let here = std::env::current_dir().unwrap_or_default();
        let named = file.strip_prefix(&here).unwrap_or(file);
        let relative: PathBuf = named.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let mut patterns = GitignoreBuilder::new("");
        for glob in &self.exclude {
            patterns.add_line(None, glob).map_err(|error| no_pattern(glob, &error))?;
        }
        let patterns = patterns.build().map_err(|error| Failure::from_error(Kind::Usage, error))?;
        Ok(patterns.matched_path_or_any_parents(relative, false).is_ignore())
    }

    fn below(&self, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
        let mut excluded = OverrideBuilder::new(path);
        for glob in &self.exclude {
            excluded.add(&format!("!{glob}")).map_err(|error| no_pattern(glob, &error))?;
        }
        if path.is_file() && self.is_excluded(path)? {
            return Ok(());
        }
        let excluded = excluded.build().map_err(|error| Failure::from_error(Kind::Usage, error))?;
        let mut walk = WalkBuilder::new(path);
        // Folders such as .github hold manifests, too; .git holds none.
        walk.hidden(false)
            .ignore(false)
            .require_git(false)
            .git_global(false)
            .overrides(excluded)
            .filter_entry(|entry| entry.file_name() != ".git");
        for entry in walk.build() {
            let entry = entry
                .map_err(|error| Failure::from_error(Kind::BadInput, error).context(format!("cannot read {}", path.display())))?;
            let named = entry.depth() == 0;
            let known = |extension: &std::ffi::OsStr| ["yaml", "yml", "json"].iter().any(|known| extension == *known);
            if entry.path().is_file() && (named || entry.path().extension().is_some_and(known)) {
                let file = entry.into_path();
                files.push(file.strip_prefix("./").map(Path::to_owned).unwrap_or(file));
            }
        }
        Ok(())
    }
}

fn no_pattern(glob: &str, error: &ignore::Error) -> Failure {
    Failure::new(Kind::Usage, format!("`--exclude {glob}` is no pattern: {error}")).hint("for example `**/testdata/**`")
}
