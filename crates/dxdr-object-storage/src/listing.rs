//! What the stores that list by themselves share: which keys a request asks for, and when a page is full.

use std::cmp::Ordering;

use dxdr_provider::object_storage::{ListPage, ListRequest, ObjectStat};

/// Most keys and common prefixes on one page, S3's number.
pub(crate) const LARGEST_PAGE: usize = 1000;

/// How many keys and prefixes the request wants on its page.
pub(crate) fn page_size(request: &ListRequest) -> usize {
    request.limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE)
}

/// Where the page begins: behind this key or common prefix. A continuation is the last item of the page before.
pub(crate) fn begins_after(request: &ListRequest) -> Option<&str> {
    match (request.start_after.as_deref(), request.continuation.as_deref()) {
        (Some(after), Some(continuation)) => Some(after.max(continuation)),
        (after, continuation) => after.or(continuation),
    }
}

/// A key, or what stands for all the keys below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Object(ObjectStat),
    Directory(String),
}

impl Item {
    fn name(&self) -> &str {
        match self {
            Self::Object(stat) => &stat.key,
            Self::Directory(prefix) => prefix,
        }
    }
}

/// Makes a page of items in order, given one more than belong on it if there is one more.
pub(crate) fn page(mut items: Vec<Item>, size: usize) -> ListPage {
    debug_assert!(items.windows(2).all(|pair| pair[0].name().cmp(pair[1].name()) == Ordering::Less));
    let continuation = (items.len() > size).then(|| items[size - 1].name().to_owned());
    items.truncate(size);
    let mut page = ListPage { continuation, ..ListPage::default() };
    for item in items {
        match item {
            Item::Object(stat) => page.objects.push(stat),
            Item::Directory(prefix) => page.directories.push(prefix),
        }
    }
    page
}
