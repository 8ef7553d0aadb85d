//! An identity for the escrow that nobody has, as shares that so many people have.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use dxdr_provider::{Clock as _, clock::SystemClock};
use dxdr_sealing::{
    Share,
    escrow::{self as age_file, Identities, Recipients},
    share::{self, SharedIdentity},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{certificate::day, documents::read_file, prompt};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Shares {
    /// How many of the shares open the escrow.
    #[arg(long, value_name = "COUNT")]
    threshold: u8,
    /// How many there are [default: one for each --recipient].
    #[arg(long, value_name = "COUNT", required_unless_present = "recipient")]
    of: Option<u8>,
    /// Person who gets a share, and the public key of age or SSH that it is encrypted for; once for each person.
    #[arg(long, value_name = "NAME=KEY", requires = "out")]
    recipient: Vec<String>,
    /// Folder that gets a file for each share; without it, each is shown on the terminal, to be written down.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Write the files of --out as they are: who reads that folder has every share. For a folder in memory, from which each goes to its person.
    #[arg(long, requires = "out", conflicts_with = "recipient")]
    plain: bool,
    /// Make nothing; say what would be made.
    #[arg(long)]
    dry_run: bool,
}

/// A person, and what their share is encrypted for.
struct Person {
    name: String,
    key: String,
}

/// A share's file, and what opens it for as long as this runs.
struct Written {
    file: PathBuf,
    trial: Option<Identities>,
}

pub(super) fn run(asked: &Shares, _: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let persons = persons(&asked.recipient)?;
    let (threshold, count) = (asked.threshold, count(asked, &persons)?);
    let files = files(asked, &persons, count);
    if threshold < 2 || count < threshold {
        return Err(Failure::new(Kind::Usage, format!("{threshold} of {count} shares cannot be"))
            .hint("`--threshold` is at least 2, and at most as many as there are shares"));
    }
    if threshold == count {
        terminal.warn("every share is needed: with one that is lost, everything is; fewer for --threshold would bear that");
    }
    let file = |index: usize| files.get(index).map(|file| file.display().to_string());
    let document = |made: Option<&SharedIdentity>| {
        let row = |index: usize| json!({"number": index + 1, "person": persons.get(index).map(|person| &person.name), "file": file(index)});
        json!({
            "format": "dxdr.io/seal-escrow-shares/v1",
            "recipient": made.map(|made| &made.recipient),
            "set": made.map(|made| made.shares[0].set().to_string()),
            "threshold": threshold,
            "shares": (0..usize::from(count)).map(row).collect::<Vec<_>>(),
            "dryRun": asked.dry_run,
        })
    };
    let on_terminal = files.is_empty();
    if asked.dry_run {
        terminal.value(&document(None), || {
            let place = if on_terminal {
                "on the terminal, one at a time".to_owned()
            } else {
                files.iter().map(|file| format!("{}\n", file.display())).collect()
            };
            format!("{count} shares would be made, any {threshold} of which open the escrow:\n{place}")
        });
        return Ok(());
    }
    if on_terminal {
        can_show()?;
    }
    let made = share::make(threshold, count).map_err(|error| Failure::from_error(Kind::Failed, error))?;
    if on_terminal {
        for share in &made.shares {
            hand_over(share, &made, terminal)?;
        }
    } else {
        write_all(&files, &persons, &made)?;
    }
    terminal.value(&document(Some(&made)), || {
        let listed: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
        format!("{listed}any {threshold} of the {count} shares open what is encrypted for\n{}\n", made.recipient)
    });
    terminal.note(
        "Next: put that public key into `escrow.recipients` of the SealingPolicy, run `dxdr seal escrow`, and try the shares: `dxdr seal escrow test --share -`.",
    );
    Ok(())
}

/// Reads `NAME=KEY`.
fn persons(recipients: &[String]) -> Result<Vec<Person>, Failure> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut persons = Vec::with_capacity(recipients.len());
    for (index, recipient) in recipients.iter().enumerate() {
        // What is wrong is not repeated: somebody may have given a private key.
        let wrong = |what: &str| {
            Failure::new(Kind::Usage, format!("`--recipient` number {}: {what}", index + 1))
                .hint("NAME=KEY, with letters, digits, `.`, `_` and `-` in the name, as in alice=age1…")
        };
        let is_name = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
        };
        let (name, key) = recipient
            .split_once('=')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| wrong("it has no name in front of a `=`"))?;
        Recipients::read(&[key.to_owned()]).map_err(|_| wrong("that is no public key of age or SSH"))?;
        let without_comment = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        if !names.insert(name.to_lowercase()) || !keys.insert(without_comment) {
            return Err(wrong("that person, or that key, is there already; with two shares a person is two"));
        }
        persons.push(Person { name: name.to_owned(), key: key.to_owned() });
    }
    Ok(persons)
}

fn count(asked: &Shares, persons: &[Person]) -> Result<u8, Failure> {
    let named = u8::try_from(persons.len()).map_err(|_| Failure::new(Kind::Usage, "there are 255 shares at most"))?;
    match asked.of {
        Some(count) if named > 0 && count != named => {
            Err(Failure::new(Kind::Usage, format!("`--of {count}`, and {named} recipients")).hint("each person gets one share"))
        }
        Some(count) => Ok(count),
        None => Ok(named),
    }
}

/// The file of each share; none where they are shown.
fn files(asked: &Shares, persons: &[Person], count: u8) -> Vec<PathBuf> {
    let Some(folder) = &asked.out else { return Vec::new() };
    let name = |index: usize| match persons.get(index) {
        Some(person) => format!("share-{}-{}.age", index + 1, person.name),
        None => format!("share-{}.txt", index + 1),
    };
    (0..usize::from(count)).map(|index| folder.join(name(index))).collect()
}

/// What a share's file says: the share, and what to know of it.
fn told(share: &Share, made: &SharedIdentity) -> Zeroizing<String> {
    let (text, number, threshold) = (share.text(), share.number(), share.threshold());
    Zeroizing::new(format!(
        "# Share {number} of {}, made on {}; set {}. Any {threshold} of them open what is encrypted for\n# {}\n# Keep it where no other share is. When it is needed: `dxdr seal restore-keys --share -`.\n{}\n",
        made.shares.len(),
        day(SystemClock.now()),
        share.set(),
        made.recipient,
        *text
    ))
}

/// Writes every share, reads all of them again and joins them. What was written is removed when anything fails.
fn write_all(files: &[PathBuf], persons: &[Person], made: &SharedIdentity) -> Result<(), Failure> {
    let mut written = Vec::with_capacity(files.len());
    let outcome = write_each(files, persons, made, &mut written).and_then(|()| read_back(&written, made));
    if outcome.is_err() {
        for share in &written {
            // Whatever stays of an identity that nobody uses opens nothing.
            let _ = fs::remove_file(&share.file);
        }
    }
    outcome
}

fn write_each(files: &[PathBuf], persons: &[Person], made: &SharedIdentity, written: &mut Vec<Written>) -> Result<(), Failure> {
    for (index, (file, share)) in files.iter().zip(&made.shares).enumerate() {
        let text = told(share, made);
        let trial = match persons.get(index) {
            Some(person) => {
                let encrypted = Recipients::read(std::slice::from_ref(&person.key))
                    .and_then(|recipients| age_file::encrypt(text.as_bytes(), &recipients));
                let (bytes, trial) = encrypted.map_err(|error| {
                    Failure::from_error(Kind::Failed, error).context(format!("no share can be encrypted for {}", person.name))
                })?;
                write_new(file, &bytes)?;
                Some(trial)
            }
            None => {
                write_new(file, text.as_bytes())?;
                None
            }
        };
        written.push(Written { file: file.clone(), trial });
    }
    Ok(())
}

/// A file that was not there, for nobody but its owner.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists {
            "name a folder without shares"
        } else {
            "check the folder's permissions and the space on its disk"
        };
        Failure::from_error(Kind::Failed, error)
            .context(format!("cannot write {}", file.display()))
            .hint(hint)
            .hint("no share was made")
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(file).map_err(failed)?;
    open.write_all(bytes).and_then(|()| open.sync_all()).map_err(|error| {
        let _ = fs::remove_file(file);
        failed(error)
    })
}

/// Proves that what stands in the files is the identity: the first of them, and the last, as many as it takes.
fn read_back(written: &[Written], made: &SharedIdentity) -> Result<(), Failure> {
    let read = |written: &Written| -> Result<Share, Failure> {
        let bytes = read_file(&written.file)?;
        let bytes = match &written.trial {
            Some(trial) => age_file::decrypt(&bytes, trial).map_err(|error| Failure::from_error(Kind::Corrupt, error))?,
            None => bytes,
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| Failure::from_error(Kind::Corrupt, error))?;
        Share::read(text).map_err(|error| Failure::from_error(Kind::Corrupt, error))
    };
    let shares = written.iter().map(read).collect::<Result<Vec<Share>, Failure>>()?;
    let threshold = usize::from(made.shares[0].threshold());
    for few in [&shares[..threshold], &shares[shares.len() - threshold..]] {
        if !share::join(few).is_ok_and(|(_, recipient)| recipient == made.recipient) {
            return Err(
                Failure::new(Kind::Corrupt, "the shares that were written do not make the identity").hint("they were removed")
            );
        }
    }
    Ok(())
}

/// Fails where shares cannot be shown to one person after the other.
fn can_show() -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    if io::stdin().is_terminal() && io::stderr().is_terminal() && !dumb {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, "shares are shown on a terminal that can take them away again, and this is none")
        .hint("encrypt each for its person: `--recipient NAME=KEY` for each of them, and `--out FOLDER`")
        .hint("no share was made"))
}

/// Shows a share to the person who writes it down, and has it typed, so that it is known to be written right.
fn hand_over(share: &Share, made: &SharedIdentity, terminal: &Terminal) -> Result<(), Failure> {
    let (number, count) = (share.number(), made.shares.len());
    loop {
        {
            let _screen = Screen::begin();
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\n{}\r\n", told(share, made).replace('\n', "\r\n"));
            drop(stderr);
            prompt::line("Press Enter when it is written down, and everybody else has looked away: ")?;
        }
        let typed = prompt::line(&format!("Share {number} of {count}, typed from what was written down: "))?;
        match std::str::from_utf8(typed.expose()).map_or(Err(share::ShareError::Prefix), Share::read) {
            Ok(read) if *read.text() == *share.text() => break,
            Ok(_) => terminal.warn("that is another share; it is shown again"),
            Err(error) => terminal.warn(&format!("{error}; it is shown again")),
        }
    }
    terminal.note(&format!("Share {number} of {count} is written down."));
    Ok(())
}

/// A screen of its own, of which nothing stays when it is dropped, not even in what can be scrolled back to.
struct Screen;

impl Screen {
    fn begin() -> Self {
        let _ = write!(io::stderr().lock(), "\u{1b}[?1049h\u{1b}[H");
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write!(io::stderr().lock(), "\u{1b}[2J\u{1b}[?1049l");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_gets_one_share() {
        let key = "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm";
        let read = |texts: &[&str]| persons(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let alice = format!("alice={key}");
        assert_eq!(read(&[&alice]).unwrap()[0].name, "alice");
        for wrong in [key, "alice=", "=x", "../alice=age1", "-a=x", "ssh-ed25519 AAAA="] {
            let failure = read(&[wrong]).err().unwrap();
            assert_eq!(failure.kind, Kind::Usage, "{wrong}");
        }
        assert!(read(&[&alice, &format!("Alice={key}")]).is_err());
        assert!(read(&[&alice, &format!("bob={key}")]).is_err());
    }
}
