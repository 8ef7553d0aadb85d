//! Fills a cluster with the demonstration's environments, through the same API as everybody.

use std::collections::HashMap;

use bytes::Bytes;
use dxdr_environment::{Environment, ObjectReference, compile};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use serde_json::Value;

use super::{definitions::definitions, workloads};

/// Under which name the demonstration writes.
const MANAGER: &str = "dxdr-demonstration";

/// Creates the definitions, and each environment with what lives in it. What is there already stays as it is.
/// Answers how many objects were created.
pub(crate) async fn environments(cluster: &dyn Cluster, environments: &[&Environment]) -> Result<usize, ClusterError> {
    let mut created = 0;
    for definition in definitions() {
        created += usize::from(create(cluster, definition, &mut HashMap::new()).await?);
    }
    for environment in environments {
        let mut owners = HashMap::new();
        let compiled = compile::compile(environment, &compile::Placement::home(environment));
        for object in compiled.objects {
            created += usize::from(create(cluster, object.value, &mut owners).await?);
        }
        let mut scheduling = serde_json::json!({});
        compiled.scheduling.apply_to_pod_spec(&mut scheduling);
        let namespace = environment.namespace.as_str();
        let host = environment.hosts.first().map_or_else(|| format!("{namespace}.example.org"), Clone::clone);
        for object in workloads::objects(namespace, &host, &scheduling) {
            created += usize::from(create(cluster, object, &mut owners).await?);
        }
    }
    Ok(created)
}

/// Creates one object, with its owners' `uid`s filled in.
async fn create(cluster: &dyn Cluster, mut object: Value, owners: &mut HashMap<String, String>) -> Result<bool, ClusterError> {
    if let Some(references) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        for reference in references {
            if let Some(uid) = owners.get(&identity(reference, &reference["name"])) {
                reference["uid"] = uid.as_str().into();
            }
        }
    }
    let reference = reference(&object);
    let options = WriteOptions { manager: MANAGER.to_owned(), dry_run: false, retry: true };
    let body = Bytes::from(object.to_string());
    // A definition is served a moment after it has been created.
    for attempt in 0..50 {
        match cluster.create(&reference, body.clone(), &options).await {
            Ok(answer) => {
                remember(&answer, &object, owners);
                return Ok(true);
            }
            Err(error) if error.kind == ClusterErrorKind::AlreadyExists => {
                if let Some(answer) = cluster.get(&reference).await? {
                    remember(&answer, &object, owners);
                }
                return Ok(false);
            }
            Err(error) if error.kind == ClusterErrorKind::NotFound && attempt < 49 => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn remember(answer: &[u8], object: &Value, owners: &mut HashMap<String, String>) {
    if let Ok(answer) = serde_json::from_slice::<Value>(answer)
        && let Some(uid) = answer.pointer("/metadata/uid").and_then(Value::as_str)
    {
        owners.insert(identity(object, &object["metadata"]["name"]), uid.to_owned());
    }
}

fn identity(object: &Value, name: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap_or_default(), name.as_str().unwrap_or_default())
}

/// The reference of an object of the demonstration: its kinds follow the regular English plural.
pub(crate) fn reference(object: &Value) -> ObjectReference {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = text(&object["kind"]);
    let lower = kind.to_lowercase();
    let plural = match lower.as_str() {
        word if word.ends_with("ss") => format!("{word}es"),
        word if word.ends_with('y') => format!("{}ies", &word[..word.len() - 1]),
        word => format!("{word}s"),
    };
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
    ObjectReference {
        kind: dxdr_environment::ResourceKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind,
            plural,
            namespaced: namespace.is_some(),
        },
        namespace,
        name: text(&object["metadata"]["name"]),
    }
}
