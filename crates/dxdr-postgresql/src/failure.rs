//! What PostgreSQL's programs say, as errors that callers tell apart.
//!
//! A statement that fails has an SQLSTATE, since sessions ask for it. A connection that fails has words only; a server says them in its own
//! language, so what is not understood is passed on as it is.

use dxdr_provider::{DatabaseError, DatabaseErrorKind};

/// An error made of what a program said.
pub(crate) fn said(action: &'static str, database: &str, user: &str, text: &str) -> DatabaseError {
    let (kind, hint) = understood(text, user);
    DatabaseError { kind, action, database: database.to_owned(), message: message(text), hint, source: None }
}

/// A kind and what to do next.
fn understood(text: &str, user: &str) -> (DatabaseErrorKind, Option<String>) {
    use DatabaseErrorKind as Kind;
    let has = |part: &str| text.contains(part);
    let states = states(text);
    let is = |state: &str| states.contains(&state);
    let (kind, hint) = if is("28P01") || has("password authentication failed") {
        (
            Kind::Unauthenticated,
            format!("the password of `{user}` in the Secret is not the server's: put the right one into the Secret"),
        )
    } else if has("no password supplied") {
        (Kind::Unauthenticated, "the server wants a password: name the Secret that has it in `credentialsSecret`".to_owned())
    } else if is("28000") || has("no pg_hba.conf entry") || has("does not exist\n") && has("FATAL:  role") {
        let hint = "let the user in from where dxdr runs: a role of that name that may log in, a line in the server's pg_hba.conf, TLS if it asks for it";
        (Kind::Unauthenticated, hint.to_owned())
    } else if has("server does not support SSL") {
        let hint = "switch TLS on at the server, or say `tls: disable` in the manifest where the network is trusted";
        (Kind::Insecure, hint.to_owned())
    } else if has("certificate verify failed") || has("server certificate for") || has("root certificate file") {
        let hint = "the authority in the Secret must be the one that signed the server's certificate, and the certificate must have the name that dxdr connects to";
        (Kind::Insecure, hint.to_owned())
    } else if is("3D000") || has("FATAL:  database") && has("does not exist") {
        (Kind::NotFound, "name a database that is there in the manifest's `databases`".to_owned())
    } else if has("is not currently accepting connections") {
        (Kind::Busy, "somebody has closed the database: `ALTER DATABASE … ALLOW_CONNECTIONS true` opens it".to_owned())
    } else if has("Connection refused")
        || has("could not translate host name")
        || has("No route to host")
        || has("timeout expired")
        || has("Network is unreachable")
        || has("Connection timed out")
    {
        let hint = "look whether the server runs, and whether dxdr reaches it: from outside of the cluster by a port-forward that `address` in the manifest names";
        (Kind::Unreachable, hint.to_owned())
    } else if has("server closed the connection")
        || has("connection to server was lost")
        || has("terminating connection")
        || has("the database system is")
        || states.iter().any(|state| state.starts_with("57P0"))
        || has("connection not open")
    {
        (Kind::Unreachable, "the server went away or is starting: look at its log, and try again".to_owned())
    } else if is("53300") || has("too many clients") || has("remaining connection slots") || has("too many connections for") {
        (Kind::Busy, "every connection is taken: try again, or raise max_connections".to_owned())
    } else if is("53100") || has("No space left on device") || has("disk full") {
        (
            Kind::Full,
            "make room on the server's volume: a database that is loaded beside needs as much as the original".to_owned(),
        )
    } else if has("server version mismatch") || has("unsupported version") {
        (Kind::VersionMismatch, "install PostgreSQL's client programs of the server's version or a newer one".to_owned())
    } else if is("42501") || has("permission denied") || has("must be owner") || has("must be member") || has("must be superuser")
    {
        let hint = format!(
            "`{user}` may not do that: give it the right, or put the owner's or a superuser's credentials into the Secret"
        );
        (Kind::Forbidden, hint)
    } else if has("query would be affected by row-level security") {
        let hint = format!("row-level security hides rows from `{user}`: give it BYPASSRLS, or use the owner's credentials");
        (Kind::Forbidden, hint)
    } else if is("42P04") {
        (Kind::NameTaken, "drop it, or restore under another name".to_owned())
    } else if is("55006") || has("is being accessed by other users") {
        (Kind::Busy, "somebody keeps connecting to it: stop them, then go on with `dxdr runs resume`".to_owned())
    } else {
        return (Kind::Other, None);
    };
    (kind, Some(hint))
}

/// The SQLSTATEs of complaints: `ERROR:  42501: …`. Elsewhere the same letters are somebody's data.
fn states(text: &str) -> Vec<&str> {
    let of_line = |line: &'_ str| {
        let behind = ["ERROR:  ", "FATAL:  "].iter().filter_map(|mark| Some(line.find(mark)? + mark.len())).min()?;
        let (state, _) = line.get(behind..)?.split_once(": ")?;
        is_state(state).then_some(behind)
    };
    text.lines().filter_map(|line| line.get(of_line(line)?..)?.get(..5)).collect()
}

fn is_state(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The first complaint, without the program's name, the place in the script and the place in PostgreSQL's sources.
fn message(text: &str) -> String {
    let complaint = |line: &&str| line.contains("error:") || line.contains("ERROR:") || line.contains("FATAL:");
    let mut lines = text.lines().skip_while(|line| !complaint(line));
    let first = lines.next().or_else(|| text.lines().find(|line| !line.trim().is_empty())).unwrap_or("it ended without a word");
    let marks: &[&str] = if first.contains("FATAL:") {
        &["FATAL:"]
    } else if first.contains("connection to server") {
        &[" failed: "]
    } else {
        &["ERROR:", "error:"]
    };
    let start = marks.iter().filter_map(|mark| Some(first.find(mark)? + mark.len())).max().unwrap_or(0);
    let said = first.get(start..).unwrap_or(first).trim();
    // `42501: permission denied`: the state is for us.
    let said = match said.split_once(": ") {
        Some((state, rest)) if is_state(state) => rest,
        _ => said,
    };
    let detail = text.lines().find_map(|line| line.trim().strip_prefix("DETAIL:")).map(str::trim);
    match detail {
        Some(detail) => format!("{} ({detail})", said.trim()),
        None => said.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (DatabaseErrorKind, String) {
        let error = said("dump", "PostgreSQL database `orders`", "shop", text);
        assert!(error.kind == DatabaseErrorKind::Other || error.hint.is_some(), "{text}");
        (error.kind, error.message)
    }

    #[test]
    fn what_the_programs_say_is_understood() {
        use DatabaseErrorKind as Kind;
        let at = "psql: error: connection to server at \"127.0.0.1\", port 1 failed: ";
        for (text, kind, message) in [
            (format!("{at}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n"), Kind::Unreachable, "Connection refused"),
            (format!("{at}FATAL:  password authentication failed for user \"shop\"\n"), Kind::Unauthenticated, "password authentication failed for user \"shop\""),
            (format!("{at}FATAL:  database \"nope\" does not exist\n"), Kind::NotFound, "database \"nope\" does not exist"),
            (format!("{at}server does not support SSL, but SSL was required\n"), Kind::Insecure, "server does not support SSL, but SSL was required"),
            ("psql:<stdin>:4: ERROR:  42501: permission denied to create database\nLOCATION:  createdb, dbcommands.c:900\n".to_owned(), Kind::Forbidden, "permission denied to create database"),
            ("pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 17.1; pg_dump version: 15.14\n".to_owned(), Kind::VersionMismatch, "aborting because of server version mismatch"),
            ("pg_restore: error: could not execute query: ERROR:  could not extend file \"base/1\": No space left on device\nHINT:  Check free disk space.\n".to_owned(), Kind::Full, "could not extend file \"base/1\": No space left on device"),
            ("ERROR:  55006: source database is being accessed by other users\nDETAIL:  There is 1 other session using the database.\n".to_owned(), Kind::Busy, "source database is being accessed by other users (There is 1 other session using the database.)"),
            ("ERROR:  22P02: invalid input syntax for type integer: \"28P01 57P01 42501\"\n".to_owned(), Kind::Other, "invalid input syntax for type integer: \"28P01 57P01 42501\""),
            ("FATAL:  57P03: no\n".to_owned(), Kind::Unreachable, "no"),
            (String::new(), Kind::Other, "it ended without a word"),
        ] {
            assert_eq!(of(&text), (kind, message.to_owned()), "{text}");
        }
    }
}
