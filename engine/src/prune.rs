//! The prune conductor: space comes back while backups run. No lock, no clock, no waiting (SPEC.md sections 17 and 18).
//!
//! ```text
//! survey at head h ─► choose ─► delete what was condemned before ─► repack ─► confirm ─► condemn ─► (no grace: delete) ─► sweep ─► checkpoint
//! ```
//!
//! **Invariant:** a pack leaves only after two entries, each at an exact head: Condemn, when every needed chunk of it has a
//! confirmed copy in a usable pack that stays; Delete, when a survey finds nothing that lies in it alone.

mod checkpoints;
mod confirm;
mod error;
mod fence;
mod mark;
mod needed;
mod notes;
mod orphans;
mod plan;
mod repack;
mod report;
mod sorted;
mod survey;
mod sweep;

#[cfg(test)]
mod beside_tests;
#[cfg(test)]
mod notes_tests;
#[cfg(test)]
mod repack_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use repo_format::{ChunkId, Class, PackName, PackOrdinal};

use crate::{
    log::{PackStatus, Surveyed, decide_condemn, decide_delete},
    monitor::{Event, Monitor},
    problem::Problem,
    repository::{Reader, Writer},
    store::{Name, RESERVE_BYTES, Store},
};
use orphans::{judge_unregistered, list_unregistered};
use plan::{Choice, Known, Why, choose};
use survey::{Survey, survey};

pub use error::PruneError;
pub use report::{PruneOptions, PrunePlan, PruneReport};

/// Surveys before giving up, when others take copies away each time.
const SURVEYS_MAX: usize = 5;

/// Gives back the space of what no live or pinned point needs.
pub fn prune(writer: &mut Writer, options: &PruneOptions, monitor: &dyn Monitor) -> Result<PruneReport, PruneError> {
    let result = prune_until_settled(writer, *options, monitor);
    restore_reserve(writer.environment().store.as_ref());
    result
}

/// Begins again while there is a reason to: somebody else has changed what is needed, the index was wrong, the disk is full.
fn prune_until_settled(
    writer: &mut Writer,
    mut options: PruneOptions,
    monitor: &dyn Monitor,
) -> Result<PruneReport, PruneError> {
    let (mut surveys, mut index_is_new, mut reserve_is_released) = (1, false, false);
    loop {
        match prune_once(writer, &options, monitor) {
            Err(error) if error.is_outdated() && surveys < SURVEYS_MAX => surveys += 1,
            // The index is a cache, and may be what is wrong.
            Err(PruneError::Missing { .. }) if !index_is_new => {
                writer.0.forget_index()?;
                index_is_new = true;
            }
            // Room for log entries; rewriting waits until there is more of it.
            Err(error) if error.is_full() && !reserve_is_released => {
                writer.environment().store.delete_many(&[Name::reserve()]);
                options.max_repack_bytes = Some(0);
                reserve_is_released = true;
            }
            result => return result,
        }
    }
}

/// Puts the reserve back. Where the disk is still full this fails, and the next prune tries again.
fn restore_reserve(store: &dyn Store) {
    if matches!(store.size(&Name::reserve()), Ok(None)) {
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
        repacked_bytes = repack::repack(writer, &from, &survey, options, monitor, &mut problems)?;
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
    writer.leave_checkpoint();
    checkpoints::remove_superseded(writer, &mut problems)?;
    writer.remember_head();
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
    let appended = writer.append(&mut |state| decide_condemn(state, &surveyed))?;
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
    let appended = writer.append(&mut |state| decide_delete(state, &surveyed, orphans))?;
    let mut deleted = DeletedNow::default();
    for record in appended.records {
        if let repo_format::Record::Delete(delete) = record {
            deleted.packs += delete.packs.len() as u64;
            deleted.orphans.extend(delete.orphans.iter().map(|orphan| orphan.pack));
        }
    }
    Ok(deleted)
}
