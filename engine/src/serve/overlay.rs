//! What clients wrote to a served point: kept beside it, block by block, never in the repository.
//!
//! ```text
//! header     magic, version, block size, repository, point, and of each disk: name, bytes, map root   multiple of 4 KiB
//! bitmaps    one bit a block of each disk, one disk after the other                                   multiples of 4 KiB
//! blocks     each disk at its full length, sparse                                                     multiples of 4 KiB
//! ```
//!
//! The header is a function of the point: an overlay fits if its bytes are the expected ones. A bit is set in the file only
//! after the block's bytes are durable, so an overlay that was cut off holds old blocks or new ones, never a mixture that
//! a flush had promised otherwise. Room for the bitmaps is taken at the beginning: a full disk refuses writes of blocks and
//! loses nothing else.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use repo_format::{ChunkId, DiskRecord, RepositoryId};
use rustix::{
    fs::{
        FallocateFlags, FlockOperation, MemfdFlags, Mode, OFlags, SeekFrom, fallocate, flock, memfd_create, open, seek,
    },
    io::Errno,
};

use crate::error::Kind;

const MAGIC: &[u8; 8] = b"SRMOVRLY";
const VERSION: u32 = 1;
/// What is copied at the first write to it.
pub(super) const BLOCK_BYTES: u64 = 4096;
const ALIGN: u64 = 4096;
const WORD_BITS: u64 = 64;
/// Bits of the bitmap that one page of it holds: what is written to the file at once.
const PAGE_BYTES: u64 = 4096;
const STRIPES: usize = 64;

/// Where writes of clients go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverlayPlace {
    /// Nowhere: exports are read-only.
    None,
    /// To memory, and they are gone at the end.
    Memory,
    /// To a file that can be served again.
    File(PathBuf),
}

/// Why there is no overlay.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// It belongs to something else.
    #[error("{}: this overlay was begun over {found}, not over this restore point", path.display())]
    OfAnother {
        /// The file.
        path: PathBuf,
        /// Over what.
        found: String,
    },
    /// It is some other file.
    #[error("{} is no overlay of strongroom", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
    },
    /// Another serve writes to it.
    #[error("{} is in use by another serve", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system is full.
    #[error("no room for the overlay {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("overlay {}: {operation}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl OverlayError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OfAnother { .. } | Self::NotOne { .. } => Kind::Invalid,
            Self::InUse { .. } | Self::Io { .. } => Kind::Failed,
            Self::Full { .. } => Kind::Unavailable,
        }
    }
}

/// An open overlay.
pub(super) struct Overlay {
    file: File,
    is_durable: bool,
    disks: Vec<DiskPart>,
    /// One flush at a time: the second would find the pages clean that the first has not written yet.
    flushing: Mutex<()>,
}

/// The part of one disk.
struct DiskPart {
    name: String,
    bytes: u64,
    /// Where its bitmap and its blocks lie in the file.
    bitmap_at: u64,
    blocks_at: u64,
    words: Vec<AtomicU64>,
    /// Pages of the bitmap that differ from the file.
    stale: Vec<AtomicBool>,
    stripes: [Mutex<()>; STRIPES],
}

impl Overlay {
    /// Opens or begins the overlay of a point's disks.
    pub(super) fn open(
        place: &OverlayPlace,
        repository: RepositoryId,
        point: ChunkId,
        records: &[DiskRecord],
    ) -> Result<Option<Self>, OverlayError> {
        let header = header(repository, point, records);
        match place {
            OverlayPlace::None => Ok(None),
            OverlayPlace::Memory => {
                let path = Path::new("memory");
                let file = memfd_create("strongroom-overlay", MemfdFlags::CLOEXEC);
                let file = File::from(file.map_err(|errno| io_error(path, "create", errno.into()))?);
                Self::begin(file, false, path, &header, records).map(Some)
            }
            OverlayPlace::File(path) => Self::open_file(path, &header, records).map(Some),
        }
    }

    fn open_file(path: &Path, header: &[u8], records: &[DiskRecord]) -> Result<Self, OverlayError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| io_error(path, "open", errno.into()))?;
        let file = File::from(file);
        if !file.metadata().map_err(|error| io_error(path, "stat", error))?.is_file() {
            return Err(OverlayError::NotOne { path: path.to_owned() });
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => OverlayError::InUse { path: path.to_owned() },
            errno => io_error(path, "lock", errno.into()),
        })?;
        let length = file.metadata().map_err(|error| io_error(path, "stat", error))?.len();
        let mut found = vec![0; header.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut found, 0).map_err(|error| io_error(path, "read", error))?;
        if found.iter().all(|byte| *byte == 0) {
            // New, or begun by a run that died before it had a header. A file of zeros that is something else is not taken.
            if length != 0 && length != Layout::of(header, records).file_bytes {
                return Err(OverlayError::NotOne { path: path.to_owned() });
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let overlay = Self::begin(file, true, path, header, records)?;
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            return synced.map(|()| overlay).map_err(|error| io_error(path, "sync the folder of", error));
        }
        if found != header {
            return Err(refuse(path, &found));
        }
        let overlay = Self::laid_out(file, true, header, records);
        overlay.load().map_err(|error| io_error(path, "read", error))?;
        Ok(overlay)
    }

    fn begin(
        file: File,
        is_durable: bool,
        path: &Path,
        header: &[u8],
        records: &[DiskRecord],
    ) -> Result<Self, OverlayError> {
        let failed = |operation| move |error| io_error(path, operation, error);
        let layout = Layout::of(header, records);
        file.set_len(layout.file_bytes).map_err(failed("set the length of"))?;
        let bitmaps_end = layout.disks.iter().map(|(_, blocks_at)| *blocks_at).next().unwrap_or(0);
        match fallocate(&file, FallocateFlags::empty(), 0, bitmaps_end.max(1)) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(io_error(path, "reserve", errno.into())),
        }
        file.sync_all().map_err(failed("sync"))?;
        file.write_all_at(header, 0).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        Ok(Self::laid_out(file, is_durable, header, records))
    }

    fn laid_out(file: File, is_durable: bool, header: &[u8], records: &[DiskRecord]) -> Self {
        let layout = Layout::of(header, records);
        let disk = |(record, (bitmap_at, blocks_at)): (&DiskRecord, (u64, u64))| {
            let bitmap_bytes = bitmap_bytes(record.bytes);
            let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            DiskPart {
                name: record.name.clone(),
                bytes: record.bytes,
                bitmap_at,
                blocks_at,
                words: std::iter::repeat_with(|| AtomicU64::new(0)).take(count(bitmap_bytes / 8)).collect(),
                stale: std::iter::repeat_with(|| AtomicBool::new(false))
                    .take(count(bitmap_bytes / PAGE_BYTES))
                    .collect(),
                stripes: std::array::from_fn(|_| Mutex::new(())),
            }
        };
        let disks = records.iter().zip(layout.disks).map(disk).collect();
        Self { file, is_durable, disks, flushing: Mutex::new(()) }
    }

    fn load(&self) -> io::Result<()> {
        for disk in &self.disks {
            let mut page = vec![0; 1 << 16];
            let mut at = 0;
            for words in disk.words.chunks(page.len() / 8) {
                let bytes = page.get_mut(..words.len() * 8).unwrap_or_default();
                self.file.read_exact_at(bytes, disk.bitmap_at + at)?;
                at += bytes.len() as u64;
                for (word, bytes) in words.iter().zip(bytes.as_chunks::<8>().0) {
                    word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// The part of the disk called `name`.
    pub(super) fn disk(&self, name: &str) -> Option<OverlayDisk<'_>> {
        let part = self.disks.iter().find(|disk| disk.name == name)?;
        Some(OverlayDisk { overlay: self, part })
    }

    /// Makes everything durable: blocks, then the bits that say they are there.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.is_durable {
            return Ok(());
        }
        let _flushing = lock(&self.flushing);
        // Bits first into memory: those of blocks that are written from here on wait for the next flush.
        let mut pages = Vec::new();
        for disk in &self.disks {
            for (number, stale) in disk.stale.iter().enumerate() {
                if stale.swap(false, Ordering::AcqRel) {
                    pages.push((stale, disk.bitmap_at + number as u64 * PAGE_BYTES, disk.page(number)));
                }
            }
        }
        let written = self.file.sync_data().and_then(|()| {
            pages.iter().try_for_each(|(_, at, page)| self.file.write_all_at(page, *at))?;
            if pages.is_empty() { Ok(()) } else { self.file.sync_data() }
        });
        if written.is_err() {
            pages.iter().for_each(|(stale, ..)| stale.store(true, Ordering::Release));
        }
        written
    }
}

/// One disk of an open overlay.
#[derive(Clone, Copy)]
pub(super) struct OverlayDisk<'o> {
    overlay: &'o Overlay,
    part: &'o DiskPart,
}

impl OverlayDisk<'_> {
    /// How far from `range.start` the blocks are all written or all not, and which.
    pub(super) fn run(&self, range: &Range<u64>) -> (bool, u64) {
        let first = range.start / BLOCK_BYTES;
        let written = self.part.is_written(first);
        let mut block = first + 1;
        while block * BLOCK_BYTES < range.end {
            // Whole words of unwritten blocks are passed over at once.
            if !written && block.is_multiple_of(WORD_BITS) && self.part.word(block) == 0 {
                block += WORD_BITS;
            } else if self.part.is_written(block) == written {
                block += 1;
            } else {
                break;
            }
        }
        (written, (block * BLOCK_BYTES).min(range.end))
    }

    /// Reads what was written.
    pub(super) fn read(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        self.overlay.file.read_exact_at(&mut bytes, self.part.blocks_at + range.start)?;
        Ok(bytes)
    }

    /// Of written blocks: whether they are a hole at `range.start`, and how far.
    pub(super) fn hole(&self, range: &Range<u64>) -> (bool, u64) {
        let base = self.part.blocks_at;
        let data = match seek(&self.overlay.file, SeekFrom::Data(base + range.start)) {
            Ok(at) => at.saturating_sub(base),
            Err(Errno::NXIO) => return (true, range.end),
            Err(_) => return (false, range.end),
        };
        if data > range.start {
            return (true, data.min(range.end));
        }
        let hole = seek(&self.overlay.file, SeekFrom::Hole(base + range.start)).map_or(range.end, |at| at - base);
        (false, hole.min(range.end))
    }

    /// Writes; `base` gives the bytes of a block that is only written in part and was not written before.
    pub(super) fn write<E: From<io::Error>>(
        &self,
        offset: u64,
        bytes: &[u8],
        base: &dyn Fn(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let end = offset + bytes.len() as u64;
        let (head, whole_end) = self.whole_blocks(&(offset..end));
        let at = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        let part = |range: Range<u64>| bytes.get(at(range.start)..at(range.end)).unwrap_or_default();
        if head >= whole_end {
            // No whole block: at most two in part.
            let middle = (offset - offset % BLOCK_BYTES + BLOCK_BYTES).min(end);
            self.write_part(offset, part(offset..middle), base)?;
            return if middle < end { self.write_part(middle, part(middle..end), base) } else { Ok(()) };
        }
        if offset < head {
            self.write_part(offset, part(offset..head), base)?;
        }
        self.overlay.file.write_all_at(part(head..whole_end), self.part.blocks_at + head)?;
        self.part.mark(&(head..whole_end));
        if whole_end < end { self.write_part(whole_end, part(whole_end..end), base) } else { Ok(()) }
    }

    /// Makes a range zeros; whole blocks become holes of the file if they may.
    pub(super) fn zero<E: From<io::Error>>(
        &self,
        range: &Range<u64>,
        may_punch: bool,
        base: &dyn Fn(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let (head, whole_end) = self.whole_blocks(range);
        let zeros = |from: u64, to: u64| vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
        if head >= whole_end {
            return self.write(range.start, &zeros(range.start, range.end), base);
        }
        if range.start < head {
            self.write_part(range.start, &zeros(range.start, head), base)?;
        }
        let flags = match may_punch {
            true => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            false => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        let place = self.part.blocks_at + head;
        match fallocate(&self.overlay.file, flags, place, whole_end - head) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::Error::from(io::ErrorKind::StorageFull).into()),
            // Not every file system can; zeros can always be written.
            Err(_) => {
                let zeros = vec![0; 1 << 20];
                let mut at = head;
                while at < whole_end {
                    let length = usize::try_from(whole_end - at).unwrap_or(usize::MAX).min(zeros.len());
                    self.overlay
                        .file
                        .write_all_at(zeros.get(..length).unwrap_or_default(), self.part.blocks_at + at)?;
                    at += length as u64;
                }
            }
        }
        self.part.mark(&(head..whole_end));
        if whole_end < range.end { self.write_part(whole_end, &zeros(whole_end, range.end), base) } else { Ok(()) }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.overlay.flush()
    }

    /// The whole blocks inside `range`; the disk's last block is whole where the disk ends.
    fn whole_blocks(&self, range: &Range<u64>) -> (u64, u64) {
        let end = if range.end == self.part.bytes { range.end } else { range.end - range.end % BLOCK_BYTES };
        (range.start.next_multiple_of(BLOCK_BYTES), end)
    }

    /// Writes inside one block. Two clients may write two parts of a block at once: one after the other.
    fn write_part<E: From<io::Error>>(
        &self,
        offset: u64,
        bytes: &[u8],
        base: &dyn Fn(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let block = offset / BLOCK_BYTES;
        let stripe = usize::try_from(block).unwrap_or_default() % STRIPES;
        let Some(stripe) = self.part.stripes.get(stripe) else { return Ok(()) };
        let _stripe = lock(stripe);
        if self.part.is_written(block) {
            return Ok(self.overlay.file.write_all_at(bytes, self.part.blocks_at + offset)?);
        }
        let start = block * BLOCK_BYTES;
        let whole = start..(start + BLOCK_BYTES).min(self.part.bytes);
        let mut content = base(whole.clone())?;
        let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
        if let Some(place) = content.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
        self.overlay.file.write_all_at(&content, self.part.blocks_at + start)?;
        self.part.mark(&whole);
        Ok(())
    }
}

impl DiskPart {
    fn word(&self, block: u64) -> u64 {
        let word = usize::try_from(block / WORD_BITS).ok().and_then(|word| self.words.get(word));
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn is_written(&self, block: u64) -> bool {
        self.word(block) >> (block % WORD_BITS) & 1 != 0
    }

    fn mark(&self, range: &Range<u64>) {
        for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            let place = usize::try_from(block / WORD_BITS).unwrap_or(usize::MAX);
            let page = usize::try_from(block / 8 / PAGE_BYTES).unwrap_or(usize::MAX);
            if let (Some(word), Some(stale)) = (self.words.get(place), self.stale.get(page)) {
                word.fetch_or(1 << (block % WORD_BITS), Ordering::AcqRel);
                stale.store(true, Ordering::Release);
            }
        }
    }

    fn page(&self, number: usize) -> Vec<u8> {
        let words_a_page = usize::try_from(PAGE_BYTES / 8).unwrap_or(1);
        let words = self.words.chunks(words_a_page).nth(number).unwrap_or_default();
        words.iter().flat_map(|word| word.load(Ordering::Acquire).to_le_bytes()).collect()
    }
}

/// Where everything lies in the file.
struct Layout {
    /// Bitmap and blocks of each disk.
    disks: Vec<(u64, u64)>,
    file_bytes: u64,
}

impl Layout {
    fn of(header: &[u8], records: &[DiskRecord]) -> Self {
        let mut at = header.len() as u64;
        let mut take = |bytes: u64| {
            let start = at;
            at = at.saturating_add(bytes.next_multiple_of(ALIGN));
            start
        };
        let bitmaps: Vec<u64> = records.iter().map(|record| take(bitmap_bytes(record.bytes))).collect();
        let disks = bitmaps.into_iter().zip(records).map(|(bitmap, record)| (bitmap, take(record.bytes))).collect();
        Self { disks, file_bytes: at }
    }
}

fn bitmap_bytes(disk_bytes: u64) -> u64 {
    disk_bytes.div_ceil(BLOCK_BYTES).div_ceil(8).next_multiple_of(PAGE_BYTES)
}

fn header(repository: RepositoryId, point: ChunkId, records: &[DiskRecord]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&u32::try_from(BLOCK_BYTES).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(repository.as_bytes());
    out.extend_from_slice(point.as_bytes());
    out.extend_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    for record in records {
        out.extend_from_slice(&u32::try_from(record.name.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(record.name.as_bytes());
        out.extend_from_slice(&record.bytes.to_le_bytes());
        out.extend_from_slice(record.map_root.as_bytes());
    }
    out.resize(out.len().next_multiple_of(usize::try_from(ALIGN).unwrap_or(1)), 0);
    out
}

fn refuse(path: &Path, found: &[u8]) -> OverlayError {
    let path = path.to_owned();
    if !found.starts_with(MAGIC) {
        return OverlayError::NotOne { path };
    }
    let point = found.get(32..64).and_then(|point| <[u8; 32]>::try_from(point).ok());
    let found = match point {
        Some(point) => format!("point {}", ChunkId::from_bytes(point)),
        None => "something else".to_owned(),
    };
    OverlayError::OfAnother { path, found }
}

fn io_error(path: &Path, operation: &'static str, source: io::Error) -> OverlayError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OverlayError::Full { path: path.to_owned() },
        _ => OverlayError::Io { path: path.to_owned(), operation, source },
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
