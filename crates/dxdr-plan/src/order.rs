//! In which order kinds are restored, and why there. Archives are written in the same order, so that ours are read in few passes.

use std::fmt;

/// A group of kinds that may be restored together, after all groups before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageName {
    /// CustomResourceDefinitions.
    Definitions,
    /// Namespaces.
    Namespaces,
    /// Classes of storage, priority, ingress, runtime.
    Classes,
    /// PersistentVolumes.
    Volumes,
    /// ServiceAccounts.
    Accounts,
    /// Roles and ClusterRoles.
    Roles,
    /// RoleBindings and ClusterRoleBindings.
    Bindings,
    /// LimitRanges, and quotas that exist already and change.
    Limits,
    /// ConfigMaps, Secrets, SealedSecrets.
    Configuration,
    /// PersistentVolumeClaims.
    Claims,
    /// Services and endpoints made by hand.
    Services,
    /// NetworkPolicies.
    NetworkPolicies,
    /// Custom resources that make what workloads wait for.
    Prerequisites,
    /// Deployments, StatefulSets, DaemonSets, Pods.
    Workloads,
    /// Autoscalers and disruption budgets.
    Scaling,
    /// Ingresses and other ways in.
    Routes,
    /// Everything that no other stage knows.
    Others,
    /// CronJobs and Jobs.
    Jobs,
    /// ResourceQuotas.
    Quotas,
    /// Webhooks, admission policies, aggregated APIs.
    Gates,
}

impl StageName {
    /// All stages in order.
    pub const ALL: [Self; 20] = [
        Self::Definitions,
        Self::Namespaces,
        Self::Classes,
        Self::Volumes,
        Self::Accounts,
        Self::Roles,
        Self::Bindings,
        Self::Limits,
        Self::Configuration,
        Self::Claims,
        Self::Services,
        Self::NetworkPolicies,
        Self::Prerequisites,
        Self::Workloads,
        Self::Scaling,
        Self::Routes,
        Self::Others,
        Self::Jobs,
        Self::Quotas,
        Self::Gates,
    ];

    /// The stage of a kind. A kind has one stage wherever it comes from: plans of one archive agree.
    pub fn of(group: &str, plural: &str) -> Self {
        match (group, plural) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => Self::Definitions,
            ("", "namespaces") => Self::Namespaces,
            ("storage.k8s.io", "storageclasses" | "csidrivers" | "volumeattributesclasses")
            | (
                "snapshot.storage.k8s.io" | "groupsnapshot.storage.k8s.io",
                "volumesnapshotclasses" | "volumegroupsnapshotclasses",
            )
            | ("scheduling.k8s.io", "priorityclasses")
            | ("node.k8s.io", "runtimeclasses")
            | ("networking.k8s.io", "ingressclasses")
            | ("gateway.networking.k8s.io", "gatewayclasses") => Self::Classes,
            ("", "persistentvolumes") => Self::Volumes,
            ("snapshot.storage.k8s.io", _) => Self::Volumes,
            ("", "serviceaccounts") => Self::Accounts,
            ("rbac.authorization.k8s.io", "roles" | "clusterroles") => Self::Roles,
            ("rbac.authorization.k8s.io", _) => Self::Bindings,
            ("", "limitranges") => Self::Limits,
            ("", "configmaps" | "secrets") | ("bitnami.com", "sealedsecrets") => Self::Configuration,
            ("", "persistentvolumeclaims") => Self::Claims,
            ("", "services" | "endpoints") | ("discovery.k8s.io", "endpointslices") => Self::Services,
            ("networking.k8s.io" | "extensions", "networkpolicies")
            | ("cilium.io", "ciliumnetworkpolicies")
            | ("crd.projectcalico.org" | "projectcalico.org", "networkpolicies") => Self::NetworkPolicies,
            ("cert-manager.io", "issuers" | "clusterissuers" | "certificates")
            | ("external-secrets.io", "secretstores" | "clustersecretstores" | "externalsecrets")
            | ("secrets-store.csi.x-k8s.io", "secretproviderclasses") => Self::Prerequisites,
            ("apps" | "extensions", "deployments" | "statefulsets" | "daemonsets" | "replicasets" | "controllerrevisions")
            | ("", "pods" | "replicationcontrollers" | "podtemplates") => Self::Workloads,
            ("autoscaling", _) | ("policy", "poddisruptionbudgets") | ("keda.sh", _) | ("autoscaling.k8s.io", _) => Self::Scaling,
            ("networking.k8s.io" | "extensions", "ingresses")
            | ("gateway.networking.k8s.io", _)
            | ("traefik.io" | "traefik.containo.us", _)
            | ("networking.istio.io", _)
            | ("projectcontour.io", _)
            | ("route.openshift.io", _) => Self::Routes,
            ("batch", "jobs" | "cronjobs") => Self::Jobs,
            ("", "resourcequotas") => Self::Quotas,
            ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", _) => Self::Gates,
            _ => Self::Others,
        }
    }

    /// Whether pods may start because of what is written in it, be it by an operator or an autoscaler.
    pub fn starts(self) -> bool {
        matches!(self, Self::Workloads | Self::Scaling | Self::Others | Self::Jobs)
    }

    /// Stable between releases: `workloads`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Definitions => "definitions",
            Self::Namespaces => "namespaces",
            Self::Classes => "classes",
            Self::Volumes => "volumes",
            Self::Accounts => "accounts",
            Self::Roles => "roles",
            Self::Bindings => "bindings",
            Self::Limits => "limits",
            Self::Configuration => "configuration",
            Self::Claims => "claims",
            Self::Services => "services",
            Self::NetworkPolicies => "network-policies",
            Self::Prerequisites => "prerequisites",
            Self::Workloads => "workloads",
            Self::Scaling => "scaling",
            Self::Routes => "routes",
            Self::Others => "others",
            Self::Jobs => "jobs",
            Self::Quotas => "quotas",
            Self::Gates => "gates",
        }
    }

    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Definitions => "Definitions of custom resources",
            Self::Namespaces => "Namespace",
            Self::Classes => "Classes",
            Self::Volumes => "Volumes",
            Self::Accounts => "Service accounts",
            Self::Roles => "Roles",
            Self::Bindings => "Role bindings",
            Self::Limits => "Limits",
            Self::Configuration => "Configuration and secrets",
            Self::Claims => "Volume claims",
            Self::Services => "Services",
            Self::NetworkPolicies => "Network policies",
            Self::Prerequisites => "What workloads wait for",
            Self::Workloads => "Workloads",
            Self::Scaling => "Scaling and disruption",
            Self::Routes => "Ways in",
            Self::Others => "Other objects",
            Self::Jobs => "Jobs",
            Self::Quotas => "Quotas",
            Self::Gates => "Admission and aggregated APIs",
        }
    }

    /// Why it stands where it stands.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Definitions => "no object of a custom kind can be created before its definition is established",
            Self::Namespaces => "everything else lives in it",
            Self::Classes => "claims and pods name them, and are refused or stay pending without them",
            Self::Volumes => "claims look for them before they ask for new ones",
            Self::Accounts => "pods that name an account that is not there are refused",
            Self::Roles => "a binding to a role that is not there is refused",
            Self::Bindings => "workloads need their rights when they start",
            Self::Limits => {
                "limits give pods their defaults at admission and do nothing later; a quota that stands already is put right before anything counts against it"
            }
            Self::Configuration => "containers that name them do not start without them",
            Self::Claims => "pods wait for their volumes",
            Self::Services => "their names are in the environment of pods that start later, and only of those",
            Self::NetworkPolicies => "a workload must not have one unfenced moment",
            Self::Prerequisites => "they make the Secrets that workloads mount",
            Self::Workloads => "what they need is there now",
            Self::Scaling => "an autoscaler without its workload only reports errors",
            Self::Routes => "traffic comes when there is somebody to answer",
            Self::Others => "operators act on them at once, and find what they refer to",
            Self::Jobs => "they run as soon as they are there, so everything they use comes first",
            Self::Quotas => {
                "a new quota refuses every object until its controller has counted, and what is restored fitted into it before"
            }
            Self::Gates => "one that fails closed refuses everything while its workload is not ready",
        }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_before_them() {
        let stage = |name: &str| {
            let (plural, group) = name.split_once('.').unwrap_or((name, ""));
            StageName::of(group, plural)
        };
        for (first, later) in [
            ("customresourcedefinitions.apiextensions.k8s.io", "namespaces"),
            ("namespaces", "serviceaccounts"),
            ("roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"),
            ("persistentvolumes", "persistentvolumeclaims"),
            ("secrets", "deployments.apps"),
            ("networkpolicies.networking.k8s.io", "pods"),
            ("limitranges", "pods"),
            ("sealedsecrets.bitnami.com", "deployments.apps"),
            ("certificates.cert-manager.io", "deployments.apps"),
            ("deployments.apps", "ingresses.networking.k8s.io"),
            ("deployments.apps", "horizontalpodautoscalers.autoscaling"),
            ("deployments.apps", "anything.example.org"),
            ("anything.example.org", "jobs.batch"),
            ("jobs.batch", "resourcequotas"),
            ("resourcequotas", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
        ] {
            assert!(stage(first) < stage(later), "{first} before {later}");
        }
    }

    #[test]
    fn all_stages_are_listed_in_their_order() {
        assert!(StageName::ALL.is_sorted());
        let ids: std::collections::BTreeSet<_> = StageName::ALL.iter().map(|stage| stage.id()).collect();
        assert_eq!(ids.len(), StageName::ALL.len());
    }
}
