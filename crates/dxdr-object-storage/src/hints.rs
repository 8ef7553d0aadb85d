//! What to do next about a failing store.

use dxdr_provider::object_storage::{StorageError, StorageErrorKind};

use crate::s3::s3_failure;

/// What to do next, best first; empty when nothing better than the error itself can be said.
pub fn hints(error: &StorageError) -> Vec<String> {
    match Place::of(&error.store) {
        Place::Bucket { bucket, endpoint } => bucket_hints(error, bucket, endpoint),
        Place::Google { bucket, endpoint } => crate::gcs::hints(error, bucket, endpoint),
        Place::Directory(path) => directory_hints(error, path),
        Place::Other => Vec::new(),
    }
}

/// Where a store is, from its description.
enum Place<'store> {
    Bucket { bucket: &'store str, endpoint: Option<&'store str> },
    Google { bucket: &'store str, endpoint: Option<&'store str> },
    Directory(&'store str),
    Other,
}

impl<'store> Place<'store> {
    fn of(store: &'store str) -> Self {
        if let Some(path) = store.strip_prefix("directory ") {
            return Self::Directory(path);
        }
        let (rest, is_google) = match (store.strip_prefix("s3://"), store.strip_prefix("gs://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Self::Other,
        };
        let (path, endpoint) = match rest.split_once(" at ") {
            Some((path, endpoint)) => (path, Some(endpoint)),
            None => (rest, None),
        };
        let bucket = path.split('/').next().unwrap_or(path);
        if is_google { Self::Google { bucket, endpoint } } else { Self::Bucket { bucket, endpoint } }
    }
}

fn bucket_hints(error: &StorageError, bucket: &str, endpoint: Option<&str>) -> Vec<String> {
    let failure = s3_failure(error);
    let code = failure.and_then(|failure| failure.code.as_deref()).unwrap_or_default();
    let said = failure.map(ToString::to_string).unwrap_or_default();
    let is_amazon = endpoint.is_none_or(|endpoint| endpoint.ends_with(".amazonaws.com"));
    let option = match endpoint {
        Some(endpoint) if !is_amazon => format!(" --endpoint-url {endpoint}"),
        _ => String::new(),
    };
    match error.kind {
        StorageErrorKind::NoSuchStore => vec![
            format!("check the bucket's name and region, or create it: `aws{option} s3 mb s3://{bucket}`"),
            "if the bucket exists, these credentials may belong to another account or server".to_owned(),
        ],
        StorageErrorKind::Forbidden => {
            let (actions, resource) = match error.action {
                "list" => ("s3:ListBucket", format!("arn:aws:s3:::{bucket}")),
                "write" => ("s3:PutObject and s3:AbortMultipartUpload", format!("arn:aws:s3:::{bucket}/*")),
                "delete" => ("s3:DeleteObject", format!("arn:aws:s3:::{bucket}/*")),
                _ => ("s3:GetObject, and s3:ListBucket on the bucket", format!("arn:aws:s3:::{bucket}/*")),
            };
            let mut hints = vec![format!("allow {actions} on {resource} to this identity")];
            if is_amazon {
                hints.push("see which identity it is: `aws sts get-caller-identity`".to_owned());
                hints.push(
                    "if the bucket encrypts with a KMS key, the identity also needs kms:GenerateDataKey and kms:Decrypt on it"
                        .to_owned(),
                );
            }
            hints
        }
        StorageErrorKind::Unauthenticated => match code {
            "RequestTimeTooSkewed" => {
                vec!["set this machine's clock: it differs from the server's by more than 15 minutes".to_owned()]
            }
            "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
                vec!["the session is over: sign in again, or renew AWS_SESSION_TOKEN together with its keys".to_owned()]
            }
            "SignatureDoesNotMatch" => {
                vec!["AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or is cut or quoted wrongly".to_owned()]
            }
            _ => vec![
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and the profile in ~/.aws/credentials"
                    .to_owned(),
                "in a cluster, check the service account's role (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)".to_owned(),
            ],
        },
        StorageErrorKind::Unreachable => {
            let endpoint = endpoint.unwrap_or("the endpoint");
            if said.contains("certificate") {
                vec![format!(
                    "the certificate of {endpoint} is not trusted here: put its authority into `spec.s3.certificateAuthority` of the BackupStore, or add it to the system"
                )]
            } else {
                vec![format!(
                    "check that {endpoint} is right and reachable from here: `curl -sS -o /dev/null {endpoint}`; a VPN may be down"
                )]
            }
        }
        StorageErrorKind::TimedOut => {
            vec!["try again; if it stays so, look at the server's load and at the network between".to_owned()]
        }
        StorageErrorKind::Throttled => vec!["try again later, or let fewer backups and restores run at the same time".to_owned()],
        StorageErrorKind::Unavailable => vec!["try again; if it stays so, look at the server's own logs".to_owned()],
        StorageErrorKind::Corrupt => {
            vec!["read it again; if it fails again, the stored object is damaged: use another recovery point".to_owned()]
        }
        StorageErrorKind::Full => vec!["make room on the server, or raise the bucket's quota".to_owned()],
        StorageErrorKind::Invalid => match code {
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                vec![format!(
                    "the bucket is in another region: find it with `aws{option} s3api get-bucket-location --bucket {bucket}` and set it in the store"
                )]
            }
            "InvalidObjectState" => vec!["the object is archived: restore it to a readable storage class first".to_owned()],
            "NotImplemented" | "InvalidArgument" | "InvalidRequest" => {
                vec!["the server may not know S3's checksums: set `checksums: whenRequired` in the store".to_owned()]
            }
            _ => Vec::new(),
        },
        StorageErrorKind::NotFound | StorageErrorKind::AlreadyExists | StorageErrorKind::Other => Vec::new(),
    }
}

fn directory_hints(error: &StorageError, path: &str) -> Vec<String> {
    let path = &in_a_shell(path);
    match error.kind {
        StorageErrorKind::NoSuchStore if is_in_the_way(error) => {
            vec![format!(
                "a file stands where a directory should be: `ls -ld {path}` and its parents show which; correct the store's path"
            )]
        }
        StorageErrorKind::NoSuchStore => vec![format!("check that it is mounted, or create it: `mkdir -p {path}`")],
        StorageErrorKind::Forbidden => {
            vec![format!("check owner, permissions and mount options: `ls -ld {path}`, `findmnt -T {path}`")]
        }
        StorageErrorKind::Full => {
            vec![format!("make room: `df -h {path}` shows how much there is")]
        }
        StorageErrorKind::Corrupt => {
            vec!["the file was changed by something else; if it stays so, use another recovery point".to_owned()]
        }
        StorageErrorKind::Unreachable => vec![format!("the file system below {path} has gone away: mount it again")],
        _ => Vec::new(),
    }
}

/// A path as a shell takes it: quoted where it would make something else of it, of `~` or a space.
fn in_a_shell(path: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+@:,=".contains(character);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn is_in_the_way(error: &StorageError) -> bool {
    let cause = error.source.as_deref().and_then(|source| source.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: StorageErrorKind, store: &str) -> StorageError {
        StorageError { kind, action: "write", key: "a".into(), store: store.into(), source: None }
    }

    #[test]
    fn a_missing_bucket_is_created_where_it_is_missing() {
        let hints_here = hints(&error(StorageErrorKind::NoSuchStore, "s3://dx/velero at http://127.0.0.1:9000"));
        assert!(hints_here[0].contains("`aws --endpoint-url http://127.0.0.1:9000 s3 mb s3://dx`"), "{hints_here:?}");
        let hints_amazon = hints(&error(StorageErrorKind::NoSuchStore, "s3://dx at https://s3.eu-central-1.amazonaws.com"));
        assert!(hints_amazon[0].contains("`aws s3 mb s3://dx`"), "{hints_amazon:?}");
    }

    #[test]
    fn a_path_in_a_command_is_one_argument() {
        let hint = |store: &str| hints(&error(StorageErrorKind::NoSuchStore, store)).remove(0);
        assert!(hint("directory /var/my backups").contains("`mkdir -p '/var/my backups'`"));
        assert!(hint("directory ~/it's").contains(r"`mkdir -p '~/it'\''s'`"));
        assert!(hint("directory /var/ünïcode").contains("`mkdir -p /var/ünïcode`"));
    }

    #[test]
    fn who_may_not_write_learns_what_to_allow() {
        assert!(hints(&error(StorageErrorKind::Forbidden, "s3://dx at http://h"))[0].contains("s3:PutObject"));
        assert!(hints(&error(StorageErrorKind::Forbidden, "directory /var/backups"))[0].contains("ls -ld /var/backups"));
    }
}
