//! Ctrl-C: the first one asks the run to stop at a safe place, the second one ends the process.

use dxdr_run::StopRequest;

/// Listens for Ctrl-C and SIGTERM until the process ends.
pub(crate) fn listen() -> StopRequest {
    let stop = StopRequest::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        signal().await;
        asked.ask();
        tracing::warn!("stopping at the next safe place; press Ctrl-C again to stop at once");
        signal().await;
        std::process::exit(i32::from(crate::failure::Kind::Interrupted.code()));
    });
    stop
}

/// Waits for one signal that means stop. A machine without signals never stops us.
async fn signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => {
                let _ = interrupt.await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = interrupt.await;
    }
}
