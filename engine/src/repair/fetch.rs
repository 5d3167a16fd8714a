//! Brings back what restore points have lost, from another repository that holds the same content.
//!
//! Chunk ids are made with a repository's own key, so nothing is asked for by id: the content is read there, cut and hashed
//! here. What bears the id that is missing is stored; anything else is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use repo_format::{
    ChunkId, Chunker, Class, DiskRecord, Extent, HashedChunk, MapGeometry, MetadataKind, PackOrdinal, RestorePoint,
};

use super::{RepairError, RepairMode, RepairOptions};
use crate::{
    captured_home::store_home,
    copy::{Captures, StoredDiskSource, captured_home},
    frame_writer::FrameWriter,
    listing::partner,
    map_walk::{Found, MapWalk, Visitor},
    monitor::Monitor,
    pipeline::{DiskJob, StoreDiskError, store_disk},
    problem::{Part, Problem, is_loss},
    read_error::ReadError,
    read_plan::ReadPlan,
    repository::{Reader, Writer},
    session::Session,
    source::DiskSource,
    stored_disk::FrameCache,
};

/// What one look has brought.
pub(super) struct Fetched {
    /// Parts of points whose content was all there.
    pub(super) parts: BTreeSet<(ChunkId, Part)>,
    /// Bytes of the packs written.
    pub(super) stored_bytes: u64,
}

/// What a point has lost: parts, and where on disks.
type Lost = BTreeMap<ChunkId, BTreeMap<Part, Vec<Range<u64>>>>;

/// Fetches what `problems` cost. `None`: they cost nothing, or nothing of it is there.
pub(super) fn fetch(
    writer: &mut Writer,
    other: &Reader,
    bad: &[PackOrdinal],
    problems: &[Problem],
    options: &RepairOptions,
    monitor: &dyn Monitor,
) -> Result<Option<Fetched>, RepairError> {
    let lost = lost(problems);
    if lost.is_empty() {
        return Ok(None);
    }
    let captures = Captures::of(other)?;
    let avoided: BTreeSet<PackOrdinal> = bad.iter().copied().collect();
    let mut session = match options.mode {
        RepairMode::Mend => Session::open_to_move(writer, &avoided)?,
        RepairMode::Plan => Session::rehearse_to_move(writer, &avoided)?,
    };
    let result = fetch_all(&mut session, other, &captures, &lost, options, monitor);
    let parts = match result {
        Ok(parts) if !parts.is_empty() => parts,
        end => {
            if options.mode == RepairMode::Mend {
                session.close_unused()?;
            }
            return end.map(|_| None);
        }
    };
    let durable = session.flush()?;
    let stored_bytes = durable.stored_bytes();
    if options.mode == RepairMode::Mend {
        session.commit_moved(bad, durable)?;
    }
    Ok(Some(Fetched { parts, stored_bytes }))
}

fn lost(problems: &[Problem]) -> Lost {
    let mut lost = Lost::new();
    for cost in problems.iter().flat_map(|problem| &problem.costs) {
        let ranges = lost.entry(cost.point).or_default().entry(cost.part.clone()).or_default();
        ranges.extend(cost.ranges.iter().cloned());
    }
    lost
}

/// The parts of which everything was there.
fn fetch_all(
    session: &mut Session<'_>,
    other: &Reader,
    captures: &Captures,
    lost: &Lost,
    options: &RepairOptions,
    monitor: &dyn Monitor,
) -> Result<BTreeSet<(ChunkId, Part)>, RepairError> {
    let cache = FrameCache::new(other, options.cache_bytes);
    let mut fetcher = Fetcher {
        data: session.frame_writer(Class::Data, options.compression)?,
        metadata: session.frame_writer(Class::Metadata, options.compression)?,
        session,
        cache: &cache,
        options,
        monitor,
    };
    let mut fetched = BTreeSet::new();
    for (point, parts) in lost {
        let Some((theirs, record)) = fetcher.find(captures, *point)? else { continue };
        for (part, ranges) in parts {
            if monitor.interrupted() {
                return Err(RepairError::Interrupted);
            }
            if fetcher.part(*point, part, ranges, theirs, record.as_ref())? {
                fetched.insert((*point, part.clone()));
            }
        }
    }
    fetcher.data.flush()?;
    fetcher.metadata.flush()?;
    Ok(fetched)
}

struct Fetcher<'f, 'w> {
    session: &'f mut Session<'w>,
    data: FrameWriter,
    metadata: FrameWriter,
    cache: &'f FrameCache<'f>,
    options: &'f RepairOptions,
    monitor: &'f dyn Monitor,
}

impl Fetcher<'_, '_> {
    /// The same point over there, and its record here, if that can be read.
    fn find(&self, captures: &Captures, point: ChunkId) -> Result<Option<(ChunkId, Option<RestorePoint>)>, ReadError> {
        let record = match self.session.writer().restore_point(point) {
            Ok(record) => Some(record),
            Err(error) if is_loss(error.kind()) => None,
            Err(error) => return Err(error),
        };
        let same = self.cache.reader().state().point(&point).filter(|point| point.is_live()).map(|point| point.id);
        let theirs = same.or_else(|| captures.find(record.as_ref()?));
        Ok(theirs.map(|theirs| (theirs, record)))
    }

    /// Whether all of one part came.
    fn part(
        &mut self,
        point: ChunkId,
        part: &Part,
        ranges: &[Range<u64>],
        theirs: ChunkId,
        record: Option<&RestorePoint>,
    ) -> Result<bool, RepairError> {
        let other = self.cache.reader();
        let fetched = match (part, record) {
            (Part::Point, Some(record)) => {
                // A client's cache had it.
                Ok(self.metadata.store_metadata(&record.encode())?.0 == point)
            }
            (Part::Point, None) if theirs == point => match other.metadata(point, MetadataKind::RestorePoint) {
                Ok(chunk) => Ok(self.metadata.store_metadata(&chunk)?.0 == point),
                Err(error) => Err(error),
            },
            (_, None) => Ok(false),
            (Part::Home, Some(record)) => match captured_home(other, theirs) {
                Ok(home) => {
                    let stored = store_home(self.session, &home, &mut self.metadata);
                    Ok(stored.is_ok_and(|(id, _)| Some(id) == record.vm_home))
                }
                Err(_) => Ok(false),
            },
            (Part::Disk(name), Some(record)) => match other.restore_point(theirs) {
                Ok(their_record) => return self.disk(name, ranges, record, &their_record),
                Err(error) => Err(error),
            },
        };
        match fetched {
            Ok(fetched) => Ok(fetched),
            Err(error) if is_loss(error.kind()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn disk(
        &mut self,
        name: &str,
        ranges: &[Range<u64>],
        ours: &RestorePoint,
        theirs: &RestorePoint,
    ) -> Result<bool, RepairError> {
        let Some(disk) = ours.disks.iter().find(|disk| disk.name == name) else { return Ok(false) };
        let Some(twin) = partner(&theirs.disks, disk).filter(|twin| twin.bytes == disk.bytes) else {
            return Ok(false);
        };
        let source = match StoredDiskSource::open(self.cache, twin) {
            Ok(source) => source,
            Err(error) if is_loss(error.kind()) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match self.chunks(disk, ranges, &source)? {
            Some(is_all) => Ok(is_all),
            // Where a map is lost, only the whole disk gives it back, since a map follows from the content alone.
            None => self.whole_disk(disk, &source),
        }
    }

    /// The chunks that our map has at `ranges`; `None` if a map there cannot be read.
    fn chunks(
        &mut self,
        disk: &DiskRecord,
        ranges: &[Range<u64>],
        source: &StoredDiskSource<'_>,
    ) -> Result<Option<bool>, RepairError> {
        let reader: &Reader = self.session.writer();
        let walk = match MapWalk::open(reader, disk.map_root) {
            Ok(walk) => walk,
            Err(error) if is_loss(error.kind()) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let segment_log2 = walk.root().segment_log2;
        let mut chunks = LostChunks {
            walk: &walk,
            ranges,
            source,
            frames: &mut self.data,
            buffer: Vec::new(),
            is_all: true,
            is_map_lost: false,
        };
        for range in ranges {
            let last = range.end.saturating_sub(1) >> segment_log2;
            walk.for_each_segment(range.start >> segment_log2..last.saturating_add(1), &mut chunks)?;
        }
        Ok((!chunks.is_map_lost).then_some(chunks.is_all))
    }

    fn whole_disk(&mut self, disk: &DiskRecord, source: &StoredDiskSource<'_>) -> Result<bool, RepairError> {
        let config = self.session.writer().config().clone();
        let chunker = Chunker::new(&config.chunking, self.session.writer().keys());
        let job = DiskJob {
            source,
            geometry: MapGeometry::of(source.bytes(), config.segment_log2),
            chunker: &chunker,
            chunking: config.chunking,
            segment_log2: config.segment_log2,
            monitor: self.monitor,
        };
        let Ok(allocated) = source.allocated() else { return Ok(false) };
        let plan = ReadPlan::new(allocated, source.bytes(), u64::from(config.chunking.min_bytes()));
        let writer = |_| self.session.frame_writer(Class::Data, self.options.compression);
        let writers = (0..self.options.threads.max(1)).map(writer).collect::<Result<Vec<_>, _>>()?;
        match store_disk(&job, &plan, writers, &mut self.metadata) {
            Ok(stored) => Ok(stored.root == disk.map_root),
            Err(StoreDiskError::Source(error)) if is_loss(error.kind()) => Ok(false),
            Err(error) => Err(RepairError::Disk(error)),
        }
    }
}

/// Stores what of the lost ranges the other disk has.
struct LostChunks<'l> {
    walk: &'l MapWalk<'l>,
    ranges: &'l [Range<u64>],
    source: &'l StoredDiskSource<'l>,
    frames: &'l mut FrameWriter,
    buffer: Vec<u8>,
    is_all: bool,
    is_map_lost: bool,
}

impl LostChunks<'_> {
    fn is_lost(&self, range: &Range<u64>) -> bool {
        self.ranges.iter().any(|lost| lost.start < range.end && range.start < lost.end)
    }
}

impl Visitor for LostChunks<'_> {
    type Error = RepairError;

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), RepairError> {
        let mut at = self.walk.bytes_of(&segments).start;
        match found {
            Found::Hole => Ok(()),
            Found::Unreadable { error, .. } if is_loss(error.kind()) => {
                self.is_map_lost = true;
                Ok(())
            }
            Found::Unreadable { error, .. } => Err(error.into()),
            Found::Map { map, .. } => {
                for extent in map.extents() {
                    let range = at..at + u64::from(extent.length());
                    at = range.end;
                    let Extent::Data(chunk) = extent else { continue };
                    if !self.is_lost(&range) {
                        continue;
                    }
                    self.buffer.resize(usize::try_from(chunk.length).unwrap_or_default(), 0);
                    let is_there = self.source.read_at(range.start, &mut self.buffer).is_ok();
                    let hashed = HashedChunk::of_data(&self.buffer, self.frames.keys());
                    match is_there && hashed.id() == chunk.id {
                        true => drop(self.frames.store(hashed)?),
                        false => self.is_all = false,
                    }
                }
                Ok(())
            }
        }
    }
}
