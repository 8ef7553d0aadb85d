//! Making recovery points of what Velero's schedules made while dxdr was away, or while it watched.
//!
//! ```text
//! folder without our manifest ─► velero-backup.json terminal and ours? ─► every object hashed, the archive read ─► index ─► manifest
//!                                                                          SealedSecrets of it opened: keys ─┘
//! ```
//!
//! What is written is a function of what lies in the folder and of the sealing keys at hand, so that two processes that adopt the same backup
//! write the same. One that could not have the keys says so in the point, and the next one that has them mends it.

use std::collections::BTreeMap;

use dxdr_catalog::{Component, Engine, Entry, KeysComponent, RecoveryPoint, Sha256, StoredObject, name};
use dxdr_environment::EnvironmentName;
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
use dxdr_provider::{StorageErrorKind, object_storage::PutCondition};
use futures::{StreamExt, stream};

use crate::{
    catalog,
    error::RunError,
    restore,
    sealing::{Examination, SEALING_KEYS, SealingKeys},
    store::Store,
    stream as bridge,
};

/// Backups looked at at the same time.
const IN_FLIGHT: usize = 4;

/// What became of one backup.
#[derive(Debug)]
pub enum Adoption {
    /// A recovery point now.
    Adopted(Box<RecoveryPoint>),
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

/// Looks for backups that can be adopted, of `environment` only where one is named; those that cannot be read are failed already.
pub async fn orphans(store: &Store, environment: Option<&str>) -> Result<(Vec<Orphan>, Vec<Adoption>), RunError> {
    let names = store.folders(&store.layout.backups_prefix()).await?;
    // A name of ours says whose it is, without reading anything.
    let candidates = names.into_iter().filter(|name| match (environment, name::parse(name)) {
        (Some(environment), Some(parsed)) => parsed.is_of(environment),
        _ => true,
    });
    let found: Vec<(String, Result<Option<Orphan>, RunError>)> = stream::iter(candidates)
        .map(|name| async move {
            let found = orphan(store, &name, environment).await;
            (name, found)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let (mut orphans, mut failed) = (Vec::new(), Vec::new());
    for (name, found) in found {
        match found {
            Ok(found) => orphans.extend(found),
            Err(error @ RunError::Storage(_)) => return Err(error),
            Err(error) => failed.push(Adoption::Failed(name, error)),
        }
    }
    Ok((orphans, failed))
}

/// Adopts backups, with the sealing keys of their environments. A backup that cannot be adopted does not keep the others from it.
pub async fn adopt_all(
    store: &Store,
    orphans: Vec<Orphan>,
    keys: &BTreeMap<EnvironmentName, SealingKeys>,
) -> Result<Vec<Adoption>, RunError> {
    let results: Vec<(String, Result<Option<RecoveryPoint>, RunError>)> = stream::iter(orphans)
        .map(|orphan| async move {
            let keys = keys.get(&orphan.environment).cloned();
            (orphan.name.clone(), adopt_orphan(store, &orphan, keys).await)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let mut adoptions = Vec::new();
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

/// Adopts one backup. `None` when it has a manifest, is not over, or is none of dxdr's.
pub async fn adopt(store: &Store, name: &str, keys: Option<SealingKeys>) -> Result<Option<RecoveryPoint>, RunError> {
    match orphan(store, name, None).await? {
        Some(orphan) => adopt_orphan(store, &orphan, keys).await,
        None => Ok(None),
    }
}

async fn orphan(store: &Store, name: &str, environment: Option<&str>) -> Result<Option<Orphan>, RunError> {
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

async fn adopt_orphan(store: &Store, orphan: &Orphan, keys: Option<SealingKeys>) -> Result<Option<RecoveryPoint>, RunError> {
    let (name, backup) = (orphan.name.as_str(), &orphan.backup);
    let manifest_key = store.layout.manifest_key(name);
    let format = |key: &str, source| RunError::Format { key: key.to_owned(), store: store.storage.describe(), source };
    let (objects, Facts { archive, sealed }) = read(store, name, keys).await?;
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
    note_keys(&mut point, sealed);
    catalog::index(store, &point).await?;
    match store.write(&manifest_key, manifest::encode(&point), PutCondition::IfAbsent).await {
        Ok(()) => Ok(Some(point)),
        // Somebody else was faster, with the same bytes.
        Err(error) if error.kind == StorageErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Looks into points of Velero's that were adopted by somebody who could not have the sealing keys, and says which ones they need. Answers
/// the names of those that know it now.
pub async fn mend(
    store: &Store,
    points: &[Entry],
    keys: &BTreeMap<EnvironmentName, SealingKeys>,
) -> Result<Vec<String>, RunError> {
    let mut mended = Vec::new();
    for entry in points {
        let Entry::Ours(point) = entry else { continue };
        let lacks = point.gaps.iter().any(|gap| gap.what == SEALING_KEYS)
            && !point.components.iter().any(|component| matches!(component, Component::Keys(_)));
        let Some(keys) = keys.get(&point.environment).filter(|_| lacks && point.engine == Engine::Velero) else { continue };
        if keys.problem.is_some() {
            continue;
        }
        let examination = Examination::new(Some(keys.clone()));
        let examined = restore::source(store, entry)
            .visit(examination, |examination, _, item, json| {
                examination.observe_item(item, json);
                Ok(true)
            })
            .await?;
        let mut point = point.clone();
        point.gaps.retain(|gap| gap.what != SEALING_KEYS);
        note_keys(&mut point, examined);
        store.write(&store.layout.manifest_key(&point.name), manifest::encode(&point), PutCondition::Always).await?;
        mended.push(point.name);
    }
    Ok(mended)
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
        if relative == MANIFEST {
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
