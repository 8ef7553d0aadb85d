//! What to do about a failure.

use dxdr_provider::{ClusterError, ClusterErrorKind as Kind};

use crate::denied::Denied;

/// What to do next, most likely remedy first. Empty where nothing better can be said than the error itself.
pub fn hints(error: &ClusterError) -> Vec<String> {
    let one = |hint: &str| vec![hint.to_owned()];
    match &error.kind {
        Kind::Unreachable if error.message.contains("certificate") || error.message.contains("TLS") => vec![
            "check `certificate-authority` and `server` of the cluster in the kubeconfig; a recreated cluster has new certificates"
                .into(),
            format!("this is the cluster that was asked: {}", error.cluster),
        ],
        Kind::Unreachable => vec![
            format!("check that the API server runs and can be reached from here: {}", error.cluster),
            "another cluster is chosen with --context; `kubectl config get-contexts` lists them".into(),
        ],
        Kind::Unauthenticated => one("log in to the cluster again, or choose a context with valid credentials with --context"),
        Kind::Forbidden => forbidden(error),
        Kind::NamespaceTerminating => vec![
            "wait until the namespace is gone, or restore into another one".into(),
            "if it does not go away, `kubectl get namespace NAME -o yaml` says in status.conditions what holds it".into(),
        ],
        Kind::QuotaExceeded => {
            one("raise the ResourceQuota, or remove what uses it up: `kubectl describe resourcequota` shows used and hard")
        }
        Kind::DeniedByAdmission => {
            one("change the object so that the policy accepts it, or make an exception in the policy named above")
        }
        Kind::NotFound if error.action == "create" && error.message.starts_with("namespaces \"") => {
            one("create the namespace first")
        }
        Kind::NotFound => {
            one("check that the cluster serves this kind: `kubectl api-resources`; a CustomResourceDefinition may be missing")
        }
        Kind::Conflict if error.action == "apply" => {
            one("another field manager owns these fields; `kubectl get --show-managed-fields -o yaml` names it")
        }
        Kind::Conflict => one("it was changed in the meantime: look at it and run the command again"),
        Kind::Expired => one("the list took too long to read: run the command again"),
        Kind::TooManyRequests(_) => one("the API server is busy: run the command again later, or with fewer requests in flight"),
        Kind::TimedOut => one(
            "the API server is slow or a webhook of its is: run the command again, `kubectl get --raw /readyz?verbose` tells more",
        ),
        Kind::Unavailable => match webhook(&error.message) {
            Some(webhook) => vec![
                format!("the webhook `{webhook}` does not answer: see that the workload behind it runs"),
                "its configuration is listed by `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations`; where what answers is itself to be restored, its failurePolicy can be `Ignore` meanwhile".into(),
            ],
            None => one("the API server has a problem of its own: `kubectl get --raw /readyz?verbose` tells more"),
        },
        Kind::Malformed => {
            vec![format!("what answers there may be no API server, or a proxy between may change its answers: {}", error.cluster)]
        }
        Kind::AlreadyExists | Kind::Invalid | Kind::Other => Vec::new(),
    }
}

/// What is missing, who can grant it, and how to ask the server the same question.
fn forbidden(error: &ClusterError) -> Vec<String> {
    let other = "or choose a context with more rights with --context".to_owned();
    let Some(denied) = Denied::of(&error.message) else {
        return vec!["the account may not do this: grant it with a Role or ClusterRole".to_owned(), other];
    };
    let [role, binding] = denied.grant(&denied.verb);
    vec![denied.text(), format!("an administrator grants it: `{role}` and `{binding}`"), other]
}

fn webhook(message: &str) -> Option<&str> {
    message.split_once("failed calling webhook \"")?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind, action: &'static str, object: &str, message: &str) -> ClusterError {
        ClusterError {
            kind,
            action,
            object: object.into(),
            cluster: "context `dev` (https://127.0.0.1:6443)".into(),
            message: message.into(),
            source: None,
        }
    }

    #[test]
    fn a_forbidden_list_names_the_right_that_is_missing() {
        let message = r#"pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "a""#;
        let hints = hints(&error(Kind::Forbidden, "list", "pods in a", message));
        assert_eq!(hints[0], "the account `u` lacks the verb `list` on `pods` in namespace `a`");
        assert!(hints[1].contains("kubectl create role dxdr-pods --namespace a --verb=list --resource=pods"), "{hints:?}");
    }

    #[test]
    fn a_webhook_that_is_down_is_named() {
        let message = r#"Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: refused"#;
        assert!(hints(&error(Kind::Unavailable, "create", "pods a/b", message))[0].contains("`check.example.com`"));
    }
}
