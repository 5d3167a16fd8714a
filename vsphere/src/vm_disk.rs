//! The disks of a VM, read off its configuration.

use std::fmt;

use engine::Kind;

use crate::soap::Element;

/// A key of a key provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KmsKey {
    /// Its id.
    pub key_id: String,
    /// The provider's id, if the server says it.
    pub provider: Option<String>,
}

impl KmsKey {
    /// Of a `CryptoKeyId`.
    pub fn of(key: &Element) -> Option<Self> {
        let key_id = key.text_at("keyId").filter(|id| !id.is_empty())?;
        let provider = key.text_at("providerId.id").filter(|id| !id.is_empty());
        Some(Self { key_id: key_id.to_owned(), provider: provider.map(str::to_owned) })
    }
}

/// `kms-prod/0b1f..`
impl fmt::Display for KmsKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Some(provider) => write!(out, "{provider}/{}", self.key_id),
            None => out.write_str(&self.key_id),
        }
    }
}

/// What a controller speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bus {
    /// SCSI, of any make.
    Scsi,
    /// SATA.
    Sata,
    /// NVMe.
    Nvme,
    /// IDE.
    Ide,
    /// Another, by its type in the API.
    Other(String),
}

/// What disks hang on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Its key among the devices of the VM.
    pub key: i32,
    /// Its type in the API: `ParaVirtualSCSIController`.
    pub device_type: String,
    /// What it speaks.
    pub bus: Bus,
    /// Its number among those that speak the same.
    pub bus_number: i32,
}

/// What lies under a disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// A file of its own.
    File,
    /// A LUN, seen through a file that a snapshot covers.
    RdmVirtual,
    /// A LUN, past every snapshot.
    RdmPhysical,
    /// Another, by its type in the API.
    Other(String),
}

/// Why a disk is not backed up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// A snapshot does not cover it.
    #[error("its mode is {mode}: no snapshot covers it")]
    Independent {
        /// The mode.
        mode: String,
    },
    /// A LUN past every snapshot.
    #[error("it is a raw device in physical compatibility mode: no snapshot covers it")]
    RdmPhysical,
    /// Several VMs write to it.
    #[error("it is shared with other VMs ({sharing}): no snapshot covers it")]
    Shared {
        /// How.
        sharing: String,
    },
    /// A kind of disk that is not known.
    #[error("its backing is {backing}, which is not known")]
    Unknown {
        /// Its type in the API.
        backing: String,
    },
}

/// A disk of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmDisk {
    /// `disk0`, `disk1`, … in the order of controllers, their numbers and units.
    pub name: String,
    /// Its key among the devices of the VM: 2000 and more.
    pub key: i32,
    /// What the operator sees: `Hard disk 1`.
    pub label: String,
    /// What it hangs on, if the configuration has it.
    pub controller: Option<Controller>,
    /// Its place there.
    pub unit: Option<i32>,
    /// Its size.
    pub capacity_bytes: u64,
    /// `[datastore] folder/name.vmdk`
    pub file_name: String,
    /// Its identity, if the server says it.
    pub uuid: Option<String>,
    /// `persistent`, `independent_persistent`, …
    pub mode: String,
    /// `sharingNone`, `sharingMultiWriter`, if the server says it.
    pub sharing: Option<String>,
    /// Whether it takes only the room it needs, if the server says it.
    pub thin: Option<bool>,
    /// The change id, in the configuration of a snapshot of a VM that tracks changes.
    pub change_id: Option<String>,
    /// The key it is encrypted with.
    pub kms_key: Option<KmsKey>,
    /// What lies under it.
    pub backing: Backing,
    /// The id of a First Class Disk.
    pub v_disk_id: Option<String>,
}

impl VmDisk {
    /// Whether it can be read under a snapshot, or why not.
    pub fn readable(&self) -> Result<(), Unreadable> {
        match &self.backing {
            Backing::RdmPhysical => return Err(Unreadable::RdmPhysical),
            Backing::Other(backing) => return Err(Unreadable::Unknown { backing: backing.clone() }),
            Backing::File | Backing::RdmVirtual => {}
        }
        if self.mode.starts_with("independent") {
            return Err(Unreadable::Independent { mode: self.mode.clone() });
        }
        match &self.sharing {
            Some(sharing) if sharing != "sharingNone" => Err(Unreadable::Shared { sharing: sharing.clone() }),
            _ => Ok(()),
        }
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.kms_key.is_some()
    }
}

/// A disk that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {device}: {what}; its configuration cannot be understood")]
pub struct DeviceError {
    /// Key or label, as far as it is there.
    device: String,
    /// What is wrong.
    what: &'static str,
}

impl DeviceError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        Kind::Unsupported
    }
}

/// The disks of a configuration (`config` of a VM or of a snapshot), named in order.
pub fn disks_of(config: &Element) -> Result<Vec<VmDisk>, DeviceError> {
    let hardware = config.child("hardware");
    let devices = || hardware.into_iter().flat_map(|hardware| hardware.all("device"));
    let controllers: Vec<Controller> = devices().filter_map(controller).collect();
    let disks = devices().filter(|device| device.xsi_type() == Some("VirtualDisk"));
    let mut disks = disks.map(|device| disk(device, &controllers)).collect::<Result<Vec<_>, _>>()?;
    disks.sort_by_cached_key(|disk| {
        // A disk without a controller comes last.
        let place = disk.controller.as_ref().map(|controller| (controller.bus.clone(), controller.bus_number));
        (place.is_none(), place, disk.unit, disk.key)
    });
    for (number, disk) in disks.iter_mut().enumerate() {
        disk.name = format!("disk{number}");
    }
    Ok(disks)
}

fn controller(device: &Element) -> Option<Controller> {
    let device_type = device.xsi_type()?;
    let bus = match device_type {
        "VirtualIDEController" => Bus::Ide,
        "VirtualNVMEController" => Bus::Nvme,
        "VirtualAHCIController" | "VirtualSATAController" => Bus::Sata,
        scsi if scsi.contains("SCSI") || scsi.contains("LsiLogic") || scsi.contains("BusLogic") => Bus::Scsi,
        other if other.ends_with("Controller") => Bus::Other(other.to_owned()),
        _ => return None,
    };
    Some(Controller {
        key: device.number_at("key")?,
        device_type: device_type.to_owned(),
        bus,
        bus_number: device.number_at("busNumber").unwrap_or_default(),
    })
}

fn disk(device: &Element, controllers: &[Controller]) -> Result<VmDisk, DeviceError> {
    let label = device.text_at("deviceInfo.label").unwrap_or_default();
    let wrong = |what| DeviceError {
        device: if label.is_empty() { device.text_at("key").unwrap_or("?").to_owned() } else { label.to_owned() },
        what,
    };
    let key = device.number_at("key").ok_or_else(|| wrong("no key"))?;
    let of_kilobytes = || device.number_at::<u64>("capacityInKB").and_then(|kilobytes| kilobytes.checked_mul(1024));
    let capacity_bytes = device.number_at("capacityInBytes").filter(|bytes| *bytes > 0).or_else(of_kilobytes);
    let backing = device.child("backing").ok_or_else(|| wrong("no backing"))?;
    let text = |name: &str| backing.text_at(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let controller_key = device.number_at::<i32>("controllerKey");
    Ok(VmDisk {
        name: String::new(),
        key,
        label: label.to_owned(),
        controller: controllers.iter().find(|controller| Some(controller.key) == controller_key).cloned(),
        unit: device.number_at("unitNumber"),
        capacity_bytes: capacity_bytes.ok_or_else(|| wrong("no capacity"))?,
        file_name: text("fileName").ok_or_else(|| wrong("no file name"))?,
        uuid: text("uuid"),
        mode: text("diskMode").unwrap_or_default(),
        sharing: text("sharing"),
        thin: backing.flag_at("thinProvisioned"),
        change_id: text("changeId"),
        kms_key: backing.child("keyId").and_then(KmsKey::of),
        backing: backing_of(backing),
        v_disk_id: device.text_at("vDiskId.id").filter(|id| !id.is_empty()).map(str::to_owned),
    })
}

fn backing_of(backing: &Element) -> Backing {
    match backing.xsi_type().unwrap_or_default() {
        "VirtualDiskRawDiskMappingVer1BackingInfo" => match backing.text_at("compatibilityMode") {
            Some("virtualMode") => Backing::RdmVirtual,
            _ => Backing::RdmPhysical,
        },
        "VirtualDiskFlatVer1BackingInfo"
        | "VirtualDiskFlatVer2BackingInfo"
        | "VirtualDiskSparseVer1BackingInfo"
        | "VirtualDiskSparseVer2BackingInfo"
        | "VirtualDiskSeSparseBackingInfo" => Backing::File,
        other => Backing::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::Document;

    fn config(devices: &str) -> Element {
        let text = format!("<config><hardware>{devices}</hardware></config>");
        Document::read(text.into_bytes()).unwrap().root().clone()
    }

    fn device(key: i32, controller: i32, unit: i32, backing: &str) -> String {
        format!(
            "<device xsi:type=\"VirtualDisk\"><key>{key}</key><deviceInfo><label>Hard disk {key}</label></deviceInfo>{backing}\
             <controllerKey>{controller}</controllerKey><unitNumber>{unit}</unitNumber><capacityInKB>1024</capacityInKB></device>"
        )
    }

    const FLAT: &str = "<backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a/a.vmdk</fileName>\
                        <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><uuid>6000C29b</uuid>\
                        <changeId>52 3a/12</changeId><keyId><keyId>0b1f</keyId><providerId><id>kms-prod</id></providerId></keyId>\
                        <sharing>sharingNone</sharing></backing>";

    #[test]
    fn disks_are_named_by_controller_bus_and_unit() {
        let config = config(&format!(
            "{}{}{}{}{}\
             <device xsi:type=\"VirtualNVMEController\"><key>31000</key><busNumber>0</busNumber></device>\
             <device xsi:type=\"ParaVirtualSCSIController\"><key>1001</key><busNumber>1</busNumber></device>\
             <device xsi:type=\"VirtualLsiLogicController\"><key>1000</key><busNumber>0</busNumber></device>",
            device(2005, 31000, 0, FLAT),
            device(2003, 1001, 0, FLAT),
            device(2002, 1000, 10, FLAT),
            device(2001, 1000, 2, FLAT),
            device(2009, 77, 0, FLAT),
        ));
        let disks = disks_of(&config).unwrap();
        let named: Vec<_> = disks.iter().map(|disk| (disk.name.as_str(), disk.key)).collect();
        assert_eq!(named, [("disk0", 2001), ("disk1", 2002), ("disk2", 2003), ("disk3", 2005), ("disk4", 2009)]);
    }

    #[test]
    fn a_disk_says_its_size_its_key_and_its_change_id() {
        let disks = disks_of(&config(&device(2000, 1000, 0, FLAT))).unwrap();
        let [disk] = disks.as_slice() else { panic!() };
        assert_eq!((disk.capacity_bytes, disk.thin), (1 << 20, Some(true)));
        assert_eq!(disk.kms_key.as_ref().unwrap().to_string(), "kms-prod/0b1f");
        assert_eq!(disk.change_id.as_deref(), Some("52 3a/12"));
        assert_eq!(disk.readable(), Ok(()));
    }

    #[test]
    fn a_disk_that_no_snapshot_covers_says_so() {
        let readable = |backing: &str| disks_of(&config(&device(2000, 1000, 0, backing))).unwrap()[0].readable();
        let independent = FLAT.replace(">persistent", ">independent_persistent");
        assert!(matches!(readable(&independent), Err(Unreadable::Independent { .. })));
        let shared = FLAT.replace("sharingNone", "sharingMultiWriter");
        assert!(matches!(readable(&shared), Err(Unreadable::Shared { .. })));
        let rdm = FLAT.replace("FlatVer2", "RawDiskMappingVer1");
        let mode = |mode: &str| rdm.replace("<uuid>", &format!("<compatibilityMode>{mode}</compatibilityMode><uuid>"));
        assert_eq!(readable(&mode("physicalMode")), Err(Unreadable::RdmPhysical));
        assert_eq!(readable(&mode("virtualMode")), Ok(()));
        let unknown = FLAT.replace("FlatVer2", "Novel");
        assert!(matches!(readable(&unknown), Err(Unreadable::Unknown { .. })));
    }

    #[test]
    fn a_disk_that_cannot_be_understood_is_an_error_and_not_left_out() {
        let error = disks_of(&config(&device(2000, 1000, 0, ""))).unwrap_err();
        assert_eq!(error.to_string(), "device Hard disk 2000: no backing; its configuration cannot be understood");
    }
}
