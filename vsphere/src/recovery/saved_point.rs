//! A restore point, read as far as recovery needs it: what was saved of the VM, and the bytes of its NVRAM.

use engine::{Kind, ReadError, Reader, RestoreHomeError, RestoredHomeParts, restore_home_parts, show};
use repo_format::ChunkId;
use zeroize::Zeroizing;

use crate::vm_home::SavedVm;

/// A restore point.
pub struct SavedPoint {
    /// Its id.
    pub point: ChunkId,
    /// The VM as it was saved.
    pub saved: SavedVm,
    /// Its NVRAM, if there is one that can be read.
    pub nvram: Option<Zeroizing<Vec<u8>>>,
}

/// Why a restore point cannot be read now. One that is damaged can be: then recovery says what of it is lost.
#[derive(Debug, thiserror::Error)]
pub enum SavedPointError {
    /// Its record.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// Its VM home.
    #[error(transparent)]
    Home(#[from] RestoreHomeError),
}

impl SavedPointError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Record(error) => error.kind(),
            Self::Home(error) => error.kind(),
        }
    }
}

fn is_lost(kind: Kind) -> bool {
    matches!(kind, Kind::Damaged | Kind::Missing)
}

impl SavedPoint {
    /// Reads restore point `point`.
    pub fn read(reader: &Reader, point: ChunkId) -> Result<Self, SavedPointError> {
        let shown = show(reader, point)?;
        let verdict = shown.verdict.clone();
        let disks_only = |saved: SavedVm| Self { point, saved, nvram: None };
        let RestoredHomeParts { home, document, nvram } = match restore_home_parts(reader, point) {
            Ok(parts) => parts,
            Err(RestoreHomeError::None { .. }) => return Ok(disks_only(SavedVm::disks_only(&shown.record, verdict))),
            Err(error) if is_lost(error.kind()) => {
                return Ok(disks_only(SavedVm::with_broken_home(&shown.record, verdict, error)));
            }
            Err(error) => return Err(error.into()),
        };
        let saved = SavedVm::read(&shown.record, &home, &document, verdict);
        match nvram {
            None => Ok(Self { point, saved, nvram: None }),
            Some(Ok(bytes)) => Ok(Self { point, saved, nvram: Some(bytes) }),
            Some(Err(error)) if is_lost(error.kind()) => {
                Ok(Self { point, saved: saved.with_damaged_nvram(error), nvram: None })
            }
            Some(Err(error)) => Err(error.into()),
        }
    }
}
