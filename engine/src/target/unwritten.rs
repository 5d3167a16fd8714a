//! A target of which everything may be asked and which takes no writes: a dry run of a restore in place.

use std::ops::Range;

use repo_format::HashedChunk;

use super::{Room, Start, Target, TargetError};

/// Answers like the target behind it, and drops what is written.
pub struct UnwrittenTarget<T>(pub T);

impl<T: Target> Target for UnwrittenTarget<T> {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        self.0.room()
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        self.0.set_len(bytes)
    }

    fn write_at(&self, _offset: u64, _chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        Ok(())
    }

    fn zero_at(&self, _range: Range<u64>) -> Result<(), TargetError> {
        Ok(())
    }

    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        self.0.holds_data(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.0.read_at(offset, buffer)
    }

    fn write_back(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), TargetError> {
        Ok(())
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        Ok(())
    }
}
