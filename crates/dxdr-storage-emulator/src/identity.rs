//! Who asks, and what they may do.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::failure::Failure;

/// What an identity may do with objects. Buckets are the business of [`Access::Everything`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is known, and may do nothing.
    Nothing,
    /// Read and list, as `roles/storage.objectViewer`.
    Read,
    /// Create objects where there are none, as `roles/storage.objectCreator`.
    Create,
    /// Everything.
    Everything,
}

/// Somebody whose credentials are accepted.
#[derive(Clone)]
pub struct Identity {
    /// The address of a service account. Tokens that it signed itself (JWT) are recognised by it; the signature is not checked.
    pub name: String,
    /// A bearer token that stands for it.
    pub token: Option<String>,
    /// What it may do.
    pub access: Access,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("name", &self.name).field("access", &self.access).finish_non_exhaustive()
    }
}

/// What a request needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    Get,
    List,
    Create,
    Update,
    Delete,
    Bucket,
}

impl Permission {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "storage.objects.get",
            Self::List => "storage.objects.list",
            Self::Create => "storage.objects.create",
            Self::Update => "storage.objects.update",
            Self::Delete => "storage.objects.delete",
            Self::Bucket => "storage.buckets.get",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    name: String,
    access: Access,
}

impl Caller {
    /// Recognises the bearer of an `authorization` header.
    pub(crate) fn of(authorization: Option<&str>, identities: &[Identity]) -> Result<Self, Failure> {
        if identities.is_empty() {
            return Ok(Self { name: "anonymous".to_owned(), access: Access::Everything });
        }
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(Failure::new(
                401,
                "required",
                "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).",
            ));
        };
        let signer = signer(token);
        let is_meant =
            |identity: &&Identity| identity.token.as_deref() == Some(token) || signer.as_deref() == Some(identity.name.as_str());
        match identities.iter().find(is_meant) {
            Some(identity) => Ok(Self { name: identity.name.clone(), access: identity.access }),
            None => Err(Failure::new(401, "authError", "Invalid Credentials")),
        }
    }

    pub(crate) fn may(&self, permission: Permission) -> Result<(), Failure> {
        let may = match self.access {
            Access::Nothing => false,
            Access::Read => matches!(permission, Permission::Get | Permission::List),
            Access::Create => permission == Permission::Create,
            Access::Everything => true,
        };
        if may {
            return Ok(());
        }
        let what = if permission == Permission::Bucket { "bucket" } else { "object" };
        let (name, permission) = (&self.name, permission.name());
        Err(Failure::new(
            403,
            "forbidden",
            format!(
                "{name} does not have {permission} access to the Google Cloud Storage {what}. Permission '{permission}' denied on resource (or it may not exist)."
            ),
        ))
    }
}

/// The address in a token that a service account signed itself.
fn signer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities() -> Vec<Identity> {
        let identity =
            |name: &str, token: Option<&str>, access| Identity { name: name.to_owned(), token: token.map(str::to_owned), access };
        vec![identity("reader@p", Some("secret"), Access::Read), identity("writer@p", None, Access::Everything)]
    }

    #[test]
    fn bearers_are_known_by_their_token_or_by_what_they_signed() {
        let status = |header: Option<&str>| Caller::of(header, &identities()).map_err(|failure| failure.status);
        assert_eq!(status(None).unwrap_err(), 401);
        assert_eq!(status(Some("Bearer other")).unwrap_err(), 401);
        assert_eq!(status(Some("Bearer secret")).unwrap().access, Access::Read);
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"writer@p"}"#);
        assert_eq!(status(Some(&format!("Bearer e30.{claims}.c2ln"))).unwrap().access, Access::Everything);
        assert!(!format!("{:?}", identities()).contains("secret"));
    }

    #[test]
    fn who_may_read_may_not_write() {
        let reader = Caller::of(Some("Bearer secret"), &identities()).unwrap();
        assert!(reader.may(Permission::Get).is_ok() && reader.may(Permission::List).is_ok());
        let refusal = reader.may(Permission::Create).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(refusal.message.starts_with("reader@p does not have storage.objects.create access"), "{}", refusal.message);
    }
}
