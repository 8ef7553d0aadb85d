//! The Cloud SQL Admin API, emulated: by one HTTP server on loopback, or by a value that is asked without one.
//!
//! It speaks as much of the API as programs need it that back databases up and bring them back: instances, databases, users, backup runs, exports and imports
//! that write and read objects by the JSON API of Cloud Storage, clones as of an instant, recovery windows, `executeSql`, and operations. What
//! makes such programs hard to write is as it is there: one operation an instance, of which the others are refused as 409 (or 403) with the
//! reason `operationInProgress`; errors that come as HTTP, and errors that only a `DONE` operation has; names that are taken for days after their instance is gone;
//! buckets that the *instance's* account writes.
//!
//! An instance is one of two things. Most are lists: a database is the statements that were executed in it, each with its instant; a clone as of an instant is
//! the statements up to then, an export is a text of them, and an import executes what it reads. They need nothing, and take no time.
//!
//! Where [a PostgreSQL](Options::postgresql) is installed, an instance can be a server of its own: an export is a dump of PostgreSQL's, an import is carried out by `psql`, `executeSql` answers
//! what the server answers, and a clone as of an instant is recovered from the log, up to the last transaction that was committed by then.
//!
//! ```text
//! HTTP ─► request ─► fault ─► identity ─► service ─► state: one operation an instance ─► operation: waits, works, ends ─► object store
//!                                                                                              └─► postgresql, where the instance is real
//! ```
//!
//! [`Service`] is all of it but HTTP. With [objects in memory](Storage::Memory) it needs no socket, its operations sleep by tokio's time and its clock is the caller's: a test can let hours of it pass in
//! no time.
//!
//! What it does not do: evaluate SQL of instances that are lists (there, `executeSql` sees, marks and renames databases, and answers queries with rows that a test prepared),
//! engines other than PostgreSQL's, replicas, certificates, flags, maintenance windows; such requests are answered with 404.
//!
//! Architecture invariant: this crate knows nothing of dxdr, and touches no disk unless an instance is a real server, whose files lie in one temporary folder and go with the
//! emulator.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod backup;
mod failure;
mod fault;
mod identity;
mod instance;
mod object_store;
mod operation;
mod postgresql;
mod request;
mod server;
mod state;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;

pub use dxdr_postgresql_server::Installation;
pub use fault::{Failing, Fault, Faults};
pub use identity::Identity;
pub use instance::Instance;
pub use object_store::{Objects, Storage};
pub use request::Request;

use postgresql::{Cluster, Servers, SqlError};

use backup::{Backup, Kept};
use instance::Machine;
use object_store::Store;
use state::State;

/// Where the server reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an emulator is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The time of operations and statements; the system's by default, and where instances are real servers, which live in it.
    pub clock: Clock,
    /// Where exports are written and imports read. `None`: they fail.
    pub storage: Option<Storage>,
    /// Who may do what. Empty: everybody may do everything, with and without credentials.
    pub identities: Vec<Identity>,
    /// Names of operations are made of it: the same seed, the same names.
    pub seed: u64,
    /// What instances run on that the API creates, and those that are [asked for](Emulator::create_server). `None`: they are lists of statements.
    pub postgresql: Option<Installation>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Arc::new(Timestamp::now),
            storage: None,
            identities: Vec::new(),
            seed: 0,
            postgresql: None,
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
    servers: Option<Arc<Servers>>,
    store: Option<Store>,
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

/// The service, without a way to it. Its operations end, and its instances that are real servers stop, when it is dropped.
pub struct Service {
    shared: Arc<Shared>,
}

/// A running server of a [`Service`]. It stops when it is dropped.
pub struct Emulator {
    service: Service,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Emulator {
    /// Listens, and answers from then on. Has no instances.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let service = Service::new(options)?;
        let router = server::router(Arc::clone(&service.shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the database emulator ended");
            }
        });
        Ok(Self { service, address, task })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What listens is the service, and more.
impl Deref for Emulator {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Service {
    /// Has no instances. Operations run on the runtime of tokio in which this is called.
    pub fn new(options: Options) -> io::Result<Self> {
        let state = Mutex::new(State::new(options.seed));
        let store = options.storage.clone().map(Store::new).transpose()?;
        let runtime = tokio::runtime::Handle::current();
        let servers = options.postgresql.clone().map(Servers::new).transpose()?.map(Arc::new);
        Ok(Self { shared: Arc::new(Shared { state, faults: Faults::default(), options, servers, store, runtime }) })
    }

    /// Answers a request as the server would: a status of HTTP, and JSON. One that [is to be silent](Failing::Silent) never answers.
    pub async fn ask(&self, request: Request) -> (u16, Value) {
        request::answer(&self.shared, request).await
    }

    /// Creates an instance that is a real server, without an operation, and waits until it runs: seconds.
    pub fn create_server(&self, project: &str, name: &str, instance: Instance) -> io::Result<()> {
        let servers = self.shared.servers.as_ref().ok_or_else(|| io::Error::other("the emulator was given no PostgreSQL"))?;
        let server = Some(servers.create()?);
        let machine = Machine { server, ..Machine::new(instance, self.shared.now()) };
        self.shared.state().insert_machine(project, name, machine);
        Ok(())
    }

    /// Creates an instance that is a list of statements, without an operation.
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
        match self.server(project, instance) {
            Some(server) => match server.database_names() {
                Ok(names) if names.iter().any(|name| name == database) => {}
                _ => said(server.create_database(database)),
            },
            None => self.shared.state().create_database(project, instance, database),
        }
    }

    /// What a real server answers to a query of `postgres`: the rows of its last statement, of which `None` is NULL. Otherwise why not, in its words.
    pub fn query(&self, project: &str, instance: &str, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let server = self.server(project, instance).ok_or("the instance is no server")?;
        let answers = server.query(database, None, query).map_err(|error| error.to_string())?;
        Ok(answers.into_iter().next_back().unwrap_or_default().rows)
    }

    fn server(&self, project: &str, instance: &str) -> Option<Arc<Cluster>> {
        self.shared.state().cluster(project, instance)
    }

    /// Executes a statement in a database, as an application would. False when there is no such database, or when the server refuses it.
    pub fn execute(&self, project: &str, instance: &str, database: &str, statement: &str) -> bool {
        if let Some(server) = self.server(project, instance) {
            return server.query(database, None, statement).inspect_err(|error| said(Err(error.clone()))).is_ok();
        }
        let now = self.shared.now();
        self.shared.state().execute(project, instance, database, statement, now)
    }

    /// The statements that a database consists of; `None` when it is not there, or on a real server.
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

    /// Takes a backup as the service does by itself every day, without an operation.
    pub fn back_up(&self, project: &str, instance: &str) -> io::Result<()> {
        let started = self.shared.now();
        let copy = match (&self.shared.servers, self.server(project, instance)) {
            (Some(servers), Some(server)) => Some(servers.copy_of(&server)?),
            _ => None,
        };
        let mut state = self.shared.state();
        let machine = state.machine(project, instance).map_err(|failure| io::Error::other(failure.message))?;
        let kept = Kept { copy, ..Kept::of(machine) };
        let id = state.next_backup();
        state.backups.push(Backup {
            id,
            project: project.to_owned(),
            instance: instance.to_owned(),
            requested: false,
            description: String::new(),
            started,
            ended: self.shared.now(),
            kept: Some(kept),
            gone: None,
        });
        Ok(())
    }

    /// Descriptions of the backups of a project, the oldest first; those that the service took by itself have none.
    pub fn backup_descriptions(&self, project: &str) -> Vec<String> {
        let state = self.shared.state();
        let own = state.backups.iter().filter(|backup| backup.project == project);
        own.map(|backup| backup.description.clone()).collect()
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
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.state().abort();
        if let Some(servers) = &self.shared.servers {
            servers.close();
        }
    }
}

/// A server's refusal of something that has no answer to say it in.
fn said(done: Result<(), SqlError>) {
    if let Err(error) = done {
        tracing::warn!(%error, "the server refused");
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Service").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}
