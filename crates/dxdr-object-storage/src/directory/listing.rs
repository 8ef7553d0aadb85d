//! One page of the keys in a directory store, in the order of their bytes.

use std::{fs, io, path::Path};

use dxdr_provider::object_storage::{ListPage, ListRequest};

use super::{
    level::{Filter, Level, holds_object},
    stat_of,
};
use crate::{
    key::{self, RESERVED_SEGMENT},
    listing::{self, Item},
};

/// Lists one page. Errors are those of the file system; a root that is not there is one.
pub(super) fn page(root: &Path, request: &ListRequest) -> io::Result<ListPage> {
    // A root that is not there, or may not be read, is an error; a directory below it is not: it holds no keys.
    fs::read_dir(root)?;
    let size = listing::page_size(request);
    let after = listing::begins_after(request);
    let (folder, name_prefix) = match request.prefix.rsplit_once('/') {
        Some((folder, name_prefix)) => (folder, name_prefix),
        None => ("", request.prefix.as_str()),
    };
    if !folder.is_empty() && key::validate(folder).is_err() || folder.is_empty() && request.prefix.starts_with('/') {
        return Ok(ListPage::default());
    }
    let mut walk = Walk { root, after, into_directories: !request.directories, chunk_size: size + 1 };
    let mut levels = Vec::from_iter(walk.level(&join(folder, ""), name_prefix));
    let mut items = Vec::new();
    while items.len() <= size
        && let Some((prefix, level)) = levels.last_mut()
    {
        let Some(name) = level.next()? else {
            levels.pop();
            continue;
        };
        let key = format!("{prefix}{}", name.text);
        let path = level.path().join(&name.text);
        if !name.is_directory {
            // Gone since it was seen: deleted by somebody else.
            if let Ok(metadata) = fs::metadata(&path) {
                items.push(Item::Object(stat_of(&key, &metadata)));
            }
        } else if walk.into_directories {
            walk.chunk_size = (size + 1 - items.len()).max(SMALLEST_CHUNK);
            levels.extend(walk.level(&format!("{key}/"), ""));
        } else if holds_object(&path) {
            items.push(Item::Directory(format!("{key}/")));
        }
    }
    Ok(listing::page(items, size))
}

/// Names kept of a directory even when only a few are missing on the page: it may not have to be read again.
const SMALLEST_CHUNK: usize = 64;

struct Walk<'request> {
    root: &'request Path,
    after: Option<&'request str>,
    into_directories: bool,
    chunk_size: usize,
}

impl Walk<'_> {
    /// The level of the keys that start with `prefix` (empty, or ending in `/`), unless they all lie before the page.
    fn level(&self, prefix: &str, name_prefix: &str) -> Option<(String, Level)> {
        let after = match self.after {
            Some(after) if after >= prefix => match after.strip_prefix(prefix) {
                Some(rest) => Some(rest.to_owned()),
                None => return None,
            },
            _ => None,
        };
        let filter = Filter {
            prefix: name_prefix.to_owned(),
            after,
            into_directories: self.into_directories,
            except: prefix.is_empty().then_some(RESERVED_SEGMENT),
        };
        Some((prefix.to_owned(), Level::new(self.root.join(prefix), filter, self.chunk_size)))
    }
}

/// A folder as a prefix of keys.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
