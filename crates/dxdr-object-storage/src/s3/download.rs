//! Reading objects: counted, checked, and taken up again where a connection broke.

use std::ops::Range;

use aws_sdk_s3::{
    operation::get_object::GetObjectOutput,
    primitives::{ByteStream as SdkStream, ByteStreamError},
    types::ChecksumMode,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use dxdr_provider::object_storage::{ObjectReader, ObjectStat, StorageError, StorageErrorKind};
use futures::{StreamExt, stream};

use super::{
    S3Storage,
    failure::{chain, failure, status},
    instant,
    options::S3Checksums,
};
use crate::{
    failure::{Call, into_stream_error},
    range,
};

/// Bytes after which a connection that broke is forgotten: a large object may see several, one that never gets further may not go
/// on for ever.
const PROGRESS: u64 = 8 * 1024 * 1024;

impl S3Storage {
    pub(super) async fn download(&self, call: Call, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        range::within(range.clone(), u64::MAX).map_err(|problem| call.fails_by(StorageErrorKind::Invalid, problem))?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return self.nothing_of(&call).await;
        }
        let output = match self.open(&call, range.clone(), None).await {
            // The range begins behind the end.
            Err(error) if status(&error) == Some(416) => return self.nothing_of(&call).await,
            other => other?,
        };
        self.reached();
        let (answered, size) =
            extent(&output, range.as_ref()).map_err(|problem| call.fails_by(StorageErrorKind::Other, problem))?;
        let stat = ObjectStat {
            key: call.key.clone(),
            size,
            modified: output.last_modified().and_then(instant),
            tag: output.e_tag().map(str::to_owned),
        };
        let check = if range.is_none() { Check::of(&output) } else { None };
        let download = Download {
            storage: self.clone(),
            call,
            tag: stat.tag.clone(),
            position: answered.start,
            end: answered.end,
            body: output.body,
            check,
            breaks: 0,
            broke_at: answered.start,
        };
        let stream = stream::try_unfold(Some(download), |download| async move {
            let Some(mut download) = download else {
                return Ok(None);
            };
            match download.next().await.map_err(into_stream_error)? {
                Some(bytes) => Ok(Some((bytes, Some(download)))),
                None => Ok(None),
            }
        });
        Ok(ObjectReader { stat, stream: stream.boxed() })
    }

    async fn nothing_of(&self, call: &Call) -> Result<ObjectReader, StorageError> {
        Ok(ObjectReader { stat: self.head(call).await?, stream: stream::empty().boxed() })
    }

    /// Asks for an object, or a part of one; of the version with this tag.
    async fn open(&self, call: &Call, range: Option<Range<u64>>, tag: Option<&str>) -> Result<GetObjectOutput, StorageError> {
        let is_whole = range.is_none();
        let range = range.map(|Range { start, end }| match i64::try_from(end) {
            Ok(end) => format!("bytes={start}-{}", end - 1),
            // Beyond what servers read as a number.
            Err(_) => format!("bytes={start}-"),
        });
        let checksum = (is_whole && self.shared.options.checksums == S3Checksums::WhenSupported).then_some(ChecksumMode::Enabled);
        self.shared
            .client
            .get_object()
            .bucket(self.bucket())
            .key(self.full(&call.key))
            .set_range(range)
            .set_if_match(tag.map(str::to_owned))
            .set_checksum_mode(checksum)
            .send()
            .await
            .map_err(|error| failure(call, error))
    }
}

/// What of the object an answer holds, and the size of the whole.
fn extent(output: &GetObjectOutput, asked: Option<&Range<u64>>) -> Result<(Range<u64>, u64), &'static str> {
    let length = output
        .content_length()
        .and_then(|length| u64::try_from(length).ok())
        .ok_or("the server does not say how long the object is")?;
    let Some(asked) = asked else {
        return Ok((0..length, length));
    };
    let range = output.content_range().ok_or("the server does not give ranges of objects")?;
    let (start, size) = parse_content_range(range).ok_or("the server's answer does not say which range it holds")?;
    let wanted = asked.start..asked.end.min(size);
    if start != wanted.start || length != wanted.end - wanted.start {
        return Err("the server gave another range than the one asked for");
    }
    Ok((wanted, size))
}

/// `bytes 0-9/100` as 0 and 100.
fn parse_content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, size.parse().ok()?))
}

struct Download {
    storage: S3Storage,
    call: Call,
    tag: Option<String>,
    position: u64,
    end: u64,
    body: SdkStream,
    check: Option<Check>,
    breaks: u32,
    broke_at: u64,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            match self.body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.position += bytes.len() as u64;
                    if self.position > self.end {
                        return Err(self.corrupt("the server sent more bytes than the object has".to_owned()));
                    }
                    if let Some(check) = &mut self.check {
                        check.digest.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
                None if self.position == self.end => return self.finished().map(|()| None),
                // All bytes came, and the checksum is not theirs.
                Some(Err(error)) if self.position == self.end => {
                    return Err(self.corrupt(chain(&error)));
                }
                None => self.take_up(None).await?,
                Some(Err(error)) => self.take_up(Some(error)).await?,
            }
        }
    }

    /// Opens the rest, unless that has not helped often enough.
    async fn take_up(&mut self, broken: Option<ByteStreamError>) -> Result<(), StorageError> {
        if self.position - self.broke_at >= PROGRESS {
            self.breaks = 0;
        }
        self.breaks += 1;
        self.broke_at = self.position;
        let patience = &self.storage.shared.options.patience;
        if self.breaks >= patience.attempts || self.tag.is_none() {
            return Err(self.given_up(broken));
        }
        let cause = broken.as_ref().map_or_else(|| "it ended early".to_owned(), |error| chain(error));
        tracing::debug!(key = %self.call.key, position = self.position, end = self.end, cause, "taking a broken download up again");
        tokio::time::sleep(patience.pause * 2u32.saturating_pow(self.breaks - 1)).await;
        let rest = self.position..self.end;
        let output = self.storage.open(&self.call, Some(rest.clone()), self.tag.as_deref()).await?;
        let (answered, _) =
            extent(&output, Some(&rest)).map_err(|problem| self.call.fails_by(StorageErrorKind::Other, problem))?;
        if answered != rest {
            return Err(self.corrupt("the object became shorter while it was read".to_owned()));
        }
        self.body = output.body;
        Ok(())
    }

    fn given_up(&self, broken: Option<ByteStreamError>) -> StorageError {
        let cut = Cut { position: self.position, end: self.end, cause: broken.as_ref().map(|error| chain(error)) };
        let is_stalled = cut.cause.as_deref().is_some_and(|cause| cause.contains("throughput"));
        let kind = match broken {
            Some(_) if is_stalled => StorageErrorKind::TimedOut,
            Some(_) => StorageErrorKind::Unavailable,
            None => StorageErrorKind::Corrupt,
        };
        self.call.fails_by(kind, cut)
    }

    fn finished(&self) -> Result<(), StorageError> {
        match &self.check {
            Some(check) if check.actual() != check.expected => Err(self.corrupt(format!(
                "the server's {} is {}, that of the bytes read is {}",
                check.name,
                check.expected,
                check.actual()
            ))),
            _ => Ok(()),
        }
    }

    fn corrupt(&self, text: String) -> StorageError {
        self.call.fails_by(StorageErrorKind::Corrupt, text)
    }
}

/// A download that could not be finished.
#[derive(Debug)]
struct Cut {
    position: u64,
    end: u64,
    cause: Option<String>,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the download broke at byte {} of {}, again and again", self.position, self.end)?;
        match &self.cause {
            Some(cause) => write!(formatter, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Cut {}

/// The checksum that the server has of a whole object, and that of the bytes so far. The SDK checks too, but only what came over one connection.
struct Check {
    name: &'static str,
    expected: String,
    digest: Digest,
    width: usize,
}

impl Check {
    fn of(output: &GetObjectOutput) -> Option<Self> {
        let (name, expected, algorithm, width) = [
            ("CRC32C", output.checksum_crc32_c(), CrcAlgorithm::Crc32Iscsi, 4),
            ("CRC32", output.checksum_crc32(), CrcAlgorithm::Crc32IsoHdlc, 4),
            ("CRC64NVME", output.checksum_crc64_nvme(), CrcAlgorithm::Crc64Nvme, 8),
        ]
        .into_iter()
        .find_map(|(name, expected, algorithm, width)| Some((name, expected?, algorithm, width)))?;
        // A checksum of checksums of parts says nothing without the parts.
        let is_of_parts = expected.contains('-');
        (!is_of_parts).then(|| Self { name, expected: expected.to_owned(), digest: Digest::new(algorithm), width })
    }

    fn actual(&self) -> String {
        BASE64_STANDARD.encode(&self.digest.finalize().to_be_bytes()[8 - self.width..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_an_answer_is_read() {
        assert_eq!(parse_content_range("bytes 5-9/100"), Some((5, 100)));
        assert_eq!(parse_content_range("bytes 5-9/*"), None);
        assert_eq!(parse_content_range("5-9/100"), None);
    }
}
