//! Which route a database on an instance comes back by: each that there is, whether it can be taken, and why one of them is.
//!
//! ```text
//! export in the point ─────────────────────────────► import                beside or in place, one database
//! instant in the instance's log ─► alone there? ───► clone                 beside, the whole instance
//!                               └─ one database ───► clone, export, import beside or in place, one database
//! ```
//!
//! The best promise about the database and the volumes decides, then how much there is to do. Nothing that touches an instance as a whole is
//! ever taken where others use it, or in place.

use dxdr_policy::Consistency;
use jiff::Timestamp;

/// A kind of route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// The instance is cloned as it was.
    Clone,
    /// The export of the point is imported.
    Import,
    /// The instance is cloned as it was, the database exported from the clone and imported; the clone is deleted.
    CloneAndImport,
}

impl RouteKind {
    /// All of them, the one with the least to do first.
    pub const ALL: [Self; 3] = [Self::Clone, Self::Import, Self::CloneAndImport];

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Import => "import",
            Self::CloneAndImport => "clone-export-import",
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
    /// Other environments that are on the instance.
    pub neighbours: &'a [String],
    /// Whether the model names the database, or means the whole instance.
    pub named: bool,
    /// Whether it is to take the place of the one that is there.
    pub in_place: bool,
    /// Why the service cannot write into the store.
    pub no_exports: Option<&'a str>,
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
    let mut best: Option<(Consistency, usize)> = None;
    for kind in RouteKind::ALL {
        let captured = match kind {
            RouteKind::Import => circumstances.export,
            RouteKind::Clone | RouteKind::CloneAndImport => circumstances.log,
        };
        let verdict = match (obstacle(kind, circumstances), captured) {
            (None, Some(captured)) => {
                if best.is_none_or(|(promise, _)| captured.consistency > promise) {
                    best = Some((captured.consistency, considered.len()));
                }
                Verdict::Passed(String::new())
            }
            (Some(reason), _) => Verdict::Impossible(reason),
            (None, None) => Verdict::Impossible("the point has nothing for it".to_owned()),
        };
        considered.push(Considered { kind, instant: captured.map(|captured| captured.instant), verdict });
    }
    let Some((promise, taken)) = best else { return considered };
    let alone = considered.iter().filter(|other| matches!(other.verdict, Verdict::Passed(_))).count() == 1;
    for (place, route) in considered.iter_mut().enumerate() {
        if !matches!(route.verdict, Verdict::Passed(_)) {
            continue;
        }
        route.verdict = if place == taken {
            Verdict::Taken(taken_because(route.kind, promise, alone))
        } else if place < taken {
            Verdict::Passed(format!("it promises less than `{}`", promise.word()))
        } else {
            Verdict::Passed("there is more to do, and no more is promised".to_owned())
        };
    }
    considered
}

fn taken_because(kind: RouteKind, promise: Consistency, alone: bool) -> String {
    let what = match kind {
        RouteKind::Clone => "nobody else is on the instance, and its log goes back to the instant",
        RouteKind::Import => "the point has its export, of this database alone; nothing else on the instance is touched",
        RouteKind::CloneAndImport => "its log goes back to the instant, and of the clone only this database is taken",
    };
    match alone {
        true => what.to_owned(),
        false => format!("{what}; `{}` is the best promise there is", promise.word()),
    }
}

/// Why a route cannot be taken.
fn obstacle(kind: RouteKind, circumstances: &Circumstances<'_>) -> Option<String> {
    let Circumstances { export, log, window, neighbours, named, in_place, no_exports } = circumstances;
    if kind == RouteKind::Import {
        return match (export, named) {
            (None, _) => Some("the point has no export of it".to_owned()),
            (Some(_), false) => Some("the model names no database that it could be imported as".to_owned()),
            (Some(_), true) => None,
        };
    }
    let Some(log) = log else { return Some("the point names no instant of the instance's log".to_owned()) };
    if let Some(reason) = outside(*window, log.instant) {
        return Some(reason);
    }
    match kind {
        RouteKind::Clone if !neighbours.is_empty() => Some(format!(
            "the instance is also {}'s: one as a whole is never restored for one of them",
            neighbours.join("'s and ")
        )),
        RouteKind::Clone if *in_place => Some("an instance is never replaced as a whole".to_owned()),
        RouteKind::CloneAndImport if !named => Some("the model names no database that could be taken of the clone".to_owned()),
        RouteKind::CloneAndImport => no_exports.map(str::to_owned),
        RouteKind::Clone | RouteKind::Import => None,
    }
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

    fn window() -> impl Strategy<Value = Option<Window>> {
        proptest::option::of(
            (0_i64..6, 0_i64..6).prop_map(|(earliest, latest)| Window { earliest: at(earliest), latest: at(latest) }),
        )
    }

    /// Everything that may be done and what it would be worth, written down without an order, to be searched whole.
    fn possibilities(circumstances: &Circumstances<'_>) -> Vec<(RouteKind, Consistency, u32)> {
        let c = circumstances;
        let covered = |log: &Captured| c.window.is_some_and(|w| w.earliest <= log.instant && log.instant <= w.latest);
        let mut possible = Vec::new();
        if let (Some(export), true) = (c.export, c.named) {
            possible.push((RouteKind::Import, export.consistency, 2));
        }
        if let Some(log) = c.log.filter(covered) {
            if c.neighbours.is_empty() && !c.in_place {
                possible.push((RouteKind::Clone, log.consistency, 1));
            }
            if c.named && c.no_exports.is_none() {
                possible.push((RouteKind::CloneAndImport, log.consistency, 3));
            }
        }
        possible
    }

    proptest! {
        #[test]
        fn the_choice_is_what_a_search_through_all_possibilities_finds(
            export in captured(), log in captured(), window in window(),
            shared: bool, named: bool, in_place: bool, writable: bool,
        ) {
            let neighbours = if shared { vec!["dev".to_owned()] } else { Vec::new() };
            let no_exports = (!writable).then_some("the store is a directory");
            let circumstances = Circumstances { export, log, window, neighbours: &neighbours, named, in_place, no_exports };
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

    #[test]
    fn each_refusal_says_why() {
        let log = Some(Captured { instant: at(5), consistency: Consistency::Aligned });
        let window = Some(Window { earliest: at(0), latest: at(9) });
        let neighbours = ["dev".to_owned(), "qa".to_owned()];
        let circumstances = Circumstances {
            export: None,
            log,
            window,
            neighbours: &neighbours,
            named: true,
            in_place: true,
            no_exports: Some("the store is a directory"),
        };
        let reasons: Vec<String> = choose(&circumstances).iter().map(|route| route.verdict.reason().to_owned()).collect();
        assert_eq!(
            reasons,
            [
                "the instance is also dev's and qa's: one as a whole is never restored for one of them",
                "the point has no export of it",
                "the store is a directory",
            ]
        );
    }
}
