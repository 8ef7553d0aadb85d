//! Where an object lies in an archive.

use std::fmt;

use super::error::ArchiveError;

/// Ends the folder of the copy that has its version in its path.
const PREFERRED: &str = "-preferredversion";

/// What an archive's path says of an object. The `apiVersion` inside the object decides where the two differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ItemPath {
    /// `deployments.apps`, or `pods` for the core group.
    pub group_resource: String,
    /// The version preferred by the cluster it was taken from, `v1`. `None` after reading an archive that does not say.
    pub version: Option<String>,
    /// `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl ItemPath {
    /// `resources/configmaps/namespaces/staging/settings.json`
    pub fn unversioned(&self) -> String {
        self.path("")
    }

    /// `resources/configmaps/v1-preferredversion/namespaces/staging/settings.json`; `None` where the version is not known.
    pub fn preferred(&self) -> Option<String> {
        self.version.as_ref().map(|version| self.path(&format!("{version}{PREFERRED}/")))
    }

    fn path(&self, folder: &str) -> String {
        let Self { group_resource, name, .. } = self;
        match &self.namespace {
            Some(namespace) => {
                format!("resources/{group_resource}/{folder}namespaces/{namespace}/{name}.json")
            }
            None => format!("resources/{group_resource}/{folder}cluster/{name}.json"),
        }
    }

    /// Both paths, if an archive can hold this object at all.
    pub(super) fn checked(&self) -> Result<(String, String), ArchiveError> {
        let refused = |problem| Err(ArchiveError::Item { item: self.to_string(), problem });
        let parts = [Some(&self.group_resource), self.version.as_ref(), self.namespace.as_ref(), Some(&self.name)];
        for part in parts.into_iter().flatten() {
            if part.is_empty() {
                return refused("a part of its path is empty");
            }
            if part.contains(['/', '\0']) || part == "." || part == ".." {
                return refused("a part of its path is not a file name");
            }
        }
        if ["namespaces", "cluster"].iter().any(|folder| self.version.as_deref() == Some(folder)) {
            return refused("its version is none");
        }
        match self.preferred() {
            Some(preferred) => Ok((self.unversioned(), preferred)),
            // Velero with EnableAPIGroupVersions panics on archives that lack these copies.
            None => refused("its API version is not known"),
        }
    }
}

impl fmt::Display for ItemPath {
    /// `deployments.apps staging/api`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {namespace}/{}", self.group_resource, self.name),
            None => write!(formatter, "{} {}", self.group_resource, self.name),
        }
    }
}

/// What a path in an archive is. Paths are normal here: no empty, `.` or `..` components.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// `metadata/version`
    Version,
    /// An object, in the unversioned style or as the preferred version.
    Item { group_resource: &'a str, version: Option<&'a str>, namespace: Option<&'a str>, name: &'a str },
    /// An object in a version that the cluster served beside the preferred one.
    OtherVersion,
    /// Nothing that Velero or we know.
    Unknown,
}

impl<'a> Place<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        if path == "metadata/version" {
            return Self::Version;
        }
        let Some(rest) = path.strip_prefix("resources/") else {
            return Self::Unknown;
        };
        let Some((group_resource, rest)) = rest.split_once('/') else {
            return Self::Unknown;
        };
        let (folder, rest) = if rest.starts_with("namespaces/") || rest.starts_with("cluster/") {
            (None, rest)
        } else {
            match rest.split_once('/') {
                Some((folder, rest)) => (Some(folder), rest),
                None => return Self::Unknown,
            }
        };
        let (namespace, file) = match rest.split_once('/') {
            Some(("cluster", file)) => (None, file),
            Some(("namespaces", rest)) => match rest.split_once('/') {
                Some((namespace, file)) => (Some(namespace), file),
                None => return Self::Unknown,
            },
            _ => return Self::Unknown,
        };
        let Some(name) = file.strip_suffix(".json").filter(|name| !name.is_empty() && !name.contains('/')) else {
            return Self::Unknown;
        };
        match folder {
            None => Self::Item { group_resource, version: None, namespace, name },
            Some(folder) => match folder.strip_suffix(PREFERRED) {
                Some(version) if !version.is_empty() => Self::Item { group_resource, version: Some(version), namespace, name },
                Some(_) => Self::Unknown,
                None => Self::OtherVersion,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_are_read_as_they_are_written() {
        let item = ItemPath {
            group_resource: "deployments.apps".into(),
            version: Some("v1".into()),
            namespace: Some("staging".into()),
            name: "api".into(),
        };
        let (unversioned, preferred) = item.checked().unwrap();
        assert_eq!(unversioned, "resources/deployments.apps/namespaces/staging/api.json");
        assert_eq!(preferred, "resources/deployments.apps/v1-preferredversion/namespaces/staging/api.json");
        for (path, version) in [(unversioned, None), (preferred, Some("v1"))] {
            let expected = Place::Item { group_resource: "deployments.apps", version, namespace: Some("staging"), name: "api" };
            assert_eq!(Place::of(&path), expected);
        }
    }

    #[test]
    fn a_folder_of_another_version_is_known_and_the_rest_is_not() {
        assert_eq!(Place::of("resources/widgets.example.org/v1beta1/namespaces/a/b.json"), Place::OtherVersion);
        assert_eq!(Place::of("metadata/version"), Place::Version);
        for path in [
            "readme",
            "resources",
            "resources/pods",
            "resources/pods/namespaces/a",
            "resources/pods/namespaces/a/b.yaml",
            "resources/pods/namespaces/a/.json",
            "resources/pods/namespaces/a/b/c.json",
            "resources/pods/-preferredversion/namespaces/a/b.json",
        ] {
            assert_eq!(Place::of(path), Place::Unknown, "{path}");
        }
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        let good = ItemPath { group_resource: "pods".into(), version: Some("v1".into()), namespace: None, name: "a".into() };
        for name in ["", ".", "..", "a/b", "a\0"] {
            assert!(ItemPath { name: name.into(), ..good.clone() }.checked().is_err(), "{name:?}");
        }
        assert!(ItemPath { version: None, ..good.clone() }.checked().is_err());
        assert!(ItemPath { version: Some("cluster".into()), ..good.clone() }.checked().is_err());
        assert!(ItemPath { name: "system:node:a".into(), ..good }.checked().is_ok());
    }
}
