//! What policies mean to Velero, held against what it has.

use dxdr_plan::{Note, velero::SchedulePlan};
use serde_json::{Value, json};

use crate::{comparison, quantity};

/// A line an object that is not as it should be, its fields below it; what is left over, what is somebody else's, and notes.
pub fn text(plan: &SchedulePlan) -> String {
    let mut text = comparison::text(&plan.objects, &plan.orphaned, "no policy asks for it", |_, sign| sign.to_owned());
    for (name, namespaces) in &plan.foreign {
        let of = if namespaces.is_empty() { "every namespace".to_owned() } else { namespaces.join(", ") };
        text.push_str(&format!("  schedules.velero.io {}/{name}: not dxdr's, left alone; backs up {of}\n", plan.namespace));
    }
    for note in &plan.notes {
        text.push_str(&line(note));
    }
    let same = plan.objects.iter().filter(|object| object.is_same()).count();
    let server = plan.version.map_or_else(String::new, |version| format!(" of Velero {version}"));
    text.push_str(&format!("{same} of {}{server} as the policies say\n", quantity::counted(plan.objects.len(), "object")));
    text
}

fn line(note: &Note) -> String {
    match &note.hint {
        Some(hint) => format!("{}: {}\n    {hint}\n", note.severity, note.text),
        None => format!("{}: {}\n", note.severity, note.text),
    }
}

/// `dxdr.io/schedule-diff/v1`
pub fn json(plan: &SchedulePlan) -> Value {
    let notes: Vec<Value> = plan
        .notes
        .iter()
        .map(|note| json!({"severity": note.severity.to_string(), "text": note.text, "hint": note.hint}))
        .collect();
    json!({
        "format": "dxdr.io/schedule-diff/v1",
        "namespace": plan.namespace,
        "velero": plan.version.map(|version| version.to_string()),
        "objects": comparison::objects_json(&plan.objects),
        "orphaned": comparison::orphaned_json(&plan.orphaned),
        "foreign": plan.foreign.iter().map(|(name, namespaces)| json!({"name": name, "namespaces": namespaces})).collect::<Vec<_>>(),
        "notes": notes,
    })
}
