//! A VM as the checks see it, read once.

use crate::{
    inventory::{VmSummary, capture_properties},
    properties::{Properties, PropertyError},
    session::Session,
    soap::ManagedObject,
    vm_home::{ConfigDisk, KmsKey, VmConfig},
};

use super::finding::{CheckId, Finding};

const UNREADABLE_HINT: &str =
    "grant System.Read on the VM: an encrypted VM cannot be captured without its configuration";

/// A VM of which a list could not read even what a list shows.
pub fn unreadable_vm(error: &PropertyError) -> Finding {
    let vm = match error {
        PropertyError::NotReadable { object, .. }
        | PropertyError::NotSet { object, .. }
        | PropertyError::Senseless { object, .. } => object,
    };
    Finding::problem(CheckId::Encryption, error.kind(), vm, error).hint(UNREADABLE_HINT)
}

/// A VM whose configuration could be read.
pub(super) struct LookedVm<'v> {
    pub(super) summary: &'v VmSummary,
    pub(super) properties: Properties,
    pub(super) config: VmConfig,
}

impl<'v> LookedVm<'v> {
    /// Reads it, or says why it cannot be read.
    pub(super) fn look(session: &Session, summary: &'v VmSummary) -> Result<Self, Finding> {
        let unreadable = |kind, error: &dyn std::fmt::Display| {
            Finding::problem(CheckId::Encryption, kind, &summary.name, error).hint(UNREADABLE_HINT)
        };
        let properties = capture_properties(session, &summary.vm).map_err(|error| unreadable(error.kind(), &error))?;
        let config = properties.require("config").map_err(|error| unreadable(error.kind(), &error))?;
        let config = VmConfig::read(config).map_err(|error| unreadable(error.kind(), &error))?;
        Ok(Self { summary, properties, config })
    }

    pub(super) fn name(&self) -> &str {
        &self.summary.name
    }

    pub(super) fn object(&self) -> &ManagedObject {
        &self.summary.vm
    }

    pub(super) fn encrypted_disks(&self) -> impl Iterator<Item = &ConfigDisk> {
        self.config.disks.iter().filter(|disk| disk.kms_key.is_some())
    }

    /// Key of the home, then of the disks.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KmsKey> {
        self.config.kms_key.iter().chain(self.config.disks.iter().filter_map(|disk| disk.kms_key.as_ref()))
    }

    /// Whether a backup would be made of it at all.
    pub(super) fn is_backed_up(&self) -> bool {
        !self.summary.is_template
    }

    /// References of a list among its properties.
    pub(super) fn references(&self, path: &str) -> Vec<ManagedObject> {
        let list = self.properties.get(path).ok().flatten().map(crate::soap::Element::children).unwrap_or_default();
        list.iter().filter_map(ManagedObject::of).collect()
    }
}

/// Those that were found well, in one line: `6 VMs`, or the name of the only one.
pub(super) fn all_of(vms: &[&str]) -> String {
    match vms {
        [name] => (*name).to_owned(),
        several => format!("{} VMs", several.len()),
    }
}
