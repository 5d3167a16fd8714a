//! A restore in place onto what holds another point: only what differs, or has changed since, is looked at.

use std::ops::Range;

use repo_format::{ChunkId, DiskRecord};

use super::{RestoreError, RestoreJob, read_point};
use crate::{
    byte_ranges,
    changed_areas::ChangedAreas,
    listing::{DiffError, changed_ranges_of, partner},
    map_walk::MapWalk,
    monitor::{Event, Monitor},
    problem::is_loss,
    repository::Reader,
};

/// A point that the targets of a restore in place hold, but for what has changed since.
#[derive(Clone, Debug)]
pub struct RestoreBase {
    /// The point.
    pub point: ChunkId,
    /// What has changed on the targets since, by disk; a disk that is not named is as it was.
    pub areas: Vec<(String, ChangedAreas)>,
}

/// What of each disk has to be looked at: where the point differs from the base, and what has changed since; `None`: all.
pub(super) fn wanted_ranges(
    reader: &Reader,
    job: &RestoreJob,
    records: &[&DiskRecord],
    monitor: &dyn Monitor,
) -> Result<Vec<Option<Vec<Range<u64>>>>, RestoreError> {
    let Some(base) = &job.base else { return Ok(vec![None; records.len()]) };
    let read = read_point(reader, base.point);
    let before = match read {
        Err(error) if !is_loss(error.kind()) => return Err(error.into()),
        other => other.map_err(|error| error.to_string()),
    };
    let wanted = |record: &&DiskRecord| {
        let ranges = match &before {
            Ok(before) => ranges_of_disk(reader, &before.disks, record, base)?,
            Err(error) => Err(error.clone()),
        };
        Ok(ranges.inspect_err(|why| warn_compared(monitor, &record.name, why)).ok())
    };
    records.iter().map(wanted).collect()
}

/// An unusable base costs time, nothing else.
fn warn_compared(monitor: &dyn Monitor, disk: &str, why: &str) {
    let message = format!("{disk}: the base cannot be used, so all of the target is compared: {why}");
    monitor.event(&Event::Warning { code: "base_not_used", message });
}

/// Where `record` differs from its disk in the base or that has changed since, or why that cannot be said.
fn ranges_of_disk(
    reader: &Reader,
    before: &[DiskRecord],
    record: &DiskRecord,
    base: &RestoreBase,
) -> Result<Result<Vec<Range<u64>>, String>, RestoreError> {
    let Some(before) = partner(before, record) else { return Ok(Err("it has no such disk".to_owned())) };
    if before.bytes != record.bytes {
        return Ok(Err(format!("the disk has {} bytes there", before.bytes)));
    }
    let mut ranges = match changed_ranges_of(reader, before, record) {
        Ok(ranges) => ranges,
        Err(error) if is_loss(error.kind()) => return Ok(Err(error.to_string())),
        Err(DiffError::Read(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let areas = base.areas.iter().filter(|(name, _)| *name == record.name);
    ranges.extend(areas.flat_map(|(_, areas)| areas.ranges().iter().cloned()));
    Ok(Ok(byte_ranges::coalesced(ranges)))
}

/// The segments that hold any of `ranges`; all if there are none to choose from.
pub(super) fn segments_of(walk: &MapWalk<'_>, ranges: Option<&[Range<u64>]>) -> Vec<Range<u64>> {
    let Some(ranges) = ranges else { return std::iter::once(0..walk.segment_count()).collect() };
    let segment_bytes = 1_u64 << walk.root().segment_log2.min(63);
    let mut segments = Vec::new();
    for range in ranges {
        byte_ranges::push(&mut segments, range.start / segment_bytes..range.end.div_ceil(segment_bytes));
    }
    segments
}
