//! SealedSecrets opened offline: the way back to Secrets when no controller is left.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_api::yaml;
use dxdr_sealing::SealedObject;
use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use super::{
    Manifests,
    certificate::namespace_of_context,
    documents::{Format, Input},
    refused,
};
use crate::{app::Global, failure::Failure, terminal::Terminal};

pub(super) fn run(manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let keys = manifests.keys.read(terminal)?.ring;
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let default_namespace = match &manifests.identity.namespace {
        Some(namespace) => Some(namespace.clone()),
        None => namespace_of_context(global)?,
    };
    let mut secrets = Vec::new();
    let mut problems = Vec::new();
    for document in input.documents()? {
        let sealed = SealedObject::all_in(document.value(), default_namespace.as_deref());
        if sealed.is_empty() {
            problems
                .push(format!("{}: there is no SealedSecret", input.place(&document, &dxdr_environment::FieldPath::default())));
        }
        for object in sealed {
            let place = input.place(&document, &object.path);
            let label = object.identity.label();
            let (mut data, mut whole) = (Map::new(), None);
            for item in &object.items {
                let at = input.place(&document, &object.path_of(item));
                match &item.content {
                    Err(problem) => problems.push(format!("{at}: {}: {problem}", item.name)),
                    Ok(ciphertext) => match keys.open(&label, ciphertext) {
                        Some((_, value)) if item.whole => match serde_json::from_slice::<Value>(value.expose()) {
                            Ok(secret) if secret.is_object() => whole = Some(secret),
                            // What was read must not be repeated.
                            _ => problems.push(format!("{at}: what is sealed there is no Secret")),
                        },
                        Some((_, value)) => {
                            data.insert(item.name.clone(), STANDARD.encode(value.expose()).into());
                        }
                        None => problems.push(format!("{at}: {} opens with none of the keys, as {}", item.name, object.identity)),
                    },
                }
            }
            let found = yaml_at(document.value(), &object);
            if !found["spec"]["template"]["data"].is_null() {
                terminal.warn(&format!("{place}: spec.template.data is left out: only the controller renders it"));
            }
            secrets.push(match whole {
                Some(whole) => named(whole, &object),
                None => secret(found, &object, data),
            });
        }
    }
    if !problems.is_empty() {
        secrets.iter_mut().for_each(yaml::wipe);
        return Err(refused(problems.join("\n")).hint("nothing was written"));
    }
    let format = Format::asked(manifests.format, terminal.output, None).unwrap_or_else(|| input.format());
    let mut text: String = match format {
        Format::Json => secrets.iter().map(|secret| serde_json::to_string_pretty(secret).unwrap_or_default() + "\n").collect(),
        Format::Yaml => secrets.iter().map(|secret| format!("---\n{}", yaml::write(secret))).collect(),
    };
    secrets.iter_mut().for_each(yaml::wipe);
    terminal.data(&text);
    text.zeroize();
    Ok(())
}

fn yaml_at<'value>(document: &'value Value, object: &SealedObject) -> &'value Value {
    let found = dxdr_sealing::sealed::objects(document).into_iter().find(|(path, _)| *path == object.path);
    found.map_or(&Value::Null, |(_, value)| value)
}

/// A Secret that was sealed as a whole, as the controller makes it: where it says another name or namespace, the SealedSecret's count.
fn named(mut secret: Value, object: &SealedObject) -> Value {
    secret["apiVersion"] = "v1".into();
    secret["kind"] = "Secret".into();
    if !secret["metadata"].is_object() {
        secret["metadata"] = json!({});
    }
    secret["metadata"]["name"] = object.identity.name.as_str().into();
    if !object.identity.namespace.is_empty() {
        secret["metadata"]["namespace"] = object.identity.namespace.as_str().into();
    }
    secret
}

/// The Secret that the controller would make, but for its owner.
fn secret(sealed: &Value, object: &SealedObject, data: Map<String, Value>) -> Value {
    let template = &sealed["spec"]["template"];
    let mut metadata = template["metadata"].as_object().cloned().unwrap_or_default();
    metadata.insert("name".to_owned(), object.identity.name.as_str().into());
    if !object.identity.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), object.identity.namespace.as_str().into());
    }
    metadata.retain(|_, value| !value.is_null());
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    secret["data"] = Value::Object(data);
    for field in ["type", "immutable"] {
        if !template[field].is_null() {
            secret[field] = template[field].clone();
        }
    }
    secret
}
