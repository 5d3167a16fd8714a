//! One worker: takes whole segments and does everything to them, so that bytes stay in its cache.

use std::ops::Range;

use repo_format::{Extent, SegmentMap};

use super::{
    DiskJob, StoreDiskError,
    changes::{AuditFinding, BaseMaps, Touched, TouchedSegment},
};
use crate::{
    audit,
    frame_writer::{FrameWriter, Written},
    monitor::Step,
    read_plan::ReadPlan,
    run_cutter::{ChunkNamer, ChunkTaker, READ_BYTES, RunCutter},
    source::SourceError,
    splice::{Splice, SpliceError},
};

/// A cell that cannot be read is tried this often before it is called bad.
const READ_TRIES: usize = 3;

/// What a worker made of one segment.
pub(super) struct Segment {
    pub(super) map: SegmentMap,
    pub(super) read_bytes: u64,
}

pub(super) struct SegmentWorker<'a> {
    job: &'a DiskJob<'a>,
    cutter: RunCutter<'a>,
    writer: FrameWriter,
    cell_bytes: u64,
}

impl<'a> SegmentWorker<'a> {
    pub(super) fn new(job: &'a DiskJob<'a>, writer: FrameWriter) -> Self {
        let cutter = RunCutter::new(job.chunker, job.chunking);
        Self { job, cutter, writer, cell_bytes: u64::from(job.chunking.min_bytes()) }
    }

    /// Seals what is left and says what was done.
    pub(super) fn finish(mut self) -> Result<Written, StoreDiskError> {
        self.writer.flush()?;
        Ok(self.writer.written())
    }

    /// Reads, cuts and stores segment `index`.
    pub(super) fn store_segment(&mut self, index: u64, plan: &ReadPlan) -> Result<Segment, StoreDiskError> {
        let novel_before = self.writer.written().novel_bytes;
        let range = self.job.segment(index);
        let mut whole = WholeSegment::new(self.job, &mut self.cutter, &mut self.writer, self.cell_bytes);
        whole.read(&range, plan)?;
        let read_bytes = whole.read_bytes;
        self.tell_new(novel_before);
        Ok(Segment { map: self.cutter.finish(), read_bytes })
    }

    /// Makes the map of a segment out of the one it had in the base and what has changed, and audits it if it is due.
    pub(super) fn store_touched(
        &mut self,
        touched: &Touched,
        base: &dyn BaseMaps,
    ) -> Result<TouchedSegment, StoreDiskError> {
        let index = touched.index;
        let parent = base.segment_map(index).map_err(StoreDiskError::Base)?;
        let novel_before = self.writer.written().novel_bytes;
        let (map, mut read_bytes) =
            if touched.changed.is_empty() { (parent.clone(), 0) } else { self.splice(touched, &parent)? };
        self.tell_new(novel_before);
        let audit = if touched.audited { Some(self.audit(index, &map)?) } else { None };
        read_bytes += audit.as_ref().map_or(0, |audit| audit.read_bytes);
        Ok(TouchedSegment { map, data_bytes_before: data_bytes(&parent), read_bytes, audit })
    }

    fn splice(&mut self, touched: &Touched, parent: &SegmentMap) -> Result<(SegmentMap, u64), StoreDiskError> {
        if self.job.monitor.interrupted() {
            return Err(StoreDiskError::Interrupted);
        }
        let segment = self.job.segment(touched.index);
        let (source, chunker, changed) = (self.job.source, self.job.chunker, touched.changed.as_slice());
        let splice = Splice { source, chunker, segment: segment.clone(), parent, changed, cell_bytes: self.cell_bytes };
        let result = splice.run(&mut self.cutter, &mut self.writer);
        let done_bytes = changed.iter().map(|range| range.end - range.start).sum();
        match result {
            Ok(spliced) => {
                self.job.monitor.advance(Step { done_bytes, new_bytes: 0 });
                Ok((spliced.map, spliced.read_bytes))
            }
            Err(SpliceError::Taker(error)) => Err(error.into()),
            Err(SpliceError::Source(error @ SourceError::Shrunk { .. })) => Err(error.into()),
            Err(SpliceError::Source(SourceError::Read { .. }) | SpliceError::BadParent) => {
                let plan = self.plan_of(&segment)?;
                let read = self.store_segment(touched.index, &plan)?;
                Ok((read.map, read.read_bytes))
            }
        }
    }

    /// Reads the segment whole and compares: only names, nothing is stored.
    fn audit(&mut self, index: u64, expected: &SegmentMap) -> Result<AuditFinding, StoreDiskError> {
        let segment = self.job.segment(index);
        let plan = self.plan_of(&segment)?;
        let mut namer = ChunkNamer(self.writer.keys());
        let mut whole = WholeSegment::new(self.job, &mut self.cutter, &mut namer, self.cell_bytes);
        whole.read(&segment, &plan)?;
        let read_bytes = whole.read_bytes;
        let passed_over = (segment.end - segment.start).saturating_sub(read_bytes);
        self.job.monitor.advance(Step { done_bytes: passed_over, new_bytes: 0 });
        let found = self.cutter.finish();
        let unreadable = found.extents().iter().any(|extent| matches!(extent, Extent::Bad { .. }));
        let misses = if unreadable { Vec::new() } else { audit::differences(expected, &found, segment.start) };
        Ok(AuditFinding { read_bytes, unreadable, misses })
    }

    fn plan_of(&self, segment: &Range<u64>) -> Result<ReadPlan, StoreDiskError> {
        let allocated = self.job.source.allocated_within(segment)?;
        Ok(ReadPlan::new(allocated, self.job.source.bytes(), self.cell_bytes))
    }

    fn tell_new(&self, novel_before: u64) {
        let new_bytes = self.writer.written().novel_bytes - novel_before;
        self.job.monitor.advance(Step { done_bytes: 0, new_bytes });
    }
}

/// Bytes of data that a map holds.
pub(super) fn data_bytes(map: &SegmentMap) -> u64 {
    let data = map.extents().iter().filter(|extent| matches!(extent, Extent::Data(_)));
    data.map(|extent| u64::from(extent.length())).sum()
}

/// Bytes that could not be read.
pub(super) fn bad_bytes(map: &SegmentMap) -> u64 {
    let bad = map.extents().iter().filter(|extent| matches!(extent, Extent::Bad { .. }));
    bad.map(|extent| u64::from(extent.length())).sum()
}

/// Reads one segment whole.
struct WholeSegment<'w, 'a, T> {
    job: &'a DiskJob<'a>,
    cutter: &'w mut RunCutter<'a>,
    taker: &'w mut T,
    cell_bytes: u64,
    read_bytes: u64,
}

impl<'w, 'a, T: ChunkTaker> WholeSegment<'w, 'a, T>
where
    StoreDiskError: From<T::Error>,
{
    fn new(job: &'a DiskJob<'a>, cutter: &'w mut RunCutter<'a>, taker: &'w mut T, cell_bytes: u64) -> Self {
        Self { job, cutter, taker, cell_bytes, read_bytes: 0 }
    }

    fn read(&mut self, segment: &Range<u64>, plan: &ReadPlan) -> Result<(), StoreDiskError> {
        let mut at = segment.start;
        for range in plan.inside(segment) {
            self.cutter.hole(&(at..range.start), self.taker)?;
            at = range.start;
            while at < range.end {
                if self.job.monitor.interrupted() {
                    return Err(StoreDiskError::Interrupted);
                }
                let piece = at..range.end.min(at + READ_BYTES);
                self.piece(&piece)?;
                self.job.monitor.advance(Step { done_bytes: piece.end - piece.start, new_bytes: 0 });
                at = piece.end;
            }
        }
        self.cutter.hole(&(at..segment.end), self.taker)?;
        self.cutter.end_run(self.taker)?;
        Ok(())
    }

    /// Reads `piece` (whole cells) behind the current run and takes in its cells.
    fn piece(&mut self, piece: &Range<u64>) -> Result<(), StoreDiskError> {
        match self.job.source.read_at(piece.start, self.cutter.room(piece.end - piece.start)) {
            Ok(()) => self.take_in(piece),
            Err(error @ SourceError::Shrunk { .. }) => Err(error.into()),
            Err(SourceError::Read { .. }) => self.cell_by_cell(piece),
        }
    }

    /// After a failed read: what can be read cell by cell is data, the rest is bad. Never zeros.
    fn cell_by_cell(&mut self, piece: &Range<u64>) -> Result<(), StoreDiskError> {
        let mut at = piece.start;
        while at < piece.end {
            let cell = at..piece.end.min(at + self.cell_bytes);
            match self.try_cell(&cell)? {
                CellRead::Good => self.take_in(&cell)?,
                CellRead::Bad => self.cutter.bad(&cell, self.taker)?,
            }
            at = cell.end;
        }
        Ok(())
    }

    fn try_cell(&mut self, cell: &Range<u64>) -> Result<CellRead, StoreDiskError> {
        for _ in 0..READ_TRIES {
            match self.job.source.read_at(cell.start, self.cutter.room(cell.end - cell.start)) {
                Ok(()) => return Ok(CellRead::Good),
                Err(error @ SourceError::Shrunk { .. }) => return Err(error.into()),
                Err(SourceError::Read { .. }) => {}
            }
        }
        Ok(CellRead::Bad)
    }

    fn take_in(&mut self, piece: &Range<u64>) -> Result<(), StoreDiskError> {
        self.read_bytes += piece.end - piece.start;
        self.cutter.take_cells(piece, self.taker)?;
        self.cutter.cut_all(self.taker)?;
        Ok(())
    }
}

enum CellRead {
    Good,
    Bad,
}

impl From<std::convert::Infallible> for StoreDiskError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
