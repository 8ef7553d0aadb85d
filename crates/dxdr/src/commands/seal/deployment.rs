//! What the Deployment of a controller says of how it runs.

use dxdr_environment::ObjectReference;
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind};
use dxdr_sealing::key_secret::KEY_PREFIX;
use jiff::Timestamp;
use serde_json::Value;

use super::{certificate::Controller, key_files::kind};

/// What variables of the controller's flags begin with.
const VARIABLES: &str = "SEALED_SECRETS_";

/// A controller's Deployment, as it was read.
#[derive(Debug)]
pub(super) struct Deployment(Value);

/// What is said of one of the controller's flags.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// Nothing: what the controller does by itself counts.
    Nothing,
    /// This.
    Value(&'a str),
    /// Something that stands elsewhere, in a ConfigMap for example.
    Elsewhere,
}

/// Its name, as the API server has it.
pub(super) fn reference(controller: &Controller) -> ObjectReference {
    ObjectReference {
        kind: kind("apps", "v1", "Deployment", "deployments"),
        namespace: Some(controller.controller_namespace.clone()),
        name: controller.controller_name.clone(),
    }
}

impl Deployment {
    /// The controller's, where it is one that we may see.
    pub(super) async fn of(cluster: &dyn Cluster, controller: &Controller) -> Result<Option<Self>, ClusterError> {
        match cluster.get(&reference(controller)).await {
            Ok(found) => Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map(Self)),
            Err(error) if error.kind == ClusterErrorKind::Forbidden => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the controller makes keys by itself; `None` where it does not tell.
    pub(super) fn makes_keys(&self) -> Option<bool> {
        match self.flag(&["key-renew-period", "rotate-period"]) {
            Said::Nothing => Some(true),
            Said::Value(period) => Some(!is_nothing(period)),
            Said::Elsewhere => None,
        }
    }

    /// What the names of its keys begin with; the Secret that is called just so is loaded whatever its label.
    pub(super) fn key_prefix(&self) -> &str {
        match self.flag(&["key-prefix"]) {
            Said::Value(prefix) if !prefix.is_empty() => prefix,
            _ => KEY_PREFIX,
        }
    }

    /// Whether the key is the newest whose Secret was made last, and not the one whose certificate begins last.
    pub(super) fn orders_by_creation(&self) -> bool {
        self.flag(&["key-order-priority"]) == Said::Value("SecretCreationTimestamp")
    }

    /// Its pods, as lists select them.
    pub(super) fn selector(&self) -> Option<String> {
        let labels = self.0.pointer("/spec/selector/matchLabels")?.as_object()?;
        let pairs: Option<Vec<String>> = labels.iter().map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
        pairs.filter(|pairs| !pairs.is_empty()).map(|pairs| pairs.join(","))
    }

    /// Whether there are to be pods of it.
    pub(super) fn has_replicas(&self) -> bool {
        self.wanted() > 0
    }

    /// Whether every replica is of the newest template, and available.
    pub(super) fn is_rolled_out(&self) -> bool {
        let status = &self.0["status"];
        let is_wanted = |field: &str| status[field].as_u64().unwrap_or_default() == self.wanted();
        status["observedGeneration"] == self.0["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"].into_iter().all(is_wanted)
    }

    fn wanted(&self) -> u64 {
        self.0["spec"]["replicas"].as_u64().unwrap_or(1)
    }

    /// What is said of a flag by any of its names. What the command line says counts; behind it, the first name is also a variable.
    fn flag(&self, names: &[&str]) -> Said<'_> {
        let containers = self.0["spec"]["template"]["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lists = containers.iter().flat_map(|container| [&container["command"], &container["args"]]);
        let words: Vec<&str> = lists.flat_map(|list| list.as_array().into_iter().flatten()).filter_map(Value::as_str).collect();
        let on_the_command_line = names.iter().find_map(|name| {
            // The last one counts, as it does to the controller.
            words.iter().enumerate().rev().find_map(|(index, word)| {
                let after = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?.strip_prefix(name)?;
                if after.is_empty() { words.get(index + 1).copied() } else { after.strip_prefix('=') }
            })
        });
        if let Some(value) = on_the_command_line {
            return Said::Value(value);
        }
        let variable = names.first().map(|name| format!("{VARIABLES}{}", name.replace('-', "_").to_uppercase()));
        let mut variables = containers.iter().flat_map(|container| container["env"].as_array().into_iter().flatten());
        match variables.find(|found| found["name"].as_str() == variable.as_deref()) {
            None => Said::Nothing,
            Some(found) => found["value"].as_str().map_or(Said::Elsewhere, Said::Value),
        }
    }
}

/// When the containers of a pod were all started; `None` while one does not run.
pub(super) fn started(pod: &Value) -> Option<Timestamp> {
    let statuses = pod.pointer("/status/containerStatuses")?.as_array()?;
    let started = |status: &Value| status.pointer("/state/running/startedAt")?.as_str()?.parse().ok();
    statuses.iter().map(started).collect::<Option<Vec<Timestamp>>>()?.into_iter().min()
}

/// Whether a duration, as Go writes them, is none: `0`, `0s`, `0h0m`.
fn is_nothing(period: &str) -> bool {
    period.contains('0') && !period.contains(|digit: char| ('1'..='9').contains(&digit))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(container: &Value) -> Deployment {
        Deployment(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
    }

    #[test]
    fn whether_a_controller_makes_keys_is_read_where_it_may_be_said() {
        const VARIABLE: &str = "SEALED_SECRETS_KEY_RENEW_PERIOD";
        let variable = |more: Value| json!({"env": [{"name": "A", "value": "0"}, more]});
        for (container, expected) in [
            (json!({}), Some(true)),
            (json!({"args": ["--key-renew-period=0"]}), Some(false)),
            (json!({"args": ["--key-renew-period", "0h0m"]}), Some(false)),
            (json!({"args": ["--key-renew-period=1h", "--key-renew-period=0"]}), Some(false)),
            (json!({"command": ["controller", "--rotate-period=10h"]}), Some(true)),
            (json!({"args": ["--key-renew-period-of-something=0"]}), Some(true)),
            (variable(json!({"name": VARIABLE, "value": "0"})), Some(false)),
            (variable(json!({"name": VARIABLE, "value": "720h"})), Some(true)),
            (variable(json!({"name": VARIABLE, "valueFrom": {}})), None),
            (json!({"args": ["--key-renew-period=1h"], "env": [{"name": VARIABLE, "value": "0"}]}), Some(true)),
        ] {
            assert_eq!(with(&container).makes_keys(), expected, "{container}");
        }
    }

    #[test]
    fn prefix_and_order_of_its_keys_are_the_controllers_own_where_nothing_is_said() {
        let silent = with(&json!({}));
        assert_eq!((silent.key_prefix(), silent.orders_by_creation()), ("sealed-secrets-key", false));
        let flags = with(&json!({"args": ["--key-prefix", "seals", "--key-order-priority=SecretCreationTimestamp"]}));
        assert_eq!((flags.key_prefix(), flags.orders_by_creation()), ("seals", true));
        let variables = with(&json!({"env": [
            {"name": "SEALED_SECRETS_KEY_PREFIX", "value": "seals"},
            {"name": "SEALED_SECRETS_KEY_ORDER_PRIORITY", "value": "CertNotBefore"},
        ]}));
        assert_eq!((variables.key_prefix(), variables.orders_by_creation()), ("seals", false));
    }
}
