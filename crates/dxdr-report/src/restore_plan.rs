//! The plan of a restore.

use std::collections::BTreeMap;

use dxdr_catalog::{Entry, Gap, VolumeComponent, coverage};
use dxdr_plan::{
    Note, Severity,
    restore::{
        Action, CapturedVolume, Executor, FieldChange, FileCopies, LeftOutReason, PlannedObject, RestorePlan, VolumeSource,
    },
    step::Step,
};
use serde_json::{Value, json};

use crate::{
    quantity::{at_most, counted, duration, instant, seconds_at_most},
    restore_databases,
};

/// Objects of one stage named in the text; the JSON has all.
const SHOWN: usize = 12;
/// Fields of one object shown in the text.
const FIELDS_SHOWN: usize = 6;

/// What will be done, for people: the point, the notes, the stages, what is left out.
pub fn text(plan: &RestorePlan, entry: &Entry, store: &str) -> String {
    let mut text = String::new();
    let place = if plan.source_namespace == plan.target_namespace {
        format!("in place, into {}", plan.target_namespace)
    } else {
        format!("beside, into {}", plan.target_namespace)
    };
    text.push_str(&format!("Restore {} to {}, {place}\n", plan.environment, instant(plan.instant)));
    let kind = match entry {
        Entry::Ours(point) if point.complete() => "complete",
        Entry::Ours(_) => "partial",
        Entry::Foreign(_) => "a backup of Velero's, without a manifest of dxdr's",
    };
    text.push_str(&format!("  from {} ({kind}) in {store}\n", plan.point));
    if let Entry::Ours(point) = entry
        && point.components.len() > 1
    {
        for (component, at) in coverage::components(point) {
            text.push_str(&format!("  {component} as of {}\n", instant(at)));
        }
        text.push_str(&format!("  at most {} apart\n", at_most(point.skew())));
    }
    for gap in gaps(entry) {
        text.push_str(&format!("  it lacks {}: {}\n", gap.what, gap.reason));
    }
    if plan.executor == Executor::Velero {
        text.push_str("  carried out by Velero, whose own rules apply; what it does is compared with this plan afterwards\n");
    }
    if plan.offline {
        text.push_str(
            "  planned from the store alone: what lives in the target is not known, so every object counts as missing there\n",
        );
    }
    text.push('\n');
    for note in &plan.notes {
        text.push_str(&note_text(note));
    }
    if !plan.notes.is_empty() {
        text.push('\n');
    }
    for database in &plan.databases {
        text.push_str(&restore_databases::text(database));
    }
    for stage in &plan.stages {
        stage_text(&mut text, stage.title, stage.reason, &stage.objects);
    }
    if let Some(step) = plan.velero_step() {
        text.push_str(&format!("{}: {}\n", step.title, step.reason));
        for volume in &plan.through_velero {
            text.push_str(&format!("  + {} ({}), as of {}\n", volume.claim, volume.method, instant(volume.instant)));
        }
    }
    if let (Some(step), Some(copies)) = (plan.copies_step(), &plan.copies) {
        copies_text(&mut text, &step, copies);
    }
    if !plan.prune.is_empty() {
        text.push_str(&format!("Remove what was not there ({})\n", plan.prune.len()));
        for object in plan.prune.iter().take(SHOWN) {
            text.push_str(&format!("  - {}\n", object.reference));
        }
        more(&mut text, plan.prune.len());
    }
    left_out_text(&mut text, plan);
    let counts = &plan.counts;
    text.push_str(&format!(
        "\n{} in the archive: {} to create, {} to change, {} as they were, {} stay different, {} left out; {} to remove",
        counted(usize::try_from(counts.items).unwrap_or(usize::MAX), "object"),
        counts.create,
        counts.update,
        counts.same,
        counts.leave,
        counts.left_out,
        counts.prune
    ));
    let estimate = jiff::SignedDuration::try_from(plan.estimate.duration).unwrap_or(jiff::SignedDuration::MAX);
    text.push_str(&format!("; about {}\n", duration(estimate)));
    text
}

fn note_text(note: &Note) -> String {
    let mut text = format!("{}: {}", note.severity, note.text);
    if let Some(object) = &note.object {
        text.push_str(&format!(" [{object}{}]", if note.count > 1 { ", …" } else { "" }));
    }
    text.push('\n');
    if let Some(hint) = &note.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    text
}

fn stage_text(text: &mut String, title: &str, reason: &str, objects: &[PlannedObject]) {
    let writes = objects.iter().filter(|object| object.writes()).count();
    let same = objects.iter().filter(|object| object.action == Action::Same).count();
    if writes == 0 && same == objects.len() {
        if !objects.is_empty() {
            text.push_str(&format!("{title}: {same} as they were\n"));
        }
        return;
    }
    text.push_str(&format!("{title} ({writes} to write, {same} as they were): {reason}\n"));
    let shown = objects.iter().filter(|object| object.action != Action::Same);
    let count = shown.clone().count();
    for object in shown.take(SHOWN) {
        object_text(text, object);
    }
    more(text, count);
}

fn object_text(text: &mut String, object: &PlannedObject) {
    let (sign, differences, why): (&str, &[FieldChange], String) = match &object.action {
        Action::Create => ("+", &[], String::new()),
        Action::Update { differences, .. } => ("~", differences, String::new()),
        Action::Same => ("=", &[], String::new()),
        Action::Leave { differences, reason } => ("!", differences, format!(" stays as it is: {reason}")),
    };
    let filled = object.volume.as_ref().filter(|_| object.action == Action::Create).map(|volume| volume_text(volume));
    text.push_str(&format!("  {sign} {}{why}{}\n", object.target, filled.unwrap_or_default()));
    for change in differences.iter().take(FIELDS_SHOWN) {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
        text.push_str(&format!("      {}: {} → {}\n", change.path, value(&change.from), value(&change.to)));
    }
    if differences.len() > FIELDS_SHOWN {
        text.push_str(&format!("      … and {} more\n", counted(differences.len() - FIELDS_SHOWN, "field")));
    }
}

fn volume_text(volume: &CapturedVolume) -> String {
    match &volume.source {
        VolumeSource::Snapshot { driver, handle } => {
            format!(" filled from snapshot {handle} of {driver}, as of {}", instant(volume.instant))
        }
        VolumeSource::Files { .. } => format!(" for the copy of its files, as of {}", instant(volume.instant)),
        VolumeSource::Velero { method } => {
            format!(" with the data that Velero kept ({method}), as of {}", instant(volume.instant))
        }
    }
}

fn copies_text(text: &mut String, step: &Step, copies: &FileCopies) {
    text.push_str(&format!("{}: {}\n", step.title, step.reason));
    for copied in &copies.claims {
        let carrier = &copied.carrier;
        text.push_str(&format!(
            "  > {} (file-system), as of {}, in volume {} of pod {}\n",
            copied.claim,
            instant(copied.instant),
            carrier.volume,
            carrier.pod
        ));
    }
    let mut alongside = copies.alongside();
    if let Some(first) = alongside.next() {
        let others = alongside.count();
        let more = if others > 0 { format!(" and {others} more") } else { String::new() };
        text.push_str(&format!("  Velero cannot tell pod {}{more} from these; no node gets what comes along\n", first.name));
    }
}

fn left_out_text(text: &mut String, plan: &RestorePlan) {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for left_out in &plan.left_out {
        // By the owner's kind: who makes it again is told by its name.
        let reason = match &left_out.reason {
            LeftOutReason::Owned { by } => format!("its {} makes it again", by.split_whitespace().next().unwrap_or("owner")),
            reason => reason.to_string(),
        };
        reasons.entry(reason).or_default().push(left_out.object.to_string());
    }
    if reasons.is_empty() {
        return;
    }
    text.push_str(&format!("Left out ({})\n", plan.left_out.len()));
    for (reason, objects) in reasons {
        let first = objects.first().map_or("", String::as_str);
        let others = if objects.len() > 1 { format!(" and {} more", objects.len() - 1) } else { String::new() };
        text.push_str(&format!("  {reason}: {first}{others}\n"));
    }
}

fn more(text: &mut String, count: usize) {
    if count > SHOWN {
        text.push_str(&format!("  … and {} more\n", count - SHOWN));
    }
}

/// All of it as `dxdr.io/restore-plan/v1`.
pub fn json(plan: &RestorePlan, entry: &Entry) -> Value {
    let (components, apart) = match entry {
        Entry::Ours(point) => (coverage::components(point), seconds_at_most(point.skew())),
        Entry::Foreign(_) => (vec![("resources".to_owned(), plan.instant)], 0),
    };
    json!({
        "format": "dxdr.io/restore-plan/v1",
        "environment": plan.environment.as_str(),
        "point": plan.point,
        "instant": plan.instant.to_string(),
        "components": components.iter().map(|(component, at)| json!({"component": component, "instant": at.to_string()})).collect::<Vec<_>>(),
        "skewSeconds": apart,
        "gaps": gaps(entry).iter().map(|gap| json!({"what": gap.what, "reason": gap.reason})).collect::<Vec<_>>(),
        "sourceNamespace": plan.source_namespace,
        "targetNamespace": plan.target_namespace,
        "executor": plan.executor.word(),
        "offline": plan.offline,
        "refused": plan.refused(),
        "notes": plan.notes.iter().map(note_json).collect::<Vec<_>>(),
        "databases": plan.databases.iter().map(restore_databases::json).collect::<Vec<_>>(),
        "stages": plan.stages.iter().map(|stage| json!({
            "id": stage.id, "title": stage.title, "reason": stage.reason,
            "objects": stage.objects.iter().map(object_json).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "leftOut": plan.left_out.iter().map(|left_out| json!({"object": left_out.object.to_string(), "reason": left_out.reason.to_string()})).collect::<Vec<_>>(),
        "throughVelero": plan.through_velero.iter().map(|volume| json!({
            "object": volume.claim.to_string(), "method": volume.method, "instant": volume.instant.to_string(),
        })).collect::<Vec<_>>(),
        "files": plan.copies.as_ref().map(|copies| json!({
            "claims": copies.claims.iter().map(|copied| json!({
                "object": copied.claim.to_string(), "instant": copied.instant.to_string(),
                "pod": {"name": copied.carrier.pod, "volume": copied.carrier.volume},
            })).collect::<Vec<_>>(),
            "alongside": copies.alongside().map(|pod| pod.name.as_str()).collect::<Vec<_>>(),
        })),
        "prune": plan.prune.iter().map(|object| json!({"object": object.reference.to_string(), "uid": object.uid})).collect::<Vec<_>>(),
        "counts": {
            "items": plan.counts.items, "create": plan.counts.create, "update": plan.counts.update, "same": plan.counts.same,
            "leave": plan.counts.leave, "leftOut": plan.counts.left_out, "prune": plan.counts.prune,
        },
        "protectivePoint": Value::Null,
        "estimateSeconds": plan.estimate.duration.as_secs_f64(),
    })
}

/// What the point lacks.
fn gaps(entry: &Entry) -> &[Gap] {
    match entry {
        Entry::Ours(point) => &point.gaps,
        Entry::Foreign(_) => &[],
    }
}

fn note_json(note: &Note) -> Value {
    let severity = match note.severity {
        Severity::Information => "information",
        Severity::Warning => "warning",
        Severity::Fatal => "fatal",
    };
    json!({"severity": severity, "text": note.text, "hint": note.hint, "count": note.count, "object": note.object.as_ref().map(ToString::to_string)})
}

/// `restored`: whether a new volume is made of it.
fn volume_json(volume: &CapturedVolume, restored: bool) -> Value {
    let (method, driver, handle) = match &volume.source {
        VolumeSource::Snapshot { driver, handle } => ("csi-snapshot", Some(driver), Some(handle)),
        VolumeSource::Files { .. } => (VolumeComponent::FILE_SYSTEM, None, None),
        VolumeSource::Velero { method } => (method.as_str(), None, None),
    };
    json!({
        "method": method, "driver": driver, "handle": handle, "instant": volume.instant.to_string(), "size": volume.size,
        "restored": restored,
    })
}

fn object_json(object: &PlannedObject) -> Value {
    let (action, differences, reason) = match &object.action {
        Action::Create => ("create", &[][..], None),
        Action::Update { differences, .. } => ("update", differences.as_slice(), None),
        Action::Same => ("same", &[][..], None),
        Action::Leave { differences, reason } => ("leave", differences.as_slice(), Some(reason.to_string())),
    };
    json!({
        "object": object.target.to_string(),
        "action": action,
        "reason": reason,
        "differences": differences.iter().map(|change| json!({"path": change.path, "from": change.from, "to": change.to})).collect::<Vec<_>>(),
        "volume": object.volume.as_ref().map(|volume| volume_json(volume, object.action == Action::Create)),
        "changes": object.changes.iter().map(|change| change.to_string()).collect::<Vec<_>>(),
    })
}
