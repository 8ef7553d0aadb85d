//! The names in one directory, in the order of keys, some at a time.
//!
//! A directory is read in whatever order the file system has it. To give its names in order without holding them all, a level
//! reads it through and keeps the smallest few behind the last name it gave; a million names cost a second pass only when more
//! than a pageful of them is wanted.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    vec,
};

/// A name in a directory, ordered as the keys that it stands for: `a-b` < `a/` < `a0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) is_directory: bool,
}

impl Name {
    fn as_sorted(&self) -> Sorted<'_> {
        Sorted { name: self.text.as_bytes(), is_directory: self.is_directory }
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_sorted().cmp(other.as_sorted())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A name, and a slash behind it if it is a directory's.
#[derive(Debug, Clone, Copy)]
struct Sorted<'name> {
    name: &'name [u8],
    is_directory: bool,
}

impl Sorted<'_> {
    fn cmp(self, other: Sorted<'_>) -> Ordering {
        let shared = self.name.len().min(other.name.len());
        let (mine, theirs) = (self.rest(shared), other.rest(shared));
        self.name[..shared].cmp(&other.name[..shared]).then_with(|| mine.cmp(theirs))
    }

    fn rest(self, from: usize) -> impl Iterator<Item = u8> {
        self.name[from..].iter().copied().chain(self.is_directory.then_some(b'/'))
    }
}

/// Which names of a directory are wanted.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Names that start with it.
    pub(super) prefix: String,
    /// Behind this text, as keys sort; a directory whose keys may sort behind it although its own name does not is wanted too
    /// when `into_directories`.
    pub(super) after: Option<String>,
    pub(super) into_directories: bool,
    /// A name that is not shown.
    pub(super) except: Option<&'static str>,
}

impl Filter {
    fn wants(&self, name: &[u8], is_directory: bool) -> bool {
        if !name.starts_with(self.prefix.as_bytes()) || self.except.is_some_and(|except| name == except.as_bytes()) {
            return false;
        }
        let Some(after) = self.after.as_deref().map(str::as_bytes) else {
            return true;
        };
        if (Sorted { name, is_directory }).cmp(Sorted { name: after, is_directory: false }).is_gt() {
            return true;
        }
        is_directory && self.into_directories && after.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

/// Iterates over the names of one directory in order.
#[derive(Debug)]
pub(super) struct Level {
    path: PathBuf,
    filter: Filter,
    chunk_size: usize,
    chunk: vec::IntoIter<Name>,
    last: Option<Name>,
    is_complete: bool,
}

impl Level {
    pub(super) fn new(path: PathBuf, filter: Filter, chunk_size: usize) -> Self {
        Self { path, filter, chunk_size, chunk: Vec::new().into_iter(), last: None, is_complete: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next name, or none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Name>> {
        if self.chunk.len() == 0 && !self.is_complete {
            let chunk = self.smallest()?;
            self.is_complete = chunk.len() < self.chunk_size;
            self.last = chunk.last().cloned();
            self.chunk = chunk.into_iter();
        }
        Ok(self.chunk.next())
    }

    /// The `chunk_size` smallest wanted names behind the last one given.
    fn smallest(&self) -> io::Result<Vec<Name>> {
        let mut smallest = BinaryHeap::new();
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let file_type = entry.file_type()?;
            // Links and sockets are nobody's objects, and a link may lead out of the store.
            if !file_type.is_dir() && !file_type.is_file() {
                continue;
            }
            let is_directory = file_type.is_dir();
            let name = entry.file_name();
            let sorted = Sorted { name: name.as_bytes(), is_directory };
            if !self.filter.wants(name.as_bytes(), is_directory)
                || self.last.as_ref().is_some_and(|last| sorted.cmp(last.as_sorted()).is_le())
                || smallest.len() == self.chunk_size
                    && smallest.peek().is_some_and(|largest: &Name| sorted.cmp(largest.as_sorted()).is_ge())
            {
                continue;
            }
            let Ok(text) = String::from_utf8(name.into_vec()) else {
                continue;
            };
            smallest.push(Name { text, is_directory });
            if smallest.len() > self.chunk_size {
                smallest.pop();
            }
        }
        Ok(smallest.into_sorted_vec())
    }
}

/// Whether a directory holds an object, however deep.
pub(super) fn holds_object(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else {
        return false;
    };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(file_type) if file_type.is_file() => is_text(&entry.file_name()),
        Ok(file_type) if file_type.is_dir() => is_text(&entry.file_name()) && holds_object(&entry.path()),
        _ => false,
    })
}

fn is_text(name: &OsStr) -> bool {
    name.to_str().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_the_keys_below_them() {
        let texts = ["a", "a-b", "a/", "a0", "a0/", "aa", "a!/", "b/", "", "ä/", "a.tar", "a-/"];
        let name = |text: &str| Name { text: text.trim_end_matches('/').to_owned(), is_directory: text.ends_with('/') };
        for one in texts {
            for other in texts {
                assert_eq!(name(one).cmp(&name(other)), one.as_bytes().cmp(other.as_bytes()), "`{one}` and `{other}`");
            }
        }
    }
}
