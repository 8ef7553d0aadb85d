//! Who was denied what: the authorizer's words, read.

use dxdr_environment::permission::Lacking;

/// A request that the authorizer refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// `system:serviceaccount:dxdr-system:dxdr`
    pub user: String,
    /// `list`
    pub verb: String,
    /// With its group: `leases.coordination.k8s.io`
    pub resource: String,
    /// `None`: at the cluster scope.
    pub namespace: Option<String>,
}

impl Denied {
    /// From what the server says: `secrets is forbidden: User "u" cannot list resource "secrets" in API group "" in the namespace "a"`.
    pub fn of(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once("User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest.split_once("in the namespace \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name);
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        Some(Self { user: user.to_owned(), verb: verb.to_owned(), resource, namespace: namespace.map(str::to_owned) })
    }

    /// What is missing, in words.
    pub fn text(&self) -> String {
        let place = match &self.namespace {
            Some(namespace) => format!("in namespace `{namespace}`"),
            None => "at the cluster scope".to_owned(),
        };
        format!("the account `{}` lacks the verb `{}` on `{}` {place}", self.user, self.verb, self.resource)
    }

    /// The commands by which an administrator grants `verbs` (`get,list`) on the resource, and no more.
    pub fn grant(&self, verbs: &str) -> [String; 2] {
        let resource = self.resource.as_str();
        let name = format!("dxdr-{}", resource.split(['.', '/']).next().unwrap_or(resource));
        let namespace = self.namespace.as_deref();
        Lacking { user: &self.user, name: &name, verbs, resources: resource, namespace }.grant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorizer_s_words_become_the_commands_that_grant_it() {
        let message = r#"leases.coordination.k8s.io "dxdr-staging" is forbidden: User "system:serviceaccount:ops:dxdr" cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "dxdr-system""#;
        let denied = Denied::of(message).unwrap();
        assert_eq!(
            denied.text(),
            "the account `system:serviceaccount:ops:dxdr` lacks the verb `get` on `leases.coordination.k8s.io` in namespace `dxdr-system`"
        );
        assert_eq!(
            denied.grant("get,update"),
            [
                "kubectl create role dxdr-leases --namespace dxdr-system --verb=get,update --resource=leases.coordination.k8s.io",
                "kubectl create rolebinding dxdr-leases --namespace dxdr-system --role=dxdr-leases --serviceaccount=ops:dxdr",
            ]
        );
    }

    #[test]
    fn what_has_no_namespace_needs_a_cluster_role() {
        let message =
            r#"namespaces is forbidden: User "kim" cannot create resource "namespaces" in API group "" at the cluster scope"#;
        let [role, binding] = Denied::of(message).unwrap().grant("create");
        assert_eq!(role, "kubectl create clusterrole dxdr-namespaces --verb=create --resource=namespaces");
        assert_eq!(binding, "kubectl create clusterrolebinding dxdr-namespaces --clusterrole=dxdr-namespaces --user='kim'");
        assert_eq!(Denied::of(r#"pods "p" is forbidden: exceeded quota: q"#), None);
    }
}
