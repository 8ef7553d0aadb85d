//! A backup, and its two physical parts alone on the same objects by the same client.

use std::{io, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use dxdr_catalog::Trigger;
use dxdr_format::velero::archive::{ArchiveWriter, ItemPath};
use dxdr_provider::{
    Cluster,
    cluster::{ListScope, ObjectPage},
};
use dxdr_run::backup;
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    Place, cluster,
    measurement::{Measurement, Stopwatch},
    world::{self, StorePlace},
};

/// The largest page a backup asks for: what the list alone is fastest with.
const PAGE: u32 = 1_000;

/// Every page, dropped as it comes.
pub(crate) async fn list(place: &Place) -> Result<Measurement> {
    let cluster = world::connect(place).await?;
    // The connection is not what is measured.
    cluster.version().await?;
    let began = Instant::now();
    let (mut objects, mut bytes, mut pages) = (0, 0, 0);
    each_page(&cluster, &place.namespace, |page| {
        objects += page.items.len() as u64;
        bytes += page.items.iter().map(Bytes::len).sum::<usize>() as u64;
        pages += 1;
    })
    .await?;
    Ok(Measurement::new(began.elapsed(), objects, bytes).count("pages", pages))
}

/// One pass of tar and gzip over objects that are in memory already. The archive has every object twice, as Velero's has.
pub(crate) async fn archive(place: &Place) -> Result<Measurement> {
    let items = read(place).await?;
    let began = Instant::now();
    let mut archive = ArchiveWriter::new(Sink::default(), Timestamp::UNIX_EPOCH)?;
    let mut bytes = 0;
    for (path, json) in &items {
        bytes += json.len() as u64;
        archive.append(path, json)?;
    }
    let sink = archive.finish()?;
    Ok(Measurement::new(began.elapsed(), items.len() as u64, bytes).count("archiveBytes", sink.0))
}

/// The whole: plan, Lease, journal, capture, index, manifest.
pub(crate) async fn backup(place: &Place, store: &StorePlace) -> Result<Measurement> {
    let cluster: Arc<dyn Cluster> = Arc::new(world::connect(place).await?);
    cluster.version().await?;
    let stopwatch = Arc::new(Stopwatch::default());
    let context = world::context(world::store(store).await?, cluster, stopwatch.clone());
    let environment = world::environment(&place.namespace)?;
    let began = Instant::now();
    let plan = backup::plan(&context, &environment, None, Trigger::Requested).await?;
    let planned = began.elapsed();
    let point = backup::backup(&context, &plan).await?;
    let elapsed = began.elapsed();
    ensure!(point.complete(), "the recovery point is partial: {:?}", point.gaps);
    let (items, bytes) = point.resources().map_or((0, 0), |resources| (resources.items, resources.bytes));
    let mut measurement = Measurement::new(elapsed, items, bytes).count("archiveBytes", point.stored_size());
    measurement.steps = stopwatch.steps();
    measurement.steps.insert(0, ("plan".to_owned(), planned.as_secs_f64()));
    Ok(measurement)
}

/// The namespace's ConfigMaps, complete, under their paths in an archive.
pub(crate) async fn read(place: &Place) -> Result<Vec<(ItemPath, Vec<u8>)>> {
    #[derive(Deserialize)]
    struct Named {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let cluster = world::connect(place).await?;
    let mut pages = Vec::new();
    each_page(&cluster, &place.namespace, |page| pages.push(page.items)).await?;
    let mut items = Vec::new();
    for item in pages.iter().flatten() {
        let name = serde_json::from_slice::<Named>(item)?.metadata.name;
        let path = ItemPath {
            group_resource: "configmaps".to_owned(),
            version: Some("v1".to_owned()),
            namespace: Some(place.namespace.clone()),
            name,
        };
        let mut json = br#"{"kind":"ConfigMap","apiVersion":"v1","#.to_vec();
        json.extend_from_slice(item.get(1..).unwrap_or_default());
        items.push((path, json));
    }
    Ok(items)
}

async fn each_page(cluster: &dyn Cluster, namespace: &str, mut take: impl FnMut(ObjectPage)) -> Result<()> {
    let scope = ListScope { namespace: Some(namespace.to_owned()), label_selector: None };
    let mut continuation: Option<String> = None;
    loop {
        let mut page = cluster.list(&cluster::config_maps(), &scope, PAGE, continuation.as_deref()).await?;
        continuation = page.continuation.take();
        take(page);
        if continuation.is_none() {
            return Ok(());
        }
    }
}

/// Counts bytes and forgets them.
#[derive(Default)]
struct Sink(u64);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
