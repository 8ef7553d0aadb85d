//! What it takes to reach a bucket.

use std::{fmt, time::Duration};

/// A bucket and how to talk to it.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// Keys lie below it; slashes around it do not count. Empty: the bucket itself.
    pub prefix: String,
    /// Where the bucket is. `None`: from `AWS_REGION`, the profile or the instance, and `us-east-1` at last.
    pub region: Option<String>,
    /// URL of a server other than Amazon's. `None`: from `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or the profile, and Amazon's at
    /// last.
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`; most servers other than Amazon's want it.
    pub force_path_style: bool,
    /// The profile of the configuration and credentials files. `None`: from `AWS_PROFILE`, and `default` at last.
    pub profile: Option<String>,
    /// `None`: from the usual places: environment, profile, web identity, container, instance.
    pub credentials: Option<S3Credentials>,
    /// How the server encrypts what is written. `None`: as the bucket is configured.
    pub encryption: Option<S3Encryption>,
    /// PEM of the authorities that alone may sign the server's certificate. `None`: those that the system trusts.
    pub certificate_authority: Option<String>,
    /// Which checksums go with the bytes.
    pub checksums: S3Checksums,
    /// When to give up.
    pub patience: S3Patience,
}

/// Credentials given by hand.
#[derive(Clone)]
pub struct S3Credentials {
    /// Not secret, but names an identity.
    pub access_key_id: String,
    /// Never shown.
    pub secret_access_key: String,
    /// With temporary credentials. Never shown.
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Encryption by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Encryption {
    /// With keys that S3 manages (`AES256`).
    S3Keys,
    /// With a key of the key management service: its id, ARN or alias; `None` is the account's default key.
    Kms(Option<String>),
}

/// Checksums beyond the signature and the length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum S3Checksums {
    /// CRC32C of every part is sent in a header (never in a trailer) and checked by the server; what the server says of the whole
    /// object is checked when it is read. Servers that do not know the headers ignore them.
    #[default]
    WhenSupported,
    /// None, for servers that refuse what they do not know.
    WhenRequired,
}

/// How long and how often a call waits before it ends in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to one attempt of a request that moves few bytes.
    pub answer: Duration,
    /// For the next byte of a body in either direction.
    pub stall: Duration,
    /// For the credentials, from wherever they come.
    pub credentials: Duration,
    /// Attempts of a request, the first included; and how often in a row a broken download is taken up again.
    pub attempts: u32,
    /// Pause before the second attempt, doubling from there to at most 20 s, each with jitter.
    pub pause: Duration,
}

impl Default for S3Patience {
    /// A server that is not there is reported within 15 s, one that does not answer within two and a half minutes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            credentials: Duration::from_secs(10),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = S3Credentials {
            access_key_id: "AKIA".into(),
            secret_access_key: "hunter2".into(),
            session_token: Some("token7".into()),
        };
        let shown = format!("{:?}", S3Options { credentials: Some(credentials), ..S3Options::default() });
        assert!(shown.contains("AKIA") && !shown.contains("hunter2") && !shown.contains("token7"), "{shown}");
    }
}
