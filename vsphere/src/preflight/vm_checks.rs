//! P5, P7, P10 to P13: VM by VM. What is well is one line for all; what is not has a line of its own.

use engine::Kind;

use super::{
    finding::{CheckId, Finding},
    looked_vm::{LookedVm, all_of},
    options::{Chosen, PreflightReader},
};
use crate::{
    backup::QuiesceWish,
    datastore_file::read_nvram,
    inventory::datacenter_of,
    session::Session,
    transport::{Access, DiskState, Proxy},
    vm_snapshot::our_snapshots,
};

/// The oldest virtual hardware whose changes can be tracked.
const TRACKING_HARDWARE_MIN: u32 = 7;

/// Findings of one check over all VMs: those of which it found nothing are `well`, in one line.
fn over<'v>(
    check: CheckId,
    well: &str,
    vms: impl Iterator<Item = &'v LookedVm<'v>>,
    look: impl Fn(&LookedVm<'_>) -> Vec<Finding>,
) -> Vec<Finding> {
    let (mut findings, mut fine) = (Vec::new(), Vec::new());
    for vm in vms {
        let found = look(vm);
        if found.is_empty() {
            fine.push(vm.name());
        }
        findings.extend(found);
    }
    if !fine.is_empty() {
        findings.insert(0, Finding::ok(check, all_of(&fine), well));
    }
    findings
}

/// P5: every encrypted VM has its line.
pub(super) fn check_encryption(vms: &[LookedVm<'_>]) -> Vec<Finding> {
    over(CheckId::Encryption, "nothing encrypted", vms.iter(), |vm| {
        let config = &vm.config;
        if !config.is_encrypted() {
            return Vec::new();
        }
        let disks = format!("{} of {} disks encrypted", vm.encrypted_disks().count(), config.disks.len());
        let vtpm = if config.vtpm.is_some() { ", vTPM" } else { "" };
        let finding = match (&config.kms_key, &config.bundle) {
            (Some(key), Some(_)) => {
                let text = format!("home under {key}{vtpm}, {disks}; key id and bundle are there");
                Finding::ok(CheckId::Encryption, vm.name(), text)
            }
            (Some(key), None) => {
                incomplete(vm, &format!("encrypted (keyId {key}), but encryption.bundle is not in config.extraConfig"))
            }
            (None, Some(_)) => incomplete(vm, "encryption.bundle is there, but config has no keyId"),
            (None, None) => {
                incomplete(vm, &format!("{disks}{vtpm}, but config has neither keyId nor encryption.bundle"))
            }
        };
        vec![finding]
    })
}

fn incomplete(vm: &LookedVm<'_>, what: &str) -> Finding {
    let text = format!("{what}: NVRAM of its restore points is unusable, and its own keys cannot be given back");
    Finding::warning(CheckId::Encryption, vm.name(), text)
        .hint("see that the user may read the whole config; its disks are backed up all the same")
}

/// P7: a way that a disk must not be read by.
pub(super) fn check_transport(vms: &[LookedVm<'_>], reader: &PreflightReader, proxy: Proxy) -> Vec<Finding> {
    let PreflightReader::Vddk { transports, .. } = reader else {
        let text = "disks come from somebody else's NBD server: by which way they are read is not checked";
        return vec![Finding::note(CheckId::Transport, "reader", text)];
    };
    let well = format!("--transport {transports}: allowed for every disk");
    over(CheckId::Transport, &well, vms.iter().filter(|vm| vm.is_backed_up()), |vm| {
        let mut findings = Vec::new();
        for disk in vm.config.disks.iter().filter(|disk| disk.readable().is_ok()) {
            let state = if disk.kms_key.is_some() { DiskState::Encrypted } else { DiskState::Clear };
            if let Err(refused) = transports.for_disk(state, Access::Read, proxy) {
                let object = format!("{} {}", vm.name(), disk.name);
                let finding = Finding::problem(CheckId::Transport, refused.kind(), object, refused);
                findings.push(finding.hint(refused.hint()));
            }
        }
        findings
    })
}

/// P10: of encrypted VMs. What others have in NVRAM is made again.
pub(super) fn check_nvram(session: &Session, vms: &[LookedVm<'_>]) -> Vec<Finding> {
    let encrypted = vms.iter().filter(|vm| vm.is_backed_up() && vm.config.is_encrypted());
    over(CheckId::Nvram, "the NVRAM file is there and can be read", encrypted, |vm| {
        let absent = |why: &dyn std::fmt::Display| {
            let text = format!("{why}: its restore points have no NVRAM, so a restored VM gets a generic one");
            let warning = Finding::warning(CheckId::Nvram, vm.name(), text);
            vec![if vm.config.vtpm.is_some() {
                warning.hint("the content of its vTPM is in NVRAM: power the VM on once, or see to the file")
            } else {
                warning.hint("power the VM on once, or see to the file")
            }]
        };
        let dc_path = match datacenter_of(session, vm.object()) {
            Ok((_, dc_path)) => dc_path,
            Err(error) => return absent(&error),
        };
        match read_nvram(session, &dc_path, &vm.properties) {
            Ok(Some(_)) => Vec::new(),
            Ok(None) => absent(&"there is no NVRAM file"),
            Err(error) => absent(&error),
        }
    })
}

/// P11: disks that no snapshot covers.
pub(super) fn check_disks(vms: &[LookedVm<'_>]) -> Vec<Finding> {
    let backed_up = vms.iter().filter(|vm| vm.is_backed_up());
    over(CheckId::Disks, "a snapshot covers every disk", backed_up, |vm| {
        let disks = &vm.config.disks;
        let mut findings = Vec::new();
        for disk in disks {
            let object = format!("{} {}", vm.name(), disk.name);
            match disk.readable() {
                Err(why) => findings.push(
                    Finding::warning(CheckId::Disks, object, format!("skipped: {why}"))
                        .hint("back it up from inside the guest, or change the disk in vSphere"),
                ),
                Ok(()) if disk.first_class_id.is_some() => {
                    let text = "a First Class Disk: it is backed up, and comes back as a disk of the VM";
                    findings.push(Finding::note(CheckId::Disks, object, text));
                }
                Ok(()) => {}
            }
        }
        if disks.iter().all(|disk| disk.readable().is_err()) {
            let text = "none of its disks can be backed up";
            findings.push(Finding::problem(CheckId::Disks, Kind::Failed, vm.name(), text));
        }
        findings
    })
}

/// P12: what a backup meets.
pub(super) fn check_state(session: &Session, vms: &[LookedVm<'_>], chosen: Chosen) -> Vec<Finding> {
    over(CheckId::VmState, "connected, nothing left behind", vms.iter(), |vm| {
        let (summary, name) = (vm.summary, vm.name());
        if summary.is_template {
            let text = "a template: templates are not backed up";
            return vec![match chosen {
                Chosen::All => Finding::note(CheckId::VmState, name, format!("{text}; it is left out")),
                Chosen::ByName => Finding::problem(CheckId::VmState, Kind::Invalid, name, text)
                    .hint("make it a virtual machine, or leave it out"),
            }];
        }
        let mut findings = Vec::new();
        if summary.connection_state != "connected" {
            let text = format!("its host does not answer (connection state {})", summary.connection_state);
            findings.push(
                Finding::problem(CheckId::VmState, Kind::Unavailable, name, text).hint("see to the host in vSphere"),
            );
        }
        if summary.needs_consolidation {
            let text = "disks of removed snapshots still wait to be joined";
            findings.push(Finding::warning(CheckId::VmState, name, text).hint("consolidate the VM's disks in vSphere"));
        }
        if summary.has_snapshots {
            findings.extend(snapshots(session, vm));
        }
        let hardware = vm.config.hardware_version.as_deref().and_then(|text| text.strip_prefix("vmx-"));
        if hardware.and_then(|number| number.parse::<u32>().ok()).is_some_and(|version| version < TRACKING_HARDWARE_MIN)
        {
            let text = "its virtual hardware is too old for change tracking: every night reads it whole";
            findings.push(
                Finding::note(CheckId::VmState, name, text).hint("upgrade its virtual hardware to vmx-07 or newer"),
            );
        }
        findings
    })
}

fn snapshots(session: &Session, vm: &LookedVm<'_>) -> Vec<Finding> {
    let name = vm.name();
    let mut findings = match our_snapshots(session, vm.object()) {
        Err(error) => vec![Finding::warning(CheckId::VmState, name, error)],
        Ok(ours) => ours
            .iter()
            .map(|ours| {
                let text = format!(
                    "snapshot {:?} of {} is still there: a run on {} is at work, or has left it",
                    ours.tag.name(),
                    ours.created_at,
                    ours.tag.host
                );
                Finding::warning(CheckId::VmState, name, text).hint("if no run is at work: strongroom vsphere cleanup")
            })
            .collect(),
    };
    if !vm.summary.tracks_changes {
        let text = "change tracking is off and cannot be switched on while the VM has snapshots: it is read whole";
        findings.push(Finding::note(CheckId::VmState, name, text));
    }
    findings
}

/// P13: applications of encrypted VMs are not made quiet.
pub(super) fn check_quiescing(vms: &[LookedVm<'_>], wish: QuiesceWish, chosen: Chosen) -> Vec<Finding> {
    let well = match wish {
        QuiesceWish::No => "not made quiet: restore points are as after a power cut",
        QuiesceWish::FileSystem => "file systems are flushed where the guest's tools run",
        QuiesceWish::Application | QuiesceWish::ApplicationIfClear => {
            "applications are made quiet where the guest's tools run"
        }
    };
    over(CheckId::Quiescing, well, vms.iter().filter(|vm| vm.is_backed_up()), |vm| {
        if wish != QuiesceWish::Application || !vm.config.is_encrypted() {
            return Vec::new();
        }
        let text = "an encrypted VM can be quiesced by its file systems only";
        let finding = match chosen {
            Chosen::ByName => Finding::problem(CheckId::Quiescing, Kind::Invalid, vm.name(), text),
            Chosen::All => Finding::warning(CheckId::Quiescing, vm.name(), format!("{text}: that is done")),
        };
        vec![finding.hint("--quiesce file-system")]
    })
}
