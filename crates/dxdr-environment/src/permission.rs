//! Rights in a cluster, and the commands by which an administrator grants them.

/// What an account may be lacking: some verbs on some resources at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking<'a> {
    /// `system:serviceaccount:dxdr-system:dxdr`, or a person's name.
    pub user: &'a str,
    /// What the Role is called.
    pub name: &'a str,
    /// `get,list`
    pub verbs: &'a str,
    /// With their groups: `secrets,leases.coordination.k8s.io`
    pub resources: &'a str,
    /// `None`: at the cluster scope.
    pub namespace: Option<&'a str>,
}

impl Lacking<'_> {
    /// The commands that grant this, and no more.
    pub fn grant(&self) -> [String; 2] {
        let Self { user, name, verbs, resources, namespace } = self;
        let (role, binding, option, place) = match namespace {
            Some(namespace) => ("role", "rolebinding", "role", format!(" --namespace {namespace}")),
            None => ("clusterrole", "clusterrolebinding", "clusterrole", String::new()),
        };
        let subject = match user.strip_prefix("system:serviceaccount:") {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user='{user}'"),
        };
        [
            format!("kubectl create {role} {name}{place} --verb={verbs} --resource={resources}"),
            format!("kubectl create {binding} {name}{place} --{option}={name} {subject}"),
        ]
    }
}
