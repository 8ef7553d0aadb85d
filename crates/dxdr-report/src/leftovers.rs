//! What dxdr has left on instances of a database service, and on the way between them.

use dxdr_plan::instance::leftover::{Kept, Left, LeftBackup, LeftTransfer, Leftover, MadeBackup, Transfer};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    quantity::{bytes, duration},
    table::fitting,
};

/// What it is, for people.
pub fn what(left: &Left) -> String {
    match &left.database {
        Some(database) => format!("database `{database}` of {}", left.instance),
        None => left.instance.to_string(),
    }
}

/// What an object on the way is, for people.
pub fn object(transfer: &Transfer) -> String {
    format!("object `{}` of store {}", transfer.key, transfer.store)
}

/// What a backup is, for people.
pub fn backup(backup: &MadeBackup) -> String {
    format!("backup {} of {}", backup.name, backup.instance)
}

/// Tables, and what to do about those that stay.
pub fn text(
    leftovers: &[Leftover],
    transfers: &[LeftTransfer],
    backups: &[LeftBackup],
    now: Timestamp,
    width: Option<usize>,
) -> String {
    if leftovers.is_empty() && transfers.is_empty() && backups.is_empty() {
        return "nothing of dxdr's is left on the instances, or between them".to_owned();
    }
    let mut text = String::new();
    if !leftovers.is_empty() {
        let rows = leftovers.iter().map(|leftover| {
            let [becomes, reason] = becomes(leftover.kept.as_ref(), "its time is over, and nobody uses it");
            let database = leftover.left.database.clone().unwrap_or_else(|| "-".to_owned());
            vec![leftover.left.instance.to_string(), database, leftover.left.run.clone(), becomes, reason]
        });
        let header = ["INSTANCE", "DATABASE", "RUN", "BECOMES", "BECAUSE"];
        text.push_str(&fitting(&header, rows.collect(), width, &["RUN", "BECAUSE"]));
    }
    if !transfers.is_empty() {
        let rows = transfers.iter().map(|left| {
            let [becomes, reason] = becomes(left.kept.as_ref(), "its run is over");
            let age = left.since.map_or_else(|| "-".to_owned(), |since| duration(now.duration_since(since)));
            let transfer = &left.transfer;
            vec![transfer.store.clone(), transfer.key.clone(), bytes(transfer.size), age, becomes, reason]
        });
        let header = ["STORE", "OBJECT", "SIZE", "AGE OF ITS RUN", "BECOMES", "BECAUSE"];
        text.push_str(&fitting(&header, rows.collect(), width, &["BECAUSE", "SIZE"]));
    }
    if !backups.is_empty() {
        let rows = backups.iter().map(|left| {
            let [becomes, reason] = becomes(left.kept.as_ref(), "no recovery point relies on it");
            let made = &left.backup;
            let age = made.taken.map_or_else(|| "-".to_owned(), |taken| duration(now.duration_since(taken)));
            let size = made.size.map_or_else(|| "-".to_owned(), bytes);
            vec![made.instance.to_string(), made.name.clone(), size, age, becomes, reason]
        });
        let header = ["INSTANCE", "BACKUP", "SIZE", "AGE", "BECOMES", "BECAUSE"];
        text.push_str(&fitting(&header, rows.collect(), width, &["BECAUSE", "SIZE"]));
    }
    let of_instances = leftovers.iter().map(|leftover| (what(&leftover.left), &leftover.kept));
    let of_stores = transfers.iter().map(|left| (object(&left.transfer), &left.kept));
    let of_backups = backups.iter().map(|left| (backup(&left.backup), &left.kept));
    for (what, kept) in of_instances.chain(of_stores).chain(of_backups) {
        if let Some(remedy) = kept.as_ref().and_then(|kept| kept.remedy.as_ref()) {
            text.push_str(&format!("{what}: {remedy}\n"));
        }
    }
    text
}

fn becomes(kept: Option<&Kept>, otherwise: &str) -> [String; 2] {
    match kept {
        None => ["goes".to_owned(), otherwise.to_owned()],
        Some(kept) => ["stays".to_owned(), kept.reason.clone()],
    }
}

/// The same as `dxdr.io/databases-reap/v1`; `done`: what goes was removed.
pub fn json(leftovers: &[Leftover], transfers: &[LeftTransfer], backups: &[LeftBackup], done: bool) -> Value {
    let reason = |kept: &Option<Kept>| kept.as_ref().map(|kept| kept.reason.clone());
    let remedy = |kept: &Option<Kept>| kept.as_ref().and_then(|kept| kept.remedy.clone());
    let one = |leftover: &Leftover| {
        let left = &leftover.left;
        json!({
            "project": left.instance.project, "instance": left.instance.instance, "database": left.database, "run": left.run,
            "expires": left.expires.map(|expires| expires.to_string()), "goes": leftover.kept.is_none(),
            "reason": reason(&leftover.kept), "remedy": remedy(&leftover.kept),
        })
    };
    let object = |left: &LeftTransfer| {
        let transfer = &left.transfer;
        json!({
            "store": transfer.store, "key": transfer.key, "run": transfer.run, "size": transfer.size,
            "since": left.since.map(|since| since.to_string()), "goes": left.kept.is_none(),
            "reason": reason(&left.kept), "remedy": remedy(&left.kept),
        })
    };
    let backup = |left: &LeftBackup| {
        let made = &left.backup;
        json!({
            "project": made.instance.project, "instance": made.instance.instance, "name": made.name, "run": made.run,
            "taken": made.taken.map(|taken| taken.to_string()), "size": made.size, "goes": left.kept.is_none(),
            "reason": reason(&left.kept), "remedy": remedy(&left.kept),
        })
    };
    json!({
        "format": "dxdr.io/databases-reap/v1", "done": done, "leftovers": leftovers.iter().map(one).collect::<Vec<_>>(),
        "objects": transfers.iter().map(object).collect::<Vec<_>>(),
        "backups": backups.iter().map(backup).collect::<Vec<_>>(),
    })
}
