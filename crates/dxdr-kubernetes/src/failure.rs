//! What went wrong, read from a `Status`, from an answer that is none, or from a broken connection.

use std::{error::Error, io, time::Duration};

use dxdr_provider::ClusterErrorKind as Kind;
use http::StatusCode;
use serde::Deserialize;

/// A request that failed, before the words for it are complete.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The server has certainly done nothing, so a write may be sent again.
    pub(crate) nothing_happened: bool,
    /// The same request can only fail the same way, although its kind is a passing one (a certificate does not verify).
    pub(crate) permanent: bool,
    /// A whole time limit went by.
    pub(crate) took_too_long: bool,
    /// 404 of the object itself, not of its kind.
    pub(crate) object_missing: bool,
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            nothing_happened: false,
            permanent: false,
            took_too_long: false,
            object_missing: false,
            source: None,
        }
    }

    pub(crate) fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    fn unsent(self) -> Self {
        Self { nothing_happened: true, ..self }
    }

    fn permanent(self) -> Self {
        Self { permanent: true, ..self }
    }

    pub(crate) fn too_long(self) -> Self {
        Self { took_too_long: true, ..self }
    }
}

/// `Status`, the API's answer when something failed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    kind: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    name: Option<String>,
    kind: Option<String>,
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cause {
    reason: Option<String>,
}

/// The failure that an answer other than 2xx reports.
pub(crate) fn of_answer(code: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let status = serde_json::from_slice::<Status>(body).ok().filter(|status| status.kind.as_deref() == Some("Status"));
    let said = status.is_some();
    let status = status.unwrap_or_default();
    let details = status.details.unwrap_or_default();
    let reason = status.reason.unwrap_or_default();
    let message = match status.message {
        Some(message) if !message.is_empty() => message,
        _ if !reason.is_empty() => format!("HTTP {} {reason}", code.as_u16()),
        _ => unstructured(code, body),
    };
    if !said && code == StatusCode::BAD_REQUEST && message.contains("HTTP request to an HTTPS server") {
        let text = "it speaks HTTPS only, and is addressed with http://: correct `server` of the cluster in the kubeconfig";
        return Failure::new(Kind::Unreachable, text);
    }
    let caused_by = |wanted: &str| details.causes.iter().flatten().any(|cause| cause.reason.as_deref() == Some(wanted));
    let retry_after = retry_after.or(details.retry_after_seconds.map(Duration::from_secs));

    let kind = if denied_by_admission(&message) {
        Kind::DeniedByAdmission
    } else {
        match code.as_u16() {
            401 => Kind::Unauthenticated,
            403 if caused_by("NamespaceTerminating") || message.contains("because it is being terminated") => {
                Kind::NamespaceTerminating
            }
            403 if message.contains("exceeded quota:") => Kind::QuotaExceeded,
            403 if refused_by_plugin(&message) => Kind::DeniedByAdmission,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            409 if reason == "AlreadyExists" => Kind::AlreadyExists,
            409 => Kind::Conflict,
            410 => Kind::Expired,
            // A continuation token that makes no sense to the server any more is answered with 400 and this reason.
            _ if reason == "Expired" || reason == "ResourceExpired" => Kind::Expired,
            400 | 413 | 422 => Kind::Invalid,
            429 => Kind::TooManyRequests(retry_after),
            408 | 504 => Kind::TimedOut,
            500..=599 => Kind::Unavailable,
            _ => Kind::Other,
        }
    };
    // Parallel creates race for the quota's own object; the loser is answered with a conflict and nothing was stored.
    let lost_quota_race = kind == Kind::Conflict && details.kind.as_deref() == Some("resourcequotas");
    Failure {
        nothing_happened: matches!(kind, Kind::TooManyRequests(_)) || lost_quota_race,
        object_missing: kind == Kind::NotFound
            && said
            && (details.name.is_some() || !message.contains("could not find the requested resource")),
        ..Failure::new(kind, message)
    }
}

/// A webhook's or an admission policy's no, which may carry any code.
fn denied_by_admission(message: &str) -> bool {
    (message.contains("admission webhook") && message.contains("denied the request"))
        || (message.contains("AdmissionPolicy '") && message.contains("denied request"))
        || message.contains("violates PodSecurity ")
}

/// An admission plugin's no. The authorizer's always names the user (`User "x" cannot list …`, `user "x" … is attempting to grant`);
/// the plugins' (limit ranges, service accounts, protected namespaces) never do.
fn refused_by_plugin(message: &str) -> bool {
    message.split_once(" is forbidden: ").is_some_and(|(_, why)| {
        !why.starts_with("User \"") && !why.starts_with("user \"") && !why.contains("not yet ready to handle")
    })
}

/// What to say of an answer that is no `Status`: a proxy's page, plain text, nothing.
fn unstructured(code: StatusCode, body: &[u8]) -> String {
    const ENOUGH: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * ENOUGH)]);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|character| !character.is_control()).take(ENOUGH).collect();
    let name = code.canonical_reason().unwrap_or("unknown status");
    if line.is_empty() { format!("HTTP {} {name}", code.as_u16()) } else { format!("HTTP {} {name}: {line}", code.as_u16()) }
}

/// The failure of a request that got no answer, or half of one.
pub(crate) fn of_transport(error: &kube::Error, connect_limit: Duration) -> Failure {
    if let kube::Error::Auth(error) = error {
        return Failure::new(Kind::Unauthenticated, credential_problem(error));
    }
    let mut deepest: String = "the connection broke".into();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        if let Some(kube::Error::Auth(error)) = error.downcast_ref::<kube::Error>() {
            return Failure::new(Kind::Unauthenticated, credential_problem(error));
        }
        let text = error.to_string();
        if text == "dns error" {
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            return Failure::new(Kind::Unreachable, format!("the server's name cannot be resolved{cause}")).unsent();
        }
        if let Some(broken) = error.downcast_ref::<io::Error>() {
            let broken = innermost(broken);
            if let Some(tls) = broken.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return of_tls(tls);
            }
            if let Some(failure) = of_io(broken, connect_limit) {
                return failure;
            }
        }
        deepest = text;
        next = error.source();
    }
    let message = match deepest.as_str() {
        "connection closed before message completed" => "the connection was closed before an answer came".into(),
        "unexpected EOF during chunk size line" | "end of file before message length reached" => {
            "the connection was closed in the middle of the answer".into()
        }
        text if text.starts_with("invalid HTTP") => format!("what answers there does not speak HTTP ({text})"),
        _ => deepest,
    };
    Failure::new(Kind::Unreachable, message)
}

/// TLS wraps errors of the system in errors of the system, and `source` passes over what it wraps.
fn innermost(error: &io::Error) -> &io::Error {
    let mut error = error;
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        error = inner;
    }
    error
}

fn of_io(error: &io::Error, connect_limit: Duration) -> Option<Failure> {
    let unreachable = |message: &str| Failure::new(Kind::Unreachable, message);
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => unreachable("connection refused").unsent(),
        io::ErrorKind::HostUnreachable => unreachable("no route to the host").unsent(),
        io::ErrorKind::NetworkUnreachable => unreachable("the network is unreachable").unsent(),
        // Only connecting has a time limit inside the client: answers are limited outside.
        io::ErrorKind::TimedOut => unreachable(&format!("no connection within {connect_limit:?}")).unsent().too_long(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            unreachable("the connection was reset before an answer came")
        }
        io::ErrorKind::UnexpectedEof => unreachable("the connection was closed in the middle of the answer"),
        _ => return None,
    })
}

fn of_tls(error: &rustls::Error) -> Failure {
    use rustls::{CertificateError, Error as Tls};
    let message = match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate was not issued by a certificate authority that the kubeconfig trusts".into()
        }
        Tls::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "the server's certificate is for another host name".into()
        }
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired".into()
        }
        Tls::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet; is the clock right?".into()
        }
        Tls::AlertReceived(alert) => {
            format!("the server ended the TLS handshake ({alert:?}); is the client certificate its own?")
        }
        Tls::InvalidMessage(_) => "what answers there does not speak TLS".into(),
        other => format!("TLS: {other}"),
    };
    Failure::new(Kind::Unreachable, message).unsent().permanent()
}

/// Words for a failed credential plugin or token file. The plugin's output is left out: it may hold a token.
pub(crate) fn credential_problem(error: &kube::client::AuthError) -> String {
    use kube::client::AuthError;
    match error {
        AuthError::AuthExecRun { out, .. } => {
            // Its command line is left out as well: it shows the variables that the kubeconfig gives it. On a terminal, what it
            // has to say went there.
            let complaint = String::from_utf8_lossy(&out.stderr);
            let complaint = complaint.lines().map(str::trim).rfind(|line| !line.is_empty());
            let complaint = complaint.map_or_else(String::new, |line| format!(": {line}"));
            format!("the credential plugin failed with {}{complaint}", out.status)
        }
        AuthError::AuthExecStart(error) => format!("the credential plugin cannot be started: {error}"),
        AuthError::AuthExecParse(_) => "the credential plugin printed something else than an ExecCredential".into(),
        AuthError::ReadTokenFile(error, path) => format!("cannot read the token file {}: {error}", path.display()),
        AuthError::ParseTokenKey(_) | AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => {
            "the token or password in the kubeconfig cannot be sent as a header".into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_speaks_https_only_is_a_matter_of_the_kubeconfig() {
        let failure = of_answer(StatusCode::BAD_REQUEST, None, b"Client sent an HTTP request to an HTTPS server.\n");
        assert_eq!(failure.kind, Kind::Unreachable);
        assert!(failure.message.contains("correct `server`"), "{}", failure.message);
    }

    fn of(code: u16, status: &str) -> Failure {
        of_answer(StatusCode::from_u16(code).unwrap(), None, status.as_bytes())
    }

    fn status(reason: &str, message: &str, details: &str) -> String {
        let message = serde_json::to_string(message).unwrap();
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":{message},"reason":"{reason}","details":{details}}}"#
        )
    }

    #[test]
    fn each_status_has_its_kind() {
        let cases = [
            (401, "Unauthorized", "Unauthorized", "{}", Kind::Unauthenticated),
            (
                403,
                "Forbidden",
                r#"pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "a""#,
                "{}",
                Kind::Forbidden,
            ),
            (
                403,
                "Forbidden",
                r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "u" (groups=["g"]) is attempting to grant RBAC permissions not currently held"#,
                "{}",
                Kind::Forbidden,
            ),
            (
                403,
                "Forbidden",
                r#"configmaps "c" is forbidden: unable to create new content in namespace a because it is being terminated"#,
                r#"{"causes":[{"reason":"NamespaceTerminating"}]}"#,
                Kind::NamespaceTerminating,
            ),
            (403, "Forbidden", "x", r#"{"causes":[{"reason":"NamespaceTerminating"}]}"#, Kind::NamespaceTerminating),
            (
                403,
                "Forbidden",
                r#"pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3"#,
                "{}",
                Kind::QuotaExceeded,
            ),
            (
                403,
                "Forbidden",
                r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged"#,
                "{}",
                Kind::DeniedByAdmission,
            ),
            (
                403,
                "Forbidden",
                r#"pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#,
                "{}",
                Kind::DeniedByAdmission,
            ),
            (403, "Forbidden", r#"admission webhook "deny.example.com" denied the request: no"#, "{}", Kind::DeniedByAdmission),
            (400, "BadRequest", r#"admission webhook "deny.example.com" denied the request: no"#, "{}", Kind::DeniedByAdmission),
            (
                422,
                "Invalid",
                r#"configmaps "c" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                "{}",
                Kind::DeniedByAdmission,
            ),
            (404, "NotFound", r#"pods "p" not found"#, r#"{"name":"p","kind":"pods"}"#, Kind::NotFound),
            (409, "AlreadyExists", r#"pods "p" already exists"#, "{}", Kind::AlreadyExists),
            (409, "Conflict", "the object has been modified", "{}", Kind::Conflict),
            (422, "Invalid", "spec.x: Required value", "{}", Kind::Invalid),
            (400, "BadRequest", "strict decoding error", "{}", Kind::Invalid),
            (410, "Expired", "The provided continue parameter is too old", "{}", Kind::Expired),
            (429, "TooManyRequests", "busy", r#"{"retryAfterSeconds":3}"#, Kind::TooManyRequests(Some(Duration::from_secs(3)))),
            (
                500,
                "InternalError",
                r#"Internal error occurred: failed calling webhook "w": connection refused"#,
                "{}",
                Kind::Unavailable,
            ),
            (503, "ServiceUnavailable", "no endpoints", "{}", Kind::Unavailable),
            (504, "Timeout", "timed out", "{}", Kind::TimedOut),
            (405, "MethodNotAllowed", "the server does not allow this method", "{}", Kind::Other),
        ];
        for (code, reason, message, details, kind) in cases {
            let failure = of(code, &status(reason, message, details));
            assert_eq!(failure.kind, kind, "{message}");
            assert_eq!(failure.message, message);
        }
    }

    #[test]
    fn only_a_missing_object_counts_as_missing_not_a_missing_kind() {
        assert!(of(404, &status("NotFound", r#"pods "p" not found"#, r#"{"name":"p","kind":"pods"}"#)).object_missing);
        assert!(!of(404, &status("NotFound", "the server could not find the requested resource", "{}")).object_missing);
        assert!(!of(404, "404 page not found\n").object_missing);
    }

    #[test]
    fn writes_may_be_repeated_only_when_nothing_can_have_happened() {
        assert!(of(429, "{}").nothing_happened);
        let race = "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified";
        assert!(of(409, &status("Conflict", race, r#"{"name":"q","kind":"resourcequotas"}"#)).nothing_happened);
        assert!(!of(409, &status("Conflict", "modified", r#"{"name":"p","kind":"pods"}"#)).nothing_happened);
        assert!(!of(500, "{}").nothing_happened);
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted_in_one_short_line() {
        let page = format!("\n<html>\r\n{}</html>", "x".repeat(5000));
        assert_eq!(of(502, &page).message, "HTTP 502 Bad Gateway: <html>");
        assert_eq!(of(503, "").message, "HTTP 503 Service Unavailable");
        assert!(of(500, &"y".repeat(5000)).message.len() < 300);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    /// As the client builds it: layers of its own around an error of the system.
    fn broken(text: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        let inner = Layer { text, source: Some(cause.into()) };
        let outer = Layer { text: "client error (Connect)", source: Some(Box::new(inner)) };
        of_transport(&kube::Error::Service(Box::new(outer)), Duration::from_secs(5))
    }

    #[test]
    fn broken_connections_are_told_in_plain_words() {
        let refused = broken("tcp connect error", io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!((refused.message.as_str(), refused.nothing_happened), ("connection refused", true));
        let unknown = broken("dns error", io::Error::other("Name or service not known"));
        assert_eq!(unknown.message, "the server's name cannot be resolved: Name or service not known");
        let slow = broken("tcp connect error", io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!((slow.message.as_str(), slow.took_too_long), ("no connection within 5s", true));
        let reset = broken("write error", io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!((reset.kind, reset.nothing_happened), (Kind::Unreachable, false));
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let expired = broken("handshake", io::Error::other(io::Error::new(io::ErrorKind::InvalidData, expired)));
        assert_eq!((expired.message.as_str(), expired.permanent), ("the server's certificate has expired", true));
        let other = broken("x", "something new");
        assert_eq!((other.kind, other.message.as_str()), (Kind::Unreachable, "something new"));
    }
}
