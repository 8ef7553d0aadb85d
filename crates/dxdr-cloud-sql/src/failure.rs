//! What the service says when it refuses, and what to do about it: over HTTP, and in operations that are `DONE`.

use dxdr_environment::InstanceName;
use dxdr_provider::{InstanceError, InstanceErrorKind, instance::OperationFailure};
use google_cloud_gax::error::{Error, rpc::StatusDetails};
use google_cloud_sql_v1::model;

/// What was tried.
pub(crate) struct Attempt<'a> {
    pub(crate) action: &'static str,
    pub(crate) what: String,
    /// The permission that it takes.
    pub(crate) permission: &'static str,
    pub(crate) instance: &'a InstanceName,
}

/// An answer of the service that is an error, or no answer.
pub(crate) fn of_answer(attempt: Attempt<'_>, error: Error) -> InstanceError {
    let status = error.status();
    let reason = status.and_then(|status| status.details.iter().find_map(reason_of));
    let message = status.map_or_else(|| plain(&error), |status| status.message.clone());
    let kind = match error.http_status_code() {
        Some(code) => kind_of(code, reason.as_deref().unwrap_or_default(), &message),
        None => kind_without_answer(&error),
    };
    let hint = hint(kind, &attempt);
    // What the service said is the message; only what broke below it is a cause.
    let source: Option<Box<dyn std::error::Error + Send + Sync>> = if status.is_some() { None } else { Some(Box::new(error)) };
    InstanceError { kind, action: attempt.action, what: attempt.what, message, hint, source }
}

/// A refusal over HTTP, by its parts.
pub(crate) fn of_status(attempt: Attempt<'_>, status: u16, reason: &str, message: &str) -> InstanceError {
    let kind = kind_of(status, reason, message);
    let hint = hint(kind, &attempt);
    InstanceError { kind, action: attempt.action, what: attempt.what, message: message.to_owned(), hint, source: None }
}

/// A refusal of statements: the same, but for what has to be allowed first.
pub(crate) fn of_query(attempt: Attempt<'_>, error: Error) -> InstanceError {
    let InstanceName { project, instance } = attempt.instance;
    let allow = format!("`gcloud sql instances patch {instance} --project {project} --data-api-access=ALLOW_DATA_API` allows it");
    let failed = of_answer(attempt, error);
    let hint = if failed.message.to_ascii_lowercase().contains("data api") { Some(allow) } else { failed.hint };
    InstanceError { hint, ..failed }
}

/// A statement that failed, in the words of PostgreSQL.
pub(crate) fn of_statement(instance: &InstanceName, what: String, message: String) -> InstanceError {
    let text = message.to_ascii_lowercase();
    let says = |part: &str| text.contains(part);
    let kind = if says("being accessed by other users") {
        InstanceErrorKind::Busy
    } else if says("must be owner") || says("permission denied") || says("must be a member") {
        InstanceErrorKind::Forbidden
    } else if says("already exists") {
        InstanceErrorKind::NameTaken
    } else if says("does not exist") {
        InstanceErrorKind::NotFound
    } else {
        InstanceErrorKind::Invalid
    };
    let hint = match kind {
        InstanceErrorKind::Busy => {
            Some("somebody connects again and again: stop the applications that do, and try again".to_owned())
        }
        InstanceErrorKind::Forbidden => Some(format!(
            "statements are executed as the account's own user of `{}`, by IAM: `GRANT cloudsqlsuperuser TO \"ACCOUNT\"` lets it see and rename databases",
            instance.instance
        )),
        _ => None,
    };
    InstanceError { kind, action: "query", what, message, hint, source: None }
}

/// A name that the API would take for another one.
pub(crate) fn of_name(instance: &InstanceName, database: &str) -> InstanceError {
    InstanceError {
        kind: InstanceErrorKind::Invalid,
        action: "delete",
        what: format!("database `{}` of `{instance}`", database.escape_debug()),
        message: "its name cannot be a part of a URL, by which the service is told what to delete".to_owned(),
        hint: Some("drop it by SQL, with its name in double quotes: `DROP DATABASE`".to_owned()),
        source: None,
    }
}

fn reason_of(details: &StatusDetails) -> Option<String> {
    match details {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.clone()),
        _ => None,
    }
}

fn plain(error: &Error) -> String {
    if error.is_authentication() {
        "the credentials cannot be used".to_owned()
    } else if error.is_timeout() || error.is_exhausted() {
        "no answer in time".to_owned()
    } else if error.is_deserialization() {
        "the answer cannot be understood".to_owned()
    } else if error.is_connect() {
        "nothing answers there".to_owned()
    } else {
        "the connection broke".to_owned()
    }
}

fn kind_without_answer(error: &Error) -> InstanceErrorKind {
    if error.is_authentication() {
        InstanceErrorKind::Unauthenticated
    } else if error.is_timeout() || error.is_exhausted() {
        InstanceErrorKind::TimedOut
    } else if error.is_deserialization() {
        InstanceErrorKind::Malformed
    } else if error.is_binding() || error.is_serialization() {
        InstanceErrorKind::Invalid
    } else {
        InstanceErrorKind::Unreachable
    }
}

/// Reasons come first: the same one comes with several codes, and the same code means several things.
fn kind_of(code: u16, reason: &str, message: &str) -> InstanceErrorKind {
    let says = |text: &str| message.to_ascii_lowercase().contains(text);
    match (code, reason) {
        (_, "operationInProgress") => InstanceErrorKind::Busy,
        (_, "instanceAlreadyExists") => InstanceErrorKind::NameTaken,
        (_, "rateLimitExceeded" | "userRateLimitExceeded" | "RATE_LIMIT_EXCEEDED") | (429, _) => InstanceErrorKind::Throttled,
        (_, "quotaExceeded" | "dailyLimitExceeded") => InstanceErrorKind::Quota,
        (_, "accessNotConfigured" | "SERVICE_DISABLED") => InstanceErrorKind::Disabled,
        (_, "deletionProtected") => InstanceErrorKind::Protected,
        (_, "instanceNotRunning") => InstanceErrorKind::Stopped,
        (_, "invalidPointInTime") => InstanceErrorKind::OutsideWindow,
        (401, _) => InstanceErrorKind::Unauthenticated,
        (403, _) => InstanceErrorKind::Forbidden,
        (404, _) => InstanceErrorKind::NotFound,
        (400 | 409 | 412, _) if says("already exists") || says("can't reuse the name") => InstanceErrorKind::NameTaken,
        (409, _) => InstanceErrorKind::Busy,
        (400 | 412, _) if says("deletion protection") => InstanceErrorKind::Protected,
        (400 | 412, _) if says("not running") || says("stopped") || says("suspended") => InstanceErrorKind::Stopped,
        (400 | 412, _) if says("point in time") || says("recovery window") => InstanceErrorKind::OutsideWindow,
        (400 | 412, _) if says("quota") => InstanceErrorKind::Quota,
        (408, _) => InstanceErrorKind::TimedOut,
        (500.., _) => InstanceErrorKind::Unavailable,
        (400..500, _) => InstanceErrorKind::Invalid,
        _ => InstanceErrorKind::Other,
    }
}

/// What an operation says that is `DONE` and has an error.
pub(crate) fn of_operation(project: &str, errors: &model::OperationErrors) -> OperationFailure {
    let texts: Vec<String> = errors.errors.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
    let message = if texts.is_empty() { "it failed, and the service does not say why".to_owned() } else { texts.join("; ") };
    let text = message.to_ascii_lowercase();
    let says = |part: &str| text.contains(part);
    let kind = if says("storage.objects.") || says("access denied") || (says("permission") && says("storage")) {
        InstanceErrorKind::BucketForbidden
    } else if says("already exists") && (says("object") || says("gs://")) {
        InstanceErrorKind::ObjectExists
    } else if says("already exists") {
        InstanceErrorKind::NameTaken
    } else if says("quota") || says("disk full") || says("no space left") {
        InstanceErrorKind::Quota
    } else if says("does not exist") || says("not found") {
        InstanceErrorKind::NotFound
    } else if says("internal_error") || says("unknown error") {
        InstanceErrorKind::Unavailable
    } else {
        InstanceErrorKind::Other
    };
    OperationFailure { kind, message, hint: operation_hint(kind, project) }
}

fn operation_hint(kind: InstanceErrorKind, project: &str) -> Option<String> {
    let hint = match kind {
        InstanceErrorKind::BucketForbidden => format!(
            "the account of the *instance* writes and reads the bucket, not yours: `gcloud sql instances describe INSTANCE --project {project} \
             --format 'value(serviceAccountEmailAddress)'` names it, `gcloud storage buckets add-iam-policy-binding gs://BUCKET \
             --member serviceAccount:ACCOUNT --role roles/storage.objectAdmin` lets it"
        ),
        InstanceErrorKind::ObjectExists => {
            "an export never replaces an object: somebody else writes there; another attempt takes another name".to_owned()
        }
        InstanceErrorKind::NameTaken => "the database is not empty: import into a new one".to_owned(),
        InstanceErrorKind::Quota => "the instance's disk or a quota of the project is used up: enlarge it".to_owned(),
        InstanceErrorKind::NotFound => {
            "the bucket, the object or the database is not there: `gcloud sql databases list` and `gcloud storage ls` say which"
                .to_owned()
        }
        InstanceErrorKind::Unavailable => "Google's own failure: try again later".to_owned(),
        // In the words of the server, which nobody can foresee.
        _ => format!(
            "the log of the instance says more: `gcloud logging read 'resource.type=\"cloudsql_database\" severity>=ERROR' --project {project} --freshness 1h`"
        ),
    };
    Some(hint)
}

/// What to do about a refusal.
fn hint(kind: InstanceErrorKind, attempt: &Attempt<'_>) -> Option<String> {
    let InstanceName { project, instance } = attempt.instance;
    let hint = match kind {
        InstanceErrorKind::Busy => format!("`dxdr databases operations` says what runs on `{instance}`; it ends by itself"),
        InstanceErrorKind::NotFound => format!(
            "`gcloud sql instances list --project {project}` lists what is there; the manifest of the environment names project and instance"
        ),
        InstanceErrorKind::Disabled => format!("`gcloud services enable sqladmin.googleapis.com --project {project}` switches the API on"),
        InstanceErrorKind::Forbidden => format!(
            "the account needs `{}` in project `{project}`, if that is the right project: `gcloud projects add-iam-policy-binding {project} \
             --member MEMBER --role roles/cloudsql.editor` gives it",
            attempt.permission
        ),
        InstanceErrorKind::Unauthenticated => {
            "`gcloud auth application-default login` renews the credentials; `GOOGLE_APPLICATION_CREDENTIALS` names a file of others"
                .to_owned()
        }
        InstanceErrorKind::NameTaken if attempt.permission == "cloudsql.databases.create" => format!(
            "there is a database of that name: `gcloud sql databases list --instance {instance} --project {project}` lists them; take another name, or \
             drop it if nobody needs it"
        ),
        InstanceErrorKind::NameTaken => {
            "the name of a deleted instance stays taken for a week: another attempt takes another name".to_owned()
        }
        InstanceErrorKind::Stopped => {
            format!("`gcloud sql instances patch {instance} --project {project} --activation-policy ALWAYS` starts it")
        }
        InstanceErrorKind::OutsideWindow => {
            "`dxdr databases instances` says from when to when it can be recovered; an earlier instant needs an export".to_owned()
        }
        InstanceErrorKind::Protected => format!(
            "it is protected on purpose; `gcloud sql instances patch {instance} --project {project} --no-deletion-protection` ends that"
        ),
        InstanceErrorKind::Quota => {
            format!("`https://console.cloud.google.com/iam-admin/quotas?project={project}` shows which quota, and raises it")
        }
        InstanceErrorKind::Throttled | InstanceErrorKind::Unavailable => "try again in a minute".to_owned(),
        InstanceErrorKind::Unreachable | InstanceErrorKind::TimedOut | InstanceErrorKind::NotSent => {
            "is there a way to sqladmin.googleapis.com, or to the endpoint that is configured?".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_count_more_than_codes() {
        for (code, reason, message, kind) in [
            (409, "operationInProgress", "", InstanceErrorKind::Busy),
            (403, "operationInProgress", "", InstanceErrorKind::Busy),
            (409, "instanceAlreadyExists", "", InstanceErrorKind::NameTaken),
            (409, "", "you can't reuse the name of the deleted instance", InstanceErrorKind::NameTaken),
            (409, "", "", InstanceErrorKind::Busy),
            (403, "notAuthorized", "", InstanceErrorKind::Forbidden),
            (403, "accessNotConfigured", "", InstanceErrorKind::Disabled),
            (403, "rateLimitExceeded", "", InstanceErrorKind::Throttled),
            (403, "quotaExceeded", "", InstanceErrorKind::Quota),
            (404, "instanceDoesNotExist", "", InstanceErrorKind::NotFound),
            (400, "", "Invalid request: the instance is not running.", InstanceErrorKind::Stopped),
            (400, "invalid", "Missing parameter", InstanceErrorKind::Invalid),
            (400, "invalid", "database \"shop\" already exists", InstanceErrorKind::NameTaken),
            (503, "", "", InstanceErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(code, reason, message), kind, "{code} {reason} {message}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_refused_counts_as_unknown() {
        for kind in [InstanceErrorKind::Unavailable, InstanceErrorKind::TimedOut, InstanceErrorKind::Unreachable] {
            assert!(!kind.definite());
        }
        assert!(InstanceErrorKind::Busy.definite() && InstanceErrorKind::Forbidden.definite());
    }

    #[test]
    fn a_statement_that_fails_says_whether_to_wait_or_to_grant() {
        let of = |message: &str| of_statement(&InstanceName::new("p", "i"), "database `a`".to_owned(), message.to_owned());
        let busy = of("ERROR:  database \"orders\" is being accessed by other users");
        assert!(busy.kind == InstanceErrorKind::Busy && busy.kind.retryable() && busy.hint.is_some());
        for message in ["ERROR:  must be owner of database orders", "ERROR:  permission denied to rename database"] {
            let forbidden = of(message);
            assert_eq!(forbidden.kind, InstanceErrorKind::Forbidden);
            assert!(forbidden.hint.unwrap().contains("GRANT cloudsqlsuperuser"));
        }
        assert_eq!(of("ERROR:  database \"x\" already exists").kind, InstanceErrorKind::NameTaken);
        assert_eq!(of("ERROR:  syntax error").kind, InstanceErrorKind::Invalid);
    }

    #[test]
    fn an_operation_that_is_done_and_failed_says_what_to_do() {
        let failure = |code: &str, message: &str| {
            let error = model::OperationError::new().set_code(code).set_message(message);
            of_operation("p", &model::OperationErrors::new().set_errors([error]))
        };
        for (message, kind) in [
            (
                "a@b does not have storage.objects.create access to the Google Cloud Storage object.",
                InstanceErrorKind::BucketForbidden,
            ),
            ("The Google Cloud Storage object gs://a/b already exists.", InstanceErrorKind::ObjectExists),
            ("ERROR: relation already exists", InstanceErrorKind::NameTaken),
            ("FATAL: database \"x\" does not exist", InstanceErrorKind::NotFound),
        ] {
            let failure = failure("ERROR_RDBMS", message);
            assert_eq!(failure.kind, kind, "{message}");
            assert!(failure.hint.is_some() && failure.message.starts_with("ERROR_RDBMS: "));
        }
        let unknown = of_operation("p", &model::OperationErrors::new());
        assert!(unknown.kind == InstanceErrorKind::Other && unknown.hint.unwrap().contains("gcloud logging read"));
    }
}
