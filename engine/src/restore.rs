//! Brings disks of a restore point back: their maps say which chunks belong where, the chunks come in the order of the
//! packs, and each is hashed again before it is written.
//!
//! **Invariant:** no wrong byte is written. What cannot be read is named, never zero-filled, and a file that lacks
//! something never gets its name.

mod base;
mod home;
pub(crate) mod plan;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, atomic::AtomicU64},
};

use repo_format::{ChunkId, DiskRecord, Extent, FormatError, MetadataKind, RestorePoint};

use crate::{
    byte_ranges,
    error::Kind,
    map_walk::{Found, MapWalk, Visitor},
    monitor::{Event, Monitor, Step},
    problem::{Costs, Part, Problem, is_loss},
    read_error::ReadError,
    repository::Reader,
    target::{Start, Target, TargetError},
};

pub use base::RestoreBase;
use base::{segments_of, wanted_ranges};
pub use home::{RestoreHomeError, RestoredHome, RestoredHomeParts, restore_home, restore_home_parts};
pub(crate) use home::{read_home, read_stream};
use plan::{Want, Window};
use writer::{Destination, Reasons, Writer};

/// What to bring back, and where to.
pub struct RestoreJob {
    /// The restore point.
    pub point: ChunkId,
    /// Disks of it by name, and where each goes.
    pub disks: Vec<(String, Arc<dyn Target>)>,
    /// What the targets hold already, as far as somebody knows; `None`: they are read and compared.
    pub base: Option<RestoreBase>,
}

/// How to bring it back.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Threads that read, open and write.
    pub threads: usize,
    /// What to do with stretches that could not be read when they were backed up.
    pub bad_extents: BadExtents,
}

/// What to do with stretches that could not be read when they were backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadExtents {
    /// Refuse a disk that has any.
    Refuse,
    /// They become zeros, and the report lists them.
    AcceptAsZeros,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The restore point.
    pub point: ChunkId,
    /// Its disks, in the order of the job.
    pub disks: Vec<RestoredDisk>,
    /// What could not be read; empty: every byte is there.
    pub problems: Vec<Problem>,
}

/// What came back of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredDisk {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes of chunks written.
    pub written_bytes: u64,
    /// Bytes that an earlier run had written and that were right.
    pub skipped_bytes: u64,
    /// Bytes that are zero.
    pub hole_bytes: u64,
    /// Bytes of a target in place that were something else and are zeros now.
    pub zeroed_bytes: u64,
    /// Bytes that were not looked at: the base has them, too.
    pub shared_bytes: u64,
    /// Stretches that could not be read when they were backed up; zeros now.
    pub bad: Vec<Range<u64>>,
    /// Stretches that could not be read now; the target is not named.
    pub lost: Vec<Range<u64>>,
    /// Bytes of the target beyond the disk, left as they were.
    pub tail_bytes: u64,
}

impl RestoredDisk {
    /// Whether every byte is there as it was backed up.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }
}

/// Why a restore did not happen or was not finished.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The record of the restore point cannot be read.
    #[error("restore point {point}: {source}")]
    Point {
        /// The point.
        point: ChunkId,
        /// Why.
        source: ReadError,
    },
    /// The point has no such disk, or it is named twice.
    #[error("restore point {point} has no such disk, or it was named twice: {disk:?}; it has {}", there.join(", "))]
    Disk {
        /// The point.
        point: ChunkId,
        /// What was asked for.
        disk: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Stretches that could not be read when they were backed up, and nobody accepted that.
    #[error("{disk} has {bytes} bytes that could not be read when it was backed up")]
    BadExtents {
        /// The disk.
        disk: String,
        /// How much.
        bytes: u64,
    },
    /// Less room than the disks' data needs.
    #[error("{free_bytes} bytes are free where {wanted_bytes} are needed")]
    NoRoom {
        /// What is free.
        free_bytes: u64,
        /// What is needed.
        wanted_bytes: u64,
    },
    /// The target does not take the disk.
    #[error("{disk}: {source}")]
    Target {
        /// The disk.
        disk: String,
        /// Why.
        source: TargetError,
    },
    /// The repository cannot be read right now.
    #[error(transparent)]
    Read {
        /// Why.
        #[from]
        source: ReadError,
    },
    /// Somebody asked to stop; the same restore continues it.
    #[error("interrupted; the same restore continues it")]
    Interrupted,
}

impl RestoreError {
    /// How to react. [`Self::BadExtents`] is a refusal: nothing was written.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Point { source, .. } | Self::Read { source } => source.kind(),
            Self::Disk { .. } | Self::BadExtents { .. } => Kind::Invalid,
            Self::NoRoom { .. } => Kind::Unavailable,
            Self::Target { source, .. } => source.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// The record of restore point `id`.
pub(crate) fn read_point(reader: &Reader, id: ChunkId) -> Result<RestorePoint, ReadError> {
    let chunk = reader.metadata(id, MetadataKind::RestorePoint)?;
    RestorePoint::decode(&chunk).map_err(|source| ReadError::Chunk { id, source })
}

/// Brings the disks of `job` back.
pub fn restore(
    reader: &Reader,
    job: &RestoreJob,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<RestoreReport, RestoreError> {
    let point = job.point;
    let record = read_point(reader, point).map_err(|source| RestoreError::Point { point, source })?;
    let records = chosen_disks(job, &record)?;
    refuse_bad_extents(&records, options)?;
    let walks = records.iter().map(|disk| open_map(reader, disk)).collect::<Result<Vec<_>, _>>()?;
    check_room(job, &records)?;
    let starts = start_targets(job, &walks)?;

    let wanted = wanted_ranges(reader, job, &records, monitor)?;
    let disk_bytes = |(disk, wanted): (&&DiskRecord, &Option<Vec<Range<u64>>>)| match wanted {
        Some(ranges) => ranges.iter().map(byte_ranges::length).sum(),
        None => disk.data_bytes.unwrap_or(disk.bytes),
    };
    let total_bytes = records.iter().zip(&wanted).map(disk_bytes).sum::<u64>();
    monitor.event(&Event::Phase { name: "restore", total_bytes });
    let destinations = destinations(job, &starts);
    let counts = records.iter().map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
    let (reasons, threads) = (Reasons::default(), options.threads.max(1));
    let writer = Writer { reader, destinations: &destinations, threads, monitor, reasons, lost: Vec::new(), counts };
    let mut gather =
        Gather { writer, window: Window::default(), disks: Vec::new(), accepted: options.bad_extents, monitor };
    for (((record, walk), start), wanted) in records.iter().zip(&walks).zip(&starts).zip(wanted) {
        gather.disk(record, walk, *start, wanted)?;
    }
    gather.write_window()?;
    finish(job, &record, gather)
}

/// The records of the disks that the job names.
fn chosen_disks<'p>(job: &RestoreJob, record: &'p RestorePoint) -> Result<Vec<&'p DiskRecord>, RestoreError> {
    let mut seen = BTreeSet::new();
    let choose = |(name, _): &(String, Arc<dyn Target>)| {
        let found = record.disks.iter().find(|disk| disk.name == *name);
        found.filter(|_| seen.insert(name.clone())).ok_or_else(|| RestoreError::Disk {
            point: job.point,
            disk: name.clone(),
            there: record.disks.iter().map(|disk| disk.name.clone()).collect(),
        })
    };
    job.disks.iter().map(choose).collect()
}

fn refuse_bad_extents(records: &[&DiskRecord], options: &RestoreOptions) -> Result<(), RestoreError> {
    match records.iter().find(|disk| disk.bad_bytes > 0) {
        Some(disk) if options.bad_extents == BadExtents::Refuse => {
            Err(RestoreError::BadExtents { disk: disk.name.clone(), bytes: disk.bad_bytes })
        }
        _ => Ok(()),
    }
}

type Opened<'r> = Result<MapWalk<'r>, ReadError>;

/// The map of a disk, or why the whole disk is lost.
fn open_map<'r>(reader: &'r Reader, disk: &DiskRecord) -> Result<Opened<'r>, RestoreError> {
    match MapWalk::open(reader, disk.map_root) {
        Ok(walk) if walk.root().disk_bytes != disk.bytes => {
            let source = FormatError::damaged("restore point", "disk bytes", disk.bytes, walk.root().disk_bytes);
            Ok(Err(ReadError::Chunk { id: disk.map_root, source }))
        }
        Ok(walk) => Ok(Ok(walk)),
        Err(error) if is_loss(error.kind()) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what cannot fit before anything is written; a file system that shrinks meanwhile is noticed by the writes.
fn check_room(job: &RestoreJob, records: &[&DiskRecord]) -> Result<(), RestoreError> {
    let mut wanted: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for ((name, target), record) in job.disks.iter().zip(records) {
        let room = target.room().map_err(|source| RestoreError::Target { disk: name.clone(), source })?;
        if let (Some(room), Some(data_bytes)) = (room, record.data_bytes) {
            let (free_bytes, wanted_bytes) = wanted.entry(room.file_system).or_insert((room.free_bytes, 0));
            *free_bytes = (*free_bytes).min(room.free_bytes);
            *wanted_bytes = wanted_bytes.saturating_add(data_bytes.saturating_sub(room.held_bytes));
        }
    }
    match wanted.into_values().find(|(free_bytes, wanted_bytes)| wanted_bytes > free_bytes) {
        Some((free_bytes, wanted_bytes)) => Err(RestoreError::NoRoom { free_bytes, wanted_bytes }),
        None => Ok(()),
    }
}

/// Makes each target ready; one whose disk is lost as a whole is not touched.
fn start_targets(job: &RestoreJob, walks: &[Opened<'_>]) -> Result<Vec<Option<Start>>, RestoreError> {
    let start = |((name, target), walk): (&(String, Arc<dyn Target>), &Opened<'_>)| {
        let Ok(walk) = walk else { return Ok(None) };
        let start = target.set_len(walk.root().disk_bytes);
        start.map(Some).map_err(|source| RestoreError::Target { disk: name.clone(), source })
    };
    job.disks.iter().zip(walks).map(start).collect()
}

fn destinations<'j>(job: &'j RestoreJob, starts: &[Option<Start>]) -> Vec<Destination<'j>> {
    let disks = job.disks.iter().zip(starts);
    disks
        .map(|((name, target), start)| Destination {
            name,
            target: target.as_ref(),
            resumed: matches!(start, Some(Start::Resumed | Start::InPlace { .. })),
        })
        .collect()
}

/// Walks the maps and fills windows with what is wanted.
struct Gather<'j> {
    writer: Writer<'j>,
    window: Window,
    disks: Vec<RestoredDisk>,
    accepted: BadExtents,
    monitor: &'j dyn Monitor,
}

impl Gather<'_> {
    fn disk(
        &mut self,
        record: &DiskRecord,
        walk: &Opened<'_>,
        start: Option<Start>,
        wanted: Option<Vec<Range<u64>>>,
    ) -> Result<(), RestoreError> {
        let tail_bytes = match start {
            Some(Start::Foreign { tail_bytes } | Start::InPlace { tail_bytes }) => tail_bytes,
            _ => 0,
        };
        if tail_bytes > 0 {
            let message = format!(
                "{}: the target is {tail_bytes} bytes longer than the disk; they stay as they are",
                record.name
            );
            self.monitor.event(&Event::Warning { code: "target_longer", message });
        }
        let disk = u32::try_from(self.disks.len()).unwrap_or(u32::MAX);
        self.disks.push(RestoredDisk {
            name: record.name.clone(),
            bytes: record.bytes,
            written_bytes: 0,
            skipped_bytes: 0,
            hole_bytes: 0,
            zeroed_bytes: 0,
            shared_bytes: 0,
            bad: Vec::new(),
            lost: Vec::new(),
            tail_bytes,
        });
        match walk {
            Err(error) => self.lose(disk, 0..record.bytes, error),
            Ok(walk) => {
                let zeros_are = match start {
                    Some(Start::Zeros) => Zeros::There,
                    Some(Start::InPlace { .. }) => Zeros::LookedFor,
                    _ => Zeros::Written,
                };
                let holes_advance = record.data_bytes.is_none() || wanted.is_some();
                let segments = segments_of(walk, wanted.as_deref());
                let (zeros, looked_at) = (0..0, 0);
                let mut visitor =
                    DiskVisitor { gather: self, walk, disk, zeros_are, holes_advance, zeros, wanted, looked_at };
                for segments in segments {
                    walk.for_each_segment(segments, &mut visitor)?;
                }
                visitor.flush_zeros()?;
                let shared_bytes = record.bytes.saturating_sub(visitor.looked_at);
                if let Some(report) = self.report_of(disk) {
                    report.shared_bytes = shared_bytes;
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, disk: u32, range: Range<u64>, error: &dyn std::fmt::Display) {
        let reason = self.writer.reasons.number("disk map".to_owned(), error.to_string());
        self.writer.lost.push(writer::Lost { disk, range, reason });
    }

    fn write_window(&mut self) -> Result<(), RestoreError> {
        self.writer.write(&mut self.window)
    }

    fn report_of(&mut self, disk: u32) -> Option<&mut RestoredDisk> {
        self.disks.get_mut(usize::try_from(disk).ok()?)
    }
}

/// What has to be done so that a range reads as zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    /// Nothing.
    There,
    /// What holds something else becomes zeros.
    LookedFor,
    /// All of it becomes zeros.
    Written,
}

struct DiskVisitor<'g, 'j, 'w> {
    gather: &'g mut Gather<'j>,
    walk: &'w MapWalk<'w>,
    disk: u32,
    zeros_are: Zeros,
    holes_advance: bool,
    /// Zeros not written yet: neighbouring holes become one call.
    zeros: Range<u64>,
    /// What is to be looked at; `None` is everything.
    wanted: Option<Vec<Range<u64>>>,
    /// Bytes of the extents that were.
    looked_at: u64,
}

impl DiskVisitor<'_, '_, '_> {
    fn hole(&mut self, range: Range<u64>) -> Result<(), RestoreError> {
        let bytes = byte_ranges::length(&range);
        if let Some(report) = self.gather.report_of(self.disk) {
            report.hole_bytes += bytes;
        }
        if self.holes_advance {
            self.gather.monitor.advance(Step { done_bytes: bytes, new_bytes: 0 });
        }
        self.zero(range)
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), RestoreError> {
        if self.zeros_are == Zeros::There {
            return Ok(());
        }
        if self.zeros.end != range.start {
            self.flush_zeros()?;
            self.zeros.start = range.start;
        }
        self.zeros.end = range.end;
        Ok(())
    }

    fn flush_zeros(&mut self) -> Result<(), RestoreError> {
        let range = std::mem::replace(&mut self.zeros, 0..0);
        if range.is_empty() {
            return Ok(());
        }
        let destination = usize::try_from(self.disk).ok().and_then(|disk| self.gather.writer.destinations.get(disk));
        let Some(destination) = destination else { return Ok(()) };
        let wrong = |source| RestoreError::Target { disk: destination.name.to_owned(), source };
        if self.zeros_are == Zeros::Written {
            return destination.target.zero_at(range).map_err(wrong);
        }
        let mut zeroed_bytes = 0;
        for data in destination.target.holds_data(&range).map_err(wrong)? {
            zeroed_bytes += byte_ranges::length(&data);
            destination.target.zero_at(data).map_err(wrong)?;
        }
        if let Some(report) = self.gather.report_of(self.disk) {
            report.zeroed_bytes += zeroed_bytes;
        }
        Ok(())
    }

    /// The parts of an extent that are to be looked at: a chunk is one whole, a hole is not.
    fn wanted_of(&self, range: Range<u64>, extent: &Extent) -> Vec<Range<u64>> {
        let Some(wanted) = &self.wanted else { return vec![range] };
        let first = wanted.partition_point(|wanted| wanted.end <= range.start);
        let touching = wanted.iter().skip(first).take_while(|wanted| wanted.start < range.end);
        let parts: Vec<Range<u64>> =
            touching.map(|wanted| wanted.start.max(range.start)..wanted.end.min(range.end)).collect();
        match extent {
            Extent::Hole { .. } => parts,
            _ if parts.is_empty() => parts,
            _ => vec![range],
        }
    }

    fn part(&mut self, range: Range<u64>, extent: &Extent) -> Result<(), RestoreError> {
        for part in self.wanted_of(range, extent) {
            self.looked_at += byte_ranges::length(&part);
            self.extent(part, extent)?;
        }
        Ok(())
    }

    fn extent(&mut self, range: Range<u64>, extent: &Extent) -> Result<(), RestoreError> {
        match extent {
            Extent::Hole { .. } => self.hole(range)?,
            Extent::Bad { .. } if self.gather.accepted == BadExtents::AcceptAsZeros => {
                if let Some(report) = self.gather.report_of(self.disk) {
                    byte_ranges::push(&mut report.bad, range.clone());
                }
                self.zero(range)?;
            }
            // The record said that there are none.
            Extent::Bad { .. } => {
                self.gather.lose(self.disk, range, &"bad extents that the restore point does not mention")
            }
            Extent::Data(chunk) => {
                let (id, length) = (chunk.id, chunk.length);
                self.gather.window.push(Want { id, offset: range.start, length, disk: self.disk });
                if self.gather.window.is_full() {
                    self.gather.write_window()?;
                }
            }
        }
        Ok(())
    }
}

impl Visitor for DiskVisitor<'_, '_, '_> {
    type Error = RestoreError;

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), RestoreError> {
        if self.gather.monitor.interrupted() {
            return Err(RestoreError::Interrupted);
        }
        let bytes = self.walk.bytes_of(&segments);
        match found {
            Found::Hole => self.part(bytes, &Extent::Hole { length: 0 })?,
            Found::Unreadable { error, .. } => self.gather.lose(self.disk, bytes, &error),
            Found::Map { map, .. } => {
                let mut offset = bytes.start;
                for extent in map.extents() {
                    let range = offset..offset + u64::from(extent.length());
                    offset = range.end;
                    self.part(range, extent)?;
                }
            }
        }
        Ok(())
    }
}

/// Names what is whole, and says what is not.
fn finish(job: &RestoreJob, record: &RestorePoint, gather: Gather<'_>) -> Result<RestoreReport, RestoreError> {
    let Gather { writer, mut disks, .. } = gather;
    for ((written, right), disk) in writer.counts.into_iter().zip(&mut disks) {
        (disk.written_bytes, disk.skipped_bytes) = (written.into_inner(), right.into_inner());
    }
    let mut costs: BTreeMap<usize, Costs> = BTreeMap::new();
    for lost in writer.lost {
        let Some(disk) = usize::try_from(lost.disk).ok().and_then(|disk| disks.get_mut(disk)) else { continue };
        let part = Part::Disk(disk.name.clone());
        costs.entry(lost.reason).or_default().add(job.point, &record.vm_name, part, Some(lost.range.clone()));
        disk.lost.push(lost.range);
    }
    for ((name, target), disk) in job.disks.iter().zip(&mut disks) {
        disk.lost = byte_ranges::coalesced(std::mem::take(&mut disk.lost));
        let wholly_lost = matches!(disk.lost.as_slice(), [only] if *only == (0..disk.bytes));
        let ended = match () {
            () if disk.is_whole() => target.finish(),
            () if wholly_lost => Ok(()),
            () => target.finish_with_losses(),
        };
        ended.map_err(|source| RestoreError::Target { disk: name.clone(), source })?;
    }
    let texts = writer.reasons.into_texts();
    let problem = |(reason, costs): (usize, Costs)| {
        let (object, what) = texts.get(&reason).cloned().unwrap_or_default();
        Problem { object, what, costs: costs.into_costs() }
    };
    let problems = costs.into_iter().map(problem).collect();
    Ok(RestoreReport { point: job.point, disks, problems })
}
