//! Resumable upload sessions.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{condition::Conditions, content::Content, failure::Failure, identity::Caller, object::Description, store::Place};

/// What is kept of a session, and what a piece that is not the last must be a multiple of.
pub(crate) const QUANTUM: u64 = 256 * 1024;

/// An upload that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) place: Place,
    pub(crate) description: Description,
    pub(crate) conditions: Conditions,
    /// Who began it: its URL is as good as their credentials.
    pub(crate) caller: Caller,
    pub(crate) content: Content,
    pub(crate) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// The object is there, of this generation.
    Finished(i64),
    Cancelled,
    Expired,
}

/// All sessions, by their id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: BTreeMap<String, Session>,
    count: u64,
}

impl Sessions {
    /// Begins one, and says its id.
    pub(crate) fn begin(&mut self, place: Place, description: Description, conditions: Conditions, caller: Caller) -> String {
        self.count += 1;
        let id = format!("S{:08}", self.count);
        let session = Session { place, description, conditions, caller, content: Content::default(), state: State::Open };
        self.all.insert(id.clone(), session);
        id
    }

    pub(crate) fn get(&mut self, id: &str) -> Result<&mut Session, Failure> {
        self.all.get_mut(id).ok_or_else(|| Failure::new(404, "notFound", "No such upload session."))
    }

    pub(crate) fn open(&self) -> usize {
        self.all.values().filter(|session| session.state == State::Open).count()
    }

    pub(crate) fn expire(&mut self) {
        for session in self.all.values_mut().filter(|session| session.state == State::Open) {
            session.end(State::Expired);
        }
    }
}

impl Session {
    /// Fails when nothing more can be sent.
    pub(crate) fn check_usable(&self) -> Result<(), Failure> {
        match self.state {
            State::Open | State::Finished(_) => Ok(()),
            State::Cancelled => Err(Failure::new(499, "clientClosedRequest", "Client Closed Request")),
            State::Expired => Err(Failure::new(410, "gone", "The upload session has expired.")),
        }
    }

    pub(crate) fn end(&mut self, state: State) {
        self.state = state;
        self.content = Content::default();
    }

    /// What is persisted: whole quanta of what arrived.
    pub(crate) fn settle(&mut self) -> u64 {
        self.content.truncate(self.content.len() / QUANTUM * QUANTUM);
        self.content.len()
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.content.push(bytes);
    }
}

/// What `content-range` says of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// `None`: no bytes come.
    pub(crate) start: Option<u64>,
    /// Where the piece ends, if that is said.
    pub(crate) end: Option<u64>,
    /// How long the whole is, once that is known.
    pub(crate) total: Option<u64>,
}

impl Piece {
    /// `bytes 0-9/100`, `bytes 0-9/*`, `bytes 0-*/*`, `bytes */100`, `bytes */*`; without a header, the whole comes.
    pub(crate) fn parse(header: Option<&str>) -> Option<Self> {
        let Some(header) = header else {
            return Some(Self { start: Some(0), end: None, total: None });
        };
        let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { start: None, end: None, total });
        }
        let (start, end) = range.split_once('-')?;
        let end = if end == "*" { None } else { Some(end.parse::<u64>().ok()?.checked_add(1)?) };
        let start = start.parse().ok()?;
        if end.is_some_and(|end| end <= start) || end.zip(total).is_some_and(|(end, total)| end > total) {
            return None;
        }
        Some(Self { start: Some(start), end, total })
    }

    /// Whether the upload ends with the last byte that comes: the total is known, or the piece is open-ended.
    pub(crate) fn is_last(&self) -> bool {
        match (self.end, self.total) {
            (Some(end), Some(total)) => end == total,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let parse = |text| Piece::parse(Some(text)).map(|piece| (piece.start, piece.end, piece.total));
        assert_eq!(parse("bytes 0-9/100"), Some((Some(0), Some(10), Some(100))));
        assert_eq!(parse("bytes 5-9/*"), Some((Some(5), Some(10), None)));
        assert_eq!(parse("bytes 5-*/*"), Some((Some(5), None, None)));
        assert_eq!(parse("bytes */0"), Some((None, None, Some(0))));
        assert_eq!(parse("bytes */*"), Some((None, None, None)));
        for wrong in ["bytes 9-5/100", "bytes 0-100/100", "0-9/100", "bytes 0-9", "bytes a-9/100"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(Piece::parse(None).unwrap().is_last());
        assert!(!Piece::parse(Some("bytes 0-9/100")).unwrap().is_last());
        assert!(Piece::parse(Some("bytes 90-99/100")).unwrap().is_last());
    }
}
