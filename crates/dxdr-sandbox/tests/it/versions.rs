//! Kinds of definitions in several versions, and what the sandbox leaves to a real server.

use futures::TryStreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::on_both;
use crate::scenarios::{dynamic, eventually};

fn definition(group: &str, storage: &str, rules: &Value) -> Value {
    let version = |name: &str| {
        json!({
            "name": name, "served": true, "storage": name == storage, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {
                    "type": "object", "x-kubernetes-validations": rules,
                    "properties": {"size": {"type": "integer"}, format!("only{name}"): {"type": "string"}},
                }},
            }},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gears.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "gears", "kind": "Gear"},
            "versions": [version("v1"), version("v2")],
        },
    })
}

#[tokio::test]
async fn versions_without_conversion_differ_in_their_name() {
    on_both("versions", |cluster| async move {
        let group = format!("{}.example.com", cluster.namespace);
        let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
        let first: CustomResourceDefinition = serde_json::from_value(definition(&group, "v1", &json!(null))).unwrap();
        let created = definitions.create(&PostParams::default(), &first).await.unwrap();
        assert_eq!(created.spec.conversion.unwrap().strategy, "None");
        let (one, two) = (dynamic(&cluster, &group, "v1", "Gear"), dynamic(&cluster, &group, "v2", "Gear"));
        for api in [&one, &two] {
            eventually("served", || async { api.list(&ListParams::default()).await.is_ok() }).await;
        }
        let gear = |version: &str, spec: Value| json!({"apiVersion": format!("{group}/{version}"), "kind": "Gear", "metadata": {"name": "g"}, "spec": spec});
        let object: DynamicObject = serde_json::from_value(gear("v1", json!({"size": 1, "onlyv1": "a"}))).unwrap();
        let created = one.create(&PostParams { field_manager: Some("maker".to_owned()), ..PostParams::default() }, &object).await.unwrap();
        let read = two.get("g").await.unwrap();
        assert_eq!(read.types.as_ref().unwrap().api_version, format!("{group}/v2"));
        assert_eq!((read.resource_version(), read.uid()), (created.resource_version(), created.uid()));
        assert_eq!(read.data["spec"]["size"], 1);
        let applied = two.patch("g", &PatchParams::apply("applier").force(), &Patch::Apply(gear("v2", json!({"size": 2})))).await.unwrap();
        let owners: Vec<(String, String)> = applied
            .managed_fields()
            .iter()
            .map(|entry| (entry.manager.clone().unwrap(), entry.api_version.clone().unwrap()))
            .collect();
        assert!(owners.contains(&("applier".to_owned(), format!("{group}/v2"))), "{owners:?}");
        let mut events = Box::pin(two.watch(&WatchParams::default().timeout(30), &created.resource_version().unwrap()).await.unwrap());
        let Some(WatchEvent::Modified(seen)) = events.try_next().await.unwrap() else { panic!("no event") };
        assert_eq!(seen.types.unwrap().api_version, format!("{group}/v2"));
        let name = format!("gears.{group}");
        let second = Patch::Apply(definition(&group, "v2", &json!(null)));
        definitions.patch(&name, &PatchParams::apply("test").force(), &second).await.unwrap();
        eventually("both versions may be stored", || async {
            definitions.get(&name).await.unwrap().status.unwrap().stored_versions == Some(vec!["v1".to_owned(), "v2".to_owned()])
        })
        .await;
        definitions.delete(&name, &DeleteParams::default()).await.unwrap();
        eventually("it is not served any more", || async { one.list(&ListParams::default()).await.is_err() }).await;
    })
    .await;
}

#[tokio::test]
async fn the_sandbox_says_that_it_does_not_evaluate_rules() {
    on_both("rules", |cluster| async move {
        if cluster.sandbox.is_none() {
            return;
        }
        let group = format!("{}.example.com", cluster.namespace);
        let warned = |rules: Value| {
            let body = definition(&group, "v1", &rules).to_string().into_bytes();
            let request = axum::http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All")
                .header("content-type", "application/json")
                .body(kube::client::Body::from(body))
                .unwrap();
            let client = cluster.client.clone();
            async move {
                let response = client.send(request).await.unwrap();
                response.headers().get("warning").map(|warning| warning.to_str().unwrap().to_owned())
            }
        };
        let warning = warned(json!([{"rule": "self.size > 0"}])).await.unwrap();
        assert!(warning.contains("does not evaluate x-kubernetes-validations"), "{warning}");
        assert_eq!(warned(json!(null)).await, None);
    })
    .await;
}
