//! Why a VM is not made: each reason says what, where, and what to do.

use std::{collections::BTreeSet, fmt};

use super::{
    ending::Ending,
    facts::{KeyState, NeededFor, ProviderState},
    loss::{Loss, given_up},
    wish::EncryptionWish,
};
use crate::vm_home::{Firmware, KmsKey, NoConfiguration, SavedVm};

/// A part that has a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The VM home.
    Home,
    /// A disk.
    Disk(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("vm home"),
            Self::Disk(name) => f.write_str(name),
        }
    }
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Keys need a vCenter.
    BareHost,
    /// A vTPM needs `efi`.
    VtpmNeedsEfi {
        /// What was saved.
        firmware: Firmware,
    },
    /// The secrets are not of one moment.
    NotOfOneMoment {
        /// What was found.
        what: String,
    },
    /// There is nothing to make a VM from.
    NoConfiguration {
        /// Why.
        why: NoConfiguration,
    },
    /// No disk of the point can be read.
    NothingReadable,
    /// The name is in use.
    NameTaken {
        /// It.
        name: String,
    },
    /// A network card's network is not here.
    NetworkUnmapped {
        /// The card.
        nic: String,
        /// What its network was called.
        saved: String,
        /// What it would be called here, if the map has an entry.
        mapped: Option<String>,
    },
    /// A privilege is not granted.
    PrivilegeMissing {
        /// Its id.
        id: String,
        /// On what.
        object: String,
        /// Who needs it.
        needed_for: NeededFor,
    },
    /// The disks do not fit.
    TooLittleSpace {
        /// Where.
        datastore: String,
        /// Bytes free.
        free: u64,
        /// Bytes wanted.
        wanted: u64,
    },
    /// The host cannot encrypt.
    HostCannotEncrypt {
        /// Its name.
        host: Option<String>,
    },
    /// The host is not in encryption mode and may not be brought there.
    HostNotSafe {
        /// Its name.
        host: Option<String>,
    },
    /// A part's policy is not here and no other was named.
    PolicyGone {
        /// The part.
        part: Part,
        /// What its policy was called.
        saved: Option<String>,
        /// Those that encrypt.
        encrypting: Vec<String>,
    },
    /// The policy that was named is not here.
    PolicyMissing {
        /// The part.
        part: Part,
        /// The policy.
        name: String,
        /// Those that encrypt.
        encrypting: Vec<String>,
    },
    /// The policy that was named does not encrypt.
    PolicyDoesNotEncrypt {
        /// The part.
        part: Part,
        /// The policy.
        name: String,
        /// Those that encrypt.
        encrypting: Vec<String>,
    },
    /// New keys for what had none.
    WasNotEncrypted,
    /// The key is lost.
    KeyLost {
        /// It.
        key: KmsKey,
    },
    /// The key cannot be had today.
    KeyNotToBeHad {
        /// It.
        key: KmsKey,
        /// Why.
        state: KeyState,
    },
    /// Its provider is not known here.
    ProviderUnknown {
        /// The key, under the name that was asked for.
        key: KmsKey,
        /// Providers that are known.
        listed: Vec<String>,
        /// The saved provider, if the name that was asked for comes from a map.
        mapped_from: Option<String>,
    },
    /// A half of the secrets is missing.
    HalfMissing {
        /// Which.
        missing: &'static str,
        /// The key, if that half is there.
        key: Option<KmsKey>,
    },
    /// New keys, and nobody can make them.
    NobodyMakesKeys {
        /// The default provider.
        provider: ProviderState,
    },
    /// A disk's key cannot be had, and no other instead.
    DiskKeyNotToBeHad {
        /// The disk.
        disk: String,
        /// Its key.
        key: KmsKey,
        /// Why.
        state: KeyState,
    },
    /// What is given up and what was agreed to are not the same.
    LossesNotAccepted {
        /// What is given up.
        given_up: BTreeSet<Loss>,
        /// What was agreed to.
        accepted: BTreeSet<Loss>,
    },
}

/// The options for `encryption`, with exactly the consent that they need for this VM.
pub(super) fn options(encryption: EncryptionWish, saved: &SavedVm) -> String {
    let word = match encryption {
        EncryptionWish::SameKeys => "same-keys",
        EncryptionWish::NewKeys => "new-keys",
        EncryptionWish::None => "none",
    };
    match given_up(encryption, saved) {
        losses if losses.is_empty() => format!("--vm-encryption {word}"),
        losses => format!("--vm-encryption {word} --accept-loss {}", words(&losses)),
    }
}

impl Reason {
    /// How the run ends by it.
    pub fn ending(&self) -> Ending {
        match self {
            Self::NotOfOneMoment { .. } | Self::NothingReadable => Ending::Damaged,
            Self::NoConfiguration { why: NoConfiguration::Unreadable(_) } => Ending::Damaged,
            Self::NoConfiguration { .. }
            | Self::BareHost
            | Self::VtpmNeedsEfi { .. }
            | Self::NameTaken { .. }
            | Self::NetworkUnmapped { .. }
            | Self::PolicyGone { .. }
            | Self::PolicyMissing { .. }
            | Self::PolicyDoesNotEncrypt { .. }
            | Self::WasNotEncrypted => Ending::Invalid,
            Self::PrivilegeMissing { .. } | Self::HostCannotEncrypt { .. } | Self::HostNotSafe { .. } => Ending::Failed,
            Self::TooLittleSpace { .. } => Ending::Unavailable,
            Self::KeyLost { .. }
            | Self::KeyNotToBeHad { .. }
            | Self::ProviderUnknown { .. }
            | Self::HalfMissing { .. }
            | Self::NobodyMakesKeys { .. }
            | Self::DiskKeyNotToBeHad { .. }
            | Self::LossesNotAccepted { .. } => Ending::Refused,
        }
    }

    /// Which part of the plan it is about.
    pub fn place(&self) -> String {
        match self {
            Self::BareHost => "target".to_owned(),
            Self::VtpmNeedsEfi { .. } => "vtpm".to_owned(),
            Self::NotOfOneMoment { .. }
            | Self::WasNotEncrypted
            | Self::KeyLost { .. }
            | Self::KeyNotToBeHad { .. }
            | Self::ProviderUnknown { .. }
            | Self::HalfMissing { .. }
            | Self::NobodyMakesKeys { .. }
            | Self::NoConfiguration { .. } => "vm home".to_owned(),
            Self::NothingReadable => "restore point".to_owned(),
            Self::NameTaken { .. } => "folder".to_owned(),
            Self::NetworkUnmapped { nic, .. } => nic.clone(),
            Self::PrivilegeMissing { object, .. } => object.clone(),
            Self::TooLittleSpace { datastore, .. } => format!("datastore {datastore}"),
            Self::HostCannotEncrypt { host, .. } | Self::HostNotSafe { host } => {
                host.as_ref().map_or_else(|| "host".to_owned(), |host| format!("host {host}"))
            }
            Self::PolicyGone { part, .. }
            | Self::PolicyMissing { part, .. }
            | Self::PolicyDoesNotEncrypt { part, .. } => part.to_string(),
            Self::DiskKeyNotToBeHad { disk, .. } => disk.clone(),
            Self::LossesNotAccepted { .. } => "what is given up".to_owned(),
        }
    }

    /// What to do about it for this VM.
    pub fn advice(&self, saved: &SavedVm) -> String {
        let new_keys = || options(EncryptionWish::NewKeys, saved);
        let in_the_clear = || options(EncryptionWish::None, saved);
        match self {
            Self::BareHost => format!("name a vCenter with --vcenter, or {}", in_the_clear()),
            Self::VtpmNeedsEfi { .. } => format!("restore it without its vTPM: {}", in_the_clear()),
            Self::NotOfOneMoment { .. } => "strongroom verify, then choose another point of this VM".to_owned(),
            Self::NoConfiguration { .. } => {
                "strongroom restore brings its disks and its VM home back as files".to_owned()
            }
            Self::NothingReadable => "strongroom repair, or choose another point of this VM".to_owned(),
            Self::NameTaken { .. } => "--name with another name, or remove the other VM".to_owned(),
            Self::NetworkUnmapped { saved, .. } => {
                format!("--network {}=NEW with a network of the target", quoted(saved))
            }
            Self::PrivilegeMissing { .. } => "grant it on this object".to_owned(),
            Self::TooLittleSpace { .. } => "--datastore with another one, or make room".to_owned(),
            Self::HostCannotEncrypt { .. } => "choose a cluster whose hosts are in encryption mode".to_owned(),
            Self::HostNotSafe { .. } => {
                "grant Cryptographer.RegisterHost, or enable encryption mode on the host".to_owned()
            }
            Self::PolicyGone { encrypting, .. }
            | Self::PolicyMissing { encrypting, .. }
            | Self::PolicyDoesNotEncrypt { encrypting, .. } => choices(encrypting),
            Self::WasNotEncrypted => "restore it as it was, then encrypt it in vSphere".to_owned(),
            Self::KeyLost { key } => format!("give the key back to {}, or {}", key.provider_name(), new_keys()),
            Self::KeyNotToBeHad { key, .. } => {
                format!("make {} reachable, or --allow-unbootable, or {}", key.provider_name(), new_keys())
            }
            Self::ProviderUnknown { key, mapped_from, .. } => {
                let saved = mapped_from.as_deref().unwrap_or(key.provider_name());
                format!(
                    "set the same key server up here under the same name {saved}, or --key-provider {saved}=NEW if it is here under another, or {}",
                    new_keys()
                )
            }
            Self::HalfMissing { .. } => new_keys(),
            Self::NobodyMakesKeys { .. } => format!("make a key provider the default one, or {}", in_the_clear()),
            Self::DiskKeyNotToBeHad { key, .. } => format!("make {} reachable, or {}", key.provider_name(), new_keys()),
            Self::LossesNotAccepted { given_up, .. } if given_up.is_empty() => "leave --accept-loss out".to_owned(),
            Self::LossesNotAccepted { given_up, .. } => format!("--accept-loss {}", words(given_up)),
        }
    }
}

fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("\"{name}\"") } else { name.to_owned() }
}

fn choices(encrypting: &[String]) -> String {
    match encrypting {
        [] => "make a storage policy that encrypts; this vCenter has none".to_owned(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("--storage-policy with one of {}", names.join(", "))
        }
    }
}

/// `nvram,vtpm`.
pub(super) fn words(losses: &BTreeSet<Loss>) -> String {
    losses.iter().map(|loss| loss.word()).collect::<Vec<_>>().join(",")
}

fn why(key: &KmsKey, state: KeyState) -> String {
    let provider = key.provider_name();
    match state {
        KeyState::Usable => format!("key provider {provider} has it"),
        KeyState::Unsure => format!("key provider {provider} could not be asked"),
        KeyState::Lost => format!("key provider {provider} does not have it"),
        KeyState::Down => format!("key provider {provider} is not reachable"),
        KeyState::Stranger => format!("key provider {provider} is not known to this vCenter"),
        KeyState::None => "this vCenter has no key provider".to_owned(),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareHost => f.write_str("encryption tasks need a vCenter; the target is a host by itself"),
            Self::VtpmNeedsEfi { firmware } => {
                write!(f, "a vTPM needs firmware efi; the saved one is {}", firmware.word())
            }
            Self::NotOfOneMoment { what } => {
                write!(f, "key id, encryption.bundle and NVRAM of this point are not of one moment: {what}")
            }
            Self::NoConfiguration { why } => write!(f, "no VM can be made from this point: {why}"),
            Self::NothingReadable => f.write_str("no disk of this point can be read"),
            Self::NameTaken { name } => write!(f, "there is a VM \"{name}\" already"),
            Self::NetworkUnmapped { saved, mapped: None, .. } => write!(f, "its network \"{saved}\" is not here"),
            Self::NetworkUnmapped { saved, mapped: Some(mapped), .. } => {
                write!(f, "its network \"{saved}\" is mapped to \"{mapped}\", which is not here")
            }
            Self::PrivilegeMissing { id, needed_for: NeededFor::Restore, .. } => write!(f, "missing privilege {id}"),
            Self::PrivilegeMissing { id, needed_for: NeededFor::Encryption, .. } => {
                write!(f, "missing privilege {id} (to make an encrypted VM)")
            }
            Self::TooLittleSpace { free, wanted, .. } => write!(f, "{free} bytes are free, {wanted} are needed"),
            Self::HostCannotEncrypt { .. } => {
                f.write_str("the host is about to leave encryption mode (pendingIncapable)")
            }
            Self::HostNotSafe { .. } => {
                f.write_str("the host is not in encryption mode, and Cryptographer.RegisterHost is missing")
            }
            Self::PolicyGone { saved: Some(saved), .. } => {
                write!(f, "its storage policy \"{saved}\" is gone, and it must be encrypted")
            }
            Self::PolicyGone { saved: None, .. } => {
                f.write_str("its storage policy was not saved, and it must be encrypted")
            }
            Self::PolicyMissing { name, .. } => write!(f, "there is no storage policy \"{name}\""),
            Self::PolicyDoesNotEncrypt { name, .. } => write!(f, "storage policy \"{name}\" does not encrypt"),
            Self::WasNotEncrypted => f.write_str("this VM was not encrypted; no keys are made for it at restore"),
            Self::KeyLost { key } => write!(f, "key {} is lost: {}", key.id, why(key, KeyState::Lost)),
            Self::KeyNotToBeHad { key, state } => {
                write!(f, "the VM will be created but will not power on: {} (key {})", why(key, *state), key.id)
            }
            Self::ProviderUnknown { key, listed, mapped_from } => {
                let listed = listed.join(", ");
                match mapped_from {
                    None => write!(
                        f,
                        "key {} is of key provider {}, which this vCenter does not know; it knows {listed}",
                        key.id,
                        key.provider_name()
                    ),
                    Some(old) => write!(
                        f,
                        "key {} is of key provider {old}, mapped to {}, which this vCenter does not know; it knows {listed}",
                        key.id,
                        key.provider_name()
                    ),
                }
            }
            Self::HalfMissing { missing, key } => {
                write!(f, "its original keys cannot be used: {missing}")?;
                if let Some(key) = key {
                    write!(f, " (key {})", key.id)?;
                }
                f.write_str("; its NVRAM is unusable, will not be uploaded")
            }
            Self::NobodyMakesKeys { provider: ProviderState::Down { id } } => {
                write!(f, "nobody can make a key: default key provider {id} is not reachable")
            }
            Self::NobodyMakesKeys { .. } => {
                f.write_str("nobody can make a key: this vCenter has no default key provider")
            }
            Self::DiskKeyNotToBeHad { key, state, .. } => {
                write!(f, "key {} cannot be had: {}, and nobody can make another", key.id, why(key, *state))
            }
            Self::LossesNotAccepted { given_up, accepted } => match (given_up.is_empty(), accepted.is_empty()) {
                (true, _) => write!(f, "nothing is given up, but {} was accepted", words(accepted)),
                (false, true) => write!(f, "{} would be given up, and that was not accepted", words(given_up)),
                (false, false) => {
                    write!(f, "{} would be given up, but {} was accepted", words(given_up), words(accepted))
                }
            },
        }
    }
}
