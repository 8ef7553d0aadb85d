//! Ways to change and to break an environment of the demonstration, each told in a sentence.

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster, ClusterError, cluster::WriteOptions};
use serde_json::{Value, json};

/// Somebody's name in `managedFields`, so that the damage can be told from dxdr's own writes.
const MANAGER: &str = "somebody-in-a-hurry";

/// An ordinary change of a working day: a new image and a setting. What a later recovery point holds and an earlier one does not.
pub(crate) async fn ordinary_day(cluster: &dyn Cluster, namespace: &str) -> Result<(), ClusterError> {
    change(cluster, &reference(namespace, "apps", "Deployment", "deployments", "api"), |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.org/shop/api:1.5.0".into();
    })
    .await?;
    change(cluster, &reference(namespace, "", "ConfigMap", "configmaps", "shop-settings"), |object| {
        object["data"]["FEATURE_CHECKOUT"] = "off".into();
        object["data"]["FEATURE_GIFT_CARDS"] = "on".into();
    })
    .await
}

/// Breaks the environment in several ways at once; answers what was done, a sentence each.
pub(crate) async fn bad_night(cluster: &dyn Cluster, namespace: &str) -> Result<Vec<String>, ClusterError> {
    let mut told = Vec::new();
    for (group, kind, plural, name) in [
        ("apps", "Deployment", "deployments", "web"),
        ("", "ConfigMap", "configmaps", "mail-templates"),
        ("bitnami.com", "SealedSecret", "sealedsecrets", "orders-database"),
        ("networking.k8s.io", "NetworkPolicy", "networkpolicies", "redis"),
        ("shop.example.org", "Tenant", "tenants", "acme"),
        ("", "Service", "services", "api"),
    ] {
        cluster.delete(&reference(namespace, group, kind, plural, name), None, &options()).await?;
        told.push(format!("deleted {} {name}", kind));
    }
    change(cluster, &reference(namespace, "apps", "Deployment", "deployments", "api"), |object| {
        object["spec"]["replicas"] = 0.into();
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.org/shop/api:broken".into();
    })
    .await?;
    told.push("scaled Deployment api to 0 and gave it a broken image".to_owned());
    change(cluster, &reference(namespace, "", "ConfigMap", "configmaps", "shop-settings"), |object| {
        object["data"]["PUBLIC_URL"] = "https://localhost".into();
    })
    .await?;
    told.push("pointed PUBLIC_URL in ConfigMap shop-settings to localhost".to_owned());
    let stray = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "debug-leftover", "namespace": namespace}, "data": {"note": "remove me"}
    });
    let stray_reference = reference(namespace, "", "ConfigMap", "configmaps", "debug-leftover");
    cluster.create(&stray_reference, Bytes::from(stray.to_string()), &options()).await?;
    told.push("left a ConfigMap debug-leftover behind".to_owned());
    Ok(told)
}

/// Reads, changes and writes back one object.
async fn change(cluster: &dyn Cluster, reference: &ObjectReference, edit: impl FnOnce(&mut Value)) -> Result<(), ClusterError> {
    if let Some(body) = cluster.get(reference).await?
        && let Ok(mut object) = serde_json::from_slice::<Value>(&body)
    {
        edit(&mut object);
        cluster.replace(reference, Bytes::from(object.to_string()), &options()).await?;
    }
    Ok(())
}

fn options() -> WriteOptions {
    WriteOptions { manager: MANAGER.to_owned(), dry_run: false, retry: true }
}

fn reference(namespace: &str, group: &str, kind: &str, plural: &str, name: &str) -> ObjectReference {
    let version = if group == "bitnami.com" { "v1alpha1" } else { "v1" };
    ObjectReference {
        kind: ResourceKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        },
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
}
