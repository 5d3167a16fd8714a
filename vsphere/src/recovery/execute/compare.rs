//! What vCenter made, held against what was decided, before a byte is written.

use super::{RestoreVmError, RestoreVmJob};
use crate::{
    policy::{Policies, PolicyOf},
    recovery::{DiskKeys, DiskPlan, HomePlan, PolicyChoice, VtpmRow},
    soap::{Element, ManagedObject},
    vm_home::{ConfigDisk, DocumentDisk, KmsKey, VmConfig},
};

/// Compares keys, bundle, firmware, vTPM, disks and policies.
pub(super) fn as_decided(job: &RestoreVmJob<'_>, vm: &ManagedObject, raw: &Element) -> Result<(), RestoreVmError> {
    let config = VmConfig::read(raw)?;
    let mut wrong = home(job, &config);
    for plan in &job.recovery.disks {
        let disk = disk_of(job, &config, plan)?;
        wrong.extend(disk_key(plan, disk));
    }
    wrong.extend(policies(job, vm, &config)?);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(RestoreVmError::NotAsDecided { vm: job.name(), what: wrong.join("; ") })
}

/// The disk of the new VM that a disk of the plan has become: by its place on the controllers, as names may have moved up where
/// a disk was left out.
pub(super) fn disk_of<'c>(
    job: &RestoreVmJob<'_>,
    config: &'c VmConfig,
    plan: &DiskPlan,
) -> Result<&'c ConfigDisk, RestoreVmError> {
    let document = job.point.saved.configuration.as_ref().map_err(|why| super::super::SpecError::from(why.clone()))?;
    let saved = document.disks.iter().find(|disk| disk.name == plan.name);
    let is_it = |saved: &DocumentDisk, disk: &ConfigDisk| {
        disk.controller.kind == saved.controller && disk.controller.bus == saved.bus && disk.unit == saved.unit
    };
    let found = saved.and_then(|saved| config.disks.iter().find(|disk| is_it(saved, disk)));
    found.ok_or_else(|| RestoreVmError::NotAsDecided { vm: job.name(), what: format!("it has no {}", plan.name) })
}

fn home(job: &RestoreVmJob<'_>, config: &VmConfig) -> Vec<String> {
    let mut wrong = Vec::new();
    let key = |key: Option<&KmsKey>| key.map_or_else(|| "no key".to_owned(), ToString::to_string);
    let found = config.kms_key.as_ref();
    let is_right = match &job.recovery.home {
        HomePlan::SameKeys { encryption, .. } => found == Some(encryption.key()),
        HomePlan::NewKeys { was, .. } => found.is_some() && found != was.as_ref(),
        HomePlan::Clear | HomePlan::InTheClear { .. } => found.is_none(),
    };
    if !is_right {
        wrong.push(format!("the VM home has {}", key(found)));
    }
    let bundle = config.bundle.as_ref().map(repo_format::SecretBytes::expose);
    match &job.recovery.home {
        HomePlan::SameKeys { encryption, .. } if bundle != Some(encryption.bundle().expose()) => {
            wrong.push("encryption.bundle is not the saved one".to_owned());
        }
        HomePlan::Clear | HomePlan::InTheClear { .. } if bundle.is_some() => {
            wrong.push("a VM in the clear has an encryption.bundle".to_owned());
        }
        _ => {}
    }
    let firmware = job.point.saved.configuration.as_ref().ok().and_then(|document| {
        document.config.element().text_at("firmware").filter(|text| !text.is_empty()).map(str::to_owned)
    });
    if firmware.is_some() && firmware != config.firmware {
        wrong.push(format!("its firmware is {}", config.firmware.as_deref().unwrap_or("not said")));
    }
    let wants_vtpm = matches!(job.recovery.vtpm, Some(VtpmRow::T1 | VtpmRow::T2 | VtpmRow::T3));
    if wants_vtpm != config.vtpm.is_some() {
        wrong.push(if wants_vtpm { "it has no vTPM" } else { "it has a vTPM" }.to_owned());
    }
    wrong
}

fn disk_key(plan: &DiskPlan, disk: &ConfigDisk) -> Option<String> {
    let found = disk.kms_key.as_ref();
    let is_right = match &plan.keys {
        DiskKeys::Own(key) => found == Some(key),
        DiskKeys::New => found.is_some(),
        DiskKeys::Clear => found.is_none(),
    };
    if disk.capacity_bytes != plan.capacity_bytes {
        return Some(format!("{} has {} bytes", plan.name, disk.capacity_bytes));
    }
    let key = found.map_or_else(|| "no key".to_owned(), ToString::to_string);
    (!is_right).then(|| format!("{} has {key}", plan.name))
}

fn policies(job: &RestoreVmJob<'_>, vm: &ManagedObject, config: &VmConfig) -> Result<Vec<String>, RestoreVmError> {
    let service = Policies::of(job.session)?;
    let mut wrong = Vec::new();
    let mut compare = |what: &str, wanted: Option<&PolicyChoice>, of: &PolicyOf<'_>| {
        let Some(wanted) = wanted else { return Ok(()) };
        let found = service.associated(of)?;
        if !found.contains(&wanted.policy.id) {
            wrong.push(format!("{what} does not have the storage policy \"{}\"", wanted.policy.name));
        }
        Ok::<(), crate::soap::CallError>(())
    };
    compare("the VM home", job.recovery.policy.as_ref(), &PolicyOf::Home { vm })?;
    for plan in &job.recovery.disks {
        let key = disk_of(job, config, plan)?.key;
        compare(&plan.name, plan.policy.as_ref(), &PolicyOf::Disk { vm, key })?;
    }
    Ok(wrong)
}
