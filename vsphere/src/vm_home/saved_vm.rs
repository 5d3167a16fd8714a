//! A stored VM home as recovery sees it.

use engine::Verdict;
use repo_format::{RestorePoint, StoragePolicy, VmHome};

use super::{
    config::{ConfigVtpm, VmConfig},
    document::{DiskFate, DocumentError, HomeState, NvramState, VmHomeDocument},
    encryption::{KmsKey, SavedEncryption, VmEncryption},
};

/// What a VM boots with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// BIOS.
    Bios,
    /// UEFI.
    Efi,
    /// Something else.
    Other(String),
    /// Nobody recorded it.
    Unknown,
}

impl Firmware {
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("bios") => Self::Bios,
            Some("efi") => Self::Efi,
            Some(other) => Self::Other(other.to_owned()),
            None => Self::Unknown,
        }
    }

    /// As VMware says it.
    pub fn word(&self) -> &str {
        match self {
            Self::Bios => "bios",
            Self::Efi => "efi",
            Self::Other(word) => word,
            Self::Unknown => "not recorded",
        }
    }
}

/// What of the NVRAM can be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedNvram {
    /// All of it.
    Saved {
        /// Its size.
        bytes: u64,
    },
    /// There never was one: the VM was never started.
    NeverStarted,
    /// It was not saved.
    Absent {
        /// Why.
        why: String,
    },
    /// It was saved, and its stored bytes are not what they were.
    Damaged {
        /// What is damaged.
        what: String,
    },
}

/// Are key, bundle and NVRAM of one moment?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// They are.
    Holds,
    /// They are not, or it cannot be told any more.
    Broken {
        /// What was found.
        what: String,
    },
}

/// Why there is nothing to make a VM from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConfiguration {
    /// The point has disks only.
    #[error("this point has no VM home: it holds disks only")]
    NoHome,
    /// The document is somebody else's.
    #[error("the VM home of this point was given as a file; it has no configuration that was read from a vCenter")]
    GivenAsFile,
    /// The document is ours and cannot be read.
    #[error(transparent)]
    Unreadable(DocumentError),
}

/// A disk as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedDisk {
    /// As the restore point calls it.
    pub name: String,
    /// Size in bytes.
    pub capacity_bytes: u64,
    /// Bytes that are not holes, if that is known.
    pub data_bytes: Option<u64>,
    /// Was it thin?
    pub thin: Option<bool>,
    /// Its key.
    pub kms_key: Option<KmsKey>,
    /// Its storage policy.
    pub policy: Option<StoragePolicy>,
    /// Is it in the point?
    pub fate: DiskFate,
}

/// A VM as it was saved.
#[derive(Clone, Debug)]
pub struct SavedVm {
    /// Its name.
    pub name: String,
    /// What it boots with.
    pub firmware: Firmware,
    /// Was Secure Boot on?
    pub secure_boot: Option<bool>,
    /// What is there of its encryption.
    pub encryption: SavedEncryption,
    /// Storage policy of its home.
    pub policy: Option<StoragePolicy>,
    /// Its NVRAM.
    pub nvram: SavedNvram,
    /// Its vTPM; without a document only its existence is known.
    pub vtpm: Option<ConfigVtpm>,
    /// Its disks.
    pub disks: Vec<SavedDisk>,
    /// Do its secrets belong together?
    pub binding: Binding,
    /// What the point alone is worth.
    pub point: Verdict,
    /// What a VM can be made from.
    pub configuration: Result<Box<VmHomeDocument>, NoConfiguration>,
}

impl SavedVm {
    /// A point and its VM home with the document beside it; `verdict` is what [`engine::judge`] says of them.
    pub fn read(point: &RestorePoint, home: &VmHome, document: &[u8], verdict: Verdict) -> Self {
        let document = VmHomeDocument::read(document).map_err(|error| match error {
            DocumentError::NotOurs => NoConfiguration::GivenAsFile,
            error => NoConfiguration::Unreadable(error),
        });
        let raw = document.as_ref().ok().and_then(|document| VmConfig::read(document.config.element()).ok());
        let mut saved = Self::disks_only(point, verdict);
        saved.name = home.name.clone().unwrap_or(saved.name);
        saved.firmware = Firmware::of(home.firmware.as_deref());
        saved.secure_boot = home.secure_boot;
        saved.policy = home.storage_policy.clone();
        saved.nvram = nvram_of(home, document.as_ref().ok());
        saved.disks = disks_of(point, home, document.as_ref().ok());
        saved.vtpm = vtpm_of(home, raw.as_ref());
        saved.encryption = encryption_of(home, &saved, document.as_ref().ok());
        saved.binding = binding_of(home, document.as_ref().ok(), raw.as_ref());
        saved.configuration = document.map(Box::new);
        saved
    }

    /// A point without a VM home.
    pub fn disks_only(point: &RestorePoint, verdict: Verdict) -> Self {
        Self {
            name: point.vm_name.clone(),
            firmware: Firmware::Unknown,
            secure_boot: None,
            encryption: SavedEncryption::Clear,
            policy: None,
            nvram: SavedNvram::NeverStarted,
            vtpm: None,
            disks: point.disks.iter().map(|disk| bare_disk(disk.name.clone(), disk.bytes, disk.data_bytes)).collect(),
            binding: Binding::Holds,
            point: verdict,
            configuration: Err(NoConfiguration::NoHome),
        }
    }

    /// A point whose VM home was refused when it was read, because its secrets do not belong together.
    pub fn with_broken_home(point: &RestorePoint, verdict: Verdict, what: impl ToString) -> Self {
        Self {
            encryption: SavedEncryption::Bare,
            binding: Binding::Broken { what: what.to_string() },
            ..Self::disks_only(point, verdict)
        }
    }

    /// The same with an NVRAM whose stored bytes are not what they were.
    #[must_use]
    pub fn with_damaged_nvram(self, what: impl ToString) -> Self {
        Self { nvram: SavedNvram::Damaged { what: what.to_string() }, ..self }
    }

    /// Disks that are in the point.
    pub fn stored_disks(&self) -> impl Iterator<Item = &SavedDisk> {
        self.disks.iter().filter(|disk| disk.fate == DiskFate::Stored)
    }

    /// Every key that the VM knows: its own first.
    pub fn keys(&self) -> Vec<&KmsKey> {
        let mut keys: Vec<&KmsKey> = self.encryption.key().into_iter().collect();
        for key in self.stored_disks().filter_map(|disk| disk.kms_key.as_ref()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Is there an NVRAM to give back?
    pub fn holds_nvram(&self) -> bool {
        matches!(self.nvram, SavedNvram::Saved { .. })
    }
}

fn bare_disk(name: String, capacity_bytes: u64, data_bytes: Option<u64>) -> SavedDisk {
    SavedDisk { name, capacity_bytes, data_bytes, thin: None, kms_key: None, policy: None, fate: DiskFate::Stored }
}

fn nvram_of(home: &VmHome, document: Option<&VmHomeDocument>) -> SavedNvram {
    match (&home.nvram, document.map(|document| &document.nvram)) {
        (Some(nvram), _) => SavedNvram::Saved { bytes: nvram.content.length },
        (None, Some(NvramState::NeverStarted)) => SavedNvram::NeverStarted,
        (None, Some(NvramState::Absent { why })) => SavedNvram::Absent { why: why.clone() },
        (None, Some(NvramState::Saved { .. })) => {
            SavedNvram::Damaged { what: "the document names an NVRAM file that the point does not have".to_owned() }
        }
        (None, None) => SavedNvram::Absent { why: "none was given".to_owned() },
    }
}

fn disks_of(point: &RestorePoint, home: &VmHome, document: Option<&VmHomeDocument>) -> Vec<SavedDisk> {
    let stored = |name: &str| point.disks.iter().find(|disk| disk.name == name);
    let Some(document) = document else {
        let of_home = |name: &str| home.disks.iter().find(|disk| disk.name == name);
        let disk = |record: &repo_format::DiskRecord| {
            let known = of_home(&record.name);
            SavedDisk {
                kms_key: known.and_then(|disk| key(disk.kms_key_id.as_ref(), disk.kms_provider.as_ref())),
                policy: known.and_then(|disk| disk.storage_policy.clone()),
                ..bare_disk(record.name.clone(), record.bytes, record.data_bytes)
            }
        };
        return point.disks.iter().map(disk).collect();
    };
    let disk = |disk: &super::document::DocumentDisk| {
        let record = stored(&disk.name);
        let fate = match (&disk.fate, record) {
            (DiskFate::Stored, None) => DiskFate::Skipped { why: "it is not in the restore point".to_owned() },
            (fate, _) => fate.clone(),
        };
        SavedDisk {
            thin: disk.thin,
            kms_key: disk.kms_key.clone(),
            policy: disk.policy.clone(),
            fate,
            ..bare_disk(disk.name.clone(), disk.capacity_bytes, record.and_then(|record| record.data_bytes))
        }
    };
    document.disks.iter().map(disk).collect()
}

fn key(id: Option<&String>, provider: Option<&String>) -> Option<KmsKey> {
    Some(KmsKey { id: id?.clone(), provider: provider.cloned() })
}

fn vtpm_of(home: &VmHome, raw: Option<&VmConfig>) -> Option<ConfigVtpm> {
    let unknown = || ConfigVtpm { key: 0, signing_requests: Vec::new(), certificates: Vec::new() };
    let of_config = raw.and_then(|config| config.vtpm.clone());
    of_config.or_else(|| (home.vtpm == Some(true)).then(unknown))
}

fn encryption_of(home: &VmHome, saved: &SavedVm, document: Option<&VmHomeDocument>) -> SavedEncryption {
    let incomplete = document.is_some_and(|document| matches!(document.state, HomeState::Incomplete { .. }));
    let parts = saved.vtpm.is_some() || saved.disks.iter().any(|disk| disk.kms_key.is_some());
    match (key(home.kms_key_id.as_ref(), home.kms_provider.as_ref()), &home.encryption_bundle) {
        (Some(key), Some(bundle)) if !incomplete => SavedEncryption::Whole(VmEncryption::new(key, bundle.clone())),
        (Some(key), _) => SavedEncryption::KeyOnly(key),
        (None, Some(_)) => SavedEncryption::BundleOnly,
        (None, None) if parts || incomplete => SavedEncryption::Bare,
        (None, None) => SavedEncryption::Clear,
    }
}

/// The repository binds the secrets of a record to each other; here they are held against the configuration beside it.
fn binding_of(home: &VmHome, document: Option<&VmHomeDocument>, raw: Option<&VmConfig>) -> Binding {
    let (Some(document), Some(raw)) = (document, raw) else { return Binding::Holds };
    if matches!(document.state, HomeState::Incomplete { .. }) {
        return Binding::Holds;
    }
    let of_record = key(home.kms_key_id.as_ref(), home.kms_provider.as_ref());
    let differs = if of_record != raw.kms_key {
        Some("key")
    } else if home.encryption_bundle.as_ref().map(|bundle| bundle.expose())
        != raw.bundle.as_ref().map(|bundle| bundle.expose())
    {
        Some("encryption.bundle")
    } else {
        None
    };
    match differs {
        Some(part) => Binding::Broken { what: format!("the {part} of its record is not that of its configuration") },
        None => Binding::Holds,
    }
}
