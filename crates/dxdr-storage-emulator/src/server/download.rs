//! Reading an object's bytes.

use std::ops::Range;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Call, Trouble, pieces};
use crate::{condition::Conditions, failure::Failure, identity::Permission, object::Object, store::Place};

pub(super) fn download(call: &Call, place: &Place) -> Result<Response<Body>, Trouble> {
    call.caller.may(Permission::Get)?;
    let generation = call.query.number("generation")?;
    let object = call.shared.store().read(place, generation, &Conditions::parse(&call.query)?)?.clone();
    let size = object.content.len();
    let asked = call.header("range").and_then(|text| range(text, size));
    if asked.as_ref().is_some_and(Range::is_empty) {
        return Err(Failure::new(416, "requestedRangeNotSatisfiable", "Request range not satisfiable").into());
    }
    let wanted = asked.clone().unwrap_or(0..size);
    let mut response = Response::new(Body::from_stream(pieces(object.content.range(wanted.clone()))));
    if asked.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let mut set = |name: &'static str, text: String| {
        // Metadata may hold what no header can; it is left out then.
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(name, value);
        }
    };
    set("content-length", (wanted.end - wanted.start).to_string());
    if asked.is_some() {
        set("content-range", format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1));
    }
    describe(&object, set);
    for (key, value) in &object.metadata {
        let name = header::HeaderName::try_from(format!("x-goog-meta-{key}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn describe(object: &Object, mut set: impl FnMut(&'static str, String)) {
    let text = |name: &str, otherwise: &str| object.text(name).unwrap_or(otherwise).to_owned();
    set("content-type", text("contentType", "application/octet-stream"));
    set("etag", object.etag());
    set("last-modified", object.updated.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    set("x-goog-generation", object.generation.to_string());
    set("x-goog-metageneration", object.metageneration.to_string());
    set("x-goog-hash", object.hashes());
    set("x-goog-storage-class", text("storageClass", "STANDARD"));
    set("x-goog-stored-content-encoding", text("contentEncoding", "identity"));
    set("x-goog-stored-content-length", object.content.len().to_string());
    for (header, name) in [
        ("content-encoding", "contentEncoding"),
        ("content-disposition", "contentDisposition"),
        ("content-language", "contentLanguage"),
        ("cache-control", "cacheControl"),
    ] {
        if let Some(text) = object.text(name) {
            set(header, text.to_owned());
        }
    }
}

/// `bytes=0-9`, `bytes=5-`, `bytes=-5`, cut at the object's end; empty when it lies behind. `None` for what is no range, which is ignored.
fn range(text: &str, size: u64) -> Option<Range<u64>> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, end) {
        ("", last) => size.saturating_sub(last.parse().ok()?)..size,
        (start, "") => start.parse().ok()?..size,
        (start, end) => {
            let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
            if end < start {
                return None;
            }
            start..end.saturating_add(1)
        }
    };
    Some(range.start.min(size)..range.end.min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end() {
        for (text, expected) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=5-", Some(5..20)),
            ("bytes=-5", Some(15..20)),
            ("bytes=-50", Some(0..20)),
            ("bytes=15-99", Some(15..20)),
            ("bytes=20-30", Some(20..20)),
            ("bytes=9-5", None),
            ("items=0-9", None),
        ] {
            assert_eq!(range(text, 20), expected, "{text}");
        }
    }
}
