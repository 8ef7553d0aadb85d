//! Listings: which names, rolled up how, on which page.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{failure::Failure, query::Query};

/// Most names and prefixes on one page.
const LARGEST_PAGE: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    prefix: String,
    delimiter: Option<String>,
    start: String,
    end: Option<String>,
    /// The last name or common prefix of the page before.
    after: Option<String>,
    limit: usize,
}

/// What is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<String>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) next: Option<String>,
}

impl Listing {
    pub(crate) fn parse(query: &Query) -> Result<Self, Failure> {
        for (name, what) in [("matchGlob", "globs"), ("versions", "object versioning"), ("softDeleted", "soft delete")] {
            if query.text(name).is_some_and(|value| value != "false") {
                return Err(Failure::not_implemented(what));
            }
        }
        let after = match query.text("pageToken") {
            Some(token) => Some(name_of(token).ok_or_else(|| Failure::invalid(format!("Invalid page token: {token}")))?),
            None => None,
        };
        let limit = query.number("maxResults")?.unwrap_or(LARGEST_PAGE);
        if limit == 0 {
            return Err(Failure::invalid("Invalid value for maxResults: 0"));
        }
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            delimiter: query.text("delimiter").map(str::to_owned),
            start: query.get("startOffset").unwrap_or_default().to_owned(),
            end: query.text("endOffset").map(str::to_owned),
            after,
            limit: limit.min(LARGEST_PAGE),
        })
    }

    /// What stands for a name: itself, or the common prefix that it is rolled up into.
    fn rolled_up<'name>(&self, name: &'name str) -> Option<&'name str> {
        let delimiter = self.delimiter.as_deref()?;
        let rest = name.get(self.prefix.len()..)?;
        let end = rest.find(delimiter)? + delimiter.len();
        name.get(..self.prefix.len() + end)
    }
}

fn token_of(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

fn name_of(token: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// One page, in the order of the names' bytes.
pub(crate) fn page<V>(objects: &BTreeMap<String, V>, listing: &Listing) -> Page {
    let start = listing.prefix.as_str().max(listing.start.as_str());
    let mut from = Included(start.to_owned());
    if let Some(after) = listing.after.as_deref().filter(|after| *after >= start) {
        from = Excluded(after.to_owned());
    }
    let mut page = Page::default();
    let mut last: Option<String> = listing.after.clone();
    for name in objects.range((from, Unbounded)).map(|(name, _)| name) {
        if !name.starts_with(&listing.prefix) || listing.end.as_deref().is_some_and(|end| name.as_str() >= end) {
            break;
        }
        let rolled_up = listing.rolled_up(name);
        let item = rolled_up.unwrap_or(name);
        // Below the common prefix that was the last one.
        if rolled_up.is_some() && last.as_deref() == Some(item) {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == listing.limit {
            page.next = last.as_deref().map(token_of);
            break;
        }
        if rolled_up.is_some() { &mut page.prefixes } else { &mut page.objects }.push(item.to_owned());
        last = Some(item.to_owned());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(names: &[&str]) -> BTreeMap<String, ()> {
        names.iter().map(|name| ((*name).to_owned(), ())).collect()
    }

    fn all(names: &[&str], query: &str) -> (Vec<String>, Vec<String>, usize) {
        let names = objects(names);
        let (mut found, mut prefixes, mut pages, mut token) = (Vec::new(), Vec::new(), 0, String::new());
        loop {
            let listing = Listing::parse(&Query::parse(Some(&format!("{query}&pageToken={token}")))).unwrap();
            let page = page(&names, &listing);
            found.extend(page.objects);
            prefixes.extend(page.prefixes);
            pages += 1;
            match page.next {
                Some(next) => token = next,
                None => return (found, prefixes, pages),
            }
        }
    }

    #[test]
    fn pages_of_any_size_hold_the_same() {
        let names = ["a-b", "a/b", "a/c/d", "a0", "b/", "b/c", "c"];
        for query in
            ["", "delimiter=/", "prefix=a", "prefix=a/&delimiter=/", "prefix=b/&delimiter=/", "delimiter=/&startOffset=a/c"]
        {
            let (found, prefixes, pages) = all(&names, query);
            assert_eq!(pages, 1, "{query}");
            for limit in 1..8 {
                let paged = all(&names, &format!("{query}&maxResults={limit}"));
                assert_eq!((&paged.0, &paged.1), (&found, &prefixes), "{query}, {limit}");
                assert_eq!(paged.2, (found.len() + prefixes.len()).div_ceil(limit).max(1), "{query}, {limit}");
            }
        }
    }

    #[test]
    fn names_are_rolled_up_behind_the_prefix() {
        let names = ["a-b", "a/b", "a/c/d", "a0", "b/", "b/c"];
        assert_eq!(all(&names, "delimiter=/"), (vec!["a-b".into(), "a0".into()], vec!["a/".into(), "b/".into()], 1));
        assert_eq!(all(&names, "delimiter=/&prefix=a/"), (vec!["a/b".into()], vec!["a/c/".into()], 1));
        assert_eq!(all(&names, "startOffset=a/c&endOffset=b/c"), (vec!["a/c/d".into(), "a0".into(), "b/".into()], vec![], 1));
    }
}
