//! What is needed, and how much of it each pack holds.
//!
//! **Invariant:** the counts come from the local index and are advice: they choose which packs to look at. That a pack may
//! go is proved by [`super::confirm`] in sealed directories.

use std::collections::HashSet;

use repo_format::{ChunkId, PackOrdinal};

use super::{PruneError, mark::mark, needed::Needed};
use crate::{
    log::{PackStatus, State},
    monitor::{Event, Monitor},
    repository::Reader,
};

/// What one pack holds, in chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All of them.
    pub(super) chunks: u64,
    /// Those that are needed and for which this pack stands: the newest usable one, or the last that has them at all.
    pub(super) needed: u64,
}

/// Everything that is needed at one head.
pub(super) struct Survey {
    /// The head at which it was made.
    pub(super) at: u64,
    pub(super) needed: Needed,
    /// By ordinal.
    pub(super) tallies: Vec<Tally>,
    /// Needed chunks that no pack holds.
    pub(super) missing: u64,
}

impl Survey {
    pub(super) fn tally(&self, pack: PackOrdinal) -> Tally {
        usize::try_from(pack.0).ok().and_then(|at| self.tallies.get(at)).copied().unwrap_or_default()
    }
}

/// Walks all live and pinned points at the replayed head but those in `without`.
pub(super) fn survey(reader: &Reader, without: &HashSet<ChunkId>, monitor: &dyn Monitor) -> Result<Survey, PruneError> {
    monitor.event(&Event::Phase { name: "survey", total_bytes: 0 });
    let state = reader.state();
    let live = state.points().iter().filter(|point| point.is_live() && !without.contains(&point.id));
    let mut points: Vec<ChunkId> = live.chain(state.pinned()).map(|point| point.id).collect();
    let mut listed = HashSet::new();
    points.retain(|point| listed.insert(*point));
    let marked = mark(reader, &points, monitor)?;
    // What is left out now may be needed by the next prune: it must not be forgotten.
    let needed = if without.is_empty() { marked.remember() } else { marked.needed };
    let mut tallies = vec![Tally::default(); state.packs().count()];
    for run in reader.index()?.runs() {
        for entry in run.run.iter() {
            if let Some(tally) = tally_of(&mut tallies, PackOrdinal(run.base.saturating_add(entry.pack))) {
                tally.chunks += 1;
            }
        }
    }
    let mut missing = 0;
    for id in needed.iter() {
        match stands_for(reader, state, &id)?.and_then(|pack| tally_of(&mut tallies, pack)) {
            Some(tally) => tally.needed += 1,
            None => missing += 1,
        }
    }
    Ok(Survey { at: reader.head().number, needed, tallies, missing })
}

/// The pack that is to keep chunk `id`.
fn stands_for(reader: &Reader, state: &State, id: &ChunkId) -> Result<Option<PackOrdinal>, PruneError> {
    let there = reader.index()?.locate_all(id).into_iter().filter_map(|location| {
        let status = state.pack(location.pack)?.status;
        (status != PackStatus::Deleted).then_some((status == PackStatus::Registered, location.pack))
    });
    Ok(there.max().map(|(_, pack)| pack))
}

fn tally_of(tallies: &mut [Tally], pack: PackOrdinal) -> Option<&mut Tally> {
    usize::try_from(pack.0).ok().and_then(|at| tallies.get_mut(at))
}
