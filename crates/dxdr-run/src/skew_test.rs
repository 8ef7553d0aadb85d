//! The skew that a point tells, held against counters: an application counts, and writes each number into the database and onto the volumes at the same moment. What the
//! numbers in two parts of a point differ by was counted between them.

use std::{
    cell::Cell,
    sync::atomic::{AtomicI64, Ordering},
};

use dxdr_catalog::{Component, Engine, RecoveryPoint, ResourcesComponent, SourceCluster, Trigger};
use dxdr_environment::EnvironmentName;
use dxdr_format::{manifest, velero::csi_snapshot::CsiSnapshot};
use jiff::SignedDuration;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

use super::*;
use crate::{
    database::Dumped,
    snapshot::{self, Taken, Volumes},
};

const SECOND: i64 = 1_000_000_000;
/// When a timeline begins, by a clock that is right.
const BEGINNING: i64 = 1_714_557_600 * SECOND;

fn at(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond((BEGINNING + nanoseconds).into()).unwrap()
}

/// A process's clock, which is wrong by `off`.
#[derive(Debug)]
struct Watch {
    time: Arc<AtomicI64>,
    off: i64,
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        at(self.time.load(Ordering::SeqCst) + self.off)
    }
}

#[derive(Debug, Clone)]
struct Timeline {
    /// How long each thing takes, in the order in which they happen.
    pauses: Vec<i64>,
    /// Which databases are held before the snapshots, behind them, and behind everything; how many are exported.
    held: [usize; 3],
    exported: usize,
    volumes: usize,
    /// What the clocks of the storage, the database and the service are wrong by.
    off: [i64; 3],
    /// What the storage leaves away of an instant.
    told: i64,
    /// Before which pause the first process dies, and what the second one's clock is off by from the first one's.
    dies: usize,
    second: i64,
    /// Between two numbers.
    counted: Vec<i64>,
}

fn timelines() -> impl Strategy<Value = Timeline> {
    let pause = prop_oneof![Just(0), 0..SECOND / 100, 0..3 * SECOND, 0..600 * SECOND];
    let hour = -3_600 * SECOND..3_600 * SECOND;
    let skew = i64::try_from(CLOCK_SKEW.as_nanos()).unwrap();
    (
        proptest::collection::vec(pause, 40),
        [0..2usize, 0..2, 0..2],
        0..2usize,
        1..4usize,
        [hour.clone(), hour.clone(), hour],
        prop_oneof![Just(SECOND), Just(SECOND / 1000), Just(1)],
        0..60usize,
        -skew..=skew,
        proptest::collection::vec(prop_oneof![0..SECOND / 10, 0..5 * SECOND, 0..60 * SECOND], 1..200),
    )
        .prop_map(|(pauses, held, exported, volumes, off, told, dies, second, counted)| Timeline {
            pauses,
            held,
            exported,
            volumes,
            off,
            told,
            dies,
            second,
            counted,
        })
}

/// The run of a timeline, as it goes on.
struct Run<'a> {
    timeline: &'a Timeline,
    time: Arc<AtomicI64>,
    witness: Witness,
    /// Pauses that are over.
    passed: usize,
    /// When each part that the counters are in was captured, really.
    captured: Vec<i64>,
}

impl<'a> Run<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let time = Arc::new(AtomicI64::new(0));
        let clock: Arc<dyn Clock> = Arc::new(Watch { time: Arc::clone(&time), off: 0 });
        let witness = Witness::new(&clock, clock.now(), false);
        Self { timeline, time, witness, passed: 0, captured: Vec::new() }
    }

    /// Something happens, and takes its time. The process may die before it: then another one goes on.
    fn pass(&mut self) {
        if self.passed == self.timeline.dies {
            let clock: Arc<dyn Clock> = Arc::new(Watch { time: Arc::clone(&self.time), off: self.timeline.second });
            self.witness = Witness::new(&clock, at(0), true);
        }
        self.time.fetch_add(self.timeline.pauses.get(self.passed).copied().unwrap_or_default(), Ordering::SeqCst);
        self.passed += 1;
    }

    fn died_by_now(&self) -> bool {
        self.passed > self.timeline.dies
    }

    /// Something is captured now. What a clock tells that is wrong by `off` and leaves `unit` away.
    fn capture(&mut self, off: i64, unit: i64) -> Timestamp {
        let now = self.time.load(Ordering::SeqCst);
        self.captured.push(now);
        at((now + off).div_euclid(unit) * unit)
    }

    /// Databases are held. What a process holds is lost with it: another one holds anew.
    fn hold(&mut self, count: usize, dumps: &mut Vec<serde_json::Value>) {
        for _ in 0..count {
            let mut since = self.witness.now();
            let dead = self.died_by_now();
            self.pass();
            if self.died_by_now() != dead {
                since = self.witness.now();
            }
            let instant = self.capture(self.timeline.off[1], 1_000);
            let dead = self.died_by_now();
            self.pass();
            if self.died_by_now() != dead {
                // The next one holds it again, at once.
                self.captured.pop();
                since = self.witness.now();
                self.capture(0, 1);
            }
            let between = self.witness.saw(since, self.witness.now());
            dumps.push(dump(dumps.len(), instant, between, None));
        }
    }

    fn snapshots(&mut self) -> Taken {
        let started = self.witness.now();
        let (mut started, mut snapshots) = (started, Vec::new());
        for number in 0..self.timeline.volumes {
            let dead = self.died_by_now();
            self.pass();
            if self.died_by_now() != dead {
                // It takes over what was asked for.
                started = self.witness.now();
            }
            let taken = self.capture(self.timeline.off[0], self.timeline.told);
            snapshots.push(snapshot(number, taken));
        }
        let dead = self.died_by_now();
        self.pass();
        if self.died_by_now() != dead {
            started = self.witness.now();
        }
        let completed = self.witness.now();
        let between = Some(self.witness.saw_for_the_run(started, completed));
        Taken { started, completed, snapshots, failed: Vec::new(), groups: Vec::new(), between }
    }

    fn resources(&mut self) -> Component {
        let mut first = self.witness.now();
        let dead = self.died_by_now();
        self.pass();
        if self.died_by_now() != dead {
            first = self.witness.now();
        }
        let last = self.witness.now();
        let between = interval(Some(self.witness.saw(first, last)));
        Component::Resources(ResourcesComponent { instant: last, between, items: 1, bytes: 1, kinds: Vec::new() })
    }

    fn exports(&mut self, dumps: &mut Vec<serde_json::Value>) {
        for _ in 0..self.timeline.exported {
            let mut since = self.witness.now();
            let begun = at((self.time.load(Ordering::SeqCst) + self.timeline.off[2]).div_euclid(1_000_000) * 1_000_000);
            for looks in [true, false] {
                let dead = self.died_by_now();
                self.pass();
                if self.died_by_now() != dead {
                    since = self.witness.now();
                }
                if looks {
                    self.capture(0, 1);
                }
            }
            let between = self.witness.saw_for_the_run(since, self.witness.now());
            dumps.push(dump(dumps.len(), begun, between, Some("gs://b/o")));
        }
    }
}

/// As the journal has it.
fn dump(number: usize, instant: Timestamp, between: Between, url: Option<&str>) -> serde_json::Value {
    let sha256 = "00".repeat(32);
    json!({
        "name": format!("database-{number}"), "key": "k", "instant": instant, "between": between, "size": 1, "sha256": sha256,
        "consistency": "independent", "url": url,
    })
}

fn snapshot(number: usize, taken: Timestamp) -> CsiSnapshot {
    CsiSnapshot {
        namespace: "staging".to_owned(),
        claim: format!("data-{number}"),
        volume: String::new(),
        driver: String::new(),
        class: String::new(),
        name: String::new(),
        uid: String::new(),
        content: String::new(),
        content_uid: String::new(),
        handle: "snap".to_owned(),
        taken,
        size: None,
        volume_mode: None,
        group: None,
    }
}

/// The point of a timeline, as it is written and read, and when its parts with counters were captured.
fn point(timeline: &Timeline) -> (RecoveryPoint, Vec<i64>) {
    let mut run = Run::new(timeline);
    let mut dumps = Vec::new();
    run.pass();
    run.hold(timeline.held[0], &mut dumps);
    let taken = run.snapshots();
    run.hold(timeline.held[1], &mut dumps);
    run.hold(timeline.held[2], &mut dumps);
    let resources = run.resources();
    run.exports(&mut dumps);
    // Through the journal, where the next process finds it.
    let taken: Taken = snapshot::from_evidence(&snapshot::to_evidence(&taken).unwrap()).unwrap();
    let dumped: Dumped = serde_json::from_value(json!({"dumps": dumps, "failed": []})).unwrap();
    let volumes = Volumes { taken: Some(taken), ..Volumes::default() };
    let point = RecoveryPoint {
        name: "point".to_owned(),
        environment: EnvironmentName::parse("staging").unwrap(),
        namespaces: Vec::new(),
        engine: Engine::Native,
        policy: None,
        trigger: Trigger::Requested,
        run: "run".to_owned(),
        started: at(0),
        instant: run.witness.now(),
        expires: None,
        cluster: SourceCluster::default(),
        environment_digest: None,
        components: [vec![resources], volumes.components(), dumped.components().collect()].concat(),
        objects: Vec::new(),
        gaps: Vec::new(),
    };
    (manifest::decode(&manifest::encode(&point)).unwrap(), run.captured)
}

/// How long was counted between what two parts have, at least: from the first number that one lacks to the last that the other has.
fn measured(counted: &[i64], captured: &[i64]) -> i64 {
    let mut instants: Vec<i64> = counted.to_vec();
    (1..instants.len()).for_each(|place| instants[place] += instants[place - 1]);
    let numbers = captured.iter().map(|captured| instants.partition_point(|instant| instant <= captured));
    let (lowest, highest) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
    if highest > lowest { instants[highest - 1] - instants[lowest] } else { 0 }
}

#[test]
fn the_skew_that_is_told_is_never_smaller_than_the_one_that_counters_measure() {
    let (seen_more, seen_anything) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let result = runner.run(&timelines(), |timeline| {
        let (point, captured) = point(&timeline);
        let told = point.skew();
        let counters = SignedDuration::from_nanos(measured(&timeline.counted, &captured));
        prop_assert!(told >= counters, "{told:#} is told, and {counters:#} was counted");
        let really = captured.iter().max().unwrap() - captured.iter().min().unwrap();
        prop_assert!(told >= SignedDuration::from_nanos(really));
        // What the clocks of storage and database say is no measure.
        let instants = dxdr_catalog::coverage::components(&point).into_iter().map(|(_, instant)| instant);
        let compared = instants.clone().max().unwrap().duration_since(instants.min().unwrap());
        seen_more.set(seen_more.get() + u32::from(counters > compared));
        seen_anything.set(seen_anything.get() + u32::from(counters > SignedDuration::ZERO));
        Ok(())
    });
    result.unwrap();
    assert!(seen_more.get() > 0, "nothing is tried here: comparing clocks would do");
    assert!(seen_anything.get() > 500, "the counters measured something in {} timelines only", seen_anything.get());
}

#[test]
fn a_process_that_took_everything_itself_tells_no_more_than_what_it_saw() {
    let time = Arc::new(AtomicI64::new(0));
    let clock: Arc<dyn Clock> = Arc::new(Watch { time, off: 0 });
    let (own, later) = (Witness::new(&clock, at(-5), false), Witness::new(&clock, at(-60 * SECOND), true));
    assert_eq!(own.saw_for_the_run(at(1), at(3)), (at(1), at(3)));
    assert_eq!(later.saw(at(0), at(0)), (at(-15 * SECOND), at(15 * SECOND)));
    assert_eq!(later.saw_for_the_run(at(0), at(0)), (at(-60 * SECOND), at(15 * SECOND)));
}
