//! OAEP with SHA-256 (RFC 8017, 7.1), without the operation of RSA: what stands between a session key and the number that is raised.
//!
//! Libraries draw the seed themselves and keep it. Where it is known, what they compute can be computed again.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Bytes of a digest, and of a seed.
pub(crate) const HASH: usize = 32;

/// A message for RSA with a modulus of `length` bytes. `None` when it is too long for that.
pub(crate) fn encode(length: usize, label: &[u8], message: &[u8], seed: &[u8; HASH]) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = length.checked_sub(message.len() + 2 * HASH + 2)?;
    let mut encoded = Zeroizing::new(vec![0; length]);
    let (hidden_seed, block) = encoded[1..].split_at_mut(HASH);
    hidden_seed.copy_from_slice(seed);
    block[..HASH].copy_from_slice(&Sha256::digest(label));
    block[HASH + zeros] = 1;
    block[HASH + zeros + 1..].copy_from_slice(message);
    mask(block, hidden_seed);
    mask(hidden_seed, block);
    Some(encoded)
}

/// The message of what [`encode`] made for that label. Not for what others sealed: the time that it takes says what is wrong with it.
pub(crate) fn decode(encoded: &[u8], label: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(encoded.to_vec());
    let (first, rest) = decoded.split_first_mut()?;
    let (seed, block) = rest.split_at_mut_checked(HASH)?;
    mask(seed, block);
    mask(block, seed);
    let (of_label, rest) = block.split_at_checked(HASH)?;
    let begin = rest.iter().position(|byte| *byte != 0)?;
    let is_whole = *first == 0 && rest[begin] == 1 && verify_slices_are_equal(of_label, &Sha256::digest(label)).is_ok();
    is_whole.then(|| Zeroizing::new(rest[begin + 1..].to_vec()))
}

/// Changes bytes by what MGF1 makes of a seed (RFC 8017, B.2.1).
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(HASH)) {
        let mut digest = Sha256::new();
        digest.update(seed);
        digest.update(counter.to_be_bytes());
        chunk.iter_mut().zip(digest.finalize()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_for_its_label_alone() {
        let seed = [9; HASH];
        for message in [&b"0123456789abcdef0123456789abcdef"[..], b"", b"\x00\x01"] {
            let encoded = encode(256, b"staging/db", message, &seed).unwrap();
            assert_eq!(encoded[0], 0);
            assert_eq!(decode(&encoded, b"staging/db").unwrap().as_slice(), message);
            assert!(decode(&encoded, b"staging").is_none());
            for at in [0, 1, 40, 255] {
                let mut changed = encoded.clone();
                changed[at] ^= 1;
                assert!(decode(&changed, b"staging/db").is_none_or(|decoded| decoded.as_slice() != message), "{at}");
            }
        }
        assert!(encode(256, b"", &[0; 190], &seed).is_some() && encode(256, b"", &[0; 191], &seed).is_none());
        assert!(decode(&[0; 20], b"").is_none() && decode(&[], b"").is_none());
    }
}
