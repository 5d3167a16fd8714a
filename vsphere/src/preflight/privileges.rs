//! P4: exactly the rights that these VMs need by these ways, each missing one by its id and object.

use std::collections::{BTreeMap, BTreeSet};

use engine::Kind;

use super::{
    finding::{CheckId, Finding, State},
    looked_vm::{LookedVm, all_of},
    options::PreflightReader,
    proxy::FoundProxy,
};
use crate::{
    privilege::{
        BACKUP_ROOT, BACKUP_VM, ENCRYPTED_HOTADD_VM, ENCRYPTED_NBDSSL_VM, HOTADD_DATASTORE, HOTADD_PROXY,
        KEY_PROVIDERS_ROOT, MissingPrivilege, NVRAM_DATASTORE, Needed, POLICY_ROOT, check_privileges,
    },
    properties::properties_of,
    session::Session,
    soap::{Element, ManagedObject},
    transport::{Proxy, Transport},
};

/// P4.
pub(super) fn check(
    session: &Session,
    vms: &[LookedVm<'_>],
    reader: &PreflightReader,
    proxy: Option<&FoundProxy>,
) -> Vec<Finding> {
    let vms: Vec<&LookedVm<'_>> = vms.iter().filter(|vm| vm.is_backed_up()).collect();
    let user = &session.credentials().user;
    let wanted = wanted(session, &vms, reader, proxy);
    let check = match check_privileges(session, &wanted) {
        Ok(check) => check,
        Err(error) => {
            let text = format!("rights could not be asked for: {error}");
            return vec![Finding::problem(CheckId::Privileges, error.kind(), user, text)];
        }
    };
    let names = Names { session, vms: &vms, proxy };
    let mut findings: Vec<Finding> =
        check.missing.iter().map(|missing| say(missing, &names.of(&missing.object), user, reader)).collect();
    if findings.is_empty() {
        let names: Vec<&str> = vms.iter().map(|vm| vm.name()).collect();
        let ids: BTreeSet<&str> = wanted.iter().flat_map(|(_, needed)| needed.ids.iter().copied()).collect();
        let text = format!("{user} has all {} rights that a backup needs", ids.len());
        findings.push(Finding::ok(CheckId::Privileges, all_of(&names), text));
    }
    for id in &check.unknown {
        let text = format!("this server does not know the right {id}: it was not asked for");
        findings.push(Finding::note(CheckId::Privileges, format!("vcenter {}", session.server()), text));
    }
    findings
}

/// Which rights on which objects.
fn wanted(
    session: &Session,
    vms: &[&LookedVm<'_>],
    reader: &PreflightReader,
    proxy: Option<&FoundProxy>,
) -> Vec<(ManagedObject, Needed)> {
    let root = session.content().root_folder.clone();
    let mut wanted = vec![(root.clone(), POLICY_ROOT)];
    let transports = match reader {
        PreflightReader::Vddk { transports, .. } => transports.list(),
        PreflightReader::Outside => &[],
    };
    if !transports.is_empty() {
        wanted.push((root.clone(), BACKUP_ROOT));
    }
    // Only what hotadd is really used for: P8 says why it is not.
    let hotadd = proxy.filter(|_| transports.contains(&Transport::Hotadd));
    let mut datastores = BTreeSet::new();
    for vm in vms {
        wanted.push((vm.object().clone(), BACKUP_VM));
        datastores.extend(vm.references("datastore"));
        if vm.encrypted_disks().next().is_some() {
            if transports.contains(&Transport::Nbdssl) {
                wanted.push((vm.object().clone(), ENCRYPTED_NBDSSL_VM));
            }
            if let Some(proxy) = hotadd.filter(|proxy| proxy.proxy == Proxy::EncryptedVm) {
                wanted.push((vm.object().clone(), ENCRYPTED_HOTADD_VM));
                wanted.push((proxy.vm.clone(), ENCRYPTED_HOTADD_VM));
            }
        }
    }
    wanted.extend(datastores.into_iter().map(|datastore| (datastore, NVRAM_DATASTORE)));
    if vms.iter().any(|vm| vm.keys().next().is_some()) {
        wanted.push((root, KEY_PROVIDERS_ROOT));
    }
    if let Some(proxy) = hotadd {
        wanted.push((proxy.vm.clone(), HOTADD_PROXY));
        let datastores = properties_of(session, &proxy.vm, &["datastore"]);
        let list = datastores.ok().and_then(|found| found.get("datastore").ok().flatten().cloned());
        let list = list.as_ref().map(Element::children).unwrap_or_default();
        wanted.extend(list.iter().filter_map(ManagedObject::of).map(|datastore| (datastore, HOTADD_DATASTORE)));
    }
    wanted
}

fn say(missing: &MissingPrivilege, name: &str, user: &str, reader: &PreflightReader) -> Finding {
    let other_ways = matches!(reader, PreflightReader::Vddk { transports, .. } if transports.list().len() > 1);
    let of = |needed: Needed| needed.purpose == missing.purpose;
    let only_for_hotadd = of(HOTADD_PROXY) || of(ENCRYPTED_HOTADD_VM);
    let (state, worth) = match () {
        () if only_for_hotadd && other_ways => (State::Warning, ": the next transport is used"),
        () if of(KEY_PROVIDERS_ROOT) => (State::Warning, ": whether keys can be had is not known"),
        () if of(NVRAM_DATASTORE) => (State::Warning, ": restore points have no NVRAM"),
        () => (State::Problem(Kind::Failed), ""),
    };
    Finding {
        check: CheckId::Privileges,
        object: name.to_owned(),
        state,
        found: format!("{missing}{worth}"),
        hint: Some(format!("grant {} to {user} on {name}", missing.id)),
    }
}

/// What a person calls an object.
struct Names<'n> {
    session: &'n Session,
    vms: &'n [&'n LookedVm<'n>],
    proxy: Option<&'n FoundProxy>,
}

impl Names<'_> {
    fn of(&self, object: &ManagedObject) -> String {
        let vms: BTreeMap<&ManagedObject, &str> = self.vms.iter().map(|vm| (vm.object(), vm.name())).collect();
        if let Some(name) = vms.get(object) {
            return (*name).to_owned();
        }
        if *object == self.session.content().root_folder {
            return format!("vcenter {} (root folder)", self.session.server());
        }
        if let Some(proxy) = self.proxy.filter(|proxy| proxy.vm == *object) {
            return proxy.name.clone();
        }
        let name = properties_of(self.session, object, &["name"]).ok();
        let name = name.and_then(|found| found.text("name").ok().flatten().map(str::to_owned));
        name.unwrap_or_else(|| object.moref().to_owned())
    }
}
