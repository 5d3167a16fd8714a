//! What somebody says has changed on a disk since an earlier point: byte ranges in order, inside the disk, apart.

use std::ops::Range;

/// Why a list of changed areas cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangedAreasError {
    /// An area of no bytes, or one that ends beyond the largest number.
    #[error("area {number}: {length} bytes from byte {start} are no area")]
    NoArea {
        /// Its number in the list, from 1.
        number: u64,
        /// Where it begins.
        start: u64,
        /// Its length.
        length: u64,
    },
    /// An area begins before the one before it ends.
    #[error("area {number}: begins at byte {start}, before the end of the area before it at byte {previous_end}")]
    Order {
        /// Its number in the list, from 1.
        number: u64,
        /// Where it begins.
        start: u64,
        /// Where the one before it ends.
        previous_end: u64,
    },
    /// An area does not lie inside the disk.
    #[error("area {number}: ends at byte {end}, the disk at byte {disk_bytes}")]
    Beyond {
        /// Its number in the list, from 1.
        number: u64,
        /// Where it ends.
        end: u64,
        /// Where the disk ends.
        disk_bytes: u64,
    },
}

/// Areas of one disk that may have changed; everything else is said to be as it was.
///
/// **Invariant:** ascending, not empty, not overlapping, inside the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedAreas {
    disk_bytes: u64,
    ranges: Vec<Range<u64>>,
}

impl ChangedAreas {
    /// Nothing has changed so far on a disk of `disk_bytes`.
    pub fn none(disk_bytes: u64) -> Self {
        Self { disk_bytes, ranges: Vec::new() }
    }

    /// All of these ranges, which must come in order.
    pub fn of(disk_bytes: u64, ranges: impl IntoIterator<Item = Range<u64>>) -> Result<Self, ChangedAreasError> {
        let mut areas = Self::none(disk_bytes);
        ranges.into_iter().try_for_each(|range| areas.push(range.start, range.end.saturating_sub(range.start)))?;
        Ok(areas)
    }

    /// Adds the next area.
    pub fn push(&mut self, start: u64, length: u64) -> Result<(), ChangedAreasError> {
        let number = self.ranges.len() as u64 + 1;
        let end = start.checked_add(length).filter(|end| *end > start);
        let end = end.ok_or(ChangedAreasError::NoArea { number, start, length })?;
        let previous_end = self.ranges.last().map_or(0, |last| last.end);
        if start < previous_end {
            return Err(ChangedAreasError::Order { number, start, previous_end });
        }
        if end > self.disk_bytes {
            return Err(ChangedAreasError::Beyond { number, end, disk_bytes: self.disk_bytes });
        }
        self.ranges.push(start..end);
        Ok(())
    }

    /// Size of the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// The areas.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Bytes in all areas.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The areas widened to cells of `cell_bytes`; those that touch then are one.
    pub(crate) fn cells(&self, cell_bytes: u64) -> Vec<Range<u64>> {
        let mut cells: Vec<Range<u64>> = Vec::with_capacity(self.ranges.len());
        for range in &self.ranges {
            let end = range.end.checked_next_multiple_of(cell_bytes).unwrap_or(u64::MAX).min(self.disk_bytes);
            crate::byte_ranges::push(&mut cells, range.start - range.start % cell_bytes..end);
        }
        cells
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]
mod tests {
    use super::*;

    #[test]
    fn areas_in_order_are_taken_and_touching_ones_are_two() {
        let areas = ChangedAreas::of(100, [0..1, 5..9, 9..100]).unwrap();
        assert_eq!((areas.ranges().len(), areas.bytes()), (3, 96));
        assert_eq!(ChangedAreas::of(100, []).unwrap(), ChangedAreas::none(100));
    }

    #[test]
    fn areas_out_of_order_overlapping_empty_or_beyond_the_disk_are_refused() {
        let refused = |ranges: &[Range<u64>]| ChangedAreas::of(100, ranges.iter().cloned()).unwrap_err();
        assert_eq!(refused(&[50..60, 10..20]), ChangedAreasError::Order { number: 2, start: 10, previous_end: 60 });
        assert_eq!(refused(&[50..60, 59..61]), ChangedAreasError::Order { number: 2, start: 59, previous_end: 60 });
        assert_eq!(refused(&[50..50]), ChangedAreasError::NoArea { number: 1, start: 50, length: 0 });
        assert_eq!(refused(&[0..9, 99..101]), ChangedAreasError::Beyond { number: 2, end: 101, disk_bytes: 100 });
        let mut areas = ChangedAreas::none(u64::MAX);
        assert!(matches!(areas.push(2, u64::MAX), Err(ChangedAreasError::NoArea { .. })));
    }

    #[test]
    fn areas_are_widened_to_cells_and_the_end_of_the_disk() {
        let areas = ChangedAreas::of(103, [5..6, 7..9, 17..24, 40..41, 102..103]).unwrap();
        assert_eq!(areas.cells(8), [0..24, 40..48, 96..103]);
    }
}
