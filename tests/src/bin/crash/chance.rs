//! Random moments that can be asked for again by their seed.

use std::hash::{BuildHasher, RandomState};

/// Splitmix64.
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From a seed, else from one of the operating system.
    pub fn new(seed: Option<u64>) -> Chance {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
        Chance { seed, state: seed }
    }

    /// What it began with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_gives_the_same_moments_again() {
        let moments = |seed| {
            let mut chance = Chance::new(Some(seed));
            std::iter::repeat_with(|| chance.below(250))
                .take(20)
                .collect::<Vec<_>>()
        };
        assert_eq!(moments(7), moments(7));
        assert_ne!(moments(7), moments(8));
        assert!(moments(7).iter().all(|m| *m < 250));
    }
}
