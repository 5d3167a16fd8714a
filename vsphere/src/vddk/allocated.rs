//! Which parts of a disk are in use, asked in the only form that the library answers.

use std::ops::Range;

use super::{
    buffer::SECTOR_BYTES,
    library::{CallError, DiskHandle},
};

/// What is asked about: starts and lengths are multiples of it.
const CHUNK_SECTORS: u64 = 128;
/// Most chunks of one call.
const CALL_CHUNKS_MAX: u64 = 524_288;

/// Bytes in use, ascending and apart. A part that the library cannot tell of counts as in use.
pub(super) fn allocated(disk: &mut DiskHandle) -> Result<Vec<Range<u64>>, CallError> {
    let sectors = disk.about().sectors;
    let (calls, tail) = calls(sectors);
    let mut found = Found { sectors, ranges: Vec::new() };
    for call in calls {
        match disk.query_blocks(call.start, call.end - call.start, CHUNK_SECTORS) {
            None => return Ok(everything(sectors)),
            Some(answer) => answer?.into_iter().for_each(|(start, length)| found.add(start, length)),
        }
    }
    found.add(tail.start, tail.end - tail.start);
    Ok(found.ranges)
}

/// All of a disk.
pub(super) fn everything(sectors: u64) -> Vec<Range<u64>> {
    std::iter::once(0..sectors.saturating_mul(SECTOR_BYTES)).filter(|range| !range.is_empty()).collect()
}

/// Sectors of each call, and those behind the last whole chunk, which nobody answers for.
fn calls(sectors: u64) -> (Vec<Range<u64>>, Range<u64>) {
    let whole = sectors - sectors % CHUNK_SECTORS;
    let call_sectors = CHUNK_SECTORS * CALL_CHUNKS_MAX;
    let mut calls = Vec::new();
    let mut at = 0;
    while at < whole {
        let end = whole.min(at + call_sectors);
        calls.push(at..end);
        at = end;
    }
    (calls, whole..sectors)
}

struct Found {
    sectors: u64,
    ranges: Vec<Range<u64>>,
}

impl Found {
    /// Adds sectors, whatever order they come in; what lies beyond the disk is left out.
    fn add(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length).min(self.sectors);
        if start >= end {
            return;
        }
        let (start, end) = (start.saturating_mul(SECTOR_BYTES), end.saturating_mul(SECTOR_BYTES));
        match self.ranges.last_mut() {
            Some(last) if last.start <= start && start <= last.end => last.end = last.end.max(end),
            Some(last) if start < last.start => {
                self.ranges.push(start..end);
                self.sort();
            }
            _ => self.ranges.push(start..end),
        }
    }

    /// The library promises an order; a server that breaks it costs time, never bytes.
    fn sort(&mut self) {
        self.ranges.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        self.ranges = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_whole_chunks_and_the_tail_is_nobodys() {
        assert_eq!(calls(0), (vec![], 0..0));
        assert_eq!(calls(127), (vec![], 0..127));
        assert_eq!(calls(129), (std::iter::once(0..128).collect(), 128..129));
        let big = 2 * CHUNK_SECTORS * CALL_CHUNKS_MAX + 5;
        let (found, tail) = calls(big);
        assert_eq!(found, [0..67_108_864, 67_108_864..134_217_728]);
        assert_eq!(tail, 134_217_728..134_217_733);
    }

    #[test]
    fn blocks_in_any_order_become_ranges_that_are_apart() {
        let mut found = Found { sectors: 1000, ranges: Vec::new() };
        for (start, length) in [(0, 128), (128, 128), (512, 128), (384, 128), (900, 500), (2000, 1), (7, 0)] {
            found.add(start, length);
        }
        assert_eq!(found.ranges, [0..256 * 512, 384 * 512..640 * 512, 900 * 512..1000 * 512]);
    }
}
