//! What must hold whatever the row: all are looked at, none is reported alone.

use engine::Verdict;

use super::{
    facts::{HostCrypto, NameState, NeededFor, RegisterHost, ServerKind, TargetFacts},
    reason::Reason,
    wish::{EncryptionWish, Purpose, Wish},
};
use crate::vm_home::{Binding, Firmware, SavedDisk, SavedVm};

/// Every guard that does not hold, G1 first. G6 is the policies' own.
pub(super) fn guards(saved: &SavedVm, wish: &Wish, facts: &TargetFacts) -> Vec<Reason> {
    let encrypts = !saved.encryption.is_clear() && wish.encryption != EncryptionWish::None;
    let mut reasons = Vec::new();
    if encrypts && facts.server == ServerKind::BareHost {
        reasons.push(Reason::BareHost);
    }
    if encrypts && saved.vtpm.is_some() && saved.firmware != Firmware::Efi {
        reasons.push(Reason::VtpmNeedsEfi { firmware: saved.firmware.clone() });
    }
    if let Binding::Broken { what } = &saved.binding {
        reasons.push(Reason::NotOfOneMoment { what: what.clone() });
    }
    reasons.extend(point(saved, wish));
    reasons.extend(target(saved, wish, facts, encrypts));
    if encrypts {
        reasons.extend(host(facts));
    }
    reasons
}

fn point(saved: &SavedVm, wish: &Wish) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if saved.point == Verdict::Impossible {
        reasons.push(Reason::NothingReadable);
    }
    if let (Purpose::Restore, Err(why)) = (wish.purpose, &saved.configuration) {
        reasons.push(Reason::NoConfiguration { why: why.clone() });
    }
    reasons
}

/// The name a VM gets.
pub(super) fn new_name(saved: &SavedVm, wish: &Wish) -> String {
    wish.map.placement(&saved.name).name.unwrap_or_else(|| saved.name.clone())
}

fn target(saved: &SavedVm, wish: &Wish, facts: &TargetFacts, encrypts: bool) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if (wish.purpose, facts.name) == (Purpose::Restore, NameState::Taken) {
        reasons.push(Reason::NameTaken { name: new_name(saved, wish) });
    }
    for nic in saved.configuration.iter().flat_map(|document| &document.nics) {
        let here = wish.map.network(&nic.network);
        if facts.network(here).is_none() {
            let mapped = (here != nic.network).then(|| here.to_owned());
            reasons.push(Reason::NetworkUnmapped { nic: nic.label.clone(), saved: nic.network.clone(), mapped });
        }
    }
    for missing in &facts.missing_privileges {
        if encrypts || missing.needed_for == NeededFor::Restore {
            let (id, object) = (missing.id.clone(), missing.object.clone());
            reasons.push(Reason::PrivilegeMissing { id, object, needed_for: missing.needed_for });
        }
    }
    let wanted = saved.stored_disks().map(needed_bytes).fold(0, u64::saturating_add);
    if let Some(free) = facts.free_bytes.filter(|free| *free < wanted) {
        reasons.push(Reason::TooLittleSpace { datastore: facts.datastore.clone(), free, wanted });
    }
    reasons
}

/// A thin disk takes what is written to it; every other takes its size at once.
fn needed_bytes(disk: &SavedDisk) -> u64 {
    match (disk.thin, disk.data_bytes) {
        (Some(true), Some(data)) => data.min(disk.capacity_bytes),
        _ => disk.capacity_bytes,
    }
}

/// A host that was never in encryption mode says `incapable`, which means "not yet safe for keys" and not "never": vCenter brings
/// it there with the right to register it, as it does a prepared one.
fn host(facts: &TargetFacts) -> Option<Reason> {
    let host = facts.host.clone();
    match (facts.host_crypto, facts.register_host) {
        (HostCrypto::Safe | HostCrypto::Unknown, _) => None,
        (HostCrypto::Prepared | HostCrypto::Incapable, RegisterHost::Granted) => None,
        (HostCrypto::Prepared | HostCrypto::Incapable, RegisterHost::Missing) => Some(Reason::HostNotSafe { host }),
        (HostCrypto::PendingIncapable, _) => Some(Reason::HostCannotEncrypt { host }),
    }
}
