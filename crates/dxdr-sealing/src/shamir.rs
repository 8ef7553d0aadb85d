//! Shamir's way to share a secret: it is the value at 0 of a polynomial, the shares are its values elsewhere, and what is less than
//! enough of them fits every secret alike.
//!
//! Byte by byte in the field of 256 elements, modulo x⁸+x⁴+x³+x+1 as in AES. No branch and no table depends on what is secret; where a share
//! stands on the polynomial is public.

use std::num::NonZeroU8;

use zeroize::Zeroizing;

/// Bytes of what is shared.
pub(crate) const LENGTH: usize = 32;

/// What is shared, or a share of it.
pub(crate) type Secret = Zeroizing<[u8; LENGTH]>;

/// The value at `at` of the polynomial with these coefficients, the constant one first.
pub(crate) fn value(coefficients: &[Secret], at: NonZeroU8) -> Secret {
    let mut value = Secret::default();
    for coefficient in coefficients.iter().rev() {
        for (byte, term) in value.iter_mut().zip(coefficient.iter()) {
            *byte = product(*byte, at.get()) ^ term;
        }
    }
    value
}

/// The value at 0 of the polynomial of the lowest degree through these points, which stand at places of their own.
pub(crate) fn at_zero(points: &[(NonZeroU8, &Secret)]) -> Secret {
    let mut secret = Secret::default();
    for (place, value) in points {
        let others = points.iter().map(|(other, _)| other.get()).filter(|other| *other != place.get());
        let weight = others.fold(1, |weight, other| product(weight, product(other, inverse(other ^ place.get()))));
        for (byte, part) in secret.iter_mut().zip(value.iter()) {
            *byte ^= product(*part, weight);
        }
    }
    secret
}

fn product(one: u8, other: u8) -> u8 {
    let (mut one, mut product) = (one, 0);
    for bit in 0..8 {
        product ^= one & (other >> bit & 1).wrapping_neg();
        one = one << 1 ^ ((one >> 7).wrapping_neg() & 0x1b);
    }
    product
}

/// The 254th power: the product of both is 1, but for 0.
fn inverse(value: u8) -> u8 {
    let mut power = value;
    for _ in 0..6 {
        power = product(product(power, power), value);
    }
    product(power, power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(at: u8) -> NonZeroU8 {
        NonZeroU8::new(at).unwrap()
    }

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; LENGTH])
    }

    #[test]
    fn it_is_the_field_of_aes() {
        // FIPS 197, 4.2.
        assert_eq!(product(0x57, 0x83), 0xc1);
        assert_eq!(product(0x57, 0x13), 0xfe);
        for value in 1..=255 {
            assert_eq!(product(value, inverse(value)), 1, "{value}");
        }
        assert_eq!(inverse(0), 0);
    }

    /// Every polynomial there is, for one byte: whatever the secret, two values of three that it takes are each pair there is, once. So two
    /// shares say nothing of it.
    #[test]
    fn one_share_less_than_enough_fits_every_secret_equally() {
        for (hidden, one, other) in [(0, 1, 2), (0x53, 3, 250)] {
            let mut seen = vec![0_u32; 1 << 16];
            for linear in 0..=255 {
                for square in 0..=255 {
                    let coefficients = [secret(hidden), secret(linear), secret(square)];
                    let pair = [one, other].map(|at| usize::from(value(&coefficients, place(at))[0]));
                    seen[pair[0] << 8 | pair[1]] += 1;
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{hidden} at {one} and {other}");
        }
    }

    /// The same the other way round: to whatever less than enough shares say, there is a polynomial for each secret.
    #[test]
    fn to_a_share_too_few_every_secret_is_possible() {
        let coefficients = [secret(7), secret(91), secret(200)];
        let known = [place(2), place(5)].map(|at| (at, value(&coefficients, at)));
        let mut possible: Vec<u8> = (0..=255)
            .map(|guessed| at_zero(&[(known[0].0, &known[0].1), (known[1].0, &known[1].1), (place(9), &secret(guessed))])[0])
            .collect();
        possible.sort_unstable();
        assert_eq!(possible, (0..=255).collect::<Vec<u8>>());
    }

    proptest! {
        #[test]
        fn enough_values_give_the_secret_back(
            coefficients in prop::collection::vec(any::<[u8; LENGTH]>(), 1..8),
            places in prop::collection::btree_set(1_u8..=255, 8..12),
            more in 0_usize..4,
        ) {
            let coefficients: Vec<Secret> = coefficients.into_iter().map(Secret::new).collect();
            let values: Vec<(NonZeroU8, Secret)> =
                places.into_iter().map(|at| (place(at), value(&coefficients, place(at)))).collect();
            // More than enough do no harm.
            let given: Vec<_> = values.iter().take(coefficients.len() + more).map(|(at, value)| (*at, value)).collect();
            prop_assert_eq!(&*at_zero(&given), &*coefficients[0]);
        }
    }
}
