//! What opens the escrow: identities in files, or the shares of one.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use dxdr_sealing::{
    Share,
    escrow::{self as age_file, Identities},
    share::{self, ShareError},
};
use zeroize::Zeroizing;

use super::{
    documents::{read_file, read_standard_input},
    prompt, refused,
};
use crate::{
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Identities, shares, or both.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "opening", multiple = true)]
pub(super) struct Opening {
    /// Identity that opens the escrow: an identity file of age, or a private key of SSH; may be given more than once.
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Share of an identity that opens the escrow, once for each that it takes; `-` asks for them, without echo, or reads standard input, one a line.
    /// Those that are encrypted for a person are opened with --identity.
    #[arg(long, value_name = "FILE")]
    share: Vec<PathBuf>,
}

impl Opening {
    /// What opens; `None` where nothing is named.
    pub(super) fn identities(&self, terminal: &Terminal) -> Result<Option<Identities>, Failure> {
        let mut found: Option<Identities> = None;
        for file in &self.identity {
            let identities = identities(file)?;
            found = Some(match found {
                Some(others) => others.with(identities),
                None => identities,
            });
        }
        if self.share.is_empty() {
            return Ok(found);
        }
        let shared = self.shared(found.as_ref(), terminal)?;
        Ok(Some(match found {
            Some(others) => shared.with(others),
            None => shared,
        }))
    }

    /// What opens.
    pub(super) fn required(&self, terminal: &Terminal) -> Result<Identities, Failure> {
        self.identities(terminal)?.ok_or_else(|| Failure::new(Kind::Usage, "nothing is named that opens the escrow").hint(NAMES))
    }

    /// The identity that the shares make.
    fn shared(&self, persons: Option<&Identities>, terminal: &Terminal) -> Result<Identities, Failure> {
        let mut shares = Vec::with_capacity(self.share.len());
        let mut places = Vec::with_capacity(self.share.len());
        for file in &self.share {
            if file.as_os_str() == "-" {
                let more =
                    if io::stdin().is_terminal() { asked_for(&mut shares, terminal)? } else { piped(&mut shares, terminal)? };
                places.extend(more);
            } else {
                shares.push(of_file(file, persons)?);
                places.push(file.display().to_string());
            }
        }
        let listed = || places.iter().enumerate().map(|(index, place)| format!("{}: {place}", index + 1)).collect::<Vec<_>>();
        let (identities, recipient) = share::join(&shares).map_err(|error| {
            refused(error).hint(format!("shares by their number: {}", listed().join(", "))).hint("nothing was opened")
        })?;
        let numbers = shares.iter().map(|share| share.number().to_string()).collect::<Vec<_>>().join(", ");
        terminal.note(&format!("Shares {numbers} of set {} make the identity of {recipient}.", shares[0].set()));
        Ok(identities)
    }
}

const NAMES: &str = "`--identity FILE`; or `--share FILE` as often as it takes, or `--share -` to be asked for them";

/// The identities of a file.
fn identities(file: &Path) -> Result<Identities, Failure> {
    let bytes = read_file(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused(format!("{} is no text", file.display())))?;
    Identities::read(text).map_err(|error| {
        refused(format!("{}: {error}", file.display())).hint(
            "expected the file that `age-keygen` wrote, or a private key of SSH; shares of an identity are named by `--share`",
        )
    })
}

fn of_file(file: &Path, persons: Option<&Identities>) -> Result<Share, Failure> {
    let mut bytes = read_file(file)?;
    if age_file::is_encrypted(&bytes) {
        let persons = persons.ok_or_else(|| {
            refused(format!("the share in {} is encrypted for a person", file.display()))
                .hint("name the person's identity beside it: `--identity FILE`, or open it first: `age --decrypt`")
        })?;
        bytes = age_file::decrypt(&bytes, persons).map_err(|error| {
            Failure::from_error(Kind::Refused, error)
                .context(format!("the share in {} cannot be opened", file.display()))
                .hint("it takes the identity of the person whom it was made for")
        })?;
    }
    read(&bytes).map_err(|error| {
        let hint = match error {
            ShareError::Prefix => "expected a share that `dxdr seal escrow shares` made",
            ShareError::Content => "it takes another share",
            _ => "compare it with what it was copied from",
        };
        refused(format!("{}: {error}", file.display())).hint(hint)
    })
}

fn read(bytes: &[u8]) -> Result<Share, ShareError> {
    std::str::from_utf8(bytes).map_err(|_| ShareError::Prefix).and_then(Share::read)
}

/// Asks for shares until there are enough; one that is mistyped is asked for again. Says where each came from.
fn asked_for(shares: &mut Vec<Share>, terminal: &Terminal) -> Result<Vec<String>, Failure> {
    let mut places = Vec::new();
    while shares.first().is_none_or(|first| shares.len() < usize::from(first.threshold())) {
        let count = shares.first().map(|first| format!(" of {}", first.threshold())).unwrap_or_default();
        let typed = prompt::line(&format!("Share {}{count}: ", shares.len() + 1))?;
        match read(typed.expose()) {
            Err(error) => terminal.warn(&format!("{error}; type it again")),
            Ok(share) => match shares.iter().find(|known| known.set() == share.set() && known.number() == share.number()) {
                Some(_) => terminal.warn(&format!("share {} is there already; it takes another one", share.number())),
                None => {
                    places.push("typed".to_owned());
                    shares.push(share);
                }
            },
        }
    }
    Ok(places)
}

/// The shares on standard input. Says where each came from.
fn piped(shares: &mut Vec<Share>, terminal: &Terminal) -> Result<Vec<String>, Failure> {
    let bytes = read_standard_input("shares", terminal)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("standard input is no text"))?;
    let mut places = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = Zeroizing::new(line.trim().to_owned());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let share = Share::read(&line).map_err(|error| {
            refused(format!("line {} of standard input: {error}", index + 1)).hint("a share stands in one line there")
        })?;
        places.push(format!("line {} of standard input", index + 1));
        shares.push(share);
    }
    Ok(places)
}
