//! The store in a bucket of Google Cloud Storage, while the server misbehaves as told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use dxdr_object_storage::{GcsStorage, hints, storage_error_of};
use dxdr_provider::{
    StorageError, StorageErrorKind,
    object_storage::{ListRequest, ObjectBody, ObjectStorage, PutCondition},
};
use dxdr_storage_emulator::{Emulator, Failing, Fault};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    conformance::{pattern, put, streamed},
    gcs::{emulator, options, storage},
};

const LARGE: usize = 30_000_000;

async fn read(storage: &GcsStorage) -> Result<Vec<u8>, StorageError> {
    let reader = storage.get("object", None).await?;
    let outcome: Result<Vec<_>, _> = reader.stream.try_collect().await;
    outcome.map(|pieces| pieces.concat()).map_err(|error| {
        assert!(storage_error_of(&error).is_some(), "{error:?}");
        *error.into_inner().unwrap().downcast::<StorageError>().unwrap()
    })
}

async fn create(storage: &GcsStorage) -> Result<(), StorageError> {
    storage.put("object", ObjectBody::Bytes("bytes".into()), PutCondition::IfAbsent).await.map(|_| ())
}

fn uploads(emulator: &Emulator) -> usize {
    emulator.asked().iter().filter(|asked| asked.method == "POST").count()
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for failing in [
        Failing::Refused(500, "internalError"),
        Failing::Refused(503, "backendError"),
        Failing::Refused(429, "rateLimitExceeded"),
        Failing::Refused(408, "requestTimeout"),
        Failing::Dropped,
    ] {
        let emulator = emulator().await;
        let storage = storage(&emulator).await;
        emulator.faults().add(Fault::new(failing.clone()).times(3));
        create(&storage).await.unwrap_or_else(|error| panic!("{failing:?} {error:?}"));
        assert_eq!(uploads(&emulator), 4, "{failing:?}");
        emulator.faults().add(Fault::new(failing.clone()).times(3));
        assert_eq!(storage.stat("object").await.unwrap().size, 5);
        emulator.faults().add(Fault::new(failing.clone()).times(3));
        assert_eq!(read(&storage).await.unwrap(), b"bytes");
        emulator.faults().add(Fault::new(failing).times(3));
        storage.delete("object").await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_pass_ends_after_four_attempts() {
    for (failing, kind) in [
        (Failing::Refused(500, "internalError"), StorageErrorKind::Unavailable),
        (Failing::Refused(429, "rateLimitExceeded"), StorageErrorKind::Throttled),
        (Failing::Dropped, StorageErrorKind::Unavailable),
    ] {
        let emulator = emulator().await;
        let storage = storage(&emulator).await;
        emulator.faults().add(Fault::new(failing));
        let error = create(&storage).await.unwrap_err();
        assert_eq!((error.kind, uploads(&emulator)), (kind, 4), "{error:?}");
        assert!(!hints(&error).is_empty());
        assert_eq!(storage.list(&ListRequest::default()).await.unwrap_err().kind, kind);
        assert_eq!(read(&storage).await.unwrap_err().kind, kind);
        let large = storage.put("object", streamed(vec![1; LARGE]), PutCondition::IfAbsent).await;
        assert_eq!(large.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn no_attempt_begins_after_the_limit() {
    let emulator = emulator().await;
    let mut options = options(&emulator);
    options.patience.attempts = 1000;
    options.patience.pause = Duration::from_millis(100);
    options.patience.limit = Duration::from_millis(400);
    let storage = GcsStorage::connect(options).await.unwrap();
    emulator.faults().add(Fault::new(Failing::Refused(503, "backendError")));
    assert_eq!(storage.stat("object").await.unwrap_err().kind, StorageErrorKind::Unavailable);
    assert!((2..10).contains(&emulator.asked().len()), "{}", emulator.asked().len());
}

#[tokio::test]
async fn a_server_that_never_answers_is_timed_out() {
    let emulator = emulator().await;
    let mut options = options(&emulator);
    options.patience.answer = Duration::from_millis(300);
    let storage = GcsStorage::connect(options).await.unwrap();
    emulator.faults().add(Fault::new(Failing::Silent));
    let begin = Instant::now();
    for error in
        [storage.stat("object").await.unwrap_err(), create(&storage).await.unwrap_err(), read(&storage).await.unwrap_err()]
    {
        assert_eq!(error.kind, StorageErrorKind::TimedOut, "{error:?}");
        assert!(error.to_string().contains(&emulator.endpoint()), "{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_took_place_once() {
    for condition in [PutCondition::IfAbsent, PutCondition::Always] {
        let emulator = emulator().await;
        let storage = storage(&emulator).await;
        if condition == PutCondition::Always {
            put(&storage, "object", "before").await;
        }
        for failing in [Failing::DroppedAfter, Failing::RefusedAfter(503, "backendError")] {
            emulator.faults().add(Fault::new(failing).method("POST").times(1));
            let written = storage.put("object", ObjectBody::Bytes("bytes".into()), condition).await.unwrap();
            assert_eq!(written.tag, storage.stat("object").await.unwrap().tag);
            if condition == PutCondition::IfAbsent {
                storage.delete("object").await.unwrap();
            }
        }
        // The last piece of an upload in pieces, which ends the session.
        emulator.faults().add(Fault::new(Failing::DroppedAfter).method("PUT").after(2).times(1));
        let written = storage.put("object", streamed(pattern(LARGE)), condition).await.unwrap();
        assert_eq!((written.size, written.tag), (LARGE as u64, storage.stat("object").await.unwrap().tag));
        assert!(read(&storage).await.unwrap() == pattern(LARGE));
    }
}

#[tokio::test]
async fn a_create_that_lost_to_another_writer_fails() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    put(&storage, "object", "another's").await;
    emulator.faults().add(Fault::new(Failing::Refused(503, "backendError")).method("POST").times(1));
    assert_eq!(create(&storage).await.unwrap_err().kind, StorageErrorKind::AlreadyExists);
    let large = storage.put("object", streamed(vec![1; LARGE]), PutCondition::IfAbsent).await;
    assert_eq!(large.unwrap_err().kind, StorageErrorKind::AlreadyExists);
    assert_eq!(read(&storage).await.unwrap(), b"another's");
}

#[tokio::test]
async fn a_create_of_which_nobody_knows_whose_it_is_is_not_called_another_writers() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    emulator.faults().add(Fault::new(Failing::DroppedAfter).method("POST").times(1));
    emulator.faults().add(Fault::new(Failing::Refused(503, "backendError")).method("GET"));
    assert_eq!(create(&storage).await.unwrap_err().kind, StorageErrorKind::Unavailable);
}

#[tokio::test]
async fn an_upload_goes_on_where_its_connection_broke() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    // More often than a request is tried, and each time a little further.
    emulator.faults().add(Fault::new(Failing::BrokenUpload(3_000_000)).method("PUT").target("upload_id=").times(12));
    let written = storage.put("object", streamed(pattern(LARGE)), PutCondition::IfAbsent).await.unwrap();
    assert_eq!(written.size, LARGE as u64);
    emulator.faults().clear();
    assert!(read(&storage).await.unwrap() == pattern(LARGE), "the bytes differ");
    let starts: Vec<u64> = emulator
        .asked()
        .iter()
        .filter_map(|asked| asked.header("content-range")?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok())
        .collect();
    assert!(
        starts.windows(2).all(|pair| pair[0] <= pair[1]) && starts.iter().filter(|start| **start == 0).count() == 1,
        "{starts:?}"
    );
    assert_eq!(emulator.open_sessions(), 0);
}

#[tokio::test]
async fn an_upload_that_gets_no_further_is_given_up_and_cancelled() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    for failing in [Failing::BrokenUpload(100_000), Failing::Refused(410, "gone")] {
        emulator.faults().add(Fault::new(failing.clone()).method("PUT").target("upload_id="));
        let error = storage.put("object", streamed(vec![1; LARGE]), PutCondition::Always).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Unavailable, "{failing:?} {error:?}");
        assert!(!format!("{error:?} {error}").contains("upload_id"), "the URL is as good as credentials: {error:?}");
        emulator.faults().clear();
        assert_eq!(emulator.open_sessions(), 0);
    }
    assert!(emulator.object_names("dx").is_empty());
}

#[tokio::test]
async fn bytes_that_change_on_their_way_up_are_refused() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    for body in [ObjectBody::Bytes(vec![7; 1000].into()), streamed(vec![7; LARGE])] {
        // Behind the metadata of a small object, and in the second piece of a large one.
        let fault = Fault::new(Failing::FlippedUpload(900)).target("/upload/");
        let is_large = matches!(body, ObjectBody::Stream(_));
        emulator.faults().add(if is_large { fault.method("PUT").after(1).times(1) } else { fault.times(1) });
        let error = storage.put("object", body, PutCondition::IfAbsent).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Corrupt, "{error:?}");
        assert!(emulator.object_names("dx").is_empty());
        assert_eq!(emulator.open_sessions(), 0);
    }
}

#[tokio::test]
async fn an_object_that_the_server_took_for_another_one_is_removed() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    for (body, skip) in [(ObjectBody::Bytes(vec![7; 1000].into()), 0), (streamed(vec![7; LARGE]), 3)] {
        emulator.faults().add(Fault::new(Failing::WrongChecksum).target("/upload/").after(skip).times(1));
        let error = storage.put("object", body, PutCondition::IfAbsent).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Corrupt, "{error:?}");
        assert!(emulator.object_names("dx").is_empty());
        emulator.faults().clear();
    }
}

async fn with_object() -> (Emulator, GcsStorage) {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    put(&storage, "object", pattern(1_000_000)).await;
    emulator.forget_asked();
    (emulator, storage)
}

#[tokio::test]
async fn a_broken_download_is_taken_up_where_it_broke() {
    for failing in [Failing::BrokenDownload(300_000), Failing::Truncated(300_000)] {
        let (emulator, storage) = with_object().await;
        emulator.faults().add(Fault::new(failing.clone()).target("alt=media").times(2));
        assert!(read(&storage).await.unwrap() == pattern(1_000_000), "{failing:?}");
        let asked = emulator.asked();
        assert_eq!(asked.len(), 3, "{failing:?}");
        assert_eq!(asked[0].header("range"), None);
        for resumed in &asked[1..] {
            assert!(resumed.header("range").is_some());
            assert!(resumed.target.contains("generation="), "pinned to what was begun: {}", resumed.target);
        }
    }
}

#[tokio::test]
async fn a_download_that_breaks_again_and_again_is_given_up() {
    let (emulator, storage) = with_object().await;
    emulator.faults().add(Fault::new(Failing::BrokenDownload(50_000)).target("alt=media"));
    let error = read(&storage).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{error:?}");
    assert_eq!(emulator.asked().len(), 4);
}

#[tokio::test]
async fn a_download_that_stands_still_is_taken_up_and_then_timed_out() {
    let (emulator, _) = with_object().await;
    let mut options = options(&emulator);
    options.patience.stall = Duration::from_millis(300);
    let storage = GcsStorage::connect(options).await.unwrap();
    emulator.faults().add(Fault::new(Failing::StalledDownload(300_000)).target("alt=media").times(1));
    assert!(read(&storage).await.unwrap() == pattern(1_000_000));
    emulator.faults().add(Fault::new(Failing::StalledDownload(0)).target("alt=media"));
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::TimedOut);
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_an_error() {
    let (emulator, storage) = with_object().await;
    emulator.faults().add(Fault::new(Failing::BrokenDownload(300_000)).target("alt=media").times(1));
    let mut reader = storage.get("object", None).await.unwrap();
    let first = reader.stream.next().await.unwrap().unwrap();
    assert!(!first.is_empty());
    put(&storage, "object", pattern(1_000_000)).await;
    let error = reader.stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(storage_error_of(&error).unwrap().kind, StorageErrorKind::Corrupt);
}

#[tokio::test]
async fn changed_bytes_are_found_by_the_checksum() {
    let (emulator, storage) = with_object().await;
    emulator.faults().add(Fault::new(Failing::FlippedDownload(999_999)).target("alt=media").times(1));
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::Corrupt, "on the way");
    emulator.faults().add(Fault::new(Failing::WrongChecksum).target("alt=media").times(1));
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::Corrupt, "said wrong");
    // In two pieces.
    emulator.faults().add(Fault::new(Failing::BrokenDownload(300_000)).target("alt=media").times(1));
    emulator.faults().add(Fault::new(Failing::FlippedDownload(10)).target("alt=media").times(1));
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::Corrupt, "in the rest");
    assert!(read(&storage).await.unwrap() == pattern(1_000_000));
    assert!(emulator.damage("dx", "velero/object", 500_000));
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::Corrupt, "in the store");
}

#[tokio::test]
async fn a_server_that_takes_no_more_bytes_stops_their_source() {
    let emulator = emulator().await;
    let mut options = options(&emulator);
    options.patience.attempts = 1;
    let storage = GcsStorage::connect(options).await.unwrap();
    emulator.faults().add(Fault::new(Failing::Silent).method("PUT").after(2));
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let endless = stream::repeat_with(move || {
        counted.fetch_add(1 << 20, Ordering::Relaxed);
        Ok(Bytes::from(vec![7; 1 << 20]))
    });
    let mut put = Box::pin(storage.put("object", ObjectBody::Stream(endless.boxed()), PutCondition::Always));
    let begin = Instant::now();
    let mut last = (0, Instant::now());
    // Until the source has stood still for a while.
    while last.0 == 0 || emulator.asked().len() < 5 || last.1.elapsed() < Duration::from_millis(500) {
        assert!(begin.elapsed() < Duration::from_secs(25), "the source still runs");
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut put).await.is_err(), "nothing answers");
        let now = made.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    // Two pieces are there, one is on its way, one is filled: of 8, 16, 16 and 16 MiB.
    assert!(last.0 <= 57 << 20, "{} bytes were taken from the source", last.0);
}
