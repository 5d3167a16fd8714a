//! The backup conductor: the whole walk of a VM into the repository, on one screen.

mod base;
mod disk;
#[cfg(test)]
mod tests;

use repo_format::{ChunkId, Class, Completeness, Compression, Consistency, DiskRecord, RestorePoint, VmIdentity};

use crate::{
    captured_home::{CapturedHome, HomeError, HomeSource, HomeSourceError, store_home},
    error::Kind,
    frame_writer::WriteError,
    log::LogHead,
    monitor::{Event, Monitor},
    pack_sink::SinkError,
    pipeline::StoreDiskError,
    repository::Writer,
    session::{PointDraft, Session, SessionError},
    source::DiskSource,
    state_folder::StateFolderError,
    verdict::{Verdict, judge},
};

use base::Base;
pub use base::{Changes, FullRead};
pub use disk::{AuditReport, HowRead};
use disk::{DiskPlan, ReadDisk, store_one_disk};

/// A session that somebody has ended, or whose packs a prune has removed, is followed by another, this often.
const SESSIONS_MAX: u32 = 5;

/// A disk of a [`BackupJob`].
pub struct JobDisk<'s> {
    /// Name, unique in the job; a disk without a uuid is recognised by it.
    pub name: String,
    /// The disk's own uuid, if it has one.
    pub uuid: Option<String>,
    /// What the platform calls the state that is read: with it a later night can ask what has changed since.
    pub change_id: Option<String>,
    /// Why it has to be read whole, whatever is said of its changes.
    pub read_whole: Option<String>,
    /// Where its bytes come from.
    pub source: Box<dyn DiskSource + 's>,
}

/// One VM to back up: all of its disks become one restore point, or none.
pub struct BackupJob<'s> {
    /// Who it is.
    pub identity: VmIdentity,
    /// What it is called today.
    pub vm_name: String,
    /// Its disks.
    pub disks: Vec<JobDisk<'s>>,
    /// What has changed since an earlier point; `None`: read the disks whole.
    pub changes: Option<Changes>,
    /// What surrounds the disks; asked for when they are stored.
    pub home: Option<Box<dyn HomeSource + 's>>,
    /// The operator's mark on the point.
    pub tag: Option<String>,
    /// Why the point is held from its first moment on; `None`: it is not.
    pub hold: Option<String>,
    /// What the disks' state is worth.
    pub consistency: Consistency,
    /// What was recorded when the disks were captured, if that was not now: the point is a copy.
    pub recorded: Option<Recorded>,
}

/// What the record of a copied point keeps of its original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When the capture began.
    pub started_ms: u64,
    /// When it ended.
    pub finished_ms: u64,
    /// The host that made it.
    pub host: Option<String>,
    /// The program that made it.
    pub program_version: Option<String>,
    /// Whole or incomplete.
    pub completeness: Completeness,
}

/// What to do about ranges that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBad {
    /// Record them as bad extents; the point is incomplete.
    Keep,
    /// Commit nothing.
    Fail,
}

/// How to back up.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// Worker threads a disk.
    pub threads: usize,
    /// What frames are compressed with.
    pub compression: Compression,
    /// What to do about ranges that cannot be read.
    pub on_bad: OnBad,
}

/// What became of one disk, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    /// The disk's name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Data found on it.
    pub data_bytes: u64,
    /// Zeros, declared or read.
    pub hole_bytes: u64,
    /// What could not be read.
    pub bad_bytes: u64,
    /// What was read from the source.
    pub read_bytes: u64,
    /// Bytes of segments whose map was not known.
    pub changed_bytes: u64,
    /// Bytes of chunks that were not known.
    pub novel_bytes: u64,
    /// Bytes of the frames made of them.
    pub stored_bytes: u64,
    /// Root of the disk map.
    pub map_root: ChunkId,
    /// Whole or by changed areas.
    pub how: HowRead,
    /// What the audit of the changed areas has found, if there was one.
    pub audit: Option<AuditReport>,
}

/// What a backup has done.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The restore point's id.
    pub point: ChunkId,
    /// Its number in the VM's chain, from 1.
    pub number: u64,
    /// The VM's name.
    pub vm_name: String,
    /// Head of the log after the commit.
    pub head: LogHead,
    /// Its disks.
    pub disks: Vec<DiskReport>,
    /// Whole, or incomplete.
    pub completeness: Completeness,
    /// What the point is worth.
    pub verdict: Verdict,
    /// Bytes of all packs that the commit has registered, metadata included.
    pub stored_bytes: u64,
    /// Finished packs taken over from a run that did not end.
    pub adopted_packs: u64,
}

/// Why there is no new restore point.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The same VM is being backed up from this host.
    #[error("{vm} is being backed up by another process on this host")]
    Busy {
        /// The VM.
        vm: String,
    },
    /// No disk, or two of one name.
    #[error("{0}")]
    Job(String),
    /// The parent is no point of this repository.
    #[error("{vm}: the parent {parent} is not a restore point of this repository, or it was forgotten")]
    UnknownParent {
        /// The VM.
        vm: String,
        /// What was named as the parent.
        parent: ChunkId,
    },
    /// What has changed on one VM says nothing of another.
    #[error("{vm}: the parent {parent} is a restore point of {other}")]
    ParentOfOtherVm {
        /// The VM.
        vm: String,
        /// The parent.
        parent: ChunkId,
        /// Whose point it is.
        other: String,
    },
    /// A disk cannot be read or stored.
    #[error("{vm} {disk}: {source}")]
    Disk {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// What happened.
        source: StoreDiskError,
    },
    /// Ranges could not be read, and the operator wants nothing then.
    #[error("{vm} {disk}: {bad_bytes} bytes could not be read")]
    BadExtents {
        /// The VM.
        vm: String,
        /// The disk.
        disk: String,
        /// How much.
        bad_bytes: u64,
    },
    /// The VM home cannot be stored.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The VM home cannot be had any more.
    #[error("{0}")]
    HomeSource(#[from] HomeSourceError),
    /// The session could not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateFolderError),
}

impl From<WriteError> for BackupError {
    fn from(error: WriteError) -> Self {
        Self::Session(error.into())
    }
}

impl From<SinkError> for BackupError {
    fn from(error: SinkError) -> Self {
        Self::Session(error.into())
    }
}

impl BackupError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } => Kind::Busy,
            Self::Job(_) | Self::UnknownParent { .. } | Self::ParentOfOtherVm { .. } => Kind::Invalid,
            Self::Disk { source: StoreDiskError::Interrupted, .. } => Kind::Interrupted,
            Self::Disk { source: StoreDiskError::Write(error), .. } => error.kind(),
            Self::Disk { source: StoreDiskError::Source(error), .. } => error.kind(),
            Self::Disk { source: StoreDiskError::Base(error), .. } => error.kind(),
            Self::Disk { .. } | Self::BadExtents { .. } => Kind::Failed,
            Self::Home(error) => error.kind(),
            Self::HomeSource(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::State(error) => error.kind(),
        }
    }
}

/// Backs up one VM.
pub fn backup(
    writer: &mut Writer,
    job: &BackupJob<'_>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<BackupReport, BackupError> {
    check_job(job)?;
    let repository = writer.config().repository;
    let busy = || BackupError::Busy { vm: job.vm_name.clone() };
    let _vm_lock = writer.environment().state.vm_lock(&repository, &job.identity)?.ok_or_else(busy)?;
    let started_ms = writer.environment().clock.now_ms();
    let mut tries = 1;
    loop {
        let session = Session::open(writer)?;
        match back_up_once(session, job, options, monitor, started_ms) {
            // Its finished packs are adopted by the next session, so little is stored twice.
            Err(BackupError::Session(error)) if error.is_superseded() && tries < SESSIONS_MAX => tries += 1,
            Ok(report) => {
                writer.leave_checkpoint();
                writer.remember_head();
                return Ok(BackupReport { head: writer.head(), ..report });
            }
            result => return result,
        }
    }
}

/// One session, from its first read to its commit.
fn back_up_once(
    mut session: Session<'_>,
    job: &BackupJob<'_>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    started_ms: u64,
) -> Result<BackupReport, BackupError> {
    match store_vm(&mut session, job, options, monitor, started_ms) {
        Ok((draft, mut report)) => {
            let durable = session.flush()?;
            report.stored_bytes = durable.stored_bytes();
            let committed = session.commit(draft, durable, options.compression)?;
            Ok(BackupReport { number: committed.number, head: committed.head, ..report })
        }
        Err(error) => Err(keep_finished_packs(session, error)),
    }
}

/// A dry run: the same walk by the same code over a store that takes no writes. The report says what a backup would store.
pub fn rehearse_backup(
    mut writer: Writer,
    job: &BackupJob<'_>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<BackupReport, BackupError> {
    check_job(job)?;
    let number = next_number(&writer, job);
    let started_ms = writer.environment().clock.now_ms();
    let mut session = Session::rehearse(&mut writer)?;
    let (_, report) = store_vm(&mut session, job, options, monitor, started_ms)?;
    let stored_bytes = session.flush()?.stored_bytes();
    Ok(BackupReport { number, stored_bytes, ..report })
}

/// The number that the new point will have in its VM's chain.
fn next_number(writer: &Writer, job: &BackupJob<'_>) -> u64 {
    writer.state().newest_of(&job.identity).map_or(1, |newest| newest.number.saturating_add(1))
}

/// Stores disks, VM home and the point's record; nothing of it exists before the commit.
fn store_vm(
    session: &mut Session<'_>,
    job: &BackupJob<'_>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    started_ms: u64,
) -> Result<(PointDraft, BackupReport), BackupError> {
    let base = job.changes.as_ref().map(|changes| Base::pin(session, job, changes)).transpose()?;
    let mut metadata = session.frame_writer(Class::Metadata, options.compression)?;
    let number = next_number(session.writer(), job);
    let plan = |disk| DiskPlan::of(session, job, disk, base.as_ref(), number);
    let plans = job.disks.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    let total_bytes = plans.iter().map(DiskPlan::bytes).sum();
    monitor.event(&Event::Phase { name: "backup", total_bytes });
    let mut disks = Vec::new();
    for (disk, plan) in job.disks.iter().zip(plans) {
        let data_bytes = Some(plan.bytes());
        monitor.event(&Event::DiskStarted {
            vm: &job.vm_name,
            disk: &disk.name,
            bytes: disk.source.bytes(),
            data_bytes,
        });
        let read = store_one_disk(session, job, disk, plan, options, monitor, &mut metadata)?;
        monitor.event(&Event::DiskFinished {
            vm: &job.vm_name,
            disk: &disk.name,
            read_bytes: read.stored.read_bytes,
            stored_bytes: read.stored.written.stored_bytes,
        });
        disks.push((disk, read));
    }
    let captured = job.home.as_ref().map(|home| home.home()).transpose()?;
    let home = captured.map(|home| store_home(session, home, &mut metadata)).transpose()?;
    let bad = disks.iter().any(|(_, read)| read.stored.bad_bytes > 0);
    let home_lacks_a_part = captured.is_some_and(CapturedHome::is_incomplete);
    let completeness = if bad || home_lacks_a_part { Completeness::Incomplete } else { Completeness::Whole };
    let environment = session.writer().environment();
    let recorded = job.recorded.clone().unwrap_or_else(|| Recorded {
        started_ms,
        finished_ms: environment.clock.now_ms(),
        host: Some(environment.host.clone()),
        program_version: Some(environment.program.clone()),
        completeness,
    });
    let completeness = recorded.completeness;
    let point = RestorePoint {
        vm: job.identity.clone(),
        program_version: recorded.program_version,
        vm_name: job.vm_name.clone(),
        tag: job.tag.clone(),
        disks: disks.iter().map(|(disk, read)| disk_record(disk, read)).collect(),
        host: recorded.host,
        vm_home: home.as_ref().map(|(id, _)| *id),
        started_ms: recorded.started_ms,
        finished_ms: recorded.finished_ms,
        consistency: job.consistency,
        completeness,
    };
    let (id, _) = metadata.store_metadata(&point.encode())?;
    metadata.flush()?;
    drop(metadata);
    let report = BackupReport {
        point: id,
        number: 0,
        vm_name: job.vm_name.clone(),
        head: session.writer().head(),
        disks: disks.into_iter().map(|(disk, read)| disk_report(disk, read)).collect(),
        completeness,
        verdict: judge(&point, home.as_ref().map(|(_, home)| home)),
        stored_bytes: 0,
        adopted_packs: session.adopted_packs(),
    };
    let draft = PointDraft {
        identity: job.identity.clone(),
        vm_name: job.vm_name.clone(),
        point: id,
        completeness,
        hold: job.hold.clone(),
    };
    Ok((draft, report))
}

fn check_job(job: &BackupJob<'_>) -> Result<(), BackupError> {
    if job.disks.is_empty() {
        return Err(BackupError::Job(format!("{}: no disk to back up", job.vm_name)));
    }
    let mut names: Vec<&str> = job.disks.iter().map(|disk| disk.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find_map(|pair| pair.first().filter(|first| pair.last() == Some(first))) {
        Some(twice) => Err(BackupError::Job(format!("{}: two disks are called {twice}", job.vm_name))),
        None => Ok(()),
    }
}

/// After a failure: finished packs stay, and the next run adopts them. The first error is the one to report.
fn keep_finished_packs(session: Session<'_>, error: BackupError) -> BackupError {
    match (session.abandon(), error) {
        // "The pack writer has stopped" only says that something else happened: the sink knows what.
        (Err(cause), BackupError::Disk { source: StoreDiskError::Write(WriteError::Sink(SinkError::Stopped)), .. })
        | (Err(cause), BackupError::Session(SessionError::Write(WriteError::Sink(SinkError::Stopped)))) => cause.into(),
        (_, error) => error,
    }
}

fn disk_record(disk: &JobDisk<'_>, read: &ReadDisk) -> DiskRecord {
    let stored = &read.stored;
    DiskRecord {
        name: disk.name.clone(),
        uuid: disk.uuid.clone(),
        bytes: disk.source.bytes(),
        data_bytes: Some(stored.data_bytes),
        map_root: stored.root,
        bad_bytes: stored.bad_bytes,
        read_bytes: Some(stored.read_bytes),
        novel_bytes: Some(stored.written.novel_bytes),
        stored_bytes: Some(stored.written.stored_bytes),
        changed_bytes: Some(stored.changed_bytes),
        change_id: disk.change_id.clone(),
        base: read.base(),
        audit: read.audit_record(),
    }
}

fn disk_report(disk: &JobDisk<'_>, read: ReadDisk) -> DiskReport {
    let ReadDisk { stored, how, audit } = read;
    DiskReport {
        name: disk.name.clone(),
        bytes: disk.source.bytes(),
        data_bytes: stored.data_bytes,
        hole_bytes: stored.hole_bytes,
        bad_bytes: stored.bad_bytes,
        read_bytes: stored.read_bytes,
        changed_bytes: stored.changed_bytes,
        novel_bytes: stored.written.novel_bytes,
        stored_bytes: stored.written.stored_bytes,
        map_root: stored.root,
        how,
        audit,
    }
}
