//! One disk on its way into packs: a plain data-parallel loop over segments, no queues between its stages.
//!
//! ```text
//!            ┌─ worker: read ≤ 512 KiB → cells → cut → hash → claim → frame → compress → seal → check ─► sink
//!  segments ─┤─ worker: …                                                                            │
//!            └─ worker: …                 segment maps, in any order ─► put back in order ─► map builder ─► root
//! ```

mod changes;
mod map_builder;
mod segment_worker;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crossbeam_channel::{Receiver, bounded};
use repo_format::{ChunkId, Chunker, MapGeometry};

use crate::{
    frame_writer::{Found, FrameWriter, WriteError, Written},
    monitor::Monitor,
    read_error::ReadError,
    read_plan::ReadPlan,
    source::{DiskSource, SourceError},
};
use map_builder::MapBuilder;
use segment_worker::{Segment, SegmentWorker};

pub(crate) use changes::{Audited, BaseMaps, StoredChanges, Touched, store_changes};

/// Why a disk could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreDiskError {
    /// The source cannot be read at all, or changes under us.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Chunks cannot be stored.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The map of the base cannot be read.
    #[error("the map of the earlier point cannot be read: {0}")]
    Base(#[source] ReadError),
    /// Threads cannot be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
    /// The operator asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What became of a disk, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredDisk {
    pub(crate) root: ChunkId,
    pub(crate) data_bytes: u64,
    pub(crate) hole_bytes: u64,
    pub(crate) bad_bytes: u64,
    pub(crate) read_bytes: u64,
    /// Bytes of segments whose map was not known.
    pub(crate) changed_bytes: u64,
    pub(crate) written: Written,
}

/// What all workers of one disk share.
pub(crate) struct DiskJob<'a> {
    pub(crate) source: &'a dyn DiskSource,
    pub(crate) geometry: MapGeometry,
    pub(crate) chunker: &'a Chunker,
    pub(crate) chunking: repo_format::Chunking,
    pub(crate) segment_log2: u8,
    pub(crate) monitor: &'a dyn Monitor,
}

impl DiskJob<'_> {
    /// Where segment `index` lies.
    fn segment(&self, index: u64) -> Range<u64> {
        let start = index << self.segment_log2;
        start..start + self.geometry.segment_bytes(index)
    }
}

/// Stores one disk whole, with as many workers as `writers`, and gives its map root.
/// The map nodes go through `metadata`, which the caller flushes.
pub(crate) fn store_disk(
    job: &DiskJob<'_>,
    plan: &ReadPlan,
    writers: Vec<FrameWriter>,
    metadata: &mut FrameWriter,
) -> Result<StoredDisk, StoreDiskError> {
    run_workers(job, job.geometry.segments(), writers, &|worker, index| worker.store_segment(index, plan), |finished| {
        collect(job, finished, metadata)
    })
}

enum Finished<S> {
    Segment(u64, S),
    Worker(Written),
}

/// Lets a worker for each of `writers` do the tasks numbered from 0 to `tasks`, and `collect` take in what they make.
fn run_workers<S: Send, R>(
    job: &DiskJob<'_>,
    tasks: u64,
    writers: Vec<FrameWriter>,
    task: &(dyn Fn(&mut SegmentWorker<'_>, u64) -> Result<S, StoreDiskError> + Sync),
    collect: impl FnOnce(&Receiver<Result<Finished<S>, StoreDiskError>>) -> Result<R, StoreDiskError>,
) -> Result<R, StoreDiskError> {
    let threads = writers.len().max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| StoreDiskError::Threads(error.to_string()))?;
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (finished, results) = bounded::<Result<Finished<S>, StoreDiskError>>(4 * threads);
    pool.in_place_scope(|scope| {
        for writer in writers {
            let (finished, next, stop) = (finished.clone(), &next, &stop);
            scope.spawn(move |_| {
                let mut worker = SegmentWorker::new(job, writer);
                let result = work(&mut worker, tasks, task, next, stop, &finished).and_then(|()| worker.finish());
                stop.fetch_or(result.is_err(), Ordering::Relaxed);
                // The collector waits for every worker, so it is there to hear this.
                let _ = finished.send(result.map(Finished::Worker));
            });
        }
        drop(finished);
        let result = collect(&results);
        stop.fetch_or(result.is_err(), Ordering::Relaxed);
        // Workers that wait to hand over a segment must get rid of it, or the scope never ends.
        results.iter().for_each(drop);
        result
    })
}

fn work<S>(
    worker: &mut SegmentWorker<'_>,
    tasks: u64,
    task: &(dyn Fn(&mut SegmentWorker<'_>, u64) -> Result<S, StoreDiskError> + Sync),
    next: &AtomicU64,
    stop: &AtomicBool,
    finished: &crossbeam_channel::Sender<Result<Finished<S>, StoreDiskError>>,
) -> Result<(), StoreDiskError> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= tasks || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let segment = task(worker, number)?;
        if finished.send(Ok(Finished::Segment(number, segment))).is_err() {
            return Ok(());
        }
    }
}

/// Puts segments back in order and builds the map from them.
fn collect(
    job: &DiskJob<'_>,
    finished: &Receiver<Result<Finished<Segment>, StoreDiskError>>,
    metadata: &mut FrameWriter,
) -> Result<StoredDisk, StoreDiskError> {
    let mut waiting = BTreeMap::new();
    let mut builder = MapBuilder::new(job);
    let mut sums = StoredDisk {
        root: ChunkId::from_bytes([0; 32]),
        data_bytes: 0,
        hole_bytes: 0,
        bad_bytes: 0,
        read_bytes: 0,
        changed_bytes: 0,
        written: Written::default(),
    };
    let mut next = 0;
    for result in finished {
        match result? {
            Finished::Worker(written) => sums.written += written,
            Finished::Segment(index, segment) => {
                waiting.insert(index, segment);
                while let Some(segment) = waiting.remove(&next) {
                    sums.read_bytes += segment.read_bytes;
                    sums.data_bytes += segment_worker::data_bytes(&segment.map);
                    sums.bad_bytes += segment_worker::bad_bytes(&segment.map);
                    if builder.push(&segment.map, metadata)? == Some(Found::Novel) {
                        sums.changed_bytes += job.geometry.segment_bytes(next);
                    }
                    next += 1;
                }
            }
        }
    }
    if next != job.geometry.segments() {
        // Workers only stop early after an error, which `result?` has returned, or when the operator wants it.
        return Err(StoreDiskError::Interrupted);
    }
    let disk_bytes = job.source.bytes();
    sums.hole_bytes = disk_bytes.saturating_sub(sums.data_bytes).saturating_sub(sums.bad_bytes);
    sums.root = builder.finish(disk_bytes, metadata)?;
    Ok(sums)
}
