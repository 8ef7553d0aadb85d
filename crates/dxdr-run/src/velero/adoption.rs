//! Making recovery points of what Velero's schedules made while dxdr was away, or while it watched.
//!
//! ```text
//! folder without our manifest ─► velero-backup.json terminal and ours? ─► every object hashed, the archive read ─► index ─► manifest
//! ```
//!
//! What is written is a function of what lies in the folder, so that two processes that adopt the same backup write the same.

use dxdr_catalog::{RecoveryPoint, Sha256, StoredObject, name};
use dxdr_format::{
    hashing::Hashing,
    manifest,
    velero::{
        adoption::{self, ArchiveFacts, Folder},
        archive::{ArchiveError, ArchiveReader, Limits},
        backup,
        layout::{BackupObject, MANIFEST, METADATA},
        results, volume_info,
    },
};
use dxdr_provider::{StorageErrorKind, object_storage::PutCondition};
use futures::{StreamExt, stream};

use crate::{catalog, error::RunError, store::Store, stream as bridge};

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

/// Adopts every backup of dxdr's Schedules, of `environment` only where one is named, that is over and has no manifest. A backup that
/// cannot be adopted does not keep the others from it.
pub async fn adopt_all(store: &Store, environment: Option<&str>) -> Result<Vec<Adoption>, RunError> {
    let names = store.folders(&store.layout.backups_prefix()).await?;
    // A name of ours says whose it is, without reading anything.
    let candidates = names.into_iter().filter(|name| match (environment, name::parse(name)) {
        (Some(environment), Some(parsed)) => parsed.is_of(environment),
        _ => true,
    });
    let results: Vec<(String, Result<Option<RecoveryPoint>, RunError>)> = stream::iter(candidates)
        .map(|name| async move {
            let adopted = adopt(store, &name, environment).await;
            (name, adopted)
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
pub async fn adopt(store: &Store, name: &str, environment: Option<&str>) -> Result<Option<RecoveryPoint>, RunError> {
    let manifest_key = store.layout.manifest_key(name);
    match store.storage.stat(&manifest_key).await {
        Ok(_) => return Ok(None),
        Err(error) if error.kind == StorageErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let Some(metadata) = store.read(&store.layout.backup_key(name)).await? else { return Ok(None) };
    let format = |key: &str, source| RunError::Format { key: key.to_owned(), store: store.storage.describe(), source };
    let backup = backup::decode(&metadata).map_err(|source| format(&store.layout.backup_key(name), source))?;
    let of = adoption::environment_of(&backup);
    if of.is_none() || environment.is_some_and(|environment| of.is_some_and(|of| of.as_str() != environment)) {
        return Ok(None);
    }
    let (objects, archive) = read(store, name).await?;
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
    let folder = Folder { backup: &backup, archive: &archive, volumes: &volumes, results: &results, objects };
    let Some(point) = adoption::recovery_point(folder) else { return Ok(None) };
    catalog::index(store, &point).await?;
    match store.write(&manifest_key, manifest::encode(&point), PutCondition::IfAbsent).await {
        Ok(()) => Ok(Some(point)),
        // Somebody else was faster, with the same bytes.
        Err(error) if error.kind == StorageErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every object of the folder with its hash, and what the archive holds.
async fn read(store: &Store, name: &str) -> Result<(Vec<StoredObject>, ArchiveFacts), RunError> {
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
        let reading = tokio::task::spawn_blocking(move || digest(Hashing::new(bridge::reader(source)), is_archive));
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

fn digest(mut reader: Hashing<bridge::StreamReader>, is_archive: bool) -> Result<(Sha256, Option<ArchiveFacts>), ArchiveError> {
    if !is_archive {
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(|source| ArchiveError::Read { after: 0, source })?;
        return Ok((reader.digest(), None));
    }
    let mut facts = ArchiveFacts::default();
    let mut archive = ArchiveReader::new(reader, Limits::default());
    while let Some(item) = archive.next_item()? {
        facts.observe(item.path, item.json);
    }
    Ok((archive.into_inner().digest(), Some(facts)))
}
