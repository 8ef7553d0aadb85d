//! Where exports go and imports come from: Cloud Storage by its JSON API, written and read as the instance's account would, or objects in memory.

use std::{
    collections::{BTreeMap, btree_map},
    io::{self, Read as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;

use crate::Shared;

/// Where exports are written and imports read.
#[derive(Debug, Clone)]
pub enum Storage {
    /// The JSON API of Cloud Storage, there: `http://127.0.0.1:4443`.
    Endpoint(String),
    /// Objects in memory, which everybody may read and write, and nobody replace.
    Memory(Objects),
}

/// Objects in memory, by their URIs: `gs://BUCKET/OBJECT`. A clone has the same ones.
#[derive(Debug, Clone, Default)]
pub struct Objects(Arc<Mutex<BTreeMap<String, (Bytes, Timestamp)>>>);

impl Objects {
    /// What one consists of, and when it was written.
    pub fn get(&self, uri: &str) -> Option<(Bytes, Timestamp)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned()
    }

    /// Writes one that is not there yet; otherwise it stays as it is, and the answer is false.
    pub fn create(&self, uri: &str, bytes: Bytes, at: Timestamp) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(uri.to_owned()) {
            btree_map::Entry::Occupied(_) => false,
            btree_map::Entry::Vacant(place) => {
                place.insert((bytes, at));
                true
            }
        }
    }

    /// The URIs of all, in order.
    pub fn uris(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// A [`Storage`], and what it takes to reach it.
pub(crate) enum Store {
    Api { base: String, client: reqwest::Client },
    Memory(Objects),
}

impl Store {
    pub(crate) fn new(storage: Storage) -> io::Result<Self> {
        Ok(match storage {
            Storage::Endpoint(base) => {
                // A proxy of the environment has no business on loopback.
                let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
                Self::Api { base: base.trim_end_matches('/').to_owned(), client }
            }
            Storage::Memory(objects) => Self::Memory(objects),
        })
    }
}

/// Why an object could not be written or read: code and message of the operation.
pub(crate) type Refused = (String, String);

/// Writes a text into an object that must not be there yet.
pub(crate) async fn write(shared: &Shared, token: Option<&str>, account: &str, uri: &str, text: &str) -> Result<(), Refused> {
    let body = if uri.ends_with(".gz") { compress(text.as_bytes()) } else { text.as_bytes().to_vec() };
    put(shared, token, account, uri, body.into()).await
}

/// Writes an object that must not be there yet.
pub(crate) async fn put(
    shared: &Shared,
    token: Option<&str>,
    account: &str,
    uri: &str,
    body: reqwest::Body,
) -> Result<(), Refused> {
    let (store, bucket, object) = place(shared, uri)?;
    let (base, client) = match store {
        Store::Api { base, client } => (base, client),
        Store::Memory(objects) => {
            let broken = |error: axum::Error| ("INTERNAL_ERROR".to_owned(), format!("The dump broke off: {error}."));
            let bytes = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX).await.map_err(broken)?;
            return if objects.create(uri, bytes, shared.now()) { Ok(()) } else { Err(exists(uri)) };
        }
    };
    let url = format!("{base}/upload/storage/v1/b/{bucket}/o");
    let query = [("uploadType", "media"), ("name", object), ("ifGenerationMatch", "0")];
    let mut request = client.post(url).query(&query).header("content-type", "application/octet-stream").body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.map_err(|error| failed(&error))?;
    match response.status().as_u16() {
        200..=299 => Ok(()),
        412 => Err(exists(uri)),
        401 | 403 => Err((
            "ERROR_RDBMS".to_owned(),
            format!("{account} does not have storage.objects.create access to the Google Cloud Storage object {uri}."),
        )),
        404 => Err(("ERROR_RDBMS".to_owned(), "The specified bucket does not exist.".to_owned())),
        status => Err(("INTERNAL_ERROR".to_owned(), format!("Cloud Storage answered {status}."))),
    }
}

/// Reads an object, whose bytes are still to come.
pub(crate) async fn get(shared: &Shared, token: Option<&str>, account: &str, uri: &str) -> Result<reqwest::Response, Refused> {
    let (store, bucket, object) = place(shared, uri)?;
    let (base, client) = match store {
        Store::Api { base, client } => (base, client),
        Store::Memory(objects) => {
            let (bytes, _) = objects.get(uri).ok_or_else(|| missing(uri))?;
            return Ok(reqwest::Response::from(axum::http::Response::new(bytes)));
        }
    };
    let object: String = object.bytes().map(escaped).collect();
    let mut request = client.get(format!("{base}/storage/v1/b/{bucket}/o/{object}")).query(&[("alt", "media")]);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.map_err(|error| failed(&error))?;
    match response.status().as_u16() {
        200..=299 => Ok(response),
        401 | 403 => Err((
            "ERROR_RDBMS".to_owned(),
            format!("{account} does not have storage.objects.get access to the Google Cloud Storage object {uri}."),
        )),
        404 => Err(missing(uri)),
        status => Err(("INTERNAL_ERROR".to_owned(), format!("Cloud Storage answered {status}."))),
    }
}

/// Reads an object that is a text.
pub(crate) async fn read(shared: &Shared, token: Option<&str>, account: &str, uri: &str) -> Result<String, Refused> {
    let response = get(shared, token, account, uri).await?;
    let bytes = response.bytes().await.map_err(|error| failed(&error))?;
    let mut text = String::new();
    let read = if bytes.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(&bytes[..]).read_to_string(&mut text)
    } else {
        (&bytes[..]).read_to_string(&mut text)
    };
    read.map(|_| text).map_err(|error| ("ERROR_RDBMS".to_owned(), format!("The object {uri} is no text: {error}.")))
}

fn place<'a>(shared: &'a Shared, uri: &'a str) -> Result<(&'a Store, &'a str, &'a str), Refused> {
    let invalid = || ("INVALID_ARGUMENT".to_owned(), format!("{uri} is not the URI of an object of Cloud Storage."));
    let (bucket, object) = uri.strip_prefix("gs://").and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
    if bucket.is_empty() || object.is_empty() {
        return Err(invalid());
    }
    let store = shared.store.as_ref();
    let store = store.ok_or_else(|| ("INTERNAL_ERROR".to_owned(), "This emulator has no Cloud Storage.".to_owned()))?;
    Ok((store, bucket, object))
}

fn exists(uri: &str) -> Refused {
    ("ERROR_RDBMS".to_owned(), format!("The Google Cloud Storage object {uri} already exists."))
}

fn missing(uri: &str) -> Refused {
    ("ERROR_RDBMS".to_owned(), format!("The Google Cloud Storage object {uri} does not exist."))
}

pub(crate) fn failed(error: &reqwest::Error) -> Refused {
    ("INTERNAL_ERROR".to_owned(), format!("Cloud Storage does not answer: {error}."))
}

fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes everything.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
