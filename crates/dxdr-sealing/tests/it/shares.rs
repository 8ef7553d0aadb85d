//! Shares of an identity: what opens with them, and what is said of those that are none.

use dxdr_sealing::{
    Share,
    escrow::{self, Recipients},
    share::{self, ShareError, SharesError, SharingError},
};
use proptest::prelude::*;

/// Every character that a share can have, and some that it cannot.
const CHARACTERS: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L1BIO!é";

fn copy(share: &Share) -> Share {
    Share::read(&share.text()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn as_many_as_it_takes_open_what_is_encrypted_for_all_and_one_less_does_not(
        (threshold, count) in (2_u8..8).prop_flat_map(|threshold| (Just(threshold), threshold..12)),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let made = share::make(threshold, count).unwrap();
        prop_assert_eq!(made.shares.len(), usize::from(count));
        let (file, _) = escrow::encrypt(b"what is kept", &Recipients::read(std::slice::from_ref(&made.recipient)).unwrap()).unwrap();
        // Any of them, in any order.
        let mut shares: Vec<Share> = made.shares.iter().map(copy).collect();
        let turn = order.index(shares.len());
        shares.rotate_left(turn);
        shares.sort_by_key(|share| seed.rotate_left(u32::from(share.number().get())) & 0xff);
        shares.truncate(threshold.into());
        let (identities, recipient) = share::join(&shares).unwrap();
        prop_assert_eq!(&recipient, &made.recipient);
        prop_assert_eq!(&**escrow::decrypt(&file, &identities).unwrap(), b"what is kept");
        let set = shares.pop().unwrap().set();
        let few = SharesError::TooFew { needed: threshold, given: usize::from(threshold) - 1, set };
        prop_assert_eq!(share::join(&shares).unwrap_err(), few);
    }
}

#[test]
fn every_character_that_is_copied_wrong_is_found_and_so_is_its_place() {
    let made = share::make(2, 2).unwrap();
    let text = made.shares[0].text();
    let begin = "DXDRSHARE1".len();
    let mut tried = 0;
    for (at, written) in text.char_indices().filter(|(_, written)| *written != '-') {
        for typed in CHARACTERS.chars().filter(|typed| *typed != written) {
            let mut wrong = text.to_string();
            wrong.replace_range(at..=at, &typed.to_string());
            let error = Share::read(&wrong).unwrap_err();
            let said = error.to_string();
            tried += 1;
            if at < begin {
                assert_eq!(error, ShareError::Prefix, "{at} {typed}");
                continue;
            }
            // Six characters a group, with the hyphen in front of it.
            let place = format!("character {} of group {} ", (at - begin) % 6, (at - begin) / 6 + 1);
            assert!(said.contains(&place), "{said}, and it is {place}");
            assert!(matches!(error, ShareError::Mistyped(_)) == !"1BIO!é".contains(typed), "{said}");
        }
    }
    assert_eq!(tried, 77 * 37, "each of 77 characters, as each other one");
}

#[test]
fn what_is_left_out_inserted_or_swapped_is_found() {
    let made = share::make(2, 2).unwrap();
    let text: String = made.shares[0].text().chars().filter(|character| *character != '-').collect();
    for at in 10..text.len() {
        let without = format!("{}{}", &text[..at], &text[at + 1..]);
        assert_eq!(Share::read(&without).unwrap_err(), ShareError::Length { found: 66 });
        let twice = format!("{}{}", &text[..=at], &text[at..]);
        assert_eq!(Share::read(&twice).unwrap_err(), ShareError::Length { found: 68 });
        let Some(next) = text.get(at + 1..at + 2).filter(|next| *next != &text[at..=at]) else { continue };
        let swapped = format!("{}{next}{}{}", &text[..at], &text[at..=at], &text[at + 2..]);
        assert_eq!(Share::read(&swapped).unwrap_err(), ShareError::Checksum, "{at}");
    }
    for none in ["", "# DXDRSHARE1\n", "AGE-SECRET-KEY-1", "dxdrshare", "é"] {
        assert_eq!(Share::read(none).unwrap_err(), ShareError::Prefix, "{none}");
    }
}

#[test]
fn a_share_is_read_however_it_is_written_down() {
    let made = share::make(2, 3).unwrap();
    let text = made.shares[2].text();
    let lines = text.replace('-', " \r\n ");
    for form in [text.to_lowercase(), lines, format!("# A comment with DXDRSHARE1-\n\n\t{}\n# And one behind\n", *text)] {
        let read = Share::read(&form).unwrap();
        assert_eq!((read.number().get(), read.threshold(), read.set()), (3, 2, made.shares[2].set()));
        assert_eq!(*read.text(), *text);
    }
    assert!(!format!("{:?}", made.shares[2]).contains(&text[11..16]));
}

#[test]
fn shares_that_do_not_belong_together_are_named() {
    let (mut one, other) = (share::make(2, 3).unwrap(), share::make(2, 3).unwrap());
    assert_eq!(share::join(&[]).unwrap_err(), SharesError::None);
    let (expected, found) = (one.shares[0].set(), other.shares[0].set());
    one.shares.insert(2, copy(&other.shares[0]));
    assert_eq!(share::join(&one.shares).unwrap_err(), SharesError::Mixed { given: 3, found, expected });
    one.shares[2] = copy(&one.shares[1]);
    let number = one.shares[1].number();
    assert_eq!(share::join(&one.shares).unwrap_err(), SharesError::Repeated { given: 3, earlier: 2, number });
    for (threshold, count) in [(0, 0), (1, 3), (4, 3)] {
        assert_eq!(share::make(threshold, count).err(), Some(SharingError::Threshold { threshold, count }));
    }
    assert_eq!(share::make(255, 255).unwrap().shares.len(), 255);
}
