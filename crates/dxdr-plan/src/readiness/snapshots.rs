//! What volume snapshots need: kinds, and for each driver in use a class.

use std::collections::BTreeMap;

use dxdr_policy::{Engine, VolumeMethod};
use serde_json::Value;

use super::{Model, Observed, Outcome, Row};
use crate::velero::snapshot_class::{DEFAULT, LABEL as VELERO_LABEL};

const GROUP: &str = "snapshot.storage.k8s.io";
const KINDS: [&str; 3] = ["volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"];

/// Who takes snapshots of a driver's volumes, and for which claims.
#[derive(Debug, Default)]
struct Use {
    by_velero: bool,
    by_dxdr: bool,
    claims: Vec<String>,
}

pub(super) fn rows(model: &Model<'_>, observed: &Observed) -> Vec<Row> {
    const WHAT: &str = "snapshots: kinds";
    let mut rows = Vec::new();
    let mut drivers: BTreeMap<&str, Use> = BTreeMap::new();
    let mut unprotected = Vec::new();
    for (environment, policy) in model.with_volumes() {
        let claims = match observed.claims.get(&environment.name) {
            Some(Ok(claims)) => claims,
            Some(Err(trouble)) => {
                rows.push(Row::trouble(format!("snapshots: claims of {}", environment.name), trouble));
                continue;
            }
            None => continue,
        };
        for claim in claims {
            let name = format!("{}/{}", environment.namespace, claim.name);
            match &claim.driver {
                Some(driver) => {
                    let used = drivers.entry(driver).or_default();
                    used.by_velero |= policy.engine == Engine::Velero;
                    used.by_dxdr |= policy.engine == Engine::Native;
                    used.claims.push(name);
                }
                // With Velero it is told where its own locations are.
                None if policy.engine == Engine::Native => unprotected.push(name),
                None => {}
            }
        }
    }
    if !unprotected.is_empty() {
        let detail = format!("these are of no CSI driver, so that no snapshot can be taken: {}", unprotected.join(", "));
        rows.push(
            Row::warning("snapshots: claims without a CSI driver", detail)
                .remedy("move the data to a volume of a CSI driver, or back it up by other means"),
        );
    }
    let served = |plural: &str| observed.kinds.iter().any(|kind| kind.kind.group == GROUP && kind.kind.plural == plural);
    let missing: Vec<String> = KINDS.iter().filter(|plural| !served(plural)).map(|plural| format!("{plural}.{GROUP}")).collect();
    if drivers.is_empty() {
        if rows.iter().any(|row| row.outcome == Outcome::Unreachable) {
            return rows;
        }
        let asked = model.policies.iter().any(|policy| policy.volumes.method != VolumeMethod::None);
        let why =
            if asked { "no claim of an environment is on a CSI volume" } else { "no policy asks for the content of volumes" };
        rows.push(Row::not_needed(WHAT, why));
        return rows;
    }
    if !missing.is_empty() {
        rows.push(
            Row::failed(WHAT, format!("the server lacks {}", missing.join(", ")))
                .remedy("install the CRDs and the snapshot controller of kubernetes-csi/external-snapshotter"),
        );
        return rows;
    }
    rows.push(Row::good(WHAT, format!("{GROUP} is served")));
    match &observed.snapshot_classes {
        Ok(classes) => rows.extend(drivers.iter().map(|(driver, used)| class(driver, used, classes))),
        Err(trouble) => rows.push(Row::trouble("snapshots: classes", trouble)),
    }
    rows
}

fn class(driver: &str, used: &Use, classes: &[Value]) -> Row {
    let what = format!("snapshots: class for driver {driver}");
    let of_driver: Vec<&Value> = classes.iter().filter(|class| class["driver"] == driver).collect();
    let names = |classes: &[&Value]| classes.iter().map(|class| name(class)).collect::<Vec<_>>().join(", ");
    let claims = match used.claims.as_slice() {
        [claims @ .., last] if claims.len() < 3 => [claims, std::slice::from_ref(last)].concat().join(", "),
        claims => format!("{} and {} more", claims[..3.min(claims.len())].join(", "), claims.len() - 3.min(claims.len())),
    };
    if of_driver.is_empty() {
        return Row::failed(what, format!("none, so that no snapshot can be taken of {claims}"))
            .remedy(format!("create a VolumeSnapshotClass with `driver: {driver}` and `deletionPolicy: Retain`"));
    }
    let labelled: Vec<&Value> = of_driver
        .iter()
        .filter(|class| class.pointer("/metadata/labels").and_then(|labels| labels.get(VELERO_LABEL)) == Some(&"true".into()))
        .copied()
        .collect();
    if used.by_velero && labelled.is_empty() {
        return Row::failed(
            what,
            format!("{} without the label by which Velero finds it: no snapshot of {claims}", names(&of_driver)),
        )
        .remedy(format!("`kubectl label volumesnapshotclass {} {VELERO_LABEL}=true`", name(of_driver[0])));
    }
    let defaults: Vec<&Value> = of_driver
        .iter()
        .filter(|class| {
            class.pointer("/metadata/annotations").and_then(|annotations| annotations.get(DEFAULT)) == Some(&"true".into())
        })
        .copied()
        .collect();
    let mut row = if used.by_velero && labelled.len() > 1 {
        Row::warning(&what, format!("{} have the label for Velero, and it takes any one of them", names(&labelled)))
            .remedy(format!("leave it on one: `kubectl label volumesnapshotclass {} {VELERO_LABEL}-`", name(labelled[1])))
    } else if used.by_dxdr && of_driver.len() > 1 && defaults.len() != 1 {
        Row::warning(
            &what,
            format!(
                "{} of which {} is the default",
                names(&of_driver),
                if defaults.is_empty() { "none" } else { "more than one" }
            ),
        )
        .remedy(format!("mark one: `kubectl annotate volumesnapshotclass {} {DEFAULT}=true`", name(of_driver[0])))
    } else {
        Row::good(&what, names(if used.by_velero { &labelled } else { &of_driver }))
    };
    let policies = of_driver.iter().map(|class| class["deletionPolicy"].as_str().unwrap_or("Delete"));
    let mut policies: Vec<&str> = policies.collect();
    policies.sort_unstable();
    policies.dedup();
    let default = if defaults.is_empty() { "not the default" } else { "default" };
    row.detail.push_str(&format!("; deletionPolicy {}, {default}; for {claims}", policies.join(" and ")));
    row
}

fn name(class: &Value) -> &str {
    class.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}
