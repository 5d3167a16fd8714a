//! Which disks a snapshot covers, so that they can be read of it.

use super::config::ConfigDisk;

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

impl ConfigDisk {
    /// Whether it can be read under a snapshot, or why not.
    pub fn readable(&self) -> Result<(), Unreadable> {
        const FILES: [&str; 5] = [
            "VirtualDiskFlatVer1BackingInfo",
            "VirtualDiskFlatVer2BackingInfo",
            "VirtualDiskSparseVer1BackingInfo",
            "VirtualDiskSparseVer2BackingInfo",
            "VirtualDiskSeSparseBackingInfo",
        ];
        match self.backing_type.as_str() {
            "VirtualDiskRawDiskMappingVer1BackingInfo" if self.device_mode.as_deref() == Some("virtualMode") => {}
            "VirtualDiskRawDiskMappingVer1BackingInfo" => return Err(Unreadable::RdmPhysical),
            file if FILES.contains(&file) => {}
            other => return Err(Unreadable::Unknown { backing: other.to_owned() }),
        }
        if let Some(mode) = self.mode.as_ref().filter(|mode| mode.starts_with("independent")) {
            return Err(Unreadable::Independent { mode: mode.clone() });
        }
        match &self.sharing {
            Some(sharing) if sharing != "sharingNone" => Err(Unreadable::Shared { sharing: sharing.clone() }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{soap::Document, vm_home::VmConfig};

    const FLAT: &str = "<backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a/a.vmdk</fileName>\
                        <diskMode>persistent</diskMode><uuid>6000C29b</uuid><sharing>sharingNone</sharing></backing>";

    fn readable(backing: &str) -> Result<(), Unreadable> {
        let config = format!(
            "<config xmlns:xsi=\"x\"><hardware><device xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>\
             <busNumber>0</busNumber></device><device xsi:type=\"VirtualDisk\"><key>2000</key>{backing}\
             <controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>1024</capacityInKB></device>\
             </hardware></config>"
        );
        VmConfig::read(Document::read(config.into_bytes()).unwrap().root()).unwrap().disks[0].readable()
    }

    #[test]
    fn a_disk_that_no_snapshot_covers_says_so() {
        assert_eq!(readable(FLAT), Ok(()));
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
}
