//! What becomes of each database: a dump, an export, left out as somebody said, or not protected and why.

use dxdr_catalog::Gap;
use dxdr_environment::{
    DatabaseLocation, DatabaseUnit, InstanceName, PostgresqlServer,
    database::{SecretKeys, TlsMode},
};
use dxdr_policy::{Consistency, DatabaseMethod, DatabasePolicy, HoldTime, References};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{BackupPlan, ExportPlan, InstanceBackupPlan, LogPlan, export, instance, log};
use crate::step::Step;

/// Folder of what is captured of databases, in the point's own.
pub const DATABASES_FOLDER: &str = "databases/";

/// What becomes of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePlan {
    /// Which.
    pub unit: DatabaseUnit,
    /// What is done.
    pub fate: DatabaseFate,
}

/// What is done with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseFate {
    /// It is dumped into the point.
    Dump(DumpPlan),
    /// The database service writes it into the point.
    Export(ExportPlan),
    /// The point names an instant in the log of its instance.
    Log(LogPlan),
    /// The database service backs its whole instance up, and the point names the backup.
    Backup(InstanceBackupPlan),
    /// It is left out, as somebody said: the reason.
    LeftOut(String),
    /// It should be captured and cannot be: the reason. The point is partial.
    Unprotected(String),
}

/// How a database is dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPlan {
    /// Where the dump goes, relative to the point's folder.
    pub key: String,
    /// What is promised about it and the volumes.
    pub consistency: Consistency,
    /// Which of the two points to the other.
    pub references: References,
    /// How long it may take.
    pub timeout: SignedDuration,
}

impl DumpPlan {
    /// When its instant is fixed.
    pub fn hold_time(&self) -> HoldTime {
        self.consistency.hold_time(self.references)
    }

    /// Why a hold at that time does not keep the promise, `late` being why it was no earlier one; `None` when it does. `replica`: whether it was read from one;
    /// `volumes` and `hooks`: whether there are any.
    pub(super) fn broken_by(&self, (held, late): (HoldTime, Late), replica: bool, volumes: bool, hooks: bool) -> Option<String> {
        let broken =
            |why: &str, consequence: &str| Some(format!("it is not `{}`: {why}; {consequence}", self.consistency.word()));
        if replica && self.consistency.needs_hooks() && hooks {
            return broken(BEHIND, "what applications wrote before they held still may be missing");
        }
        let again = &match late {
            Late::Interrupted => "the run was interrupted, and the database was captured again later".to_owned(),
            Late::LetGo => format!(
                "Velero had not cut its snapshots within {:#}, after which the database was let go, and it was captured again later",
                self.timeout
            ),
        };
        if self.consistency.needs_hooks() && hooks && held == HoldTime::Whenever {
            return broken(again, "the applications had gone on by then");
        }
        // What is older than it seems is no harm where rows name files.
        if replica && volumes && self.consistency != Consistency::Independent && self.references == References::VolumesToDatabase
        {
            return broken(BEHIND, self.references.dangling());
        }
        // A database that is newer than the volumes lacks nothing that their files name.
        let older = self.references == References::VolumesToDatabase || held == HoldTime::BeforeSnapshots;
        // Within the hooks nothing changes, whichever comes first.
        let still = self.consistency.needs_hooks() && hooks;
        if self.consistency == Consistency::Independent || !volumes || older || still {
            return None;
        }
        broken(again, self.references.dangling())
    }
}

/// Why a database was held later than it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Late {
    /// What an earlier process of the run held was lost with it.
    #[default]
    Interrupted,
    /// It was held for as long as a dump may take, and let go.
    LetGo,
}

/// How far it is behind cannot be known: its clock, the primary's and the storage's are three.
const BEHIND: &str =
    "it was read from a replica, which may not have had yet what its primary had: name the primary in the environment";

impl DatabasePlan {
    /// How it is dumped, if it is.
    pub fn dump(&self) -> Option<&DumpPlan> {
        match &self.fate {
            DatabaseFate::Dump(dump) => Some(dump),
            _ => None,
        }
    }

    /// How its instant is fixed in the log of its instance, if it is.
    pub fn log(&self) -> Option<&LogPlan> {
        match &self.fate {
            DatabaseFate::Log(log) => Some(log),
            _ => None,
        }
    }

    /// How the service exports it, if it does.
    pub fn export(&self) -> Option<&ExportPlan> {
        match &self.fate {
            DatabaseFate::Export(export) => Some(export),
            _ => None,
        }
    }

    /// How its instance is backed up, if it is.
    pub fn backup(&self) -> Option<&InstanceBackupPlan> {
        match &self.fate {
            DatabaseFate::Backup(backup) => Some(backup),
            _ => None,
        }
    }

    /// Whether a run has to capture it while it is as it is. What is in a log stays there.
    pub fn needs_run(&self) -> bool {
        matches!(self.fate, DatabaseFate::Dump(_) | DatabaseFate::Export(_) | DatabaseFate::Backup(_))
    }

    /// What a point lacks without it.
    pub fn what(&self) -> String {
        self.unit.to_string()
    }

    /// What is known to be missing before anything is done.
    pub fn gap(&self) -> Option<Gap> {
        match &self.fate {
            DatabaseFate::Unprotected(reason) => Some(Gap { what: self.what(), reason: reason.clone() }),
            _ => None,
        }
    }
}

impl BackupPlan {
    /// The same plan with what becomes of the databases.
    pub fn with_databases(mut self, databases: Vec<DatabasePlan>) -> Self {
        self.databases = databases;
        self.gaps.extend(self.databases.iter().filter_map(DatabasePlan::gap));
        self.lay_out();
        self
    }
}

/// What becomes of databases under the policy of that name, or without one: everything is captured then that can be. `no_exports`: why Cloud SQL cannot
/// write into the store.
pub fn planned(
    units: Vec<DatabaseUnit>,
    policy: Option<DatabasePolicy>,
    named: Option<&str>,
    no_exports: Option<&str>,
) -> Vec<DatabasePlan> {
    units.into_iter().flat_map(|unit| fates(unit, policy, named, no_exports)).collect()
}

/// What becomes of a database: more than one thing, where the policy wants both an export and the instance's log.
fn fates(unit: DatabaseUnit, policy: Option<DatabasePolicy>, named: Option<&str>, no_exports: Option<&str>) -> Vec<DatabasePlan> {
    let by_log = match (policy, &unit.location) {
        (Some(policy), DatabaseLocation::CloudSql { project, instance, .. }) => {
            log::planned(&unit, &InstanceName::new(project, instance), policy)
        }
        _ => None,
    };
    if let (Some(planned), Some(DatabaseMethod::PointInTime)) = (&by_log, policy.map(|policy| policy.method)) {
        return vec![planned.clone()];
    }
    let own = DatabasePlan { fate: fate(&unit, policy, named, no_exports), unit };
    [own].into_iter().chain(by_log).collect()
}

fn fate(unit: &DatabaseUnit, policy: Option<DatabasePolicy>, named: Option<&str>, no_exports: Option<&str>) -> DatabaseFate {
    let policy = match (policy, named) {
        (Some(policy), _) => policy,
        (None, Some(named)) => {
            return DatabaseFate::LeftOut(format!("policy `{named}` captures no databases: it has no `databases.method`"));
        }
        (None, None) => DatabasePolicy::by(DatabaseMethod::Export),
    };
    match &unit.location {
        DatabaseLocation::CloudSql { project, instance, .. } if policy.method == DatabaseMethod::Backup => {
            DatabaseFate::Backup(InstanceBackupPlan::new(InstanceName::new(project, instance), policy))
        }
        DatabaseLocation::CloudSql { project, instance, .. } => {
            export::fate(unit, InstanceName::new(project, instance), policy, named, no_exports)
        }
        DatabaseLocation::Postgresql(_) if matches!(policy.method, DatabaseMethod::PointInTime | DatabaseMethod::Backup) => {
            DatabaseFate::Unprotected(
                "a PostgreSQL server in the cluster is captured by dumps alone: say `databases.method: export`".to_owned(),
            )
        }
        DatabaseLocation::Postgresql(_) => DatabaseFate::Dump(DumpPlan {
            key: format!("{DATABASES_FOLDER}{}.dump", unit.file_name()),
            consistency: policy.consistency,
            references: policy.references,
            timeout: policy.timeout,
        }),
    }
}

/// The step in which databases are dumped; `None` when none is.
pub(crate) fn dump_step(count: usize) -> Option<Step> {
    (count > 0).then(|| {
        Step::new(
            "dump",
            format!("Dump {} into the store", counted(count)),
            "each as it was at the instant that was fixed around the snapshots; applications have long gone on",
            true,
        )
    })
}

pub(super) fn counted(count: usize) -> String {
    if count == 1 { "1 database".to_owned() } else { format!("{count} databases") }
}

/// For a journal.
pub(crate) fn parameters(databases: &[DatabasePlan]) -> Value {
    databases
        .iter()
        .map(|database| {
            let mut record = json!({
                "name": database.unit.name, "database": database.unit.database, "location": location(&database.unit.location),
            });
            match &database.fate {
                DatabaseFate::Dump(dump) => {
                    record["dump"] = json!({
                        "key": dump.key, "consistency": dump.consistency.word(), "references": dump.references.word(),
                        "timeout": dump.timeout.as_secs(),
                    });
                }
                DatabaseFate::Export(export) => record["export"] = export::parameters(export),
                DatabaseFate::Log(log) => record["log"] = log::parameters(log),
                DatabaseFate::Backup(backup) => record["backup"] = instance::parameters(backup),
                DatabaseFate::LeftOut(reason) => record["leftOut"] = reason.as_str().into(),
                DatabaseFate::Unprotected(reason) => record["unprotected"] = reason.as_str().into(),
            }
            record
        })
        .collect()
}

/// What a journal has; `None` where something is missing.
pub(crate) fn recorded(value: &Value) -> Option<Vec<DatabasePlan>> {
    let database = |record: &Value| {
        let owned = |pointer: &str| text(record, pointer);
        let fate = if let Some(reason) = owned("/leftOut") {
            DatabaseFate::LeftOut(reason)
        } else if let Some(reason) = owned("/unprotected") {
            DatabaseFate::Unprotected(reason)
        } else if let Some(exported) = record.get("export") {
            DatabaseFate::Export(export::recorded(exported)?)
        } else if let Some(logged) = record.get("log") {
            DatabaseFate::Log(log::recorded(logged)?)
        } else if let Some(backed_up) = record.get("backup") {
            DatabaseFate::Backup(instance::recorded(backed_up)?)
        } else {
            DatabaseFate::Dump(DumpPlan {
                key: owned("/dump/key")?,
                consistency: Consistency::of_word(&owned("/dump/consistency")?)?,
                references: References::of_word(&owned("/dump/references")?)?,
                timeout: SignedDuration::from_secs(record.pointer("/dump/timeout")?.as_i64()?),
            })
        };
        let location = recorded_location(record.get("location")?)?;
        Some(DatabasePlan { unit: DatabaseUnit { name: owned("/name")?, database: owned("/database"), location }, fate })
    };
    value.as_array()?.iter().map(database).collect()
}

pub(crate) fn location(location: &DatabaseLocation) -> Value {
    match location {
        DatabaseLocation::CloudSql { project, instance, databases } => {
            json!({"cloudSql": {"project": project, "instance": instance, "databases": databases}})
        }
        DatabaseLocation::Postgresql(server) => {
            let keys = &server.secret_keys;
            json!({"postgresql": {
                "service": server.service, "port": server.port, "address": server.address, "databases": server.databases,
                "credentialsSecret": server.credentials_secret, "tls": server.tls.word(),
                "secretKeys": [keys.username, keys.password, keys.host, keys.port, keys.database, keys.certificate_authority],
            }})
        }
    }
}

pub(crate) fn recorded_location(value: &Value) -> Option<DatabaseLocation> {
    if let Some(sql) = value.get("cloudSql") {
        return Some(DatabaseLocation::CloudSql {
            project: text(sql, "/project")?,
            instance: text(sql, "/instance")?,
            databases: list(sql.get("databases")?)?,
        });
    }
    let server = value.get("postgresql")?;
    let [username, password, host, port, database, certificate_authority] =
        <[String; 6]>::try_from(list(server.get("secretKeys")?)?).ok()?;
    let port_number = match server.get("port")? {
        Value::Null => None,
        number => Some(u16::try_from(number.as_u64()?).ok()?),
    };
    let tls = text(server, "/tls")?;
    Some(DatabaseLocation::Postgresql(PostgresqlServer {
        service: text(server, "/service"),
        port: port_number,
        address: text(server, "/address"),
        databases: list(server.get("databases")?)?,
        credentials_secret: text(server, "/credentialsSecret"),
        secret_keys: SecretKeys { username, password, host, port, database, certificate_authority },
        tls: TlsMode::ALL.into_iter().find(|mode| mode.word() == tls)?,
    }))
}

pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> DatabaseUnit {
        DatabaseUnit {
            name: "orders/shop".to_owned(),
            database: Some("shop".to_owned()),
            location: DatabaseLocation::Postgresql(PostgresqlServer {
                service: Some("postgres".to_owned()),
                port: Some(6432),
                address: None,
                databases: vec!["shop".to_owned(), "queue".to_owned()],
                credentials_secret: Some("orders".to_owned()),
                secret_keys: SecretKeys { password: "postgres-password".to_owned(), ..SecretKeys::default() },
                tls: TlsMode::VerifyFull,
            }),
        }
    }

    fn plan_of(policy: Option<DatabasePolicy>, named: Option<&str>) -> DatabasePlan {
        DatabasePlan { fate: fate(&unit(), policy, named, None), unit: unit() }
    }

    #[test]
    fn what_a_policy_says_of_databases_decides_and_without_one_they_are_captured() {
        let dump = plan_of(None, None).dump().cloned().unwrap();
        assert_eq!((dump.key.as_str(), dump.consistency), ("databases/orders%2Fshop.dump", Consistency::Aligned));
        assert!(matches!(plan_of(None, Some("nightly")).fate, DatabaseFate::LeftOut(reason) if reason.contains("`nightly`")));
        let policy = DatabasePolicy::by(DatabaseMethod::PointInTime);
        assert!(matches!(plan_of(Some(policy), Some("nightly")).fate, DatabaseFate::Unprotected(_)));
    }

    #[test]
    fn where_both_are_wanted_the_point_has_an_export_and_an_instant_in_the_log() {
        let location =
            DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases: vec!["shop".to_owned()] };
        let cloud = DatabaseUnit { name: "orders".to_owned(), database: Some("shop".to_owned()), location };
        let planned = |method| fates(cloud.clone(), Some(DatabasePolicy::by(method)), Some("nightly"), None);
        let kinds = |plans: &[DatabasePlan]| {
            let kind = |plan: &DatabasePlan| match &plan.fate {
                DatabaseFate::Export(_) => "export",
                DatabaseFate::Log(_) => "log",
                _ => "other",
            };
            plans.iter().map(kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&planned(DatabaseMethod::Export)), ["export"]);
        assert_eq!(kinds(&planned(DatabaseMethod::PointInTime)), ["log"]);
        let both = planned(DatabaseMethod::Both);
        assert_eq!(kinds(&both), ["export", "log"]);
        assert_eq!(recorded(&parameters(&both)), Some(both));
        // Nobody has asked for the log without a policy.
        assert_eq!(kinds(&fates(cloud.clone(), None, None, None)), ["export"]);
        // What the store cannot hold is a gap, and the log is relied on all the same.
        let elsewhere = fates(cloud.clone(), Some(DatabasePolicy::by(DatabaseMethod::Both)), Some("nightly"), Some("elsewhere"));
        assert_eq!(kinds(&elsewhere), ["other", "log"]);
        // A backup needs no store, and no name of a database.
        let backup = DatabasePolicy::by(DatabaseMethod::Backup);
        let whole = DatabaseUnit { database: None, ..cloud };
        let [planned] = &fates(whole, Some(backup), Some("nightly"), Some("elsewhere"))[..] else { panic!() };
        assert!(planned.needs_run() && planned.backup().unwrap().promise(false) == Consistency::Aligned);
        assert_eq!(planned.backup().unwrap().promise(true), Consistency::Independent, "rows may name files");
        assert!(matches!(fate(&unit(), Some(backup), Some("nightly"), None), DatabaseFate::Unprotected(_)));
        assert!(matches!(fates(unit(), None, None, None)[..], [DatabasePlan { fate: DatabaseFate::Dump(_), .. }]));
    }

    #[test]
    fn what_the_journal_has_is_what_was_planned() {
        let cloud = DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases: Vec::new() };
        let cloud = DatabaseUnit { name: "cloud".to_owned(), database: Some("shop".to_owned()), location: cloud };
        let policy = DatabasePolicy {
            consistency: Consistency::Logged,
            references: References::VolumesToDatabase,
            timeout: SignedDuration::from_mins(7),
            ..DatabasePolicy::by(DatabaseMethod::Both)
        };
        let whole = DatabasePolicy { method: DatabaseMethod::Backup, ..policy };
        let plans = vec![
            plan_of(Some(policy), Some("nightly")),
            plan_of(None, Some("nightly")),
            DatabasePlan { fate: fate(&cloud, Some(policy), None, None), unit: cloud.clone() },
            DatabasePlan { fate: fate(&cloud, Some(policy), Some("nightly"), Some("elsewhere")), unit: cloud.clone() },
            DatabasePlan { fate: fate(&cloud, Some(whole), Some("nightly"), Some("elsewhere")), unit: cloud },
        ];
        assert_eq!(recorded(&parameters(&plans)), Some(plans));
    }

    #[test]
    fn a_promise_is_broken_only_by_a_hold_that_came_too_late_for_it() {
        use HoldTime::{BeforeSnapshots, BehindSnapshots, Whenever};
        let broken = |consistency, references, held, volumes, hooks| {
            let dump = DumpPlan { key: String::new(), consistency, references, timeout: SignedDuration::ZERO };
            dump.broken_by((held, Late::default()), false, volumes, hooks)
        };
        let (rows, files) = (References::DatabaseToVolumes, References::VolumesToDatabase);
        assert_eq!(broken(Consistency::Aligned, rows, BeforeSnapshots, true, false), None);
        assert!(broken(Consistency::Aligned, rows, Whenever, true, true).unwrap().contains("rows may name files"));
        assert!(broken(Consistency::Aligned, rows, BehindSnapshots, true, true).is_some());
        // Nothing to dangle into.
        assert_eq!(broken(Consistency::Aligned, rows, Whenever, false, false), None);
        assert_eq!(broken(Consistency::Aligned, files, Whenever, true, true), None);
        assert_eq!(broken(Consistency::Quiesced, rows, BehindSnapshots, true, true), None);
        assert!(broken(Consistency::Quiesced, rows, Whenever, true, true).unwrap().contains("had gone on"));
        // Where nothing tells applications to hold still, what is left of the promise is the order.
        assert!(broken(Consistency::Logged, rows, Whenever, true, false).unwrap().contains("rows may name files"));
        assert_eq!(broken(Consistency::Independent, rows, Whenever, true, true), None);
    }

    #[test]
    fn of_a_replica_only_that_is_promised_which_being_older_does_not_break() {
        use HoldTime::{BeforeSnapshots, BehindSnapshots, Whenever};
        let broken = |consistency, references, held, volumes, hooks| {
            let dump = DumpPlan { key: String::new(), consistency, references, timeout: SignedDuration::ZERO };
            dump.broken_by((held, Late::default()), true, volumes, hooks)
        };
        let (rows, files) = (References::DatabaseToVolumes, References::VolumesToDatabase);
        assert_eq!(broken(Consistency::Aligned, rows, BeforeSnapshots, true, true), None);
        assert!(broken(Consistency::Aligned, files, BehindSnapshots, true, true).unwrap().contains("files may name rows"));
        assert_eq!(broken(Consistency::Aligned, files, BehindSnapshots, false, false), None);
        assert!(broken(Consistency::Quiesced, rows, BeforeSnapshots, true, true).unwrap().contains("name the primary"));
        assert_eq!(broken(Consistency::Quiesced, rows, BeforeSnapshots, true, false), None);
        assert!(broken(Consistency::Aligned, rows, Whenever, true, false).unwrap().contains("interrupted"));
        assert_eq!(broken(Consistency::Independent, files, Whenever, true, true), None);
    }
}
