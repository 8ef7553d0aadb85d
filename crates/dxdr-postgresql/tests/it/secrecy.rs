//! Where a password is not, and what is left when somebody lets go.

use std::{path::Path, time::Duration};

use dxdr_provider::Database as _;

use crate::{
    server::{self, PASSWORD},
    world,
};

/// The children of this process, by their folders in `/proc`.
fn children() -> Vec<std::path::PathBuf> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let parent = |path: &Path| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        Some(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned())
    };
    processes.filter(|path| parent(path).is_some_and(|parent| parent == own)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_in_no_argument_and_in_no_environment_and_nothing_stays_behind() {
    let Some(server) = server::start(true) else { return };
    server.sql("postgres", "CREATE DATABASE quiet;");
    let database = world::database(&server, "quiet");
    let held = database.hold(&world::place()).await.unwrap();
    let is_psql = |path: &std::path::PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("dbname='quiet'")
    };
    let sessions: Vec<_> = children().into_iter().filter(is_psql).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(sessions[0].join(file)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{file}");
    }
    assert!(!format!("{database:?}").contains(PASSWORD));

    drop(held);
    let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dxdr';";
    while server.sql("postgres", there) != "0" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
