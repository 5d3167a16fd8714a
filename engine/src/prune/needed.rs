//! The names of all chunks that something still needs, as one sorted file: memory does not grow with the repository.

use std::sync::Arc;

use repo_format::{ChunkId, Keyring};

use crate::{
    index::{IndexEntry, MountedRun, Run, merge_runs, write_run},
    read_error::ReadError,
};

/// Names gathered before they go to a file: 44 bytes each.
const GATHERED_MAX: usize = 1 << 20;

/// Gathers names in any order, with repeats.
pub(super) struct NeededBuilder<'k> {
    keys: &'k Keyring,
    folder: tempfile::TempDir,
    gathered: Vec<IndexEntry>,
    runs: Vec<MountedRun>,
}

impl<'k> NeededBuilder<'k> {
    /// Files go to a folder of their own below `parent` and leave with the result.
    pub(super) fn new(keys: &'k Keyring, parent: &std::path::Path) -> Result<Self, ReadError> {
        let folder = tempfile::Builder::new().prefix("needed-").tempdir_in(parent);
        let folder = folder.map_err(|error| ReadError::Index(format!("{}: {error}", parent.display())))?;
        Ok(Self { keys, folder, gathered: Vec::new(), runs: Vec::new() })
    }

    pub(super) fn add(&mut self, id: ChunkId) -> Result<(), ReadError> {
        self.gathered.push(IndexEntry { id, pack: 0, frame: 0, position: 0 });
        if self.gathered.len() < GATHERED_MAX { Ok(()) } else { self.spill() }
    }

    pub(super) fn finish(mut self) -> Result<Needed, ReadError> {
        if !self.gathered.is_empty() {
            self.spill()?;
        }
        if self.runs.len() > 1 {
            let path = self.folder.path().join("all");
            merge_runs(&path, self.keys, &self.runs)?;
            let merged = Arc::new(Run::open(&path, self.keys)?);
            self.runs.drain(..).for_each(|run| drop(std::fs::remove_file(run.run.path())));
            self.runs.push(MountedRun { run: merged, base: 0 });
        }
        Ok(Needed { run: self.runs.pop().map(|run| run.run), _folder: self.folder })
    }

    fn spill(&mut self) -> Result<(), ReadError> {
        let path = self.folder.path().join(format!("{}", self.runs.len()));
        write_run(&path, self.keys, &mut self.gathered)?;
        self.gathered.clear();
        self.runs.push(MountedRun { run: Arc::new(Run::open(&path, self.keys)?), base: 0 });
        Ok(())
    }
}

/// All needed names, each once.
pub(super) struct Needed {
    run: Option<Arc<Run>>,
    _folder: tempfile::TempDir,
}

impl Needed {
    /// Searched without the filter: a damaged filter must not hide a needed chunk.
    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        self.run.as_ref().is_some_and(|run| !run.find_all(id).is_empty())
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.run.iter().flat_map(|run| run.iter()).map(|entry| entry.id)
    }

    pub(super) fn count(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::{RepositoryId, RepositoryKeys};

    #[test]
    fn each_name_is_there_once_in_order_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([1; 16]));
        let mut builder = NeededBuilder::new(&keys, folder.path()).unwrap();
        let name = |n: u8| ChunkId::from_bytes([n; 32]);
        for n in [9, 3, 9, 7] {
            builder.add(name(n)).unwrap();
            builder.spill().unwrap();
        }
        builder.add(name(3)).unwrap();
        let needed = builder.finish().unwrap();
        assert!(needed.iter().eq([3, 7, 9].map(name)));
        assert_eq!(needed.count(), 3);
        assert!(needed.contains(&name(7)) && !needed.contains(&name(8)));
        drop(needed);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its files leave with it");
    }
}
