//! `dxdr sandbox`: the embedded Kubernetes API as a process of its own, with emulated Cloud SQL instances, an emulated bucket and a configuration beside it.
//!
//! ```text
//! .dxdr/config.yaml                 what every other command finds
//! .dxdr/sandbox/manifests/*.yaml    environments, policies, and a store in the bucket
//! .dxdr/sandbox/kubeconfig          for kubectl
//! .dxdr/sandbox/cloud               where the emulators listen
//! .dxdr/sandbox/running             the server's address; there as long as it runs
//! .dxdr/sandbox/stop                asks it to stop, and says what becomes of the bucket
//! .dxdr/sandbox/store/              what the bucket held when it stopped, unless it was to be discarded
//! ```

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dxdr_object_storage::DirectoryStorage;
use dxdr_provider::object_storage::{ListRequest, ObjectBody, ObjectStorage, PutCondition};
use dxdr_sandbox::Sandbox;
use serde::{Deserialize, Serialize};

use crate::{
    app::Global,
    configuration::{
        file::{CloudSqlConfiguration, CloudStorageConfiguration, Configuration, FOLDER},
        manifests,
    },
    demonstration::{
        cloud::{BUCKET, Cloud},
        manifests as shipped, seed,
    },
    failure::{Failure, Kind},
    interruption,
    terminal::Terminal,
};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// In the file that asks the server to stop: what the bucket holds is not to be kept.
const DISCARD: &str = "discard";
/// First line of a configuration that `up` may replace and `down` may remove.
const MARK: &str = "# Written by `dxdr sandbox up`; `dxdr sandbox down` removes it.";

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  dxdr sandbox up\n  kubectl --kubeconfig .dxdr/sandbox/kubeconfig get pods -n staging\n  dxdr backup now staging\n  dxdr sandbox down"
)]
pub(crate) enum SandboxCommand {
    /// Start a Kubernetes API on loopback, with dev, staging and production in it.
    ///
    /// Their databases are on emulated Cloud SQL instances, and the store is an emulated bucket: everything is in memory, in one process. What the
    /// bucket holds is kept in `.dxdr/sandbox/store` by `dxdr sandbox down --keep-store`, and is there again the next time.
    #[command(
        after_help = "Examples:\n  dxdr sandbox up\n  dxdr sandbox up --empty --port 6443\n  kubectl --kubeconfig .dxdr/sandbox/kubeconfig get pods -A"
    )]
    Up(Up),
    /// Stop it, and remove what `up` made.
    #[command(after_help = "Examples:\n  dxdr sandbox down\n  dxdr sandbox down --keep-store")]
    Down(Down),
    /// Say whether it runs, and where.
    #[command(after_help = "Examples:\n  dxdr sandbox status\n  dxdr sandbox status --output json")]
    Status,
    /// Serve until asked to stop.
    #[command(hide = true)]
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Port on loopback; a free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Start without any environment in it.
    #[arg(long)]
    empty: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    /// Keep the store with its recovery points.
    #[arg(long)]
    keep_store: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Folder of the sandbox.
    folder: PathBuf,
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    empty: bool,
}

/// Runs the command.
pub(crate) async fn run(command: SandboxCommand, _global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let folder = PathBuf::from(FOLDER).join("sandbox");
    match command {
        SandboxCommand::Up(up) => start(&up, &folder, terminal).await,
        SandboxCommand::Down(down) => stop(&down, &folder, terminal).await,
        SandboxCommand::Status => status(&folder, terminal),
        SandboxCommand::Serve(serve) => serve_until_asked(&serve, terminal).await,
    }
}

/// How other processes reach the emulators.
#[derive(Debug, Serialize, Deserialize)]
struct Endpoints {
    cloud_sql: CloudSqlConfiguration,
    cloud_storage: CloudStorageConfiguration,
}

/// The address of a server that runs from `folder` and answers.
fn running(folder: &Path) -> Option<SocketAddr> {
    let address: SocketAddr = fs::read_to_string(folder.join("running")).ok()?.trim().parse().ok()?;
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok().map(|_| address)
}

async fn start(up: &Up, folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(address) = running(folder) {
        return Err(Failure::new(Kind::Refused, format!("a sandbox runs here already, at http://{address}"))
            .hint("stop it with `dxdr sandbox down`"));
    }
    let configuration_file = PathBuf::from(FOLDER).join("config.yaml");
    if configuration_file.exists() && !fs::read_to_string(&configuration_file)?.starts_with(MARK) {
        return Err(Failure::new(Kind::Refused, format!("{} is a configuration of yours", configuration_file.display()))
            .hint("start the sandbox in another folder, so that nothing of yours is replaced"));
    }
    // The manifests of the last time may be older than this program.
    fs::create_dir_all(folder.join("manifests"))?;
    for (name, text) in shipped::in_bucket(BUCKET) {
        fs::write(folder.join("manifests").join(name), text)?;
    }
    let _ = fs::remove_file(folder.join("running"));
    let _ = fs::remove_file(folder.join("stop"));
    let log = fs::File::create(folder.join("log"))?;
    let mut server = Command::new(std::env::current_exe()?);
    server.args(["sandbox", "serve"]).arg(folder).args(["--port", &up.port.to_string()]);
    if up.empty {
        server.arg("--empty");
    }
    server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    #[cfg(unix)]
    {
        // Ctrl-C in this terminal is not meant for it.
        std::os::unix::process::CommandExt::process_group(&mut server, 0);
    }
    let mut child = server.spawn()?;
    let deadline = Instant::now() + PATIENCE;
    let address = loop {
        if let Some(address) = running(folder) {
            break address;
        }
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            let said = fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(Failure::new(Kind::Failed, "the sandbox did not start")
                .hint(format!("its last words: {}", said.lines().last().unwrap_or("none"))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let cloud: Endpoints = serde_json::from_slice(&fs::read(folder.join("cloud"))?)
        .map_err(|error| Failure::new(Kind::Failed, format!("{}: {error}", folder.join("cloud").display())))?;
    let (cloud_sql, cloud_storage) = (cloud.cloud_sql.endpoint.clone(), cloud.cloud_storage.endpoint.clone());
    let configuration = Configuration {
        manifests: vec![folder.join("manifests")],
        kubeconfig: Some(folder.join("kubeconfig")),
        cloud_sql: Some(cloud.cloud_sql),
        cloud_storage: Some(cloud.cloud_storage),
        ..Configuration::default()
    };
    let text = serde_saphyr::to_string(&configuration).map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    fs::write(&configuration_file, format!("{MARK}\n{text}"))?;
    let store = format!("gs://{BUCKET}");
    terminal.value(
        &serde_json::json!({
            "format": "dxdr.io/sandbox/v1", "running": true, "address": format!("http://{address}"), "kubeconfig": folder.join("kubeconfig"),
            "store": store, "cloudSql": cloud_sql, "cloudStorage": cloud_storage
        }),
        || {
            let kubeconfig = folder.join("kubeconfig");
            let (within, databases) = if up.empty {
                ("nothing in it", "")
            } else {
                (
                    "dev, staging and production in it, and their databases on emulated Cloud SQL instances",
                    "  dxdr databases instances\n",
                )
            };
            format!(
                "The sandbox runs at http://{address}, with {within}.\n\n  kubectl --kubeconfig {} get deployments -A\n{databases}  dxdr backup now staging\n  dxdr points staging\n  dxdr restore --at -0s staging --in-place\n  dxdr sandbox down\n",
                kubeconfig.display()
            )
        },
    );
    Ok(())
}

async fn stop(down: &Down, folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
    if !folder.exists() {
        terminal.note("no sandbox here");
        return Ok(());
    }
    if running(folder).is_some() {
        fs::write(folder.join("stop"), if down.keep_store { "" } else { DISCARD })?;
        let deadline = Instant::now() + PATIENCE;
        while running(folder).is_some() {
            if Instant::now() > deadline {
                return Err(Failure::new(Kind::Failed, "the sandbox does not stop")
                    .hint(format!("look at {}", folder.join("log").display())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for name in ["running", "stop", "log", "kubeconfig", "cloud"] {
        let _ = fs::remove_file(folder.join(name));
    }
    let _ = fs::remove_dir_all(folder.join("manifests"));
    let configuration_file = PathBuf::from(FOLDER).join("config.yaml");
    if fs::read_to_string(&configuration_file).is_ok_and(|text| text.starts_with(MARK)) {
        fs::remove_file(&configuration_file)?;
    }
    if !down.keep_store {
        fs::remove_dir_all(folder)?;
        // Only when nothing else lives in it.
        let _ = fs::remove_dir(FOLDER);
    }
    terminal.note("the sandbox is gone");
    Ok(())
}

fn status(folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
    let address = running(folder);
    terminal.value(
        &serde_json::json!({"format": "dxdr.io/sandbox/v1", "running": address.is_some(), "address": address.map(|address| format!("http://{address}"))}),
        || match address {
            Some(address) => format!("The sandbox runs at http://{address}."),
            None => "No sandbox runs here. Start one with `dxdr sandbox up`.".to_owned(),
        },
    );
    Ok(())
}

/// The server's process: serves, tells its address, and waits to be asked to stop.
async fn serve_until_asked(serve: &Serve, terminal: &Terminal) -> Result<(), Failure> {
    let stop = interruption::listen(terminal);
    stop.heed();
    let sandbox = Sandbox::new(dxdr_sandbox::Options::default());
    let server = sandbox
        .serve_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), serve.port))
        .await
        .map_err(|error| Failure::from_error(Kind::Failed, error).context("cannot listen on loopback"))?;
    let address = server.address();
    let environments = if serve.empty { Vec::new() } else { manifests::load(&[serve.folder.join("manifests")])?.environments };
    let cloud = Cloud::start(&environments).await?;
    if !serve.empty {
        let cluster = super::quickstart::in_process(&sandbox)?;
        seed::environments(cluster.as_ref(), &environments.iter().collect::<Vec<_>>())
            .await
            .map_err(|error| Failure::from_error(Kind::Failed, error).context("cannot fill the sandbox"))?;
    }
    let store = serve.folder.join("store");
    fs::create_dir_all(&store)?;
    let (bucket, kept) = (cloud.store().await?, DirectoryStorage::new(&store));
    copy(&kept, bucket.storage.as_ref()).await?;
    let (cloud_sql, cloud_storage) = cloud.endpoints();
    let endpoints = serde_json::to_vec(&Endpoints { cloud_sql, cloud_storage });
    fs::write(serve.folder.join("cloud"), endpoints.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?)?;
    fs::write(serve.folder.join("kubeconfig"), sandbox.kubeconfig(address))?;
    fs::write(serve.folder.join("running"), address.to_string())?;
    while !stop.asked() && !serve.folder.join("stop").exists() && serve.folder.exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // As long as somebody answers, nobody takes it for stopped.
    let discard = fs::read_to_string(serve.folder.join("stop")).is_ok_and(|what| what == DISCARD);
    if !discard && serve.folder.exists() {
        // What was removed from the bucket meanwhile is not to come back.
        fs::remove_dir_all(&store)?;
        fs::create_dir_all(&store)?;
        copy(bucket.storage.as_ref(), &kept).await?;
    }
    server.stop().await;
    let _ = fs::remove_file(serve.folder.join("running"));
    Ok(())
}

/// Copies every object.
async fn copy(from: &dyn ObjectStorage, to: &dyn ObjectStorage) -> Result<(), Failure> {
    let mut request = ListRequest::default();
    loop {
        let page = from.list(&request).await?;
        for object in page.objects {
            let content = from.get(&object.key, None).await?.stream;
            to.put(&object.key, ObjectBody::Stream(content), PutCondition::Always).await?;
        }
        let Some(continuation) = page.continuation else { return Ok(()) };
        request.continuation = Some(continuation);
    }
}
