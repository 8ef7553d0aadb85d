//! Random archives and targets against what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{Archive, World, beside, in_place, object, owned_by};
use crate::restore::{Action, LeftOutReason, RestorePlan, RestoreRequest, transform::transform};

const NAMESPACED: [&str; 14] = [
    "configmaps",
    "secrets",
    "services",
    "endpoints",
    "deployments.apps",
    "replicasets.apps",
    "pods",
    "jobs.batch",
    "cronjobs.batch",
    "sealedsecrets.bitnami.com",
    "persistentvolumeclaims",
    "resourcequotas",
    "rolebindings.rbac.authorization.k8s.io",
    "networkpolicies.networking.k8s.io",
];

/// What an object may be like: nothing special, or one of the things that the planner looks at.
fn content() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        3 => (0..4_u8).prop_map(|number| json!({"data": {"number": number.to_string()}})),
        1 => Just(json!({"metadata": {"labels": {"app": "x"}, "finalizers": ["example.org/x", "kubernetes.io/pvc-protection"]}})),
        1 => Just(json!({"spec": {"selector": {"app": "x"}, "clusterIP": "10.0.0.1", "volumeName": "pv", "nodeName": "n", "ports": [{"port": 1, "nodePort": 30000}]}})),
        1 => Just(json!({"status": {"phase": "Succeeded", "completionTime": "x"}})),
        1 => Just(json!({"spec": {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "staging"}}}]}]}})),
        1 => Just(json!({"subjects": [{"kind": "ServiceAccount", "namespace": "staging", "name": "a"}], "roleRef": {"kind": "ClusterRole", "name": "a"}})),
        1 => Just(json!({"metadata": {"ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Widget", "name": "gone", "uid": "not-a-uuid", "controller": true}]}})),
        2 => name().prop_map(|name| owned_by("deployments.apps", name)),
        2 => name().prop_map(|name| owned_by("replicasets.apps", name)),
        1 => name().prop_map(|name| owned_by("sealedsecrets.bitnami.com", name)),
        1 => name().prop_map(|name| owned_by("cronjobs.batch", name)),
    ]
}

fn item() -> impl Strategy<Value = (String, Value)> {
    let namespaced = (
        prop::sample::select(NAMESPACED.to_vec()),
        prop::sample::select(vec!["a", "b", "c"]),
        content(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(kind, name, content, elsewhere)| {
            let mut object = object(kind, name, content);
            if elsewhere {
                object["metadata"]["namespace"] = "production".into();
            }
            (kind.to_owned(), object)
        });
    let cluster = (
        prop::sample::select(vec![
            "clusterroles.rbac.authorization.k8s.io",
            "clusterrolebindings.rbac.authorization.k8s.io",
            "persistentvolumes",
            "priorityclasses.scheduling.k8s.io",
        ]),
        prop::sample::select(vec!["a", "b"]),
        content(),
    )
        .prop_map(|(kind, name, content)| (kind.to_owned(), object(kind, name, content)));
    prop_oneof![6 => namespaced, 1 => cluster]
}

fn archive() -> impl Strategy<Value = Archive> {
    (prop::collection::vec(item(), 0..24), any::<prop::sample::Index>()).prop_map(|(mut items, position)| {
        let namespace = Archive::staging().0.remove(0);
        items.insert(position.index(items.len() + 1), namespace);
        Archive(items)
    })
}

fn request() -> impl Strategy<Value = RestoreRequest> {
    (any::<bool>(), any::<bool>()).prop_map(|(in_its_place, prune)| {
        let request = if in_its_place { in_place() } else { beside() };
        RestoreRequest { prune: prune && in_its_place, ..request }
    })
}

fn indexes(plan: &RestorePlan) -> Vec<u32> {
    let planned = plan.stages.iter().flat_map(|stage| stage.objects.iter().map(|object| object.index));
    let mut indexes: Vec<u32> = planned.chain(plan.left_out.iter().map(|left| left.index)).collect();
    indexes.sort_unstable();
    indexes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_item_is_planned_or_left_out_exactly_once(archive in archive(), before in archive(), request in request()) {
        let plan = archive.plan(&request, Some(&World::of(&before)));
        prop_assert_eq!(indexes(&plan), (0..archive.0.len() as u32).collect::<Vec<_>>());
        let counts = plan.counts;
        prop_assert_eq!(counts.items, counts.create + counts.update + counts.same + counts.leave + counts.left_out);
        let stages: BTreeMap<_, _> = plan.stages.iter().map(|stage| (stage.id, stage.objects.len())).collect();
        prop_assert_eq!(stages.len(), plan.stages.len());
        for stage in &plan.stages {
            prop_assert!(stage.objects.is_sorted_by_key(|object| object.index));
        }
    }

    #[test]
    fn no_two_objects_of_a_plan_have_one_name(archive in archive(), request in request()) {
        let plan = archive.plan(&request, None);
        let names: Vec<_> = plan.stages.iter().flat_map(|stage| stage.objects.iter().map(|object| object.target.to_string())).collect();
        prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn transforming_twice_is_transforming_once(item in item(), request in request()) {
        let once = transform(&request, item.1).object;
        prop_assert_eq!(&transform(&request, once.clone()).object, &once);
    }

    #[test]
    fn what_is_left_to_an_owner_has_one_that_comes_back(archive in archive(), request in request()) {
        let plan = archive.plan(&request, None);
        let planned: BTreeSet<u32> = plan.stages.iter().flat_map(|stage| stage.objects.iter().map(|object| object.index)).collect();
        let left: BTreeMap<u32, &LeftOutReason> = plan.left_out.iter().map(|left| (left.index, &left.reason)).collect();
        for object in plan.left_out.iter().filter(|left| matches!(left.reason, LeftOutReason::Owned { .. })) {
            let archived = &archive.0[object.index as usize].1;
            let owned_by = |(kind, owner): &(String, Value)| match object.object.kind.plural.as_str() {
                "endpoints" => kind == "services" && owner["metadata"]["name"] == archived["metadata"]["name"],
                _ => owner["metadata"]["uid"] == archived["metadata"]["ownerReferences"][0]["uid"],
            };
            let mut owners = (0..).zip(&archive.0).filter(|(_, item)| owned_by(item));
            let returns = owners.any(|(index, _)| planned.contains(&index) || matches!(left.get(&index), Some(LeftOutReason::Owned { .. })));
            prop_assert!(returns, "{:?}", object);
        }
    }

    #[test]
    fn what_was_restored_is_the_same_when_planned_again(archive in archive(), before in archive(), request in request()) {
        let mut world = World::of(&before);
        let plan = archive.plan(&request, Some(&world));
        world.carry_out(&archive, &request, &plan);
        let again = archive.plan(&request, Some(&world));
        prop_assert_eq!((again.counts.create, again.counts.update, again.counts.prune), (0, 0, 0));
        prop_assert_eq!(indexes(&again), indexes(&plan));
        let left: Vec<_> = plan.left_out.iter().map(|left| &left.reason).collect();
        prop_assert_eq!(again.left_out.iter().map(|left| &left.reason).collect::<Vec<_>>(), left);
        prop_assert!(again.nothing_to_do());
    }

    #[test]
    fn beside_only_new_objects_are_written(archive in archive(), request in request()) {
        if request.beside() {
            let world = World::of(&archive);
            let plan = archive.plan(&request, Some(&world));
            for object in plan.stages.iter().flat_map(|stage| &stage.objects).filter(|object| object.writes()) {
                prop_assert!(matches!(object.action, Action::Create), "{:?}", object);
                prop_assert!(object.target.namespace.as_deref().is_none_or(|namespace| namespace == "copy"));
            }
        }
    }
}
