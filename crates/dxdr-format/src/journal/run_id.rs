//! Identifiers of runs: `20240501t100000z-restore-staging-x7k2m`.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::RunKind;

/// An identifier, taken apart. Identifiers sort by time, whatever runs they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId {
    /// When it was planned, to the second.
    pub started: Timestamp,
    /// Which kind of run.
    pub kind: RunKind,
    /// The environment.
    pub environment: String,
    /// What makes it unique.
    pub tail: String,
}

impl RunId {
    /// `None` for anything that is no identifier.
    pub fn parse(text: &str) -> Option<Self> {
        let (stamp, rest) = text.split_once('-')?;
        let (kind, rest) = rest.split_once('-')?;
        let (environment, tail) = rest.rsplit_once('-')?;
        if stamp.len() != 16 || environment.is_empty() || tail.is_empty() {
            return None;
        }
        let civil = DateTime::strptime("%Y%m%dt%H%M%Sz", stamp).ok()?;
        let kind = [RunKind::Backup, RunKind::Restore].into_iter().find(|known| known.word() == kind)?;
        Some(Self {
            started: TimeZone::UTC.to_timestamp(civil).ok()?,
            kind,
            environment: environment.to_owned(),
            tail: tail.to_owned(),
        })
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = self.started.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string();
        write!(formatter, "{stamp}-{}-{}-{}", self.kind.word(), self.environment, self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_taken_apart_and_put_together() {
        let text = "20240501t100000z-restore-team-staging-x7k2m";
        let id = RunId::parse(text).unwrap();
        assert_eq!(id.started, "2024-05-01T10:00:00Z".parse().unwrap());
        assert_eq!((id.kind, id.environment.as_str(), id.tail.as_str()), (RunKind::Restore, "team-staging", "x7k2m"));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn other_names_are_no_identifiers() {
        for text in [
            "",
            "staging",
            "20240501t100000z",
            "20240501t100000z-restore-staging",
            "20240501t100000z-dance-staging-x",
            "20241301t100000z-backup-staging-x",
            "2024-05-01-backup-staging-x",
            "20240501t100000z-backup--x",
        ] {
            assert_eq!(RunId::parse(text), None, "{text}");
        }
    }
}
