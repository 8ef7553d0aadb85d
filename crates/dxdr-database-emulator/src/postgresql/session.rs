//! PostgreSQL's protocol, as much of it as simple queries need, over the socket in a cluster's folder.

use std::{
    fmt, io,
    io::{BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Version 3.0.
const PROTOCOL: i32 = 196_608;
/// A message is not larger than that: it is a row, and rows are read into memory.
const LARGEST: usize = 256 * 1024 * 1024;

/// Why a statement was not executed, as PostgreSQL says it: `ERROR: relation "t" does not exist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError(pub(crate) String);

impl fmt::Display for SqlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SqlError {}

impl From<io::Error> for SqlError {
    fn from(error: io::Error) -> Self {
        Self(format!("FATAL: the server does not answer: {error}"))
    }
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The number of its type.
    pub(crate) kind: u32,
}

/// What one statement answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<Column>,
    /// `None` is NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// `INSERT 0 1`
    pub(crate) done: String,
}

impl Answer {
    pub(crate) fn first_value(&self) -> Option<String> {
        self.rows.first()?.first()?.clone()
    }
}

/// One connection.
pub(crate) struct Session {
    stream: BufReader<UnixStream>,
}

impl Session {
    /// Connects. A statement that takes longer than `limit` is ended by the server.
    pub(crate) fn open(folder: &Path, user: &str, database: &str, limit: Duration) -> Result<Self, SqlError> {
        let stream = UnixStream::connect(folder.join(".s.PGSQL.5432"))?;
        let patience = limit + Duration::from_secs(10);
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut session = Self { stream: BufReader::new(stream) };
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        let limit = limit.as_millis().to_string();
        for (key, value) in [("user", user), ("database", database), ("statement_timeout", &limit), ("client_encoding", "UTF8")] {
            text(&mut body, key)?;
            text(&mut body, value)?;
        }
        body.push(0);
        session.send(None, &body)?;
        session.answers()?;
        Ok(session)
    }

    /// Executes statements, one after the other; together they are one transaction unless they say otherwise.
    pub(crate) fn ask(&mut self, statements: &str) -> Result<Vec<Answer>, SqlError> {
        let mut body = Vec::new();
        text(&mut body, statements)?;
        self.send(Some(b'Q'), &body)?;
        self.answers()
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), SqlError> {
        let length = i32::try_from(body.len() + 4).map_err(|_| SqlError("ERROR: the statement is too long".to_owned()))?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        Ok(self.stream.get_mut().write_all(&message)?)
    }

    fn message(&mut self) -> Result<(u8, Vec<u8>), SqlError> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=LARGEST).contains(&length) {
            return Err(unreadable());
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }

    /// Reads until the server waits for the next query.
    fn answers(&mut self) -> Result<Vec<Answer>, SqlError> {
        let (mut answers, mut answer, mut failed) = (Vec::new(), Answer::default(), None);
        loop {
            let message = self.message();
            let (kind, body) = match (message, &failed) {
                (Ok(message), _) => message,
                // It has said why it ends, and then it ends.
                (Err(_), Some(_)) => (b'Z', Vec::new()),
                (Err(error), None) => return Err(error),
            };
            let mut body = Body(&body);
            match kind {
                b'Z' => return failed.map_or(Ok(answers), Err),
                b'T' => answer.columns = body.columns().ok_or_else(unreadable)?,
                b'D' => answer.rows.push(body.row().ok_or_else(unreadable)?),
                b'C' => {
                    answer.done = body.text().ok_or_else(unreadable)?;
                    answers.push(std::mem::take(&mut answer));
                }
                b'E' => failed = Some(body.error()),
                // It asks for rows of COPY FROM STDIN, which nobody has.
                b'G' => self.send(Some(b'f'), b"there is no input\0")?,
                b'R' if body.number() != Some(0) => return Err(SqlError("FATAL: the server wants a password".to_owned())),
                // Notices, settings, keys, and rows of COPY TO STDOUT.
                _ => {}
            }
        }
    }
}

fn unreadable() -> SqlError {
    SqlError("FATAL: the server's answer is unreadable".to_owned())
}

fn text(body: &mut Vec<u8>, text: &str) -> Result<(), SqlError> {
    if text.contains('\0') {
        return Err(SqlError("ERROR: a statement contains no zero bytes".to_owned()));
    }
    body.extend(text.as_bytes());
    body.push(0);
    Ok(())
}

/// What of a message is still to be read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }

    fn columns(&mut self) -> Option<Vec<Column>> {
        let count = self.short()?;
        let column = |body: &mut Self| {
            let name = body.text()?;
            body.take(6)?;
            let kind = body.number()?.cast_unsigned();
            body.take(8)?;
            Some(Column { name, kind })
        };
        (0..count).map(|_| column(self)).collect()
    }

    fn row(&mut self) -> Option<Vec<Option<String>>> {
        let count = self.short()?;
        let value = |body: &mut Self| {
            let length = body.number()?;
            // A negative length is NULL.
            let Ok(length) = usize::try_from(length) else { return Some(None) };
            Some(Some(String::from_utf8_lossy(body.take(length)?).into_owned()))
        };
        (0..count).map(|_| value(self)).collect()
    }

    fn error(&mut self) -> SqlError {
        let (mut severity, mut message) = ("ERROR".to_owned(), String::new());
        while let Some([field]) = self.take(1).map(|field| [field[0]])
            && field != 0
            && let Some(text) = self.text()
        {
            match field {
                b'S' => severity = text,
                b'M' => message = text,
                _ => {}
            }
        }
        SqlError(format!("{severity}: {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tell_nothing_from_the_empty_text() {
        let message = [0, 3, 0, 0, 0, 1, b'a', 255, 255, 255, 255, 0, 0, 0, 0];
        assert_eq!(Body(&message).row(), Some(vec![Some("a".to_owned()), None, Some(String::new())]));
        assert_eq!(Body(&message[..10]).row(), None);
    }

    #[test]
    fn an_error_is_its_severity_and_its_message() {
        let message = b"SERROR\0VERROR\0C42P01\0Mrelation \"t\" does not exist\0\0";
        assert_eq!(Body(message).error().to_string(), "ERROR: relation \"t\" does not exist");
    }

    #[test]
    fn columns_have_names_and_types() {
        let mut message = vec![0, 1];
        message.extend(b"n\0");
        message.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
        assert_eq!(Body(&message).columns(), Some(vec![Column { name: "n".to_owned(), kind: 23 }]));
    }
}
