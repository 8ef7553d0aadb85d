//! A dump is of the instant that it says, whatever is written meanwhile.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dxdr_provider::Database as _;
use jiff::Timestamp;

use crate::{server, world};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_by_the_instant_is_in_the_dump_and_what_comes_later_is_not() {
    let Some(server) = server::shared() else { return };
    server.sql("postgres", "CREATE DATABASE counted;");
    server.sql("counted", "CREATE TABLE t (n serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (server, stop) = (server.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut psql = server.psql("counted").arg("--file=-").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut stdin = psql.stdin.take().unwrap();
            while !stop.load(Ordering::SeqCst) {
                std::io::Write::write_all(&mut stdin, b"INSERT INTO t DEFAULT VALUES;\n").unwrap();
            }
            drop(stdin);
            assert!(psql.wait().unwrap().success());
        })
    };
    let count = || server.sql("counted", "SELECT count(*) FROM t;").parse::<u64>().unwrap();
    let until = async |least: u64| {
        while count() < least {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(100).await;
    let database = world::database(&server, "counted");
    let mut place = world::place();
    let held = database.hold(&place).await.unwrap();
    let instant = held.instant();
    // Applications go on while it is held, and before it is read.
    let then = count();
    until(then + 100).await;
    let (_, load) = world::finished(held, &mut place, "counted_restored").await;
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    database.load(&load, &place).await.unwrap();

    let last: u64 = server.sql("counted_restored", "SELECT max(n) FROM t;").parse().unwrap();
    assert_eq!(server.sql("counted_restored", "SELECT count(*) FROM t;"), last.to_string(), "rows are missing in between");
    assert!(last >= 100 && last <= then + 1, "{last} {then}");
    let written = |n: u64| -> Timestamp {
        server.sql("counted", &format!("SELECT to_json(at) FROM t WHERE n = {n};")).trim_matches('"').parse().unwrap()
    };
    // The row after next was begun when the next one was committed, and that one is not in it.
    assert!(written(last + 2) >= instant, "{} {instant}", written(last + 2));
    server.sql("postgres", "DROP DATABASE counted_restored;");
    server.sql("postgres", "DROP DATABASE counted WITH (FORCE);");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_is_not_of_now_but_of_what_it_has() {
    let Some(primary) = server::start(false) else { return };
    primary.sql("postgres", "CREATE DATABASE orders;");
    primary.sql("orders", "CREATE TABLE t (n int); INSERT INTO t VALUES (1);");
    let replica = primary.replica();
    let until = async |sql: &str, answer: &str| {
        while replica.sql("orders", sql) != answer {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let count = "SELECT count(*) FROM t;";
    until(count, "1").await;
    replica.sql("postgres", "SELECT pg_wal_replay_pause();");
    until("SELECT pg_get_wal_replay_pause_state();", "paused").await;
    let now =
        || -> Timestamp { primary.sql("postgres", "SELECT to_json(clock_timestamp());").trim_matches('"').parse().unwrap() };
    let before = now();
    primary.sql("orders", "INSERT INTO t VALUES (2);");
    let behind = now();

    let database = world::database(&replica, "orders");
    let mut place = world::place();
    assert!(database.inspect().await.unwrap().replica);
    let held = database.hold(&place).await.unwrap();
    let lagging = held.instant();
    assert!(lagging < behind, "{lagging} {behind}");
    let (_, load) = world::finished(held, &mut place, "orders_restored").await;
    assert!(load.facts.replica);
    let examined = database.examine(&load).await.unwrap();
    assert!(examined.problems.iter().any(|problem| problem.message.contains("is a replica")), "{examined:?}");
    // Its dump goes into the primary, and has what it had.
    world::database(&primary, "orders").load(&load, &place).await.unwrap();
    assert_eq!(primary.sql("orders_restored", count), "1");

    replica.sql("postgres", "SELECT pg_wal_replay_resume();");
    until(count, "2").await;
    let held = database.hold(&world::place()).await.unwrap();
    assert!(held.instant() >= before && held.instant() <= Timestamp::now(), "{} {before}", held.instant());
    let held = world::database(&primary, "orders").hold(&world::place()).await.unwrap();
    assert!(!held.facts().replica && held.instant() > behind);
}
