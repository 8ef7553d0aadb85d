//! What the service says when it refuses, and what to do about it: over HTTP, and in operations that are `DONE`.

use dxdr_environment::InstanceName;
use dxdr_provider::{InstanceError, InstanceErrorKind, instance::OperationFailure, quoting::identifier};
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
    // Sentences of the service, which go on in ours.
    let message = status.map_or_else(|| plain(&error), |status| status.message.trim_end_matches('.').to_owned());
    let kind = match error.http_status_code() {
        Some(code) => kind_of(code, reason.as_deref().unwrap_or_default(), &message),
        None => kind_without_answer(&error),
    };
    let hint = Some(hint(kind, &attempt, &message));
    // What the service said is the message; only what broke below it is a cause.
    let source: Option<Box<dyn std::error::Error + Send + Sync>> = if status.is_some() { None } else { Some(Box::new(error)) };
    InstanceError { kind, action: attempt.action, what: attempt.what, message, hint, source }
}

/// A refusal over HTTP, by its parts.
pub(crate) fn of_status(attempt: Attempt<'_>, status: u16, reason: &str, message: &str) -> InstanceError {
    let kind = kind_of(status, reason, message);
    let hint = Some(hint(kind, &attempt, message));
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
        InstanceErrorKind::NameTaken | InstanceErrorKind::NotFound => Some(format!(
            "somebody has made, renamed or dropped a database meanwhile: `gcloud sql databases list --instance {} --project {}` shows what is there; \
             then try again",
            instance.instance, instance.project
        )),
        // In the words of the server, which nobody can foresee.
        _ => Some(format!(
            "the server did not do it, and the log of `{0}` says more: \
             `gcloud logging read 'resource.type=\"cloudsql_database\" severity>=ERROR' --project {1} --freshness 1h`",
            instance.instance, instance.project
        )),
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

/// A request that was not sent, because what has to be known before was not answered in time.
pub(crate) fn not_sent(instance: &InstanceName) -> InstanceError {
    InstanceError {
        kind: InstanceErrorKind::NotSent,
        action: "look at",
        what: format!("instance `{instance}`"),
        message: "no answer in time".to_owned(),
        hint: Some("nothing was asked for yet; try again in a minute".to_owned()),
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
        (400 | 403 | 412, _) if bucket_refuses(message) => InstanceErrorKind::BucketForbidden,
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

/// Whether Cloud Storage refused the account of the instance. The service says so before it accepts an export or import, or when the operation is done.
fn bucket_refuses(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    let says = |part: &str| text.contains(part);
    // Of the caller's own permissions, and of what is in a database.
    if says("permission 'cloudsql.") || says("permission denied for ") {
        return false;
    }
    says("storage.objects.") || says("access denied for") || says("permission") && (says("storage") || says("bucket"))
}

/// What an operation on the instance, which wrote or read `uri`, says that is `DONE` and has an error.
pub(crate) fn of_operation(instance: &InstanceName, uri: Option<&str>, errors: &model::OperationErrors) -> OperationFailure {
    let texts: Vec<String> =
        errors.errors.iter().map(|error| format!("{}: {}", error.code, error.message.trim_end_matches('.'))).collect();
    let message = if texts.is_empty() { "it failed, and the service does not say why".to_owned() } else { texts.join("; ") };
    let text = message.to_ascii_lowercase();
    let says = |part: &str| text.contains(part);
    let kind = if bucket_refuses(&text) || says("access denied") {
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
    let hint = Some(operation_hint(kind, instance, uri, &message));
    OperationFailure { kind, message, hint }
}

/// What to do about a bucket that the instance may not use. Both the account and the bucket may be in what the service says.
fn bucket_hint(InstanceName { project, instance }: &InstanceName, uri: Option<&str>, message: &str) -> String {
    let words =
        || message.split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | '`' | '\'' | '"' | '(' | ')'));
    let account = words().map(|word| word.trim_end_matches(['.', ':'])).find(|word| word.ends_with(".iam.gserviceaccount.com"));
    let bucket = uri.or_else(|| words().find(|word| word.starts_with("gs://"))).and_then(|uri| uri.strip_prefix("gs://"));
    let bucket = bucket.and_then(|rest| rest.split(['/', ':']).next()).filter(|bucket| !bucket.is_empty()).unwrap_or("BUCKET");
    let lets = format!(
        "`gcloud storage buckets add-iam-policy-binding gs://{bucket} --member serviceAccount:{} --role roles/storage.objectAdmin` lets it",
        account.unwrap_or("ACCOUNT")
    );
    let whose = "the account of the *instance* writes and reads the bucket, not yours";
    match account {
        Some(_) => format!("{whose}: {lets}"),
        None => format!(
            "{whose}: `gcloud sql instances describe {instance} --project {project} --format 'value(serviceAccountEmailAddress)'` names it, {lets}"
        ),
    }
}

/// The role that a server misses: `role "app" does not exist`.
fn role_of(message: &str) -> Option<&str> {
    let (_, behind) = message.split_once("role \"")?;
    let (role, rest) = behind.split_once('"')?;
    rest.starts_with(" does not exist").then_some(role)
}

fn operation_hint(kind: InstanceErrorKind, of: &InstanceName, uri: Option<&str>, message: &str) -> String {
    let InstanceName { project, instance } = of;
    if let (InstanceErrorKind::NotFound, Some(role)) = (kind, role_of(message)) {
        let role = identifier(role);
        return format!(
            "roles are the instance's, and no export has them: `CREATE ROLE {role}`, executed on `{instance}` as `postgres`, makes it"
        );
    }
    match kind {
        InstanceErrorKind::BucketForbidden => bucket_hint(of, uri, message),
        InstanceErrorKind::ObjectExists => {
            "an export never replaces an object: `gcloud storage ls -L` of its URL says who wrote it; take another point, which has another name".to_owned()
        }
        InstanceErrorKind::NameTaken => "the database is not empty: import into a new one".to_owned(),
        InstanceErrorKind::Quota => format!(
            "the disk of the instance or a quota of the project is used up: `gcloud sql instances describe {instance} --project {project}` shows the \
             disk, `gcloud sql instances patch {instance} --project {project} --storage-size GIGABYTES` enlarges it; \
             https://console.cloud.google.com/iam-admin/quotas?project={project} shows the quotas"
        ),
        InstanceErrorKind::NotFound => format!(
            "the bucket, the object or the database is not there: `gcloud sql databases list --instance {instance} --project {project}` and \
             `gcloud storage ls gs://BUCKET` say which"
        ),
        InstanceErrorKind::Unavailable => "Google's own failure: try again later".to_owned(),
        // In the words of the server, which nobody can foresee.
        _ => format!(
            "the log of the instance says more: `gcloud logging read 'resource.type=\"cloudsql_database\" severity>=ERROR' --project {project} --freshness 1h`"
        ),
    }
}

/// The smallest of the service's own roles that has the permission.
fn role(permission: &str) -> &'static str {
    match permission {
        "cloudsql.instances.get"
        | "cloudsql.instances.list"
        | "cloudsql.databases.list"
        | "cloudsql.users.list"
        | "cloudsql.backupRuns.list" => "roles/cloudsql.viewer",
        "cloudsql.instances.export"
        | "cloudsql.instances.update"
        | "cloudsql.databases.create"
        | "cloudsql.backupRuns.create" => "roles/cloudsql.editor",
        // Editors neither clone nor import nor delete.
        _ => "roles/cloudsql.admin",
    }
}

/// What to do about a refusal.
fn hint(kind: InstanceErrorKind, attempt: &Attempt<'_>, message: &str) -> String {
    let InstanceName { project, instance } = attempt.instance;
    match kind {
        InstanceErrorKind::Busy => format!("`dxdr databases operations` says what runs on `{instance}`; it ends by itself"),
        InstanceErrorKind::NotFound => format!(
            "`gcloud sql instances list --project {project}` lists what is there; the manifest of the environment names project and instance"
        ),
        InstanceErrorKind::Disabled => format!("`gcloud services enable sqladmin.googleapis.com --project {project}` switches the API on"),
        InstanceErrorKind::Forbidden => format!(
            "the account needs `{}` in project `{project}`, if that is the right project: `gcloud projects add-iam-policy-binding {project} \
             --member MEMBER --role {}` gives it",
            attempt.permission,
            role(attempt.permission)
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
        InstanceErrorKind::Malformed => {
            "something else answers than Cloud SQL, or a proxy in between: is `cloudSql.endpoint` of the configuration the Admin API, if it is set?"
                .to_owned()
        }
        InstanceErrorKind::BucketForbidden => bucket_hint(attempt.instance, None, message),
        InstanceErrorKind::Invalid | InstanceErrorKind::ObjectExists => format!(
            "it would be refused again: does the environment's manifest say what is there? `gcloud sql instances describe {instance} --project {project}` \
             and `gcloud sql databases list --instance {instance} --project {project}` show it"
        ),
        InstanceErrorKind::Other => format!(
            "what the service means is known to nobody here: `gcloud sql operations list --instance {instance} --project {project}` says whether \
             anything was begun, and https://status.cloud.google.com whether others are told the same"
        ),
    }
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
            (
                403,
                "forbidden",
                "gs://b/: Access denied for service account p1@gcp-sa-cloud-sql.iam.gserviceaccount.com, permissions missing are: [storage.objects.delete]",
                InstanceErrorKind::BucketForbidden,
            ),
            (
                403,
                "",
                "The service account does not have the required permissions for the bucket.",
                InstanceErrorKind::BucketForbidden,
            ),
            (403, "forbidden", "The client is not authorized to make this request.", InstanceErrorKind::Forbidden),
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
        for (message, kind, remedy) in [
            (
                "ERROR:  database \"x\" already exists",
                InstanceErrorKind::NameTaken,
                "gcloud sql databases list --instance i --project p",
            ),
            (
                "ERROR:  database \"x\" does not exist",
                InstanceErrorKind::NotFound,
                "gcloud sql databases list --instance i --project p",
            ),
            ("ERROR:  syntax error", InstanceErrorKind::Invalid, "gcloud logging read"),
        ] {
            let failed = of(message);
            assert!(failed.kind == kind && failed.hint.is_some_and(|hint| hint.contains(remedy)), "{message}");
        }
    }

    #[test]
    fn a_bucket_is_opened_by_the_one_command_that_does_it() {
        let instance = InstanceName::new("p", "i");
        let said = "gs://b/x: Access denied for service account p1@gcp-sa-cloud-sql.iam.gserviceaccount.com, permissions missing are: [storage.objects.delete]";
        let binding = "add-iam-policy-binding gs://b --member serviceAccount:p1@gcp-sa-cloud-sql.iam.gserviceaccount.com --role";
        let hint = bucket_hint(&instance, None, said);
        assert!(hint.contains(binding) && !hint.contains("describe"), "{hint}");
        assert!(
            bucket_hint(&instance, Some("gs://b/o.sql.gz"), "p1@gcp-sa-cloud-sql.iam.gserviceaccount.com may not")
                .contains(binding)
        );
        let unknown = bucket_hint(&instance, None, "no access");
        assert!(unknown.contains("gcloud sql instances describe i --project p") && unknown.contains("gs://BUCKET"), "{unknown}");
    }

    #[test]
    fn a_bucket_refuses_nothing_that_others_refuse() {
        for (message, refuses) in [
            ("missing are: [storage.objects.create]", true),
            ("The service account does not have the required permissions for the bucket.", true),
            ("Permission 'cloudsql.instances.export' denied on resource projects/storage-prod", false),
            ("ERROR: permission denied for table bucket_items", false),
        ] {
            assert_eq!(bucket_refuses(message), refuses, "{message}");
        }
    }

    #[test]
    fn who_may_not_is_told_of_a_role_that_may() {
        let instance = InstanceName::new("p", "i");
        for (permission, role) in [
            ("cloudsql.instances.get", "roles/cloudsql.viewer"),
            ("cloudsql.backupRuns.list", "roles/cloudsql.viewer"),
            ("cloudsql.instances.export", "roles/cloudsql.editor"),
            ("cloudsql.instances.clone", "roles/cloudsql.admin"),
            ("cloudsql.instances.executeSql", "roles/cloudsql.admin"),
        ] {
            let attempt = Attempt { action: "use", what: "instance `i`".to_owned(), permission, instance: &instance };
            let hint = of_status(attempt, 403, "notAuthorized", "").hint.unwrap();
            assert!(hint.contains(permission) && hint.contains(role), "{hint}");
        }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (status, message, kind, remedy) in [
            (400, "Missing parameter", InstanceErrorKind::Invalid, "gcloud sql databases list --instance i --project p"),
            (302, "Found", InstanceErrorKind::Other, "gcloud sql operations list --instance i --project p"),
            (
                403,
                "missing are: [storage.objects.create]",
                InstanceErrorKind::BucketForbidden,
                "gcloud sql instances describe i --project p",
            ),
        ] {
            let instance = InstanceName::new("p", "i");
            let attempt = Attempt {
                action: "export",
                what: "database `a`".to_owned(),
                permission: "cloudsql.instances.export",
                instance: &instance,
            };
            let refused = of_status(attempt, status, "", message);
            assert!(refused.kind == kind && refused.hint.is_some_and(|hint| hint.contains(remedy)), "{status} {message}");
        }
    }

    #[test]
    fn an_operation_that_is_done_and_failed_says_what_to_do() {
        let failure = |code: &str, message: &str| {
            let error = model::OperationError::new().set_code(code).set_message(message);
            of_operation(
                &InstanceName::new("p", "i"),
                Some("gs://b/o.sql.gz"),
                &model::OperationErrors::new().set_errors([error]),
            )
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
        let role = failure("ERROR_RDBMS", "ERROR:  role \"a b\" does not exist");
        assert!(role.hint.unwrap().contains("`CREATE ROLE \"a b\"`, executed on `i` as `postgres`"));
        let unknown = of_operation(&InstanceName::new("p", "i"), Some("gs://b/o.sql.gz"), &model::OperationErrors::new());
        assert!(unknown.kind == InstanceErrorKind::Other && unknown.hint.unwrap().contains("gcloud logging read"));
    }
}
