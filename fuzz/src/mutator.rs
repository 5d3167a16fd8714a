//! A small seeded mutator: the same seed makes the same inputs.

const INTERESTING: [u64; 14] =
    [0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
const INPUT_BYTES_MAX: usize = 1 << 16;

/// Makes new inputs out of old ones.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose inputs follow from `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next random number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number below `bound`; 0 for 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// One of a corpus, changed in one to eight places, at times with a part of another.
    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(corpus);
        for _ in 0..=self.below(8) {
            match self.below(12) {
                0..=2 => self.flip_bit(&mut input),
                3 => self.set_byte(&mut input),
                4 | 5 => self.set_number(&mut input),
                6 => self.insert(&mut input),
                7 => self.remove(&mut input),
                8 => self.repeat(&mut input),
                9 => input.truncate(self.below(input.len() + 1)),
                10 => self.step_byte(&mut input),
                _ => self.splice(&mut input, corpus),
            }
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn pick(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let index = self.below(corpus.len());
        corpus.get(index).cloned().unwrap_or_default()
    }

    /// A random range of `input`, at most 64 long as a rule.
    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(input.len() + 1);
        let longest = (input.len() - start).min(if self.below(8) == 0 { usize::MAX } else { 64 });
        start..start + self.below(longest + 1)
    }

    fn flip_bit(&mut self, input: &mut [u8]) {
        let (place, bit) = (self.below(input.len()), self.below(8));
        input.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << bit);
    }

    fn set_byte(&mut self, input: &mut [u8]) {
        let (place, [value, ..]) = (self.below(input.len()), self.number().to_le_bytes());
        input.get_mut(place).into_iter().for_each(|byte| *byte = value);
    }

    fn step_byte(&mut self, input: &mut [u8]) {
        let (place, up) = (self.below(input.len()), self.below(2) == 0);
        let step = |byte: u8| if up { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
        input.get_mut(place).into_iter().for_each(|byte| *byte = step(*byte));
    }

    /// Writes a number worth trying, little-endian or as a varint.
    fn set_number(&mut self, input: &mut Vec<u8>) {
        let index = self.below(INTERESTING.len());
        let number = INTERESTING.get(index).copied().unwrap_or_default();
        let start = self.below(input.len() + 1);
        if self.below(2) == 0 {
            let width = 1 << self.below(4);
            input.iter_mut().skip(start).take(width).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        } else {
            let mut varint = Vec::new();
            let mut rest = number;
            while rest >= 0x80 {
                varint.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            varint.push(rest.to_le_bytes()[0]);
            let end = (start + self.below(3)).min(input.len());
            input.splice(start..end, varint);
        }
    }

    fn insert(&mut self, input: &mut Vec<u8>) {
        let start = self.below(input.len() + 1);
        let bytes: Vec<u8> = (0..=self.below(16)).map(|_| self.number().to_le_bytes()[0]).collect();
        input.splice(start..start, bytes);
    }

    fn remove(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        input.drain(range);
    }

    fn repeat(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        let bytes = input.get(range.clone()).unwrap_or_default().to_vec();
        input.splice(range.start..range.start, bytes);
    }

    fn splice(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let other = self.pick(corpus);
        let (to, from) = (self.range(input), self.range(&other));
        input.splice(to, other.get(from).unwrap_or_default().iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence_of_inputs() {
        let corpus = [b"some bytes".to_vec(), vec![], vec![7; 300]];
        let run = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1000).map(|_| mutator.input(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
    }
}
