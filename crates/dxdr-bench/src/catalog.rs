//! The point for an instant, among many.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use dxdr_catalog::{Component, Engine, RecoveryPoint, ResourcesComponent, SourceCluster, Trigger, name, query};
use dxdr_environment::EnvironmentName;
use dxdr_format::{layout::StoreLayout, manifest};
use dxdr_object_storage::{Counting, DirectoryStorage, MemoryStorage};
use dxdr_provider::ObjectStorage;
use dxdr_run::{Store, catalog};
use jiff::{SignedDuration, Timestamp};

use crate::measurement::Measurement;

const ENVIRONMENT: &str = "staging";
/// Seconds from one point to the next.
const INTERVAL: i64 = 60;
/// Instants asked for: from the oldest point to the newest.
const QUESTIONS: u32 = 21;
/// Points around an instant whose manifests hold something: more than are looked at.
const NEIGHBOURS: u32 = 50;

/// Asks for the points of a few instants among `points` of one environment; the most LISTs of one question count.
pub(crate) async fn instant(points: u32, directory: Option<&Path>) -> Result<Measurement> {
    let layout = StoreLayout::new("");
    let first: Timestamp = "2024-05-01T10:00:00Z".parse()?;
    let at = |number: u32| first + SignedDuration::from_secs(INTERVAL * i64::from(number));
    let asked: Vec<u32> =
        (0..QUESTIONS).map(|question| (u64::from(question) * u64::from(points - 1) / u64::from(QUESTIONS - 1)) as u32).collect();
    let environment = EnvironmentName::parse(ENVIRONMENT)?;

    let memory = MemoryStorage::new("bench");
    if let Some(directory) = directory {
        std::fs::create_dir_all(directory)?;
    }
    for number in 0..points {
        let name = name::point_name(&environment, at(number), u64::from(number));
        let read = asked.iter().any(|asked| number.abs_diff(*asked) < NEIGHBOURS);
        let content = if read { manifest::encode(&point(&environment, &name, at(number))) } else { Vec::new() };
        let entries =
            [(layout.manifest_key(&name), content), (layout.point_index_key(ENVIRONMENT, at(number), &name), Vec::new())];
        for (key, bytes) in entries {
            match directory {
                None => memory.insert(key, bytes),
                Some(directory) => {
                    let path = directory.join(&key);
                    if let Some(folder) = path.parent() {
                        std::fs::create_dir_all(folder)?;
                    }
                    std::fs::write(path, bytes)?;
                }
            }
        }
    }
    let storage: Arc<dyn ObjectStorage> = match directory {
        None => Arc::new(memory),
        Some(directory) => Arc::new(DirectoryStorage::create(directory)?),
    };
    let counting = Arc::new(Counting::new(storage));
    let store = Store { name: "bench".to_owned(), storage: counting.clone(), layout };

    let (mut lists, mut gets) = (0, 0);
    let began = Instant::now();
    for number in &asked {
        counting.reset();
        let instant = at(*number) + SignedDuration::from_secs(1);
        let found = catalog::around(&store, ENVIRONMENT, ENVIRONMENT, instant).await?;
        let query = query::Query { at: instant, namespace: ENVIRONMENT, allow_partial: false };
        let choice = query::choose(&found.entries, &query)?;
        ensure!(choice.entry.instant() == Some(at(*number)), "the wrong point was chosen: {}", choice.entry.name());
        let counts = counting.counts();
        lists = lists.max(counts.lists);
        gets = gets.max(counts.gets);
    }
    let elapsed = began.elapsed() / QUESTIONS;
    Ok(Measurement::new(elapsed, u64::from(points), 0).count("lists", lists).count("gets", gets))
}

fn point(environment: &EnvironmentName, name: &str, instant: Timestamp) -> RecoveryPoint {
    RecoveryPoint {
        name: name.to_owned(),
        environment: environment.clone(),
        namespaces: vec![ENVIRONMENT.to_owned()],
        engine: Engine::Native,
        policy: None,
        trigger: Trigger::Requested,
        run: name.to_owned(),
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
        gaps: Vec::new(),
    }
}
