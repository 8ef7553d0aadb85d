//! What lives in the target and was not there at the instant.

use std::collections::BTreeSet;

use dxdr_environment::ObjectReference;
use serde_json::Value;

use super::{
    live::{LiveKind, LiveObject, LiveObjects},
    plan::PrunedObject,
    rules,
};
use crate::{order::StageName, selection::EXCLUDE_LABEL};

/// Live objects of the namespace to remove, last stage first. Only of kinds in `captured`: of another kind it is not known what was
/// there. What has an owner goes with it; what a cluster makes by itself, and what backups leave out, stays.
pub(super) fn prune(live: &LiveObjects, captured: &BTreeSet<String>, wanted: impl Fn(&LiveKind) -> bool) -> Vec<PrunedObject> {
    let kinds = live.kinds.values().filter(|kind| {
        kind.kind.namespaced
            && captured.contains(&kind.kind.group_resource())
            && rules::never_restored(&kind.kind.group, &kind.kind.plural).is_none()
            && !matches!(kind.kind.plural.as_str(), "endpoints" | "endpointslices")
            && wanted(kind)
    });
    let mut pruned: Vec<PrunedObject> = kinds
        .flat_map(|kind| {
            kind.objects.iter().filter(|(_, object)| !object.archived).filter_map(|((namespace, name), object)| {
                let uid = removable(kind, name, object)?;
                let reference = ObjectReference { kind: kind.kind.clone(), namespace: namespace.clone(), name: name.clone() };
                Some(PrunedObject { reference, uid })
            })
        })
        .collect();
    pruned.sort_by(|left, right| {
        let stage = |object: &PrunedObject| StageName::of(&object.reference.kind.group, &object.reference.kind.plural);
        stage(right).cmp(&stage(left)).then_with(|| left.reference.cmp(&right.reference))
    });
    pruned
}

/// The uid of an object that may be removed. One that cannot be read is not removed.
fn removable(kind: &LiveKind, name: &str, object: &LiveObject) -> Option<Option<String>> {
    let object: Value = serde_json::from_slice(&object.json).ok()?;
    let metadata = object.get("metadata")?;
    let owned = metadata.get("ownerReferences").and_then(Value::as_array).is_some_and(|owners| !owners.is_empty());
    let excluded = metadata.get("labels").and_then(|labels| labels.get(EXCLUDE_LABEL)).and_then(Value::as_str) == Some("true");
    let going = metadata.get("deletionTimestamp").is_some();
    let made = rules::left_out(&kind.kind.group, &kind.kind.kind, name, &object)
        .is_some_and(|reason| reason == super::LeftOutReason::MadeByCluster);
    let account = kind.kind.group.is_empty() && kind.kind.kind == "ServiceAccount" && name == "default";
    if owned || excluded || going || made || account {
        return None;
    }
    Some(metadata.get("uid").and_then(Value::as_str).map(str::to_owned))
}
