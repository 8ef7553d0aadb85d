//! What a model compiles to, held against what lives.

use dxdr_environment::{ObjectReference, ObjectState, PlannedObject};
use serde_json::{Value, json};

use crate::difference;

/// A line an object that is not as it should be, its fields below it; then what is left over, and why it is. `paint` puts a colour on
/// a sign.
pub fn text(
    objects: &[PlannedObject],
    orphaned: &[ObjectReference],
    unasked: &str,
    paint: impl Fn(&'static str, &str) -> String,
) -> String {
    let mut text = String::new();
    for object in objects {
        let reference = &object.desired.reference;
        match &object.state {
            ObjectState::Same => {}
            ObjectState::Missing => text.push_str(&format!("{} {reference}: missing\n", paint("32", "+"))),
            ObjectState::Differs(differences) => {
                text.push_str(&format!("{} {reference}\n{}", paint("33", "~"), difference::text(differences, "    ")));
            }
        }
    }
    for reference in orphaned {
        text.push_str(&format!("{} {reference}: {unasked}\n", paint("31", "-")));
    }
    text
}

/// A list of `{object, state, differences}`.
pub fn objects_json(objects: &[PlannedObject]) -> Value {
    objects
        .iter()
        .map(|object| {
            let (state, differences) = match &object.state {
                ObjectState::Missing => ("missing", json!([])),
                ObjectState::Same => ("same", json!([])),
                ObjectState::Differs(differences) => ("differs", difference::json(differences)),
            };
            json!({"object": object.desired.reference.to_string(), "state": state, "differences": differences})
        })
        .collect()
}

/// A list of names.
pub fn orphaned_json(orphaned: &[ObjectReference]) -> Value {
    orphaned.iter().map(ToString::to_string).collect()
}
