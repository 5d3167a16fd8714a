//! What can be made anew from packs and one key slot: the local index, and a log that is lost.
//!
//! A new log registers every pack whose directory opens and commits every restore point whose record is found, oldest first.
//! What had been forgotten comes back: **deletions are unknown**. Clients that remember the old log refuse the new one until
//! somebody tells them its digest.

use std::ops::ControlFlow;

use repo_format::{
    ChunkId, Class, MetadataChunk, MetadataKind, NewPack, PackName, PackOrdinal, RestorePoint, SlotSecret,
};

use crate::{
    error::Kind,
    log::{CommitDraft, LogError, LogHead, decide_close, decide_commit, decide_moved},
    monitor::{Event, Monitor, Step},
    pack_reader::{FrameBuffers, PackError, PackReader},
    problem::{Problem, is_loss},
    read_error::ReadError,
    repository::{Environment, OpenError, Reader, Writer, begin_log_anew},
    session::{SessionError, open_in_log},
    store::{Listed, Name, NameKind, Prefix, Store, StoreError},
};

/// Packs that one entry registers: 45 bytes each, far below the longest entry.
const PACKS_AN_ENTRY: usize = 100_000;

/// What was made anew.
#[derive(Clone, Debug)]
pub struct RebuildReport {
    /// Packs that were found and opened.
    pub packs: u64,
    /// Restore points found; 0 where only the index was made anew.
    pub points: u64,
    /// Packs that are there and cannot be opened: nothing is known of what they hold.
    pub problems: Vec<Problem>,
    /// Head of the log.
    pub head: LogHead,
}

/// Why nothing could be made anew.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A part of the log is there.
    #[error("{entries} log entries are still there, and a new log would have to take their names")]
    LogIsThere {
        /// How many.
        entries: u64,
    },
    /// Config or key slots cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packs cannot be read right now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The session of the rebuild could not begin.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl RebuildError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::LogIsThere { .. } => Kind::Invalid,
            Self::Open(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

impl From<repo_format::FormatError> for RebuildError {
    fn from(error: repo_format::FormatError) -> Self {
        Self::Read(error.into())
    }
}

/// Forgets the local index and makes it anew from the directories of all packs.
pub fn rebuild_index(writer: &mut Writer) -> Result<RebuildReport, RebuildError> {
    writer.0.forget_index()?;
    let indexed = writer.indexed_packs()?;
    let mut problems = Vec::new();
    let there = writer.state().packs().filter(|(_, pack)| pack.status != crate::log::PackStatus::Deleted);
    for (ordinal, pack) in there.filter(|(ordinal, _)| !indexed.contains(ordinal)) {
        if let Err(error) = writer.pack(ordinal) {
            problems.push(Problem::new(format_args!("pack {}", pack.name), error));
        }
    }
    Ok(RebuildReport { packs: indexed.len() as u64, points: 0, problems, head: writer.head() })
}

/// Writes a new log for a repository that has none, and gives the repository.
pub fn rebuild_log(
    environment: Environment,
    secret: &SlotSecret,
    monitor: &dyn Monitor,
) -> Result<(Writer, RebuildReport), RebuildError> {
    let entries = list(environment.store.as_ref(), Prefix::Log)?.len() as u64;
    if entries > 0 {
        return Err(RebuildError::LogIsThere { entries });
    }
    // Packs first: the log is begun when it is known that there is something to write into it.
    let packs = list(environment.store.as_ref(), Prefix::Packs)?;
    monitor.event(&Event::Phase { name: "read directories", total_bytes: 0 });
    let mut writer = begin_log_anew(environment, secret)?;
    // Its ordinals are those of the old log.
    writer.0.forget_index()?;
    let Found { new, problems } = open_packs(&writer, &packs, monitor)?;
    let (session, lock) = open_in_log(&mut writer, &[])?;
    for new in new.chunks(PACKS_AN_ENTRY) {
        writer.append(&mut |state| decide_moved(state, session, new, &[]))?;
    }
    writer.0.reload_index();
    let points = find_points(&writer, monitor)?;
    for (point, record) in &points {
        let draft = CommitDraft {
            session,
            identity: record.vm.clone(),
            vm_name: record.vm_name.clone(),
            point: *point,
            completeness: record.completeness,
            new: Vec::new(),
            uses: Vec::new(),
        };
        writer.append(&mut |state| decide_commit(state, &draft))?;
    }
    writer.append(&mut |state| decide_close(state, session))?;
    lock.discard();
    // This machine was told: it is the one that has written it.
    let _ = writer.environment().state.accept_head(&writer.config().repository, writer.head());
    let report = RebuildReport { packs: new.len() as u64, points: points.len() as u64, problems, head: writer.head() };
    Ok((writer, report))
}

fn list(store: &dyn Store, prefix: Prefix) -> Result<Vec<Listed>, StoreError> {
    let mut found = Vec::new();
    store.list(prefix, &mut |listed| {
        found.push(listed);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

struct Found {
    new: Vec<NewPack>,
    problems: Vec<Problem>,
}

fn open_packs(reader: &Reader, listed: &[Listed], monitor: &dyn Monitor) -> Result<Found, RebuildError> {
    let shard_bytes = u64::from(reader.config().shard_bytes());
    let mut found = Found { new: Vec::new(), problems: Vec::new() };
    let mut packs: Vec<(PackName, u64)> =
        listed.iter().filter_map(|listed| Some((pack_of(&listed.name)?, listed.bytes))).collect();
    packs.sort_unstable();
    for (name, bytes) in packs {
        if monitor.interrupted() {
            return Err(RebuildError::Interrupted);
        }
        let store = &reader.environment().store;
        match PackReader::open(store, reader.keys(), name, PackOrdinal(u32::MAX), bytes, shard_bytes) {
            Ok(pack) => found.new.push(NewPack { name, class: pack.class(), bytes }),
            Err(error) if is_loss(error.kind()) => found.problems.push(unreadable(name, &error)),
            Err(error) => return Err(ReadError::from(error).into()),
        }
    }
    Ok(found)
}

fn unreadable(name: PackName, error: &PackError) -> Problem {
    Problem::new(format_args!("pack {name}"), format_args!("is not in the new log: {error}"))
}

fn pack_of(name: &Name) -> Option<PackName> {
    match name.kind() {
        NameKind::Pack(pack) => Some(pack),
        _ => None,
    }
}

/// Every record of a restore point in any metadata pack, oldest first.
fn find_points(reader: &Reader, monitor: &dyn Monitor) -> Result<Vec<(ChunkId, RestorePoint)>, RebuildError> {
    let mut buffers = FrameBuffers::new()?;
    let metadata = || reader.state().packs().filter(|(_, pack)| pack.class == Class::Metadata);
    monitor.event(&Event::Phase {
        name: "find restore points",
        total_bytes: metadata().map(|(_, pack)| pack.bytes).sum(),
    });
    let mut points: Vec<(ChunkId, RestorePoint)> = Vec::new();
    for (ordinal, state) in metadata() {
        if monitor.interrupted() {
            return Err(RebuildError::Interrupted);
        }
        let pack = reader.pack(ordinal)?;
        for frame in (0_u32..).take(pack.directory().frames().len()) {
            match pack.read_frame(frame, &mut buffers) {
                Ok(open) => {
                    let chunks = (0..open.len()).filter_map(|position| open.chunk(position, reader.keys()).ok());
                    points.extend(chunks.filter_map(|chunk| {
                        let metadata = MetadataChunk::from_bytes(chunk.bytes().to_vec()).ok()?;
                        metadata.payload_of(MetadataKind::RestorePoint).ok()?;
                        Some((chunk.id(), RestorePoint::decode(&metadata).ok()?))
                    }));
                }
                // Its parity may help: repair tells.
                Err(error) if is_loss(error.kind()) => {}
                Err(error) => return Err(ReadError::from(error).into()),
            }
        }
        monitor.advance(Step { done_bytes: state.bytes, new_bytes: 0 });
    }
    points.sort_by_key(|(id, record)| (record.finished_ms, record.started_ms, *id));
    points.dedup_by_key(|(id, _)| *id);
    Ok(points)
}
