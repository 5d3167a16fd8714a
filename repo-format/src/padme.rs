//! Padmé: the sizes of packs that were closed early, so that they tell little about what is in them (SPEC.md section 11).

/// The least Padmé length that holds `length` bytes: at most 12 % more, with O(log log L) bits of information.
pub(crate) fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    length.next_multiple_of(1 << (exponent - kept.min(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_paper() {
        for (length, padded) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 3),
            (8, 8),
            (9, 10),
            (15, 16),
            (100, 104),
            (1000, 1024),
            (1025, 1088),
            (65_537, 67_584),
            (1_000_001, 1_015_808),
        ] {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    #[test]
    fn a_padded_length_is_its_own_and_at_most_an_eighth_longer() {
        for length in (1..4096).chain((1..60).map(|shift| (1_u64 << shift) + 1)) {
            let padded = padme(length);
            assert!(padded >= length && padded - length <= length / 8 + 1, "{length}");
            assert_eq!(padme(padded), padded, "{length}");
        }
    }
}
