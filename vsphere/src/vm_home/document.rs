//! The document of a VM home: ours around VMware's own XML.
//!
//! ```text
//! <strongroom:vmHome xmlns:strongroom="…" schema="1">
//!   <strongroom:identity …/> <strongroom:encryption …/> <strongroom:policy …/> <strongroom:nvram …/> <strongroom:consistency …/>
//!   <strongroom:disk …> <strongroom:policy …/> </strongroom:disk>…  <strongroom:nic …/>…
//!   <strongroom:raw path="config" xmlns="urn:vim25" …>the bytes of the answer</strongroom:raw>…
//! ```
//!
//! What is ours stands in attributes: their white space is kept. **Invariant:** a raw part is never written anew.

use jiff::Timestamp;
use repo_format::{Consistency, PolicyEncrypts, StoragePolicy};
use zeroize::Zeroizing;

use super::{config::ControllerKind, encryption::KmsKey, raw_xml::RawXml};
use crate::soap::{Document, Element, XmlError};

mod tag;
use tag::Tag;

const NAMESPACE: &str = "urn:strongroom:vm-home";
const PREFIX: &str = "strongroom";
const ROOT: &str = "vmHome";
const SCHEMA: &str = "1";

/// Why bytes are no document of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// They are something else, such as the JSON of `--vm-home`.
    #[error("the configuration record of this point is not one that was read from a vCenter")]
    NotOurs,
    /// They are XML, but not well-formed.
    #[error("VM home document: {0}")]
    Xml(#[from] XmlError),
    /// Another layout.
    #[error("VM home document: schema {found:?}, this program reads {SCHEMA:?}; use a newer one")]
    Schema {
        /// Its number.
        found: String,
    },
    /// Something is missing or no value of its kind.
    #[error("VM home document: <{element}> has no usable {field}")]
    Field {
        /// The element.
        element: String,
        /// Its attribute, or what should be in it.
        field: &'static str,
    },
}

impl DocumentError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        match self {
            Self::NotOurs => engine::Kind::Invalid,
            Self::Schema { .. } => engine::Kind::Unsupported,
            Self::Xml(_) | Self::Field { .. } => engine::Kind::Damaged,
        }
    }
}

/// Where a VM was and who read it: hints for a person. Identity are the first two uuids alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeIdentity {
    /// `about.instanceUuid` of the vCenter.
    pub vcenter_uuid: String,
    /// The VM's managed object id.
    pub moref: String,
    /// Names from the root folder down to the VM.
    pub inventory_path: Vec<String>,
    /// Inventory path of its datacenter, as `/folder` wants it.
    pub dc_path: String,
    /// The server's name.
    pub server: String,
    /// `about.apiVersion`.
    pub api_version: String,
    /// What read the disks.
    pub reader: String,
    /// When.
    pub captured_at: Timestamp,
}

/// What was found of the VM's encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeState {
    /// Not encrypted.
    Clear,
    /// Key and bundle are there.
    Whole,
    /// Encrypted, but a half is missing, or the halves are not of one moment.
    Incomplete {
        /// Why.
        why: String,
    },
}

/// What became of the NVRAM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvramState {
    /// Stored beside the document.
    Saved {
        /// What the file is called.
        file_name: String,
        /// Its size.
        bytes: u64,
    },
    /// There is none yet: the VM was never started.
    NeverStarted,
    /// It was not to be had.
    Absent {
        /// Why.
        why: String,
    },
}

/// How quiet the guest was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// What was reached.
    pub level: Consistency,
    /// The fault that kept it from being better.
    pub lowered_by: Option<String>,
}

/// What became of a disk's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFate {
    /// In the restore point.
    Stored,
    /// Not in it.
    Skipped {
        /// Why.
        why: String,
    },
}

/// A disk as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentDisk {
    /// As the restore point calls it.
    pub name: String,
    /// Device key.
    pub device_key: i32,
    /// What the client shows.
    pub label: String,
    /// Kind of its controller.
    pub controller: ControllerKind,
    /// Bus of its controller.
    pub bus: i32,
    /// Device key of its controller.
    pub controller_key: i32,
    /// Unit on it.
    pub unit: i32,
    /// Size in bytes.
    pub capacity_bytes: u64,
    /// `backing.uuid`.
    pub uuid: Option<String>,
    /// `backing.diskMode`.
    pub mode: Option<String>,
    /// `backing.thinProvisioned`.
    pub thin: Option<bool>,
    /// The file it was read from: that of the VM's snapshot.
    pub file_name: String,
    /// Its key.
    pub kms_key: Option<KmsKey>,
    /// Its storage policy.
    pub policy: Option<StoragePolicy>,
    /// From which the next night can tell what changed.
    pub change_id: Option<String>,
    /// The transport that was used.
    pub transport: Option<String>,
    /// Is it in the point?
    pub fate: DiskFate,
}

/// A network card as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentNic {
    /// Device key.
    pub device_key: i32,
    /// What the client shows.
    pub label: String,
    /// VMware's type.
    pub device_type: String,
    /// Name of its network.
    pub network: String,
    /// `addressType`.
    pub address_type: Option<String>,
    /// `macAddress`.
    pub mac: Option<String>,
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmHomeDocument {
    /// Where the VM was.
    pub identity: HomeIdentity,
    /// What was found of its encryption.
    pub state: HomeState,
    /// The storage policy of its home.
    pub policy: Option<StoragePolicy>,
    /// Its NVRAM file.
    pub nvram: NvramState,
    /// How quiet the guest was.
    pub quiet: Quiet,
    /// Its disks.
    pub disks: Vec<DocumentDisk>,
    /// Its network cards.
    pub nics: Vec<DocumentNic>,
    /// `config` of the VM.
    pub config: RawXml,
    /// `config` of the snapshot that was read.
    pub snapshot_config: Option<RawXml>,
    /// `layoutEx`.
    pub layout: Option<RawXml>,
}

impl VmHomeDocument {
    /// As bytes.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let raw = [Some(&self.config), self.snapshot_config.as_ref(), self.layout.as_ref()];
        let raw_bytes: usize = raw.into_iter().flatten().map(|raw| raw.source().len()).sum();
        // Reserved once: a buffer that grows would leave copies of secrets behind.
        let mut out =
            Zeroizing::new(Vec::with_capacity(raw_bytes + 16_384 + 2_048 * (self.disks.len() + self.nics.len())));
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Tag::new(&mut out, ROOT).is(&format!("xmlns:{PREFIX}"), NAMESPACE).is("schema", SCHEMA).open();
        self.write_identity(&mut out);
        self.write_state(&mut out);
        self.disks.iter().for_each(|disk| write_disk(&mut out, disk));
        for nic in &self.nics {
            Tag::new(&mut out, "nic")
                .is("deviceKey", nic.device_key)
                .is("label", &nic.label)
                .is("type", &nic.device_type)
                .is("network", &nic.network)
                .may("addressType", nic.address_type.as_ref())
                .may("mac", nic.mac.as_ref())
                .close();
        }
        let paths = ["config", "snapshot.config", "layoutEx"];
        for (path, raw) in paths.into_iter().zip(raw) {
            if let Some(raw) = raw {
                write_raw(&mut out, path, raw);
            }
        }
        tag::end(&mut out, ROOT);
        out
    }

    fn write_identity(&self, out: &mut Vec<u8>) {
        let identity = &self.identity;
        Tag::new(out, "identity")
            .is("vcenterUuid", &identity.vcenter_uuid)
            .is("moref", &identity.moref)
            .is("dcPath", &identity.dc_path)
            .is("server", &identity.server)
            .is("apiVersion", &identity.api_version)
            .is("reader", &identity.reader)
            .is("capturedAt", identity.captured_at)
            .open();
        identity.inventory_path.iter().for_each(|name| Tag::new(out, "in").is("name", name).close());
        tag::end(out, "identity");
    }

    fn write_state(&self, out: &mut Vec<u8>) {
        let (state, why) = match &self.state {
            HomeState::Clear => ("clear", None),
            HomeState::Whole => ("whole", None),
            HomeState::Incomplete { why } => ("incomplete", Some(why)),
        };
        Tag::new(out, "encryption").is("state", state).may("why", why).close();
        if let Some(policy) = &self.policy {
            write_policy(out, policy);
        }
        match &self.nvram {
            NvramState::Saved { file_name, bytes } => {
                Tag::new(out, "nvram").is("state", "saved").is("fileName", file_name).is("bytes", bytes).close();
            }
            NvramState::NeverStarted => Tag::new(out, "nvram").is("state", "never-started").close(),
            NvramState::Absent { why } => Tag::new(out, "nvram").is("state", "absent").is("why", why).close(),
        }
        let level = level_word(self.quiet.level);
        Tag::new(out, "consistency").is("level", level).may("loweredBy", self.quiet.lowered_by.as_ref()).close();
    }

    /// Reads bytes that [`Self::write`] made.
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let begins_as_xml = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
        if !begins_as_xml {
            return Err(DocumentError::NotOurs);
        }
        let document = Document::read(bytes.to_vec())?;
        let root = document.root();
        if root.name() != ROOT || root.attribute(&format!("xmlns:{PREFIX}")) != Some(NAMESPACE) {
            return Err(DocumentError::NotOurs);
        }
        match root.attribute("schema") {
            Some(SCHEMA) => {}
            found => return Err(DocumentError::Schema { found: found.unwrap_or_default().to_owned() }),
        }
        Ok(Self {
            identity: read_identity(child(root, "identity")?)?,
            state: read_state(child(root, "encryption")?)?,
            policy: root.child("policy").map(read_policy).transpose()?,
            nvram: read_nvram(child(root, "nvram")?)?,
            quiet: read_quiet(child(root, "consistency")?)?,
            disks: root.all("disk").map(read_disk).collect::<Result<_, _>>()?,
            nics: root.all("nic").map(read_nic).collect::<Result<_, _>>()?,
            config: raw(&document, "config").ok_or_else(|| field(root, "raw config"))?,
            snapshot_config: raw(&document, "snapshot.config"),
            layout: raw(&document, "layoutEx"),
        })
    }
}

fn write_policy(out: &mut Vec<u8>, policy: &StoragePolicy) {
    let encrypts = match policy.encrypts {
        PolicyEncrypts::Yes => Some("true"),
        PolicyEncrypts::No => Some("false"),
        PolicyEncrypts::Unknown => None,
    };
    Tag::new(out, "policy").is("id", &policy.id).is("name", &policy.name).may("encrypts", encrypts).close();
}

fn write_disk(out: &mut Vec<u8>, disk: &DocumentDisk) {
    let skipped = match &disk.fate {
        DiskFate::Stored => None,
        DiskFate::Skipped { why } => Some(why),
    };
    Tag::new(out, "disk")
        .is("name", &disk.name)
        .is("deviceKey", disk.device_key)
        .is("label", &disk.label)
        .is("controller", disk.controller.word())
        .is("bus", disk.bus)
        .is("controllerKey", disk.controller_key)
        .is("unit", disk.unit)
        .is("capacityBytes", disk.capacity_bytes)
        .may("uuid", disk.uuid.as_ref())
        .may("mode", disk.mode.as_ref())
        .may("thin", disk.thin)
        .is("fileName", &disk.file_name)
        .may("keyId", disk.kms_key.as_ref().map(|key| &key.id))
        .may("keyProvider", disk.kms_key.as_ref().and_then(|key| key.provider.as_ref()))
        .may("changeId", disk.change_id.as_ref())
        .may("transport", disk.transport.as_ref())
        .may("skipped", skipped)
        .open();
    if let Some(policy) = &disk.policy {
        write_policy(out, policy);
    }
    tag::end(out, "disk");
}

fn write_raw(out: &mut Vec<u8>, path: &str, raw: &RawXml) {
    let mut tag = Tag::new(out, "raw").is("path", path);
    for (prefix, name) in raw.namespaces() {
        tag = match prefix.as_str() {
            "" => tag.is("xmlns", name),
            prefix => tag.is(&format!("xmlns:{prefix}"), name),
        };
    }
    tag.open();
    out.extend_from_slice(raw.source());
    tag::end(out, "raw");
}

const LEVELS: [(&str, Consistency); 5] = [
    ("unknown", Consistency::Unknown),
    ("crash", Consistency::Crash),
    ("file-system", Consistency::FileSystem),
    ("application", Consistency::Application),
    ("powered-off", Consistency::PoweredOff),
];

fn level_word(level: Consistency) -> &'static str {
    LEVELS.iter().find(|(_, candidate)| *candidate == level).map_or("unknown", |(word, _)| word)
}

fn field(element: &Element, field: &'static str) -> DocumentError {
    DocumentError::Field { element: element.name().to_owned(), field }
}

fn child<'e>(element: &'e Element, name: &'static str) -> Result<&'e Element, DocumentError> {
    element.child(name).ok_or_else(|| field(element, name))
}

fn may(element: &Element, name: &str) -> Option<String> {
    element.attribute(name).map(str::to_owned)
}

fn text(element: &Element, name: &'static str) -> Result<String, DocumentError> {
    may(element, name).ok_or_else(|| field(element, name))
}

fn parsed<T: std::str::FromStr>(element: &Element, name: &'static str) -> Result<T, DocumentError> {
    element.attribute(name).and_then(|text| text.parse().ok()).ok_or_else(|| field(element, name))
}

fn flag(element: &Element, name: &'static str) -> Result<Option<bool>, DocumentError> {
    match element.attribute(name) {
        None => Ok(None),
        Some(_) => parsed(element, name).map(Some),
    }
}

fn read_identity(element: &Element) -> Result<HomeIdentity, DocumentError> {
    Ok(HomeIdentity {
        vcenter_uuid: text(element, "vcenterUuid")?,
        moref: text(element, "moref")?,
        inventory_path: element.all("in").map(|step| text(step, "name")).collect::<Result<_, _>>()?,
        dc_path: text(element, "dcPath")?,
        server: text(element, "server")?,
        api_version: text(element, "apiVersion")?,
        reader: text(element, "reader")?,
        captured_at: parsed(element, "capturedAt")?,
    })
}

fn read_state(element: &Element) -> Result<HomeState, DocumentError> {
    match element.attribute("state") {
        Some("clear") => Ok(HomeState::Clear),
        Some("whole") => Ok(HomeState::Whole),
        Some("incomplete") => Ok(HomeState::Incomplete { why: text(element, "why")? }),
        _ => Err(field(element, "state")),
    }
}

fn read_nvram(element: &Element) -> Result<NvramState, DocumentError> {
    match element.attribute("state") {
        Some("saved") => {
            Ok(NvramState::Saved { file_name: text(element, "fileName")?, bytes: parsed(element, "bytes")? })
        }
        Some("never-started") => Ok(NvramState::NeverStarted),
        Some("absent") => Ok(NvramState::Absent { why: text(element, "why")? }),
        _ => Err(field(element, "state")),
    }
}

fn read_quiet(element: &Element) -> Result<Quiet, DocumentError> {
    let level = element.attribute("level");
    let level = LEVELS.iter().find(|(word, _)| Some(*word) == level).map(|(_, level)| *level);
    Ok(Quiet { level: level.ok_or_else(|| field(element, "level"))?, lowered_by: may(element, "loweredBy") })
}

fn read_policy(element: &Element) -> Result<StoragePolicy, DocumentError> {
    let encrypts = match flag(element, "encrypts")? {
        Some(true) => PolicyEncrypts::Yes,
        Some(false) => PolicyEncrypts::No,
        None => PolicyEncrypts::Unknown,
    };
    Ok(StoragePolicy { id: text(element, "id")?, name: text(element, "name")?, encrypts })
}

fn read_disk(element: &Element) -> Result<DocumentDisk, DocumentError> {
    let controller = element.attribute("controller").and_then(ControllerKind::from_word);
    Ok(DocumentDisk {
        name: text(element, "name")?,
        device_key: parsed(element, "deviceKey")?,
        label: text(element, "label")?,
        controller: controller.ok_or_else(|| field(element, "controller"))?,
        bus: parsed(element, "bus")?,
        controller_key: parsed(element, "controllerKey")?,
        unit: parsed(element, "unit")?,
        capacity_bytes: parsed(element, "capacityBytes")?,
        uuid: may(element, "uuid"),
        mode: may(element, "mode"),
        thin: flag(element, "thin")?,
        file_name: text(element, "fileName")?,
        kms_key: may(element, "keyId").map(|id| KmsKey { id, provider: may(element, "keyProvider") }),
        policy: element.child("policy").map(read_policy).transpose()?,
        change_id: may(element, "changeId"),
        transport: may(element, "transport"),
        fate: may(element, "skipped").map_or(DiskFate::Stored, |why| DiskFate::Skipped { why }),
    })
}

fn read_nic(element: &Element) -> Result<DocumentNic, DocumentError> {
    Ok(DocumentNic {
        device_key: parsed(element, "deviceKey")?,
        label: text(element, "label")?,
        device_type: text(element, "type")?,
        network: text(element, "network")?,
        address_type: may(element, "addressType"),
        mac: may(element, "mac"),
    })
}

fn raw(document: &Document, path: &str) -> Option<RawXml> {
    let wrapper = document.root().all("raw").find(|raw| raw.attribute("path") == Some(path))?;
    let element = wrapper.children().first()?;
    Some(RawXml::of(document, element).without_prefix(PREFIX))
}
