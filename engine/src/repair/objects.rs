//! Config and key slots exist twice: a copy that is missing or damaged is written again from the other.

use repo_format::{CONFIG_BYTES, Config, Digest, SLOT_BYTES};

use super::{Healed, HealedFrom, RepairError, RepairMode};
use crate::{
    repository::Writer,
    store::{Name, PutNew, Reaction, Store, StoreError},
};

/// Mends what has a right twin, and gives it.
pub(super) fn mend_copies(writer: &Writer, mode: RepairMode) -> Result<Vec<Healed>, RepairError> {
    let store = writer.environment().store.as_ref();
    let mut healed = Vec::new();
    let is_config = |bytes: &[u8]| {
        Config::decode(bytes)
            .and_then(|config| config.verify(writer.keys()))
            .is_ok_and(|config| config == *writer.config())
    };
    let configs = [("config".to_owned(), Name::config()), ("config.copy".to_owned(), Name::config_copy())];
    mend_pair(store, configs, CONFIG_BYTES, &is_config, mode, &mut healed)?;
    for (slot, known) in writer.state().slots() {
        let copies = [0, 1].map(|copy| {
            let name = Name::slot(*slot, copy);
            (format!("key slot {}", name.as_str()), name)
        });
        mend_pair(store, copies, SLOT_BYTES, &|bytes| Digest::of(bytes) == known.digest, mode, &mut healed)?;
    }
    Ok(healed)
}

fn mend_pair(
    store: &dyn Store,
    copies: [(String, Name); 2],
    bytes_max: usize,
    is_right: &dyn Fn(&[u8]) -> bool,
    mode: RepairMode,
    healed: &mut Vec<Healed>,
) -> Result<(), RepairError> {
    let mut found = Vec::new();
    for (_, name) in &copies {
        found.push(match store.get(name, bytes_max as u64) {
            Err(error) if error.reaction == Reaction::Damaged => Some(Vec::new()),
            other => other?,
        });
    }
    let Some(right) = found.iter().flatten().find(|bytes| is_right(bytes)).cloned() else { return Ok(()) };
    for ((object, name), found) in copies.into_iter().zip(found) {
        let what = match found {
            Some(bytes) if bytes == right => continue,
            Some(_) => "is damaged",
            None => "is missing",
        };
        if mode == RepairMode::Mend {
            put(store, &name, &right)?;
        }
        healed.push(Healed { object, what: what.to_owned(), from: HealedFrom::Twin });
    }
    Ok(())
}

/// A damaged copy makes room for the right bytes; its twin is there meanwhile.
fn put(store: &dyn Store, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
    for _ in 0..2 {
        match store.put_new(name, bytes)? {
            PutNew::Created => return Ok(()),
            PutNew::Exists(_) => drop(store.delete_many(std::slice::from_ref(name))),
        }
    }
    Err(StoreError::new("create", name, Reaction::Unavailable, "the damaged object of this name cannot be removed"))
}
