//! Making recovery points of what Velero's schedules made while dxdr was away, or while it watched.
//!
//! ```text
//! folder without our manifest ─► velero-backup.json terminal and ours? ─► every object hashed, the archive read ─► index ─► manifest
//!                                a run of ours at work on databases of it: left to that       SealedSecrets opened: keys ─┤
//!                                                                          instants in logs of instances: databases ─┘
//! ```
//!
//! What is written is a function of what lies in the folder, of the sealing keys at hand and of how far the logs of instances go, so that two processes
//! that adopt the same backup write the same points to return to. On which instance a database was, the backup says, by an annotation of its Schedule. Who could not have the
//! keys, or could not ask, says so in the point, and the next one that can mends it. Databases that are captured by dumps or exports are in points of runs alone:
//! Velero's own schedules have nobody take them.

use std::{collections::BTreeMap, sync::Arc};

use dxdr_catalog::{Component, Engine, Entry, KeysComponent, RecoveryPoint, Sha256, StoredObject, VolumeComponent, name};
use dxdr_environment::{Environment, EnvironmentName};
use dxdr_format::{
    hashing::Hashing,
    manifest,
    velero::{
        adoption::{self, ArchiveFacts, Folder},
        archive::{ArchiveError, ArchiveReader, Limits},
        backup::{self, Backup},
        layout::{BackupObject, MANIFEST, METADATA},
        results, volume_info,
    },
};
use dxdr_plan::{
    backup::{DATABASES_FOLDER, DatabasePlan, LogPlan},
    velero::{DATABASES_ANNOTATION, databases_then, logs_then},
};
use dxdr_policy::BackupPolicy;
use dxdr_provider::{StorageErrorKind, object_storage::PutCondition};
use futures::{StreamExt, stream};

use crate::{
    catalog,
    database::{self, Dumped, InstanceLogs, log},
    error::RunError,
    journal::History,
    restore,
    sealing::{Examination, SEALING_KEYS, SealingKeys},
    store::Store,
    stream as bridge,
    witness::{self, Between},
};

/// Backups looked at at the same time.
const IN_FLIGHT: usize = 4;

/// Who adopts backups of an environment: what it knows, and whom it can ask.
pub struct Adopter {
    /// The sealing keys.
    pub keys: Option<SealingKeys>,
    /// What becomes of the environment's databases.
    pub databases: Vec<DatabasePlan>,
    /// The instances whose logs are relied on: the same for everything that is adopted and mended at a time.
    pub logs: Arc<InstanceLogs>,
}

impl Adopter {
    /// Of points of `environment` under `policy` that lie in `store`.
    pub fn of(
        store: &Store,
        environment: &Environment,
        policy: &BackupPolicy,
        keys: Option<SealingKeys>,
        logs: Arc<InstanceLogs>,
    ) -> Self {
        Self { keys, databases: database::planned(store, environment, Some(policy)), logs }
    }
}

impl Adopter {
    /// Whether it may know what a point lacks.
    fn may_mend(&self, point: &RecoveryPoint) -> bool {
        point.engine == Engine::Velero && (self.keys_for(point).is_some() || lacks_instants(point))
    }

    /// The sealing keys, where a point does not say which ones it needs.
    fn keys_for(&self, point: &RecoveryPoint) -> Option<&SealingKeys> {
        let lacks = point.gaps.iter().any(|gap| gap.what == SEALING_KEYS)
            && !point.components.iter().any(|component| matches!(component, Component::Keys(_)));
        self.keys.as_ref().filter(|keys| lacks && keys.problem.is_none())
    }
}

/// Whether a point lacks instants in logs.
fn lacks_instants(point: &RecoveryPoint) -> bool {
    point.gaps.iter().any(|gap| LogPlan::is_lacking(&gap.what))
}

/// What a run has captured beside a backup, and what it saw of that.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The databases.
    pub(crate) dumped: Dumped,
    /// When objects were read and snapshots cut, where that was looked at.
    pub(crate) past: Option<Between>,
    /// When all of it was done.
    pub(crate) over: Option<Between>,
}

impl Beside {
    /// Tells when everything was captured by the run's clock, which databases are told by: Velero's and the storage's are other ones.
    fn witnessed(&self, point: &mut RecoveryPoint) {
        if self.past.is_none() {
            return;
        }
        for component in &mut point.components {
            match component {
                Component::Resources(resources) => resources.between = witness::interval(self.past),
                // Files are copied one by one, until the end.
                Component::Volume(volume) if volume.method == VolumeComponent::FILE_SYSTEM => {
                    volume.between = witness::interval(self.over)
                }
                Component::Volume(volume) => volume.between = witness::interval(self.past),
                Component::Database(_) | Component::Keys(_) => {}
            }
        }
    }
}

/// What became of one backup.
#[derive(Debug)]
pub enum Adoption {
    /// A recovery point now.
    Adopted(Box<RecoveryPoint>),
    /// It is left to the run that captures its databases, which has not ended.
    Left(String, String),
    /// Nothing is known here of that environment: it waits for somebody who has its manifest.
    Unknown(String, EnvironmentName),
    /// It cannot be one, and why.
    Failed(String, RunError),
}

/// A backup of dxdr's Schedules that is over and has no manifest.
#[derive(Debug)]
pub struct Orphan {
    name: String,
    /// Whose it is.
    pub environment: EnvironmentName,
    backup: Backup,
}

/// Looks for backups that can be adopted, of `environment` only where one is named; what became of those that cannot is known already.
pub async fn orphans(store: &Store, environment: Option<&str>) -> Result<(Vec<Orphan>, Vec<Adoption>), RunError> {
    let names = store.folders(&store.layout.backups_prefix()).await?;
    // A name of ours says whose it is, without reading anything.
    let candidates = names.into_iter().filter(|name| match (environment, name::parse(name)) {
        (Some(environment), Some(parsed)) => parsed.is_of(environment),
        _ => true,
    });
    let found: Vec<(String, Result<Found, RunError>)> = stream::iter(candidates)
        .map(|name| async move {
            let found = orphan(store, &name, environment).await;
            (name, found)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let (mut orphans, mut others) = (Vec::new(), Vec::new());
    for (name, found) in found {
        match found {
            Ok(None) => {}
            Ok(Some((orphan, None))) => orphans.push(orphan),
            Ok(Some((_, Some(run)))) => others.push(Adoption::Left(name, run)),
            Err(error @ RunError::Storage(_)) => return Err(error),
            Err(error) => others.push(Adoption::Failed(name, error)),
        }
    }
    Ok((orphans, others))
}

/// Adopts backups, by what is known of their environments; of one of which nothing is known, nobody here can say what its points lack. A backup that cannot be adopted
/// does not keep the others from it.
pub async fn adopt_all(
    store: &Store,
    orphans: Vec<Orphan>,
    adopters: &BTreeMap<EnvironmentName, Adopter>,
) -> Result<Vec<Adoption>, RunError> {
    let (mut adoptable, mut adoptions) = (Vec::new(), Vec::new());
    for orphan in orphans {
        match adopters.get(&orphan.environment) {
            Some(adopter) => adoptable.push((orphan, adopter)),
            None => adoptions.push(Adoption::Unknown(orphan.name, orphan.environment)),
        }
    }
    let results: Vec<(String, Result<Option<RecoveryPoint>, RunError>)> = stream::iter(adoptable)
        .map(|(orphan, adopter)| async move {
            let adopted = adopt_orphan(store, &orphan, adopter, None).await;
            (orphan.name, adopted)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    for (name, result) in results {
        match result {
            Ok(None) => {}
            Ok(Some(point)) => adoptions.push(Adoption::Adopted(Box::new(point))),
            Err(error @ RunError::Storage(_)) => return Err(error),
            Err(error) => adoptions.push(Adoption::Failed(name, error)),
        }
    }
    Ok(adoptions)
}

/// Adopts the backup of a run, with what that captured beside it. `None` when it has a manifest, is not over, or is none of dxdr's.
pub(crate) async fn adopt(
    store: &Store,
    name: &str,
    adopter: &Adopter,
    beside: &Beside,
) -> Result<Option<RecoveryPoint>, RunError> {
    match unfinished(store, name, None).await? {
        Some(orphan) => adopt_orphan(store, &orphan, adopter, Some(beside)).await,
        None => Ok(None),
    }
}

/// A backup without a manifest, and the run that has not ended and is to write it, if there is one.
type Found = Option<(Orphan, Option<String>)>;

async fn orphan(store: &Store, name: &str, environment: Option<&str>) -> Result<Found, RunError> {
    let Some(orphan) = unfinished(store, name, environment).await? else { return Ok(None) };
    let history = match orphan.capturing() {
        Some(run) => History::read(store, run).await?,
        None => None,
    };
    let at_work = history.filter(|history| history.outcome().is_none()).map(|history| history.run);
    Ok(Some((orphan, at_work)))
}

impl Orphan {
    /// The run that captures databases beside it.
    fn capturing(&self) -> Option<&str> {
        self.backup.metadata.annotations.get(DATABASES_ANNOTATION).map(String::as_str)
    }

    /// Why there is nothing of a database that is captured by a dump or an export.
    fn without_database(&self) -> String {
        let why = match self.capturing() {
            Some(run) => format!("{run}, which was to capture it beside Velero's backup, ended without"),
            None => "Velero made the backup by itself, and captures no databases".to_owned(),
        };
        format!("{why}; `dxdr backup now {}` takes a point with them", self.environment)
    }
}

async fn unfinished(store: &Store, name: &str, environment: Option<&str>) -> Result<Option<Orphan>, RunError> {
    let manifest_key = store.layout.manifest_key(name);
    match store.storage.stat(&manifest_key).await {
        Ok(_) => return Ok(None),
        Err(error) if error.kind == StorageErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let Some(metadata) = store.read(&store.layout.backup_key(name)).await? else { return Ok(None) };
    let format = |key: &str, source| RunError::Format { key: key.to_owned(), store: store.storage.describe(), source };
    let backup = backup::decode(&metadata).map_err(|source| format(&store.layout.backup_key(name), source))?;
    let of = adoption::environment_of(&backup).filter(|of| environment.is_none_or(|environment| of.as_str() == environment));
    Ok(of.map(|environment| Orphan { name: name.to_owned(), environment, backup }))
}

async fn adopt_orphan(
    store: &Store,
    orphan: &Orphan,
    adopter: &Adopter,
    beside: Option<&Beside>,
) -> Result<Option<RecoveryPoint>, RunError> {
    let (name, backup) = (orphan.name.as_str(), &orphan.backup);
    let manifest_key = store.layout.manifest_key(name);
    let format = |key: &str, source| RunError::Format { key: key.to_owned(), store: store.storage.describe(), source };
    let (objects, Facts { archive, sealed }) = read(store, name, adopter.keys.clone()).await?;
    let side = |object: BackupObject| async move {
        let key = store.layout.backup_object_key(name, object);
        Ok::<_, RunError>(store.read(&key).await?.map(|bytes| (key, bytes)))
    };
    let volumes = match side(BackupObject::VolumeInfo).await? {
        Some((key, bytes)) => volume_info::decode(&bytes).map_err(|source| format(&key, source))?,
        None => Vec::new(),
    };
    let results = match side(BackupObject::Results).await? {
        Some((key, bytes)) => results::decode(&bytes).map_err(|source| format(&key, source))?,
        None => results::Results::default(),
    };
    let folder = Folder { backup, archive: &archive, volumes: &volumes, results: &results, objects };
    let Some(mut point) = adoption::recovery_point(folder) else { return Ok(None) };
    note_databases(&mut point, orphan, adopter, beside).await?;
    note_keys(&mut point, sealed);
    catalog::index(store, &point).await?;
    match store.write(&manifest_key, manifest::encode(&point), PutCondition::IfAbsent).await {
        Ok(()) => Ok(Some(point)),
        // Somebody else was faster, with the same bytes.
        Err(error) if error.kind == StorageErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Looks again into points of Velero's that were adopted by somebody who could not have the sealing keys, or could not ask an instance how far its log goes. Answers
/// the names of those that say it now, each with what it says, or why it may not be written.
pub async fn mend(
    store: &Store,
    points: &[Entry],
    adopters: &BTreeMap<EnvironmentName, Adopter>,
) -> Result<Vec<(String, Result<String, RunError>)>, RunError> {
    let mut mended = Vec::new();
    for entry in points {
        let Entry::Ours(point) = entry else { continue };
        let Some(adopter) = adopters.get(&point.environment).filter(|adopter| adopter.may_mend(point)) else { continue };
        match mend_one(store, &point.name, adopter).await {
            Ok(None) => {}
            Ok(Some(says)) => mended.push((point.name.clone(), Ok(says))),
            // A bucket may let nobody write over what is there.
            Err(error) if matches!(&error, RunError::Storage(error) if error.kind == StorageErrorKind::Forbidden) => {
                mended.push((point.name.clone(), Err(error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(mended)
}

/// Reads a point's manifest, and writes over just that: what was deleted meanwhile stays deleted, and what somebody else has mended stays as it is.
async fn mend_one(store: &Store, name: &str, adopter: &Adopter) -> Result<Option<String>, RunError> {
    let key = store.layout.manifest_key(name);
    let Some((read, bytes)) = store.read_to_replace(&key).await? else { return Ok(None) };
    let Ok(mut point) = manifest::decode(&bytes) else { return Ok(None) };
    let before = point.instant;
    let keys = mend_keys(store, &mut point, adopter).await?.then_some("which sealing keys it needs");
    let logs = mend_logs(store, &mut point, adopter).await?.then_some("which instant it stands for in the logs of its databases");
    let says: Vec<&str> = keys.into_iter().chain(logs).collect();
    if says.is_empty() {
        return Ok(None);
    }
    // What lists points takes entries out of it that lead nowhere.
    catalog::index(store, &point).await?;
    if store.storage.replace(&read, manifest::encode(&point).into()).await?.is_none() {
        return Ok(None);
    }
    if point.instant != before {
        let key = store.layout.point_index_key(point.environment.as_str(), before, &point.name);
        store.storage.delete(&key).await?;
    }
    Ok(Some(says.join(", and ")))
}

/// Whether a point has learnt which keys it needs.
async fn mend_keys(store: &Store, point: &mut RecoveryPoint, adopter: &Adopter) -> Result<bool, RunError> {
    let Some(keys) = adopter.keys_for(point) else { return Ok(false) };
    let examination = Examination::new(Some(keys.clone()));
    let examined = restore::source(store, &Entry::Ours(point.clone()))
        .visit(examination, |examination, _, item, json| {
            examination.observe_item(item, json);
            Ok(true)
        })
        .await?;
    point.gaps.retain(|gap| gap.what != SEALING_KEYS);
    note_keys(point, examined);
    Ok(true)
}

/// Whether a point has learnt of an instant in a log. What it lacks says which, and of which instance's: the backup has it, and nobody else is asked where the database was.
async fn mend_logs(store: &Store, point: &mut RecoveryPoint, adopter: &Adopter) -> Result<bool, RunError> {
    let metadata = if lacks_instants(point) { store.read(&store.layout.backup_key(&point.name)).await? } else { None };
    let Some(backup) = metadata.and_then(|metadata| backup::decode(&metadata).ok()) else { return Ok(false) };
    let mut databases = logs_then(&backup.metadata.annotations).unwrap_or_default();
    let what = |database: &DatabasePlan| database.log().map(|log| log.what(&database.unit));
    databases.retain(|database| what(database).is_some_and(|what| point.gaps.iter().any(|gap| gap.what == what)));
    let (volumes, objects) = adoption::instants(point);
    let logged = log::logs(&adopter.logs, &databases, &volumes, objects).await;
    let failed: Vec<String> = logged.gaps().map(|gap| gap.what).collect();
    let found: Vec<String> = databases.iter().filter_map(what).filter(|what| !failed.contains(what)).collect();
    point.gaps.retain(|gap| !found.contains(&gap.what));
    point.components.extend(logged.components());
    point.instant = logged.latest().map_or(point.instant, |latest| latest.max(point.instant));
    Ok(!found.is_empty())
}

/// Enters the databases into a point: what a run captured, and the instants in logs, which follow from those of the volumes.
async fn note_databases(
    point: &mut RecoveryPoint,
    orphan: &Orphan,
    adopter: &Adopter,
    beside: Option<&Beside>,
) -> Result<(), RunError> {
    let (volumes, objects) = adoption::instants(point);
    let (databases, captured) = match beside {
        Some(beside) => {
            beside.witnessed(point);
            (adopter.databases.clone(), beside.dumped.clone())
        }
        None => {
            let databases = databases_then(&orphan.backup.metadata.annotations, &adopter.databases);
            let missing = databases.iter().filter(|database| database.needs_run());
            let captured = Dumped::without(missing.map(|database| (database.what(), orphan.without_database())));
            (databases, captured)
        }
    };
    let logged = log::logs(&adopter.logs, &databases, &volumes, objects).await;
    let dumped = captured.joined(logged);
    point.instant = dumped.latest().map_or(point.instant, |latest| latest.max(point.instant));
    point.components.extend(dumped.components());
    point.objects.extend(dumped.objects()?);
    point.objects.sort_by_key(|object| object.key == METADATA);
    point.gaps.extend(databases.iter().filter_map(DatabasePlan::gap).chain(dumped.gaps()));
    Ok(())
}

/// Says in a point which keys it needs, and what is not known of them.
fn note_keys(point: &mut RecoveryPoint, examination: Examination) {
    let resources = point.components.iter().find(|component| matches!(component, Component::Resources(_)));
    let instant = resources.map_or(point.instant, Component::instant);
    let findings = examination.finish();
    findings.warnings.iter().for_each(|warning| tracing::warn!(point = point.name, "{warning}"));
    point.components.extend(findings.fingerprints.map(|fingerprints| Component::Keys(KeysComponent { instant, fingerprints })));
    point.gaps.extend(findings.gaps);
}

/// What an archive holds, and what opens the SealedSecrets in it.
struct Facts {
    archive: ArchiveFacts,
    sealed: Examination,
}

/// Every object of the folder with its hash, and what the archive holds.
async fn read(store: &Store, name: &str, keys: Option<SealingKeys>) -> Result<(Vec<StoredObject>, Facts), RunError> {
    let prefix = store.layout.backup_prefix(name);
    let archive_key = store.layout.archive_key(name);
    let (mut objects, mut facts) = (Vec::new(), None);
    for (key, size) in store.sizes(&prefix).await? {
        let relative = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
        // What lies there is a run's, which knows what of it is whole.
        if relative == MANIFEST || relative.starts_with(DATABASES_FOLDER) {
            continue;
        }
        let source = store.storage.get(&key, None).await?.stream;
        let is_archive = key == archive_key;
        let sealed = is_archive.then(|| Examination::new(keys.clone()));
        let reading = tokio::task::spawn_blocking(move || digest(Hashing::new(bridge::reader(source)), sealed));
        let (sha256, found) = reading
            .await
            .map_err(|panic| RunError::Unexpected(panic.to_string()))?
            .map_err(|source| RunError::Unrestorable { key: key.clone(), store: store.storage.describe(), source })?;
        facts = facts.or(found);
        objects.push(StoredObject { key: relative, size, sha256 });
    }
    // As Velero writes them last: whoever copies a point in this order copies the marker last.
    objects.sort_by_key(|object| object.key == METADATA);
    let missing = || RunError::Missing { key: archive_key.clone(), store: store.storage.describe() };
    Ok((objects, facts.ok_or_else(missing)?))
}

/// `sealed`: for the archive only.
fn digest(
    mut reader: Hashing<bridge::StreamReader>,
    sealed: Option<Examination>,
) -> Result<(Sha256, Option<Facts>), ArchiveError> {
    let Some(sealed) = sealed else {
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(|source| ArchiveError::Read { after: 0, source })?;
        return Ok((reader.digest(), None));
    };
    let mut facts = Facts { archive: ArchiveFacts::default(), sealed };
    let mut archive = ArchiveReader::new(reader, Limits::default());
    while let Some(item) = archive.next_item()? {
        facts.archive.observe(item.path, item.json);
        facts.sealed.observe_item(item.path, item.json);
    }
    Ok((archive.into_inner().digest(), Some(facts)))
}

#[cfg(test)]
#[path = "adoption_test.rs"]
mod tests;
