//! Reading an archive.

use std::{
    collections::{HashMap, hash_map},
    fmt,
    hash::{BuildHasher, RandomState},
    io::Read,
};

use super::{
    error::ArchiveError,
    item::{ItemPath, Place},
    limits::Limits,
    tape::{Tape, TapeEntry},
};

/// `metadata/version` is a line; Velero never reads it.
const LARGEST_VERSION: u64 = 64;

/// Reads an archive from `R`, item by item: the *effective view*, in which both copies of an object are one.
///
/// - Either style alone, both, any order, directories among them: taken. A path below `<version>/` that is not the preferred one
///   (Velero with `EnableAPIGroupVersions` writes these beside it) is counted and passed over.
/// - Velero's own reader unpacks to a disk, where the later one of two equal paths wins. A stream cannot look ahead: a repetition with
///   the same content is passed over, one with another content is [`ArchiveError::DuplicateEntry`].
/// - Objects are not looked into: whether the content is JSON is the caller's business.
///
/// `None` from [`next_item`](Self::next_item) means that the source was read to its end, the end mark was there and gzip's checksum
/// right. Items handed out before that may stem from a damaged archive.
pub struct ArchiveReader<R> {
    tape: Tape<R>,
    state: State,
    /// Read while looking for the second copy of the item before it.
    ahead: Option<TapeEntry>,
    /// Of each item handed out, a hash of where and a hash of what: 16 bytes and the table's own, where paths have a hundred. The keys
    /// of the hash are random, so nobody can prepare an archive in which two differing objects look alike.
    seen: HashMap<u64, u64>,
    hashes: RandomState,
    path: ItemPath,
    json: Vec<u8>,
    copy: Vec<u8>,
    summary: Summary,
}

enum State {
    Open,
    /// Failed while opening: the error is still to be told.
    Refused(ArchiveError),
    Ended,
    /// Failed, and said so.
    Spent,
}

/// One object of an archive.
#[derive(Debug)]
pub struct Item<'a> {
    /// Where it lies. The version is there if one of the copies names it and follows, or is, the first: always in what Velero writes.
    pub path: &'a ItemPath,
    /// Its bytes as stored.
    pub json: &'a [u8],
}

/// What was met on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects handed out.
    pub items: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// `metadata/version`, where there was one: `1.1.0`.
    pub format_version: Option<String>,
    /// Copies in versions that are not the preferred ones, passed over.
    pub other_versions: u64,
    /// Files that neither Velero nor we know, passed over.
    pub unknown: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the first bytes of `source`. If they are wrong, the first [`next_item`](Self::next_item) says so.
    pub fn new(source: R, limits: Limits) -> Self {
        let (tape, problem) = Tape::open(source, limits);
        Self {
            tape,
            state: problem.map_or(State::Open, State::Refused),
            ahead: None,
            seen: HashMap::new(),
            hashes: RandomState::new(),
            path: ItemPath::default(),
            json: Vec::new(),
            copy: Vec::new(),
            summary: Summary::default(),
        }
    }

    /// The next object; `None` when all of them were handed out and the archive is whole.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, ArchiveError> {
        let advanced = match std::mem::replace(&mut self.state, State::Spent) {
            State::Open => self.advance()?,
            State::Ended => false,
            State::Refused(error) => return Err(error),
            State::Spent => return Err(ArchiveError::Spent),
        };
        self.state = if advanced { State::Open } else { State::Ended };
        Ok(advanced.then_some(Item { path: &self.path, json: &self.json }))
    }

    /// What was met so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the archive was read from: at its end after a `None`, somewhere otherwise.
    pub fn into_inner(self) -> R {
        self.tape.into_inner()
    }

    /// Puts the next object into `path` and `json`.
    fn advance(&mut self) -> Result<bool, ArchiveError> {
        loop {
            let entry = match self.ahead.take() {
                Some(entry) => entry,
                None => match self.tape.next()? {
                    Some(entry) => entry,
                    None => return Ok(false),
                },
            };
            if entry.directory {
                continue;
            }
            match Place::of(&entry.path) {
                Place::Version => self.version(&entry)?,
                Place::OtherVersion => {
                    self.summary.other_versions += 1;
                    self.tape.skip(&entry)?;
                }
                Place::Unknown => {
                    self.summary.unknown += 1;
                    self.tape.skip(&entry)?;
                }
                Place::Item { group_resource, version, namespace, name } => {
                    assign(&mut self.path.group_resource, group_resource);
                    assign(&mut self.path.name, name);
                    self.path.version = version.map(str::to_owned);
                    self.path.namespace = namespace.map(str::to_owned);
                    self.tape.read(&entry, &mut self.json)?;
                    self.copies()?;
                    if self.first(&entry.path)? {
                        self.summary.items += 1;
                        self.summary.bytes += self.json.len() as u64;
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Takes the copies that follow at once: Velero writes them in pairs.
    fn copies(&mut self) -> Result<(), ArchiveError> {
        loop {
            let Some(entry) = self.tape.next()? else {
                return Ok(());
            };
            let same = !entry.directory
                && matches!(
                    Place::of(&entry.path),
                    Place::Item { group_resource, namespace, name, .. }
                        if name == self.path.name
                            && namespace == self.path.namespace.as_deref()
                            && group_resource == self.path.group_resource
                );
            if !same {
                self.ahead = Some(entry);
                return Ok(());
            }
            self.tape.read(&entry, &mut self.copy)?;
            if self.copy != self.json {
                return Err(ArchiveError::DuplicateEntry { path: entry.path });
            }
            if let Place::Item { version: Some(version), .. } = Place::of(&entry.path) {
                self.path.version.get_or_insert_with(|| version.to_owned());
            }
        }
    }

    /// Whether this object was not there before.
    fn first(&mut self, path: &str) -> Result<bool, ArchiveError> {
        let place = self.hashes.hash_one((&self.path.group_resource, &self.path.namespace, &self.path.name));
        let content = self.hashes.hash_one(&self.json);
        match self.seen.entry(place) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(content);
                Ok(true)
            }
            hash_map::Entry::Occupied(entry) if *entry.get() == content => Ok(false),
            hash_map::Entry::Occupied(_) => Err(ArchiveError::DuplicateEntry { path: path.to_owned() }),
        }
    }

    fn version(&mut self, entry: &TapeEntry) -> Result<(), ArchiveError> {
        if entry.size > LARGEST_VERSION {
            return Err(ArchiveError::Limit {
                what: "bytes of a version",
                limit: LARGEST_VERSION,
                entry: Some(entry.path.clone()),
            });
        }
        self.tape.read(entry, &mut self.copy)?;
        let version = String::from_utf8_lossy(self.copy.trim_ascii()).into_owned();
        match version.split('.').next().and_then(|major| major.parse::<u64>().ok()) {
            Some(major) if major > 1 => Err(ArchiveError::Future { found: version }),
            _ => {
                self.summary.format_version = Some(version);
                Ok(())
            }
        }
    }
}

impl<R> fmt::Debug for ArchiveReader<R> {
    /// Without what it holds: Secrets may be among it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ArchiveReader").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// Without a new allocation where the old one is large enough.
fn assign(target: &mut String, text: &str) {
    target.clear();
    target.push_str(text);
}
