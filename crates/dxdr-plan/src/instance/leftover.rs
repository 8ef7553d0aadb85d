//! What dxdr has left on instances and on the way between them, and what of it may go.
//!
//! Only what carries our label or mark is looked at at all, and of that nothing goes that anybody may still need: what an environment uses, what
//! somebody is connected to, what an unfinished run goes on with, what is young enough to be the way back of a restore.

use std::collections::BTreeMap;

use dxdr_environment::InstanceName;
use jiff::{SignedDuration, Timestamp};

use super::{InstanceUse, label};

/// How long a database beside is kept before it counts as left over, and a clone before its label says so.
pub const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Something of ours on instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The instance that it is, or is on.
    pub instance: InstanceName,
    /// The database on it; `None`: it is the instance.
    pub database: Option<String>,
    /// The run that made it, by its label or mark.
    pub run: String,
    /// From when on it may go; `None`: nothing says so.
    pub expires: Option<Timestamp>,
    /// Whether it is protected from being deleted.
    pub protected: bool,
    /// Who is connected to it.
    pub connections: u64,
}

/// What a database service wrote into a store on the way from a clone to where it is imported. Its run removes it, unless it is killed, or ended while the
/// service still wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The store's name.
    pub store: String,
    /// Its key there.
    pub key: String,
    /// The run that it is of, by its folder.
    pub run: String,
    /// Bytes.
    pub size: u64,
}

/// Such an object, with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftTransfer {
    /// What.
    pub transfer: Transfer,
    /// When its run began; `None`: its folder is named after no run.
    pub since: Option<Timestamp>,
    /// Why it stays, with what to do; `None`: it goes.
    pub kept: Option<Kept>,
}

/// A backup of an instance that a run of ours made. The service keeps it until somebody deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBackup {
    /// The instance, which may be gone.
    pub instance: InstanceName,
    /// The service's name for it.
    pub name: String,
    /// The run, by its description.
    pub run: String,
    /// When it was made.
    pub taken: Option<Timestamp>,
    /// Bytes that are paid for, at most.
    pub size: Option<u64>,
}

/// Such a backup, with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBackup {
    /// Which.
    pub backup: MadeBackup,
    /// Why it stays, with what to do; `None`: it goes.
    pub kept: Option<Kept>,
}

/// A recovery point that names a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relying {
    /// The point.
    pub point: String,
    /// When its time is over; `None`: never.
    pub expires: Option<Timestamp>,
}

/// Who relies on backups, by what stores say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReliedBackups {
    /// The points that name them, by the backups' names.
    pub points: BTreeMap<String, Vec<Relying>>,
    /// A point that cannot be read, if there is one.
    pub unreadable: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunProgress {
    /// It came to an end.
    Ended,
    /// It can be resumed.
    Unfinished,
}

/// Something of ours, with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What.
    pub left: Left,
    /// Why it stays, with what to do; `None`: it goes.
    pub kept: Option<Kept>,
}

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The reason.
    pub reason: String,
    /// What to do to have it removed all the same.
    pub remedy: Option<String>,
}

/// An instance, where it is one of ours.
pub fn of_instance(instance: &InstanceName, labels: &BTreeMap<String, String>, protected: bool) -> Option<Left> {
    let run = labels.get(label::RUN)?.clone();
    let expires = label::expires(labels);
    Some(Left { instance: instance.clone(), database: None, run, expires, protected, connections: 0 })
}

/// A database with the mark of a run.
pub fn of_database(instance: &InstanceName, database: &str, run: &str, connections: u64) -> Left {
    Left {
        instance: instance.clone(),
        database: Some(database.to_owned()),
        run: run.to_owned(),
        expires: begun(run).and_then(|begun| begun.checked_add(TIME_TO_LIVE).ok()),
        protected: false,
        connections,
    }
}

/// What becomes of each.
pub fn judge(left: Vec<Left>, uses: &[InstanceUse], runs: &BTreeMap<String, RunProgress>, now: Timestamp) -> Vec<Leftover> {
    left.into_iter()
        .map(|left| {
            let kept = kept(&left, uses, runs.get(&left.run).copied(), now);
            Leftover { left, kept }
        })
        .collect()
}

/// What becomes of each. What was imported, or is not going to be, nobody needs; but the journal of a run that nothing is known of may lie in a store that nobody
/// looked into.
pub fn judge_transfers(transfers: Vec<Transfer>, runs: &BTreeMap<String, RunProgress>, now: Timestamp) -> Vec<LeftTransfer> {
    let of = |transfer: Transfer| {
        let since = begun(&transfer.run);
        let kept = match (runs.get(&transfer.run), since.and_then(|since| since.checked_add(TIME_TO_LIVE).ok())) {
            (Some(RunProgress::Unfinished), _) => Some(unfinished(&transfer.run)),
            (Some(RunProgress::Ended), _) => None,
            (None, None) => Some(Kept {
                reason: "its folder is named after no run".to_owned(),
                remedy: Some("find out who writes there; delete it yourself if nobody needs it".to_owned()),
            }),
            (None, Some(expires)) if now < expires => Some(Kept {
                reason: format!("there is no journal of run {} here; it is kept until {expires:.0}", transfer.run),
                remedy: None,
            }),
            (None, Some(_)) => None,
        };
        LeftTransfer { transfer, since, kept }
    };
    transfers.into_iter().map(of).collect()
}

/// What becomes of each backup. A run whose journal is not in any store that was looked into may have made a point there, and a point that cannot be read may name any of
/// them, so these stay.
pub fn judge_backups(
    backups: Vec<MadeBackup>,
    relied: &ReliedBackups,
    runs: &BTreeMap<String, RunProgress>,
    now: Timestamp,
) -> Vec<LeftBackup> {
    let kept = |backup: &MadeBackup| {
        let points = relied.points.get(&backup.name).map(Vec::as_slice).unwrap_or_default();
        let needed = points.iter().find(|point| point.expires.is_none_or(|expires| now < expires));
        if let Some(point) = needed {
            let until = point.expires.map(|expires| format!(" until {expires:.0}")).unwrap_or_default();
            return Some(Kept { reason: format!("recovery point {} relies on it{until}", point.point), remedy: None });
        }
        match runs.get(&backup.run) {
            Some(RunProgress::Unfinished) => Some(unfinished(&backup.run)),
            // Several points may name one backup, as where a store was copied.
            _ if let Some(point) = &relied.unreadable => Some(Kept {
                reason: format!("recovery point {point} cannot be read, and may rely on it"),
                remedy: Some("`dxdr points` says what is wrong with it".to_owned()),
            }),
            Some(RunProgress::Ended) => None,
            // The time of a point is over, and the point names it: that it was ours is known without the journal.
            None if !points.is_empty() => None,
            None => {
                let InstanceName { project, .. } = &backup.instance;
                Some(Kept {
                    reason: format!("there is no journal of run {} here: a recovery point elsewhere may rely on it", backup.run),
                    remedy: Some(format!("`gcloud sql backups delete {} --project {project}` removes it", backup.name)),
                })
            }
        }
    };
    backups.into_iter().map(|backup| LeftBackup { kept: kept(&backup), backup }).collect()
}

/// When a run began, by its name.
fn begun(run: &str) -> Option<Timestamp> {
    run.split('-').next().and_then(label::instant)
}

fn unfinished(run: &str) -> Kept {
    Kept {
        reason: format!("run {run} is unfinished"),
        remedy: Some(format!(
            "`dxdr runs resume {run}` goes on with it, `dxdr runs clean {run}` ends it and removes what it left"
        )),
    }
}

fn kept(left: &Left, uses: &[InstanceUse], run: Option<RunProgress>, now: Timestamp) -> Option<Kept> {
    let stays = |reason: String, remedy: Option<String>| Some(Kept { reason, remedy });
    let users = uses.iter().filter(|used| used.instance == left.instance).flat_map(|used| &used.parts);
    let mut users = users.filter(|part| match &left.database {
        None => true,
        Some(database) => part.databases.iter().any(|name| name == database),
    });
    if let Some(part) = users.next() {
        return stays(format!("environment `{}` uses it", part.environment), None);
    }
    if run == Some(RunProgress::Unfinished) {
        return Some(unfinished(&left.run));
    }
    if left.connections > 0 {
        return stays(format!("{} connections to it are open", left.connections), Some("close them".to_owned()));
    }
    match left.expires {
        None => {
            return stays(
                "nothing says until when it is needed".to_owned(),
                Some("delete it yourself if nobody needs it".to_owned()),
            );
        }
        Some(expires) if now < expires => {
            let remedy = format!("`dxdr databases discard {}` removes it now", left.run);
            return stays(format!("it is kept until {expires:.0}"), Some(remedy));
        }
        Some(_) => {}
    }
    if left.protected {
        let InstanceName { project, instance } = &left.instance;
        let remedy = format!("`gcloud sql instances patch {instance} --project {project} --no-deletion-protection` ends that");
        return stays("somebody has protected it from being deleted".to_owned(), Some(remedy));
    }
    None
}

#[cfg(test)]
mod tests {
    use dxdr_environment::EnvironmentName;
    use proptest::prelude::*;

    use super::*;
    use crate::instance::Part;

    const RUN: &str = "20240501t100000z-restore-staging-x7k2v";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn instance(name: &str) -> InstanceName {
        InstanceName::new("p", name)
    }

    fn uses() -> Vec<InstanceUse> {
        let part = Part {
            environment: EnvironmentName::parse("staging").unwrap(),
            name: "orders".to_owned(),
            databases: vec!["orders".to_owned()],
        };
        vec![InstanceUse { instance: instance("shared"), parts: vec![part] }]
    }

    fn reason(left: Left, run: Option<RunProgress>, now: &str) -> Option<String> {
        let runs = run.map(|progress| (RUN.to_owned(), progress)).into_iter().collect();
        judge(vec![left], &uses(), &runs, at(now)).remove(0).kept.map(|kept| kept.reason)
    }

    #[test]
    fn a_database_beside_goes_when_it_is_old_and_nobody_needs_it() {
        let beside = || of_database(&instance("shared"), "orders_restored", RUN, 0);
        for run in [None, Some(RunProgress::Ended)] {
            assert_eq!(reason(beside(), run, "2024-05-08T10:00:00Z"), None);
            assert_eq!(reason(beside(), run, "2024-05-08T09:59:59Z").unwrap(), "it is kept until 2024-05-08T10:00:00Z");
        }
        assert!(reason(beside(), Some(RunProgress::Unfinished), "2025-01-01T00:00:00Z").unwrap().ends_with("is unfinished"));
        let busy = Left { connections: 2, ..beside() };
        assert_eq!(reason(busy, None, "2025-01-01T00:00:00Z").unwrap(), "2 connections to it are open");
        let live = of_database(&instance("shared"), "orders", RUN, 0);
        assert_eq!(reason(live, None, "2025-01-01T00:00:00Z").unwrap(), "environment `staging` uses it");
        let strange = of_database(&instance("shared"), "orders_restored", "a-run-of-nobody", 0);
        assert_eq!(reason(strange, None, "2025-01-01T00:00:00Z").unwrap(), "nothing says until when it is needed");
    }

    #[test]
    fn an_instance_goes_by_its_label_alone_and_never_while_it_is_protected_or_used() {
        let labels = label::clone_labels(RUN, "staging", at("2024-05-08T10:00:00Z"));
        assert_eq!(of_instance(&instance("other"), &BTreeMap::new(), false), None);
        let clone = |name: &str, protected| of_instance(&instance(name), &labels, protected).unwrap();
        assert_eq!(reason(clone("c", false), None, "2024-05-08T10:00:00Z"), None);
        assert!(reason(clone("c", true), None, "2024-05-08T10:00:00Z").unwrap().contains("protected"));
        assert!(reason(clone("c", false), None, "2024-05-08T09:00:00Z").unwrap().contains("kept until"));
        assert_eq!(reason(clone("shared", false), None, "2025-01-01T00:00:00Z").unwrap(), "environment `staging` uses it");
    }

    #[test]
    fn what_lies_between_instances_goes_when_its_run_is_over_and_stays_while_one_may_go_on() {
        let of = |run: &str, progress: Option<RunProgress>, now: &str| {
            let transfer = Transfer { store: "primary".to_owned(), key: "k".to_owned(), run: run.to_owned(), size: 7 };
            let runs = progress.map(|progress| (run.to_owned(), progress)).into_iter().collect();
            judge_transfers(vec![transfer], &runs, at(now)).remove(0).kept.map(|kept| kept.reason)
        };
        assert_eq!(of(RUN, Some(RunProgress::Ended), "2024-05-01T10:00:00Z"), None);
        assert_eq!(of(RUN, Some(RunProgress::Unfinished), "2030-05-01T10:00:00Z").unwrap(), format!("run {RUN} is unfinished"));
        // The journal may be in another store.
        assert!(of(RUN, None, "2024-05-08T09:59:59Z").unwrap().ends_with("it is kept until 2024-05-08T10:00:00Z"));
        assert_eq!(of(RUN, None, "2024-05-08T10:00:00Z"), None);
        assert_eq!(of("theirs", None, "2030-05-01T10:00:00Z").unwrap(), "its folder is named after no run");
    }

    #[test]
    fn a_backup_stays_while_a_point_relies_on_it_and_while_nobody_knows() {
        let reason = |expires: Option<Option<&str>>, run: Option<RunProgress>, now: &str| {
            let name = "projects/p/backups/1".to_owned();
            let points: Vec<Relying> =
                expires.into_iter().map(|expires| Relying { point: "p-1".to_owned(), expires: expires.map(at) }).collect();
            let relied = ReliedBackups { points: BTreeMap::from([(name.clone(), points)]), unreadable: None };
            let runs = run.map(|progress| (RUN.to_owned(), progress)).into_iter().collect();
            let backup = MadeBackup { instance: instance("own"), name, run: RUN.to_owned(), taken: None, size: None };
            let judged = judge_backups(vec![backup.clone()], &relied, &runs, at(now)).remove(0).kept.map(|kept| kept.reason);
            let doubtful = ReliedBackups { unreadable: Some("p-2".to_owned()), ..relied };
            let in_doubt = judge_backups(vec![backup], &doubtful, &runs, at(now)).remove(0).kept;
            assert!(in_doubt.is_some(), "a point that cannot be read may rely on it");
            judged
        };
        let (before, behind) = ("2024-06-01T00:00:00Z", "2024-06-03T00:00:00Z");
        let until = Some(Some("2024-06-02T00:00:00Z"));
        for run in [None, Some(RunProgress::Ended), Some(RunProgress::Unfinished)] {
            assert_eq!(reason(until, run, before).unwrap(), "recovery point p-1 relies on it until 2024-06-02T00:00:00Z");
            assert_eq!(reason(Some(None), run, "2034-06-01T00:00:00Z").unwrap(), "recovery point p-1 relies on it");
            let over = reason(until, run, behind);
            assert_eq!(over.is_some(), run == Some(RunProgress::Unfinished), "{over:?}");
        }
        assert_eq!(reason(None, Some(RunProgress::Ended), before), None, "its point was deleted, or never was");
        assert!(reason(None, Some(RunProgress::Unfinished), behind).unwrap().ends_with("is unfinished"));
        assert!(reason(None, None, "2034-06-01T00:00:00Z").unwrap().contains("elsewhere may rely on it"));
    }

    proptest! {
        #[test]
        fn what_goes_has_no_reason_to_stay(
            used: bool, protected: bool, connections in 0_u64..2, days in -3_i64..3, run in 0_usize..3, is_database: bool,
        ) {
            let now = at("2024-06-01T00:00:00Z");
            let progress = [None, Some(RunProgress::Ended), Some(RunProgress::Unfinished)][run];
            let left = Left {
                instance: instance(if used { "shared" } else { "c" }),
                database: is_database.then(|| "orders".to_owned()),
                run: RUN.to_owned(),
                expires: (days != 0).then(|| now + SignedDuration::from_hours(24 * days)),
                protected,
                connections,
            };
            let runs = progress.map(|progress| (RUN.to_owned(), progress)).into_iter().collect();
            let goes = judge(vec![left], &uses(), &runs, now).remove(0).kept.is_none();
            let may = !used && !protected && connections == 0 && days < 0 && progress != Some(RunProgress::Unfinished);
            prop_assert_eq!(goes, may);
        }
    }
}
