//! Objects: listing, metadata, deleting, composing.

use axum::body::Body;
use http::{Method, Response};
use serde_json::{Value, json};

use super::{Call, Trouble, answer, document, no_content, place};
use crate::{
    condition::Conditions, failure::Failure, identity::Permission, listing::Listing, object::Description, store::Component,
};

pub(super) async fn operate(call: &Call, bucket: &str, rest: &[&str], body: Body) -> Result<Response<Body>, Trouble> {
    let now = call.shared.now();
    match (&call.method, rest) {
        (&Method::GET, []) => list(call, bucket),
        (&Method::GET, [object]) => {
            call.caller.may(Permission::Get)?;
            let place = place(bucket, object);
            call.shared.store().read(&place, call.query.number("generation")?, &Conditions::parse(&call.query)?)?;
            call.object_json(&place)
        }
        (&Method::DELETE, [object]) => {
            call.caller.may(Permission::Delete)?;
            let (generation, conditions) = (call.query.number("generation")?, Conditions::parse(&call.query)?);
            call.shared.store().delete(&place(bucket, object), generation, &conditions, now)?;
            Ok(no_content())
        }
        (&Method::PATCH, [object]) => {
            call.caller.may(Permission::Update)?;
            let change = document(body).await?;
            let place = place(bucket, object);
            call.shared.store().patch(&place, &Conditions::parse(&call.query)?, &change, now)?;
            call.object_json(&place)
        }
        (&Method::POST, [object, "compose"]) => {
            call.caller.may(Permission::Get)?;
            let document = document(body).await?;
            let components = components(&document)?;
            let mut description = Description::of(&document["destination"]);
            if let Some(key) = call.query.text("kmsKeyName") {
                description.kms_key = Some(key.to_owned());
            }
            let place = place(bucket, object);
            let conditions = Conditions::parse(&call.query)?;
            call.shared.store().compose(&place, description, &components, &conditions, &call.caller, now)?;
            call.object_json(&place)
        }
        (&Method::PUT, [_]) => Err(Failure::not_implemented("updates of whole metadata").into()),
        (&Method::POST, [_, "rewriteTo" | "copyTo", ..]) => Err(Failure::not_implemented("copies").into()),
        (&Method::POST, [_, "restore" | "move"]) => Err(Failure::not_implemented("soft delete and moves").into()),
        _ => Err(Failure::new(404, "notFound", "Not Found").into()),
    }
}

fn list(call: &Call, bucket: &str) -> Result<Response<Body>, Trouble> {
    call.caller.may(Permission::List)?;
    let listing = Listing::parse(&call.query)?;
    let page = call.shared.store().list(bucket, &listing, &call.shared.base)?;
    let mut json = json!({"kind": "storage#objects"});
    if !page.items.is_empty() {
        json["items"] = page.items.into();
    }
    if !page.prefixes.is_empty() {
        json["prefixes"] = page.prefixes.into();
    }
    if let Some(token) = page.next {
        json["nextPageToken"] = token.into();
    }
    Ok(answer(&json))
}

fn components(document: &Value) -> Result<Vec<Component>, Failure> {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_i64());
    let sources = document["sourceObjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    sources
        .iter()
        .map(|source| {
            Ok(Component {
                name: source["name"].as_str().ok_or_else(|| Failure::invalid("Source objects have names."))?.to_owned(),
                generation: number(&source["generation"]),
                generation_match: number(&source["objectPreconditions"]["ifGenerationMatch"]),
            })
        })
        .collect()
}
