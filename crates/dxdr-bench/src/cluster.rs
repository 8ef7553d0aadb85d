//! The sandbox in a process of its own, and the objects that are measured with.

use std::{fmt::Write as _, path::Path, time::Instant};

use anyhow::Result;
use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster, ClusterErrorKind, cluster::WriteOptions};
use dxdr_run::backup::namespace_reference;
use dxdr_sandbox::{Options, Sandbox};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::{Place, measurement::Measurement, serving, world};

/// As many creates at a time as a restore has in flight.
pub(crate) const WORKERS: usize = 32;

/// Serves until stdin ends, which it does when whoever started us does, too.
pub(crate) async fn serve(kubeconfig: &Path) -> Result<()> {
    let sandbox = Sandbox::new(Options::default());
    let serving = sandbox.serve_on(([127, 0, 0, 1], 0).into()).await?;
    serving::until_stdin_ends(kubeconfig, &sandbox.kubeconfig(serving.address())).await?;
    serving.stop().await;
    Ok(())
}

/// Creates a namespace with `count` ConfigMaps.
pub(crate) async fn seed(place: &Place, count: u64) -> Result<Measurement> {
    let cluster = world::connect(place).await?;
    create_namespace(&cluster, &place.namespace).await?;
    let began = Instant::now();
    let bodies = stream::iter((0..count).map(|number| {
        let reference = config_map(&place.namespace, &format!("settings-{number:06}"));
        let body = Bytes::from(content(&reference, number));
        (reference, body)
    }));
    let bytes = create_all(&cluster, bodies).await?;
    Ok(Measurement::new(began.elapsed(), count, bytes))
}

/// Asks for the end of the namespace.
pub(crate) async fn unseed(place: &Place) -> Result<Measurement> {
    let cluster = world::connect(place).await?;
    let began = Instant::now();
    cluster.delete(&namespace_reference(&place.namespace), None, &options()).await?;
    Ok(Measurement::new(began.elapsed(), 1, 0))
}

pub(crate) async fn create_namespace(cluster: &dyn Cluster, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    match cluster.create(&namespace_reference(name), Bytes::from(body), &options()).await {
        Err(error) if error.kind != ClusterErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// Creates them all, [`WORKERS`] at a time; answers the number of bytes.
pub(crate) async fn create_all(
    cluster: &dyn Cluster,
    bodies: impl futures::Stream<Item = (ObjectReference, Bytes)>,
) -> Result<u64> {
    let options = options();
    let options = &options;
    let mut created = std::pin::pin!(
        bodies
            .map(|(reference, body)| async move {
                let length = body.len() as u64;
                cluster.create(&reference, body, options).await.map(|_| length)
            })
            .buffer_unordered(WORKERS)
    );
    let mut bytes = 0;
    while let Some(length) = created.try_next().await? {
        bytes += length;
    }
    Ok(bytes)
}

pub(crate) fn options() -> WriteOptions {
    WriteOptions { manager: "dxdr".to_owned(), dry_run: false, retry: true }
}

pub(crate) fn config_maps() -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
    }
}

pub(crate) fn config_map(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference { kind: config_maps(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

/// A ConfigMap of about a kibibyte, as people write them: words that recur, numbers that do not.
fn content(reference: &ObjectReference, number: u64) -> String {
    const WORDS: [&str; 16] = [
        "cache", "retry", "timeout", "endpoint", "replica", "orders", "billing", "limit", "region", "queue", "worker", "level",
        "secret", "window", "batch", "feature",
    ];
    // xorshift: the same objects in every run.
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::with_capacity(1024);
    while text.len() < 720 {
        let (one, other) = (WORDS[(draw() % 16) as usize], WORDS[(draw() % 16) as usize]);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{one}.{other}={:x}", draw() >> 24);
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": reference.name,
            "namespace": reference.namespace,
            "labels": {"app.kubernetes.io/name": WORDS[(draw() % 16) as usize], "app.kubernetes.io/part-of": "bench"},
        },
        "data": {"application.properties": text},
    })
    .to_string()
}
