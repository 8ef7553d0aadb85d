//! What a client sees of the past, and of what goes on beside it.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, VersionMatch, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::on_both;
use crate::scenarios::{dynamic, eventually, map, refused};

#[tokio::test]
async fn a_list_at_a_revision_shows_what_was() {
    on_both("revision", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let before = maps.create(&PostParams::default(), &map("m", json!({"a": "1"}))).await.unwrap();
        maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await.unwrap();
        maps.create(&PostParams::default(), &map("n", json!({}))).await.unwrap();
        let revision = before.resource_version().unwrap();
        let exact = ListParams::default().at(&revision).matching(VersionMatch::Exact);
        let past = maps.list(&exact).await.unwrap();
        assert_eq!(past.metadata.resource_version.as_deref(), Some(revision.as_str()));
        let found = past.items.iter().find(|one| one.name_any() == "m").unwrap();
        assert_eq!(found.data.as_ref().unwrap()["a"], "1");
        assert!(!past.items.iter().any(|one| one.name_any() == "n"));
        let newer = ListParams::default().at(&revision).matching(VersionMatch::NotOlderThan);
        assert!(maps.list(&newer).await.unwrap().items.iter().any(|one| one.name_any() == "n"));
    })
    .await;
}

#[tokio::test]
async fn an_expired_list_can_go_on_inconsistently() {
    on_both("expired", |cluster| async move {
        // A real server forgets after five minutes, which is too long for a test.
        let Some(sandbox) = &cluster.sandbox else { return };
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        for name in ["a", "b", "c"] {
            maps.create(&PostParams::default(), &map(name, json!({}))).await.unwrap();
        }
        let first = maps.list(&ListParams::default().limit(1)).await.unwrap();
        maps.delete("b", &DeleteParams::default()).await.unwrap();
        maps.create(&PostParams::default(), &map("bb", json!({}))).await.unwrap();
        sandbox.compact();
        let token = first.metadata.continue_.unwrap();
        let status = refused(maps.list(&ListParams::default().limit(9).continue_token(&token)).await);
        assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        assert!(status.message.starts_with("The provided continue parameter is too old to display a consistent list result."));
        let onward = status.metadata.unwrap().continue_.unwrap();
        let rest = maps.list(&ListParams::default().limit(9).continue_token(&onward)).await.unwrap();
        let names: Vec<String> = rest.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["bb", "c", "kube-root-ca.crt"]);
    })
    .await;
}

#[tokio::test]
async fn a_streaming_list_says_when_it_is_complete() {
    on_both("streaming", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        maps.create(&PostParams::default(), &map("s", json!({}))).await.unwrap();
        let parameters = WatchParams::default().fields("metadata.name=s").initial_events().timeout(30);
        let mut events = maps.watch(&parameters, "").await.unwrap().boxed();
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(one)) if one.name_any() == "s"));
        let Some(WatchEvent::Bookmark(bookmark)) = events.try_next().await.unwrap() else { panic!("no bookmark") };
        assert_eq!(bookmark.metadata.annotations["k8s.io/initial-events-end"], "true");
        maps.delete("s", &DeleteParams::default()).await.unwrap();
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
    })
    .await;
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_for_its_watch() {
    on_both("matching", |cluster| async move {
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let start = maps.create(&PostParams::default(), &map("l", json!({}))).await.unwrap().resource_version().unwrap();
        let label = |value: serde_json::Value| Patch::Merge(json!({"metadata": {"labels": {"seen": value}}}));
        for value in [json!("yes"), json!("yes"), json!("no"), json!("yes"), json!(null)] {
            maps.patch("l", &PatchParams::default(), &label(value)).await.unwrap();
        }
        let parameters = WatchParams::default().labels("seen=yes").timeout(30);
        let events: Vec<WatchEvent<ConfigMap>> =
            maps.watch(&parameters, &start).await.unwrap().take(4).try_collect().await.unwrap();
        assert!(
            matches!(&events[..], [WatchEvent::Added(_), WatchEvent::Deleted(_), WatchEvent::Added(_), WatchEvent::Deleted(_)]),
            "{events:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn both_kinds_of_event_are_one_store() {
    on_both("events", |cluster| async move {
        let core: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let newer: Api<DynamicObject> = dynamic(&cluster, "events.k8s.io", "v1", "Event");
        let event = |name: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {"name": name}, "reason": "Tested", "message": "it works", "type": "Normal", "count": 3,
                "involvedObject": {"kind": "Pod", "name": "p", "namespace": cluster.namespace}, "source": {"component": "test"},
            }))
            .unwrap()
        };
        let created = core.create(&PostParams::default(), &event("one")).await.unwrap();
        let read = newer.get("one").await.unwrap();
        assert_eq!((read.uid(), read.resource_version()), (created.uid(), created.resource_version()));
        assert_eq!(
            (&read.data["note"], &read.data["deprecatedCount"], &read.data["regarding"]["name"]),
            (&json!("it works"), &json!(3), &json!("p"))
        );
        assert!(read.data.get("message").is_none());
        newer.delete("one", &DeleteParams::default()).await.unwrap();
        assert!(core.get_opt("one").await.unwrap().is_none());
        core.create(&PostParams::default(), &event("two")).await.unwrap();
        let listed = newer.list(&ListParams::default().fields("metadata.name=two")).await.unwrap();
        assert_eq!(listed.items[0].data["note"], "it works");
        let selected = core.list(&ListParams::default().fields("involvedObject.name=p,reason=Tested")).await.unwrap();
        assert_eq!(selected.items.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_claim_in_use_waits_for_its_pod() {
    on_both("claims", |cluster| async move {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let claim = |name: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "none-such",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }))
            .unwrap()
        };
        for name in ["used", "free"] {
            let created = claims.create(&PostParams::default(), &claim(name)).await.unwrap();
            assert_eq!(created.finalizers(), ["kubernetes.io/pvc-protection"]);
        }
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(cluster.client.clone(), &cluster.namespace);
        eventually("the service account", || async { accounts.get_opt("default").await.unwrap().is_some() }).await;
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {
                "nodeName": "nowhere", "containers": [{"name": "c", "image": "c:1"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}],
            },
        }))
        .unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        for name in ["used", "free"] {
            claims.delete(name, &DeleteParams::default()).await.unwrap();
        }
        eventually("the free claim goes", || async { claims.get_opt("free").await.unwrap().is_none() }).await;
        assert!(claims.get("used").await.unwrap().metadata.deletion_timestamp.is_some());
        pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
        eventually("the used claim goes", || async { claims.get_opt("used").await.unwrap().is_none() }).await;
    })
    .await;
}
