//! The table of the disks. Their data are plain in the repository: a disk key that is lost loses nothing.

use super::{
    facts::{KeyState, TargetFacts},
    home::{HomePlan, key_here},
    policy::{PolicyChoice, for_clear, for_encrypted},
    reason::{Part, Reason},
    wish::{EncryptionWish, Wish},
};
use crate::vm_home::{KmsKey, SavedDisk};

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskRow {
    /// Clear stays clear.
    K1,
    /// Its own key.
    K2,
    /// Its key is lost or unknown here: a new one.
    K3,
    /// Its key cannot be had, and no other either.
    K4,
    /// New keys or none were wished for.
    K5,
}

/// How a disk is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskKeys {
    /// In the clear.
    Clear,
    /// With this key.
    Own(KmsKey),
    /// With a key that is made for it, by policy.
    New,
}

/// What becomes of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// As the restore point calls it.
    pub name: String,
    /// Its row.
    pub row: DiskRow,
    /// How it is stored.
    pub keys: DiskKeys,
    /// Its key as it was saved.
    pub was: Option<KmsKey>,
    /// Its policy.
    pub policy: Option<PolicyChoice>,
    /// Size in bytes.
    pub capacity_bytes: u64,
}

/// The row of a disk. `home` is what was decided for the VM home, if anything was.
pub(super) fn disk_row(
    disk: &SavedDisk,
    home: Option<&HomePlan>,
    wish: &Wish,
    facts: &TargetFacts,
) -> (DiskRow, Result<DiskKeys, Reason>) {
    let Some(saved_key) = &disk.kms_key else { return (DiskRow::K1, Ok(DiskKeys::Clear)) };
    match wish.encryption {
        EncryptionWish::NewKeys => return (DiskRow::K5, Ok(DiskKeys::New)),
        EncryptionWish::None => return (DiskRow::K5, Ok(DiskKeys::Clear)),
        EncryptionWish::SameKeys => {}
    }
    let here = key_here(saved_key, wish, facts);
    match here.state {
        KeyState::Usable | KeyState::Unsure => (DiskRow::K2, Ok(DiskKeys::Own(here.key))),
        KeyState::Lost | KeyState::Stranger if facts.default_provider.can_make_keys().is_some() => {
            (DiskRow::K3, Ok(DiskKeys::New))
        }
        _ if home.is_some_and(HomePlan::is_unbootable) => (DiskRow::K4, Ok(DiskKeys::Own(here.key))),
        state => {
            let disk = disk.name.clone();
            (DiskRow::K4, Err(Reason::DiskKeyNotToBeHad { disk, key: here.key, state }))
        }
    }
}

/// The plan of a disk; reasons against it are added to `reasons`.
pub(super) fn plan_disk(
    disk: &SavedDisk,
    home: Option<&HomePlan>,
    wish: &Wish,
    facts: &TargetFacts,
    reasons: &mut Vec<Reason>,
) -> Option<DiskPlan> {
    let (row, keys) = disk_row(disk, home, wish, facts);
    let keys = keys.map_err(|reason| reasons.push(reason)).ok()?;
    let policy = match keys {
        DiskKeys::Clear => for_clear(disk.policy.as_ref(), wish, facts),
        DiskKeys::Own(_) | DiskKeys::New => {
            let part = Part::Disk(disk.name.clone());
            let choice = for_encrypted(&part, disk.policy.as_ref(), wish, facts);
            Some(choice.map_err(|reason| reasons.push(reason)).ok()?)
        }
    };
    Some(DiskPlan {
        name: disk.name.clone(),
        row,
        keys,
        was: disk.kms_key.clone(),
        policy,
        capacity_bytes: disk.capacity_bytes,
    })
}
