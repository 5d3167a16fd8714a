//! A disk of a restore point as the source of a backup.

use std::ops::Range;

use repo_format::{DiskRecord, FormatError};

use crate::{
    map_walk::{Found, MapWalk, Visitor},
    read_error::ReadError,
    source::{DiskSource, SourceError},
    stored_disk::{FrameCache, Place, Segments, What},
};

/// Reads a disk of one repository for a backup into another.
pub(crate) struct StoredDiskSource<'r> {
    bytes: u64,
    segments: Segments<'r>,
    cache: &'r FrameCache<'r>,
    allocated: Vec<Range<u64>>,
}

impl<'r> StoredDiskSource<'r> {
    /// Opens the map of `disk`, all of which must be there.
    pub(crate) fn open(cache: &'r FrameCache<'r>, disk: &DiskRecord) -> Result<Self, ReadError> {
        let walk = MapWalk::open(cache.reader(), disk.map_root)?;
        if walk.root().disk_bytes != disk.bytes {
            let wanted = format!("{} by the restore point", disk.bytes);
            return Err(ReadError::Context(FormatError::damaged(
                "disk map",
                "disk bytes",
                walk.root().disk_bytes,
                wanted,
            )));
        }
        let mut allocated = Allocated { walk: &walk, ranges: Vec::new() };
        walk.for_each_segment(0..walk.segment_count(), &mut allocated)?;
        let allocated = allocated.ranges;
        Ok(Self { bytes: disk.bytes, segments: Segments::new(cache.reader(), walk), cache, allocated })
    }

    fn read_place(&self, place: &Place, wanted: &Range<u64>, into: &mut [u8]) -> Result<(), SourceError> {
        let offset = wanted.start;
        let stored = |what: String, kind| SourceError::Stored { offset, what, kind };
        match &place.what {
            What::Hole => into.fill(0),
            // It becomes what it was: a stretch that could not be read.
            What::Bad => {
                let source = std::io::Error::other("it could not be read when it was backed up");
                return Err(SourceError::Read { offset, source });
            }
            What::Lost { id, why } => {
                return Err(stored(format!("segment map {id}: {why}"), crate::error::Kind::Damaged));
            }
            What::Chunk { id, location } => {
                let chunk = self.cache.chunk(id, *location);
                let (frame, chunk) =
                    chunk.map_err(|fault| stored(format!("chunk {id}: {}", fault.what), fault.kind))?;
                let inside = |at: u64| usize::try_from(at - place.range.start).unwrap_or(usize::MAX);
                let range = chunk.start + inside(wanted.start)..chunk.start.saturating_add(inside(wanted.end));
                let bytes = (*frame).as_ref().get(range).filter(|bytes| bytes.len() == into.len());
                let short = || stored(format!("chunk {id} is shorter than the map says"), crate::error::Kind::Damaged);
                into.copy_from_slice(bytes.ok_or_else(short)?);
            }
        }
        Ok(())
    }
}

impl DiskSource for StoredDiskSource<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError> {
        Ok(self.allocated.clone())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let range = offset..offset.saturating_add(into.len() as u64);
        let mut rest = into;
        for index in self.segments.touched(&range) {
            let places = self.segments.segment(index).map_err(|error| SourceError::Stored {
                offset,
                what: format!("the map of segment {index}: {error}"),
                kind: error.kind(),
            })?;
            let first = places.partition_point(|place| place.range.end <= range.start);
            for place in places.iter().skip(first).take_while(|place| place.range.start < range.end) {
                let wanted = place.range.start.max(range.start)..place.range.end.min(range.end);
                let length = usize::try_from(wanted.end - wanted.start).unwrap_or(usize::MAX);
                let Some((piece, after)) = std::mem::take(&mut rest).split_at_mut_checked(length) else {
                    return Err(SourceError::Shrunk { offset });
                };
                rest = after;
                self.read_place(place, &wanted, piece)?;
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(SourceError::Shrunk { offset }) }
    }
}

/// Gathers what is no hole.
struct Allocated<'w, 'r> {
    walk: &'w MapWalk<'r>,
    ranges: Vec<Range<u64>>,
}

impl Allocated<'_, '_> {
    fn add(&mut self, range: Range<u64>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

impl Visitor for Allocated<'_, '_> {
    type Error = ReadError;

    fn segments(&mut self, segments: Range<u64>, found: Found) -> Result<(), ReadError> {
        match found {
            Found::Hole => Ok(()),
            Found::Unreadable { error, .. } => Err(error),
            Found::Map { map, .. } => {
                let mut at = self.walk.bytes_of(&segments).start;
                for extent in map.extents() {
                    let range = at..at + u64::from(extent.length());
                    at = range.end;
                    if !matches!(extent, repo_format::Extent::Hole { .. }) {
                        self.add(range);
                    }
                }
                Ok(())
            }
        }
    }
}
