//! What to write, given what exists: pure functions, so that drivers, models and tests share them.

use repo_format::{
    AddedSlot, ChunkId, Commit, Completeness, Condemn, Damaged, Delete, Forget, Hold, KeyChange, Moved, NewPack, Open,
    Orphan, PackName, PackOrdinal, Pin, Record, SessionId, SlotId, Swept, Verified, VerifiedHow, VmIdentity,
};

use super::{
    rules,
    state::{PackStatus, SessionStatus, State},
};

/// Why nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody has ended this session, or a pack it relies on is going.
    #[error("this run has been superseded: {0}")]
    Superseded(String),
    /// The request makes no sense in this state.
    #[error("{0}")]
    Invalid(String),
    /// What was surveyed at an earlier head does not hold any more: survey again.
    #[error("what is needed has changed meanwhile: {0}")]
    Outdated(String),
}

/// What a session wants to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitDraft {
    /// The session.
    pub session: SessionId,
    /// The VM.
    pub identity: VmIdentity,
    /// What it is called.
    pub vm_name: String,
    /// The restore point.
    pub point: ChunkId,
    /// Whole or incomplete.
    pub completeness: Completeness,
    /// The session's own packs that are not registered yet.
    pub new: Vec<NewPack>,
    /// Registered packs it relies on, ascending.
    pub uses: Vec<PackOrdinal>,
}

/// A session begins and takes over `adopts`, as far as they are still open.
pub fn decide_open(
    state: &State,
    session: SessionId,
    host: &str,
    slot: SlotId,
    program_version: &str,
    adopts: &[SessionId],
) -> Result<Vec<Record>, Refusal> {
    let is_open = |id: &&SessionId| state.session(id).is_some_and(|session| session.status == SessionStatus::Open);
    checked(
        state,
        Record::Open(Open {
            session,
            host: Some(host.to_owned()),
            adopts: adopts.iter().filter(is_open).copied().collect(),
            slot: Some(slot),
            program_version: Some(program_version.to_owned()),
        }),
    )
}

/// A session relies on a point: as long as it goes on, nothing of that point may go.
pub fn decide_pin(state: &State, session: SessionId, point: ChunkId) -> Result<Vec<Record>, Refusal> {
    if !state.point(&point).is_some_and(super::state::PointState::is_live) {
        return Err(Refusal::Invalid(format!("point {point} is not there any more")));
    }
    checked(state, Record::Pin(Pin { session, point }))
}

/// A restore point comes into being, next in its VM's chain.
pub fn decide_commit(state: &State, draft: &CommitDraft) -> Result<Vec<Record>, Refusal> {
    let newest = state.newest_of(&draft.identity);
    checked(
        state,
        Record::Commit(Commit {
            session: draft.session,
            vm_name: Some(draft.vm_name.clone()),
            vm: draft.identity.clone(),
            completeness: Some(draft.completeness),
            number: newest.map_or(1, |newest| newest.number.saturating_add(1)),
            previous: newest.map(|newest| newest.id),
            point: draft.point,
            new_packs: draft.new.clone(),
            uses: draft.uses.clone(),
        }),
    )
}

/// A session ends.
pub fn decide_close(state: &State, session: SessionId) -> Result<Vec<Record>, Refusal> {
    checked(state, Record::Close { session })
}

/// Slots come and go. The last one that is not a recovery key is kept by the caller, who knows the kinds; the last one at
/// all is kept here.
pub fn decide_key_change(state: &State, added: Vec<AddedSlot>, revoked: Vec<SlotId>) -> Result<Vec<Record>, Refusal> {
    let record = Record::KeyChange(KeyChange { added, revoked, new_epoch: None });
    rules::check(state, &record).map_err(Refusal::Invalid)?;
    Ok(vec![record])
}

/// Points leave the list. Those that somebody else has forgotten meanwhile are passed over; a held one is refused.
pub fn decide_forget(state: &State, points: &[ChunkId], reason: Option<&str>) -> Result<Vec<Record>, Refusal> {
    let live = |id: &&ChunkId| state.point(id).is_some_and(super::PointState::is_live);
    let points: Vec<ChunkId> = points.iter().filter(live).copied().collect();
    one_unless(points.is_empty(), state, Record::Forget(Forget { points, reason: reason.map(str::to_owned) }))
}

/// Points must not be forgotten until they are released.
pub fn decide_hold(
    state: &State,
    points: &[ChunkId],
    reason: &str,
    until_ms: Option<u64>,
) -> Result<Vec<Record>, Refusal> {
    let hold = |point: &ChunkId| Hold { point: *point, reason: reason.to_owned(), until_ms };
    all_valid(state, points.iter().map(|point| Record::Hold(hold(point))).collect())
}

/// Held points may be forgotten again; points that are not held are passed over.
pub fn decide_release(state: &State, points: &[ChunkId]) -> Result<Vec<Record>, Refusal> {
    let held = |id: &&ChunkId| state.point(id).is_some_and(|point| point.held.is_some());
    all_valid(state, points.iter().filter(held).map(|point| Record::Release { point: *point }).collect())
}

/// Chunks of `from` lie in `new` as well from now on.
pub fn decide_moved(
    state: &State,
    session: SessionId,
    new: &[NewPack],
    from: &[PackOrdinal],
) -> Result<Vec<Record>, Refusal> {
    let moved = Moved { session, new_packs: new.to_vec(), from: from.to_vec() };
    one_unless(new.is_empty(), state, Record::Moved(moved))
}

/// What a survey of everything needed has found, and at which entry. Only [`decide_condemn`] and [`decide_delete`] use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The head at which every live and pinned point was walked.
    pub at: u64,
    /// Packs of which every needed chunk has a copy in another usable pack that is not in this list, ascending.
    pub dispensable: Vec<PackOrdinal>,
}

/// Packs are given up: no longer a target of deduplication, no longer a copy.
///
/// A point committed since the survey has its chunks in its pinned base, its own packs and the packs it relies on: so packs
/// that were relied on since stay. A Condemn or Damaged since has taken copies away that the survey has counted: survey again.
pub fn decide_condemn(state: &State, surveyed: &Surveyed) -> Result<Vec<Record>, Refusal> {
    not_lost_since(state, surveyed.at)?;
    let counts = |pack: &&PackOrdinal| {
        state.pack(**pack).is_some_and(|pack| {
            matches!(pack.status, PackStatus::Registered | PackStatus::Damaged) && pack.relied_on_in <= surveyed.at
        })
    };
    let packs: Vec<PackOrdinal> = surveyed.dispensable.iter().filter(counts).copied().collect();
    one_unless(packs.is_empty(), state, Record::Condemn(Condemn { packs }))
}

/// Condemned packs and orphans may go from the store. `surveyed.dispensable` are packs condemned before; that no needed
/// chunk lies in them alone was seen at `surveyed.at`. A pack relied on since stays. No Commit can rely on a condemned pack;
/// this is the second barrier behind that one, and costs nothing.
pub fn decide_delete(state: &State, surveyed: &Surveyed, orphans: &[Orphan]) -> Result<Vec<Record>, Refusal> {
    not_lost_since(state, surveyed.at)?;
    let condemned = |pack: &&PackOrdinal| {
        state.pack(**pack).is_some_and(|pack| pack.status == PackStatus::Condemned && pack.relied_on_in <= surveyed.at)
    };
    let packs: Vec<PackOrdinal> = surveyed.dispensable.iter().filter(condemned).copied().collect();
    let orphans: Vec<Orphan> = orphans.iter().filter(|orphan| rules::orphan(state, orphan).is_ok()).cloned().collect();
    one_unless(packs.is_empty() && orphans.is_empty(), state, Record::Delete(Delete { packs, orphans }))
}

/// Deleted objects are gone from the store.
pub fn decide_swept(state: &State, packs: &[PackOrdinal], orphans: &[PackName]) -> Result<Vec<Record>, Refusal> {
    let deleted =
        |pack: &&PackOrdinal| state.pack(**pack).is_some_and(|pack| pack.status == PackStatus::Deleted && !pack.swept);
    let packs: Vec<PackOrdinal> = packs.iter().filter(deleted).copied().collect();
    let nothing = packs.is_empty() && orphans.is_empty();
    one_unless(nothing, state, Record::Swept(Swept { packs, orphans: orphans.to_vec() }))
}

/// Packs were found damaged, on evidence: no target of deduplication any more, so that the next backup stores again what it
/// finds of them. Those that do not count anyway are passed over.
pub fn decide_damaged(state: &State, packs: &[PackOrdinal], reason: &str) -> Result<Vec<Record>, Refusal> {
    let packs: Vec<PackOrdinal> = packs.iter().copied().filter(|pack| state.usable(*pack)).collect();
    one_unless(packs.is_empty(), state, Record::Damaged(Damaged { packs, reason: Some(reason.to_owned()) }))
}

/// Packs were looked at whole, and were right.
pub fn decide_verified(
    state: &State,
    packs: &[PackOrdinal],
    how: VerifiedHow,
    slot: SlotId,
) -> Result<Vec<Record>, Refusal> {
    let verified = Verified { packs: packs.to_vec(), how, slot: Some(slot) };
    one_unless(packs.is_empty(), state, Record::Verified(verified))
}

/// Somebody else's session ends. Always safe; it costs that writer a new session.
pub fn decide_fence(state: &State, session: SessionId) -> Result<Vec<Record>, Refusal> {
    let open = state.session(&session).is_some_and(|session| session.status == SessionStatus::Open);
    one_unless(!open, state, Record::Fence { session })
}

fn not_lost_since(state: &State, at: u64) -> Result<(), Refusal> {
    match state.newest_loss() > at {
        true => Err(Refusal::Outdated(format!("entry {} takes copies away", state.newest_loss()))),
        false => Ok(()),
    }
}

fn one_unless(nothing: bool, state: &State, record: Record) -> Result<Vec<Record>, Refusal> {
    if nothing { Ok(Vec::new()) } else { all_valid(state, vec![record]) }
}

/// Records that do not build on each other, each valid at the head.
fn all_valid(state: &State, records: Vec<Record>) -> Result<Vec<Record>, Refusal> {
    records.iter().try_for_each(|record| rules::check(state, record)).map_err(Refusal::Invalid)?;
    Ok(records)
}

/// A decider never writes what would be void.
fn checked(state: &State, record: Record) -> Result<Vec<Record>, Refusal> {
    rules::check(state, &record).map_err(Refusal::Superseded)?;
    Ok(vec![record])
}
