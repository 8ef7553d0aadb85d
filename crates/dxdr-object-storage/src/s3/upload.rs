//! Writing objects: one request, or parts.

use std::{future::Future, pin::Pin, sync::atomic::Ordering, time::Duration};

use aws_sdk_s3::{
    Client,
    error::SdkError,
    primitives::ByteStream as SdkStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption},
};
use bytes::Bytes;
use dxdr_provider::object_storage::{ObjectBody, ObjectStat, PutCondition, StorageError, StorageErrorKind};
use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    S3Storage,
    client::patient,
    failure::{code, failure, reread, status},
    options::{S3Checksums, S3Encryption},
};
use crate::{
    failure::Call,
    parts::{Part, Parts},
    write_id::{WRITE_ID, write_id},
};

const MIB: usize = 1024 * 1024;

/// Bytes of parts that are on their way at once; there is always at least one part on its way, and one being filled.
const IN_FLIGHT: usize = 32 * MIB;

/// How often a write is tried again that S3 refused because another conditional write of the key was under way.
const CONFLICTS: u32 = 5;

/// Bytes of the part of this number (from 1). An object whose length is not known must fit into 10,000 parts, of at most 5 GiB each, and memory
/// should be in proportion to its size: 8 MiB, doubled every 1,000 parts up to 128 MiB (which is 248 GiB), then 1 GiB to S3's limit of
/// 5 TiB.
fn part_size(number: i32) -> usize {
    match (number - 1) / 1000 {
        thousands @ 0..=4 => (8 * MIB) << thousands,
        _ => 1024 * MIB,
    }
}

impl S3Storage {
    pub(super) async fn upload(&self, call: Call, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        if condition == PutCondition::IfAbsent && self.must_look_first(&body) {
            match self.head_as_it_is(&call).await {
                Ok(_) => return Err(call.fails(StorageErrorKind::AlreadyExists)),
                // Who may write but not read finds out by writing; a missing bucket shows then, too.
                Err(error) if matches!(error.kind, StorageErrorKind::NotFound | StorageErrorKind::Forbidden) => {}
                Err(error) => return Err(error),
            }
        }
        let mut parts = Parts::new(body);
        let first = parts.next(part_size(1)).await.map_err(|error| call.fails_by_body(error))?;
        let write = Write { storage: self, call: &call, condition: condition.into(), id: write_id() };
        match first {
            Part::Last(bytes) => write.whole(bytes).await,
            Part::Full(bytes) => write.in_parts(bytes, parts).await,
        }
    }

    /// Writes over what was read; `None` where it is another object by now, or none.
    pub(super) async fn overwrite(
        &self,
        call: Call,
        bytes: Bytes,
        read: &ObjectStat,
    ) -> Result<Option<ObjectStat>, StorageError> {
        // Not every server heeds the condition.
        match self.head_as_it_is(&call).await {
            Ok(now) if now.is_still(read) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let condition = read.tag.clone().map_or(Condition::Always, Condition::IfStill);
        let write = Write { storage: self, call: &call, condition, id: write_id() };
        match write.whole(bytes).await {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if matches!(error.kind, StorageErrorKind::AlreadyExists | StorageErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn must_look_first(&self, body: &ObjectBody) -> bool {
        let is_large = match body {
            ObjectBody::Bytes(bytes) => bytes.len() > part_size(1),
            ObjectBody::Stream(_) => true,
        };
        is_large || !self.shared.knows_conditions.load(Ordering::Relaxed)
    }
}

/// What has to be true of the key for a write to take place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    /// The object there has that tag.
    IfStill(String),
}

impl From<PutCondition> for Condition {
    fn from(condition: PutCondition) -> Self {
        match condition {
            PutCondition::Always => Self::Always,
            PutCondition::IfAbsent => Self::IfAbsent,
        }
    }
}

/// One put.
struct Write<'put> {
    storage: &'put S3Storage,
    call: &'put Call,
    condition: Condition,
    id: String,
}

impl Write<'_> {
    fn client(&self) -> &Client {
        &self.storage.shared.client
    }

    fn only_if_absent(&self) -> Option<String> {
        (self.condition == Condition::IfAbsent).then(|| "*".to_owned())
    }

    fn only_if_still(&self) -> Option<String> {
        match &self.condition {
            Condition::IfStill(tag) => Some(tag.clone()),
            Condition::Always | Condition::IfAbsent => None,
        }
    }

    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        (self.storage.shared.options.checksums == S3Checksums::WhenSupported).then_some(ChecksumAlgorithm::Crc32C)
    }

    /// As the protocol says it: the algorithm, and the key's id.
    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.storage.shared.options.encryption {
            None => (None, None),
            Some(S3Encryption::S3Keys) => (Some(ServerSideEncryption::Aes256), None),
            Some(S3Encryption::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    fn stat(&self, size: u64, tag: Option<&str>) -> ObjectStat {
        ObjectStat { key: self.call.key.clone(), size, modified: None, tag: tag.map(str::to_owned) }
    }

    async fn whole(&self, bytes: Bytes) -> Result<ObjectStat, StorageError> {
        let size = bytes.len() as u64;
        let outcome = self
            .unless_in_conflict(|| {
                let (encryption, key) = self.encryption();
                self.client()
                    .put_object()
                    .bucket(self.storage.bucket())
                    .key(self.storage.full(&self.call.key))
                    .set_if_none_match(self.only_if_absent())
                    .set_if_match(self.only_if_still())
                    .set_metadata((self.condition != Condition::Always).then(|| [(WRITE_ID.to_owned(), self.id.clone())].into()))
                    .set_checksum_algorithm(self.checksum())
                    .set_server_side_encryption(encryption)
                    .set_ssekms_key_id(key)
                    .content_length(size as i64)
                    .body(SdkStream::from(bytes.clone()))
                    .customize()
                    .config_override(patient(&self.storage.shared.options.patience, bytes.len()))
                    .send()
            })
            .await;
        match outcome {
            Ok(output) => Ok(self.stat(size, output.e_tag())),
            Err(error) => self.own_after_all(error, size).await,
        }
    }

    /// Sends a first full part and the rest, several parts at a time.
    async fn in_parts(&self, first: Bytes, mut parts: Parts) -> Result<ObjectStat, StorageError> {
        let (encryption, key) = self.encryption();
        let created = self
            .client()
            .create_multipart_upload()
            .bucket(self.storage.bucket())
            .key(self.storage.full(&self.call.key))
            .metadata(WRITE_ID, &self.id)
            .set_checksum_algorithm(self.checksum())
            // The checksum of the whole, which can be checked when it is read, not one of the parts' checksums.
            .set_checksum_type(self.checksum().map(|_| ChecksumType::FullObject))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .send()
            .await
            .map_err(|error| failure(self.call, error))?;
        let Some(upload_id) = created.upload_id() else {
            return Err(self.call.fails_by(StorageErrorKind::Other, "the server began an upload without giving it an id"));
        };
        let mut unfinished = Unfinished {
            storage: Some(self.storage.clone()),
            key: self.storage.full(&self.call.key),
            upload_id: upload_id.to_owned(),
        };
        let outcome = self.send_parts(upload_id, first, &mut parts).await;
        let outcome = match outcome {
            Ok((done, size)) => self.complete(upload_id, done, size).await,
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(_) => unfinished.storage = None,
            Err(_) => unfinished.abort().await,
        }
        outcome
    }

    async fn send_parts(
        &self,
        upload_id: &str,
        first: Bytes,
        parts: &mut Parts,
    ) -> Result<(Vec<CompletedPart>, u64), StorageError> {
        let mut in_flight = FuturesUnordered::new();
        let (mut bytes_in_flight, mut size, mut number) = (0, 0, 0);
        let mut done = Vec::new();
        let mut next = Some(Part::Full(first));
        while let Some(part) = next.take() {
            let (bytes, is_last) = match part {
                Part::Full(bytes) => (bytes, false),
                Part::Last(bytes) => (bytes, true),
            };
            if !bytes.is_empty() {
                number += 1;
                size += bytes.len() as u64;
                bytes_in_flight += bytes.len();
                in_flight.push(self.send_part(upload_id, number, bytes));
            }
            // Parts are sent while the next one is filled, and before it is begun when enough are on their way.
            while bytes_in_flight + part_size(number + 1) > IN_FLIGHT.max(2 * part_size(number + 1) - 1)
                || (is_last && !in_flight.is_empty())
            {
                let Some(outcome) = in_flight.next().await else {
                    break;
                };
                let (length, part) = outcome?;
                bytes_in_flight -= length;
                done.push(part);
            }
            if is_last {
                break;
            }
            if number == 10_000 {
                return Err(self
                    .call
                    .fails_by(StorageErrorKind::Invalid, "the object has more than 5 TiB, the most that S3 takes"));
            }
            next = Some(self.fill_while_sending(parts, number + 1, &mut in_flight, &mut bytes_in_flight, &mut done).await?);
        }
        done.sort_unstable_by_key(CompletedPart::part_number);
        Ok((done, size))
    }

    /// Reads the next part while those in flight make progress: a future that is not polled sends nothing.
    async fn fill_while_sending<F>(
        &self,
        parts: &mut Parts,
        number: i32,
        in_flight: &mut FuturesUnordered<F>,
        bytes_in_flight: &mut usize,
        done: &mut Vec<CompletedPart>,
    ) -> Result<Part, StorageError>
    where
        F: Future<Output = Result<(usize, CompletedPart), StorageError>>,
    {
        let mut filling = std::pin::pin!(parts.next(part_size(number)));
        loop {
            tokio::select! {
                part = &mut filling => return part.map_err(|error| self.call.fails_by_body(error)),
                Some(outcome) = in_flight.next(), if !in_flight.is_empty() => {
                    let (length, part) = outcome?;
                    *bytes_in_flight -= length;
                    done.push(part);
                }
            }
        }
    }

    async fn send_part(&self, upload_id: &str, number: i32, bytes: Bytes) -> Result<(usize, CompletedPart), StorageError> {
        let length = bytes.len();
        let output = self
            .client()
            .upload_part()
            .bucket(self.storage.bucket())
            .key(self.storage.full(&self.call.key))
            .upload_id(upload_id)
            .part_number(number)
            .set_checksum_algorithm(self.checksum())
            .content_length(length as i64)
            .body(SdkStream::from(bytes))
            .customize()
            .config_override(patient(&self.storage.shared.options.patience, length))
            .send()
            .await
            .map_err(|error| failure(self.call, error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(output.e_tag().map(str::to_owned))
            .set_checksum_crc32_c(output.checksum_crc32_c().map(str::to_owned))
            .build();
        Ok((length, part))
    }

    async fn complete(&self, upload_id: &str, parts: Vec<CompletedPart>, size: u64) -> Result<ObjectStat, StorageError> {
        // A server that did not answer with checksums of the parts did not take them.
        let has_checksums = parts.iter().all(|part| part.checksum_crc32_c().is_some());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let outcome = self
            .unless_in_conflict(|| {
                self.client()
                    .complete_multipart_upload()
                    .bucket(self.storage.bucket())
                    .key(self.storage.full(&self.call.key))
                    .upload_id(upload_id)
                    .set_if_none_match(self.only_if_absent())
                    .set_checksum_type((has_checksums && self.checksum().is_some()).then_some(ChecksumType::FullObject))
                    .multipart_upload(parts.clone())
                    .customize()
                    // Putting many parts together takes a server minutes.
                    .config_override(patient(&self.storage.shared.options.patience, part_size(1)))
                    .send()
            })
            .await;
        match outcome {
            Ok(output) => Ok(self.stat(size, output.e_tag())),
            Err(error) => self.own_after_all(error, size).await,
        }
    }

    /// Sends a write again that was refused because another conditional write of the key was just being decided. Remembers whether the
    /// server knows conditions.
    async fn unless_in_conflict<T, E, F>(&self, send: impl Fn() -> F) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>>,
        E: aws_sdk_s3::error::ProvideErrorMetadata + aws_sdk_s3::operation::RequestId + std::error::Error + Send + Sync + 'static,
    {
        let mut conflicts = 0;
        loop {
            let error = match send().await {
                Ok(output) => return Ok(output),
                Err(error) => failure(self.call, error),
            };
            let is_conflict = self.condition != Condition::Always
                && (status(&error) == Some(409)
                    || matches!(code(&error), Some("ConditionalRequestConflict" | "OperationAborted")));
            if !is_conflict || conflicts == CONFLICTS {
                if self.condition != Condition::Always && error.kind == StorageErrorKind::AlreadyExists {
                    self.storage.shared.knows_conditions.store(true, Ordering::Relaxed);
                }
                return Err(error);
            }
            conflicts += 1;
            tokio::time::sleep(Duration::from_millis(100) * 2u32.pow(conflicts)).await;
        }
    }

    /// A request whose answer was lost is sent again, and the second attempt finds the first one's object (or its upload gone). Whose object it is
    /// tells the id in its metadata.
    async fn own_after_all(&self, error: StorageError, size: u64) -> Result<ObjectStat, StorageError> {
        let is_doubtful =
            error.kind == StorageErrorKind::AlreadyExists || code(&error) == Some("NoSuchUpload") || status(&error) == Some(409);
        if !is_doubtful {
            return Err(error);
        }
        let head = self.client().head_object().bucket(self.storage.bucket()).key(self.storage.full(&self.call.key)).send().await;
        match head {
            Ok(there) if there.metadata().and_then(|metadata| metadata.get(WRITE_ID)) == Some(&self.id) => {
                Ok(self.stat(size, there.e_tag()))
            }
            Ok(_) if self.condition == Condition::IfAbsent => Err(reread(error, StorageErrorKind::AlreadyExists)),
            _ => Err(error),
        }
    }
}

/// An upload of parts that has to be completed or aborted: parts that are left cost money and are not listed.
struct Unfinished {
    storage: Option<S3Storage>,
    key: String,
    upload_id: String,
}

impl Unfinished {
    async fn abort(&mut self) {
        if let Some(aborting) = self.aborting() {
            // Of its own, so that it goes on when this future is dropped.
            let _ = tokio::spawn(aborting).await;
        }
    }

    fn aborting(&mut self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let storage = self.storage.take()?;
        let request =
            storage.shared.client.abort_multipart_upload().bucket(storage.bucket()).key(&self.key).upload_id(&self.upload_id);
        let key = self.key.clone();
        Some(Box::pin(async move {
            if let Err(error) = request.send().await {
                let error = failure(&storage.call("write", &key), error);
                if error.kind != StorageErrorKind::NotFound {
                    tracing::warn!(%key, error = %super::failure::chain(&error), "an unfinished upload remains; a lifecycle rule of the bucket can remove it");
                }
            }
        }))
    }
}

impl Drop for Unfinished {
    /// The put was dropped while it waited: nobody is left to wait for the abort.
    fn drop(&mut self) {
        if let (Some(aborting), Ok(runtime)) = (self.aborting(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(aborting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tebibytes_fit_into_ten_thousand_parts() {
        let total: u64 = (1..=10_000).map(|number| part_size(number) as u64).sum();
        assert!(total >= 5 << 40, "{total}");
        assert!((1..=10_000).all(|number| part_size(number) <= 5 << 30));
    }
}
