//! What to do next about a failing bucket of Google's.

use dxdr_provider::object_storage::{StorageError, StorageErrorKind};

use super::failure::gcs_failure;

/// What to do next, best first.
pub(crate) fn hints(error: &StorageError, bucket: &str, endpoint: Option<&str>) -> Vec<String> {
    let failure = gcs_failure(error);
    let reason = failure.and_then(|failure| failure.reason.as_deref()).unwrap_or_default();
    let said = failure.map(ToString::to_string).unwrap_or_default();
    match error.kind {
        StorageErrorKind::NoSuchStore => vec![
            format!("check the bucket's name, or create it: `gcloud storage buckets create gs://{bucket}`"),
            "names of buckets are global: another project may have had it, and deleted it".to_owned(),
        ],
        StorageErrorKind::Forbidden => forbidden(error, bucket, reason, &said),
        StorageErrorKind::Unauthenticated => vec![
            "name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, or sign in: `gcloud auth application-default login`"
                .to_owned(),
            "in a cluster, check Workload Identity: the pod's service account needs access to the bucket, or the annotation `iam.gke.io/gcp-service-account`"
                .to_owned(),
        ],
        StorageErrorKind::Unreachable => {
            let endpoint = endpoint.unwrap_or(super::connection::GOOGLE);
            if said.contains("certificate") {
                vec![format!(
                    "the certificate of {endpoint} is not trusted here: add its authority to the system, or name a file with it in SSL_CERT_FILE"
                )]
            } else {
                vec![format!(
                    "check that {endpoint} is right and reachable from here: `curl -sS -o /dev/null {endpoint}`; STORAGE_EMULATOR_HOST may name another one"
                )]
            }
        }
        StorageErrorKind::TimedOut => {
            vec!["try again; if it stays so, look at the network between, and at Google's status page".to_owned()]
        }
        StorageErrorKind::Throttled => vec!["try again later, or let fewer backups and restores run at the same time".to_owned()],
        StorageErrorKind::Unavailable => vec!["try again; if it stays so, look at Google's status page".to_owned()],
        StorageErrorKind::Corrupt => {
            vec!["try again; if reading fails again, the stored object is damaged: use another recovery point".to_owned()]
        }
        StorageErrorKind::Invalid if said.contains("KMS") => vec![kms(bucket)],
        _ => Vec::new(),
    }
}

fn forbidden(error: &StorageError, bucket: &str, reason: &str, said: &str) -> Vec<String> {
    if reason == "objectUnderActiveHold" || said.contains("under active") {
        let option = if said.contains("Event-Based") { "--no-event-based-hold" } else { "--no-temporary-hold" };
        return vec![format!(
            "find out who holds it and why; `gcloud storage objects update gs://{bucket}/… {option}` releases the hold"
        )];
    }
    if reason == "retentionPolicyNotMet" || said.contains("retention policy") {
        return vec![
            "wait until then: the bucket keeps its objects for that long, and a locked policy cannot be shortened by anybody"
                .to_owned(),
            format!("see the policy: `gcloud storage buckets describe gs://{bucket} --format='default(retention_policy)'`"),
            "a store that Velero writes to must not be under a retention policy: it replaces objects of its own".to_owned(),
        ];
    }
    if said.contains("KMS") {
        return vec![kms(bucket)];
    }
    let role = match error.action {
        "read" | "list" => "roles/storage.objectViewer",
        _ => "roles/storage.objectUser",
    };
    let mut hints = vec![format!(
        "allow it to this identity: `gcloud storage buckets add-iam-policy-binding gs://{bucket} --role={role} --member=serviceAccount:NAME`"
    )];
    if error.action == "write" {
        hints.push(
            "replacing an object needs storage.objects.get and storage.objects.delete besides storage.objects.create".to_owned(),
        );
    }
    hints.push(
        "see which identity it is: `gcloud auth application-default print-access-token`, or the `client_email` of the key file"
            .to_owned(),
    );
    hints
}

fn kms(bucket: &str) -> String {
    format!(
        "let the project's Cloud Storage agent use the key: `gcloud storage service-agent --authorize-cmek=KEY`; the key must be in the location of gs://{bucket}"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::failure::GcsFailure, *};

    fn first(status: u16, message: &str, action: &'static str) -> String {
        let body = format!(r#"{{"error": {{"message": "{message}", "errors": [{{"reason": "forbidden"}}]}}}}"#);
        let failure = GcsFailure::of_answer(status, body.as_bytes());
        let kind = failure.kind;
        let error = StorageError { kind, action, key: "a".into(), store: "gs://dx".into(), source: Some(failure.into()) };
        hints(&error, "dx", None).remove(0)
    }

    #[test]
    fn who_may_not_write_learns_what_to_allow() {
        assert!(first(403, "x does not have storage.objects.create access", "write").contains("roles/storage.objectUser"));
        assert!(first(403, "x does not have storage.objects.get access", "read").contains("roles/storage.objectViewer"));
    }

    #[test]
    fn holds_retention_and_keys_are_told_apart() {
        assert!(first(403, "Object 'dx/a' is under active Temporary hold", "delete").contains("--no-temporary-hold"));
        assert!(first(403, "Object 'dx/a' is under active Event-Based hold", "delete").contains("--no-event-based-hold"));
        assert!(first(403, "Object 'dx/a' is subject to bucket's retention policy until x", "delete").contains("wait"));
        assert!(first(403, "Permission denied on Cloud KMS key", "write").contains("--authorize-cmek"));
    }

    #[test]
    fn a_missing_bucket_and_missing_credentials_are_told_apart() {
        assert!(first(404, "The specified bucket does not exist.", "list").contains("buckets create gs://dx"));
        assert!(first(401, "Invalid Credentials", "list").contains("GOOGLE_APPLICATION_CREDENTIALS"));
    }
}
