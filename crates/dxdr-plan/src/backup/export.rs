//! How a database of Cloud SQL comes into a recovery point: the service writes it into the store.

use std::collections::BTreeSet;

use dxdr_environment::{DatabaseUnit, InstanceName};
use dxdr_policy::{Consistency, DatabasePolicy, References};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::database::{DATABASES_FOLDER, DatabaseFate, DatabasePlan, counted, text};
use crate::step::Step;

/// How a database is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPlan {
    /// The instance, which others may share.
    pub instance: InstanceName,
    /// The database on it: nothing else of the instance is touched.
    pub database: String,
    /// Where the export goes, relative to the point's folder.
    pub key: String,
    /// Whether it runs on a machine of its own.
    pub offload: bool,
    /// What is wanted of it and the volumes.
    pub consistency: Consistency,
    /// Which of the two points to the other.
    pub references: References,
    /// How long it may wait for its turn, and take.
    pub timeout: SignedDuration,
}

impl ExportPlan {
    /// What can be promised. The service begins when it is this database's turn, behind the snapshots: what is newer than the volumes lacks
    /// nothing that their files name, and nothing holds applications still for so long.
    pub fn promise(&self, volumes: bool) -> Consistency {
        behind_volumes(self.consistency, self.references, volumes)
    }
}

/// What can be promised of what the service captures behind the snapshots, whenever its turn comes.
pub(super) fn behind_volumes(wanted: Consistency, references: References, volumes: bool) -> Consistency {
    let newer_is_enough = !volumes || references == References::VolumesToDatabase;
    if newer_is_enough { wanted.min(Consistency::Aligned) } else { Consistency::Independent }
}

/// How much the service has to do, or is asked for, in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// Databases that are exported.
    pub(crate) exports: usize,
    /// Instances that are backed up.
    pub(crate) backups: usize,
    /// Databases whose instances' logs are looked at.
    pub(crate) logs: usize,
}

impl Asked {
    pub(crate) fn of(databases: &[DatabasePlan]) -> Self {
        let backups = databases.iter().filter_map(DatabasePlan::backup);
        let instances: BTreeSet<&InstanceName> = backups.map(|backup| &backup.instance).collect();
        Self {
            exports: databases.iter().filter_map(DatabasePlan::export).count(),
            backups: instances.len(),
            logs: databases.iter().filter_map(DatabasePlan::log).count(),
        }
    }

    fn title(self) -> String {
        let Self { exports, backups, logs } = self;
        let export = (exports > 0).then(|| format!("have Cloud SQL export {} into the store", counted(exports)));
        let instances = if backups == 1 { "1 instance".to_owned() } else { format!("{backups} instances") };
        let back_up = (backups > 0).then(|| format!("have Cloud SQL back {instances} up"));
        let whose = if exports + backups == 0 { "the instances' logs" } else { "the logs" };
        let look = (logs > 0).then(|| format!("look how far {whose} of {} go", counted(logs)));
        let all = [export, back_up, look].into_iter().flatten().collect::<Vec<_>>().join(", and ");
        let mut letters = all.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
    }
}

/// The step in which the service exports databases and backs instances up, and logs are looked at; `None` when there is nothing of them.
pub(crate) fn step(asked: Asked) -> Option<Step> {
    (asked.exports + asked.backups + asked.logs > 0).then(|| {
        Step::new(
            "export",
            asked.title(),
            "each when it is its turn on its instance, which does one thing at a time; what was begun is taken up, never asked for again",
            true,
        )
    })
}

/// What becomes of a database of Cloud SQL. `named` is the policy, if any; `no_exports` why the service cannot write into the store.
pub(super) fn fate(
    unit: &DatabaseUnit,
    instance: InstanceName,
    policy: DatabasePolicy,
    named: Option<&str>,
    no_exports: Option<&str>,
) -> DatabaseFate {
    // Without a policy nobody has asked for it.
    let impossible = |reason: String| match named {
        Some(_) => DatabaseFate::Unprotected(reason),
        None => DatabaseFate::LeftOut(reason),
    };
    if let Some(reason) = no_exports {
        return impossible(reason.to_owned());
    }
    match &unit.database {
        Some(database) => DatabaseFate::Export(ExportPlan {
            instance,
            database: database.clone(),
            // The service is told a URL, in which it may take `%` for the beginning of an escape: nobody knows, so there is none.
            key: format!("{DATABASES_FOLDER}{}.sql.gz", unit.file_name().replace('%', "=")),
            offload: policy.offload,
            consistency: policy.consistency,
            references: policy.references,
            timeout: policy.timeout,
        }),
        None => impossible(format!(
            "the environment names no database on {instance}: say which are to be exported in `databases[].cloudSql.databases`"
        )),
    }
}

/// For a journal.
pub(super) fn parameters(export: &ExportPlan) -> Value {
    json!({
        "project": export.instance.project, "instance": export.instance.instance, "database": export.database, "key": export.key,
        "offload": export.offload, "consistency": export.consistency.word(), "references": export.references.word(),
        "timeout": export.timeout.as_secs(),
    })
}

/// What a journal has; `None` where something is missing.
pub(super) fn recorded(value: &Value) -> Option<ExportPlan> {
    Some(ExportPlan {
        instance: InstanceName::new(text(value, "/project")?, text(value, "/instance")?),
        database: text(value, "/database")?,
        key: text(value, "/key")?,
        offload: value.get("offload")?.as_bool()?,
        consistency: Consistency::of_word(&text(value, "/consistency")?)?,
        references: References::of_word(&text(value, "/references")?)?,
        timeout: SignedDuration::from_secs(value.get("timeout")?.as_i64()?),
    })
}

#[cfg(test)]
mod tests {
    use dxdr_environment::DatabaseLocation;
    use dxdr_policy::DatabaseMethod;

    use super::*;

    fn unit(database: Option<&str>) -> DatabaseUnit {
        let location =
            DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases: vec!["shop".to_owned()] };
        DatabaseUnit { name: "orders".to_owned(), database: database.map(str::to_owned), location }
    }

    fn planned(database: Option<&str>, method: DatabaseMethod, named: Option<&str>, no_exports: Option<&str>) -> DatabaseFate {
        fate(&unit(database), InstanceName::new("p", "i"), DatabasePolicy::by(method), named, no_exports)
    }

    #[test]
    fn a_database_is_exported_where_policy_store_and_model_let_it_be() {
        for method in [DatabaseMethod::Export, DatabaseMethod::Both] {
            let DatabaseFate::Export(export) = planned(Some("shop"), method, Some("nightly"), None) else { panic!("{method:?}") };
            assert_eq!((export.database.as_str(), export.key.as_str()), ("shop", "databases/orders.sql.gz"));
            assert_eq!(recorded(&parameters(&export)), Some(export));
        }
        // What a policy promises and what cannot be done is a gap; what nobody promised is told.
        let elsewhere = |named| planned(Some("shop"), DatabaseMethod::Export, named, Some("elsewhere"));
        assert_eq!(elsewhere(Some("nightly")), DatabaseFate::Unprotected("elsewhere".to_owned()));
        assert_eq!(elsewhere(None), DatabaseFate::LeftOut("elsewhere".to_owned()));
        let whole = planned(None, DatabaseMethod::Export, Some("nightly"), None);
        assert!(matches!(whole, DatabaseFate::Unprotected(reason) if reason.contains("names no database")));
    }

    #[test]
    fn nothing_is_promised_of_an_export_but_that_it_is_newer_than_the_volumes() {
        let promised = |consistency, references, volumes| {
            let DatabaseFate::Export(export) = planned(Some("shop"), DatabaseMethod::Export, None, None) else { panic!() };
            ExportPlan { consistency, references, ..export }.promise(volumes)
        };
        let (rows, files) = (References::DatabaseToVolumes, References::VolumesToDatabase);
        assert_eq!(promised(Consistency::Aligned, rows, true), Consistency::Independent);
        assert_eq!(promised(Consistency::Aligned, rows, false), Consistency::Aligned);
        assert_eq!(promised(Consistency::Quiesced, files, true), Consistency::Aligned);
        assert_eq!(promised(Consistency::Independent, files, false), Consistency::Independent);
    }
}
