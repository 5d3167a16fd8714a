//! Disks of a powered-off VM: written, and on wish read back. The same for a new VM and for one whose disks are there.
//!
//! HotAdd attaches a disk to the machine that this program runs in, and does so only under a snapshot: it is made first, and
//! what is written is the disk below it, which the VM does not write to meanwhile. Then the snapshot goes.

use std::{ops::Range, sync::Arc};

use engine::{
    BadExtents, Kind, Monitor, NbdError, NbdOptions, NbdTarget, NbdUri, RestoreError, RestoreJob, RestoreOptions,
    RestoreReport, Room, Start, Target, TargetError, restore,
};
use repo_format::{ChunkId, HashedChunk};

use super::{RestoreVmOptions, VerifyAfter, write_snapshot::WriteSnapshot};
use crate::{
    backup::{Reader, vm_login},
    disk::{DiskError, DiskPlace, VddkVm, not_zero},
    journal::{Journal, JournalError},
    session::Session,
    soap::ManagedObject,
    transport::{Access, DiskState, Refused, Transport, Transports},
    vddk::VmAccess,
    vm_snapshot::SnapshotError,
};

/// What a disk holds before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing: it was made a moment ago.
    Nothing,
    /// Anything: only what differs is written.
    Anything,
}

/// A disk of the VM.
#[derive(Clone, Debug)]
pub(super) struct DiskToWrite {
    /// As the restore point calls it.
    pub name: String,
    /// Its device key.
    pub key: i32,
    /// `[datastore] folder/disk.vmdk`, with no snapshot above it.
    pub path: String,
    /// How it lies there.
    pub state: DiskState,
}

/// Disks that are written into one VM.
pub(super) struct DiskJob<'j> {
    pub session: &'j Session,
    pub reader: &'j engine::Reader,
    pub point: ChunkId,
    pub vm: &'j ManagedObject,
    pub vm_name: &'j str,
    pub disks: Vec<DiskToWrite>,
    pub before: Before,
    pub bad_extents: BadExtents,
    pub options: &'j RestoreVmOptions,
}

/// Why disks were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteDisksError {
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
    /// The snapshot that HotAdd needs.
    #[error("{vm}: the snapshot that hotadd writes under: {source}")]
    Snapshot {
        /// The VM.
        vm: String,
        /// Why there is none.
        source: SnapshotError,
    },
    /// Nothing is done that was not written down before.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A disk cannot be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A disk behind somebody else's NBD server cannot be opened.
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
    /// The engine.
    #[error("{vm}: {source}")]
    Restore {
        /// The VM.
        vm: String,
        /// Why.
        source: RestoreError,
    },
    /// Stored bytes are damaged.
    #[error("{vm}: {disks} could not be restored whole")]
    Damaged {
        /// The VM.
        vm: String,
        /// Its disks.
        disks: String,
    },
    /// What was read back is not what was written.
    #[error("{vm} {disk}: {bytes} bytes read back differ from the restore point")]
    ReadBack {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// How many.
        bytes: u64,
    },
}

impl WriteDisksError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Transport { refused, .. } => refused.kind(),
            Self::Snapshot { source, .. } => source.kind(),
            Self::Journal(error) => error.kind(),
            Self::Disk(error) => error.kind(),
            Self::Outside { kind, .. } => *kind,
            Self::Restore { source, .. } => source.kind(),
            Self::Damaged { .. } => Kind::Damaged,
            Self::ReadBack { .. } => Kind::Failed,
        }
    }

    /// What to do, where it is not what the kind says.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Transport { refused, .. } => Some(refused.hint()),
            Self::Disk(error) => error.hint(),
            Self::ReadBack { .. } => Some("check the storage, then run it again"),
            _ => None,
        }
    }

    /// Whether the point has ranges that were never read, and nobody has agreed to zeros.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Restore { source: RestoreError::BadExtents { .. }, .. })
    }
}

impl DiskJob<'_> {
    /// What of the transports may be used for each disk, in their order; asked before anything is done.
    pub(super) fn allowed(&self) -> Result<Vec<Transports>, WriteDisksError> {
        let of = |disk: &DiskToWrite| {
            let allowed = self.options.transports.for_disk(disk.state, Access::Write, self.options.proxy);
            let failed = |refused| WriteDisksError::Transport { vm: self.name(), disk: disk.name.clone(), refused };
            Ok(allowed.map_err(failed)?.transports)
        };
        match &self.options.reader {
            Reader::Vddk(_) => self.disks.iter().map(of).collect(),
            Reader::Nbd(_) | Reader::Command { .. } => Ok(Vec::new()),
        }
    }

    /// Writes every disk into the powered-off VM.
    pub(super) fn write(
        self,
        journal: &mut Journal,
        monitor: &dyn Monitor,
        notes: &mut Vec<String>,
    ) -> Result<RestoreReport, WriteDisksError> {
        let allowed = self.allowed()?;
        let by_hotadd = allowed.iter().any(|transports| transports.list().contains(&Transport::Hotadd));
        let snapshot = match by_hotadd {
            true => Some(WriteSnapshot::take(self.session, self.vm, self.vm_name, self.reader, journal)?),
            false => None,
        };
        let written = self.under(snapshot.as_ref(), &allowed, monitor, notes);
        if let Some(snapshot) = snapshot {
            snapshot.remove(self.session, self.vm, self.vm_name, journal, notes)?;
        }
        written
    }

    fn under(
        &self,
        snapshot: Option<&WriteSnapshot>,
        allowed: &[Transports],
        monitor: &dyn Monitor,
        notes: &mut Vec<String>,
    ) -> Result<RestoreReport, WriteDisksError> {
        let library = match &self.options.reader {
            Reader::Vddk(launch) => {
                let login = vm_login(self.session, self.vm.moref());
                let snapshot = snapshot.map(|snapshot| snapshot.object.moref().to_owned());
                let access = VmAccess { login, snapshot, access: Access::Write };
                Some(VddkVm::start(self.vm_name, launch.clone(), access)?)
            }
            Reader::Nbd(_) | Reader::Command { .. } => None,
        };
        let written = self.open_and_write(allowed, library.as_ref(), monitor);
        notes.extend(library.map(VddkVm::end).unwrap_or_default());
        written
    }

    fn open_and_write(
        &self,
        allowed: &[Transports],
        library: Option<&VddkVm>,
        monitor: &dyn Monitor,
    ) -> Result<RestoreReport, WriteDisksError> {
        let mut disks: Vec<(String, Arc<dyn Target>)> = Vec::new();
        match library {
            Some(library) => {
                for (disk, allowed) in self.disks.iter().zip(allowed) {
                    disks.push((disk.name.clone(), self.open_by_library(library, disk, allowed)?));
                }
            }
            None => {
                for disk in &self.disks {
                    disks.push((disk.name.clone(), self.open_outside(disk)?));
                }
            }
        }
        let report = self.run(disks.clone(), monitor)?;
        let lost: Vec<&str> =
            report.disks.iter().filter(|disk| !disk.is_whole()).map(|disk| disk.name.as_str()).collect();
        if !lost.is_empty() {
            return Err(WriteDisksError::Damaged { vm: self.name(), disks: lost.join(", ") });
        }
        if self.options.verify_after == VerifyAfter::Yes {
            let back = disks.into_iter().map(|(name, target)| (name, Arc::new(ReadBack(target)) as Arc<dyn Target>));
            let back = self.run(back.collect(), monitor)?;
            let differs = back.disks.iter().find(|disk| disk.written_bytes > 0 || disk.zeroed_bytes > 0);
            if let Some(disk) = differs {
                let bytes = disk.written_bytes.saturating_add(disk.zeroed_bytes);
                return Err(WriteDisksError::ReadBack { vm: self.name(), disk: disk.name.clone(), bytes });
            }
        }
        Ok(report)
    }

    fn run(
        &self,
        disks: Vec<(String, Arc<dyn Target>)>,
        monitor: &dyn Monitor,
    ) -> Result<RestoreReport, WriteDisksError> {
        let options = RestoreOptions { threads: self.options.threads, bad_extents: self.bad_extents };
        let job = RestoreJob { point: self.point, disks, base: None };
        restore(self.reader, &job, &options, monitor)
            .map_err(|source| WriteDisksError::Restore { vm: self.name(), source })
    }

    fn open_by_library(
        &self,
        library: &VddkVm,
        disk: &DiskToWrite,
        allowed: &Transports,
    ) -> Result<Arc<dyn Target>, WriteDisksError> {
        let place =
            DiskPlace { name: disk.name.clone(), path: disk.path.clone(), state: disk.state, allowed: allowed.clone() };
        Ok(match self.before {
            Before::Nothing => Arc::new(library.open_new(&place)?),
            Before::Anything => Arc::new(library.open_existing(&place)?),
        })
    }

    fn open_outside(&self, disk: &DiskToWrite) -> Result<Arc<dyn Target>, WriteDisksError> {
        let failed =
            |what: String, kind| WriteDisksError::Outside { vm: self.name(), disk: disk.name.clone(), what, kind };
        let Reader::Nbd(template) = &self.options.reader else {
            return Err(failed("a reader command only reads".to_owned(), Kind::Invalid));
        };
        let text = template
            .replace("{vm}", self.vm_name)
            .replace("{disk}", &disk.name)
            .replace("{key}", &disk.key.to_string());
        let uri = NbdUri::parse(&text).map_err(|error| failed(format!("{text}: {error}"), Kind::Invalid))?;
        let unopened = |error: NbdError| failed(format!("{text}: {error}"), error.kind());
        Ok(Arc::new(NbdTarget::open(&uri, NbdOptions::default()).map_err(unopened)?))
    }

    fn name(&self) -> String {
        self.vm_name.to_owned()
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

    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        not_zero(self.0.as_ref(), range)
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
