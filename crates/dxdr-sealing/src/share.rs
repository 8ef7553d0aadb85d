//! An identity that nobody has: so many people have a share of it each, and any few of them, together, have it for as long as they need it.
//!
//! A share is text that can be printed, written down and typed: which identity it is of, how many it takes, which one it is, its value, and
//! a checksum. It is Bech32m of 38 bytes behind `dxdrshare1`, in groups of five: 4 bytes of the set, the threshold, the number, 32 bytes.

use std::{fmt, num::NonZeroU8};

use age::x25519;
use aws_lc_rs::rand;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    bech32::{self, Undecodable, Variant},
    escrow::Identities,
    shamir::{self, Secret},
};

/// What a share begins with, without the hyphens.
const PREFIX: &str = "dxdrshare";
/// Bytes of a share: set, threshold, number, value.
const BYTES: usize = 4 + 1 + 1 + shamir::LENGTH;
/// Characters behind the prefix.
const CHARACTERS: usize = bech32::characters(BYTES);
/// Characters between two hyphens.
const GROUP: usize = 5;

/// Which identity shares are of: the beginning of a digest of its public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetIdentifier([u8; 4]);

impl SetIdentifier {
    /// Of the identity behind a public key.
    pub fn of(recipient: &str) -> Self {
        let digest = Sha256::digest(format!("dxdr.io/shares/v1\n{recipient}"));
        Self([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Display for SetIdentifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One person's share. Cannot be printed but by [`text`](Self::text); zeroised when dropped.
pub struct Share {
    set: SetIdentifier,
    threshold: u8,
    number: NonZeroU8,
    value: Secret,
}

/// Why a text is no share. No part of the text is in it: a text that is nearly one is nearly as secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Something else.
    #[error("it is no share: one begins with DXDRSHARE1")]
    Prefix,
    /// Characters are missing, or too many.
    #[error("it has {found} characters behind DXDRSHARE1, and a share has {CHARACTERS}")]
    Length {
        /// So many.
        found: usize,
    },
    /// A character that no share has.
    #[error("{0} is none that a share can have (1, B, I and O are not used)")]
    Character(Position),
    /// One is wrong, and this is where.
    #[error("it is mistyped: {0} is wrong")]
    Mistyped(Position),
    /// More than one is wrong, or nobody knows where.
    #[error("it is mistyped, in more than one character or in their order")]
    Checksum,
    /// The checksum fits, and no share was ever made so.
    #[error("it is written as a share is, and was never one")]
    Content,
}

/// A character of a share, as a person counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(usize);

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "character {} of group {} behind DXDRSHARE1", self.0 % GROUP + 1, self.0 / GROUP + 1)
    }
}

/// Why shares do not make an identity. Shares are counted as they were given, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    /// Fewer than it takes.
    #[error("it takes {needed} shares of set {set}, and {given} of them are there")]
    TooFew {
        /// So many.
        needed: u8,
        /// So many.
        given: usize,
        /// Of this identity.
        set: SetIdentifier,
    },
    /// No share at all.
    #[error("there is no share")]
    None,
    /// One of another identity.
    #[error("share {given} is of set {found}, and share 1 of set {expected}")]
    Mixed {
        /// Which one.
        given: usize,
        /// Of this identity.
        found: SetIdentifier,
        /// And not of this one.
        expected: SetIdentifier,
    },
    /// One that was given before.
    #[error("share {given} is number {number} of its set, and share {earlier} is, too")]
    Repeated {
        /// Which one.
        given: usize,
        /// The one before.
        earlier: usize,
        /// Which it is of its set.
        number: NonZeroU8,
    },
    /// They fit together, and what they make is something else.
    #[error("together they do not make the identity of set {0}: at least one of them was changed, checksum and all")]
    Changed(SetIdentifier),
}

/// Why no shares can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    /// Of one share each is the identity, and more than there are is nobody's.
    #[error("{threshold} of {count} shares cannot be: it takes at least 2, and at most as many as there are")]
    Threshold {
        /// So many are enough.
        threshold: u8,
        /// So many there are.
        count: u8,
    },
    /// The system's own.
    #[error("the system has no random bytes to give")]
    Random,
}

impl Share {
    /// Which identity it is of.
    pub fn set(&self) -> SetIdentifier {
        self.set
    }

    /// How many of its set it takes.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Which one of its set it is, from 1.
    pub fn number(&self) -> NonZeroU8 {
        self.number
    }

    /// The text that a person keeps: `DXDRSHARE1-…`.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.extend_from_slice(&self.set.0);
        bytes.extend_from_slice(&[self.threshold, self.number.get()]);
        bytes.extend_from_slice(&*self.value);
        let mut plain = bech32::encode(PREFIX, &bytes, Variant::Modified);
        plain.make_ascii_uppercase();
        let (prefix, rest) = plain.split_at(PREFIX.len() + 1);
        let mut text = Zeroizing::new(String::with_capacity(plain.len() + CHARACTERS.div_ceil(GROUP)));
        text.push_str(prefix);
        for (place, character) in rest.chars().enumerate() {
            if place % GROUP == 0 {
                text.push('-');
            }
            text.push(character);
        }
        text
    }

    /// Reads what [`text`](Self::text) wrote, in either case, with hyphens, blanks and line breaks wherever they are, and lines of comment that begin with
    /// `#` around it.
    pub fn read(text: &str) -> Result<Self, ShareError> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        plain.extend(lines.flat_map(str::chars).filter(|character| *character != '-' && !character.is_whitespace()));
        let begins = plain.get(..=PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case("dxdrshare1"));
        if !begins {
            return Err(ShareError::Prefix);
        }
        let rest = &plain[PREFIX.len() + 1..];
        let found = rest.chars().count();
        if found != CHARACTERS {
            return Err(ShareError::Length { found });
        }
        let bytes = bech32::decode(PREFIX, rest, Variant::Modified).map_err(|error| match error {
            Undecodable::Character(place) => ShareError::Character(Position(place)),
            Undecodable::Checksum(Some(place)) => ShareError::Mistyped(Position(place)),
            Undecodable::Checksum(None) => ShareError::Checksum,
            Undecodable::Padding => ShareError::Content,
        })?;
        let [a, b, c, d, threshold, number, ref value @ ..] = bytes[..] else { return Err(ShareError::Content) };
        let mut share = Self {
            set: SetIdentifier([a, b, c, d]),
            threshold,
            number: NonZeroU8::new(number).ok_or(ShareError::Content)?,
            value: Secret::default(),
        };
        if threshold < 2 || value.len() != share.value.len() {
            return Err(ShareError::Content);
        }
        share.value.copy_from_slice(value);
        Ok(share)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Share {} of set {}", self.number, self.set)
    }
}

/// The shares of a new identity, which itself is gone: only its public key is left.
pub struct SharedIdentity {
    /// What is encrypted for it opens with any `threshold` of the shares.
    pub recipient: String,
    /// Each for one person.
    pub shares: Vec<Share>,
}

/// Makes an identity and its shares, any `threshold` of which give it back.
///
/// # Errors
/// When there are fewer shares than it takes, when one would be enough, or when the system has no random bytes.
pub fn make(threshold: u8, count: u8) -> Result<SharedIdentity, SharingError> {
    if threshold < 2 || count < threshold {
        return Err(SharingError::Threshold { threshold, count });
    }
    let random = || {
        let mut bytes = Secret::default();
        rand::fill(&mut *bytes).map(|()| bytes).map_err(|_| SharingError::Random)
    };
    // The constant one is the identity. That the last one may be zero, too, is what makes every secret equally possible.
    let coefficients = (0..threshold).map(|_| random()).collect::<Result<Vec<Secret>, SharingError>>()?;
    let recipient = identity(&coefficients[0]).ok_or(SharingError::Random)?.to_public().to_string();
    let set = SetIdentifier::of(&recipient);
    let numbers = (1..=count).filter_map(NonZeroU8::new);
    let shares = numbers.map(|number| Share { set, threshold, number, value: shamir::value(&coefficients, number) }).collect();
    Ok(SharedIdentity { recipient, shares })
}

/// The identity that shares make, and its public key.
///
/// # Errors
/// When they are of several identities, too few, or not what was made.
pub fn join(shares: &[Share]) -> Result<(Identities, String), SharesError> {
    let first = shares.first().ok_or(SharesError::None)?;
    for (index, share) in shares.iter().enumerate() {
        if share.set != first.set {
            return Err(SharesError::Mixed { given: index + 1, found: share.set, expected: first.set });
        }
        if let Some(earlier) = shares[..index].iter().position(|earlier| earlier.number == share.number) {
            return Err(SharesError::Repeated { given: index + 1, earlier: earlier + 1, number: share.number });
        }
    }
    if shares.len() < usize::from(first.threshold) {
        return Err(SharesError::TooFew { needed: first.threshold, given: shares.len(), set: first.set });
    }
    // All of them: one that was changed shows, though there be enough others.
    let points: Vec<(NonZeroU8, &Secret)> = shares.iter().map(|share| (share.number, &share.value)).collect();
    let changed = SharesError::Changed(first.set);
    let identity = identity(&shamir::at_zero(&points)).ok_or(changed.clone())?;
    let recipient = identity.to_public().to_string();
    if SetIdentifier::of(&recipient) != first.set || shares.iter().any(|share| share.threshold != first.threshold) {
        return Err(changed);
    }
    Ok((Identities::one(identity), recipient))
}

/// The identity of age with these bytes.
fn identity(secret: &Secret) -> Option<x25519::Identity> {
    let mut text = bech32::encode("age-secret-key-", &**secret, Variant::Classic);
    text.make_ascii_uppercase();
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_was_changed_together_with_its_checksum_is_found() {
        for more in [0, 1] {
            let mut made = make(3, 5).unwrap();
            made.shares[1].value[7] ^= 1;
            made.shares.truncate(3 + more);
            let read: Vec<Share> = made.shares.iter().map(|share| Share::read(&share.text()).unwrap()).collect();
            assert_eq!(join(&read).unwrap_err(), SharesError::Changed(read[0].set));
        }
        let mut made = make(2, 3).unwrap();
        made.shares[2].threshold = 3;
        assert_eq!(join(&made.shares).unwrap_err(), SharesError::Changed(made.shares[0].set));
        // A number that is none, and a threshold of one.
        let written = |bytes: &[u8]| Share::read(&bech32::encode(PREFIX, bytes, Variant::Modified)).unwrap_err();
        let mut bytes = [1; BYTES];
        assert_eq!(written(&bytes), ShareError::Content);
        (bytes[4], bytes[5]) = (2, 0);
        assert_eq!(written(&bytes), ShareError::Content);
    }
}
