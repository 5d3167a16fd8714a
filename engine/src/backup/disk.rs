//! One disk of a backup: by its changed areas if they and the parent's map can be had, whole otherwise.

use std::ops::Range;

use repo_format::{AuditRecord, ChunkId, Chunker, Class, Config, DiskRecord, MapGeometry};

use super::{
    BackupError, BackupJob, BackupOptions, JobDisk, OnBad,
    base::{Base, Changes, FullRead, touched_segments},
};
use crate::{
    changed_areas::ChangedAreas,
    frame_writer::{FrameWriter, Written},
    map_edit::MapEdit,
    map_walk::MapWalk,
    monitor::Monitor,
    pipeline::{Audited, DiskJob, StoreDiskError, StoredChanges, StoredDisk, Touched, store_changes, store_disk},
    problem::is_loss,
    read_error::ReadError,
    read_plan::ReadPlan,
    session::Session,
};

/// How a disk was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HowRead {
    /// All that is allocated.
    Whole {
        /// Why, if changed areas were given.
        reason: Option<FullRead>,
    },
    /// What has changed since the parent.
    ChangedAreas {
        /// The parent.
        parent: ChunkId,
        /// How many areas were given.
        areas: u64,
        /// Bytes in them.
        area_bytes: u64,
    },
}

/// What the audit of the changed areas of a disk has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// One segment in so many was due; 0: none.
    pub one_in: u64,
    /// Segments read and compared.
    pub segments: u64,
    /// Bytes read for that.
    pub read_bytes: u64,
    /// Segments that had changed outside of the changed areas.
    pub missed_segments: u64,
    /// Where chunks differ there, ascending.
    pub misses: Vec<Range<u64>>,
}

/// How a disk is going to be read.
pub(super) enum DiskPlan<'p> {
    Whole { plan: ReadPlan, reason: Option<FullRead> },
    Changes { changes: &'p Changes, areas: &'p ChangedAreas, before: &'p DiskRecord, touched: Vec<Touched>, bytes: u64 },
}

/// A stored disk and how it was read.
pub(super) struct ReadDisk {
    pub(super) stored: StoredDisk,
    pub(super) how: HowRead,
    pub(super) audit: Option<AuditReport>,
}

impl ReadDisk {
    /// What the restore point tells of the audit.
    pub(super) fn audit_record(&self) -> Option<AuditRecord> {
        let record = |audit: &AuditReport| AuditRecord {
            one_in: audit.one_in,
            segments: audit.segments,
            misses: audit.missed_segments,
        };
        self.audit.as_ref().filter(|audit| audit.one_in > 0).map(record)
    }

    /// The point whose map stands for what was not read.
    pub(super) fn base(&self) -> Option<ChunkId> {
        match self.how {
            HowRead::ChangedAreas { parent, .. } => Some(parent),
            HowRead::Whole { .. } => None,
        }
    }
}

impl<'p> DiskPlan<'p> {
    /// Decides how to read `disk`, for point number `number` of its VM.
    pub(super) fn of(
        session: &Session<'_>,
        job: &'p BackupJob<'_>,
        disk: &JobDisk<'_>,
        base: Option<&'p Base>,
        number: u64,
    ) -> Result<Self, BackupError> {
        let config = session.writer().config();
        if let Some(reason) = &disk.read_whole {
            let reason = Some(FullRead::Asked(reason.clone()));
            return Ok(Self::Whole { plan: whole_plan(config, job, disk)?, reason });
        }
        let (Some(changes), Some(base)) = (&job.changes, base) else {
            return Ok(Self::Whole { plan: whole_plan(config, job, disk)?, reason: None });
        };
        let areas = changes.areas.iter().find(|(name, _)| *name == disk.name).map(|(_, areas)| areas);
        let usable = areas.ok_or(FullRead::NoAreas).and_then(|areas| Ok((areas, base.of_disk(disk)?)));
        let (areas, before) = match usable {
            Ok(usable) => usable,
            Err(reason) => return Ok(Self::Whole { plan: whole_plan(config, job, disk)?, reason: Some(reason) }),
        };
        let order = session.writer().keys().audit_order(&job.identity, disk.uuid.as_ref().unwrap_or(&disk.name));
        let geometry = MapGeometry::of(disk.source.bytes(), config.segment_log2);
        let cells = areas.cells(u64::from(config.chunking.min_bytes()));
        let due = |index| changes.audit.is_due(&order, index, number);
        let touched = touched_segments(&cells, geometry.segments(), config.segment_log2, &due);
        let audited =
            touched.iter().filter(|touched| touched.audited).map(|touched| geometry.segment_bytes(touched.index));
        let bytes = cells.iter().map(|range| range.end - range.start).chain(audited).sum();
        Ok(Self::Changes { changes, areas, before, touched, bytes })
    }

    /// Bytes to read, as far as they are known.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Whole { plan, .. } => plan.bytes(),
            Self::Changes { bytes, .. } => *bytes,
        }
    }
}

/// Where data may lie on a disk: totals are exact from the beginning, and an unreadable disk fails before work is done.
fn whole_plan(config: &Config, job: &BackupJob<'_>, disk: &JobDisk<'_>) -> Result<ReadPlan, BackupError> {
    match disk.source.allocated() {
        Ok(allocated) => Ok(ReadPlan::new(allocated, disk.source.bytes(), u64::from(config.chunking.min_bytes()))),
        Err(source) => Err(failed(job, disk, source.into())),
    }
}

fn failed(job: &BackupJob<'_>, disk: &JobDisk<'_>, source: StoreDiskError) -> BackupError {
    BackupError::Disk { vm: job.vm_name.clone(), disk: disk.name.clone(), source }
}

/// What reading by changed areas has led to.
enum Outcome {
    Stored(StoredDisk, Audited),
    /// It is worth nothing: read the disk whole. What was read and written so far, and what the audit has found.
    FullRead {
        reason: FullRead,
        read_bytes: u64,
        written: Written,
        audited: Audited,
    },
}

/// Reads and stores `disk` as planned; if that turns out not to be possible, whole.
pub(super) fn store_one_disk(
    session: &mut Session<'_>,
    job: &BackupJob<'_>,
    disk: &JobDisk<'_>,
    plan: DiskPlan<'_>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    metadata: &mut FrameWriter,
) -> Result<ReadDisk, BackupError> {
    let config = session.writer().config().clone();
    let chunker = Chunker::new(&config.chunking, session.writer().keys());
    let disk_job = DiskJob {
        source: disk.source.as_ref(),
        geometry: MapGeometry::of(disk.source.bytes(), config.segment_log2),
        chunker: &chunker,
        chunking: config.chunking,
        segment_log2: config.segment_log2,
        monitor,
    };
    let read = match plan {
        DiskPlan::Whole { plan, reason } => {
            let stored = store_disk(&disk_job, &plan, data_writers(session, options)?, metadata);
            let stored = stored.map_err(|source| failed(job, disk, source))?;
            ReadDisk { stored, how: HowRead::Whole { reason }, audit: None }
        }
        DiskPlan::Changes { changes, areas, before, touched, .. } => {
            let writers = data_writers(session, options)?;
            let by_changes = store_by_changes(session, &disk_job, before, &touched, writers, metadata);
            match by_changes.map_err(|source| failed(job, disk, source))? {
                Outcome::Stored(stored, audited) => {
                    let (parent, count) = (changes.parent, areas.ranges().len() as u64);
                    let how = HowRead::ChangedAreas { parent, areas: count, area_bytes: areas.bytes() };
                    ReadDisk { stored, how, audit: Some(report(changes, audited)) }
                }
                Outcome::FullRead { reason, read_bytes, written, audited } => {
                    let plan = whole_plan(&config, job, disk)?;
                    let stored = store_disk(&disk_job, &plan, data_writers(session, options)?, metadata);
                    let mut stored = stored.map_err(|source| failed(job, disk, source))?;
                    stored.read_bytes += read_bytes;
                    stored.written += written;
                    let audit = Some(report(changes, audited)).filter(|audit| audit.segments > 0);
                    ReadDisk { stored, how: HowRead::Whole { reason: Some(reason) }, audit }
                }
            }
        }
    };
    if read.stored.bad_bytes > 0 && options.on_bad == OnBad::Fail {
        let (vm, disk) = (job.vm_name.clone(), disk.name.clone());
        return Err(BackupError::BadExtents { vm, disk, bad_bytes: read.stored.bad_bytes });
    }
    Ok(read)
}

fn data_writers(session: &mut Session<'_>, options: &BackupOptions) -> Result<Vec<FrameWriter>, BackupError> {
    let writer = |_| session.frame_writer(Class::Data, options.compression);
    Ok((0..options.threads.max(1)).map(writer).collect::<Result<Vec<_>, _>>()?)
}

fn report(changes: &Changes, audited: Audited) -> AuditReport {
    AuditReport {
        one_in: changes.audit.one_in(),
        segments: audited.segments,
        read_bytes: audited.read_bytes,
        missed_segments: audited.missed_segments,
        misses: audited.misses,
    }
}

fn store_by_changes(
    session: &Session<'_>,
    job: &DiskJob<'_>,
    before: &DiskRecord,
    touched: &[Touched],
    writers: Vec<FrameWriter>,
    metadata: &mut FrameWriter,
) -> Result<Outcome, StoreDiskError> {
    let stored = open_and_store(session, job, before, touched, writers, metadata);
    let full_read = |reason, stored: StoredChanges| {
        let StoredChanges { read_bytes, written, audited, .. } = stored;
        Ok(Outcome::FullRead { reason, read_bytes, written, audited })
    };
    let (root, stored) = match stored {
        Ok(stored) => stored,
        Err(StoreDiskError::Base(error)) if is_loss(error.kind()) => {
            return full_read(FullRead::UnreadableMap(error.to_string()), StoredChanges::default());
        }
        Err(error) => return Err(error),
    };
    let (missed, unreadable) = (stored.audited.missed_segments, stored.audited.unreadable_segments);
    if missed > 0 {
        return full_read(FullRead::AuditMiss { segments: missed }, stored);
    }
    if unreadable > 0 {
        return full_read(FullRead::AuditUnreadable { segments: unreadable }, stored);
    }
    let data_bytes = before.data_bytes.unwrap_or(0).saturating_sub(stored.data_bytes_before) + stored.data_bytes;
    let disk = StoredDisk {
        root,
        data_bytes,
        hole_bytes: before.bytes.saturating_sub(data_bytes).saturating_sub(stored.bad_bytes),
        bad_bytes: stored.bad_bytes,
        read_bytes: stored.read_bytes,
        changed_bytes: stored.changed_bytes,
        written: stored.written,
    };
    Ok(Outcome::Stored(disk, stored.audited))
}

/// New maps for the touched segments, and the disk's map with them in it.
fn open_and_store(
    session: &Session<'_>,
    job: &DiskJob<'_>,
    before: &DiskRecord,
    touched: &[Touched],
    writers: Vec<FrameWriter>,
    metadata: &mut FrameWriter,
) -> Result<(ChunkId, StoredChanges), StoreDiskError> {
    let walk = MapWalk::open(session.writer(), before.map_root).map_err(StoreDiskError::Base)?;
    let root = walk.root();
    if (root.disk_bytes, root.chunking, root.segment_log2) != (before.bytes, job.chunking, job.segment_log2) {
        let source = repo_format::FormatError::damaged(
            "map root",
            "disk bytes and chunk sizes",
            root.disk_bytes,
            format_args!("{}, and those of the repository", before.bytes),
        );
        return Err(StoreDiskError::Base(ReadError::Chunk { id: before.map_root, source }));
    }
    let segments = touched.iter().map(|touched| touched.index);
    let mut edit = MapEdit::open(&walk, segments).map_err(StoreDiskError::Base)?;
    let stored = store_changes(job, &edit, touched, writers, metadata)?;
    for (segment, map) in &stored.maps {
        edit.replace(*segment, *map);
    }
    let root = edit.finish(metadata)?;
    Ok((root, stored))
}
