//! Rights: which are needed for what, on which object, and which are missing.

use std::{collections::BTreeSet, fmt};

use crate::{
    calls,
    inventory::InventoryError,
    properties::properties_of,
    session::Session,
    soap::{CallError, Element, ManagedObject},
};

/// Rights that one purpose needs on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// What for: `to read disks over nbdssl`.
    pub purpose: &'static str,
    /// Ids of the rights.
    pub ids: &'static [&'static str],
}

/// Backup, on each VM.
pub const BACKUP_VM: Needed = Needed {
    purpose: "to back up the VM",
    ids: &[
        "VirtualMachine.Config.ChangeTracking",
        "VirtualMachine.Config.DiskLease",
        "VirtualMachine.Provisioning.DiskRandomRead",
        "VirtualMachine.Provisioning.GetVmFiles",
        "VirtualMachine.State.CreateSnapshot",
        "VirtualMachine.State.RemoveSnapshot",
    ],
};

/// Backup, on the root folder. Granted at a lower level only, VDDK says "The host is not licensed for this feature".
pub const BACKUP_ROOT: Needed = Needed {
    purpose: "to keep the VM from moving while it is read",
    ids: &["Global.DisableMethods", "Global.EnableMethods"],
};

/// The NVRAM file, on its datastore.
pub const NVRAM_DATASTORE: Needed =
    Needed { purpose: "to read the NVRAM file", ids: &["Datastore.Browse", "Datastore.FileManagement"] };

/// Policies, on the root folder.
pub const POLICY_ROOT: Needed = Needed { purpose: "to read storage policies", ids: &["StorageProfile.View"] };

/// Encrypted disks over NBDSSL, on the VM.
pub const ENCRYPTED_NBDSSL_VM: Needed =
    Needed { purpose: "to read encrypted disks over nbdssl", ids: &["Cryptographer.Access"] };

/// HotAdd, on the proxy VM.
pub const HOTADD_PROXY: Needed = Needed {
    purpose: "to attach disks to the proxy VM",
    ids: &[
        "VirtualMachine.Config.AddExistingDisk",
        "VirtualMachine.Config.AddNewDisk",
        "VirtualMachine.Config.RemoveDisk",
        "VirtualMachine.Config.Resource",
        "VirtualMachine.Config.Settings",
    ],
};

/// HotAdd, on the datastore of the proxy VM.
pub const HOTADD_DATASTORE: Needed =
    Needed { purpose: "to attach disks to the proxy VM", ids: &["Datastore.AllocateSpace"] };

/// Encrypted disks by HotAdd, on the VM and on the proxy VM.
pub const ENCRYPTED_HOTADD_VM: Needed =
    Needed { purpose: "to read encrypted disks by hotadd", ids: &["Cryptographer.Access", "Cryptographer.AddDisk"] };

/// Restore, on the folder of the new VM.
pub const RESTORE_FOLDER: Needed = Needed {
    purpose: "to create and fill the restored VM",
    ids: &[
        "VirtualMachine.Inventory.Create",
        "VirtualMachine.Inventory.Delete",
        "VirtualMachine.Config.AddNewDisk",
        "VirtualMachine.Config.AddRemoveDevice",
        "VirtualMachine.Config.AdvancedConfig",
        "VirtualMachine.Config.ChangeTracking",
        "VirtualMachine.Config.CPUCount",
        "VirtualMachine.Config.Memory",
        "VirtualMachine.Config.Settings",
        "VirtualMachine.Provisioning.DiskRandomAccess",
        "VirtualMachine.Provisioning.PutVmFiles",
    ],
};

/// Restore, on the resource pool.
pub const RESTORE_POOL: Needed =
    Needed { purpose: "to give the restored VM its place", ids: &["Resource.AssignVMToPool"] };

/// Restore, on the datastore.
pub const RESTORE_DATASTORE: Needed =
    Needed { purpose: "to store the restored VM", ids: &["Datastore.AllocateSpace", "Datastore.FileManagement"] };

/// Restore, on each network.
pub const RESTORE_NETWORK: Needed = Needed { purpose: "to connect the restored VM", ids: &["Network.Assign"] };

/// Restore with policies, on the root folder. Newer servers have another id for it, which older ones do not know.
pub const RESTORE_POLICY_ROOT: Needed =
    Needed { purpose: "to apply storage policies", ids: &["StorageProfile.Update", "StorageProfile.View"] };

/// Restore of encrypted parts, on the folder of the new VM.
pub const RESTORE_ENCRYPTED_FOLDER: Needed = Needed {
    purpose: "to restore encrypted disks and VM homes",
    ids: &["Cryptographer.EncryptNew", "Cryptographer.Access"],
};

/// Restore of encrypted parts onto a host that is not in encryption mode, on that host.
pub const RESTORE_ENCRYPTED_HOST: Needed =
    Needed { purpose: "to bring the host into encryption mode", ids: &["Cryptographer.RegisterHost"] };

/// Checks of key providers, on the root folder.
pub const KEY_PROVIDERS_ROOT: Needed =
    Needed { purpose: "to ask key providers", ids: &["Cryptographer.ReadKeyServersInfo"] };

/// A right that the user lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingPrivilege {
    /// On which object.
    pub object: ManagedObject,
    /// Its id.
    pub id: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
}

/// `missing privilege Cryptographer.Access on VirtualMachine:vm-16 (to read encrypted disks over nbdssl)`
impl fmt::Display for MissingPrivilege {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "missing privilege {} on {} ({})", self.id, self.object, self.purpose)
    }
}

/// What a check of rights found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivilegeCheck {
    /// Every right that is missing.
    pub missing: Vec<MissingPrivilege>,
    /// Rights that this server does not know, so that nobody can have them: it is older or newer.
    pub unknown: Vec<&'static str>,
}

/// Asks for all rights at once, and names every missing one.
pub fn check_privileges(
    session: &Session,
    wanted: &[(ManagedObject, Needed)],
) -> Result<PrivilegeCheck, InventoryError> {
    let known = known_privileges(session)?;
    let all: BTreeSet<&'static str> = wanted.iter().flat_map(|(_, needed)| needed.ids.iter().copied()).collect();
    let (asked, unknown): (Vec<_>, Vec<_>) = all.into_iter().partition(|id| known.contains(*id));
    let mut check = PrivilegeCheck { missing: Vec::new(), unknown };
    let objects: BTreeSet<&ManagedObject> = wanted.iter().map(|(object, _)| object).collect();
    if asked.is_empty() || objects.is_empty() {
        return Ok(check);
    }
    let granted = granted(session, &objects, &asked)?;
    for (object, needed) in wanted {
        for id in needed.ids.iter().filter(|id| asked.contains(id)) {
            // What the answer says nothing about is not granted.
            if !granted.contains(&(object.clone(), (*id).to_owned())) {
                check.missing.push(MissingPrivilege { object: object.clone(), id, purpose: needed.purpose });
            }
        }
    }
    check.missing.sort();
    check.missing.dedup();
    Ok(check)
}

fn known_privileges(session: &Session) -> Result<BTreeSet<String>, InventoryError> {
    let manager = &session.content().authorization_manager;
    let properties = properties_of(session, manager, &["privilegeList"])?;
    let list = properties.require("privilegeList")?;
    let known: BTreeSet<String> =
        list.children().iter().filter_map(|privilege| privilege.text_at("privId")).map(str::to_owned).collect();
    // Every right would be unknown and none missing: no answer is better than that one.
    if known.is_empty() {
        return Err(properties.senseless("privilegeList", "").into());
    }
    Ok(known)
}

fn granted(
    session: &Session,
    objects: &BTreeSet<&ManagedObject>,
    ids: &[&str],
) -> Result<BTreeSet<(ManagedObject, String)>, CallError> {
    let ask = || {
        let mut params: Vec<Element> = objects.iter().map(|object| object.element("entity")).collect();
        params.push(Element::text_of("sessionId", session.key()));
        params.extend(ids.iter().map(|id| Element::text_of("privId", *id)));
        session.call(calls::HAS_PRIVILEGE_ON_ENTITIES, &session.content().authorization_manager, &params)
    };
    let login = session.login_number();
    let answer = match ask() {
        // The session was renewed on the way, and the key in the question is that of the old one.
        Err(_) if session.login_number() != login => ask()?,
        result => result?,
    };
    let mut granted = BTreeSet::new();
    for entity in answer.values() {
        let Some(object) = entity.child("entity").and_then(ManagedObject::of) else { continue };
        for privilege in entity.all("privAvailability") {
            if let (Some(id), Some(true)) = (privilege.text_at("privId"), privilege.flag_at("isGranted")) {
                granted.insert((object.clone(), id.to_owned()));
            }
        }
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        soap::test_server::Reply,
        test_session::{found, object, session, vm},
    };

    #[test]
    fn every_missing_right_is_named_with_object_and_purpose_and_unknown_ones_are_noted() {
        let (server, session) = session(|call, _, _| match call {
            "RetrievePropertiesEx" => {
                let known = ["StorageProfile.View", "Cryptographer.Access", "Global.EnableMethods"];
                let known =
                    known.map(|id| format!("<AuthorizationPrivilege><privId>{id}</privId></AuthorizationPrivilege>"));
                let list = format!("<propSet><name>privilegeList</name><val>{}</val></propSet>", known.concat());
                found(&object("AuthorizationManager", "AuthorizationManager", &list))
            }
            _ => Reply::response(
                call,
                "<returnval><entity type=\"VirtualMachine\">vm-16</entity>\
                 <privAvailability><privId>Cryptographer.Access</privId><isGranted>false</isGranted></privAvailability>\
                 <privAvailability><privId>StorageProfile.View</privId><isGranted>true</isGranted></privAvailability></returnval>\
                 <returnval><entity type=\"Folder\">group-d1</entity>\
                 <privAvailability><privId>StorageProfile.View</privId><isGranted>true</isGranted></privAvailability></returnval>",
            ),
        });
        let root = session.content().root_folder.clone();
        let wanted = [(vm(), ENCRYPTED_NBDSSL_VM), (root.clone(), POLICY_ROOT), (root.clone(), BACKUP_ROOT)];
        let check = check_privileges(&session, &wanted).unwrap();
        let said: Vec<_> = check.missing.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "missing privilege Global.EnableMethods on Folder:group-d1 (to keep the VM from moving while it is read)",
                "missing privilege Cryptographer.Access on VirtualMachine:vm-16 (to read encrypted disks over nbdssl)",
            ]
        );
        assert_eq!(check.unknown, ["Global.DisableMethods"]);
        assert!(server.seen().last().unwrap().text().contains("<sessionId>52-key</sessionId>"));
    }
}
