//! How a database of Cloud SQL comes into a recovery point: the service writes it into the store.

use dxdr_environment::{DatabaseUnit, InstanceName};
use dxdr_policy::{Consistency, DatabasePolicy, References};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::database::{DATABASES_FOLDER, DatabaseFate, counted, text};
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
        let newer_is_enough = !volumes || self.references == References::VolumesToDatabase;
        if newer_is_enough { self.consistency.min(Consistency::Aligned) } else { Consistency::Independent }
    }
}

/// The step in which the service exports databases, and logs are looked at; `None` when there is nothing of either.
pub(crate) fn step(exports: usize, logs: usize) -> Option<Step> {
    (exports + logs > 0).then(|| {
        let title = match (exports, logs) {
            (0, logs) => format!("Look how far the instances' logs of {} go", counted(logs)),
            (exports, 0) => format!("Have Cloud SQL export {} into the store", counted(exports)),
            (exports, logs) => format!(
                "Have Cloud SQL export {} into the store, and look how far the logs of {} go",
                counted(exports),
                counted(logs)
            ),
        };
        Step::new(
            "export",
            title,
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
