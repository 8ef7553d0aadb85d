//! `NAME-results.gz`: warnings and errors of a backup, in people's words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use crate::{FormatError, compressed};

const WHAT: &str = "results";

/// Warnings and errors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// What went wrong and cost an object.
    #[serde(deserialize_with = "or_default")]
    pub errors: Messages,
    /// What went otherwise than one would think.
    #[serde(deserialize_with = "or_default")]
    pub warnings: Messages,
}

/// By what they concern.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Messages {
    /// The engine itself.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub velero: Vec<String>,
    /// Objects without a namespace.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<String>,
    /// Objects of each namespace.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Vec<String>>,
}

impl Messages {
    /// All of them, in one line each.
    pub fn all(&self) -> Vec<String> {
        let texts = self.velero.iter().chain(&self.cluster).chain(self.namespaces.values().flatten());
        texts.map(|text| text.trim().replace('\n', " ")).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.velero.len() + self.cluster.len() + self.namespaces.values().map(Vec::len).sum::<usize>()
    }
}

/// For a store.
pub fn encode(results: &Results) -> Result<Vec<u8>, FormatError> {
    compressed::encode(WHAT, results)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<Results, FormatError> {
    compressed::decode(WHAT, bytes)
}
