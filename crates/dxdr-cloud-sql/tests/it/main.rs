//! The adapter, over HTTP, against the emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod work;

use dxdr_cloud_sql::{CloudSql, Options};
use dxdr_database_emulator::{Emulator, Instance};
use dxdr_environment::InstanceName;

/// An instance `shared` of project `p`, with the database `app`.
async fn emulator(options: dxdr_database_emulator::Options) -> Emulator {
    let emulator = Emulator::start(options).await.unwrap();
    emulator.create_instance("p", "shared", Instance::default());
    emulator.create_database("p", "shared", "app");
    emulator
}

async fn service(emulator: &Emulator) -> CloudSql {
    CloudSql::connect(Options { endpoint: Some(emulator.endpoint()), credentials: None }).await.unwrap()
}

fn shared() -> InstanceName {
    InstanceName::new("p", "shared")
}

/// Cloud Storage with the bucket `b`; where a token is named, only who brings it may write.
async fn storage(token: Option<&str>) -> dxdr_storage_emulator::Emulator {
    let identity = |token: &str| dxdr_storage_emulator::Identity {
        name: "instance@example.org".to_owned(),
        token: Some(token.to_owned()),
        access: dxdr_storage_emulator::Access::Everything,
    };
    let identities = token.map(identity).into_iter().collect();
    let storage = dxdr_storage_emulator::Emulator::start(dxdr_storage_emulator::Options { identities, ..Default::default() });
    let storage = storage.await.unwrap();
    storage.create_bucket("b", dxdr_storage_emulator::Bucket::default());
    storage
}
