//! A value that nobody sees: asked for on the terminal without echo, or read from a pipe.

use std::io::{self, IsTerminal as _, Write as _};

use dxdr_sealing::Plaintext;
use zeroize::Zeroizing;

use super::documents;
use crate::{
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// The value for an item. Of what is piped in, one newline at the end is left out: it is the shell's.
pub(super) fn value(item: &str, terminal: &Terminal) -> Result<Plaintext, Failure> {
    if !io::stdin().is_terminal() {
        let mut bytes = documents::read_standard_input("the value", terminal)?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        return Ok(Plaintext::new(std::mem::take(&mut *bytes)));
    }
    let quiet = Quiet::begin()?;
    let first = hidden(&format!("Value of {item}: "))?;
    let second = hidden("The same again: ")?;
    drop(quiet);
    if !first.same_as(&second) {
        return Err(Failure::new(Kind::Refused, "the two values are not the same").hint("nothing was changed; try again"));
    }
    Ok(first)
}

/// One line that is asked for without echo.
pub(super) fn line(question: &str) -> Result<Plaintext, Failure> {
    let _quiet = Quiet::begin()?;
    hidden(question)
}

/// A line that is typed where [`Quiet`] hides it.
fn hidden(question: &str) -> Result<Plaintext, Failure> {
    {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question}");
        let _ = stderr.flush();
    }
    let line = typed_line();
    let _ = writeln!(io::stderr().lock());
    line
}

/// What is typed up to the end of the line. Read past the buffer of standard input, which would keep it.
#[cfg(unix)]
fn typed_line() -> Result<Plaintext, Failure> {
    // A terminal hands out a line at a time, of at most 4,096 bytes.
    let mut line = Zeroizing::new([0_u8; 4096]);
    let length = loop {
        match rustix::io::read(io::stdin(), &mut *line) {
            Err(rustix::io::Errno::INTR) => {}
            read => {
                break read.map_err(|error| Failure::new(Kind::Failed, format!("cannot read the value: {error}")))?;
            }
        }
    };
    match line[..length].split_last() {
        Some((b'\n', value)) => Ok(Plaintext::new(value.to_vec())),
        _ => Err(Failure::new(Kind::Interrupted, "no value was given").hint("nothing was changed")),
    }
}

#[cfg(not(unix))]
fn typed_line() -> Result<Plaintext, Failure> {
    Err(Failure::new(Kind::Refused, "what is typed cannot be hidden on this system"))
}

/// A terminal that does not show what is typed, until this is dropped. What was typed and not read goes with it: of a value of several lines
/// that was pasted, the shell would otherwise take the rest for commands, and write it into its history.
#[cfg(unix)]
struct Quiet(rustix::termios::Termios);

#[cfg(unix)]
impl Quiet {
    /// Ctrl-C is typed like anything else meanwhile, or a process that it ends would leave the terminal without echo: it is given back
    /// as the end of the line.
    fn begin() -> Result<Self, Failure> {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
        let failed = |error: rustix::io::Errno| {
            Failure::new(Kind::Failed, format!("cannot hide what is typed on this terminal: {error}"))
                .hint("pipe the value in instead")
        };
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        // Ends the line, without a newline: as Ctrl-D does.
        hidden.special_codes[SpecialCodeIndex::VEOL] = 3;
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Flush, &self.0);
    }
}

/// Nothing hides what is typed here.
#[cfg(not(unix))]
struct Quiet;

#[cfg(not(unix))]
impl Quiet {
    fn begin() -> Result<Self, Failure> {
        Err(Failure::new(Kind::Refused, "what is typed cannot be hidden on this system").hint("pipe the value in instead"))
    }
}
