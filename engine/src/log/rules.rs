//! When a record is void (SPEC.md section 17): one function a kind, each row of the table a line.

use std::collections::HashSet;

use repo_format::{ChunkId, Commit, Delete, KeyChange, NewPack, Open, Orphan, PackOrdinal, Record, SessionId};

use super::state::{PackStatus, SessionStatus, State};

type Check = Result<(), String>;

/// `Err` says which rule the record breaks in `state`.
pub(super) fn check(state: &State, record: &Record) -> Check {
    match record {
        Record::Open(open) => check_open(state, open),
        Record::Commit(commit) => check_commit(state, commit),
        Record::Moved(moved) => {
            session_is_open(state, &moved.session)?;
            new_packs_are_new(state, &moved.new_packs)?;
            moved.from.iter().try_for_each(|pack| registered(state, *pack).map(drop))
        }
        Record::Close { session } | Record::Fence { session } => session_is_open(state, session),
        Record::Pin(pin) => {
            session_is_open(state, &pin.session)?;
            point_is_live(state, &pin.point)
        }
        Record::Forget(forget) => forget.points.iter().try_for_each(|point| {
            point_is_live(state, point)?;
            ensure(!is_held(state, point), || format!("point {point} is held"))
        }),
        Record::Hold(hold) => point_is_live(state, &hold.point),
        Record::Release { point } => {
            point_is_live(state, point)?;
            ensure(is_held(state, point), || format!("point {point} is not held"))
        }
        Record::Condemn(condemn) => condemn.packs.iter().try_for_each(|pack| {
            let status = registered(state, *pack)?;
            ensure(matches!(status, PackStatus::Registered | PackStatus::Damaged), || {
                format!("{pack} is condemned or deleted")
            })
        }),
        Record::Delete(delete) => check_delete(state, delete),
        Record::Damaged(damaged) => damaged.packs.iter().try_for_each(|pack| registered(state, *pack).map(drop)),
        Record::Verified(verified) => verified.packs.iter().try_for_each(|pack| registered(state, *pack).map(drop)),
        Record::Swept(swept) => swept.packs.iter().try_for_each(|pack| {
            let status = registered(state, *pack)?;
            ensure(status == PackStatus::Deleted, || format!("{pack} is not deleted"))
        }),
        Record::KeyChange(change) => check_key_change(state, change),
        Record::Checkpoint(_) | Record::Skipped { .. } => Ok(()),
    }
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

fn check_open(state: &State, open: &Open) -> Check {
    ensure(!state.sessions.contains_key(&open.session), || format!("session {} is not new", open.session))?;
    open.adopts.iter().try_for_each(|adopted| session_is_open(state, adopted))
}

fn check_commit(state: &State, commit: &Commit) -> Check {
    session_is_open(state, &commit.session)?;
    new_packs_are_new(state, &commit.new_packs)?;
    for pack in &commit.uses {
        let status = registered(state, *pack)?;
        ensure(status == PackStatus::Registered, || {
            format!("{pack}, which it uses, is condemned, damaged or deleted")
        })?;
    }
    ensure(state.point(&commit.point).is_none(), || format!("point {} is not new", commit.point))?;
    let newest = state.newest_of(&commit.vm);
    let (number, previous) = newest.map_or((1, None), |newest| (newest.number.saturating_add(1), Some(newest.id)));
    ensure((commit.number, commit.previous) == (number, previous), || {
        format!("it is point {} of its VM where {number} was due", commit.number)
    })
}

fn check_delete(state: &State, delete: &Delete) -> Check {
    for pack in &delete.packs {
        let status = registered(state, *pack)?;
        ensure(status == PackStatus::Condemned, || format!("{pack} is not condemned"))?;
    }
    delete.orphans.iter().try_for_each(|orphan_of| orphan(state, orphan_of))
}

/// An orphan is registered nowhere, and its owner has ended.
pub(super) fn orphan(state: &State, orphan: &Orphan) -> Check {
    ensure(state.ordinal_of(&orphan.pack).is_none(), || format!("pack {} is registered", orphan.pack))?;
    let owner = state.final_owner(&orphan.owner).and_then(|owner| state.session(&owner));
    let open = owner.is_some_and(|owner| owner.status == SessionStatus::Open);
    ensure(!open, || format!("the owner of pack {} is open", orphan.pack))
}

fn check_key_change(state: &State, change: &KeyChange) -> Check {
    let mut present: HashSet<_> = state.slots.keys().copied().collect();
    for revoked in &change.revoked {
        ensure(present.remove(revoked), || format!("slot {revoked} is not there"))?;
    }
    for added in &change.added {
        let fresh = !state.slots.contains_key(&added.slot) && !state.revoked.contains_key(&added.slot);
        ensure(fresh && present.insert(added.slot), || format!("slot {} was added before", added.slot))?;
    }
    ensure(!present.is_empty(), || "no slot would remain".to_owned())?;
    let epoch = change.new_epoch.unwrap_or(state.newest_epoch + 1);
    ensure(epoch == state.newest_epoch + 1, || format!("epoch {epoch} does not follow {}", state.newest_epoch))
}

fn session_is_open(state: &State, id: &SessionId) -> Check {
    let open = state.session(id).is_some_and(|session| session.status == SessionStatus::Open);
    ensure(open, || format!("session {id} is not open"))
}

fn point_is_live(state: &State, id: &ChunkId) -> Check {
    ensure(state.point(id).is_some_and(super::state::PointState::is_live), || format!("point {id} is not live"))
}

fn is_held(state: &State, id: &ChunkId) -> bool {
    state.point(id).is_some_and(|point| point.held.is_some())
}

fn registered(state: &State, pack: PackOrdinal) -> Result<PackStatus, String> {
    state.pack(pack).map(|pack| pack.status).ok_or_else(|| format!("{pack} is not registered"))
}

fn new_packs_are_new(state: &State, packs: &[NewPack]) -> Check {
    let mut seen = HashSet::new();
    for pack in packs {
        ensure(seen.insert(pack.name), || format!("pack {} appears twice", pack.name))?;
        ensure(state.ordinal_of(&pack.name).is_none(), || format!("pack {} is registered already", pack.name))?;
        ensure(!state.deleted_orphans.contains_key(&pack.name), || format!("pack {} is deleted", pack.name))?;
    }
    let room = u64::from(u32::MAX) - 1;
    ensure((state.packs.len() + packs.len()) as u64 <= room, || "too many packs".to_owned())
}
