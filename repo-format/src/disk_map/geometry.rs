//! The shape of a map follows from the size of the disk alone.

use super::CHILDREN_MAX;

/// How many segments, levels and nodes the map of a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapGeometry {
    disk_bytes: u64,
    segment_log2: u8,
    segments: u64,
}

impl MapGeometry {
    /// The shape for a disk of `disk_bytes` in segments of 2^`segment_log2` bytes.
    pub fn of(disk_bytes: u64, segment_log2: u8) -> Self {
        let segment_log2 = segment_log2.min(63);
        Self { disk_bytes, segment_log2, segments: disk_bytes.div_ceil(1 << segment_log2) }
    }

    /// How many segments the disk has; the last may be short.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// Levels of nodes between the root and the segment maps.
    pub fn height(&self) -> u8 {
        (0..u8::MAX).find(|level| self.count_at(*level) <= CHILDREN_MAX as u64).unwrap_or(u8::MAX)
    }

    /// How many nodes `level` has; level 0 are the segment maps.
    pub fn count_at(&self, level: u8) -> u64 {
        (0..level).fold(self.segments, |count, _| count.div_ceil(CHILDREN_MAX as u64))
    }

    /// How many children node `index` of `level` (from 1) has.
    pub fn children_of(&self, level: u8, index: u64) -> usize {
        let below = self.count_at(level.saturating_sub(1));
        let left = below.saturating_sub(index.saturating_mul(CHILDREN_MAX as u64));
        usize::try_from(left).unwrap_or(usize::MAX).min(CHILDREN_MAX)
    }

    /// Length of segment `index`; 0 beyond the disk.
    pub fn segment_bytes(&self, index: u64) -> u64 {
        let segment_bytes = 1_u64 << self.segment_log2;
        let Some(start) = index.checked_mul(segment_bytes) else { return 0 };
        self.disk_bytes.saturating_sub(start).min(segment_bytes)
    }
}
