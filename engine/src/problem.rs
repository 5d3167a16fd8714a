//! What is wrong with one object of a repository, and which restore points, disks and byte ranges it costs.

use std::{collections::BTreeMap, ops::Range};

use repo_format::ChunkId;

use crate::{byte_ranges, error::Kind};

/// Ranges that a cost lists; `bytes` counts all of them.
pub const COST_RANGES_MAX: usize = 4096;

/// Trouble with one object. It does not end the run; the exit code still says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object, such as `pack 5f3a…`.
    pub object: String,
    /// What is wrong with it, one sentence.
    pub what: String,
    /// What it costs; empty: no restore point needs what is damaged, or there is another copy.
    pub costs: Vec<Cost>,
}

impl Problem {
    /// A problem that costs nothing so far.
    pub(crate) fn new(object: impl ToString, what: impl ToString) -> Self {
        Self { object: object.to_string(), what: what.to_string(), costs: Vec::new() }
    }
}

/// What one restore point loses by one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The restore point.
    pub point: ChunkId,
    /// Its VM's name.
    pub vm: String,
    /// Which part of it.
    pub part: Part,
    /// Bytes lost of a disk.
    pub bytes: u64,
    /// Where on the disk: ascending, disjoint, the first [`COST_RANGES_MAX`] of them.
    pub ranges: Vec<Range<u64>>,
}

/// A part of a restore point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The record of the point itself: nothing of it can be had.
    Point,
    /// What surrounds the disks.
    Home,
    /// The disk of this name.
    Disk(String),
}

/// Whether an error of this kind means that bytes are lost, not that they cannot be had right now.
pub(crate) fn is_loss(kind: Kind) -> bool {
    matches!(kind, Kind::Damaged | Kind::Missing)
}

/// Gathers what one problem costs.
#[derive(Clone, Default)]
pub(crate) struct Costs {
    parts: BTreeMap<(ChunkId, Part), Ranges>,
}

/// Of one part: its VM's name, and what is lost.
type Ranges = (String, Vec<Range<u64>>);

impl Costs {
    pub(crate) fn add(&mut self, point: ChunkId, vm: &str, part: Part, range: Option<Range<u64>>) {
        let (_, ranges) = self.parts.entry((point, part)).or_insert_with(|| (vm.to_owned(), Vec::new()));
        ranges.extend(range);
        // A hostile order of ranges must not grow without bound: most of them touch.
        if ranges.len() >= 4 * COST_RANGES_MAX && ranges.len().is_power_of_two() {
            *ranges = byte_ranges::coalesced(std::mem::take(ranges));
        }
    }

    pub(crate) fn into_costs(self) -> Vec<Cost> {
        let cost = |((point, part), (vm, ranges)): ((ChunkId, Part), Ranges)| {
            let mut ranges = byte_ranges::coalesced(ranges);
            let bytes = ranges.iter().map(byte_ranges::length).sum();
            ranges.truncate(COST_RANGES_MAX);
            Cost { point, vm, part, bytes, ranges }
        };
        self.parts.into_iter().map(cost).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_counts_every_byte_once() {
        let point = ChunkId::from_bytes([1; 32]);
        let mut costs = Costs::default();
        for range in [8..16, 0..8, 0..4, 32..40] {
            costs.add(point, "web01", Part::Disk("disk0".to_owned()), Some(range));
        }
        costs.add(point, "web01", Part::Home, None);
        let costs = costs.into_costs();
        assert_eq!(costs[0].part, Part::Home);
        assert_eq!((costs[1].bytes, costs[1].ranges.clone()), (24, vec![0..16, 32..40]));
    }
}
