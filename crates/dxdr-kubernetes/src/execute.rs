//! Commands in containers, over a WebSocket.

use dxdr_provider::{
    ClusterErrorKind,
    cluster::{Executed, PodCommand},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Error, api::AttachParams, client::UpgradeConnectionError};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::failure::Failure;

/// Bytes of a command's stderr that are told; it may talk without end.
const TOLD: usize = 512;

/// Runs the command to its end, or to that of its time.
pub(crate) async fn execute(client: Client, command: &PodCommand) -> Result<Executed, Failure> {
    let late = || Failure::new(ClusterErrorKind::TimedOut, format!("the command took longer than {:?}", command.timeout));
    tokio::time::timeout(command.timeout, run(client, command)).await.unwrap_or_else(|_| Err(late()))
}

async fn run(client: Client, command: &PodCommand) -> Result<Executed, Failure> {
    let pods: Api<Pod> = Api::namespaced(client, &command.namespace);
    let parameters = AttachParams::default().container(&command.container).stdin(false).stdout(true).stderr(true);
    let mut process = pods.exec(&command.pod, command.command.clone(), &parameters).await.map_err(refused)?;
    let (stdout, stderr, status) = (process.stdout(), process.stderr(), process.take_status());
    // Both are read to their ends, or the command waits for somebody to listen.
    let (_, said, status) = tokio::join!(last_words(stdout), last_words(stderr), async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    });
    let Some(status) = status else {
        return Err(Failure::new(ClusterErrorKind::Unreachable, "the connection to the command broke before its end"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(Executed::Succeeded);
    }
    let reason = status.message.unwrap_or_else(|| "it did not say why".to_owned());
    Ok(Executed::Failed(if said.is_empty() { reason } else { format!("{reason}: {said}") }))
}

/// Reads everything and keeps the end of it.
async fn last_words(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let excess = kept.len().saturating_sub(TOLD);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

fn refused(error: Error) -> Failure {
    let Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) = &error else {
        return Failure::new(ClusterErrorKind::Unreachable, "no command could be started").with_source(error);
    };
    match code.as_u16() {
        401 => Failure::new(ClusterErrorKind::Unauthenticated, "the server does not know who asks"),
        403 => Failure::new(
            ClusterErrorKind::Forbidden,
            "the account may not run commands in pods: it lacks `create` on `pods/exec`",
        ),
        404 => Failure::new(ClusterErrorKind::NotFound, "the pod, or its container, is not there"),
        _ => Failure::new(ClusterErrorKind::Other, format!("no command could be started: the server answers {code}")),
    }
}
