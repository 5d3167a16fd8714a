//! The names of all chunks that something still needs, as one sorted file.

use std::path::Path;

use repo_format::{ChunkId, Keyring};

use super::sorted::{Sorted, SortedBuilder};
use crate::{index::IndexEntry, read_error::ReadError};

/// Names in memory before they go to a file: 44 bytes each.
const GATHERED_MAX: usize = 1 << 20;

/// Gathers names in any order, with repeats.
pub(super) struct NeededBuilder<'k>(SortedBuilder<'k>);

impl<'k> NeededBuilder<'k> {
    /// Files go below `parent` and leave with the result.
    pub(super) fn new(keys: &'k Keyring, parent: &Path) -> Result<Self, ReadError> {
        SortedBuilder::new(keys, parent, GATHERED_MAX).map(Self)
    }

    pub(super) fn add(&mut self, id: ChunkId) -> Result<(), ReadError> {
        self.0.add(IndexEntry { id, pack: 0, frame: 0, position: 0 })
    }

    pub(super) fn finish(self) -> Result<Needed, ReadError> {
        self.0.finish().map(Needed)
    }
}

/// All needed names, each once.
pub(super) struct Needed(Sorted);

impl Needed {
    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        self.0.contains(id)
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.0.iter().map(|entry| entry.id)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.count()
    }
}
