//! What the target is like, as others found out.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::StoragePolicy;

use crate::vm_home::KmsKey;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// A vCenter.
    VCenter,
    /// A host by itself: it knows no keys.
    BareHost,
}

/// Can a key be had now?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Yes.
    Usable,
    /// Nobody could say.
    Unsure,
    /// Its provider answers and does not have it.
    Lost,
    /// Its provider does not answer.
    Down,
    /// Its provider is not known here, others are.
    Stranger,
    /// No provider is known here.
    None,
}

/// What `QueryCryptoKeyStatus` said of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAnswer<'a> {
    /// Not asked, or not answered: an older server, a missing right.
    None,
    /// An answer.
    Status {
        /// `keyAvailable`.
        available: Option<bool>,
        /// `reason`.
        reason: Option<&'a str>,
    },
}

impl KeyState {
    /// Judges what was seen: the providers listed, whether the key's own is active, and the answer about the key.
    pub fn judge(key: &KmsKey, listed: &[String], active: Option<bool>, answer: KeyAnswer<'_>) -> Self {
        if listed.is_empty() {
            return Self::None;
        }
        if key.provider.as_ref().is_some_and(|provider| !listed.contains(provider)) {
            return Self::Stranger;
        }
        let (available, reason) = match answer {
            KeyAnswer::None => (None, None),
            KeyAnswer::Status { available, reason } => (available, reason),
        };
        // Spelled `keyStateMissingInKMS` on the wire; some releases begin with a capital.
        match reason.map(str::to_ascii_lowercase).as_deref() {
            Some("keystateclusterinvalid") => return Self::Stranger,
            Some("keystateclusterunreachable") => return Self::Down,
            _ if active == Some(false) => return Self::Down,
            Some("keystatemissinginkms" | "keystatenotactiveorenabled") => return Self::Lost,
            // Missing in a cache, managed by a trust authority, or a reason of a later release.
            Some(_) if available != Some(true) => return Self::Unsure,
            _ => {}
        }
        match (available, active) {
            (Some(true), _) => Self::Usable,
            (Some(false), Some(true)) => Self::Lost,
            _ => Self::Unsure,
        }
    }
}

/// The provider that makes new keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderState {
    /// It answers.
    Active {
        /// Its id.
        id: String,
    },
    /// Nobody could say.
    Unsure {
        /// Its id.
        id: String,
    },
    /// It does not answer.
    Down {
        /// Its id.
        id: String,
    },
    /// There is none.
    None,
}

impl ProviderState {
    /// Its id, if it is not known to be down.
    pub fn can_make_keys(&self) -> Option<&str> {
        match self {
            Self::Active { id } | Self::Unsure { id } => Some(id),
            Self::Down { .. } | Self::None => None,
        }
    }
}

/// `runtime.cryptoState` of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCrypto {
    /// In encryption mode.
    Safe,
    /// Not yet, and can be brought there.
    Prepared,
    /// Was never in encryption mode; can be brought there by who may register it.
    Incapable,
    /// Will not be able to after its next start.
    PendingIncapable,
    /// Nobody could say, or vCenter chooses the host.
    Unknown,
}

/// Is Cryptographer.RegisterHost granted?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterHost {
    /// It is.
    Granted,
    /// It is not.
    Missing,
}

/// Is the name free in the folder?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameState {
    /// It is.
    Free,
    /// It is not.
    Taken,
}

/// Which restores need a privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeededFor {
    /// Every one.
    Restore,
    /// One that encrypts.
    Encryption,
}

/// A privilege that is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivilegeGap {
    /// Its id.
    pub id: String,
    /// On what.
    pub object: String,
    /// Which restores need it.
    pub needed_for: NeededFor,
}

/// How a network card is tied to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkBacking {
    /// By its name.
    Standard,
    /// To a port group of a distributed switch.
    Distributed {
        /// The switch.
        switch_uuid: String,
        /// The port group.
        portgroup_key: String,
    },
    /// To a network that somebody else manages.
    Opaque {
        /// Its id.
        id: String,
        /// Its type.
        network_type: String,
    },
}

/// A network of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetNetwork {
    /// Its name.
    pub name: String,
    /// How it is tied.
    pub backing: NetworkBacking,
}

/// The target.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    /// For a person: `vc2 DC1/Cluster1/ds-ssd`.
    pub place: String,
    /// What answers.
    pub server: ServerKind,
    /// Key providers that are listed.
    pub providers: BTreeSet<String>,
    /// Each key of [`keys_to_ask`](super::keys_to_ask) and its state. One that is not here was not answered.
    pub keys: BTreeMap<KmsKey, KeyState>,
    /// The provider that makes new keys.
    pub default_provider: ProviderState,
    /// Storage policies, with whether each encrypts.
    pub policies: Vec<StoragePolicy>,
    /// The host's name, if one is chosen.
    pub host: Option<String>,
    /// Can the host encrypt?
    pub host_crypto: HostCrypto,
    /// May the host be brought there?
    pub register_host: RegisterHost,
    /// Is the new name free?
    pub name: NameState,
    /// Networks.
    pub networks: Vec<TargetNetwork>,
    /// Privileges that are not granted.
    pub missing_privileges: Vec<PrivilegeGap>,
    /// The datastore's name.
    pub datastore: String,
    /// Bytes free on it, if that is known.
    pub free_bytes: Option<u64>,
}

impl TargetFacts {
    /// The state of a key.
    pub fn key_state(&self, key: &KmsKey) -> KeyState {
        self.keys.get(key).copied().unwrap_or(KeyState::Unsure)
    }

    /// The network of that name.
    pub fn network(&self, name: &str) -> Option<&TargetNetwork> {
        self.networks.iter().find(|network| network.name == name)
    }
}
