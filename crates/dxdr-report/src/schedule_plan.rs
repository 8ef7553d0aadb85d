//! What policies mean to Velero, held against what it has.

use dxdr_plan::{
    Note,
    velero::{ObjectState, SchedulePlan},
};
use serde_json::{Value, json};

use crate::{difference, quantity};

/// A line an object that is not as it should be, its fields below it; what is left over, what is somebody else's, and notes.
pub fn text(plan: &SchedulePlan) -> String {
    let mut text = String::new();
    for object in &plan.objects {
        let reference = &object.desired.reference;
        match &object.state {
            ObjectState::Same => {}
            ObjectState::Missing => text.push_str(&format!("+ {reference}: missing\n")),
            ObjectState::Differs(differences) => {
                text.push_str(&format!("~ {reference}\n{}", difference::text(differences, "    ")));
            }
        }
    }
    for reference in &plan.orphaned {
        text.push_str(&format!("- {reference}: no policy asks for it\n"));
    }
    for (name, namespaces) in &plan.foreign {
        let of = if namespaces.is_empty() { "every namespace".to_owned() } else { namespaces.join(", ") };
        text.push_str(&format!("  schedules.velero.io {}/{name}: not dxdr's, left alone; backs up {of}\n", plan.namespace));
    }
    for note in &plan.notes {
        text.push_str(&line(note));
    }
    let same = plan.objects.iter().filter(|object| object.state == ObjectState::Same).count();
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
    let objects: Vec<Value> = plan
        .objects
        .iter()
        .map(|object| {
            let (state, differences) = match &object.state {
                ObjectState::Missing => ("missing", json!([])),
                ObjectState::Same => ("same", json!([])),
                ObjectState::Differs(differences) => ("differs", difference::json(differences)),
            };
            json!({"object": object.desired.reference.to_string(), "state": state, "differences": differences})
        })
        .collect();
    let notes: Vec<Value> = plan
        .notes
        .iter()
        .map(|note| json!({"severity": note.severity.to_string(), "text": note.text, "hint": note.hint}))
        .collect();
    json!({
        "format": "dxdr.io/schedule-diff/v1",
        "namespace": plan.namespace,
        "velero": plan.version.map(|version| version.to_string()),
        "objects": objects,
        "orphaned": plan.orphaned.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "foreign": plan.foreign.iter().map(|(name, namespaces)| json!({"name": name, "namespaces": namespaces})).collect::<Vec<_>>(),
        "notes": notes,
    })
}
