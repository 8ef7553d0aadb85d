//! An in-memory Kubernetes API server as one HTTP router, in process or on a port.
//!
//! A [`Sandbox`] holds the objects of one cluster. Its [router](Sandbox::router) goes straight into a Kubernetes client, or
//! is [served](Sandbox::serve_on) on loopback for kubectl. It answers as the real server does for what clients that take
//! and restore backups need: discovery, paged LISTs at one revision, watches, server-side apply with field managers, the
//! other patches, CustomResourceDefinitions, quotas, finalizers, and the words of its refusals. Of the controllers there are
//! those that move objects by themselves: namespaces fill and terminate, owned objects go with their owners, definitions
//! get established. All of that happens before the write that causes it is answered.
//!
//! ```text
//! request ─► fault ─► server ─► world (admission, quota, apply, patch, schema) ─► store ─► watch
//!                                        └────── controllers ◄──────┘
//! ```
//!
//! Architecture invariant: this crate knows nothing of dxdr, touches no disk, and runs no workload: a Pod stays Pending
//! unless a client writes its status.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admission;
mod apply;
mod controllers;
mod defaults;
mod discovery;
mod fault;
mod field_set;
mod kind;
mod limits;
mod openapi;
mod patch;
mod protobuf;
mod quantity;
mod quota;
mod schema;
mod selector;
mod server;
mod shape;
mod status;
mod store;
mod table;
mod watch;
mod world;

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub use fault::{Failing, Fault, Faults};

/// Where the server reads the time.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// How a sandbox is to be.
#[derive(Clone)]
pub struct Options {
    /// The time of creation and deletion timestamps and of managers; the system's by default.
    pub clock: Clock,
    /// What uids, generated names and allocated addresses are drawn from; different in each process by default.
    pub seed: u64,
    /// How many changes are kept for watches and for reads of the past before compaction; twice as many at most.
    pub history: usize,
    /// The bearer token a request must carry, if any.
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { clock: Arc::new(jiff::Timestamp::now), seed, history: 50_000, token: None }
    }
}

/// One cluster in memory. Clones are handles on the same cluster.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<server::Shared>,
}

/// What went wrong when a sandbox was to be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address could not be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Sandbox {
    /// A cluster with the namespaces every cluster begins with.
    pub fn new(options: Options) -> Self {
        let world = world::World::new(options.clock, options.seed, options.history);
        Self {
            shared: Arc::new(server::Shared {
                world: Mutex::new(world),
                faults: Faults::default(),
                token: options.token,
                stop: tokio::sync::watch::Sender::new(false),
            }),
        }
    }

    /// The API as a router: `kube::Client::new(sandbox.router(), "default")`.
    pub fn router(&self) -> axum::Router {
        server::router(Arc::clone(&self.shared))
    }

    /// What goes wrong on this server.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Forgets every past revision: continue tokens and watches from before get 410.
    pub fn compact(&self) {
        let mut world = self.shared.world();
        let revision = world.store.revision();
        world.store.compact(revision);
    }

    /// The number of the last change.
    pub fn revision(&self) -> u64 {
        self.shared.world().store.revision()
    }

    /// Serves plain HTTP, on `127.0.0.1:0` for example.
    ///
    /// The server runs until [`ServingSandbox::stop`] or until the handle is dropped; the cluster outlives it.
    pub async fn serve_on(&self, address: SocketAddr) -> Result<ServingSandbox, ServeError> {
        let bind = |source| ServeError::Bind { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(bind)?;
        let local = listener.local_addr().map_err(bind)?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = self.router();
        self.shared.stop.send_replace(false);
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let shutdown = async move {
                // A dropped handle stops the server as well.
                let _ = stopped.await;
                shared.stop.send_replace(true);
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
                tracing::warn!(%error, "the sandbox stopped serving");
            }
        });
        Ok(ServingSandbox { address: local, stop: Some(stop), task })
    }

    /// A kubeconfig for a sandbox served on an address.
    pub fn kubeconfig(&self, address: SocketAddr) -> String {
        let user = self.shared.token.as_ref().map_or_else(|| "{}".to_owned(), |token| format!("{{token: {token}}}"));
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sandbox\n  cluster: {{server: \"http://{address}\"}}\ncontexts:\n- name: sandbox\n  context: {{cluster: sandbox, user: sandbox, namespace: default}}\ncurrent-context: sandbox\nusers:\n- name: sandbox\n  user: {user}\n"
        )
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

/// A sandbox that listens.
#[derive(Debug)]
pub struct ServingSandbox {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl ServingSandbox {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, ends watches, and waits for requests under way.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only when the server has stopped by itself.
            let _ = stop.send(());
        }
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the sandbox's server failed");
        }
    }
}
