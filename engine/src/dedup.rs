//! Is this chunk known? The one place where that is decided, for all threads of a session.
//!
//! A chunk is known if this session has claimed it, or if the index names a usable pack **and that pack's sealed
//! directory confirms it**. A wrong, foreign or stale index therefore costs time, never data.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hashbrown::HashSet;
use repo_format::{ChunkId, Directory, Keyring, PackOrdinal};

use crate::{
    index::{Index, IndexEntry, Location, MountedRun, Run, RunError, run_path, write_run},
    pack_reader::{PackError, PackReader},
};

const CLAIM_SHARDS: usize = 64;
/// Above this many entries the session's own chunks go from the table to a run on disk.
const CLAIMS_MAX: usize = 1 << 20;
/// Directories kept open to confirm hits: about 60 KiB each.
const DIRECTORIES_MAX: usize = 512;

/// Chunk ids are keyed hashes: their first bytes are as good as any hash of them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

type ClaimSet = HashSet<ChunkId, BuildHasherDefault<IdHasher>>;

/// The answer to "is this chunk known?"
pub(crate) enum Claim<'d> {
    /// It is stored, or this session is about to store it: a reference is enough.
    Known,
    /// Nobody has it: whoever holds the ticket stores it.
    Novel(Ticket<'d>),
}

/// The duty to store one chunk. Dropped without [`Ticket::stored`], the claim is released.
pub(crate) struct Ticket<'d> {
    dedup: &'d Dedup,
    id: Option<ChunkId>,
}

impl Ticket<'_> {
    /// The chunk is in a frame: the claim stands.
    pub(crate) fn stored(mut self) {
        self.id = None;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.dedup.shard(&id).remove(&id);
        }
    }
}

/// Opens a pack to confirm a hit.
pub(crate) type OpenPack = Box<dyn Fn(PackOrdinal) -> Result<PackReader, PackError> + Send + Sync>;

/// What one session knows.
pub(crate) struct Dedup {
    keys: Arc<Keyring>,
    claims: Vec<Mutex<ClaimSet>>,
    index: Index,
    open_pack: OpenPack,
    directories: Mutex<DirectoryCache>,
    /// Packs that count at the replayed head, a bit each; a pack found damaged leaves.
    usable: Bits,
    /// Packs that a committed point would rely on, a bit each.
    uses: Bits,
    /// Their frames in which a chunk was found, a bit each: what to store again should a pack go before the commit.
    used_frames: Mutex<HashMap<PackOrdinal, Vec<u64>>>,
    finished: Mutex<Vec<IndexEntry>>,
    spilled: RwLock<Vec<Arc<Run>>>,
    runs_folder: std::path::PathBuf,
    random_name: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
    index_is_wrong: AtomicBool,
}

impl Dedup {
    pub(crate) fn new(
        keys: Arc<Keyring>,
        index: Index,
        usable: impl Iterator<Item = (PackOrdinal, bool)>,
        open_pack: OpenPack,
        runs_folder: std::path::PathBuf,
        random_name: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
    ) -> Self {
        let bits = Bits::from_flags(usable.map(|(_, usable)| usable));
        Self {
            keys,
            claims: (0..CLAIM_SHARDS).map(|_| Mutex::default()).collect(),
            index,
            open_pack,
            directories: Mutex::default(),
            uses: Bits::zeros(bits.words.len()),
            usable: bits,
            used_frames: Mutex::default(),
            finished: Mutex::default(),
            spilled: RwLock::default(),
            runs_folder,
            random_name,
            index_is_wrong: AtomicBool::new(false),
        }
    }

    /// Decides about one chunk.
    pub(crate) fn claim(&self, id: ChunkId) -> Claim<'_> {
        if self.shard(&id).contains(&id) {
            return Claim::Known;
        }
        let spilled = self.spilled.read().unwrap_or_else(PoisonError::into_inner);
        if spilled.iter().any(|run| run.find(&id).is_some()) {
            return Claim::Known;
        }
        drop(spilled);
        if let Some(found) = self.index.find(&id, &|pack| self.usable.get(pack))
            && self.confirm(&id, found)
        {
            self.note_use(found);
            return Claim::Known;
        }
        match self.shard(&id).insert(id) {
            true => Claim::Novel(Ticket { dedup: self, id: Some(id) }),
            false => Claim::Known,
        }
    }

    /// Takes over the chunks of a pack that this session has stored (or adopted) as its pack number `pack`.
    pub(crate) fn finished_pack(&self, pack: u32, directory: &Directory) -> Result<(), RunError> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        for (frame, entry) in (0_u32..).zip(directory.frames()) {
            for (position, chunk) in (0_u32..).zip(&entry.chunks) {
                finished.push(IndexEntry { id: chunk.id, pack, frame, position });
            }
        }
        if finished.len() >= CLAIMS_MAX {
            self.spill(&mut finished)?;
        }
        Ok(())
    }

    /// Marks the chunks of an adopted pack as known.
    pub(crate) fn adopt(&self, directory: &Directory) {
        for chunk in directory.frames().iter().flat_map(|frame| &frame.chunks) {
            self.shard(&chunk.id).insert(chunk.id);
        }
    }

    /// The packs of other sessions that this one relies on, ascending.
    pub(crate) fn uses(&self) -> Vec<PackOrdinal> {
        self.uses.ones().collect()
    }

    /// Packs are going: no target of deduplication any more, and nothing relies on them. Gives the frames of each in which a
    /// chunk was found.
    pub(crate) fn leave(&self, going: &[PackOrdinal]) -> Vec<(PackOrdinal, Vec<u32>)> {
        let mut used = self.used_frames.lock().unwrap_or_else(PoisonError::into_inner);
        let leave = |pack: &PackOrdinal| {
            self.usable.clear(*pack);
            self.uses.clear(*pack);
            let words = used.remove(pack).unwrap_or_default();
            let frames = (0_u32..).zip(words).flat_map(|(index, word)| {
                (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| index * 64 + bit)
            });
            (*pack, frames.collect())
        };
        going.iter().map(leave).collect()
    }

    fn note_use(&self, found: Location) {
        self.uses.set(found.pack);
        let mut used = self.used_frames.lock().unwrap_or_else(PoisonError::into_inner);
        let words = used.entry(found.pack).or_default();
        let word = usize::try_from(found.frame / 64).unwrap_or(usize::MAX);
        if words.len() <= word {
            // A confirmed frame is one of a directory, which has at most some thousands.
            words.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = words.get_mut(word) {
            *word |= 1 << (found.frame % 64);
        }
    }

    /// True if a hit was not confirmed: the index lies and has to be made anew.
    pub(crate) fn index_is_wrong(&self) -> bool {
        self.index_is_wrong.load(Ordering::Relaxed)
    }

    /// The session's own chunks: what is still in memory, and the runs it went to before. Pack numbers count from 0.
    pub(crate) fn take_own(&self) -> (Vec<IndexEntry>, Vec<MountedRun>) {
        let finished = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        let spilled = std::mem::take(&mut *self.spilled.write().unwrap_or_else(PoisonError::into_inner));
        (finished, spilled.into_iter().map(|run| MountedRun { run, base: 0 }).collect())
    }

    fn spill(&self, finished: &mut Vec<IndexEntry>) -> Result<(), RunError> {
        let path = run_path(&self.runs_folder, (self.random_name)());
        write_run(&path, &self.keys, finished)?;
        let run = Arc::new(Run::open(&path, &self.keys)?);
        self.spilled.write().unwrap_or_else(PoisonError::into_inner).push(run);
        for entry in finished.drain(..) {
            self.shard(&entry.id).remove(&entry.id);
        }
        Ok(())
    }

    fn shard(&self, id: &ChunkId) -> MutexGuard<'_, ClaimSet> {
        let [.., last] = id.as_bytes();
        let index = usize::from(*last) % CLAIM_SHARDS;
        // A panic elsewhere leaves a set that is still a set.
        #[expect(clippy::indexing_slicing, reason = "there are CLAIM_SHARDS shards")]
        self.claims[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirm(&self, id: &ChunkId, found: Location) -> bool {
        let cached = self.directories.lock().unwrap_or_else(PoisonError::into_inner).get(found.pack);
        let directory = match cached {
            Some(directory) => directory,
            None => match (self.open_pack)(found.pack) {
                Ok(pack) => {
                    let directory = Arc::clone(pack.directory());
                    let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
                    directories.put(found.pack, &directory);
                    directory
                }
                Err(_) => {
                    // Damaged or gone: no target of deduplication, so what it held is stored again while the source is here.
                    self.usable.clear(found.pack);
                    return false;
                }
            },
        };
        let frame = usize::try_from(found.frame).ok().and_then(|frame| directory.frame(frame));
        let chunk = frame.zip(usize::try_from(found.position).ok()).and_then(|(frame, at)| frame.chunks.get(at));
        let confirmed = chunk.is_some_and(|chunk| chunk.id == *id);
        if !confirmed {
            self.index_is_wrong.store(true, Ordering::Relaxed);
        }
        confirmed
    }
}

/// The directories used last. When full, the older half goes.
#[derive(Default)]
struct DirectoryCache {
    tick: u64,
    kept: HashMap<PackOrdinal, (u64, Arc<Directory>)>,
}

impl DirectoryCache {
    fn get(&mut self, pack: PackOrdinal) -> Option<Arc<Directory>> {
        self.tick += 1;
        let (used, directory) = self.kept.get_mut(&pack)?;
        *used = self.tick;
        Some(Arc::clone(directory))
    }

    fn put(&mut self, pack: PackOrdinal, directory: &Arc<Directory>) {
        if self.kept.len() >= DIRECTORIES_MAX {
            let mut ticks: Vec<u64> = self.kept.values().map(|(used, _)| *used).collect();
            let middle = ticks.len() / 2;
            let (_, median, _) = ticks.select_nth_unstable(middle);
            let median = *median;
            self.kept.retain(|_, (used, _)| *used >= median);
        }
        self.tick += 1;
        self.kept.insert(pack, (self.tick, Arc::clone(directory)));
    }
}

/// A bit per pack, set from any thread.
struct Bits {
    words: Vec<AtomicU64>,
}

impl Bits {
    fn zeros(words: usize) -> Self {
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn from_flags(flags: impl Iterator<Item = bool>) -> Self {
        let flags: Vec<bool> = flags.collect();
        let word = |flags: &[bool]| flags.iter().rev().fold(0, |word, flag| word << 1 | u64::from(*flag));
        Self { words: flags.chunks(64).map(|flags| AtomicU64::new(word(flags))).collect() }
    }

    fn place(&self, pack: PackOrdinal) -> Option<(&AtomicU64, u64)> {
        let word = self.words.get(usize::try_from(pack.0 / 64).ok()?)?;
        Some((word, 1 << (pack.0 % 64)))
    }

    fn get(&self, pack: PackOrdinal) -> bool {
        self.place(pack).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn set(&self, pack: PackOrdinal) {
        if let Some((word, bit)) = self.place(pack) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn clear(&self, pack: PackOrdinal) {
        if let Some((word, bit)) = self.place(pack) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn ones(&self) -> impl Iterator<Item = PackOrdinal> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(index, word)| {
            let word = word.load(Ordering::Relaxed);
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| PackOrdinal(index * 64 + bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_repository::{TestRepository, content};
    use repo_format::{RepositoryId, RepositoryKeys};

    fn dedup(folder: &std::path::Path) -> Dedup {
        let keys = Arc::new(Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([1; 16])));
        let open_pack: OpenPack =
            Box::new(|_| Err(PackError::Missing { pack: repo_format::PackName::from_bytes([0; 32]) }));
        Dedup::new(keys, Index::default(), std::iter::empty(), open_pack, folder.to_owned(), Box::new(|| [1; 16]))
    }

    #[test]
    fn a_dropped_ticket_releases_the_claim_and_a_kept_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (dedup, id) = (dedup(folder.path()), ChunkId::from_bytes([3; 32]));
        assert!(matches!(dedup.claim(id), Claim::Novel(_)));
        let Claim::Novel(ticket) = dedup.claim(id) else { panic!("the dropped ticket kept its claim") };
        assert!(matches!(dedup.claim(id), Claim::Known));
        ticket.stored();
        assert!(matches!(dedup.claim(id), Claim::Known));
    }

    #[test]
    fn a_chunk_that_only_the_index_knows_is_novel_and_the_index_is_found_out() {
        let mut repository = TestRepository::new();
        repository.back_up("web01", &[("disk0", &content(&[1, 2]))], false);
        let (reader, keys) = (repository.reader(), repository.keys());
        let stored = reader.pack(PackOrdinal(0)).unwrap().directory().frames()[0].chunks[0].id;
        let absent = ChunkId::from_bytes([3; 32]);
        let entry = |id| IndexEntry { id, pack: 0, frame: 0, position: 0 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("false.run");
        write_run(&path, &keys, &mut vec![entry(stored), entry(absent)]).unwrap();
        let run = Arc::new(Run::open(&path, &keys).unwrap());
        let index = Index::new(vec![MountedRun { run, base: 0 }]);
        let usable = std::iter::once((PackOrdinal(0), true));
        let open_pack: OpenPack =
            Box::new(move |ordinal| reader.pack(ordinal).map_err(|_| PackError::Unregistered { ordinal }));
        let folder = folder.path().to_owned();
        let dedup = Dedup::new(keys, index, usable, open_pack, folder, Box::new(|| [1; 16]));

        assert!(matches!(dedup.claim(stored), Claim::Known));
        assert!(!dedup.index_is_wrong());
        assert!(matches!(dedup.claim(absent), Claim::Novel(_)));
        assert!(dedup.index_is_wrong());
    }

    #[test]
    fn bits_give_back_what_was_set() {
        let bits = Bits::from_flags((0..130).map(|n| n % 3 == 0));
        assert!(bits.ones().map(|pack| pack.0).eq((0..130).filter(|n| n % 3 == 0)));
        bits.clear(PackOrdinal(129));
        bits.set(PackOrdinal(1));
        assert!(!bits.get(PackOrdinal(129)) && bits.get(PackOrdinal(1)) && !bits.get(PackOrdinal(5000)));
    }
}
