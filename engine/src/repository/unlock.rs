//! From a secret to the keys: reads the key slots and tries the ones of the secret's kind.

use repo_format::{Digest, FormatError, KeySlot, RepositoryId, RepositoryKeys, SlotId, SlotKind, SlotSecret};

use crate::store::{Listed, Name, Prefix, Reaction, Store, StoreError};

/// Why no slot opens.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No slot opens with this secret.
    #[error("no key slot opens with this {}", kind_text(*kind))]
    WrongKey {
        /// What was tried.
        kind: SlotKind,
    },
    /// There are no slots of this kind at all.
    #[error("the repository has no key slot for a {}", kind_text(*kind))]
    NoSlotOfKind {
        /// What was tried.
        kind: SlotKind,
    },
    /// All copies of all slots are damaged.
    #[error("no key slot can be read: {0}")]
    Damaged(FormatError),
}

fn kind_text(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Password => "password",
        SlotKind::KeyFile => "key file",
        SlotKind::RecoveryKey => "recovery key",
    }
}

/// A slot as found in the store.
pub(crate) struct FoundSlot {
    pub(crate) slot: KeySlot,
    pub(crate) digest: Digest,
}

/// All slots of which a copy can be read, and the first error met.
pub(crate) fn read_slots(store: &dyn Store) -> Result<(Vec<FoundSlot>, Option<FormatError>), StoreError> {
    let mut names: Vec<Name> = Vec::new();
    store.list(Prefix::Keys, &mut |listed: Listed| {
        names.push(listed.name);
        std::ops::ControlFlow::Continue(())
    })?;
    names.sort();
    let mut slots: Vec<FoundSlot> = Vec::new();
    let mut first_error = None;
    for name in names {
        // What is longer than a slot is none, and must not keep the others from opening.
        let bytes = match store.get(&name, repo_format::SLOT_BYTES as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) if error.reaction == Reaction::Damaged => {
                let damaged = || FormatError::damaged("key slot", "length", "more", repo_format::SLOT_BYTES);
                first_error.get_or_insert_with(damaged);
                continue;
            }
            Err(error) => return Err(error),
        };
        match KeySlot::parse(&bytes) {
            Ok(slot) if slots.iter().all(|found| found.slot.id() != slot.id()) => {
                slots.push(FoundSlot { slot, digest: Digest::of(&bytes) });
            }
            Ok(_) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Ok((slots, first_error))
}

/// Opens the slot that fits `secret`; `hint` (the slot last used on this host) is tried first.
pub(crate) fn unlock(
    store: &dyn Store,
    repository: &RepositoryId,
    secret: &SlotSecret,
    hint: Option<SlotId>,
) -> Result<(RepositoryKeys, SlotId), UnlockError> {
    let (slots, damage) = read_slots(store)?;
    if let (true, Some(damage)) = (slots.is_empty(), damage) {
        return Err(UnlockError::Damaged(damage));
    }
    let kind = secret.kind();
    let mut fitting: Vec<&KeySlot> = slots
        .iter()
        .map(|found| &found.slot)
        .filter(|slot| slot.kind() == kind && slot.repository() == *repository)
        .collect();
    fitting.sort_by_key(|slot| Some(slot.id()) != hint);
    if fitting.is_empty() {
        return Err(UnlockError::NoSlotOfKind { kind });
    }
    fitting
        .iter()
        .find_map(|slot| slot.open(secret).ok().map(|keys| (keys, slot.id())))
        .ok_or(UnlockError::WrongKey { kind })
}
