//! `Environment`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Amount, Port, database::DatabaseSpec};

/// A namespace and everything that was agreed about it: where its pods run, what they may use, who may talk to them, who may change
/// them, and what else belongs to it. Backups, restores and drills refer to it; `dxdr environment apply` makes the cluster agree
/// with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnvironmentSpec {
    /// The namespace that it is. No two environments share one.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) namespace: String,
    /// How much depends on it.
    pub(crate) tier: TierName,
    /// IANA time zone in which an instant without a zone is understood, as in `--at 2024-05-01T10:00`. Without it, `--at` needs one.
    #[schemars(length(min = 1))]
    pub(crate) time_zone: Option<String>,
    /// Labels of the namespace, besides those that dxdr sets.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Annotations of the namespace.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// The nodes that its pods run on. Pods are moved there when they are restored into another environment's place.
    #[serde(default)]
    pub(crate) node_pool: NodePoolSpec,
    /// `spec.hard` of its ResourceQuota: the most that it may use of each resource. Left out: no quota.
    #[serde(default)]
    pub(crate) quota: BTreeMap<String, Amount>,
    /// Its LimitRange: what one container, pod or claim gets and may ask for.
    #[serde(default)]
    pub(crate) limits: LimitsSpec,
    /// Network policies: everything is denied, both ways, but what stands here. Left out: dxdr makes no network policies for it;
    /// `isolation: {}` denies everything but traffic within the environment.
    pub(crate) isolation: Option<IsolationSpec>,
    /// Roles of its own, for `access` to give.
    #[serde(default)]
    pub(crate) roles: Vec<RoleSpec>,
    /// Who may do what in the namespace.
    #[serde(default)]
    pub(crate) access: Vec<GrantSpec>,
    /// Host names that belong to it. A restored copy never answers for them.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Databases that belong to it.
    #[serde(default)]
    pub(crate) databases: Vec<DatabaseSpec>,
    /// The Sealed Secrets controller that opens its SealedSecrets.
    pub(crate) sealing: Option<SealingSpec>,
}

/// How much depends on an environment.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TierName {
    /// customers depend on it
    Production,
    /// only those who build the product depend on it
    NonProduction,
}

/// Where pods run, in the words of a pod spec.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NodePoolSpec {
    /// Labels a node must have.
    #[serde(default)]
    pub(crate) node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods stand.
    #[serde(default)]
    pub(crate) tolerations: Vec<TolerationSpec>,
    /// Affinity of the pods, as in a pod spec.
    pub(crate) affinity: Option<AffinitySpec>,
}

/// One taint that pods stand.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TolerationSpec {
    /// Key of the taint. Left out, with operator `Exists`: every taint.
    pub(crate) key: Option<String>,
    /// `Equal` (the default): key and value are the taint's. `Exists`: the key is.
    #[serde(default)]
    pub(crate) operator: OperatorName,
    /// Value of the taint, with `Equal`.
    pub(crate) value: Option<String>,
    /// Effect of the taint. Left out: every effect.
    pub(crate) effect: Option<EffectName>,
    /// With `NoExecute`: for how many seconds a pod stays.
    pub(crate) toleration_seconds: Option<i64>,
}

/// How a toleration matches a taint.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub(crate) enum OperatorName {
    #[default]
    Equal,
    Exists,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum EffectName {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// `spec.affinity` of a pod. The shape is checked here, the content by the API server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the shape is what is checked; the tree itself goes into pod specs")]
pub(crate) struct AffinitySpec {
    /// Which nodes.
    node_affinity: Option<NodeAffinitySpec>,
    /// Near which pods.
    pod_affinity: Option<PodAffinitySpec>,
    /// Away from which pods.
    pod_anti_affinity: Option<PodAffinitySpec>,
}

/// Which nodes pods run on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct NodeAffinitySpec {
    /// Nodes must match one of the terms.
    required_during_scheduling_ignored_during_execution: Option<NodeSelectorSpec>,
    /// Nodes that match are preferred.
    #[serde(default)]
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredNodeSpec>,
}

/// Terms, one of which must match.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct NodeSelectorSpec {
    /// The terms.
    #[schemars(length(min = 1))]
    node_selector_terms: Vec<NodeSelectorTermSpec>,
}

/// A preference for nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct PreferredNodeSpec {
    /// From 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    weight: i32,
    /// The nodes.
    preference: NodeSelectorTermSpec,
}

/// Requirements that must all hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct NodeSelectorTermSpec {
    /// Of labels.
    #[serde(default)]
    match_expressions: Vec<NodeRequirementSpec>,
    /// Of fields: `metadata.name`.
    #[serde(default)]
    match_fields: Vec<NodeRequirementSpec>,
}

/// One requirement of a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct NodeRequirementSpec {
    /// Label or field.
    key: String,
    /// How it is compared.
    operator: NodeOperatorName,
    /// With what.
    #[serde(default)]
    values: Vec<String>,
}

/// How a label of a node is compared.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum NodeOperatorName {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

/// Near or away from which pods.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct PodAffinitySpec {
    /// All terms must hold.
    #[serde(default)]
    required_during_scheduling_ignored_during_execution: Vec<PodAffinityTermSpec>,
    /// Terms that should hold.
    #[serde(default)]
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredPodSpec>,
}

/// A preference for pods.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct PreferredPodSpec {
    /// From 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    weight: i32,
    /// The pods.
    pod_affinity_term: PodAffinityTermSpec,
}

/// Pods, and how near is near.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct PodAffinityTermSpec {
    /// Label of nodes: nodes with the same value are near.
    topology_key: String,
    /// Which pods.
    label_selector: Option<LabelSelectorSpec>,
    /// In these namespaces; left out: in the pod's own.
    #[serde(default)]
    namespaces: Vec<String>,
    /// In namespaces with these labels.
    namespace_selector: Option<LabelSelectorSpec>,
    /// Labels whose value the pod must share.
    #[serde(default)]
    match_label_keys: Vec<String>,
    /// Labels whose value the pod must not share.
    #[serde(default)]
    mismatch_label_keys: Vec<String>,
}

/// A label selector.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct LabelSelectorSpec {
    /// Labels with these values.
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    /// Requirements.
    #[serde(default)]
    match_expressions: Vec<LabelRequirementSpec>,
}

/// One requirement of a label.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct LabelRequirementSpec {
    /// The label.
    key: String,
    /// How it is compared.
    operator: LabelOperatorName,
    /// With what.
    #[serde(default)]
    values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum LabelOperatorName {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A LimitRange: maps from resource (`cpu`, `memory`, `ephemeral-storage` …) to quantity.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LimitsSpec {
    /// Limit of a container that names none.
    #[serde(default)]
    pub(crate) default: BTreeMap<String, Amount>,
    /// Request of a container that names none.
    #[serde(default)]
    pub(crate) default_request: BTreeMap<String, Amount>,
    /// The most that a container may ask for.
    #[serde(default)]
    pub(crate) max: BTreeMap<String, Amount>,
    /// The least that a container must ask for.
    #[serde(default)]
    pub(crate) min: BTreeMap<String, Amount>,
    /// How many times its request a container's limit may be.
    #[serde(default)]
    pub(crate) max_limit_request_ratio: BTreeMap<String, Amount>,
    /// For pods: the sum over their containers.
    #[serde(default)]
    pub(crate) pod: BoundsSpec,
    /// For persistent volume claims: `storage`.
    #[serde(default)]
    pub(crate) persistent_volume_claim: BoundsSpec,
}

/// The most and the least.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BoundsSpec {
    /// The most.
    #[serde(default)]
    pub(crate) max: BTreeMap<String, Amount>,
    /// The least.
    #[serde(default)]
    pub(crate) min: BTreeMap<String, Amount>,
}

/// What the network policies let through.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IsolationSpec {
    /// Whether its pods may talk to one another. True when left out.
    #[serde(default = "yes")]
    pub(crate) allow_within: bool,
    /// Who may open connections to its pods.
    #[serde(default)]
    pub(crate) allow_ingress_from: Vec<PeerSpec>,
    /// Whom its pods may open connections to. Name resolution is not implied: most environments need
    /// `{namespace: kube-system, ports: [53]}`.
    #[serde(default)]
    pub(crate) allow_egress_to: Vec<PeerSpec>,
}

fn yes() -> bool {
    true
}

/// A peer: pods by namespace, by labels, or both; or addresses.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerSpec {
    /// Pods in this namespace. The environment's own means wherever it is restored.
    pub(crate) namespace: Option<String>,
    /// Pods with these labels; without `namespace`, in the environment itself.
    pub(crate) pod_selector: Option<BTreeMap<String, String>>,
    /// Addresses: `10.20.0.0/16`.
    pub(crate) cidr: Option<String>,
    /// Addresses in `cidr` that are left out.
    #[serde(default)]
    pub(crate) except: Vec<String>,
    /// Ports: a number (TCP; 53 stands for UDP and TCP), a range `30000-32767`, each with a protocol as in `8125/UDP`. Left out: all.
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
}

/// A Role in the namespace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RoleSpec {
    /// Its name.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// What it allows.
    #[schemars(length(min = 1))]
    pub(crate) rules: Vec<RuleSpec>,
}

/// One rule of a Role.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleSpec {
    /// API groups; `""` is the core group.
    #[schemars(length(min = 1))]
    pub(crate) api_groups: Vec<String>,
    /// Resources in them: `deployments`, `pods/log`.
    #[schemars(length(min = 1))]
    pub(crate) resources: Vec<String>,
    /// Only the objects of these names. Left out: all.
    #[serde(default)]
    pub(crate) resource_names: Vec<String>,
    /// What may be done: `get`, `list`, `patch`.
    #[schemars(length(min = 1))]
    pub(crate) verbs: Vec<String>,
}

/// One subject, and the role it gets in the namespace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["group"]}, {"required": ["user"]}, {"required": ["serviceAccount"]}]))]
pub(crate) struct GrantSpec {
    /// A group of users.
    pub(crate) group: Option<String>,
    /// One user.
    pub(crate) user: Option<String>,
    /// A service account.
    pub(crate) service_account: Option<ServiceAccountSpec>,
    /// `view`, `edit`, `admin`, or one of the environment's own `roles`.
    pub(crate) role: Option<String>,
    /// In place of `role`: any ClusterRole of the cluster, given within the namespace.
    pub(crate) cluster_role: Option<String>,
}

/// A service account.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ServiceAccountSpec {
    /// Its namespace. Left out: the environment's own.
    pub(crate) namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
}

/// How secrets are sealed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SealingSpec {
    /// The Sealed Secrets controller.
    pub(crate) controller: ControllerSpec,
}

/// A Sealed Secrets controller.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ControllerSpec {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) namespace: String,
    /// Name of its Service and Deployment.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
}
