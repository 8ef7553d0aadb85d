//! An environment: a namespace and everything that was agreed about it. The shared model that backups, restores and drills refer to.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::{Database, EnvironmentName, Isolation, NamespaceName, Quantity, Scheduling};

/// An environment of the model. Its parts are valid on their own; that two environments fit together is checked where they are
/// read.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// What people call it.
    pub name: EnvironmentName,
    /// The namespace it is.
    pub namespace: NamespaceName,
    /// Labels its namespace carries besides dxdr's own.
    pub labels: BTreeMap<String, String>,
    /// Annotations its namespace carries.
    pub annotations: BTreeMap<String, String>,
    /// How much depends on it.
    pub tier: Tier,
    /// In which an instant given without a zone is understood.
    pub time_zone: Option<TimeZone>,
    /// Where its pods run.
    pub node_pool: Scheduling,
    /// `spec.hard` of its ResourceQuota; empty: no quota.
    pub quota: BTreeMap<String, Quantity>,
    /// What a container, a pod or a claim may ask for.
    pub limits: Limits,
    /// Who may talk to whom; `None`: dxdr makes no network policies for it.
    pub isolation: Option<Isolation>,
    /// Roles of its own.
    pub roles: Vec<Role>,
    /// Who may do what in it.
    pub access: Vec<Grant>,
    /// Host names that belong to it: nothing but it may ever answer for them.
    pub hosts: Vec<String>,
    /// Databases that belong to it.
    pub databases: Vec<Database>,
    /// The Sealed Secrets controller that opens its sealed secrets.
    pub sealing: Option<Sealing>,
}

impl Environment {
    /// An environment of which nothing is agreed but its name, namespace and tier.
    pub fn bare(name: EnvironmentName, namespace: NamespaceName, tier: Tier) -> Self {
        Self {
            name,
            namespace,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            tier,
            time_zone: None,
            node_pool: Scheduling::default(),
            quota: BTreeMap::new(),
            limits: Limits::default(),
            isolation: None,
            roles: Vec::new(),
            access: Vec::new(),
            hosts: Vec::new(),
            databases: Vec::new(),
            sealing: None,
        }
    }
}

/// How much depends on an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Customers depend on it.
    Production,
    /// Only those who build the product depend on it.
    NonProduction,
}

impl Tier {
    /// As manifests and labels write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::NonProduction => "non-production",
        }
    }
}

/// What the LimitRange of an environment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// For containers.
    pub container: ContainerLimits,
    /// For pods: the sum over their containers.
    pub pod: Bounds,
    /// For claims: `storage`.
    pub volume_claim: Bounds,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Limits of containers, each a map from resource to quantity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerLimits {
    /// The limit of a container that names none.
    pub default: BTreeMap<String, Quantity>,
    /// The request of a container that names none.
    pub default_request: BTreeMap<String, Quantity>,
    /// What it may ask for at most and at least.
    pub bounds: Bounds,
    /// How many times its request a container's limit may be.
    pub max_limit_request_ratio: BTreeMap<String, Quantity>,
}

/// The most and the least that may be asked for, by resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// At most.
    pub max: BTreeMap<String, Quantity>,
    /// At least.
    pub min: BTreeMap<String, Quantity>,
}

/// A Role of the environment's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub rules: Vec<RoleRule>,
}

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// API groups; `""` is the core group.
    pub api_groups: Vec<String>,
    /// Resources in them.
    pub resources: Vec<String>,
    /// Only these objects; empty: all.
    pub resource_names: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub subject: Subject,
    /// What.
    pub role: RoleReference,
}

/// Who a role is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A group of users.
    Group(String),
    /// One user.
    User(String),
    /// A service account.
    ServiceAccount {
        /// Its namespace; `None`: the environment's own.
        namespace: Option<NamespaceName>,
        /// Its name.
        name: String,
    },
}

/// The role that is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleReference {
    /// A ClusterRole that exists in the cluster, given within the environment: `view`, `edit`, `admin`, or another.
    ClusterRole(String),
    /// One of [`Environment::roles`].
    Role(String),
}

/// How an environment's secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Namespace of the Sealed Secrets controller.
    pub controller_namespace: NamespaceName,
    /// Name of the controller's Service and Deployment.
    pub controller_name: String,
}
