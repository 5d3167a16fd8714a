//! Byte ranges of a disk, gathered in any order and told in order.

use std::ops::Range;

/// Length of a range; 0 if it is the wrong way round.
pub(crate) fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// The same bytes in ascending, disjoint, non-touching ranges.
pub(crate) fn coalesced(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len().min(64));
    for range in ranges {
        push(&mut merged, range);
    }
    merged
}

/// Appends a range that does not begin before the last one.
pub(crate) fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_and_overlapping_ranges_become_one() {
        assert_eq!(coalesced(vec![20..30, 0..10, 10..15, 12..13, 40..40]), vec![0..15, 20..30]);
    }
}
