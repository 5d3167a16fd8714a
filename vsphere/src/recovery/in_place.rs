//! Disks of a VM that is there: changed where they lie to what they were. Home, keys and NVRAM stay as they are.
//!
//! ```text
//!   find the VM ─► its disks are those ─► journal ─► tracking off ─► write what differs ─► tracking on ─► journal closed
//! ```
//!
//! Switching tracking off and on gives every disk a new history, so that the next backup reads it whole: what is written here goes
//! past the guest, and nobody has promised that tracking sees it.

use engine::{BadExtents, Kind, Monitor, Reader, RestoreReport, random};
use repo_format::{ChunkId, VmIdentity};

use super::{
    PlanVerdict, RestoreVmOptions,
    write_disks::{Before, DiskJob, DiskToWrite, WriteDisksError},
};
use crate::{
    backup::uuid_bytes,
    inventory::{InventoryError, PowerState, VmSummary, config_of, list_vms},
    journal::{Effect, Journal, JournalError},
    session::Session,
    soap::CallError,
    task::TaskError,
    transport::DiskState,
    vm_change::{disable_change_tracking, enable_change_tracking},
    vm_home::{ConfigDisk, ConfigError, Unreadable, VmConfig},
};

/// What is changed where it lies.
pub struct InPlaceJob<'j> {
    /// Who is asked.
    pub session: &'j Session,
    /// The repository.
    pub reader: &'j Reader,
    /// The point.
    pub point: ChunkId,
    /// How.
    pub options: &'j RestoreVmOptions,
    /// What becomes of ranges that the point never had.
    pub bad_extents: BadExtents,
}

/// The VM, and its disks that are written.
pub struct InPlacePlan {
    /// The VM.
    pub vm: VmSummary,
    /// What its disks are then worth.
    pub verdict: PlanVerdict,
    /// Name and size of each.
    pub disks: Vec<(String, u64)>,
    to_write: Vec<DiskToWrite>,
}

/// What was done.
#[derive(Debug)]
pub struct RestoredInPlace {
    /// Its disks.
    pub disks: RestoreReport,
    /// What went wrong on the way without harm.
    pub notes: Vec<String>,
}

/// Why disks were not changed where they lie.
#[derive(Debug, thiserror::Error)]
pub enum InPlaceError {
    /// The point cannot be read.
    #[error(transparent)]
    Point(#[from] engine::ReadError),
    /// It was not made of a VM of a vCenter.
    #[error("point {point} was not made of a VM of a vCenter")]
    NotOfVcenter {
        /// The point.
        point: ChunkId,
    },
    /// It was made of a VM of another vCenter.
    #[error("point {point} was made of a VM of another vCenter than {server}")]
    OtherVcenter {
        /// The point.
        point: ChunkId,
        /// The one that is asked.
        server: String,
    },
    /// The VM is gone.
    #[error("{vm}: it is not in vCenter {server} any more")]
    Gone {
        /// As the point calls it.
        vm: String,
        /// The vCenter.
        server: String,
    },
    /// It runs.
    #[error("{vm}: it must be powered off; its state is {state}")]
    NotOff {
        /// The VM.
        vm: String,
        /// What it does.
        state: &'static str,
    },
    /// It has snapshots.
    #[error("{vm}: it has snapshots, which stand on the disks as they are now")]
    HasSnapshots {
        /// The VM.
        vm: String,
    },
    /// A disk is not there.
    #[error("{vm} {disk}: {what}")]
    OtherDisk {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// What is there.
        what: String,
    },
    /// A disk that no snapshot covers, or that others write to.
    #[error("{vm} {disk}: {source}")]
    Unreadable {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// Why.
        source: Unreadable,
    },
    /// Change tracking could not be switched off; nothing was written.
    #[error("{vm}: change tracking could not be switched off: {source}; nothing was written")]
    TrackingStays {
        /// The VM.
        vm: String,
        /// Why.
        source: TaskError,
    },
    /// Change tracking could not be switched on again.
    #[error("{vm}: its disks are restored, but change tracking could not be switched on again: {source}")]
    TrackingLeftOff {
        /// The VM.
        vm: String,
        /// Why.
        source: TaskError,
    },
    /// The disks.
    #[error("{source}; what was written until then stays: run it again")]
    Write {
        /// Why.
        source: WriteDisksError,
    },
    /// A way to a disk that must not be taken; nothing was done.
    #[error("{source}; nothing was written")]
    Refused {
        /// Which.
        source: WriteDisksError,
    },
    /// Nothing is done that was not written down before.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The inventory.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl InPlaceError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Point(error) => error.kind(),
            Self::NotOfVcenter { .. }
            | Self::OtherVcenter { .. }
            | Self::NotOff { .. }
            | Self::HasSnapshots { .. }
            | Self::OtherDisk { .. }
            | Self::Unreadable { .. } => Kind::Invalid,
            Self::Gone { .. } => Kind::Missing,
            Self::TrackingStays { source, .. } | Self::TrackingLeftOff { source, .. } => source.kind(),
            Self::Write { source } | Self::Refused { source } => source.kind(),
            Self::Journal(error) => error.kind(),
            Self::Inventory(error) => error.kind(),
            Self::Call(error) => error.kind(),
            Self::Config(error) => error.kind(),
        }
    }

    /// What to do, where it is not what the kind says.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotOfVcenter { .. } => Some("strongroom restore --in-place, with its disks named"),
            Self::OtherVcenter { .. } | Self::Gone { .. } => Some("leave --in-place out: a new VM is made"),
            Self::NotOff { .. } => Some("power it off, then run it again"),
            Self::HasSnapshots { .. } => Some("remove its snapshots in vSphere, or leave --in-place out"),
            Self::OtherDisk { .. } | Self::Unreadable { .. } => {
                Some("leave --in-place out: a new VM is made, with the disks of the point")
            }
            Self::TrackingLeftOff { .. } => Some("strongroom vsphere cleanup"),
            Self::Write { source } | Self::Refused { source } => source.hint(),
            _ => None,
        }
    }

    /// Whether the point has ranges that were never read, and nobody has agreed to zeros.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Write { source } if source.is_refusal())
    }
}

/// Finds the VM of a point, and its disks. Changes nothing.
pub fn plan_in_place(job: &InPlaceJob<'_>) -> Result<InPlacePlan, InPlaceError> {
    let shown = engine::show(job.reader, job.point)?;
    let point = job.point;
    let VmIdentity::VCenter { vcenter, instance } = identity(job.reader, point) else {
        return Err(InPlaceError::NotOfVcenter { point });
    };
    let server = job.session.server().to_string();
    if job.session.about().instance_uuid.as_deref().and_then(uuid_bytes) != Some(vcenter) {
        return Err(InPlaceError::OtherVcenter { point, server });
    }
    let is_it = |vm: &VmSummary| vm.instance_uuid.as_deref().and_then(uuid_bytes) == Some(instance);
    let found = list_vms(job.session)?.vms.into_iter().find(is_it);
    let vm = found.ok_or_else(|| InPlaceError::Gone { vm: shown.record.vm_name.clone(), server })?;
    let state = match vm.power_state {
        PowerState::Off => None,
        PowerState::Suspended => Some("suspended"),
        PowerState::On | PowerState::Other(_) => Some("powered on"),
    };
    if let Some(state) = state {
        return Err(InPlaceError::NotOff { vm: vm.name, state });
    }
    if vm.has_snapshots {
        return Err(InPlaceError::HasSnapshots { vm: vm.name });
    }
    let config = VmConfig::read(&config_of(job.session, &vm.vm)?)?;
    let mut to_write = Vec::new();
    for record in &shown.record.disks {
        let disk = the_same(&vm.name, record, &config)?;
        let state = if disk.kms_key.is_some() { DiskState::Encrypted } else { DiskState::Clear };
        to_write.push(DiskToWrite { name: record.name.clone(), key: disk.key, path: disk.file_name.clone(), state });
    }
    let disks = shown.record.disks.iter().map(|record| (record.name.clone(), record.bytes)).collect();
    let verdict = PlanVerdict::of_disks(&shown.verdict).unwrap_or(PlanVerdict::Unchanged);
    let plan = InPlacePlan { vm, verdict, disks, to_write };
    job.disks(&plan).allowed().map_err(|source| InPlaceError::Refused { source })?;
    Ok(plan)
}

fn identity(reader: &Reader, point: ChunkId) -> VmIdentity {
    let points = reader.state().points();
    let found = points.iter().find(|status| status.id == point).map(|status| status.identity.clone());
    found.unwrap_or(VmIdentity::VCenter { vcenter: [0; 16], instance: [0; 16] })
}

/// The disk that a record was made of: the same uuid and size, and nobody else writes to it.
fn the_same<'c>(
    vm: &str,
    record: &repo_format::DiskRecord,
    config: &'c VmConfig,
) -> Result<&'c ConfigDisk, InPlaceError> {
    let (vm, disk) = (vm.to_owned(), record.name.clone());
    let Some(found) = config.disks.iter().find(|found| found.uuid.is_some() && found.uuid == record.uuid) else {
        let what = match &record.uuid {
            Some(uuid) => format!("the VM has no disk with the uuid that it had, {uuid}"),
            None => "its uuid was not recorded".to_owned(),
        };
        return Err(InPlaceError::OtherDisk { vm, disk, what });
    };
    if found.capacity_bytes != record.bytes {
        let what = format!("it has {} bytes now, and had {}", found.capacity_bytes, record.bytes);
        return Err(InPlaceError::OtherDisk { vm, disk, what });
    }
    found.readable().map_err(|source| InPlaceError::Unreadable { vm, disk, source })?;
    Ok(found)
}

/// Changes the disks as planned.
pub fn restore_in_place(
    job: &InPlaceJob<'_>,
    plan: &InPlacePlan,
    monitor: &dyn Monitor,
) -> Result<RestoredInPlace, InPlaceError> {
    let environment = job.reader.environment();
    let vcenter = job.session.about().instance_uuid.clone().unwrap_or_default();
    let run: String = random::<8>(environment.entropy.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut journal = Journal::begin(&environment.state, &job.reader.config().repository, &run, &vcenter)?;
    let (vm, name) = (&plan.vm.vm, plan.vm.name.clone());
    let tracking = match plan.vm.tracks_changes {
        true => Some(journal.intend(Effect::DisableChangeTracking { vm: vm.moref().to_owned() })?),
        false => None,
    };
    if let Some(intent) = tracking {
        if let Err(source) = disable_change_tracking(job.session, vm) {
            // Whether it happened is not always known: switching it on twice does no harm.
            if enable_change_tracking(job.session, vm).is_ok() {
                journal.undone(intent)?;
                journal.close()?;
            }
            return Err(InPlaceError::TrackingStays { vm: name, source });
        }
        journal.made(intent, vm.moref())?;
    }
    let mut notes = Vec::new();
    let written = job.disks(plan).write(&mut journal, monitor, &mut notes);
    if let Some(intent) = tracking {
        match (enable_change_tracking(job.session, vm), &written) {
            (Ok(()), _) => journal.undone(intent)?,
            (Err(source), Ok(_)) => return Err(InPlaceError::TrackingLeftOff { vm: name, source }),
            // Said by the cleanup.
            (Err(_), Err(_)) => {}
        }
    }
    journal.close()?;
    let disks = written.map_err(|source| InPlaceError::Write { source })?;
    Ok(RestoredInPlace { disks, notes })
}

impl<'j> InPlaceJob<'j> {
    fn disks<'p>(&self, plan: &'p InPlacePlan) -> DiskJob<'p>
    where
        'j: 'p,
    {
        DiskJob {
            session: self.session,
            reader: self.reader,
            point: self.point,
            vm: &plan.vm.vm,
            vm_name: &plan.vm.name,
            disks: plan.to_write.clone(),
            before: Before::Anything,
            bad_extents: self.bad_extents,
            options: self.options,
        }
    }
}
