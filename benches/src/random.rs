//! A small deterministic generator: the same seed gives the same bytes on every machine, for ever.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a purpose: different keys give unrelated streams.
    pub fn of(seed: u64, key: &[u64]) -> Self {
        let mut random = Self(seed ^ 0x5752_4f4e_4752_4f4f);
        for part in key {
            random.0 = random.next_u64() ^ part.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        random
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end` (0 if `end` is 0).
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` to below `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// True this often, of 100.
    pub fn percent(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }

    /// A number of the order of magnitude of `low` … `high`, small ones as often as large ones (as file sizes are).
    pub fn log_between(&mut self, low: u64, high: u64) -> u64 {
        let steps = (64 - high.leading_zeros()).saturating_sub(64 - low.max(1).leading_zeros());
        let top = low << self.below(u64::from(steps) + 1);
        self.between(top, top * 2).min(high)
    }

    /// One of `all`, early ones more often (as words in a text).
    pub fn skewed<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let (a, b) = (self.below(all.len() as u64), self.below(all.len() as u64));
        &all[a.min(b) as usize]
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
    }

    /// `length` random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.fill(&mut out);
        out
    }
}

impl Iterator for Random {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_u64())
    }
}
