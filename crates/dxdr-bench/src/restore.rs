//! A restore against the rate of bare creates, and a plan from the store alone.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use dxdr_catalog::{Entry, name};
use dxdr_environment::EnvironmentName;
use dxdr_plan::restore::{Executor, Existing, RestoreRequest, Target, Volumes};
use dxdr_provider::Cluster;
use dxdr_run::{
    Store, catalog,
    restore::{self, RestoreOrder},
};
use futures::stream;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Place, backup, cluster,
    measurement::{Measurement, Stopwatch},
    world::{self, StorePlace},
};

/// Creates the namespace's ConfigMaps in another one, from bodies that are ready.
pub(crate) async fn create(place: &Place, into: &str) -> Result<Measurement> {
    let mut bodies = Vec::new();
    for (path, json) in backup::read(place).await? {
        let mut object: Value = serde_json::from_slice(&json)?;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| matches!(field.as_str(), "name" | "labels" | "annotations"));
            metadata.insert("namespace".to_owned(), into.into());
        }
        // The namespace's own, which the server makes by itself.
        if path.name != "kube-root-ca.crt" {
            bodies.push((cluster::config_map(into, &path.name), Bytes::from(object.to_string())));
        }
    }
    let cluster = world::connect(place).await?;
    cluster::create_namespace(&cluster, into).await?;
    let count = bodies.len() as u64;
    let began = Instant::now();
    let bytes = cluster::create_all(&cluster, stream::iter(bodies)).await?;
    Ok(Measurement::new(began.elapsed(), count, bytes))
}

/// Restores the newest point beside: observing, planning and writing.
pub(crate) async fn restore(place: &Place, into: &str, store: &StorePlace) -> Result<Measurement> {
    let counting = Arc::new(world::CountingWrites::new(world::connect(place).await?));
    let cluster: Arc<dyn Cluster> = counting.clone();
    cluster.version().await?;
    let stopwatch = Arc::new(Stopwatch::default());
    let context = world::context(world::store(store).await?, cluster, stopwatch.clone());
    let entry = newest(&context.store, &place.namespace).await?;
    let began = Instant::now();
    let request = request(&entry, &place.namespace, into)?;
    let prepared = restore::prepare(&context.store, Some(&context.cluster), &entry, request.clone()).await?;
    let planned = began.elapsed();
    let run = name::run_name("restore", &request.environment, Timestamp::now(), u64::from(std::process::id()));
    let order = RestoreOrder { run, entry, request, protective: None };
    let report = restore::restore(&context, &order, prepared).await?;
    let elapsed = began.elapsed();
    ensure!(report.failed.is_empty(), "not everything was restored: {:?}", report.failed.first());
    let mut measurement = Measurement::new(elapsed, report.created, 0)
        .count("writes", counting.writes())
        .count("reads", counting.reads())
        .count("updated", report.updated)
        .count("unchanged", report.unchanged)
        .count("differing", report.differing.len() as u64);
    measurement.steps = stopwatch.steps();
    measurement.steps.insert(0, ("plan".to_owned(), planned.as_secs_f64()));
    Ok(measurement)
}

/// Plans a restore of the newest point without a cluster.
pub(crate) async fn plan(namespace: &str, store: &StorePlace) -> Result<Measurement> {
    let store = world::store(store).await?;
    let entry = newest(&store, namespace).await?;
    let began = Instant::now();
    let request = request(&entry, namespace, &format!("{namespace}-restored"))?;
    let prepared = restore::prepare(&store, None, &entry, request).await?;
    Ok(Measurement::new(began.elapsed(), prepared.plan.counts.items, 0).count("create", prepared.plan.counts.create))
}

async fn newest(store: &Store, namespace: &str) -> Result<Entry> {
    let found = catalog::all(store, Some((namespace, namespace))).await?;
    found.entries.into_iter().next().with_context(|| format!("the store has no recovery point of {namespace}"))
}

fn request(entry: &Entry, namespace: &str, into: &str) -> Result<RestoreRequest> {
    Ok(RestoreRequest {
        environment: EnvironmentName::parse(namespace)?,
        point: entry.name().to_owned(),
        instant: entry.instant().context("the recovery point has no instant")?,
        source_namespace: namespace.to_owned(),
        target: Target::Beside { namespace: into.to_owned() },
        existing: Existing::Update,
        prune: false,
        include: Vec::new(),
        exclude: Vec::new(),
        executor: Executor::Dxdr,
        volumes: Volumes::Captured,
        storage_classes: std::collections::BTreeMap::new(),
    })
}
