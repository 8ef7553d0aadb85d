//! What was seen of an instance, and whether it is as the model needs it: rows of `dxdr check --cloud`.

use jiff::Timestamp;

use super::{InstanceUse, Operation};
use crate::readiness::{Outcome, Row, Trouble};

/// What was seen of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSeen {
    /// `POSTGRES_15`
    pub version: String,
    /// `RUNNABLE`
    pub state: String,
    /// Whether somebody stopped it.
    pub stopped: bool,
    /// `europe-west1`
    pub region: String,
    /// The account that reads and writes buckets for it.
    pub service_account: String,
    /// Whether it may not be deleted.
    pub deletion_protection: bool,
    /// Whether it is backed up every day.
    pub automatic_backups: bool,
    /// From when to when it can be cloned as it was.
    pub window: Option<(Timestamp, Timestamp)>,
    /// The databases on it.
    pub databases: Vec<String>,
    /// Its last operations, the newest first.
    pub operations: Vec<Operation>,
}

/// Judges what was seen of the instances that the model uses. `needs_window`: whether a policy promises any instant of an instance.
pub fn cloud_rows(used: &InstanceUse, seen: &Result<InstanceSeen, Trouble>, needs_window: bool) -> Vec<Row> {
    let name = &used.instance;
    let row = |what: &str, outcome: Outcome, detail: String, remedies: Vec<String>| Row {
        what: format!("{name}: {what}"),
        outcome,
        detail,
        remedies,
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(trouble) => {
            let outcome = if trouble.unreachable { Outcome::Unreachable } else { Outcome::Failed };
            return vec![row("instance", outcome, trouble.message.clone(), trouble.hints.clone())];
        }
    };
    let patch = |flag: &str| vec![format!("`gcloud sql instances patch {} --project {} {flag}`", name.instance, name.project)];
    let mut rows = Vec::new();
    rows.push(if seen.stopped || seen.state != "RUNNABLE" {
        let detail = format!("{}, {}{}", seen.version, seen.state, if seen.stopped { ", stopped" } else { "" });
        let what = &name.instance;
        let remedy = match seen.state.as_str() {
            // Suspended, it counts as stopped, and no command of ours starts it.
            "SUSPENDED" => {
                format!("`gcloud sql instances describe {what} --project {}` says why: mostly the bill, or a quota", name.project)
            }
            _ if seen.stopped => {
                format!("`gcloud sql instances patch {what} --project {} --activation-policy ALWAYS`", name.project)
            }
            "MAINTENANCE" | "ONLINE_MAINTENANCE" | "PENDING_CREATE" => {
                format!("wait: it comes back by itself; `dxdr databases operations` says what is done on `{what}`")
            }
            _ => format!(
                "`gcloud sql operations list --instance {what} --project {}` says what failed; Google's support brings it back",
                name.project
            ),
        };
        row("instance", Outcome::Failed, detail, vec![remedy])
    } else {
        row("instance", Outcome::Good, format!("{}, {}, {}", seen.version, seen.state, seen.region), Vec::new())
    });
    if seen.stopped {
        rows.extend(sharing(used, row));
        return rows;
    }
    let wanted = used.parts.iter().flat_map(|part| &part.databases);
    let missing: Vec<&str> = wanted.filter(|database| !seen.databases.contains(database)).map(String::as_str).collect();
    rows.push(if missing.is_empty() {
        row("databases", Outcome::Good, format!("{} there", seen.databases.len()), Vec::new())
    } else {
        let list = format!("`gcloud sql databases list --instance {} --project {}`", name.instance, name.project);
        row(
            "databases",
            Outcome::Failed,
            format!("not there: {}", missing.join(", ")),
            vec![format!("{list} lists those there are")],
        )
    });
    rows.push(match seen.window {
        Some((earliest, latest)) => {
            row("recovery window", Outcome::Good, format!("from {earliest:.0} to {latest:.0}"), Vec::new())
        }
        None => {
            let outcome = if needs_window { Outcome::Failed } else { Outcome::Warning };
            let detail = "its log is not kept: it can be brought back to backups and exports only".to_owned();
            row("recovery window", outcome, detail, patch("--enable-point-in-time-recovery"))
        }
    });
    rows.push(if seen.automatic_backups {
        row("automatic backups", Outcome::Good, "every day".to_owned(), Vec::new())
    } else {
        let detail = "off: only dxdr's own exports are there if the instance is lost".to_owned();
        row("automatic backups", Outcome::Warning, detail, patch("--backup-start-time 02:00"))
    });
    rows.push(if seen.deletion_protection {
        row("deletion protection", Outcome::Good, "on".to_owned(), Vec::new())
    } else {
        row("deletion protection", Outcome::Warning, "off: one command removes it".to_owned(), patch("--deletion-protection"))
    });
    rows.extend(sharing(used, row));
    rows
}

fn sharing(used: &InstanceUse, row: impl Fn(&str, Outcome, String, Vec<String>) -> Row) -> Option<Row> {
    let names =
        |names: &[&dxdr_environment::EnvironmentName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some((database, owners)) = used.contested().into_iter().next() {
        let detail = format!("database `{database}` belongs to more than one environment: {}", names(&owners));
        let remedy = "give each environment a database of its own: restoring one would replace the other's data".to_owned();
        return Some(row("sharing", Outcome::Failed, detail, vec![remedy]));
    }
    if !used.is_shared() {
        return None;
    }
    let all: Vec<_> = used.environments().into_iter().collect();
    if let Some(whole) = used.parts.iter().find(|part| part.databases.is_empty()) {
        let detail = format!("{} says that all of it is its own, and others are there: {}", whole.environment, names(&all));
        let remedy = "name its databases in the manifest: `cloudSql.databases`".to_owned();
        return Some(row("sharing", Outcome::Failed, detail, vec![remedy]));
    }
    let detail = format!("by {}: they wait for one another, and nothing that touches all of it is done", names(&all));
    Some(row("sharing", Outcome::Good, detail, Vec::new()))
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{EnvironmentName, InstanceName};

    use super::*;
    use crate::instance::Part;

    fn used(parts: &[(&str, &[&str])]) -> InstanceUse {
        let parts = parts.iter().map(|(environment, databases)| Part {
            environment: EnvironmentName::parse(environment).unwrap(),
            name: "orders".to_owned(),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        });
        InstanceUse { instance: InstanceName::new("p", "i"), parts: parts.collect() }
    }

    fn seen() -> InstanceSeen {
        InstanceSeen {
            version: "POSTGRES_15".to_owned(),
            state: "RUNNABLE".to_owned(),
            stopped: false,
            region: "europe-west1".to_owned(),
            service_account: "a@b".to_owned(),
            deletion_protection: true,
            automatic_backups: true,
            window: Some((Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)),
            databases: vec!["a".to_owned(), "b".to_owned()],
            operations: Vec::new(),
        }
    }

    fn outcomes(rows: &[Row]) -> Vec<(&str, Outcome)> {
        rows.iter().map(|row| (row.what.rsplit(": ").next().unwrap(), row.outcome)).collect()
    }

    #[test]
    fn an_instance_as_it_should_be_is_good_in_every_row() {
        let rows = cloud_rows(&used(&[("staging", &["a"]), ("dev", &["b"])]), &Ok(seen()), true);
        assert!(rows.iter().all(|row| row.outcome == Outcome::Good), "{rows:?}");
        assert_eq!(rows.len(), 6);
    }

    #[test]
    fn everything_that_is_wrong_has_a_remedy() {
        let stopped = cloud_rows(&used(&[("staging", &["a"])]), &Ok(InstanceSeen { stopped: true, ..seen() }), true);
        assert_eq!(outcomes(&stopped), [("instance", Outcome::Failed)]);
        let wrong = InstanceSeen {
            state: "MAINTENANCE".to_owned(),
            deletion_protection: false,
            automatic_backups: false,
            window: None,
            databases: Vec::new(),
            ..seen()
        };
        let rows = cloud_rows(&used(&[("staging", &["a"])]), &Ok(wrong), true);
        assert_eq!(
            outcomes(&rows),
            [
                ("instance", Outcome::Failed),
                ("databases", Outcome::Failed),
                ("recovery window", Outcome::Failed),
                ("automatic backups", Outcome::Warning),
                ("deletion protection", Outcome::Warning),
            ]
        );
        assert!(rows.iter().all(|row| !row.remedies.is_empty()));
    }

    #[test]
    fn only_what_somebody_stopped_is_told_to_be_started() {
        let remedy = |state: &str, stopped| {
            let seen = InstanceSeen { state: state.to_owned(), stopped, ..seen() };
            cloud_rows(&used(&[("staging", &["a"])]), &Ok(seen), false).remove(0).remedies.join("; ")
        };
        assert!(remedy("RUNNABLE", true).contains("--activation-policy ALWAYS"));
        for (state, stopped, part) in [
            ("MAINTENANCE", false, "wait: it comes back by itself"),
            ("FAILED", false, "gcloud sql operations list --instance i"),
            ("SUSPENDED", true, "gcloud sql instances describe i"),
        ] {
            let text = remedy(state, stopped);
            assert!(text.contains(part) && !text.contains("--activation-policy"), "{state}: {text}");
        }
    }

    #[test]
    fn whoever_shares_says_what_is_its_own_and_nobody_elses() {
        let last = |parts: &[(&str, &[&str])]| cloud_rows(&used(parts), &Ok(seen()), false).pop().unwrap();
        let contested = last(&[("staging", &["a"]), ("dev", &["a"])]);
        assert_eq!(contested.outcome, Outcome::Failed);
        assert!(contested.detail.contains("`a` belongs to more than one environment: dev, staging"), "{}", contested.detail);
        let whole = last(&[("staging", &[]), ("dev", &["a"])]);
        assert!(whole.outcome == Outcome::Failed && whole.detail.starts_with("staging says that all of it is its own"));
    }
}
