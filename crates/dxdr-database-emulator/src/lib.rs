//! The Cloud SQL Admin API in memory, as one HTTP server on loopback.
//!
//! It speaks as much of the API as programs need it that back databases up and bring them back: instances, databases, users, backup runs, exports and imports
//! that write and read objects by the JSON API of Cloud Storage, clones as of an instant, recovery windows, `executeSql`, and operations. What
//! makes such programs hard to write is as it is there: one operation an instance, of which the others are refused as 409 (or 403) with the
//! reason `operationInProgress`; errors that come as HTTP, and errors that only a `DONE` operation has; names that are taken for days after their instance is gone;
//! buckets that the *instance's* account writes.
//!
//! A database is the list of statements that were executed in it, each with its instant. So a clone as of an instant is the statements up to then, an export
//! is a text of them, and an import executes what it reads.
//!
//! ```text
//! request ─► fault ─► identity ─► server ─► state: one operation an instance ─► operation: waits, works, ends ─► object store
//! ```
//!
//! What it does not do: evaluate SQL (`executeSql` sees, marks and renames databases, and answers queries with rows that a test prepared), engines other than PostgreSQL's exports, replicas,
//! certificates, flags, maintenance windows; such requests are answered with 404.
//!
//! Architecture invariant: this crate knows nothing of dxdr and touches no disk.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod failure;
mod fault;
mod identity;
mod instance;
mod object_store;
mod operation;
mod server;
mod state;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

pub use fault::{Failing, Fault, Faults};
pub use identity::Identity;
pub use instance::Instance;

use state::State;

/// Where the server reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an emulator is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The time of operations and statements; the system's by default.
    pub clock: Clock,
    /// Where the JSON API of Cloud Storage is, for exports and imports: `http://127.0.0.1:4443`. `None`: they fail.
    pub storage: Option<String>,
    /// Who may do what. Empty: everybody may do everything, with and without credentials.
    pub identities: Vec<Identity>,
    /// Names of operations are made of it: the same seed, the same names.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Arc::new(Timestamp::now),
            storage: None,
            identities: Vec::new(),
            seed: 0,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("address", &self.address).field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// What every request sees.
struct Shared {
    state: Mutex<State>,
    faults: Faults,
    options: Options,
    client: reqwest::Client,
    /// What operations run on, also when somebody outside of it begins one.
    runtime: tokio::runtime::Handle,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }
}

/// A running server. It stops when it is dropped.
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Emulator {
    /// Listens, and answers from then on. Has no instances.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        // A proxy of the environment has no business on loopback.
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let state = Mutex::new(State::new(options.seed));
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::new(Shared { state, faults: Faults::default(), options, client, runtime });
        let router = server::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the database emulator ended");
            }
        });
        Ok(Self { shared, address, task })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates an instance, without an operation.
    pub fn create_instance(&self, project: &str, name: &str, instance: Instance) {
        let now = self.shared.now();
        self.shared.state().put_instance(project, name, instance, now);
    }

    /// Changes an instance behind everybody's back. False when there is none.
    pub fn change_instance(&self, project: &str, name: &str, change: impl FnOnce(&mut Instance)) -> bool {
        self.shared.state().instance_mut(project, name).map(change).is_some()
    }

    /// Creates a database, without an operation; one that is there stays.
    pub fn create_database(&self, project: &str, instance: &str, database: &str) {
        self.shared.state().create_database(project, instance, database);
    }

    /// Executes a statement in a database, as an application would. False when there is no such database.
    pub fn execute(&self, project: &str, instance: &str, database: &str, statement: &str) -> bool {
        let now = self.shared.now();
        self.shared.state().execute(project, instance, database, statement, now)
    }

    /// The statements that a database consists of; `None` when it is not there.
    pub fn statements(&self, project: &str, instance: &str, database: &str) -> Option<Vec<String>> {
        self.shared.state().statements(project, instance, database)
    }

    /// Names of the databases on an instance.
    pub fn database_names(&self, project: &str, instance: &str) -> Vec<String> {
        let state = self.shared.state();
        state.machine(project, instance).map(|machine| machine.databases.keys().cloned().collect()).unwrap_or_default()
    }

    /// What is written about a database, if anything is.
    pub fn comment(&self, project: &str, instance: &str, database: &str) -> Option<String> {
        self.shared.state().machine(project, instance).ok()?.comments.get(database).cloned()
    }

    /// Names of the instances of a project.
    pub fn instance_names(&self, project: &str) -> Vec<String> {
        self.shared.state().instance_names(project)
    }

    /// What `executeSql` answers to this query: names of columns, and rows.
    pub fn prepare_rows(&self, query: &str, columns: &[&str], rows: &[&[&str]]) {
        self.shared.state().prepare_rows(query, columns, rows);
    }

    /// Begins an operation as Google or another user would: `MAINTENANCE`. It runs until it is [released](Self::release). `None` when the instance is busy.
    pub fn begin_operation(&self, project: &str, instance: &str, kind: &str, user: &str) -> Option<String> {
        operation::begin_foreign(&self.shared, project, instance, kind, user)
    }

    /// Lets an operation that was held end. False when it is not there or not held.
    pub fn release(&self, operation: &str) -> bool {
        self.shared.state().release(operation)
    }

    /// Names of operations of a kind (`EXPORT`), in the order in which they were accepted.
    pub fn operations_of(&self, kind: &str) -> Vec<String> {
        self.shared.state().operations_of(kind)
    }

    /// What goes wrong on this server.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.state().abort();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}
