use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dxdr_environment::{
    DatabaseFacts, DatabaseLocation, DatabaseUnit, PostgresqlServer,
    database::{SecretKeys, TlsMode},
};
use dxdr_plan::backup::{BackupPlan, HookPlan, HookTime};
use dxdr_policy::{Consistency, DatabaseMethod, DatabasePolicy};
use dxdr_provider::database::{self as provider, Examined, Load, Swap};

use super::*;
use crate::{capture, lease};

/// A database that fixes its instant at once, or not before the frozen one is thawed, which is never.
#[derive(Debug)]
struct Sleeper {
    frozen: bool,
    /// How many are being looked at.
    way: Arc<AtomicUsize>,
}

/// The way to databases that are all awake.
#[derive(Debug, Default)]
struct Server {
    way: Arc<AtomicUsize>,
    most: AtomicUsize,
}

#[async_trait]
impl dxdr_provider::Databases for Server {
    async fn open(&self, _: &str, _: &DatabaseUnit) -> Result<Arc<dyn Database>, DatabaseError> {
        let now = self.way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Ok(Arc::new(Sleeper { frozen: false, way: Arc::clone(&self.way) }))
    }
}

#[async_trait]
impl Database for Sleeper {
    fn describe(&self) -> String {
        "sleeper".to_owned()
    }

    async fn inspect(&self) -> Result<DatabaseFacts, DatabaseError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.way.fetch_sub(1, Ordering::SeqCst);
        Ok(DatabaseFacts::default())
    }

    async fn hold(&self, _: &DumpPlace) -> Result<Box<dyn HeldDatabase>, DatabaseError> {
        if self.frozen {
            std::future::pending::<()>().await;
        }
        Ok(Box::new(Instantly(DatabaseFacts::default())))
    }

    async fn examine(&self, _: &Load) -> Result<Examined, DatabaseError> {
        unreachable!("nobody asks")
    }

    async fn load(&self, _: &Load, _: &DumpPlace) -> Result<(), DatabaseError> {
        unreachable!("nobody asks")
    }

    async fn swap(&self, _: &Swap) -> Result<(), DatabaseError> {
        unreachable!("nobody asks")
    }

    async fn swapped(&self, _: &Swap) -> Result<bool, DatabaseError> {
        unreachable!("nobody asks")
    }

    async fn discard(&self, _: &str, _: &str) -> Result<bool, DatabaseError> {
        unreachable!("nobody asks")
    }
}

#[derive(Debug)]
struct Instantly(DatabaseFacts);

#[async_trait]
impl HeldDatabase for Instantly {
    fn instant(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn facts(&self) -> &DatabaseFacts {
        &self.0
    }

    async fn dump(self: Box<Self>) -> Result<provider::Dumped, DatabaseError> {
        unreachable!("nobody asks")
    }
}

/// A plan of `frozen` and `awake`, whose pods hold still in between.
fn plan() -> BackupPlan {
    plan_of(&["frozen", "awake"])
}

fn plan_of(names: &[&str]) -> BackupPlan {
    let unit = |name: &str| DatabaseUnit {
        name: name.to_owned(),
        database: Some(name.to_owned()),
        location: DatabaseLocation::Postgresql(PostgresqlServer {
            service: Some("postgres".to_owned()),
            port: None,
            address: None,
            databases: Vec::new(),
            credentials_secret: None,
            secret_keys: SecretKeys::default(),
            tls: TlsMode::default(),
        }),
    };
    let policy = DatabasePolicy { consistency: Consistency::Quiesced, ..DatabasePolicy::by(DatabaseMethod::Export) };
    let plan = capture::tests::plan(&[capture::tests::kind("", "ConfigMap", true)]);
    let mut plan =
        plan.with_databases(planned_databases(names.iter().map(|name| unit(name)).collect(), Some(policy), None, None));
    plan.hooks.push(HookPlan {
        namespace: "staging".to_owned(),
        pod: "db-0".to_owned(),
        container: "db".to_owned(),
        command: vec!["fsfreeze".to_owned()],
        when: HookTime::Before,
        fatal: true,
        timeout: jiff::SignedDuration::from_secs(30),
        claims: Vec::new(),
    });
    plan
}

fn opened(plan: &BackupPlan) -> Databases<'_> {
    let opened = plan.point_databases().dumps().map(|(database, dump)| {
        let frozen = database.unit.name == "frozen";
        let way: Arc<dyn Database> = Arc::new(Sleeper { frozen, way: Arc::default() });
        Opened { database, dump, way, late: Late::default() }
    });
    Databases { opened: opened.collect(), ..Databases::default() }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_holds_still_itself_keeps_nobody_else_still_for_long() {
    let (context, plan) = (capture::tests::context(Arc::new(lease::tests::Shelf::default())), plan());
    let witness = Witness::new(&context.clock, plan.started, false);
    let mut databases = opened(&plan);
    let began = tokio::time::Instant::now();
    databases.hold(&context, plan.point_databases(), HoldTime::BeforeSnapshots, &witness).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(databases.held.iter().map(|held| held.opened.database.unit.name.as_str()).collect::<Vec<_>>(), ["awake"]);
    let [failed] = &databases.failed[..] else { panic!("{:?}", databases.failed) };
    assert!(failed.what.contains("frozen") && failed.reason.contains("leave that volume out of the freeze"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_for_longer_than_its_dump_may_take_and_it_is_held_again_behind_what_was_waited_for() {
    let (context, plan) = (capture::tests::context(Arc::new(lease::tests::Shelf::default())), plan_of(&["awake"]));
    let witness = Witness::new(&context.clock, plan.started, false);
    let of = plan.point_databases();
    for (waits, late) in [(Duration::from_secs(59 * 60), None), (Duration::from_secs(5 * 3600), Some(Late::LetGo))] {
        let (mut databases, began) = (opened(&plan), tokio::time::Instant::now());
        databases.hold(&context, of, HoldTime::BeforeSnapshots, &witness).await.unwrap();
        let at = async {
            tokio::time::sleep(waits).await;
            began.elapsed()
        };
        assert_eq!(databases.hold_during(&context, at).await, waits, "what is waited for is waited for to its end");
        assert_eq!((databases.held.len(), databases.opened.len()), if late.is_some() { (0, 1) } else { (1, 0) });
        databases.hold(&context, of, HoldTime::Whenever, &witness).await.unwrap();
        let [held] = &databases.held[..] else { panic!("{databases:?}") };
        let expected = late.map_or((HoldTime::BeforeSnapshots, Late::Interrupted), |late| (HoldTime::Whenever, late));
        assert_eq!((held.at, held.opened.late), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_stop_waits_for_no_instant() {
    let (context, plan) = (capture::tests::context(Arc::new(lease::tests::Shelf::default())), plan());
    let witness = Witness::new(&context.clock, plan.started, false);
    let mut databases = opened(&plan);
    let began = tokio::time::Instant::now();
    let (held, ()) =
        futures::join!(databases.hold(&context, plan.point_databases(), HoldTime::BeforeSnapshots, &witness), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            context.stop.ask();
        });
    assert!(matches!(held, Err(RunError::Interrupted)));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_server_is_not_asked_about_all_its_databases_at_once() {
    let server = Arc::new(Server::default());
    let mut context = capture::tests::context(Arc::new(lease::tests::Shelf::default()));
    context.databases = Some(server.clone());
    let names: Vec<String> = (0..20).map(|number| format!("shop-{number:02}")).collect();
    let plan = plan_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let databases = Databases::open(&context, plan.point_databases()).await;
    let opened: Vec<&str> = databases.opened.iter().map(|opened| opened.database.unit.name.as_str()).collect();
    assert_eq!(opened, names);
    let most = server.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
    assert_eq!(plan.point_databases().held_connections(), [("postgres", 20)].into());
}

#[test]
fn a_point_is_of_no_earlier_instant_than_anything_in_an_export() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let dump = OneDump {
        name: "orders".to_owned(),
        key: "databases/orders.dump".to_owned(),
        instant: at("2024-05-01T10:00:00.0001Z"),
        between: Some((at("2024-05-01T09:59:00Z"), at("2024-05-01T10:07:00Z"))),
        size: 1,
        sha256: String::new(),
        consistency: "aligned".to_owned(),
        facts: None,
        url: None,
        broken: None,
    };
    let latest = |dump: &OneDump| Dumped { dumps: vec![dump.clone()], ..Dumped::default() }.latest().unwrap();
    assert_eq!(latest(&dump), at("2024-05-01T10:00:00.001Z"), "the server says when it was");
    let export = OneDump { url: Some("gs://b/orders.sql.gz".to_owned()), ..dump };
    assert_eq!(latest(&export), at("2024-05-01T10:07:00Z"));
}
