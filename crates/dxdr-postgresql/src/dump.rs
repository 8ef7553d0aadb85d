//! A snapshot that is held, and its dump on the way into the store.

use std::{
    process::ExitStatus,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dxdr_environment::DatabaseFacts;
use dxdr_provider::{
    DatabaseError, DatabaseErrorKind,
    database::{DumpPlace, Dumped, HeldDatabase},
    object_storage::{ByteStream, ObjectBody, PutCondition},
};
use futures::stream;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncReadExt as _, process::ChildStdout};

use crate::{
    database::PostgresqlDatabase,
    facts,
    program::{Program, Started, start},
    quoting,
    session::Session,
};

/// Bytes that are handed on at a time.
const CHUNK: usize = 256 << 10;

/// A transaction that others can look through.
#[derive(Debug)]
pub(crate) struct Held {
    database: PostgresqlDatabase,
    place: DumpPlace,
    /// The snapshot is there as long as its transaction is.
    session: Session,
    snapshot: String,
    instant: Timestamp,
    facts: DatabaseFacts,
}

/// Begins a transaction and exports its snapshot.
pub(crate) async fn hold(database: &PostgresqlDatabase, place: &DumpPlace) -> Result<Held, DatabaseError> {
    let server = database.server();
    let (program, _) = Program::Dump.version(&database.described).await?;
    let mut session = Session::open(server, "dump", &database.name)?;
    // The clock is asked before the snapshot is taken: what was committed by then is in it.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n";
    session.send(&format!("{}{begin}{}", facts::INSTANT, facts::question(true))).await;
    let (session, instant) = session.answer(server, "dump").await?;
    let (session, answer) = session.answer(server, "dump").await?;
    let misunderstood =
        |what: String| server.error(DatabaseErrorKind::Other, "dump", format!("its answer is not understood: {what}"));
    let clock: facts::Clock = serde_json::from_value(instant).map_err(|error| misunderstood(error.to_string()))?;
    let instant = clock.instant().ok_or_else(|| DatabaseError {
        hint: Some("name its primary in the environment instead".to_owned()),
        ..server.error(DatabaseErrorKind::Unsupported, "dump", "it is on a replica that does not say how far it is")
    })?;
    let mut answer: facts::Answer = serde_json::from_value(answer).map_err(|error| misunderstood(error.to_string()))?;
    let snapshot = answer.snapshot.take().ok_or_else(|| misunderstood("no snapshot".to_owned()))?;
    let facts = answer.facts(&program);
    Ok(Held { database: database.clone(), place: place.clone(), session, snapshot, instant, facts })
}

#[async_trait]
impl HeldDatabase for Held {
    fn instant(&self) -> Timestamp {
        self.instant
    }

    fn facts(&self) -> &DatabaseFacts {
        &self.facts
    }

    async fn dump(self: Box<Self>) -> Result<Dumped, DatabaseError> {
        let server = self.database.server();
        let mut command = Program::Dump.command(server.connection, server.described)?;
        command.args(["--format=custom", "--no-password"]).arg(format!("--snapshot={}", self.snapshot));
        command.arg("--dbname").arg(quoting::database_argument(&self.database.name));
        let mut started = start(command, server.described)?;
        let Some(stdout) = started.child.stdout.take() else {
            return Err(server.error(DatabaseErrorKind::Other, "dump", "pg_dump has no output"));
        };
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let body = ObjectBody::Stream(streamed(Reading { stdout, started, hash: Sha256::new(), outcome: outcome.clone() }));
        let put = self.place.storage.put(&self.place.key, body, PutCondition::Always).await;
        // Held until everything has been read.
        drop(self.session);
        let outcome = outcome.lock().map(|mut outcome| std::mem::take(&mut *outcome)).unwrap_or_default();
        match (put, outcome) {
            (_, Outcome::Failed(said)) => Err(server.failure("dump", &said)),
            (Ok(stat), Outcome::Done(sha256)) => Ok(Dumped { size: stat.size, sha256 }),
            (Ok(_), Outcome::Unknown) => {
                Err(server.error(DatabaseErrorKind::Other, "dump", "the store has taken less than there was"))
            }
            (Err(error), _) => Err(DatabaseError {
                source: Some(Box::new(error)),
                ..server.error(DatabaseErrorKind::Store, "dump", "the store did not take the dump")
            }),
        }
    }
}

/// How the program ended.
#[derive(Debug, Default)]
enum Outcome {
    /// It runs, or was dropped.
    #[default]
    Unknown,
    /// All of it came, and this is its SHA-256.
    Done([u8; 32]),
    /// What it said.
    Failed(String),
}

struct Reading {
    stdout: ChildStdout,
    started: Started,
    hash: Sha256,
    outcome: Arc<Mutex<Outcome>>,
}

/// What the program writes. The stream ends well only when the program did: a dump that breaks off is no object.
fn streamed(reading: Reading) -> ByteStream {
    Box::pin(stream::try_unfold(Some(reading), |reading| async {
        let Some(mut reading) = reading else { return Ok(None) };
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while buffer.len() < CHUNK && reading.stdout.read_buf(&mut buffer).await? > 0 {}
        if !buffer.is_empty() {
            reading.hash.update(&buffer);
            return Ok::<_, std::io::Error>(Some((Bytes::from(buffer), Some(reading))));
        }
        let (status, said) = reading.started.ended().await;
        let (failure, outcome) = match status {
            Ok(status) if status.success() => (None, Outcome::Done(reading.hash.finalize().into())),
            status => (Some(std::io::Error::other("pg_dump failed")), Outcome::Failed(reason(said, status.ok()))),
        };
        if let Ok(mut place) = reading.outcome.lock() {
            *place = outcome;
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }))
}

/// What a program said, or how it ended when it said nothing.
pub(crate) fn reason(said: String, status: Option<ExitStatus>) -> String {
    match status {
        Some(status) if said.trim().is_empty() => format!("it ended with {status}"),
        _ => said,
    }
}
