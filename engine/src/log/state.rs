//! What exists: a pure function of the log's entries (SPEC.md section 17).
//!
//! **Invariant:** nothing here reads a clock, a file or a store. Two programs that replay the same entries hold the same state.

use std::collections::{BTreeMap, HashMap};

use repo_format::{
    Checkpoint, ChunkId, Class, Completeness, Digest, LogEntry, PackName, PackOrdinal, Record, SessionId, SlotId,
    VmIdentity,
};

use super::rules;

/// What became of a registered pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackStatus {
    /// It counts.
    Registered,
    /// It will be deleted: no longer a target of deduplication.
    Condemned,
    /// It was found damaged: no longer a target, no longer a copy.
    Damaged,
    /// It is, or may be, gone.
    Deleted,
}

/// A registered pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackState {
    /// Its name.
    pub name: PackName,
    /// Data or metadata.
    pub class: Class,
    /// Its length.
    pub bytes: u64,
    /// What became of it.
    pub status: PackStatus,
    /// The session that registered it.
    pub session: SessionId,
    /// It is gone from the store, as far as a prune has said.
    pub swept: bool,
    /// The newest entry that registered it or names it among the packs a point relies on.
    pub relied_on_in: u64,
    /// Time of the entry that condemned it.
    pub condemned_ms: Option<u64>,
}

/// Is a restore point on the list?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointStatus {
    /// It can be restored.
    Live,
    /// It was given up.
    Forgotten,
}

/// A restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointState {
    /// Its id.
    pub id: ChunkId,
    /// The VM.
    pub identity: VmIdentity,
    /// What the VM was called.
    pub vm_name: String,
    /// Its number in the VM's chain, from 1.
    pub number: u64,
    /// The VM's point before.
    pub previous: Option<ChunkId>,
    /// Time of the entry that made it.
    pub time_ms: u64,
    /// Number of that entry.
    pub entry_number: u64,
    /// The session that made it.
    pub session: SessionId,
    /// On the list or not.
    pub status: PointStatus,
    /// Why it must not be forgotten, if it must not.
    pub held: Option<String>,
    /// Whole or incomplete.
    pub completeness: Completeness,
}

impl PointState {
    /// Can it be restored?
    pub fn is_live(&self) -> bool {
        self.status == PointStatus::Live
    }
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// It may write.
    Open,
    /// It has ended.
    Closed,
    /// Somebody else has ended it.
    Fenced,
    /// Another has taken over its packs.
    Adopted(SessionId),
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The host it ran on.
    pub host: Option<String>,
    /// The key slot it used.
    pub slot: Option<SlotId>,
    /// What became of it.
    pub status: SessionStatus,
    /// Points it has pinned.
    pub pins: Vec<ChunkId>,
}

/// A key slot that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Digest of the slot object.
    pub digest: Digest,
    /// Entry that added it.
    pub added_in: u64,
    /// Time of the newest Open that names it.
    pub last_used_ms: Option<u64>,
    /// Time of the newest Verified that names it.
    pub last_tested_ms: Option<u64>,
}

/// A checkpoint: what somebody has said of an earlier state. Nobody believes it (SPEC.md section 23).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointState {
    /// The entry that says it.
    pub entry_number: u64,
    /// Time of that entry.
    pub time_ms: u64,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// Checkpoints that are kept in mind: the newest, and the one to fall back to.
const CHECKPOINTS_KEPT: usize = 2;

/// A record without effect, because it broke a rule at its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry {entry_number}, record {index}: {reason}")]
pub struct VoidRecord {
    /// The entry.
    pub entry_number: u64,
    /// The record in it, from 0.
    pub index: usize,
    /// The rule.
    pub reason: String,
}

/// Everything the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(super) packs: Vec<PackState>,
    pub(super) pack_ordinals: HashMap<PackName, PackOrdinal>,
    pub(super) deleted_orphans: HashMap<PackName, SessionId>,
    pub(super) points: Vec<PointState>,
    pub(super) point_places: HashMap<ChunkId, usize>,
    pub(super) chain_ends: HashMap<VmIdentity, usize>,
    pub(super) sessions: BTreeMap<SessionId, SessionState>,
    pub(super) slots: BTreeMap<SlotId, SlotState>,
    pub(super) revoked: BTreeMap<SlotId, u64>,
    pub(super) newest_epoch: u32,
    /// Oldest first, at most [`CHECKPOINTS_KEPT`].
    pub(super) checkpoints: Vec<CheckpointState>,
    pub(super) newest_loss: u64,
}

impl State {
    /// The state before entry 1.
    pub fn new() -> Self {
        Self { newest_epoch: 1, ..Self::default() }
    }

    /// Applies the next entry. Records that break a rule change nothing and are given back.
    pub fn apply(&mut self, entry: &LogEntry) -> Vec<VoidRecord> {
        let mut voids = Vec::new();
        for (index, record) in entry.records.iter().enumerate() {
            match rules::check(self, record) {
                Ok(()) => self.apply_record(record, entry),
                Err(reason) => voids.push(VoidRecord { entry_number: entry.header.number, index, reason }),
            }
        }
        voids
    }

    /// Registered packs in order.
    pub fn packs(&self) -> impl Iterator<Item = (PackOrdinal, &PackState)> {
        (0..).map(PackOrdinal).zip(&self.packs)
    }

    /// A pack by its ordinal.
    pub fn pack(&self, ordinal: PackOrdinal) -> Option<&PackState> {
        self.packs.get(usize::try_from(ordinal.0).ok()?)
    }

    /// The ordinal of a pack, if it is registered.
    pub fn ordinal_of(&self, name: &PackName) -> Option<PackOrdinal> {
        self.pack_ordinals.get(name).copied()
    }

    /// Does the pack count as a copy and as a target of deduplication?
    pub fn usable(&self, ordinal: PackOrdinal) -> bool {
        self.pack(ordinal).is_some_and(|pack| pack.status == PackStatus::Registered)
    }

    /// All restore points in log order, the forgotten too.
    pub fn points(&self) -> &[PointState] {
        &self.points
    }

    /// A restore point by its id.
    pub fn point(&self, id: &ChunkId) -> Option<&PointState> {
        self.points.get(*self.point_places.get(id)?)
    }

    /// The end of a VM's chain, forgotten or not.
    pub fn newest_of(&self, vm: &VmIdentity) -> Option<&PointState> {
        self.points.get(*self.chain_ends.get(vm)?)
    }

    /// A session.
    pub fn session(&self, id: &SessionId) -> Option<&SessionState> {
        self.sessions.get(id)
    }

    /// Sessions that may write.
    pub fn open_sessions(&self) -> impl Iterator<Item = (&SessionId, &SessionState)> {
        self.sessions.iter().filter(|(_, session)| session.status == SessionStatus::Open)
    }

    /// Who owns the packs of session `id` now, adoptions followed to the last; `None` for an unknown session.
    pub fn final_owner(&self, id: &SessionId) -> Option<SessionId> {
        let mut owner = *id;
        // Each adoption names an earlier session, so this ends; the bound keeps that true whatever the log says.
        for _ in 0..=self.sessions.len() {
            match self.sessions.get(&owner)?.status {
                SessionStatus::Adopted(by) => owner = by,
                _ => return Some(owner),
            }
        }
        None
    }

    /// Slots that honest programs use.
    pub fn slots(&self) -> &BTreeMap<SlotId, SlotState> {
        &self.slots
    }

    /// The newest entry that took copies away (Condemn, Damaged); 0 if there is none. A survey of what is needed made
    /// before it is out of date.
    pub fn newest_loss(&self) -> u64 {
        self.newest_loss
    }

    /// Orphans that a Delete names, and their owners.
    pub fn deleted_orphans(&self) -> &HashMap<PackName, SessionId> {
        &self.deleted_orphans
    }

    /// Points that an open session has pinned.
    pub fn pinned(&self) -> impl Iterator<Item = &PointState> {
        self.open_sessions().flat_map(|(_, session)| &session.pins).filter_map(|point| self.point(point))
    }

    /// The newest two checkpoints, oldest first.
    pub fn checkpoints(&self) -> &[CheckpointState] {
        &self.checkpoints
    }

    /// Number of the newest entry that holds a Checkpoint; 0 if there is none.
    pub(super) fn newest_checkpoint(&self) -> u64 {
        self.checkpoints.last().map_or(0, |newest| newest.entry_number)
    }

    /// The epoch under which objects are sealed now.
    pub fn newest_epoch(&self) -> u32 {
        self.newest_epoch
    }

    fn apply_record(&mut self, record: &Record, entry: &LogEntry) {
        let (number, time_ms) = (entry.header.number, entry.time_ms);
        match record {
            Record::Open(open) => {
                for adopted in &open.adopts {
                    self.end_session(adopted, SessionStatus::Adopted(open.session));
                }
                if let Some(slot) = open.slot.as_ref().and_then(|slot| self.slots.get_mut(slot)) {
                    slot.last_used_ms = Some(time_ms);
                }
                let session = SessionState {
                    host: open.host.clone(),
                    slot: open.slot,
                    status: SessionStatus::Open,
                    pins: Vec::new(),
                };
                self.sessions.insert(open.session, session);
            }
            Record::Commit(commit) => {
                self.register(&commit.new_packs, commit.session, number);
                self.with_packs(&commit.uses, |pack| pack.relied_on_in = number);
                let place = self.points.len();
                self.points.push(PointState {
                    id: commit.point,
                    identity: commit.vm.clone(),
                    vm_name: commit.vm_name.clone().unwrap_or_else(|| commit.vm.to_string()),
                    number: commit.number,
                    previous: commit.previous,
                    time_ms,
                    entry_number: number,
                    session: commit.session,
                    status: PointStatus::Live,
                    held: None,
                    completeness: commit.completeness.unwrap_or(Completeness::Whole),
                });
                self.point_places.insert(commit.point, place);
                self.chain_ends.insert(commit.vm.clone(), place);
            }
            Record::Moved(moved) => self.register(&moved.new_packs, moved.session, number),
            Record::Close { session } => self.end_session(session, SessionStatus::Closed),
            Record::Fence { session } => self.end_session(session, SessionStatus::Fenced),
            Record::Pin(pin) => {
                if let Some(session) = self.sessions.get_mut(&pin.session) {
                    session.pins.push(pin.point);
                }
            }
            Record::KeyChange(change) => {
                for added in &change.added {
                    let slot =
                        SlotState { digest: added.digest, added_in: number, last_used_ms: None, last_tested_ms: None };
                    self.slots.insert(added.slot, slot);
                }
                for revoked in &change.revoked {
                    self.slots.remove(revoked);
                    self.revoked.insert(*revoked, number);
                }
                self.newest_epoch = change.new_epoch.unwrap_or(self.newest_epoch);
            }
            Record::Forget(forget) => {
                forget
                    .points
                    .iter()
                    .for_each(|point| self.with_point(point, |point| point.status = PointStatus::Forgotten));
            }
            Record::Hold(hold) => self.with_point(&hold.point, |point| point.held = Some(hold.reason.clone())),
            Record::Release { point } => self.with_point(point, |point| point.held = None),
            Record::Condemn(condemn) => {
                self.with_packs(&condemn.packs, |pack| {
                    (pack.status, pack.condemned_ms) = (PackStatus::Condemned, Some(time_ms));
                });
                self.newest_loss = number;
            }
            Record::Damaged(damaged) => {
                // A condemned pack stays condemned and a deleted one deleted: else Delete would become void, or a pack return.
                let counts = |pack: &PackOrdinal| self.usable(*pack);
                let packs: Vec<PackOrdinal> = damaged.packs.iter().copied().filter(counts).collect();
                self.with_packs(&packs, |pack| pack.status = PackStatus::Damaged);
                self.newest_loss = number;
            }
            Record::Delete(delete) => {
                self.with_packs(&delete.packs, |pack| pack.status = PackStatus::Deleted);
                self.deleted_orphans.extend(delete.orphans.iter().map(|orphan| (orphan.pack, orphan.owner)));
            }
            Record::Swept(swept) => self.with_packs(&swept.packs, |pack| pack.swept = true),
            Record::Checkpoint(checkpoint) => {
                self.checkpoints.push(CheckpointState {
                    entry_number: number,
                    time_ms,
                    checkpoint: checkpoint.clone(),
                });
                let older = self.checkpoints.len().saturating_sub(CHECKPOINTS_KEPT);
                self.checkpoints.drain(..older);
            }
            Record::Verified(verified) => {
                if let Some(slot) = verified.slot.as_ref().and_then(|slot| self.slots.get_mut(slot)) {
                    slot.last_tested_ms = Some(time_ms);
                }
            }
            Record::Skipped { .. } => {}
        }
    }

    fn register(&mut self, packs: &[repo_format::NewPack], session: SessionId, number: u64) {
        for pack in packs {
            // The rules refuse a record that would go beyond u32.
            let ordinal = PackOrdinal(u32::try_from(self.packs.len()).unwrap_or(u32::MAX));
            self.pack_ordinals.insert(pack.name, ordinal);
            self.packs.push(PackState {
                name: pack.name,
                class: pack.class,
                bytes: pack.bytes,
                status: PackStatus::Registered,
                session,
                swept: false,
                relied_on_in: number,
                condemned_ms: None,
            });
        }
    }

    fn end_session(&mut self, id: &SessionId, status: SessionStatus) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.status = status;
            session.pins.clear();
        }
    }

    fn with_point(&mut self, id: &ChunkId, change: impl FnOnce(&mut PointState)) {
        if let Some(point) = self.point_places.get(id).and_then(|place| self.points.get_mut(*place)) {
            change(point);
        }
    }

    fn with_packs(&mut self, packs: &[PackOrdinal], mut change: impl FnMut(&mut PackState)) {
        for ordinal in packs {
            if let Some(pack) = usize::try_from(ordinal.0).ok().and_then(|at| self.packs.get_mut(at)) {
                change(pack);
            }
        }
    }
}
