//! Random numbers that are the same for the same seed in every build, so that a seed in a report means something for good.

/// A generator (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of one purpose: the seed and whatever tells this use from others.
    pub fn of(seed: u64, purpose: &str) -> Self {
        // FNV-1a; the first rolls mix it further.
        let hash = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut dice = Self(seed ^ hash);
        dice.roll();
        Self(dice.roll() ^ hash)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to below `high`; `low` when there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % high.saturating_sub(low).max(1)
    }

    /// True once in `count` times on average.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.between(0, count) == 0
    }

    /// One of several; `None` when there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let place = self.between(0, from.len() as u64);
        from.get(usize::try_from(place).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_and_another_purpose_does_not() {
        let rolls = |purpose| {
            let mut dice = Dice::of(7, purpose);
            [dice.roll(), dice.roll(), dice.roll()]
        };
        assert_eq!(rolls("plan"), rolls("plan"));
        assert_ne!(rolls("plan"), rolls("client"));
    }

    #[test]
    fn a_number_lies_in_its_range_and_an_empty_range_gives_its_beginning() {
        let mut dice = Dice::of(1, "range");
        assert!((0..1000).all(|_| (5..9).contains(&dice.between(5, 9))));
        assert_eq!(dice.between(5, 5), 5);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
