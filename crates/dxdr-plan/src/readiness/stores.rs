//! The stores: reachable, writable, and nothing in them that makes Velero refuse them.

use dxdr_policy::{BackupStore, StoreLocation};

use super::{Model, Observed, Outcome, Row, StoreObserved, Writing};

pub(super) fn rows(model: &Model<'_>, observed: &Observed) -> Vec<Row> {
    let seen = model.stores.iter().filter_map(|store| Some((store, observed.stores.get(store.name.as_str())?)));
    seen.flat_map(|(store, seen)| of_store(model, store, seen)).collect()
}

fn of_store(model: &Model<'_>, store: &BackupStore, seen: &StoreObserved) -> Vec<Row> {
    let name = &store.name;
    let mut rows = vec![match &seen.unknown_folders {
        Ok(_) => Row::good(format!("store {name}: readable"), &seen.place),
        Err(trouble) => return vec![Row::trouble(format!("store {name}: readable"), trouble)],
    }];
    rows.push(writing(name, seen));
    if let Ok(folders) = &seen.unknown_folders
        && !matches!(store.location, StoreLocation::Directory { .. })
    {
        rows.push(self::folders(model, store, folders));
    }
    rows
}

fn writing(name: &str, seen: &StoreObserved) -> Row {
    let what = format!("store {name}: writable");
    match &seen.writing {
        Writing::NotTried => Row::new(what, Outcome::Unknown, "not tried, since nothing is to be changed")
            .remedy("without `--dry-run` a small object is written and removed again"),
        Writing::Works => Row::good(what, "a small object was written and removed again; a second writer of it was refused"),
        Writing::Unconditional => {
            Row::failed(what, "it ignores `If-None-Match: *`: of two writers of one key both succeed, and the last one wins")
                .remedy("use a store with conditional writes: two runs could otherwise take the same recovery point for theirs")
        }
        Writing::NotRemoved(key, trouble) => Row {
            remedies: trouble.hints.clone(),
            ..Row::warning(what, format!("`{key}` was written, and cannot be removed: {}", trouble.message))
        }
        .remedy("without the right to delete, points are not removed when they expire, and leftovers of runs stay"),
        Writing::Refused(trouble) => Row::trouble(what, trouble),
    }
}

fn folders(model: &Model<'_>, store: &BackupStore, folders: &[String]) -> Row {
    let what = format!("store {}: folders of Velero's prefix", store.name);
    if folders.is_empty() {
        return Row::good(what, "none that Velero does not know");
    }
    let names = folders.iter().map(|folder| format!("`{folder}/`")).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "{names}: Velero does not know it, and calls a location with such a folder unavailable, for backups and restores alike"
    );
    let used = model.by_velero().any(|policy| policy.store == store.name);
    let outcome = if used { Outcome::Failed } else { Outcome::Warning };
    let row = Row::new(what, outcome, detail);
    let row = match &store.location {
        StoreLocation::S3(location) => {
            let from = |folder: &String| format!("s3://{}/{}", location.bucket, joined(&location.prefix, folder));
            let to = |folder: &String| format!("s3://{}/elsewhere/{folder}/", location.bucket);
            let moves = folders.iter().take(3).map(|folder| format!("`aws s3 mv --recursive {} {}`", from(folder), to(folder)));
            let moves = moves.collect::<Vec<_>>().join("; ");
            row.remedy(format!("move it out of the prefix: {moves}"))
        }
        StoreLocation::Gcs(location) => {
            let bucket = format!("gs://{}", location.bucket);
            let from = |folder: &String| format!("{bucket}/{}*", joined(&location.prefix, folder));
            let moves =
                folders.iter().take(3).map(|folder| format!("`gcloud storage mv {} {bucket}/elsewhere/{folder}/`", from(folder)));
            let moves = moves.collect::<Vec<_>>().join("; ");
            row.remedy(format!("move it out of the prefix: {moves}"))
        }
        StoreLocation::Directory { .. } => row.remedy("move it out of the prefix"),
    };
    row.remedy("or give Velero a prefix of its own: `prefix` of the BackupStore")
}

fn joined(prefix: &str, folder: &str) -> String {
    match prefix.trim_matches('/') {
        "" => format!("{folder}/"),
        prefix => format!("{prefix}/{folder}/"),
    }
}
