//! One worker: takes whole segments and does everything to them, so that bytes stay in its cache.

use std::ops::Range;

use repo_format::{ChunkRef, Extent, HashedChunk, RunEnd, SegmentMap};

use super::{DiskJob, StoreDiskError, cells::is_zero};
use crate::{
    aligned::{ALIGNMENT, lead},
    frame_writer::{FrameWriter, Written},
    monitor::Step,
    source::SourceError,
};

/// One read of the source. With the carried rest of a chunk it fits the second-level cache of a core.
const READ_BYTES: u64 = 512 << 10;
/// A cell that cannot be read is tried this often before it is called bad.
const READ_TRIES: usize = 3;

/// What a worker made of one segment.
pub(super) struct Segment {
    pub(super) map: SegmentMap,
    pub(super) read_bytes: u64,
    pub(super) data_bytes: u64,
    pub(super) bad_bytes: u64,
}

pub(super) struct SegmentWorker<'a> {
    job: &'a DiskJob<'a>,
    writer: FrameWriter,
    cell_bytes: u64,
    window: Vec<u8>,
    /// The first place in `window` that reads may go to.
    window_start: usize,
    /// The uncut end of the current data run, in `window`; its first byte lies at `run_address` of the disk.
    run: Range<usize>,
    run_address: u64,
    extents: Vec<Extent>,
    read_bytes: u64,
    data_bytes: u64,
    bad_bytes: u64,
}

impl<'a> SegmentWorker<'a> {
    pub(super) fn new(job: &'a DiskJob<'a>, writer: FrameWriter) -> Self {
        let window_bytes = usize::try_from(READ_BYTES + u64::from(job.chunking.max_bytes())).unwrap_or(usize::MAX);
        let window = vec![0; window_bytes.saturating_add(2 * ALIGNMENT)];
        let window_start = lead(&window);
        Self {
            job,
            writer,
            cell_bytes: u64::from(job.chunking.min_bytes()),
            window,
            window_start,
            run: 0..0,
            run_address: 0,
            extents: Vec::new(),
            read_bytes: 0,
            data_bytes: 0,
            bad_bytes: 0,
        }
    }

    pub(super) fn job(&self) -> &'a DiskJob<'a> {
        self.job
    }

    /// Seals what is left and says what was done.
    pub(super) fn finish(mut self) -> Result<Written, StoreDiskError> {
        self.writer.flush()?;
        Ok(self.writer.written())
    }

    /// Reads, cuts and stores segment `index`.
    pub(super) fn store_segment(&mut self, index: u64) -> Result<Segment, StoreDiskError> {
        let start = index << self.job.segment_log2;
        let segment = start..start + self.job.geometry.segment_bytes(index);
        (self.read_bytes, self.data_bytes, self.bad_bytes) = (0, 0, 0);
        let mut at = segment.start;
        let novel_before = self.writer.written().novel_bytes;
        for range in self.job.plan.inside(&segment) {
            self.hole(at..range.start)?;
            at = range.start;
            while at < range.end {
                if self.job.monitor.interrupted() {
                    return Err(StoreDiskError::Interrupted);
                }
                let piece = at..range.end.min(at + READ_BYTES);
                self.piece(piece.clone())?;
                self.job.monitor.advance(Step { done_bytes: piece.end - piece.start, new_bytes: 0 });
                at = piece.end;
            }
        }
        self.hole(at..segment.end)?;
        self.end_run()?;
        let new_bytes = self.writer.written().novel_bytes - novel_before;
        self.job.monitor.advance(Step { done_bytes: 0, new_bytes });
        Ok(Segment {
            map: SegmentMap::new(std::mem::take(&mut self.extents)),
            read_bytes: self.read_bytes,
            data_bytes: self.data_bytes,
            bad_bytes: self.bad_bytes,
        })
    }

    /// Reads `piece` (whole cells) behind the current run and takes in its cells.
    fn piece(&mut self, piece: Range<u64>) -> Result<(), StoreDiskError> {
        self.carry();
        let read = self.place(&piece);
        let into = self.window.get_mut(read.clone()).unwrap_or_default();
        match self.job.source.read_at(piece.start, into) {
            Ok(()) => {
                self.read_bytes += piece.end - piece.start;
                self.take_in(&piece, read)
            }
            Err(SourceError::Read { .. }) => self.cell_by_cell(piece),
            Err(error) => Err(error.into()),
        }
    }

    /// After a failed read: what can be read cell by cell is data, the rest is bad. Never zeros.
    fn cell_by_cell(&mut self, piece: Range<u64>) -> Result<(), StoreDiskError> {
        let mut at = piece.start;
        while at < piece.end {
            let cell = at..piece.end.min(at + self.cell_bytes);
            self.carry();
            let read = self.place(&cell);
            match self.try_cell(&cell, read.clone())? {
                CellRead::Good => {
                    self.read_bytes += cell.end - cell.start;
                    self.take_in(&cell, read)?;
                }
                CellRead::Bad => {
                    self.end_run()?;
                    self.bad_bytes += cell.end - cell.start;
                    self.extents.push(Extent::Bad { length: length(&cell) });
                }
            }
            at = cell.end;
        }
        Ok(())
    }

    fn try_cell(&mut self, cell: &Range<u64>, read: Range<usize>) -> Result<CellRead, StoreDiskError> {
        for _ in 0..READ_TRIES {
            let into = self.window.get_mut(read.clone()).unwrap_or_default();
            match self.job.source.read_at(cell.start, into) {
                Ok(()) => return Ok(CellRead::Good),
                Err(SourceError::Read { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(CellRead::Bad)
    }

    /// Moves the uncut end of the run to the front, so that what is read behind it begins on an aligned address.
    fn carry(&mut self) {
        let bytes = self.run.len();
        let start = self.window_start + bytes.next_multiple_of(ALIGNMENT) - bytes;
        self.window.copy_within(self.run.clone(), start);
        self.run = start..start + bytes;
    }

    /// Where bytes of `range` go: right behind the run.
    fn place(&mut self, range: &Range<u64>) -> Range<usize> {
        if self.run.is_empty() {
            self.run_address = range.start;
        }
        self.run.end..self.run.end + usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
    }

    /// Takes in the cells of `piece`, which lie in the window at `read`.
    fn take_in(&mut self, piece: &Range<u64>, read: Range<usize>) -> Result<(), StoreDiskError> {
        let cell_bytes = usize::try_from(self.cell_bytes).unwrap_or(usize::MAX);
        let (mut at, mut address) = (read.start, piece.start);
        while at < read.end {
            let cell = at..read.end.min(at + cell_bytes);
            let cell_end = address + (cell.end - cell.start) as u64;
            if self.window.get(cell.clone()).is_none_or(is_zero) {
                self.hole(address..cell_end)?;
                (self.run, self.run_address) = (cell.end..cell.end, cell_end);
            } else {
                self.run.end = cell.end;
            }
            (at, address) = (cell.end, cell_end);
        }
        self.cut(RunEnd::Beyond)
    }

    fn hole(&mut self, range: Range<u64>) -> Result<(), StoreDiskError> {
        if range.start < range.end {
            self.end_run()?;
            self.extents.push(Extent::Hole { length: length(&range) });
        }
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), StoreDiskError> {
        self.cut(RunEnd::Here)
    }

    /// Cuts and stores what can be cut of the run.
    fn cut(&mut self, end: RunEnd) -> Result<(), StoreDiskError> {
        while !self.run.is_empty() {
            let window = self.window.get(self.run.clone()).unwrap_or_default();
            let Some(bytes) = self.job.chunker.cut(window, self.run_address, end).and_then(|cut| window.get(..cut))
            else {
                return Ok(());
            };
            let chunk = HashedChunk::of_data(bytes, self.writer.keys());
            let reference = ChunkRef { id: chunk.id(), length: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
            self.run.start += bytes.len();
            self.run_address += bytes.len() as u64;
            self.data_bytes += bytes.len() as u64;
            self.writer.store(chunk)?;
            self.extents.push(Extent::Data(reference));
        }
        Ok(())
    }
}

enum CellRead {
    Good,
    Bad,
}

/// Length of a range inside a segment: at most 2^26.
fn length(range: &Range<u64>) -> u32 {
    u32::try_from(range.end - range.start).unwrap_or(u32::MAX)
}
