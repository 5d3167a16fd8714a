//! What of a disk has to be read: declared ranges widened to cells, so that every source gives the same map.

use std::ops::Range;

/// Ranges to read, in whole cells, ascending and apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadPlan {
    ranges: Vec<Range<u64>>,
}

impl ReadPlan {
    /// Widens `allocated` to cells of `cell_bytes` (a declared zero that does not cover a whole cell is read).
    /// Ranges may come in any order and overlap: a source is not believed to be tidy.
    pub(crate) fn new(mut allocated: Vec<Range<u64>>, disk_bytes: u64, cell_bytes: u64) -> Self {
        allocated.retain(|range| range.start < range.end && range.start < disk_bytes);
        allocated.sort_by_key(|range| range.start);
        let mut ranges: Vec<Range<u64>> = Vec::with_capacity(allocated.len());
        for range in allocated {
            let start = range.start - range.start % cell_bytes;
            let end = range.end.min(disk_bytes);
            let end = end.checked_next_multiple_of(cell_bytes).unwrap_or(u64::MAX).min(disk_bytes);
            match ranges.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => ranges.push(start..end),
            }
        }
        Self { ranges }
    }

    /// The parts to read inside `segment`.
    pub(crate) fn inside(&self, segment: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let (start, end) = (segment.start, segment.end);
        let first = self.ranges.partition_point(|range| range.end <= start);
        let touching = self.ranges.iter().skip(first).take_while(move |range| range.start < end);
        touching.map(move |range| range.start.max(start)..range.end.min(end))
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Bytes to read in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_widened_merged_and_kept_inside_the_disk() {
        let plan = ReadPlan::new(vec![30..31, 5..6, 12..20, 0..1, 100..u64::MAX], 103, 8);
        assert_eq!(plan.ranges, [0..32, 96..103]);
        assert_eq!(plan.bytes(), 39);
        assert!(plan.inside(&(16..100)).eq([16..32, 96..100]));
        assert!(plan.inside(&(32..96)).next().is_none());
    }
}
