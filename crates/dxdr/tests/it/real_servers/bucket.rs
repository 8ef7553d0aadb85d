//! Buckets of a real S3 server that are not there, or do not let us in.

use std::env;

use super::{Servers, World, missing};

/// Every command that needs the store, and changes nothing without it.
const COMMANDS: [&[&str]; 3] =
    [&["backup", "now", "journey"], &["points", "journey"], &["restore", "--at", "-1h", "journey", "--plan"]];

#[test]
fn a_missing_bucket_of_a_real_server_is_not_made() {
    let Some(servers) = Servers::named() else { return };
    let servers = Servers { bucket: format!("dxdr-missing-{}", std::process::id()), ..servers };
    let world = World::with_objects(&servers, "no-bucket");
    // Twice: the first round has not made it.
    for command in COMMANDS.iter().chain(&COMMANDS) {
        let said = world.run(command).refuses(7);
        assert!(said.stderr.contains("s3 mb s3://dxdr-missing-"), "{}", said.stderr);
    }
}

#[test]
fn wrong_credentials_for_a_real_server_are_named_and_not_shown() {
    let Some(servers) = Servers::named() else { return };
    let strangers =
        [Servers { access_key: "nobody".to_owned(), ..servers.clone() }, Servers { secret_key: "hunter2".to_owned(), ..servers }];
    for (servers, name) in strangers.iter().zip(["stranger", "liar"]) {
        let world = World::with_objects(servers, name);
        for command in COMMANDS {
            let said = world.run(command).refuses(7);
            assert!(said.stderr.contains("AWS_ACCESS_KEY_ID") && !said.stderr.contains(&servers.secret_key), "{}", said.stderr);
        }
    }
}

#[test]
fn a_bucket_of_a_real_server_that_may_only_be_read_takes_no_backup() {
    let Some(servers) = Servers::named() else { return };
    let reader = env::var("DXDR_TEST_S3_READONLY_ACCESS_KEY").ok().zip(env::var("DXDR_TEST_S3_READONLY_SECRET_KEY").ok());
    let Some((access_key, secret_key)) = reader else {
        missing("servers", "no reader is named by DXDR_TEST_S3_READONLY_*");
        return;
    };
    let world = World::with_objects(&Servers { access_key, secret_key, ..servers }, "reader");
    for _ in 0..2 {
        let said = world.run(&["backup", "now", "journey"]).refuses(7);
        assert!(said.stderr.contains("s3:PutObject"), "{}", said.stderr);
    }
    world.run(&["points", "journey"]).exits(0);
}
