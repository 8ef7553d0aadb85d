//! Who a SealedSecret is: what its ciphertexts are bound to, and which key opens them.

use std::{fmt, str::FromStr};

/// API group of SealedSecrets.
pub const GROUP: &str = "bitnami.com";
/// `apiVersion` of SealedSecrets.
pub const API_VERSION: &str = "bitnami.com/v1alpha1";
/// `kind` of SealedSecrets.
pub const KIND: &str = "SealedSecret";
/// Annotation, exactly `"true"`: the object may take another name.
pub const NAMESPACE_WIDE: &str = "sealedsecrets.bitnami.com/namespace-wide";
/// Annotation, exactly `"true"`: the object may take another name and namespace.
pub const CLUSTER_WIDE: &str = "sealedsecrets.bitnami.com/cluster-wide";

/// What of a SealedSecret's identity its ciphertexts are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Scope {
    /// Its namespace and its name.
    #[default]
    Strict,
    /// Its namespace.
    NamespaceWide,
    /// Nothing: whoever holds the ciphertext may use it anywhere in the cluster.
    ClusterWide,
}

impl Scope {
    /// All scopes, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Strict, Self::NamespaceWide, Self::ClusterWide];

    /// The word of command lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::NamespaceWide => "namespace-wide",
            Self::ClusterWide => "cluster-wide",
        }
    }

    /// The annotation that says so on the object; strict objects have none.
    pub fn annotation(self) -> Option<&'static str> {
        match self {
            Self::Strict => None,
            Self::NamespaceWide => Some(NAMESPACE_WIDE),
            Self::ClusterWide => Some(CLUSTER_WIDE),
        }
    }

    /// The scope that annotations mean to the controller: `value` looks one up. Any value but exactly `true` means nothing, and
    /// cluster-wide wins.
    pub fn of_annotations<'value>(value: impl Fn(&str) -> Option<&'value str>) -> Self {
        if value(CLUSTER_WIDE) == Some("true") {
            Self::ClusterWide
        } else if value(NAMESPACE_WIDE) == Some("true") {
            Self::NamespaceWide
        } else {
            Self::Strict
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A word that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: expected strict, namespace-wide or cluster-wide")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// What a ciphertext is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SealedIdentity {
    /// `metadata.namespace` of the SealedSecret.
    pub namespace: String,
    /// `metadata.name` of the SealedSecret.
    pub name: String,
    /// What of both counts.
    pub scope: Scope,
}

impl SealedIdentity {
    /// The label of RSA-OAEP, in UTF-8 and without an end mark: `NAMESPACE/NAME`, `NAMESPACE`, or nothing.
    pub fn label(&self) -> String {
        match self.scope {
            Scope::Strict => format!("{}/{}", self.namespace, self.name),
            Scope::NamespaceWide => self.namespace.clone(),
            Scope::ClusterWide => String::new(),
        }
    }
}

impl fmt::Display for SealedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{} ({})", self.namespace, self.name, self.scope)
    }
}

/// The SHA-256 fingerprint of a sealing key's public half, as OpenSSH writes it: `SHA256:` and unpadded base64.
///
/// It is the same for every certificate of one key pair, and stands in no ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint(String);

impl KeyFingerprint {
    const PREFIX: &'static str = "SHA256:";
    const DIGEST_LENGTH: usize = 43;

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest as a name of a file: base64 in the alphabet for URLs.
    pub fn file_name(&self) -> String {
        self.0.trim_start_matches(Self::PREFIX).replace('+', "-").replace('/', "_")
    }

    /// The fingerprint that a name of a file stands for.
    pub fn of_file_name(name: &str) -> Result<Self, InvalidFingerprint> {
        format!("{}{}", Self::PREFIX, name.replace('-', "+").replace('_', "/")).parse()
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fingerprint of a sealing key: expected SHA256: and 43 characters of base64")]
pub struct InvalidFingerprint(String);

impl FromStr for KeyFingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        match text.strip_prefix(Self::PREFIX) {
            Some(digest) if digest.len() == Self::DIGEST_LENGTH && digest.bytes().all(is_base64) => Ok(Self(text.to_owned())),
            _ => Err(InvalidFingerprint(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_bind_what_the_scope_says() {
        for (scope, label) in [(Scope::Strict, "shop/database"), (Scope::NamespaceWide, "shop"), (Scope::ClusterWide, "")] {
            let identity = SealedIdentity { namespace: "shop".to_owned(), name: "database".to_owned(), scope };
            assert_eq!(identity.label(), label);
        }
    }

    #[test]
    fn only_the_exact_word_widens_a_scope() {
        let scope = |cluster: Option<&'static str>, namespace: Option<&'static str>| {
            Scope::of_annotations(|name| if name == CLUSTER_WIDE { cluster } else { namespace })
        };
        assert_eq!(scope(None, None), Scope::Strict);
        assert_eq!(scope(Some("True"), Some("yes")), Scope::Strict);
        assert_eq!(scope(None, Some("true")), Scope::NamespaceWide);
        assert_eq!(scope(Some("true"), Some("true")), Scope::ClusterWide);
    }

    #[test]
    fn scopes_and_fingerprints_are_read_back_as_they_are_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("wide".parse::<Scope>().is_err());
        let text = "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k";
        assert_eq!(text.parse::<KeyFingerprint>().unwrap().to_string(), text);
        for wrong in
            ["", "SHA256:", "tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k", "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4=k"]
        {
            assert!(wrong.parse::<KeyFingerprint>().is_err(), "{wrong}");
        }
    }
}
