//! Which VM a restore point is of: `0 ‖ text name` or `1 ‖ vCenter uuid ‖ instance uuid`.

use std::fmt;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::{
    codec::{Put, Reader},
    error::FormatError,
};

const WHAT: &str = "VM identity";
const NAME_BYTES_MAX: usize = 255;

/// The identity of a VM: its restore points form one chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VmIdentity {
    /// A name the operator gave; made by [`VmIdentity::named`].
    Named(VmName),
    /// The instance uuid of a VM under the uuid of its vCenter.
    VCenter {
        /// Of the vCenter.
        vcenter: [u8; 16],
        /// Of the VM.
        instance: [u8; 16],
    },
}

/// A VM's name: Unicode NFC, 1 to 255 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmName(String);

impl VmName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VmIdentity {
    /// The VM of this name, after Unicode normalisation.
    pub fn named(name: &str) -> Result<Self, FormatError> {
        let name: String = name.nfc().collect();
        match name_flaw(&name) {
            None => Ok(Self::Named(VmName(name))),
            Some(wanted) => Err(FormatError::invalid(WHAT, "name", format_args!("{name:?}"), wanted)),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Named(name) => {
                out.push(0);
                out.put_text(name.as_str());
            }
            Self::VCenter { vcenter, instance } => {
                out.push(1);
                out.extend_from_slice(vcenter);
                out.extend_from_slice(instance);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8("kind of VM identity")? {
            0 => {
                let name = reader.text("VM name")?;
                match name_flaw(&name) {
                    None => Ok(Self::Named(VmName(name))),
                    Some(wanted) => Err(reader.damaged("VM name", format_args!("{name:?}"), wanted)),
                }
            }
            1 => Ok(Self::VCenter { vcenter: reader.array("vCenter uuid")?, instance: reader.array("instance uuid")? }),
            found => Err(reader.damaged("kind of VM identity", found, "0 or 1")),
        }
    }
}

/// What a name would have to be.
fn name_flaw(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        Some("1 … 255 bytes")
    } else if name.chars().any(char::is_control) {
        Some("no control characters")
    } else if !is_nfc(name) {
        Some("Unicode NFC")
    } else {
        None
    }
}

impl fmt::Display for VmIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let put_uuid = |f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]| {
            uuid.iter().enumerate().try_for_each(|(index, byte)| {
                let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{dash}{byte:02x}")
            })
        };
        match self {
            Self::Named(name) => f.write_str(name.as_str()),
            Self::VCenter { vcenter, instance } => {
                put_uuid(f, instance)?;
                f.write_str("@")?;
                put_uuid(f, vcenter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<VmIdentity, FormatError> {
        let mut reader = Reader::new("test", bytes);
        let identity = VmIdentity::read(&mut reader)?;
        reader.end()?;
        Ok(identity)
    }

    fn stored(name: &str) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.put_text(name);
        bytes
    }

    #[test]
    fn composed_and_decomposed_names_are_one_identity() {
        assert_eq!(VmIdentity::named("Mu\u{308}nchen"), VmIdentity::named("M\u{fc}nchen"));
        assert_eq!(VmIdentity::named("Mu\u{308}nchen").unwrap().to_string(), "M\u{fc}nchen");
    }

    #[test]
    fn identities_read_back() {
        for identity in [
            VmIdentity::named("db-1").unwrap(),
            VmIdentity::VCenter { vcenter: [1; 16], instance: *b"0123456789abcdef" },
        ] {
            let mut bytes = Vec::new();
            identity.put(&mut bytes);
            assert_eq!(read(&bytes), Ok(identity));
        }
    }

    #[test]
    fn empty_long_and_unprintable_names_are_refused_by_writer_and_reader() {
        for name in ["", "a\nb", "a\u{7f}", "a\u{85}", &"x".repeat(256)] {
            assert!(VmIdentity::named(name).is_err(), "{name:?}");
            assert!(read(&stored(name)).is_err(), "{name:?}");
        }
        assert!(read(&stored(&"x".repeat(255))).is_ok());
    }

    #[test]
    fn a_stored_name_that_is_not_nfc_is_refused() {
        assert!(read(&stored("Mu\u{308}nchen")).is_err());
    }

    #[test]
    fn an_unknown_kind_and_bytes_left_over_are_refused() {
        assert!(read(&[2, 0]).is_err());
        assert!(read(&[&stored("a")[..], &[0]].concat()).is_err());
        assert!(read(&[1; 32]).is_err());
    }
}
