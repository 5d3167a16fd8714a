//! Moves needed chunks out of packs that are mostly dead, small or on their way out.
//!
//! Everything is sealed anew: copying sealed bytes would show frame boundaries as common parts of an old and a new pack (SPEC.md
//! section 11). A frame that is mostly needed stays one, compressed as it was: its tag says that it is what its writer sealed as
//! these chunks. Chunks of other frames are hashed again and gathered in new ones.

use std::{
    collections::BTreeSet,
    fmt::Display,
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use repo_format::{Class, Decompressor, FrameEntry, PackOrdinal};

use super::{PruneError, PruneOptions, needed::Needed, survey::Survey};
use crate::{
    frame_writer::{Found, FrameWriter},
    monitor::{Event, Monitor, Step},
    pack_reader::PackReader,
    problem::{Problem, is_loss},
    read_error::ReadError,
    repository::{Reader, Writer},
    session::Session,
};

/// Of which at least so much is needed, in percent of its bytes, a frame moves as it is: what is dead in it comes along, and is
/// found again should a disk hold it once more.
const WHOLE_FROM_PERCENT: u64 = 75;

/// Moves what is needed of `from` into new packs. A frame that cannot be read keeps its pack: [`super::confirm`] will not
/// find its chunks elsewhere. Gives the bytes of the new packs.
pub(super) fn repack(
    writer: &mut Writer,
    from: &BTreeSet<PackOrdinal>,
    survey: &Survey,
    options: &PruneOptions,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<u64, PruneError> {
    let total_bytes = from.iter().filter_map(|pack| writer.state().pack(*pack)).map(|pack| pack.bytes).sum();
    monitor.event(&Event::Phase { name: "repack", total_bytes });
    let mut session = Session::open_to_move(writer, from)?;
    match move_needed(&mut session, from, survey, options, monitor, problems) {
        Ok(()) => {
            let durable = session.flush()?;
            let stored_bytes = durable.stored_bytes();
            let from: Vec<PackOrdinal> = from.iter().copied().collect();
            session.commit_moved(&from, durable)?;
            Ok(stored_bytes)
        }
        Err(error) => {
            session.close_unused()?;
            Err(error)
        }
    }
}

/// Moves pack by pack, as many at once as there are threads: what lies together stays together.
fn move_needed(
    session: &mut Session<'_>,
    from: &BTreeSet<PackOrdinal>,
    survey: &Survey,
    options: &PruneOptions,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<(), PruneError> {
    let mut movers = Vec::new();
    for _ in 0..options.threads.clamp(1, from.len().max(1)) {
        movers.push(Mover {
            data: session.frame_writer(Class::Data, options.compression)?,
            metadata: session.frame_writer(Class::Metadata, options.compression)?,
            buffers: Buffers {
                shards: Vec::new(),
                plain: Vec::new(),
                decompressor: Decompressor::new().map_err(ReadError::from)?,
            },
        });
    }
    let whole_from_bytes = session.writer().config().frame_bytes_max / 2;
    let job = MoveJob {
        reader: session.writer(),
        from: most_first(session.writer(), from, survey),
        needed: &survey.needed,
        whole_from_bytes,
        monitor,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        problems: Mutex::new(problems),
    };
    let results: Vec<Result<(), PruneError>> = thread::scope(|scope| {
        let running: Vec<_> = movers.into_iter().map(|mover| scope.spawn(|| job.run(mover))).collect();
        // A mover that panics has broken a promise of this crate: what the others have moved must not be committed.
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.into_iter().collect()
}

/// The packs with the most work first, so that no thread begins a long one while the others have done.
fn most_first(reader: &Reader, from: &BTreeSet<PackOrdinal>, survey: &Survey) -> Vec<PackOrdinal> {
    let needed_bytes = |pack: &PackOrdinal| {
        let (tally, bytes) = (survey.tally(*pack), reader.state().pack(*pack).map_or(0, |pack| pack.bytes));
        u128::from(bytes) * u128::from(tally.needed) / u128::from(tally.chunks.max(1))
    };
    let mut packs: Vec<PackOrdinal> = from.iter().copied().collect();
    packs.sort_by_cached_key(|pack| std::cmp::Reverse(needed_bytes(pack)));
    packs
}

/// What one thread writes with.
struct Mover {
    data: FrameWriter,
    metadata: FrameWriter,
    buffers: Buffers,
}

/// Memory that is used again from frame to frame.
struct Buffers {
    shards: Vec<u8>,
    plain: Vec<u8>,
    decompressor: Decompressor,
}

/// What all threads share.
struct MoveJob<'a> {
    reader: &'a Reader,
    from: Vec<PackOrdinal>,
    needed: &'a Needed,
    /// A smaller frame is put together with others.
    whole_from_bytes: u32,
    monitor: &'a dyn Monitor,
    next: AtomicUsize,
    stop: AtomicBool,
    problems: Mutex<&'a mut Vec<Problem>>,
}

impl MoveJob<'_> {
    fn run(&self, mut mover: Mover) -> Result<(), PruneError> {
        let result = self.move_packs(&mut mover);
        self.stop.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    }

    fn move_packs(&self, mover: &mut Mover) -> Result<(), PruneError> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(ordinal) = self.from.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            match self.reader.pack(*ordinal) {
                Ok(pack) => self.move_pack(&pack, mover)?,
                Err(error) if is_loss(error.kind()) => {
                    self.report(format_args!("{ordinal}"), format_args!("is not rewritten: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        mover.data.flush()?;
        mover.metadata.flush()?;
        Ok(())
    }

    fn move_pack(&self, pack: &PackReader, mover: &mut Mover) -> Result<(), PruneError> {
        let Mover { data, metadata, buffers } = mover;
        let frames = match pack.class() {
            Class::Data => data,
            Class::Metadata => metadata,
        };
        for (number, entry) in (0_u32..).zip(pack.directory().frames()) {
            if self.monitor.interrupted() {
                return Err(PruneError::Interrupted);
            }
            self.monitor.advance(Step { done_bytes: u64::from(entry.sealed_bytes), new_bytes: 0 });
            if entry.chunks.iter().any(|chunk| self.needed.contains(&chunk.id)) {
                self.move_frame(pack, number, frames, buffers)?;
            }
        }
        Ok(())
    }

    /// Moves the needed chunks of one frame; all of it where that is most of it.
    fn move_frame(
        &self,
        pack: &PackReader,
        number: u32,
        frames: &mut FrameWriter,
        buffers: &mut Buffers,
    ) -> Result<(), PruneError> {
        let object = format_args!("pack {}: frame {number}", pack.name()).to_string();
        let Buffers { shards, plain, decompressor } = buffers;
        let stored = match pack.read_stored(number, shards) {
            Ok(stored) => stored,
            Err(error) if is_loss(error.kind()) => {
                self.report(&object, format_args!("is not moved: {error}"));
                return Ok(());
            }
            Err(error) => return Err(ReadError::from(error).into()),
        };
        if self.moves_whole(stored.entry()) && frames.store_whole(&stored)? == Found::Novel {
            return Ok(());
        }
        let open = match stored.decompress(std::mem::take(plain), decompressor) {
            Ok(open) => open,
            Err(error) => {
                self.report(&object, format_args!("is not moved: {error}"));
                return Ok(());
            }
        };
        for (position, chunk) in stored.entry().chunks.iter().enumerate() {
            if self.needed.contains(&chunk.id) {
                match open.chunk(position, self.reader.keys()) {
                    Ok(hashed) => drop(frames.store(hashed)?),
                    Err(error) => self.report(&object, format_args!("is not moved: {error}")),
                }
            }
        }
        *plain = open.into_buffer();
        Ok(())
    }

    /// Small frames are put together anew, and those of which much is dead.
    fn moves_whole(&self, frame: &FrameEntry) -> bool {
        let needed = frame.chunks.iter().filter(|chunk| self.needed.contains(&chunk.id));
        let needed_bytes: u64 = needed.map(|chunk| u64::from(chunk.length)).sum();
        frame.plain_bytes >= self.whole_from_bytes
            && needed_bytes * 100 >= u64::from(frame.plain_bytes) * WHOLE_FROM_PERCENT
    }

    fn report(&self, object: impl Display, what: impl Display) {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(Problem::new(object, what));
    }
}
