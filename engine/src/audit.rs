//! The audit of a list of changed areas: each night a keyed sample of the segments is read whole although nothing of them,
//! or only a part, is said to have changed. A list that lies is found out, and after [`AuditShare::one_in`] points every
//! segment has been looked at.

use std::{num::NonZeroU64, ops::Range};

use repo_format::{AuditOrder, Extent, SegmentMap};

use crate::byte_ranges;

/// The usual share: one segment in thirty.
const USUAL_ONE_IN: NonZeroU64 = match NonZeroU64::new(30) {
    Some(places) => places,
    None => NonZeroU64::MIN,
};

/// How much of a disk each incremental point audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditShare {
    /// Nothing: the list of changed areas is believed.
    Off,
    /// One segment in so many: each comes to be read once in so many points of its VM.
    OneIn(NonZeroU64),
}

impl Default for AuditShare {
    fn default() -> Self {
        Self::OneIn(USUAL_ONE_IN)
    }
}

impl AuditShare {
    /// Every segment: all of the disk is read.
    pub const ALL: Self = Self::OneIn(NonZeroU64::MIN);

    /// One segment in so many; 0 if none.
    pub fn one_in(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::OneIn(places) => places.get(),
        }
    }

    /// Whether segment `segment` is due for point number `number` of its VM.
    pub(crate) fn is_due(self, order: &AuditOrder, segment: u64, number: u64) -> bool {
        match self {
            Self::Off => false,
            Self::OneIn(places) => order.place(segment, places.get()) == number % places,
        }
    }
}

/// Where two maps of a segment that begins at `start` tell different things: ascending ranges of the disk.
pub(crate) fn differences(one: &SegmentMap, other: &SegmentMap, start: u64) -> Vec<Range<u64>> {
    let (one, other) = (placed(one, start), placed(other, start));
    let mut found = Vec::new();
    let (mut left, mut right) = (one.iter(), other.iter());
    let (mut ours, mut theirs) = (left.next(), right.next());
    let mut at = start;
    while let (Some((a, a_extent)), Some((b, b_extent))) = (ours, theirs) {
        let end = a.end.min(b.end);
        let both_holes = matches!((a_extent, b_extent), (Extent::Hole { .. }, Extent::Hole { .. }));
        if !both_holes && (a, a_extent) != (b, b_extent) {
            byte_ranges::push(&mut found, at..end);
        }
        at = end;
        if a.end == end {
            ours = left.next();
        }
        if b.end == end {
            theirs = right.next();
        }
    }
    found
}

fn placed(map: &SegmentMap, start: u64) -> Vec<(Range<u64>, Extent)> {
    let mut at = start;
    let place = |extent: &Extent| {
        let range = at..at + u64::from(extent.length());
        at = range.end;
        (range, *extent)
    };
    map.extents().iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use repo_format::{ChunkId, ChunkRef, Keyring, RepositoryId, RepositoryKeys, VmIdentity};

    use super::*;

    fn data(fill: u8, length: u32) -> Extent {
        Extent::Data(ChunkRef { id: ChunkId::from_bytes([fill; 32]), length })
    }

    #[test]
    fn differences_are_where_chunks_or_holes_are_not_the_same() {
        let one = SegmentMap::new(vec![data(1, 10), data(2, 10), Extent::Hole { length: 20 }, data(3, 10)]);
        let other =
            SegmentMap::new(vec![data(1, 10), data(4, 5), data(2, 5), Extent::Hole { length: 10 }, data(5, 20)]);
        assert_eq!(differences(&one, &other, 100), [110..120, 130..150]);
        assert_eq!(differences(&one, &one, 0), []);
    }

    #[test]
    fn each_segment_is_due_exactly_once_in_a_round_and_never_if_the_audit_is_off() {
        let keys = Keyring::new(&RepositoryKeys::generate([1; 32]), RepositoryId::from_bytes([1; 16]));
        let order = keys.audit_order(&VmIdentity::named("web01").unwrap(), "disk0");
        for segment in 0..500 {
            let due = |share: AuditShare, numbers: Range<u64>| {
                numbers.filter(|number| share.is_due(&order, segment, *number)).count()
            };
            assert_eq!(due(AuditShare::default(), 7..37), 1);
            assert_eq!(due(AuditShare::ALL, 7..37), 30);
            assert_eq!(due(AuditShare::Off, 0..100), 0);
        }
    }
}
