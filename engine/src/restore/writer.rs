//! Brings the chunks of one window to their places: each frame is read once, by whichever thread is free, and written
//! wherever its chunks belong.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    slice::ChunkBy,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use repo_format::{Class, HashedChunk, PackOrdinal};

use super::{
    RestoreError,
    plan::{Group, Placed, Want, Window, in_one_frame, pack_of},
};
use crate::{
    index::Location,
    monitor::{Monitor, Step},
    pack_reader::{FrameBuffers, PackReader},
    problem::is_loss,
    repository::Reader,
    target::Target,
};

/// Written bytes after which they are pushed to the medium, beside the reading.
const WRITE_BACK_BYTES: u64 = 128 << 20;
const WRITE_BACK_LOOK: Duration = Duration::from_millis(20);

/// Where the chunks of one disk go.
pub(super) struct Destination<'j> {
    pub(super) name: &'j str,
    pub(super) target: &'j dyn Target,
    /// Compare before writing: an earlier run may have written it.
    pub(super) resumed: bool,
}

/// Bytes that did not come back, and the number of the reason.
pub(super) struct Lost {
    pub(super) disk: u32,
    pub(super) range: Range<u64>,
    pub(super) reason: usize,
}

/// The reasons of losses, each said once: what, and why.
#[derive(Default)]
pub(super) struct Reasons {
    numbers: HashMap<(String, String), usize>,
}

impl Reasons {
    pub(super) fn number(&mut self, object: String, what: String) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry((object, what)).or_insert(next)
    }

    pub(super) fn into_texts(self) -> BTreeMap<usize, (String, String)> {
        self.numbers.into_iter().map(|(text, number)| (number, text)).collect()
    }
}

/// Writes windows to their destinations.
pub(super) struct Writer<'j> {
    pub(super) reader: &'j Reader,
    pub(super) destinations: &'j [Destination<'j>],
    pub(super) threads: usize,
    pub(super) monitor: &'j dyn Monitor,
    pub(super) reasons: Reasons,
    pub(super) lost: Vec<Lost>,
    /// Bytes written and bytes found right, by disk.
    pub(super) counts: Vec<(AtomicU64, AtomicU64)>,
}

/// A want whose chunk could not be had from one place, and why.
type Failure = (Placed, usize);

impl Writer<'_> {
    /// Writes all of `window`, or adds to the losses; the window is empty afterwards.
    pub(super) fn write(&mut self, window: &mut Window) -> Result<(), RestoreError> {
        if window.is_empty() {
            return Ok(());
        }
        let (placed, missing) = window.locate(self.reader)?;
        for number in missing {
            if let Some(want) = window.want(number) {
                let reason = self
                    .reasons
                    .number("index".to_owned(), "chunks of the disk are in no pack that can be read".to_owned());
                self.lost.push(lost(want, reason));
            }
        }
        let mut failures = self.write_placed(window, &placed)?;
        drop(placed);
        let mut tried: HashMap<u32, Vec<Location>> = HashMap::new();
        while !failures.is_empty() {
            let mut again = Vec::new();
            for (placed, reason) in failures {
                let Some(want) = window.want(placed.want) else { continue };
                let before = tried.entry(placed.want).or_default();
                before.push(placed.location);
                match self.reader.locate_all(&want.id)?.into_iter().find(|location| !before.contains(location)) {
                    Some(location) => again.push(Placed { location, want: placed.want }),
                    None => self.lost.push(lost(want, reason)),
                }
            }
            again.sort_unstable();
            failures = self.write_placed(window, &again)?;
        }
        window.clear();
        self.join_losses();
        Ok(())
    }

    /// However much of a disk is lost, its neighbours become one.
    fn join_losses(&mut self) {
        self.lost.sort_unstable_by_key(|lost| (lost.disk, lost.reason, lost.range.start));
        self.lost.dedup_by(|next, before| {
            let touch = (next.disk, next.reason, next.range.start) == (before.disk, before.reason, before.range.end);
            if touch {
                before.range.end = next.range.end;
            }
            touch
        });
    }

    fn write_placed(&mut self, window: &Window, placed: &[Placed]) -> Result<Vec<Failure>, RestoreError> {
        let shared = Shared {
            reader: self.reader,
            window,
            destinations: self.destinations,
            counts: &self.counts,
            monitor: self.monitor,
            queue: Mutex::new(Queue { groups: placed.chunk_by(in_one_frame), pack: None }),
            reasons: Mutex::new(&mut self.reasons),
            failures: Mutex::new(Vec::new()),
            error: Mutex::new(None),
            stop: AtomicBool::new(false),
            unwritten: AtomicU64::new(0),
        };
        let frames = placed.chunk_by(in_one_frame).take(self.threads).count();
        thread::scope(|scope| {
            let (done, end) = mpsc::channel::<()>();
            let pusher = &shared;
            scope.spawn(move || pusher.push_to_medium(&end));
            for _ in 0..frames.max(1) {
                let (worker, done) = (&shared, done.clone());
                scope.spawn(move || {
                    let _until_dropped = done;
                    worker.run();
                });
            }
            drop(done);
        });
        if let Some(error) = into_inner(shared.error) {
            return Err(error);
        }
        Ok(into_inner(shared.failures))
    }
}

fn lost(want: &Want, reason: usize) -> Lost {
    Lost { disk: want.disk, range: want.offset..want.offset + u64::from(want.length), reason }
}

/// The frames still to be read, and the pack that the next ones most likely lie in.
struct Queue<'w> {
    groups: ChunkBy<'w, Placed, fn(&Placed, &Placed) -> bool>,
    pack: Option<(PackOrdinal, Result<PackReader, usize>)>,
}

/// A frame's work, and its pack or the reason why that cannot be read.
type Work<'w> = (Group<'w>, Result<PackReader, usize>);

struct Shared<'w, 'j> {
    reader: &'j Reader,
    window: &'w Window,
    destinations: &'j [Destination<'j>],
    counts: &'w [(AtomicU64, AtomicU64)],
    monitor: &'j dyn Monitor,
    queue: Mutex<Queue<'w>>,
    reasons: Mutex<&'w mut Reasons>,
    failures: Mutex<Vec<Failure>>,
    error: Mutex<Option<RestoreError>>,
    stop: AtomicBool,
    unwritten: AtomicU64,
}

impl<'w> Shared<'w, '_> {
    fn run(&self) {
        if let Err(error) = self.work() {
            lock(&self.error).get_or_insert(error);
            self.stop.store(true, Ordering::Release);
        }
    }

    fn work(&self) -> Result<(), RestoreError> {
        let mut buffers = FrameBuffers::new().map_err(crate::read_error::ReadError::from)?;
        let mut compared = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            if self.monitor.interrupted() {
                return Err(RestoreError::Interrupted);
            }
            let Some((group, pack)) = self.next()? else { break };
            match pack {
                Ok(pack) => self.write_group(&pack, group, &mut buffers, &mut compared)?,
                Err(reason) => self.fail(group, reason),
            }
        }
        Ok(())
    }

    /// The next frame's work. A pack is opened once, by the thread that comes to it first.
    fn next(&self) -> Result<Option<Work<'w>>, RestoreError> {
        let mut queue = lock(&self.queue);
        let Some(group) = queue.groups.next() else { return Ok(None) };
        let Some(ordinal) = pack_of(group) else { return Ok(None) };
        if let Some((open, pack)) = &queue.pack
            && *open == ordinal
        {
            return Ok(Some((group, pack.clone())));
        }
        let pack = match self.reader.pack(ordinal) {
            Ok(pack) => Ok(pack),
            Err(error) if is_loss(error.kind()) => Err(self.reason(ordinal, &error)),
            Err(error) => return Err(error.into()),
        };
        queue.pack = Some((ordinal, pack.clone()));
        Ok(Some((group, pack)))
    }

    fn write_group(
        &self,
        pack: &PackReader,
        group: Group<'w>,
        buffers: &mut FrameBuffers,
        compared: &mut Vec<u8>,
    ) -> Result<(), RestoreError> {
        let ordinal = pack.ordinal();
        let group = self.without_what_is_there(group, compared)?;
        let Some(Placed { location: Location { frame, .. }, .. }) = group.first().copied() else { return Ok(()) };
        let open = match pack.read_frame(frame, buffers) {
            Ok(open) => open,
            Err(error) if is_loss(error.kind()) => {
                self.fail(&group, self.reason(ordinal, &error));
                return Ok(());
            }
            Err(error) => return Err(RestoreError::Read { source: error.into() }),
        };
        let mut writes: Vec<(&Want, HashedChunk<'_>)> = Vec::with_capacity(group.len());
        for same in group.chunk_by(|a, b| a.location == b.location) {
            let Some(first) = same.first() else { continue };
            let index = usize::try_from(first.location.position).unwrap_or(usize::MAX);
            let chunk = match open.chunk(index, self.reader.keys()) {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.fail(same, self.reason(ordinal, &format_args!("frame {frame}: {error}")));
                    continue;
                }
            };
            for placed in same {
                let Some(want) = self.window.want(placed.want) else { continue };
                // The index is a cache and may be stale; the map and the chunk must agree.
                if chunk.id() == want.id && usize::try_from(want.length) == Ok(chunk.len()) {
                    writes.push((want, chunk));
                } else {
                    let what =
                        format_args!("frame {frame}: chunk {index} is not the one that the index and the map name");
                    self.fail(&[*placed], self.reason(ordinal, &what));
                }
            }
        }
        writes.sort_unstable_by_key(|(want, _)| (want.disk, want.offset));
        self.write_runs(&writes)?;
        buffers.recycle(open);
        Ok(())
    }

    /// Neighbours on a disk go out in one write.
    fn write_runs(&self, writes: &[(&Want, HashedChunk<'_>)]) -> Result<(), RestoreError> {
        let mut chunks: Vec<HashedChunk<'_>> = Vec::with_capacity(writes.len());
        let touch = |a: &(&Want, HashedChunk<'_>), b: &(&Want, HashedChunk<'_>)| {
            a.0.disk == b.0.disk && a.0.offset + u64::from(a.0.length) == b.0.offset
        };
        let mut sum = 0;
        for run in writes.chunk_by(touch) {
            let Some((want, _)) = run.first() else { continue };
            let Some((destination, written, _)) = self.destination(want.disk) else { continue };
            chunks.clear();
            chunks.extend(run.iter().map(|(_, chunk)| *chunk));
            let wrong = |source| RestoreError::Target { disk: destination.name.to_owned(), source };
            destination.target.write_at(want.offset, &chunks).map_err(wrong)?;
            let bytes = run.iter().map(|(want, _)| u64::from(want.length)).sum();
            written.fetch_add(bytes, Ordering::Relaxed);
            sum += bytes;
        }
        self.unwritten.fetch_add(sum, Ordering::Relaxed);
        self.monitor.advance(Step { done_bytes: sum, new_bytes: sum });
        Ok(())
    }

    /// Leaves out what an earlier run of this restore has written already: found by the same hash that names it.
    fn without_what_is_there(&self, group: Group<'w>, compared: &mut Vec<u8>) -> Result<Vec<Placed>, RestoreError> {
        let mut left = Vec::with_capacity(group.len());
        for placed in group {
            let Some(want) = self.window.want(placed.want) else { continue };
            let Some((destination, _, right)) = self.destination(want.disk) else { continue };
            if destination.resumed {
                compared.resize(usize::try_from(want.length).unwrap_or_default(), 0);
                let wrong = |source| RestoreError::Target { disk: destination.name.to_owned(), source };
                destination.target.read_at(want.offset, compared).map_err(wrong)?;
                if HashedChunk::expect(Class::Data, want.id, compared, self.reader.keys()).is_ok() {
                    right.fetch_add(u64::from(want.length), Ordering::Relaxed);
                    self.monitor.advance(Step { done_bytes: u64::from(want.length), new_bytes: 0 });
                    continue;
                }
            }
            left.push(*placed);
        }
        Ok(left)
    }

    fn destination(&self, disk: u32) -> Option<(&Destination<'_>, &AtomicU64, &AtomicU64)> {
        let disk = usize::try_from(disk).ok()?;
        let (written, right) = self.counts.get(disk)?;
        Some((self.destinations.get(disk)?, written, right))
    }

    fn reason(&self, pack: PackOrdinal, error: &dyn std::fmt::Display) -> usize {
        let name = self.reader.state().pack(pack).map(|pack| pack.name.to_string());
        let object = format!("pack {}", name.unwrap_or_else(|| format!("number {}", pack.0)));
        lock(&self.reasons).number(object, error.to_string())
    }

    fn fail(&self, group: &[Placed], reason: usize) {
        lock(&self.failures).extend(group.iter().map(|placed| (*placed, reason)));
    }

    /// Pushes what was written to the medium while frames are still being read, so that the last sync finds little.
    fn push_to_medium(&self, end: &mpsc::Receiver<()>) {
        while end.recv_timeout(WRITE_BACK_LOOK) == Err(RecvTimeoutError::Timeout) {
            if self.unwritten.load(Ordering::Relaxed) < WRITE_BACK_BYTES {
                continue;
            }
            self.unwritten.store(0, Ordering::Relaxed);
            for destination in self.destinations {
                if let Err(source) = destination.target.write_back() {
                    let error = RestoreError::Target { disk: destination.name.to_owned(), source };
                    lock(&self.error).get_or_insert(error);
                    self.stop.store(true, Ordering::Release);
                    return;
                }
            }
        }
    }
}

/// A thread that panicked ends the run anyway: the scope passes its panic on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
