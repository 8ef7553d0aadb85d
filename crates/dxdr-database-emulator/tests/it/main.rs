//! The emulator, over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod operations;
mod postgresql;

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
