//! Databases of Cloud SQL in recovery points: the service writes them into the store, each when it is its turn on its instance, or backs the instance up.
//!
//! ```text
//! turn on the instance ─► export into the point's folder ─► read back: size, SHA-256
//!                      └► backup, which the service keeps ─► name, first and last instant
//! ```
//!
//! What was begun is never asked for again: the run's next process finds it by the run and the database. A database that fails costs the
//! point that database only, unless something of it may still be under way: then the run is unfinished, and whoever resumes it waits on.

use std::collections::BTreeMap;

use dxdr_environment::InstanceName;
use dxdr_format::journal::RunId;
use dxdr_plan::{
    backup::{DatabasePlan, ExportPlan, InstanceBackupPlan, PointDatabases},
    instance::Priority,
};
use dxdr_provider::InstanceError;
use jiff::Timestamp;

use super::{Dumped, Failed, OneBackup, OneDump};
use crate::{
    active::chain,
    context::RunContext,
    error::RunError,
    event::Event,
    instance::{self, ExportOrder, InstanceBackupOrder, InstanceTurns},
    store::Store,
    witness::Witness,
};

/// Why Cloud SQL cannot write into a store; `None` when it can.
pub(crate) fn impossible(store: &Store) -> Option<String> {
    let storage = &store.storage;
    storage.url(&store.layout.backups_prefix()).is_none().then(|| {
        let store = storage.describe();
        format!(
            "Cloud SQL exports into buckets of Google Cloud Storage only, and the store is {store}: give the policy a BackupStore with `spec.gcs`, or say `databases.method: pointInTime`"
        )
    })
}

/// Has the databases of a plan exported, one after the other.
///
/// # Errors
/// When the store or the cluster fails, somebody asks to stop, or an export is still under way at the end of its time.
pub(crate) async fn exports(context: &RunContext, of: PointDatabases<'_>, witness: &Witness) -> Result<Dumped, RunError> {
    let mut exported = Dumped::default();
    for (database, export) in of.exports() {
        match one(context, of, database, export, witness).await? {
            Ok(dump) => exported.dumps.push(dump),
            Err(reason) => {
                let failed = Failed { what: database.what(), reason };
                failed.report(context.reporter.as_ref());
                exported.failed.push(failed);
            }
        }
    }
    Ok(exported)
}

/// Has the instances of a plan backed up, one after the other, and each once.
///
/// # Errors
/// As [`exports`].
pub(crate) async fn backups(context: &RunContext, of: PointDatabases<'_>, witness: &Witness) -> Result<Dumped, RunError> {
    let mut dumped = Dumped::default();
    let mut made: BTreeMap<&InstanceName, Result<OneBackup, String>> = BTreeMap::new();
    for (database, backup) in of.backups() {
        let known = made.get(&backup.instance).cloned();
        let backed_up = match known {
            Some(known) => known,
            None => {
                let backed_up = backed_up(context, of, database, backup, witness).await?;
                made.insert(&backup.instance, backed_up.clone());
                backed_up
            }
        };
        match backed_up {
            Ok(backed_up) => dumped.backups.push(OneBackup {
                name: database.unit.name.clone(),
                database: database.unit.database.clone(),
                ..backed_up
            }),
            Err(reason) => {
                let failed = Failed { what: database.what(), reason };
                failed.report(context.reporter.as_ref());
                dumped.failed.push(failed);
            }
        }
    }
    Ok(dumped)
}

/// The same with who may log in to the instances now: what is imported one day may belong to one of them. A service that does not say costs the point nothing else.
pub(crate) async fn with_users(context: &RunContext, of: PointDatabases<'_>, mut dumped: Dumped) -> Dumped {
    let Some(access) = context.instances.as_ref().filter(|_| !dumped.nothing_of_a_service()) else { return dumped };
    let Ok(service) = access.connect().await else { return dumped };
    let exports = of.exports().map(|(database, export)| (database, &export.instance));
    let backups = of.backups().map(|(database, backup)| (database, &backup.instance));
    let logs = of.logs().map(|(database, log)| (database, &log.instance));
    let mut known: BTreeMap<&InstanceName, Vec<String>> = BTreeMap::new();
    for (database, instance) in exports.chain(backups).chain(logs) {
        if !known.contains_key(instance) {
            let users = service.users(instance).await.unwrap_or_else(|error| {
                tracing::info!(%instance, %error, "who may log in is not known");
                Vec::new()
            });
            known.insert(instance, users);
        }
        dumped.users.insert(database.unit.name.clone(), known.get(instance).cloned().unwrap_or_default());
    }
    dumped
}

/// The backup of an instance, for the first of the databases that it is wanted for, or the reason why there is none.
async fn backed_up(
    context: &RunContext,
    of: PointDatabases<'_>,
    database: &DatabasePlan,
    backup: &InstanceBackupPlan,
    witness: &Witness,
) -> Result<Result<OneBackup, String>, RunError> {
    let since = witness.now();
    let turns = match InstanceTurns::of(context, &backup.instance).await {
        Ok(turns) => turns,
        Err(reason) => return Ok(Err(reason)),
    };
    let order = InstanceBackupOrder { run: of.run.to_owned(), environment: of.environment.to_string(), timeout: backup.timeout };
    let made = match instance::back_up(&turns, &order).await {
        Ok(made) => made,
        Err(error) => {
            return match failure(&error) {
                Some(reason) if !turns.under_way(&order.job()).await? => Ok(Err(reason)),
                _ => Err(error),
            };
        }
    };
    tracing::info!(instance = %backup.instance, backup = made.name, "backed up");
    Ok(Ok(OneBackup {
        name: database.unit.name.clone(),
        database: database.unit.database.clone(),
        backup: made.name,
        project: backup.instance.project.clone(),
        instance: backup.instance.instance.clone(),
        instant: made.started,
        ended: made.ended,
        between: match made.asked {
            // What it waited for its turn does not count.
            Some(asked) => witness.saw(asked, made.seen),
            None => witness.saw_for_the_run(since, made.seen),
        },
        size: made.size,
        consistency: of.backed_up(backup).word().to_owned(),
    }))
}

/// One export, or the reason why the point has none.
async fn one(
    context: &RunContext,
    of: PointDatabases<'_>,
    database: &DatabasePlan,
    export: &ExportPlan,
    witness: &Witness,
) -> Result<Result<OneDump, String>, RunError> {
    let since = witness.now();
    let turns = match InstanceTurns::of(context, &export.instance).await {
        Ok(turns) => turns,
        Err(reason) => return Ok(Err(reason)),
    };
    let order = ExportOrder {
        run: of.run.to_owned(),
        environment: of.environment.to_string(),
        unit: database.unit.name.clone(),
        database: export.database.clone(),
        key: context.store.layout.object_key(of.point, &export.key),
        offload: export.offload,
        timeout: export.timeout,
        priority: Priority::Backup,
    };
    let exported = match instance::export(&turns, &context.store, &order).await {
        Ok(exported) => exported,
        Err(error) => {
            return match failure(&error) {
                Some(reason) if !turns.under_way(&order.job()).await? => Ok(Err(reason)),
                _ => Err(error),
            };
        }
    };
    tracing::info!(
        database = order.unit,
        operation = exported.operation,
        waited = exported.waited,
        worked = exported.worked,
        "exported"
    );
    let broken = (!exported.exact).then(|| unknown_begin(&order.run, exported.instant));
    if let Some(reason) = &broken {
        context.reporter.report(&Event::Warning { text: format!("{}: {reason}", database.what()) });
    }
    Ok(Ok(OneDump {
        name: order.unit,
        key: instance::attempted(&export.key, exported.attempt),
        instant: exported.instant,
        // It looked at the database at some moment of its work; which, the service does not say.
        between: Some(match exported.asked {
            // What it waited for its turn does not count.
            Some(asked) => witness.saw(asked, exported.seen),
            None => witness.saw_for_the_run(since, exported.seen),
        }),
        size: exported.size,
        sha256: exported.sha256.to_string(),
        consistency: of.exported(export).word().to_owned(),
        facts: None,
        url: Some(exported.url),
        broken,
    }))
}

/// What is to be said of an export that is known by its object alone. It was begun behind the run, and that is all.
fn unknown_begin(run: &str, written: Timestamp) -> String {
    let since = RunId::parse(run).map_or_else(|| "the run began".to_owned(), |run| format!("{:.0}", run.started));
    format!(
        "when its export began is not known: the service has forgotten it, and its object is of {written:.0}; what was committed since {since} may be missing"
    )
}

/// The reason of a failure that costs the point the database, with what to do; `None` for one that stops the run.
fn failure(error: &RunError) -> Option<String> {
    let hint = match error {
        RunError::Instance(InstanceError { hint, .. }) | RunError::InstanceOperation { hint, .. } => hint.clone(),
        RunError::InstanceBusy { .. } => Some("take another point when what is named has ended".to_owned()),
        // The service says that it is written.
        RunError::Missing { .. } => Some("look whether something removes what is new in the bucket".to_owned()),
        _ => return None,
    };
    let text = chain(error);
    Some(match hint {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use dxdr_provider::InstanceErrorKind;

    use super::*;

    #[test]
    fn what_may_be_missing_of_an_export_that_nobody_saw_begin_is_said() {
        let said = unknown_begin("20240501t100000z-backup-staging-x7k2m", "2024-05-01T10:20:00Z".parse().unwrap());
        assert!(said.contains("its object is of 2024-05-01T10:20:00Z"), "{said}");
        assert!(said.ends_with("what was committed since 2024-05-01T10:00:00Z may be missing"), "{said}");
    }

    #[test]
    fn what_is_still_under_way_stops_the_run_and_what_is_over_costs_the_database_with_a_remedy() {
        let text = |text: &str| text.to_owned();
        let overdue = RunError::InstanceOverdue {
            instance: text("i"),
            what: text("export"),
            operation: text("operation-1"),
            since: text("10:00"),
        };
        for error in [overdue, RunError::Interrupted] {
            assert_eq!(failure(&error), None);
        }
        let refused = InstanceError {
            kind: InstanceErrorKind::Forbidden,
            action: "export from",
            what: text("instance `i`"),
            message: text("403"),
            hint: Some(text("grant it")),
            source: None,
        };
        assert_eq!(failure(&refused.into()).unwrap(), "cannot export from instance `i`: 403; grant it");
        let busy = RunError::InstanceBusy { instance: text("i"), what: text("export"), obstacle: text("MAINTENANCE") };
        assert!(failure(&busy).unwrap().ends_with("take another point when what is named has ended"));
    }
}
