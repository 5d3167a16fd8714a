//! What should be known of a plan and is no loss.

use std::fmt;

use super::{facts::KeyState, reason::Part};
use crate::vm_home::KmsKey;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nobody could say whether the key can be had.
    KeyUnsure {
        /// It.
        key: KmsKey,
    },
    /// A key is asked for under another provider's name.
    ProviderRenamed {
        /// The old name.
        old: String,
        /// The new one.
        new: String,
    },
    /// A mapping has nothing to do.
    MappingNotUsed {
        /// The old name.
        old: String,
    },
    /// A disk gets a new key because its own is not to be had.
    DiskKeyReplaced {
        /// The disk.
        disk: String,
        /// Its key.
        key: KmsKey,
        /// Why.
        state: KeyState,
    },
    /// The policy of a part in the clear is not here, or would encrypt it.
    PolicyLeftOut {
        /// The part.
        part: Part,
        /// Its name.
        name: String,
    },
    /// A kind of device that is not made again.
    DeviceLeftOut {
        /// Its label.
        label: String,
    },
    /// NVRAM was saved but damaged.
    NvramDamaged {
        /// What.
        what: String,
    },
    /// NVRAM was not saved.
    NvramAbsent {
        /// Why.
        why: String,
    },
    /// The VM is made and does not start.
    WaitsForKey {
        /// For this key.
        key: KmsKey,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyUnsure { key } => {
                write!(f, "whether {} can give key {} could not be found out", key.provider_name(), key.id)
            }
            Self::ProviderRenamed { old, new } => write!(
                f,
                "the key is asked for from {new}, but the bundle names {old}; VMware asks for the same cluster name"
            ),
            Self::MappingNotUsed { old } => write!(f, "{old} is here under its own name; its mapping is not used"),
            Self::DiskKeyReplaced { disk, key, state: KeyState::Stranger } => {
                write!(f, "{disk}: key provider {} is not known here; it gets a new key", key.provider_name())
            }
            Self::DiskKeyReplaced { disk, key, .. } => write!(f, "{disk}: key {} is lost; it gets a new one", key.id),
            Self::PolicyLeftOut { part, name } => {
                write!(
                    f,
                    "{part}: storage policy \"{name}\" is not used (it is not here, or it encrypts); the datastore's own is"
                )
            }
            Self::DeviceLeftOut { label } => write!(f, "{label}: not made again; add it in vSphere if it is needed"),
            Self::NvramDamaged { what } => {
                write!(f, "NVRAM was saved, but cannot be read: {what}; run: strongroom verify")
            }
            Self::NvramAbsent { why } => write!(f, "NVRAM is not in this point: {why}"),
            Self::WaitsForKey { key } => {
                write!(f, "when {} can give key {}, then power on, nothing else to do", key.provider_name(), key.id)
            }
        }
    }
}
