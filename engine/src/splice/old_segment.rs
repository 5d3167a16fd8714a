//! What a segment was: the extents of its map in the parent, by their addresses.

use std::ops::Range;

use repo_format::{Chunker, Extent, SegmentMap};

/// The extents of one segment of the parent. None of them is bad.
pub(super) struct OldSegment<'m> {
    extents: Vec<(Range<u64>, Extent)>,
    chunker: &'m Chunker,
    end: u64,
}

impl<'m> OldSegment<'m> {
    /// The extents of `map`, whose segment begins at address `start`; `None` if one of them is bad or they do not fill it.
    pub(super) fn new(map: &SegmentMap, segment: &Range<u64>, chunker: &'m Chunker) -> Option<Self> {
        let mut extents = Vec::with_capacity(map.extents().len());
        let mut at = segment.start;
        for extent in map.extents() {
            let range = at..at.saturating_add(u64::from(extent.length()));
            at = range.end;
            extents.push((range, *extent));
            if matches!(extent, Extent::Bad { .. }) {
                return None;
            }
        }
        (at == segment.end).then_some(Self { extents, chunker, end: segment.end })
    }

    /// The extent that holds the byte at `address`.
    fn index_at(&self, address: u64) -> usize {
        self.extents.partition_point(|(range, _)| range.end <= address)
    }

    fn data(&self, index: usize) -> Option<&Range<u64>> {
        self.extents.get(index).filter(|(_, extent)| matches!(extent, Extent::Data(_))).map(|(range, _)| range)
    }

    /// Whether the bytes from `address` on were zeros.
    pub(super) fn is_hole(&self, address: u64) -> bool {
        self.extents.get(self.index_at(address)).is_some_and(|(_, extent)| matches!(extent, Extent::Hole { .. }))
    }

    /// Whether cutting can stand at `address`: a chunk began there, or it lies in a hole (between two cells of it).
    pub(super) fn is_boundary(&self, address: u64) -> bool {
        address == self.end
            || self
                .extents
                .get(self.index_at(address))
                .is_some_and(|(range, extent)| range.start == address || matches!(extent, Extent::Hole { .. }))
    }

    /// How far the end of chunk `index` hangs on the bytes of its run.
    fn reach(&self, range: &Range<u64>) -> u64 {
        let length = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        range.start.saturating_add(self.chunker.reach(length, range.start))
    }

    /// Where to begin anew if the first change lies at `changed`, and everything up to `settled` is done: the start of the
    /// first chunk whose end may hang on what has changed.
    pub(super) fn restart(&self, settled: u64, changed: u64) -> u64 {
        if changed == settled {
            return changed;
        }
        // The chunk with the byte before: its end was set by what followed, or it goes on in what has changed.
        let mut index = self.index_at(changed - 1);
        let Some(range) = self.data(index) else { return changed };
        let mut start = range.start;
        // Chunks before it in the same run whose end was set by bytes that lie behind it.
        while let Some(before) = index.checked_sub(1).and_then(|before| self.data(before)) {
            if before.start < settled || self.reach(before) <= changed {
                break;
            }
            start = before.start;
            index -= 1;
        }
        start.max(settled)
    }

    /// How far to read from `address`, which lies in a chunk, until that chunk's old end can be found again; not beyond the
    /// end of its run.
    pub(super) fn next_end(&self, address: u64) -> u64 {
        let index = self.index_at(address);
        self.data(index).map_or(address, |range| self.end_within_run(index, self.reach(range)))
    }

    /// `reach`, or the end of the run of chunk `index` if that comes before.
    fn end_within_run(&self, mut index: usize, reach: u64) -> u64 {
        let mut end = reach;
        while let Some(range) = self.data(index) {
            end = range.end;
            if end >= reach {
                return reach;
            }
            index += 1;
        }
        end
    }

    /// The extents of `range`; only holes are cut in two by it.
    pub(super) fn inside(&self, range: Range<u64>) -> impl Iterator<Item = Extent> + '_ {
        let (start, end) = (range.start, range.end);
        let first = self.index_at(start);
        let touching = self.extents.iter().skip(first).take_while(move |(old, _)| old.start < end);
        touching.map(move |(old, extent)| match extent {
            Extent::Hole { .. } => {
                let length = old.end.min(end).saturating_sub(old.start.max(start));
                Extent::Hole { length: u32::try_from(length).unwrap_or(u32::MAX) }
            }
            other => *other,
        })
    }
}
