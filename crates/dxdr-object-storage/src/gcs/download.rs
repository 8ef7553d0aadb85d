//! Reading objects: counted, checked, and taken up again where a connection broke.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use dxdr_provider::object_storage::{ObjectReader, ObjectStat, StorageError, StorageErrorKind};
use futures::{StreamExt, stream};
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::{model_ext::ReadRange, read_object::ReadObjectResponse, read_resume_policy::NeverResume};

use super::{GcsStorage, failure::GcsFailure};
use crate::{
    checksum::{Crc32c, text},
    failure::{Call, into_stream_error},
    range,
};

/// Bytes after which a connection that broke is forgotten: a large object may see several, one that never gets further may not go
/// on for ever.
const PROGRESS: u64 = 8 * 1024 * 1024;

impl GcsStorage {
    pub(super) async fn download(&self, call: Call, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        range::within(range.clone(), u64::MAX).map_err(|problem| call.fails_by(StorageErrorKind::Invalid, problem))?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return self.nothing_of(&call).await;
        }
        let body = match self.open(&call.key, range.clone(), None).await {
            // The range begins behind the end.
            Err(failure) if failure.status == Some(416) => return self.nothing_of(&call).await,
            Err(failure) if failure.kind == StorageErrorKind::NotFound => {
                return Err(call.fails_by_gcs(self.explain(failure).await));
            }
            Err(failure) => return Err(call.fails_by_gcs(failure)),
            Ok(body) => body,
        };
        self.reached();
        let object = body.object();
        let size = u64::try_from(object.size).unwrap_or_default();
        let wanted = range.clone().map_or(0..size, |range| range.start..range.end.min(size));
        let checksum = object.checksums.and_then(|checksums| checksums.crc32c).filter(|_| range.is_none());
        let download = Download {
            storage: self.clone(),
            call: call.clone(),
            generation: object.generation,
            position: wanted.start,
            end: wanted.end,
            body,
            check: checksum.map(|expected| (expected, Crc32c::default())),
            breaks: 0,
            broke_at: wanted.start,
        };
        let stat = ObjectStat { key: call.key, size, modified: None, tag: Some(object.generation.to_string()) };
        let stream = stream::try_unfold(download, |mut download| async move {
            let bytes = download.next().await.map_err(into_stream_error)?;
            Ok(bytes.map(|bytes| (bytes, download)))
        });
        Ok(ObjectReader { stat, stream: stream.boxed() })
    }

    async fn nothing_of(&self, call: &Call) -> Result<ObjectReader, StorageError> {
        let stat = self.resource(&call.key).await.and_then(|resource| resource.stat(&call.key));
        let stat = stat.map_err(|failure| call.fails_by_gcs(failure))?;
        Ok(ObjectReader { stat, stream: stream::empty().boxed() })
    }

    /// Asks for an object, or a part of one; of this generation.
    async fn open(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        generation: Option<i64>,
    ) -> Result<ReadObjectResponse, GcsFailure> {
        let connection = self.connection();
        let attempt = || async {
            connection.authorization().await?;
            let mut request = connection
                .objects
                .read_object(self.bucket_path(), self.full(key))
                // Taken up and checked here: what comes over several connections, too.
                .compute_crc32c(false)
                .with_read_resume_policy(NeverResume)
                .with_retry_policy(NeverRetry);
            if let Some(range) = &range {
                request = request.set_read_range(match i64::try_from(range.end) {
                    Ok(_) => ReadRange::segment(range.start, range.end - range.start),
                    // Beyond what servers read as a number.
                    Err(_) => ReadRange::offset(range.start),
                });
            }
            if let Some(generation) = generation {
                request = request.set_generation(generation);
            }
            request.send().await.map_err(|error| GcsFailure::of_crate(&error))
        };
        connection.persist(0, attempt).await
    }
}

struct Download {
    storage: GcsStorage,
    call: Call,
    generation: i64,
    position: u64,
    end: u64,
    body: ReadObjectResponse,
    /// The checksum that the server has of the whole object, and that of the bytes so far.
    check: Option<(u32, Crc32c)>,
    breaks: u32,
    broke_at: u64,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            let stall = self.storage.connection().patience.stall;
            match tokio::time::timeout(stall, self.body.next()).await {
                Ok(Some(Ok(bytes))) if bytes.is_empty() => {}
                Ok(Some(Ok(bytes))) => {
                    self.position += bytes.len() as u64;
                    if self.position > self.end {
                        return Err(self.corrupt("the server sent more bytes than the object has".to_owned()));
                    }
                    if let Some((_, checksum)) = &mut self.check {
                        checksum.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
                // Whatever comes behind the last byte.
                _ if self.position == self.end => return self.finished().map(|()| None),
                Ok(None) => self.take_up(GcsFailure::new(StorageErrorKind::Corrupt, "it ended early")).await?,
                Ok(Some(Err(error))) => self.take_up(GcsFailure::of_crate(&error)).await?,
                Err(_) => self.take_up(stalled(stall)).await?,
            }
        }
    }

    /// Opens the rest, unless that has not helped often enough.
    async fn take_up(&mut self, broken: GcsFailure) -> Result<(), StorageError> {
        if self.position - self.broke_at >= PROGRESS {
            self.breaks = 0;
        }
        self.breaks += 1;
        self.broke_at = self.position;
        let patience = &self.storage.connection().patience;
        if self.breaks >= patience.attempts {
            let kind = match broken.kind {
                kind @ (StorageErrorKind::TimedOut | StorageErrorKind::Corrupt) => kind,
                _ => StorageErrorKind::Unavailable,
            };
            let text = format!("the download broke at byte {} of {}, again and again: {broken}", self.position, self.end);
            return Err(self.call.fails_by_gcs(GcsFailure::new(kind, text)));
        }
        let (position, end) = (self.position, self.end);
        tracing::debug!(key = %self.call.key, position, end, cause = %broken, "taking a broken download up again");
        tokio::time::sleep(patience.pause * 2u32.saturating_pow(self.breaks - 1)).await;
        self.body = match self.storage.open(&self.call.key, Some(position..end), Some(self.generation)).await {
            Ok(body) => body,
            Err(failure) if failure.status == Some(404) => {
                return Err(self.corrupt("the object was replaced or removed while it was read".to_owned()));
            }
            Err(failure) => return Err(self.call.fails_by_gcs(failure)),
        };
        Ok(())
    }

    fn finished(&self) -> Result<(), StorageError> {
        match &self.check {
            Some((expected, checksum)) if checksum.value() != *expected => Err(self.corrupt(format!(
                "the server's CRC32C is {}, that of the bytes read is {}",
                text(*expected),
                checksum.text()
            ))),
            _ => Ok(()),
        }
    }

    fn corrupt(&self, problem: String) -> StorageError {
        self.call.fails_by_gcs(GcsFailure::new(StorageErrorKind::Corrupt, problem))
    }
}

fn stalled(stall: Duration) -> GcsFailure {
    GcsFailure::new(StorageErrorKind::TimedOut, format!("nothing came for {:.1} s", stall.as_secs_f64()))
}
