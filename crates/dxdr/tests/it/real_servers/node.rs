//! A real node, for pods that really run.

use std::{env, time::Duration};

use dxdr_environment::ObjectReference;
use dxdr_provider::{
    Cluster,
    cluster::{Executed, PodCommand},
};
use serde_json::{Value, json};

use super::{World, missing};
use crate::objects::core;

/// What keeps other pods away from the node.
const TAINT: &str = "dxdr.io/test-node";

/// The node, and the image that it has.
pub(super) struct Node {
    image: String,
}

impl Node {
    /// That of the environment; without one, says which tests did not run.
    pub(super) fn named() -> Option<Self> {
        let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let found = named("DXDR_TEST_NODE").and_then(|_| Some(Self { image: named("DXDR_TEST_POD_IMAGE")? }));
        if found.is_none() {
            missing("node", "no node is named by DXDR_TEST_NODE");
        }
        found
    }

    /// What a pod's specification has that shall run on the node and end quickly. Containers without a command wait.
    pub(super) fn specification(&self, containers: &[Value], more: &Value) -> Value {
        let mut specification = json!({
            "tolerations": [{"key": TAINT, "operator": "Exists"}], "terminationGracePeriodSeconds": 1, "containers": containers
        });
        for container in specification["containers"].as_array_mut().unwrap() {
            container["image"] = self.image.as_str().into();
        }
        for (key, value) in more.as_object().unwrap() {
            specification[key] = value.clone();
        }
        specification
    }

    /// A pod with the containers `idle` and `db`, the latter with the volume of a claim at /data.
    pub(super) fn pod(&self, world: &World, name: &str, claim: &str, annotations: &Value) -> ObjectReference {
        let pod = core("Pod", Some(&world.namespace), name);
        let containers =
            [json!({"name": "idle"}), json!({"name": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]})];
        let volumes = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]});
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": world.namespace, "annotations": annotations},
            "spec": self.specification(&containers, &volumes)
        });
        world.create((pod.clone(), object));
        pod
    }
}

/// Waits until all of a pod's containers run.
#[track_caller]
pub(super) fn runs(world: &World, pod: &ObjectReference) {
    world.wait_until("the pod runs", |world| {
        let conditions = world.get(pod).map(|mut pod| pod["status"]["conditions"].take());
        let conditions = conditions.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    });
}

/// Runs a script in the container `db`, which must succeed.
#[track_caller]
pub(super) fn in_pod(world: &World, namespace: &str, pod: &str, script: &str) {
    let command = PodCommand {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        container: "db".to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        timeout: Duration::from_secs(60),
    };
    let executed = world.runtime.block_on(world.cluster.execute(&command)).unwrap();
    assert_eq!(executed, Executed::Succeeded, "{script}");
}
