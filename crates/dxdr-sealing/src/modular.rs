//! Powers modulo an odd number: RSA's operation with a public key, computed apart from the libraries that also do it, so that either proves the
//! other right.
//!
//! Montgomery's multiplication over digits of 64 bits (Handbook of Applied Cryptography, 14.36). Which steps are taken depends on modulus and
//! exponent alone, which are public; the number that is raised may be secret.

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

    /// `base` to the power of `exponent`, which is not 0; as many bytes as `base` has, which is below the modulus.
    pub(crate) fn power(&self, base: &[u8], exponent: u64) -> Zeroizing<Vec<u8>> {
        let base_digits = Zeroizing::new(digits(base, self.digits.len()));
        let in_form = self.multiply(&base_digits, &self.square);
        let mut power = in_form.clone();
        for bit in (0..exponent.checked_ilog2().unwrap_or(0)).rev() {
            power = self.multiply(&power, &power);
            if exponent >> bit & 1 == 1 {
                // The last factor as it is, and not in Montgomery's form, brings the power out of that form on the way.
                if bit == 0 {
                    return self.bytes(&self.multiply(&power, &base_digits), base.len());
                }
                power = self.multiply(&power, &in_form);
            }
        }
        let mut one = vec![0; self.digits.len()];
        one[0] = 1;
        self.bytes(&self.multiply(&power, &one), base.len())
    }

    /// The last `length` bytes of a number, the highest first.
    fn bytes(&self, number: &[u64], length: usize) -> Zeroizing<Vec<u8>> {
        let bytes = number.iter().rev().flat_map(|digit| digit.to_be_bytes());
        Zeroizing::new(bytes.skip(self.digits.len() * 8 - length).collect())
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

    #[test]
    fn small_numbers_come_out_as_by_hand() {
        let modulus = Modulus::new(&[0, 101]).unwrap();
        for (base, exponent, power) in [(2_u8, 10, 14), (0, 5, 0), (1, 65_537, 1), (100, 2, 1), (100, 3, 100), (7, 1, 7)] {
            assert_eq!(*modulus.power(&[0, base], exponent), [0, power], "{base}^{exponent}");
        }
        assert!(Modulus::new(&[4]).is_none() && Modulus::new(&[]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn powers_are_those_of_the_library(
            mut modulus in proptest::collection::vec(any::<u8>(), 256..=300), base in proptest::collection::vec(any::<u8>(), 255),
            exponent in prop_oneof![Just(3_u64), Just(65_537), (2..1_u64 << 30).prop_map(|half| 2 * half + 1)], extreme in any::<bool>(),
        ) {
            let length = modulus.len();
            // Digits that are all ones make the carries that are rare otherwise.
            if extreme {
                modulus[..128].fill(0xff);
            }
            modulus[0] |= 0x80;
            modulus[length - 1] |= 1;
            let mut padded = vec![0; length - base.len()];
            padded.extend(base);
            let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
            let key = PublicKey::new(number(&modulus), number(&exponent.to_be_bytes())).unwrap();
            let base = BoxedUint::from_be_slice(&padded, key.n_bits_precision()).unwrap();
            let expected = rsa_encrypt(&key, &base).unwrap().to_be_bytes();
            let found = Modulus::new(&modulus).unwrap().power(&padded, exponent);
            prop_assert_eq!(&found[..], &expected[expected.len() - length..]);
        }
    }
}
