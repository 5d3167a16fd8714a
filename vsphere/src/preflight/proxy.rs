//! P8: the VM that this program runs in, if it runs in one of this vCenter.

use std::fs;

use super::{
    finding::{CheckId, Finding},
    looked_vm::LookedVm,
    options::PreflightReader,
};
use crate::{
    inventory::{InventoryError, find_by_bios_uuid, vm_summary},
    session::Session,
    soap::ManagedObject,
    transport::{Proxy, Transport},
};

/// Where the kernel shows the BIOS uuid. Root alone may read it.
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// The BIOS uuid of this machine, if it may be read.
pub fn product_uuid() -> Option<String> {
    let text = fs::read_to_string(PRODUCT_UUID).ok()?;
    Some(text.trim().to_ascii_lowercase()).filter(|text| !text.is_empty())
}

/// A VM of this vCenter that this program runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProxy {
    /// The VM.
    pub vm: ManagedObject,
    /// Its name.
    pub name: String,
    /// What it is fit for.
    pub proxy: Proxy,
}

/// Looks for the VM with this BIOS uuid; `None`: this program runs elsewhere.
pub fn look_for_proxy(session: &Session, product_uuid: &str) -> Result<Option<FoundProxy>, InventoryError> {
    for uuid in [Some(product_uuid.to_owned()), byte_swapped(product_uuid)].into_iter().flatten() {
        if let Some(vm) = find_by_bios_uuid(session, &uuid)? {
            let summary = vm_summary(session, &vm)?;
            let proxy = if summary.kms_key.is_some() { Proxy::EncryptedVm } else { Proxy::ClearVm };
            return Ok(Some(FoundProxy { vm, name: summary.name, proxy }));
        }
    }
    Ok(None)
}

/// What this machine is fit for. Not known counts as elsewhere: then nothing is attached to it.
pub fn find_proxy(session: &Session, product_uuid: Option<&str>) -> Proxy {
    let found = product_uuid.map(|uuid| look_for_proxy(session, uuid));
    found.and_then(Result::ok).flatten().map_or(Proxy::Elsewhere, |found| found.proxy)
}

/// The same uuid with its first three groups in the other byte order: which one a machine shows depends on its firmware.
fn byte_swapped(uuid: &str) -> Option<String> {
    let groups: Vec<&str> = uuid.split('-').collect();
    let [first, second, third, rest @ ..] = groups.as_slice() else { return None };
    let swapped = |group: &str| -> Option<String> {
        let whole = group.len().is_multiple_of(2) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let pairs: Vec<&str> = (0..group.len()).step_by(2).rev().filter_map(|at| group.get(at..at + 2)).collect();
        whole.then(|| pairs.concat())
    };
    let mut groups = vec![swapped(first)?, swapped(second)?, swapped(third)?];
    groups.extend(rest.iter().map(|group| (*group).to_owned()));
    Some(groups.join("-"))
}

/// P8, and the VM for the checks that need it.
pub(super) fn check_proxy(
    session: &Session,
    product_uuid: Option<&str>,
    reader: &PreflightReader,
    vms: &[LookedVm<'_>],
) -> (Option<Finding>, Option<FoundProxy>) {
    let PreflightReader::Vddk { transports, .. } = reader else { return (None, None) };
    let wanted = transports.list().contains(&Transport::Hotadd);
    let this = "this machine";
    let say = |text: String| {
        // That it is the only way, and what it is not fit for, P7 says disk by disk.
        if wanted { Finding::note(CheckId::Proxy, this, text) } else { Finding::ok(CheckId::Proxy, this, text) }
    };
    let Some(uuid) = product_uuid else {
        let text = format!("{PRODUCT_UUID} cannot be read: hotadd is not used");
        let finding = say(text);
        return (Some(if wanted { finding.hint("run as root, or --transport nbdssl") } else { finding }), None);
    };
    match look_for_proxy(session, uuid) {
        Err(error) => (Some(Finding::warning(CheckId::Proxy, this, error)), None),
        Ok(None) => (Some(say("no VM of this vCenter: hotadd is not used".to_owned())), None),
        Ok(Some(found)) => {
            let encrypted = vms.iter().any(|vm| vm.encrypted_disks().next().is_some());
            let name = &found.name;
            let finding = match found.proxy {
                Proxy::EncryptedVm => {
                    Finding::ok(CheckId::Proxy, name, "this machine, an encrypted VM: hotadd works for every disk")
                }
                _ if encrypted => {
                    say("this machine, a VM in the clear: hotadd is not used for encrypted disks".to_owned())
                }
                _ => Finding::ok(CheckId::Proxy, name, "this machine, a VM in the clear: hotadd works for clear disks"),
            };
            (Some(finding), Some(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_groups_are_swapped_and_nothing_else() {
        let swapped = byte_swapped("4c4c4544-0051-3510-8052-b4c04f4e3132").unwrap();
        assert_eq!(swapped, "44454c4c-5100-1035-8052-b4c04f4e3132");
        assert_eq!(byte_swapped(&swapped).unwrap(), "4c4c4544-0051-3510-8052-b4c04f4e3132");
        for text in ["", "4c4c4544", "4c4c454-0051-3510-80", "xyxyxyxy-0051-3510-8052"] {
            assert_eq!(byte_swapped(text), None, "{text}");
        }
    }
}
