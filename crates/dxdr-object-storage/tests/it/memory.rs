//! The store in memory.

use dxdr_object_storage::MemoryStorage;
use dxdr_provider::object_storage::{ListRequest, ObjectStorage};

use crate::conformance;

fn fresh() -> Option<((), MemoryStorage)> {
    Some(((), MemoryStorage::default()))
}

conformance::suite!(fresh());

#[tokio::test]
async fn a_page_behind_a_hundred_thousand_directories_is_found_at_once() {
    let storage = MemoryStorage::default();
    for number in 0..100_000 {
        storage.insert(format!("backups/{number:05}/manifest.json"), "");
    }
    let request = ListRequest {
        prefix: "backups/".to_owned(),
        start_after: Some("backups/99997/".to_owned()),
        directories: true,
        ..ListRequest::default()
    };
    let page = storage.list(&request).await.unwrap();
    assert_eq!(page.directories, ["backups/99998/", "backups/99999/"]);
    assert_eq!(page.continuation, None);
}
