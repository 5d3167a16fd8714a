//! The catalogue: what this client knows of a repository, in one small transactional file (redb).
//!
//! **Invariant:** all of it can be rebuilt from packs and log. A catalogue that cannot be opened, is of another
//! repository or of another version is deleted and begun anew; several processes may use one at a time.

use std::{
    collections::HashMap,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};
use repo_format::{ChunkId, Keyring, MetadataChunk, PackName};

use crate::index::{Index, MountedRun, Run};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const RUNS: TableDefinition<&str, &[u8]> = TableDefinition::new("runs");
const RECORDS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("records");
const VERIFIED: TableDefinition<[u8; 32], u64> = TableDefinition::new("verified");

const SCHEMA: &[u8] = b"strongroom catalogue 1";
/// redb's own page cache; the rows are few.
const CACHE_BYTES: usize = 4 << 20;
/// Metadata chunks that wait to be written together: some hundred bytes each.
const UNWRITTEN_MAX: usize = 1024;

/// The catalogue cannot be used: the caller goes on without a cache.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The cache folder cannot be made or written.
    #[error("cache folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// redb refused.
    #[error("catalogue: {0}")]
    Database(#[from] Box<redb::Error>),
}

fn database(error: impl Into<redb::Error>) -> CatalogError {
    CatalogError::Database(Box::new(error.into()))
}

/// A row of `RUNS`: a run file, its base and the pack ordinals whose chunks it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRow {
    pub(crate) file: String,
    pub(crate) base: u32,
    pub(crate) ordinals: Vec<Range<u32>>,
}

impl RunRow {
    fn encode(&self) -> Vec<u8> {
        let ranges = self.ordinals.iter().flat_map(|range| [range.start, range.end]);
        std::iter::once(self.base).chain(ranges).flat_map(u32::to_le_bytes).collect()
    }

    fn decode(file: &str, bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let base = numbers.next()?;
        let mut ordinals = Vec::new();
        while let (Some(start), Some(end)) = (numbers.next(), numbers.next()) {
            ordinals.push(start..end);
        }
        Some(Self { file: file.to_owned(), base, ordinals })
    }
}

/// One repository's catalogue and the folder of its index runs.
pub(crate) struct Catalog {
    folder: PathBuf,
    database: Database,
    /// Metadata chunks that are not in the database yet: a transaction for each would wait for the disk each time.
    unwritten: Mutex<HashMap<ChunkId, MetadataChunk>>,
    /// Deletes the folder at the end of a run without a cache.
    _temporary: Option<tempfile::TempDir>,
}

impl Catalog {
    /// Opens or makes the catalogue in `<cache>/<repository id>`.
    pub(crate) fn open(cache: &Path, keys: &Keyring) -> Result<Self, CatalogError> {
        let folder = cache.join(keys.repository().to_string());
        Self::at(folder, keys, None)
    }

    /// A catalogue that lives as long as this run.
    pub(crate) fn temporary(keys: &Keyring) -> Result<Self, CatalogError> {
        let folder =
            tempfile::tempdir().map_err(|source| CatalogError::Folder { path: std::env::temp_dir(), source })?;
        Self::at(folder.path().to_owned(), keys, Some(folder))
    }

    fn at(folder: PathBuf, keys: &Keyring, temporary: Option<tempfile::TempDir>) -> Result<Self, CatalogError> {
        let io = |source| CatalogError::Folder { path: folder.clone(), source };
        fs::create_dir_all(folder.join("runs")).map_err(io)?;
        let path = folder.join("catalog.redb");
        let tag = keys.cache_tag(SCHEMA);
        let database = match open_database(&path, &tag) {
            Ok(database) => database,
            // Damaged, foreign or of another version: a cache is not repaired.
            Err(_) => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                _ => open_database(&path, &tag)?,
            },
        };
        Ok(Self { folder, database, unwritten: Mutex::default(), _temporary: temporary })
    }

    /// Where run files go.
    pub(crate) fn runs_folder(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// Where prunes keep what maps name.
    pub(crate) fn notes_folder(&self) -> PathBuf {
        self.folder.join("notes")
    }

    /// All runs that open, and their rows; one that does not is forgotten, its packs are indexed again.
    pub(crate) fn index(&self, keys: &Keyring) -> Result<(Index, Vec<RunRow>), CatalogError> {
        let mut rows = self.run_rows()?;
        rows.sort_by_key(|row| row.ordinals.iter().map(|range| range.end).max());
        let mut mounted = Vec::new();
        let mut kept = Vec::new();
        for row in rows {
            if let Ok(run) = Run::open(&self.runs_folder().join(&row.file), keys) {
                mounted.push(MountedRun { run: Arc::new(run), base: row.base });
                kept.push(row);
            }
        }
        Ok((Index::new(mounted), kept))
    }

    fn run_rows(&self) -> Result<Vec<RunRow>, CatalogError> {
        let read = self.database.begin_read().map_err(database)?;
        let table = read.open_table(RUNS).map_err(database)?;
        let rows = table.iter().map_err(database)?.filter_map(Result::ok);
        Ok(rows.filter_map(|(file, row)| RunRow::decode(file.value(), row.value())).collect())
    }

    /// In one transaction: `added` is there and `removed` are not; then the removed files go.
    pub(crate) fn replace_runs(&self, added: &RunRow, removed: &[String]) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(RUNS).map_err(database)?;
            table.insert(added.file.as_str(), added.encode().as_slice()).map_err(database)?;
            for file in removed {
                table.remove(file.as_str()).map_err(database)?;
            }
        }
        write.commit().map_err(database)?;
        for file in removed {
            // Another process may still have it mapped: unlinking does not disturb that. A leftover is swept below.
            let _ = fs::remove_file(self.runs_folder().join(file));
        }
        Ok(())
    }

    /// Forgets every run: the index will be made anew.
    pub(crate) fn forget_runs(&self) -> Result<(), CatalogError> {
        let files: Vec<String> = self.run_rows()?.into_iter().map(|row| row.file).collect();
        let write = self.database.begin_write().map_err(database)?;
        write.open_table(RUNS).map_err(database)?.retain(|_, _| false).map_err(database)?;
        write.commit().map_err(database)?;
        files.iter().for_each(|file| drop(fs::remove_file(self.runs_folder().join(file))));
        Ok(())
    }

    /// A remembered metadata chunk; the caller hashes it again, so a wrong one is only a miss.
    pub(crate) fn record(&self, id: &ChunkId) -> Option<MetadataChunk> {
        if let Some(chunk) = self.unwritten().get(id) {
            return Some(chunk.clone());
        }
        let read = self.database.begin_read().ok()?;
        let bytes = read.open_table(RECORDS).ok()?.get(id.as_bytes()).ok()??.value().to_vec();
        MetadataChunk::from_bytes(bytes).ok()
    }

    /// Remembers a metadata chunk (restore points: what `list` shows). It is written with many others, or when the catalogue is
    /// closed; a run that is killed before has to read it again.
    pub(crate) fn remember_record(&self, id: ChunkId, chunk: MetadataChunk) -> Result<(), CatalogError> {
        let mut unwritten = self.unwritten();
        unwritten.insert(id, chunk);
        match unwritten.len() < UNWRITTEN_MAX {
            true => Ok(()),
            false => self.write_records(std::mem::take(&mut unwritten)),
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<ChunkId, MetadataChunk>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_records(&self, records: HashMap<ChunkId, MetadataChunk>) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(RECORDS).map_err(database)?;
            for (id, chunk) in &records {
                table.insert(id.as_bytes(), chunk.bytes()).map_err(database)?;
            }
        }
        write.commit().map_err(database)
    }

    /// When the contents of `pack` were last read and found good.
    pub(crate) fn last_verified_ms(&self, pack: &PackName) -> Option<u64> {
        let read = self.database.begin_read().ok()?;
        Some(read.open_table(VERIFIED).ok()?.get(pack.as_bytes()).ok()??.value())
    }

    /// Notes that the contents of `packs` were read and found good at `time_ms`.
    pub(crate) fn mark_verified(&self, packs: &[PackName], time_ms: u64) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(VERIFIED).map_err(database)?;
            for pack in packs {
                table.insert(pack.as_bytes(), time_ms).map_err(database)?;
            }
        }
        write.commit().map_err(database)
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        let records = std::mem::take(&mut *self.unwritten());
        if !records.is_empty() {
            // It is a cache: what cannot be written is read from its packs again.
            let _ = self.write_records(records);
        }
    }
}

fn open_database(path: &Path, tag: &[u8; 32]) -> Result<Database, CatalogError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::MultiWriter);
    let db = builder.create(path).map_err(database)?;
    let read = db.begin_read().map_err(database)?;
    let known = match read.open_table(META) {
        Ok(meta) => meta.get("tag").map_err(database)?.map(|found| found.value() == tag),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(database(error)),
    };
    drop(read);
    match known {
        Some(true) => Ok(db),
        Some(false) => Err(database(redb::Error::Corrupted("catalogue of another repository or version".to_owned()))),
        None => {
            let write = db.begin_write().map_err(database)?;
            write.open_table(META).map_err(database)?.insert("tag", tag.as_slice()).map_err(database)?;
            write.open_table(RUNS).map_err(database)?;
            write.open_table(RECORDS).map_err(database)?;
            write.open_table(VERIFIED).map_err(database)?;
            write.commit().map_err(database)?;
            Ok(db)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::{HashedChunk, MetadataKind, RepositoryId, RepositoryKeys};

    fn keys(seed: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([1; 16]))
    }

    #[test]
    fn rows_come_back_and_replaced_ones_are_gone() {
        let cache = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(cache.path(), &keys(1)).unwrap();
        let row = |file: &str, ordinals| RunRow { file: file.to_owned(), base: 3, ordinals };
        catalog.replace_runs(&row("a", vec![0..2, 2..3]), &[]).unwrap();
        catalog.replace_runs(&row("b", vec![0..2, 4..9]), &["a".to_owned()]).unwrap();
        drop(catalog);
        let catalog = Catalog::open(cache.path(), &keys(1)).unwrap();
        assert_eq!(catalog.run_rows().unwrap(), [row("b", vec![0..2, 4..9])]);
    }

    #[test]
    fn a_damaged_or_foreign_catalogue_is_begun_anew() {
        let cache = tempfile::tempdir().unwrap();
        let pack = PackName::from_bytes([9; 32]);
        let catalog = Catalog::open(cache.path(), &keys(1)).unwrap();
        catalog.mark_verified(&[pack], 7).unwrap();
        drop(catalog);
        assert_eq!(Catalog::open(cache.path(), &keys(2)).unwrap().last_verified_ms(&pack), None);
        let path = cache.path().join(keys(1).repository().to_string()).join("catalog.redb");
        fs::write(&path, b"not a database").unwrap();
        assert_eq!(Catalog::open(cache.path(), &keys(1)).unwrap().last_verified_ms(&pack), None);
    }

    #[test]
    fn records_are_there_at_once_and_after_the_catalogue_was_closed() {
        let cache = tempfile::tempdir().unwrap();
        let chunk = |number: usize| {
            let chunk = MetadataChunk::new(MetadataKind::RestorePoint, &number.to_le_bytes());
            (HashedChunk::of_metadata(&chunk, &keys(1)).id(), chunk)
        };
        let catalog = Catalog::open(cache.path(), &keys(1)).unwrap();
        let all = || (0..=UNWRITTEN_MAX).map(chunk);
        all().for_each(|(id, chunk)| catalog.remember_record(id, chunk).unwrap());
        assert!(all().all(|(id, chunk)| catalog.record(&id).unwrap() == chunk));
        drop(catalog);
        let catalog = Catalog::open(cache.path(), &keys(1)).unwrap();
        assert!(all().all(|(id, chunk)| catalog.record(&id).unwrap() == chunk));
    }

    #[test]
    fn two_processes_share_a_catalogue() {
        let cache = tempfile::tempdir().unwrap();
        let (one, two) =
            (Catalog::open(cache.path(), &keys(1)).unwrap(), Catalog::open(cache.path(), &keys(1)).unwrap());
        let pack = PackName::from_bytes([9; 32]);
        one.mark_verified(&[pack], 7).unwrap();
        assert_eq!(two.last_verified_ms(&pack), Some(7));
    }
}
