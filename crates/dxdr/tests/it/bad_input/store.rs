//! Stores that are not there, or do not let us in.

use std::{fs, os::unix::fs::PermissionsExt};

use axum::http::Method;

use crate::{
    place::Place,
    scripted_bucket::{self, EMPTY, ScriptedBucket},
    served::Served,
};

/// Every command that needs the store, and changes nothing without it.
const COMMANDS: [&[&str]; 5] = [
    &["backup", "now", "staging"],
    &["points", "staging"],
    &["runs", "list"],
    &["restore", "--at", "-1h", "staging", "--plan"],
    &["restore", "--point", "staging-20240501t100000z-x7k2v", "staging", "--in-place", "--yes"],
];

fn credentials() -> Vec<(&'static str, String)> {
    vec![("AWS_ACCESS_KEY_ID", "key".to_owned()), ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned())]
}

fn with_bucket(bucket: &ScriptedBucket) -> Served {
    Served::with_store(Place::with_environment(credentials()), &bucket.manifest())
}

#[test]
fn a_missing_directory_is_not_made() {
    let served = Served::new();
    fs::remove_dir(served.store()).unwrap();
    for command in COMMANDS {
        let said = served.refuses_and_changes_nothing(command, 7);
        assert!(said.stderr.contains("hint: check that it is mounted, or create it: `mkdir -p "), "{}", said.stderr);
    }
    assert!(!served.store().exists());
}

#[test]
fn a_file_where_the_directory_should_be_is_left_alone() {
    let served = Served::new();
    fs::remove_dir(served.store()).unwrap();
    fs::write(served.store(), "mine").unwrap();
    for command in COMMANDS {
        let said = served.refuses_and_changes_nothing(command, 7);
        assert!(said.stderr.contains("a file stands where a directory should be"), "{}", said.stderr);
    }
    assert_eq!(fs::read_to_string(served.store()).unwrap(), "mine");
}

#[test]
fn a_read_only_directory_takes_no_backup() {
    let served = Served::new();
    let before = served.objects();
    fs::set_permissions(served.store(), fs::Permissions::from_mode(0o500)).unwrap();
    let is_ignored = fs::write(served.store().join("probe"), "").is_ok();
    if is_ignored {
        fs::remove_file(served.store().join("probe")).unwrap();
        eprintln!("did not run: a read-only directory takes no backup (this user may write everywhere)");
        return;
    }
    let said = served.run(&["backup", "now", "staging"]).refuses(7);
    assert!(said.stderr.contains("hint: check owner, permissions and mount options"), "{}", said.stderr);
    assert_eq!(served.objects(), before);
    fs::set_permissions(served.store(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_missing_bucket_is_not_made() {
    let bucket = ScriptedBucket::start(|_| (404, "NoSuchBucket"));
    let served = with_bucket(&bucket);
    for command in COMMANDS {
        let said = served.refuses_and_changes_nothing(command, 7);
        assert!(said.stderr.contains("s3 mb s3://dx"), "{}", said.stderr);
    }
    assert!(bucket.asked().iter().all(|asked| asked.starts_with("GET ")), "{:?}", bucket.asked());
}

#[test]
fn wrong_credentials_are_named_and_not_shown() {
    for (code, hint) in [
        ("InvalidAccessKeyId", "hint: check AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "hint: AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID"),
    ] {
        let answer: scripted_bucket::Answer = match code {
            "InvalidAccessKeyId" => |_| (403, "InvalidAccessKeyId"),
            _ => |_| (403, "SignatureDoesNotMatch"),
        };
        let bucket = ScriptedBucket::start(answer);
        let served = with_bucket(&bucket);
        for command in COMMANDS {
            let said = served.refuses_and_changes_nothing(command, 7);
            assert!(said.stderr.contains(hint) && !said.stderr.contains("hunter2"), "{}", said.stderr);
        }
    }
}

#[test]
fn credentials_that_are_nowhere_are_one_error_and_no_log() {
    // Stands for the bucket, and for the machine's own service that gives credentials.
    let nobody = ScriptedBucket::start(|_| (403, "AccessDenied"));
    let service = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", nobody.endpoint().to_owned());
    let served = Served::with_store(Place::with_environment(vec![service]), &nobody.manifest());
    let said = served.refuses_and_changes_nothing(&["points", "staging"], 7);
    assert!(said.stderr.starts_with("error: ") && said.stderr.contains("hint: check AWS_ACCESS_KEY_ID"), "{}", said.stderr);
}

#[test]
fn a_read_only_bucket_takes_no_backup_and_lets_the_environment_go() {
    let bucket = ScriptedBucket::start(|method| if *method == Method::GET { EMPTY } else { (403, "AccessDenied") });
    let served = with_bucket(&bucket);
    let before = served.objects();
    // Twice: the first one does not keep the environment.
    for _ in 0..2 {
        let said = served.run(&["backup", "now", "staging"]).refuses(7);
        assert!(said.stderr.contains("s3:PutObject"), "{}", said.stderr);
    }
    assert_eq!(served.objects(), before);
    served.run(&["points", "staging"]).exits(0);
}

#[test]
fn a_bucket_that_answers_nothing_but_errors_is_given_up_on() {
    let bucket = ScriptedBucket::start(|_| (503, "ServiceUnavailable"));
    let served = with_bucket(&bucket);
    for command in [COMMANDS[0], COMMANDS[3]] {
        let said = served.refuses_and_changes_nothing(command, 7);
        assert!(said.stderr.contains(bucket.endpoint()), "{}", said.stderr);
    }
    assert!(bucket.asked().len() < 20, "{} requests", bucket.asked().len());
}

#[test]
fn an_endpoint_at_which_nobody_listens_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let served = Served::with_store(Place::with_environment(credentials()), &scripted_bucket::manifest(&endpoint));
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging"], 7);
    assert!(said.stderr.contains(&endpoint) && said.stderr.contains("hint: check that"), "{}", said.stderr);
}
