use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, ServiceAccount};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::core::{GroupVersionKind, Status};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::{Cluster, on_both};

pub(crate) fn map(name: &str, data: Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> Status {
    match result.unwrap_err() {
        kube::Error::Api(status) => *status,
        other => panic!("not an answer of the API: {other}"),
    }
}

pub(crate) fn dynamic(cluster: &Cluster, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
}

/// Waits for something a real cluster's controllers do a moment later.
pub(crate) async fn eventually<F, Found>(what: &str, mut found: F)
where
    F: FnMut() -> Found,
    Found: Future<Output = bool>,
{
    for _ in 0..300 {
        if found().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn refusals_speak_the_words_of_the_real_server() {
    on_both("refusals", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let post = PostParams::default();
        maps.create(&post, &map("a", json!({}))).await.unwrap();
        let status = refused(maps.create(&post, &map("a", json!({}))).await);
        assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (409, "AlreadyExists", "configmaps \"a\" already exists"));
        let status = refused(maps.get("b").await);
        assert_eq!((status.code, status.message.as_str()), (404, "configmaps \"b\" not found"));
        let status = refused(maps.create(&post, &map("Bad_Name", json!({}))).await);
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
        assert!(status.message.starts_with("ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain"), "{}", status.message);
        let elsewhere: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "nowhere-at-all");
        let status = refused(elsewhere.create(&post, &map("a", json!({}))).await);
        assert_eq!((status.code, status.message.as_str()), (404, "namespaces \"nowhere-at-all\" not found"));
        let mut stale = maps.get("a").await.unwrap();
        stale.metadata.resource_version = Some("1".to_owned());
        let status = refused(maps.replace("a", &post, &stale).await);
        assert_eq!(status.message, "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again");
        let wrong = DeleteParams::default().preconditions(Preconditions { uid: Some("no".to_owned()), resource_version: None });
        let status = refused(maps.delete("a", &wrong).await);
        assert_eq!(status.code, 409);
        assert!(status.message.contains("UID"), "{}", status.message);
    })
    .await;
}

#[tokio::test]
async fn a_fresh_namespace_is_furnished() {
    on_both("furnished", |cluster| async move {
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        eventually("the service account", || async { accounts.get_opt("default").await.unwrap().is_some() }).await;
        eventually("the root certificate", || async { maps.get_opt("kube-root-ca.crt").await.unwrap().is_some() }).await;
        maps.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
        eventually("the root certificate again", || async { maps.get_opt("kube-root-ca.crt").await.unwrap().is_some() }).await;
    })
    .await;
}

#[tokio::test]
async fn appliers_own_fields_conflict_and_drop_them() {
    on_both("apply", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let apply = |manager: &str, data: Value| {
            let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}));
            let (maps, parameters) = (maps.clone(), PatchParams::apply(manager));
            async move { maps.patch("m", &parameters, &patch).await }
        };
        apply("one", json!({"a": "1", "b": "1"})).await.unwrap();
        let first = apply("one", json!({"a": "1", "b": "1"})).await.unwrap();
        let again = apply("one", json!({"a": "1", "b": "1"})).await.unwrap();
        assert_eq!(first.resource_version(), again.resource_version(), "an apply that changes nothing writes nothing");
        let status = refused(apply("two", json!({"a": "2", "c": "2"})).await);
        assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
        let causes = status.details.unwrap().causes;
        assert_eq!(
            (causes[0].reason.as_str(), causes[0].field.as_str(), causes[0].message.as_str()),
            ("FieldManagerConflict", ".data.a", "conflict with \"one\"")
        );
        let forced = Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "2", "c": "2"}}),
        );
        let object = maps.patch("m", &PatchParams::apply("two").force(), &forced).await.unwrap();
        let owners: Vec<_> = object
            .managed_fields()
            .iter()
            .map(|entry| (entry.manager.clone().unwrap(), entry.fields_v1.clone().unwrap().0))
            .collect();
        assert!(owners.contains(&("one".to_owned(), json!({"f:data": {"f:b": {}}}))), "{owners:?}");
        assert!(owners.contains(&("two".to_owned(), json!({"f:data": {"f:a": {}, "f:c": {}}}))), "{owners:?}");
        let object = apply("one", json!({"a": "2"})).await.unwrap();
        assert_eq!(serde_json::to_value(&object.data).unwrap(), json!({"a": "2", "c": "2"}), "b was dropped, a is shared");
        let object = apply("two", json!({})).await.unwrap();
        assert_eq!(serde_json::to_value(&object.data).unwrap(), json!({"a": "2"}));
    })
    .await;
}

fn deployment(containers: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
        },
    })
}

#[tokio::test]
async fn lists_of_containers_merge_by_name() {
    on_both("lists", |cluster| async move {
        let deployments = dynamic(&cluster, "apps", "v1", "Deployment");
        let one = deployment(&json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}]));
        deployments.patch("web", &PatchParams::apply("one"), &Patch::Apply(&one)).await.unwrap();
        let mut two = deployment(&json!([{"name": "b", "image": "b:1"}]));
        two["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "a", "env": [{"name": "Y", "value": "2"}]}));
        let object = deployments.patch("web", &PatchParams::apply("two"), &Patch::Apply(&two)).await.unwrap();
        let names: Vec<&str> = object.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 2);
        let a = object.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().find(|c| c["name"] == "a").unwrap();
        assert_eq!(a["env"], json!([{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]));
        assert_eq!(a["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
        assert_eq!(object.metadata.generation, Some(2));
        let less = deployment(&json!([{"name": "b", "image": "b:1"}]));
        let object = deployments.patch("web", &PatchParams::apply("two"), &Patch::Apply(&less)).await.unwrap();
        let a = object.data["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().find(|c| c["name"] == "a").unwrap().clone();
        assert_eq!(a["env"], json!([{"name": "X", "value": "1"}]));
        let strategic = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "$patch": "delete"}, {"name": "a", "image": "a:2"}]}}}});
        let object = deployments.patch("web", &PatchParams::default(), &Patch::Strategic(&strategic)).await.unwrap();
        let containers = object.data["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!((containers.len(), containers[0]["image"].as_str().unwrap()), (1, "a:2"));
        let selector = json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}});
        let status = refused(deployments.patch("web", &PatchParams::default(), &Patch::Merge(&selector)).await);
        assert_eq!(status.code, 422);
        assert!(status.message.contains("field is immutable"), "{}", status.message);
    })
    .await;
}

#[tokio::test]
async fn pages_show_one_moment() {
    on_both("pages", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let labelled = ListParams::default().labels("page=yes");
        for index in 0..7 {
            let mut one = map(&format!("m{index}"), json!({}));
            one.labels_mut().insert("page".to_owned(), "yes".to_owned());
            maps.create(&PostParams::default(), &one).await.unwrap();
        }
        let first = maps.list(&labelled.clone().limit(3)).await.unwrap();
        assert_eq!(first.items.len(), 3);
        maps.delete("m5", &DeleteParams::default()).await.unwrap();
        maps.create(&PostParams::default(), &map("m55", json!({}))).await.unwrap();
        let second =
            maps.list(&labelled.clone().limit(9).continue_token(&first.metadata.continue_.clone().unwrap())).await.unwrap();
        let names: Vec<String> = second.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["m3", "m4", "m5", "m6"]);
        assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
        let only = maps.list(&ListParams::default().fields("metadata.name=m1")).await.unwrap();
        assert_eq!(only.items.len(), 1);
        let some = maps.list(&ListParams::default().labels("page in (yes,no),page!=no,!other")).await.unwrap();
        assert_eq!(some.items.len(), 6);
        if let Some(sandbox) = &cluster.sandbox {
            maps.create(&PostParams::default(), &map("later", json!({}))).await.unwrap();
            sandbox.compact();
            let token = first.metadata.continue_.clone().unwrap();
            let status = refused(maps.list(&labelled.clone().limit(3).continue_token(&token)).await);
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        }
    })
    .await;
}

#[tokio::test]
async fn watches_resume_and_end_when_the_past_is_forgotten() {
    on_both("watch", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let start = maps.create(&PostParams::default(), &map("w", json!({"a": "1"}))).await.unwrap().resource_version().unwrap();
        maps.patch("w", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await.unwrap();
        maps.delete("w", &DeleteParams::default()).await.unwrap();
        let parameters = WatchParams::default().fields("metadata.name=w").timeout(5);
        let events: Vec<WatchEvent<ConfigMap>> =
            maps.watch(&parameters, &start).await.unwrap().take(2).try_collect().await.unwrap();
        assert!(matches!(&events[..], [WatchEvent::Modified(_), WatchEvent::Deleted(_)]), "{events:?}");
        if let Some(sandbox) = &cluster.sandbox {
            sandbox.compact();
            let events: Vec<WatchEvent<ConfigMap>> = maps.watch(&parameters, &start).await.unwrap().try_collect().await.unwrap();
            assert!(matches!(&events[..], [WatchEvent::Error(status)] if status.code == 410), "{events:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_terminates_when_its_finalizers_let_it() {
    on_both("terminating", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let mut held = map("held", json!({}));
        held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
        maps.create(&PostParams::default(), &held).await.unwrap();
        maps.create(&PostParams::default(), &map("free", json!({}))).await.unwrap();
        let deleted = namespaces.delete(&cluster.namespace, &DeleteParams::default()).await.unwrap();
        assert!(deleted.is_left());
        let status = refused(maps.create(&PostParams::default(), &map("late", json!({}))).await);
        assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
        assert_eq!(
            status.message,
            format!(
                "configmaps \"late\" is forbidden: unable to create new content in namespace {0} because it is being terminated",
                cluster.namespace
            )
        );
        assert_eq!(status.details.unwrap().causes[0].reason, "NamespaceTerminating");
        eventually("the free map goes", || async { maps.get_opt("free").await.unwrap().is_none() }).await;
        eventually("the conditions say what remains", || async {
            let status = namespaces.get(&cluster.namespace).await.unwrap().status.unwrap();
            assert_eq!(status.phase.as_deref(), Some("Terminating"));
            status.conditions.into_iter().flatten().any(|c| {
                c.type_ == "NamespaceFinalizersRemaining"
                    && c.status == "True"
                    && c.message.as_deref()
                        == Some(
                            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
                        )
            })
        })
        .await;
        assert!(maps.get("held").await.unwrap().metadata.deletion_timestamp.is_some());
        maps.patch("held", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
        eventually("the namespace goes", || async { namespaces.get_opt(&cluster.namespace).await.unwrap().is_none() }).await;
    })
    .await;
}

#[tokio::test]
async fn dependents_go_with_their_owner_or_stay_as_orphans() {
    on_both("owners", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let post = PostParams::default();
        for (owner, dependent) in [("o1", "d1"), ("o2", "d2"), ("o3", "d3")] {
            let owner = maps.create(&post, &map(owner, json!({}))).await.unwrap();
            let mut one = map(dependent, json!({}));
            one.metadata.owner_references = Some(vec![serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid().unwrap(), "blockOwnerDeletion": true})).unwrap()]);
            maps.create(&post, &one).await.unwrap();
        }
        maps.delete("o1", &DeleteParams::background()).await.unwrap();
        eventually("the dependent goes", || async { maps.get_opt("d1").await.unwrap().is_none() }).await;
        maps.delete("o2", &DeleteParams::orphan()).await.unwrap();
        eventually("the orphan has no owner", || async { maps.get("d2").await.unwrap().owner_references().is_empty() && maps.get_opt("o2").await.unwrap().is_none() }).await;
        maps.delete("o3", &DeleteParams::foreground()).await.unwrap();
        eventually("both go", || async { maps.get_opt("d3").await.unwrap().is_none() && maps.get_opt("o3").await.unwrap().is_none() }).await;
        let mut lost = map("lost", json!({}));
        lost.metadata.owner_references = Some(vec![serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "00000000-0000-4000-8000-000000000000"})).unwrap()]);
        maps.create(&post, &lost).await.unwrap();
        eventually("an object whose owner does not exist goes", || async { maps.get_opt("lost").await.unwrap().is_none() }).await;
    })
    .await;
}

#[tokio::test]
async fn a_quota_refuses_with_its_numbers() {
    on_both("quota", |cluster| async move {
        let quotas: Api<ResourceQuota> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let quota = serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "1"}}})).unwrap();
        quotas.create(&PostParams::default(), &quota).await.unwrap();
        eventually("the quota counts", || async {
            quotas.get("q").await.unwrap().status.is_some_and(|status| status.used.is_some())
        })
        .await;
        let secret = |name: &str| -> Secret {
            serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {"a": "b"}})).unwrap()
        };
        let created = secrets.create(&PostParams::default(), &secret("one")).await.unwrap();
        assert_eq!(created.data.unwrap()["a"].0, b"b");
        assert_eq!(created.type_.as_deref(), Some("Opaque"));
        let status = refused(secrets.create(&PostParams::default(), &secret("two")).await);
        assert_eq!(status.code, 403);
        assert_eq!(
            status.message,
            "secrets \"two\" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"
        );
    })
    .await;
}

#[tokio::test]
async fn a_definition_serves_and_validates_its_kind() {
    on_both("definition", |cluster| async move {
        let group = format!("{}.example.com", cluster.namespace);
        let name = format!("widgets.{group}");
        let definitions: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> = Api::all(cluster.client.clone());
        let definition = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [
                    {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                        "type": "object", "properties": {
                            "spec": {"type": "object", "required": ["size"], "properties": {
                                "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
                            }},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        },
                    }}},
                    {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
                ],
            },
        })).unwrap();
        definitions.create(&PostParams::default(), &definition).await.unwrap();
        eventually("established", || async {
            let status = definitions.get(&name).await.unwrap().status;
            status.and_then(|status| status.conditions).into_iter().flatten().any(|condition| condition.type_ == "Established" && condition.status == "True")
        })
        .await;
        let widgets = dynamic(&cluster, &group, "v1", "Widget");
        eventually("served", || async { widgets.list(&ListParams::default()).await.is_ok() }).await;
        let widget = |spec: Value| -> DynamicObject { serde_json::from_value(json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": spec, "status": {"x": 1}})).unwrap() };
        let status = refused(widgets.create(&PostParams::default(), &widget(json!({"size": "big"}))).await);
        assert_eq!(status.message, format!("Widget.{group} \"w\" is invalid: spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\""));
        let status = refused(widgets.create(&PostParams::default(), &widget(json!({"size": 0}))).await);
        assert_eq!(status.message, format!("Widget.{group} \"w\" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"));
        let status = refused(widgets.create(&PostParams::default(), &widget(json!({"size": 1, "color": "green"}))).await);
        assert_eq!(status.message, format!("Widget.{group} \"w\" is invalid: spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\""));
        let status = refused(widgets.create(&PostParams::default(), &widget(json!({}))).await);
        assert_eq!(status.message, format!("Widget.{group} \"w\" is invalid: spec.size: Required value"));
        let created = widgets.create(&PostParams::default(), &widget(json!({"size": 2, "unknown": true}))).await.unwrap();
        assert_eq!(created.data["spec"], json!({"size": 2, "color": "red"}));
        assert!(created.data.get("status").is_none());
        assert_eq!(created.metadata.generation, Some(1));
        let updated = widgets.patch_status("w", &PatchParams::default(), &Patch::Merge(json!({"status": {"ready": true}}))).await.unwrap();
        assert_eq!((updated.data["status"].clone(), updated.metadata.generation), (json!({"ready": true}), Some(1)));
        let apply = |manager: &str, parts: Value| {
            let patch = Patch::Apply(json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 2, "parts": parts}}));
            let (widgets, parameters) = (widgets.clone(), PatchParams::apply(manager).force());
            async move { widgets.patch("w", &parameters, &patch).await }
        };
        apply("one", json!([{"name": "a", "n": 1}])).await.unwrap();
        let object = apply("two", json!([{"name": "b", "n": 2}])).await.unwrap();
        assert_eq!(object.data["spec"]["parts"].as_array().unwrap().len(), 2);
        assert_eq!(object.metadata.generation, Some(3));
        let unserved = dynamic(&cluster, &group, "v2", "Widget");
        assert_eq!(refused(unserved.list(&ListParams::default()).await).code, 404);
        definitions.delete(&name, &DeleteParams::default()).await.unwrap();
        eventually("the definition goes", || async { definitions.get_opt(&name).await.unwrap().is_none() }).await;
        eventually("no longer served", || async { widgets.list(&ListParams::default()).await.is_err() }).await;
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    on_both("dry", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let shown = maps.create(&dry, &map("d", json!({"a": "1"}))).await.unwrap();
        assert!(shown.uid().is_some());
        assert!(maps.get_opt("d").await.unwrap().is_none());
        let mut named = map("ignored", json!({}));
        named.metadata.name = None;
        named.metadata.generate_name = Some("gen-".to_owned());
        let made = maps.create(&PostParams::default(), &named).await.unwrap();
        assert_eq!(made.name_any().len(), 9);
        let immutable =
            serde_json::from_value(json!({"metadata": {"name": "fixed"}, "data": {"a": "1"}, "immutable": true})).unwrap();
        maps.create(&PostParams::default(), &immutable).await.unwrap();
        let status = refused(maps.patch("fixed", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await);
        assert_eq!(status.message, "ConfigMap \"fixed\" is invalid: data: Forbidden: field is immutable when `immutable` is set");
    })
    .await;
}

#[tokio::test]
async fn merged_lists_keep_the_order_of_the_real_server() {
    on_both("order", |cluster| async move {
        let deployments = dynamic(&cluster, "apps", "v1", "Deployment");
        for (first, second, expected) in [
            ("x", "y", "x y"),
            ("x y", "y x", "y x"),
            ("x y z", "z x", "y z x"),
            ("x y z", "q y", "x q y z"),
            ("x y z", "y q", "x y z q"),
            ("x y z", "q z w x r", "y q z w x r"),
        ] {
            let containers =
                |names: &str| -> Value { names.split(' ').map(|name| json!({"name": name, "image": "x"})).collect() };
            deployments
                .patch("web", &PatchParams::apply("one").force(), &Patch::Apply(deployment(&containers(first))))
                .await
                .unwrap();
            let object = deployments
                .patch("web", &PatchParams::apply("two").force(), &Patch::Apply(deployment(&containers(second))))
                .await
                .unwrap();
            let names: Vec<&str> = object.data["spec"]["template"]["spec"]["containers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["name"].as_str().unwrap())
                .collect();
            assert_eq!(names.join(" "), expected, "{first} and then {second}");
            deployments.delete("web", &DeleteParams::background()).await.unwrap();
            eventually("the deployment goes", || async { deployments.get_opt("web").await.unwrap().is_none() }).await;
        }
    })
    .await;
}
