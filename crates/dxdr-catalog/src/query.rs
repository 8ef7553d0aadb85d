//! Which recovery point an instant means: the newest at or before it that can be restored, and what was passed over on the way.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::recovery_point::{Entry, Gap};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The recovery target time.
    pub at: Timestamp,
    /// The namespace to bring back.
    pub namespace: &'a str,
    /// Whether a partial point will do.
    pub allow_partial: bool,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The recovery point.
    pub entry: &'a Entry,
    /// Newer ones, at or before the instant as well, newest first, and why each will not do.
    pub passed_over: Vec<(String, PassedOver)>,
    /// From the point to the instant: what changed in between is lost.
    pub data_loss: SignedDuration,
}

/// Why an entry will not do although it is at or before the instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// Its filters leave out the namespace.
    NotCovered {
        /// The namespace.
        namespace: String,
    },
    /// Velero did not bring it to an end that can be restored.
    NotRestorable {
        /// What Velero calls its state.
        phase: String,
    },
    /// It holds no Kubernetes objects.
    NoResources,
    /// It lacks something, and a partial point was not asked for.
    Partial(Partial),
}

/// What makes an entry partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partial {
    /// The manifest names what is missing.
    Gaps(Vec<Gap>),
    /// Velero counted errors; the backup's own log says which.
    VeleroErrors(u64),
}

/// No entry will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWayBack {
    /// The instant asked for.
    pub at: Timestamp,
    /// The namespace asked for.
    pub namespace: String,
    /// Everything at or before the instant, newest first, and why it will not do.
    pub passed_over: Vec<(String, PassedOver)>,
    /// The newest point at or before the instant that would do if partial points were allowed.
    pub nearest_before: Option<(String, Timestamp)>,
    /// The oldest point after the instant that would do.
    pub nearest_after: Option<(String, Timestamp)>,
}

/// Chooses among `entries`, which may come in any order: the newest at or before the instant that covers the namespace and can be
/// restored. A partial one is passed over for an older complete one, unless it was asked for.
pub fn choose<'a>(entries: &'a [Entry], query: &Query<'_>) -> Result<Choice<'a>, NoWayBack> {
    let mut candidates: Vec<(Timestamp, &Entry)> =
        entries.iter().filter_map(|entry| Some((entry.instant().or_else(|| begun(entry))?, entry))).collect();
    // Newest first. At one instant: complete before partial, ours before Velero's, and then by name, so that the order in which the
    // store lists things decides nothing.
    let rank = |entry: &Entry| (entry.partial().is_some(), matches!(entry, Entry::Foreign(_)));
    candidates.sort_by(|(left_at, left), (right_at, right)| {
        right_at.cmp(left_at).then_with(|| rank(left).cmp(&rank(right))).then_with(|| left.name().cmp(right.name()))
    });
    let mut passed_over = Vec::new();
    for (instant, entry) in candidates.iter().filter(|(instant, _)| *instant <= query.at) {
        match objection(entry, query) {
            None => return Ok(Choice { entry, passed_over, data_loss: query.at.duration_since(*instant) }),
            Some(objection) => passed_over.push((entry.name().to_owned(), objection)),
        }
    }
    let lenient = Query { allow_partial: true, ..*query };
    let named = |(instant, entry): &(Timestamp, &Entry)| (entry.name().to_owned(), *instant);
    let nearest_before =
        candidates.iter().find(|(instant, entry)| *instant <= query.at && objection(entry, &lenient).is_none()).map(named);
    let nearest_after =
        candidates.iter().rev().find(|(instant, entry)| *instant > query.at && objection(entry, query).is_none()).map(named);
    Err(NoWayBack { at: query.at, namespace: query.namespace.to_owned(), passed_over, nearest_before, nearest_after })
}

/// Why an entry will not do, wherever in time it is.
fn objection(entry: &Entry, query: &Query<'_>) -> Option<PassedOver> {
    if !entry.covers(query.namespace) {
        return Some(PassedOver::NotCovered { namespace: query.namespace.to_owned() });
    }
    if matches!(entry, Entry::Ours(point) if point.resources().is_none()) {
        return Some(PassedOver::NoResources);
    }
    if let Some(reason) = entry.unrestorable() {
        return Some(reason);
    }
    entry.partial().filter(|_| !query.allow_partial).map(PassedOver::Partial)
}

/// A backup that never completed stands for no instant, but it is told of where it began.
fn begun(entry: &Entry) -> Option<Timestamp> {
    match entry {
        Entry::Ours(_) => None,
        Entry::Foreign(backup) => backup.started,
    }
}

impl Entry {
    /// Whether it holds `namespace`.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Ours(point) => point.namespaces.iter().any(|name| name == namespace),
            Self::Foreign(backup) => backup.covers(namespace),
        }
    }

    /// Why nothing can be restored from it, however it was asked for.
    pub fn unrestorable(&self) -> Option<PassedOver> {
        match self {
            Self::Foreign(backup) if !backup.restorable() => Some(PassedOver::NotRestorable { phase: backup.phase.clone() }),
            Self::Ours(_) | Self::Foreign(_) => None,
        }
    }

    /// What it lacks; `None` when it is complete.
    pub fn partial(&self) -> Option<Partial> {
        match self {
            Self::Ours(point) if point.complete() => None,
            Self::Ours(point) => Some(Partial::Gaps(point.gaps.clone())),
            Self::Foreign(backup) if backup.phase == "PartiallyFailed" || backup.errors > 0 => {
                Some(Partial::VeleroErrors(backup.errors))
            }
            Self::Foreign(_) => None,
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCovered { namespace } => write!(formatter, "it does not hold the namespace `{namespace}`"),
            Self::NotRestorable { phase } if phase.is_empty() => formatter.write_str("Velero has not begun it"),
            Self::NotRestorable { phase } => write!(formatter, "Velero says that it is {phase}"),
            Self::NoResources => formatter.write_str("it holds no Kubernetes objects"),
            Self::Partial(partial) => write!(formatter, "it is partial: {partial}"),
        }
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than that nobody reads in one line; the point's own listing has them all.
        const NAMED: usize = 3;
        match self {
            Self::Gaps(gaps) => {
                formatter.write_str("it lacks ")?;
                for (index, gap) in gaps.iter().take(NAMED).enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(formatter, "{separator}{} ({})", gap.what, gap.reason)?;
                }
                match gaps.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(formatter, ", and {more} more"),
                }
            }
            Self::VeleroErrors(0) => formatter.write_str("Velero says PartiallyFailed"),
            Self::VeleroErrors(1) => formatter.write_str("Velero counted 1 error"),
            Self::VeleroErrors(count) => write!(formatter, "Velero counted {count} errors"),
        }
    }
}

impl std::error::Error for NoWayBack {}

impl fmt::Display for NoWayBack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, namespace, passed_over, .. } = self;
        match passed_over.iter().find(|(_, reason)| !matches!(reason, PassedOver::NotCovered { .. })) {
            None => write!(formatter, "no recovery point of the namespace `{namespace}` is at or before {at}"),
            Some((newest, reason)) => {
                write!(
                    formatter,
                    "no recovery point of the namespace `{namespace}` at or before {at} will do; of `{newest}`, the newest, {reason}"
                )
            }
        }
    }
}

impl NoWayBack {
    /// What leads somewhere, for the environment that is to be restored.
    pub fn hints(&self, environment: &str) -> Vec<String> {
        let mut hints = Vec::new();
        if let Some((name, instant)) = &self.nearest_before {
            hints.push(format!("`{name}` at {instant} is partial; to restore what it holds, add `--allow-partial`"));
        }
        if let Some((name, instant)) = &self.nearest_after {
            hints.push(format!("the first one after it is `{name}`: `dxdr restore --at {instant} {environment}`"));
        }
        hints.push(format!("`dxdr points {environment}` lists those there are"));
        hints
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dxdr_environment::EnvironmentName;
    use proptest::prelude::*;

    use super::*;
    use crate::recovery_point::{Component, Engine, ForeignBackup, RecoveryPoint, ResourcesComponent, SourceCluster, Trigger};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn point(name: &str, second: i64) -> RecoveryPoint {
        let resources = ResourcesComponent { instant: at(second), between: None, items: 1, bytes: 10, kinds: Vec::new() };
        RecoveryPoint {
            name: name.to_owned(),
            environment: EnvironmentName::parse("staging").unwrap(),
            namespaces: vec!["staging".to_owned()],
            engine: Engine::Native,
            policy: None,
            trigger: Trigger::Requested,
            run: format!("run-of-{name}"),
            started: at(second),
            instant: at(second),
            expires: None,
            cluster: SourceCluster::default(),
            environment_digest: None,
            components: vec![Component::Resources(resources)],
            objects: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn complete(name: &str, second: i64) -> Entry {
        Entry::Ours(point(name, second))
    }

    fn partial(name: &str, second: i64) -> Entry {
        let gaps = vec![Gap { what: "secrets".to_owned(), reason: "forbidden".to_owned() }];
        Entry::Ours(RecoveryPoint { gaps, ..point(name, second) })
    }

    fn backup(name: &str, second: i64, phase: &str) -> ForeignBackup {
        ForeignBackup {
            name: name.to_owned(),
            included_namespaces: Vec::new(),
            excluded_namespaces: Vec::new(),
            phase: phase.to_owned(),
            started: Some(at(second)),
            completed: Some(at(second)),
            expires: None,
            items: None,
            errors: 0,
            warnings: 0,
            schedule: None,
            volumes: true,
        }
    }

    fn velero(name: &str, second: i64, phase: &str) -> Entry {
        Entry::Foreign(backup(name, second, phase))
    }

    fn query(second: i64) -> Query<'static> {
        Query { at: at(second), namespace: "staging", allow_partial: false }
    }

    #[test]
    fn the_newest_at_or_before_the_instant_is_chosen() {
        let entries = [complete("b", 200), complete("c", 300), complete("a", 100)];
        for (second, expected, loss) in [(100, "a", 0), (199, "a", 99), (200, "b", 0), (250, "b", 50), (9_999, "c", 9_699)] {
            let choice = choose(&entries, &query(second)).unwrap();
            assert_eq!((choice.entry.name(), choice.data_loss), (expected, SignedDuration::from_secs(loss)));
            assert_eq!(choice.passed_over, []);
        }
    }

    #[test]
    fn a_partial_point_is_passed_over_by_name_unless_it_was_asked_for() {
        let entries = [partial("new", 200), complete("old", 100)];
        let choice = choose(&entries, &query(250)).unwrap();
        assert_eq!(choice.entry.name(), "old");
        let told: Vec<_> = choice.passed_over.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        assert_eq!(told, ["new: it is partial: it lacks secrets (forbidden)"]);
        let choice = choose(&entries, &Query { allow_partial: true, ..query(250) }).unwrap();
        assert_eq!((choice.entry.name(), choice.passed_over.len()), ("new", 0));
    }

    #[test]
    fn backups_of_velero_are_ways_back_if_velero_finished_them() {
        let entries = [
            velero("running", 500, "InProgress"),
            velero("failed", 400, "Failed"),
            velero("some-errors", 300, "PartiallyFailed"),
            velero("good", 200, "Completed"),
            Entry::Foreign(ForeignBackup { completed: None, ..backup("never", 450, "New") }),
            Entry::Foreign(ForeignBackup {
                excluded_namespaces: vec!["staging".to_owned()],
                ..backup("other", 250, "Completed")
            }),
        ];
        let choice = choose(&entries, &query(600)).unwrap();
        assert_eq!(choice.entry.name(), "good");
        let told: Vec<_> = choice.passed_over.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        assert_eq!(
            told,
            [
                "running: Velero says that it is InProgress",
                "never: Velero says that it is New",
                "failed: Velero says that it is Failed",
                "some-errors: it is partial: Velero says PartiallyFailed",
                "other: it does not hold the namespace `staging`",
            ]
        );
    }

    #[test]
    fn at_one_instant_ours_comes_before_veleros_and_complete_before_partial() {
        let entries = [velero("a", 100, "Completed"), partial("b", 100), complete("c", 100)];
        let choice = choose(&entries, &Query { allow_partial: true, ..query(100) }).unwrap();
        assert_eq!(choice.entry.name(), "c");
    }

    #[test]
    fn no_way_back_names_what_would_lead_somewhere() {
        let entries = [partial("half", 100), complete("late", 300), complete("later", 400)];
        let refusal = choose(&entries, &query(200)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "no recovery point of the namespace `staging` at or before 1970-01-01T00:03:20Z will do; of `half`, the newest, it is partial: it lacks secrets (forbidden)"
        );
        assert_eq!(
            refusal.hints("staging"),
            [
                "`half` at 1970-01-01T00:01:40Z is partial; to restore what it holds, add `--allow-partial`",
                "the first one after it is `late`: `dxdr restore --at 1970-01-01T00:05:00Z staging`",
                "`dxdr points staging` lists those there are",
            ]
        );
        let refusal = choose(&[], &query(200)).unwrap_err();
        assert_eq!(refusal.to_string(), "no recovery point of the namespace `staging` is at or before 1970-01-01T00:03:20Z");
        assert_eq!(refusal.hints("staging"), ["`dxdr points staging` lists those there are"]);
    }

    #[test]
    fn a_point_without_objects_is_no_way_back() {
        let entries = [Entry::Ours(RecoveryPoint { components: Vec::new(), ..point("empty", 100) })];
        let refusal = choose(&entries, &query(200)).unwrap_err();
        assert_eq!(refusal.passed_over, [("empty".to_owned(), PassedOver::NoResources)]);
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        let phases = ["Completed", "PartiallyFailed", "Failed", "InProgress"];
        (0i64..60, 0usize..8, "[a-z]{8}", any::<bool>(), any::<bool>()).prop_map(
            move |(second, kind, name, covered, completed)| {
                let other = || if covered { "staging" } else { "dev" }.to_owned();
                match kind {
                    0..=1 => Entry::Ours(RecoveryPoint { namespaces: vec![other()], ..point(&name, second) }),
                    2..=3 => match partial(&name, second) {
                        Entry::Ours(point) => Entry::Ours(RecoveryPoint { namespaces: vec![other()], ..point }),
                        foreign => foreign,
                    },
                    _ => Entry::Foreign(ForeignBackup {
                        included_namespaces: vec![other()],
                        completed: completed.then(|| at(second)),
                        ..backup(&name, second, phases[kind - 4])
                    }),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_choice_is_right_and_a_refusal_means_that_there_was_none(
            mut entries in proptest::collection::vec(any_entry(), 0..12), second in 0i64..60, allow_partial: bool,
        ) {
            let query = Query { allow_partial, ..query(second) };
            let good = |entry: &&Entry| {
                let usable = match entry {
                    Entry::Ours(point) => point.resources().is_some(),
                    Entry::Foreign(backup) => backup.restorable(),
                };
                usable && entry.covers("staging") && (allow_partial || entry.partial().is_none())
            };
            let before = |entry: &&Entry| entry.instant().is_some_and(|instant| instant <= query.at);
            let best = entries.iter().filter(good).filter(before).filter_map(Entry::instant).max();
            match choose(&entries, &query) {
                Ok(choice) => {
                    prop_assert!(good(&choice.entry));
                    prop_assert_eq!(choice.entry.instant(), best);
                    prop_assert_eq!(Some(query.at - choice.data_loss), best);
                    for (name, _) in &choice.passed_over {
                        let entry = entries.iter().find(|entry| entry.name() == name).unwrap();
                        prop_assert!(!good(&entry));
                    }
                }
                Err(refusal) => {
                    prop_assert_eq!(best, None);
                    let after = entries.iter().filter(good).filter_map(Entry::instant).filter(|instant| *instant > query.at).min();
                    prop_assert_eq!(refusal.nearest_after.map(|(_, instant)| instant), after);
                    prop_assert!(!allow_partial || refusal.nearest_before.is_none());
                }
            }
            let chosen = choose(&entries, &query).map(|choice| choice.entry.clone()).ok();
            entries.reverse();
            prop_assert_eq!(choose(&entries, &query).map(|choice| choice.entry.clone()).ok(), chosen);
        }
    }
}
