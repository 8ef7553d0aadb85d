//! What is between a process and the world: delays, answers that are lost, requests that arrive after all, and the end of the process.

use std::{
    fmt,
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_database_emulator::Objects;
use dxdr_environment::{InstanceName, ObjectReference, ResourceKind};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind, InstanceError, InstanceErrorKind, Instances, ObjectStorage, StorageError,
    StorageErrorKind,
    cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream, WriteOptions},
    instance::{Instance, InstanceBackup, InstanceOperation, InstanceRequest, RecoveryWindow, Rows},
    object_storage::{ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, PutCondition},
};
use tokio::sync::{Notify, oneshot};

use super::{super::emulated::failed, dice::Dice};

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long after it was sent a request may still arrive: what the ledger allows for, less what clocks differ by.
const LATEST: u64 = 59;

/// What becomes of a call.
enum Fate {
    /// It is answered, with these delays on the way there and back.
    Answered(Duration, Duration),
    /// It has its effect, and the process sleeps long before it goes on.
    Stalls(Duration),
    /// It never arrives, and the client gives up.
    Lost,
    /// It arrives so much later. The client has given up, or does it by then.
    Late(Duration),
    /// It arrives, and the connection breaks.
    Unanswered,
    /// The other side does not take it.
    Refused,
    /// The process dies before it is sent.
    DiesBefore,
    /// It has its effect, and the process dies.
    DiesBehind,
}

/// One process: how many calls it lives for, and what its network does.
pub(super) struct Line {
    dice: Dice,
    /// Whether anything goes wrong at all.
    troubled: Arc<AtomicBool>,
    calls: AtomicU64,
    dies_at: Option<u64>,
    died: Notify,
    /// Requests that were refused because the instance was busy.
    refused: Arc<AtomicU64>,
    /// Whether calls go over sockets, which take real time.
    real: bool,
}

impl Line {
    pub(super) fn new(dice: Dice, troubled: Arc<AtomicBool>, refused: Arc<AtomicU64>, real: bool) -> Self {
        let dies_at = (troubled.load(Ordering::SeqCst) && dice.below(5) < 3).then(|| dice.below(50));
        Self { dice, troubled, calls: AtomicU64::new(0), dies_at, died: Notify::new(), refused, real }
    }

    /// Returns when its process died.
    pub(super) async fn death(&self) {
        self.died.notified().await;
    }

    fn fate(&self, request: bool) -> Fate {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let dice = &self.dice;
        if !self.troubled.load(Ordering::SeqCst) {
            return Fate::Answered(Duration::from_millis(50), Duration::from_millis(50));
        }
        if self.dies_at.is_some_and(|at| at <= call) {
            return if dice.once_in(2) { Fate::DiesBefore } else { Fate::DiesBehind };
        }
        match dice.below(100) {
            // What is about a request that begins something is what everything else is there for.
            60..75 if request => Fate::Late(dice.seconds(1, LATEST)),
            75..80 if request => Fate::Lost,
            80..85 if request => Fate::DiesBehind,
            85..88 if request => Fate::DiesBefore,
            0..88 => Fate::Answered(dice.seconds(0, 2), dice.seconds(0, 2)),
            88..90 => Fate::Stalls(dice.seconds(5, 200)),
            90..92 => Fate::Lost,
            92..94 => Fate::Late(dice.seconds(1, LATEST)),
            94..97 => Fate::Unanswered,
            _ => Fate::Refused,
        }
    }

    /// One call; whether it is a request that begins something. What is sent has its effect whatever becomes of the process.
    async fn call<T: Send + 'static>(
        &self,
        request: bool,
        effect: impl Future<Output = T> + Send + 'static,
        unanswered: impl FnOnce(Trouble) -> T + Send,
    ) -> T {
        let real = self.real;
        let sent = |there: Duration| {
            let (answer, answered) = oneshot::channel();
            tokio::spawn(async move {
                tokio::time::sleep(there).await;
                // Nobody may be there to hear it.
                let _ = answer.send(if real { taking_real_time(effect).await } else { effect.await });
            });
            answered
        };
        match self.fate(request) {
            Fate::Answered(there, back) => match tokio::time::timeout(PATIENCE, sent(there)).await {
                Ok(answer) => {
                    tokio::time::sleep(back).await;
                    answer.unwrap()
                }
                Err(_) => unanswered(Trouble::TimedOut),
            },
            Fate::Stalls(pause) => {
                let answer = tokio::time::timeout(PATIENCE, sent(Duration::ZERO)).await;
                tokio::time::sleep(pause).await;
                answer.map_or_else(|_| unanswered(Trouble::TimedOut), |answer| answer.unwrap())
            }
            Fate::Lost => {
                tokio::time::sleep(PATIENCE).await;
                unanswered(Trouble::TimedOut)
            }
            Fate::Late(there) => {
                drop(sent(there));
                tokio::time::sleep(there.min(PATIENCE)).await;
                unanswered(Trouble::TimedOut)
            }
            Fate::Unanswered => {
                drop(sent(Duration::ZERO));
                tokio::task::yield_now().await;
                unanswered(Trouble::Broken)
            }
            Fate::Refused => unanswered(Trouble::Refused),
            Fate::DiesBefore => self.die().await,
            Fate::DiesBehind => {
                drop(sent(self.dice.seconds(0, LATEST)));
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Line")
    }
}

/// Time that stands still while nothing can happen before it passes would run ahead of a socket: a thread that waits holds it.
async fn taking_real_time<T>(effect: impl Future<Output = T>) -> T {
    let (over, waits) = std::sync::mpsc::channel::<()>();
    // An answer that does not come in that time does not come at all.
    let held = tokio::task::spawn_blocking(move || waits.recv_timeout(Duration::from_millis(100)));
    let answer = effect.await;
    drop(over);
    let _ = held.await;
    answer
}

/// What the process sees of a call that was not answered.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    TimedOut,
    Broken,
    Refused,
}

/// The service of instances, behind a line.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) line: Arc<Line>,
    pub(super) instances: Arc<dyn Instances>,
}

impl Reached {
    async fn look<T, F>(&self, effect: impl FnOnce(Arc<dyn Instances>) -> F + Send) -> Result<T, InstanceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, InstanceError>> + Send + 'static,
    {
        self.call(false, effect).await
    }

    async fn call<T, F>(&self, request: bool, effect: impl FnOnce(Arc<dyn Instances>) -> F + Send) -> Result<T, InstanceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, InstanceError>> + Send + 'static,
    {
        let unanswered = |trouble| {
            let kind = match trouble {
                Trouble::TimedOut => InstanceErrorKind::TimedOut,
                Trouble::Broken => InstanceErrorKind::Unreachable,
                Trouble::Refused => InstanceErrorKind::Unavailable,
            };
            Err(failed(kind, &format!("{trouble:?}")))
        };
        self.line.call(request, effect(Arc::clone(&self.instances)), unanswered).await
    }
}

#[async_trait]
impl Instances for Reached {
    fn describe(&self) -> String {
        self.instances.describe()
    }

    async fn instance(&self, instance: &InstanceName) -> Result<Instance, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.instance(&instance).await }).await
    }

    async fn instances(&self, project: &str) -> Result<Vec<Instance>, InstanceError> {
        let project = project.to_owned();
        self.look(|instances| async move { instances.instances(&project).await }).await
    }

    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<Vec<String>, InstanceError> {
        let (project, permissions) = (project.to_owned(), permissions.iter().map(|&one| one.to_owned()).collect::<Vec<_>>());
        self.look(|instances| async move {
            let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
            instances.granted(&project, &permissions).await
        })
        .await
    }

    async fn recovery_window(&self, instance: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.recovery_window(&instance).await }).await
    }

    async fn users(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.users(&instance).await }).await
    }

    async fn backups(&self, instance: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.backups(&instance).await }).await
    }

    async fn databases(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.databases(&instance).await }).await
    }

    async fn operations(&self, instance: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        let instance = instance.clone();
        self.look(|instances| async move { instances.operations(&instance).await }).await
    }

    async fn operation(&self, project: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        let (project, name) = (project.to_owned(), name.to_owned());
        self.look(|instances| async move { instances.operation(&project, &name).await }).await
    }

    async fn submit(&self, instance: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        let (instance, request) = (instance.clone(), request.clone());
        let answer = self.call(true, |instances| async move { instances.submit(&instance, &request).await }).await;
        if matches!(&answer, Err(error) if error.kind == InstanceErrorKind::Busy) {
            self.line.refused.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    async fn execute(&self, instance: &InstanceName, database: &str, statement: &str) -> Result<Rows, InstanceError> {
        let (instance, database, statement) = (instance.clone(), database.to_owned(), statement.to_owned());
        self.look(|instances| async move { instances.execute(&instance, &database, &statement).await }).await
    }
}

/// The cluster, behind a line.
#[derive(Debug)]
pub(super) struct ReachedCluster {
    pub(super) line: Arc<Line>,
    pub(super) cluster: Arc<dyn Cluster>,
}

impl ReachedCluster {
    async fn call<T, F>(
        &self,
        reference: &ObjectReference,
        effect: impl FnOnce(Arc<dyn Cluster>) -> F + Send,
    ) -> Result<T, ClusterError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ClusterError>> + Send + 'static,
    {
        let unanswered = |trouble| {
            let kind = match trouble {
                Trouble::TimedOut => ClusterErrorKind::TimedOut,
                Trouble::Broken => ClusterErrorKind::Unreachable,
                Trouble::Refused => ClusterErrorKind::Unavailable,
            };
            let message = format!("{trouble:?}");
            Err(ClusterError {
                kind,
                action: "touch",
                object: reference.to_string(),
                cluster: "far".into(),
                message,
                source: None,
            })
        };
        self.line.call(false, effect(Arc::clone(&self.cluster)), unanswered).await
    }
}

#[async_trait]
impl Cluster for ReachedCluster {
    fn describe(&self) -> String {
        self.cluster.describe()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn list(&self, _: &ResourceKind, _: &ListScope, _: u32, _: Option<&str>) -> Result<ObjectPage, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        let wanted = reference.clone();
        self.call(reference, |cluster| async move { cluster.get(&wanted).await }).await
    }

    async fn watch(&self, _: &ObjectReference, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn watch_all(&self, _: &ResourceKind, _: &ListScope, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn create(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        let (wanted, options) = (reference.clone(), options.clone());
        self.call(reference, |cluster| async move { cluster.create(&wanted, body, &options).await }).await
    }

    async fn apply(&self, _: &ObjectReference, _: Bytes, _: bool, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn replace(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        let (wanted, options) = (reference.clone(), options.clone());
        self.call(reference, |cluster| async move { cluster.replace(&wanted, body, &options).await }).await
    }

    async fn execute(&self, _: &PodCommand) -> Result<Executed, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn delete(&self, _: &ObjectReference, _: Option<&str>, _: &WriteOptions) -> Result<bool, ClusterError> {
        unreachable!("nobody asks")
    }
}

/// The bucket into which the service exports, behind a line.
#[derive(Debug)]
pub(super) struct ReachedBucket {
    pub(super) line: Arc<Line>,
    pub(super) objects: Objects,
}

impl ReachedBucket {
    async fn found(&self, key: &str) -> Result<(ObjectStat, Bytes), StorageError> {
        let (objects, uri) = (self.objects.clone(), format!("gs://bucket/{key}"));
        let error = |kind| StorageError { kind, action: "read", key: key.to_owned(), store: self.describe(), source: None };
        let unanswered = |trouble| {
            Err(match trouble {
                Trouble::TimedOut => StorageErrorKind::TimedOut,
                Trouble::Broken => StorageErrorKind::Unreachable,
                Trouble::Refused => StorageErrorKind::Unavailable,
            })
        };
        let found = self.line.call(false, async move { Ok(objects.get(&uri)) }, unanswered).await.map_err(error)?;
        let (bytes, modified) = found.ok_or_else(|| error(StorageErrorKind::NotFound))?;
        let size = bytes.len() as u64;
        Ok((ObjectStat { key: key.to_owned(), size, modified: Some(modified), tag: None }, bytes))
    }
}

#[async_trait]
impl ObjectStorage for ReachedBucket {
    fn describe(&self) -> String {
        "gs://bucket".to_owned()
    }

    fn url(&self, key: &str) -> Option<String> {
        Some(format!("gs://bucket/{key}"))
    }

    async fn put(&self, _: &str, _: ObjectBody, _: PutCondition) -> Result<ObjectStat, StorageError> {
        unreachable!("the service writes")
    }

    async fn get(&self, key: &str, _: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let (stat, bytes) = self.found(key).await?;
        Ok(ObjectReader { stat, stream: Box::pin(futures::stream::iter([Ok(bytes)])) })
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage, StorageError> {
        unreachable!("nobody asks")
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        Ok(self.found(key).await?.0)
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unreachable!("nobody asks")
    }
}
