//! Why a claim is not bound: whether it waits for its first consumer, as its class says, or whether nobody makes its volume.

use std::collections::BTreeMap;

use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::ListScope};
use serde_json::Value;

use super::volumes::all;

/// What is known around the claims of a namespace.
pub(super) struct Surroundings {
    namespace: String,
    /// Storage classes that were asked for: `None` is not there.
    classes: BTreeMap<String, Result<Option<Value>, String>>,
    pods: Result<Vec<Value>, String>,
    /// Of none that may not be read: they tell more, and decide nothing.
    events: Vec<Value>,
}

impl Surroundings {
    /// Reads what there is to know.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(super) async fn look(cluster: &dyn Cluster, namespace: &str) -> Result<Self, ClusterError> {
        let scope = ListScope { namespace: Some(namespace.to_owned()), label_selector: None };
        let pods = told(all(cluster, &core("Pod", "pods"), &scope).await)?;
        let events = told(all(cluster, &core("Event", "events"), &scope).await)?.unwrap_or_default();
        Ok(Self { namespace: namespace.to_owned(), classes: BTreeMap::new(), pods, events })
    }

    /// Why `claim` is not bound; `None`: it waits for its first consumer, and there is none.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub(super) async fn why(&mut self, cluster: &dyn Cluster, claim: &str) -> Result<Option<String>, ClusterError> {
        let reference = self.claim(claim);
        let live =
            cluster.get(&reference).await?.and_then(|json| serde_json::from_slice::<Value>(&json).ok()).unwrap_or_default();
        if let Some(class) = class_of(&live).filter(|class| !class.is_empty())
            && !self.classes.contains_key(class)
        {
            let kind =
                ResourceKind { group: "storage.k8s.io".to_owned(), namespaced: false, ..core("StorageClass", "storageclasses") };
            let reference = ObjectReference { kind, namespace: None, name: class.to_owned() };
            let read = told(cluster.get(&reference).await)?;
            let read = read.map(|json| json.and_then(|json| serde_json::from_slice(&json).ok()));
            self.classes.insert(class.to_owned(), read);
        }
        Ok(self.reason(claim, &live))
    }

    /// The claim of that name.
    pub(super) fn claim(&self, name: &str) -> ObjectReference {
        ObjectReference {
            kind: core("PersistentVolumeClaim", "persistentvolumeclaims"),
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        }
    }

    fn reason(&self, name: &str, claim: &Value) -> Option<String> {
        let class = match class_of(claim) {
            None => return Some("it names no storage class, and the cluster has no default one".to_owned()),
            Some("") => return Some("it asks for a volume that somebody makes by hand, and there is none".to_owned()),
            Some(class) => class,
        };
        let waits = match self.classes.get(class) {
            Some(Ok(Some(class))) => class.get("volumeBindingMode").and_then(Value::as_str) == Some("WaitForFirstConsumer"),
            Some(Ok(None)) | None => return Some(format!("storage class `{class}` is not in the cluster")),
            Some(Err(reason)) => return Some(format!("storage class `{class}` cannot be read: {reason}")),
        };
        if !waits {
            return Some(self.failing(name).unwrap_or_else(|| NOBODY.to_owned()));
        }
        match self.pods.as_ref().map(|pods| pods.iter().find(|pod| mounts(pod, name))) {
            Ok(None) => None,
            Ok(Some(pod)) => Some(self.failing(name).or_else(|| unscheduled(pod)).unwrap_or_else(|| NOBODY.to_owned())),
            Err(reason) => Some(format!("it waits for a pod that uses it, and pods cannot be listed: {reason}")),
        }
    }

    /// What the newest event says that tells of a failure.
    fn failing(&self, claim: &str) -> Option<String> {
        let text = |event: &Value, pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of_claim = self.events.iter().filter(|event| {
            text(event, "/involvedObject/kind") == "PersistentVolumeClaim"
                && text(event, "/involvedObject/name") == claim
                && text(event, "/reason") == "ProvisioningFailed"
        });
        let time = |event: &&Value| {
            ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"].map(|pointer| text(event, pointer)).into_iter().max()
        };
        of_claim.max_by_key(time).map(|event| text(event, "/message"))
    }
}

const NOBODY: &str = "nobody says why; does the provisioner of its class run?";

fn class_of(claim: &Value) -> Option<&str> {
    claim.pointer("/spec/storageClassName").and_then(Value::as_str)
}

/// Whether a pod that has not ended has the claim among its volumes.
fn mounts(pod: &Value, claim: &str) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let mut claims = volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
    !matches!(phase, Some("Succeeded" | "Failed")) && claims.any(|name| name == claim)
}

/// What the scheduler says of a pod that has no node.
fn unscheduled(pod: &Value) -> Option<String> {
    let conditions = pod.pointer("/status/conditions")?.as_array()?;
    let of = |condition: &&Value| condition["type"] == "PodScheduled" && condition["status"] == "False";
    let message = conditions.iter().find(of)?.get("message")?.as_str()?;
    Some(format!("pod {}, which uses it, finds no node: {message}", pod.pointer("/metadata/name")?.as_str()?))
}

/// An answer, or why there is none for this account.
fn told<T>(answer: Result<T, ClusterError>) -> Result<Result<T, String>, ClusterError> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if matches!(error.kind, ClusterErrorKind::Unreachable | ClusterErrorKind::Unauthenticated) => Err(error),
        Err(error) => Ok(Err(error.message)),
    }
}

fn core(kind: &str, plural: &str) -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn around(mode: &str, pods: Result<Vec<Value>, String>) -> Surroundings {
        let class = json!({"provisioner": "disks.example.org", "volumeBindingMode": mode});
        let event = |at: &str, claim: &str, reason: &str, message: &str| {
            json!({
                "involvedObject": {"kind": "PersistentVolumeClaim", "name": claim}, "reason": reason, "message": message, "lastTimestamp": at
            })
        };
        Surroundings {
            namespace: "copy".to_owned(),
            classes: BTreeMap::from([
                ("fast".to_owned(), Ok(Some(class))),
                ("gone".to_owned(), Ok(None)),
                ("secret".to_owned(), Err("it is forbidden".to_owned())),
            ]),
            pods,
            events: vec![
                event("2024-05-01T10:00:09Z", "data", "ProvisioningFailed", "the pool is full"),
                event("2024-05-01T10:00:02Z", "data", "ProvisioningFailed", "no answer"),
                event("2024-05-01T10:00:10Z", "data", "Provisioning", "it is provisioned"),
                event("2024-05-01T10:00:11Z", "other", "ProvisioningFailed", "of another one"),
            ],
        }
    }

    fn of_class(class: &str) -> Value {
        json!({"spec": {"storageClassName": class}, "status": {"phase": "Pending"}})
    }

    fn pod(phase: &str) -> Value {
        json!({
            "metadata": {"name": "db-0"},
            "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "logs"}}]},
            "status": {"phase": phase, "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}
        })
    }

    #[test]
    fn a_claim_waits_rightly_only_for_a_consumer_that_its_class_waits_for_and_that_is_not_there() {
        let nobody = around("WaitForFirstConsumer", Ok(Vec::new()));
        assert_eq!(nobody.reason("logs", &of_class("fast")), None);
        // What has ended uses nothing any more.
        assert_eq!(around("WaitForFirstConsumer", Ok(vec![pod("Succeeded")])).reason("logs", &of_class("fast")), None);
        let used = around("WaitForFirstConsumer", Ok(vec![pod("Pending")]));
        let reason = used.reason("logs", &of_class("fast")).unwrap();
        assert_eq!(reason, "pod db-0, which uses it, finds no node: 0/3 nodes are available");
        let hidden = around("WaitForFirstConsumer", Err("it is forbidden".to_owned()));
        assert!(hidden.reason("logs", &of_class("fast")).unwrap().contains("pods cannot be listed: it is forbidden"));
        assert_eq!(around("Immediate", Ok(Vec::new())).reason("logs", &of_class("fast")).as_deref(), Some(NOBODY));
    }

    #[test]
    fn who_makes_no_volume_is_named_with_the_newest_reason() {
        let around = around("Immediate", Ok(Vec::new()));
        assert_eq!(around.reason("data", &of_class("fast")).as_deref(), Some("the pool is full"));
        assert!(around.reason("data", &of_class("gone")).unwrap().contains("`gone` is not in the cluster"));
        assert!(around.reason("data", &of_class("secret")).unwrap().contains("cannot be read: it is forbidden"));
        assert!(around.reason("data", &of_class("")).unwrap().contains("by hand"));
        assert!(around.reason("data", &json!({"spec": {}})).unwrap().contains("no default one"));
    }
}
