//! One request: its path, made of names that come from clusters and archives and are therefore not trusted, and its query.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::cluster::{ListScope, WriteOptions};
use http::Method;

pub(crate) const JSON: &str = "application/json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A request before it is sent, with the words for its failure.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) accept: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// For one try, from sending to the last byte of the answer.
    pub(crate) time_limit: Duration,
    pub(crate) action: &'static str,
    pub(crate) object: String,
    /// Whether it may be sent again at all.
    pub(crate) retry: bool,
}

impl Call {
    pub(crate) fn read(target: String, action: &'static str, object: String, time_limit: Duration) -> Self {
        Self {
            method: Method::GET,
            target,
            accept: JSON,
            content_type: JSON,
            body: Bytes::new(),
            time_limit,
            action,
            object,
            retry: true,
        }
    }

    /// Whether sending it twice can do no harm, whatever became of the first.
    pub(crate) fn reads_only(&self) -> bool {
        self.method == Method::GET
    }
}

/// A name that cannot be part of a URL: what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unaddressable(pub(crate) String);

/// Where the objects of a kind are; all namespaces with `None`.
pub(crate) fn collection(kind: &ResourceKind, namespace: Option<&str>) -> Result<String, Unaddressable> {
    let mut path = String::with_capacity(96);
    if kind.group.is_empty() {
        path.push_str("/api");
    } else {
        path.push_str("/apis");
        push_segment(&mut path, "group", &kind.group)?;
    }
    push_segment(&mut path, "version", &kind.version)?;
    if let (true, Some(namespace)) = (kind.namespaced, namespace) {
        path.push_str("/namespaces");
        push_segment(&mut path, "namespace", namespace)?;
    }
    push_segment(&mut path, "resource", &kind.plural)?;
    Ok(path)
}

/// Where the reference's neighbours are: what a create goes to.
pub(crate) fn collection_of(reference: &ObjectReference) -> Result<String, Unaddressable> {
    if reference.kind.namespaced && reference.namespace.is_none() {
        return Err(Unaddressable(format!("{} live in namespaces, and none is named", reference.kind)));
    }
    collection(&reference.kind, reference.namespace.as_deref())
}

/// Where one object is.
pub(crate) fn object(reference: &ObjectReference) -> Result<String, Unaddressable> {
    let mut path = collection_of(reference)?;
    push_segment(&mut path, "name", &reference.name)?;
    Ok(path)
}

/// Adds the query of a page.
pub(crate) fn push_page(target: &mut String, scope: &ListScope, limit: u32, continuation: Option<&str>) {
    let limit = (limit > 0).then(|| limit.to_string());
    push_query(
        target,
        &[("limit", limit.as_deref()), ("labelSelector", scope.label_selector.as_deref()), ("continue", continuation)],
    );
}

/// Adds the query of a watch of what the selectors name. The server ends it after `seconds`.
pub(crate) fn push_watch(target: &mut String, fields: Option<&str>, labels: Option<&str>, resource_version: &str, seconds: u64) {
    push_query(
        target,
        &[
            ("watch", Some("true")),
            ("fieldSelector", fields),
            ("labelSelector", labels),
            ("resourceVersion", Some(resource_version)),
            ("timeoutSeconds", Some(&seconds.to_string())),
        ],
    );
}

/// Adds the query of a write.
///
/// Where the object is sent whole, the server need not look for fields that it does not know: it would decode the body a second time, and
/// only warn. Whoever cares compares the answer with what was sent.
pub(crate) fn push_write(target: &mut String, options: &WriteOptions, force: Option<bool>) {
    let force = force.map(|force| if force { "true" } else { "false" });
    let dry_run = options.dry_run.then_some("All");
    let validation = force.is_none().then_some("Ignore");
    push_query(
        target,
        &[("fieldManager", Some(&options.manager)), ("force", force), ("dryRun", dry_run), ("fieldValidation", validation)],
    );
}

fn push_query(target: &mut String, pairs: &[(&str, Option<&str>)]) {
    let mut separator = '?';
    for (key, value) in pairs {
        if let Some(value) = value {
            target.push(separator);
            target.push_str(key);
            target.push('=');
            push_encoded(target, value);
            separator = '&';
        }
    }
}

/// Adds `/value`. A name out of an archive may say `..` or hold a slash: it must not lead anywhere else.
fn push_segment(path: &mut String, what: &str, value: &str) -> Result<(), Unaddressable> {
    if value.is_empty() || value == "." || value == ".." {
        return Err(Unaddressable(format!("{value:?} is no {what}")));
    }
    path.push('/');
    push_encoded(path, value);
    Ok(())
}

fn push_encoded(target: &mut String, value: &str) {
    for byte in value.bytes() {
        // `:` is common in the names of roles, and allowed in paths and queries.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            target.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, plural: &str, namespaced: bool) -> ResourceKind {
        ResourceKind { group: group.into(), version: "v1".into(), kind: "Kind".into(), plural: plural.into(), namespaced }
    }

    fn reference(kind: ResourceKind, namespace: Option<&str>, name: &str) -> ObjectReference {
        ObjectReference { kind, namespace: namespace.map(Into::into), name: name.into() }
    }

    #[test]
    fn paths_follow_group_scope_and_name() {
        let deployment = reference(kind("apps", "deployments", true), Some("staging"), "api");
        assert_eq!(object(&deployment), Ok("/apis/apps/v1/namespaces/staging/deployments/api".into()));
        assert_eq!(collection(&deployment.kind, None), Ok("/apis/apps/v1/deployments".into()));
        let namespace = reference(kind("", "namespaces", false), None, "staging");
        assert_eq!(object(&namespace), Ok("/api/v1/namespaces/staging".into()));
        let role = reference(kind("rbac.authorization.k8s.io", "clusterroles", false), None, "system:node");
        assert_eq!(object(&role), Ok("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node".into()));
    }

    #[test]
    fn hostile_names_stay_inside_their_segment() {
        let pods = kind("", "pods", true);
        let hostile = reference(pods.clone(), Some("a"), "../../secrets/x?force=true#");
        assert_eq!(object(&hostile), Ok("/api/v1/namespaces/a/pods/..%2F..%2Fsecrets%2Fx%3Fforce%3Dtrue%23".into()));
        for name in ["", ".", ".."] {
            assert!(object(&reference(pods.clone(), Some("a"), name)).is_err());
        }
        assert!(object(&reference(pods, None, "x")).is_err());
    }

    #[test]
    fn queries_hold_what_was_asked_only() {
        let mut target = String::from("/api/v1/pods");
        let scope = ListScope { namespace: None, label_selector: Some("app in (a, b)".into()) };
        push_page(&mut target, &scope, 500, Some("abc=="));
        assert_eq!(target, "/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2C%20b%29&continue=abc%3D%3D");
        let mut target = String::from("/api/v1/pods");
        push_write(&mut target, &WriteOptions { manager: "dxdr".into(), dry_run: true, retry: true }, Some(false));
        assert_eq!(target, "/api/v1/pods?fieldManager=dxdr&force=false&dryRun=All");
    }
}
