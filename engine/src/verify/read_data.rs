//! Reads whole packs and checks every byte of them from all sides: one pack per thread at a time.

use std::{
    fmt::{Display, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use repo_format::{Class, Decompressor, Directory, Footer, Keyring, PackName, open_frame_into};

use super::{
    Share, VerifyError,
    costs::{Damage, Lost, LostParts},
    quick::{self, PackToRead},
};
use crate::{
    aligned::read_range,
    mender::{Mender, Outcome},
    monitor::{Monitor, Step},
    problem::Problem,
    read_error::ReadError,
    repository::Reader,
    store::{Name, Reaction},
};

/// Memory for whole packs, over all threads.
const BUFFERS_BYTES_MAX: u64 = 256 << 20;
/// Packs after which the catalogue learns that they were verified.
const MARKS_MAX: usize = 64;
/// Things wrong with one pack that are said one by one.
const FLAWS_SAID_MAX: usize = 8;

/// When `name` was verified last.
pub(super) fn last_verified(reader: &Reader, name: &PackName) -> Result<Option<u64>, VerifyError> {
    Ok(reader.catalog()?.last_verified_ms(name))
}

/// The oldest of all packs' last verifications; `None` if one of them never was.
pub(super) fn oldest_verified(reader: &Reader) -> Result<Option<u64>, VerifyError> {
    let catalog = reader.catalog()?;
    let mut oldest = None;
    for (_, pack) in quick::packs(reader) {
        match catalog.last_verified_ms(&pack.name) {
            None => return Ok(None),
            Some(time) => oldest = Some(oldest.unwrap_or(time).min(time)),
        }
    }
    Ok(oldest)
}

/// The share of `packs` that was verified longest ago, never verified ones first, in the order of the log.
pub(super) fn chosen(
    packs: Vec<PackToRead>,
    share: Share,
    last_verified: &dyn Fn(&PackName) -> Result<Option<u64>, VerifyError>,
) -> Result<Vec<PackToRead>, VerifyError> {
    let Share::Percent(percent) = share else { return Ok(packs) };
    let total: u64 = packs.iter().map(|pack| pack.bytes).sum();
    // Rounded up, so that 20 runs of 5 % read everything.
    let wanted = (u128::from(total) * u128::from(percent.min(100))).div_ceil(100);
    let mut aged = packs
        .into_iter()
        .map(|pack| Ok((last_verified(&pack.name)?, pack)))
        .collect::<Result<Vec<_>, VerifyError>>()?;
    aged.sort_by_key(|(time, pack)| (*time, pack.ordinal));
    let mut sum = 0_u128;
    let due = aged.into_iter().map(|(_, pack)| pack).take_while(|pack| {
        let due = sum < wanted;
        sum += u128::from(pack.bytes);
        due
    });
    let mut due: Vec<PackToRead> = due.collect();
    due.sort_by_key(|pack| pack.ordinal);
    Ok(due)
}

/// How many threads may each hold a pack of at most `bytes_max`.
pub(super) fn thread_count(threads: usize, bytes_max: u64) -> usize {
    let fitting = BUFFERS_BYTES_MAX / bytes_max.max(1);
    threads.min(usize::try_from(fitting).unwrap_or(usize::MAX)).max(1)
}

/// Reads `packs` and adds what is wrong with them to `damage`.
pub(super) fn read(
    reader: &Reader,
    packs: &[PackToRead],
    threads: usize,
    mender: Option<&Mender>,
    monitor: &dyn Monitor,
    damage: &mut Damage,
) -> Result<(), VerifyError> {
    let threads = thread_count(threads, packs.iter().map(|pack| pack.bytes).max().unwrap_or(0)).min(packs.len().max(1));
    let shared = Shared {
        reader,
        packs,
        mender,
        monitor,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        damage: Mutex::new(damage),
        verified: Mutex::new(Vec::new()),
        error: Mutex::new(None),
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| shared.run());
        }
    });
    let verified = shared.verified.into_inner().unwrap_or_else(PoisonError::into_inner);
    let marked = mark(reader, &verified);
    match shared.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => marked,
    }
}

fn mark(reader: &Reader, verified: &[PackName]) -> Result<(), VerifyError> {
    Ok(reader.catalog()?.mark_verified(verified, reader.environment().clock.now_ms())?)
}

struct Shared<'v> {
    reader: &'v Reader,
    packs: &'v [PackToRead],
    mender: Option<&'v Mender>,
    monitor: &'v dyn Monitor,
    next: AtomicUsize,
    stop: AtomicBool,
    damage: Mutex<&'v mut Damage>,
    verified: Mutex<Vec<PackName>>,
    error: Mutex<Option<VerifyError>>,
}

impl Shared<'_> {
    fn run(&self) {
        if let Err(error) = self.work() {
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.stop.store(true, Ordering::Release);
        }
    }

    fn work(&self) -> Result<(), VerifyError> {
        let mut scanner = Scanner::new().map_err(ReadError::from)?;
        let store = &self.reader.environment().store;
        let mut bytes = Vec::new();
        while let Some(pack) = self.packs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.monitor.interrupted() {
                return Err(VerifyError::Interrupted);
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let found = match read_range(store.as_ref(), &Name::pack(pack.name), 0..pack.bytes, &mut bytes) {
                Ok(bytes) => scanner.scan(pack, bytes, self.reader.keys()),
                Err(error) if matches!(error.reaction, Reaction::Absent | Reaction::Damaged) => {
                    Some(Finding { what: error.to_string(), lost: Lost::All })
                }
                // A disk that does not give a part of it: the rest and the parity may.
                Err(error) if self.mender.is_some() && error.reaction == Reaction::Unavailable => {
                    match self.mend(pack)? {
                        Some(Outcome::Bad { .. }) | None => return Err(error.into()),
                        outcome => {
                            self.add(pack, outcome, Finding { what: error.to_string(), lost: Lost::All });
                            continue;
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            };
            match found {
                Some(finding) => {
                    let outcome = self.mend(pack)?;
                    self.add(pack, outcome, finding);
                }
                None => self.note_verified(pack.name)?,
            }
            self.monitor.advance(Step { done_bytes: pack.bytes, new_bytes: 0 });
        }
        Ok(())
    }

    fn mend(&self, pack: &PackToRead) -> Result<Option<Outcome>, VerifyError> {
        Ok(self.mender.map(|mender| mender.mend(pack.name, pack.bytes)).transpose()?)
    }

    fn add(&self, pack: &PackToRead, outcome: Option<Outcome>, Finding { what, lost }: Finding) {
        let problem = Problem::new(format_args!("pack {}", pack.name), what);
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.mend_or_add(pack.ordinal, outcome, problem, lost);
    }

    /// A run that is interrupted loses at most [`MARKS_MAX`] packs of its progress.
    fn note_verified(&self, name: PackName) -> Result<(), VerifyError> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.push(name);
        if verified.len() >= MARKS_MAX {
            let names = std::mem::take(&mut *verified);
            drop(verified);
            mark(self.reader, &names)?;
        }
        Ok(())
    }
}

/// What is wrong with one pack.
#[derive(Debug)]
struct Finding {
    what: String,
    lost: Lost,
}

/// Contexts and buffers of one thread.
struct Scanner {
    decompressor: Decompressor,
    plain: Vec<u8>,
}

/// Sentences about one pack, the first few of them.
#[derive(Default)]
pub(super) struct Flaws {
    text: String,
    count: usize,
}

impl Flaws {
    pub(super) fn add(&mut self, flaw: impl Display) {
        self.count += 1;
        if self.count <= FLAWS_SAID_MAX {
            let gap = if self.text.is_empty() { "" } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(self.text, "{gap}{flaw}");
        }
    }

    pub(super) fn into_text(mut self) -> Option<String> {
        if self.count > FLAWS_SAID_MAX {
            let _ = write!(self.text, "; and {} more", self.count - FLAWS_SAID_MAX);
        }
        (self.count > 0).then_some(self.text)
    }
}

impl Scanner {
    fn new() -> Result<Self, repo_format::FormatError> {
        Ok(Self { decompressor: Decompressor::new()?, plain: Vec::new() })
    }

    /// Checks a whole pack; its bytes are used up.
    fn scan(&mut self, pack: &PackToRead, bytes: &mut [u8], keys: &Keyring) -> Option<Finding> {
        let mut flaws = Flaws::default();
        let footer = check_public_parts(pack.name, bytes, &mut flaws);
        let lost = match footer.and_then(|footer| Some((open_directory(&footer, bytes, keys, &mut flaws)?, footer))) {
            Some((directory, footer)) => {
                if footer.head().class != pack.class {
                    flaws.add("its class is not the one in the log");
                }
                self.open_frames(&directory, &footer, bytes, keys, &mut flaws)
            }
            None => Lost::All,
        };
        flaws.into_text().map(|what| Finding { what, lost })
    }

    fn open_frames(
        &mut self,
        directory: &Directory,
        footer: &Footer,
        bytes: &mut [u8],
        keys: &Keyring,
        flaws: &mut Flaws,
    ) -> Lost {
        let (class, epoch): (Class, u32) = (footer.head().class, footer.head().epoch);
        let mut lost = LostParts::default();
        for (number, entry) in (0_u32..).zip(directory.frames()) {
            let offset = usize::try_from(number).ok().and_then(|number| directory.offset(number));
            let start = offset.and_then(|offset| usize::try_from(offset).ok());
            let end = start
                .zip(usize::try_from(entry.sealed_bytes).ok())
                .and_then(|(start, length)| start.checked_add(length));
            let sealed = start.zip(end).and_then(|(start, end)| bytes.get_mut(start..end)).unwrap_or_default();
            let buffer = std::mem::take(&mut self.plain);
            match open_frame_into(buffer, class, epoch, entry, sealed, keys, &mut self.decompressor) {
                Err(error) => {
                    flaws.add(format_args!("frame {number}: {error}"));
                    lost.frames.insert(number);
                }
                Ok(frame) => {
                    for position in 0..frame.len() {
                        if let Err(error) = frame.chunk(position, keys) {
                            flaws.add(format_args!("frame {number}: chunk {position}: {error}"));
                            lost.chunks.insert((number, u32::try_from(position).unwrap_or(u32::MAX)));
                        }
                    }
                    self.plain = frame.into_buffer();
                }
            }
        }
        Lost::Parts(lost)
    }
}

/// What needs no key: name, both footers, the check of every shard. Gives a footer that describes these bytes.
pub(super) fn check_public_parts(name: PackName, bytes: &[u8], flaws: &mut Flaws) -> Option<Footer> {
    if PackName::of(bytes) != name {
        flaws.add("its bytes are not those it is named after");
    }
    let footer = check_footers(bytes, flaws)?;
    let shard_bytes = usize::try_from(footer.shard_bytes()).ok()?;
    let inner = bytes.get(shard_bytes..bytes.len().checked_sub(shard_bytes)?)?;
    for (number, shard) in (1_u32..).zip(inner.chunks(shard_bytes)) {
        if let Err(error) = footer.check_shard(number, shard) {
            flaws.add(format_args!("{}: {}", error.field, error.found));
        }
    }
    Some(footer)
}

/// The first footer says how long a shard is; if it cannot be read, the end of the file is tried with each length.
fn check_footers(bytes: &[u8], flaws: &mut Flaws) -> Option<Footer> {
    let fits = |footer: &Footer| usize::try_from(footer.pack_bytes()) == Ok(bytes.len());
    let lengths = || (10..=20).map(|log2| 1_usize << log2).filter(|length| 2 * length <= bytes.len());
    // A footer decodes for one length of a shard only, since it names that length.
    let first = lengths().find_map(|length| Footer::decode(bytes.get(..length)?).ok()).filter(fits);
    let last = lengths().find_map(|length| Footer::decode(bytes.get(bytes.len() - length..)?).ok()).filter(fits);
    match (&first, &last) {
        (None, _) => flaws.add("footer copy A cannot be read"),
        (_, None) => flaws.add("footer copy B cannot be read"),
        (Some(first), Some(last)) if first != last => flaws.add("its two footers differ"),
        _ => {}
    }
    if first.is_none() && last.is_none() {
        flaws.add("footer copy B cannot be read");
    }
    first.or(last)
}

/// Opens both copies of the directory, or one if they are the same bytes.
fn open_directory(footer: &Footer, bytes: &mut [u8], keys: &Keyring, flaws: &mut Flaws) -> Option<Directory> {
    let length = usize::try_from(footer.directory_bytes()).ok()?;
    let place = |offset: u64| usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(length)?));
    let (a, b) = (place(footer.directory_a())?, place(footer.directory_b())?);
    let equal = bytes.get(a.clone())? == bytes.get(b.clone())?;
    let copy_b = (!equal).then(|| Directory::open(bytes.get_mut(b)?, footer, keys).ok()).flatten();
    let copy_a = Directory::open(bytes.get_mut(a)?, footer, keys).ok();
    match (&copy_a, equal) {
        (None, true) => flaws.add("neither copy of its directory can be opened"),
        (None, false) => flaws.add("directory copy A cannot be opened"),
        _ => {}
    }
    if !equal && copy_b.is_none() {
        flaws.add("directory copy B cannot be opened");
    }
    copy_a.or(copy_b)
}

#[cfg(test)]
mod tests {
    use repo_format::PackOrdinal;

    use super::*;

    fn packs() -> Vec<PackToRead> {
        let pack = |number: u32| PackToRead {
            ordinal: PackOrdinal(number),
            name: PackName::of(&number.to_le_bytes()),
            class: Class::Data,
            bytes: 100,
        };
        (0..10).map(pack).collect()
    }

    #[test]
    fn runs_of_a_share_cover_everything_and_take_the_oldest_first() {
        let mut verified: std::collections::HashMap<PackName, u64> = std::collections::HashMap::new();
        for run in 0..4 {
            let due = chosen(packs(), Share::Percent(25), &|name| Ok(verified.get(name).copied())).unwrap();
            assert_eq!(due.len(), 3, "25 % of 1000 bytes is begun by the third pack");
            verified.extend(due.iter().map(|pack| (pack.name, run)));
        }
        assert_eq!(verified.len(), 10);
    }

    #[test]
    fn all_means_all() {
        assert_eq!(chosen(packs(), Share::Whole, &|_| Ok(Some(1))).unwrap().len(), 10);
        assert_eq!(chosen(packs(), Share::Percent(100), &|_| Ok(Some(1))).unwrap().len(), 10);
    }

    #[test]
    fn large_packs_take_fewer_threads() {
        assert_eq!(thread_count(16, 32 << 20), 8);
        assert_eq!(thread_count(2, 32 << 20), 2);
        assert_eq!(thread_count(16, 1 << 30), 1);
    }

    #[test]
    fn flaws_beyond_the_first_few_are_counted() {
        let mut flaws = Flaws::default();
        (0..10).for_each(|number| flaws.add(format_args!("shard {number}")));
        assert!(flaws.into_text().unwrap().ends_with("shard 7; and 2 more"));
        assert_eq!(Flaws::default().into_text(), None);
    }
}
