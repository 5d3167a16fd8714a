//! The disks of the new VM: written, and on wish read back.

use std::{ops::Range, sync::Arc};

use engine::{
    BadExtents, Kind, Monitor, NbdOptions, NbdTarget, NbdUri, RestoreJob, RestoreOptions, RestoreReport, Room, Start,
    Target, TargetError, restore,
};
use repo_format::HashedChunk;

use super::{RestoreVmError, RestoreVmJob, VerifyAfter, compare::disk_of};
use crate::{
    backup::{Reader, vm_login},
    disk::{DiskPlace, VddkVm},
    recovery::{DiskPlan, Loss},
    soap::ManagedObject,
    transport::{Access, DiskState, Proxy},
    vddk::VmAccess,
    vm_home::{ConfigDisk, VmConfig},
};

/// One request while holes are read back.
const HOLE_READ_BYTES: usize = 1 << 20;

/// Writes every disk of the plan into the powered-off VM.
pub(super) fn write(
    job: &RestoreVmJob<'_>,
    vm: &ManagedObject,
    config: &VmConfig,
    monitor: &dyn Monitor,
    notes: &mut Vec<String>,
) -> Result<RestoreReport, RestoreVmError> {
    let library = match &job.options.reader {
        Reader::Vddk(launch) => {
            let login = vm_login(job.session, vm.moref());
            let access = VmAccess { login, snapshot: None, access: Access::Write };
            Some(VddkVm::start(job.name(), launch.clone(), access)?)
        }
        Reader::Nbd(_) | Reader::Command { .. } => None,
    };
    let written = open_and_write(job, config, library.as_ref(), monitor);
    notes.extend(library.map(VddkVm::end).unwrap_or_default());
    written
}

fn open_and_write(
    job: &RestoreVmJob<'_>,
    config: &VmConfig,
    library: Option<&VddkVm>,
    monitor: &dyn Monitor,
) -> Result<RestoreReport, RestoreVmError> {
    let mut disks: Vec<(String, Arc<dyn Target>)> = Vec::new();
    for plan in &job.recovery.disks {
        disks.push((plan.name.clone(), open(job, plan, disk_of(job, config, plan)?, library)?));
    }
    let report = run(job, disks.clone(), monitor)?;
    let lost: Vec<&str> = report.disks.iter().filter(|disk| !disk.is_whole()).map(|disk| disk.name.as_str()).collect();
    if !lost.is_empty() {
        return Err(RestoreVmError::Damaged { vm: job.name(), disks: lost.join(", ") });
    }
    if job.options.verify_after == VerifyAfter::Yes {
        let back = disks.into_iter().map(|(name, target)| (name, Arc::new(ReadBack(target)) as Arc<dyn Target>));
        let back = run(job, back.collect(), monitor)?;
        let differs = back.disks.iter().find(|disk| disk.written_bytes > 0 || disk.zeroed_bytes > 0);
        if let Some(disk) = differs {
            let bytes = disk.written_bytes.saturating_add(disk.zeroed_bytes);
            return Err(RestoreVmError::ReadBack { vm: job.name(), disk: disk.name.clone(), bytes });
        }
    }
    Ok(report)
}

fn run(
    job: &RestoreVmJob<'_>,
    disks: Vec<(String, Arc<dyn Target>)>,
    monitor: &dyn Monitor,
) -> Result<RestoreReport, RestoreVmError> {
    let accepted = job.wish.consents.losses.contains(&Loss::BadExtents);
    let bad_extents = if accepted { BadExtents::AcceptAsZeros } else { BadExtents::Refuse };
    let options = RestoreOptions { threads: job.options.threads, bad_extents };
    let engine_job = RestoreJob { point: job.point.point, disks, base: None };
    restore(job.reader, &engine_job, &options, monitor)
        .map_err(|source| RestoreVmError::Restore { vm: job.name(), source })
}

fn open(
    job: &RestoreVmJob<'_>,
    plan: &DiskPlan,
    disk: &ConfigDisk,
    library: Option<&VddkVm>,
) -> Result<Arc<dyn Target>, RestoreVmError> {
    let vm = job.name();
    let state = if disk.kms_key.is_some() { DiskState::Encrypted } else { DiskState::Clear };
    match (&job.options.reader, library) {
        (Reader::Vddk(_), Some(library)) => {
            let allowed = job.options.transports.for_disk(state, Access::Write, Proxy::Elsewhere);
            let allowed =
                allowed.map_err(|refused| RestoreVmError::Transport { vm, disk: plan.name.clone(), refused })?;
            let place =
                DiskPlace { name: plan.name.clone(), path: disk.file_name.clone(), state, allowed: allowed.transports };
            Ok(Arc::new(library.open_new(&place)?))
        }
        (Reader::Nbd(template), _) => {
            let text =
                template.replace("{vm}", &vm).replace("{disk}", &plan.name).replace("{key}", &disk.key.to_string());
            let failed =
                |what: String, kind| RestoreVmError::Outside { vm: vm.clone(), disk: plan.name.clone(), what, kind };
            let uri = NbdUri::parse(&text).map_err(|error| failed(format!("{text}: {error}"), Kind::Invalid))?;
            let target = NbdTarget::open(&uri, NbdOptions::default())
                .map_err(|error| failed(format!("{text}: {error}"), error.kind()))?;
            Ok(Arc::new(target))
        }
        (Reader::Command { .. }, _) => Err(RestoreVmError::Outside {
            vm,
            disk: plan.name.clone(),
            what: "a reader command only reads".to_owned(),
            kind: Kind::Invalid,
        }),
        (Reader::Vddk(_), None) => {
            Err(RestoreVmError::Contradiction { vm, what: "the library was not started".to_owned() })
        }
    }
}

/// A disk that was written: everything is compared, and what differs is counted where it would be written again.
struct ReadBack(Arc<dyn Target>);

impl Target for ReadBack {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        Ok(None)
    }

    fn set_len(&self, _bytes: u64) -> Result<Start, TargetError> {
        Ok(Start::InPlace { tail_bytes: 0 })
    }

    fn write_at(&self, _offset: u64, _chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        Ok(())
    }

    fn zero_at(&self, _range: Range<u64>) -> Result<(), TargetError> {
        Ok(())
    }

    /// Where a hole should be, the disk is read, and what is not zero is named.
    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        let mut found = Vec::new();
        let mut buffer = vec![0; HOLE_READ_BYTES];
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end.saturating_sub(at)).unwrap_or(HOLE_READ_BYTES).min(HOLE_READ_BYTES);
            let part = buffer.get_mut(..length).unwrap_or_default();
            self.0.read_at(at, part)?;
            let end = at.saturating_add(part.len() as u64);
            if part.iter().any(|byte| *byte != 0) {
                found.push(at..end);
            }
            at = end;
        }
        Ok(found)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.0.read_at(offset, buffer)
    }

    fn write_back(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
