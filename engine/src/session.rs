//! One run of a writer: Open in the log, packs, and the commit that makes a restore point of them.
//!
//! **Invariant:** [`Session::commit`] demands a [`Durable`], which only [`Session::flush`] makes: no entry can name a pack
//! that is not on stable storage.

use std::{collections::BTreeSet, sync::Arc};

use repo_format::{
    Chunker, ChunkerKind, Chunking, Class, Completeness, Compression, Digest, Hold, MetadataChunk, MetadataKind,
    NewPack, PackHead, PackName, PackOrdinal, Record, SessionId, Stream, VmIdentity,
};

use crate::{
    dedup::{Dedup, OpenPack},
    entropy::random,
    error::Kind,
    frame_writer::{FrameWriter, WriteError},
    heartbeat::Heartbeat,
    log::{
        CommitDraft, LogError, LogHead, PackStatus, Refusal, decide_close, decide_commit, decide_moved, decide_open,
        decide_pin,
    },
    pack_reader::{FrameBuffers, PackError, PackReader},
    pack_sink::{PackSink, SinkError, StoredPack},
    read_error::ReadError,
    repository::{Reader, Writer},
    state_folder::{SessionLock, StateFolderError},
    store::{Listed, Name, NameKind, Prefix, ReadOnlyStore, StoreError},
};

/// A prune may give up packs while a session ends, again and again; so often a session stores again what it has lost.
const COMMIT_TRIES: u32 = 10;

/// Why a session could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The log refused or could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateFolderError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Index or metadata cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Packs could not be stored.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Chunks could not be stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl SessionError {
    /// Somebody else has ended this session, or what it relies on is gone: the source has to be read again.
    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self, Self::Log(LogError::Refused(Refusal::Superseded(_))))
    }

    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Log(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Sink(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }
}

/// Proof that everything stored so far is durable.
pub(crate) struct Durable {
    packs: Vec<StoredPack>,
}

impl Durable {
    /// Bytes of the packs that a commit would register.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.bytes).sum()
    }
}

/// What a commit says about its restore point.
pub(crate) struct PointDraft {
    pub(crate) identity: VmIdentity,
    pub(crate) vm_name: String,
    pub(crate) point: repo_format::ChunkId,
    pub(crate) completeness: Completeness,
    pub(crate) hold: Option<String>,
}

/// What a commit has done.
pub(crate) struct Committed {
    pub(crate) number: u64,
    pub(crate) head: LogHead,
}

/// A running session.
pub(crate) struct Session<'w> {
    writer: &'w mut Writer,
    id: SessionId,
    lock: Option<SessionLock>,
    dedup: Arc<Dedup>,
    sink: PackSink,
    adopted_packs: u64,
    /// Beats until the session value goes, however it ends.
    _heartbeat: Option<Heartbeat>,
}

impl<'w> Session<'w> {
    /// Opens a session; one that died on this host is adopted with all its finished packs.
    pub(crate) fn open(writer: &'w mut Writer) -> Result<Self, SessionError> {
        let environment = writer.environment.clone();
        writer.0.log.refresh()?;
        let (dead, dead_locks) = dead_sessions(writer)?;
        let (id, lock) = open_in_log(writer, &dead)?;
        dead_locks.into_iter().for_each(SessionLock::discard);
        // Leftovers do no harm: a failure to sweep them is no reason not to back up.
        let _ = environment.store.sweep_unfinished();
        writer.0.reload_index();
        let dedup = new_dedup(writer, &BTreeSet::new())?;
        let adopted = if dead.is_empty() { Vec::new() } else { adopt_packs(writer, &id, &dedup)? };
        Ok(Self::start(writer, id, Some(lock), dedup, adopted))
    }

    /// Opens a session that moves chunks out of `from`: what lies there counts as not stored. It adopts nobody: the packs
    /// of a run that died are worth most to the next backup.
    pub(crate) fn open_to_move(writer: &'w mut Writer, from: &BTreeSet<PackOrdinal>) -> Result<Self, SessionError> {
        let (id, lock) = open_in_log(writer, &[])?;
        let dedup = new_dedup(writer, from)?;
        Ok(Self::start(writer, id, Some(lock), dedup, Vec::new()))
    }

    /// A session for a dry run: all stages work, but nothing is logged and the store below takes no writes.
    pub(crate) fn rehearse(writer: &'w mut Writer) -> Result<Self, SessionError> {
        Self::rehearse_to_move(writer, &BTreeSet::new())
    }

    /// The same for a session that would move chunks out of `from`.
    pub(crate) fn rehearse_to_move(writer: &'w mut Writer, from: &BTreeSet<PackOrdinal>) -> Result<Self, SessionError> {
        writer.0.environment.store = Arc::new(ReadOnlyStore::new(Arc::clone(&writer.environment.store)));
        let id = SessionId::from_bytes(random(writer.environment.entropy.as_ref()));
        let dedup = new_dedup(writer, from)?;
        Ok(Self::start(writer, id, None, dedup, Vec::new()))
    }

    fn start(
        writer: &'w mut Writer,
        id: SessionId,
        lock: Option<SessionLock>,
        dedup: Arc<Dedup>,
        adopted: Vec<StoredPack>,
    ) -> Self {
        let adopted_packs = adopted.len() as u64;
        let sink = PackSink::start(
            Arc::clone(&writer.environment.store),
            Arc::clone(&writer.keys),
            Arc::clone(&writer.environment.entropy),
            Arc::clone(&dedup),
            writer.config.clone(),
            id,
            adopted,
        );
        let environment = writer.environment.clone();
        let heartbeat = lock.is_some().then(|| Heartbeat::start(environment.store, id, environment.entropy));
        Self { writer, id, lock, dedup, sink, adopted_packs, _heartbeat: heartbeat }
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.writer
    }

    /// Finished packs taken over from a run that did not end.
    pub(crate) fn adopted_packs(&self) -> u64 {
        self.adopted_packs
    }

    /// Pins `point` in the log: its maps can be relied on until this session ends. A dry run relies on luck.
    pub(crate) fn pin(&mut self, point: repo_format::ChunkId) -> Result<(), SessionError> {
        if self.lock.is_none() {
            return Ok(());
        }
        let id = self.id;
        self.writer.append(&mut |state| decide_pin(state, id, point))?;
        Ok(())
    }

    /// A writer of frames of `class`; one per thread and disk.
    pub(crate) fn frame_writer(&mut self, class: Class, compression: Compression) -> Result<FrameWriter, WriteError> {
        FrameWriter::new(
            Arc::clone(&self.writer.keys),
            Arc::clone(&self.dedup),
            Arc::clone(&self.writer.environment.entropy),
            self.sink.frames(),
            class,
            self.writer.config.frame_bytes_max,
            compression,
        )
    }

    /// Stores `content` as a stream of metadata chunks.
    pub(crate) fn store_stream(&self, content: &[u8], metadata: &mut FrameWriter) -> Result<Stream, WriteError> {
        let chunking = Chunking { chunker: ChunkerKind::FastCdc, ..self.writer.config.chunking };
        let chunker = Chunker::new(&chunking, &self.writer.keys);
        let mut stream = Stream { length: content.len() as u64, digest: Digest::of(content), pieces: Vec::new() };
        let mut rest = content;
        while let Some(cut) = (!rest.is_empty()).then(|| chunker.cut(rest, 0, repo_format::RunEnd::Here)).flatten() {
            let (piece, after) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
            let (id, _) = metadata.store_metadata(&MetadataChunk::new(MetadataKind::StreamPiece, piece))?;
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            stream.pieces.push(repo_format::ChunkRef { id, length });
            rest = after;
        }
        Ok(stream)
    }

    /// Closes the open packs and waits until all are on stable storage. Frame writers must be flushed and gone.
    pub(crate) fn flush(&mut self) -> Result<Durable, SinkError> {
        Ok(Durable { packs: self.sink.flush()? })
    }

    /// Makes the restore point: the commit point of SPEC.md section 18. Then closes the session.
    ///
    /// A prune may have given up packs that this session relies on: what was found in them is stored again, from them, as
    /// long as they are there. Once they are not, the source has to be read again ([`SessionError::is_superseded`]).
    /// `compression` is what such frames are compressed with.
    pub(crate) fn commit(
        mut self,
        draft: PointDraft,
        mut durable: Durable,
        compression: Compression,
    ) -> Result<Committed, SessionError> {
        let hold = |reason: &String| Hold { point: draft.point, reason: reason.clone(), until_ms: None };
        let held = draft.hold.as_ref().map(hold);
        let mut tries = 1;
        let appended = loop {
            let commit = CommitDraft {
                session: self.id,
                identity: draft.identity.clone(),
                vm_name: draft.vm_name.clone(),
                point: draft.point,
                completeness: draft.completeness,
                new: durable.packs.iter().map(StoredPack::register).collect(),
                uses: self.dedup.uses(),
            };
            let appended = self.writer.append(&mut |state| {
                let mut records = decide_commit(state, &commit)?;
                records.extend(held.clone().map(Record::Hold));
                records.extend(decide_close(state, self.id)?);
                Ok(records)
            });
            match appended {
                Err(LogError::Refused(Refusal::Superseded(why))) if tries < COMMIT_TRIES => {
                    if !self.store_again_what_is_going(compression)? {
                        return Err(LogError::Refused(Refusal::Superseded(why)).into());
                    }
                    durable = self.flush()?;
                    tries += 1;
                }
                other => break other?,
            }
        };
        let number = self.writer.state().point(&draft.point).map_or(0, |point| point.number);
        // What follows is comfort: the point exists, and a client that loses this finds it all again in the packs.
        self.writer.remember_head();
        self.lock.into_iter().for_each(SessionLock::discard);
        let _ = add_to_index(self.writer, &self.dedup, &durable.packs);
        self.writer.0.reload_index();
        Ok(Committed { number, head: appended.head })
    }

    /// Stores again what was found in packs that do not count any more. False: there are none, or they cannot be read.
    fn store_again_what_is_going(&mut self, compression: Compression) -> Result<bool, SessionError> {
        let going: Vec<PackOrdinal> =
            self.dedup.uses().into_iter().filter(|pack| !self.writer.state().usable(*pack)).collect();
        if going.is_empty() {
            return Ok(false);
        }
        let used = self.dedup.leave(&going);
        let mut buffers = FrameBuffers::new().map_err(ReadError::from)?;
        let keys = Arc::clone(&self.writer.keys);
        let mut data = self.frame_writer(Class::Data, compression)?;
        let mut metadata = self.frame_writer(Class::Metadata, compression)?;
        for (ordinal, frames) in &used {
            let Ok(pack) = self.writer.pack(*ordinal) else { return Ok(false) };
            let writer = match pack.class() {
                Class::Data => &mut data,
                Class::Metadata => &mut metadata,
            };
            for frame in frames {
                let Ok(open) = pack.read_frame(*frame, &mut buffers) else { return Ok(false) };
                for position in 0..open.len() {
                    let Ok(chunk) = open.chunk(position, &keys) else { return Ok(false) };
                    writer.store(chunk)?;
                }
            }
        }
        data.flush()?;
        metadata.flush()?;
        Ok(true)
    }

    /// Registers the packs as copies of what lies in `from`, and closes the session.
    pub(crate) fn commit_moved(self, from: &[PackOrdinal], durable: Durable) -> Result<LogHead, SessionError> {
        let new: Vec<NewPack> = durable.packs.iter().map(StoredPack::register).collect();
        let appended = self.writer.append(&mut |state| {
            let mut records = decide_moved(state, self.id, &new, from)?;
            records.extend(decide_close(state, self.id)?);
            Ok(records)
        })?;
        self.writer.remember_head();
        self.lock.into_iter().for_each(SessionLock::discard);
        add_to_index(self.writer, &self.dedup, &durable.packs)?;
        self.writer.0.reload_index();
        Ok(appended.head)
    }

    /// Ends without registering anything: what is finished is an orphan that the next prune removes.
    pub(crate) fn close_unused(mut self) -> Result<(), SessionError> {
        // The first failure is reported by whoever closes; here only the end of the threads matters.
        let _ = self.sink.flush();
        let environment = self.writer.environment.clone();
        let id = self.id;
        self.writer
            .0
            .log
            .append(environment.clock.as_ref(), environment.entropy.as_ref(), &mut |state| decide_close(state, id))?;
        self.lock.into_iter().for_each(SessionLock::discard);
        Ok(())
    }

    /// Ends without a commit: what is finished stays and the session stays open, so the next run on this host adopts it.
    pub(crate) fn abandon(mut self) -> Result<u64, SinkError> {
        self.sink.flush().map(|packs| packs.len() as u64)
    }
}

/// Begins a session: its lock first, so that nobody takes it for dead.
pub(crate) fn open_in_log(writer: &mut Writer, adopts: &[SessionId]) -> Result<(SessionId, SessionLock), SessionError> {
    let environment = writer.environment.clone();
    let id = SessionId::from_bytes(random(environment.entropy.as_ref()));
    let lock = environment.state.new_session_lock(&writer.config.repository, &id)?;
    let slot = writer.slot;
    writer.append(&mut |state| decide_open(state, id, &environment.host, slot, &environment.program, adopts))?;
    Ok((id, lock))
}

/// What is known at the replayed head; what lies in `avoided` packs counts as not stored.
fn new_dedup(writer: &Writer, avoided: &BTreeSet<PackOrdinal>) -> Result<Arc<Dedup>, SessionError> {
    Ok(Arc::new(Dedup::new(
        Arc::clone(&writer.keys),
        writer.index()?.clone(),
        writer
            .state()
            .packs()
            .map(|(ordinal, pack)| (ordinal, pack.status == PackStatus::Registered && !avoided.contains(&ordinal))),
        pack_opener(writer),
        writer.catalog()?.runs_folder(),
        random_names(&writer.environment.entropy),
    )))
}

/// Adds what the session has registered to the local index.
fn add_to_index(writer: &mut Writer, dedup: &Dedup, packs: &[StoredPack]) -> Result<(), ReadError> {
    if dedup.index_is_wrong() {
        return writer.0.forget_index();
    }
    let Some(PackOrdinal(base)) = packs.first().and_then(|first| writer.state().ordinal_of(&first.name)) else {
        return Ok(());
    };
    let (entries, spilled) = dedup.take_own();
    let count = u32::try_from(packs.len()).unwrap_or(u32::MAX);
    let sync = writer.index_sync()?;
    sync.add_session(entries, spilled, base..base.saturating_add(count))?;
    sync.merge_grown().map(drop)
}

/// Open sessions of this host whose process is gone, and their locks, held until the adoption is in the log.
fn dead_sessions(writer: &Writer) -> Result<(Vec<SessionId>, Vec<SessionLock>), SessionError> {
    let environment = &writer.environment;
    let mut dead = Vec::new();
    let mut locks = Vec::new();
    for (id, session) in writer.state().open_sessions() {
        if session.host.as_deref() == Some(environment.host.as_str())
            && let Some(lock) = environment.state.dead_session_lock(&writer.config.repository, id)?
        {
            dead.push(*id);
            locks.push(lock);
        }
    }
    Ok((dead, locks))
}

/// Finds the unregistered packs that now belong to session `id` and makes them known.
fn adopt_packs(writer: &Writer, id: &SessionId, dedup: &Dedup) -> Result<Vec<StoredPack>, SessionError> {
    let (store, state) = (&writer.environment.store, writer.state());
    let mut unregistered: Vec<(PackName, u64)> = Vec::new();
    store.list(Prefix::Packs, &mut |Listed { name, bytes }| {
        if let NameKind::Pack(pack) = name.kind()
            && state.ordinal_of(&pack).is_none()
        {
            unregistered.push((pack, bytes));
        }
        std::ops::ControlFlow::Continue(())
    })?;
    let shard_bytes = u64::from(writer.config.shard_bytes());
    let mut adopted = Vec::new();
    for (name, bytes) in unregistered {
        let Some(head) = read_head(writer, name)? else { continue };
        if state.final_owner(&head.session) != Some(*id) {
            continue;
        }
        let number = u32::try_from(adopted.len()).unwrap_or(u32::MAX);
        // One that does not open is left where it is: an orphan that prune will remove.
        let Ok(pack) = PackReader::open(store, &writer.keys, name, PackOrdinal(u32::MAX), bytes, shard_bytes) else {
            continue;
        };
        dedup.adopt(pack.directory());
        dedup.finished_pack(number, pack.directory()).map_err(SinkError::from)?;
        adopted.push(StoredPack { name, class: head.class, bytes });
    }
    Ok(adopted)
}

/// Who has written a pack; `None` if its head cannot be read.
pub(crate) fn read_head(writer: &Reader, name: PackName) -> Result<Option<PackHead>, SessionError> {
    let mut shard = Vec::new();
    let range = 0..u64::from(writer.config.shard_bytes());
    if let Err(error) = writer.environment.store.get_range(&Name::pack(name), range, &mut shard) {
        return match error.kind() {
            Kind::Missing | Kind::Damaged => Ok(None),
            _ => Err(error.into()),
        };
    }
    Ok(shard.first_chunk().and_then(|head| PackHead::decode(head).ok()))
}

/// Opens packs for deduplication without holding the writer.
fn pack_opener(writer: &Writer) -> OpenPack {
    let packs: Vec<(PackName, u64)> = writer.state().packs().map(|(_, pack)| (pack.name, pack.bytes)).collect();
    let (store, keys) = (Arc::clone(&writer.environment.store), Arc::clone(&writer.keys));
    let shard_bytes = u64::from(writer.config.shard_bytes());
    Box::new(move |ordinal| {
        let pack = usize::try_from(ordinal.0).ok().and_then(|at| packs.get(at));
        let (name, bytes) = pack.ok_or(PackError::Unregistered { ordinal })?;
        PackReader::open(&store, &keys, *name, ordinal, *bytes, shard_bytes)
    })
}

fn random_names(entropy: &Arc<dyn crate::entropy::Entropy>) -> Box<dyn Fn() -> [u8; 16] + Send + Sync> {
    let entropy = Arc::clone(entropy);
    Box::new(move || random(entropy.as_ref()))
}
