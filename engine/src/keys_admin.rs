//! Key slots: list, add, remove, replace. A new slot is durable before an old one goes.

use repo_format::{AddedSlot, Digest, FormatError, KdfCost, NewSlot, SlotId, SlotKind, SlotSecret};

use crate::{
    entropy::random,
    error::Kind,
    log::{LogError, LogHead, decide_key_change},
    repository::{Reader, Writer, read_slots},
    store::{Name, PutNew, Reaction, StoreError},
};

/// A key slot as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub slot: SlotId,
    /// Password, key file or recovery key; `None` if no copy of it can be read.
    pub kind: Option<SlotKind>,
    /// What a person calls it.
    pub label: String,
    /// When it was made.
    pub created_ms: u64,
    /// When a session last opened the repository with it.
    pub last_used_ms: Option<u64>,
    /// When it was last tested.
    pub last_tested_ms: Option<u64>,
}

/// Why slots stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The log refused or could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slot cannot be made.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// There is no such slot.
    #[error("there is no key slot {slot}")]
    Unknown {
        /// What was asked for.
        slot: SlotId,
    },
    /// It is the last one that a person or a job opens the repository with.
    #[error("key slot {slot} is the last one that is not a recovery key: add another first")]
    Last {
        /// The slot.
        slot: SlotId,
    },
}

impl KeyError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Log(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Format(_) | Self::Unknown { .. } | Self::Last { .. } => Kind::Invalid,
        }
    }
}

/// All slots that are in use, in the order in which they were made.
pub fn slots(reader: &Reader) -> Result<Vec<SlotInfo>, KeyError> {
    let (found, _) = read_slots(reader.environment().store.as_ref())?;
    let mut slots: Vec<SlotInfo> = reader
        .state()
        .slots()
        .iter()
        .map(|(id, state)| {
            let slot = found.iter().map(|found| &found.slot).find(|slot| slot.id() == *id);
            SlotInfo {
                slot: *id,
                kind: slot.map(repo_format::KeySlot::kind),
                label: slot.map(|slot| slot.label().to_owned()).unwrap_or_default(),
                created_ms: slot.map_or(0, repo_format::KeySlot::created_ms),
                last_used_ms: state.last_used_ms,
                last_tested_ms: state.last_tested_ms,
            }
        })
        .collect();
    slots.sort_by_key(|slot| (slot.created_ms, slot.slot));
    Ok(slots)
}

/// Adds a slot that opens with `secret`.
pub fn add_slot(writer: &mut Writer, secret: &SlotSecret, label: &str, cost: KdfCost) -> Result<SlotId, KeyError> {
    let added = put_slot(writer, secret, label, cost)?;
    change(writer, vec![added], Vec::new())?;
    Ok(added.slot)
}

/// Removes a slot: from the log first, then its object. Whoever holds a copy of the object can still open it.
pub fn remove_slot(writer: &mut Writer, slot: SlotId) -> Result<LogHead, KeyError> {
    let slots = slots(writer)?;
    if slots.iter().all(|found| found.slot != slot) {
        return Err(KeyError::Unknown { slot });
    }
    let opens = |kind: Option<SlotKind>| matches!(kind, Some(SlotKind::Password | SlotKind::KeyFile));
    if !slots.iter().any(|other| other.slot != slot && opens(other.kind)) {
        return Err(KeyError::Last { slot });
    }
    let head = change(writer, Vec::new(), vec![slot])?;
    delete_objects(writer, slot);
    Ok(head)
}

/// Replaces the slot in use by one that opens with `secret`, in one log entry.
pub fn change_secret(writer: &mut Writer, secret: &SlotSecret, cost: KdfCost) -> Result<SlotId, KeyError> {
    let old = writer.slot();
    let label = slots(writer)?.into_iter().find(|slot| slot.slot == old).map(|slot| slot.label).unwrap_or_default();
    let added = put_slot(writer, secret, &label, cost)?;
    change(writer, vec![added], vec![old])?;
    delete_objects(writer, old);
    writer.0.slot = added.slot;
    Ok(added.slot)
}

fn put_slot(writer: &Writer, secret: &SlotSecret, label: &str, cost: KdfCost) -> Result<AddedSlot, KeyError> {
    let environment = writer.environment();
    let entropy = environment.entropy.as_ref();
    let new = NewSlot {
        repository: writer.config().repository,
        slot: SlotId::from_bytes(random(entropy)),
        label: label.to_owned(),
        created_ms: environment.clock.now_ms(),
        cost,
        salt: random(entropy),
        random: random(entropy),
    };
    let bytes = new.seal(secret, &writer.repository_keys)?;
    for copy in 0..2 {
        let name = Name::slot(new.slot, copy);
        if let PutNew::Exists(_) = environment.store.put_new(&name, &bytes)? {
            return Err(StoreError::new("create", name, Reaction::Invalid, "it is there already").into());
        }
    }
    Ok(AddedSlot { slot: new.slot, digest: Digest::of(&bytes) })
}

fn change(writer: &mut Writer, added: Vec<AddedSlot>, revoked: Vec<SlotId>) -> Result<LogHead, KeyError> {
    let appended = writer.append(&mut |state| decide_key_change(state, added.clone(), revoked.clone()))?;
    writer.remember_head();
    Ok(appended.head)
}

/// What the log has revoked is not used by anybody: a leftover object does no harm and is tried again by nobody.
fn delete_objects(writer: &Writer, slot: SlotId) {
    let names = [Name::slot(slot, 0), Name::slot(slot, 1)];
    drop(writer.environment().store.delete_many(&names));
}
