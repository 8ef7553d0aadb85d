//! Where things lie in a store: Velero's below its prefix, ours beside it.
//!
//! ```text
//! velero/backups/NAME/…                         as Velero has it, and dxdr-manifest.json
//! velero-dxdr/points/ENVIRONMENT/8285…-NAME     the index: newest first
//! velero-dxdr/runs/RUN/000003-step-finished.json
//! velero-dxdr/reports/…   velero-dxdr/keys/…
//! ```
//!
//! Velero takes a storage location down when it finds a directory that it does not know at the location's root, so ours lie under a
//! prefix of their own; where Velero's prefix is empty, in `metadata/dxdr`, which Velero leaves alone.

use dxdr_environment::KeyFingerprint;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::velero::layout::{BackupObject, MANIFEST, METADATA};

/// Thirteen digits hold the milliseconds until 2286; taken off this, later instants come first.
const LAST_MILLISECOND: i64 = 9_999_999_999_999;

/// The keys of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLayout {
    /// Empty, or with a slash at its end.
    velero: String,
    own: String,
}

impl StoreLayout {
    /// For a store whose Velero prefix is `prefix`. Slashes around it mean nothing.
    pub fn new(prefix: &str) -> Self {
        match prefix.trim_matches('/') {
            "" => Self { velero: String::new(), own: "metadata/dxdr/".to_owned() },
            prefix => Self { velero: format!("{prefix}/"), own: format!("{prefix}-dxdr/") },
        }
    }

    /// `velero/`, or nothing: below it lies what Velero may see.
    pub fn velero_prefix(&self) -> &str {
        &self.velero
    }

    /// `velero-dxdr/`: below it lies what is ours alone.
    pub fn own_prefix(&self) -> &str {
        &self.own
    }

    /// `velero-dxdr/probes/NAME`: written to see whether that is possible, and removed again.
    pub fn probe_key(&self, name: &str) -> String {
        format!("{}probes/{name}", self.own)
    }

    /// `velero/backups/`: a directory below it is a backup.
    pub fn backups_prefix(&self) -> String {
        format!("{}backups/", self.velero)
    }

    /// `velero/backups/NAME/`
    pub fn backup_prefix(&self, name: &str) -> String {
        format!("{}backups/{name}/", self.velero)
    }

    /// The key of an object of the backup, from its key relative to the backup's folder.
    pub fn object_key(&self, name: &str, relative: &str) -> String {
        format!("{}backups/{name}/{relative}", self.velero)
    }

    /// The key of one of Velero's objects of the backup.
    pub fn backup_object_key(&self, name: &str, object: BackupObject) -> String {
        self.object_key(name, &object.file_name(name))
    }

    /// `velero/backups/NAME/NAME.tar.gz`
    pub fn archive_key(&self, name: &str) -> String {
        self.backup_object_key(name, BackupObject::Archive)
    }

    /// `velero/backups/NAME/velero-backup.json`
    pub fn backup_key(&self, name: &str) -> String {
        self.object_key(name, METADATA)
    }

    /// `velero/backups/NAME/dxdr-manifest.json`
    pub fn manifest_key(&self, name: &str) -> String {
        self.object_key(name, MANIFEST)
    }

    /// `velero/restores/NAME/restore-NAME-results.gz`: what Velero says of a Restore.
    pub fn restore_results_key(&self, name: &str) -> String {
        format!("{}restores/{name}/restore-{name}-results.gz", self.velero_prefix())
    }

    /// `velero/restores/NAME/restore-NAME-resource-list.json.gz`: what became of each object of a Restore.
    pub fn restored_list_key(&self, name: &str) -> String {
        format!("{}restores/{name}/restore-{name}-resource-list.json.gz", self.velero_prefix())
    }

    /// `velero/restores/NAME/NAME-volumeinfo.json.gz`: what its volumes were made from.
    pub fn restored_volumes_key(&self, name: &str) -> String {
        format!("{}restores/{name}/{name}-volumeinfo.json.gz", self.velero_prefix())
    }

    /// `velero-dxdr/transfers/`: a directory below it is a run's.
    pub fn transfers_prefix(&self) -> String {
        format!("{}transfers/", self.own)
    }

    /// `velero-dxdr/transfers/RUN/NAME.sql.gz`: what a database service writes on the way from one of its instances to another.
    pub fn transfer_key(&self, run: &str, name: &str) -> String {
        format!("{}{run}/{name}.sql.gz", self.transfers_prefix())
    }

    /// `velero-dxdr/runs/`: a directory below it is a run.
    pub fn runs_prefix(&self) -> String {
        format!("{}runs/", self.own)
    }

    /// `velero-dxdr/runs/RUN/`
    pub fn journal_prefix(&self, run: &str) -> String {
        format!("{}runs/{run}/", self.own)
    }

    /// `velero-dxdr/runs/RUN/000003.json`, `word` being the entry's. Two entries of one number and different words have different
    /// keys, so the number alone decides what a conditional create protects: the word stands in the entry, not in the key.
    pub fn journal_key(&self, run: &str, sequence: u32) -> String {
        format!("{}runs/{run}/{sequence:06}.json", self.own)
    }

    /// `velero-dxdr/points/`
    pub fn point_indexes_prefix(&self) -> String {
        format!("{}points/", self.own)
    }

    /// `velero-dxdr/points/ENVIRONMENT/`
    pub fn point_index_prefix(&self, environment: &str) -> String {
        format!("{}points/{environment}/", self.own)
    }

    /// The index entry of a point: an object whose key says all. A LIST of the prefix has the newest first.
    pub fn point_index_key(&self, environment: &str, instant: Timestamp, name: &str) -> String {
        format!("{}points/{environment}/{:013}-{name}", self.own, inverted(instant))
    }

    /// A LIST that starts after this key begins with the newest point at or before `at`. The index knows milliseconds: points later
    /// in the same one come too, and the caller compares instants.
    pub fn point_index_start_after(&self, environment: &str, at: Timestamp) -> String {
        // Shorter than the keys that begin with it, hence before them.
        format!("{}points/{environment}/{:013}", self.own, inverted(at))
    }

    /// The instant, to the millisecond, and the name of the point that an index entry is of; `None` for any other key.
    pub fn parse_point_index_key(&self, key: &str) -> Option<(Timestamp, String)> {
        let (_, entry) = key.strip_prefix(self.own.as_str())?.strip_prefix("points/")?.split_once('/')?;
        let (digits, name) = entry.split_once('-')?;
        if digits.len() != 13 || !digits.bytes().all(|digit| digit.is_ascii_digit()) || name.is_empty() || name.contains('/') {
            return None;
        }
        let instant = Timestamp::from_millisecond(LAST_MILLISECOND - digits.parse::<i64>().ok()?).ok()?;
        Some((instant, name.to_owned()))
    }

    /// `velero-dxdr/reports/`
    pub fn reports_prefix(&self) -> String {
        format!("{}reports/", self.own)
    }

    /// `velero-dxdr/keys/POLICY/`: a directory below it is a sealing key in escrow. Keys of one cluster never mix with those of another:
    /// each has a policy of its own.
    pub fn escrow_prefix(&self, policy: &str) -> String {
        format!("{}keys/{policy}/", self.own)
    }

    /// `velero-dxdr/keys/POLICY/FINGERPRINT/20260501t100000z.age`, and what lies beside it. Instants count to the second.
    pub fn escrow_key(&self, policy: &str, fingerprint: &KeyFingerprint, object: EscrowObject) -> String {
        let name = match object {
            EscrowObject::File(escrowed) => format!("{}.age", stamp(escrowed)),
            EscrowObject::Entry(escrowed) => format!("{}.json", stamp(escrowed)),
            EscrowObject::Proof(escrowed, proved) => format!("{}.proved-{}", stamp(escrowed), stamp(proved)),
        };
        format!("{}{}/{name}", self.escrow_prefix(policy), fingerprint.file_name())
    }

    /// What an object of the escrow is; `None` for any other key.
    pub fn parse_escrow_key(&self, policy: &str, key: &str) -> Option<(KeyFingerprint, EscrowObject)> {
        let (fingerprint, name) = key.strip_prefix(&self.escrow_prefix(policy))?.split_once('/')?;
        let (escrowed, kind) = name.split_once('.')?;
        let escrowed = parse_stamp(escrowed)?;
        let object = match kind {
            "age" => EscrowObject::File(escrowed),
            "json" => EscrowObject::Entry(escrowed),
            other => EscrowObject::Proof(escrowed, parse_stamp(other.strip_prefix("proved-")?)?),
        };
        Some((KeyFingerprint::of_file_name(fingerprint).ok()?, object))
    }
}

/// One of the objects that make a key in escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscrowObject {
    /// The encrypted key, by when it was put there.
    File(Timestamp),
    /// What is public of it: with it the file counts.
    Entry(Timestamp),
    /// Empty: that the file of the first instant opened at the second.
    Proof(Timestamp, Timestamp),
}

fn stamp(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string()
}

fn parse_stamp(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dt%H%M%Sz", text).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn inverted(instant: Timestamp) -> i64 {
    // `as_millisecond` rounds towards zero, which before 1970 is not down; nothing was backed up then.
    LAST_MILLISECOND - instant.as_millisecond().clamp(0, LAST_MILLISECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ours_lies_beside_veleros_prefix() {
        let layout = StoreLayout::new("/team/velero/");
        assert_eq!(layout.archive_key("a-1"), "team/velero/backups/a-1/a-1.tar.gz");
        assert_eq!(layout.manifest_key("a-1"), "team/velero/backups/a-1/dxdr-manifest.json");
        assert_eq!(layout.backup_key("a-1"), "team/velero/backups/a-1/velero-backup.json");
        assert_eq!(layout.journal_key("r", 3), "team/velero-dxdr/runs/r/000003.json");
    }

    #[test]
    fn objects_of_the_escrow_are_told_by_their_keys() {
        let layout = StoreLayout::new("velero");
        let fingerprint: KeyFingerprint = "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k".parse().unwrap();
        let (escrowed, proved) = (at("2026-05-01T10:00:00Z"), at("2026-06-01T10:00:00Z"));
        let entry = layout.escrow_key("default", &fingerprint, EscrowObject::Entry(escrowed));
        assert_eq!(entry, "velero-dxdr/keys/default/tj6dotW1wnT1W6u7KImPixNn_-UFMO_nrJwCM3jVI4k/20260501t100000z.json");
        for object in [EscrowObject::File(escrowed), EscrowObject::Entry(escrowed), EscrowObject::Proof(escrowed, proved)] {
            assert_eq!(
                layout.parse_escrow_key("default", &layout.escrow_key("default", &fingerprint, object)),
                Some((fingerprint.clone(), object))
            );
        }
        assert_eq!(layout.parse_escrow_key("default", "velero-dxdr/keys/default/other/20260501t100000z.json"), None);
        assert_eq!(layout.parse_escrow_key("other", &entry), None);
    }

    #[test]
    fn without_a_prefix_ours_lies_where_velero_does_not_look() {
        let layout = StoreLayout::new("");
        assert_eq!(layout.archive_key("a-1"), "backups/a-1/a-1.tar.gz");
        let top = layout.own_prefix().split('/').next().unwrap();
        assert!(crate::velero::layout::TOP_LEVEL_DIRECTORIES.contains(&top));
    }

    #[test]
    fn the_first_index_entry_behind_an_instant_is_the_newest_point_at_or_before_it() {
        let layout = StoreLayout::new("velero");
        let points = [
            ("2024-05-01T09:00:00Z", "staging-1"),
            ("2024-05-01T09:59:59.999Z", "staging-2"),
            ("2024-05-01T10:00:00Z", "staging-3"),
            ("2024-05-01T10:00:00.001Z", "staging-4"),
        ];
        let mut keys: Vec<String> =
            points.iter().map(|(instant, name)| layout.point_index_key("staging", at(instant), name)).collect();
        keys.sort();
        for (asked, expected) in [
            ("2024-05-01T10:00:00Z", Some("staging-3")),
            ("2024-05-01T09:59:59.9999Z", Some("staging-2")),
            ("2024-05-01T12:00:00Z", Some("staging-4")),
            ("2024-05-01T09:00:00Z", Some("staging-1")),
            ("2024-05-01T08:59:59Z", None),
        ] {
            let start_after = layout.point_index_start_after("staging", at(asked));
            let found = keys.iter().find(|key| **key > start_after).and_then(|key| layout.parse_point_index_key(key));
            assert_eq!(found.as_ref().map(|(_, name)| name.as_str()), expected, "{asked}");
        }
    }

    #[test]
    fn an_index_key_is_read_as_it_was_written() {
        for prefix in ["velero", ""] {
            let layout = StoreLayout::new(prefix);
            let instant = at("2024-05-01T10:00:00.123Z");
            let key = layout.point_index_key("staging", instant, "staging-20240501t100000z-x7k2m");
            assert_eq!(layout.parse_point_index_key(&key), Some((instant, "staging-20240501t100000z-x7k2m".to_owned())));
            assert_eq!(layout.parse_point_index_key(&layout.journal_key("r", 1)), None);
            assert_eq!(layout.parse_point_index_key(&format!("{}12-a", layout.point_index_prefix("staging"))), None);
        }
    }
}
