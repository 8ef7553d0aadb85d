//! A dump on its way back into a server: into a new database, in one transaction.

use std::fmt::Write as _;

use bytes::Bytes;
use dxdr_environment::DatabaseFacts;
use dxdr_provider::{
    DatabaseError, DatabaseErrorKind, StorageErrorKind,
    database::{DumpPlace, Load},
    mark::{mark, marked},
    properties::Properties,
};
use futures::StreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{
    database::PostgresqlDatabase,
    dump::reason,
    program::{Program, start},
    quoting::{self, identifier, literal},
    session::Server,
};

/// As a database is while it has no mark yet: nobody can have put anything into it, whoever died between making and marking it.
const UNBORN: &str = "ALLOW_CONNECTIONS false CONNECTION LIMIT 0";
/// The first version that knows several providers of collations.
const PROVIDERS_SINCE: u64 = 150_000;

/// Makes the database. What an earlier attempt of the same run left is dropped first; what fails leaves nothing.
pub(crate) async fn load(database: &PostgresqlDatabase, load: &Load, place: &DumpPlace) -> Result<(), DatabaseError> {
    let server = database.server();
    discard(server, &load.name, &load.run).await?;
    let version = server.administer("load", "SELECT to_json(current_setting('server_version_num')::int);\n").await?;
    let (maker, script) = (database.clone(), creation(load, version.as_u64().unwrap_or_default()));
    // It goes on when nobody waits for it any more: what is made should get its mark.
    let made = tokio::spawn(async move { maker.server().administer("load", &script).await }).await;
    made.map_err(|error| server.error(DatabaseErrorKind::Other, "load", error.to_string()))??;
    let loaded = match fill(server, load, place).await {
        Ok(()) => server.administer("load", &properties(&load.facts).statements(&load.name)).await.map(|_| ()),
        Err(error) => Err(error),
    };
    if loaded.is_err() {
        // The reason is the first failure's; what cannot be dropped now is dropped when the run is resumed or cleaned up.
        if let Err(error) = discard(server, &load.name, &load.run).await {
            tracing::warn!(%error, "the database that could not be loaded is still there");
        }
    }
    loaded
}

/// Drops the database if it carries the run's mark, or was about to get it.
pub(crate) async fn discard(server: Server<'_>, name: &str, run: &str) -> Result<bool, DatabaseError> {
    let question = format!(
        "SELECT json_build_object('comment', coalesce(shobj_description(oid, 'pg_database'), ''), 'unborn', NOT datallowconn AND datconnlimit = 0)
 FROM pg_database WHERE datname = {};\n",
        literal(name)
    );
    let answer = server.administer("discard", &question).await?;
    let Some(comment) = answer.get("comment").and_then(Value::as_str) else { return Ok(false) };
    let unborn = comment.is_empty() && answer.get("unborn") == Some(&Value::Bool(true));
    if mark(comment) != Some(run) && !unborn {
        let message = format!("`{name}` does not carry the mark of run {run}");
        return Err(DatabaseError {
            hint: Some(format!("it is left alone; if nobody needs it, `DROP DATABASE {}` drops it", identifier(name))),
            ..server.error(DatabaseErrorKind::NameTaken, "discard", message)
        });
    }
    server.administer("discard", &format!("DROP DATABASE {} WITH (FORCE);\n", identifier(name))).await?;
    Ok(true)
}

fn creation(load: &Load, version: u64) -> String {
    let facts = &load.facts;
    let mut script = format!("CREATE DATABASE {} {UNBORN} TEMPLATE template0", identifier(&load.name));
    for (word, value) in [("ENCODING", &facts.encoding), ("LC_COLLATE", &facts.collation), ("LC_CTYPE", &facts.character_type)] {
        if !value.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = write!(script, " {word} {}", literal(value));
        }
    }
    if let Some(locale) = &facts.icu_locale {
        let _ = write!(script, " LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale));
    } else if let Some(locale) = &facts.builtin_locale {
        let _ = write!(script, " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", literal(locale));
    } else if version >= PROVIDERS_SINCE {
        // What is not said is as the server's own databases have it. Servers that know one provider know this one.
        script.push_str(" LOCALE_PROVIDER libc");
    }
    let name = identifier(&load.name);
    let _ = writeln!(script, ";\nCOMMENT ON DATABASE {name} IS {};", literal(&marked(&load.run, facts.comment.as_deref())));
    // Nobody but its makers has business in it until it is complete.
    let _ = writeln!(script, "REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;");
    let _ = writeln!(script, "ALTER DATABASE {name} ALLOW_CONNECTIONS true CONNECTION LIMIT -1;");
    script
}

/// What no dump has.
fn properties(facts: &DatabaseFacts) -> Properties {
    Properties { owner: facts.owner.clone(), settings: facts.settings.clone(), grants: facts.grants.clone() }
}

/// Streams the dump into `pg_restore`. Its last bytes are handed over when the digest of all of them is right: without them nothing is
/// committed.
async fn fill(server: Server<'_>, load: &Load, place: &DumpPlace) -> Result<(), DatabaseError> {
    let store_failed = |error: dxdr_provider::StorageError| {
        let kind = match error.kind {
            StorageErrorKind::Corrupt | StorageErrorKind::NotFound => DatabaseErrorKind::Corrupt,
            _ => DatabaseErrorKind::Store,
        };
        DatabaseError { source: Some(Box::new(error)), ..server.error(kind, "load", "its dump cannot be read") }
    };
    let mut reader = place.storage.get(&place.key, None).await.map_err(store_failed)?;
    let mut command = Program::Restore.command(server.connection, server.described)?;
    command.args(["--single-transaction", "--exit-on-error", "--no-password", "--format=custom"]);
    command.arg("--dbname").arg(quoting::database_argument(&load.name)).stdin(std::process::Stdio::piped());
    let mut started = start(command, server.described)?;
    let Some(mut stdin) = started.child.stdin.take() else {
        return Err(server.error(DatabaseErrorKind::Other, "load", "pg_restore has no input"));
    };
    let mut hash = Sha256::new();
    let mut behind: Option<Bytes> = None;
    let mut taken = true;
    while let Some(chunk) = reader.stream.next().await {
        let chunk = chunk.map_err(|error| DatabaseError {
            source: Some(Box::new(error)),
            ..server.error(DatabaseErrorKind::Store, "load", "its dump cannot be read to its end")
        })?;
        if chunk.is_empty() {
            continue;
        }
        hash.update(&chunk);
        if let Some(previous) = behind.replace(chunk)
            && stdin.write_all(&previous).await.is_err()
        {
            // It ended before its input did, and says why.
            taken = false;
            break;
        }
    }
    if taken {
        let found: [u8; 32] = hash.finalize().into();
        if place.sha256.is_some_and(|expected| expected != found) {
            // Dropping the program kills it; the server rolls back.
            return Err(DatabaseError {
                hint: Some("restore another recovery point; `dxdr points` says which are damaged".to_owned()),
                ..server.error(DatabaseErrorKind::Corrupt, "load", format!("its dump `{}` is not what was written", place.key))
            });
        }
        if let Some(last) = behind {
            let _ = stdin.write_all(&last).await;
        }
        let _ = stdin.shutdown().await;
    }
    drop(stdin);
    let (status, said) = started.ended().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        status => Err(server.failure("load", &reason(said, status.ok()))),
    }
}
