//! What surrounds the disks of a vSphere VM: read from its properties, kept without loss, read back.
//!
//! | room | what it does |
//! |---|---|
//! | `raw_xml` | a part of an answer, byte for byte, with the name spaces it needs |
//! | `config` | what of `config` is known by name: keys, devices |
//! | `capture` | properties in, [`engine::CapturedHome`] out |
//! | `document` | the document that is stored: ours around VMware's own XML |
//! | `encryption` | key and bundle as one value; what a saved VM has of them |
//! | `readable` | which disks a snapshot covers |
//! | `saved_vm` | a stored VM home as recovery sees it |
//!
//! **Invariant:** no I/O and no clock here, and no copy of a VMX file anywhere.

mod capture;
mod config;
mod document;
mod encryption;
mod raw_xml;
mod readable;
mod saved_vm;
#[cfg(test)]
pub(crate) mod tests;

pub use capture::{CaptureFinding, CaptureHomeError, Captured, HomeFacts, Policies, SavedFile, capture_home};
pub use config::{ConfigController, ConfigDisk, ConfigError, ConfigNic, ConfigVtpm, ControllerKind, VmConfig};
pub use document::{
    DiskFate, DocumentDisk, DocumentError, DocumentNic, HomeIdentity, HomeState, NvramState, Quiet, VmHomeDocument,
};
pub use encryption::{KmsKey, SavedEncryption, VmEncryption};
pub use raw_xml::RawXml;
pub use readable::Unreadable;
pub use saved_vm::{Binding, Firmware, NoConfiguration, SavedDisk, SavedNvram, SavedVm};
