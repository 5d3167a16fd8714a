//! A disk of a restore point, read at any offset: offset → segment → chunk → frame.

use std::{ops::Range, sync::Arc};

use repo_format::{ChunkId, DiskRecord};

use super::faults::Faults;
use crate::{
    error::Kind,
    map_walk::MapWalk,
    nbd::{
        Fault, Piece, Shared,
        wire::{Extent, block_status, error_code},
    },
    problem::is_loss,
    read_error::ReadError,
    stored_disk::{FrameCache, Place, Segments, What},
};

/// Segments that one status reply looks at.
const STATUS_SEGMENTS_MAX: u64 = 1024;
const EXTENT_BYTES_MAX: u64 = 1 << 31;

/// A disk of a restore point.
pub(super) struct PointDisk<'r> {
    name: String,
    bytes: u64,
    root: ChunkId,
    segments: Result<Segments<'r>, String>,
    cache: &'r FrameCache<'r>,
    faults: &'r Faults<'r>,
}

impl<'r> PointDisk<'r> {
    /// Opens the map of a disk. One whose root is lost is served all the same: every read of it fails.
    pub(super) fn open(
        record: &DiskRecord,
        cache: &'r FrameCache<'r>,
        faults: &'r Faults<'r>,
    ) -> Result<Self, ReadError> {
        let reader = cache.reader();
        let segments = match MapWalk::open(reader, record.map_root) {
            Ok(walk) if walk.root().disk_bytes != record.bytes => {
                Err("its map is of a disk of another size".to_owned())
            }
            Ok(walk) => Ok(Segments::new(reader, walk)),
            Err(error) if is_loss(error.kind()) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(Self { name: record.name.clone(), bytes: record.bytes, root: record.map_root, segments, cache, faults })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds pieces that together are `range`.
    pub(super) fn read(&self, range: Range<u64>, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        for index in self.segments(range.start)?.touched(&range) {
            let places = self.segment(index, range.start)?;
            for place in overlapping(&places, &range) {
                let wanted = place.range.start.max(range.start)..place.range.end.min(range.end);
                pieces.push(self.piece(place, &wanted)?);
            }
        }
        Ok(())
    }

    /// Opens the frames that `range` needs.
    pub(super) fn will_read(&self, range: &Range<u64>) {
        let Ok(segments) = &self.segments else { return };
        for index in segments.touched(range) {
            let Ok(places) = segments.segment(index) else { return };
            for place in overlapping(&places, range) {
                if let What::Chunk { location: Some(location), .. } = &place.what {
                    let _ = self.cache.frame(*location);
                }
            }
        }
    }

    /// Extents from the beginning of `range`.
    pub(super) fn status(&self, range: Range<u64>) -> Result<Vec<Extent>, Fault> {
        let mut extents: Vec<(u64, u32)> = Vec::new();
        let touched = self.segments(range.start)?.touched(&range);
        for index in touched.start..touched.end.min(touched.start + STATUS_SEGMENTS_MAX) {
            let places = self.segment(index, range.start)?;
            for place in overlapping(&places, &range) {
                let length = place.range.end.min(range.end) - place.range.start.max(range.start);
                let status = if matches!(place.what, What::Hole) { block_status::HOLE | block_status::ZERO } else { 0 };
                push(&mut extents, length, status);
            }
        }
        let extent = |(bytes, status)| Some(Extent { bytes: u32::try_from(bytes).ok()?, status });
        Ok(extents.into_iter().filter_map(extent).collect())
    }

    fn segments(&self, at: u64) -> Result<&Segments<'r>, Fault> {
        self.segments.as_ref().map_err(|why| {
            self.faults.note(&self.name, 0, &format!("disk map {}", self.root), why, Kind::Damaged);
            unreadable(at, "the disk's map")
        })
    }

    fn segment(&self, index: u64, at: u64) -> Result<Arc<Vec<Place>>, Fault> {
        self.segments(at)?.segment(index).map_err(|error| {
            self.faults.note(&self.name, at, &format!("the map of segment {index}"), &error.to_string(), error.kind());
            unreadable(at, "the segment's map")
        })
    }

    fn piece(&self, place: &Place, wanted: &Range<u64>) -> Result<Piece, Fault> {
        match &place.what {
            What::Hole => Ok(Piece::Zeros(wanted.end - wanted.start)),
            What::Bad => {
                let what = "it could not be read when it was backed up";
                self.faults.note(&self.name, place.range.start, "a bad extent", what, Kind::Failed);
                Err(unreadable(wanted.start, "a bad extent"))
            }
            What::Lost { id, why } => {
                let object = format!("segment map {id}");
                self.faults.note(&self.name, place.range.start, &object, why, Kind::Damaged);
                Err(unreadable(wanted.start, &object))
            }
            What::Chunk { id, location } => {
                let (frame, chunk) = self.cache.chunk(id, *location).map_err(|fault| {
                    let object = format!("chunk {id}");
                    self.faults.note(&self.name, place.range.start, &object, &fault.what, fault.kind);
                    unreadable(wanted.start, &object)
                })?;
                let inside = |at: u64| usize::try_from(at - place.range.start).unwrap_or(usize::MAX);
                let range = chunk.start + inside(wanted.start)..chunk.start.saturating_add(inside(wanted.end));
                if range.end > chunk.end {
                    let fault = "it is shorter than the map says";
                    self.faults.note(&self.name, place.range.start, &format!("chunk {id}"), fault, Kind::Damaged);
                    return Err(unreadable(wanted.start, "a chunk"));
                }
                Ok(Piece::Bytes(Shared::new(frame, range)))
            }
        }
    }
}

fn overlapping<'p>(places: &'p [Place], range: &Range<u64>) -> impl Iterator<Item = &'p Place> {
    let first = places.partition_point(|place| place.range.end <= range.start);
    let end = range.end;
    places.iter().skip(first).take_while(move |place| place.range.start < end)
}

fn unreadable(at: u64, what: &str) -> Fault {
    Fault { error: error_code::EIO, at, message: format!("{what} cannot be read") }
}

/// Adds an extent; one of the same status becomes longer, up to what the protocol can say.
pub(super) fn push(extents: &mut Vec<(u64, u32)>, length: u64, status: u32) {
    match extents.last_mut() {
        Some((before, same)) if *same == status && *before + length <= EXTENT_BYTES_MAX => *before += length,
        _ => extents.push((length, status)),
    }
}
