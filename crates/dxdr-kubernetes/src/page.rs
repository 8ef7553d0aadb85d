//! A page of a list, cut into its items without copying one.

use std::borrow::Cow;

use bytes::Bytes;
use dxdr_provider::cluster::ObjectPage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Cuts the body of a list. The items are slices of `body`: one that is kept keeps the whole page in memory.
pub(crate) fn cut(body: &Bytes) -> Result<ObjectPage, NotAList> {
    let list: List<'_> = serde_json::from_slice(body).map_err(NotAList::Json)?;
    let items = match list.items {
        Some(items) => items,
        // Go writes an empty list as null or leaves it out.
        None if list.kind.as_deref().is_some_and(|kind| kind.ends_with("List")) => Vec::new(),
        None => {
            return Err(NotAList::Other(list.kind.map_or_else(|| "an object without kind".into(), |kind| format!("a {kind}"))));
        }
    };
    let mut slices = Vec::with_capacity(items.len());
    for item in items {
        let text = item.get();
        if !text.starts_with('{') {
            return Err(NotAList::Other("a list whose items are no objects".into()));
        }
        slices.push(body.slice_ref(text.as_bytes()));
    }
    Ok(ObjectPage {
        items: slices,
        resource_version: list.metadata.resource_version.map(Cow::into_owned).unwrap_or_default(),
        continuation: list.metadata.continuation.filter(|token| !token.is_empty()).map(Cow::into_owned),
    })
}

/// Why an answer is no list.
#[derive(Debug)]
pub(crate) enum NotAList {
    Json(serde_json::Error),
    Other(String),
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    metadata: ListMetadata<'a>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
struct ListMetadata<'a> {
    #[serde(borrow, rename = "resourceVersion")]
    resource_version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "continue")]
    continuation: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_the_server_s_bytes_and_share_the_body() {
        let body = Bytes::from_static(
            br#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"t"},"items":[ {"b":1.0, "a":"\u00e9"},{"x":1e400} ]}"#,
        );
        let page = cut(&body).unwrap();
        assert_eq!(page.items, [&br#"{"b":1.0, "a":"\u00e9"}"#[..], br#"{"x":1e400}"#]);
        assert!(body.as_ptr_range().contains(&page.items[0].as_ptr()));
        assert_eq!((page.resource_version.as_str(), page.continuation.as_deref()), ("7", Some("t")));
    }

    #[test]
    fn an_empty_list_may_be_null_and_an_empty_continuation_is_none() {
        for body in [
            &br#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":""},"items":null}"#[..],
            br#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[]}"#,
        ] {
            let page = cut(&Bytes::copy_from_slice(body)).unwrap();
            assert!(page.items.is_empty() && page.continuation.is_none());
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in [
            &br#"{"kind":"Status"}"#[..],
            b"{}",
            b"[]",
            b"",
            br#"{"kind":"PodList","items":[{"a":1}"#,
            br#"{"kind":"PodList","items":[1]}"#,
        ] {
            assert!(cut(&Bytes::copy_from_slice(body)).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
