//! Why a VM was not brought back.

use engine::Kind;

use crate::{
    datastore_file::DatastoreFileError,
    inventory::InventoryError,
    journal::JournalError,
    recovery::{SpecError, WriteDisksError},
    soap::CallError,
    task::TaskError,
    vm_home::ConfigError,
};

/// Why a VM was not brought back. In every case but [`LeftBehind`](Self::LeftBehind) nothing of it is left in vCenter.
#[derive(Debug, thiserror::Error)]
pub enum RestoreVmError {
    /// There is nothing to make it from.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Nothing is done that was not written down before.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key cannot be had.
    #[error("{vm}: vCenter cannot get key {key}: {source}; the half-made VM was removed")]
    KeyNotHad {
        /// The VM.
        vm: String,
        /// The key.
        key: String,
        /// What vCenter said.
        source: TaskError,
        /// What to do, with exactly the consent that it needs.
        advice: String,
        /// It was known that the key cannot be had now, and a VM that waits for it was wished for.
        waited_for: bool,
    },
    /// vCenter did not make the VM.
    #[error("{vm}: it could not be made: {source}")]
    Create {
        /// The VM.
        vm: String,
        /// What vCenter said.
        source: TaskError,
    },
    /// Something after that.
    #[error("{vm}: {what}: {source}; the half-made VM was removed")]
    Task {
        /// The VM.
        vm: String,
        /// What was done.
        what: &'static str,
        /// What vCenter said.
        source: TaskError,
    },
    /// What vCenter made is not what was decided.
    #[error("{vm}: vCenter made something else than was decided: {what}; the half-made VM was removed")]
    NotAsDecided {
        /// The VM.
        vm: String,
        /// What differs.
        what: String,
    },
    /// Its disks.
    #[error("{0}; the half-made VM was removed")]
    Disks(WriteDisksError),
    /// The NVRAM file.
    #[error("{vm}: NVRAM: {source}; the half-made VM was removed")]
    Nvram {
        /// The VM.
        vm: String,
        /// Why.
        source: DatastoreFileError,
    },
    /// The NVRAM file is not what was sent.
    #[error("{vm}: the NVRAM file read back differs from what was sent; the half-made VM was removed")]
    NvramDiffers {
        /// The VM.
        vm: String,
    },
    /// The plan has a disk or an NVRAM that the VM or the point does not.
    #[error("{vm}: {what}; this program contradicts itself")]
    Contradiction {
        /// The VM.
        vm: String,
        /// How.
        what: String,
    },
    /// The new VM cannot be looked at.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The new VM's configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The half-made VM could not be removed.
    #[error("{source}; but it is still there: the half-made VM \"{vm}\" could not be removed: {why}")]
    LeftBehind {
        /// The VM.
        vm: String,
        /// Why.
        why: String,
        /// Why it is only half made.
        source: Box<RestoreVmError>,
    },
}

impl RestoreVmError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Spec(error) => error.kind(),
            Self::Journal(error) => error.kind(),
            Self::KeyNotHad { .. } => Kind::Failed,
            Self::Create { source, .. } | Self::Task { source, .. } => source.kind(),
            Self::NotAsDecided { .. } | Self::NvramDiffers { .. } => Kind::Failed,
            Self::Disks(error) => error.kind(),
            Self::Nvram { source, .. } => source.kind(),
            Self::Contradiction { .. } => Kind::Bug,
            Self::Inventory(error) => error.kind(),
            Self::Call(error) => error.kind(),
            Self::Config(error) => error.kind(),
            Self::LeftBehind { source, .. } => source.kind(),
        }
    }

    /// Whether this is a refusal: what was asked for cannot come out, and nothing of it is left.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::KeyNotHad { waited_for, .. } => !waited_for,
            Self::Disks(error) => error.is_refusal(),
            _ => false,
        }
    }

    /// Whether a VM may have been made although no answer said so.
    pub(super) fn may_have_made(&self) -> bool {
        match self {
            Self::KeyNotHad { source, .. } | Self::Create { source, .. } => source.may_have_happened(),
            _ => true,
        }
    }

    /// What to do, where it is not what the kind says.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::KeyNotHad { advice, .. } => advice,
            Self::Disks(error) => error.hint()?,
            Self::LeftBehind { .. } => "strongroom vsphere cleanup",
            Self::NotAsDecided { .. } => "check the policy and the key provider that are named, then run it again",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
