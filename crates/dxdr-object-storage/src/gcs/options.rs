//! What it takes to reach a bucket.

use std::{fmt, time::Duration};

/// A bucket and how to talk to it.
#[derive(Debug, Clone, Default)]
pub struct GcsOptions {
    /// The bucket's name.
    pub bucket: String,
    /// Keys lie below it; slashes around it do not count. Empty: the bucket itself.
    pub prefix: String,
    /// URL of a server other than Google's. `None`: from `STORAGE_EMULATOR_HOST`, and Google's at last.
    pub endpoint: Option<String>,
    /// Whose credentials are used.
    pub credentials: GcsCredentials,
    /// Resource name of the key of Cloud KMS that encrypts what is written. `None`: as the bucket is configured.
    pub kms_key: Option<String>,
    /// When to give up.
    pub patience: GcsPatience,
}

/// Whose credentials are used.
#[derive(Clone, Default)]
pub enum GcsCredentials {
    /// The application default ones: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, that of `gcloud auth application-default
    /// login`, or the metadata server, which speaks for a workload's identity. None at all for the server that
    /// `STORAGE_EMULATOR_HOST` names.
    #[default]
    ApplicationDefault,
    /// None, for emulators and public buckets.
    Anonymous,
    /// The JSON of a service account's key. Never shown.
    ServiceAccount(String),
}

impl fmt::Debug for GcsCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ApplicationDefault => "ApplicationDefault",
            Self::Anonymous => "Anonymous",
            Self::ServiceAccount(_) => "ServiceAccount(…)",
        })
    }
}

/// How long and how often a call waits before it ends in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsPatience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to one attempt of a request that moves few bytes.
    pub answer: Duration,
    /// For the next byte of a download.
    pub stall: Duration,
    /// For the credentials, from wherever they come.
    pub credentials: Duration,
    /// Attempts of a request, the first included; and how often in a row a broken transfer is taken up again without getting further.
    pub attempts: u32,
    /// Pause before the second attempt, doubling from there to at most 20 s, each with jitter.
    pub pause: Duration,
    /// No attempt begins after this time.
    pub limit: Duration,
}

impl Default for GcsPatience {
    /// A server that is not there is reported within 15 s, one that does not answer within two and a half minutes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            credentials: Duration::from_secs(10),
            attempts: 4,
            pause: Duration::from_millis(500),
            limit: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = GcsCredentials::ServiceAccount(r#"{"private_key": "hunter2"}"#.to_owned());
        let shown = format!("{:?}", GcsOptions { credentials, ..GcsOptions::default() });
        assert!(shown.contains("ServiceAccount") && !shown.contains("hunter2"), "{shown}");
    }
}
