//! Makes runs: from entries in memory, and from smaller runs.

use std::path::Path;

use repo_format::Keyring;

use super::{
    MountedRun,
    entry::IndexEntry,
    run::{RunError, RunWriter},
};

/// Sorts `entries` and writes them as a run at `path`.
pub(crate) fn write_run(path: &Path, keys: &Keyring, entries: &mut Vec<IndexEntry>) -> Result<(), RunError> {
    entries.sort_unstable();
    entries.dedup();
    let mut writer = RunWriter::create(path, keys)?;
    entries.iter().try_for_each(|entry| writer.push(entry))?;
    writer.finish()
}

/// Merges `runs` into one run at `path`; pack numbers of the new run are ordinals (base 0).
/// Memory does not grow with the runs: one entry of each is held at a time.
pub(crate) fn merge_runs(path: &Path, keys: &Keyring, runs: &[MountedRun]) -> Result<(), RunError> {
    let mut writer = RunWriter::create(path, keys)?;
    let mut heads: Vec<_> = runs
        .iter()
        .map(|run| {
            let base = run.base;
            run.run.iter().map(move |entry| IndexEntry { pack: base.saturating_add(entry.pack), ..entry }).peekable()
        })
        .collect();
    let mut last = None;
    loop {
        let least = heads.iter_mut().filter_map(|head| head.peek().copied()).min();
        let Some(entry) = least else { return writer.finish() };
        heads.iter_mut().for_each(|head| {
            head.next_if_eq(&entry);
        });
        if last.replace(entry) != Some(entry) {
            writer.push(&entry)?;
        }
    }
}
