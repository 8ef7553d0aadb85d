//! Dumps and loads, by PostgreSQL's own programs.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::{
    ADMINISTRATOR, Cluster, SqlError, USER,
    stream::{Reader, Writer},
};

/// First bytes of what is compressed.
const COMPRESSED: &[u8] = &[0x1f, 0x8b];

/// How a dump is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dump {
    /// Whether it removes what is there before.
    pub(super) clean: bool,
    /// Whether it says who owns what, and who may do what.
    pub(super) owners: bool,
    pub(super) compressed: bool,
}

impl Cluster {
    /// Writes a database as SQL. Answers whether somebody took all of it.
    pub(super) fn dump(&self, database: &str, how: Dump, mut into: Writer) -> Result<bool, SqlError> {
        let mut command = self.client("pg_dump", ADMINISTRATOR, database);
        command.args(["--format=plain", "--no-password"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        if how.clean {
            command.args(["--clean", "--if-exists"]);
        }
        if !how.owners {
            command.args(["--no-owner", "--no-acl"]);
        }
        let mut dumping = Running::new(command.spawn()?);
        let mut text = dumping.child.stdout.take().ok_or_else(no_stream)?;
        let written = if how.compressed {
            let mut encoder = GzEncoder::new(&mut into, Compression::fast());
            io::copy(&mut text, &mut encoder).and_then(|_| encoder.finish().map(drop))
        } else {
            io::copy(&mut text, &mut into).map(drop)
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // A dump that failed is not finished: whoever reads it sees that it broke off.
        dumping.end()?;
        Ok(into.finish().is_ok())
    }

    /// Executes a text of SQL, compressed or not, in one transaction: all of it or nothing.
    pub(super) fn load(&self, database: &str, user: Option<&str>, from: Reader) -> Result<(), SqlError> {
        let mut command = self.client("psql", user.unwrap_or(USER), database);
        command.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-"]);
        let mut loading = Running::new(command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let mut input = loading.child.stdin.take().ok_or_else(no_stream)?;
        let mut from = BufReader::new(from);
        let copied = from.fill_buf().map(|bytes| bytes.starts_with(COMPRESSED)).and_then(|compressed| {
            let mut text: Box<dyn io::Read> = if compressed { Box::new(MultiGzDecoder::new(from)) } else { Box::new(from) };
            feed(&mut text, &mut input)
        });
        match copied {
            Ok(()) => {
                drop(input);
                loading.end()
            }
            // The end of its input would be its word to commit.
            Err(error) => {
                loading.kill();
                Err(SqlError(format!("ERROR: the text cannot be read: {error}")))
            }
        }
    }
}

/// Copies a text to a program. One that does not want any more of it has failed, and says so itself.
fn feed(text: &mut dyn io::Read, input: &mut dyn io::Write) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = text.read(&mut bytes)?;
        if length == 0 || input.write_all(&bytes[..length]).is_err() {
            return Ok(());
        }
    }
}

fn no_stream() -> SqlError {
    SqlError("FATAL: the program has no streams".to_owned())
}

/// A program, and what it says. One that is dropped is killed.
struct Running {
    child: Child,
    said: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        // On a thread of its own: a program that says much would wait for a reader.
        let said = child.stderr.take().map(|mut stream| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                // What was read until then is what is said.
                let _ = stream.read_to_end(&mut said);
                String::from_utf8_lossy(&said).into_owned()
            })
        });
        Self { child, said }
    }

    /// Waits for its end; what it says is the error.
    fn end(&mut self) -> Result<(), SqlError> {
        let status = self.child.wait()?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if status.success() { Ok(()) } else { Err(SqlError(reason(&said))) }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first error in what a program said, without where it stands.
fn reason(said: &str) -> String {
    let found = said
        .lines()
        .find_map(|line| ["ERROR:", "FATAL:", "error:"].iter().find_map(|word| line.find(word).map(|at| &line[at..])));
    let found = found.or_else(|| said.lines().next()).unwrap_or("ERROR: the program failed without a word");
    // psql has two blanks behind the word.
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_first_error_is_the_reason() {
        let said = "NOTICE:  no\npsql:<stdin>:23: ERROR:  relation \"a\" already exists\nmore";
        assert_eq!(reason(said), "ERROR: relation \"a\" already exists");
        let said = "pg_dump: error: connection to server on socket \"/x\" failed: FATAL:  database \"no\" does not exist\n";
        assert_eq!(reason(said), "FATAL: database \"no\" does not exist");
        assert_eq!(reason("killed"), "killed");
    }
}
