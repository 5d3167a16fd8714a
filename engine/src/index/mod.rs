//! Which chunk lies in which pack: immutable sorted runs, merged as they grow (a log-structured merge of caches).
//!
//! **Invariant:** everything here can be rebuilt from the packs' sealed directories; nothing here is believed where a
//! wrong answer would cost data.

mod entry;
mod merge;
mod run;

use std::{path::Path, sync::Arc};

use repo_format::{ChunkId, PackOrdinal};

pub(crate) use entry::IndexEntry;
pub use entry::Location;
pub(crate) use merge::{merge_runs, write_run};
pub(crate) use run::{Run, RunError};

/// A run and the ordinal that its pack number 0 stands for.
#[derive(Clone)]
pub(crate) struct MountedRun {
    pub(crate) run: Arc<Run>,
    pub(crate) base: u32,
}

impl MountedRun {
    fn location(&self, entry: IndexEntry) -> Location {
        let pack = PackOrdinal(self.base.saturating_add(entry.pack));
        Location { pack, frame: entry.frame, position: entry.position }
    }
}

/// All runs of a repository, oldest first.
#[derive(Clone, Default)]
pub(crate) struct Index {
    runs: Vec<MountedRun>,
}

impl Index {
    pub(crate) fn new(runs: Vec<MountedRun>) -> Self {
        Self { runs }
    }

    pub(crate) fn runs(&self) -> &[MountedRun] {
        &self.runs
    }

    /// Where `id` lies, through the filters: the quick answer for deduplication, most often "nowhere".
    /// A pack that is not `usable` does not count.
    pub(crate) fn find(&self, id: &ChunkId, usable: &dyn Fn(PackOrdinal) -> bool) -> Option<Location> {
        let newest_first = self.runs.iter().rev();
        newest_first
            .filter_map(|run| run.run.find(id).map(|entry| run.location(entry)))
            .find(|found| usable(found.pack))
            .or_else(|| self.any_usable_duplicate(id, usable))
    }

    /// Where `id` lies, without the filters: for readers who know that it must be somewhere.
    pub(crate) fn locate(&self, id: &ChunkId, usable: &dyn Fn(PackOrdinal) -> bool) -> Option<Location> {
        let newest_first = self.runs.iter().rev();
        let quick = newest_first.clone().find_map(|run| run.run.find(id).map(|entry| run.location(entry)));
        quick
            .filter(|found| usable(found.pack))
            .or_else(|| self.locate_all(id).into_iter().find(|found| usable(found.pack)))
    }

    /// Every place that holds `id`, newest run first.
    pub(crate) fn locate_all(&self, id: &ChunkId) -> Vec<Location> {
        self.runs
            .iter()
            .rev()
            .flat_map(|run| run.run.find_all(id).into_iter().map(|entry| run.location(entry)))
            .collect()
    }

    /// Only when a filter hit lies in an unusable pack is it worth looking for a second copy.
    fn any_usable_duplicate(&self, id: &ChunkId, usable: &dyn Fn(PackOrdinal) -> bool) -> Option<Location> {
        self.runs
            .iter()
            .any(|run| run.run.find(id).is_some())
            .then(|| self.locate_all(id))?
            .into_iter()
            .find(|found| usable(found.pack))
    }
}

/// A name for a new run file in `folder` that no other process uses.
pub(crate) fn run_path(folder: &Path, random: [u8; 16]) -> std::path::PathBuf {
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{name}.run"))
}
