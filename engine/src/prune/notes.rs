//! What maps name, remembered from prune to prune: a map that was read once is not read again.
//!
//! ```text
//! <random>.notes   note | note | …
//! <random>.run     index run: map id → offset (pack × 2^32 + frame), length (position)
//! note             map id 32 · level of the maps in it u8 · maps u32 · chunks u32 · ids 32 each · keyed tag 32 over all before
//! ```
//!
//! **Invariant:** a note is believed only with its tag, which needs this repository's key: a damaged, shortened or foreign file
//! means that maps are read again, never that a name is missed. A map's id is the hash of its bytes, so a note never gets old.
//! It tells no more than index runs do: which keyed names there are, and which of them belong together.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use repo_format::{ChunkId, Keyring};

use super::sorted::{Sorted, SortedBuilder};
use crate::{
    index::{IndexEntry, Run},
    read_error::ReadError,
};

const HEADER_BYTES: usize = 32 + 1 + 4 + 4;
const TAG_BYTES: usize = 32;
/// A map of the largest segment in the smallest chunks names 2^14 of them.
const NOTE_BYTES_MAX: u32 = 1 << 20;
/// More files, or more than twice the notes that are needed: all are written anew.
const FILES_MAX: usize = 8;
/// Places in memory before they go to a file.
const GATHERED_MAX: usize = 1 << 16;

/// What one map, root or VM home names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Level of the maps below: 0 for segment maps.
    pub(super) level: u8,
    /// Maps below.
    pub(super) maps: Vec<ChunkId>,
    /// Chunks.
    pub(super) chunks: Vec<ChunkId>,
}

impl Note {
    fn encode(&self, id: &ChunkId, keys: &Keyring) -> Option<Vec<u8>> {
        let count = |ids: &[ChunkId]| u32::try_from(ids.len()).ok().map(u32::to_le_bytes);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + TAG_BYTES + 32 * (self.maps.len() + self.chunks.len()));
        bytes.extend_from_slice(id.as_bytes());
        bytes.push(self.level);
        bytes.extend_from_slice(&count(&self.maps)?);
        bytes.extend_from_slice(&count(&self.chunks)?);
        self.maps.iter().chain(&self.chunks).for_each(|id| bytes.extend_from_slice(id.as_bytes()));
        bytes.extend_from_slice(&keys.cache_tag(&bytes));
        Some(bytes)
    }

    /// The note of `id`, if these bytes are that under this repository's key.
    fn decode(bytes: &[u8], id: &ChunkId, keys: &Keyring) -> Option<Self> {
        let (tagged, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        if keys.cache_tag(tagged) != *tag {
            return None;
        }
        let (found, rest) = tagged.split_first_chunk::<32>()?;
        let (level, rest) = rest.split_first()?;
        let (maps, rest) = rest.split_first_chunk::<4>()?;
        let (chunks, rest) = rest.split_first_chunk::<4>()?;
        let count = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
        let (ids, left) = rest.as_chunks::<32>();
        let (map_ids, chunk_ids) = ids.split_at_checked(count(maps)?)?;
        if found != id.as_bytes() || !left.is_empty() || chunk_ids.len() != count(chunks)? {
            return None;
        }
        let names = |ids: &[[u8; 32]]| ids.iter().copied().map(ChunkId::from_bytes).collect();
        Some(Self { level: *level, maps: names(map_ids), chunks: names(chunk_ids) })
    }
}

/// One file of notes.
struct Notes {
    run: Run,
    file: File,
    path: PathBuf,
}

impl Notes {
    fn open(run_path: &Path, keys: &Keyring) -> Option<Self> {
        let path = run_path.with_extension("notes");
        Some(Self { run: Run::open(run_path, keys).ok()?, file: File::open(&path).ok()?, path })
    }

    fn find(&self, id: &ChunkId, keys: &Keyring) -> Option<Note> {
        let place = self.run.find(id).filter(|place| place.position <= NOTE_BYTES_MAX)?;
        let mut bytes = vec![0; usize::try_from(place.position).ok()?];
        self.file.read_exact_at(&mut bytes, u64::from(place.pack) << 32 | u64::from(place.frame)).ok()?;
        Note::decode(&bytes, id, keys)
    }

    fn remove(self) {
        let _ = fs::remove_file(self.run.path());
        let _ = fs::remove_file(self.path);
    }
}

/// All notes of a repository in the cache folder.
pub(super) struct NoteBook<'k> {
    keys: &'k Keyring,
    folder: PathBuf,
    files: Vec<Notes>,
}

impl<'k> NoteBook<'k> {
    /// Opens what is there. A file that is not one of ours goes.
    pub(super) fn open(keys: &'k Keyring, folder: &Path) -> Self {
        let mut book = Self { keys, folder: folder.to_owned(), files: Vec::new() };
        let _ = fs::create_dir_all(folder);
        book.reload();
        book
    }

    fn reload(&mut self) {
        self.files.clear();
        let Ok(names) = fs::read_dir(&self.folder) else { return };
        let mut runs: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
        runs.retain(|path| path.extension().is_some_and(|extension| extension == "run"));
        runs.sort_unstable();
        for path in runs {
            match Notes::open(&path, self.keys) {
                Some(notes) => self.files.push(notes),
                None => {
                    let _ = fs::remove_file(path.with_extension("notes"));
                    let _ = fs::remove_file(path);
                }
            }
        }
    }

    /// What `id` names, if that is remembered.
    pub(super) fn find(&self, id: &ChunkId) -> Option<Note> {
        self.files.iter().find_map(|notes| notes.find(id, self.keys))
    }

    /// A file for more notes.
    pub(super) fn writer(&self) -> Result<NoteWriter<'k>, ReadError> {
        NoteWriter::create(self.keys, &self.folder)
    }

    /// Takes in what was written under `name`, and writes all anew if much of it is of no use any more: only what `live` names
    /// is kept. Comfort: what fails is tried again by the next prune.
    pub(super) fn take_in(&mut self, written: NoteWriter<'k>, name: &str, live: &[Sorted], fresh_name: &str) {
        let _ = written.finish(name);
        self.reload();
        let wanted: u64 = live.iter().map(Sorted::count).sum();
        let there: u64 = self.files.iter().map(|notes| notes.run.entry_count()).sum();
        if self.files.len() <= FILES_MAX && there <= wanted.saturating_mul(2) {
            return;
        }
        if let Ok(true) = self.write_anew(live, fresh_name) {
            self.files.drain(..).for_each(Notes::remove);
            self.reload();
        }
    }

    fn write_anew(&self, live: &[Sorted], name: &str) -> Result<bool, ReadError> {
        let mut writer = self.writer()?;
        for entry in live.iter().flat_map(Sorted::names) {
            if let Some(note) = self.find(&entry.id) {
                writer.add(&entry.id, &note)?;
            }
        }
        Ok(writer.finish(name).is_ok())
    }
}

/// Writes notes to a new file.
pub(super) struct NoteWriter<'k> {
    keys: &'k Keyring,
    folder: PathBuf,
    data: tempfile::NamedTempFile,
    out: BufWriter<File>,
    places: SortedBuilder<'k>,
    written: u64,
}

impl<'k> NoteWriter<'k> {
    fn create(keys: &'k Keyring, folder: &Path) -> Result<Self, ReadError> {
        let failed = |error: io::Error| ReadError::Index(format!("{}: {error}", folder.display()));
        let data = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let out = BufWriter::with_capacity(1 << 18, data.reopen().map_err(failed)?);
        let places = SortedBuilder::new(keys, folder, GATHERED_MAX)?;
        Ok(Self { keys, folder: folder.to_owned(), data, out, places, written: 0 })
    }

    pub(super) fn add(&mut self, id: &ChunkId, note: &Note) -> Result<(), ReadError> {
        let Some(bytes) = note.encode(id, self.keys) else { return Ok(()) };
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= NOTE_BYTES_MAX);
        let place = u32::try_from(self.written >> 32).ok().zip(length);
        let Some((high, length)) = place else { return Ok(()) };
        let low = u32::try_from(self.written & u64::from(u32::MAX)).unwrap_or_default();
        self.out.write_all(&bytes).map_err(|error| ReadError::Index(format!("{}: {error}", self.folder.display())))?;
        self.written += u64::from(length);
        self.places.add(IndexEntry { id: *id, pack: high, frame: low, position: length })
    }

    /// Makes the file `name`: the notes first, then the run by which they are found.
    fn finish(mut self, name: &str) -> io::Result<()> {
        if self.written == 0 {
            return Ok(());
        }
        self.out.flush()?;
        let places = self.places.finish().map_err(io::Error::other)?;
        self.data.persist(self.folder.join(format!("{name}.notes"))).map_err(|error| error.error)?;
        places.keep_as(&self.folder.join(format!("{name}.run")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::{RepositoryId, RepositoryKeys};

    fn keys(seed: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([1; 16]))
    }

    fn id(n: u8) -> ChunkId {
        ChunkId::from_bytes([n; 32])
    }

    fn note(n: u8) -> Note {
        let n = n % 100;
        Note { level: n % 9, maps: (0..n).map(id).collect(), chunks: (n..2 * n).map(id).collect() }
    }

    /// A live list of these maps.
    fn live(keys: &Keyring, folder: &Path, ids: impl Iterator<Item = u8>) -> Sorted {
        let mut builder = SortedBuilder::new(keys, folder, 100).unwrap();
        ids.for_each(|n| builder.add(IndexEntry { id: id(n), pack: 0, frame: 0, position: 0 }).unwrap());
        builder.finish().unwrap()
    }

    fn write(book: &mut NoteBook<'_>, ids: std::ops::Range<u8>, live: &[Sorted]) {
        let mut writer = book.writer().unwrap();
        ids.clone().for_each(|n| writer.add(&id(n), &note(n)).unwrap());
        book.take_in(writer, &format!("{}", ids.start), live, &format!("all-{}", ids.start));
    }

    #[test]
    fn notes_read_back_in_another_prune_and_under_no_other_key() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), keys(1));
        let all = [live(&keys, folder.path(), 0..100)];
        let mut book = NoteBook::open(&keys, folder.path());
        write(&mut book, 0..50, &all);
        write(&mut book, 50..100, &all);
        let again = NoteBook::open(&keys, folder.path());
        assert!((0..100).all(|n| again.find(&id(n)) == Some(note(n))));
        assert_eq!(again.find(&id(200)), None);
        let other = self::keys(2);
        assert_eq!(NoteBook::open(&other, folder.path()).find(&id(1)), None);
    }

    #[test]
    fn what_no_point_needs_any_more_goes_and_files_do_not_gather() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), keys(1));
        let mut book = NoteBook::open(&keys, folder.path());
        for night in 0..40_u8 {
            let ids = night * 5..night * 5 + 5;
            let wanted = [live(&keys, folder.path(), ids.start.saturating_sub(10)..ids.end)];
            write(&mut book, ids.clone(), &wanted);
            assert!(book.files.len() <= FILES_MAX);
            assert!((ids.start.saturating_sub(10)..ids.end).all(|n| book.find(&id(n)) == Some(note(n))));
        }
        assert_eq!(book.find(&id(0)), None, "long forgotten");
    }

    #[test]
    fn no_flipped_byte_and_no_cut_makes_another_note() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), keys(1));
        let all = [live(&keys, folder.path(), 0..8)];
        write(&mut NoteBook::open(&keys, folder.path()), 0..8, &all);
        for extension in ["notes", "run"] {
            let path = folder.path().join("0").with_extension(extension);
            let right = fs::read(&path).unwrap();
            for at in 0..right.len() {
                let mut bytes = right.clone();
                bytes[at] ^= 0x11;
                fs::write(&path, &bytes).unwrap();
                let notes = Notes::open(&path.with_extension("run"), &keys);
                let found = (0..8).map(|n| notes.as_ref().and_then(|notes| notes.find(&id(n), &keys)));
                assert!((0..8).zip(found).all(|(n, found)| found.is_none_or(|found| found == note(n))), "{at}");
            }
            fs::write(&path, &right[..right.len() / 2]).unwrap();
            let notes = Notes::open(&path.with_extension("run"), &keys);
            assert!((0..8).all(|n| {
                notes.as_ref().and_then(|notes| notes.find(&id(n), &keys)).is_none_or(|found| found == note(n))
            }));
            fs::write(&path, &right).unwrap();
        }
        assert_eq!(NoteBook::open(&keys, folder.path()).find(&id(7)), Some(note(7)));
    }
}
