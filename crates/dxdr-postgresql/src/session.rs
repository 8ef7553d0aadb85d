//! Questions and orders to a server, through `psql`. Answers are JSON documents of one line each: whatever is in a name, it stays within
//! its quotation marks.

use std::process::Stdio;

use dxdr_provider::{DatabaseError, DatabaseErrorKind};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::{
    connection::Connection,
    failure,
    program::{Program, Started, start},
    quoting,
};

/// Every server has it.
pub(crate) const TEMPLATE: &str = "template1";
/// Nearly every server has it, and nobody makes databases of it.
pub(crate) const MAINTENANCE: &str = "postgres";

/// A server, and what people call what is done there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) described: &'a str,
    /// Where orders about other databases are given.
    pub(crate) maintenance: &'static str,
}

impl Server<'_> {
    pub(crate) fn failure(&self, action: &'static str, said: &str) -> DatabaseError {
        failure::said(action, self.described, &self.connection.user, said)
    }

    pub(crate) fn error(&self, kind: DatabaseErrorKind, action: &'static str, message: impl Into<String>) -> DatabaseError {
        DatabaseError { kind, action, database: self.described.to_owned(), message: message.into(), hint: None, source: None }
    }

    /// Runs a script in `database` to its end; its answers.
    pub(crate) async fn run(&self, action: &'static str, database: &str, script: &str) -> Result<Vec<Value>, DatabaseError> {
        let mut session = Session::open(*self, action, database)?;
        session.send(script).await;
        let mut text = String::new();
        let (stdout, _) = (session.lines.get_mut().read_to_string(&mut text), drop(session.started.child.stdin.take()));
        let read = stdout.await;
        let (status, said) = session.started.ended().await;
        match status {
            Ok(status) if status.success() && read.is_ok() => text.lines().map(|line| self.parsed(action, line)).collect(),
            _ => Err(self.failure(action, &said)),
        }
    }

    /// Runs a script in whichever database every server has: nothing holds the others up from there. Its one answer.
    pub(crate) async fn administer(&self, action: &'static str, script: &str) -> Result<Value, DatabaseError> {
        let answers = match self.run(action, self.maintenance, script).await {
            Err(error) if error.kind == DatabaseErrorKind::NotFound => self.run(action, TEMPLATE, script).await?,
            other => other?,
        };
        Ok(answers.into_iter().next().unwrap_or(Value::Null))
    }

    fn parsed(&self, action: &'static str, line: &str) -> Result<Value, DatabaseError> {
        serde_json::from_str(line)
            .map_err(|error| self.error(DatabaseErrorKind::Other, action, format!("its answer is no JSON: {error}")))
    }
}

/// A session that stays open until it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    started: Started,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Session {
    pub(crate) fn open(server: Server<'_>, action: &'static str, database: &str) -> Result<Self, DatabaseError> {
        let mut command = Program::Psql.command(server.connection, server.described)?;
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"]);
        command.args(["--set", "ON_ERROR_STOP=1", "--set", "VERBOSITY=verbose", "--file", "-"]);
        command.arg("--dbname").arg(quoting::database_argument(database)).stdin(Stdio::piped());
        let mut started = start(command, server.described)?;
        let Some(stdout) = started.child.stdout.take() else {
            return Err(server.error(DatabaseErrorKind::Other, action, "psql has no output"));
        };
        Ok(Self { started, lines: BufReader::new(stdout).lines() })
    }

    /// Sends a script. A session that has ended says so when it is asked for an answer.
    pub(crate) async fn send(&mut self, script: &str) {
        if let Some(stdin) = &mut self.started.child.stdin
            && stdin.write_all(script.as_bytes()).await.is_ok()
        {
            let _ = stdin.flush().await;
        }
    }

    /// The next answer.
    pub(crate) async fn answer(mut self, server: Server<'_>, action: &'static str) -> Result<(Self, Value), DatabaseError> {
        match self.lines.next_line().await {
            Ok(Some(line)) => {
                let value = server.parsed(action, &line)?;
                Ok((self, value))
            }
            _ => {
                let (_, said) = self.started.ended().await;
                Err(server.failure(action, &said))
            }
        }
    }
}
