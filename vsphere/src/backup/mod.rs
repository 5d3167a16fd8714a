//! One VM into the repository: the order of everything on one screen.
//!
//! ```text
//!   look ─► check ─► journal ─► tracking on ─► snapshot ─► disks open ─► read, seal, home confirmed, commit ─► snapshot gone
//! ```
//!
//! **Invariant:** the restore point is committed while the snapshot is still there, and the snapshot goes whatever happened.

mod base;
mod disks;
mod home;
mod look;
mod note;
mod options;
mod reader_command;
mod snapshot;
mod tracking;
mod watchdog;

use engine::{BackupError, BackupJob, BackupReport, Changes, HomeSource, Kind, Monitor, Writer, backup};
use repo_format::Consistency;

use crate::{
    disk::DiskError,
    inventory::{InventoryError, VmSummary},
    journal::{Journal, JournalError},
    properties::PropertyError,
    session::Session,
    soap::CallError,
    task::TaskError,
    transport::Refused,
    vm_home::{CaptureHomeError, ConfigError},
    vm_snapshot::{SnapshotError, SnapshotTag},
};

use base::Base;
use disks::OpenDisks;
pub(crate) use disks::vm_login;
use home::HomeOfOneMoment;
pub(crate) use look::uuid_bytes;
pub use look::{SeenVm, identity_of};
pub use note::{Note, NoteKind};
pub use options::{QuiesceWish, Reader, TrackingWish, Unquiet, VmBackupOptions};
use snapshot::TakenSnapshot;
use watchdog::Watchdog;
pub use watchdog::{WatchLimits, Worry};

/// A VM that was backed up.
#[derive(Debug)]
pub struct VmBackupReport {
    /// What the engine did.
    pub backup: BackupReport,
    /// What the state of the disks is worth.
    pub consistency: Consistency,
    /// `clear`, `whole` or `incomplete`.
    pub encryption: &'static str,
}

/// Why a VM was not backed up.
#[derive(Debug, thiserror::Error)]
pub enum VmBackupError {
    /// It is no VM that can be brought back by a backup of ours.
    #[error("{vm}: it is a template: templates are not backed up")]
    Template {
        /// The VM.
        vm: String,
    },
    /// vCenter does not reach it.
    #[error("{vm}: its host does not answer (connection state {state})")]
    Disconnected {
        /// The VM.
        vm: String,
        /// What vCenter says of it.
        state: String,
    },
    /// Nothing of it can be read.
    #[error("{vm}: none of its disks can be backed up: {why}")]
    NoDisk {
        /// The VM.
        vm: String,
        /// Why, disk by disk.
        why: String,
    },
    /// An encrypted VM's guest cannot be made quiet by its applications.
    #[error("{vm}: an encrypted VM can be quiesced by its file systems only")]
    ApplicationQuiesce {
        /// The VM.
        vm: String,
    },
    /// It has no identity that would hold.
    #[error("{vm}: {what} is no uuid, so that its restore points could not be told from those of others")]
    Identity {
        /// The VM.
        vm: String,
        /// Whose uuid, and what is there.
        what: String,
    },
    /// A way to a disk that must not be taken.
    #[error("{vm} {disk}: {refused}")]
    Transport {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// Which, and why.
        refused: Refused,
    },
    /// The configuration cannot be read: of an encrypted VM nothing would come back whole.
    #[error("{vm}: {source}")]
    Look {
        /// The VM.
        vm: String,
        /// Why.
        source: LookError,
    },
    /// A snapshot could not be made.
    #[error("{vm}: {source}")]
    Snapshot {
        /// The VM.
        vm: String,
        /// Why.
        source: SnapshotError,
    },
    /// The snapshot could do harm.
    #[error("{vm}: {worry}")]
    GivenUp {
        /// The VM.
        vm: String,
        /// By what.
        worry: Worry,
    },
    /// Change tracking could not be switched on.
    #[error("{vm}: change tracking could not be switched on: {source}")]
    Tracking {
        /// The VM.
        vm: String,
        /// Why.
        source: TaskError,
    },
    /// A disk could not be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A disk behind somebody else's NBD server could not be opened.
    #[error("{vm} {disk}: {what}")]
    Outside {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// What happened.
        what: String,
        /// How to react.
        kind: Kind,
    },
    /// What was opened is another disk than vCenter speaks of.
    #[error("{vm} {disk}: it has {found} bytes, and {wanted} by the VM's configuration")]
    Size {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// What was opened.
        found: u64,
        /// What vCenter says.
        wanted: u64,
    },
    /// Nothing is done that was not written down before.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Why a VM cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A property.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// Where it is.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its home.
    #[error(transparent)]
    Home(#[from] CaptureHomeError),
}

impl LookError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Property(error) => error.kind(),
            Self::Inventory(error) => error.kind(),
            Self::Call(error) => error.kind(),
            Self::Config(error) => error.kind(),
            Self::Home(error) => error.kind(),
        }
    }
}

impl VmBackupError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Template { .. } | Self::ApplicationQuiesce { .. } => Kind::Invalid,
            Self::Disconnected { .. } => Kind::Unavailable,
            Self::NoDisk { .. } | Self::Identity { .. } | Self::Size { .. } => Kind::Failed,
            Self::Transport { refused, .. } => refused.kind(),
            Self::Look { source, .. } => source.kind(),
            Self::Snapshot { source, .. } => source.kind(),
            Self::GivenUp { .. } => Kind::Unavailable,
            Self::Tracking { source, .. } => source.kind(),
            Self::Disk(error) => error.kind(),
            Self::Outside { kind, .. } => *kind,
            Self::Journal(error) => error.kind(),
            Self::Backup(error) => error.kind(),
        }
    }

    /// What to try, where it is not what the kind says.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Template { .. } => Some("make it a virtual machine, or leave it out: --exclude"),
            Self::ApplicationQuiesce { .. } => Some("--quiesce file-system"),
            Self::Transport { refused, .. } => Some(refused.hint()),
            Self::GivenUp { worry, .. } => Some(worry.hint()),
            Self::Disk(error) => error.hint(),
            Self::Look { .. } => Some("an encrypted VM cannot be captured without it: grant System.Read on the VM"),
            _ => None,
        }
    }
}

/// Backs up one VM. `notes` gets what a person should know, also if it fails.
pub fn back_up_vm(
    writer: &mut Writer,
    session: &Session,
    vm: &VmSummary,
    options: &VmBackupOptions,
    monitor: &dyn Monitor,
    notes: &mut Vec<Note>,
) -> Result<VmBackupReport, VmBackupError> {
    let seen = SeenVm::look(session, vm)?;
    notes.extend(seen.check(options)?);
    notes.extend(seen.check_keys(session));
    let environment = writer.environment().clone();
    let tag = SnapshotTag {
        repository: writer.config().repository.to_string(),
        run: options::new_run(environment.entropy.as_ref()),
        host: environment.host,
    };
    let mut journal =
        Journal::begin(&environment.state, &writer.config().repository, &tag.run, &seen.identity.vcenter_uuid)?;
    let watchdog = Watchdog::begin(session, &seen, &environment.clock, options.watch)?;
    let tracked = tracking::switch_on(session, &seen, options, &mut journal, notes);
    let snapshot = match tracked.and_then(|()| TakenSnapshot::take(session, &seen, &tag, options, &mut journal, notes))
    {
        Ok(snapshot) => snapshot,
        Err(error) => {
            journal.close()?;
            return Err(error);
        }
    };
    let outcome =
        watchdog.over(monitor, |monitor| read_and_commit(writer, session, &seen, &snapshot, options, monitor, notes));
    snapshot.give_back(session, &seen, &mut journal, notes)?;
    journal.close()?;
    let consistency = snapshot.quiet.level;
    let encryption = seen.encryption_word();
    outcome.map(|backup| VmBackupReport { backup, consistency, encryption })
}

/// Everything that needs the snapshot.
fn read_and_commit(
    writer: &mut Writer,
    session: &Session,
    seen: &SeenVm<'_>,
    snapshot: &TakenSnapshot,
    options: &VmBackupOptions,
    monitor: &dyn Monitor,
    notes: &mut Vec<Note>,
) -> Result<BackupReport, VmBackupError> {
    let base = Base::newest(writer, &seen.vm_identity);
    let open = OpenDisks::open(session, seen, snapshot, options, notes)?;
    let areas = base.as_ref().map(|base| base.changes(session, seen, snapshot, &open)).transpose()?;
    let home = HomeOfOneMoment::begin(session, seen, snapshot, &open)?;
    let reasons = areas.as_ref().map(|areas| areas.whole.clone()).unwrap_or_default();
    let job = BackupJob {
        identity: seen.vm_identity.clone(),
        vm_name: seen.name().to_owned(),
        disks: open.job_disks(&reasons),
        changes: areas.map(|areas| Changes { parent: areas.parent, areas: areas.changed, audit: options.audit }),
        home: Some(Box::new(&home) as Box<dyn HomeSource>),
        tag: options.tag.clone(),
        hold: options.hold.clone(),
        consistency: snapshot.quiet.level,
        recorded: None,
    };
    let report = backup(writer, &job, &options.engine, monitor);
    drop(job);
    notes.extend(open.troubles());
    notes.extend(home.notes());
    notes.extend(open.close());
    Ok(report?)
}
