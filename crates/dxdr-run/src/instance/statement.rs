//! What is asked of the databases on an instance in SQL, and what follows from the answers.
//!
//! Everything is decided from which databases are there and what their comments say, so whoever goes on behind a process that died finds out
//! what is left to do by asking again.

use dxdr_plan::instance::DatabaseSeen;
use dxdr_provider::{
    InstanceErrorKind,
    database::Swap,
    instance::Rows,
    mark::{aside, in_place, mark, marked, placed, was_placed},
    quoting::{identifier, literal},
};

/// The database that statements about other databases are executed in: every server has it.
pub(crate) const ADMINISTRATION: &str = "postgres";

/// What stands in front of what is asked and said in a database. Whoever owns it may have set anything for those who connect: as whom, for how long,
/// what names mean, and how they are written. Without a path only `pg_catalog` is looked through.
pub(crate) const PLAINLY: &str = "SET role TO none; SET search_path TO ''; SET quote_all_identifiers TO off; SET statement_timeout TO 0; SET lock_timeout TO 0; ";

/// The same text, understood and answered the same in every database.
pub(crate) fn plainly(text: &str) -> String {
    format!("{PLAINLY}{text}")
}

/// The databases on a server, with their comments and how many are connected to them.
pub(crate) const CATALOGUE: &str = "SELECT datname AS name, shobj_description(oid, 'pg_database') AS comment, \
(SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid AND pid <> pg_backend_pid()) AS connections \
FROM pg_database d WHERE NOT datistemplate ORDER BY datname";

/// How much there is in a database besides what every new one has.
pub(crate) const RELATIONS: &str = "SELECT count(*) AS relations FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'";

/// Who asks, and what the database is like that is asked.
pub(crate) const DESCRIPTION: &str = "SELECT current_user AS account, \
CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'cloudsqlsuperuser' AND pg_has_role(oid, 'MEMBER')) THEN 'yes' ELSE 'no' END AS administrator, \
current_setting('server_version') AS version, pg_database_size(current_database()) AS size, \
(SELECT string_agg(extname || ' ' || extversion, ',' ORDER BY extname) FROM pg_extension) AS extensions";

/// A database on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) connections: u64,
}

impl Found {
    /// The run that made it, by its mark.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.comment.as_deref().and_then(mark)
    }
}

/// The answer to [`CATALOGUE`]; `None` when it is no such answer.
pub(crate) fn catalogue(rows: &Rows) -> Option<Vec<Found>> {
    // What was left out may be what is asked about.
    if rows.truncated {
        return None;
    }
    let found = |row: &Vec<Option<String>>| match row.as_slice() {
        [Some(name), comment, Some(connections)] => {
            // A comment of no characters is none.
            let comment = comment.clone().filter(|comment| !comment.is_empty());
            Some(Found { name: name.clone(), comment, connections: connections.parse().ok()? })
        }
        _ => None,
    };
    rows.values.iter().map(found).collect()
}

/// The answer to [`RELATIONS`]; `None` when it is no such answer.
pub(crate) fn relations(rows: &Rows) -> Option<u64> {
    match rows.values.as_slice() {
        [row] => row.first()?.as_ref()?.parse().ok(),
        _ => None,
    }
}

/// The answer to [`DESCRIPTION`]; `None` when it is no such answer.
pub(crate) fn description(rows: &Rows) -> Option<DatabaseSeen> {
    let [row] = rows.values.as_slice() else { return None };
    let [Some(account), Some(administrator), Some(version), Some(size), extensions] = row.as_slice() else { return None };
    let extensions = extensions.as_deref().unwrap_or_default().split(',').filter_map(|extension| extension.split_once(' '));
    Some(DatabaseSeen {
        account: account.clone(),
        administrator: administrator == "yes",
        version: version.clone(),
        size: size.parse().ok()?,
        extensions: extensions.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
    })
}

/// One change of the databases on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Rename { from: String, to: String },
    Comment { database: String, comment: Option<String> },
}

impl Change {
    fn statement(&self) -> String {
        match self {
            Self::Rename { from, to } => format!("ALTER DATABASE {} RENAME TO {}", identifier(from), identifier(to)),
            Self::Comment { database, comment } => {
                let comment = comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
                format!("COMMENT ON DATABASE {} IS {comment}", identifier(database))
            }
        }
    }
}

/// Puts the mark of a run on a database.
pub(crate) fn marking(database: &str, run: &str, comment: Option<&str>) -> String {
    Change::Comment { database: database.to_owned(), comment: Some(marked(run, comment)) }.statement()
}

/// Cuts the connections to databases.
pub(crate) fn cutting(databases: &[&str]) -> String {
    let names: Vec<String> = databases.iter().map(|name| literal(name)).collect();
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}) AND pid <> pg_backend_pid()",
        names.join(", ")
    )
}

/// Cuts the connections and makes the changes, all or none.
pub(crate) fn swapping(swap: &Swap, changes: &[Change]) -> String {
    let changes: Vec<String> = changes.iter().map(Change::statement).collect();
    format!("{};\nBEGIN;\n{};\nCOMMIT;", cutting(&[&swap.name, &swap.from]), changes.join(";\n"))
}

/// Cuts the connections to a database and gives it another name.
pub(crate) fn renaming(from: &str, to: &str) -> String {
    let change = Change::Rename { from: from.to_owned(), to: to.to_owned() };
    format!("{};\n{};", cutting(&[from]), change.statement())
}

/// Why databases cannot change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: InstanceErrorKind,
    pub(crate) message: String,
}

/// Whether a swap was done, but for a comment perhaps.
pub(crate) fn swapped(found: &[Found], swap: &Swap) -> bool {
    let is_there = |name: &str| found.iter().any(|found| found.name == name);
    is_there(&swap.name) && !is_there(&swap.from) && changes(found, swap).is_ok()
}

/// What is left to do of a swap; nothing when it was done. The mark goes with the name: what is live carries none, or somebody who cleans up
/// would take it away. Should a server take the changes one by one after all, each state between them leads to the same end.
pub(crate) fn changes(found: &[Found], swap: &Swap) -> Result<Vec<Change>, Refusal> {
    let of = |name: &str| found.iter().find(|found| found.name == name);
    let named = |name: &str, comment: Option<String>| Change::Comment { database: name.to_owned(), comment };
    let renamed = |from: &str, to: &str| Change::Rename { from: from.to_owned(), to: to.to_owned() };
    let plain = |found: &Found| in_place(&swap.run, found.comment.as_deref());
    match (of(&swap.name), of(&swap.from), of(&swap.kept)) {
        // Without the mark it only looks as if it was done: what was to take the place may have been dropped.
        (Some(live), None, Some(kept)) if kept.mark() == Some(swap.run.as_str()) => match plain(live) {
            comment if comment == live.comment => Ok(Vec::new()),
            comment => Ok(vec![named(&swap.name, comment)]),
        },
        (Some(live), Some(from), None) => Ok(vec![
            named(&swap.name, Some(aside(&swap.run, live.comment.as_deref()))),
            renamed(&swap.name, &swap.kept),
            renamed(&swap.from, &swap.name),
            named(&swap.name, plain(from)),
        ]),
        (None, Some(from), kept) => {
            let comment = match kept {
                Some(kept) if kept.mark() == Some(swap.run.as_str()) => plain(from),
                _ => Some(placed(&swap.run, &swap.from, plain(from).as_deref())),
            };
            Ok(vec![renamed(&swap.from, &swap.name), named(&swap.name, comment)])
        }
        (Some(live), None, _) if live.comment.as_deref().is_some_and(|comment| was_placed(comment, &swap.run, &swap.from)) => {
            Ok(Vec::new())
        }
        (_, None, _) => Err(Refusal {
            kind: InstanceErrorKind::NotFound,
            message: format!("`{}`, which was to take its place, is not there", swap.from),
        }),
        (Some(_), Some(_), Some(_)) => {
            Err(Refusal { kind: InstanceErrorKind::NameTaken, message: format!("there is a database `{}` already", swap.kept) })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn swap() -> Swap {
        Swap { name: "orders".to_owned(), from: "new".to_owned(), kept: "old".to_owned(), run: "r-1".to_owned() }
    }

    fn database(name: &str, comment: Option<&str>) -> Found {
        Found { name: name.to_owned(), comment: comment.map(str::to_owned), connections: 0 }
    }

    /// Databases by their names: what is in them, and their comments.
    type Server = BTreeMap<String, (&'static str, Option<String>)>;

    fn seen(server: &Server) -> Vec<Found> {
        server.iter().map(|(name, (_, comment))| database(name, comment.as_deref())).collect()
    }

    fn make(server: &mut Server, change: &Change) {
        match change.clone() {
            Change::Rename { from, to } => {
                let content = server.remove(&from).unwrap();
                assert_eq!(server.insert(to, content), None, "a name is never taken from another");
            }
            Change::Comment { database, comment } => server.get_mut(&database).unwrap().1 = comment,
        }
    }

    #[test]
    fn what_is_live_carries_no_mark_and_what_is_kept_does() {
        let found = [database("new", Some("dxdr run r-1\nit's theirs")), database("orders", Some("it's ours"))];
        assert_eq!(
            swapping(&swap(), &changes(&found, &swap()).unwrap()),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('orders', 'new') AND pid <> pg_backend_pid();\n\
             BEGIN;\n\
             COMMENT ON DATABASE \"orders\" IS 'dxdr run r-1\nit''s ours';\n\
             ALTER DATABASE \"orders\" RENAME TO \"old\";\n\
             ALTER DATABASE \"new\" RENAME TO \"orders\";\n\
             COMMENT ON DATABASE \"orders\" IS 'it''s theirs';\n\
             COMMIT;"
        );
    }

    #[test]
    fn a_swap_that_breaks_off_anywhere_is_finished_and_can_be_undone_and_touches_no_neighbour() {
        // What a person wrote, and what another run did: its mark is its own, and so is its word that it put a database there.
        let words = ["words", "dxdr put in place by run r-0, from elsewhere\nwords", "dxdr run r-0\nwords"];
        for (with_original, words) in words.map(|words| (true, words)).into_iter().chain([(false, "")]) {
            for swap in [swap(), swap().reversed()] {
                let mut before: Server = BTreeMap::from([
                    ("neighbour".to_owned(), ("neighbour", Some("dxdr run r-1".to_owned()))),
                    (swap.from.clone(), ("brought", Some("dxdr run r-1\nas it was".to_owned()))),
                ]);
                if with_original {
                    before.insert(swap.name.clone(), ("live", Some(words.to_owned())));
                }
                let all = changes(&seen(&before), &swap).unwrap();
                for done in 0..=all.len() {
                    let mut server = before.clone();
                    all.iter().take(done).for_each(|change| make(&mut server, change));
                    let left = changes(&seen(&server), &swap);
                    assert_eq!(
                        swapped(&seen(&server), &swap),
                        left.is_ok() && !server.contains_key(&swap.from),
                        "{done} of {all:?}"
                    );
                    // Without an original only the mark tells that it was done: it is not there any more to be put in place.
                    if !with_original && done > 0 {
                        assert_eq!(left.ok(), (done == all.len()).then(Vec::new));
                        continue;
                    }
                    left.unwrap().iter().for_each(|change| make(&mut server, change));
                    assert_eq!(server["neighbour"], before["neighbour"]);
                    let comment = match with_original {
                        true => "as it was".to_owned(),
                        false => format!("dxdr put in place by run r-1, from {}\nas it was", swap.from),
                    };
                    assert_eq!(server["orders"], ("brought", Some(comment)), "{done} of {all:?}");
                    assert_eq!(server.len(), before.len());
                    if with_original {
                        assert_eq!(server[&swap.kept], ("live", Some(format!("dxdr run r-1\n{words}"))));
                        assert_eq!(changes(&seen(&server), &swap), Ok(Vec::new()), "done again, nothing is left to do");
                        let back = changes(&seen(&server), &swap.reversed()).unwrap();
                        back.iter().for_each(|change| make(&mut server, change));
                        assert_eq!(server, before);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let gone = changes(&[database("orders", None)], &swap()).unwrap_err();
        assert_eq!(
            (gone.kind, gone.message.as_str()),
            (InstanceErrorKind::NotFound, "`new`, which was to take its place, is not there")
        );
        let other = [database("orders", Some("dxdr put in place by run r-1, from newer"))];
        assert_eq!(changes(&other, &swap()).unwrap_err().kind, InstanceErrorKind::NotFound, "not from there");
        let unmarked = [database("orders", None), database("old", None)];
        assert_eq!(changes(&unmarked, &swap()).unwrap_err().kind, InstanceErrorKind::NotFound, "the old one is a stranger's");
        let taken = [database("orders", None), database("new", None), database("old", None)];
        assert_eq!(changes(&taken, &swap()).unwrap_err().kind, InstanceErrorKind::NameTaken);
    }

    #[test]
    fn an_answer_that_is_cut_short_proves_nothing() {
        let row = vec![Some("orders".to_owned()), Some(String::new()), Some("2".to_owned())];
        let rows = Rows { columns: Vec::new(), values: vec![row], truncated: false };
        assert_eq!(catalogue(&rows), Some(vec![Found { connections: 2, ..database("orders", None) }]));
        assert_eq!(catalogue(&Rows { truncated: true, ..rows.clone() }), None);
        assert_eq!(catalogue(&Rows { values: vec![vec![None]], ..rows }), None);
    }
}
