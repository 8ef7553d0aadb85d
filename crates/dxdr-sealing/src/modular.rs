//! Powers modulo an odd number: whether a library did RSA's operation with a public key right, found by a computation that shares no line with it.
//!
//! Montgomery's multiplication over digits of 64 bits (Handbook of Applied Cryptography, 14.36). Which steps are taken depends on modulus and
//! exponent alone, which are public; the number that is raised may be secret.

use std::num::NonZero;

use zeroize::Zeroizing;

const DIGIT: usize = u64::BITS as usize;

/// What numbers are taken modulo, prepared for many multiplications. Digits stand with the lowest first.
pub(crate) struct Modulus {
    digits: Vec<u64>,
    /// −1/n modulo 2⁶⁴.
    inverse: u64,
    /// R² mod n, where R is one digit longer than the largest number: it brings numbers into Montgomery's form.
    square: Vec<u64>,
}

impl Modulus {
    /// Reads bytes, the highest first. `None` for even numbers.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let digits = digits(bytes, bytes.len().div_ceil(8));
        let lowest = *digits.first().filter(|lowest| *lowest % 2 == 1)?;
        // Newton's method: each step doubles the number of bits that are right, from one to 64.
        let inverse = (0..6).fold(1_u64, |near, _| near.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(near))));
        let mut square = vec![0; digits.len()];
        square[0] = 1;
        for _ in 0..2 * DIGIT * digits.len() {
            let over = double(&mut square);
            subtract_once(&mut square, over, &digits);
        }
        Some(Self { inverse: inverse.wrapping_neg(), square, digits })
    }

    /// Whether each of `pairs` holds a number and that number to the power of `exponent`. All are looked at together.
    ///
    /// The product of the numbers is raised and compared with the product of their powers: two multiplications a pair, and one power for all. A single pair
    /// that does not hold makes the products differ, whatever is wrong with it: the other factors have inverses, since a number without one gives a
    /// factor of the modulus away. Several errors are missed together when they cancel one another out.
    pub(crate) fn are_powers(&self, pairs: &[(&[u8], &[u8])], exponent: NonZero<u64>) -> bool {
        let Some(count) = NonZero::new(pairs.len() as u64) else { return true };
        // Each multiplication by a number as it is takes a factor R away: they are put in before.
        let start = self.power(&self.square, count);
        let numbers = self.product(&start, pairs.iter().map(|(number, _)| *number));
        let powers = self.product(&start, pairs.iter().map(|(_, power)| *power));
        numbers.zip(powers).is_some_and(|(numbers, powers)| *self.power(&numbers, exponent) == *powers)
    }

    /// Numbers multiplied one after the other, R taken away each time; `None` where one is not below the modulus.
    fn product<'b>(&self, start: &[u64], numbers: impl IntoIterator<Item = &'b [u8]>) -> Option<Zeroizing<Vec<u64>>> {
        let start = Zeroizing::new(start.to_vec());
        numbers.into_iter().try_fold(start, |product, bytes| Some(self.multiply(&product, &self.number(bytes)?)))
    }

    /// The number of some bytes, if it is below the modulus.
    fn number(&self, bytes: &[u8]) -> Option<Zeroizing<Vec<u64>>> {
        let fits = bytes.len().div_ceil(8) <= self.digits.len();
        let number = fits.then(|| Zeroizing::new(digits(bytes, self.digits.len())))?;
        number.iter().rev().lt(self.digits.iter().rev()).then_some(number)
    }

    /// A number to the power of `exponent`, both in Montgomery's form.
    fn power(&self, base: &[u64], exponent: NonZero<u64>) -> Zeroizing<Vec<u64>> {
        (0..exponent.ilog2()).rev().fold(Zeroizing::new(base.to_vec()), |power, bit| {
            let square = self.multiply(&power, &power);
            if exponent.get() >> bit & 1 == 1 { self.multiply(&square, base) } else { square }
        })
    }

    /// a·b/R mod n. Both have as many digits as n.
    fn multiply(&self, a: &[u64], b: &[u64]) -> Zeroizing<Vec<u64>> {
        let length = self.digits.len();
        let mut sum = Zeroizing::new(vec![0_u64; length + 1]);
        for factor in a {
            add_and_shift(&mut sum, *factor, b, &self.digits, self.inverse);
        }
        let over = sum[length];
        sum.truncate(length);
        subtract_once(&mut sum, over, &self.digits);
        sum
    }
}

/// sum := (sum + factor·b + m·n) / 2⁶⁴, with the multiple m of n that makes the lowest digit 0. Below 2·n when it was.
///
/// Both products are added in one pass over the digits: neither's carry waits for the other's.
fn add_and_shift(sum: &mut [u64], factor: u64, b: &[u64], n: &[u64], inverse: u64) {
    let length = n.len();
    // Said here, it need not be asked for each digit.
    let (sum, b) = (&mut sum[..=length], &b[..length]);
    let (lowest, mut carry) = multiply_add(factor, b[0], sum[0], 0);
    let multiple = lowest.wrapping_mul(inverse);
    let (_, mut reducing) = multiply_add(multiple, n[0], lowest, 0);
    for index in 1..length {
        let digit;
        (digit, carry) = multiply_add(factor, b[index], sum[index], carry);
        (sum[index - 1], reducing) = multiply_add(multiple, n[index], digit, reducing);
    }
    let top = u128::from(sum[length]) + u128::from(carry) + u128::from(reducing);
    (sum[length - 1], sum[length]) = (top as u64, (top >> DIGIT) as u64);
}

/// Digits from bytes, the highest of which come first.
fn digits(bytes: &[u8], length: usize) -> Vec<u64> {
    let mut digits = vec![0; length];
    for (place, byte) in bytes.iter().rev().enumerate() {
        digits[place / 8] |= u64::from(*byte) << (8 * (place % 8));
    }
    digits
}

/// a·b + c + d, in two digits: the largest there can be fits.
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (wide as u64, (wide >> DIGIT) as u64)
}

/// Answers what does not fit.
fn double(number: &mut [u64]) -> u64 {
    number.iter_mut().fold(0, |carry, digit| {
        let over = *digit >> (DIGIT - 1);
        *digit = *digit << 1 | carry;
        over
    })
}

/// Takes `n` away from a number below 2·n with the digit `over` in front of it, unless it is below `n`. Takes the same steps either way.
fn subtract_once(number: &mut [u64], over: u64, n: &[u64]) {
    let mut less = Zeroizing::new(vec![0; n.len()]);
    let mut borrow = 0;
    for ((less, digit), other) in less.iter_mut().zip(number.iter()).zip(n) {
        let (first, one) = digit.overflowing_sub(*other);
        let (second, two) = first.overflowing_sub(borrow);
        (*less, borrow) = (second, u64::from(one | two));
    }
    // All ones where it was below n: nothing in front, and something borrowed.
    let stays = over.wrapping_sub(borrow);
    for (digit, less) in number.iter_mut().zip(less.iter()) {
        *digit = *digit & stays | less & !stays;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::{BoxedUint, PublicKey, hazmat::rsa_encrypt, traits::PublicKeyParts as _};

    use super::*;

    fn holds(modulus: &Modulus, pairs: &[(&[u8], &[u8])], exponent: u64) -> bool {
        modulus.are_powers(pairs, NonZero::new(exponent).unwrap())
    }

    #[test]
    fn small_numbers_are_as_by_hand() {
        let modulus = Modulus::new(&[0, 101]).unwrap();
        for (base, exponent, power) in [(2_u8, 10, 14), (0, 5, 0), (1, 65_537, 1), (100, 2, 1), (100, 3, 100), (7, 1, 7)] {
            for other in 0..101 {
                assert_eq!(
                    holds(&modulus, &[(&[0, base], &[0, other])], exponent),
                    other == power,
                    "{base}^{exponent} and {other}"
                );
            }
            // The same number, and not the one that is written.
            assert!(!holds(&modulus, &[(&[0, base], &[0, power + 101])], exponent));
            assert!(!holds(&modulus, &[(&[0, base], &[1, 0, 0, 0, 0, 0, 0, 0, power])], exponent), "too long");
        }
        assert!(Modulus::new(&[4]).is_none() && Modulus::new(&[]).is_none());
        assert!(holds(&modulus, &[], 3));
        // By hand: 2³ = 8, 3³ = 27, 5³ = 24, 6³ = 14.
        let cubes: [(&[u8], &[u8]); 4] = [(&[2], &[8]), (&[3], &[27]), (&[5], &[24]), (&[6], &[14])];
        assert!((0..=4).all(|count| holds(&modulus, &cubes[..count], 3)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn powers_of_the_library_hold_and_one_that_is_wrong_is_seen(
            mut modulus in proptest::collection::vec(any::<u8>(), 256..=300),
            bases in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 255), 1..6),
            exponent in prop_oneof![Just(3_u64), Just(65_537), (2..1_u64 << 30).prop_map(|half| 2 * half + 1)],
            extreme in any::<bool>(), wrong in any::<prop::sample::Index>(), bit in 0..2040_usize,
        ) {
            let length = modulus.len();
            // Digits that are all ones make the carries that are rare otherwise.
            if extreme {
                modulus[..128].fill(0xff);
            }
            modulus[0] |= 0x80;
            modulus[length - 1] |= 1;
            let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
            let key = PublicKey::new(number(&modulus), number(&exponent.to_be_bytes())).unwrap();
            let mut pairs = Vec::new();
            for base in bases {
                let padded = [vec![0; length - base.len()], base].concat();
                let raised = rsa_encrypt(&key, &BoxedUint::from_be_slice(&padded, key.n_bits_precision()).unwrap()).unwrap().to_be_bytes();
                pairs.push((padded, raised[raised.len() - length..].to_vec()));
            }
            let our = Modulus::new(&modulus).unwrap();
            let hold = |pairs: &[(Vec<u8>, Vec<u8>)]| {
                holds(&our, &pairs.iter().map(|(base, power)| (&base[..], &power[..])).collect::<Vec<_>>(), exponent)
            };
            prop_assert!(hold(&pairs));
            let wrong = wrong.index(pairs.len());
            pairs[wrong].1[length - 1 - bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!hold(&pairs));
        }
    }
}
