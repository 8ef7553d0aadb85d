//! One database in the place of another, by renaming both in one transaction.

use std::time::Duration;

use dxdr_provider::{
    DatabaseError, DatabaseErrorKind,
    database::Swap,
    mark::{aside, in_place, mark, placed, was_placed},
};
use serde::Deserialize;

use crate::{
    quoting::{identifier, literal},
    session::Server,
};

/// How often connections that come anew are cut while the server waits for the last one to go.
const BETWEEN_CUTS: Duration = Duration::from_millis(100);
/// How often it is tried: the server itself waits five seconds each time.
const ATTEMPTS: u32 = 6;

#[derive(Deserialize)]
struct Found {
    name: String,
    comment: Option<String>,
}

/// What the server has of the three names of a swap: the comment of each that is there.
#[derive(Debug, Default)]
struct Places {
    live: Option<Option<String>>,
    from: Option<Option<String>>,
    kept: Option<Option<String>>,
}

impl Places {
    async fn look(server: Server<'_>, swap: &Swap) -> Result<Self, DatabaseError> {
        let names = [&swap.name, &swap.from, &swap.kept].map(|name| literal(name)).join(", ");
        let question = format!(
            "SELECT coalesce(json_agg(json_build_object('name', datname, 'comment', shobj_description(oid, 'pg_database'))), '[]')
 FROM pg_database WHERE datname IN ({names});\n"
        );
        let answer = server.administer("swap", &question).await?;
        let found: Vec<Found> = serde_json::from_value(answer)
            .map_err(|error| server.error(DatabaseErrorKind::Other, "swap", format!("its answer is not understood: {error}")))?;
        let comment = |name: &str| found.iter().find(|found| found.name == name).map(|found| found.comment.clone());
        Ok(Self { live: comment(&swap.name), from: comment(&swap.from), kept: comment(&swap.kept) })
    }

    /// Renaming is one transaction, so this is what it looks like behind it. Without the mark it only looks so: what was to take the place
    /// may have been dropped.
    fn swapped(&self, swap: &Swap) -> bool {
        let is_marked = |comment: &Option<String>, with: &str| comment.as_deref().and_then(mark) == Some(with);
        match (&self.live, &self.from, &self.kept) {
            (Some(live), None, kept) => {
                let is_kept = kept.as_ref().is_some_and(|kept| is_marked(kept, &swap.run));
                is_kept || live.as_deref().is_some_and(|comment| was_placed(comment, &swap.run, &swap.from))
            }
            _ => false,
        }
    }
}

/// Whether it was done.
pub(crate) async fn swapped(server: Server<'_>, swap: &Swap) -> Result<bool, DatabaseError> {
    Ok(Places::look(server, swap).await?.swapped(swap))
}

/// Swaps, or finds that it was done.
pub(crate) async fn swap(server: Server<'_>, swap: &Swap) -> Result<(), DatabaseError> {
    let places = Places::look(server, swap).await?;
    if places.swapped(swap) {
        return Ok(());
    }
    let script = match (places.live, places.from, places.kept) {
        (Some(live), Some(from), None) => script(swap, Some(live), from),
        (None, Some(from), _) => script(swap, None, from),
        (_, None, _) => {
            let message = format!("`{}`, which was to take its place, is not there", swap.from);
            return Err(server.error(DatabaseErrorKind::NotFound, "swap", message));
        }
        (Some(_), Some(_), Some(_)) => {
            let message = format!("there is a database `{}` already", swap.kept);
            return Err(server.error(DatabaseErrorKind::NameTaken, "swap", message));
        }
    };
    let mut attempt = 1;
    loop {
        let renamed = while_cutting(server, swap, server.administer("swap", &script)).await;
        match renamed {
            Err(error) if error.kind == DatabaseErrorKind::Busy && attempt < ATTEMPTS => attempt += 1,
            other => return other.map(|_| ()),
        }
    }
}

/// The mark goes with the name: what is live does not carry that of the run, or somebody who cleans up would take it away.
fn script(swap: &Swap, live: Option<Option<String>>, from: Option<String>) -> String {
    let (name, kept) = (identifier(&swap.name), identifier(&swap.kept));
    let mut script = "BEGIN;\n".to_owned();
    let plain = in_place(&swap.run, from.as_deref());
    let comment = match live {
        Some(live) => {
            let comment = literal(&aside(&swap.run, live.as_deref()));
            script.push_str(&format!("ALTER DATABASE {name} RENAME TO {kept};\nCOMMENT ON DATABASE {kept} IS {comment};\n"));
            plain
        }
        None => Some(placed(&swap.run, &swap.from, plain.as_deref())),
    };
    let comment = comment.map_or_else(|| "NULL".to_owned(), |comment| literal(&comment));
    script.push_str(&format!(
        "ALTER DATABASE {} RENAME TO {name};\nCOMMENT ON DATABASE {name} IS {comment};\nCOMMIT;\n",
        identifier(&swap.from)
    ));
    script
}

/// Does it while connections to both databases are cut, again and again: renaming holds new ones up, but not before it has begun.
async fn while_cutting<T>(
    server: Server<'_>,
    swap: &Swap,
    doing: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let cut = format!(
        "SELECT json_build_object('cut', count(pg_terminate_backend(pid))) FROM pg_stat_activity
 WHERE datname IN ({}, {}) AND pid <> pg_backend_pid();\n",
        literal(&swap.name),
        literal(&swap.from)
    );
    server.administer("swap", &cut).await?;
    let cutting = async {
        loop {
            tokio::time::sleep(BETWEEN_CUTS).await;
            if let Err(error) = server.administer("swap", &cut).await {
                return error;
            }
        }
    };
    tokio::select! {
        done = doing => done,
        error = cutting => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_live_carries_no_mark_and_what_is_kept_does() {
        let swap = Swap { name: "orders".to_owned(), from: "new".to_owned(), kept: "old".to_owned(), run: "r-1".to_owned() };
        assert_eq!(
            script(&swap, Some(Some("it's ours".to_owned())), Some("dxdr run r-1\nit's theirs".to_owned())),
            "BEGIN;\n\
             ALTER DATABASE \"orders\" RENAME TO \"old\";\n\
             COMMENT ON DATABASE \"old\" IS 'dxdr run r-1\nit''s ours';\n\
             ALTER DATABASE \"new\" RENAME TO \"orders\";\n\
             COMMENT ON DATABASE \"orders\" IS 'it''s theirs';\n\
             COMMIT;\n"
        );
        assert_eq!(
            script(&swap, None, Some("dxdr run r-1\nit's theirs".to_owned())),
            "BEGIN;\n\
             ALTER DATABASE \"new\" RENAME TO \"orders\";\n\
             COMMENT ON DATABASE \"orders\" IS 'dxdr put in place by run r-1, from new\nit''s theirs';\n\
             COMMIT;\n"
        );
    }

    #[test]
    fn that_it_was_done_is_told_by_the_mark_and_by_nothing_else() {
        let swap = Swap { name: "orders".to_owned(), from: "new".to_owned(), kept: "old".to_owned(), run: "r-1".to_owned() };
        let places = |live: Option<&str>, from: Option<&str>, kept: Option<&str>| {
            let comment =
                |place: Option<&str>| place.map(|comment| Some(comment.to_owned()).filter(|comment| !comment.is_empty()));
            Places { live: comment(live), from: comment(from), kept: comment(kept) }
        };
        assert!(places(Some(""), None, Some("dxdr run r-1\nit's ours")).swapped(&swap));
        assert!(places(Some("dxdr put in place by run r-1, from new"), None, None).swapped(&swap));
        for not in [
            places(Some(""), Some("dxdr run r-1"), None),
            places(Some(""), None, Some("dxdr run r-2")),
            places(Some(""), None, Some("")),
            places(Some(""), None, None),
            places(Some("dxdr run r-1"), None, None),
            places(Some("dxdr put in place by run r-1, from newer"), None, None),
            places(None, None, Some("dxdr run r-1")),
            places(Some(""), Some("dxdr run r-1"), Some("dxdr run r-1")),
        ] {
            assert!(!not.swapped(&swap), "{not:?}");
        }
        // What took nobody's place has not been put back by having been put there.
        assert!(!places(Some("dxdr put in place by run r-1, from new"), None, None).swapped(&swap.reversed()));
    }
}
