//! Records: what the log says happened (SPEC.md section 16). What a record does to the state is the engine's affair.

mod codec;

#[cfg(test)]
pub(crate) mod tests;

use crate::{
    chunk::Class,
    ids::{ChunkId, Digest, PackName, SessionId, SlotId},
    ordinal::PackOrdinal,
    restore_point::Completeness,
    vm_identity::VmIdentity,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A session begins.
    Open(Open),
    /// A restore point exists.
    Commit(Commit),
    /// A session ends.
    Close {
        /// Which.
        session: SessionId,
    },
    /// Slots come and go, or a new key epoch begins.
    KeyChange(KeyChange),
    /// A session reads a restore point; its chunks must stay.
    Pin(Pin),
    /// Chunks were copied out of packs into new ones.
    Moved(Moved),
    /// Restore points are given up.
    Forget(Forget),
    /// Packs are no longer used and will be deleted.
    Condemn(Condemn),
    /// Packs may be deleted now.
    Delete(Delete),
    /// A session is ended by another program.
    Fence {
        /// Which.
        session: SessionId,
    },
    /// Packs were deleted.
    Swept(Swept),
    /// Packs are damaged.
    Damaged(Damaged),
    /// A restore point must not be forgotten.
    Hold(Hold),
    /// A checkpoint of the state was stored.
    Checkpoint(Checkpoint),
    /// A held restore point may be forgotten again.
    Release {
        /// Which.
        point: ChunkId,
    },
    /// Packs were verified.
    Verified(Verified),
    /// Of a newer program, and of no consequence to this one.
    Skipped {
        /// Its number, odd.
        kind: u64,
    },
}

/// A pack that a session finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPack {
    /// Its name.
    pub name: PackName,
    /// Its class.
    pub class: Class,
    /// Its length.
    pub bytes: u64,
}

/// A session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its id.
    pub session: SessionId,
    /// The host it runs on.
    pub host: Option<String>,
    /// Sessions whose packs it takes over.
    pub adopts: Vec<SessionId>,
    /// The slot that opened the repository.
    pub slot: Option<SlotId>,
    /// The version of the program.
    pub program_version: Option<String>,
}

/// A restore point exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The session that made it.
    pub session: SessionId,
    /// The VM's name at that time.
    pub vm_name: Option<String>,
    /// The VM.
    pub vm: VmIdentity,
    /// Whether the point is whole.
    pub completeness: Option<Completeness>,
    /// The number of the VM's point, from 1.
    pub number: u64,
    /// The VM's point before.
    pub previous: Option<ChunkId>,
    /// The point.
    pub point: ChunkId,
    /// Packs to be registered, in this order.
    pub new_packs: Vec<NewPack>,
    /// Packs registered before whose chunks it uses.
    pub uses: Vec<PackOrdinal>,
}

/// Slots come and go, or a new key epoch begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// New slots.
    pub added: Vec<AddedSlot>,
    /// Slots that honest programs no longer use.
    pub revoked: Vec<SlotId>,
    /// The epoch under which objects are sealed from now on.
    pub new_epoch: Option<u32>,
}

/// A new slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedSlot {
    /// Its id.
    pub slot: SlotId,
    /// BLAKE3 of the slot object.
    pub digest: Digest,
}

/// A session reads a restore point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The reading session.
    pub session: SessionId,
    /// The point.
    pub point: ChunkId,
}

/// Chunks were copied out of packs into new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The session that copied them.
    pub session: SessionId,
    /// Packs to be registered, in this order.
    pub new_packs: Vec<NewPack>,
    /// Packs the chunks came from.
    pub from: Vec<PackOrdinal>,
}

/// Restore points are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Which.
    pub points: Vec<ChunkId>,
    /// Why.
    pub reason: Option<String>,
}

/// Packs are no longer used and will be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemn {
    /// Which.
    pub packs: Vec<PackOrdinal>,
}

/// Packs may be deleted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Condemned packs.
    pub packs: Vec<PackOrdinal>,
    /// Packs that were never registered.
    pub orphans: Vec<Orphan>,
}

/// A pack that was never registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its name.
    pub pack: PackName,
    /// The session that wrote it.
    pub owner: SessionId,
}

/// Packs were deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Registered packs.
    pub packs: Vec<PackOrdinal>,
    /// Packs that were never registered.
    pub orphans: Vec<PackName>,
}

/// Packs are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Which.
    pub packs: Vec<PackOrdinal>,
    /// How that was found.
    pub reason: Option<String>,
}

/// A restore point must not be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which.
    pub point: ChunkId,
    /// Why.
    pub reason: String,
    /// Until when; for ever if missing.
    pub until_ms: Option<u64>,
}

/// A checkpoint of the state was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the entry whose state it is.
    pub at: u64,
    /// BLAKE3 of the state.
    pub digest: Digest,
    /// Its parts.
    pub parts: Vec<Digest>,
}

/// What was proved of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifiedHow {
    /// Its bytes bear its name.
    Name,
    /// All its chunks were opened and hashed.
    Contents,
}

/// Packs were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which.
    pub packs: Vec<PackOrdinal>,
    /// How.
    pub how: VerifiedHow,
    /// The slot that opened the repository for it.
    pub slot: Option<SlotId>,
}
