//! Writing objects: one request, or a session. Every write has a condition on the generation of the object that it replaces.

use bytes::Bytes;
use dxdr_provider::object_storage::{ObjectBody, ObjectStat, PutCondition, StorageError, StorageErrorKind};
use google_cloud_gax::retry_policy::NeverRetry;

use super::{
    GcsStorage,
    failure::GcsFailure,
    session::{self, Ended},
};
use crate::{
    failure::Call,
    parts::{Part, Parts},
    write_id::{WRITE_ID, write_id},
};

/// Objects up to this size, in bytes, are one request.
const WHOLE: usize = 8 * 1024 * 1024;

/// What the bytes are said to be.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";

/// How often bytes are written at most because another writer replaced the object in between.
const CONFLICTS: u32 = 5;

/// What is written, of whom, over what.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) key: String,
    /// The generation that is replaced; 0 when there is none.
    pub(super) generation: i64,
    pub(super) id: String,
}

/// What has been written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) generation: i64,
}

impl Write {
    pub(super) fn metadata(&self) -> [(&'static str, &str); 1] {
        [(WRITE_ID, &self.id)]
    }
}

impl GcsStorage {
    pub(super) async fn upload(
        &self,
        call: &Call,
        body: ObjectBody,
        condition: PutCondition,
    ) -> Result<ObjectStat, StorageError> {
        let mut parts = Parts::new(body);
        match parts.next(WHOLE).await.map_err(|error| call.fails_by_body(error))? {
            Part::Last(bytes) => self.in_one_request(call, bytes, condition).await,
            Part::Full(first) => self.in_a_session(call, first, parts, condition).await,
        }
    }

    /// Writes over that generation alone; `None` where it is not the live one any more.
    pub(super) async fn overwrite(&self, call: &Call, bytes: Bytes, generation: i64) -> Result<Option<ObjectStat>, StorageError> {
        let write = Write { key: call.key.clone(), generation, id: write_id() };
        let written = match self.whole(&write, bytes).await {
            Ok(written) => Some(written),
            Err(failure) => self.own_after_all(call, &write, PutCondition::Always, failure).await?,
        };
        Ok(written.map(|written| stat(call, &written)))
    }

    async fn in_one_request(&self, call: &Call, bytes: Bytes, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let mut write = Write { key: call.key.clone(), generation: 0, id: write_id() };
        for _ in 0..CONFLICTS {
            write.generation = self.replaced(call, condition).await?;
            match self.whole(&write, bytes.clone()).await {
                Ok(written) => return Ok(stat(call, &written)),
                Err(failure) => {
                    if let Some(written) = self.own_after_all(call, &write, condition, failure).await? {
                        return Ok(stat(call, &written));
                    }
                }
            }
        }
        Err(overtaken(call))
    }

    async fn in_a_session(
        &self,
        call: &Call,
        first: Bytes,
        parts: Parts,
        condition: PutCondition,
    ) -> Result<ObjectStat, StorageError> {
        let generation = self.replaced(call, condition).await?;
        let write = Write { key: call.key.clone(), generation, id: write_id() };
        let failure = match session::send(self, &write, first, parts).await {
            Ok(written) => return Ok(stat(call, &written)),
            Err(Ended::Body(error)) => return Err(call.fails_by_body(error)),
            Err(Ended::Failed(failure)) => failure,
        };
        match self.own_after_all(call, &write, condition, failure).await? {
            Some(written) => Ok(stat(call, &written)),
            // The bytes are gone.
            None => Err(overtaken(call)),
        }
    }

    /// The generation of what is to be replaced: a write that is sent twice then takes place once, and never undoes a later one.
    async fn replaced(&self, call: &Call, condition: PutCondition) -> Result<i64, StorageError> {
        if condition == PutCondition::IfAbsent {
            return Ok(0);
        }
        match self.resource(&call.key).await.and_then(|resource| resource.generation()) {
            Ok(generation) => Ok(generation),
            // Who may create but not read finds out by writing.
            Err(failure) if matches!(failure.kind, StorageErrorKind::NotFound | StorageErrorKind::Forbidden) => Ok(0),
            Err(failure) => Err(call.fails_by_gcs(failure)),
        }
    }

    /// Sends bytes in one request. Google's crate says their CRC32C before them, and holds that of the answer against it.
    async fn whole(&self, write: &Write, bytes: Bytes) -> Result<Written, GcsFailure> {
        let connection = self.connection();
        let attempt = || async {
            connection.authorization().await?;
            let mut request = connection
                .objects
                .write_object(self.bucket_path(), self.full(&write.key), bytes.clone())
                .set_if_generation_match(write.generation)
                .set_metadata(write.metadata())
                .set_content_type(CONTENT_TYPE)
                .with_resumable_upload_threshold(usize::MAX)
                .with_retry_policy(NeverRetry);
            if let Some(key) = self.kms_key() {
                request = request.set_kms_key(key);
            }
            let object = request.send_buffered().await.map_err(|error| GcsFailure::of_crate(&error))?;
            Ok(Written { size: bytes.len() as u64, generation: object.generation })
        };
        connection.persist(bytes.len(), attempt).await
    }

    /// What a failed write comes to. A request whose answer was lost is sent again, and its condition does not hold any more because of the
    /// first one's object: whose object it is tells the id in its metadata. `None`: another writer was there in between.
    async fn own_after_all(
        &self,
        call: &Call,
        write: &Write,
        condition: PutCondition,
        failure: GcsFailure,
    ) -> Result<Option<Written>, StorageError> {
        if !failure.is_condition() {
            return Err(self.after_failure(call, write, failure).await);
        }
        let creates = condition == PutCondition::IfAbsent;
        match self.resource(&write.key).await {
            Ok(resource) if resource.metadata.get(WRITE_ID) == Some(&write.id) => {
                let written = resource.size().and_then(|size| Ok(Written { size, generation: resource.generation()? }));
                written.map(Some).map_err(|failure| call.fails_by_gcs(failure))
            }
            Ok(_) if creates => Err(call.fails_by(StorageErrorKind::AlreadyExists, failure)),
            Ok(_) => Ok(None),
            Err(refusal) => match refusal.kind {
                // It was there, says the condition, whether or not it is by now, and whether or not this identity may see it.
                StorageErrorKind::NotFound | StorageErrorKind::Forbidden if creates => {
                    Err(call.fails_by(StorageErrorKind::AlreadyExists, failure))
                }
                StorageErrorKind::NotFound => Ok(None),
                // Whose it is is not known: it may be this write's own.
                _ => Err(call.fails_by_gcs(refusal)),
            },
        }
    }

    async fn after_failure(&self, call: &Call, write: &Write, mut failure: GcsFailure) -> StorageError {
        match failure.kind {
            // A write needs no object.
            StorageErrorKind::NotFound => failure = failure.with_kind(StorageErrorKind::NoSuchStore),
            // The server took it and says so with another checksum: nobody is to find that.
            StorageErrorKind::Corrupt if failure.status.is_none() => self.discard(write).await,
            _ => {}
        }
        call.fails_by_gcs(failure)
    }

    async fn discard(&self, write: &Write) {
        let removed = match self.resource(&write.key).await {
            Ok(resource) if resource.metadata.get(WRITE_ID) == Some(&write.id) => match resource.generation() {
                Ok(generation) => self.remove(&write.key, Some(generation)).await,
                Err(failure) => Err(failure),
            },
            _ => Ok(()),
        };
        if let Err(failure) = removed {
            tracing::warn!(key = %write.key, %failure, "an object that was written damaged cannot be removed");
        }
    }
}

fn stat(call: &Call, written: &Written) -> ObjectStat {
    ObjectStat { key: call.key.clone(), size: written.size, modified: None, tag: Some(written.generation.to_string()) }
}

fn overtaken(call: &Call) -> StorageError {
    let failure =
        GcsFailure::new(StorageErrorKind::Unavailable, "other writers replaced or removed the object in the same moment");
    call.fails_by_gcs(failure)
}
