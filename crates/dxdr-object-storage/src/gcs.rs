//! A bucket of Google Cloud Storage.
//!
//! - Bytes go by Google's own crate where they are one request: reads, also of ranges, and small objects. Larger objects go in a resumable
//!   session, piece by piece, which survives broken connections and is cancelled when it does not come to its end. Listings, metadata,
//!   deletes and holds go by the JSON API with the same credentials.
//! - Every write and delete names the generation that it replaces (0: none), so that a request which is sent twice takes place once and
//!   never undoes a later one. A retry that meets its own object recognises it by an id in the object's metadata.
//! - CRC32C from end to end: the server gets it before it shows an object, its answer is held against it, and a download against the
//!   server's, also when it came over several connections; these are pinned to one generation.
//! - Every call ends: connecting, answering, moving bytes and retrying have limits ([`GcsPatience`]), and what remains is a
//!   [`StorageError`] that says what Google said.
//!
//! `STORAGE_EMULATOR_HOST` is read here, since Google's crate does not know it. The session of an upload that is left behind by a killed
//! process is nobody's object and is gone after a week.

mod connection;
mod document;
mod download;
mod failure;
mod hints;
mod options;
mod session;
mod upload;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_provider::object_storage::{
    ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError, StorageErrorKind,
};

use self::connection::{Connection, GOOGLE};
pub(crate) use self::hints::hints;
pub use self::{
    document::{BucketRole, GcsHold, GcsProtection},
    failure::GcsFailure,
    options::{GcsCredentials, GcsOptions, GcsPatience},
};
use crate::failure::Call;

/// A bucket, or a prefix of one. Clones share connections and credentials.
#[derive(Debug, Clone)]
pub struct GcsStorage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    bucket: String,
    kms_key: Option<String>,
    /// Empty, or ending in `/`.
    prefix: String,
    description: String,
    /// A request has succeeded: bucket and credentials are known to be good.
    was_reached: AtomicBool,
}

impl GcsStorage {
    /// Finds the endpoint and the credentials. Sends no request: whether the bucket is there shows with the first call.
    pub async fn connect(options: GcsOptions) -> Result<Self, StorageError> {
        let mut prefix = options.prefix.trim_matches('/').to_owned();
        let mut description = match prefix.as_str() {
            "" => format!("gs://{}", options.bucket),
            prefix => format!("gs://{}/{prefix}", options.bucket),
        };
        let call = Call { action: "read", key: prefix.clone(), store: description.clone() };
        if options.bucket.is_empty() || options.bucket.contains(['/', ' ']) {
            return Err(call.fails_by(StorageErrorKind::Invalid, "this is not the name of a bucket"));
        }
        if !prefix.is_empty() {
            call.valid_key()?;
            prefix.push('/');
        }
        let connection = Connection::open(&options, &call).await?;
        let endpoint = connection.endpoint.as_str().trim_end_matches('/');
        if endpoint != GOOGLE {
            description.push_str(" at ");
            description.push_str(endpoint);
        }
        let shared = Shared {
            connection,
            bucket: options.bucket,
            kms_key: options.kms_key,
            prefix,
            description,
            was_reached: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What keeps an object from being deleted or replaced.
    pub async fn protection(&self, key: &str) -> Result<GcsProtection, StorageError> {
        let call = self.valid_call("read", key)?;
        let protection = self.resource(key).await.map(|resource| resource.protection());
        self.done(&call, protection)
    }

    /// Roles that the bucket's own policy gives to a service account. What the account has by its project is not among them.
    pub async fn roles_of(&self, account: &str) -> Result<Vec<BucketRole>, StorageError> {
        let call = Call { action: "read", key: String::new(), store: self.shared.description.clone() };
        self.done(&call, self.policy().await.map(|policy| policy.roles_of(account)))
    }

    /// Places a hold on an object, or releases it. Answers what protects the object from then on; may be repeated.
    pub async fn set_hold(&self, key: &str, hold: GcsHold, is_held: bool) -> Result<GcsProtection, StorageError> {
        let call = self.valid_call("write", key)?;
        self.done(&call, self.hold(key, hold, is_held).await)
    }

    fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    fn bucket(&self) -> &str {
        &self.shared.bucket
    }

    /// The bucket as Google's crate wants it.
    fn bucket_path(&self) -> String {
        format!("projects/_/buckets/{}", self.shared.bucket)
    }

    fn kms_key(&self) -> Option<&str> {
        self.shared.kms_key.as_deref()
    }

    /// The key in the bucket.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    /// The key below the store's root.
    fn below<'name>(&self, name: &'name str) -> Option<&'name str> {
        name.strip_prefix(&self.shared.prefix)
    }

    fn reached(&self) {
        self.shared.was_reached.store(true, Ordering::Relaxed);
    }

    fn was_reached(&self) -> bool {
        self.shared.was_reached.load(Ordering::Relaxed)
    }

    fn valid_call(&self, action: &'static str, key: &str) -> Result<Call, StorageError> {
        let call = Call { action, key: key.to_owned(), store: self.shared.description.clone() };
        call.valid_key()?;
        Ok(call)
    }

    fn done<T>(&self, call: &Call, outcome: Result<T, GcsFailure>) -> Result<T, StorageError> {
        match outcome {
            Ok(value) => {
                self.reached();
                Ok(value)
            }
            Err(failure) => Err(call.fails_by_gcs(failure)),
        }
    }
}

#[async_trait]
impl ObjectStorage for GcsStorage {
    fn describe(&self) -> String {
        self.shared.description.clone()
    }

    fn url(&self, key: &str) -> Option<String> {
        Some(format!("gs://{}/{}", self.shared.bucket, self.full(key)))
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let call = self.valid_call("write", key)?;
        let stat = self.upload(&call, body, condition).await?;
        self.reached();
        Ok(stat)
    }

    async fn replace(&self, read: &ObjectStat, bytes: Bytes) -> Result<Option<ObjectStat>, StorageError> {
        let call = self.valid_call("write", &read.key)?;
        let Some(generation) = read.tag.as_ref().and_then(|tag| tag.parse().ok()) else {
            return Err(call.fails_by(StorageErrorKind::Invalid, "what was read has no generation"));
        };
        let stat = self.overwrite(&call, bytes, generation).await?;
        self.reached();
        Ok(stat)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let call = self.valid_call("read", key)?;
        self.download(call, range).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let call = Call { action: "list", key: request.prefix.clone(), store: self.shared.description.clone() };
        match self.list_page(request).await {
            // A listing needs no object.
            Err(mut failure) if failure.kind == StorageErrorKind::NotFound => {
                failure.kind = StorageErrorKind::NoSuchStore;
                Err(call.fails_by_gcs(failure))
            }
            outcome => self.done(&call, outcome),
        }
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let call = self.valid_call("read", key)?;
        let stat = self.resource(key).await.and_then(|resource| resource.stat(key));
        self.done(&call, stat)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let call = self.valid_call("delete", key)?;
        let generation = match self.resource(key).await.and_then(|resource| resource.generation()) {
            Ok(generation) => Some(generation),
            Err(failure) if failure.kind == StorageErrorKind::NotFound => return Ok(()),
            // Who may delete but not read.
            Err(failure) if failure.kind == StorageErrorKind::Forbidden => None,
            Err(failure) => return Err(call.fails_by_gcs(failure)),
        };
        self.done(&call, self.remove(key, generation).await)
    }
}
