use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use dxdr_format::{hashing::sha256, layout::StoreLayout};
use dxdr_plan::instance::Priority;
use dxdr_provider::{
    ObjectStorage, StorageError, StorageErrorKind,
    instance::{Instance, InstanceBackup, OperationFailure, RecoveryWindow, Rows},
    object_storage::{ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, PutCondition},
};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

use super::{mortal::Watch, *};
use crate::{event::Silent, lease::tests::Shelf, store::Store};

const URI: &str = "gs://bucket/staging.sql.gz";

#[derive(Debug, Default)]
struct State {
    operations: Vec<InstanceOperation>,
    /// When each of them ends, and how.
    ends: Vec<(Timestamp, OperationState)>,
    submitted: Vec<InstanceRequest>,
}

/// A service whose operations take a minute each.
#[derive(Debug)]
struct Desk {
    clock: Watch,
    state: Mutex<State>,
    refuses: Option<InstanceErrorKind>,
    fails: AtomicBool,
    never_ends: AtomicBool,
    /// Accepts, and does not answer.
    silent: AtomicBool,
    /// Looks fail until then.
    down_until: Mutex<Option<Timestamp>>,
    /// Where exports are written.
    bucket: Arc<Bucket>,
}

impl Desk {
    fn new(clock: Watch) -> Self {
        let (never_ends, silent) = (AtomicBool::new(false), AtomicBool::new(false));
        let down_until = Mutex::default();
        Self {
            clock,
            state: Mutex::default(),
            refuses: None,
            fails: AtomicBool::default(),
            never_ends,
            silent,
            down_until,
            bucket: Arc::default(),
        }
    }

    fn begin(&self, kind: &str, uri: Option<&str>, user: &str) -> Option<String> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        if state.ends.iter().any(|(end, _)| *end > now) {
            return None;
        }
        let name = format!("operation-{}", state.operations.len());
        let well = if self.fails.load(Ordering::SeqCst) {
            let hint = Some("ask for another object".to_owned());
            let message = "ERROR: the object exists".to_owned();
            OperationState::Failed(OperationFailure { kind: InstanceErrorKind::ObjectExists, message, hint })
        } else {
            OperationState::Succeeded
        };
        let minutes = if self.never_ends.load(Ordering::SeqCst) { 1_000_000 } else { 1 };
        state.ends.push((now + SignedDuration::from_mins(minutes), well));
        state.operations.push(InstanceOperation {
            name: name.clone(),
            kind: kind.to_owned(),
            uri: uri.map(str::to_owned),
            databases: Vec::new(),
            offloaded: true,
            target: "shared".to_owned(),
            description: None,
            user: user.to_owned(),
            accepted: Some(now),
            started: Some(now),
            ended: None,
            state: OperationState::Running,
        });
        Some(name)
    }

    fn error(kind: InstanceErrorKind) -> InstanceError {
        let (what, message) = ("instance".to_owned(), format!("{kind:?}"));
        InstanceError { kind, action: "export", what, message, hint: Some("a remedy".to_owned()), source: None }
    }

    fn submitted(&self) -> usize {
        self.state.lock().unwrap().submitted.len()
    }
}

#[async_trait]
impl Instances for Desk {
    fn describe(&self) -> String {
        "desk".to_owned()
    }

    async fn instance(&self, _: &InstanceName) -> Result<Instance, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn instances(&self, _: &str) -> Result<Vec<Instance>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn granted(&self, _: &str, _: &[&str]) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn recovery_window(&self, _: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn users(&self, _: &InstanceName) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn backups(&self, _: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn databases(&self, _: &InstanceName) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn operations(&self, _: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        let now = self.clock.now();
        if self.down_until.lock().unwrap().is_some_and(|until| now < until) {
            return Err(Self::error(InstanceErrorKind::Unavailable));
        }
        let state = self.state.lock().unwrap();
        let operations = state.operations.iter().zip(&state.ends).map(|(operation, (end, how))| {
            let mut operation = operation.clone();
            if *end <= now {
                operation.ended = Some(*end);
                operation.state = how.clone();
                if let (Some(uri), OperationState::Succeeded) = (&operation.uri, how) {
                    self.bucket.put_once(uri, *end);
                }
            }
            operation
        });
        Ok(operations.rev().collect())
    }

    async fn operation(&self, _: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Self::error(InstanceErrorKind::Unavailable));
        }
        let operations = self.operations(&instance()).await?;
        Ok(operations.into_iter().find(|operation| operation.name == name))
    }

    async fn submit(&self, _: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        if let Some(kind) = self.refuses {
            return Err(Self::error(kind));
        }
        let InstanceRequest::Export { uri, .. } = request else { unreachable!("only exports are asked for") };
        let Some(name) = self.begin("EXPORT", Some(uri), "dxdr") else { return Err(Self::error(InstanceErrorKind::Busy)) };
        self.state.lock().unwrap().submitted.push(request.clone());
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(name)
    }

    async fn execute(&self, _: &InstanceName, _: &str, _: &str) -> Result<Rows, InstanceError> {
        unreachable!("nobody asks")
    }
}

/// Objects by their URLs, with when they were written; no more than an export needs.
#[derive(Debug, Default)]
struct Bucket(Mutex<BTreeMap<String, Timestamp>>, AtomicBool);

const EXPORTED: &[u8] = b"create table orders";

impl Bucket {
    fn put_once(&self, url: &str, at: Timestamp) {
        self.0.lock().unwrap().entry(url.to_owned()).or_insert(at);
    }

    fn found(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let modified = self.0.lock().unwrap().get(&format!("gs://bucket/{key}")).copied();
        let stat =
            |modified| ObjectStat { key: key.to_owned(), size: EXPORTED.len() as u64, modified: Some(modified), tag: None };
        modified.map(stat).ok_or_else(|| StorageError {
            kind: StorageErrorKind::NotFound,
            action: "read",
            key: key.to_owned(),
            store: self.describe(),
            source: None,
        })
    }
}

#[async_trait]
impl ObjectStorage for Bucket {
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
        let (stat, bytes) = (self.found(key)?, futures::stream::iter([Ok(Bytes::from_static(EXPORTED))]));
        // As Cloud Storage does, whose answer has no time in it.
        let stat = ObjectStat { modified: None, ..stat };
        let never = futures::stream::pending();
        let slow = self.1.load(Ordering::SeqCst);
        Ok(ObjectReader { stat, stream: if slow { Box::pin(bytes.chain(never)) } else { Box::pin(bytes) } })
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage, StorageError> {
        unreachable!("nobody asks")
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        self.found(key)
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unreachable!("nobody asks")
    }
}

/// Nothing tells of it but the operation.
struct Unseen;

#[async_trait]
impl Made for Unseen {
    async fn made(&self) -> Result<bool, RunError> {
        Ok(false)
    }
}

fn instance() -> InstanceName {
    InstanceName::new("dx-nonprod", "shared")
}

fn job(run: &str, uri: &str, minutes: i64) -> Job {
    Job {
        id: format!("{run}/orders"),
        run: run.to_owned(),
        environment: "staging".to_owned(),
        priority: Priority::Backup,
        work: Work::Export { uri: uri.to_owned(), offloaded: true },
        deadline: "2024-05-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes),
    }
}

fn request(uri: &str) -> InstanceRequest {
    InstanceRequest::Export { database: "orders".to_owned(), uri: uri.to_owned(), offload: true }
}

struct World {
    clock: Watch,
    shelf: Arc<Shelf>,
}

impl World {
    fn new() -> Self {
        Self { clock: Watch(tokio::time::Instant::now()), shelf: Arc::new(Shelf::default()) }
    }

    fn turns(&self, desk: &Arc<Desk>, process: &str) -> InstanceTurns {
        InstanceTurns {
            instances: desk.clone(),
            instance: instance(),
            lease: LedgerLease::new(self.shelf.clone(), "dxdr-system", &instance()),
            clock: Arc::new(self.clock),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            process: process.to_owned(),
            first_pause: Duration::from_secs(1),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_of_one_run_and_another_run_submit_everything_once() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let (one, two, three) = (world.turns(&desk, "one"), world.turns(&desk, "two"), world.turns(&desk, "three"));
    let (staging, dev) = (job("staging-run", URI, 60), job("dev-run", "gs://bucket/dev.sql.gz", 60));
    let (staging_request, dev_request) = (request(URI), request("gs://bucket/dev.sql.gz"));
    let results = futures::join!(
        carry_out(&one, &staging, &staging_request, &Unseen),
        carry_out(&two, &staging, &staging_request, &Unseen),
        carry_out(&three, &dev, &dev_request, &Unseen),
    );
    let asked = [&results.0, &results.1].iter().filter(|result| matches!(result, Ok(Done::Operation(_, Some(_))))).count();
    assert_eq!(asked, 1, "who did not ask does not know when somebody did");
    let name = |result: Result<Done, RunError>| match result {
        Ok(Done::Operation(operation, _)) => operation.name,
        other => panic!("{other:?}"),
    };
    let names = [name(results.0), name(results.1), name(results.2)];
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0], names[2]);
    assert_eq!(desk.submitted(), 2);
    assert_eq!(one.lease.current().await.unwrap().entries, []);
}

#[tokio::test(start_paused = true)]
async fn what_a_process_sent_before_it_died_is_adopted_by_the_next() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.silent.store(true, Ordering::SeqCst);
    let (first, job, request) = (world.turns(&desk, "first"), job("run", URI, 60), request(URI));
    let dies = tokio::time::timeout(Duration::from_secs(5), carry_out(&first, &job, &request, &Unseen)).await;
    assert!(dies.is_err(), "it dies while it waits for the answer");
    assert_eq!(desk.submitted(), 1);
    let done = carry_out(&world.turns(&desk, "second"), &job, &request, &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation, _) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_no_reason_to_ask_again() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.silent.store(true, Ordering::SeqCst);
    let done = carry_out(&world.turns(&desk, "one"), &job("run", URI, 60), &request(URI), &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation, None) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_an_error_with_a_remedy_and_leaves_no_entry() {
    let world = World::new();
    let desk = Arc::new(Desk { refuses: Some(InstanceErrorKind::Forbidden), ..Desk::new(world.clock) });
    let turns = world.turns(&desk, "one");
    let error = carry_out(&turns, &job("run", URI, 60), &request(URI), &Unseen).await.unwrap_err();
    assert!(matches!(error, RunError::Instance(error) if error.hint.as_deref() == Some("a remedy")));
    assert_eq!(turns.lease.current().await.unwrap().entries, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_again_and_again_ends_at_the_deadline_and_says_why() {
    for kind in [InstanceErrorKind::Busy, InstanceErrorKind::Throttled, InstanceErrorKind::Unavailable] {
        let world = World::new();
        let desk = Arc::new(Desk { refuses: Some(kind), ..Desk::new(world.clock) });
        let (turns, begun) = (world.turns(&desk, "one"), world.clock.now());
        let error = carry_out(&turns, &job("run", URI, 30), &request(URI), &Unseen).await.unwrap_err();
        let RunError::InstanceBusy { obstacle, .. } = error else { panic!("{error:?}") };
        assert!(obstacle.contains(&format!("refuses it, and no operation is seen: {kind:?}")), "{obstacle}");
        assert!(world.clock.now() < begun + SignedDuration::from_mins(35));
        assert_eq!(turns.lease.current().await.unwrap().entries, []);
    }
}

#[tokio::test(start_paused = true)]
async fn no_single_write_of_the_ledger_is_what_a_run_fails_by() {
    for writes in 0..6 {
        let world = World::new();
        let desk = Arc::new(Desk::new(world.clock));
        let turns = world.turns(&desk, "one");
        world.shelf.fail_after(writes);
        let done = carry_out(&turns, &job("run", URI, 60), &request(URI), &Unseen).await;
        assert!(matches!(done, Ok(Done::Operation(..))), "after {writes}: {done:?}");
        assert_eq!(desk.submitted(), 1, "after {writes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_operation_is_waited_for_until_the_deadline_and_named() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.begin("MAINTENANCE", None, "system").unwrap();
    let turns = world.turns(&desk, "one");
    carry_out(&turns, &job("run", URI, 60), &request(URI), &Unseen).await.unwrap();

    desk.never_ends.store(true, Ordering::SeqCst);
    desk.begin("UPDATE", None, "somebody@example.org").unwrap();
    let error = carry_out(&turns, &job("other", "gs://bucket/b", 30), &request("gs://bucket/b"), &Unseen).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("projects/dx-nonprod/instances/shared did not get its turn in time"), "{text}");
    assert!(text.contains("operation operation-2 runs: UPDATE, for somebody@example.org, since 2024-05-01T10:0"), "{text}");
    assert_eq!(desk.submitted(), 1);
    assert_eq!(turns.lease.current().await.unwrap().entries, []);
}

#[tokio::test(start_paused = true)]
async fn done_is_not_success() {
    let world = World::new();
    let desk = Arc::new(Desk { fails: AtomicBool::new(true), ..Desk::new(world.clock) });
    let error = carry_out(&world.turns(&desk, "one"), &job("run", URI, 60), &request(URI), &Unseen).await.unwrap_err();
    let RunError::InstanceOperation { message, hint, operation, .. } = error else { panic!("{error:?}") };
    assert_eq!((message.as_str(), operation.as_str()), ("ERROR: the object exists", "operation-0"));
    assert_eq!(hint.as_deref(), Some("ask for another object"));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_never_ends_is_left_running_and_taken_up_again() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.never_ends.store(true, Ordering::SeqCst);
    let (turns, request) = (world.turns(&desk, "one"), request(URI));
    let error = carry_out(&turns, &job("run", URI, 5), &request, &Unseen).await.unwrap_err();
    assert!(matches!(error, RunError::InstanceOverdue { operation, .. } if operation == "operation-0"));
    assert_eq!(turns.lease.current().await.unwrap().entries.len(), 1);
    desk.state.lock().unwrap().ends[0].0 = world.clock.now();
    let done = carry_out(&world.turns(&desk, "two"), &job("run", URI, 5), &request, &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation, _) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_there_is_not_asked_for_again() {
    struct There;
    #[async_trait]
    impl Made for There {
        async fn made(&self) -> Result<bool, RunError> {
            Ok(true)
        }
    }
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let done = carry_out(&world.turns(&desk, "one"), &job("run", URI, 60), &request(URI), &There).await.unwrap();
    assert_eq!((done, desk.submitted()), (Done::Made, 0));

    // Nor does it wait until what others do is done.
    desk.never_ends.store(true, Ordering::SeqCst);
    desk.begin("UPDATE", None, "somebody@example.org").unwrap();
    let begun = world.clock.now();
    let done = carry_out(&world.turns(&desk, "two"), &job("run", URI, 60), &request(URI), &There).await.unwrap();
    assert_eq!((done, desk.submitted()), (Done::Made, 0));
    assert!(world.clock.now() < begun + SignedDuration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_stop_leaves_what_was_accepted_to_the_next() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let (turns, job, request) = (world.turns(&desk, "one"), job("run", URI, 60), request(URI));
    let stop = turns.stop.clone();
    let (result, ()) = futures::join!(carry_out(&turns, &job, &request, &Unseen), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        stop.ask();
    });
    assert!(matches!(result, Err(RunError::Interrupted)));
    let ledger = turns.lease.current().await.unwrap();
    assert!(
        !ledger.entry(&job.id).unwrap().is_alive(world.clock.now()),
        "the next need not wait until it is believed to be gone"
    );
    let done = carry_out(&world.turns(&desk, "two"), &job, &request, &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation, _) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn looks_that_fail_for_a_while_are_no_reason_to_give_up() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let (turns, job, request) = (world.turns(&desk, "one"), job("run", URI, 60), request(URI));
    let begun = world.clock.now();
    let (result, ()) = futures::join!(carry_out(&turns, &job, &request, &Unseen), async {
        while desk.submitted() == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        *desk.down_until.lock().unwrap() = Some(begun + SignedDuration::from_mins(20));
    });
    assert!(matches!(result.unwrap(), Done::Operation(operation, _) if operation.name == "operation-0"));
    assert!(world.clock.now() >= begun + SignedDuration::from_mins(20));
    assert_eq!(desk.submitted(), 1);

    *desk.down_until.lock().unwrap() = Some(Timestamp::MAX);
    let error = carry_out(&turns, &self::job("later", "gs://bucket/b", 30), &self::request("gs://bucket/b"), &Unseen).await;
    assert!(matches!(error, Err(RunError::Instance(error)) if error.kind == InstanceErrorKind::Unavailable));
    assert_eq!(desk.submitted(), 1);
    assert_eq!(turns.lease.current().await.unwrap().entries, [], "nobody comes back for what failed before it was sent");
}

fn order() -> ExportOrder {
    ExportOrder {
        run: "run".to_owned(),
        environment: "staging".to_owned(),
        unit: "orders".to_owned(),
        database: "staging_orders".to_owned(),
        key: "staging.sql.gz".to_owned(),
        offload: true,
        timeout: SignedDuration::from_hours(1),
        priority: Priority::Backup,
    }
}

fn store(storage: Arc<dyn ObjectStorage>) -> Store {
    Store { name: "bucket".to_owned(), storage, layout: StoreLayout::new("") }
}

#[tokio::test(start_paused = true)]
async fn an_export_is_of_the_instant_at_which_its_dump_began_and_is_read_back() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.begin("MAINTENANCE", None, "system").unwrap();
    let exported = export(&world.turns(&desk, "one"), &store(desk.bucket.clone()), &order()).await.unwrap();
    let operation = desk.state.lock().unwrap().operations[1].clone();
    assert_eq!((Some(exported.instant), exported.operation.as_deref()), (operation.started, Some("operation-1")));
    assert_eq!((exported.exact, exported.attempt), (true, 1));
    assert_eq!((exported.size, exported.sha256), (EXPORTED.len() as u64, sha256(EXPORTED)));
    assert_eq!((exported.waited, exported.worked), (Some(0), Some(60)));
    assert!(exported.url.starts_with("gs://") && exported.url.ends_with(&order().key), "{}", exported.url);

    // Asked again after the service has forgotten the operation, the object is what tells.
    {
        let mut state = desk.state.lock().unwrap();
        state.operations.clear();
        state.ends.clear();
    }
    let again = export(&world.turns(&desk, "two"), &store(desk.bucket.clone()), &order()).await.unwrap();
    assert_eq!((again.sha256, again.operation), (exported.sha256, None));
    let written = desk.bucket.found(&order().key).unwrap().modified;
    assert_eq!((Some(again.instant), again.exact), (written, false), "of the object, and not known to have begun then");
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_stop_reads_no_export_to_its_end() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let turns = world.turns(&desk, "one");
    desk.bucket.1.store(true, Ordering::SeqCst);
    let (store, order) = (store(desk.bucket.clone()), order());
    let (exported, ()) = futures::join!(export(&turns, &store, &order), async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        turns.stop.ask();
    });
    assert!(matches!(exported, Err(RunError::Interrupted)), "{exported:?}");
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_export_that_failed_in_an_earlier_process_is_another_job_with_another_object() {
    let world = World::new();
    let desk = Arc::new(Desk { fails: AtomicBool::new(true), ..Desk::new(world.clock) });
    let turns = world.turns(&desk, "one");
    // Who sees it fail does not try again by itself.
    let error = export(&turns, &store(desk.bucket.clone()), &order()).await.unwrap_err();
    assert!(matches!(error, RunError::InstanceOperation { operation, .. } if operation == "operation-0"));
    desk.fails.store(false, Ordering::SeqCst);
    let exported = export(&world.turns(&desk, "two"), &store(desk.bucket.clone()), &order()).await.unwrap();
    assert_eq!((exported.attempt, exported.operation.as_deref()), (2, Some("operation-1")));
    assert!(exported.url.ends_with("/staging.sql.2.gz"), "{}", exported.url);
    assert_eq!(turns.lease.current().await.unwrap().entries, []);
    // And who comes then finds it.
    let again = export(&world.turns(&desk, "three"), &store(desk.bucket.clone()), &order()).await.unwrap();
    assert_eq!((again.url, again.instant), (exported.url, exported.instant));
    assert_eq!(desk.submitted(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_the_service_cannot_write_is_refused_before_anything_is_asked() {
    #[derive(Debug)]
    struct Elsewhere;
    #[async_trait]
    impl ObjectStorage for Elsewhere {
        fn describe(&self) -> String {
            "directory /srv".to_owned()
        }
        async fn put(&self, _: &str, _: ObjectBody, _: PutCondition) -> Result<ObjectStat, StorageError> {
            unreachable!("nobody asks")
        }
        async fn get(&self, _: &str, _: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
            unreachable!("nobody asks")
        }
        async fn list(&self, _: &ListRequest) -> Result<ListPage, StorageError> {
            unreachable!("nobody asks")
        }
        async fn stat(&self, _: &str) -> Result<ObjectStat, StorageError> {
            unreachable!("nobody asks")
        }
        async fn delete(&self, _: &str) -> Result<(), StorageError> {
            unreachable!("nobody asks")
        }
    }
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    let error = export(&world.turns(&desk, "one"), &store(Arc::new(Elsewhere)), &order()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("cannot be exported into directory /srv: Cloud SQL writes into buckets of Google Cloud Storage only")
    );
    assert_eq!(desk.submitted(), 0);
}

#[test]
fn what_the_service_shows_of_an_operation_says_what_it_is_where_it_can() {
    let operation = |kind: &str, description: Option<&str>| {
        let description = description.map(str::to_owned);
        operation_of(&InstanceOperation {
            name: "operation-0".to_owned(),
            kind: kind.to_owned(),
            uri: None,
            databases: Vec::new(),
            offloaded: false,
            target: "shared".to_owned(),
            description,
            user: String::new(),
            accepted: None,
            started: None,
            ended: None,
            state: OperationState::Running,
        })
        .work
    };
    assert_eq!(operation("DELETE", None), Work::DeleteInstance);
    assert_eq!(operation("CLONE", None), Work::Clone { destination: "shared".to_owned() });
    assert_eq!(operation("BACKUP_VOLUME", Some("ours")), Work::Backup { description: "ours".to_owned() });
    assert_eq!(operation("CREATE_DATABASE", None), Work::Other("CREATE_DATABASE".to_owned()));
}

#[test]
fn pauses_grow_to_half_a_minute_and_differ_from_job_to_job() {
    let pauses = |job: &str| {
        let mut pauses = Pauses::beginning_with(Duration::from_secs(1), job);
        (0..20).map(|_| pauses.next()).collect::<Vec<_>>()
    };
    let (one, two) = (pauses("one"), pauses("two"));
    assert!(one.iter().chain(&two).all(|pause| *pause >= Duration::from_millis(800) && *pause <= LONGEST_PAUSE));
    assert!(one[19] > Duration::from_secs(20));
    assert_ne!(one, two);
}
