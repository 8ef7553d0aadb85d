use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_catalog::{Component, Engine, Gap, ResourcesComponent, SourceCluster, Trigger};
use dxdr_environment::EnvironmentName;
use dxdr_format::layout::StoreLayout;
use dxdr_provider::{
    ObjectStorage, StorageError, StorageErrorKind,
    object_storage::{ObjectBody, ObjectReader, ObjectStat, PutCondition},
};

use super::*;

/// Shows two folders a page, and counts the pages. Like some stores, it goes on listing a folder that was emptied.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<String, Bytes>,
    lists: AtomicUsize,
    emptied: Option<&'static str>,
}

#[async_trait]
impl ObjectStorage for Shelf {
    fn describe(&self) -> String {
        "shelf".into()
    }

    async fn put(&self, _: &str, _: ObjectBody, _: PutCondition) -> Result<ObjectStat, StorageError> {
        unreachable!("nobody asks")
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let error = StorageError {
            kind: StorageErrorKind::NotFound,
            action: "read",
            key: key.into(),
            store: "shelf".into(),
            source: None,
        };
        let bytes = self.objects.get(key).cloned().ok_or(error)?;
        let stat = ObjectStat { key: key.into(), size: bytes.len() as u64, modified: None, tag: None };
        Ok(ObjectReader { stat, stream: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        if !request.directories {
            return Ok(self.below(&request.prefix));
        }
        let after = request.continuation.clone().unwrap_or_default();
        let below = self.objects.keys().filter_map(|key| key.strip_prefix(&request.prefix)?.split_once('/'));
        let mut folders: Vec<String> = below.map(|(folder, _)| format!("{}{folder}/", request.prefix)).collect();
        folders.extend(self.emptied.map(str::to_owned));
        folders.dedup();
        let mut rest = folders.into_iter().filter(|folder| *folder > after);
        let directories: Vec<String> = rest.by_ref().take(2).collect();
        let continuation = rest.next().and(directories.last().cloned());
        Ok(ListPage { objects: Vec::new(), directories, continuation })
    }

    async fn stat(&self, _: &str) -> Result<ObjectStat, StorageError> {
        unreachable!("nobody asks")
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unreachable!("nobody asks")
    }
}

impl Shelf {
    fn below(&self, prefix: &str) -> ListPage {
        let keys = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let stat = |(key, bytes): (&String, &Bytes)| ObjectStat {
            key: key.clone(),
            size: bytes.len() as u64,
            modified: None,
            tag: None,
        };
        ListPage { objects: keys.map(stat).collect(), ..ListPage::default() }
    }
}

/// A store with a backup of Velero's behind `ours` points of dxdr's.
fn shelf(ours: usize) -> (Arc<Shelf>, Store) {
    let backup = r#"{"kind": "Backup", "apiVersion": "velero.io/v1", "metadata": {"name": "theirs"},
        "spec": {"includedNamespaces": ["staging"]},
        "status": {"phase": "Completed", "startTimestamp": "2024-05-01T09:00:00Z", "completionTimestamp": "2024-05-01T09:01:00Z"}}"#;
    let mut objects = BTreeMap::from([("backups/theirs/velero-backup.json".to_owned(), Bytes::from(backup))]);
    for number in 0..ours {
        objects.insert(format!("backups/dev-20240501t09000{number}z-aaaaa/dxdr-manifest.json"), Bytes::new());
    }
    let shelf = Arc::new(Shelf { objects, ..Shelf::default() });
    let store = Store { name: "shelf".into(), storage: shelf.clone(), layout: StoreLayout::new("") };
    (shelf, store)
}

#[tokio::test]
async fn a_backup_of_veleros_is_found_behind_more_points_than_a_page_shows() {
    let (shelf, store) = shelf(2);
    let found = around(&store, "staging", "staging", "2024-05-01T10:00:00Z".parse().unwrap()).await.unwrap();
    assert_eq!(found.entries.iter().map(Entry::name).collect::<Vec<_>>(), ["theirs"]);
    assert!(found.whole && shelf.lists.load(Ordering::SeqCst) == 4);
}

#[tokio::test]
async fn no_more_than_four_lists_are_spent_on_an_instant_and_it_is_said_when_they_did_not_reach() {
    let (shelf, store) = shelf(4);
    let found = around(&store, "staging", "staging", "2024-05-01T10:00:00Z".parse().unwrap()).await.unwrap();
    assert!(found.entries.is_empty() && !found.whole);
    assert_eq!(shelf.lists.load(Ordering::SeqCst), 4);
}

fn point(name: &str, instant: Timestamp, gaps: Vec<Gap>) -> RecoveryPoint {
    RecoveryPoint {
        name: name.to_owned(),
        environment: EnvironmentName::parse("staging").unwrap(),
        namespaces: vec!["staging".to_owned()],
        engine: Engine::Native,
        policy: None,
        trigger: Trigger::Requested,
        run: "20240501t093000z-backup-staging-aaaaa".to_owned(),
        started: instant,
        instant,
        expires: None,
        cluster: SourceCluster { version: String::new(), identity: None },
        environment_digest: None,
        components: vec![Component::Resources(ResourcesComponent {
            instant,
            between: None,
            items: 1,
            bytes: 1,
            kinds: Vec::new(),
        })],
        objects: Vec::new(),
        gaps,
    }
}

#[tokio::test]
async fn a_point_that_is_entered_under_an_earlier_instant_than_it_has_keeps_nobody_from_older_ones() {
    let at: Timestamp = "2024-05-01T10:00:00Z".parse().unwrap();
    let layout = StoreLayout::new("");
    let mut objects = BTreeMap::new();
    let mut enter = |point: &RecoveryPoint, under: Timestamp| {
        objects.insert(layout.manifest_key(&point.name), Bytes::from(manifest::encode(point)));
        objects.insert(layout.point_index_key("staging", under, &point.name), Bytes::new());
    };
    // It was mended, and what it was entered under before is still there.
    let second = jiff::SignedDuration::from_secs(1);
    enter(&point("dxdr-staging-20240501095959", at + second, Vec::new()), at);
    let lacks = || vec![Gap { what: "database orders".to_owned(), reason: "nobody answered".to_owned() }];
    for number in 1..=10 {
        let (name, instant) = (format!("dxdr-staging-202405010940{number:02}"), at - second * (100 - number));
        enter(&point(&name, instant, lacks()), instant);
    }
    // By its name it is the last one, so that no listing of folders comes to it.
    let old = point("old", at - second * 3600, Vec::new());
    enter(&old, old.instant);
    let storage = Arc::new(Shelf { objects, ..Shelf::default() });
    let store = Store { name: "shelf".into(), storage, layout };
    let found = around(&store, "staging", "staging", at).await.unwrap();
    assert!(found.entries.iter().any(|entry| entry.name() == old.name), "{:#?}", found.entries.len());
}

#[tokio::test]
async fn a_point_that_the_index_has_lost_is_found_by_its_name() {
    let point = point("staging-20240501t093000z-aaaaa", "2024-05-01T09:30:00Z".parse().unwrap(), Vec::new());
    let key = format!("backups/{}/dxdr-manifest.json", point.name);
    let objects = BTreeMap::from([(key, Bytes::from(manifest::encode(&point)))]);
    let storage = Arc::new(Shelf { objects, ..Shelf::default() });
    let store = Store { name: "shelf".into(), storage, layout: StoreLayout::new("") };
    let at = "2024-05-01T10:00:00Z".parse().unwrap();
    let found = around(&store, "staging", "staging", at).await.unwrap();
    assert_eq!(found.entries.iter().map(Entry::name).collect::<Vec<_>>(), [point.name.as_str()]);
    assert!(around(&store, "dev", "dev", at).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_folder_that_was_emptied_is_no_leftover_and_one_that_was_not_is() {
    let objects = BTreeMap::from([(
        "backups/staging-20240501t090000z-aaaaa/staging-20240501t090000z-aaaaa.tar.gz".to_owned(),
        Bytes::new(),
    )]);
    let emptied = Some("backups/staging-20240501t090000z-bbbbb/");
    let storage = Arc::new(Shelf { objects, emptied, ..Shelf::default() });
    let store = Store { name: "shelf".into(), storage, layout: StoreLayout::new("") };
    let found = all(&store, None).await.unwrap();
    assert_eq!(found.leftovers, ["staging-20240501t090000z-aaaaa"]);
}
