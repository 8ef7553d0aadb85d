//! Random schedules: two processes of one run that know nothing of each other, another run, and strangers, on one instance. Processes stall
//! (they are not scheduled), die and start again without memory; writes of the ledger and requests lose their answers, requests arrive
//! late or never; clocks differ.

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

const START: i64 = 1_714_557_600;
/// Half of what two clocks may differ.
const SKEW: i64 = 7;

/// The service: one operation at a time, whatever anybody believes.
#[derive(Default)]
struct Service {
    operations: Vec<Operation>,
    objects: Vec<String>,
    /// Refuses everything, and shows nothing that is in the way.
    refuses: bool,
}

fn failed(message: &str) -> OperationStatus {
    OperationStatus::Failed(Box::new(Fault { message: message.to_owned(), hint: None, refused_by_bucket: false }))
}

impl Service {
    fn running(&self) -> Option<usize> {
        self.operations.iter().position(Operation::is_running)
    }

    fn submit(&mut self, work: &Work, user: &str, now: Timestamp) -> Option<String> {
        if self.refuses || self.running().is_some() {
            return None;
        }
        let name = format!("operation-{}", self.operations.len());
        let (user, work) = (user.to_owned(), work.clone());
        let (accepted, started) = (Some(now), Some(now));
        let status = OperationStatus::Running;
        self.operations.push(Operation { name: name.clone(), work, status, user, accepted, started, ended: None });
        Some(name)
    }

    fn end(&mut self, well: bool, now: Timestamp) {
        let Some(running) = self.running() else { return };
        let operation = &mut self.operations[running];
        operation.ended = Some(now);
        operation.status = failed("ERROR: asked to fail");
        if let Work::Export { uri, .. } = &operation.work {
            if self.objects.contains(uri) {
                operation.status = failed("ERROR: the object exists");
            } else if well {
                operation.status = OperationStatus::Succeeded;
                self.objects.push(uri.clone());
            }
        }
    }

    fn of(&self, job: &Job) -> Vec<&Operation> {
        self.operations.iter().filter(|operation| operation.work.is_same(&job.work)).collect()
    }
}

/// What an actor does when it is scheduled next. Between any two of these anything may happen.
enum Doing {
    Read,
    Decide,
    Write(Ledger),
    Look,
    Send { until: Timestamp },
    SendBack { token: u64 },
    Pause { until: Timestamp },
    Settle(Conclusion),
    Over(Option<Conclusion>),
}

struct Actor {
    job: Job,
    skew: i64,
    starts: u32,
    process: Process,
    read: Rc<(u64, Ledger)>,
    observed: Option<Observation>,
    doing: Doing,
}

impl Actor {
    fn new(name: &str, job: Job, skew: i64) -> Self {
        let process = Process::new(format!("{name}/0"));
        Self { job, skew, starts: 0, process, read: Rc::default(), observed: None, doing: Doing::Read }
    }

    /// Dies, and starts again without knowing anything.
    fn die(&mut self) {
        if matches!(self.doing, Doing::Over(_)) {
            return;
        }
        self.starts += 1;
        let (machine, _) = self.process.name.split_once('/').unwrap();
        self.process = Process::new(format!("{machine}/{}", self.starts));
        self.observed = None;
        self.doing = Doing::Read;
    }
}

/// A request on its way.
struct Request {
    work: Work,
    arrives_before: i64,
}

struct World {
    now: i64,
    ledger: Rc<(u64, Ledger)>,
    service: Service,
    requests: Vec<Request>,
    actors: Vec<Actor>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn new(patience: i64) -> Self {
        let job = |name: &str, environment: &str, priority, patience| Job {
            id: name.to_owned(),
            run: format!("run-of-{name}"),
            environment: environment.to_owned(),
            priority,
            work: Work::Export { uri: format!("gs://bucket/{name}.sql.gz"), offloaded: true },
            deadline: at(START + patience),
        };
        let staging = job("staging", "staging", Priority::Backup, 100_000);
        let other = job("dev", "dev", Priority::RepeatedExport, patience);
        let actors =
            vec![Actor::new("one", staging.clone(), SKEW), Actor::new("two", staging, -SKEW), Actor::new("three", other, 0)];
        Self { now: START, ledger: Rc::default(), service: Service::default(), requests: Vec::new(), actors }
    }

    /// Lets time pass; what must have arrived by then has.
    fn pass(&mut self, seconds: i64, late_ones_arrive: bool) {
        self.now += seconds;
        let now = self.now;
        let (late, on_time) =
            std::mem::take(&mut self.requests).into_iter().partition(|request: &Request| request.arrives_before < now);
        self.requests = on_time;
        for request in late {
            if late_ones_arrive {
                self.service.submit(&request.work, "dxdr", at(request.arrives_before));
            }
        }
    }

    fn arrive(&mut self, which: usize) {
        if !self.requests.is_empty() {
            let request = self.requests.swap_remove(which % self.requests.len());
            self.service.submit(&request.work, "dxdr", at(self.now));
        }
    }

    /// One effect of one actor. `luck` decides what the network does.
    fn step(&mut self, which: usize, luck: u8) {
        let actor = &mut self.actors[which];
        let clock = at(self.now + actor.skew);
        let current = Rc::clone(&self.ledger);
        actor.doing = match std::mem::replace(&mut actor.doing, Doing::Read) {
            Doing::Read => {
                actor.read = current;
                Doing::Decide
            }
            Doing::Decide => match next(&actor.job, &actor.process, &actor.read.1, actor.observed.as_ref(), clock) {
                Next::Record(ledger) => Doing::Write(ledger),
                Next::Observe => Doing::Look,
                Next::Submit { until, .. } => Doing::Send { until },
                Next::Wait(_) | Next::Follow(_) | Next::Overdue(_) => {
                    actor.observed = None;
                    Doing::Pause { until: at(self.now + 5) }
                }
                Next::Finished(conclusion) => Doing::Settle(conclusion),
                Next::GiveUp(_) => Doing::Over(None),
            },
            Doing::Write(ledger) => {
                let claim = (ledger.last_token > actor.read.1.last_token).then_some(ledger.last_token);
                if current.0 == actor.read.0 {
                    self.ledger = Rc::new((current.0 + 1, ledger));
                    if luck != 0 && claim.is_some() {
                        actor.process.unsent = claim;
                    }
                }
                Doing::Read
            }
            Doing::Look => {
                let operations = self.service.operations.clone();
                let asked_for = match actor.read.1.entry(&actor.job.id).map(|entry| &entry.progress) {
                    Some(Progress::Accepted { operation }) => Some(operation.clone()),
                    _ => None,
                };
                let made = matches!(&actor.job.work, Work::Export { uri, .. } if self.service.objects.contains(uri));
                actor.observed = Some(Observation { at: clock, under: actor.process.unsent, operations, asked_for, made });
                actor.process.looked = Some(clock);
                Doing::Read
            }
            Doing::Send { until } => {
                let token = actor.process.unsent.take();
                // The clock is read and the request sent in one go; what may still happen in between, the object's name is for.
                if clock > until {
                    Doing::Read
                } else {
                    let work = actor.job.work.clone();
                    match luck % 8 {
                        0 => {}
                        1 | 2 => {
                            let arrives_before = self.now + (IN_FLIGHT - CLOCK_SKEW).as_secs();
                            self.requests.push(Request { work, arrives_before });
                        }
                        luck => {
                            let accepted = self.service.submit(&work, "dxdr", at(self.now));
                            // The answer: from 4 on it comes.
                            if let (None, true, Some(token)) = (&accepted, luck >= 4, token) {
                                actor.process.refused = Some("409".to_owned());
                                actor.doing = Doing::SendBack { token };
                                return;
                            }
                        }
                    }
                    actor.observed = None;
                    Doing::Read
                }
            }
            Doing::SendBack { token } => {
                let ours = current.1.entry(&actor.job.id).is_some_and(|entry| {
                    entry.process == actor.process.name
                        && matches!(entry.progress, Progress::Claimed { token: claimed, .. } if claimed == token)
                });
                if ours {
                    self.ledger = Rc::new((current.0 + 1, current.1.sent_back(&actor.job.id)));
                }
                actor.observed = None;
                Doing::Read
            }
            Doing::Pause { until } if at(self.now) < until => Doing::Pause { until },
            Doing::Pause { .. } => Doing::Read,
            Doing::Settle(conclusion) => {
                self.ledger = Rc::new((current.0 + 1, current.1.without(&actor.job.id)));
                Doing::Over(Some(conclusion))
            }
            Doing::Over(conclusion) => Doing::Over(conclusion),
        };
    }

    fn act(&mut self, action: Action) {
        let Action { kind, who, amount } = action;
        let who = usize::from(who) % self.actors.len();
        match kind {
            0..=27 => self.step(who, amount),
            28..=30 => self.pass(i64::from(amount % 8) + 1, amount > 100),
            31 => self.pass(i64::from(amount), amount % 2 == 0),
            32 => self.actors[who].die(),
            33 => drop(self.service.submit(&Work::Other("MAINTENANCE".into()), "", at(self.now))),
            34 => self.service.end(amount > 60, at(self.now)),
            35 => self.service.refuses = amount % 4 == 0,
            _ => self.arrive(usize::from(amount)),
        }
    }

    /// From here on nothing fails, and everybody gets their turn.
    fn calm_down(&mut self) {
        self.service.refuses = false;
        self.come_to_an_end();
    }

    fn come_to_an_end(&mut self) {
        for _ in 0..400 {
            if self.actors.iter().all(|actor| matches!(actor.doing, Doing::Over(_))) {
                return;
            }
            for _ in 0..6 {
                (0..self.actors.len()).for_each(|which| self.step(which, 7));
            }
            self.pass(6, true);
            self.service.end(true, at(self.now));
        }
        panic!("it comes to no end");
    }
}

#[derive(Debug, Clone, Copy)]
struct Action {
    kind: u8,
    who: u8,
    amount: u8,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = (0..37_u8, 0..3_u8, any::<u8>()).prop_map(|(kind, who, amount)| Action { kind, who, amount });
    prop::collection::vec(action, 20..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Each piece of work is accepted once, and its end is what the service says it is; or nobody sent it and everybody knows.
    #[test]
    fn nothing_is_submitted_twice_and_nothing_is_lost(actions in actions(), patience in 0..2_000_i64) {
        let mut world = World::new(patience);
        for action in actions {
            world.act(action);
            for actor in &world.actors {
                prop_assert!(world.service.of(&actor.job).len() <= 1, "{} was submitted twice", actor.job.id);
            }
        }
        world.calm_down();
        for actor in &world.actors {
            let operations = world.service.of(&actor.job);
            match &actor.doing {
                Doing::Over(Some(Conclusion::Succeeded(operation) | Conclusion::Failed(operation))) => {
                    prop_assert_eq!(operations, vec![operation]);
                }
                Doing::Over(Some(Conclusion::Made)) => {
                    prop_assert_eq!(operations.len(), 1);
                    prop_assert_eq!(&operations[0].status, &OperationStatus::Succeeded);
                }
                // Only the other run is in a hurry, and nobody but it carries its work.
                Doing::Over(None) => {
                    prop_assert_eq!(actor.job.id.as_str(), "dev");
                    prop_assert!(operations.is_empty(), "it gave up what was accepted");
                }
                _ => prop_assert!(false, "{} is lost", actor.job.id),
            }
        }
        prop_assert!(world.ledger.1.entries.iter().all(|entry| entry.job.id == "dev"), "something stays in the ledger");
    }
}

fn entry<'a>(ledger: &'a Ledger, job: &str) -> &'a Entry {
    ledger.entry(job).unwrap()
}

#[test]
fn the_more_urgent_one_goes_first_and_who_was_sent_back_keeps_its_place() {
    let world = World::new(1_000);
    let (backup, repeated) = (&world.actors[0].job, &world.actors[2].job);
    let restore = Job { id: "restore".into(), priority: Priority::Restore, ..repeated.clone() };
    let ledger = Ledger::default().enqueued(repeated, "a", at(START)).enqueued(backup, "b", at(START + 1));
    let ledger = ledger.enqueued(&restore, "c", at(START + 2)).claimed("restore", at(START + 3)).sent_back("restore");
    let order: Vec<&str> = ledger.queue(at(START + 4)).iter().map(|entry| entry.job.id.as_str()).collect();
    assert_eq!(order, ["restore", "staging", "dev"]);
    assert_eq!(entry(&ledger, "restore").since, at(START + 2));
    assert!(ledger.queue(at(START + 4) + ALIVE + CLOCK_SKEW).is_empty(), "who is gone keeps nobody waiting");
}

#[test]
fn what_is_refused_for_ever_is_given_up_at_its_deadline_and_keeps_nobody_waiting_longer() {
    let mut world = World::new(600);
    world.service.refuses = true;
    for actor in &mut world.actors {
        actor.job.deadline = at(START + 600);
    }
    world.come_to_an_end();
    assert!(world.actors.iter().all(|actor| matches!(actor.doing, Doing::Over(None))));
    assert!(world.service.operations.is_empty());
    assert!(world.now < START + 1_200, "{}", world.now - START);
}

#[test]
fn what_an_earlier_process_had_done_waits_for_no_turn() {
    let mut world = World::new(1_000);
    let (job, other) = (world.actors[2].job.clone(), world.actors[0].job.clone());
    let ledger = Ledger::default().enqueued(&other, "one/0", at(START)).enqueued(&job, "three/1", at(START + 1));
    let mut process = Process::new("three/1");
    assert_eq!(next(&job, &process, &ledger, None, at(START + 2)), Next::Observe);
    process.looked = Some(at(START + 2));
    let observation = |operations: &[Operation], made| Observation {
        at: at(START + 2),
        under: None,
        operations: operations.to_vec(),
        asked_for: None,
        made,
    };
    let seen = observation(&[], true);
    assert_eq!(next(&job, &process, &ledger, Some(&seen), at(START + 2)), Next::Finished(Conclusion::Made));
    let name = world.service.submit(&job.work, "dxdr", at(START)).unwrap();
    let seen = observation(&world.service.operations, false);
    let adopted = Next::Record(ledger.accepted(&job.id, &name));
    assert_eq!(next(&job, &process, &ledger, Some(&seen), at(START + 2)), adopted);
    // Nothing of it is there: it waits, and looks no more until it is its turn.
    let seen = observation(&[], false);
    assert!(matches!(next(&job, &process, &ledger, Some(&seen), at(START + 2)), Next::Wait(Obstacle::Queue { .. })));
    assert!(matches!(next(&job, &process, &ledger, None, at(START + 3)), Next::Wait(Obstacle::Queue { .. })));
}

#[test]
fn a_deletion_that_failed_before_is_not_the_answer_to_this_one() {
    let mut world = World::new(1_000);
    let job = Job { work: Work::DeleteInstance, ..world.actors[2].job.clone() };
    let ledger = Ledger::default().enqueued(&job, "three/1", at(START + 9));
    let process = Process::new("three/1");
    let seen = |world: &World| Observation {
        at: at(START + 10),
        under: None,
        operations: world.service.operations.clone(),
        asked_for: None,
        made: false,
    };
    world.service.submit(&job.work, "dxdr", at(START)).unwrap();
    let running = next(&job, &process, &ledger, Some(&seen(&world)), at(START + 10));
    assert_eq!(running, Next::Record(ledger.accepted(&job.id, "operation-0")));
    world.service.end(false, at(START + 5));
    let failed = next(&job, &process, &ledger, Some(&seen(&world)), at(START + 10));
    assert_eq!(failed, Next::Record(ledger.claimed(&job.id, at(START + 10))));
}

#[test]
fn who_takes_work_up_waits_as_long_as_it_says_itself() {
    let mut world = World::new(10);
    let mut job = world.actors[2].job.clone();
    let name = world.service.submit(&job.work, "dxdr", at(START)).unwrap();
    let ledger = Ledger::default().enqueued(&job, "three/0", at(START)).accepted("dev", &name).let_go("dev", at(START + 20));
    job.deadline = at(START + 10_000);
    let process = Process::new("three/1");
    let Next::Record(ledger) = next(&job, &process, &ledger, None, at(START + 20)) else { panic!() };
    assert_eq!(entry(&ledger, "dev").job.deadline, job.deadline);
    let operations = world.service.operations.clone();
    let seen = Observation { at: at(START + 21), under: None, operations, asked_for: Some(name), made: false };
    assert!(matches!(next(&job, &process, &ledger, Some(&seen), at(START + 21)), Next::Follow(_)));
}

#[test]
fn an_obstacle_says_whose_what_and_since_when() {
    let mut world = World::new(1_000);
    let job = world.actors[0].job.clone();
    let process = Process::new("one/0");
    world.service.submit(&Work::Other("MAINTENANCE".into()), "system", at(START));
    let observation = |world: &World| Observation {
        at: at(START + 10),
        under: None,
        operations: world.service.operations.clone(),
        asked_for: None,
        made: false,
    };
    let ledger = Ledger::default().enqueued(&job, "one/0", at(START + 5));
    let Next::Wait(obstacle) = next(&job, &process, &ledger, Some(&observation(&world)), at(START + 10)) else { panic!() };
    assert_eq!(obstacle.to_string(), "operation operation-0 runs: MAINTENANCE, for system, since 2024-05-01T10:00:00Z");

    world.service.end(true, at(START));
    let other = world.actors[2].job.clone();
    world.service.submit(&other.work, "dxdr@project", at(START + 1));
    let ledger = ledger.enqueued(&other, "three/0", at(START)).accepted("dev", "operation-1");
    let Next::Wait(obstacle) = next(&job, &process, &ledger, Some(&observation(&world)), at(START + 10)) else { panic!() };
    assert_eq!(
        obstacle.to_string(),
        "operation operation-1 runs: export to gs://bucket/dev.sql.gz, for run run-of-dev of environment `dev`, since 2024-05-01T10:00:01Z"
    );
}

#[test]
fn the_deadline_ends_waiting_but_never_what_was_accepted() {
    let mut world = World::new(10);
    let job = world.actors[2].job.clone();
    let process = Process::new("three/0");
    let other = world.actors[0].job.clone();
    let waiting = Ledger::default().enqueued(&other, "one/0", at(START)).enqueued(&job, "three/0", at(START));
    let late = at(START + 11);
    let process = Process { looked: Some(late), ..process };
    assert!(matches!(next(&job, &process, &waiting, None, late), Next::GiveUp(Obstacle::Queue { .. })));

    let name = world.service.submit(&job.work, "dxdr", at(START)).unwrap();
    let operations = world.service.operations.clone();
    let observation = Observation { at: late, under: None, operations, asked_for: Some(name.clone()), made: false };
    let accepted = waiting.accepted("dev", &name);
    assert!(
        matches!(next(&job, &process, &accepted, Some(&observation), late), Next::Overdue(operation) if operation.name == name)
    );
}

#[test]
fn work_goes_on_beside_an_offloaded_export_unless_it_is_one_or_an_import() {
    let export = |offloaded| Work::Export { uri: "gs://a/b".into(), offloaded };
    let clone = Work::Clone { destination: "c".into() };
    assert!(!clone.waits_for(&export(true)));
    assert!(clone.waits_for(&export(false)));
    assert!(export(true).waits_for(&export(true)));
    assert!(export(true).waits_for(&clone));
}

#[test]
fn what_nobody_comes_back_for_is_forgotten_after_a_week() {
    let world = World::new(10);
    let (one, other) = (&world.actors[0].job, &world.actors[2].job);
    let ledger = Ledger::default().enqueued(one, "one/0", at(START)).accepted("staging", "operation-0");
    let day = SignedDuration::from_hours(24);
    assert!(ledger.enqueued(other, "three/0", at(START) + day * 6).entry("staging").is_some());
    assert!(ledger.enqueued(other, "three/0", at(START) + day * 8).entry("staging").is_none());
    // A place in the queue alone is worth less.
    let waiting = ledger.sent_back("staging");
    assert!(waiting.enqueued(other, "three/0", at(START) + day / 2).entry("staging").is_some());
    assert!(waiting.enqueued(other, "three/0", at(START) + day * 2).entry("staging").is_none());
}
