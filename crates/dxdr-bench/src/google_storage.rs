//! Bytes to and from a bucket of Google Cloud Storage: by our store, and by Google's crate alone.

use std::{convert::Infallible, io, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use dxdr_object_storage::{GcsOptions, GcsStorage, gcs::GcsCredentials};
use dxdr_provider::{
    ObjectStorage,
    object_storage::{ObjectBody, PutCondition},
};
use dxdr_storage_emulator::{Bucket, Emulator, Options};
use futures::{StreamExt, stream};
use google_cloud_auth::credentials::anonymous;
use google_cloud_storage::{client::Storage, streaming_source::StreamingSource};

use crate::{measurement::Measurement, serving};

const BUCKET: &str = "dxdr-bench";
const OBJECT: &str = "object";
/// Bytes that a source hands out at once.
const CHUNK: u64 = 256 * 1024;

/// What is measured.
#[derive(Args)]
pub(crate) struct Transfer {
    /// URL of the server
    #[arg(long)]
    endpoint: String,
    /// Who moves the bytes
    #[arg(long)]
    client: Client,
    /// Which way
    #[arg(long)]
    direction: Direction,
    /// How many bytes an upload has; a download reads the object of the upload before
    #[arg(long)]
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    /// Our store
    Dxdr,
    /// Google's crate as it comes
    Bare,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    Upload,
    Download,
}

/// Serves the emulator until stdin ends; its URL is written into a file.
pub(crate) async fn serve(file: &Path) -> Result<()> {
    let emulator = Emulator::start(Options { md5: false, ..Options::default() }).await?;
    emulator.create_bucket(BUCKET, Bucket::default());
    serving::until_stdin_ends(file, &emulator.endpoint()).await
}

/// Moves the bytes of one object.
pub(crate) async fn transfer(transfer: &Transfer) -> Result<Measurement> {
    let began = Instant::now();
    let moved = match (transfer.client, transfer.direction) {
        (Client::Dxdr, Direction::Upload) => upload(transfer).await?,
        (Client::Dxdr, Direction::Download) => download(transfer).await?,
        (Client::Bare, Direction::Upload) => upload_bare(transfer).await?,
        (Client::Bare, Direction::Download) => download_bare(transfer).await?,
    };
    ensure!(moved == transfer.bytes, "{moved} bytes were moved instead of {}", transfer.bytes);
    Ok(Measurement::new(began.elapsed(), 1, moved))
}

/// The same chunk again and again: making bytes is not to be measured.
struct Source {
    chunk: Bytes,
    left: u64,
}

impl Source {
    fn new(bytes: u64) -> Self {
        let chunk: Vec<u8> = (0..CHUNK).map(|position| (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        Self { chunk: chunk.into(), left: bytes }
    }

    fn take(&mut self) -> Option<Bytes> {
        // At most the length of a chunk.
        let length = self.left.min(CHUNK) as usize;
        self.left -= length as u64;
        (length > 0).then(|| self.chunk.slice(..length))
    }
}

impl StreamingSource for Source {
    type Error = Infallible;

    async fn next(&mut self) -> Option<Result<Bytes, Infallible>> {
        self.take().map(Ok)
    }
}

async fn store(transfer: &Transfer) -> Result<GcsStorage> {
    let options = GcsOptions {
        bucket: BUCKET.to_owned(),
        endpoint: Some(transfer.endpoint.clone()),
        credentials: GcsCredentials::Anonymous,
        ..GcsOptions::default()
    };
    Ok(GcsStorage::connect(options).await?)
}

async fn upload(transfer: &Transfer) -> Result<u64> {
    let storage = store(transfer).await?;
    let source = stream::unfold(Source::new(transfer.bytes), |mut source| async move {
        source.take().map(|bytes| (Ok::<_, io::Error>(bytes), source))
    });
    Ok(storage.put(OBJECT, ObjectBody::Stream(source.boxed()), PutCondition::Always).await?.size)
}

async fn download(transfer: &Transfer) -> Result<u64> {
    let mut reader = store(transfer).await?.get(OBJECT, None).await?;
    let mut moved = 0;
    while let Some(bytes) = reader.stream.next().await {
        moved += bytes?.len() as u64;
    }
    Ok(moved)
}

async fn bare(transfer: &Transfer) -> Result<Storage> {
    let builder = Storage::builder().with_endpoint(&transfer.endpoint).with_credentials(anonymous::Builder::new().build());
    builder.build().await.context("cannot make Google's client")
}

async fn upload_bare(transfer: &Transfer) -> Result<u64> {
    let client = bare(transfer).await?;
    let bucket = format!("projects/_/buckets/{BUCKET}");
    let object = client.write_object(bucket, OBJECT, Source::new(transfer.bytes)).send_buffered().await?;
    Ok(u64::try_from(object.size)?)
}

async fn download_bare(transfer: &Transfer) -> Result<u64> {
    let client = bare(transfer).await?;
    let mut reader = client.read_object(format!("projects/_/buckets/{BUCKET}"), OBJECT).send().await?;
    let mut moved = 0;
    while let Some(bytes) = reader.next().await {
        moved += bytes?.len() as u64;
    }
    Ok(moved)
}
