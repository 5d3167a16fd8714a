//! Opened frames, shared by all clients, in a bounded number of bytes. A frame that several want is opened once.
//!
//! **Invariant:** bytes leave a frame only as a chunk that was hashed and bears its name; that is done once for as long as the
//! frame is kept.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use repo_format::{ChunkId, Keyring, OpenFrame, PackOrdinal};

use crate::{
    error::Kind, index::Location, pack_reader::FrameBuffers, problem::is_loss, read_error::ReadError,
    repository::Reader,
};

/// Each shard has its own lock and its own part of the bytes. Neighbouring frames lie in different shards.
const SHARDS: usize = 8;

type Key = (PackOrdinal, u32);

/// Why a chunk cannot be had from one place.
#[derive(Clone, Debug)]
pub(crate) struct FrameFault {
    pub(crate) what: String,
    pub(crate) kind: Kind,
}

/// An opened frame.
pub(crate) struct CachedFrame {
    frame: OpenFrame,
    hashed: Vec<AtomicBool>,
}

impl AsRef<[u8]> for CachedFrame {
    fn as_ref(&self) -> &[u8] {
        self.frame.bytes()
    }
}

impl CachedFrame {
    /// Where chunk `id` lies in the frame's bytes, if it is what is at `position`.
    pub(crate) fn chunk(&self, position: u32, id: &ChunkId, keys: &Keyring) -> Result<Range<usize>, FrameFault> {
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        let wrong = |what: String| FrameFault { what, kind: Kind::Damaged };
        let (Some(hashed), Some((found, range))) = (self.hashed.get(index), self.frame.place_of(index)) else {
            return Err(wrong(format!("the frame has no chunk {position}")));
        };
        if found != *id {
            return Err(wrong(format!("the index names chunk {position}, and that is another")));
        }
        if !hashed.load(Ordering::Acquire) {
            self.frame.chunk(index, keys).map_err(|error| wrong(error.to_string()))?;
            hashed.store(true, Ordering::Release);
        }
        Ok(range)
    }
}

/// The frames that are kept.
pub(crate) struct FrameCache<'r> {
    reader: &'r Reader,
    shards: [Shard; SHARDS],
    shard_bytes: usize,
    buffers: Mutex<Vec<FrameBuffers>>,
}

#[derive(Default)]
struct Shard {
    kept: Mutex<Kept>,
    arrived: Condvar,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    bytes: usize,
    clock: u64,
}

enum Slot {
    /// Somebody opens it.
    Coming,
    Here {
        frame: Arc<CachedFrame>,
        used: u64,
    },
}

impl<'r> FrameCache<'r> {
    /// A cache of at most `bytes`; what clients are being sent may be held beyond that for a moment.
    pub(crate) fn new(reader: &'r Reader, bytes: u64) -> Self {
        let shard_bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / SHARDS;
        Self { reader, shards: Default::default(), shard_bytes, buffers: Mutex::default() }
    }

    pub(crate) fn reader(&self) -> &'r Reader {
        self.reader
    }

    /// Bytes of frames that are kept.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| lock(&shard.kept).bytes as u64).sum()
    }

    /// The frame at `location`.
    pub(crate) fn frame(&self, location: Location) -> Result<Arc<CachedFrame>, FrameFault> {
        let key = (location.pack, location.frame);
        let number = usize::try_from(location.pack.0.wrapping_add(location.frame)).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(number) else { return self.open(location) };
        let mut kept = lock(&shard.kept);
        loop {
            kept.clock += 1;
            let now = kept.clock;
            match kept.slots.get_mut(&key) {
                Some(Slot::Here { frame, used }) => {
                    *used = now;
                    return Ok(Arc::clone(frame));
                }
                Some(Slot::Coming) => kept = shard.arrived.wait(kept).unwrap_or_else(PoisonError::into_inner),
                None => break,
            }
        }
        kept.slots.insert(key, Slot::Coming);
        drop(kept);
        let opened = self.open(location);
        let mut kept = lock(&shard.kept);
        kept.slots.remove(&key);
        if let Ok(frame) = &opened {
            let used = kept.clock;
            kept.bytes += frame.as_ref().as_ref().len();
            kept.slots.insert(key, Slot::Here { frame: Arc::clone(frame), used });
            kept.shrink_to(self.shard_bytes);
        }
        drop(kept);
        // Those who waited for a frame that could not be opened try for themselves.
        shard.arrived.notify_all();
        opened
    }

    /// The chunk `id`, from the place that the index names first, else from any other that has it.
    pub(crate) fn chunk(
        &self,
        id: &ChunkId,
        first: Option<Location>,
    ) -> Result<(Arc<CachedFrame>, Range<usize>), FrameFault> {
        let at = |location: Location| {
            let frame = self.frame(location)?;
            let range = frame.chunk(location.position, id, self.reader.keys())?;
            Ok((frame, range))
        };
        let mut fault = match first.map(at) {
            Some(Ok(found)) => return Ok(found),
            Some(Err(fault)) => fault,
            None => FrameFault { what: "it is in no pack that can be read".to_owned(), kind: Kind::Damaged },
        };
        for location in self.reader.locate_all(id).unwrap_or_default() {
            if Some(location) != first {
                match at(location) {
                    Ok(found) => return Ok(found),
                    Err(other) => fault = other,
                }
            }
        }
        Err(fault)
    }

    fn open(&self, location: Location) -> Result<Arc<CachedFrame>, FrameFault> {
        let fault = |error: ReadError| {
            let kind = if is_loss(error.kind()) { Kind::Damaged } else { error.kind() };
            FrameFault { what: error.to_string(), kind }
        };
        let pack = self.reader.pack(location.pack).map_err(fault)?;
        let free = lock(&self.buffers).pop();
        let mut buffers = match free {
            Some(buffers) => buffers,
            None => FrameBuffers::new().map_err(|error| fault(error.into()))?,
        };
        let opened = pack.read_frame(location.frame, &mut buffers);
        lock(&self.buffers).push(buffers);
        let frame = opened.map_err(|error| fault(error.into()))?;
        let hashed = std::iter::repeat_with(|| AtomicBool::new(false)).take(frame.len()).collect();
        Ok(Arc::new(CachedFrame { frame, hashed }))
    }
}

impl Kept {
    /// Lets go of what was not used for longest; the frame that just came stays, however large.
    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.slots.len() > 1 {
            let used_of = |(key, slot): (&Key, &Slot)| match slot {
                Slot::Here { used, .. } => Some((*used, *key)),
                Slot::Coming => None,
            };
            let Some((_, oldest)) = self.slots.iter().filter_map(used_of).min() else { return };
            if let Some(Slot::Here { frame, .. }) = self.slots.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(frame.as_ref().as_ref().len());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
