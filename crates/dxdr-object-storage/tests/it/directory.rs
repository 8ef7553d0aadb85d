//! The store in a directory, and what only file systems have.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Duration,
};

use dxdr_object_storage::{DirectoryStorage, storage_error_of};
use dxdr_provider::object_storage::{ListRequest, ObjectBody, ObjectStorage, PutCondition, StorageErrorKind};
use futures::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;

use crate::conformance::{self, all_keys, put, read};

fn fresh() -> Option<(TempDir, DirectoryStorage)> {
    let root = TempDir::new().unwrap();
    let storage = DirectoryStorage::new(root.path());
    Some((root, storage))
}

conformance::suite!(fresh());

#[tokio::test]
async fn a_root_that_is_missing_is_no_such_store_until_it_is_created() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("not/there");
    let storage = DirectoryStorage::new(&root);
    assert_eq!(storage.list(&ListRequest::default()).await.unwrap_err().kind, StorageErrorKind::NoSuchStore);
    assert_eq!(storage.stat("a").await.unwrap_err().kind, StorageErrorKind::NoSuchStore);
    assert_eq!(storage.get("a", None).await.unwrap_err().kind, StorageErrorKind::NoSuchStore);
    assert_eq!(storage.delete("a").await.unwrap_err().kind, StorageErrorKind::NoSuchStore);
    let error = storage.put("a/b", ObjectBody::Bytes("x".into()), PutCondition::Always).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NoSuchStore);
    assert!(!root.exists(), "a put does not make the root");

    let storage = DirectoryStorage::create(&root).unwrap();
    put(&storage, "a/b", "x").await;
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(root.join("a/b")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_name_is_an_object_or_a_directory_and_the_second_put_says_so() {
    let (_root, storage) = fresh().unwrap();
    put(&storage, "a/b", "x").await;
    for condition in [PutCondition::Always, PutCondition::IfAbsent] {
        let error = storage.put("a", ObjectBody::Bytes("y".into()), condition).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Invalid, "{error:?}");
        let error = storage.put("a/b/c", ObjectBody::Bytes("y".into()), condition).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Invalid, "{error:?}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("`a/b` is an object"), "{error:?}");
    }
    assert_eq!(storage.get("a", None).await.unwrap_err().kind, StorageErrorKind::NotFound);
    assert_eq!(storage.stat("a/b/c").await.unwrap_err().kind, StorageErrorKind::NotFound);
    storage.delete("a").await.unwrap();
    storage.delete("a/b/c").await.unwrap();
    assert_eq!(all_keys(&storage).await, ["a/b"]);
}

#[tokio::test]
async fn empty_directories_are_pruned_and_never_listed() {
    let (root, storage) = fresh().unwrap();
    put(&storage, "a/b/c/d", "x").await;
    put(&storage, "a/e", "x").await;
    storage.delete("a/b/c/d").await.unwrap();
    assert!(!root.path().join("a/b").exists());
    assert!(root.path().join("a/e").exists());
    // What a process killed between making a directory and naming the object leaves.
    fs::create_dir_all(root.path().join("left/over")).unwrap();
    let page = storage.list(&ListRequest { directories: true, ..ListRequest::default() }).await.unwrap();
    assert_eq!(page.directories, ["a/"]);
    put(&storage, "left/over", "an object now").await;
    assert_eq!(all_keys(&storage).await, ["a/e", "left/over"]);
}

#[tokio::test]
async fn what_is_being_written_is_never_seen_and_goes_when_the_writer_goes() {
    let (root, storage) = fresh().unwrap();
    let endless = stream::iter([Ok("begin".into())]).chain(stream::pending()).boxed();
    let put = storage.put("slow", ObjectBody::Stream(endless), PutCondition::Always);
    let outcome = tokio::time::timeout(Duration::from_millis(200), put).await;
    assert!(outcome.is_err(), "the stream never ends");
    assert!(all_keys(&storage).await.is_empty());
    assert_eq!(fs::read_dir(root.path().join(".dxdr-incoming")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_ends_in_an_error() {
    let (root, storage) = fresh().unwrap();
    put(&storage, "a", vec![7; 1 << 20]).await;
    let mut stream = storage.get("a", None).await.unwrap().stream;
    stream.try_next().await.unwrap();
    fs::File::options().write(true).open(root.path().join("a")).unwrap().set_len(300_000).unwrap();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(storage_error_of(&error).unwrap().kind, StorageErrorKind::Corrupt);
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_read_as_it_was() {
    let (_root, storage) = fresh().unwrap();
    put(&storage, "a", vec![1; 1 << 20]).await;
    let mut stream = storage.get("a", None).await.unwrap().stream;
    let first = stream.try_next().await.unwrap().unwrap();
    put(&storage, "a", vec![2; 1 << 20]).await;
    let rest: Vec<_> = stream.try_collect().await.unwrap();
    assert!(rest.concat().iter().chain(&first).all(|byte| *byte == 1));
    assert!(read(&storage, "a").await.iter().all(|byte| *byte == 2));
}

#[tokio::test]
async fn links_and_names_that_are_not_text_are_not_objects() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let (root, storage) = fresh().unwrap();
    put(&storage, "a", "x").await;
    fs::write(root.path().join(OsStr::from_bytes(b"\xff")), "x").unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
    assert_eq!(all_keys(&storage).await, ["a"]);
}

#[tokio::test]
async fn a_read_only_directory_is_forbidden() {
    let (root, storage) = fresh().unwrap();
    put(&storage, "a", "x").await;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(root.path().join(".dxdr-incoming"), fs::Permissions::from_mode(0o500)).unwrap();
    let is_ignored = fs::write(root.path().join("probe"), "").is_ok();
    let outcome = storage.put("b", ObjectBody::Bytes("x".into()), PutCondition::Always).await;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if is_ignored {
        eprintln!("did not run: a read-only directory is forbidden (this user may write everywhere)");
    } else {
        assert_eq!(outcome.unwrap_err().kind, StorageErrorKind::Forbidden);
    }
}

#[tokio::test]
async fn a_large_directory_is_paged_in_order() {
    let (root, storage) = fresh().unwrap();
    for number in 0..4_000 {
        fs::create_dir(root.path().join(format!("{number:05}"))).unwrap();
        fs::write(root.path().join(format!("{number:05}/manifest")), "").unwrap();
    }
    let mut request =
        ListRequest { directories: true, start_after: Some("01500/".to_owned()), limit: Some(1000), ..ListRequest::default() };
    let mut seen = Vec::new();
    loop {
        let page = storage.list(&request).await.unwrap();
        seen.extend(page.directories);
        let Some(continuation) = page.continuation else {
            break;
        };
        request.continuation = Some(continuation);
    }
    assert_eq!(seen, (1_501..4_000).map(|number| format!("{number:05}/")).collect::<Vec<_>>());
    request = ListRequest { limit: Some(3), start_after: Some("00001/a".to_owned()), ..ListRequest::default() };
    let page = storage.list(&request).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|stat| stat.key.as_str()).collect();
    assert_eq!(keys, ["00001/manifest", "00002/manifest", "00003/manifest"]);
}

/// Runs one of this binary's tests in a process of its own.
fn in_a_process(test: &str, root: &std::path::Path) -> Command {
    // Writing beyond the limit is an error then, not a signal. One unit is 512 or 1,024 bytes, as the shell has it.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "sh", "4096"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]);
    command.env("DXDR_TEST_ROOT", root).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// None outside such a process: there the test has nothing to do.
fn root_of_the_parent() -> Option<DirectoryStorage> {
    std::env::var_os("DXDR_TEST_ROOT").map(DirectoryStorage::new)
}

#[tokio::test]
async fn an_object_whose_writer_is_killed_is_not_there() {
    let (root, storage) = fresh().unwrap();
    let mut writer = in_a_process("directory::writes_for_ever", root.path()).spawn().unwrap();
    let incoming = root.path().join(".dxdr-incoming");
    let has_begun = || {
        fs::read_dir(&incoming)
            .is_ok_and(|files| files.flatten().any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0)))
    };
    for _ in 0..600 {
        if has_begun() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(has_begun(), "the writer writes");
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(all_keys(&storage).await.is_empty());
    assert_eq!(storage.stat("a/b").await.unwrap_err().kind, StorageErrorKind::NotFound);
    put(&storage, "a/b", "whole").await;
    assert_eq!(all_keys(&storage).await, ["a/b"]);
}

#[tokio::test]
#[ignore = "runs in a process of its own, which is killed"]
async fn writes_for_ever() {
    let Some(storage) = root_of_the_parent() else {
        return;
    };
    let endless = stream::iter([Ok("begin".into())]).chain(stream::pending()).boxed();
    storage.put("a/b", ObjectBody::Stream(endless), PutCondition::Always).await.unwrap();
}

#[tokio::test]
async fn no_space_left_is_full_and_leaves_nothing() {
    let (root, storage) = fresh().unwrap();
    let status = in_a_process("directory::writes_too_much", root.path()).status().unwrap();
    assert!(status.success(), "it was another error: run the ignored test to see");
    assert!(all_keys(&storage).await.is_empty());
    assert_eq!(fs::read_dir(root.path().join(".dxdr-incoming")).unwrap().count(), 0);
}

#[tokio::test]
#[ignore = "runs in a process of its own, whose files may not grow"]
async fn writes_too_much() {
    let Some(storage) = root_of_the_parent() else {
        return;
    };
    let body = stream::iter((0..64).map(|_| Ok(vec![1; 1 << 20].into()))).boxed();
    let error = storage.put("a/b", ObjectBody::Stream(body), PutCondition::Always).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Full);
    assert!(dxdr_object_storage::hints(&error)[0].contains("df -h"));
}
