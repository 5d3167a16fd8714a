//! A disk in memory: for tests and for callers that have the bytes at hand.

use std::{io, ops::Range};

use super::{DiskSource, SourceError};

/// A disk held in memory, with the ranges it declares and the bytes it refuses to read.
pub struct MemorySource {
    bytes: Vec<u8>,
    allocated: Vec<Range<u64>>,
    unreadable: Vec<Range<u64>>,
}

impl MemorySource {
    /// A disk of these bytes that declares everything allocated.
    pub fn new(bytes: Vec<u8>) -> Self {
        let whole = 0..bytes.len() as u64;
        Self { bytes, allocated: vec![whole], unreadable: Vec::new() }
    }

    /// Declares `allocated` instead.
    pub fn with_allocated(self, allocated: Vec<Range<u64>>) -> Self {
        Self { allocated, ..self }
    }

    /// Every read that touches one of these ranges fails.
    pub fn with_unreadable(self, unreadable: Vec<Range<u64>>) -> Self {
        Self { unreadable, ..self }
    }
}

impl DiskSource for MemorySource {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        Ok(self.allocated.clone())
    }

    fn allocated_within(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, SourceError> {
        let touches = |allocated: &&Range<u64>| allocated.start < range.end && range.start < allocated.end;
        Ok(self.allocated.iter().filter(touches).cloned().collect())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let end = offset.saturating_add(into.len() as u64);
        if let Some(bad) = self.unreadable.iter().find(|bad| bad.start < end && offset < bad.end) {
            return Err(SourceError::Read { offset: bad.start.max(offset), source: io::Error::other("unreadable") });
        }
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        match range.and_then(|(start, end)| self.bytes.get(start..end)) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(SourceError::Shrunk { offset: self.bytes() }),
        }
    }
}
