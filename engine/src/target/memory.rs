//! A target in memory, for tests and small disks.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use repo_format::HashedChunk;

use super::{Room, Start, Target, TargetError};
use crate::byte_ranges;

/// How a [`MemoryTarget`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not yet.
    Open,
    /// With all of the disk.
    Whole,
    /// With losses.
    WithLosses,
}

/// Keeps the disk in memory.
pub struct MemoryTarget {
    state: Mutex<State>,
}

struct State {
    bytes: Vec<u8>,
    start: Start,
    ending: Ending,
    writes: u64,
}

impl MemoryTarget {
    /// An empty target.
    pub fn new() -> Self {
        Self::starting(Vec::new(), Start::Zeros)
    }

    /// A target that holds something already.
    pub fn starting(bytes: Vec<u8>, start: Start) -> Self {
        Self { state: Mutex::new(State { bytes, start, ending: Ending::Open, writes: 0 }) }
    }

    /// A copy of what is there.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        self.lock().ending
    }

    /// How many writes came.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place<'s>(&self, state: &'s mut State, offset: u64, length: usize) -> Result<&'s mut [u8], TargetError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found_bytes = state.bytes.len() as u64;
        let range = start..start.saturating_add(length);
        let wanted_bytes = range.end as u64;
        state.bytes.get_mut(range).ok_or_else(|| TargetError::TooSmall { path: memory(), found_bytes, wanted_bytes })
    }
}

impl Default for MemoryTarget {
    fn default() -> Self {
        Self::new()
    }
}

fn memory() -> PathBuf {
    PathBuf::from("memory")
}

impl Target for MemoryTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        Ok(None)
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        let mut state = self.lock();
        let length = usize::try_from(bytes).map_err(|_| TargetError::Full { path: memory() })?;
        if state.start == Start::Zeros {
            state.bytes = vec![0; length];
        } else if state.bytes.len() < length {
            state.bytes.resize(length, 0);
        }
        Ok(state.start)
    }

    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        let mut state = self.lock();
        state.writes += 1;
        let mut offset = offset;
        for chunk in chunks {
            self.place(&mut state, offset, chunk.len())?.copy_from_slice(chunk.bytes());
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.place(&mut self.lock(), range.start, length)?.fill(0);
        Ok(())
    }

    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut state = self.lock();
        let bytes = self.place(&mut state, range.start, length)?;
        let data = (range.start..range.end).zip(bytes.iter()).filter(|(_, byte)| **byte != 0);
        let mut ranges = Vec::new();
        data.for_each(|(at, _)| byte_ranges::push(&mut ranges, at..at + 1));
        Ok(ranges)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        buffer.copy_from_slice(self.place(&mut self.lock(), offset, buffer.len())?);
        Ok(())
    }

    fn write_back(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), TargetError> {
        self.lock().ending = Ending::Whole;
        Ok(())
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        self.lock().ending = Ending::WithLosses;
        Ok(())
    }
}
