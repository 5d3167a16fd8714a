//! The prune conductor: space comes back while backups run. No lock, no clock, no waiting (SPEC.md sections 17 and 18).
//!
//! ```text
//! survey at head h ─► choose ─► delete what was condemned before ─► repack ─► confirm ─► condemn ─► (no grace: delete) ─► sweep
//! ```
//!
//! **Invariant:** a pack leaves only after two entries, each at an exact head: Condemn, when every needed chunk of it has a
//! confirmed copy in a usable pack that stays; Delete, when a survey finds nothing that lies in it alone.

mod confirm;
mod fence;
mod mark;
mod needed;
mod orphans;
mod plan;
mod repack;
mod survey;
mod sweep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use repo_format::{ChunkId, Class, Compression, PackName, PackOrdinal};

use crate::{
    error::Kind,
    frame_writer::WriteError,
    log::{LogError, LogHead, PackStatus, Refusal, Surveyed, decide_condemn, decide_delete},
    monitor::{Event, Monitor},
    pack_sink::SinkError,
    problem::Problem,
    read_error::ReadError,
    repository::{Reader, Writer},
    session::SessionError,
    state_folder::StateFolderError,
    store::{Name, RESERVE_BYTES, Reaction, StoreError},
};
use orphans::{judge_unregistered, list_unregistered};
use plan::{Choice, Known, Why, choose};
use survey::{Survey, survey};

/// Surveys before giving up, when others take copies away each time.
const SURVEYS_MAX: usize = 5;

/// How to prune.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// Packs of which less than this share is needed are rewritten, in percent.
    pub repack_below_percent: u8,
    /// At most so many bytes are rewritten; packs that are the last to hold a chunk are always.
    pub max_repack_bytes: Option<u64>,
    /// Time between Condemn and Delete: a courtesy to readers that cannot write a Pin. Safety does not rest on it.
    pub grace_ms: u64,
    /// What new frames are compressed with.
    pub compression: Compression,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            repack_below_percent: 50,
            max_repack_bytes: None,
            grace_ms: 24 * 3_600_000,
            compression: Compression::Zstd(3),
        }
    }
}

/// What a prune would do, in packs and bytes. Counts of chunks come from the local index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Packs that are there, and their bytes.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs of which nothing is needed: to be condemned.
    pub dead_packs: u64,
    /// Packs condemned long enough ago: to be deleted now.
    pub delete_packs: u64,
    /// Packs condemned, but not long enough ago.
    pub waiting_packs: u64,
    /// Packs to be rewritten.
    pub repack_packs: u64,
    /// Of them: small ones that are gathered.
    pub small_packs: u64,
    /// Bytes to be read and written again for that.
    pub repack_bytes: u64,
    /// Packs that are registered nowhere and whose session has ended.
    pub orphan_packs: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Bytes that come back in all, the grace over.
    pub freed_bytes: u64,
}

/// What a prune has done.
#[derive(Clone, Debug)]
pub struct PruneReport {
    /// What it set out to do.
    pub plan: PrunePlan,
    /// Packs condemned.
    pub condemned_packs: u64,
    /// Packs of which the log says now that they are deleted, orphans among them.
    pub deleted_packs: u64,
    /// Objects that have left the store.
    pub removed_packs: u64,
    /// Their bytes, as far as they were registered.
    pub removed_bytes: u64,
    /// Objects that the store keeps for now.
    pub retained_packs: u64,
    /// Bytes of packs written anew.
    pub repacked_bytes: u64,
    /// Chunks needed at the survey.
    pub needed_chunks: u64,
    /// Needed chunks that are in no pack: `verify` says which points they cost.
    pub missing_chunks: u64,
    /// Sessions of others that had fallen silent and were ended.
    pub fenced_sessions: u64,
    /// Trouble with single objects.
    pub problems: Vec<Problem>,
    /// The newest entry afterwards.
    pub head: LogHead,
}

/// Why a prune did not end well. What it had logged before stands; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What a live point needs cannot be seen.
    #[error(
        "nothing is removed, because part of what restore point {point} needs cannot be read ({source}): see what verify \
         says, then repair the repository or forget that point"
    )]
    Unreadable {
        /// The point.
        point: ChunkId,
        /// Why.
        source: ReadError,
    },
    /// Needed chunks are in no pack that is known.
    #[error(
        "nothing is removed, because {chunks} needed chunks are in no pack that can be read: see what verify says, then \
         repair the repository or forget the points that it names"
    )]
    Missing {
        /// How many.
        chunks: u64,
    },
    /// The log could not be written, or somebody else keeps changing what is needed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Something cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packs could not be rewritten.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(StateFolderError),
    /// The operator asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<WriteError> for PruneError {
    fn from(error: WriteError) -> Self {
        Self::Session(error.into())
    }
}

impl From<SinkError> for PruneError {
    fn from(error: SinkError) -> Self {
        Self::Session(error.into())
    }
}

impl From<crate::catalog::CatalogError> for PruneError {
    fn from(error: crate::catalog::CatalogError) -> Self {
        Self::Read(error.into())
    }
}

impl PruneError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { source, .. } => source.kind(),
            Self::Missing { .. } => Kind::Damaged,
            Self::Log(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn is_full(&self) -> bool {
        let store = match self {
            Self::Store(error)
            | Self::Log(LogError::Store(error))
            | Self::Session(
                SessionError::Store(error)
                | SessionError::Log(LogError::Store(error))
                | SessionError::Sink(SinkError::Store(error))
                | SessionError::Write(WriteError::Sink(SinkError::Store(error))),
            ) => error,
            _ => return false,
        };
        store.reaction == Reaction::Full
    }

    fn is_outdated(&self) -> bool {
        matches!(self, Self::Log(LogError::Refused(Refusal::Outdated(_))))
    }
}

/// Gives back the space of what no live or pinned point needs.
pub fn prune(writer: &mut Writer, options: &PruneOptions, monitor: &dyn Monitor) -> Result<PruneReport, PruneError> {
    let mut options = *options;
    let mut reserve = Reserve::Kept;
    let mut index_made_anew = false;
    for _ in 1..SURVEYS_MAX {
        match prune_once(writer, &options, monitor) {
            Err(error) if error.is_outdated() => {}
            // The index is a cache, and may be what is wrong.
            Err(PruneError::Missing { .. }) if !index_made_anew => {
                writer.0.forget_index()?;
                index_made_anew = true;
            }
            Err(error) if error.is_full() && reserve == Reserve::Kept => {
                // Room for log entries; rewriting waits until there is more of it.
                writer.environment().store.delete_many(&[Name::reserve()]);
                options.max_repack_bytes = Some(0);
                reserve = Reserve::Released;
            }
            result => {
                restore_reserve(writer, reserve);
                return result;
            }
        }
    }
    let result = prune_once(writer, &options, monitor);
    restore_reserve(writer, reserve);
    result
}

/// The file that keeps room for the log on a full disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserve {
    Kept,
    Released,
}

/// Where the disk is still full this fails, and the next prune tries again.
fn restore_reserve(writer: &Writer, reserve: Reserve) {
    let store = &writer.environment().store;
    if reserve == Reserve::Released || matches!(store.size(&Name::reserve()), Ok(None)) {
        let _ = store.put_new(&Name::reserve(), &[0; RESERVE_BYTES]);
    }
}

/// What [`prune`] would do, by the same code as far as nothing is written.
pub fn plan_prune(
    reader: &Reader,
    options: &PruneOptions,
    monitor: &dyn Monitor,
) -> Result<(PrunePlan, Vec<Problem>), PruneError> {
    let look = look(reader, list_unregistered(reader)?, options, monitor)?;
    Ok((look.plan, look.problems))
}

/// About how many bytes a prune would give back if `points` were forgotten: shares of packs, by chunks.
pub fn freed_bytes(reader: &Reader, points: &HashSet<ChunkId>, monitor: &dyn Monitor) -> Result<u64, PruneError> {
    let (with, without) = (survey(reader, &HashSet::new(), monitor)?, survey(reader, points, monitor)?);
    let freed = reader.state().packs().map(|(ordinal, pack)| {
        let (with, without) = (with.tally(ordinal), without.tally(ordinal));
        let share = u128::from(with.needed.saturating_sub(without.needed));
        u64::try_from(u128::from(pack.bytes) * share / u128::from(with.chunks.max(1))).unwrap_or(u64::MAX)
    });
    Ok(freed.sum())
}

fn prune_once(writer: &mut Writer, options: &PruneOptions, monitor: &dyn Monitor) -> Result<PruneReport, PruneError> {
    // Listed first, replayed then: whoever has written a pack that is listed has opened its session before.
    let unregistered = list_unregistered(writer)?;
    writer.0.log.refresh()?;
    let fenced_sessions = fence::fence_silent(writer)?;
    writer.0.reload_index();
    let Look { survey, choice, plan, mut problems, orphans, mut stray } = look(writer, unregistered, options, monitor)?;
    // Space first: on a full disk this is what makes room for the rest.
    let condemned = choice.delete.into_iter().collect();
    let first = delete(writer, &survey, survey.at, &condemned, &orphans, &mut problems)?;
    let mut deleted = first.count();
    // Not all that were seen: one that is no orphan at the head of the Delete is not named in it, and stays.
    stray.extend(first.orphans);
    let mut swept = sweep::sweep(writer, &stray, &mut problems)?;

    let from: BTreeSet<PackOrdinal> = choice.repack.iter().map(|(pack, _)| *pack).collect();
    let mut repacked_bytes = 0;
    if !from.is_empty() {
        repacked_bytes = repack::repack(writer, &from, &survey.needed, options.compression, monitor, &mut problems)?;
    }
    let candidates: BTreeSet<PackOrdinal> = choice.dead.into_iter().chain(from).collect();
    let Condemned { packs: condemned, at } = condemn(writer, &survey, &candidates, monitor, &mut problems)?;
    if options.grace_ms == 0 && !condemned.is_empty() {
        // The survey still holds at our own Condemn: everything between was taken into account when it was decided.
        deleted += delete(writer, &survey, at, &condemned, &[], &mut problems)?.count();
        let second = sweep::sweep(writer, &[], &mut problems)?;
        swept.packs += second.packs;
        swept.bytes += second.bytes;
        swept.retained += second.retained;
    }
    let environment = writer.environment();
    let _ = environment.state.remember_head(&writer.config().repository, writer.head());
    Ok(PruneReport {
        plan,
        condemned_packs: condemned.len() as u64,
        deleted_packs: deleted,
        removed_packs: swept.packs,
        removed_bytes: swept.bytes,
        retained_packs: swept.retained,
        repacked_bytes,
        needed_chunks: survey.needed.count(),
        missing_chunks: survey.missing,
        fenced_sessions,
        problems,
        head: writer.head(),
    })
}

/// What is there, what is needed, and what is to be done about it.
struct Look {
    survey: Survey,
    choice: Choice,
    plan: PrunePlan,
    problems: Vec<Problem>,
    orphans: Vec<repo_format::Orphan>,
    /// Named in a Delete entry, and there all the same.
    stray: Vec<PackName>,
}

/// `listed` are packs that were registered nowhere when the store was listed; what is registered meanwhile is no orphan any
/// more when the Delete is decided.
fn look(
    reader: &Reader,
    listed: Vec<(PackName, u64)>,
    options: &PruneOptions,
    monitor: &dyn Monitor,
) -> Result<Look, PruneError> {
    let mut unregistered = judge_unregistered(reader, listed)?;
    let survey = survey(reader, &HashSet::new(), monitor)?;
    if survey.missing > 0 {
        return Err(PruneError::Missing { chunks: survey.missing });
    }
    let known = known_packs(reader, &survey, options)?;
    let config = reader.config();
    let choice = choose(&known, options, |class| match class {
        Class::Data => u64::from(config.data_pack_bytes),
        Class::Metadata => u64::from(config.metadata_pack_bytes),
    });
    let mut problems = std::mem::take(&mut unregistered.problems);
    problems.extend(choice.unknown.iter().map(|pack| {
        Problem::new(
            format_args!("{pack}"),
            "cannot be read, so that nobody knows what is in it: it is left where it is",
        )
    }));
    let orphan_bytes = unregistered.orphans.iter().map(|(_, bytes)| bytes).sum();
    let gone = |status| known.iter().filter(move |known| known.status == status);
    let plan = PrunePlan {
        packs: known.len() as u64,
        bytes: known.iter().map(|known| known.bytes).sum(),
        dead_packs: choice.dead.len() as u64,
        delete_packs: choice.delete.len() as u64,
        waiting_packs: gone(PackStatus::Condemned).filter(|known| !known.grace_is_over).count() as u64,
        repack_packs: choice.repack.len() as u64,
        small_packs: choice.repack.iter().filter(|(_, why)| *why == Why::Small).count() as u64,
        repack_bytes: choice.repack_bytes,
        orphan_packs: unregistered.orphans.len() as u64,
        orphan_bytes,
        freed_bytes: choice.freed_bytes.saturating_add(orphan_bytes),
    };
    let orphans = unregistered.orphans.into_iter().map(|(orphan, _)| orphan).collect();
    Ok(Look { survey, choice, plan, problems, orphans, stray: unregistered.deleted })
}

fn known_packs(reader: &Reader, survey: &Survey, options: &PruneOptions) -> Result<Vec<Known>, PruneError> {
    let indexed = reader.indexed_packs()?;
    let now_ms = reader.environment().clock.now_ms();
    let there = reader.state().packs().filter(|(_, pack)| pack.status != PackStatus::Deleted);
    let known = there.map(|(ordinal, pack)| Known {
        pack: ordinal,
        status: pack.status,
        class: pack.class,
        bytes: pack.bytes,
        tally: survey.tally(ordinal),
        indexed: indexed.contains(&ordinal),
        grace_is_over: pack.condemned_ms.is_some_and(|since| now_ms.saturating_sub(since) >= options.grace_ms),
    });
    Ok(known.collect())
}

/// What a Condemn entry names, and its number.
struct Condemned {
    packs: BTreeSet<PackOrdinal>,
    at: u64,
}

/// Writes the Condemn of those `candidates` that are proved dispensable, and gives them.
fn condemn(
    writer: &mut Writer,
    survey: &Survey,
    candidates: &BTreeSet<PackOrdinal>,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<Condemned, PruneError> {
    monitor.event(&Event::Phase { name: "confirm", total_bytes: 0 });
    let dispensable = confirm::dispensable(writer, &survey.needed, candidates, problems)?;
    let surveyed = Surveyed { at: survey.at, dispensable };
    let environment = writer.environment().clone();
    let appended = writer.0.log.append(environment.clock.as_ref(), environment.entropy.as_ref(), &mut |state| {
        decide_condemn(state, &surveyed)
    })?;
    let condemned = appended.records.iter().filter_map(|record| match record {
        repo_format::Record::Condemn(condemn) => Some(&condemn.packs),
        _ => None,
    });
    Ok(Condemned { packs: condemned.flatten().copied().collect(), at: appended.head.number })
}

/// What a Delete entry names.
#[derive(Default)]
struct DeletedNow {
    packs: u64,
    orphans: Vec<PackName>,
}

impl DeletedNow {
    fn count(&self) -> u64 {
        self.packs + self.orphans.len() as u64
    }
}

/// Writes the Delete of `condemned` and `orphans`, the condemned proved again. Gives what it names.
fn delete(
    writer: &mut Writer,
    survey: &Survey,
    at: u64,
    condemned: &BTreeSet<PackOrdinal>,
    orphans: &[repo_format::Orphan],
    problems: &mut Vec<Problem>,
) -> Result<DeletedNow, PruneError> {
    let dispensable = confirm::dispensable(writer, &survey.needed, condemned, problems)?;
    let surveyed = Surveyed { at, dispensable };
    let environment = writer.environment().clone();
    let appended = writer.0.log.append(environment.clock.as_ref(), environment.entropy.as_ref(), &mut |state| {
        decide_delete(state, &surveyed, orphans)
    })?;
    let mut deleted = DeletedNow::default();
    for record in appended.records {
        if let repo_format::Record::Delete(delete) = record {
            deleted.packs += delete.packs.len() as u64;
            deleted.orphans.extend(delete.orphans.iter().map(|orphan| orphan.pack));
        }
    }
    Ok(deleted)
}
