//! What does not come back.

use std::{collections::BTreeSet, fmt, str::FromStr};

use engine::Verdict;

use super::wish::EncryptionWish;
use crate::vm_home::{KmsKey, SavedVm};

/// A loss that must be agreed to by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Content of the NVRAM.
    Nvram,
    /// Content of the vTPM.
    Vtpm,
    /// The VM is stored in the clear.
    Encryption,
    /// Ranges of disks that could not be read.
    BadExtents,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nvram, Self::Vtpm, Self::Encryption, Self::BadExtents];

    /// The word of `--accept-loss`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nvram => "nvram",
            Self::Vtpm => "vtpm",
            Self::Encryption => "encryption",
            Self::BadExtents => "bad-extents",
        }
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = || Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|loss| loss.word() == word);
        found.ok_or_else(|| format!("{word:?} is no loss; there are {}", known()))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What of that which the point holds is given up by a restore with other keys or none, or by any.
///
/// What the point itself lacks is not given up: it is said, and needs no consent.
pub(super) fn given_up(encryption: EncryptionWish, saved: &SavedVm) -> BTreeSet<Loss> {
    let changes = !saved.encryption.is_clear() && encryption != EncryptionWish::SameKeys;
    let mut losses = secrets_of(saved);
    losses.retain(|_| changes);
    if changes && encryption == EncryptionWish::None {
        losses.insert(Loss::Encryption);
    }
    if matches!(saved.point, Verdict::Incomplete { .. } | Verdict::Damaged { .. }) {
        losses.insert(Loss::BadExtents);
    }
    losses
}

/// What hangs on the old key and bundle.
pub(super) fn secrets_of(saved: &SavedVm) -> BTreeSet<Loss> {
    let nvram = saved.holds_nvram().then_some(Loss::Nvram);
    nvram.into_iter().chain(saved.vtpm.is_some().then_some(Loss::Vtpm)).collect()
}

/// What is said of a loss, before the question and again at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossLine {
    /// NVRAM is not given back.
    Nvram,
    /// What an UEFI guest loses with it.
    SecureBoot,
    /// The vTPM is empty, or gone.
    Vtpm,
    /// The home has another key.
    HomeKey {
        /// The old one.
        was: Option<KmsKey>,
    },
    /// The home is in the clear.
    HomeClear,
    /// A disk has another key.
    DiskKey {
        /// The disk.
        disk: String,
    },
    /// A disk is in the clear.
    DiskClear {
        /// The disk.
        disk: String,
    },
    /// A disk is not in the point.
    DiskSkipped {
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
}

impl LossLine {
    /// The word that programs read.
    pub fn word(&self) -> &str {
        match self {
            Self::Nvram => "nvram",
            Self::SecureBoot => "secure-boot",
            Self::Vtpm => "vtpm",
            Self::HomeKey { .. } | Self::HomeClear => "vm-home",
            Self::DiskKey { disk } | Self::DiskClear { disk } | Self::DiskSkipped { disk, .. } => disk,
        }
    }
}

impl fmt::Display for LossLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvram => f.write_str("nvram: not restored; vSphere makes a generic one"),
            Self::SecureBoot => f.write_str("secure-boot: it and the boot disk entry may have to be set up again"),
            Self::Vtpm => f.write_str("vtpm: content lost; have the BitLocker and other recovery keys ready"),
            Self::HomeKey { was: Some(key) } => write!(f, "vm home: new key, was {}", key.short()),
            Self::HomeKey { was: None } => f.write_str("vm home: new key, the old one was not saved"),
            Self::HomeClear => f.write_str("vm home: will be stored in the clear"),
            Self::DiskKey { disk } => write!(f, "{disk}: new key (no data is lost)"),
            Self::DiskClear { disk } => write!(f, "{disk}: will be stored in the clear"),
            Self::DiskSkipped { disk, why } => write!(f, "{disk}: not in this point ({why}); it is not made"),
        }
    }
}
