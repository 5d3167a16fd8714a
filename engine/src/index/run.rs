//! An index run: an immutable file of sorted entries behind fuse filters, memory-mapped.
//!
//! ```text
//! partition 0   entries, ascending by id · filter fingerprints
//! partition 1   …
//! table         per partition: first key u64 · entries u64 · offset u64 · fingerprints u64 · filter descriptor
//! footer        magic 8 · repository 16 · entries u64 · partitions u64 · table offset u64 · keyed tag 32 over table and footer
//! ```
//!
//! **Invariant:** a run is a cache. Its entries are advice: what relies on one is confirmed in the pack's sealed directory,
//! and a run that does not carry this repository's keyed tag is thrown away and made again.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use repo_format::{ChunkId, Keyring};
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use super::entry::{ENTRY_BYTES, IndexEntry, sort_key};

const MAGIC: &[u8; 8] = b"SRMRUN01";
const FOOTER_BYTES: usize = 8 + 16 + 8 + 8 + 8 + 32;
const TABLE_ROW_BYTES: usize = 32 + BinaryFuse8::DESCRIPTOR_LEN;

/// Entries behind one filter. Building a filter takes about 33 bytes a key for a moment: 66 MiB.
pub(crate) const PARTITION_ENTRIES: usize = 2 << 20;

/// Why a run file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("index run {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("index run {} is not one of this repository", path.display())]
    Foreign { path: PathBuf },
}

struct Partition {
    first_key: u64,
    entries: std::ops::Range<usize>,
    fingerprints: std::ops::Range<usize>,
    descriptor: Vec<u8>,
}

/// One open run.
pub(crate) struct Run {
    path: PathBuf,
    map: Mmap,
    partitions: Vec<Partition>,
    entry_count: u64,
}

impl Run {
    /// Maps the run at `path` after checking its tag.
    #[expect(unsafe_code, reason = "memory map of an immutable file of our own")]
    pub(crate) fn open(path: &Path, keys: &Keyring) -> Result<Self, RunError> {
        let io = |source| RunError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: runs live in the client's own cache folder, are written once under a temporary name and never changed
        // or shortened afterwards (only unlinked), so the mapping cannot change under us or end early.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let foreign = || RunError::Foreign { path: path.to_owned() };
        let (partitions, entry_count) = parse(&map, keys).ok_or_else(foreign)?;
        Ok(Self { path: path.to_owned(), map, partitions, entry_count })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// The entry for `id` if the filter lets it pass and it is there: about 20 ns when it is not.
    pub(crate) fn find(&self, id: &ChunkId) -> Option<IndexEntry> {
        let key = sort_key(id);
        let partition = self.partition(key)?;
        let fingerprints = self.map.get(partition.fingerprints.clone())?;
        if !BinaryFuse8Ref::from_dma(&partition.descriptor, fingerprints).contains(&key) {
            return None;
        }
        self.search(partition, key, id)
    }

    /// Every entry for `id`: a chunk may lie in several packs.
    pub(crate) fn find_all(&self, id: &ChunkId) -> Vec<IndexEntry> {
        let key = sort_key(id);
        let Some(entries) = self.partition(key).and_then(|partition| self.map.get(partition.entries.clone())) else {
            return Vec::new();
        };
        let rows = entries.as_chunks::<ENTRY_BYTES>().0;
        let first = rows.partition_point(|row| row.first_chunk::<32>().is_some_and(|found| found < id.as_bytes()));
        let rows = rows.iter().skip(first);
        rows.map_while(|row| IndexEntry::decode(row).filter(|entry| entry.id == *id)).collect()
    }

    /// All entries in order of id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.partitions
            .iter()
            .filter_map(|partition| self.map.get(partition.entries.clone()))
            .flat_map(|bytes| bytes.chunks_exact(ENTRY_BYTES))
            .filter_map(IndexEntry::decode)
    }

    fn partition(&self, key: u64) -> Option<&Partition> {
        let after = self.partitions.partition_point(|partition| partition.first_key <= key);
        self.partitions.get(after.checked_sub(1)?)
    }

    /// Interpolation search: ids are uniform, so a few guesses bring the entry close; then bisection.
    fn search(&self, partition: &Partition, key: u64, id: &ChunkId) -> Option<IndexEntry> {
        let entries = self.map.get(partition.entries.clone())?;
        let at = |index: usize| {
            let start = index.checked_mul(ENTRY_BYTES)?;
            entries.get(start..start + ENTRY_BYTES)
        };
        let key_at = |index: usize| at(index)?.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        let (mut low, mut high) = (0, entries.len() / ENTRY_BYTES);
        let (mut low_key, mut high_key) = (partition.first_key, u64::MAX);
        for _ in 0..4 {
            if high - low <= 16 || low_key >= high_key || key < low_key || key > high_key {
                break;
            }
            let span = u128::from(high_key - low_key) + 1;
            let guess = u128::from(key - low_key) * (high - low) as u128 / span;
            let guess = low + usize::try_from(guess).ok()?.min(high - low - 1);
            let found = key_at(guess)?;
            if found < key {
                (low, low_key) = (guess, found);
            } else {
                (high, high_key) = (guess + 1, found);
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = at(middle)?;
            match entry.first_chunk::<32>()?.cmp(id.as_bytes()) {
                std::cmp::Ordering::Equal => return IndexEntry::decode(entry),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

fn parse(map: &[u8], keys: &Keyring) -> Option<(Vec<Partition>, u64)> {
    let footer_at = map.len().checked_sub(FOOTER_BYTES)?;
    let (_, footer) = map.split_at_checked(footer_at)?;
    let number = |at: usize| footer.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let table_at = usize::try_from(number(40)?).ok()?;
    let tagged = map.get(table_at..map.len() - 32)?;
    let table = map.get(table_at..footer_at)?;
    if !footer.starts_with(MAGIC)
        || footer.get(8..24)? != keys.repository().as_bytes()
        || keys.cache_tag(tagged) != *footer.last_chunk::<32>()?
        || table.len() as u64 != number(32)?.checked_mul(TABLE_ROW_BYTES as u64)?
    {
        return None;
    }
    let row = |row: &[u8]| {
        let number = |at: usize| row.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let at = usize::try_from(number(16)?).ok()?;
        let entries = at..at.checked_add(usize::try_from(number(8)?).ok()?.checked_mul(ENTRY_BYTES)?)?;
        let fingerprints = entries.end..entries.end.checked_add(usize::try_from(number(24)?).ok()?)?;
        (fingerprints.end <= table_at).then_some(())?;
        Some(Partition { first_key: number(0)?, entries, fingerprints, descriptor: row.get(32..)?.to_vec() })
    };
    Some((table.chunks_exact(TABLE_ROW_BYTES).map(row).collect::<Option<_>>()?, number(24)?))
}

/// Writes a run front to back; entries come in ascending order of id.
pub(crate) struct RunWriter<'k> {
    keys: &'k Keyring,
    path: PathBuf,
    out: BufWriter<File>,
    written: u64,
    table: Vec<u8>,
    rows: u64,
    entry_count: u64,
    partition_at: u64,
    partition_entries: u64,
    partition_keys: Vec<u64>,
}

impl<'k> RunWriter<'k> {
    /// Begins the file `path`, which must not exist.
    pub(crate) fn create(path: &Path, keys: &'k Keyring) -> Result<Self, RunError> {
        let file = File::options().write(true).create_new(true).open(path);
        let file = file.map_err(|source| RunError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            keys,
            path: path.to_owned(),
            out: BufWriter::with_capacity(1 << 20, file),
            written: 0,
            table: Vec::new(),
            rows: 0,
            entry_count: 0,
            partition_at: 0,
            partition_entries: 0,
            partition_keys: Vec::new(),
        })
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: &IndexEntry) -> Result<(), RunError> {
        let key = sort_key(&entry.id);
        if self.partition_keys.last() != Some(&key) {
            if self.partition_keys.len() >= PARTITION_ENTRIES {
                self.end_partition()?;
            }
            self.partition_keys.push(key);
        }
        self.partition_entries += 1;
        self.entry_count += 1;
        self.write(&entry.encode())
    }

    /// Ends the file; with `Ok` it is complete (but not synced: a cache may be lost).
    pub(crate) fn finish(mut self) -> Result<(), RunError> {
        self.end_partition()?;
        let mut tail = std::mem::take(&mut self.table);
        tail.extend_from_slice(MAGIC);
        tail.extend_from_slice(self.keys.repository().as_bytes());
        [self.entry_count, self.rows, self.written].iter().for_each(|n| tail.extend_from_slice(&n.to_le_bytes()));
        let tag = self.keys.cache_tag(&tail);
        tail.extend_from_slice(&tag);
        self.write(&tail)?;
        self.out.flush().map_err(|source| RunError::Io { path: self.path.clone(), source })
    }

    fn end_partition(&mut self) -> Result<(), RunError> {
        let Some(first_key) = self.partition_keys.first().copied() else { return Ok(()) };
        let filter = BinaryFuse8::try_from(self.partition_keys.as_slice())
            .map_err(|what| RunError::Io { path: self.path.clone(), source: io::Error::other(what) })?;
        let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut descriptor);
        let fingerprints = filter.dma_fingerprints();
        let row = [first_key, self.partition_entries, self.partition_at, fingerprints.len() as u64];
        row.iter().for_each(|number| self.table.extend_from_slice(&number.to_le_bytes()));
        self.table.extend_from_slice(&descriptor);
        self.rows += 1;
        self.write(fingerprints)?;
        self.partition_at = self.written;
        self.partition_entries = 0;
        self.partition_keys.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|source| RunError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::{RepositoryId, RepositoryKeys};

    fn keys(seed: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([seed; 16]))
    }

    fn entries(count: u32) -> Vec<IndexEntry> {
        let entry = |n: u32| IndexEntry {
            id: ChunkId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
            pack: n,
            frame: n % 90,
            position: n % 16,
        };
        let mut entries: Vec<_> = (0..count).map(entry).collect();
        entries.sort_unstable();
        entries
    }

    fn write(path: &Path, keys: &Keyring, entries: &[IndexEntry]) {
        let mut writer = RunWriter::create(path, keys).unwrap();
        entries.iter().for_each(|entry| writer.push(entry).unwrap());
        writer.finish().unwrap();
    }

    #[test]
    fn every_entry_is_found_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (path, keys) = (folder.path().join("run"), keys(1));
        for count in [1, 2, 3, 17, 50_000] {
            let entries = entries(count);
            write(&path, &keys, &entries);
            let run = Run::open(&path, &keys).unwrap();
            assert_eq!(run.entry_count(), u64::from(count));
            assert!(run.iter().eq(entries.iter().copied()));
            for entry in &entries {
                assert_eq!(run.find(&entry.id), Some(*entry));
                assert_eq!(run.find_all(&entry.id), [*entry]);
            }
            for other in 0..1000_u32 {
                let id = ChunkId::from_bytes(*blake3::hash(&(other + count).to_be_bytes()).as_bytes());
                if entries.iter().all(|entry| entry.id != id) {
                    assert_eq!(run.find(&id), None);
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_run_of_another_repository_or_a_shortened_one_is_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        write(&path, &keys(1), &entries(1000));
        assert!(matches!(Run::open(&path, &keys(2)), Err(RunError::Foreign { .. })));
        let length = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        assert!(matches!(Run::open(&path, &keys(1)), Err(RunError::Foreign { .. })));
    }
}
