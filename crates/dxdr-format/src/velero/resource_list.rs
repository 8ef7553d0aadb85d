//! `NAME-resource-list.json.gz`: names of all objects, by kind; of a Restore also what became of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FormatError, compressed};

const WHAT: &str = "resource list";

/// `apps/v1/Deployment` or `v1/Pod`, and `NAMESPACE/NAME` or `NAME` of each object, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceList(pub BTreeMap<String, Vec<String>>);

/// What became of one object in a Restore.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restored {
    /// Empty: the core group.
    pub group: String,
    /// `Deployment`
    pub kind: String,
    /// In the target.
    pub namespace: Option<String>,
    /// In the target.
    pub name: String,
    /// `created`, `updated`, `failed`, `skipped`.
    pub action: String,
}

/// Reads the list of a Restore, whose names are `NAMESPACE/NAME(created)`. Entries that are written otherwise are passed over.
pub fn restored(list: &ResourceList) -> impl Iterator<Item = Restored> + '_ {
    let of = |kind: &str, entry: &str| {
        let (rest, kind) = kind.rsplit_once('/')?;
        let group = rest.split_once('/').map_or("", |(group, _version)| group);
        let (name, action) = entry.strip_suffix(')')?.rsplit_once('(')?;
        let (namespace, name) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
        Some(Restored {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            action: action.to_owned(),
        })
    };
    list.0.iter().flat_map(move |(kind, entries)| entries.iter().filter_map(move |entry| of(kind, entry)))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_s_list_tells_what_became_of_each_object() {
        let entries = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let list = ResourceList(BTreeMap::from([
            ("apps/v1/Deployment".to_owned(), entries(&["copy/api(created)"])),
            ("v1/Namespace".to_owned(), entries(&["copy(skipped)"])),
            ("v1/Secret".to_owned(), entries(&["copy/a(failed)", "of another form"])),
        ]));
        let shown = |one: Restored| format!("{}.{} {:?} {} {}", one.kind, one.group, one.namespace, one.name, one.action);
        let shown: Vec<String> = restored(&list).map(shown).collect();
        assert_eq!(
            shown,
            ["Deployment.apps Some(\"copy\") api created", "Namespace. None copy skipped", "Secret. Some(\"copy\") a failed"]
        );
    }
}
