//! The recovery points of a store.

use std::collections::BTreeSet;

use dxdr_catalog::{
    Component, DatabaseComponent, Engine, Entry, ForeignBackup, Interval, RecoveryPoint, Trigger, coverage::TooFarApart,
};
use dxdr_environment::InstanceName;
use dxdr_plan::restore::{Recovery, Window};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    quantity::{bytes, counted, duration, instant, seconds_at_most},
    table::fitting,
};

/// What a listing found.
#[derive(Debug)]
pub struct Points<'a> {
    /// Newest first.
    pub entries: &'a [Entry],
    /// Folders whose metadata cannot be read, with the reason.
    pub unreadable: &'a [(String, String)],
    /// Points that are not as their manifests say, with what is wrong.
    pub damaged: &'a [(String, String)],
    /// Points that are not of one instant, near enough, with how far apart their parts may lie.
    pub apart: &'a [(String, TooFarApart)],
    /// Folders that unfinished backups left.
    pub leftovers: &'a [String],
    /// What the instances can be brought back to now in whose log, or backups, parts of the points are, or why that is not known.
    pub recoveries: &'a [InstanceRecovery],
    /// Where they are.
    pub store: &'a str,
    /// Whether people are told of each part of the newest of them.
    pub parts: bool,
}

/// What an instance can be brought back to, or why that is not known.
pub type InstanceRecovery = (InstanceName, Result<Recovery, String>);

/// Points whose parts are told; the JSON has all.
const TOLD: usize = 5;

/// A table, newest first, in lines of so many characters where that is known, and what is to be said below it.
pub fn text(points: &Points<'_>, now: Timestamp, width: Option<usize>) -> String {
    let rows = points.entries.iter().map(|entry| row(entry, now)).collect();
    let header = ["INSTANT", "AGE", "NAME", "ENVIRONMENT", "STATE", "OBJECTS", "SIZE", "COVERS"];
    // What goes back to a point is its name or its instant, and whether it is complete: those stay.
    let mut text = fitting(&header, rows, width, &["COVERS", "ENVIRONMENT", "OBJECTS", "SIZE", "AGE"]);
    if points.entries.is_empty() {
        text.push_str(&format!("No recovery points in {}.\n", points.store));
    }
    if points.parts {
        let ours = points.entries.iter().filter_map(|entry| match entry {
            Entry::Ours(point) => Some(point),
            Entry::Foreign(_) => None,
        });
        for point in ours.take(TOLD) {
            text.push_str(&format!("\n{}\n{}", point.name, parts(points, point, now, width)));
        }
        text.extend(points.recoveries.iter().map(window_text));
    }
    for entry in points.entries {
        if let Entry::Ours(point) = entry {
            for gap in &point.gaps {
                text.push_str(&format!("\n{} lacks {}: {}", point.name, gap.what, gap.reason));
            }
        }
    }
    for (name, reason) in points.unreadable {
        text.push_str(&format!("\n{name} cannot be read: {reason}"));
    }
    for (name, reason) in points.damaged {
        text.push_str(&format!("\n{name} is damaged: {reason}"));
    }
    for (name, too_far) in points.apart {
        text.push_str(&format!("\n{name} is not of one instant: {too_far}"));
    }
    if !points.leftovers.is_empty() {
        text.push_str(&format!(
            "\nLeftovers of unfinished backups, or somebody else's; no recovery points: {}. `dxdr runs list` says of which runs.\n",
            points.leftovers.join(", ")
        ));
    }
    text
}

fn window_text((instance, recovery): &InstanceRecovery) -> String {
    match recovery {
        Ok(Recovery { gone: true, .. }) => format!("\n{instance} is not there any more\n"),
        Ok(Recovery { window: Some(Window { earliest, latest }), .. }) => {
            format!("\n{instance} can be recovered to any instant from {} to {}\n", instant(*earliest), instant(*latest))
        }
        Ok(Recovery { window: None, .. }) => format!("\n{instance} keeps no log, and can be recovered to no instant by it\n"),
        Err(reason) => format!("\nFrom when to when {instance} can be recovered is not known: {reason}\n"),
    }
}

fn window_json((instance, recovery): &InstanceRecovery) -> Value {
    let window = recovery.as_ref().ok().and_then(|recovery| recovery.window);
    json!({
        "instance": instance.to_string(), "earliest": window.map(|window| window.earliest.to_string()),
        "latest": window.map(|window| window.latest.to_string()), "error": recovery.as_ref().err(),
    })
}

/// The same as `dxdr.io/points/v1`.
pub fn json(points: &Points<'_>) -> Value {
    json!({
        "format": "dxdr.io/points/v1",
        "store": points.store,
        "points": points.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "unreadable": points.unreadable.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect::<Vec<_>>(),
        "damaged": points.damaged.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect::<Vec<_>>(),
        "apart": points.apart.iter().map(|(name, too_far)| json!({"name": name, "reason": too_far.to_string()})).collect::<Vec<_>>(),
        "leftovers": points.leftovers,
        "windows": points.recoveries.iter().map(window_json).collect::<Vec<_>>(),
    })
}

fn row(entry: &Entry, now: Timestamp) -> Vec<String> {
    let at = entry.instant();
    let age = at.map_or_else(|| "-".to_owned(), |at| duration(now.duration_since(at)));
    let at = at.map_or_else(|| "never completed".to_owned(), instant);
    match entry {
        Entry::Ours(point) => vec![
            at,
            age,
            point.name.clone(),
            point.environment.to_string(),
            state(point).to_owned(),
            point.resources().map_or_else(|| "-".to_owned(), |resources| resources.items.to_string()),
            bytes(point.stored_size()),
            covers(point),
        ],
        Entry::Foreign(backup) => vec![
            at,
            age,
            backup.name.clone(),
            namespaces(backup),
            format!("velero: {}", backup.phase),
            backup.items.map_or_else(|| "-".to_owned(), |items| items.to_string()),
            "-".to_owned(),
            "resources (no manifest of dxdr's)".to_owned(),
        ],
    }
}

/// What a point consists of, each part with how long it can be relied on.
fn parts(points: &Points<'_>, point: &RecoveryPoint, now: Timestamp, width: Option<usize>) -> String {
    let rows = point.components.iter().map(|component| {
        let (what, method, size) = match component {
            Component::Resources(resources) => {
                ("resources".to_owned(), "archive".to_owned(), format!("{} objects", resources.items))
            }
            Component::Volume(volume) => {
                let late = if volume.late { ", not ready then" } else { "" };
                let method = format!("{}{late}", volume.method);
                (format!("volume {}/{}", volume.namespace, volume.claim), method, size(volume.size))
            }
            Component::Database(database) => {
                (format!("database {}", database.name), database.method.clone(), size(database.size))
            }
            Component::Keys(keys) => ("sealing keys".to_owned(), "escrow".to_owned(), counted(keys.fingerprints.len(), "key")),
        };
        vec![what, instant(component.instant()), method, size, relied_text(points, point, component, now)]
    });
    fitting(&["PART", "INSTANT", "METHOD", "SIZE", "RELIED ON"], rows.collect(), width, &["SIZE", "METHOD"])
}

fn size(size: Option<u64>) -> String {
    size.map_or_else(|| "-".to_owned(), bytes)
}

/// Until when a part can be brought back: as long as the point is kept, or as long as the service keeps the log that it is in.
fn relied_until(point: &RecoveryPoint, component: &Component) -> Option<Timestamp> {
    let log = match component {
        Component::Database(database) => database.log.as_ref().map(|log| log.until),
        _ => None,
    };
    match (log, point.expires) {
        (Some(log), Some(expires)) => Some(log.min(expires)),
        (log, expires) => log.or(expires),
    }
}

/// Why a database cannot be brought back any more, by what its instance says now: that counts more than what the point says it would.
fn no_longer(points: &Points<'_>, database: &DatabaseComponent) -> Option<String> {
    let backup = database.backup.as_ref();
    let relied = |name: &InstanceName| match backup {
        Some(backup) => *name == backup.instance,
        None => database.log.is_some() && name.to_string() == database.location,
    };
    let (InstanceName { instance, .. }, recovery) =
        points.recoveries.iter().find_map(|(name, recovery)| Some((name, recovery.as_ref().ok()?)).filter(|_| relied(name)))?;
    if backup.is_some() {
        let is_there = recovery.no_backups.is_some() || recovery.backups.iter().any(|seen| seen.name == database.location);
        return (!is_there).then(|| format!("{instance} has that backup no more"));
    }
    match recovery.window {
        _ if recovery.gone => Some(format!("{instance} is not there any more")),
        None => Some(format!("{instance} keeps no log")),
        Some(Window { earliest, .. }) if database.instant < earliest => {
            Some(format!("the log of {instance} begins at {}", instant(earliest)))
        }
        Some(_) => None,
    }
}

fn relied_text(points: &Points<'_>, point: &RecoveryPoint, component: &Component, now: Timestamp) -> String {
    if let Component::Database(database) = component
        && let Some(reason) = no_longer(points, database)
    {
        return format!("no longer: {reason}");
    }
    let until = match relied_until(point, component) {
        None => "until somebody deletes it".to_owned(),
        Some(until) if until < now => format!("until {}: no longer", instant(until)),
        Some(until) => format!("until {}", instant(until)),
    };
    match component {
        // The window below has its project.
        Component::Database(database) if database.log.is_some() => {
            let instance = database.location.rsplit('/').next().unwrap_or_default();
            format!("{until}, in the log of {instance}")
        }
        Component::Database(DatabaseComponent { backup: Some(backup), location, .. }) => {
            format!("{until}, as {location} of {}", backup.instance)
        }
        _ => until,
    }
}

fn state(point: &RecoveryPoint) -> &'static str {
    if point.complete() { "complete" } else { "partial" }
}

fn covers(point: &RecoveryPoint) -> String {
    let count = |matches: fn(&Component) -> bool| point.components.iter().filter(|component| matches(component)).count();
    let volumes = count(|component| matches!(component, Component::Volume(_)));
    // One that is there by two methods is one.
    let databases = point.components.iter().filter_map(|component| match component {
        Component::Database(database) => Some(&database.name),
        _ => None,
    });
    let databases = databases.collect::<BTreeSet<_>>().len();
    let keys = point.components.iter().map(|component| match component {
        Component::Keys(keys) => keys.fingerprints.len(),
        _ => 0,
    });
    let mut parts = vec!["resources".to_owned()];
    for (count, what) in [(volumes, "volume"), (databases, "database"), (keys.sum(), "key")] {
        if count > 0 {
            parts.push(counted(count, what));
        }
    }
    parts.join(", ")
}

fn namespaces(backup: &ForeignBackup) -> String {
    if backup.included_namespaces.is_empty() { "*".to_owned() } else { backup.included_namespaces.join(",") }
}

/// One point as JSON.
pub fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Ours(point) => json!({
            "name": point.name,
            "environment": point.environment.as_str(),
            "namespaces": point.namespaces,
            "instant": point.instant.to_string(),
            "started": point.started.to_string(),
            "expires": point.expires.map(|at| at.to_string()),
            "engine": match point.engine { Engine::Native => "native", Engine::Velero => "velero" },
            "policy": point.policy,
            "trigger": match &point.trigger {
                Trigger::Requested => json!("requested"),
                Trigger::Scheduled => json!("scheduled"),
                Trigger::Protective { restore_run } => json!({"protective": restore_run}),
            },
            "run": point.run,
            "state": state(point),
            "manifest": true,
            "objects": point.resources().map(|resources| resources.items),
            "size": point.stored_size(),
            "skewSeconds": seconds_at_most(point.skew()),
            "components": point.components.iter().map(|component| component_json(point, component)).collect::<Vec<_>>(),
            "gaps": point.gaps.iter().map(|gap| json!({"what": gap.what, "reason": gap.reason})).collect::<Vec<_>>(),
        }),
        Entry::Foreign(backup) => json!({
            "name": backup.name,
            "namespaces": backup.included_namespaces,
            "instant": backup.completed.map(|at| at.to_string()),
            "started": backup.started.map(|at| at.to_string()),
            "expires": backup.expires.map(|at| at.to_string()),
            "engine": "velero",
            "state": backup.phase,
            "manifest": false,
            "restorable": backup.restorable(),
            "objects": backup.items,
            "errors": backup.errors,
            "warnings": backup.warnings,
            "schedule": backup.schedule,
        }),
    }
}

/// First and last instant; `null` where all that is known is what another clock told.
fn between(interval: Option<Interval>) -> Value {
    interval.map_or(Value::Null, |interval| json!([interval.first.to_string(), interval.last.to_string()]))
}

fn component_json(point: &RecoveryPoint, component: &Component) -> Value {
    let mut json = match component {
        Component::Resources(resources) => {
            json!({"kind": "resources", "instant": resources.instant.to_string(), "between": between(resources.between), "objects": resources.items, "bytes": resources.bytes})
        }
        Component::Volume(volume) => json!({
            "kind": "volume", "instant": volume.instant.to_string(), "between": between(volume.between), "namespace": volume.namespace, "claim": volume.claim,
            "pod": volume.pod.as_ref().map(|pod| json!({"name": pod.pod, "volume": pod.volume})),
            "method": volume.method, "driver": volume.driver, "handle": volume.handle, "size": volume.size,
            "ready": !volume.late,
        }),
        Component::Database(database) => json!({
            "kind": "database", "instant": database.instant.to_string(), "between": between(database.between), "name": database.name, "method": database.method,
            "location": database.location, "size": database.size, "consistency": database.consistency,
            "server": database.facts.as_ref().map(|facts| json!({
                "engine": facts.engine, "version": facts.version, "database": facts.database, "size": facts.size,
                "coordinates": facts.coordinates, "replica": facts.replica,
            })),
            "log": database.log.as_ref().map(|log| json!({
                "earliest": log.earliest.to_string(), "latest": log.latest.to_string(), "until": log.until.to_string(), "database": log.database,
            })),
            "backup": database.backup.as_ref().map(|backup| json!({
                "instance": backup.instance.to_string(), "ended": backup.ended.to_string(),
            })),
        }),
        Component::Keys(keys) => json!({"kind": "keys", "instant": keys.instant.to_string(), "fingerprints": keys.fingerprints}),
    };
    json["reliedUntil"] = relied_until(point, component).map(|until| until.to_string()).into();
    json
}
