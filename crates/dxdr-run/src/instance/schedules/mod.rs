//! Random schedules against the emulated service: two processes of one run that know nothing of each other, another run, two that back the instance up, a
//! restore in place, and strangers, on one instance. Processes die and are stopped anywhere, and start again without memory; their calls to the service, the ledger and
//! the bucket are late, lost, or lose their answers; operations wait, take long, fail; their clocks differ. Time is tokio's, and passes by itself.
//!
//! A schedule follows from its seed alone. `DXDR_TEST_SCHEDULES` says how many are played, `DXDR_TEST_SCHEDULE` which one alone.

mod dice;
mod network;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dxdr_database_emulator::{Emulator, Failing, Identity, Instance, Objects, Options, Service, Storage};
use dxdr_environment::InstanceName;
use dxdr_format::{hashing::sha256, layout::StoreLayout};
use dxdr_plan::instance::{Priority, label};
use dxdr_provider::{Clock, Instances, database::Swap};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Beside, BesideOrder, ExportOrder, Exported, Import, InstanceBackupOrder, InstanceTurns, LedgerLease, attempted, back_up,
    emulated::{Emulated, Place, items},
    export,
    mortal::Watch,
};
use crate::{RunError, StopRequest, active::chain, event::Silent, lease::tests::Shelf, store::Store};
use dice::Dice;
use network::{Line, Reached, ReachedBucket, ReachedCluster};

/// Played in every suite; the rest is played with the tests that take long.
const SCHEDULES: u64 = 300;
/// Over sockets, through the real adapter.
const SCHEDULES_OVER_HTTP: u64 = 20;
/// In so many everything happens at least once that may.
const TELLING: u64 = 200;
/// What the clocks of two processes differ by at most is twice this, in seconds.
const SKEW: i64 = 7;
/// When everything is calm, so many starts are enough for everybody.
const CALM_STARTS: u32 = 5;

const PROJECT: &str = "p";
const SHARED: &str = "shared";
/// What a backup of the restored database looked like.
const SEED: &str = "gs://bucket/seed/stock.sql";
const BESIDE: &str = "stock_restored";
const KEPT: &str = "stock_before";
const RESTORE: &str = "restore-1";

/// What one run wants.
#[derive(Debug)]
enum Run {
    Export(ExportOrder),
    /// With the names of the backups that its processes know.
    Backup(InstanceBackupOrder, Mutex<Vec<String>>),
    Restore(Journal),
}

/// What a restore knows of itself after it died.
#[derive(Debug, Default)]
struct Journal {
    imported: AtomicBool,
    handed_over: AtomicBool,
    /// Whether nobody tries again when the import fails.
    in_a_hurry: bool,
    /// The import failed, so what was made is dropped.
    given_up: AtomicBool,
}

impl Run {
    fn export(run: &str, environment: &str, database: &str, priority: Priority, timeout: Duration) -> Self {
        Self::Export(ExportOrder {
            run: run.to_owned(),
            environment: environment.to_owned(),
            unit: database.to_owned(),
            database: database.to_owned(),
            key: format!("{run}/{database}.sql"),
            offload: true,
            timeout: timeout.try_into().unwrap(),
            priority,
        })
    }

    async fn work(&self, turns: InstanceTurns, store: Store) -> Result<Option<Exported>, RunError> {
        let journal = match self {
            Self::Export(order) => return export(&turns, &store, order).await.map(Some),
            Self::Backup(order, made) => {
                let backed_up = back_up(&turns, order).await?;
                made.lock().unwrap().push(backed_up.name);
                return Ok(None);
            }
            Self::Restore(journal) => journal,
        };
        let order =
            BesideOrder { run: RESTORE.to_owned(), environment: "stock".to_owned(), timeout: SignedDuration::from_mins(30) };
        let beside = Beside { turns, order };
        if !journal.imported.load(Ordering::SeqCst) && !journal.given_up.load(Ordering::SeqCst) {
            let import = Import { unit: "stock".to_owned(), database: BESIDE.to_owned(), uri: SEED.to_owned() };
            match beside.import(&import).await {
                Ok(()) => journal.imported.store(true, Ordering::SeqCst),
                Err(RunError::InstanceOperation { what, .. }) if journal.in_a_hurry && what.starts_with("import") => {
                    journal.given_up.store(true, Ordering::SeqCst);
                }
                Err(error) => return Err(error),
            }
        }
        if journal.given_up.load(Ordering::SeqCst) {
            beside.discard(BESIDE).await?;
            return Ok(None);
        }
        if !journal.handed_over.load(Ordering::SeqCst) {
            beside.hand_over("stock", BESIDE).await?;
            journal.handed_over.store(true, Ordering::SeqCst);
        }
        beside.swap(&swap()).await?;
        Ok(None)
    }
}

fn swap() -> Swap {
    Swap { name: "stock".to_owned(), from: BESIDE.to_owned(), kept: KEPT.to_owned(), run: RESTORE.to_owned() }
}

/// The clock of one machine.
#[derive(Debug)]
struct Skewed {
    watch: Watch,
    by: SignedDuration,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.watch.now() + self.by
    }
}

/// How much of what was to happen did.
#[derive(Debug, Default)]
struct Tally {
    deaths: AtomicU64,
    stops: AtomicU64,
    /// Requests that were refused because the instance was busy.
    refused: Arc<AtomicU64>,
    reported: AtomicU64,
    second_attempts: AtomicU64,
    swapped: AtomicU64,
    backed_up: AtomicU64,
    given_up: AtomicU64,
    foreign: AtomicU64,
}

impl Tally {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

struct World {
    place: Arc<Place>,
    clock: Watch,
    objects: Objects,
    shelf: Arc<Shelf>,
    /// As which dxdr is known, over whichever way.
    instances: Arc<dyn Instances>,
    stranger: Emulated,
    /// Whether anything goes wrong.
    troubled: Arc<AtomicBool>,
    /// What applications wrote into their databases.
    written: Mutex<BTreeMap<&'static str, Vec<String>>>,
    tally: Arc<Tally>,
}

impl World {
    async fn new(seed: u64, over_http: bool, tally: Arc<Tally>) -> Self {
        let (clock, objects) = (Watch(tokio::time::Instant::now()), Objects::default());
        let identity = |token: &str| Identity {
            token: token.to_owned(),
            email: format!("{token}@example.org"),
            projects: vec![PROJECT.to_owned()],
            lacks: Vec::new(),
        };
        let options = Options {
            clock: Arc::new(move || clock.now()),
            storage: Some(Storage::Memory(objects.clone())),
            identities: vec![identity("dxdr"), identity("stranger")],
            seed,
            ..Options::default()
        };
        let place = Arc::new(match over_http {
            true => Place::BehindHttp(Emulator::start(options).await.unwrap()),
            false => Place::Here(Service::new(options).unwrap()),
        });
        let instances: Arc<dyn Instances> = match &*place {
            Place::Here(_) => Arc::new(Emulated { place: Arc::clone(&place), token: "dxdr" }),
            Place::BehindHttp(emulator) => {
                let credentials = Some(dxdr_cloud_sql::Credentials::Token("dxdr".to_owned()));
                let options = dxdr_cloud_sql::Options { endpoint: Some(emulator.endpoint()), credentials };
                Arc::new(dxdr_cloud_sql::CloudSql::connect(options).await.unwrap())
            }
        };
        place.service().create_instance(PROJECT, SHARED, Instance::default());
        let stranger = Emulated { place: Arc::clone(&place), token: "stranger" };
        let world = Self {
            place,
            clock,
            objects,
            shelf: Arc::new(Shelf::default()),
            instances,
            stranger,
            troubled: Arc::new(AtomicBool::new(true)),
            written: Mutex::default(),
            tally,
        };
        for database in ["orders", "invoices", "stock", "neighbour"] {
            world.place.service().create_database(PROJECT, SHARED, database);
            for _ in 0..3 {
                world.write(database);
            }
        }
        let comment = "COMMENT ON DATABASE \"neighbour\" IS 'not yours'";
        world.stranger.execute(&shared(), "postgres", comment).await.unwrap();
        world.stranger.submit(&shared(), &exporting("stock", SEED)).await.unwrap();
        while world.objects.get(SEED).is_none() {
            tokio::task::yield_now().await;
        }
        world.write("stock");
        world
    }

    /// One more statement, as an application would.
    fn write(&self, database: &'static str) {
        let mut written = self.written.lock().unwrap();
        let history = written.entry(database).or_default();
        let statement = format!("insert into {database} values ({})", history.len());
        assert!(self.place.service().execute(PROJECT, SHARED, database, &statement));
        history.push(statement);
    }

    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::SeqCst)
    }

    fn process(&self, line: &Arc<Line>, name: &str, skew: i64) -> (InstanceTurns, Store) {
        let cluster = Arc::new(ReachedCluster { line: Arc::clone(line), cluster: self.shelf.clone() });
        let turns = InstanceTurns {
            instances: Arc::new(Reached { line: Arc::clone(line), instances: Arc::clone(&self.instances) }),
            instance: shared(),
            lease: LedgerLease::new(cluster, "dxdr-system", &shared()),
            clock: Arc::new(Skewed { watch: self.clock, by: SignedDuration::from_secs(skew) }),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            process: name.to_owned(),
            first_pause: Duration::from_secs(1),
        };
        let storage = Arc::new(ReachedBucket { line: Arc::clone(line), objects: self.objects.clone() });
        (turns, Store { name: "bucket".to_owned(), storage, layout: StoreLayout::new("") })
    }

    /// What others do, and what the service does to everybody.
    async fn weather(self: Arc<Self>, dice: Dice) {
        let service = self.place.service();
        let mut number = 0;
        while self.is_troubled() {
            tokio::time::sleep(dice.seconds(2, 60)).await;
            number += 1;
            match dice.below(10) {
                0 | 1 => {
                    let kind = ["MAINTENANCE", "UPDATE", "BACKUP_VOLUME"][usize::try_from(dice.below(3)).unwrap()];
                    if let Some(name) = service.begin_operation(PROJECT, SHARED, kind, "system") {
                        Tally::count(&self.tally.foreign);
                        let (world, lasts) = (Arc::clone(&self), dice.seconds(1, 240));
                        tokio::spawn(async move {
                            tokio::time::sleep(lasts).await;
                            world.place.service().release(&name);
                        });
                    }
                }
                2 => {
                    let uri = format!("gs://bucket/stranger/{number}.sql");
                    let asked = self.stranger.clone();
                    // It may be refused, or never answered.
                    tokio::spawn(async move { asked.submit(&shared(), &exporting("neighbour", &uri)).await });
                }
                3 => {
                    let body = json!({ "name": format!("stranger_{number}") });
                    let asked = self.stranger.clone();
                    tokio::spawn(async move { asked.ask("POST", PROJECT, "instances/shared/databases", body).await });
                }
                4 => ["orders", "invoices", "neighbour"].into_iter().for_each(|database| self.write(database)),
                5 => self.release(|_| dice.once_in(2)),
                6 => {
                    let request =
                        ["operations", "executeSql", "databases", "export", "backups"][usize::try_from(dice.below(5)).unwrap()];
                    let unavailable = |status: u16| (status, "backendError".to_owned());
                    service.faults().next(
                        request,
                        match dice.below(3) {
                            0 => Failing::Refused(unavailable(503).0, unavailable(503).1),
                            1 => Failing::RefusedAfter(unavailable(500).0, unavailable(500).1),
                            _ => Failing::Silent,
                        },
                    );
                }
                _ => {
                    let request =
                        ["export", "export", "import", "databases", "backupRuns"][usize::try_from(dice.below(5)).unwrap()];
                    service.faults().next(request, failing(&dice));
                }
            }
        }
    }

    /// Lets operations end that were held.
    fn release(&self, which: impl Fn(&str) -> bool) {
        let service = self.place.service();
        for kind in ["EXPORT", "IMPORT", "CREATE_DATABASE", "DELETE_DATABASE", "MAINTENANCE", "UPDATE", "BACKUP_VOLUME"] {
            for name in service.operations_of(kind).into_iter().filter(|name| which(name)) {
                service.release(&name);
            }
        }
    }

    /// Processes of a run, one after the other, until one has done what it wants.
    async fn live(self: Arc<Self>, run: Arc<Run>, slot: &'static str, dice: Dice, skew: i64) -> Result<Option<Exported>, String> {
        let (mut starts, mut calm_starts) = (0, 0);
        loop {
            starts += 1;
            calm_starts += u32::from(!self.is_troubled());
            let real = matches!(&*self.place, Place::BehindHttp(_));
            let line = Line::new(dice.split(), Arc::clone(&self.troubled), Arc::clone(&self.tally.refused), real);
            let line = Arc::new(line);
            let (turns, store) = self.process(&line, &format!("{slot}/{starts}"), skew);
            let (stop, ends) = (turns.stop.clone(), self.is_troubled() && dice.once_in(3));
            let killed = async {
                if ends {
                    tokio::time::sleep(dice.seconds(1, 400)).await;
                    if dice.once_in(2) {
                        return;
                    }
                    Tally::count(&self.tally.stops);
                    stop.ask();
                }
                std::future::pending().await
            };
            let ended = tokio::select! {
                biased;
                done = run.work(turns, store) => Some(done),
                () = line.death() => None,
                () = killed => None,
            };
            match ended {
                Some(Ok(exported)) => return Ok(exported),
                Some(Err(error)) if calm_starts >= CALM_STARTS => {
                    return Err(format!("{slot} comes to no end: {}", chain(&error)));
                }
                Some(Err(_)) => Tally::count(&self.tally.reported),
                None => Tally::count(&self.tally.deaths),
            }
            tokio::time::sleep(dice.seconds(1, 200)).await;
        }
    }

    /// The statements of a text that the service exported.
    fn exported(&self, uri: &str) -> Result<Vec<String>, String> {
        let (bytes, _) = self.objects.get(uri).ok_or_else(|| format!("{uri} is lost"))?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Ok(text.lines().filter(|line| line.starts_with("insert ")).map(str::to_owned).collect())
    }

    /// An export is in the bucket once, whole, and whoever wanted it knows it.
    fn check_export(&self, order: &ExportOrder, found: &[&Exported]) -> Result<(), String> {
        let run = &order.run;
        let Some(first) = found.first() else { return Err(format!("{run} has no export")) };
        if found.iter().any(|other| (&other.url, other.attempt) != (&first.url, first.attempt)) {
            return Err(format!("the processes of {run} know different exports: {found:?}"));
        }
        if first.attempt > 1 {
            Tally::count(&self.tally.second_attempts);
        }
        let prefix = format!("gs://bucket/{run}/");
        let written: Vec<String> = self.objects.uris().into_iter().filter(|uri| uri.starts_with(&prefix)).collect();
        let wanted = format!("gs://bucket/{}", attempted(&order.key, first.attempt));
        if written != [wanted.clone()] || first.url != wanted {
            return Err(format!("{run} says {}, and wrote {written:?}", first.url));
        }
        let (bytes, _) = self.objects.get(&wanted).ok_or("it is gone")?;
        if (bytes.len() as u64, sha256(&bytes)) != (first.size, first.sha256) {
            return Err(format!("{run} does not know what it wrote"));
        }
        let (statements, written) = (self.exported(&wanted)?, self.written.lock().unwrap()[order.database.as_str()].clone());
        if statements.len() < 3 || !written.starts_with(&statements) {
            return Err(format!("the export of {} is no state of it: {statements:?}", order.database));
        }
        Ok(())
    }

    /// There is one backup of a run, made once, and all of its processes know that one. Each attempt that failed has a description of its own.
    async fn check_backup(&self, order: &InstanceBackupOrder, made: &[String]) -> Result<(), String> {
        let listed = self.stranger.backups(&shared()).await.map_err(|error| error.to_string())?;
        let ours: Vec<_> =
            listed.iter().filter(|backup| label::run_of_backup(&backup.description) == Some(order.run.as_str())).collect();
        let whole: Vec<&str> = ours.iter().filter(|backup| backup.whole).map(|backup| backup.name.as_str()).collect();
        let [backup] = whole.as_slice() else { return Err(format!("{} has the backups {ours:?}", order.run)) };
        if made.is_empty() || made.iter().any(|name| name != backup) {
            return Err(format!("the processes of {} know {made:?}, and {backup} is there", order.run));
        }
        let mut descriptions: Vec<&str> = ours.iter().map(|backup| backup.description.as_str()).collect();
        descriptions.sort_unstable();
        if let Some(twice) = descriptions.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("a backup was submitted twice: {twice:?}"));
        }
        Tally::count(&self.tally.backed_up);
        Ok(())
    }

    /// Nothing was asked for twice: no export to one object, no import into one database; and no more databases were made and removed than it takes.
    async fn check_operations(&self) -> Result<(), String> {
        let list = self.stranger.ask("GET", PROJECT, "operations?instance=shared&maxResults=10000", json!({})).await;
        let list = list.map_err(|error| error.to_string())?;
        let ours: Vec<&Value> = items(&list).filter(|operation| operation["user"] == "dxdr@example.org").collect();
        let of = |kind: &str| ours.iter().filter(|operation| operation["operationType"] == kind).collect::<Vec<_>>();
        let well = |kind: &str| of(kind).iter().filter(|operation| operation["error"].is_null()).count();
        for (kind, context, what) in [("EXPORT", "exportContext", "uri"), ("IMPORT", "importContext", "database")] {
            let mut names: Vec<&str> = of(kind).iter().filter_map(|operation| operation[context][what].as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("{kind} was submitted twice: {twice:?}"));
            }
        }
        let failed_imports = of("IMPORT").len() - well("IMPORT");
        if well("IMPORT") > 1 || well("CREATE_DATABASE") > 1 + failed_imports || well("DELETE_DATABASE") > failed_imports {
            return Err(format!("more was done than it takes: {ours:#?}"));
        }
        Ok(())
    }

    /// The databases of others are as others left them, and that of the restore is what it says.
    fn check_databases(&self, restore: Option<&Journal>) -> Result<(), String> {
        let service = self.place.service();
        let written = self.written.lock().unwrap().clone();
        let statements = |database: &str| service.statements(PROJECT, SHARED, database);
        let mut expected: BTreeMap<&str, (Vec<String>, Option<String>)> =
            written.iter().map(|(database, statements)| (*database, (statements.clone(), None))).collect();
        expected.insert("postgres", (Vec::new(), None));
        expected.get_mut("neighbour").unwrap().1 = Some("not yours".to_owned());
        if restore.is_some_and(|journal| journal.imported.load(Ordering::SeqCst)) {
            let (before, _) = expected.insert("stock", (self.exported(SEED)?, None)).unwrap();
            expected.insert(KEPT, (before, Some(format!("dxdr run {RESTORE}"))));
            Tally::count(&self.tally.swapped);
        } else if restore.is_some() {
            Tally::count(&self.tally.given_up);
        }
        for (database, (content, comment)) in &expected {
            let found = (statements(database), service.comment(PROJECT, SHARED, database));
            if found != (Some(content.clone()), comment.clone()) {
                return Err(format!("{database} is {found:?}, not {content:?} with {comment:?}"));
            }
        }
        let names = service.database_names(PROJECT, SHARED);
        match names.iter().find(|name| !expected.contains_key(name.as_str()) && !name.starts_with("stranger_")) {
            Some(name) => Err(format!("{name} is left over")),
            None => Ok(()),
        }
    }
}

fn shared() -> InstanceName {
    InstanceName::new(PROJECT, SHARED)
}

fn exporting(database: &str, uri: &str) -> super::InstanceRequest {
    super::InstanceRequest::Export { database: database.to_owned(), uri: uri.to_owned(), offload: true }
}

/// What happens to one of the next requests, or to its operation.
fn failing(dice: &Dice) -> Failing {
    let refused = |status, reason: &str| Failing::Refused(status, reason.to_owned());
    match dice.below(12) {
        0..=4 => Failing::Slow(dice.seconds(5, 200)),
        5 => Failing::Held,
        6 | 7 => Failing::Fails("ERROR_RDBMS".to_owned(), "ERROR: asked to fail".to_owned()),
        8 => refused(409, "operationInProgress"),
        9 => refused(403, "operationInProgress"),
        10 => refused(403, "notAuthorized"),
        _ => refused(429, "rateLimitExceeded"),
    }
}

/// Plays one schedule to its end; an error is what must not be.
async fn play(seed: u64, over_http: bool, tally: Arc<Tally>) -> Result<(), String> {
    let dice = Dice::new(seed);
    let world = Arc::new(World::new(seed, over_http, tally).await);
    let timeout = |dice: &Dice| dice.seconds(600, 3_600);
    let backup = Arc::new(Run::export("backup-1", "orders", "orders", Priority::Backup, timeout(&dice)));
    let other = Arc::new(Run::export("backup-2", "invoices", "invoices", Priority::Backup, timeout(&dice)));
    let restore = Arc::new(Run::Restore(Journal { in_a_hurry: dice.once_in(2), ..Journal::default() }));
    let order = InstanceBackupOrder {
        run: "backup-3".to_owned(),
        environment: "all".to_owned(),
        timeout: timeout(&dice).try_into().unwrap(),
    };
    let whole = Arc::new(Run::Backup(order, Mutex::default()));
    // Slow from the beginning, so that there is something to wait for.
    for request in ["export", "import", "databases", "backupRuns"] {
        for _ in 0..dice.below(3) {
            world.place.service().faults().next(request, failing(&dice));
        }
    }
    let mut processes = Vec::new();
    let mut begin = |run: &Arc<Run>, slot, skew| {
        processes.push((Arc::clone(run), tokio::spawn(Arc::clone(&world).live(Arc::clone(run), slot, dice.split(), skew))));
    };
    begin(&backup, "one", SKEW);
    begin(&backup, "two", -SKEW);
    // Two or three runs at once.
    let kind = dice.below(3);
    if kind != 0 {
        begin(&restore, "restore", 0);
    }
    if kind != 1 {
        begin(&other, "three", 0);
    }
    let backs_up = dice.once_in(2);
    if backs_up {
        begin(&whole, "four", SKEW);
        begin(&whole, "five", 0);
    }
    let weather = tokio::spawn(Arc::clone(&world).weather(dice.split()));
    tokio::time::sleep(dice.seconds(60, 1_500)).await;

    // From here on nothing goes wrong any more, and everybody gets their turn.
    world.troubled.store(false, Ordering::SeqCst);
    weather.await.unwrap();
    world.place.service().faults().end();
    let mut found: Vec<(Arc<Run>, Option<Exported>)> = Vec::new();
    for (run, mut process) in processes {
        let ended = loop {
            // What began to be held before is let go.
            world.release(|_| true);
            match tokio::time::timeout(Duration::from_secs(10), &mut process).await {
                Ok(ended) => break ended.map_err(|error| error.to_string())?,
                Err(_) if world.clock.0.elapsed() > Duration::from_secs(12 * 3_600) => return Err(format!("no end of {run:?}")),
                Err(_) => {}
            }
        };
        found.push((run, ended?));
    }
    // Whatever is still on its way arrives.
    tokio::time::sleep(Duration::from_secs(300)).await;

    for run in [&backup, &other] {
        let Run::Export(order) = &**run else { continue };
        let of_run: Vec<&Exported> =
            found.iter().filter(|(other, _)| Arc::ptr_eq(other, run)).filter_map(|(_, exported)| exported.as_ref()).collect();
        if Arc::ptr_eq(run, &backup) || kind != 1 {
            world.check_export(order, &of_run)?;
        }
    }
    if let (Run::Backup(order, made), true) = (&*whole, backs_up) {
        let made = made.lock().unwrap().clone();
        world.check_backup(order, &made).await?;
    }
    world.check_operations().await?;
    let journal = match &*restore {
        Run::Restore(journal) if kind != 0 => Some(journal),
        _ => None,
    };
    world.check_databases(journal)
}

/// Plays schedules on all processors.
fn play_all(seeds: std::ops::Range<u64>, over_http: bool) {
    let alone = std::env::var("DXDR_TEST_SCHEDULE").ok().map(|seed| seed.parse::<u64>().unwrap());
    let seeds = alone.map_or(seeds, |seed| seed..seed + 1);
    let (next, tally) = (AtomicU64::new(seeds.start), Arc::new(Tally::default()));
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || !failures.lock().unwrap().is_empty() {
                        return;
                    }
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
                    let played = runtime.block_on(async {
                        // In a task of its own, so that a panic is told with the seed too.
                        let playing = tokio::spawn(play(seed, over_http, Arc::clone(&tally)));
                        playing.await.unwrap_or_else(|error| Err(error.to_string()))
                    });
                    if let Err(failure) = played {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("schedule {seed} (DXDR_TEST_SCHEDULE={seed} plays it alone): {failure}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if seeds.end - seeds.start >= TELLING {
        let Tally { deaths, stops, refused, reported, second_attempts, swapped, backed_up, given_up, foreign } = &*tally;
        let counters = [deaths, stops, refused, reported, second_attempts, swapped, backed_up, given_up, foreign];
        assert!(counters.iter().all(|counter| counter.load(Ordering::SeqCst) > 0), "something did not happen at all: {tally:?}");
    }
}

#[test]
fn no_export_is_lost_none_is_submitted_twice_and_no_neighbour_is_touched() {
    let schedules = std::env::var("DXDR_TEST_SCHEDULES").map_or(SCHEDULES, |number| number.parse().unwrap());
    play_all(0..schedules, false);
}

#[test]
fn the_same_holds_over_http_through_the_real_adapter() {
    play_all(0..SCHEDULES_OVER_HTTP, true);
}
