//! Where sealed frames become packs, and packs become durable: one thread that fills packs, two that store them, so that
//! the fsync of one pack overlaps the filling of the next.
//!
//! ```text
//! workers ─SealedFrame─► [bounded] ─► filler ─FullPack─► [bounded] ─► store.put_pack ×2 ─► StoredPack
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use repo_format::{
    CheckedFrame, Class, Config, Directory, FormatError, FullPack, Keyring, NewPack, PackBuilder, PackClose, PackHead,
    PackLayout, PackName, Salt, SealedFrame, SessionId, prepare_parity,
};

use crate::{
    dedup::Dedup,
    entropy::{Entropy, random},
    error::Kind,
    index::RunError,
    store::{Store, StoreError},
};

/// Sealed frames waiting for the filler: at most 4 MiB each, most often 0.4 MiB.
const FRAMES_WAITING: usize = 8;
const UPLOADERS: usize = 2;
/// Full packs waiting for an uploader: a sync that takes long does not stop the workers at once. 32 MiB each.
const PACKS_WAITING: usize = 2;
/// Frames that may wait for the next pack while smaller ones fill this one.
const FRAMES_PASSED_OVER: usize = 6;

/// Why packs could not be made or stored.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store refused a pack.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A pack could not be built.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The session's own index could not be written.
    #[error("index of this session: {0}")]
    Index(String),
    /// Another part of the sink has failed; its error is the one to report.
    #[error("the pack writer has stopped")]
    Stopped,
}

impl From<RunError> for SinkError {
    fn from(error: RunError) -> Self {
        Self::Index(error.to_string())
    }
}

impl SinkError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Format(_) => Kind::Bug,
            Self::Index(_) => Kind::Unavailable,
            Self::Stopped => Kind::Failed,
        }
    }
}

/// A pack that is durable under its name.
#[derive(Clone, Debug)]
pub(crate) struct StoredPack {
    pub(crate) name: PackName,
    pub(crate) class: Class,
    pub(crate) bytes: u64,
}

impl StoredPack {
    pub(crate) fn register(&self) -> NewPack {
        NewPack { name: self.name, class: self.class, bytes: self.bytes }
    }
}

/// What all threads of the sink share.
struct Shared {
    store: Arc<dyn Store>,
    keys: Arc<Keyring>,
    entropy: Arc<dyn Entropy>,
    dedup: Arc<Dedup>,
    config: Config,
    session: SessionId,
    /// Own packs in the order in which they became durable: their place is their number in this session.
    stored: Mutex<Vec<StoredPack>>,
    /// Buffers of packs that are stored: used again, their pages are there already.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Takes sealed frames from any thread.
#[derive(Clone)]
pub(crate) struct FrameSender(Sender<SealedFrame>);

impl FrameSender {
    /// Takes only what was opened again and compared.
    pub(crate) fn send(&self, frame: CheckedFrame) -> Result<(), SinkError> {
        self.0.send(frame.into_sealed()).map_err(|_| SinkError::Stopped)
    }
}

/// The running sink of a session.
pub(crate) struct PackSink {
    frames: Option<FrameSender>,
    threads: Vec<JoinHandle<Result<(), SinkError>>>,
    shared: Arc<Shared>,
}

impl PackSink {
    /// Starts the threads. `adopted` are packs of an earlier run that this session has taken over.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        keys: Arc<Keyring>,
        entropy: Arc<dyn Entropy>,
        dedup: Arc<Dedup>,
        config: Config,
        session: SessionId,
        adopted: Vec<StoredPack>,
    ) -> Self {
        let shared = Arc::new(Shared {
            store,
            keys,
            entropy,
            dedup,
            config,
            session,
            stored: Mutex::new(adopted),
            spare: Mutex::default(),
        });
        let mut sink = Self { frames: None, threads: Vec::new(), shared };
        sink.resume();
        sink
    }

    /// A handle for a worker.
    pub(crate) fn frames(&mut self) -> FrameSender {
        match &self.frames {
            Some(frames) => frames.clone(),
            None => self.resume(),
        }
    }

    /// Closes the open packs and waits until all are durable. All [`FrameSender`]s must be gone.
    pub(crate) fn flush(&mut self) -> Result<Vec<StoredPack>, SinkError> {
        self.frames = None;
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let end = thread.join().unwrap_or(Err(SinkError::Stopped));
            // The first real cause wins over "stopped", which only follows from it.
            if matches!(result, Ok(()) | Err(SinkError::Stopped)) && end.is_err() {
                result = end;
            }
        }
        result.map(|()| self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn resume(&mut self) -> FrameSender {
        let (frames, frames_in) = bounded(FRAMES_WAITING);
        let (packs, packs_in) = bounded(PACKS_WAITING);
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || fill_packs(&shared, &frames_in, &packs)));
        for _ in 0..UPLOADERS {
            let (shared, packs_in) = (Arc::clone(&self.shared), packs_in.clone());
            self.threads.push(std::thread::spawn(move || store_packs(&shared, &packs_in)));
        }
        self.frames.insert(FrameSender(frames)).clone()
    }
}

fn fill_packs(shared: &Shared, frames: &Receiver<SealedFrame>, packs: &Sender<FullPack>) -> Result<(), SinkError> {
    let (mut data, mut metadata) = (OpenPack::new(shared, Class::Data), OpenPack::new(shared, Class::Metadata));
    for frame in frames {
        match frame.class() {
            Class::Data => data.push(shared, frame, packs)?,
            Class::Metadata => metadata.push(shared, frame, packs)?,
        }
    }
    data.close(shared, packs)?;
    metadata.close(shared, packs)
}

/// A pack being filled, and frames that are waiting for the next one.
struct OpenPack {
    builder: PackBuilder,
    /// Frames too large for what is left of the pack: smaller ones may still fill it. Without this half a frame of every
    /// pack would be padding.
    waiting: Vec<SealedFrame>,
}

impl OpenPack {
    fn new(shared: &Shared, class: Class) -> Self {
        Self { builder: shared.builder(class), waiting: Vec::new() }
    }

    fn push(&mut self, shared: &Shared, frame: SealedFrame, packs: &Sender<FullPack>) -> Result<(), SinkError> {
        if self.builder.fits(&frame) {
            return Ok(self.builder.push(frame)?);
        }
        self.waiting.push(frame);
        if self.waiting.len() < FRAMES_PASSED_OVER {
            return Ok(());
        }
        self.next_pack(shared, packs)
    }

    /// Hands on the full pack and begins the next with the frames that wait.
    fn next_pack(&mut self, shared: &Shared, packs: &Sender<FullPack>) -> Result<(), SinkError> {
        let class = self.builder.class();
        let full = std::mem::replace(&mut self.builder, shared.builder(class));
        packs.send(shared.finish(full, PackClose::Full)?).map_err(|_| SinkError::Stopped)?;
        for frame in std::mem::take(&mut self.waiting) {
            self.push(shared, frame, packs)?;
        }
        Ok(())
    }

    fn close(mut self, shared: &Shared, packs: &Sender<FullPack>) -> Result<(), SinkError> {
        while !self.waiting.is_empty() {
            self.next_pack(shared, packs)?;
        }
        if self.builder.is_empty() {
            return Ok(());
        }
        packs.send(shared.finish(self.builder, PackClose::Early)?).map_err(|_| SinkError::Stopped)
    }
}

fn store_packs(shared: &Shared, packs: &Receiver<FullPack>) -> Result<(), SinkError> {
    if shared.config.parity_rate > 0 {
        // 20 ms that the first pack need not wait for: this thread has nothing to do yet.
        prepare_parity();
    }
    for pack in packs {
        shared.store.put_pack(&pack)?;
        shared.stored(&pack)?;
        let mut spare = shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < UPLOADERS && pack.head().class == Class::Data {
            spare.push(pack.into_bytes());
        }
    }
    Ok(())
}

impl Shared {
    fn builder(&self, class: Class) -> PackBuilder {
        let salt = Salt::from_bytes(random(self.entropy.as_ref()));
        let head = PackHead { class, epoch: self.keys.epoch(), session: self.session, salt };
        let spare = match class {
            Class::Data => self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop(),
            Class::Metadata => None,
        };
        PackBuilder::with_buffer(head, PackLayout::of(&self.config, class), spare.unwrap_or_default())
    }

    fn finish(&self, open: PackBuilder, close: PackClose) -> Result<FullPack, FormatError> {
        let entropy = self.entropy.as_ref();
        open.finish(&self.keys, close, random(entropy), &mut |padding| entropy.fill(padding))
    }

    fn stored(&self, pack: &FullPack) -> Result<(), SinkError> {
        let (class, directory): (_, &Directory) = (pack.head().class, pack.directory());
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(stored.len()).map_err(|_| SinkError::Index("too many packs".to_owned()))?;
        stored.push(StoredPack { name: pack.name(), class, bytes: pack.bytes().len() as u64 });
        self.dedup.finished_pack(number, directory)?;
        Ok(())
    }
}
