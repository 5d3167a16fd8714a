//! What of a VM's `config` is known by name.

use repo_format::SecretBytes;

use super::encryption::KmsKey;
use crate::soap::Element;

/// Name of the entry of `extraConfig` that holds a VM's secrets.
pub(crate) const BUNDLE: &str = "encryption.bundle";

/// Why a `config` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Something without which a VM cannot be described.
    #[error("the VM's config has no {path}; its disks cannot be told apart without it")]
    Missing {
        /// What is not there.
        path: String,
    },
    /// A disk hangs on nothing.
    #[error("disk {key} of the VM's config names controller {controller}, which is not in it")]
    NoController {
        /// The disk.
        key: i32,
        /// Its controller.
        controller: i32,
    },
}

impl ConfigError {
    /// How to react.
    pub fn kind(&self) -> engine::Kind {
        engine::Kind::Unsupported
    }
}

/// Kinds of controllers that disks hang on, in the order in which disks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControllerKind {
    /// SCSI of any make.
    Scsi,
    /// SATA.
    Sata,
    /// NVMe.
    Nvme,
    /// IDE.
    Ide,
    /// None of these.
    Other,
}

impl ControllerKind {
    fn of(device_type: &str) -> Option<Self> {
        match device_type {
            "VirtualLsiLogicController"
            | "VirtualLsiLogicSASController"
            | "VirtualBusLogicController"
            | "ParaVirtualSCSIController"
            | "VirtualSCSIController" => Some(Self::Scsi),
            "VirtualAHCIController" | "VirtualSATAController" => Some(Self::Sata),
            "VirtualNVMEController" => Some(Self::Nvme),
            "VirtualIDEController" => Some(Self::Ide),
            other => other.ends_with("Controller").then_some(Self::Other),
        }
    }

    /// As it stands in the document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scsi => "scsi",
            Self::Sata => "sata",
            Self::Nvme => "nvme",
            Self::Ide => "ide",
            Self::Other => "other",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Scsi, Self::Sata, Self::Nvme, Self::Ide, Self::Other].into_iter().find(|kind| kind.word() == word)
    }
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigController {
    /// Device key.
    pub key: i32,
    /// VMware's type, such as `ParaVirtualSCSIController`.
    pub device_type: String,
    /// What it is.
    pub kind: ControllerKind,
    /// Bus number.
    pub bus: i32,
    /// `sharedBus` of a SCSI controller.
    pub shared_bus: Option<String>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDisk {
    /// `disk0`, `disk1`, … by controller kind, bus and unit.
    pub name: String,
    /// Device key.
    pub key: i32,
    /// What the client shows: `Hard disk 1`.
    pub label: String,
    /// What it hangs on.
    pub controller: ConfigController,
    /// Unit on it.
    pub unit: i32,
    /// Size in bytes.
    pub capacity_bytes: u64,
    /// VMware's type of what is behind it.
    pub backing_type: String,
    /// `backing.uuid`.
    pub uuid: Option<String>,
    /// `backing.diskMode`.
    pub mode: Option<String>,
    /// `backing.thinProvisioned`.
    pub thin: Option<bool>,
    /// `backing.fileName`.
    pub file_name: String,
    /// `backing.compatibilityMode` of a raw device.
    pub device_mode: Option<String>,
    /// `backing.sharing`.
    pub sharing: Option<String>,
    /// The id of a First Class Disk.
    pub first_class_id: Option<String>,
    /// `backing.keyId`.
    pub kms_key: Option<KmsKey>,
    /// `backing.changeId`.
    pub change_id: Option<String>,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigNic {
    /// Device key.
    pub key: i32,
    /// What the client shows.
    pub label: String,
    /// VMware's type, such as `VirtualVmxnet3`.
    pub device_type: String,
    /// Name of its network, or key of its port group.
    pub network: String,
    /// `addressType`.
    pub address_type: Option<String>,
    /// `macAddress`.
    pub mac: Option<String>,
}

/// A virtual TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigVtpm {
    /// Device key.
    pub key: i32,
    /// Signing requests of its endorsement keys, base64.
    pub signing_requests: Vec<String>,
    /// Certificates of its endorsement keys, base64.
    pub certificates: Vec<String>,
}

/// What is known by name.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// The VM's name.
    pub name: Option<String>,
    /// `instanceUuid`.
    pub instance_uuid: Option<String>,
    /// `uuid`.
    pub bios_uuid: Option<String>,
    /// `guestId`.
    pub guest_id: Option<String>,
    /// `version`: of the virtual hardware.
    pub hardware_version: Option<String>,
    /// `firmware`.
    pub firmware: Option<String>,
    /// `bootOptions.efiSecureBootEnabled`.
    pub secure_boot: Option<bool>,
    /// `keyId`.
    pub kms_key: Option<KmsKey>,
    /// `encryption.bundle` of `extraConfig`.
    pub bundle: Option<SecretBytes>,
    /// Controllers that disks may hang on.
    pub controllers: Vec<ConfigController>,
    /// Disks, in the order of their names.
    pub disks: Vec<ConfigDisk>,
    /// Network cards.
    pub nics: Vec<ConfigNic>,
    /// The vTPM.
    pub vtpm: Option<ConfigVtpm>,
    /// Labels of devices that are neither of these nor part of every VM.
    pub other_devices: Vec<String>,
}

impl VmConfig {
    /// Reads the element whose children are those of `VirtualMachineConfigInfo`.
    pub fn read(config: &Element) -> Result<Self, ConfigError> {
        let text = |path: &str| config.text_at(path).filter(|text| !text.is_empty()).map(str::to_owned);
        let hardware = config.child("hardware").ok_or_else(|| missing("hardware"))?;
        let devices: Vec<&Element> = hardware.all("device").collect();
        let controllers: Vec<_> = devices.iter().filter_map(|device| controller(device)).collect();
        Ok(Self {
            name: text("name"),
            instance_uuid: text("instanceUuid"),
            bios_uuid: text("uuid"),
            guest_id: text("guestId"),
            hardware_version: text("version"),
            firmware: text("firmware"),
            secure_boot: config.flag_at("bootOptions.efiSecureBootEnabled"),
            kms_key: key_of(config),
            bundle: extra_config(config, BUNDLE).map(|text| SecretBytes::new(text.as_bytes().to_vec())),
            disks: named_disks(&devices, &controllers)?,
            nics: devices.iter().filter_map(|device| nic(device)).collect(),
            vtpm: devices.iter().find(|device| is(device, "VirtualTPM")).map(|device| vtpm(device)),
            other_devices: devices.iter().filter(|device| is_other(device)).map(|device| label(device)).collect(),
            controllers,
        })
    }

    /// Is any part of the VM encrypted?
    pub fn is_encrypted(&self) -> bool {
        let disk = self.disks.iter().any(|disk| disk.kms_key.is_some());
        self.kms_key.is_some() || self.bundle.is_some() || self.vtpm.is_some() || disk
    }

    /// Do both have the same home key and the same bundle? If not, the key was changed between two readings.
    pub fn has_the_keys_of(&self, other: &Self) -> bool {
        let bundle =
            |config: &Self| config.bundle.as_ref().map(|bundle| bundle.expose().to_vec()).map(zeroize::Zeroizing::new);
        self.kms_key == other.kms_key && bundle(self) == bundle(other)
    }
}

fn missing(path: impl Into<String>) -> ConfigError {
    ConfigError::Missing { path: path.into() }
}

/// The value of an entry of `extraConfig`.
pub(crate) fn extra_config<'e>(config: &'e Element, key: &str) -> Option<&'e str> {
    let entry = config.all("extraConfig").find(|entry| entry.text_at("key") == Some(key))?;
    entry.text_at("value").filter(|value| !value.is_empty())
}

fn key_of(element: &Element) -> Option<KmsKey> {
    element.child("keyId").and_then(KmsKey::of)
}

fn is(device: &Element, device_type: &str) -> bool {
    device.xsi_type() == Some(device_type)
}

fn device_key(device: &Element) -> Option<i32> {
    device.number_at("key")
}

fn label(device: &Element) -> String {
    let label = device.text_at("deviceInfo.label").filter(|label| !label.is_empty());
    label.or(device.xsi_type()).unwrap_or("device").to_owned()
}

fn controller(device: &Element) -> Option<ConfigController> {
    let device_type = device.xsi_type()?;
    Some(ConfigController {
        key: device_key(device)?,
        kind: ControllerKind::of(device_type)?,
        device_type: device_type.to_owned(),
        bus: device.number_at("busNumber").unwrap_or(0),
        shared_bus: device.text_at("sharedBus").map(str::to_owned),
    })
}

fn named_disks(devices: &[&Element], controllers: &[ConfigController]) -> Result<Vec<ConfigDisk>, ConfigError> {
    let disks = devices.iter().filter(|device| is(device, "VirtualDisk"));
    let mut disks = disks.map(|device| disk(device, controllers)).collect::<Result<Vec<_>, _>>()?;
    disks.sort_by_key(|disk| (disk.controller.kind, disk.controller.bus, disk.unit, disk.key));
    for (number, disk) in disks.iter_mut().enumerate() {
        disk.name = format!("disk{number}");
    }
    Ok(disks)
}

fn disk(device: &Element, controllers: &[ConfigController]) -> Result<ConfigDisk, ConfigError> {
    let key = device_key(device).ok_or_else(|| missing("hardware.device.key of a disk"))?;
    let of_disk = |field: &str| missing(format!("{field} of disk {key}"));
    let controller = device.number_at("controllerKey").ok_or_else(|| of_disk("controllerKey"))?;
    let kib = || device.number_at::<u64>("capacityInKB").and_then(|kib| kib.checked_mul(1024));
    let capacity = device.number_at("capacityInBytes").or_else(kib).ok_or_else(|| of_disk("capacityInKB"))?;
    let backing = device.child("backing").ok_or_else(|| of_disk("backing"))?;
    let text = |path: &str| backing.text_at(path).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(ConfigDisk {
        name: String::new(),
        key,
        label: label(device),
        controller: controllers
            .iter()
            .find(|candidate| candidate.key == controller)
            .ok_or(ConfigError::NoController { key, controller })?
            .clone(),
        unit: device.number_at("unitNumber").ok_or_else(|| of_disk("unitNumber"))?,
        capacity_bytes: capacity,
        backing_type: backing.xsi_type().unwrap_or_default().to_owned(),
        uuid: text("uuid"),
        mode: text("diskMode"),
        thin: backing.flag_at("thinProvisioned"),
        file_name: text("fileName").unwrap_or_default(),
        device_mode: text("compatibilityMode"),
        sharing: text("sharing"),
        first_class_id: device.text_at("vDiskId.id").map(str::to_owned),
        kms_key: key_of(backing),
        change_id: text("changeId"),
    })
}

fn nic(device: &Element) -> Option<ConfigNic> {
    const CARDS: [&str; 7] = [
        "VirtualE1000",
        "VirtualE1000e",
        "VirtualPCNet32",
        "VirtualVmxnet",
        "VirtualVmxnet2",
        "VirtualVmxnet3",
        "VirtualVmxnet3Vrdma",
    ];
    let device_type = device.xsi_type().filter(|kind| CARDS.contains(kind))?;
    let backing = device.child("backing");
    let network = ["deviceName", "port.portgroupKey", "opaqueNetworkId"];
    let network = network.into_iter().find_map(|path| backing?.text_at(path)).unwrap_or_default();
    Some(ConfigNic {
        key: device_key(device)?,
        label: label(device),
        device_type: device_type.to_owned(),
        network: network.to_owned(),
        address_type: device.text_at("addressType").map(str::to_owned),
        mac: device.text_at("macAddress").map(str::to_owned),
    })
}

fn vtpm(device: &Element) -> ConfigVtpm {
    let all = |name: &'static str| device.all(name).map(|element| element.text().to_owned()).collect();
    ConfigVtpm {
        key: device_key(device).unwrap_or(0),
        signing_requests: all("endorsementKeyCertificateSigningRequest"),
        certificates: all("endorsementKeyCertificate"),
    }
}

/// Neither known by name nor a part that vCenter gives to every VM.
fn is_other(device: &Element) -> bool {
    const OF_EVERY_VM: [&str; 8] = [
        "VirtualPCIController",
        "VirtualPS2Controller",
        "VirtualSIOController",
        "VirtualIDEController",
        "VirtualKeyboard",
        "VirtualPointingDevice",
        "VirtualMachineVideoCard",
        "VirtualMachineVMCIDevice",
    ];
    let device_type = device.xsi_type().unwrap_or_default();
    let known = matches!(ControllerKind::of(device_type), Some(kind) if kind != ControllerKind::Other)
        || is(device, "VirtualDisk")
        || is(device, "VirtualTPM")
        || nic(device).is_some();
    !known && !OF_EVERY_VM.contains(&device_type)
}
