//! A VM as it is before anything is done to it.

use std::collections::BTreeMap;

use repo_format::{PolicyEncrypts, StoragePolicy, VmIdentity};

use super::{LookError, Note, QuiesceWish, VmBackupError, VmBackupOptions};
use crate::{
    inventory::{PowerState, VmSummary, capture_properties, inventory_path},
    policy::{Policies, PolicyOf},
    preflight::{Finding, State, check_keys_of},
    properties::Properties,
    session::Session,
    soap::ManagedObject,
    transport::{Access, DiskState},
    vm_home::{ConfigDisk, HomeIdentity, Policies as HomePolicies, VmConfig},
};

/// A VM, and what of it a backup has to know first.
pub struct SeenVm<'v> {
    pub(super) summary: &'v VmSummary,
    pub(super) vm_identity: VmIdentity,
    pub(super) identity: HomeIdentity,
    pub(super) config: VmConfig,
    pub(super) policies: HomePolicies,
    pub(super) network_names: BTreeMap<String, String>,
}

impl<'v> SeenVm<'v> {
    /// Looks at `vm`.
    pub fn look(session: &Session, summary: &'v VmSummary) -> Result<Self, VmBackupError> {
        let vm = summary.name.clone();
        let failed = |source: LookError| VmBackupError::Look { vm: vm.clone(), source };
        let properties = capture_properties(session, &summary.vm).map_err(|error| failed(error.into()))?;
        let config = properties.require("config").map_err(|error| failed(error.into()))?;
        let config = VmConfig::read(config).map_err(|error| failed(error.into()))?;
        let path = inventory_path(session, &summary.vm).map_err(|error| failed(error.into()))?;
        let policies = policies(session, &summary.vm, &config).map_err(|error| failed(error.into()))?;
        let vcenter = session.about().instance_uuid.clone().unwrap_or_default();
        let of = |whose: &str, text: &str| {
            let what = format!("{whose} {text:?}");
            uuid_bytes(text).ok_or(VmBackupError::Identity { vm: summary.name.clone(), what })
        };
        let vm_identity = VmIdentity::VCenter {
            vcenter: of("the vCenter's instance uuid", &vcenter)?,
            instance: of("its instance uuid", config.instance_uuid.as_deref().unwrap_or_default())?,
        };
        let identity = HomeIdentity {
            vcenter_uuid: vcenter,
            moref: summary.vm.moref().to_owned(),
            inventory_path: path.names(),
            dc_path: path.dc_path().unwrap_or_default(),
            server: session.server().to_string(),
            api_version: session.about().api_version.clone(),
            reader: String::new(),
            captured_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let network_names = network_names(session, &properties);
        Ok(Self { summary, vm_identity, identity, config, policies, network_names })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.summary.name
    }

    /// What of its encryption is there: `clear`, `whole` or `incomplete`.
    pub fn encryption_word(&self) -> &'static str {
        match (&self.config.kms_key, &self.config.bundle) {
            (Some(_), Some(_)) => "whole",
            (None, None) if !self.config.is_encrypted() => "clear",
            _ => "incomplete",
        }
    }

    /// Where it is, for calls.
    pub(super) fn object(&self) -> &ManagedObject {
        &self.summary.vm
    }

    /// Whether it runs.
    pub(super) fn is_off(&self) -> bool {
        self.summary.power_state == PowerState::Off
    }

    /// Refuses what cannot be backed up, before anything is done.
    pub fn check(&self, options: &VmBackupOptions) -> Result<Vec<Note>, VmBackupError> {
        let vm = self.name().to_owned();
        if self.summary.is_template {
            return Err(VmBackupError::Template { vm });
        }
        if self.summary.connection_state != "connected" {
            return Err(VmBackupError::Disconnected { vm, state: self.summary.connection_state.clone() });
        }
        if self.config.is_encrypted() && options.quiesce == QuiesceWish::Application {
            return Err(VmBackupError::ApplicationQuiesce { vm });
        }
        let mut notes = Vec::new();
        if self.config.is_encrypted() && options.quiesce == QuiesceWish::ApplicationIfClear {
            let text = format!("{vm}: it is encrypted, so that its file systems are quiesced and not its applications");
            notes.push(Note::say("quiesce_lowered", text));
        }
        let (mut why, mut readable) = (Vec::new(), 0);
        for disk in &self.config.disks {
            match disk.readable() {
                Ok(()) => readable += 1,
                Err(reason) => {
                    why.push(format!("{}: {reason}", disk.name));
                    let text = format!("{vm} {}: skipped: {reason}", disk.name);
                    notes.push(Note::attention("disk_skipped", text));
                    continue;
                }
            }
            let allowed = options.transports.for_disk(state_of(disk), Access::Read, options.proxy);
            let allowed = allowed.map_err(|refused| VmBackupError::Transport {
                vm: vm.clone(),
                disk: disk.name.clone(),
                refused,
            })?;
            notes.extend(
                allowed
                    .left_out
                    .iter()
                    .map(|refused| Note::say("transport_left_out", format!("{vm} {}: {refused}", disk.name))),
            );
        }
        if readable == 0 {
            return Err(VmBackupError::NoDisk { vm, why: why.join("; ") });
        }
        Ok(notes)
    }

    /// Whether its keys could be had today. A backup needs none of them: it is made, and somebody is told.
    pub(super) fn check_keys(&self, session: &Session) -> Vec<Note> {
        let findings = check_keys_of(session, self.name(), &self.config);
        let note = |finding: &Finding| {
            let text = format!("{}: key {}: {}", self.name(), finding.object, finding.found);
            match finding.state {
                State::Ok => None,
                State::Note => Some(Note::say("key_unsure", text)),
                State::Warning | State::Problem(_) => Some(Note::attention("key_not_to_be_had", text)),
            }
        };
        findings.iter().filter_map(note).collect()
    }
}

/// Whose restore points are this VM's; `None` if a uuid that belongs to that cannot be read.
pub fn identity_of(session: &Session, vm: &VmSummary) -> Option<VmIdentity> {
    let vcenter = uuid_bytes(session.about().instance_uuid.as_deref()?)?;
    Some(VmIdentity::VCenter { vcenter, instance: uuid_bytes(vm.instance_uuid.as_deref()?)? })
}

/// How a disk lies on its datastore.
pub(super) fn state_of(disk: &ConfigDisk) -> DiskState {
    if disk.kms_key.is_some() { DiskState::Encrypted } else { DiskState::Clear }
}

/// Storage policies of home and disks. Several for one part: the first, as vCenter lists them.
fn policies(session: &Session, vm: &ManagedObject, config: &VmConfig) -> Result<HomePolicies, crate::soap::CallError> {
    let service = Policies::of(session)?;
    let all = service.all()?;
    let of = |what: &PolicyOf<'_>| {
        let ids = service.associated(what)?;
        Ok::<_, crate::soap::CallError>(ids.first().map(|id| known(id, &all)))
    };
    let home = of(&PolicyOf::Home { vm })?;
    let mut disks = BTreeMap::new();
    for disk in &config.disks {
        if let Some(policy) = of(&PolicyOf::Disk { vm, key: disk.key })? {
            disks.insert(disk.key, policy);
        }
    }
    Ok(HomePolicies { home, disks })
}

/// A policy that was deleted is still associated: then only its id is known.
fn known(id: &str, all: &[StoragePolicy]) -> StoragePolicy {
    let found = all.iter().find(|policy| policy.id == id).cloned();
    found.unwrap_or_else(|| StoragePolicy { id: id.to_owned(), name: String::new(), encrypts: PolicyEncrypts::Unknown })
}

/// Names of the networks by their ids: a network card on a distributed switch says only its port group's key.
fn network_names(session: &Session, properties: &Properties) -> BTreeMap<String, String> {
    let networks = properties.get("network").ok().flatten().map(|list| list.children().to_vec()).unwrap_or_default();
    let name_of = |element: &crate::soap::Element| {
        let network = ManagedObject::of(element)?;
        let properties = crate::properties::properties_of(session, &network, &["name"]).ok()?;
        Some((network.moref().to_owned(), properties.text("name").ok().flatten()?.to_owned()))
    };
    networks.iter().filter_map(name_of).collect()
}

/// 16 bytes of a uuid, with or without dashes.
pub(crate) fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_with_and_without_dashes_and_nothing_else_is() {
        let wanted = [0x50, 0x12, 0xf9, 0xd3, 0x6f, 0x0a, 0x4c, 0x41, 0x9b, 0x1e, 0x0d, 0x5a, 0x3c, 0x7e, 0x2f, 0x10];
        assert_eq!(uuid_bytes("5012f9d3-6f0a-4c41-9b1e-0d5a3c7e2f10"), Some(wanted));
        assert_eq!(uuid_bytes("5012F9D36F0A4C419B1E0D5A3C7E2F10"), Some(wanted));
        for text in ["", "5012f9d3", "+012f9d3-6f0a-4c41-9b1e-0d5a3c7e2f10", "zz12f9d3-6f0a-4c41-9b1e-0d5a3c7e2f10"] {
            assert_eq!(uuid_bytes(text), None, "{text}");
        }
    }
}
