//! Objects of Cloud Storage, by its JSON API, written and read as the instance's account would.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::Shared;

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
    let (base, bucket, object) = place(shared, uri)?;
    let url = format!("{base}/upload/storage/v1/b/{bucket}/o");
    let query = [("uploadType", "media"), ("name", object.as_str()), ("ifGenerationMatch", "0")];
    let mut request = shared.client.post(url).query(&query).header("content-type", "application/octet-stream").body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.map_err(|error| failed(&error))?;
    match response.status().as_u16() {
        200..=299 => Ok(()),
        412 => Err(("ERROR_RDBMS".to_owned(), format!("The Google Cloud Storage object {uri} already exists."))),
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
    let (base, bucket, object) = place(shared, uri)?;
    let object: String = object.bytes().map(escaped).collect();
    let mut request = shared.client.get(format!("{base}/storage/v1/b/{bucket}/o/{object}")).query(&[("alt", "media")]);
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
        404 => Err(("ERROR_RDBMS".to_owned(), format!("The Google Cloud Storage object {uri} does not exist."))),
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

fn place<'a>(shared: &'a Shared, uri: &str) -> Result<(&'a str, String, String), Refused> {
    let invalid = || ("INVALID_ARGUMENT".to_owned(), format!("{uri} is not the URI of an object of Cloud Storage."));
    let (bucket, object) = uri.strip_prefix("gs://").and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
    if bucket.is_empty() || object.is_empty() {
        return Err(invalid());
    }
    let base = shared.options.storage.as_deref().map(|base| base.trim_end_matches('/'));
    let base = base.ok_or_else(|| ("INTERNAL_ERROR".to_owned(), "This emulator has no Cloud Storage.".to_owned()))?;
    Ok((base, bucket.to_owned(), object.to_owned()))
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
