//! Properties of a VM in, a VM home out.

use std::{collections::BTreeMap, fmt};

use engine::CapturedHome;
use repo_format::{Digest, DiskHome, FileName, StoragePolicy, Stream, VmHome};
use zeroize::Zeroizing;

use super::{
    config::{ConfigDisk, ConfigError, VmConfig},
    document::{
        DiskFate, DocumentDisk, DocumentError, DocumentNic, HomeIdentity, HomeState, NvramState, Quiet, VmHomeDocument,
    },
    encryption::KmsKey,
    raw_xml::RawXml,
};

/// Storage policies as the policy service answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// That of the VM home.
    pub home: Option<StoragePolicy>,
    /// Those of disks, by device key.
    pub disks: BTreeMap<i32, StoragePolicy>,
}

/// The NVRAM file as it was fetched.
#[derive(Clone)]
pub enum SavedFile {
    /// Its name and bytes.
    Saved {
        /// What the file is called.
        file_name: FileName,
        /// Its bytes.
        content: Zeroizing<Vec<u8>>,
    },
    /// The VM was never started and has none.
    NeverStarted,
    /// It could not be had.
    Absent {
        /// Why.
        why: String,
    },
}

/// All that a VM home is made of. Key and bundle come from `config`, disks from `snapshot_config` if there is one.
pub struct HomeFacts {
    /// Where the VM is.
    pub identity: HomeIdentity,
    /// `config` of the VM, of the moment in which the NVRAM was fetched.
    pub config: RawXml,
    /// `config` of the snapshot that is read.
    pub snapshot_config: Option<RawXml>,
    /// `layoutEx`.
    pub layout: Option<RawXml>,
    /// Storage policies.
    pub policies: Policies,
    /// NVRAM.
    pub nvram: SavedFile,
    /// Names of networks by what a network card calls them, where that is a port group's key.
    pub network_names: BTreeMap<String, String>,
    /// Transports of disks by device key.
    pub transports: BTreeMap<i32, String>,
    /// Disks that are not in the point and why, by device key.
    pub skipped: BTreeMap<i32, String>,
    /// How quiet the guest was.
    pub quiet: Quiet,
    /// Key, bundle and NVRAM were never read as of one moment, although it was tried again.
    pub torn: Option<String>,
}

/// What somebody should know about a VM home that was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureFinding {
    /// Encrypted, and the bundle is not there.
    NoBundle {
        /// The VM's key.
        key: KmsKey,
    },
    /// Encrypted, and the key is not there.
    NoKey,
    /// Encrypted parts, and neither is there.
    Neither {
        /// What is encrypted.
        part: String,
    },
    /// They are not of one moment.
    Torn {
        /// What was seen.
        why: String,
    },
    /// An encrypted VM without its NVRAM.
    NoNvram {
        /// Why.
        why: String,
    },
}

impl CaptureFinding {
    /// Is the point incomplete by it?
    pub fn makes_incomplete(&self) -> bool {
        !matches!(self, Self::NoNvram { .. })
    }
}

impl fmt::Display for CaptureFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBundle { key } => write!(
                f,
                "encrypted (keyId {}), but encryption.bundle is not in config.extraConfig; NVRAM of this point is unusable",
                key.id
            ),
            Self::NoKey => {
                f.write_str("encrypted (encryption.bundle), but config has no keyId; NVRAM of this point is unusable")
            }
            Self::Neither { part } => write!(
                f,
                "{part} is encrypted, but config has neither keyId nor encryption.bundle; NVRAM of this point is unusable"
            ),
            Self::Torn { why } => {
                write!(
                    f,
                    "keyId, encryption.bundle and NVRAM are not of one moment ({why}); NVRAM of this point is unusable"
                )
            }
            Self::NoNvram { why } => {
                write!(f, "encrypted, but NVRAM was not saved ({why}); a restore gets a generic one")
            }
        }
    }
}

/// Why properties make no VM home.
#[derive(Debug, thiserror::Error)]
pub enum CaptureHomeError {
    /// `config` is not what it should be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was written does not read back.
    #[error("the VM home document does not read back as it was written: {0}")]
    ReadBack(DocumentError),
    /// What was written reads back as something else.
    #[error("the VM home document reads back as something else than was written")]
    Differs,
}

impl CaptureHomeError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        match self {
            Self::Config(error) => error.kind(),
            Self::ReadBack(_) | Self::Differs => engine::Kind::Bug,
        }
    }
}

/// A VM home, and what is to be said about it.
pub struct Captured {
    /// To be stored.
    pub home: CapturedHome,
    /// In the order of their weight.
    pub findings: Vec<CaptureFinding>,
    /// All disks of the VM, those that are skipped included, in the order of their names.
    pub disks: Vec<ConfigDisk>,
}

/// Makes a VM home. Reads its own document back before it gives it away.
pub fn capture_home(facts: HomeFacts) -> Result<Captured, CaptureHomeError> {
    let config = VmConfig::read(facts.config.element())?;
    let of_snapshot = facts.snapshot_config.as_ref().map(|raw| VmConfig::read(raw.element())).transpose()?;
    let (disks, nics) =
        of_snapshot.map_or_else(|| (config.disks.clone(), config.nics.clone()), |own| (own.disks, own.nics));
    let findings = findings(&config, &disks, &facts);
    let incomplete = findings.iter().find(|finding| finding.makes_incomplete());
    let state = match incomplete {
        Some(finding) => HomeState::Incomplete { why: finding.to_string() },
        None if config.kms_key.is_some() => HomeState::Whole,
        None => HomeState::Clear,
    };
    let nvram_state = match &facts.nvram {
        SavedFile::Saved { file_name, content } => {
            NvramState::Saved { file_name: file_name.as_str().to_owned(), bytes: content.len() as u64 }
        }
        SavedFile::NeverStarted => NvramState::NeverStarted,
        SavedFile::Absent { why } => NvramState::Absent { why: why.clone() },
    };
    let disk_of = |disk: &ConfigDisk| DocumentDisk {
        policy: facts.policies.disks.get(&disk.key).cloned(),
        transport: facts.transports.get(&disk.key).cloned(),
        fate: facts.skipped.get(&disk.key).map_or(DiskFate::Stored, |why| DiskFate::Skipped { why: why.clone() }),
        ..document_disk(disk)
    };
    let document = VmHomeDocument {
        identity: facts.identity,
        state,
        policy: facts.policies.home.clone(),
        nvram: nvram_state,
        quiet: facts.quiet,
        disks: disks.iter().map(disk_of).collect(),
        nics: nics
            .into_iter()
            .map(|nic| DocumentNic {
                device_key: nic.key,
                label: nic.label,
                device_type: nic.device_type,
                network: facts.network_names.get(&nic.network).cloned().unwrap_or(nic.network),
                address_type: nic.address_type,
                mac: nic.mac,
            })
            .collect(),
        config: facts.config,
        snapshot_config: facts.snapshot_config,
        layout: facts.layout,
    };
    let bytes = written(&document)?;
    let record = record(&config, &document);
    let nvram = match facts.nvram {
        SavedFile::Saved { file_name, content } => Some((file_name, content)),
        SavedFile::NeverStarted | SavedFile::Absent { .. } => None,
    };
    Ok(Captured { home: CapturedHome { record, document: bytes, nvram }, findings, disks })
}

fn findings(config: &VmConfig, disks: &[ConfigDisk], facts: &HomeFacts) -> Vec<CaptureFinding> {
    let encrypted_disk = disks.iter().find(|disk| disk.kms_key.is_some()).map(|disk| disk.name.clone());
    let part = encrypted_disk.or(config.vtpm.is_some().then(|| "the vTPM".to_owned()));
    let mut findings = Vec::new();
    match (&config.kms_key, &config.bundle, part) {
        (Some(key), None, _) => findings.push(CaptureFinding::NoBundle { key: key.clone() }),
        (None, Some(_), _) => findings.push(CaptureFinding::NoKey),
        (None, None, Some(part)) => findings.push(CaptureFinding::Neither { part }),
        (Some(_), Some(_), _) | (None, None, None) => {}
    }
    if let Some(why) = &facts.torn {
        findings.push(CaptureFinding::Torn { why: why.clone() });
    }
    if let (SavedFile::Absent { why }, true) = (&facts.nvram, config.is_encrypted()) {
        findings.push(CaptureFinding::NoNvram { why: why.clone() });
    }
    findings
}

fn document_disk(disk: &ConfigDisk) -> DocumentDisk {
    DocumentDisk {
        name: disk.name.clone(),
        device_key: disk.key,
        label: disk.label.clone(),
        controller: disk.controller.kind,
        bus: disk.controller.bus,
        controller_key: disk.controller.key,
        unit: disk.unit,
        capacity_bytes: disk.capacity_bytes,
        uuid: disk.uuid.clone(),
        mode: disk.mode.clone(),
        thin: disk.thin,
        file_name: disk.file_name.clone(),
        kms_key: disk.kms_key.clone(),
        policy: None,
        change_id: disk.change_id.clone(),
        transport: None,
        fate: DiskFate::Stored,
    }
}

fn written(document: &VmHomeDocument) -> Result<Zeroizing<Vec<u8>>, CaptureHomeError> {
    let bytes = document.write();
    let read = VmHomeDocument::read(&bytes).map_err(CaptureHomeError::ReadBack)?;
    if read != *document {
        return Err(CaptureHomeError::Differs);
    }
    Ok(bytes)
}

/// The typed record. A torn home keeps what it has: `document` says that its parts are not of one moment.
fn record(config: &VmConfig, document: &VmHomeDocument) -> VmHome {
    let torn = matches!(document.state, HomeState::Incomplete { .. }) && config.kms_key.is_some();
    VmHome {
        document: Stream { length: 0, digest: Digest::of(&[]), pieces: Vec::new() },
        name: config.name.clone(),
        instance_uuid: config.instance_uuid.clone(),
        bios_uuid: config.bios_uuid.clone(),
        kms_key_id: config.kms_key.as_ref().map(|key| key.id.clone()),
        kms_provider: config.kms_key.as_ref().and_then(|key| key.provider.clone()),
        guest_id: config.guest_id.clone(),
        hardware_version: config.hardware_version.clone(),
        // The record has no word for "not of one moment"; without the bundle it reads as what it is worth.
        encryption_bundle: config.bundle.clone().filter(|_| !torn),
        storage_policy: document.policy.clone(),
        firmware: config.firmware.clone(),
        secure_boot: config.secure_boot,
        vtpm: Some(config.vtpm.is_some()),
        nvram: None,
        disks: document.disks.iter().map(disk_home).collect(),
    }
}

fn disk_home(disk: &DocumentDisk) -> DiskHome {
    DiskHome {
        name: disk.name.clone(),
        kms_key_id: disk.kms_key.as_ref().map(|key| key.id.clone()),
        kms_provider: disk.kms_key.as_ref().and_then(|key| key.provider.clone()),
        storage_policy: disk.policy.clone(),
    }
}
