//! A bucket of Amazon S3, or of a server that speaks its protocol.
//!
//! - Small objects are one request; larger ones go in parts, several at a time, and an upload that does not finish is aborted, also
//!   when its future is dropped.
//! - Conditional creates are S3's own (`If-None-Match: *`). A retry that meets the object which its own first attempt wrote
//!   recognises it by an id in the object's metadata and succeeds. Before a stream is sent, and as long as the server has not shown
//!   that it knows the condition, the key is looked at first: a server that ignores the condition then still refuses, except to
//!   writers that come in the same moment.
//! - Downloads count their bytes, check the server's checksum, and take a broken connection up again where it broke, pinned to the
//!   same version of the object.
//! - Every call ends: connecting, answering, moving bytes and retrying have limits ([`S3Patience`]), and what remains is a
//!   [`StorageError`] that names the endpoint.
//!
//! Where SeaweedFS (4.48) differs from S3, which the suite knows:
//!
//! - It orders the names of directories without their slash (`a/` before `a-b`). A page is put in order here; across pages, and
//!   behind [`ListRequest::start_after`], order holds unless one name continues another by a character below `/`.
//! - It decides the condition of a multipart upload without a lock: of writers of one new large object that finish in the same
//!   moment, more than one may win. Small objects, leases among them, are decided right.

mod client;
mod download;
mod failure;
mod options;
mod upload;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_s3::{Client, primitives::DateTime};
use bytes::Bytes;
use dxdr_provider::object_storage::{
    ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError, StorageErrorKind,
};
use jiff::Timestamp;

pub(crate) use self::failure::s3_failure;
use self::failure::{code, failure, status};
pub use self::{
    failure::S3Failure,
    options::{S3Checksums, S3Credentials, S3Encryption, S3Options, S3Patience},
};
use crate::{failure::Call, key, listing, memory::directory_of};

/// A bucket, or a prefix of one. Clones share connections and credentials.
#[derive(Debug, Clone)]
pub struct S3Storage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    options: S3Options,
    /// Empty, or ending in `/`.
    prefix: String,
    description: String,
    /// A request has succeeded: bucket and credentials are known to be good.
    was_reached: AtomicBool,
    /// The server has refused a conditional write: it knows the condition.
    knows_conditions: AtomicBool,
}

impl S3Storage {
    /// Finds region, endpoint and the place of the credentials. Sends no request to the store: whether the bucket is there shows with the
    /// first call.
    pub async fn connect(options: S3Options) -> Result<Self, StorageError> {
        let (client, endpoint) = client::connect(&options).await?;
        let mut prefix = options.prefix.trim_matches('/').to_owned();
        let description = match prefix.as_str() {
            "" => format!("s3://{} at {endpoint}", options.bucket),
            prefix => format!("s3://{}/{prefix} at {endpoint}", options.bucket),
        };
        let call = Call { action: "read", key: prefix.clone(), store: description.clone() };
        if !prefix.is_empty() {
            call.valid_key()?;
            prefix.push('/');
        }
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                options,
                prefix,
                description,
                was_reached: AtomicBool::new(false),
                knows_conditions: AtomicBool::new(false),
            }),
        })
    }

    fn call(&self, action: &'static str, key: &str) -> Call {
        Call { action, key: key.to_owned(), store: self.shared.description.clone() }
    }

    fn bucket(&self) -> &str {
        &self.shared.options.bucket
    }

    /// The key in the bucket.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    fn reached(&self) {
        self.shared.was_reached.store(true, Ordering::Relaxed);
    }

    async fn head(&self, call: &Call) -> Result<ObjectStat, StorageError> {
        match self.head_as_it_is(call).await {
            Err(error) => Err(self.explain(error).await),
            found => found,
        }
    }

    async fn head_as_it_is(&self, call: &Call) -> Result<ObjectStat, StorageError> {
        let request = self.shared.client.head_object().bucket(self.bucket()).key(self.full(&call.key));
        match request.send().await {
            Ok(output) => {
                self.reached();
                Ok(ObjectStat {
                    key: call.key.clone(),
                    size: bytes(output.content_length()),
                    modified: output.last_modified().and_then(instant),
                    tag: output.e_tag().map(str::to_owned),
                })
            }
            Err(error) => Err(failure(call, error)),
        }
    }

    /// Answers to HEAD have no body that tells a missing key from a missing bucket, or a wrong key from a missing permission. When nothing
    /// has worked yet, a listing is asked, whose answer does.
    async fn explain(&self, error: StorageError) -> StorageError {
        let is_clear = code(&error).is_some_and(|code| code != "NotFound");
        if is_clear || !matches!(status(&error), Some(301 | 400 | 403 | 404)) || self.shared.was_reached.load(Ordering::Relaxed) {
            return error;
        }
        let call = Call { action: error.action, key: error.key.clone(), store: error.store.clone() };
        match self.shared.client.list_objects_v2().bucket(self.bucket()).prefix(self.full(&call.key)).max_keys(1).send().await {
            Ok(_) => error,
            Err(listing) => {
                let listing = failure(&call, listing);
                // A listing may be forbidden to who may read.
                if listing.kind == StorageErrorKind::Forbidden { error } else { listing }
            }
        }
    }
}

#[async_trait]
impl ObjectStorage for S3Storage {
    fn describe(&self) -> String {
        self.shared.description.clone()
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let call = self.call("write", key);
        call.valid_key()?;
        let stat = self.upload(call, body, condition).await?;
        self.reached();
        Ok(stat)
    }

    async fn replace(&self, read: &ObjectStat, bytes: Bytes) -> Result<Option<ObjectStat>, StorageError> {
        let call = self.call("write", &read.key);
        call.valid_key()?;
        let stat = self.overwrite(call, bytes, read).await?;
        self.reached();
        Ok(stat)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        self.download(call, range).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let call = self.call("list", &request.prefix);
        let after = request.start_after.as_deref().filter(|after| *after > request.prefix.as_str());
        // The server starts behind the whole directory that the key is in, not at its remaining keys: they would be rolled up into it again.
        let server_after = after.map(|after| match directory_of(&request.prefix, after) {
            Some(directory) if request.directories => self.full(&format!("{directory}\u{10FFFF}")),
            _ => self.full(after),
        });
        // At most 1,000, which every integer holds.
        let size = listing::page_size(request) as i32;
        let output = self
            .shared
            .client
            .list_objects_v2()
            .bucket(self.bucket())
            .prefix(self.full(&request.prefix))
            .set_delimiter(request.directories.then(|| "/".to_owned()))
            .set_start_after(server_after)
            .set_continuation_token(request.continuation.clone())
            .max_keys(size)
            .send()
            .await
            .map_err(|error| failure(&call, error))?;
        self.reached();
        let name = |full: &str| full.strip_prefix(&self.shared.prefix).map(str::to_owned);
        let is_wanted = |name: &String| after.is_none_or(|after| name.as_str() > after);
        let mut page = ListPage {
            objects: Vec::with_capacity(output.contents().len()),
            directories: output
                .common_prefixes()
                .iter()
                .filter_map(|common| common.prefix().and_then(name))
                .filter(is_wanted)
                .collect(),
            continuation: output
                .is_truncated()
                .unwrap_or(false)
                .then(|| output.next_continuation_token().map(str::to_owned))
                .flatten(),
        };
        for object in output.contents() {
            // Consoles mark "folders" by empty objects, whose keys end in a slash: they are nobody's objects.
            let Some(key) = object.key().and_then(name).filter(|key| key::validate(key).is_ok()).filter(is_wanted) else {
                continue;
            };
            page.objects.push(ObjectStat {
                key,
                size: bytes(object.size()),
                modified: object.last_modified().and_then(instant),
                tag: object.e_tag().map(str::to_owned),
            });
        }
        // Some servers order `a/` before `a-b`; within a page that is put right.
        page.objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        page.directories.sort_unstable();
        Ok(page)
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        self.head(&call).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let call = self.call("delete", key);
        call.valid_key()?;
        match self.shared.client.delete_object().bucket(self.bucket()).key(self.full(key)).send().await {
            Ok(_) => {
                self.reached();
                Ok(())
            }
            Err(error) => match failure(&call, error) {
                error if error.kind == StorageErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }
}

fn bytes(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
}

fn instant(time: &DateTime) -> Option<Timestamp> {
    // Below a thousand million.
    Timestamp::new(time.secs(), time.subsec_nanos() as i32).ok()
}
