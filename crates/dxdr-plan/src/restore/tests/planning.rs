use serde_json::{Value, json};

use super::world::{Archive, World, beside, in_place, kind, left_out, notes, object, owned_by, shown};
use crate::{
    Severity,
    restore::{Action, Executor, Existing, LeaveReason, RestorePlanner, RestoreRequest},
};

fn nothing() -> Value {
    json!({})
}

fn account_token(account: &str) -> Value {
    json!({"type": "kubernetes.io/service-account-token",
        "metadata": {"annotations": {"kubernetes.io/service-account.name": account}}})
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn stages_follow_each_other_whatever_the_order_of_the_archive() {
    let archive = Archive::default()
        .with("resourcequotas", "quota", nothing())
        .with("widgets.example.org", "gear", nothing())
        .with("ingresses.networking.k8s.io", "web", nothing())
        .with("deployments.apps", "api", nothing())
        .with("networkpolicies.networking.k8s.io", "deny", nothing())
        .with("persistentvolumeclaims", "data", nothing())
        .with("secrets", "db", nothing())
        .with("rolebindings.rbac.authorization.k8s.io", "edit", json!({"roleRef": {"kind": "Role", "name": "edit"}}))
        .with("roles.rbac.authorization.k8s.io", "edit", nothing())
        .with("serviceaccounts", "api", nothing())
        .with("limitranges", "limits", nothing())
        .with("namespaces", "staging", nothing())
        .with(
            "customresourcedefinitions.apiextensions.k8s.io",
            "widgets.example.org",
            json!({"spec": {"versions": [{"name": "v1", "served": true}]}}),
        );
    let plan = archive.plan(&in_place(), Some(&World::default()));
    assert_eq!(
        shown(&plan),
        lines(
            "definitions: create customresourcedefinitions.apiextensions.k8s.io widgets.example.org
            namespaces: create namespaces staging
            accounts: create serviceaccounts staging/api
            roles: create roles.rbac.authorization.k8s.io staging/edit
            bindings: create rolebindings.rbac.authorization.k8s.io staging/edit
            limits: create limitranges staging/limits
            configuration: create secrets staging/db
            claims: create persistentvolumeclaims staging/data
            network-policies: create networkpolicies.networking.k8s.io staging/deny
            workloads: create deployments.apps staging/api
            routes: create ingresses.networking.k8s.io staging/web
            others: create widgets.example.org staging/gear
            quotas: create resourcequotas staging/quota"
        )
    );
    assert_eq!(left_out(&plan), Vec::<String>::new());
    let steps: Vec<_> = plan.steps().into_iter().map(|step| step.id).collect();
    assert_eq!(steps.first().map(String::as_str), Some("definitions"));
    assert_eq!(plan.estimate.writes, 13);
}

#[test]
fn what_owners_make_again_is_left_to_them() {
    let archive = Archive::staging()
        .with("pods", "api-1-x", owned_by("replicasets.apps", "api-1"))
        .with("replicasets.apps", "api-1", owned_by("deployments.apps", "api"))
        .with("deployments.apps", "api", nothing())
        .with("pods", "alone", nothing())
        .with("pods", "lost", owned_by("replicasets.apps", "not-there"))
        .with("pods", "done", json!({"status": {"phase": "Succeeded"}}))
        .with("pods", "mirror", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}))
        .with("statefulsets.apps", "redis", nothing())
        .with("controllerrevisions.apps", "redis-1", owned_by("statefulsets.apps", "redis"))
        .with("persistentvolumeclaims", "data-redis-0", nothing())
        .with("persistentvolumeclaims", "api-1-x-scratch", owned_by("pods", "api-1-x"))
        .with("persistentvolumeclaims", "lost-scratch", owned_by("pods", "not-there"))
        .with("sealedsecrets.bitnami.com", "db", nothing())
        .with("secrets", "db", owned_by("sealedsecrets.bitnami.com", "db"))
        .with("services", "api", json!({"spec": {"selector": {"app": "api"}}}))
        .with("endpoints", "api", nothing())
        .with("endpointslices.discovery.k8s.io", "api-x", owned_by("services", "api"))
        .with("services", "outside", nothing())
        .with("endpoints", "outside", nothing())
        .with("cronjobs.batch", "nightly", nothing())
        .with("jobs.batch", "nightly-1", owned_by("cronjobs.batch", "nightly"))
        .with("jobs.batch", "migrated", json!({"status": {"completionTime": "2024-04-30T00:00:00Z"}}))
        .with("configmaps", "kube-root-ca.crt", nothing())
        .with("serviceaccounts", "default", nothing())
        .with("secrets", "api-token-x8z2q", account_token("api"))
        .with("secrets", "api-token-for-ci", account_token("api"))
        .with("events", "happened", nothing())
        .with("leases.coordination.k8s.io", "leader", nothing());
    let plan = archive.plan(&in_place(), None);
    assert_eq!(
        left_out(&plan),
        lines(
            "pods staging/api-1-x: ReplicaSet api-1 makes it again
            replicasets.apps staging/api-1: Deployment api makes it again
            pods staging/done: it has finished
            pods staging/mirror: it is run by a node on its own
            controllerrevisions.apps staging/redis-1: StatefulSet redis makes it again
            persistentvolumeclaims staging/api-1-x-scratch: Pod api-1-x makes it again
            secrets staging/db: SealedSecret db makes it again
            endpoints staging/api: Service api makes it again
            endpointslices.discovery.k8s.io staging/api-x: Service api makes it again
            jobs.batch staging/nightly-1: CronJob nightly makes it again
            jobs.batch staging/migrated: it has finished
            configmaps staging/kube-root-ca.crt: every cluster makes it itself
            serviceaccounts staging/default: every cluster makes it itself
            secrets staging/api-token-x8z2q: every cluster makes it itself
            events staging/happened: it tells what happened there
            leases.coordination.k8s.io staging/leader: leadership is taken anew"
        )
    );
    let planned = shown(&plan).join("\n");
    for name in [
        "pods staging/alone",
        "pods staging/lost",
        "persistentvolumeclaims staging/data-redis-0",
        "persistentvolumeclaims staging/lost-scratch",
        "endpoints staging/outside",
        "secrets staging/api-token-for-ci",
    ] {
        assert!(planned.contains(name), "{name} in\n{planned}");
    }
}

#[test]
fn what_only_an_operator_owns_is_restored_and_said_to_be_an_orphan() {
    let archive = Archive::staging().with("widgets.example.org", "gear", nothing()).with(
        "secrets",
        "gear-password",
        owned_by("widgets.example.org", "gear"),
    );
    let plan = archive.plan(&in_place(), None);
    assert!(shown(&plan).contains(&"configuration: create secrets staging/gear-password".to_owned()));
    assert!(
        notes(&plan).iter().any(|note| note.contains("belonged to an owner that does not make them again")),
        "{:?}",
        notes(&plan)
    );
}

#[test]
fn live_objects_are_the_same_or_differ_field_by_field() {
    let archive = Archive::staging()
        .with("configmaps", "same", json!({"data": {"a": "1"}}))
        .with("configmaps", "changed", json!({"data": {"a": "1", "gone": "x"}}))
        .with("configmaps", "missing", nothing())
        .with("secrets", "db", json!({"data": {"password": "c2VjcmV0"}}))
        .with("services", "api", json!({"spec": {"clusterIP": "10.0.0.1"}}))
        .with("deployments.apps", "api", json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "api"}}}}));
    let mut world = World::of(&archive);
    world.objects.remove(&("configmaps".to_owned(), Some("staging".to_owned()), "missing".to_owned()));
    *world.object("configmaps", Some("staging"), "changed") =
        object("configmaps", "changed", json!({"data": {"a": "2", "added": "y"}}));
    world.object("secrets", Some("staging"), "db")["data"]["password"] = "b3RoZXI=".into();
    world.object("services", Some("staging"), "api")["spec"]["clusterIP"] = "10.0.0.9".into();
    world.object("deployments.apps", Some("staging"), "api")["spec"]["replicas"] = 0.into();
    let plan = archive.plan(&in_place(), Some(&world));
    assert_eq!(
        shown(&plan),
        lines(
            "namespaces: same namespaces staging
            configuration: same configmaps staging/same
            configuration: update configmaps staging/changed
            configuration: create configmaps staging/missing
            configuration: update secrets staging/db
            services: same services staging/api
            workloads: update deployments.apps staging/api"
        )
    );
    let action = |name: &str| {
        plan.stages
            .iter()
            .flat_map(|stage| &stage.objects)
            .find(|object| object.target.to_string() == name)
            .map(|object| object.action.clone())
            .unwrap()
    };
    let Action::Update { differences, removes, recreates: false } = action("configmaps staging/changed") else { panic!() };
    let fields: Vec<_> =
        differences.iter().map(|field| (field.path.as_str(), field.from.as_deref(), field.to.as_deref())).collect();
    assert_eq!(
        fields,
        [("data.a", Some("\"2\""), Some("\"1\"")), ("data.gone", None, Some("\"x\"")), ("data.added", Some("\"y\""), None)]
    );
    assert!(removes, "a field is only in the live object");
    let Action::Update { removes, .. } = action("deployments.apps staging/api") else { panic!() };
    assert!(!removes);
    let secret = format!("{:?}", action("secrets staging/db"));
    assert!(secret.contains("data.password") && !secret.contains("c2Vj") && !secret.contains("b3Ro"), "{secret}");
}

#[test]
fn a_field_that_cannot_be_changed_leaves_the_object_alone_unless_nothing_is_lost_by_creating_it_again() {
    let archive = Archive::staging()
        .with("deployments.apps", "api", json!({"spec": {"selector": {"matchLabels": {"app": "api"}}}}))
        .with("rolebindings.rbac.authorization.k8s.io", "edit", json!({"roleRef": {"kind": "Role", "name": "edit"}}))
        .with("statefulsets.apps", "redis", json!({"spec": {"replicas": 1, "serviceName": "redis"}}));
    let mut world = World::of(&archive);
    world.object("deployments.apps", Some("staging"), "api")["spec"]["selector"]["matchLabels"]["app"] = "web".into();
    world.object("rolebindings.rbac.authorization.k8s.io", Some("staging"), "edit")["roleRef"]["name"] = "view".into();
    world.object("statefulsets.apps", Some("staging"), "redis")["spec"]["replicas"] = 0.into();
    let plan = archive.plan(&in_place(), Some(&world));
    assert_eq!((plan.counts.leave, plan.counts.update), (1, 2));
    assert_eq!(
        notes(&plan),
        [
            "warning: 1 object has a field that differs and cannot be changed, and stays as it is",
            "note: 1 object has a field that differs and cannot be changed, and is deleted and created as it was"
        ]
    );
    assert_eq!(plan.immutable().map(|object| object.target.to_string()).collect::<Vec<_>>(), ["deployments.apps staging/api"]);
}

#[test]
fn an_object_that_is_being_deleted_is_not_there_for_good_however_much_it_is_as_it_was() {
    let archive = Archive::staging().with("configmaps", "held", nothing()).with("configmaps", "kept", nothing());
    let mut world = World::of(&archive);
    world.object("configmaps", Some("staging"), "held")["metadata"]["deletionTimestamp"] = "2024-05-02T00:00:00Z".into();
    let plan = archive.plan(&in_place(), Some(&world));
    assert_eq!(plan.being_deleted().map(|object| object.target.to_string()).collect::<Vec<_>>(), ["configmaps staging/held"]);
    assert_eq!((plan.counts.leave, plan.counts.update, plan.counts.create), (1, 0, 0));
    assert_eq!(notes(&plan), ["warning: 1 object is being deleted, and has finalizers that hold it until then"]);
}

#[test]
fn a_role_of_a_namespace_may_be_called_as_those_of_the_cluster() {
    let archive = Archive::staging().with("roles.rbac.authorization.k8s.io", "system:app:reader", json!({"rules": []})).with(
        "roles.rbac.authorization.k8s.io",
        "system:controller:token-cleaner",
        json!({"metadata": {"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}}),
    );
    let plan = archive.plan(&in_place(), None);
    assert!(shown(&plan).contains(&"roles: create roles.rbac.authorization.k8s.io staging/system:app:reader".to_owned()));
    assert_eq!(
        left_out(&plan),
        ["roles.rbac.authorization.k8s.io staging/system:controller:token-cleaner: every cluster makes it itself"]
    );
}

#[test]
fn what_cannot_change_is_what_is_immutable_now() {
    let frozen = json!({"immutable": true, "data": {"a": "MQ=="}});
    let free = json!({"data": {"a": "MQ=="}});
    for kind in ["configmaps", "secrets"] {
        let archive = Archive::staging().with(kind, "frozen-later", free.clone()).with(kind, "frozen-then", frozen.clone());
        let mut world = World::of(&archive);
        world.object(kind, Some("staging"), "frozen-later")["immutable"] = true.into();
        world.object(kind, Some("staging"), "frozen-then").as_object_mut().unwrap().remove("immutable");
        let plan = archive.plan(&in_place(), Some(&world));
        let object = |name: &str| {
            let mut objects = plan.stages.iter().flat_map(|stage| &stage.objects);
            objects.find(|object| object.target.name == name).unwrap()
        };
        assert!(matches!(object("frozen-later").action, Action::Update { recreates: true, .. }), "{kind}");
        assert!(matches!(object("frozen-then").action, Action::Update { recreates: false, .. }), "{kind}");
    }
}

#[test]
fn existing_objects_are_left_when_asked() {
    let archive = Archive::staging().with("configmaps", "changed", json!({"data": {"a": "1"}}));
    let mut world = World::of(&archive);
    world.object("configmaps", Some("staging"), "changed")["data"]["a"] = "2".into();
    let plan = archive.plan(&RestoreRequest { existing: Existing::Leave, ..in_place() }, Some(&world));
    assert!(plan.nothing_to_do());
    let object = plan.stages.last().unwrap().objects.first().unwrap();
    assert!(matches!(object.action, Action::Leave { reason: LeaveReason::Asked, .. }));
}

#[test]
fn pruning_removes_what_was_not_there_and_nothing_else() {
    let archive = Archive::staging().with("configmaps", "kept", nothing()).with("deployments.apps", "api", nothing());
    let mut world = World::of(&archive);
    for (kind, name, more) in [
        ("configmaps", "later", nothing()),
        ("configmaps", "kube-root-ca.crt", nothing()),
        ("configmaps", "excluded", json!({"metadata": {"labels": {"velero.io/exclude-from-backup": "true"}}})),
        ("configmaps", "owned", owned_by("widgets.example.org", "gear")),
        ("configmaps", "leaving", json!({"metadata": {"deletionTimestamp": "2024-05-02T00:00:00Z"}})),
        ("deployments.apps", "later", nothing()),
        ("leases.coordination.k8s.io", "leader", nothing()),
        ("secrets", "later", nothing()),
        ("persistentvolumeclaims", "later", nothing()),
    ] {
        world.put(object(kind, name, more));
    }
    let request = RestoreRequest { prune: true, ..in_place() };
    let pruned = |plan: &crate::restore::RestorePlan| -> Vec<String> {
        plan.prune.iter().map(|object| object.reference.to_string()).collect()
    };
    let plan = archive.plan(&request, Some(&world));
    assert_eq!(
        pruned(&plan),
        ["deployments.apps staging/later", "configmaps staging/later"],
        "kinds that the archive does not hold are unknown"
    );
    assert!(plan.prune.iter().all(|object| object.uid.is_some()));

    let captured = ["configmaps", "deployments.apps", "secrets", "persistentvolumeclaims"].map(str::to_owned);
    let planner = RestorePlanner::new(request.clone(), None, Some(world.live())).unwrap().captured(captured.clone());
    let plan = archive.feed(planner);
    assert_eq!(
        pruned(&plan),
        [
            "deployments.apps staging/later",
            "persistentvolumeclaims staging/later",
            "configmaps staging/later",
            "secrets staging/later"
        ]
    );
    assert!(notes(&plan).iter().any(|note| note.contains("1 volume claims are removed")), "{:?}", notes(&plan));
    assert_eq!(
        plan.prune_step().map(|step| step.title).as_deref(),
        Some("Remove 4 objects that were not there at 2024-05-01T10:00:00Z")
    );

    let narrowed = RestoreRequest { include: vec!["configmaps".to_owned()], ..request };
    let plan = archive.feed(RestorePlanner::new(narrowed, None, Some(world.live())).unwrap().captured(captured));
    assert_eq!(pruned(&plan), ["configmaps staging/later"], "what is not asked for stays");
    assert!(archive.plan(&in_place(), Some(&world)).prune.is_empty());
}

#[test]
fn cluster_scoped_objects_come_along_when_they_are_needed_and_missing() {
    let definition = json!({"spec": {"versions": [{"name": "v1", "served": true}]}});
    let account = |namespace: &str| json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "api"}]});
    let archive = Archive::staging()
        .with("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.org", definition.clone())
        .with("customresourcedefinitions.apiextensions.k8s.io", "unused.example.org", definition)
        .with("priorityclasses.scheduling.k8s.io", "high", json!({"value": 5}))
        .with("priorityclasses.scheduling.k8s.io", "unused", nothing())
        .with("storageclasses.storage.k8s.io", "fast", nothing())
        .with("clusterroles.rbac.authorization.k8s.io", "reader", nothing())
        .with(
            "clusterroles.rbac.authorization.k8s.io",
            "view",
            json!({"metadata": {"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}}),
        )
        .with("clusterrolebindings.rbac.authorization.k8s.io", "api", account("staging"))
        .with("clusterrolebindings.rbac.authorization.k8s.io", "other", account("production"))
        .with("persistentvolumes", "pv-delete", json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}))
        .with("persistentvolumes", "pv-retain", json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}))
        .with("deployments.apps", "api", json!({"spec": {"template": {"spec": {"priorityClassName": "high"}}}}))
        .with("widgets.example.org", "gear", nothing());
    let mut world = World::default();
    world.put(object("priorityclasses.scheduling.k8s.io", "high", json!({"value": 9})));
    let plan = archive.plan(&in_place(), Some(&world));
    assert_eq!(
        shown(&plan),
        lines(
            "definitions: create customresourcedefinitions.apiextensions.k8s.io widgets.example.org
            namespaces: create namespaces staging
            classes: leave priorityclasses.scheduling.k8s.io high
            roles: create clusterroles.rbac.authorization.k8s.io reader
            bindings: create clusterrolebindings.rbac.authorization.k8s.io api
            workloads: create deployments.apps staging/api
            others: create widgets.example.org staging/gear"
        )
    );
    assert_eq!(
        left_out(&plan),
        lines(
            "customresourcedefinitions.apiextensions.k8s.io unused.example.org: no restored object needs it
            priorityclasses.scheduling.k8s.io unused: no restored object needs it
            storageclasses.storage.k8s.io fast: no restored object needs it
            clusterroles.rbac.authorization.k8s.io view: every cluster makes it itself
            clusterrolebindings.rbac.authorization.k8s.io other: no restored object needs it
            persistentvolumes pv-delete: its storage class provides a new volume
            persistentvolumes pv-retain: its storage still belongs to the original"
        )
    );
}

#[test]
fn a_binding_to_a_role_that_nobody_has_is_told() {
    let to = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "Group", "name": "developers"}]});
    let bootstrapped = json!({"metadata": {"labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}});
    let archive = Archive::staging()
        .with("clusterroles.rbac.authorization.k8s.io", "reader", nothing())
        .with("clusterroles.rbac.authorization.k8s.io", "view", bootstrapped)
        .with("rolebindings.rbac.authorization.k8s.io", "a", to("reader"))
        .with("rolebindings.rbac.authorization.k8s.io", "b", to("view"))
        .with("rolebindings.rbac.authorization.k8s.io", "c", to("lost"))
        .with("rolebindings.rbac.authorization.k8s.io", "d", to("lost"))
        .with("rolebindings.rbac.authorization.k8s.io", "e", json!({"roleRef": {"kind": "Role", "name": "lost"}}))
        .with("rolebindings.rbac.authorization.k8s.io", "f", to("there"));
    let mut world = World::default();
    world.put(object("clusterroles.rbac.authorization.k8s.io", "there", nothing()));
    let told = |request: &RestoreRequest, world: Option<&World>| -> Vec<String> {
        let notes = archive.plan(request, world).notes;
        notes.into_iter().filter(|note| note.text.contains("ClusterRole `")).map(|note| note.text).collect()
    };
    let lost =
        "2 objects refer to ClusterRole `lost`, which is neither restored nor in the target: they allow nothing without it";
    assert_eq!(told(&in_place(), Some(&world)), [lost]);
    assert_eq!(told(&in_place(), None), [""; 0], "who knows what the target has");
    let without = RestoreRequest { exclude: vec!["clusterroles".to_owned()], ..in_place() };
    assert!(told(&without, Some(&world))[1].contains("`reader`"), "{:?}", told(&without, Some(&world)));
}

#[test]
fn beside_nothing_of_the_original_is_touched() {
    let archive = Archive::staging()
        .with(
            "clusterrolebindings.rbac.authorization.k8s.io",
            "api",
            json!({"subjects": [{"kind": "ServiceAccount", "namespace": "staging", "name": "api"}]}),
        )
        .with("ingresses.networking.k8s.io", "web", json!({"spec": {"rules": [{"host": "staging.example.org"}]}}))
        .with("services", "public", json!({"spec": {"type": "LoadBalancer"}}))
        .with("cronjobs.batch", "nightly", nothing())
        .with("cronjobs.batch", "paused", json!({"spec": {"suspend": true}}))
        .with("jobs.batch", "running", nothing())
        .with("configmaps", "settings", json!({"data": {"database": "postgres://db.staging.svc.cluster.local"}}))
        .with("sealedsecrets.bitnami.com", "strict", nothing())
        .with("secrets", "strict", owned_by("sealedsecrets.bitnami.com", "strict"))
        .with("sealedsecrets.bitnami.com", "lost", nothing())
        .with(
            "sealedsecrets.bitnami.com",
            "wide",
            json!({"metadata": {"annotations": {"sealedsecrets.bitnami.com/cluster-wide": "true"}}}),
        )
        .with("secrets", "wide", owned_by("sealedsecrets.bitnami.com", "wide"))
        .with("buckets.storage.cnrm.cloud.google.com", "uploads", nothing());
    let world = World::of(&archive);
    let plan = archive.plan(&beside(), Some(&world));
    for object in plan.stages.iter().flat_map(|stage| &stage.objects) {
        let own = object.target.namespace.as_deref() == Some("copy") || object.target.to_string() == "namespaces copy";
        assert!(own && object.action == Action::Create, "{object:?}");
    }
    assert_eq!(
        left_out(&plan),
        lines(
            "clusterrolebindings.rbac.authorization.k8s.io api: it gives rights in the whole cluster to the original
            sealedsecrets.bitnami.com staging/strict: it can be opened in its own namespace only
            sealedsecrets.bitnami.com staging/lost: it can be opened in its own namespace only
            secrets staging/wide: SealedSecret wide makes it again
            buckets.storage.cnrm.cloud.google.com staging/uploads: a copy would control, and on its deletion destroy, what the original controls"
        )
    );
    assert!(
        shown(&plan).contains(&"configuration: create secrets copy/strict".to_owned()),
        "its plain Secret is restored instead"
    );
    let notes = notes(&plan);
    for expected in [
        "1 SealedSecrets are left out",
        "the Secrets of 1 SealedSecrets are not in the archive",
        "1 object is left out: a copy would control",
        "1 object would answer for the same hosts",
        "1 Services of type LoadBalancer",
        "1 CronJob is not suspended",
        "1 Jobs had not finished",
        "1 ClusterRoleBindings are left out",
        "1 object has addresses in `staging` written into text",
    ] {
        assert!(notes.iter().any(|note| note.contains(expected)), "{expected} in {notes:#?}");
    }
    assert!(!plan.refused());
}

#[test]
fn kinds_that_the_target_does_not_serve_are_left_out_naming_what_it_serves() {
    let definition = |served: &str| json!({"spec": {"versions": [{"name": served, "served": true}]}});
    let gear = Archive::staging().with("widgets.example.org", "gear", nothing());
    let plan = gear.plan(&in_place(), Some(&World::default()));
    assert_eq!(left_out(&plan), ["widgets.example.org staging/gear: the target does not serve its kind"]);
    assert!(notes(&plan)[1].contains("1 object of kind example.org/v1 Widget is left out"), "{:?}", notes(&plan));
    let old = gear.with("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.org", definition("v2"));
    let plan = old.plan(&in_place(), Some(&World::default()));
    assert_eq!(left_out(&plan), ["widgets.example.org staging/gear: the target serves its kind as example.org/v2 only"]);
    assert!(
        Archive::staging().with("widgets.example.org", "gear", nothing()).plan(&in_place(), None).left_out.is_empty(),
        "offline nobody knows"
    );
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_done() {
    let archive = Archive::staging().with("services", "api", nothing()).with("services", "web", nothing());
    let fatal = |plan: &crate::restore::RestorePlan| -> Vec<String> {
        plan.notes.iter().filter(|note| note.severity == Severity::Fatal).map(|note| note.text.clone()).collect()
    };
    let mut terminating = World::default();
    terminating.put(object("namespaces", "staging", json!({"status": {"phase": "Terminating"}})));
    assert_eq!(
        fatal(&archive.plan(&in_place(), Some(&terminating))),
        ["namespace `staging` is being deleted, and takes nothing new"]
    );

    let mut tight = World::of(&Archive::staging());
    tight.put(object("resourcequotas", "quota", json!({"spec": {"hard": {"services": "1", "count/configmaps": "0"}}})));
    assert_eq!(fatal(&archive.plan(&in_place(), Some(&tight))), ["quota `quota` allows 1 of `services`, and 2 are needed"]);

    let later = archive.clone().with("resourcequotas", "quota", json!({"spec": {"hard": {"services": "1"}}}));
    let plan = later.plan(&in_place(), Some(&World::default()));
    assert_eq!(fatal(&plan), Vec::<String>::new(), "a quota that comes last refuses nothing now");
    assert!(notes(&plan).iter().any(|note| note.starts_with("warning: quota `quota` allows 1")));

    let raised = later.plan(
        &in_place(),
        Some(&{
            let mut world = World::of(&Archive::staging());
            world.put(object("resourcequotas", "quota", json!({"spec": {"hard": {"services": "0"}}})));
            world
        }),
    );
    assert!(shown(&raised).contains(&"limits: update resourcequotas staging/quota".to_owned()), "{:?}", shown(&raised));

    let elsewhere = RestoreRequest { source_namespace: "other".to_owned(), ..in_place() };
    let plan = archive.plan(&elsewhere, None);
    assert_eq!(fatal(&plan), ["the archive holds nothing of namespace `other` that could be restored"]);

    let bare = Archive::default().with("services", "api", nothing());
    assert_eq!(
        fatal(&bare.plan(&in_place(), Some(&World::default()))),
        ["namespace `staging` does not exist, and the archive has no Namespace object to create it from"]
    );
}

#[test]
fn only_the_kinds_that_are_asked_for_are_restored() {
    let archive = Archive::staging().with("configmaps", "a", nothing()).with("secrets", "b", nothing()).with(
        "deployments.apps",
        "c",
        nothing(),
    );
    let planned = |include: &[&str], exclude: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        shown(&archive.plan(&RestoreRequest { include: list(include), exclude: list(exclude), ..in_place() }, None))
    };
    let namespace = "namespaces: create namespaces staging";
    assert_eq!(planned(&["cm"], &[]), [namespace, "configuration: create configmaps staging/a"]);
    assert_eq!(planned(&[], &["Secret", "deploy"]), [namespace, "configuration: create configmaps staging/a"]);
    assert_eq!(planned(&["*.apps"], &["ns"]), ["workloads: create deployments.apps staging/c"]);
    let unknown = archive.plan(&RestoreRequest { exclude: vec!["unicorns".to_owned()], ..in_place() }, None);
    assert!(notes(&unknown).contains(&"warning: `unicorns` names no kind in the archive".to_owned()));
}

#[test]
fn of_an_item_that_is_there_twice_the_last_one_counts() {
    let archive = Archive::staging()
        .with("configmaps", "twice", json!({"data": {"a": "1"}}))
        .with("configmaps", "once", nothing())
        .with("configmaps", "twice", json!({"data": {"a": "2"}}));
    let plan = archive.plan(&in_place(), None);
    assert_eq!(left_out(&plan), ["configmaps staging/twice: the archive holds it again further behind"]);
    assert_eq!(plan.left_out[0].index, 1);
    assert_eq!(plan.counts.create, 3);
}

#[test]
fn an_item_that_is_not_what_its_path_says_is_refused() {
    let good = object("configmaps", "a", nothing());
    let observe = |group_resource: &str, namespace: Option<&str>, name: &str, json: &[u8]| {
        RestorePlanner::new(in_place(), None, None)
            .unwrap()
            .observe(3, group_resource, namespace, name, json)
            .map_err(|error| error.to_string())
    };
    assert_eq!(observe("configmaps", Some("staging"), "a", good.to_string().as_bytes()), Ok(()));
    for (group_resource, namespace, name, json) in [
        ("configmaps", Some("staging"), "b", good.to_string()),
        ("configmaps", Some("production"), "a", good.to_string()),
        ("configmaps", None, "a", good.to_string()),
        ("configmaps.example.org", Some("staging"), "a", good.to_string()),
        ("configmaps", Some("staging"), "a", "[]".to_owned()),
        ("configmaps", Some("staging"), "a", good.to_string()[..20].to_owned()),
    ] {
        let refused = observe(group_resource, namespace, name, json.as_bytes()).unwrap_err();
        assert!(refused.starts_with("item 3 of the archive, `"), "{refused}");
    }
}

#[test]
fn kinds_that_could_not_be_read_are_said_to_be_unknown() {
    let mut live = World::of(&Archive::staging()).live();
    live.unknown(&kind("secrets"), "forbidden".to_owned());
    let plan =
        Archive::staging().with("secrets", "db", nothing()).feed(RestorePlanner::new(in_place(), None, Some(live)).unwrap());
    assert!(notes(&plan).contains(&"warning: it is not known which secrets live in the target: forbidden".to_owned()));
}

#[test]
fn a_request_is_read_back_from_its_parameters() {
    let request = RestoreRequest { include: vec!["cm".to_owned(), "*.apps".to_owned()], prune: true, ..beside() };
    assert_eq!(RestoreRequest::from_parameters(request.environment.clone(), &request.parameters()), Some(request));
}

#[test]
fn what_velero_puts_on_everything_makes_nothing_different_where_velero_carries_it_out() {
    let archive = Archive::staging().with("configmaps", "settings", json!({"data": {"a": "b"}}));
    let mut world = World::of(&archive);
    let settings = world.object("configmaps", Some("staging"), "settings");
    settings["metadata"]["labels"] = json!({"velero.io/backup-name": "nightly", "velero.io/restore-name": "a-run"});
    settings["metadata"]["annotations"] = json!({"restore.velero.io/must-include-additional-items": "true"});
    let by_velero = RestoreRequest { executor: Executor::Velero, ..in_place() };
    assert!(
        shown(&archive.plan(&by_velero, Some(&world))).contains(&"configuration: same configmaps staging/settings".to_owned())
    );
    assert!(
        shown(&archive.plan(&in_place(), Some(&world))).contains(&"configuration: update configmaps staging/settings".to_owned())
    );
    world.object("configmaps", Some("staging"), "settings")["data"]["a"] = "c".into();
    assert!(
        shown(&archive.plan(&by_velero, Some(&world))).contains(&"configuration: update configmaps staging/settings".to_owned())
    );
}
