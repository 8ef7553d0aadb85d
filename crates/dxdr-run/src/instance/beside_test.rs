//! Databases beside, on a service that dies with whoever asks it: before a request has its effect, or behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_plan::restore::database::attempted;
use dxdr_provider::{
    Clock, InstanceError, InstanceErrorKind, Instances,
    database::Swap,
    instance::{
        Instance, InstanceBackup, InstanceOperation, InstanceRequest, OperationFailure, OperationState, RecoveryWindow, Rows,
    },
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Beside, BesideOrder, Import, InstanceTurns, LedgerLease, handover,
    mortal::{Death, Watch},
    statement::{self, Change, Found},
};
use crate::{RunError, StopRequest, event::Silent, lease::tests::Shelf};

const RUN: &str = "run-1";
const NEW: &str = "orders_restored";
const URI: &str = "gs://bucket/orders.sql.gz";

/// What is in a database, and what is written about it.
type Content = (Vec<String>, Option<String>);

#[derive(Debug, Default)]
struct State {
    databases: BTreeMap<String, Content>,
    /// Operations, each with what it achieves at its end.
    operations: Vec<(InstanceOperation, Timestamp, InstanceRequest)>,
    achieved: usize,
    /// What was executed to hand rights over, and in which database.
    handed: BTreeSet<(String, String)>,
}

/// An instance whose operations take a minute each.
#[derive(Debug)]
struct Service {
    clock: Watch,
    state: Mutex<State>,
    death: Death,
    /// So many imports fail, and leave half of what they read.
    fails: AtomicUsize,
    stopped: bool,
}

impl Service {
    fn new(clock: Watch) -> Arc<Self> {
        Arc::new(Self::plain(clock))
    }

    fn plain(clock: Watch) -> Self {
        let content = |words: &str| (vec![words.to_owned()], None);
        let databases = [("orders", "live"), ("neighbour", "not ours")].map(|(name, words)| (name.to_owned(), content(words)));
        let state = Mutex::new(State { databases: databases.into(), ..State::default() });
        Self { clock, state, death: Death::default(), fails: AtomicUsize::new(0), stopped: false }
    }

    /// Does it, unless whoever asks dies before.
    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> Result<T, InstanceError>) -> Result<T, InstanceError> {
        self.death
            .around(|| {
                let mut state = self.state.lock().unwrap();
                self.settle(&mut state);
                effect(&mut state)
            })
            .await
    }

    /// Lets operations end whose time it is.
    fn settle(&self, state: &mut State) {
        let now = self.clock.now();
        while let Some((operation, end, request)) = state.operations.get(state.achieved).cloned() {
            if end > now {
                return;
            }
            let mut ended = InstanceOperation { ended: Some(end), state: OperationState::Succeeded, ..operation };
            match request {
                InstanceRequest::CreateDatabase { database } => {
                    state.databases.insert(database, Content::default());
                }
                InstanceRequest::DeleteDatabase { database } => {
                    state.databases.remove(&database);
                }
                InstanceRequest::Import { database, .. } if self.fails.load(Ordering::SeqCst) > 0 => {
                    self.fails.fetch_sub(1, Ordering::SeqCst);
                    state.databases.get_mut(&database).unwrap().0.push("half".to_owned());
                    let (kind, hint) = (InstanceErrorKind::BucketForbidden, Some("let its account".to_owned()));
                    ended.state = OperationState::Failed(OperationFailure { kind, message: "ERROR: no access".to_owned(), hint });
                }
                InstanceRequest::Import { database, uri } => state.databases.get_mut(&database).unwrap().0.push(uri),
                other => panic!("{other:?} is not asked for"),
            }
            state.operations[state.achieved].0 = ended;
            state.achieved += 1;
        }
    }

    fn error(kind: InstanceErrorKind, message: &str) -> InstanceError {
        let what = "instance".to_owned();
        InstanceError { kind, action: "query", what, message: message.to_owned(), hint: None, source: None }
    }

    fn seen(state: &State) -> Vec<Found> {
        let found = |(name, (_, comment)): (&String, &Content)| Found {
            name: name.clone(),
            comment: comment.clone(),
            connections: if name == "orders" { 3 } else { 0 },
        };
        state.databases.iter().map(found).collect()
    }

    fn databases(&self) -> BTreeMap<String, Content> {
        self.state.lock().unwrap().databases.clone()
    }

    fn asked(&self, kind: &str) -> usize {
        self.state.lock().unwrap().operations.iter().filter(|(operation, ..)| operation.kind == kind).count()
    }
}

fn rows(values: Vec<Vec<Option<String>>>) -> Rows {
    Rows { columns: Vec::new(), values, truncated: false }
}

#[async_trait]
impl Instances for Service {
    fn describe(&self) -> String {
        "a service".to_owned()
    }

    async fn instance(&self, name: &InstanceName) -> Result<Instance, InstanceError> {
        Ok(Instance {
            name: name.clone(),
            version: "POSTGRES_15".to_owned(),
            state: "RUNNABLE".to_owned(),
            stopped: self.stopped,
            region: String::new(),
            service_account: String::new(),
            deletion_protection: true,
            automatic_backups: true,
            log_kept: true,
            log_days: Some(7),
            statements_allowed: true,
            account_login: true,
            labels: BTreeMap::new(),
            disk_gigabytes: None,
            created: None,
        })
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
        self.call(|state| Ok(state.databases.keys().cloned().collect())).await
    }

    async fn operations(&self, _: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        self.call(|state| Ok(state.operations.iter().rev().map(|(operation, ..)| operation.clone()).collect())).await
    }

    async fn operation(&self, _: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        let operations = self.operations(&InstanceName::new("p", "i")).await?;
        Ok(operations.into_iter().find(|operation| operation.name == name))
    }

    async fn submit(&self, _: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        let now = self.clock.now();
        self.call(|state| {
            if state.achieved < state.operations.len() {
                return Err(Self::error(InstanceErrorKind::Busy, "another operation is in progress"));
            }
            let (kind, uri, databases) = match request {
                InstanceRequest::CreateDatabase { .. } => ("CREATE_DATABASE", None, Vec::new()),
                InstanceRequest::DeleteDatabase { .. } => ("DELETE_DATABASE", None, Vec::new()),
                InstanceRequest::Import { uri, database } => ("IMPORT", Some(uri.clone()), vec![database.clone()]),
                other => panic!("{other:?} is not asked for"),
            };
            let name = format!("operation-{}", state.operations.len());
            let operation = InstanceOperation {
                name: name.clone(),
                kind: kind.to_owned(),
                uri,
                databases,
                offloaded: false,
                target: "i".to_owned(),
                description: None,
                user: "dxdr".to_owned(),
                accepted: Some(now),
                started: Some(now),
                ended: None,
                state: OperationState::Running,
            };
            state.operations.push((operation, now + SignedDuration::from_mins(1), request.clone()));
            Ok(name)
        })
        .await
    }

    async fn execute(&self, _: &InstanceName, database: &str, text: &str) -> Result<Rows, InstanceError> {
        self.call(|state| {
            let found = Self::seen(state);
            let text = text.strip_prefix(statement::PLAINLY).unwrap_or(text);
            if text == statement::CATALOGUE {
                let row =
                    |found: &Found| vec![Some(found.name.clone()), found.comment.clone(), Some(found.connections.to_string())];
                return Ok(rows(found.iter().map(row).collect()));
            }
            if text == statement::RELATIONS {
                return Ok(rows(vec![vec![Some(state.databases[database].0.len().to_string())]]));
            }
            for attempt in (1..=3).map(|attempt| attempted(NEW, attempt)) {
                if text == statement::marking(&attempt, RUN, None) {
                    state.databases.get_mut(&attempt).unwrap().1 = Some(format!("dxdr run {RUN}"));
                    return Ok(Rows::default());
                }
                if text == statement::renaming(&attempt, NEW) {
                    let content = state.databases.remove(&attempt).unwrap();
                    assert_eq!(state.databases.insert(NEW.to_owned(), content), None, "a name is never taken from another");
                    return Ok(Rows::default());
                }
            }
            if text == handover::properties_of("orders") {
                let row = ["owner", "", "app", "yes"].map(|value| Some(value.to_owned())).to_vec();
                return Ok(rows(if state.databases.contains_key("orders") { vec![row] } else { Vec::new() }));
            }
            if text == handover::objects_from(0) {
                let (owner, grants) = if database == "orders" { ("app", "SELECT report") } else { ("postgres", "SELECT PUBLIC") };
                let row = ["TABLE", "public.t", owner, "no", grants].map(|value| Some(value.to_owned())).to_vec();
                return Ok(rows(vec![row]));
            }
            if text.starts_with("BEGIN") && !text.contains("RENAME") {
                state.handed.insert((database.to_owned(), text.to_owned()));
                return Ok(Rows::default());
            }
            if text.starts_with("SELECT pg_terminate_backend") && !text.contains("RENAME") {
                return Ok(Rows::default());
            }
            for swap in [swap(), swap().reversed()] {
                let changes = statement::changes(&found, &swap).unwrap_or_default();
                if changes.is_empty() || text != statement::swapping(&swap, &changes) {
                    continue;
                }
                for change in changes {
                    match change {
                        Change::Rename { from, to } => {
                            let content = state.databases.remove(&from).unwrap();
                            assert_eq!(state.databases.insert(to, content), None);
                        }
                        Change::Comment { database, comment } => state.databases.get_mut(&database).unwrap().1 = comment,
                    }
                }
                return Ok(Rows::default());
            }
            panic!("nobody knows what it means: {text}");
        })
        .await
    }
}

fn swap() -> Swap {
    Swap { name: "orders".to_owned(), from: NEW.to_owned(), kept: "orders_before".to_owned(), run: RUN.to_owned() }
}

fn import() -> Import {
    Import { unit: "orders".to_owned(), database: NEW.to_owned(), uri: URI.to_owned() }
}

fn beside(service: &Arc<Service>, shelf: &Arc<Shelf>, process: &str) -> Beside {
    let instance = InstanceName::new("p", "i");
    let turns = InstanceTurns {
        instances: service.clone(),
        lease: LedgerLease::new(shelf.clone(), "dxdr-system", &instance),
        instance,
        clock: Arc::new(service.clock),
        reporter: Arc::new(Silent),
        stop: StopRequest::new(),
        process: process.to_owned(),
        first_pause: Duration::from_secs(1),
    };
    let order = BesideOrder { run: RUN.to_owned(), environment: "staging".to_owned(), timeout: SignedDuration::from_hours(1) };
    Beside { turns, order }
}

/// All of a restore in place.
async fn everything(beside: &Beside) -> Result<(), RunError> {
    beside.import(&import()).await?;
    beside.hand_over("orders", NEW).await?.expect("there is an original");
    beside.swap(&swap()).await
}

/// All of it again, by a process that knows from the journal how far the first one came: `steps` of the two are finished.
async fn rest(beside: &Beside, imported: bool) -> Result<(), RunError> {
    if imported { beside.swap(&swap()).await } else { everything(beside).await }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_anywhere_is_followed_by_one_who_does_nothing_twice() {
    let calls = {
        let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
        everything(&beside(&service, &shelf, "one")).await.unwrap();
        service.death.calls()
    };
    assert!(calls > 8, "{calls}");
    for at in 0..calls {
        for with_effect in [false, true] {
            let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
            service.death.comes_at(at, with_effect);
            let first = beside(&service, &shelf, "one");
            let imported = tokio::select! {
                result = everything(&first) => panic!("it was to die at call {at}: {result:?}"),
                () = service.death.has_come() => service.databases().contains_key("orders_before"),
            };
            rest(&beside(&service, &shelf, "two"), imported).await.unwrap_or_else(|error| panic!("{at} {with_effect}: {error}"));
            assert_eq!((service.asked("CREATE_DATABASE"), service.asked("IMPORT")), (1, 1), "{at} {with_effect}");
            assert_eq!(
                handed(&service),
                HANDED.map(|(database, text)| (database.to_owned(), text.to_owned())),
                "{at} {with_effect}"
            );
            let mark = Some(format!("dxdr run {RUN}"));
            let databases = service.databases();
            assert_eq!(databases["orders"], (vec![URI.to_owned()], None), "{at} {with_effect}");
            assert_eq!(databases["orders_before"], (vec!["live".to_owned()], mark));
            assert_eq!(databases["neighbour"], (vec!["not ours".to_owned()], None));
            assert_eq!(databases.len(), 3);
        }
    }
}

/// What gives the new database the owner and rights of the original, and what is in it those of its objects.
const HANDED: [(&str, &str); 2] = [
    (
        NEW,
        "BEGIN READ WRITE;\nALTER TABLE public.t OWNER TO app;\nGRANT SELECT ON TABLE public.t TO report;\nREVOKE SELECT ON TABLE public.t FROM PUBLIC;\nCOMMIT;",
    ),
    (
        "postgres",
        "BEGIN;\nGRANT CONNECT ON DATABASE \"orders_restored\" TO PUBLIC;\nALTER DATABASE \"orders_restored\" OWNER TO \"app\";\nCOMMIT;\n",
    ),
];

fn handed(service: &Service) -> Vec<(String, String)> {
    service.state.lock().unwrap().handed.iter().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_swap_is_undone_and_what_is_not_used_is_dropped_by_its_mark_alone() {
    let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
    let beside = beside(&service, &shelf, "one");
    everything(&beside).await.unwrap();
    for name in ["neighbour", "orders"] {
        let error = beside.discard(name).await.unwrap_err();
        assert!(error.to_string().ends_with(&format!("`{name}` does not carry the mark of run {RUN}")), "{error}");
    }
    beside.swap(&swap().reversed()).await.unwrap();
    beside.swap(&swap().reversed()).await.unwrap();
    assert_eq!(service.databases()["orders"], (vec!["live".to_owned()], None));
    assert!(beside.discard(NEW).await.unwrap());
    assert!(!beside.discard(NEW).await.unwrap(), "it is gone");
    assert_eq!((service.asked("DELETE_DATABASE"), service.databases().len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_lies_under_the_new_name_and_is_not_the_runs_is_not_touched() {
    for content in [(vec!["theirs".to_owned()], None), (Vec::new(), Some("theirs".to_owned()))] {
        let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
        service.state.lock().unwrap().databases.insert(NEW.to_owned(), content.clone());
        let error = beside(&service, &shelf, "one").import(&import()).await.unwrap_err();
        assert!(matches!(&error, RunError::Instance(error) if error.kind == InstanceErrorKind::NameTaken), "{error:?}");
        assert_eq!((service.databases()[NEW].clone(), service.asked("IMPORT")), (content, 0));
    }
}

fn failing(imports: usize) -> Arc<Service> {
    let clock = Watch(tokio::time::Instant::now());
    Arc::new(Service { fails: AtomicUsize::new(imports), ..Service::plain(clock) })
}

#[tokio::test(start_paused = true)]
async fn an_import_that_failed_is_dropped_and_tried_again_by_whoever_resumes() {
    let (service, shelf) = (failing(2), Arc::new(Shelf::default()));
    for process in ["one", "two"] {
        let error = beside(&service, &shelf, process).import(&import()).await.unwrap_err();
        let RunError::InstanceOperation { message, hint: Some(hint), .. } = error else { panic!("{error:?}") };
        assert_eq!(message, "ERROR: no access");
        assert!(hint.starts_with("let its account; once the reason is mended, whoever resumes the run drops"), "{hint}");
    }
    assert_eq!(service.asked("IMPORT"), 2, "a process tries once");
    everything(&beside(&service, &shelf, "three")).await.unwrap();
    assert_eq!((service.asked("IMPORT"), service.asked("DELETE_DATABASE")), (3, 2));
    assert_eq!(service.databases()["orders"], (vec![URI.to_owned()], None));
    assert_eq!(service.databases().keys().collect::<Vec<_>>(), ["neighbour", "orders", "orders_before"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_while_a_failed_import_is_tried_again_is_followed_by_one_who_finishes_it() {
    let resumed = async |service: &Arc<Service>, shelf: &Arc<Shelf>| {
        beside(service, shelf, "one").import(&import()).await.unwrap_err();
        service.death.calls()
    };
    let (before, calls) = {
        let (service, shelf) = (failing(1), Arc::new(Shelf::default()));
        let before = resumed(&service, &shelf).await;
        beside(&service, &shelf, "two").import(&import()).await.unwrap();
        (before, service.death.calls())
    };
    assert!(calls > before + 12, "{before} {calls}");
    for at in before..calls {
        for with_effect in [false, true] {
            let (service, shelf) = (failing(1), Arc::new(Shelf::default()));
            resumed(&service, &shelf).await;
            service.death.comes_at(at, with_effect);
            let (second, wanted) = (beside(&service, &shelf, "two"), import());
            tokio::select! {
                result = second.import(&wanted) => panic!("it was to die at call {at}: {result:?}"),
                () = service.death.has_come() => {}
            }
            let third = beside(&service, &shelf, "three").import(&import()).await;
            third.unwrap_or_else(|error| panic!("{at} {with_effect}: {error}"));
            let mark = Some(format!("dxdr run {RUN}"));
            let databases = service.databases();
            assert_eq!(databases[NEW], (vec![URI.to_owned()], mark), "{at} {with_effect}");
            assert_eq!(databases.len(), 3, "{at} {with_effect}: {databases:?}");
            assert_eq!((service.asked("IMPORT"), service.asked("DELETE_DATABASE")), (2, 1), "{at} {with_effect}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_attempts_left_goes_with_the_run_and_a_strangers_of_that_name_stays() {
    let (service, shelf) = (failing(2), Arc::new(Shelf::default()));
    for process in ["one", "two"] {
        beside(&service, &shelf, process).import(&import()).await.unwrap_err();
    }
    service.state.lock().unwrap().databases.insert(attempted(NEW, 3), (vec!["theirs".to_owned()], None));
    assert!(beside(&service, &shelf, "three").discard(NEW).await.unwrap());
    assert_eq!(service.databases().into_keys().collect::<Vec<_>>(), ["neighbour", "orders", &attempted(NEW, 3)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_and_never_marked_goes_with_the_run_as_long_as_nothing_is_in_it() {
    let content = |words: &[&str]| words.iter().map(|words| (*words).to_owned()).collect::<Vec<_>>();
    for (made, words, comment, goes) in [
        (true, content(&[]), None, true),
        (true, content(&["theirs"]), None, false),
        (true, content(&[]), Some("theirs".to_owned()), false),
        (false, content(&[]), None, false),
    ] {
        let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
        let (began, beside) = (service.clock.now(), beside(&service, &shelf, "two"));
        let request = InstanceRequest::CreateDatabase { database: NEW.to_owned() };
        service.submit(&beside.turns.instance, &request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(service.operations(&beside.turns.instance).await.unwrap()[0].ended.is_some());
        service.state.lock().unwrap().databases.insert(NEW.to_owned(), (words.clone(), comment.clone()));
        // Of a run that began behind it, it is not.
        let began = if made { began } else { service.clock.now() };
        beside.settle_databases(NEW, began).await.unwrap();
        match beside.discard(NEW).await {
            Ok(dropped) => assert!(goes && dropped && !service.databases().contains_key(NEW), "{words:?} {comment:?}"),
            Err(RunError::Instance(error)) => {
                assert!(!goes && error.hint.unwrap().contains("`DROP DATABASE \"orders_restored\"`"), "{words:?} {comment:?}");
                assert_eq!(service.databases()[NEW], (words, comment));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_known_before_anything_is_asked_for() {
    let (service, shelf) = (Service::new(Watch(tokio::time::Instant::now())), Arc::new(Shelf::default()));
    let look = beside(&service, &shelf, "one");
    let (examined, took) = look.examine(&import(), "orders", Some("orders_before")).await.unwrap();
    assert_eq!((examined.problems.len(), examined.original, examined.connections, took.import), (0, true, 3, None));
    everything(&look).await.unwrap();
    let (examined, took) = look.examine(&import(), "orders", Some("orders_before")).await.unwrap();
    let messages: Vec<&str> = examined.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["there is a database `orders_before` already"]);
    assert_eq!(took.import, Some(SignedDuration::from_mins(1)));

    let stopped = Arc::new(Service { stopped: true, ..Service::plain(service.clock) });
    let (examined, _) = beside(&stopped, &shelf, "one").examine(&import(), "orders", None).await.unwrap();
    assert!(examined.problems[0].message.ends_with("is stopped"));
    assert!(examined.problems[0].remedy.contains("--activation-policy ALWAYS"));
}
