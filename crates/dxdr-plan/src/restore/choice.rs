//! Which route a database on an instance comes back by: each that there is, whether it can be taken, and why one of them is.
//!
//! ```text
//! export in the point ─────────────────────────────► import                 beside or in place, one database
//! instant in the instance's log ─► alone there? ───► clone                  beside, the whole instance
//!                               └─ one database ───► clone, export, import  beside or in place, one database
//! backup of the instance ────────► alone there? ───► a new instance         beside, the whole instance
//!                               └─ one database ───► the same, export, import
//! ```
//!
//! The best promise about the database and the volumes decides, then how much there is to do. A backup that is not the point's own is of another instant, promises
//! nothing, and is what is left when a log does not reach back. Nothing that touches an instance as a whole is ever taken where others use it, or in place.

use dxdr_policy::Consistency;
use jiff::{SignedDuration, Timestamp};

/// A kind of route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// The instance is cloned as it was.
    Clone,
    /// A new instance is made out of a backup.
    Backup,
    /// The export of the point is imported.
    Import,
    /// The instance is cloned as it was, the database exported from the clone and imported; the clone is deleted.
    CloneAndImport,
    /// A new instance is made out of a backup, the database exported from it and imported; the new instance is deleted.
    BackupAndImport,
}

impl RouteKind {
    /// All of them, the one with the least to do first.
    pub const ALL: [Self; 5] = [Self::Clone, Self::Backup, Self::Import, Self::CloneAndImport, Self::BackupAndImport];

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Import => "import",
            Self::CloneAndImport => "clone-export-import",
            Self::Backup => "backup",
            Self::BackupAndImport => "backup-export-import",
        }
    }
}

/// What a point has of a database, by one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// As of when.
    pub instant: Timestamp,
    /// What is promised about it and the volumes.
    pub consistency: Consistency,
}

/// A backup of the instance that the database may come back out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// Everything up to then is in it.
    pub instant: Timestamp,
    /// What is promised about it and the volumes; `None`: it is not the point's own.
    pub consistency: Option<Consistency>,
    /// The instant that is wanted.
    pub wanted: Timestamp,
}

/// From when to when an instance can be cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant.
    pub earliest: Timestamp,
    /// The last one.
    pub latest: Timestamp,
}

/// All that the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The export that the point has.
    pub export: Option<Captured>,
    /// The instant that the point names in the instance's log.
    pub log: Option<Captured>,
    /// Of the instance, as far as it is known.
    pub window: Option<Window>,
    /// A backup of the instance, or why there is none that could be taken.
    pub backup: Result<BackedUp, String>,
    /// Whether the instance is not there any more.
    pub gone: bool,
    /// Whether there is no instance that something could be imported into.
    pub nowhere: bool,
    /// Other environments that are on the instance.
    pub neighbours: &'a [String],
    /// Whether the model names the database, or means the whole instance.
    pub named: bool,
    /// Whether it is to take the place of the one that is there.
    pub in_place: bool,
    /// Why the service cannot write into the store.
    pub no_exports: Option<&'a str>,
    /// How far apart what comes back may lie.
    pub max_skew: SignedDuration,
}

/// A route that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Which.
    pub kind: RouteKind,
    /// As of when the database would be.
    pub instant: Option<Timestamp>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of considering a route, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one.
    Taken(String),
    /// It could be, and another one is better.
    Passed(String),
    /// It cannot be.
    Impossible(String),
}

impl Verdict {
    /// The reason.
    pub fn reason(&self) -> &str {
        match self {
            Self::Taken(reason) | Self::Passed(reason) | Self::Impossible(reason) => reason,
        }
    }

    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Taken(_) => "taken",
            Self::Passed(_) => "possible",
            Self::Impossible(_) => "impossible",
        }
    }
}

/// Considers every route, in the order of [`RouteKind::ALL`]; at most one is taken.
pub fn choose(circumstances: &Circumstances<'_>) -> Vec<Considered> {
    let mut considered = Vec::new();
    // `None` is the least that can be promised.
    let mut best: Option<(Option<Consistency>, usize)> = None;
    for kind in RouteKind::ALL {
        let captured = captured(kind, circumstances);
        let verdict = match (obstacle(kind, circumstances), captured) {
            (None, Some((_, consistency))) => {
                if best.is_none_or(|(promise, _)| consistency > promise) {
                    best = Some((consistency, considered.len()));
                }
                Verdict::Passed(String::new())
            }
            (Some(reason), _) => Verdict::Impossible(reason),
            (None, None) => Verdict::Impossible("the point has nothing for it".to_owned()),
        };
        considered.push(Considered { kind, instant: captured.map(|(instant, _)| instant), verdict });
    }
    let Some((promise, taken)) = best else { return considered };
    let alone = considered.iter().filter(|other| matches!(other.verdict, Verdict::Passed(_))).count() == 1;
    for (place, route) in considered.iter_mut().enumerate() {
        if !matches!(route.verdict, Verdict::Passed(_)) {
            continue;
        }
        let promised = self::captured(route.kind, circumstances).and_then(|(_, consistency)| consistency);
        route.verdict = match promise {
            _ if place == taken => Verdict::Taken(taken_because(route.kind, circumstances, promise.filter(|_| !alone))),
            Some(_) if promised.is_none() => Verdict::Passed("the backup is of another instant than the point".to_owned()),
            Some(promise) if place < taken => Verdict::Passed(format!("it promises less than `{}`", promise.word())),
            _ => Verdict::Passed("there is more to do, and no more is promised".to_owned()),
        };
    }
    considered
}

/// As of when the database would be by that route, and what is promised about it and the volumes.
fn captured(kind: RouteKind, circumstances: &Circumstances<'_>) -> Option<(Timestamp, Option<Consistency>)> {
    let of_point = |captured: Captured| (captured.instant, Some(captured.consistency));
    match kind {
        RouteKind::Import => circumstances.export.map(of_point),
        RouteKind::Clone | RouteKind::CloneAndImport => circumstances.log.map(of_point),
        RouteKind::Backup | RouteKind::BackupAndImport => {
            circumstances.backup.as_ref().ok().map(|backup| (backup.instant, backup.consistency))
        }
    }
}

/// `promise`: the best one, where there was a choice.
fn taken_because(kind: RouteKind, circumstances: &Circumstances<'_>, promise: Option<Consistency>) -> String {
    let what = match (kind, &circumstances.backup) {
        (RouteKind::Clone, _) => "nobody else is on the instance, and its log goes back to the instant".to_owned(),
        (RouteKind::Import, _) => {
            "the point has its export, of this database alone; nothing else on the instance is touched".to_owned()
        }
        (RouteKind::CloneAndImport, _) => {
            "its log goes back to the instant, and of the clone only this database is taken".to_owned()
        }
        (RouteKind::Backup | RouteKind::BackupAndImport, Ok(BackedUp { instant, consistency: None, wanted })) => format!(
            "it is the newest backup in which nothing is later than {wanted:.0}; {:#} before that are missing",
            seconds(wanted.duration_since(*instant))
        ),
        (RouteKind::Backup | RouteKind::BackupAndImport, _) => "the point has a backup of the instance".to_owned(),
    };
    let what = match kind {
        RouteKind::BackupAndImport => format!("{what}; only this database of it is taken"),
        _ => what,
    };
    promise.map_or_else(|| what.clone(), |promise| format!("{what}; `{}` is the best promise there is", promise.word()))
}

/// In whole seconds, and not less than it is.
fn seconds(apart: SignedDuration) -> SignedDuration {
    let more = i64::from(apart.subsec_nanos() > 0);
    SignedDuration::from_secs(apart.as_secs() + more)
}

/// Why a route cannot be taken.
fn obstacle(kind: RouteKind, circumstances: &Circumstances<'_>) -> Option<String> {
    let Circumstances { export, log, backup, neighbours, named, in_place, no_exports, .. } = circumstances;
    match kind {
        RouteKind::Import if export.is_none() => return Some("the point has no export of it".to_owned()),
        RouteKind::Import if !named => return Some("the model names no database that it could be imported as".to_owned()),
        RouteKind::Import => {}
        RouteKind::Clone | RouteKind::CloneAndImport => {
            let Some(log) = log else { return Some("the point names no instant of the instance's log".to_owned()) };
            if circumstances.gone {
                return Some("the instance is gone, and its log with it".to_owned());
            }
            if let Some(reason) = outside(circumstances.window, log.instant) {
                return Some(reason);
            }
        }
        RouteKind::Backup | RouteKind::BackupAndImport => {
            if let Some(reason) =
                backup.as_ref().map_or_else(|reason| Some(reason.clone()), |backup| too_far(backup, circumstances))
            {
                return Some(reason);
            }
        }
    }
    match kind {
        // One that is gone is nobody's any more.
        RouteKind::Clone | RouteKind::Backup if !neighbours.is_empty() && !circumstances.gone => Some(format!(
            "the instance is also {}'s: one as a whole is never restored for one of them",
            neighbours.join("'s and ")
        )),
        RouteKind::Clone | RouteKind::Backup if *in_place => Some("an instance is never replaced as a whole".to_owned()),
        RouteKind::Clone | RouteKind::Backup => None,
        _ if circumstances.nowhere => Some("the instance is gone: there is none to import into".to_owned()),
        RouteKind::Import => None,
        RouteKind::CloneAndImport | RouteKind::BackupAndImport if !named => {
            Some("the model names no database that could be taken of it".to_owned())
        }
        RouteKind::CloneAndImport | RouteKind::BackupAndImport => no_exports.map(str::to_owned),
    }
}

/// Why a backup that is not the point's own cannot be taken with the rest of the point.
fn too_far(backup: &BackedUp, circumstances: &Circumstances<'_>) -> Option<String> {
    let apart = seconds(backup.wanted.duration_since(backup.instant));
    let allowed = circumstances.max_skew;
    (backup.consistency.is_none() && apart > allowed).then(|| {
        format!(
            "the newest backup in which nothing is later than {:.0} is of {:.0}, {apart:#} before, and {allowed:#} is allowed; to take it as it is, add `--max-skew {apart:#}`",
            backup.wanted, backup.instant
        )
    })
}

/// Why no clone can be made as of `instant`, with the nearest instant of which one can.
fn outside(window: Option<Window>, instant: Timestamp) -> Option<String> {
    match window {
        None => Some("the log of the instance is not kept, or nobody knows from when to when it goes".to_owned()),
        Some(Window { earliest, latest }) if instant < earliest => Some(format!(
            "{instant:.0} is before the log of the instance, which goes from {earliest:.0} to {latest:.0}: the nearest instant is {earliest:.0}"
        )),
        Some(Window { earliest, latest }) if latest < instant => Some(format!(
            "{instant:.0} is behind the log of the instance, which goes from {earliest:.0} to {latest:.0}: the nearest instant is {latest:.0}, and it goes on"
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_714_557_600 + second).unwrap()
    }

    fn captured() -> impl Strategy<Value = Option<Captured>> {
        let level = prop_oneof![Just(Consistency::Independent), Just(Consistency::Aligned)];
        proptest::option::of((0_i64..6, level).prop_map(|(second, consistency)| Captured { instant: at(second), consistency }))
    }

    fn backup() -> impl Strategy<Value = Result<BackedUp, String>> {
        let level = prop_oneof![Just(None), Just(Some(Consistency::Independent)), Just(Some(Consistency::Aligned))];
        let backup = (0_i64..6, 0_i64..6, level).prop_map(|(instant, later, consistency)| {
            Ok(BackedUp { instant: at(instant), consistency, wanted: at(instant + later) })
        });
        prop_oneof![Just(Err("there is none".to_owned())), backup]
    }

    fn window() -> impl Strategy<Value = Option<Window>> {
        proptest::option::of(
            (0_i64..6, 0_i64..6).prop_map(|(earliest, latest)| Window { earliest: at(earliest), latest: at(latest) }),
        )
    }

    /// Everything that may be done and what it would be worth, written down without an order, to be searched whole.
    fn possibilities(circumstances: &Circumstances<'_>) -> Vec<(RouteKind, Option<Consistency>, u32)> {
        let c = circumstances;
        let covered = |log: &Captured| c.window.is_some_and(|w| w.earliest <= log.instant && log.instant <= w.latest);
        let mut possible = Vec::new();
        if let (Some(export), true) = (c.export, c.named && !c.nowhere) {
            possible.push((RouteKind::Import, Some(export.consistency), 3));
        }
        let imports = c.named && c.no_exports.is_none() && !c.nowhere;
        if let Some(log) = c.log.filter(|log| covered(log) && !c.gone) {
            if c.neighbours.is_empty() && !c.in_place {
                possible.push((RouteKind::Clone, Some(log.consistency), 1));
            }
            if imports {
                possible.push((RouteKind::CloneAndImport, Some(log.consistency), 4));
            }
        }
        let near =
            |backup: &&BackedUp| backup.consistency.is_some() || backup.wanted.duration_since(backup.instant) <= c.max_skew;
        if let Some(backup) = c.backup.as_ref().ok().filter(near) {
            if (c.neighbours.is_empty() || c.gone) && !c.in_place {
                possible.push((RouteKind::Backup, backup.consistency, 2));
            }
            if imports {
                possible.push((RouteKind::BackupAndImport, backup.consistency, 5));
            }
        }
        possible
    }

    proptest! {
        #[test]
        fn the_choice_is_what_a_search_through_all_possibilities_finds(
            export in captured(), log in captured(), window in window(),
            shared: bool, named: bool, in_place: bool, writable: bool,
            backup in backup(), gone: bool, moved: bool, allowed in 0_i64..6,
        ) {
            let neighbours = if shared { vec!["dev".to_owned()] } else { Vec::new() };
            let no_exports = (!writable).then_some("the store is a directory");
            let (nowhere, max_skew) = (gone && !moved, SignedDuration::from_secs(allowed));
            let circumstances = Circumstances {
                export, log, window, backup, gone, nowhere, neighbours: &neighbours, named, in_place, no_exports, max_skew,
            };
            let considered = choose(&circumstances);
            prop_assert_eq!(considered.iter().map(|route| route.kind).collect::<Vec<_>>(), RouteKind::ALL);
            let possible = possibilities(&circumstances);
            for route in &considered {
                let is_possible = possible.iter().any(|(kind, ..)| *kind == route.kind);
                prop_assert_eq!(is_possible, !matches!(route.verdict, Verdict::Impossible(_)), "{:?}", route);
                prop_assert!(!route.verdict.reason().is_empty());
            }
            let taken: Vec<RouteKind> =
                considered.iter().filter(|route| matches!(route.verdict, Verdict::Taken(_))).map(|route| route.kind).collect();
            let best = possible.iter().min_by_key(|(_, promise, work)| (std::cmp::Reverse(*promise), *work)).map(|(kind, ..)| *kind);
            prop_assert_eq!(taken, best.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn the_nearest_instant_that_is_named_can_be_cloned(instant in 0_i64..6, window in window()) {
            match (window, outside(window, at(instant))) {
                (Some(window), Some(reason)) if window.earliest <= window.latest => {
                    let nearest = at(instant).clamp(window.earliest, window.latest);
                    let named = format!("the nearest instant is {nearest:.0}");
                    prop_assert!(reason.contains(&named), "{}", reason);
                    prop_assert_eq!(outside(Some(window), nearest), None);
                }
                (Some(window), None) => prop_assert!(window.earliest <= at(instant) && at(instant) <= window.latest),
                _ => {}
            }
        }
    }

    fn log_at(second: i64) -> Option<Captured> {
        Some(Captured { instant: at(second), consistency: Consistency::Aligned })
    }

    /// A log that does not go back to the fifth second, and a backup of the second before.
    fn too_late(neighbours: &[String]) -> Circumstances<'_> {
        Circumstances {
            export: None,
            log: log_at(5),
            window: Some(Window { earliest: at(7), latest: at(9) }),
            backup: Ok(BackedUp { instant: at(4), consistency: None, wanted: at(5) }),
            gone: false,
            nowhere: false,
            neighbours,
            named: true,
            in_place: false,
            no_exports: None,
            max_skew: SignedDuration::from_secs(1),
        }
    }

    fn taken(circumstances: &Circumstances<'_>) -> Option<(RouteKind, String)> {
        let considered = choose(circumstances).into_iter();
        let mut taken = considered.filter(|route| matches!(route.verdict, Verdict::Taken(_)));
        taken.next().map(|route| (route.kind, route.verdict.reason().to_owned()))
    }

    #[test]
    fn behind_its_window_an_instance_comes_back_out_of_the_newest_backup_before_and_the_loss_is_said() {
        let neighbours = ["dev".to_owned()];
        let (kind, reason) = taken(&too_late(&[])).unwrap();
        assert_eq!(kind, RouteKind::Backup);
        assert!(
            reason.starts_with("it is the newest backup in which nothing is later than 2024-05-01T10:00:05Z; 1s"),
            "{reason}"
        );
        // Others lose nothing by it: only one database is taken, unless the instance is nobody's any more.
        assert_eq!(taken(&too_late(&neighbours)).unwrap().0, RouteKind::BackupAndImport);
        let gone = Circumstances { gone: true, nowhere: true, window: None, ..too_late(&neighbours) };
        assert_eq!(taken(&gone).unwrap().0, RouteKind::Backup);
        let reasons: Vec<String> = choose(&gone).iter().map(|route| route.verdict.reason().to_owned()).collect();
        assert!(reasons[0].contains("the instance is gone") && reasons[4].contains("the instance is gone"), "{reasons:?}");
        let far = Circumstances { max_skew: SignedDuration::ZERO, ..too_late(&[]) };
        assert_eq!(taken(&far), None);
        assert!(choose(&far)[1].verdict.reason().ends_with("to take it as it is, add `--max-skew 1s`"), "{far:?}");
        // Its own backup fits the point better than an export that promises nothing.
        let own = Circumstances {
            export: Some(Captured { instant: at(5), consistency: Consistency::Independent }),
            backup: Ok(BackedUp { instant: at(5), consistency: Some(Consistency::Aligned), wanted: at(5) }),
            ..too_late(&[])
        };
        assert_eq!(taken(&own).unwrap().0, RouteKind::Backup);
        let other = Circumstances { export: own.export, ..too_late(&[]) };
        assert_eq!(taken(&other).unwrap().0, RouteKind::Import);
    }

    #[test]
    fn each_refusal_says_why() {
        let neighbours = ["dev".to_owned(), "qa".to_owned()];
        let circumstances = Circumstances {
            window: Some(Window { earliest: at(0), latest: at(9) }),
            in_place: true,
            no_exports: Some("the store is a directory"),
            ..too_late(&neighbours)
        };
        let reasons: Vec<String> = choose(&circumstances).iter().map(|route| route.verdict.reason().to_owned()).collect();
        let whole = "the instance is also dev's and qa's: one as a whole is never restored for one of them";
        let none = "the point has no export of it";
        assert_eq!(reasons, [whole, whole, none, "the store is a directory", "the store is a directory"]);
    }
}
