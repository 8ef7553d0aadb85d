//! Bech32: bytes as letters and digits that a person can copy, with a checksum that finds every one, two, three or four of them copied
//! wrong (BIP 173 and BIP 350).
//!
//! Beside the crates that do this, it wipes what it made, and finds the place of a single wrong character.

use zeroize::Zeroizing;

/// The characters, by their value: none of them is taken for another.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Characters of a checksum.
pub(crate) const CHECKSUM: usize = 6;

/// Which of the two checksums.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Variant {
    /// As age writes its keys.
    Classic,
    /// The same, made safe against characters that are inserted at the end.
    Modified,
}

impl Variant {
    const fn constant(self) -> u32 {
        match self {
            Self::Classic => 1,
            Self::Modified => 0x2bc8_30a3,
        }
    }
}

/// Characters that so many bytes take, the checksum with them.
pub(crate) const fn characters(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5) + CHECKSUM
}

/// `PREFIX1…`, all of it in small letters.
pub(crate) fn encode(prefix: &str, bytes: &[u8], variant: Variant) -> Zeroizing<String> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(characters(bytes.len())));
    let (mut pending, mut bits) = (0_u16, 0);
    for byte in bytes {
        pending = (pending << 8 | u16::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            symbols.push((pending >> bits) as u8 & 31);
        }
    }
    if bits > 0 {
        symbols.push((pending << (5 - bits)) as u8 & 31);
    }
    let open = [0; CHECKSUM];
    let checksum = remainder(prefix, symbols.iter().chain(&open).copied()) ^ variant.constant();
    symbols.extend((0..CHECKSUM).rev().map(|place| (checksum >> (5 * place)) as u8 & 31));
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + symbols.len()));
    text.push_str(prefix);
    text.push('1');
    text.extend(symbols.iter().map(|symbol| char::from(ALPHABET[usize::from(*symbol)])));
    text
}

/// Why characters are no bytes. Places begin with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// This character is never used.
    Character(usize),
    /// The checksum does not fit; where one other character would make it fit, its place.
    Checksum(Option<usize>),
    /// It was made by something else: bits are set that mean nothing.
    Padding,
}

/// The bytes of what stands behind `PREFIX1`, in either case.
pub(crate) fn decode(prefix: &str, text: &str, variant: Variant) -> Result<Zeroizing<Vec<u8>>, Undecodable> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(text.len()));
    for (place, character) in text.chars().enumerate() {
        let small = character.to_ascii_lowercase();
        let value = ALPHABET.iter().position(|known| char::from(*known) == small).ok_or(Undecodable::Character(place))?;
        symbols.push(value as u8);
    }
    let difference = remainder(prefix, symbols.iter().copied()) ^ variant.constant();
    if symbols.len() < CHECKSUM || difference != 0 {
        return Err(Undecodable::Checksum(misplaced(symbols.len(), difference)));
    }
    let values = &symbols[..symbols.len() - CHECKSUM];
    let mut bytes = Zeroizing::new(Vec::with_capacity(values.len() * 5 / 8));
    let (mut pending, mut bits) = (0_u16, 0);
    for symbol in values {
        pending = (pending << 5 | u16::from(*symbol)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits) as u8);
        }
    }
    if bits >= 5 || pending & ((1 << bits) - 1) != 0 {
        return Err(Undecodable::Padding);
    }
    Ok(bytes)
}

/// The one place at which another character makes the difference zero. There is at most one: any two texts that fit differ in five.
fn misplaced(length: usize, difference: u32) -> Option<usize> {
    // What a change of one character makes of the remainder does not depend on the others.
    (1..32).find_map(|change| {
        let mut made = change;
        (0..length).rev().find(|_| {
            let found = made == difference;
            made = step(made, 0);
            found
        })
    })
}

/// What is left of the division by the code's polynomial.
fn remainder(prefix: &str, symbols: impl Iterator<Item = u8>) -> u32 {
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(symbols).fold(1, step)
}

fn step(state: u32, symbol: u8) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = state >> 25;
    let shifted = (state & 0x1ff_ffff) << 5 ^ u32::from(symbol);
    // Without a branch: the symbols are secret.
    GENERATOR.iter().enumerate().fold(shifted, |next, (bit, term)| next ^ (term & (top >> bit & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_texts_of_the_specification_have_its_checksums() {
        // BIP 350, valid and invalid, and BIP 173.
        for (text, variant) in [
            ("a1lqfn3a", Variant::Modified),
            ("an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6", Variant::Modified),
            ("abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", Variant::Modified),
            ("split1checkupstagehandshakeupstreamerranterredcaperredlc445v", Variant::Modified),
            ("a12uel5l", Variant::Classic),
            ("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", Variant::Classic),
        ] {
            let (prefix, rest) = text.rsplit_once('1').unwrap();
            let checked = decode(prefix, rest, variant);
            assert!(!matches!(checked, Err(Undecodable::Checksum(_) | Undecodable::Character(_))), "{text}: {checked:?}");
        }
        assert_eq!(decode("split", "cheo2y9e2w", Variant::Classic).unwrap_err(), Undecodable::Character(3));
        assert!(matches!(decode("a", "lqfn3q", Variant::Modified), Err(Undecodable::Checksum(_))));
    }

    #[test]
    fn identities_of_age_are_written_as_age_writes_them() {
        for _ in 0..20 {
            let identity = age::x25519::Identity::generate().to_string();
            let written = identity.expose_secret().strip_prefix("AGE-SECRET-KEY-1").unwrap();
            let bytes = decode("age-secret-key-", written, Variant::Classic).unwrap();
            assert_eq!(bytes.len(), 32);
            assert_eq!(encode("age-secret-key-", &bytes, Variant::Classic).to_uppercase(), identity.expose_secret());
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let text = encode("test", &bytes, Variant::Modified);
            let rest = text.strip_prefix("test1").unwrap();
            prop_assert_eq!(rest.len(), characters(bytes.len()));
            prop_assert_eq!(&*decode("test", rest, Variant::Modified).unwrap(), &bytes);
            prop_assert_eq!(&*decode("test", &rest.to_uppercase(), Variant::Modified).unwrap(), &bytes);
        }
    }
}
