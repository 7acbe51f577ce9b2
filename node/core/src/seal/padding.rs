//! Sizes that say little. What is sealed is padded first, so that the length of an object tells no more of its contents than the format means to.

/// Bodies up to this size cannot be told apart by their length.
const SMALLEST_PLAIN: usize = 256;

/// The padded size of `length` bytes: 256, else Padmé (Nikitin et al., PETS 2019, section 4), which adds 12 % at most and leaks O(log log length) bits.
#[must_use]
pub fn pad(length: usize) -> usize {
    if length <= SMALLEST_PLAIN {
        return SMALLEST_PLAIN;
    }
    let exponent = length.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - significant)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_padded_as_the_reference_says() {
        for (length, padded) in [
            (1, 256),
            (256, 256),
            (257, 272),
            (1000, 1024),
            (4097, 4352),
            (65_536, 65_536),
        ] {
            assert_eq!(pad(length), padded, "{length}");
        }
    }

    proptest! {
        #[test]
        fn padding_is_stable_ordered_and_small(length in 1usize..200_000) {
            let padded = pad(length);
            prop_assert!(padded >= length && pad(padded) == padded && pad(length + 1) >= padded);
            prop_assert!(length <= 256 || padded - length <= length * 12 / 100);
        }
    }
}
