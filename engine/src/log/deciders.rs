//! What to write, given what exists: pure functions, so that drivers, models and tests share them.

use repo_format::{
    AddedSlot, ChunkId, Commit, Completeness, KeyChange, NewPack, Open, PackOrdinal, Pin, Record, SessionId, SlotId,
    VmIdentity,
};

use super::{
    rules,
    state::{SessionStatus, State},
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

/// A decider never writes what would be void.
fn checked(state: &State, record: Record) -> Result<Vec<Record>, Refusal> {
    rules::check(state, &record).map_err(Refusal::Superseded)?;
    Ok(vec![record])
}
