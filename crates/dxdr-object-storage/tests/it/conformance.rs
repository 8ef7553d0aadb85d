//! What every store does. Each check gets a store without objects.

use std::sync::Arc;

use bytes::Bytes;
use dxdr_provider::object_storage::{
    ListPage, ListRequest, ObjectBody, ObjectStat, ObjectStorage, PutCondition, StorageError, StorageErrorKind,
};
use futures::{StreamExt, TryStreamExt, future, stream};

/// Makes a test of each check. The argument is evaluated for each: a guard and an empty store, or `None` when there is no server to
/// test against.
macro_rules! suite {
    ($fresh:expr) => {
        $crate::conformance::suite! { @checks $fresh;
            what_is_put_is_read_back
            an_empty_object_is_an_object
            a_range_is_cut_at_the_end_of_the_object
            a_put_replaces_what_was_there
            a_large_stream_is_read_back
            a_stream_that_fails_leaves_nothing
            a_stream_that_fails_keeps_the_object_that_was_there
            keys_are_listed_in_the_order_of_their_bytes
            pages_of_any_size_hold_the_same
            a_listing_starts_after_a_key
            pages_of_awkward_keys_are_in_order_too
            a_listing_of_awkward_keys_starts_after_a_key
            directories_start_after_a_text_that_is_not_one
            directories_are_rolled_up
            directories_start_after_a_key_or_directory
            a_prefix_need_not_be_a_directory
            listing_nothing_is_not_an_error
            of_eight_writers_one_creates
            of_eight_writers_of_streams_one_creates
            an_object_that_exists_is_not_created_again
            an_object_is_replaced_only_while_it_is_what_was_read
            a_missing_object_is_not_found
            deleting_what_is_missing_succeeds
            deleted_objects_are_gone
            keys_with_unicode_and_spaces_work
            keys_that_are_not_keys_are_refused
            many_calls_run_at_once
        }
    };
    (@checks $fresh:expr; $($check:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                match $fresh {
                    Some((_guard, storage)) => $crate::conformance::$check(std::sync::Arc::new(storage)).await,
                    None => eprintln!("did not run: {} ({})", stringify!($check), module_path!()),
                }
            }
        )*
    };
}
pub(crate) use suite;

type Storage = Arc<dyn ObjectStorage>;

pub(crate) async fn put(storage: &dyn ObjectStorage, key: &str, bytes: impl Into<Bytes>) -> ObjectStat {
    storage.put(key, ObjectBody::Bytes(bytes.into()), PutCondition::Always).await.unwrap()
}

pub(crate) async fn read(storage: &dyn ObjectStorage, key: &str) -> Vec<u8> {
    let reader = storage.get(key, None).await.unwrap();
    reader.stream.try_collect::<Vec<_>>().await.unwrap().concat()
}

async fn read_range(storage: &dyn ObjectStorage, key: &str, range: std::ops::Range<u64>) -> (u64, Vec<u8>) {
    let reader = storage.get(key, Some(range)).await.unwrap();
    (reader.stat.size, reader.stream.try_collect::<Vec<_>>().await.unwrap().concat())
}

pub(crate) async fn all_keys(storage: &dyn ObjectStorage) -> Vec<String> {
    pages(storage, ListRequest::default()).await.into_iter().flat_map(|page| page.objects).map(|stat| stat.key).collect()
}

async fn pages(storage: &dyn ObjectStorage, mut request: ListRequest) -> Vec<ListPage> {
    let mut pages = Vec::new();
    loop {
        let page = storage.list(&request).await.unwrap();
        let continuation = page.continuation.clone();
        pages.push(page);
        assert!(pages.len() < 1000, "the listing does not end");
        match continuation {
            Some(continuation) => request.continuation = Some(continuation),
            None => return pages,
        }
    }
}

fn kind<T>(result: Result<T, StorageError>) -> StorageErrorKind {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error.kind,
    }
}

/// Bytes that tell where they are from, in chunks of odd sizes.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|position| (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

pub(crate) fn streamed(bytes: Vec<u8>) -> ObjectBody {
    let bytes = Bytes::from(bytes);
    let chunks: Vec<_> =
        (0..bytes.len()).step_by(77_777).map(|start| Ok(bytes.slice(start..bytes.len().min(start + 77_777)))).collect();
    ObjectBody::Stream(stream::iter(chunks).boxed())
}

fn failing(length: usize) -> ObjectBody {
    let chunks = (0..length / 1_000_000).map(|_| Ok(Bytes::from(vec![1; 1_000_000])));
    ObjectBody::Stream(stream::iter(chunks.chain([Err(std::io::Error::other("the source broke"))]).collect::<Vec<_>>()).boxed())
}

pub(crate) async fn what_is_put_is_read_back(storage: Storage) {
    let written = put(&*storage, "backups/one/data.bin", pattern(100_000)).await;
    assert_eq!((written.key.as_str(), written.size), ("backups/one/data.bin", 100_000));
    assert_eq!(read(&*storage, "backups/one/data.bin").await, pattern(100_000));
    let stat = storage.stat("backups/one/data.bin").await.unwrap();
    assert_eq!((stat.key.as_str(), stat.size), ("backups/one/data.bin", 100_000));
    assert!(stat.modified.is_some());
    let reader = storage.get("backups/one/data.bin", None).await.unwrap();
    assert_eq!((reader.stat.size, &reader.stat.tag), (100_000, &stat.tag));
}

pub(crate) async fn an_empty_object_is_an_object(storage: Storage) {
    put(&*storage, "empty", "").await;
    let written = storage.put("empty-stream", ObjectBody::Stream(stream::empty().boxed()), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(written.size, 0);
    for key in ["empty", "empty-stream"] {
        assert_eq!(storage.stat(key).await.unwrap().size, 0);
        assert_eq!(read(&*storage, key).await, b"");
        assert_eq!(read_range(&*storage, key, 0..10).await, (0, Vec::new()));
    }
    assert_eq!(all_keys(&*storage).await, ["empty", "empty-stream"]);
}

pub(crate) async fn a_range_is_cut_at_the_end_of_the_object(storage: Storage) {
    put(&*storage, "a", "0123456789").await;
    for (range, expected) in
        [(0..10, "0123456789"), (0..1, "0"), (3..6, "345"), (7..100, "789"), (10..20, ""), (30..40, ""), (4..4, "")]
    {
        let (size, bytes) = read_range(&*storage, "a", range.clone()).await;
        assert_eq!((size, String::from_utf8(bytes).unwrap().as_str()), (10, expected), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
    let backwards = storage.get("a", Some(6..3)).await;
    assert_eq!(kind(backwards), StorageErrorKind::Invalid);
    assert_eq!(kind(storage.get("b", Some(0..3)).await), StorageErrorKind::NotFound);
    assert_eq!(kind(storage.get("b", Some(3..3)).await), StorageErrorKind::NotFound);
}

pub(crate) async fn a_put_replaces_what_was_there(storage: Storage) {
    put(&*storage, "a", pattern(5000)).await;
    put(&*storage, "a", "short").await;
    assert_eq!(read(&*storage, "a").await, b"short");
    assert_eq!(storage.stat("a").await.unwrap().size, 5);
}

pub(crate) async fn a_large_stream_is_read_back(storage: Storage) {
    let length = 20 * 1024 * 1024 + 12_345;
    let written = storage.put("large", streamed(pattern(length)), PutCondition::Always).await.unwrap();
    assert_eq!(written.size, length as u64);
    assert_eq!(storage.stat("large").await.unwrap().size, length as u64);
    assert!(read(&*storage, "large").await == pattern(length), "the bytes differ");
    let start = 8 * 1024 * 1024 - 10;
    let (size, bytes) = read_range(&*storage, "large", start as u64..start as u64 + 20).await;
    assert_eq!((size, bytes.as_slice()), (length as u64, &pattern(length)[start..start + 20]));
    put(&*storage, "large-bytes", pattern(length)).await;
    assert!(read(&*storage, "large-bytes").await == pattern(length), "the bytes differ");
}

pub(crate) async fn a_stream_that_fails_leaves_nothing(storage: Storage) {
    for (length, condition) in [
        (0, PutCondition::Always),
        (2_000_000, PutCondition::Always),
        (30_000_000, PutCondition::Always),
        (2_000_000, PutCondition::IfAbsent),
        (30_000_000, PutCondition::IfAbsent),
    ] {
        let error = storage.put("broken/object", failing(length), condition).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Other);
        assert!(format!("{error:?}").contains("the source broke"));
        assert_eq!(kind(storage.stat("broken/object").await), StorageErrorKind::NotFound);
    }
    assert!(all_keys(&*storage).await.is_empty());
}

pub(crate) async fn a_stream_that_fails_keeps_the_object_that_was_there(storage: Storage) {
    put(&*storage, "a", "before").await;
    for length in [1_000_000, 30_000_000] {
        storage.put("a", failing(length), PutCondition::Always).await.unwrap_err();
        assert_eq!(read(&*storage, "a").await, b"before");
    }
}

/// Keys that only sort right when whole keys are compared, byte by byte.
const AWKWARD: [&str; 17] = [
    "A", "B/x", "a!/x", "a-b", "a-b.d/c", "a.tar", "a/b", "a/b.c/d", "a/b/c", "a/b0", "a0", "aa/b", "b", "b-/c", "b0/c", "ä/ö",
    "日/本",
];

/// `a/b` and `a/b/c` cannot both be in a directory.
fn awkward() -> impl Iterator<Item = &'static str> {
    AWKWARD.into_iter().filter(|key| *key != "a/b")
}

pub(crate) async fn keys_are_listed_in_the_order_of_their_bytes(storage: Storage) {
    let mut expected: Vec<_> = awkward().collect();
    for key in expected.iter().rev() {
        put(&*storage, key, *key).await;
    }
    expected.sort_unstable();
    let page = storage.list(&ListRequest::default()).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|stat| stat.key.as_str()).collect();
    assert_eq!(keys, expected);
    assert!(page.objects.iter().all(|stat| stat.size == stat.key.len() as u64 && stat.modified.is_some()));
    assert_eq!((page.directories.len(), page.continuation), (0, None));
}

/// Keys that every server orders alike.
const TAME: [&str; 12] = ["A", "B/x", "a/b/c", "a/b/d", "a/d", "aa/b", "b", "c/d/e/f", "c/d/g/h", "c0/c", "ä/ö", "日/本"];

/// Whether the store does all that S3 does, told by the order of awkward keys across pages. SeaweedFS does not: it orders the names of directories
/// without their slash, and decides conditions of multipart uploads without a lock.
async fn is_exact(storage: &dyn ObjectStorage, check: &str) -> bool {
    put(storage, "probe/a/x", "").await;
    put(storage, "probe/a-b", "").await;
    let request = ListRequest { prefix: "probe/".to_owned(), limit: Some(1), ..ListRequest::default() };
    let first = storage.list(&request).await.unwrap().objects.remove(0).key;
    for key in ["probe/a/x", "probe/a-b"] {
        storage.delete(key).await.unwrap();
    }
    let is_exact = first == "probe/a-b";
    if !is_exact {
        eprintln!("did not run: {check} ({} is known to differ from S3 here)", storage.describe());
    }
    is_exact
}

pub(crate) async fn pages_of_any_size_hold_the_same(storage: Storage) {
    pages_hold_the_same(&*storage, &TAME).await;
}

pub(crate) async fn pages_of_awkward_keys_are_in_order_too(storage: Storage) {
    if is_exact(&*storage, "pages_of_awkward_keys_are_in_order_too").await {
        pages_hold_the_same(&*storage, &awkward().collect::<Vec<_>>()).await;
    }
}

async fn pages_hold_the_same(storage: &dyn ObjectStorage, keys: &[&str]) {
    for key in keys {
        put(storage, key, "x").await;
    }
    for directories in [false, true] {
        let whole = pages(storage, ListRequest { directories, ..ListRequest::default() }).await.remove(0);
        for limit in [1, 2, 3, 7, 16, 17, 100] {
            let request = ListRequest { directories, limit: Some(limit), ..ListRequest::default() };
            let pages = pages(storage, request).await;
            assert!(pages.iter().all(|page| page.objects.len() + page.directories.len() <= limit));
            let objects: Vec<_> = pages.iter().flat_map(|page| page.objects.clone()).collect();
            let names: Vec<_> = pages.iter().flat_map(|page| page.directories.clone()).collect();
            assert_eq!(objects, whole.objects, "directories: {directories}, limit: {limit}");
            assert_eq!(names, whole.directories, "directories: {directories}, limit: {limit}");
        }
    }
}

pub(crate) async fn a_listing_starts_after_a_key(storage: Storage) {
    listing_starts_after(&*storage, &TAME, &["", "0", "a/b/", "a/b/z", "a/c", "b!", "zzz", "日/本/"]).await;
}

pub(crate) async fn a_listing_of_awkward_keys_starts_after_a_key(storage: Storage) {
    if is_exact(&*storage, "a_listing_of_awkward_keys_starts_after_a_key").await {
        let afters = ["", "a", "a-", "a/", "a/b", "a/b/", "a/b/z", "c", "zzz", "日/本/"];
        listing_starts_after(&*storage, &awkward().collect::<Vec<_>>(), &afters).await;
    }
}

pub(crate) async fn directories_start_after_a_text_that_is_not_one(storage: Storage) {
    if !is_exact(&*storage, "directories_start_after_a_text_that_is_not_one").await {
        return;
    }
    for key in ["points/6/a", "points/7/a", "points/7-b/a", "points/8/a"] {
        put(&*storage, key, "x").await;
    }
    for (after, expected) in [
        ("points/7", vec!["points/7-b/", "points/7/", "points/8/"]),
        ("points/7-b/", vec!["points/7/", "points/8/"]),
        ("points/7.", vec!["points/7/", "points/8/"]),
    ] {
        let request = ListRequest {
            prefix: "points/".to_owned(),
            start_after: Some(after.to_owned()),
            directories: true,
            ..ListRequest::default()
        };
        assert_eq!(storage.list(&request).await.unwrap().directories, expected, "after `{after}`");
    }
}

async fn listing_starts_after(storage: &dyn ObjectStorage, keys: &[&str], afters: &[&str]) {
    for key in keys {
        put(storage, key, "x").await;
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    for after in sorted.iter().chain(afters).copied() {
        let request = ListRequest { start_after: Some(after.to_owned()), ..ListRequest::default() };
        let keys: Vec<_> = storage.list(&request).await.unwrap().objects.into_iter().map(|stat| stat.key).collect();
        let expected: Vec<_> = sorted.iter().copied().filter(|key| *key > after).collect();
        assert_eq!(keys, expected, "after `{after}`");

        let request = ListRequest { prefix: "a/".to_owned(), start_after: Some(after.to_owned()), ..ListRequest::default() };
        let keys: Vec<_> = storage.list(&request).await.unwrap().objects.into_iter().map(|stat| stat.key).collect();
        let expected: Vec<_> = sorted.iter().copied().filter(|key| *key > after && key.starts_with("a/")).collect();
        assert_eq!(keys, expected, "prefix `a/`, after `{after}`");
    }
}

pub(crate) async fn directories_are_rolled_up(storage: Storage) {
    for key in ["backups/a/1", "backups/a/2", "backups/a-b/1", "backups/b/c/1", "backups/top", "other/1"] {
        put(&*storage, key, "x").await;
    }
    let list = |prefix: &str| {
        let request = ListRequest { prefix: prefix.to_owned(), directories: true, ..ListRequest::default() };
        let storage = Arc::clone(&storage);
        async move {
            let page = storage.list(&request).await.unwrap();
            (page.objects.into_iter().map(|stat| stat.key).collect::<Vec<_>>(), page.directories)
        }
    };
    assert_eq!(list("").await, (vec![], vec!["backups/".to_owned(), "other/".to_owned()]));
    assert_eq!(
        list("backups/").await,
        (vec!["backups/top".to_owned()], vec!["backups/a-b/".to_owned(), "backups/a/".to_owned(), "backups/b/".to_owned()])
    );
    assert_eq!(list("backups/a").await, (vec![], vec!["backups/a-b/".to_owned(), "backups/a/".to_owned()]));
    assert_eq!(list("backups").await, (vec![], vec!["backups/".to_owned()]));
}

pub(crate) async fn directories_start_after_a_key_or_directory(storage: Storage) {
    for number in 0..10 {
        put(&*storage, &format!("points/{number}/manifest.json"), "x").await;
        put(&*storage, &format!("points/{number}/data"), "x").await;
    }
    let list = |after: &str, limit: Option<usize>| {
        let request = ListRequest {
            prefix: "points/".to_owned(),
            start_after: Some(after.to_owned()),
            directories: true,
            limit,
            ..ListRequest::default()
        };
        let storage = Arc::clone(&storage);
        async move { storage.list(&request).await.unwrap().directories }
    };
    assert_eq!(list("points/7/", None).await, ["points/8/", "points/9/"]);
    assert_eq!(list("points/7/manifest.json", None).await, ["points/8/", "points/9/"]);
    assert_eq!(list("points/3/zzz", Some(1)).await, ["points/4/"]);
    assert_eq!(list("points/9/", None).await, Vec::<String>::new());
    assert_eq!(list("points/", None).await.len(), 10);
    assert_eq!(list("a", None).await.len(), 10);
}

pub(crate) async fn a_prefix_need_not_be_a_directory(storage: Storage) {
    for key in ["backups/prod-1/a", "backups/prod-2/a", "backups/staging-1/a", "backups/prod"] {
        put(&*storage, key, "x").await;
    }
    let request = ListRequest { prefix: "backups/prod-".to_owned(), ..ListRequest::default() };
    let keys: Vec<_> = storage.list(&request).await.unwrap().objects.into_iter().map(|stat| stat.key).collect();
    assert_eq!(keys, ["backups/prod-1/a", "backups/prod-2/a"]);
    let request = ListRequest { prefix: "backups/prod-1/a".to_owned(), ..ListRequest::default() };
    assert_eq!(storage.list(&request).await.unwrap().objects.len(), 1);
}

pub(crate) async fn listing_nothing_is_not_an_error(storage: Storage) {
    put(&*storage, "a/b", "x").await;
    for prefix in ["nothing", "a/b/", "a/c/", "x/y/z", "a/b/c/d"] {
        for directories in [false, true] {
            let request = ListRequest { prefix: prefix.to_owned(), directories, ..ListRequest::default() };
            assert_eq!(storage.list(&request).await.unwrap(), ListPage::default(), "`{prefix}`");
        }
    }
}

pub(crate) async fn of_eight_writers_one_creates(storage: Storage) {
    for round in 0..5 {
        race(&storage, &format!("race/{round}/lease"), |writer| ObjectBody::Bytes(writer.to_string().into())).await;
    }
}

pub(crate) async fn of_eight_writers_of_streams_one_creates(storage: Storage) {
    if !is_exact(&*storage, "of_eight_writers_of_streams_one_creates").await {
        return;
    }
    race(&storage, "race/large", |writer| streamed(vec![b'0' + writer as u8; 9 * 1024 * 1024])).await;
}

async fn race(storage: &Storage, key: &str, body: impl Fn(usize) -> ObjectBody) {
    let writers = (0..8).map(|writer| {
        let (storage, key, body) = (Arc::clone(storage), key.to_owned(), body(writer));
        tokio::spawn(async move { storage.put(&key, body, PutCondition::IfAbsent).await })
    });
    let outcomes = future::join_all(writers).await;
    let mut winners = Vec::new();
    for (writer, outcome) in outcomes.into_iter().enumerate() {
        match outcome.unwrap() {
            Ok(_) => winners.push(writer),
            Err(error) => assert_eq!(error.kind, StorageErrorKind::AlreadyExists, "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let content = read(&**storage, key).await;
    assert_eq!(content[0], b'0' + winners[0] as u8);
}

pub(crate) async fn an_object_that_exists_is_not_created_again(storage: Storage) {
    storage.put("a", ObjectBody::Bytes("first".into()), PutCondition::IfAbsent).await.unwrap();
    for body in [ObjectBody::Bytes("second".into()), streamed(pattern(9 * 1024 * 1024)), streamed(pattern(10))] {
        assert_eq!(kind(storage.put("a", body, PutCondition::IfAbsent).await), StorageErrorKind::AlreadyExists);
    }
    assert_eq!(read(&*storage, "a").await, b"first");
    storage.delete("a").await.unwrap();
    storage.put("a", ObjectBody::Bytes("third".into()), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(read(&*storage, "a").await, b"third");
}

pub(crate) async fn an_object_is_replaced_only_while_it_is_what_was_read(storage: Storage) {
    put(&*storage, "a/b", "first").await;
    let first = storage.get("a/b", None).await.unwrap().stat;
    let second = storage.replace(&first, "second one".into()).await.unwrap().unwrap();
    assert_eq!((second.key.as_str(), second.size), ("a/b", 10));
    assert_eq!(storage.replace(&first, "third".into()).await.unwrap(), None);
    assert_eq!(read(&*storage, "a/b").await, b"second one");
    let second = storage.stat("a/b").await.unwrap();
    storage.delete("a/b").await.unwrap();
    assert_eq!(storage.replace(&second, "third".into()).await.unwrap(), None);
    assert_eq!(all_keys(&*storage).await, Vec::<String>::new());
}

pub(crate) async fn a_missing_object_is_not_found(storage: Storage) {
    put(&*storage, "a/b", "x").await;
    for key in ["b", "a", "a/c", "a/b/c", "x/y/z"] {
        assert_eq!(kind(storage.get(key, None).await), StorageErrorKind::NotFound, "{key}");
        assert_eq!(kind(storage.stat(key).await), StorageErrorKind::NotFound, "{key}");
    }
    let error = storage.stat("b").await.unwrap_err();
    assert_eq!((error.action, error.key.as_str(), error.store), ("read", "b", storage.describe()));
}

pub(crate) async fn deleting_what_is_missing_succeeds(storage: Storage) {
    put(&*storage, "a/b", "x").await;
    for key in ["b", "a", "a/c", "a/b/c", "x/y/z"] {
        storage.delete(key).await.unwrap();
    }
    assert_eq!(all_keys(&*storage).await, ["a/b"]);
}

pub(crate) async fn deleted_objects_are_gone(storage: Storage) {
    for key in ["a/b/c", "a/b/d", "e"] {
        put(&*storage, key, "x").await;
    }
    storage.delete("a/b/c").await.unwrap();
    assert_eq!(kind(storage.stat("a/b/c").await), StorageErrorKind::NotFound);
    assert_eq!(all_keys(&*storage).await, ["a/b/d", "e"]);
    storage.delete("a/b/d").await.unwrap();
    storage.delete("a/b/d").await.unwrap();
    assert_eq!(all_keys(&*storage).await, ["e"]);
    // A key above what is gone now.
    put(&*storage, "a", "x").await;
    assert_eq!(all_keys(&*storage).await, ["a", "e"]);
}

pub(crate) async fn keys_with_unicode_and_spaces_work(storage: Storage) {
    let mut keys = [
        "grüße/день/数 据",
        "with space/and  two",
        "+plus&amp;%41?x=y#z",
        "'quote\"<tag>",
        "*~(paren)[b]{c}|^`@$,;:=",
        "🚀.tar.gz",
        "...dots",
        " lead and trail /x",
    ];
    for key in keys {
        put(&*storage, key, key).await;
    }
    keys.sort_unstable();
    assert_eq!(all_keys(&*storage).await, keys);
    for key in keys {
        assert_eq!(read(&*storage, key).await, key.as_bytes());
        let request = ListRequest { prefix: key.to_owned(), ..ListRequest::default() };
        assert_eq!(storage.list(&request).await.unwrap().objects[0].key, key);
        let request = ListRequest { start_after: Some(key.to_owned()), ..ListRequest::default() };
        let after: Vec<_> = storage.list(&request).await.unwrap().objects.into_iter().map(|stat| stat.key).collect();
        assert_eq!(after, keys.iter().copied().filter(|other| *other > key).collect::<Vec<_>>(), "after `{key}`");
    }
    for key in keys {
        storage.delete(key).await.unwrap();
    }
    assert!(all_keys(&*storage).await.is_empty());
}

pub(crate) async fn keys_that_are_not_keys_are_refused(storage: Storage) {
    for key in [
        "",
        "/",
        "/etc/passwd",
        "a/",
        "a//b",
        "..",
        "../up",
        "a/../../up",
        "a/./b",
        "a\nb",
        "a\0",
        "a\\b",
        ".dxdr-incoming/x",
        &"x".repeat(300),
    ] {
        assert_eq!(
            kind(storage.put(key, ObjectBody::Bytes("x".into()), PutCondition::Always).await),
            StorageErrorKind::Invalid,
            "{key:?}"
        );
        assert_eq!(kind(storage.get(key, None).await), StorageErrorKind::Invalid, "{key:?}");
        assert_eq!(kind(storage.stat(key).await), StorageErrorKind::Invalid, "{key:?}");
        assert_eq!(kind(storage.delete(key).await), StorageErrorKind::Invalid, "{key:?}");
    }
    for prefix in ["../", "/", "a//", "./"] {
        let request = ListRequest { prefix: prefix.to_owned(), ..ListRequest::default() };
        assert_eq!(storage.list(&request).await.unwrap(), ListPage::default(), "{prefix:?}");
    }
}

pub(crate) async fn many_calls_run_at_once(storage: Storage) {
    let tasks = (0..64).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            // Deep, and each deletion leaves folders empty: a store of folders prunes and makes them at the same time.
            let key = format!("busy/{}/folders/{}", number % 4, number / 4);
            for _ in 0..5 {
                put(&*storage, &key, key.clone()).await;
                assert_eq!(read(&*storage, &key).await, key.as_bytes());
                storage.delete(&key).await.unwrap();
            }
        })
    });
    for outcome in future::join_all(tasks).await {
        outcome.unwrap();
    }
    assert!(all_keys(&*storage).await.is_empty());
}
