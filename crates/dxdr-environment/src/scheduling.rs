//! Where an environment's pods may run, as a value that other code applies to pod specs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// An environment's node pool, in the words of a pod spec.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scheduling {
    /// Labels a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints its pods stand.
    pub tolerations: Vec<Toleration>,
    /// `spec.affinity` of a pod, as the Kubernetes API has it.
    pub affinity: Option<Value>,
}

/// One taint (or kind of taint) that pods stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// Key of the taint; `None` with `Exists`: every taint.
    pub key: Option<String>,
    /// How the value is compared.
    pub operator: TolerationOperator,
    /// Value of the taint, with `Equal`.
    pub value: Option<String>,
    /// Effect of the taint; `None`: all effects.
    pub effect: Option<TaintEffect>,
    /// With `NoExecute`: how long a pod stays after the taint appears.
    pub toleration_seconds: Option<i64>,
}

/// How a toleration matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TolerationOperator {
    /// Key and value are the taint's.
    Equal,
    /// The key is the taint's.
    Exists,
}

impl TolerationOperator {
    /// As the Kubernetes API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Exists => "Exists",
        }
    }
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Running pods leave as well.
    NoExecute,
}

impl TaintEffect {
    /// As the Kubernetes API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Scheduling {
    /// Whether the environment says nothing about nodes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes a pod spec (or the one in a template) run in this node pool and nowhere else: its own `nodeSelector`, `tolerations`,
    /// `affinity` and `nodeName` are replaced, because any of them could send the pod to another environment's nodes. An
    /// environment that says nothing about nodes leaves the spec as it is, and so does a value that is not a pod spec.
    pub fn apply_to_pod_spec(&self, pod_spec: &mut Value) {
        if self.is_empty() {
            return;
        }
        let Some(spec) = pod_spec.as_object_mut() else { return };
        let mut set = |field: &str, value: Option<Value>| match value {
            Some(value) => drop(spec.insert(field.to_owned(), value)),
            None => drop(spec.remove(field)),
        };
        set("nodeName", None);
        set("nodeSelector", (!self.node_selector.is_empty()).then(|| text_map(&self.node_selector)));
        set("tolerations", (!self.tolerations.is_empty()).then(|| self.tolerations.iter().map(Toleration::to_value).collect()));
        set("affinity", self.affinity.clone());
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut value = Map::new();
        value.insert("nodeSelector".to_owned(), text_map(&self.node_selector));
        value.insert("tolerations".to_owned(), self.tolerations.iter().map(Toleration::to_value).collect());
        value.insert("affinity".to_owned(), self.affinity.clone().unwrap_or(Value::Null));
        Value::Object(value)
    }
}

impl Toleration {
    fn to_value(&self) -> Value {
        let mut value = Map::new();
        let mut set = |field: &str, content: Option<Value>| {
            if let Some(content) = content {
                value.insert(field.to_owned(), content);
            }
        };
        set("key", self.key.clone().map(Value::from));
        set("operator", Some(self.operator.as_str().into()));
        set("value", self.value.clone().map(Value::from));
        set("effect", self.effect.map(|effect| effect.as_str().into()));
        set("tolerationSeconds", self.toleration_seconds.map(Value::from));
        Value::Object(value)
    }
}

/// A map of texts as a tree.
pub(crate) fn text_map(map: &BTreeMap<String, String>) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn staging() -> Scheduling {
        Scheduling {
            node_selector: [("dx/pool".to_owned(), "staging".to_owned())].into(),
            tolerations: vec![Toleration {
                key: Some("dx/environment".to_owned()),
                operator: TolerationOperator::Equal,
                value: Some("staging".to_owned()),
                effect: Some(TaintEffect::NoSchedule),
                toleration_seconds: None,
            }],
            affinity: None,
        }
    }

    #[test]
    fn a_pod_of_production_moves_to_the_staging_pool_with_nothing_of_its_own_left() {
        let mut spec = json!({
            "nodeName": "production-1",
            "nodeSelector": {"dx/pool": "production", "disk": "ssd"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "containers": [{"name": "api"}]
        });
        staging().apply_to_pod_spec(&mut spec);
        assert_eq!(
            spec,
            json!({
                "nodeSelector": {"dx/pool": "staging"},
                "tolerations": [{"key": "dx/environment", "operator": "Equal", "value": "staging", "effect": "NoSchedule"}],
                "containers": [{"name": "api"}]
            })
        );
    }

    #[test]
    fn an_environment_without_a_node_pool_leaves_pods_alone() {
        let mut spec = json!({"nodeSelector": {"disk": "ssd"}});
        Scheduling::default().apply_to_pod_spec(&mut spec);
        assert_eq!(spec, json!({"nodeSelector": {"disk": "ssd"}}));
    }
}
