//! The map of one segment out of its map in the parent and what has changed: the map that a full read gives, for the price
//! of the changed cells and the chunks around them.
//!
//! ```text
//! parent   |  c1  |    c2    |  c3  |   c4   |  c5  | hole     |  c6  |
//! changed              ▒▒▒▒▒▒
//! read            |▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒|
//! new      |  c1  |  n1   |   n2    |  n3    |  c5  | hole     |  c6  |
//! ```
//!
//! **Invariant:** a chunk is kept only if nothing that its end hangs on has changed ([`Chunker::reach`]). Where a new cut,
//! behind all changes read so far, falls on an old one, everything behind it is cut as it was, up to the next change.

mod old_segment;

use std::ops::Range;

use repo_format::{Chunker, Chunking, Keyring, RunEnd, SegmentMap};

use crate::{
    run_cutter::{ChunkNamer, ChunkTaker, Cut, READ_BYTES, RunCutter},
    source::{DiskSource, SourceError},
};
use old_segment::OldSegment;

/// Why a segment could not be made of its parent.
#[derive(Debug)]
pub(crate) enum SpliceError<E> {
    /// The parent's map has bad extents: it does not say what was there. Read the segment whole.
    BadParent,
    /// A read failed. Read the segment whole: what is bad is found cell by cell.
    Source(SourceError),
    /// A chunk could not be taken.
    Taker(E),
}

/// What a splice has made.
pub(crate) struct Spliced {
    pub(crate) map: SegmentMap,
    pub(crate) read_bytes: u64,
}

/// One segment that has changed in part.
pub(crate) struct Splice<'s> {
    pub(crate) source: &'s dyn DiskSource,
    pub(crate) chunker: &'s Chunker,
    /// Where the segment lies.
    pub(crate) segment: Range<u64>,
    /// Its map in the parent.
    pub(crate) parent: &'s SegmentMap,
    /// What has changed of it: whole cells, ascending, not touching, inside the segment.
    pub(crate) changed: &'s [Range<u64>],
    /// Bytes of a cell.
    pub(crate) cell_bytes: u64,
}

impl Splice<'_> {
    /// Makes the segment's new map. The cutter is empty before and after.
    pub(crate) fn run<T: ChunkTaker>(
        &self,
        cutter: &mut RunCutter<'_>,
        taker: &mut T,
    ) -> Result<Spliced, SpliceError<T::Error>> {
        let old = OldSegment::new(self.parent, &self.segment, self.chunker).ok_or(SpliceError::BadParent)?;
        let mut walk = Walk { splice: self, old, cutter, taker, next_change: 0, read_bytes: 0 };
        let result = walk.all();
        let read_bytes = walk.read_bytes;
        let map = cutter.finish();
        result.map(|()| Spliced { map, read_bytes })
    }
}

struct Walk<'w, 'c, T> {
    splice: &'w Splice<'w>,
    old: OldSegment<'w>,
    cutter: &'w mut RunCutter<'c>,
    taker: &'w mut T,
    next_change: usize,
    read_bytes: u64,
}

impl<T: ChunkTaker> Walk<'_, '_, T> {
    fn all(&mut self) -> Result<(), SpliceError<T::Error>> {
        let mut settled = self.splice.segment.start;
        while let Some(change) = self.splice.changed.get(self.next_change) {
            let restart = self.old.restart(settled, change.start);
            self.keep(settled..restart);
            settled = self.cut_anew(restart)?;
        }
        self.keep(settled..self.splice.segment.end);
        Ok(())
    }

    fn keep(&mut self, range: Range<u64>) {
        for extent in self.old.inside(range) {
            self.cutter.keep(extent);
        }
    }

    /// Reads and cuts from `start`, over the next change and whatever changes follow, until the old cuts are met again.
    fn cut_anew(&mut self, start: u64) -> Result<u64, SpliceError<T::Error>> {
        let (end, mut at, mut changed_end) = (self.splice.segment.end, start, None);
        loop {
            let change = self.splice.changed.get(self.next_change).cloned();
            let next = change.as_ref().map_or(end, |change| change.start);
            if at >= end {
                self.end_run()?;
                return Ok(end);
            }
            if let Some(change) = change.filter(|change| change.start == at) {
                self.next_change += 1;
                changed_end = Some(change.end);
                self.take_changed(&change)?;
                at = change.end;
            } else if self.old.is_hole(at) {
                // Unchanged zeros end the run, and holes are where they were.
                self.end_run()?;
                return Ok(at);
            } else {
                let piece = at..self.old.next_end(at).min(next).min(at + READ_BYTES);
                self.read(&piece)?;
                self.cutter.take_data(&piece);
                at = piece.end;
            }
            if let Some(met) = self.cut_until_met(changed_end, at)? {
                return Ok(met);
            }
        }
    }

    /// Cuts what has been read, which ends at `at`. Says where the old cuts were met, behind the change that ends at
    /// `changed_end`.
    fn cut_until_met(&mut self, changed_end: Option<u64>, at: u64) -> Result<Option<u64>, SpliceError<T::Error>> {
        let next_change = self.splice.changed.get(self.next_change).map(|change| change.start);
        // Where the next change makes us begin again before `at`, the run goes on: nothing is read twice.
        let reads_twice =
            |old: &OldSegment<'_>, place: u64| next_change.is_some_and(|start| old.restart(place, start) < at);
        let meets = |old: &OldSegment<'_>, place: u64| {
            changed_end.is_some_and(|changed_end| place >= changed_end)
                && old.is_boundary(place)
                && !reads_twice(old, place)
        };
        while let Cut::At(place) = self.cutter.cut(RunEnd::Beyond, self.taker).map_err(SpliceError::Taker)? {
            if meets(&self.old, place) {
                self.cutter.drop_run();
                return Ok(Some(place));
            }
        }
        // Behind zeros, or behind a chunk that ended with the last byte read.
        Ok((self.cutter.is_between_runs() && meets(&self.old, at)).then_some(at))
    }

    /// Reads what has changed, as far as it is allocated: the rest is zeros now.
    fn take_changed(&mut self, change: &Range<u64>) -> Result<(), SpliceError<T::Error>> {
        let allocated = self.splice.source.allocated_within(change).map_err(SpliceError::Source)?;
        let plan = crate::read_plan::ReadPlan::new(allocated, self.splice.source.bytes(), self.splice.cell_bytes);
        let mut at = change.start;
        for range in plan.inside(change) {
            self.hole(at..range.start)?;
            at = range.start;
            while at < range.end {
                let piece = at..range.end.min(at + READ_BYTES);
                self.read(&piece)?;
                self.cutter.take_cells(&piece, self.taker).map_err(SpliceError::Taker)?;
                // Not the last piece: its cuts may be where the old ones are met.
                if piece.end < change.end {
                    self.cutter.cut_all(self.taker).map_err(SpliceError::Taker)?;
                }
                at = piece.end;
            }
        }
        self.hole(at..change.end)
    }

    fn hole(&mut self, range: Range<u64>) -> Result<(), SpliceError<T::Error>> {
        self.cutter.hole(&range, self.taker).map_err(SpliceError::Taker)
    }

    fn end_run(&mut self) -> Result<(), SpliceError<T::Error>> {
        self.cutter.end_run(self.taker).map_err(SpliceError::Taker)
    }

    fn read(&mut self, piece: &Range<u64>) -> Result<(), SpliceError<T::Error>> {
        let bytes = piece.end - piece.start;
        self.splice.source.read_at(piece.start, self.cutter.room(bytes)).map_err(SpliceError::Source)?;
        self.read_bytes += bytes;
        Ok(())
    }
}

/// What a splice makes of a segment, with its chunks named and not stored, and how many bytes it reads for that: for tests
/// from outside. `None` if the source cannot be read or the parent has bad extents.
pub fn splice_segment(
    source: &dyn DiskSource,
    segment: Range<u64>,
    parent: &SegmentMap,
    changed: &[Range<u64>],
    chunking: Chunking,
    keys: &Keyring,
) -> Option<(SegmentMap, u64)> {
    let chunker = Chunker::new(&chunking, keys);
    let cell_bytes = u64::from(chunking.min_bytes());
    let splice = Splice { source, chunker: &chunker, segment, parent, changed, cell_bytes };
    let spliced = splice.run(&mut RunCutter::new(&chunker, chunking), &mut ChunkNamer(keys)).ok()?;
    Some((spliced.map, spliced.read_bytes))
}

#[cfg(test)]
mod tests;
