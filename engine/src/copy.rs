//! The copy conductor: restore points of one repository into another, sealed under its keys.
//!
//! ```text
//! each point, in log order: there already? pass over : disks (what differs from the copied point before it) ─► backup into the other
//! ```
//!
//! **Invariant:** a copied point holds what its original holds, with the times, the host and the losses recorded then. What
//! is damaged in the original is never copied as a loss of the source: that point is left out and named.

mod source;

use std::collections::HashMap;

use repo_format::{ChunkId, Compression, DiskRecord, RestorePoint, VmIdentity};

use crate::{
    audit::AuditShare,
    backup::{BackupError, BackupJob, BackupOptions, BackupReport, Changes, JobDisk, OnBad, Recorded, backup},
    captured_home::{CapturedHome, HomeSource},
    changed_areas::ChangedAreas,
    error::Kind,
    listing::{changed_ranges_of, partner},
    monitor::Monitor,
    problem::is_loss,
    read_error::ReadError,
    repository::{Reader, Writer},
    restore::{RestoreHomeError, restore_home},
    stored_disk::FrameCache,
};
pub(crate) use source::StoredDiskSource;

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyOptions {
    /// Threads that read, open, hash and seal.
    pub threads: usize,
    /// What frames of the copy are compressed with.
    pub compression: Compression,
    /// Memory for opened frames of the original.
    pub cache_bytes: u64,
}

/// A point that was copied.
#[derive(Clone, Debug)]
pub struct CopiedPoint {
    /// The original.
    pub original: ChunkId,
    /// What the backup into the other repository says.
    pub report: BackupReport,
}

/// A point that could not be copied.
#[derive(Debug)]
pub struct UncopiedPoint {
    /// The original.
    pub original: ChunkId,
    /// Its VM.
    pub vm_name: String,
    /// Why.
    pub error: CopyPointError,
}

/// What a copy has done.
#[derive(Debug, Default)]
pub struct CopyReport {
    /// Points copied, in log order.
    pub copied: Vec<CopiedPoint>,
    /// Points that were there already: the original and its copy.
    pub skipped: Vec<(ChunkId, ChunkId)>,
    /// Points left out.
    pub failed: Vec<UncopiedPoint>,
    /// Bytes of the packs that were written.
    pub sent_bytes: u64,
}

/// Why a copy did not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Both are the same repository.
    #[error("repository {repository} cannot be copied onto itself")]
    Itself {
        /// The repository.
        repository: repo_format::RepositoryId,
    },
    /// The other repository failed.
    #[error(transparent)]
    Into(BackupError),
    /// What is in the other repository cannot be seen.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl CopyError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Itself { .. } => Kind::Invalid,
            Self::Into(error) => error.kind(),
            Self::Read(error) => error.kind(),
        }
    }
}

/// Why one point was left out.
#[derive(Debug, thiserror::Error)]
pub enum CopyPointError {
    /// Its record or a map cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its VM home cannot be read.
    #[error(transparent)]
    Home(#[from] RestoreHomeError),
    /// Part of a disk is damaged, or the other repository refuses it.
    #[error(transparent)]
    Backup(BackupError),
}

impl CopyPointError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Home(error) => error.kind(),
            Self::Backup(error) => error.kind(),
        }
    }
}

/// Copies `points` of `from`, in the order of its log, into `into`. Points that are there already are passed over.
pub fn copy(
    from: &Reader,
    into: &mut Writer,
    points: &[ChunkId],
    options: &CopyOptions,
    monitor: &dyn Monitor,
) -> Result<CopyReport, CopyError> {
    check_other(from, into)?;
    let mut report = CopyReport::default();
    let mut there = Captures::of(into)?;
    for (original, vm_name) in in_log_order(from, points) {
        match copy_point(from, into, original, &mut there, options, monitor) {
            Ok(Outcome::There(copy)) => report.skipped.push((original, copy)),
            Ok(Outcome::Copied(done)) => {
                report.sent_bytes += done.stored_bytes;
                report.copied.push(CopiedPoint { original, report: *done });
            }
            // The original is damaged here and there; other points may be whole.
            Err(error) if is_loss(error.kind()) || matches!(error.kind(), Kind::Busy) => {
                report.failed.push(UncopiedPoint { original, vm_name, error });
            }
            Err(CopyPointError::Backup(error)) => return Err(CopyError::Into(error)),
            Err(CopyPointError::Read(error)) => return Err(error.into()),
            Err(error) => report.failed.push(UncopiedPoint { original, vm_name, error }),
        }
    }
    Ok(report)
}

/// What [`copy`] would send: which points are there already, and how many bytes the others have on their disks.
pub fn plan_copy(from: &Reader, into: &Reader, points: &[ChunkId]) -> Result<CopyPlan, CopyError> {
    check_other(from, into)?;
    let there = Captures::of(into)?;
    let mut plan = CopyPlan::default();
    for (original, _) in in_log_order(from, points) {
        match from.restore_point(original) {
            Ok(record) if there.find(&record).is_some() => plan.skipped.push(original),
            Ok(record) => {
                plan.to_copy.push(original);
                plan.data_bytes += record.disks.iter().filter_map(|disk| disk.data_bytes).sum::<u64>();
            }
            Err(error) if is_loss(error.kind()) => plan.unreadable.push(original),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(plan)
}

/// What a copy would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyPlan {
    /// Points to copy.
    pub to_copy: Vec<ChunkId>,
    /// Data on their disks: the most that could be read. What points share is read once.
    pub data_bytes: u64,
    /// Points that are there already.
    pub skipped: Vec<ChunkId>,
    /// Points whose record cannot be read.
    pub unreadable: Vec<ChunkId>,
}

enum Outcome {
    There(ChunkId),
    Copied(Box<BackupReport>),
}

fn copy_point(
    from: &Reader,
    into: &mut Writer,
    original: ChunkId,
    there: &mut Captures,
    options: &CopyOptions,
    monitor: &dyn Monitor,
) -> Result<Outcome, CopyPointError> {
    let record = from.restore_point(original)?;
    if let Some(copy) = there.find(&record) {
        there.add(record, original, copy);
        return Ok(Outcome::There(copy));
    }
    let cache = FrameCache::new(from, options.cache_bytes);
    let changes = there.newest.get(&record.vm).map(|before| changes_since(from, before, &record)).transpose()?;
    let home = record.vm_home.map(|_| captured_home(from, original)).transpose()?;
    let job = BackupJob {
        identity: record.vm.clone(),
        vm_name: record.vm_name.clone(),
        disks: record.disks.iter().map(|disk| open_disk(&cache, disk)).collect::<Result<_, _>>()?,
        changes,
        home: home.map(|home| Box::new(home) as Box<dyn HomeSource>),
        tag: record.tag.clone(),
        hold: None,
        consistency: record.consistency,
        recorded: Some(Recorded {
            started_ms: record.started_ms,
            finished_ms: record.finished_ms,
            host: record.host.clone(),
            program_version: record.program_version.clone(),
            completeness: record.completeness,
        }),
    };
    let options = BackupOptions { threads: options.threads, compression: options.compression, on_bad: OnBad::Keep };
    let report = backup(into, &job, &options, monitor).map_err(CopyPointError::Backup)?;
    drop(job);
    there.add(record, original, report.point);
    Ok(Outcome::Copied(Box::new(report)))
}

fn check_other(from: &Reader, into: &Reader) -> Result<(), CopyError> {
    let repository = from.config().repository;
    if repository == into.config().repository { Err(CopyError::Itself { repository }) } else { Ok(()) }
}

fn in_log_order(from: &Reader, points: &[ChunkId]) -> Vec<(ChunkId, String)> {
    let wanted: std::collections::HashSet<&ChunkId> = points.iter().collect();
    let live = from.state().points().iter().filter(|point| point.is_live() && wanted.contains(&point.id));
    live.map(|point| (point.id, point.vm_name.clone())).collect()
}

fn open_disk<'r>(cache: &'r FrameCache<'r>, disk: &DiskRecord) -> Result<JobDisk<'r>, ReadError> {
    let source = Box::new(StoredDiskSource::open(cache, disk)?);
    Ok(JobDisk {
        name: disk.name.clone(),
        uuid: disk.uuid.clone(),
        change_id: disk.change_id.clone(),
        read_whole: None,
        source,
    })
}

pub(crate) fn captured_home(from: &Reader, point: ChunkId) -> Result<CapturedHome, RestoreHomeError> {
    let home = restore_home(from, point)?;
    Ok(CapturedHome { record: home.home, document: home.document, nvram: home.nvram })
}

/// What differs between a point that was copied before and this one: the rest need not be read.
fn changes_since(from: &Reader, before: &Copied, record: &RestorePoint) -> Result<Changes, ReadError> {
    let earlier = from.restore_point(before.original)?;
    let mut areas = Vec::new();
    for disk in &record.disks {
        let Some(partner) = partner(&earlier.disks, disk).filter(|partner| partner.bytes == disk.bytes) else {
            continue;
        };
        // What cannot be compared is read.
        let Ok(ranges) = changed_ranges_of(from, partner, disk) else { continue };
        let Ok(changed) = ChangedAreas::of(disk.bytes, ranges) else { continue };
        areas.push((disk.name.clone(), changed));
    }
    Ok(Changes { parent: before.copy, areas, audit: AuditShare::Off })
}

/// What a repository holds, by what was captured: ids differ from repository to repository, captures do not.
pub(crate) struct Captures {
    by_capture: HashMap<Capture, ChunkId>,
    /// The last point of each VM that this run has dealt with.
    newest: HashMap<VmIdentity, Copied>,
}

/// Who was captured, when, by whom, and what disks it had then.
#[derive(PartialEq, Eq, Hash)]
struct Capture {
    vm: VmIdentity,
    times_ms: (u64, u64),
    host: Option<String>,
    disks: Vec<CapturedDisk>,
}

#[derive(PartialEq, Eq, Hash)]
struct CapturedDisk {
    name: String,
    uuid: Option<String>,
    bytes: u64,
    data_bytes: Option<u64>,
    bad_bytes: u64,
}

impl Capture {
    fn of(record: &RestorePoint) -> Self {
        let disk = |disk: &DiskRecord| CapturedDisk {
            name: disk.name.clone(),
            uuid: disk.uuid.clone(),
            bytes: disk.bytes,
            data_bytes: disk.data_bytes,
            bad_bytes: disk.bad_bytes,
        };
        Self {
            vm: record.vm.clone(),
            times_ms: (record.started_ms, record.finished_ms),
            host: record.host.clone(),
            disks: record.disks.iter().map(disk).collect(),
        }
    }
}

/// A point that this run has copied, or has found copied before.
struct Copied {
    copy: ChunkId,
    original: ChunkId,
}

impl Captures {
    pub(crate) fn of(repository: &Reader) -> Result<Self, ReadError> {
        let mut captures = Self { by_capture: HashMap::new(), newest: HashMap::new() };
        for (point, record) in repository.live_points() {
            match record {
                Ok(record) => drop(captures.by_capture.insert(Capture::of(&record), point.id)),
                Err(error) if is_loss(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(captures)
    }

    /// The copy of `record`, if there is one.
    pub(crate) fn find(&self, record: &RestorePoint) -> Option<ChunkId> {
        self.by_capture.get(&Capture::of(record)).copied()
    }

    fn add(&mut self, record: RestorePoint, original: ChunkId, copy: ChunkId) {
        self.by_capture.insert(Capture::of(&record), copy);
        self.newest.insert(record.vm, Copied { copy, original });
    }
}
