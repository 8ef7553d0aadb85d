//! Which resource a path names, and what the query says.

use std::collections::HashMap;

/// A resource path, taken apart.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) plural: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

impl Path {
    pub(super) fn parse(path: &str) -> Option<Self> {
        let decoded: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(percent_decoded).collect();
        let mut segments = decoded.into_iter();
        let mut parsed = Self::default();
        match segments.next()?.as_str() {
            "api" => parsed.version = segments.next()?,
            "apis" => {
                parsed.group = segments.next()?;
                parsed.version = segments.next()?;
            }
            _ => return None,
        }
        let rest: Vec<String> = segments.collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let place = match rest.as_slice() {
            ["namespaces", namespace, sub @ ("status" | "finalize")] => ["", "namespaces", namespace, sub],
            ["namespaces", namespace, plural] => [*namespace, plural, "", ""],
            ["namespaces", namespace, plural, name] => [*namespace, plural, name, ""],
            ["namespaces", namespace, plural, name, sub] => [*namespace, plural, name, sub],
            [plural] => ["", plural, "", ""],
            [plural, name] => ["", plural, name, ""],
            [plural, name, sub] => ["", plural, name, sub],
            _ => return None,
        };
        [parsed.namespace, parsed.plural, parsed.name, parsed.subresource] = place.map(str::to_owned);
        Some(parsed)
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = text.get(index + 1..index + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[index], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                index += 3;
            }
            (b'+', _) => {
                decoded.push(b' ');
                index += 1;
            }
            (byte, _) => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The query, by name; of a repeated parameter the last counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(
            query
                .unwrap_or_default()
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True") || (self.0.contains_key(name) && self.get(name).is_empty())
    }
}
