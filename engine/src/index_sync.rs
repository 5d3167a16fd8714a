//! Brings the local index up to the log: packs that no run covers are read (their sealed directories only) into a new
//! run, and runs that have grown alike are merged.

use std::{collections::HashSet, ops::Range, sync::Arc};

use repo_format::{Keyring, PackOrdinal};

use crate::{
    catalog::{Catalog, RunRow},
    entropy::{Entropy, random},
    index::{Index, IndexEntry, MountedRun, Run, RunError, merge_runs, run_path, write_run},
    pack_reader::{PackError, PackReader},
    read_error::ReadError,
};

/// Entries gathered before a run is written: 44 bytes each.
const ENTRIES_MAX: usize = 1 << 20;

impl From<RunError> for ReadError {
    fn from(error: RunError) -> Self {
        Self::Index(error.to_string())
    }
}

/// Index and catalogue of one repository, as far as they go.
pub(crate) struct IndexSync<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) keys: &'a Keyring,
    pub(crate) entropy: &'a dyn Entropy,
}

impl IndexSync<'_> {
    /// The index over all of `packs` that can be opened. A pack that cannot is left out and tried again next time:
    /// what it held counts as not there.
    pub(crate) fn bring_up_to_date(
        &self,
        packs: impl Iterator<Item = PackOrdinal>,
        open: &dyn Fn(PackOrdinal) -> Result<PackReader, PackError>,
    ) -> Result<Index, ReadError> {
        let (index, rows) = self.catalog.index(self.keys)?;
        let covered: HashSet<u32> = rows.iter().flat_map(|row| row.ordinals.iter().cloned().flatten()).collect();
        let mut fresh = Fresh::default();
        let mut grown = false;
        for pack in packs.filter(|pack| !covered.contains(&pack.0)) {
            let Ok(reader) = open(pack) else { continue };
            fresh.add(pack.0, pack.0, &reader);
            if fresh.entries.len() >= ENTRIES_MAX {
                self.add_run(&mut fresh.entries, 0, std::mem::take(&mut fresh.ordinals))?;
                grown = true;
            }
        }
        if !fresh.ordinals.is_empty() {
            self.add_run(&mut fresh.entries, 0, fresh.ordinals)?;
            grown = true;
        }
        match grown {
            true => self.merge_grown(),
            false => Ok(index),
        }
    }

    /// Adds a run of `entries`, whose pack numbers count from ordinal `base` and whose packs are `ordinals`.
    pub(crate) fn add_run(
        &self,
        entries: &mut Vec<IndexEntry>,
        base: u32,
        ordinals: Vec<Range<u32>>,
    ) -> Result<(), ReadError> {
        let path = run_path(&self.catalog.runs_folder(), random(self.entropy));
        write_run(&path, self.keys, entries)?;
        entries.clear();
        self.catalog.replace_runs(&RunRow { file: file_name(&path), base, ordinals }, &[])?;
        Ok(())
    }

    /// Adds what a session has stored: its runs on disk and its entries in memory become one run.
    pub(crate) fn add_session(
        &self,
        mut entries: Vec<IndexEntry>,
        spilled: Vec<MountedRun>,
        ordinals: Range<u32>,
    ) -> Result<(), ReadError> {
        let base = ordinals.start;
        if spilled.is_empty() {
            return self.add_run(&mut entries, base, vec![ordinals]);
        }
        let mut runs: Vec<MountedRun> = spilled.into_iter().map(|run| MountedRun { base, ..run }).collect();
        let rest = run_path(&self.catalog.runs_folder(), random(self.entropy));
        write_run(&rest, self.keys, &mut entries)?;
        runs.push(MountedRun { run: Arc::new(Run::open(&rest, self.keys)?), base });
        let path = run_path(&self.catalog.runs_folder(), random(self.entropy));
        merge_runs(&path, self.keys, &runs)?;
        self.catalog.replace_runs(&RunRow { file: file_name(&path), base: 0, ordinals: vec![ordinals] }, &[])?;
        runs.iter().for_each(|run| drop(std::fs::remove_file(run.run.path())));
        Ok(())
    }

    /// Merges the newest runs while the one before is less than twice as large: a repository of n chunks has about
    /// log2(n) runs, and each entry is rewritten about as often.
    pub(crate) fn merge_grown(&self) -> Result<Index, ReadError> {
        let (index, rows) = self.catalog.index(self.keys)?;
        let runs = index.runs();
        let mut first = runs.len().saturating_sub(1);
        let mut entries = runs.get(first).map_or(0, |run| run.run.entry_count());
        while let Some(before) = first.checked_sub(1).and_then(|before| runs.get(before)) {
            if before.run.entry_count() >= 2 * entries {
                break;
            }
            entries += before.run.entry_count();
            first -= 1;
        }
        let (Some(merged), Some(merged_rows)) = (runs.get(first..), rows.get(first..)) else { return Ok(index) };
        if merged.len() < 2 {
            return Ok(index);
        }
        let path = run_path(&self.catalog.runs_folder(), random(self.entropy));
        merge_runs(&path, self.keys, merged)?;
        let ordinals = join(merged_rows.iter().flat_map(|row| row.ordinals.iter().cloned()).collect());
        let gone: Vec<String> = merged_rows.iter().map(|row| row.file.clone()).collect();
        self.catalog.replace_runs(&RunRow { file: file_name(&path), base: 0, ordinals }, &gone)?;
        Ok(self.catalog.index(self.keys)?.0)
    }
}

/// Chunks of packs that no run covers yet.
#[derive(Default)]
struct Fresh {
    entries: Vec<IndexEntry>,
    ordinals: Vec<Range<u32>>,
}

impl Fresh {
    fn add(&mut self, ordinal: u32, number: u32, pack: &PackReader) {
        for (frame, entry) in (0_u32..).zip(pack.directory().frames()) {
            for (position, chunk) in (0_u32..).zip(&entry.chunks) {
                self.entries.push(IndexEntry { id: chunk.id, pack: number, frame, position });
            }
        }
        match self.ordinals.last_mut() {
            Some(last) if last.end == ordinal => last.end = ordinal + 1,
            _ => self.ordinals.push(ordinal..ordinal + 1),
        }
    }
}

/// Sorts ranges and joins those that touch.
fn join(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
