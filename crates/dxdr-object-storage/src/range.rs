//! Byte ranges of an object.

use std::ops::Range;

/// A range that ends before it begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the range {start}..{end} ends before it begins")]
pub(crate) struct Backwards {
    start: u64,
    end: u64,
}

/// What of an object of `size` bytes is asked for: cut at its end, and empty behind it.
pub(crate) fn within(range: Option<Range<u64>>, size: u64) -> Result<Range<u64>, Backwards> {
    match range {
        None => Ok(0..size),
        Some(Range { start, end }) if start > end => Err(Backwards { start, end }),
        Some(Range { start, end }) => Ok(start.min(size)..end.min(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_end_of_the_object() {
        assert_eq!(within(None, 5), Ok(0..5));
        assert_eq!(within(Some(1..3), 5), Ok(1..3));
        assert_eq!(within(Some(3..9), 5), Ok(3..5));
        assert_eq!(within(Some(7..9), 5), Ok(5..5));
        #[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
        let backwards = within(Some(3..1), 5);
        assert!(backwards.is_err());
    }
}
