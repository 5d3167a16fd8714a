//! Names gathered in any order and handed out in ascending order, by way of files: memory does not grow with the repository.

use std::{path::Path, sync::Arc};

use repo_format::{ChunkId, Keyring};

use crate::{
    index::{IndexEntry, MountedRun, Run, merge_runs, write_run},
    read_error::ReadError,
};

/// Files of one size before they become one: what comes again and again is then there once.
const RUNS_MAX: usize = 16;

/// Gathers entries in any order, with repeats.
pub(super) struct SortedBuilder<'k> {
    keys: &'k Keyring,
    folder: tempfile::TempDir,
    gathered: Vec<IndexEntry>,
    gathered_max: usize,
    runs: Vec<MountedRun>,
    files: u64,
}

impl<'k> SortedBuilder<'k> {
    /// At most `gathered_max` entries (44 bytes each) are in memory. Files go to a folder of their own below `parent` and
    /// leave with the result.
    pub(super) fn new(keys: &'k Keyring, parent: &Path, gathered_max: usize) -> Result<Self, ReadError> {
        let folder = tempfile::Builder::new().prefix("sorted-").tempdir_in(parent);
        let folder = folder.map_err(|error| ReadError::Index(format!("{}: {error}", parent.display())))?;
        Ok(Self { keys, folder, gathered: Vec::new(), gathered_max, runs: Vec::new(), files: 0 })
    }

    pub(super) fn add(&mut self, entry: IndexEntry) -> Result<(), ReadError> {
        self.gathered.push(entry);
        if self.gathered.len() < self.gathered_max { Ok(()) } else { self.spill() }
    }

    pub(super) fn finish(mut self) -> Result<Sorted, ReadError> {
        if !self.gathered.is_empty() {
            self.spill()?;
        }
        if self.runs.len() > 1 {
            self.merge()?;
        }
        Ok(Sorted { run: self.runs.pop().map(|run| run.run), _folder: self.folder })
    }

    fn spill(&mut self) -> Result<(), ReadError> {
        let path = self.next_path();
        write_run(&path, self.keys, &mut self.gathered)?;
        self.gathered.clear();
        self.runs.push(MountedRun { run: Arc::new(Run::open(&path, self.keys)?), base: 0 });
        if self.runs.len() < RUNS_MAX { Ok(()) } else { self.merge() }
    }

    fn merge(&mut self) -> Result<(), ReadError> {
        let path = self.next_path();
        merge_runs(&path, self.keys, &self.runs)?;
        let merged = Arc::new(Run::open(&path, self.keys)?);
        self.runs.drain(..).for_each(|run| drop(std::fs::remove_file(run.run.path())));
        self.runs.push(MountedRun { run: merged, base: 0 });
        Ok(())
    }

    fn next_path(&mut self) -> std::path::PathBuf {
        self.files += 1;
        self.folder.path().join(self.files.to_string())
    }
}

/// Entries in ascending order, each once.
pub(super) struct Sorted {
    run: Option<Arc<Run>>,
    _folder: tempfile::TempDir,
}

impl Sorted {
    /// Searched without the filter: a damaged filter must not hide a name.
    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        self.run.as_ref().is_some_and(|run| !run.find_all(id).is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.run.iter().flat_map(|run| run.iter())
    }

    /// Of entries of one name only the first.
    pub(super) fn names(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        let mut last = None;
        self.iter().filter(move |entry| last.replace(entry.id) != Some(entry.id))
    }

    pub(super) fn count(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.entry_count())
    }

    /// Moves the file to `path`, where it stays.
    pub(super) fn keep_as(self, path: &Path) -> std::io::Result<()> {
        match &self.run {
            Some(run) => std::fs::rename(run.path(), path),
            None => Err(std::io::Error::other("nothing to keep")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::{RepositoryId, RepositoryKeys};

    #[test]
    fn however_many_names_come_only_some_are_in_memory_and_each_comes_out_once_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([1; 16]));
        let entry = |n: u32| {
            let id = ChunkId::from_bytes(std::array::from_fn(|at| n.wrapping_mul(0x9e37_79b1).to_be_bytes()[at % 4]));
            IndexEntry { id, pack: 0, frame: 0, position: n }
        };
        for count in [0, 1, 3, 4, 5, 900] {
            let mut builder = SortedBuilder::new(&keys, folder.path(), 4).unwrap();
            for n in (0..count).chain(0..count / 2) {
                builder.add(entry(n)).unwrap();
                assert!(builder.gathered.len() < 4 && builder.runs.len() < RUNS_MAX);
            }
            builder.add(IndexEntry { position: 7, ..entry(0) }).unwrap();
            let sorted = builder.finish().unwrap();
            let mut wanted: Vec<_> = (0..count.max(1)).map(|n| entry(n).id).collect();
            wanted.sort_unstable();
            assert!(sorted.names().map(|entry| entry.id).eq(wanted.iter().copied()), "{count}");
            assert!(wanted.iter().all(|id| sorted.contains(id)) && !sorted.contains(&entry(9999).id));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files leave with what they hold");
    }
}
