//! Objects and their metadata.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    bucket::stamp,
    content::{Content, crc32c_text, md5_text},
    failure::Failure,
    protection::Protection,
};

/// What a writer says of an object beside its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    /// Texts such as `contentType` and `cacheControl`, by their JSON names.
    pub(crate) texts: BTreeMap<&'static str, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) temporary_hold: bool,
    pub(crate) event_based_hold: Option<bool>,
    pub(crate) kms_key: Option<String>,
    /// What the checksums of the bytes must be.
    pub(crate) expected: Expected,
}

/// Checksums that a writer announces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) crc32c: Option<String>,
    pub(crate) md5: Option<String>,
}

const TEXTS: [&str; 7] =
    ["contentType", "contentEncoding", "contentDisposition", "contentLanguage", "cacheControl", "customTime", "storageClass"];

impl Description {
    /// From the JSON of an insert or of a compose' destination.
    pub(crate) fn of(json: &Value) -> Self {
        let mut description = Self::default();
        for name in TEXTS {
            if let Some(text) = json[name].as_str().filter(|text| !text.is_empty()) {
                description.texts.insert(name, text.to_owned());
            }
        }
        for (key, value) in json["metadata"].as_object().into_iter().flatten() {
            if let Some(value) = value.as_str() {
                description.metadata.insert(key.clone(), value.to_owned());
            }
        }
        description.temporary_hold = json["temporaryHold"].as_bool().unwrap_or(false);
        description.event_based_hold = json["eventBasedHold"].as_bool();
        description.kms_key = json["kmsKeyName"].as_str().filter(|key| !key.is_empty()).map(str::to_owned);
        description.expected.crc32c = json["crc32c"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        description.expected.md5 = json["md5Hash"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        description
    }
}

impl Expected {
    /// From `x-goog-hash: crc32c=…,md5=…`, which may come several times.
    pub(crate) fn header<'text>(values: impl Iterator<Item = &'text str>) -> Self {
        let mut expected = Self::default();
        for part in values.flat_map(|value| value.split(',')) {
            let part = part.trim();
            if let Some(text) = part.strip_prefix("crc32c=") {
                expected.crc32c = Some(text.to_owned());
            } else if let Some(text) = part.strip_prefix("md5=") {
                expected.md5 = Some(text.to_owned());
            }
        }
        expected
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self { crc32c: self.crc32c.or(other.crc32c), md5: self.md5.or(other.md5) }
    }

    pub(crate) fn check(&self, content: &Content) -> Result<(), Failure> {
        if let Some(expected) = &self.crc32c {
            let actual = crc32c_text(content.crc32c());
            if *expected != actual {
                return Err(Failure::invalid(format!(
                    "Provided CRC32C \"{expected}\" doesn't match calculated CRC32C \"{actual}\"."
                )));
            }
        }
        if let Some(expected) = &self.md5 {
            let actual = md5_text(content.md5());
            if *expected != actual {
                return Err(Failure::invalid(format!(
                    "Provided MD5 hash \"{expected}\" doesn't match calculated MD5 hash \"{actual}\"."
                )));
            }
        }
        Ok(())
    }
}

/// A live object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) content: Content,
    pub(crate) crc32c: u32,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) generation: i64,
    pub(crate) metageneration: i64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) texts: BTreeMap<&'static str, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) protection: Protection,
    pub(crate) kms_key: Option<String>,
    /// Of how many objects it was composed.
    pub(crate) components: Option<u64>,
}

impl Object {
    pub(crate) fn versions(&self) -> (i64, i64) {
        (self.generation, self.metageneration)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(crate) fn etag(&self) -> String {
        BASE64_STANDARD.encode(format!("{}/{}", self.generation, self.metageneration))
    }

    /// `crc32c=…,md5=…`
    pub(crate) fn hashes(&self) -> String {
        let crc32c = crc32c_text(self.crc32c);
        match self.md5 {
            Some(md5) => format!("crc32c={crc32c},md5={}", md5_text(md5)),
            None => format!("crc32c={crc32c}"),
        }
    }

    /// Changes the metadata that a PATCH names; `null` takes away.
    pub(crate) fn patch(&mut self, change: &Value, now: Timestamp) {
        for name in TEXTS {
            match change.get(name) {
                Some(Value::String(text)) => {
                    self.texts.insert(name, text.clone());
                }
                Some(Value::Null) => {
                    self.texts.remove(name);
                }
                _ => {}
            }
        }
        match change.get("metadata") {
            Some(Value::Null) => self.metadata.clear(),
            Some(Value::Object(entries)) => {
                for (key, value) in entries {
                    match value.as_str() {
                        Some(text) => self.metadata.insert(key.clone(), text.to_owned()),
                        None => self.metadata.remove(key),
                    };
                }
            }
            _ => {}
        }
        if let Some(hold) = change.get("temporaryHold") {
            self.protection.temporary_hold = hold.as_bool().unwrap_or(false);
        }
        if let Some(hold) = change.get("eventBasedHold") {
            self.protection.set_event_based_hold(hold.as_bool().unwrap_or(false), now);
        }
        self.metageneration += 1;
        self.updated = now;
    }

    pub(crate) fn json(&self, bucket: &str, name: &str, base: &str, retained_until: Option<Timestamp>) -> Value {
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let link = format!("{base}/storage/v1/b/{bucket}/o/{encoded}");
        let mut json = json!({
            "kind": "storage#object",
            "id": format!("{bucket}/{name}/{}", self.generation),
            "selfLink": link,
            "mediaLink": format!("{base}/download/storage/v1/b/{bucket}/o/{encoded}?generation={}&alt=media", self.generation),
            "name": name,
            "bucket": bucket,
            "generation": self.generation.to_string(),
            "metageneration": self.metageneration.to_string(),
            "storageClass": "STANDARD",
            "size": self.content.len().to_string(),
            "crc32c": crc32c_text(self.crc32c),
            "etag": self.etag(),
            "timeCreated": stamp(self.created),
            "updated": stamp(self.updated),
            "timeStorageClassUpdated": stamp(self.created),
        });
        for (key, text) in &self.texts {
            json[*key] = text.clone().into();
        }
        if !self.metadata.is_empty() {
            let entries: Map<String, Value> =
                self.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
            json["metadata"] = entries.into();
        }
        let optional = [
            ("md5Hash", self.md5.map(|digest| md5_text(digest).into())),
            ("componentCount", self.components.map(Value::from)),
            ("kmsKeyName", self.kms_key.clone().map(Value::from)),
            ("temporaryHold", self.protection.temporary_hold.then_some(true.into())),
            ("eventBasedHold", self.protection.event_based_hold.then_some(true.into())),
            ("retentionExpirationTime", retained_until.map(|time| stamp(time).into())),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                json[key] = value;
            }
        }
        json
    }
}
