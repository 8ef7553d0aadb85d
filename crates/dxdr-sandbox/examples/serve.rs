//! Serves a sandbox on the address given, and writes its kubeconfig to the file given, until interrupted.

use std::net::SocketAddr;

use dxdr_sandbox::{Options, Sandbox};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let sandbox = Sandbox::new(Options::default());
    let serving = sandbox.serve_on(address).await?;
    if let Some(file) = arguments.next() {
        std::fs::write(file, sandbox.kubeconfig(serving.address()))?;
    }
    tokio::signal::ctrl_c().await?;
    serving.stop().await;
    Ok(())
}
