//! A disk of which only some segments are looked at: those with changed areas, and those that are due for an audit.

use std::ops::Range;

use crossbeam_channel::Receiver;
use repo_format::{ChunkId, SegmentMap};

use super::{DiskJob, Finished, StoreDiskError, run_workers, segment_worker};
use crate::{
    frame_writer::{Found, FrameWriter, Written},
    read_error::ReadError,
};

/// The maps that segments have in the base.
pub(crate) trait BaseMaps: Sync {
    /// The map of segment `index`.
    fn segment_map(&self, index: u64) -> Result<SegmentMap, ReadError>;
}

/// A segment to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) index: u64,
    /// What has changed of it: whole cells, ascending, not touching. Empty: it is only audited.
    pub(crate) changed: Vec<Range<u64>>,
    /// Read it whole, and compare.
    pub(crate) audited: bool,
}

/// What a worker made of one touched segment.
pub(super) struct TouchedSegment {
    pub(super) map: SegmentMap,
    pub(super) data_bytes_before: u64,
    pub(super) read_bytes: u64,
    pub(super) audit: Option<AuditFinding>,
}

/// What the audit of one segment has found.
pub(super) struct AuditFinding {
    pub(super) read_bytes: u64,
    pub(super) unreadable: bool,
    /// Where it differs from what it should be.
    pub(super) misses: Vec<Range<u64>>,
}

/// What the audit of a disk has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audited {
    pub(crate) segments: u64,
    pub(crate) read_bytes: u64,
    /// Segments that differ from what they should be.
    pub(crate) missed_segments: u64,
    /// Where, ascending.
    pub(crate) misses: Vec<Range<u64>>,
    /// Segments with bytes that could not be read.
    pub(crate) unreadable_segments: u64,
}

/// What became of the touched segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredChanges {
    /// New maps of the segments with changed areas, ascending; `None` is a hole.
    pub(crate) maps: Vec<(u64, Option<ChunkId>)>,
    pub(crate) data_bytes_before: u64,
    pub(crate) data_bytes: u64,
    pub(crate) bad_bytes: u64,
    /// The audit's included.
    pub(crate) read_bytes: u64,
    /// Bytes of segments whose map was not known.
    pub(crate) changed_bytes: u64,
    pub(crate) written: Written,
    pub(crate) audited: Audited,
}

/// Makes new maps for the touched segments with as many workers as `writers`. They go through `metadata`, which the caller
/// flushes; nodes and root are the caller's.
pub(crate) fn store_changes(
    job: &DiskJob<'_>,
    base: &dyn BaseMaps,
    touched: &[Touched],
    writers: Vec<FrameWriter>,
    metadata: &mut FrameWriter,
) -> Result<StoredChanges, StoreDiskError> {
    run_workers(
        job,
        touched.len() as u64,
        writers,
        &|worker, number| {
            let at = usize::try_from(number).ok().and_then(|number| touched.get(number));
            at.map(|touched| worker.store_touched(touched, base)).transpose()
        },
        |finished| collect(job, touched, finished, metadata),
    )
}

fn collect(
    job: &DiskJob<'_>,
    touched: &[Touched],
    finished: &Receiver<Result<Finished<Option<TouchedSegment>>, StoreDiskError>>,
    metadata: &mut FrameWriter,
) -> Result<StoredChanges, StoreDiskError> {
    let mut stored = StoredChanges::default();
    let mut count = 0;
    for result in finished {
        match result? {
            Finished::Worker(written) => stored.written += written,
            Finished::Segment(number, segment) => {
                count += 1;
                let touched = usize::try_from(number).ok().and_then(|number| touched.get(number));
                if let (Some(touched), Some(segment)) = (touched, segment) {
                    take(job, touched, segment, &mut stored, metadata)?;
                }
            }
        }
    }
    if count != touched.len() {
        // Workers only stop early after an error, which `result?` has returned, or when the operator wants it.
        return Err(StoreDiskError::Interrupted);
    }
    stored.maps.sort_unstable_by_key(|(index, _)| *index);
    stored.audited.misses.sort_unstable_by_key(|range| range.start);
    Ok(stored)
}

fn take(
    job: &DiskJob<'_>,
    touched: &Touched,
    segment: TouchedSegment,
    stored: &mut StoredChanges,
    metadata: &mut FrameWriter,
) -> Result<(), StoreDiskError> {
    stored.read_bytes += segment.read_bytes;
    if let Some(audit) = segment.audit {
        stored.audited.segments += 1;
        stored.audited.read_bytes += audit.read_bytes;
        stored.audited.missed_segments += u64::from(!audit.misses.is_empty());
        stored.audited.unreadable_segments += u64::from(audit.unreadable);
        stored.audited.misses.extend(audit.misses);
    }
    if touched.changed.is_empty() {
        return Ok(());
    }
    stored.data_bytes_before += segment.data_bytes_before;
    stored.data_bytes += segment_worker::data_bytes(&segment.map);
    stored.bad_bytes += segment_worker::bad_bytes(&segment.map);
    let id = if segment.map.is_hole() {
        None
    } else {
        let (id, found) = metadata.store_metadata(&segment.map.encode())?;
        if found == Found::Novel {
            stored.changed_bytes += job.geometry.segment_bytes(touched.index);
        }
        Some(id)
    };
    stored.maps.push((touched.index, id));
    Ok(())
}
