//! The engine's index, for lookups at a scale no test repository has.
//!
//! It is private to the engine; the same source files are compiled here, so that the engine needs no public door for benches.

#![allow(dead_code, unused_imports, reason = "the benches use a part of the index")]

#[path = "../../engine/src/index/mod.rs"]
mod engine_index;

use std::path::{Path, PathBuf};

use repo_format::{ChunkId, Keyring, PackOrdinal};

use crate::random::Random;
use engine_index::{Index, IndexEntry, MountedRun, Run, merge_runs, write_run};

/// An index of generated entries.
pub struct BigIndex(Index);

impl BigIndex {
    /// Writes a run of entries `part` (numbers below `count`) to `path`, as a session does: sorted in memory.
    pub fn write_run(path: &Path, keys: &Keyring, seed: u64, count: u64, part: std::ops::Range<u64>) {
        let entry = |n: u64| IndexEntry {
            id: nth_id(seed, count, n),
            pack: (n / 1500) as u32,
            frame: (n % 1500 / 16) as u32,
            position: (n % 16) as u32,
        };
        write_run(path, keys, &mut part.map(entry).collect()).expect("run file");
    }

    /// Merges runs into one, as the engine does between sessions.
    pub fn merge(path: &Path, keys: &Keyring, from: &[PathBuf]) {
        merge_runs(path, keys, Self::open(from, keys).0.runs()).expect("run file");
    }

    /// Opens run files.
    pub fn open(paths: &[PathBuf], keys: &Keyring) -> Self {
        let run = |path: &PathBuf| MountedRun { run: Run::open(path, keys).expect("own run").into(), base: 0 };
        Self(Index::new(paths.iter().map(run).collect()))
    }

    /// Whether `id` is there, through the filters.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.0.find(id, &|_: PackOrdinal| true).is_some()
    }

    /// Entries of all runs.
    pub fn entry_count(&self) -> u64 {
        self.0.runs().iter().map(|mounted| mounted.run.entry_count()).sum()
    }
}

/// The `n`th of `count` ids in ascending order: evenly spread with a random offset, so as uniform as hashes are.
pub fn nth_id(seed: u64, count: u64, n: u64) -> ChunkId {
    let step = u64::MAX / count.max(1);
    let mut random = Random::of(seed, &[n]);
    let first = n * step + random.below(step);
    let mut id = [0; 32];
    random.fill(&mut id[8..]);
    id[..8].copy_from_slice(&first.to_be_bytes());
    ChunkId::from_bytes(id)
}

/// An id that no run holds.
pub fn absent_id(random: &mut Random) -> ChunkId {
    let mut id = [0; 32];
    random.fill(&mut id);
    ChunkId::from_bytes(id)
}
