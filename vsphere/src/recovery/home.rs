//! The table of the VM home: exactly one row for what was saved, what is wished and what the target can do.

use std::fmt;

use super::{
    facts::{KeyState, TargetFacts},
    reason::Reason,
    wish::{EncryptionWish, Unbootable, Wish},
};
use crate::vm_home::{KmsKey, SavedEncryption, SavedVm, VmEncryption};

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HomeRow {
    /// Clear stays clear.
    D1,
    /// Clear, and new keys are wished for.
    D2,
    /// Same keys.
    D3,
    /// Same keys; nobody could say whether they can be had.
    D4,
    /// The key is lost.
    D5,
    /// Its provider does not answer.
    D6,
    /// There is no provider at all.
    D7,
    /// Its provider is not known here.
    D8,
    /// Its provider has another name here.
    D9,
    /// A half is missing.
    D10,
    /// New keys.
    D11,
    /// New keys, and nobody can make them.
    D12,
    /// In the clear.
    D13,
}

impl fmt::Display for HomeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How a key stands that is used although it may not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// It can be had.
    Available,
    /// Nobody could say.
    Unsure,
    /// It is asked for under another provider's name; the bundle still names the old one.
    Renamed {
        /// The old name.
        old: String,
    },
    /// It cannot be had today: the VM will not start.
    NotToBeHad {
        /// Its provider does not answer, or there is none.
        state: KeyState,
    },
}

/// What becomes of the home.
#[derive(Clone, Debug)]
pub enum HomePlan {
    /// It was clear and stays so.
    Clear,
    /// The same key, with its bundle.
    SameKeys {
        /// Both.
        encryption: VmEncryption,
        /// How the key stands.
        standing: KeyStanding,
    },
    /// A new key by policy; the bundle is left out.
    NewKeys {
        /// Who makes it.
        provider: String,
        /// The old one.
        was: Option<KmsKey>,
    },
    /// It was encrypted and is stored in the clear.
    InTheClear {
        /// The old key.
        was: Option<KmsKey>,
    },
}

impl HomePlan {
    /// Does it encrypt?
    pub fn encrypts(&self) -> bool {
        matches!(self, Self::SameKeys { .. } | Self::NewKeys { .. })
    }

    /// Is the VM made although it cannot start today?
    pub fn is_unbootable(&self) -> bool {
        matches!(self, Self::SameKeys { standing: KeyStanding::NotToBeHad { .. }, .. })
    }
}

/// A key under the name that it has here.
pub(super) struct KeyHere {
    pub key: KmsKey,
    pub state: KeyState,
    /// The name of its provider where it was saved, if that is another.
    pub renamed_from: Option<String>,
}

/// Asks for a key under its own provider, and under the mapped one where its own is a stranger.
pub(super) fn key_here(key: &KmsKey, wish: &Wish, facts: &TargetFacts) -> KeyHere {
    let state = facts.key_state(key);
    match (state, mapped(key, wish)) {
        (KeyState::Stranger, Some(new)) => {
            KeyHere { state: facts.key_state(&new), key: new, renamed_from: key.provider.clone() }
        }
        _ => KeyHere { key: key.clone(), state, renamed_from: None },
    }
}

/// The key under the provider that the map names for its own.
pub(super) fn mapped(key: &KmsKey, wish: &Wish) -> Option<KmsKey> {
    let new = wish.map.key_providers.get(key.provider.as_ref()?)?;
    Some(KmsKey { id: key.id.clone(), provider: Some(new.clone()) })
}

/// The row, and what it means: a plan or the reason against it.
pub(super) fn decide_home(saved: &SavedVm, wish: &Wish, facts: &TargetFacts) -> (HomeRow, Result<HomePlan, Reason>) {
    match (&saved.encryption, wish.encryption) {
        (SavedEncryption::Clear, EncryptionWish::SameKeys | EncryptionWish::None) => (HomeRow::D1, Ok(HomePlan::Clear)),
        (SavedEncryption::Clear, EncryptionWish::NewKeys) => (HomeRow::D2, Err(Reason::WasNotEncrypted)),
        (SavedEncryption::Whole(encryption), EncryptionWish::SameKeys) => same_keys(encryption, wish, facts),
        (encryption, EncryptionWish::SameKeys) => {
            let missing = encryption.missing().unwrap_or("its keys were not saved");
            (HomeRow::D10, Err(Reason::HalfMissing { missing, key: encryption.key().cloned() }))
        }
        (encryption, EncryptionWish::NewKeys) => match facts.default_provider.can_make_keys() {
            Some(provider) => {
                let plan = HomePlan::NewKeys { provider: provider.to_owned(), was: encryption.key().cloned() };
                (HomeRow::D11, Ok(plan))
            }
            None => (HomeRow::D12, Err(Reason::NobodyMakesKeys { provider: facts.default_provider.clone() })),
        },
        (encryption, EncryptionWish::None) => {
            (HomeRow::D13, Ok(HomePlan::InTheClear { was: encryption.key().cloned() }))
        }
    }
}

fn same_keys(encryption: &VmEncryption, wish: &Wish, facts: &TargetFacts) -> (HomeRow, Result<HomePlan, Reason>) {
    let KeyHere { key, state, renamed_from } = key_here(encryption.key(), wish, facts);
    let plan = |standing| {
        let encryption = match (&renamed_from, &key.provider) {
            (Some(_), Some(new)) => encryption.clone().under(new),
            _ => encryption.clone(),
        };
        HomePlan::SameKeys { encryption, standing }
    };
    let not_to_be_had = |row| match wish.consents.unbootable {
        Unbootable::Allowed => (row, Ok(plan(KeyStanding::NotToBeHad { state }))),
        Unbootable::Refused => (row, Err(Reason::KeyNotToBeHad { key: key.clone(), state })),
    };
    match (state, &renamed_from) {
        (KeyState::Usable | KeyState::Unsure, Some(old)) => {
            (HomeRow::D9, Ok(plan(KeyStanding::Renamed { old: old.clone() })))
        }
        (KeyState::Usable, None) => (HomeRow::D3, Ok(plan(KeyStanding::Available))),
        (KeyState::Unsure, None) => (HomeRow::D4, Ok(plan(KeyStanding::Unsure))),
        (KeyState::Lost, _) => (HomeRow::D5, Err(Reason::KeyLost { key })),
        (KeyState::Down, _) => not_to_be_had(HomeRow::D6),
        (KeyState::None, _) => not_to_be_had(HomeRow::D7),
        (KeyState::Stranger, _) => {
            let listed = facts.providers.iter().cloned().collect();
            (HomeRow::D8, Err(Reason::ProviderUnknown { key, listed, mapped_from: renamed_from }))
        }
    }
}
