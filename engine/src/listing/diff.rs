//! The difference of two restore points: equal names are equal content, so only what differs is read.

use std::ops::Range;

use repo_format::{ChunkId, DiskRecord, Extent, RestorePoint};

use super::{list::loss_as_none, show::HomeSummary};
use crate::{
    byte_ranges,
    error::Kind,
    map_walk::MapWalk,
    read_error::ReadError,
    repository::Reader,
    restore::{read_home, read_point},
};

/// The difference of two restore points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Whether they are of different VMs.
    pub other_vm: bool,
    /// Disks of either, in the order of the second, then those of the first only.
    pub disks: Vec<DiskDiff>,
    /// Fields of the VM home that differ.
    pub home: Vec<HomeChange>,
}

/// On which side a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Both.
    Both,
    /// Only the second: it was added.
    Added,
    /// Only the first: it was removed.
    Removed,
}

/// The difference of one disk. Beyond the end of the shorter one it counts as zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDiff {
    /// Its name, in the second point if it is there.
    pub name: String,
    /// Where it is.
    pub side: Side,
    /// Its length in the first point.
    pub before_bytes: u64,
    /// Its length in the second point.
    pub after_bytes: u64,
    /// Bytes of chunks that differ.
    pub changed_bytes: u64,
    /// Segments that differ.
    pub changed_segments: u64,
}

/// A field of the VM home that differs, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeChange {
    /// The field.
    pub field: &'static str,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

/// Why two points cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// Something cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Their disks are cut into segments of different length.
    #[error("{disk}: segments of 2^{before} and 2^{after} bytes cannot be compared")]
    Segments {
        /// The disk.
        disk: String,
        /// Of the first.
        before: u8,
        /// Of the second.
        after: u8,
    },
}

impl DiffError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Segments { .. } => Kind::Unsupported,
        }
    }
}

/// Compares point `before` with point `after`; `extents` is shown what differs of each disk, in ascending order.
pub fn diff(
    reader: &Reader,
    before: ChunkId,
    after: ChunkId,
    extents: &mut dyn FnMut(&str, Range<u64>),
) -> Result<Diff, DiffError> {
    let (first, second) = (read_point(reader, before)?, read_point(reader, after)?);
    let mut disks = Vec::new();
    for disk in &second.disks {
        let partner = partner(&first.disks, disk);
        disks.push(diff_disk(reader, partner, Some(disk), extents)?);
    }
    for disk in first.disks.iter().filter(|disk| partner(&second.disks, disk).is_none()) {
        disks.push(diff_disk(reader, Some(disk), None, extents)?);
    }
    let home = home_changes(home_of(reader, &first)?.as_ref(), home_of(reader, &second)?.as_ref());
    Ok(Diff { other_vm: first.vm != second.vm, disks, home })
}

/// Where disk `after` of one point differs from disk `before` of another: ascending ranges. Nodes that both share are not
/// read.
pub(crate) fn changed_ranges_of(
    reader: &Reader,
    before: &DiskRecord,
    after: &DiskRecord,
) -> Result<Vec<Range<u64>>, DiffError> {
    let mut ranges = Vec::new();
    diff_disk(reader, Some(before), Some(after), &mut |_, range| ranges.push(range))?;
    Ok(ranges)
}

/// A disk is its uuid, else its name, never its position.
pub(crate) fn partner<'d>(disks: &'d [DiskRecord], wanted: &DiskRecord) -> Option<&'d DiskRecord> {
    let by_uuid = disks.iter().find(|disk| wanted.uuid.is_some() && disk.uuid == wanted.uuid);
    let unnamed = |disk: &&DiskRecord| disk.name == wanted.name && (disk.uuid.is_none() || wanted.uuid.is_none());
    by_uuid.or_else(|| disks.iter().find(unnamed))
}

fn diff_disk(
    reader: &Reader,
    before: Option<&DiskRecord>,
    after: Option<&DiskRecord>,
    extents: &mut dyn FnMut(&str, Range<u64>),
) -> Result<DiskDiff, DiffError> {
    let name = after.or(before).map(|disk| disk.name.clone()).unwrap_or_default();
    let open = |disk: Option<&DiskRecord>| disk.map(|disk| MapWalk::open(reader, disk.map_root)).transpose();
    let mut found = DiskDiff {
        side: match (before, after) {
            (Some(_), None) => Side::Removed,
            (None, _) => Side::Added,
            (Some(_), Some(_)) => Side::Both,
        },
        before_bytes: before.map_or(0, |disk| disk.bytes),
        after_bytes: after.map_or(0, |disk| disk.bytes),
        changed_bytes: 0,
        changed_segments: 0,
        name,
    };
    if before.zip(after).is_some_and(|(before, after)| before.map_root == after.map_root) {
        return Ok(found);
    }
    let (before, after) = (open(before)?, open(after)?);
    if let (Some(a), Some(b)) = (&before, &after)
        && a.root().segment_log2 != b.root().segment_log2
    {
        let (before, after) = (a.root().segment_log2, b.root().segment_log2);
        return Err(DiffError::Segments { disk: found.name, before, after });
    }
    let height = [&before, &after].into_iter().flatten().map(|map| map.root().height).max().unwrap_or(0);
    let mut compare =
        Compare { before: before.as_ref(), after: after.as_ref(), found: &mut found, extents, open: 0..0 };
    let top = |map: &Option<MapWalk<'_>>| map.as_ref().map(|_| Branch::Top);
    compare.branches(height.saturating_add(1), 0, top(&before), top(&after))?;
    compare.flush();
    Ok(found)
}

/// A place in a map of any height: maps of unequal height are compared as if the lower one had single-child nodes above.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// The root's children, however high they are.
    Top,
    /// A node or a segment map.
    Named(ChunkId),
}

struct Compare<'c> {
    before: Option<&'c MapWalk<'c>>,
    after: Option<&'c MapWalk<'c>>,
    found: &'c mut DiskDiff,
    extents: &'c mut dyn FnMut(&str, Range<u64>),
    /// Changed bytes not shown yet: neighbours become one range.
    open: Range<u64>,
}

impl Compare<'_> {
    /// Compares branch `index` of `level` (0: segment maps).
    fn branches(
        &mut self,
        level: u8,
        index: u64,
        before: Option<Branch>,
        after: Option<Branch>,
    ) -> Result<(), ReadError> {
        if before == after && before != Some(Branch::Top) {
            return Ok(());
        }
        let Some(below) = level.checked_sub(1) else { return self.segment(index, before, after) };
        let befores = children(self.before, level, index, before)?;
        let afters = children(self.after, level, index, after)?;
        let first = index.saturating_mul(256);
        for (number, place) in (first..).zip(0..befores.len().max(afters.len())) {
            let child = |children: &[Option<Branch>]| children.get(place).copied().flatten();
            self.branches(below, number, child(&befores), child(&afters))?;
        }
        Ok(())
    }

    fn segment(&mut self, index: u64, before: Option<Branch>, after: Option<Branch>) -> Result<(), ReadError> {
        let map = self.after.or(self.before);
        let start = map.map_or(0, |map| index.saturating_mul(1 << map.root().segment_log2.min(63)));
        let befores = extents_of(self.before, index, before)?;
        let afters = extents_of(self.after, index, after)?;
        let changed = changed_ranges(&befores, &afters);
        let bytes: u64 = changed.iter().map(byte_ranges::length).sum();
        self.found.changed_bytes += bytes;
        self.found.changed_segments += u64::from(bytes > 0);
        for range in changed {
            self.show(start + range.start..start + range.end);
        }
        Ok(())
    }

    fn show(&mut self, range: Range<u64>) {
        if self.open.end == range.start {
            self.open.end = range.end;
        } else {
            self.flush();
            self.open = range;
        }
    }

    fn flush(&mut self) {
        let range = std::mem::replace(&mut self.open, 0..0);
        if byte_ranges::length(&range) > 0 {
            (self.extents)(&self.found.name, range);
        }
    }
}

fn children(
    map: Option<&MapWalk<'_>>,
    level: u8,
    index: u64,
    branch: Option<Branch>,
) -> Result<Vec<Option<Branch>>, ReadError> {
    let (Some(map), Some(branch)) = (map, branch) else { return Ok(Vec::new()) };
    let named = |children: &[Option<ChunkId>]| children.iter().map(|child| child.map(Branch::Named)).collect();
    match branch {
        Branch::Top if level == map.root().height.saturating_add(1) => Ok(named(&map.root().children)),
        Branch::Top => Ok(vec![Some(Branch::Top)]),
        Branch::Named(id) => Ok(named(&map.node(id, level, index)?.children)),
    }
}

fn extents_of(map: Option<&MapWalk<'_>>, index: u64, branch: Option<Branch>) -> Result<Vec<Extent>, ReadError> {
    match (map, branch) {
        (Some(map), Some(Branch::Named(id))) => Ok(map.segment_map(id, index)?.extents().to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// Where two segments differ; beyond the end of either it is a hole.
fn changed_ranges(before: &[Extent], after: &[Extent]) -> Vec<Range<u64>> {
    let (mut before, mut after) = (Cursor::new(before), Cursor::new(after));
    let mut changed = Vec::new();
    let mut at = 0;
    while before.extent().is_some() || after.extent().is_some() {
        let end = match (before.end(), after.end()) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b).unwrap_or(at),
        };
        if !before.is_equal(&after) {
            byte_ranges::push(&mut changed, at..end);
        }
        at = end;
        before.advance_to(at);
        after.advance_to(at);
    }
    changed
}

/// Where a comparison stands in the extents of one segment.
struct Cursor<'e> {
    extents: &'e [Extent],
    start: u64,
}

impl<'e> Cursor<'e> {
    fn new(extents: &'e [Extent]) -> Self {
        Self { extents, start: 0 }
    }

    fn extent(&self) -> Option<&'e Extent> {
        self.extents.first()
    }

    fn end(&self) -> Option<u64> {
        self.extent().map(|extent| self.start + u64::from(extent.length()))
    }

    fn advance_to(&mut self, at: u64) {
        while let (Some(end), Some((_, rest))) = (self.end(), self.extents.split_first())
            && end <= at
        {
            (self.extents, self.start) = (rest, end);
        }
    }

    /// A chunk equals another only as a whole, from the same place on.
    fn is_equal(&self, other: &Self) -> bool {
        let hole = |extent: Option<&Extent>| matches!(extent, None | Some(Extent::Hole { .. }));
        match (self.extent(), other.extent()) {
            (Some(Extent::Data(a)), Some(Extent::Data(b))) => a == b && self.start == other.start,
            (a, b) => hole(a) && hole(b),
        }
    }
}

fn home_of(reader: &Reader, point: &RestorePoint) -> Result<Option<HomeSummary>, ReadError> {
    let home = match point.vm_home {
        Some(home) => loss_as_none(read_home(reader, home))?,
        None => None,
    };
    Ok(home.map(|home| HomeSummary::of(&home, reader.keys())))
}

fn home_changes(before: Option<&HomeSummary>, after: Option<&HomeSummary>) -> Vec<HomeChange> {
    type Field = (&'static str, fn(&HomeSummary) -> Option<String>);
    let fields: [Field; 14] = [
        ("document", |home| Some(home.document.digest.to_string())),
        ("name", |home| home.name.clone()),
        ("instance_uuid", |home| home.instance_uuid.clone()),
        ("bios_uuid", |home| home.bios_uuid.clone()),
        ("kms_key_id", |home| home.kms_key_id.clone()),
        ("kms_provider", |home| home.kms_provider.clone()),
        ("guest_id", |home| home.guest_id.clone()),
        ("hardware_version", |home| home.hardware_version.clone()),
        ("encryption_bundle", |home| home.encryption_bundle.as_ref().map(|bundle| bundle.fingerprint.clone())),
        ("storage_policy", |home| {
            home.storage_policy.as_ref().map(|policy| format!("{} ({})", policy.name, policy.id))
        }),
        ("firmware", |home| home.firmware.clone()),
        ("secure_boot", |home| home.secure_boot.map(|on| on.to_string())),
        ("vtpm", |home| home.vtpm.map(|there| there.to_string())),
        ("nvram", |home| home.nvram.as_ref().map(|(name, content)| format!("{name} {}", content.digest))),
    ];
    let change = |(field, of): Field| {
        let text = |home: Option<&HomeSummary>| home.and_then(of).unwrap_or_else(|| "-".to_owned());
        let (before, after) = (text(before), text(after));
        (before != after).then_some(HomeChange { field, before, after })
    };
    fields.into_iter().filter_map(change).collect()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is wanted")]
mod tests {
    use repo_format::ChunkRef;

    use super::*;

    fn data(byte: u8, length: u32) -> Extent {
        Extent::Data(ChunkRef { id: ChunkId::from_bytes([byte; 32]), length })
    }

    fn hole(length: u32) -> Extent {
        Extent::Hole { length }
    }

    #[test]
    fn equal_chunks_at_equal_places_are_unchanged() {
        let before = [data(1, 10), data(2, 10), data(3, 10)];
        assert_eq!(changed_ranges(&before, &before), []);
        assert_eq!(changed_ranges(&before, &[data(1, 10), data(4, 10), data(3, 10)]), [10..20]);
        let resized = [data(1, 10), data(5, 4), data(6, 6), data(3, 10)];
        assert_eq!(changed_ranges(&before, &resized), [10..20]);
    }

    #[test]
    fn a_chunk_that_moved_is_changed() {
        assert_eq!(changed_ranges(&[data(1, 10), hole(5)], &[hole(5), data(1, 10)]), [0..15]);
    }

    #[test]
    fn a_hole_and_the_end_of_a_shorter_disk_are_the_same() {
        assert_eq!(changed_ranges(&[hole(30)], &[hole(10)]), []);
        assert_eq!(changed_ranges(&[], &[hole(10), data(1, 5)]), [10..15]);
        assert_eq!(changed_ranges(&[hole(10), hole(10)], &[hole(20)]), []);
    }

    #[test]
    fn bad_extents_never_count_as_equal() {
        let bad = [Extent::Bad { length: 10 }];
        assert_eq!(changed_ranges(&bad, &bad), [0..10]);
    }
}
