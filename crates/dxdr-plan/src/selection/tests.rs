use super::*;

fn discovered(name: &str, kind: &str, namespaced: bool) -> DiscoveredKind {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    DiscoveredKind {
        kind: ResourceKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
        },
        verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
        short_names: Vec::new(),
        singular: kind.to_lowercase(),
        served_versions: vec!["v1".to_owned()],
    }
}

fn served() -> Vec<DiscoveredKind> {
    let mut kinds = vec![
        discovered("pods", "Pod", true),
        discovered("persistentvolumes", "PersistentVolume", false),
        discovered("secrets", "Secret", true),
        discovered("namespaces", "Namespace", false),
        discovered("events", "Event", true),
        discovered("deployments.apps", "Deployment", true),
        discovered("events.events.k8s.io", "Event", true),
        discovered("networkpolicies.networking.k8s.io", "NetworkPolicy", true),
        discovered("backups.velero.io", "Backup", true),
        discovered("networkpolicies.extensions", "NetworkPolicy", true),
        discovered("podmetrics.metrics.k8s.io", "PodMetrics", true),
    ];
    kinds[10].verbs = vec!["get".to_owned(), "list".to_owned()];
    kinds
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn resolve(filters: &Filters) -> Vec<String> {
    Selection::parse(filters).unwrap().resolve(&served()).kinds.iter().map(ResourceKind::group_resource).collect()
}

const NAMESPACED: [&str; 4] = ["pods", "secrets", "deployments.apps", "networkpolicies.networking.k8s.io"];
const ALL: [&str; 6] =
    ["pods", "persistentvolumes", "secrets", "namespaces", "deployments.apps", "networkpolicies.networking.k8s.io"];

#[test]
fn filters_choose_kinds_as_velero_does() {
    let staging = || names(&["staging"]);
    let table: Vec<(&str, Filters, Vec<&str>)> = vec![
        ("no filter takes everything", Filters::default(), ALL.to_vec()),
        (
            "a namespace takes no cluster-scoped kinds",
            Filters { included_namespaces: staging(), ..Filters::default() },
            NAMESPACED.to_vec(),
        ),
        (
            "an excluded namespace takes cluster-scoped kinds away",
            Filters { excluded_namespaces: staging(), ..Filters::default() },
            NAMESPACED.to_vec(),
        ),
        (
            "cluster-scoped kinds come when asked for",
            Filters { included_namespaces: staging(), include_cluster_resources: Some(true), ..Filters::default() },
            ALL.to_vec(),
        ),
        (
            "false takes none, even with all namespaces",
            Filters { include_cluster_resources: Some(false), ..Filters::default() },
            NAMESPACED.to_vec(),
        ),
        (
            "the old style's list holds for both scopes",
            Filters { included_resources: names(&["pod", "pv"]), ..Filters::default() },
            vec!["pods", "persistentvolumes"],
        ),
        (
            "a cluster-scoped kind in the old list does not override the namespaces",
            Filters { included_namespaces: staging(), included_resources: names(&["pods", "pv"]), ..Filters::default() },
            vec!["pods"],
        ),
        (
            "the old style excludes",
            Filters { excluded_resources: names(&["secrets", "deploy"]), ..Filters::default() },
            vec!["pods", "persistentvolumes", "namespaces", "networkpolicies.networking.k8s.io"],
        ),
        (
            "the scoped style names cluster-scoped kinds",
            Filters {
                included_namespaces: staging(),
                included_cluster_scoped: names(&["persistentvolumes"]),
                ..Filters::default()
            },
            vec!["pods", "persistentvolumes", "secrets", "deployments.apps", "networkpolicies.networking.k8s.io"],
        ),
        (
            "an exclusion among cluster-scoped kinds takes all of them away",
            Filters { excluded_cluster_scoped: names(&["namespaces"]), ..Filters::default() },
            NAMESPACED.to_vec(),
        ),
        (
            "a star among them takes all",
            Filters {
                included_cluster_scoped: names(&["*"]),
                excluded_cluster_scoped: names(&["namespaces"]),
                included_namespace_scoped: names(&["pods"]),
                ..Filters::default()
            },
            vec!["pods", "persistentvolumes"],
        ),
        (
            "a filter of namespaced kinds takes cluster-scoped ones away",
            Filters { included_namespace_scoped: names(&["deployments.apps"]), ..Filters::default() },
            vec!["deployments.apps"],
        ),
        (
            "excluding all namespaced kinds leaves what is asked for",
            Filters {
                excluded_namespace_scoped: names(&["*"]),
                included_cluster_scoped: names(&["namespaces"]),
                ..Filters::default()
            },
            vec!["namespaces"],
        ),
        (
            "patterns match",
            Filters { included_namespace_scoped: names(&["*.apps", "netw*"]), ..Filters::default() },
            vec!["deployments.apps", "networkpolicies.networking.k8s.io"],
        ),
        (
            "a name that means nothing matches nothing",
            Filters { included_resources: names(&["unicorns"]), ..Filters::default() },
            vec![],
        ),
        (
            "events are taken by those who name them",
            Filters { included_namespace_scoped: names(&["events"]), ..Filters::default() },
            vec!["events"],
        ),
    ];
    for (case, filters, expected) in table {
        assert_eq!(resolve(&filters), expected, "{case}");
    }
}

#[test]
fn every_kind_is_taken_or_left_out_with_a_reason() {
    let resolved = Selection::of_namespaces(["staging"]).unwrap().resolve(&served());
    assert_eq!(resolved.kinds.len() + resolved.left_out.len(), served().len());
    let reason = |name: &str| {
        resolved.left_out.iter().find(|left| left.kind.group_resource() == name).map(|left| left.reason.to_string()).unwrap()
    };
    assert_eq!(reason("networkpolicies.extensions"), "its objects are those of networkpolicies.networking.k8s.io");
    assert_eq!(reason("events.events.k8s.io"), "its objects are those of events");
    assert_eq!(reason("podmetrics.metrics.k8s.io"), "it cannot be listed, read, created and deleted");
    assert_eq!(reason("events"), "events tell what happened, and no restore repeats them");
}

#[test]
fn names_that_mean_nothing_are_reported() {
    let filters = Filters { included_resources: names(&["pods", "unicorns"]), ..Filters::default() };
    assert_eq!(Selection::parse(&filters).unwrap().resolve(&served()).unresolved, ["unicorns"]);
}

#[test]
fn the_two_styles_exclude_each_other() {
    let filters =
        Filters { included_resources: names(&["pods"]), excluded_cluster_scoped: names(&["nodes"]), ..Filters::default() };
    assert_eq!(
        Selection::parse(&filters).unwrap_err().to_string(),
        "the resource filters `includedResources` and `excludedClusterScopedResources` exclude each other"
    );
    let filters = Filters {
        label_selector: Some(LabelSelector::default()),
        or_label_selectors: vec![LabelSelector::default()],
        ..Filters::default()
    };
    assert_eq!(Selection::parse(&filters).unwrap_err(), PlanError::MixedSelectors);
}

#[test]
fn objects_are_kept_or_skipped_with_a_reason() {
    let labels = |pairs: &[(&'static str, &'static str)]| -> BTreeMap<Cow<'static, str>, Cow<'static, str>> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let (plain, api, excluded) = (labels(&[]), labels(&[("app", "api")]), labels(&[("app", "api"), (EXCLUDE_LABEL, "true")]));
    let pods = served()[0].kind.clone();
    let namespaces = served()[3].kind.clone();
    let filters = Filters {
        included_namespaces: names(&["staging", "team-*"]),
        excluded_namespaces: names(&["team-x"]),
        label_selector: Some(LabelSelector::parse("app=api").unwrap()),
        ..Filters::default()
    };
    let resolved = Selection::parse(&filters).unwrap().resolve(&served());
    let skip = Decision::Skip;
    for (case, kind, name, namespace, labels, deleting, expected) in [
        ("matching", &pods, "p", Some("staging"), &api, false, Decision::Keep),
        ("by pattern", &pods, "p", Some("team-a"), &api, false, Decision::Keep),
        ("excluded namespace", &pods, "p", Some("team-x"), &api, false, skip(SkipReason::OtherNamespace)),
        ("other namespace", &pods, "p", Some("prod"), &api, false, skip(SkipReason::OtherNamespace)),
        ("labels", &pods, "p", Some("staging"), &plain, false, skip(SkipReason::Labels)),
        ("label of exclusion", &pods, "p", Some("staging"), &excluded, false, skip(SkipReason::ExcludeLabel)),
        ("deletion", &pods, "p", Some("staging"), &api, true, skip(SkipReason::BeingDeleted)),
        ("the namespace itself, whatever its labels", &namespaces, "staging", None, &excluded, false, Decision::Keep),
        ("a namespace found by pattern needs the labels", &namespaces, "team-a", None, &plain, false, skip(SkipReason::Labels)),
        ("another namespace", &namespaces, "prod", None, &api, false, skip(SkipReason::OtherNamespace)),
    ] {
        let head = ObjectHead { name, namespace, labels: Some(labels), deleting, owners: &[] };
        assert_eq!(resolved.decide(kind, &head), expected, "{case}");
    }
}

#[test]
fn alternatives_of_labels_are_not_left_to_the_server() {
    let one = LabelSelector::parse("app=api").unwrap();
    let filters = Filters { label_selector: Some(one.clone()), ..Filters::default() };
    assert_eq!(Selection::parse(&filters).unwrap().pushed_down_selector(), Some(&one));
    let filters =
        Filters { or_label_selectors: vec![one.clone(), LabelSelector::parse("app=web").unwrap()], ..Filters::default() };
    let selection = Selection::parse(&filters).unwrap();
    assert_eq!(selection.pushed_down_selector(), None);
    let labels: BTreeMap<Cow<'_, str>, Cow<'_, str>> = [("app".into(), "web".into())].into();
    let head = ObjectHead { name: "p", namespace: Some("a"), labels: Some(&labels), deleting: false, owners: &[] };
    assert_eq!(selection.resolve(&served()).decide(&served()[0].kind, &head), Decision::Keep);
}
