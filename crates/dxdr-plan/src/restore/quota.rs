//! Whether what is restored fits into the quotas that stand.

use std::collections::BTreeMap;

use serde_json::Value;

use super::finding::Finding;

/// Counts by kind: `deployments.apps` to how many.
pub(super) type KindCounts = BTreeMap<String, u64>;

/// One quota as it will be while objects are created.
pub(super) struct Quota {
    pub(super) name: String,
    /// It is in the cluster when objects are created, and not only afterwards.
    pub(super) stands: bool,
    /// Numbers of objects: `count/deployments.apps`, `services`.
    pub(super) counts: Vec<(String, u64)>,
}

impl Quota {
    /// Of a ResourceQuota object. Quotas with scopes count some objects only, which nobody can foresee; they have no counts here.
    pub(super) fn of(name: &str, object: &Value, stands: bool) -> Self {
        let scoped = object.pointer("/spec/scopes").is_some() || object.pointer("/spec/scopeSelector").is_some();
        let hard = object.pointer("/spec/hard").and_then(Value::as_object).into_iter().flatten().filter(|_| !scoped);
        let counts = hard.filter_map(|(resource, allowed)| Some((resource.clone(), number(allowed)?))).collect();
        Self { name: name.to_owned(), stands, counts }
    }

    /// What does not fit. `created` and `live` count the objects of the target namespace; live ones that are only changed are
    /// among `live`.
    pub(super) fn exceeded<'a>(&'a self, created: &'a KindCounts, live: &'a KindCounts) -> impl Iterator<Item = Finding> + 'a {
        self.counts.iter().filter_map(move |(resource, allowed)| {
            let kind = counted_kind(resource)?;
            let of = |counts: &KindCounts| counts.get(kind).copied().unwrap_or(0);
            let (new, needed) = (of(created), of(created) + of(live));
            (new > 0 && needed > *allowed).then(|| Finding::Quota {
                quota: self.name.clone(),
                resource: resource.clone(),
                allowed: *allowed,
                needed,
                stands: self.stands,
            })
        })
    }
}

/// The kind that a resource name of a quota counts.
fn counted_kind(resource: &str) -> Option<&str> {
    if let Some(kind) = resource.strip_prefix("count/") {
        return Some(kind);
    }
    ["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"]
        .into_iter()
        .find(|kind| *kind == resource)
}

fn number(value: &Value) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => text.parse().ok(),
    }
}
