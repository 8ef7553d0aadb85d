//! The ledger of a database instance: `dxdr.io/v1` `InstanceLedger`, one line of JSON in an annotation of its Lease.
//!
//! Unlike everything else here it is read, changed and written again. An older dxdr would write back less than it read, so a field that must
//! not be lost needs a new version, which an older one refuses.

use dxdr_plan::instance::{Entry, Job, Ledger, Priority, Progress, Work};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    FormatError,
    version::{self, API_VERSION},
};

const KIND: &str = "InstanceLedger";
const WHAT: &str = "ledger of a database instance";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredLedger {
    api_version: String,
    kind: String,
    last_token: u64,
    entries: Vec<StoredEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredEntry {
    job: String,
    run: String,
    environment: String,
    priority: StoredPriority,
    work: StoredWork,
    deadline: Timestamp,
    since: Timestamp,
    process: String,
    alive_until: Timestamp,
    progress: StoredProgress,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredPriority {
    Restore,
    Drill,
    Backup,
    RepeatedExport,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum StoredWork {
    Export { uri: String, offloaded: bool },
    Import { uri: String, database: String },
    Backup { description: String },
    Clone { destination: String },
    Restore { destination: String },
    DeleteBackup { backup: String },
    CreateDatabase { database: String },
    DeleteDatabase { database: String },
    DeleteInstance,
    Label,
    Other { operation: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum StoredProgress {
    Waiting,
    Claimed { token: u64, until: Timestamp },
    Accepted { operation: String },
}

/// The text of a ledger.
pub fn write(ledger: &Ledger) -> String {
    let stored = StoredLedger {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        last_token: ledger.last_token,
        entries: ledger.entries.iter().map(StoredEntry::from).collect(),
    };
    // Texts and numbers serialise.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// Reads a ledger.
pub fn read(text: &str) -> Result<Ledger, FormatError> {
    version::check(WHAT, KIND, text.as_bytes())?;
    let stored: StoredLedger = serde_json::from_str(text).map_err(|source| FormatError::Json { what: WHAT, source })?;
    Ok(Ledger { last_token: stored.last_token, entries: stored.entries.into_iter().map(Entry::from).collect() })
}

impl From<&Entry> for StoredEntry {
    fn from(entry: &Entry) -> Self {
        let Entry { job, since, process, alive_until, progress } = entry.clone();
        Self {
            job: job.id,
            run: job.run,
            environment: job.environment,
            priority: match job.priority {
                Priority::Restore => StoredPriority::Restore,
                Priority::Drill => StoredPriority::Drill,
                Priority::Backup => StoredPriority::Backup,
                Priority::RepeatedExport => StoredPriority::RepeatedExport,
            },
            work: match job.work {
                Work::Export { uri, offloaded } => StoredWork::Export { uri, offloaded },
                Work::Import { uri, database } => StoredWork::Import { uri, database },
                Work::Backup { description } => StoredWork::Backup { description },
                Work::Clone { destination } => StoredWork::Clone { destination },
                Work::Restore { destination } => StoredWork::Restore { destination },
                Work::DeleteBackup { backup } => StoredWork::DeleteBackup { backup },
                Work::CreateDatabase { database } => StoredWork::CreateDatabase { database },
                Work::DeleteDatabase { database } => StoredWork::DeleteDatabase { database },
                Work::DeleteInstance => StoredWork::DeleteInstance,
                Work::Label => StoredWork::Label,
                Work::Other(operation) => StoredWork::Other { operation },
            },
            deadline: job.deadline,
            since,
            process,
            alive_until,
            progress: match progress {
                Progress::Waiting => StoredProgress::Waiting,
                Progress::Claimed { token, until } => StoredProgress::Claimed { token, until },
                Progress::Accepted { operation } => StoredProgress::Accepted { operation },
            },
        }
    }
}

impl From<StoredEntry> for Entry {
    fn from(stored: StoredEntry) -> Self {
        let StoredEntry { job, run, environment, priority, work, deadline, since, process, alive_until, progress } = stored;
        Self {
            job: Job {
                id: job,
                run,
                environment,
                priority: match priority {
                    StoredPriority::Restore => Priority::Restore,
                    StoredPriority::Drill => Priority::Drill,
                    StoredPriority::Backup => Priority::Backup,
                    StoredPriority::RepeatedExport => Priority::RepeatedExport,
                },
                work: match work {
                    StoredWork::Export { uri, offloaded } => Work::Export { uri, offloaded },
                    StoredWork::Import { uri, database } => Work::Import { uri, database },
                    StoredWork::Backup { description } => Work::Backup { description },
                    StoredWork::Clone { destination } => Work::Clone { destination },
                    StoredWork::Restore { destination } => Work::Restore { destination },
                    StoredWork::DeleteBackup { backup } => Work::DeleteBackup { backup },
                    StoredWork::CreateDatabase { database } => Work::CreateDatabase { database },
                    StoredWork::DeleteDatabase { database } => Work::DeleteDatabase { database },
                    StoredWork::DeleteInstance => Work::DeleteInstance,
                    StoredWork::Label => Work::Label,
                    StoredWork::Other { operation } => Work::Other(operation),
                },
                deadline,
            },
            since,
            process,
            alive_until,
            progress: match progress {
                StoredProgress::Waiting => Progress::Waiting,
                StoredProgress::Claimed { token, until } => Progress::Claimed { token, until },
                StoredProgress::Accepted { operation } => Progress::Accepted { operation },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn job(id: &str, priority: Priority, work: Work) -> Job {
        let (run, environment) = ("run".to_owned(), "staging".to_owned());
        Job { id: id.to_owned(), run, environment, priority, work, deadline: at("2024-05-01T11:00:00Z") }
    }

    fn ledger() -> Ledger {
        let (uri, database) = ("gs://bucket/a.sql.gz".to_owned(), "app".to_owned());
        let works = [
            Work::Export { uri: uri.clone(), offloaded: true },
            Work::Import { uri, database: database.clone() },
            Work::Backup { description: "b".to_owned() },
            Work::Clone { destination: "c".to_owned() },
            Work::Restore { destination: "r".to_owned() },
            Work::DeleteBackup { backup: "projects/p/backups/1".to_owned() },
            Work::CreateDatabase { database: database.clone() },
            Work::DeleteDatabase { database },
            Work::DeleteInstance,
            Work::Label,
            Work::Other("MAINTENANCE".to_owned()),
        ];
        let priorities = [Priority::Restore, Priority::Drill, Priority::Backup, Priority::RepeatedExport];
        let now = at("2024-05-01T10:00:00Z");
        let mut ledger = Ledger::default();
        for (index, work) in works.into_iter().enumerate() {
            ledger = ledger.enqueued(&job(&index.to_string(), priorities[index % 4], work), "desk/1", now);
        }
        ledger.claimed("0", now).accepted("1", "operation-1")
    }

    #[test]
    fn a_ledger_reads_back_as_it_was_written() {
        assert_eq!(read(&write(&ledger())).unwrap(), ledger());
        assert_eq!(read(&write(&Ledger::default())).unwrap(), Ledger::default());
    }

    #[test]
    fn what_an_older_dxdr_would_lose_it_refuses() {
        let newer = write(&ledger()).replace("dxdr.io/v1", "dxdr.io/v2");
        assert!(matches!(read(&newer), Err(FormatError::Future { .. })));
        let unknown = write(&ledger()).replacen("\"lastToken\"", "\"more\":1,\"lastToken\"", 1);
        assert!(matches!(read(&unknown), Err(FormatError::Json { .. })));
        assert!(read("{}").is_err());
    }
}
