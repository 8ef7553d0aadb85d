//! `NAME-resource-list.json.gz`: names of all objects, by kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FormatError, compressed};

const WHAT: &str = "resource list";

/// `apps/v1/Deployment` or `v1/Pod`, and `NAMESPACE/NAME` or `NAME` of each object, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceList(pub BTreeMap<String, Vec<String>>);

/// For a store. Sorted here: lists come in any order.
pub fn encode(list: &ResourceList) -> Result<Vec<u8>, FormatError> {
    let mut list = list.clone();
    list.0.values_mut().for_each(|names| names.sort_unstable());
    compressed::encode(WHAT, &list)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<ResourceList, FormatError> {
    compressed::decode(WHAT, bytes)
}
