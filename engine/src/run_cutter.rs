//! From the bytes of one segment to its extents: holes apart, data runs cut into chunks. The one place where that is
//! done, for a whole segment and for a part of one.

use std::ops::Range;

use repo_format::{ChunkRef, Chunker, Chunking, Extent, HashedChunk, Keyring, RunEnd, SegmentMap};

use crate::{
    aligned::{ALIGNMENT, lead},
    frame_writer::{FrameWriter, WriteError},
};

/// One read of a source. With the carried rest of a chunk it fits the second-level cache of a core.
pub(crate) const READ_BYTES: u64 = 512 << 10;

/// Takes chunks as they are cut.
pub(crate) trait ChunkTaker {
    /// Why one could not be taken.
    type Error;

    /// Takes a chunk of these bytes and gives its name.
    fn take(&mut self, bytes: &[u8]) -> Result<ChunkRef, Self::Error>;
}

impl ChunkTaker for FrameWriter {
    type Error = WriteError;

    fn take(&mut self, bytes: &[u8]) -> Result<ChunkRef, WriteError> {
        let chunk = HashedChunk::of_data(bytes, self.keys());
        let reference = reference(&chunk);
        self.store(chunk)?;
        Ok(reference)
    }
}

/// Only names chunks.
pub(crate) struct ChunkNamer<'k>(pub(crate) &'k Keyring);

impl ChunkTaker for ChunkNamer<'_> {
    type Error = std::convert::Infallible;

    fn take(&mut self, bytes: &[u8]) -> Result<ChunkRef, Self::Error> {
        Ok(reference(&HashedChunk::of_data(bytes, self.0)))
    }
}

fn reference(chunk: &HashedChunk<'_>) -> ChunkRef {
    ChunkRef { id: chunk.id(), length: u32::try_from(chunk.len()).unwrap_or(u32::MAX) }
}

/// Where an uncut run stands after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A chunk has ended at this address of the disk.
    At(u64),
    /// More bytes are needed, or there are none.
    Not,
}

/// Gathers the extents of one segment, front to back.
pub(crate) struct RunCutter<'c> {
    chunker: &'c Chunker,
    cell_bytes: usize,
    window: Vec<u8>,
    /// The first place in `window` that reads may go to.
    window_start: usize,
    /// The uncut end of the current data run, in `window`; its first byte lies at `run_address` of the disk.
    run: Range<usize>,
    run_address: u64,
    extents: Vec<Extent>,
}

impl<'c> RunCutter<'c> {
    pub(crate) fn new(chunker: &'c Chunker, chunking: Chunking) -> Self {
        let window_bytes = usize::try_from(READ_BYTES + u64::from(chunking.max_bytes())).unwrap_or(usize::MAX);
        let window = vec![0; window_bytes.saturating_add(2 * ALIGNMENT)];
        let window_start = lead(&window);
        Self {
            chunker,
            cell_bytes: usize::try_from(chunking.min_bytes()).unwrap_or(usize::MAX),
            window,
            window_start,
            run: window_start..window_start,
            run_address: 0,
            extents: Vec::new(),
        }
    }

    /// Room for the next `bytes` of the disk, at most [`READ_BYTES`], right behind the uncut run. It begins on an aligned
    /// address: the uncut run is moved so that it ends there.
    pub(crate) fn room(&mut self, bytes: u64) -> &mut [u8] {
        debug_assert!(bytes <= READ_BYTES, "a read of {bytes} bytes has no room");
        let carried = self.run.len();
        let start = self.window_start + carried.next_multiple_of(ALIGNMENT) - carried;
        self.window.copy_within(self.run.clone(), start);
        self.run = start..start + carried;
        let end = self.run.end.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.window.get_mut(self.run.end..end).unwrap_or_default()
    }

    /// Takes in what was put into the [`Self::room`] for `piece`, which is whole cells: those of zeros are holes.
    pub(crate) fn take_cells<T: ChunkTaker>(&mut self, piece: &Range<u64>, taker: &mut T) -> Result<(), T::Error> {
        let (mut at, mut address) = (self.run.end, piece.start);
        let end = at + usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
        while at < end {
            let cell = at..end.min(at + self.cell_bytes);
            let cell_end = address + (cell.end - cell.start) as u64;
            if self.window.get(cell.clone()).is_none_or(is_zero) {
                self.hole(&(address..cell_end), taker)?;
                self.run = cell.end..cell.end;
            } else {
                self.lengthen(address, cell.end);
            }
            (at, address) = (cell.end, cell_end);
        }
        Ok(())
    }

    /// Takes in what was put into the [`Self::room`] for `piece`, which is known to have no cell of zeros.
    pub(crate) fn take_data(&mut self, piece: &Range<u64>) {
        let end = self.run.end + usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
        self.lengthen(piece.start, end);
    }

    fn lengthen(&mut self, address: u64, end: usize) {
        if self.run.is_empty() {
            self.run_address = address;
        }
        self.run.end = end;
    }

    /// Zeros, known or read.
    pub(crate) fn hole<T: ChunkTaker>(&mut self, range: &Range<u64>, taker: &mut T) -> Result<(), T::Error> {
        self.without_data(Extent::Hole { length: length(range) }, taker)
    }

    /// What cannot be read.
    pub(crate) fn bad<T: ChunkTaker>(&mut self, range: &Range<u64>, taker: &mut T) -> Result<(), T::Error> {
        self.without_data(Extent::Bad { length: length(range) }, taker)
    }

    fn without_data<T: ChunkTaker>(&mut self, extent: Extent, taker: &mut T) -> Result<(), T::Error> {
        if extent.length() > 0 {
            self.end_run(taker)?;
            self.extents.push(extent);
        }
        Ok(())
    }

    /// Keeps an extent as it is known from before. No run is open.
    pub(crate) fn keep(&mut self, extent: Extent) {
        self.extents.push(extent);
    }

    /// Cuts what can be cut of a run that goes on.
    pub(crate) fn cut_all<T: ChunkTaker>(&mut self, taker: &mut T) -> Result<(), T::Error> {
        while self.cut(RunEnd::Beyond, taker)? != Cut::Not {}
        Ok(())
    }

    /// Cuts all that is left of a run that ends.
    pub(crate) fn end_run<T: ChunkTaker>(&mut self, taker: &mut T) -> Result<(), T::Error> {
        while self.cut(RunEnd::Here, taker)? != Cut::Not {}
        Ok(())
    }

    /// Cuts one chunk off the run.
    pub(crate) fn cut<T: ChunkTaker>(&mut self, end: RunEnd, taker: &mut T) -> Result<Cut, T::Error> {
        let window = self.window.get(self.run.clone()).unwrap_or_default();
        let cut = if window.is_empty() { None } else { self.chunker.cut(window, self.run_address, end) };
        let Some(bytes) = cut.and_then(|cut| window.get(..cut)) else { return Ok(Cut::Not) };
        self.extents.push(Extent::Data(taker.take(bytes)?));
        self.run.start += bytes.len();
        self.run_address += bytes.len() as u64;
        Ok(Cut::At(self.run_address))
    }

    /// Whether no byte is waiting to be cut.
    pub(crate) fn is_between_runs(&self) -> bool {
        self.run.is_empty()
    }

    /// Gives up the uncut bytes: what they are is known from before.
    pub(crate) fn drop_run(&mut self) {
        self.run = 0..0;
    }

    /// The map of what was gathered; the cutter is ready for the next segment.
    pub(crate) fn finish(&mut self) -> SegmentMap {
        self.drop_run();
        SegmentMap::new(std::mem::take(&mut self.extents))
    }
}

/// Length of a range inside a segment: at most 2^26.
fn length(range: &Range<u64>) -> u32 {
    u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX)
}

/// Are all bytes zero? Data shows itself in its first bytes, so this costs little where there is some.
fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_anywhere_is_not_zero() {
        for length in [1, 63, 64, 65, 1000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length - 1] {
                bytes[at] = 1;
                assert!(!is_zero(&bytes));
                bytes[at] = 0;
            }
        }
    }
}
