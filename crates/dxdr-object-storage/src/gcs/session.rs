//! Resumable uploads: a session, and pieces that are sent until the server has them.
//!
//! Google's crate has these too. Its buffered upload (1.21) forgets the piece that was on its way when a connection breaks, goes on with the
//! next one in its place, and tells by the checksum when the object is there already; hence our own. The last piece carries the
//! checksum of the whole, so that the server refuses what it has not understood before anybody can read it.

use std::{io, time::Instant};

use bytes::{Buf, Bytes};
use dxdr_provider::object_storage::StorageErrorKind;
use futures::future::try_join;
use reqwest::{Client, Method, Response, Url};
use serde_json::json;

use super::{
    GcsStorage,
    connection::{Connection, accepted},
    document::{Resource, parsed},
    failure::GcsFailure,
    upload::{CONTENT_TYPE, Write, Written},
};
use crate::{
    checksum::Crc32c,
    parts::{Part, Parts},
};

/// Bytes of a piece; a multiple of 256 KiB, as the protocol wants it. One is sent while the next one is filled.
const PIECE: usize = 16 * 1024 * 1024;

/// Why an upload ended without an object.
pub(super) enum Ended {
    /// The bytes did not come.
    Body(io::Error),
    Failed(GcsFailure),
}

impl From<GcsFailure> for Ended {
    fn from(failure: GcsFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Sends a body whose first part is there. A session that does not come to its end is cancelled.
pub(super) async fn send(storage: &GcsStorage, write: &Write, first: Bytes, parts: Parts) -> Result<Written, Ended> {
    let connection = storage.connection();
    let url = begin(storage, write).await?;
    let mut unfinished = Unfinished { client: connection.client.clone(), url: Some(url.clone()) };
    let session = Session { connection, url, offset: 0, checksum: Crc32c::default() };
    let outcome = session.send_all(first, parts).await;
    match &outcome {
        Ok(_) => unfinished.url = None,
        Err(_) => unfinished.cancel().await,
    }
    outcome
}

async fn begin(storage: &GcsStorage, write: &Write) -> Result<Url, GcsFailure> {
    let connection = storage.connection();
    let url = connection.url(&["upload", "storage", "v1", "b", storage.bucket(), "o"]);
    let generation = write.generation.to_string();
    let name = storage.full(&write.key);
    let mut query = vec![("uploadType", "resumable"), ("name", &name), ("ifGenerationMatch", &generation)];
    if let Some(key) = storage.kms_key() {
        query.push(("kmsKeyName", key));
    }
    let metadata: serde_json::Map<_, _> =
        write.metadata().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let body = json!({"contentType": CONTENT_TYPE, "metadata": metadata});
    let attempt = || async {
        let request = connection.client.post(url.clone()).query(&query).json(&body);
        connection.send(request.header("x-upload-content-type", CONTENT_TYPE)).await
    };
    let response = connection.persist(0, attempt).await?;
    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
    location
        .and_then(|location| Url::parse(location).ok())
        .ok_or_else(|| GcsFailure::new(StorageErrorKind::Other, "the server began an upload without saying where it goes on"))
}

struct Session<'store> {
    connection: &'store Connection,
    /// As good as credentials: whoever has it can write.
    url: Url,
    /// Bytes that the server has.
    offset: u64,
    checksum: Crc32c,
}

/// How far the server is.
enum Progress {
    Persisted(u64),
    Finished(Box<Resource>),
}

/// What is known with the last piece.
struct Whole {
    size: u64,
    checksum: String,
}

impl Session<'_> {
    async fn send_all(mut self, first: Bytes, mut parts: Parts) -> Result<Written, Ended> {
        let mut piece = first;
        loop {
            self.checksum.update(&piece);
            let filling = async { parts.next(PIECE).await.map_err(Ended::Body) };
            let sending = async { self.deliver(piece, None).await.map_err(Ended::Failed) };
            match try_join(sending, filling).await?.1 {
                Part::Full(bytes) => piece = bytes,
                Part::Last(bytes) => return Ok(self.finish(bytes).await?),
            }
        }
    }

    async fn finish(&mut self, bytes: Bytes) -> Result<Written, GcsFailure> {
        self.checksum.update(&bytes);
        let whole = Whole { size: self.offset + bytes.len() as u64, checksum: self.checksum.text() };
        let resource = self.deliver(bytes, Some(&whole)).await?;
        let resource = resource.ok_or_else(|| GcsFailure::new(StorageErrorKind::Other, "the upload does not come to its end"))?;
        let (size, checksum) = (resource.size()?, resource.crc32c.as_deref().unwrap_or(&whole.checksum));
        if size != whole.size || checksum != whole.checksum {
            let problem = format!(
                "{} bytes with CRC32C {} were sent, and the server stored {size} with {checksum}",
                whole.size, whole.checksum
            );
            return Err(GcsFailure::new(StorageErrorKind::Corrupt, problem));
        }
        Ok(Written { size, generation: resource.generation()? })
    }

    /// Sends a piece until the server has it, all of it, however often the connection breaks, as long as it gets further. With the last
    /// piece comes the object.
    async fn deliver(&mut self, mut bytes: Bytes, whole: Option<&Whole>) -> Result<Option<Resource>, GcsFailure> {
        let (mut attempts, mut begin) = (1, Instant::now());
        let mut is_in_doubt = false;
        loop {
            let outcome = if is_in_doubt { self.ask().await } else { self.put(&bytes, whole).await };
            let failure = match outcome {
                Ok(Progress::Finished(resource)) => return Ok(Some(*resource)),
                Ok(Progress::Persisted(persisted)) => {
                    let gained = self.gained(persisted, bytes.len())?;
                    bytes.advance(gained);
                    self.offset = persisted;
                    if bytes.is_empty() && whole.is_none() {
                        return Ok(None);
                    }
                    if gained > 0 {
                        (attempts, begin) = (1, Instant::now());
                    }
                    if gained > 0 || std::mem::take(&mut is_in_doubt) {
                        is_in_doubt = false;
                        continue;
                    }
                    GcsFailure::new(StorageErrorKind::Unavailable, "the server takes no more bytes of the upload")
                }
                Err(failure) => failure,
            };
            let is_over = matches!(failure.status, Some(404 | 410));
            if is_over || !failure.kind.retryable() || !self.connection.pause(attempts, begin, &failure).await {
                return Err(if is_over { failure.with_kind(StorageErrorKind::Unavailable) } else { failure });
            }
            attempts += 1;
            is_in_doubt = true;
        }
    }

    /// How many bytes of the piece the server has.
    fn gained(&self, persisted: u64, length: usize) -> Result<usize, GcsFailure> {
        let gained = persisted.checked_sub(self.offset).and_then(|gained| usize::try_from(gained).ok());
        gained.filter(|gained| *gained <= length).ok_or_else(|| {
            let problem = format!(
                "the server says that it has {persisted} bytes of the upload, which cannot be: it had {}, and {length} were sent",
                self.offset
            );
            GcsFailure::new(StorageErrorKind::Unavailable, problem)
        })
    }

    async fn put(&self, bytes: &Bytes, whole: Option<&Whole>) -> Result<Progress, GcsFailure> {
        let total = whole.map_or_else(|| "*".to_owned(), |whole| whole.size.to_string());
        let range = match bytes.len() as u64 {
            0 => format!("bytes */{total}"),
            length => format!("bytes {}-{}/{total}", self.offset, self.offset + length - 1),
        };
        let mut request = self.connection.client.put(self.url.clone()).header("content-range", range).body(bytes.clone());
        if let Some(whole) = whole {
            request = request.header("x-goog-hash", format!("crc32c={}", whole.checksum));
        }
        let attempt = async { progress(accepted(request.send().await).await?).await };
        self.connection.within(bytes.len(), attempt).await
    }

    /// Asks how far the server is.
    async fn ask(&self) -> Result<Progress, GcsFailure> {
        let request = self.connection.client.put(self.url.clone()).header("content-range", "bytes */*").body("");
        self.connection.within(0, async { progress(accepted(request.send().await).await?).await }).await
    }
}

async fn progress(response: Response) -> Result<Progress, GcsFailure> {
    if response.status().as_u16() != 308 {
        return Ok(Progress::Finished(Box::new(parsed(response).await?)));
    }
    let Some(range) = response.headers().get("range") else {
        return Ok(Progress::Persisted(0));
    };
    let last = range.to_str().ok().and_then(|range| range.strip_prefix("bytes=0-")).and_then(|last| last.parse::<u64>().ok());
    let last = last.ok_or_else(|| GcsFailure::new(StorageErrorKind::Other, "the server does not say how far the upload is"))?;
    Ok(Progress::Persisted(last.saturating_add(1)))
}

/// A session that has to be finished or cancelled.
struct Unfinished {
    client: Client,
    url: Option<Url>,
}

impl Unfinished {
    async fn cancel(&mut self) {
        if let Some(cancelling) = self.cancelling() {
            // Of its own, so that it goes on when this future is dropped.
            let _ = tokio::spawn(cancelling).await;
        }
    }

    fn cancelling(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let url = self.url.take()?;
        let request = self.client.request(Method::DELETE, url).timeout(std::time::Duration::from_secs(10));
        Some(async move {
            // Answered by 499. A session that stays is nobody's object, costs nothing, and is gone after a week.
            if let Err(error) = request.send().await {
                tracing::debug!(error = %error.without_url(), "an upload's session could not be cancelled");
            }
        })
    }
}

impl Drop for Unfinished {
    /// The put was dropped while it waited: nobody is left to wait for the end of the session.
    fn drop(&mut self) {
        if let (Some(cancelling), Ok(runtime)) = (self.cancelling(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(cancelling);
        }
    }
}
