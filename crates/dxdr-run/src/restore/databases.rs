//! Databases on their way back: each is loaded beside what is there, and in place the two change names.
//!
//! ```text
//! examine (changes nothing) ─► load ─► load ─► … ─► hand over ─► … ─► swap ─► swap ─► …        undo: swap back; discard: drop what is not used
//! ```
//!
//! All are loaded before the first is swapped, and all of that is done before an object is written: a dump that cannot be loaded leaves
//! everything as it was. Names are in the journal, so every process of the run means the same databases.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_catalog::RecoveryPoint;
use dxdr_environment::InstanceName;
use dxdr_format::journal::{Entry, Evidence, StepFinished, StepStarted};
use dxdr_plan::{
    Note, Severity,
    restore::{
        DatabaseRestore, RecordedDatabase, Recovery, RestoreRequest, Route, SeenBackup, Window, database::relied_instances,
        recorded_databases,
    },
};
use dxdr_provider::{InstanceError, InstanceErrorKind, Instances, database::Swap, instance::InstanceBackup};
use jiff::Timestamp;

use super::way::{Way, Whose, hint};
use crate::{
    active::ActiveRun,
    context::RunContext,
    error::RunError,
    instance::{HandedOver, InstanceAccess},
    journal::{History, Journal},
    lease, runs,
    store::Store,
};

/// The parameter of a restore's journal that has its databases.
pub(crate) const DATABASES: &str = "databases";

/// A database that a restore has brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredDatabase {
    /// Its name in the model.
    pub name: String,
    /// What the server calls what came back.
    pub database: String,
    /// What the server calls the one that was there before; `None` when it is beside.
    pub kept: Option<String>,
    /// The new instance that it is on, all of which is as it was.
    pub instance: Option<NewInstance>,
}

/// An instance that a restore made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInstance {
    /// Its name.
    pub name: InstanceName,
    /// As of when it is.
    pub at: Timestamp,
    /// From when on it may be deleted by whoever cleans up.
    pub expires: Timestamp,
}

/// What the instances can be brought back to whose log, or a backup of which, the points rely on. One that does not answer is not among them: what the point
/// says of it counts then, and the second value says why. Changes nothing.
pub async fn recoveries(
    instances: Option<&dyn InstanceAccess>,
    points: impl IntoIterator<Item = &RecoveryPoint>,
) -> (BTreeMap<InstanceName, Recovery>, Vec<(InstanceName, String)>) {
    let (mut recoveries, mut unknown) = (BTreeMap::new(), Vec::new());
    for instance in points.into_iter().flat_map(relied_instances).collect::<BTreeSet<_>>() {
        let looked = match instances {
            None => Err("this program has no way to Cloud SQL".to_owned()),
            Some(access) => match access.connect().await {
                Ok(service) => recovery(service.as_ref(), &instance).await.map_err(|error| crate::active::chain(&error)),
                Err(reason) => Err(reason),
            },
        };
        match looked {
            Ok(recovery) => {
                recoveries.insert(instance, recovery);
            }
            Err(reason) => unknown.push((instance, reason)),
        }
    }
    (recoveries, unknown)
}

async fn recovery(service: &dyn Instances, instance: &InstanceName) -> Result<Recovery, InstanceError> {
    let (window, gone) = match service.recovery_window(instance).await {
        Ok(window) => (window, false),
        // Its backups may be kept.
        Err(error) if error.kind == InstanceErrorKind::NotFound => (None, true),
        Err(error) => return Err(error),
    };
    // Who may not see backups may clone all the same.
    let (backups, no_backups) = match service.backups(instance).await {
        Ok(backups) => (backups, None),
        Err(error) => (Vec::new(), Some(crate::active::chain(&error))),
    };
    let whole = backups.into_iter().filter(|backup| backup.whole);
    let seen = |backup: InstanceBackup| Some(SeenBackup { name: backup.name, started: backup.started?, ended: backup.ended? });
    Ok(Recovery {
        window: window.map(|window| Window { earliest: window.earliest, latest: window.latest }),
        backups: whole.filter_map(seen).collect(),
        no_backups,
        gone,
    })
}

/// Why Cloud SQL cannot write into a store on the way from a clone to a database; `None` when it can.
pub fn no_exports(store: &Store) -> Option<String> {
    crate::database::export::impossible(store)
}

/// What bringing them back would meet, as notes for the plan; what it takes is entered into them. Changes nothing else.
pub async fn examine(context: &RunContext, order: &RestoreRequest, restores: &mut [DatabaseRestore]) -> Vec<Note> {
    let note = |severity, text: String, hint: Option<String>| Note { severity, object: None, count: 1, text, hint };
    let mut notes = Vec::new();
    for restore in restores {
        let whose = Whose {
            run: "",
            environment: order.environment.as_str(),
            namespace: &order.source_namespace,
            timeout: restore.timeout,
        };
        let unit = &restore.unit;
        let examined = match Way::open(context, whose, unit).await {
            Ok(way) => way.examine(context, &order.point, restore).await,
            Err(error) => Err(error),
        };
        match examined {
            Ok((examined, cost)) => {
                for problem in examined.problems {
                    notes.push(note(
                        Severity::Fatal,
                        format!("{unit} cannot be loaded: {}", problem.message),
                        Some(problem.remedy),
                    ));
                }
                for doubt in examined.doubts {
                    notes.push(note(Severity::Warning, format!("{unit}: {}", doubt.message), Some(doubt.remedy)));
                }
                if examined.connections > 0 && restore.kept.is_some() {
                    let text = format!("{} connections to {unit} are cut when it changes places", examined.connections);
                    notes.push(note(Severity::Warning, text, None));
                }
                restore.cost = cost;
            }
            Err(error) => {
                let text = format!("{unit} cannot be restored: {}", crate::active::chain(&error));
                let leave = "or leave the databases out: `--without-databases`";
                let hint = hint(&error).map_or_else(|| leave.to_owned(), |hint| format!("{hint}; {leave}"));
                notes.push(note(Severity::Fatal, text, Some(hint)));
            }
        }
    }
    notes
}

/// Brings all of them beside, gives them what no export has, and puts them in place where that was asked for.
pub(super) async fn restore(
    context: &RunContext,
    order: &RestoreRequest,
    restores: &[DatabaseRestore],
    run: &mut ActiveRun,
) -> Result<Vec<RestoredDatabase>, RunError> {
    let id = run.id().to_owned();
    let whose = |restore: &DatabaseRestore| Whose {
        run: &id,
        environment: order.environment.as_str(),
        namespace: &order.source_namespace,
        timeout: restore.timeout,
    };
    for restore in restores {
        let Some(step) = restore.clone_step().filter(|step| run.earlier(step).is_none()) else { continue };
        run.start(&step).await?;
        Way::open(context, whose(restore), &restore.unit).await?.clone_instance(restore).await?;
        run.finish(&step, "it is there, and labelled", Evidence::new()).await?;
    }
    for restore in restores {
        let Some(step) = restore.load_step().filter(|step| run.earlier(step).is_none()) else { continue };
        run.start(&step).await?;
        let way = Way::open(context, whose(restore), &restore.unit).await?;
        way.load(context, &order.point, restore, &id).await?;
        run.finish(&step, &format!("`{}` is there", restore.beside), Evidence::new()).await?;
    }
    for restore in restores {
        let Some(step) = restore.drop_step().filter(|step| run.earlier(step).is_none()) else { continue };
        let Some(clone) = restore.route.clone_route() else { continue };
        run.start(&step).await?;
        let way = Way::open(context, whose(restore), &restore.unit).await?;
        way.discard_clone(context, clone, &restore.unit, &id).await?;
        run.finish(&step, "it is gone", Evidence::new()).await?;
    }
    for restore in restores {
        let Some(step) = restore.handover_step().filter(|step| run.earlier(step).is_none()) else { continue };
        run.start(&step).await?;
        let handed = Way::open(context, whose(restore), &restore.unit).await?.hand_over(restore).await?;
        let (summary, evidence) = match handed {
            None => (format!("there is no `{}`, so nobody has any", restore.database), Evidence::new()),
            Some(HandedOver { owner, settings, grants, objects }) => (
                format!("it is `{owner}`'s, with the settings and rights of the original; {objects} of what is in it differed"),
                Evidence::from_iter([
                    ("owner".to_owned(), owner.into()),
                    ("settings".to_owned(), settings.into()),
                    ("grants".to_owned(), grants.into()),
                    ("objects".to_owned(), objects.into()),
                ]),
            ),
        };
        run.finish(&step, &summary, evidence).await?;
    }
    let mut restored = Vec::new();
    for restore in restores {
        if let (Some(step), Some(kept)) = (restore.swap_step(), &restore.kept)
            && run.earlier(&step).is_none()
        {
            run.start(&step).await?;
            let way = Way::open(context, whose(restore), &restore.unit).await?;
            way.swap(&swap(&restore.database, &restore.beside, kept, &id)).await?;
            run.finish(&step, &format!("`{}` is as it was, the other one is `{kept}`", restore.database), Evidence::new())
                .await?;
        }
        restored.push(done(restore));
    }
    Ok(restored)
}

fn done(restore: &DatabaseRestore) -> RestoredDatabase {
    let instance = match &restore.route {
        Route::Clone(clone) => Some(NewInstance {
            name: InstanceName::new(&clone.source.project, &clone.destination),
            at: clone.at,
            expires: clone.expires,
        }),
        _ => None,
    };
    let database = match (&restore.kept, &instance) {
        (None, None) => &restore.beside,
        _ => &restore.database,
    };
    RestoredDatabase { name: restore.unit.name.clone(), database: database.clone(), kept: restore.kept.clone(), instance }
}

/// What a run's journal says of its databases.
pub fn of_run(history: &History) -> Vec<RecordedDatabase> {
    let parameters = history.planned().and_then(|planned| planned.parameters.get(DATABASES));
    parameters.and_then(recorded_databases).unwrap_or_default()
}

/// Databases that a run put in place and that were not put back since.
pub fn in_place(history: &History) -> Vec<RecordedDatabase> {
    let swapped = |database: &RecordedDatabase| {
        let (_, swap) = database.step_ids();
        history.finished(&swap).is_some() && history.finished(&undo_step(database)).is_none()
    };
    of_run(history).into_iter().filter(swapped).collect()
}

/// Databases of which the journal does not say whether they were put in place: the process that began it ended before it could write so.
pub fn in_doubt(history: &History) -> Vec<RecordedDatabase> {
    let begun = |database: &RecordedDatabase| {
        let (_, swap) = database.step_ids();
        let told = history.finished(&swap).is_some() || history.finished(&undo_step(database)).is_some();
        history.started(&swap) && !told
    };
    of_run(history).into_iter().filter(begun).collect()
}

/// What servers say of databases that are in doubt.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Those that are in place.
    pub(crate) found: Vec<RecordedDatabase>,
    /// Those of which nobody knows, and why.
    pub(crate) unknown: Vec<(RecordedDatabase, RunError)>,
}

/// Asks the servers of those that are in doubt. Changes nothing.
async fn look(context: &RunContext, history: &History) -> Looked {
    let mut looked = Looked::default();
    for recorded in in_doubt(history) {
        let Some(kept) = &recorded.kept else { continue };
        let swap = swap(&recorded.database, &recorded.beside, kept, &history.run);
        let swapped = async { open(context, history, &recorded).await?.swapped(&swap).await };
        match swapped.await {
            Ok(true) => looked.found.push(recorded),
            Ok(false) => {}
            Err(error) => looked.unknown.push((recorded, error)),
        }
    }
    looked
}

/// Those of [`in_doubt`] that are in place, by what their servers have. Changes nothing.
///
/// # Errors
/// When a database does not answer.
pub async fn found_in_place(context: &RunContext, history: &History) -> Result<Vec<RecordedDatabase>, RunError> {
    let Looked { found, unknown } = look(context, history).await;
    unknown.into_iter().next().map_or(Ok(found), |(_, error)| Err(error))
}

/// Writes into the journal what an earlier process could not, and answers with the journal as it is then, and with those of which nobody
/// knows.
pub(crate) async fn settle(
    context: &RunContext,
    history: &History,
    journal: &mut Journal,
) -> Result<(History, Vec<(RecordedDatabase, RunError)>), RunError> {
    let Looked { found, unknown } = look(context, history).await;
    for recorded in &found {
        let (_, step) = recorded.step_ids();
        let evidence = Evidence::from_iter([("found".to_owned(), true.into())]);
        journal.record(&Entry::StepFinished(StepFinished { step, at: context.clock.now(), evidence })).await?;
    }
    let history = if found.is_empty() { history.clone() } else { runs::history(&context.store, &history.run).await? };
    Ok((history, unknown))
}

/// The same, where nothing may be done while somebody does not answer.
async fn settled(context: &RunContext, history: &History, journal: &mut Journal) -> Result<History, RunError> {
    let (history, unknown) = settle(context, history, journal).await?;
    unknown.into_iter().next().map_or(Ok(history), |(_, error)| Err(error))
}

/// Whether what the run made and nobody uses was dropped: nothing is there then that could be put back.
pub fn discarded(history: &History, database: &RecordedDatabase) -> bool {
    history.finished(&discard_step(database)).is_some()
}

/// Fails while a run may still go on: what is its is not decided then.
pub fn over(history: &History) -> Result<(), RunError> {
    match history.outcome() {
        Some(_) => Ok(()),
        None => Err(RunError::NotOver { run: history.run.clone() }),
    }
}

/// Fails where what is live is a later run's.
///
/// # Errors
/// [`RunError::Replaced`]
pub async fn still_live(store: &Store, history: &History) -> Result<(), RunError> {
    match replaced_since(store, history).await? {
        Some((later, database)) => Err(RunError::Replaced { later, database }),
        None => Ok(()),
    }
}

/// A later run that put another database in the place of one of this run's, and was not undone: its name, and the database. What is live is its.
async fn replaced_since(store: &Store, history: &History) -> Result<Option<(String, String)>, RunError> {
    let ours: Vec<RecordedDatabase> = in_place(history).into_iter().chain(in_doubt(history)).collect();
    let same = |later: &RecordedDatabase| {
        ours.iter().any(|our| our.unit.location == later.unit.location && our.database == later.database)
    };
    // Newest first.
    for run in runs::list(store).await?.runs.into_iter().take_while(|run| run.run != history.run) {
        let later = runs::history(store, &run.run).await?;
        // What may be in place is taken for it.
        if let Some(recorded) = in_place(&later).into_iter().chain(in_doubt(&later)).find(same) {
            return Ok(Some((run.run, recorded.database)));
        }
    }
    Ok(None)
}

/// Puts the databases back that were there before a restore in place; their names. What the restore brought is beside again.
///
/// # Errors
/// When the run is not over, another one holds the environment, a later one has put another database there, or a database does not answer:
/// what is done by then stays done, and is found so when it is tried again.
pub async fn undo(context: &RunContext, history: &History) -> Result<Vec<RestoredDatabase>, RunError> {
    over(history)?;
    let environment = history.planned().map(|planned| planned.environment.clone()).unwrap_or_default();
    lease::held(context, &environment, &history.run, async {
        // Since somebody looked, another restore may have come and gone.
        let history = &runs::history(&context.store, &history.run).await?;
        let mut journal = Journal::behind(&context.store, history);
        let history = &settled(context, history, &mut journal).await?;
        still_live(&context.store, history).await?;
        let mut undone = Vec::new();
        for recorded in in_place(history).into_iter().filter(|recorded| !discarded(history, recorded)) {
            let Some(kept) = &recorded.kept else { continue };
            let step = undo_step(&recorded);
            journal.record(&Entry::StepStarted(StepStarted { step: step.clone(), at: context.clock.now() })).await?;
            let way = open(context, history, &recorded).await?;
            way.swap(&swap(&recorded.database, &recorded.beside, kept, &history.run).reversed()).await?;
            let finished = StepFinished { step, at: context.clock.now(), evidence: Evidence::new() };
            journal.record(&Entry::StepFinished(finished)).await?;
            let (name, kept) = (recorded.unit.name.clone(), Some(recorded.beside.clone()));
            undone.push(RestoredDatabase { name, database: recorded.database.clone(), kept, instance: None });
        }
        Ok(undone)
    })
    .await
}

/// Drops what a run made and nobody uses: databases beside, those that were there before it put others in their place, and clones. The names of
/// those that were there.
///
/// # Errors
/// As [`undo`].
pub async fn discard(context: &RunContext, history: &History) -> Result<Vec<String>, RunError> {
    over(history)?;
    let environment = history.planned().map(|planned| planned.environment.clone()).unwrap_or_default();
    lease::held(context, &environment, &history.run, async {
        let history = &runs::history(&context.store, &history.run).await?;
        let mut journal = Journal::behind(&context.store, history);
        // Of what is dropped nobody can tell afterwards whether it was in place.
        let history = &settled(context, history, &mut journal).await?;
        let mut dropped = Vec::new();
        for recorded in of_run(history) {
            let step = discard_step(&recorded);
            journal.record(&Entry::StepStarted(StepStarted { step: step.clone(), at: context.clock.now() })).await?;
            let names = drop_all(context, history, &recorded, &recorded.databases()).await?;
            let evidence = Evidence::from_iter([("dropped".to_owned(), names.clone().into())]);
            journal.record(&Entry::StepFinished(StepFinished { step, at: context.clock.now(), evidence })).await?;
            dropped.extend(names);
        }
        Ok(dropped)
    })
    .await
}

/// Databases that an unfinished run has brought beside, or begun to, and not put in place.
pub(crate) fn unfinished(history: &History) -> Vec<RecordedDatabase> {
    let beside = |database: &RecordedDatabase| {
        let (made, swap) = database.step_ids();
        made.iter().any(|step| history.started(step)) && history.finished(&swap).is_none()
    };
    of_run(history).into_iter().filter(beside).collect()
}

/// Drops them. One that cannot be dropped keeps nothing else: it is among those that are answered, with the reason.
///
/// # Errors
/// When somebody asks to stop.
pub(crate) async fn remove(
    context: &RunContext,
    history: &History,
    left: &[RecordedDatabase],
) -> Result<Vec<(String, RunError)>, RunError> {
    let mut stuck = Vec::new();
    for recorded in left {
        let beside: Vec<&str> = recorded.databases().into_iter().filter(|name| *name == recorded.beside).collect();
        match drop_all(context, history, recorded, &beside).await {
            Ok(_) => {}
            Err(RunError::Interrupted) => return Err(RunError::Interrupted),
            Err(error) => stuck.push((recorded.unused(), error)),
        }
    }
    Ok(stuck)
}

/// Drops databases of a server, and the clone that was made on the way to them, as far as they carry the run's mark. The names of those that were there.
async fn drop_all(
    context: &RunContext,
    history: &History,
    recorded: &RecordedDatabase,
    databases: &[&str],
) -> Result<Vec<String>, RunError> {
    let way = open(context, history, recorded).await?;
    let began = history.planned().map_or(Timestamp::MAX, |planned| planned.started);
    let beside = recorded.is_beside().then_some(recorded.beside.as_str());
    way.settle(recorded.clone_route(), beside, began).await?;
    let mut dropped = Vec::new();
    for name in databases {
        if way.discard(name, &history.run).await? {
            dropped.push((*name).to_owned());
        }
    }
    if let Some(clone) = recorded.clone_route() {
        dropped.extend(way.discard_clone(context, clone, &recorded.unit, &history.run).await?);
    }
    Ok(dropped)
}

fn undo_step(database: &RecordedDatabase) -> String {
    format!("undo-{}", database.unit.file_name())
}

fn discard_step(database: &RecordedDatabase) -> String {
    format!("discard-{}", database.unit.file_name())
}

/// The way to a database of a run, by its journal.
async fn open(context: &RunContext, history: &History, recorded: &RecordedDatabase) -> Result<Way, RunError> {
    let planned = history.planned();
    let namespace = planned.and_then(|planned| planned.parameters.get("source-namespace")?.as_str()).unwrap_or_default();
    let environment = planned.map(|planned| planned.environment.as_str()).unwrap_or_default();
    let whose = Whose { run: &history.run, environment, namespace, timeout: recorded.timeout };
    Way::open(context, whose, &recorded.unit).await
}

fn swap(database: &str, beside: &str, kept: &str, run: &str) -> Swap {
    Swap { name: database.to_owned(), from: beside.to_owned(), kept: kept.to_owned(), run: run.to_owned() }
}

#[cfg(test)]
#[path = "databases_test.rs"]
pub(crate) mod tests;
