//! The tables of recovery, row by row and as a whole.

mod failures;
mod guards;
mod product;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use repo_format::PolicyEncrypts;

use super::*;
use crate::vm_home::{
    KmsKey, SavedVm,
    tests::{Sample, policy, saved},
};

pub(crate) const HOME_KEY: &str = "0b1f6f0ac41b";

pub(crate) fn key(id: &str) -> KmsKey {
    KmsKey::new(id, Some("kms-prod"))
}

/// A vCenter that has everything.
pub(crate) fn target() -> TargetFacts {
    TargetFacts {
        place: "vc2 DC1/Cluster1/ds-ssd".to_owned(),
        server: ServerKind::VCenter,
        providers: BTreeSet::from(["kms-prod".to_owned()]),
        keys: [HOME_KEY, "77aa", "88bb"].map(|id| (key(id), KeyState::Usable)).into(),
        default_provider: ProviderState::Active { id: "kms-prod".to_owned() },
        policies: vec![
            policy("p-enc", "VM Encryption Policy", PolicyEncrypts::Yes),
            policy("p-gold", "Gold", PolicyEncrypts::No),
        ],
        host: Some("esx1".to_owned()),
        host_crypto: HostCrypto::Safe,
        register_host: RegisterHost::Granted,
        name: NameState::Free,
        networks: vec![TargetNetwork { name: "VM Network".to_owned(), backing: NetworkBacking::Standard }],
        missing_privileges: Vec::new(),
        datastore: "ds-ssd".to_owned(),
        free_bytes: Some(1 << 40),
    }
}

pub(crate) fn with_home_key(state: KeyState) -> TargetFacts {
    TargetFacts { keys: BTreeMap::from([(key(HOME_KEY), state)]), ..target() }
}

pub(crate) fn wish(encryption: EncryptionWish, losses: &[Loss]) -> Wish {
    let consents = Consents { losses: losses.iter().copied().collect(), unbootable: Unbootable::Refused };
    Wish { encryption, consents, purpose: Purpose::Restore, ..Wish::default() }
}

pub(crate) fn unbootable(mut wish: Wish) -> Wish {
    wish.consents.unbootable = Unbootable::Allowed;
    wish
}

pub(crate) fn renamed(old: &str, new: &str, mut wish: Wish) -> Wish {
    wish.map.key_providers.insert(old.to_owned(), new.to_owned());
    wish
}

/// The sample VM with disks whose policy is that of the home.
pub(crate) fn saved_with_disk_policies(sample: Sample) -> SavedVm {
    let mut saved = saved(sample);
    for disk in &mut saved.disks {
        if disk.kms_key.is_some() {
            disk.policy = saved.policy.clone();
        }
    }
    saved
}

pub(crate) fn go(decision: Decision) -> Recovery {
    match decision {
        Decision::Go(recovery) => *recovery,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refused(decision: Decision) -> Refused {
    match decision {
        Decision::Refuse(refused) => refused,
        other => panic!("{other:?}"),
    }
}
