//! Small sets of numbers: packs, chunks, points or sessions of a scope.

use std::fmt;

/// A set of numbers below 16.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u16);

impl Set {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// These numbers.
    pub const fn of(numbers: &[u8]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < numbers.len() {
            bits |= 1 << numbers[at];
            at += 1;
        }
        Self(bits)
    }

    /// This set and `number`.
    pub fn with(self, number: u8) -> Self {
        Self(self.0 | 1 << number)
    }

    /// What is in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is not in `other`.
    pub fn less(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those numbers for which `keep` holds.
    pub fn that(self, keep: impl Fn(u8) -> bool) -> Self {
        self.iter().filter(|number| keep(*number)).collect()
    }

    /// Is `number` in it?
    pub fn has(self, number: u8) -> bool {
        self.0 & 1 << number != 0
    }

    /// Is all of it in `other`?
    pub fn is_within(self, other: Self) -> bool {
        self.less(other).is_empty()
    }

    /// Is nothing in it?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its numbers, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u8> {
        (0..16).filter(move |number| self.has(*number))
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> Self {
        numbers.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
