use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use dxdr_plan::instance::Priority;
use dxdr_provider::{
    InstanceErrorKind,
    instance::{Instance, OperationFailure, RecoveryWindow, Rows},
};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{event::Silent, lease::tests::Shelf};

const URI: &str = "gs://bucket/staging.sql.gz";

/// Follows the time of tokio, which the tests let pass by itself.
#[derive(Debug, Clone, Copy)]
struct Watch(tokio::time::Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        "2024-05-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

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
    fails: bool,
    never_ends: AtomicBool,
    /// Accepts, and does not answer.
    silent: AtomicBool,
}

impl Desk {
    fn new(clock: Watch) -> Self {
        let (never_ends, silent) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { clock, state: Mutex::default(), refuses: None, fails: false, never_ends, silent }
    }

    fn begin(&self, kind: &str, uri: Option<&str>, user: &str) -> Option<String> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        if state.ends.iter().any(|(end, _)| *end > now) {
            return None;
        }
        let name = format!("operation-{}", state.operations.len());
        let well = if self.fails {
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

    async fn recovery_window(&self, _: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn databases(&self, _: &InstanceName) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn operations(&self, _: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        let now = self.clock.now();
        let state = self.state.lock().unwrap();
        let operations = state.operations.iter().zip(&state.ends).map(|(operation, (end, how))| {
            let mut operation = operation.clone();
            if *end <= now {
                operation.ended = Some(*end);
                operation.state = how.clone();
            }
            operation
        });
        Ok(operations.rev().collect())
    }

    async fn operation(&self, _: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
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
    let name = |result: Result<Done, RunError>| match result {
        Ok(Done::Operation(operation)) => operation.name,
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
    assert!(matches!(done, Done::Operation(operation) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_no_reason_to_ask_again() {
    let world = World::new();
    let desk = Arc::new(Desk::new(world.clock));
    desk.silent.store(true, Ordering::SeqCst);
    let done = carry_out(&world.turns(&desk, "one"), &job("run", URI, 60), &request(URI), &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation) if operation.name == "operation-0"));
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
    let desk = Arc::new(Desk { fails: true, ..Desk::new(world.clock) });
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
    assert!(matches!(done, Done::Operation(operation) if operation.name == "operation-0"));
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
    let done = carry_out(&world.turns(&desk, "two"), &job, &request, &Unseen).await.unwrap();
    assert!(matches!(done, Done::Operation(operation) if operation.name == "operation-0"));
    assert_eq!(desk.submitted(), 1);
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
