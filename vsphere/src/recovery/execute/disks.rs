//! The disks of the new VM.

use engine::{BadExtents, Monitor, RestoreReport};

use super::{RestoreVmError, RestoreVmJob, compare::disk_of};
use crate::{
    journal::Journal,
    recovery::{
        Loss,
        write_disks::{Before, DiskJob, DiskToWrite},
    },
    soap::ManagedObject,
    transport::DiskState,
    vm_home::VmConfig,
};

/// Writes every disk of the plan into the powered-off VM.
pub(super) fn write(
    job: &RestoreVmJob<'_>,
    vm: &ManagedObject,
    config: &VmConfig,
    journal: &mut Journal,
    monitor: &dyn Monitor,
    notes: &mut Vec<String>,
) -> Result<RestoreReport, RestoreVmError> {
    let mut disks = Vec::new();
    for plan in &job.recovery.disks {
        let disk = disk_of(job, config, plan)?;
        let state = if disk.kms_key.is_some() { DiskState::Encrypted } else { DiskState::Clear };
        disks.push(DiskToWrite { name: plan.name.clone(), key: disk.key, path: disk.file_name.clone(), state });
    }
    let accepted = job.wish.consents.losses.contains(&Loss::BadExtents);
    let vm_name = job.name();
    let job = DiskJob {
        session: job.session,
        reader: job.reader,
        point: job.point.point,
        vm,
        vm_name: &vm_name,
        disks,
        before: Before::Nothing,
        bad_extents: if accepted { BadExtents::AcceptAsZeros } else { BadExtents::Refuse },
        options: job.options,
    };
    job.write(journal, monitor, notes).map_err(RestoreVmError::Disks)
}
