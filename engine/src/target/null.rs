//! A target that takes everything and keeps nothing: what a restore costs without the writing.

use std::ops::Range;

use repo_format::HashedChunk;

use super::{Room, Start, Target, TargetError};

/// Takes everything, keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullTarget;

impl Target for NullTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        Ok(None)
    }

    fn set_len(&self, _bytes: u64) -> Result<Start, TargetError> {
        Ok(Start::Zeros)
    }

    fn write_at(&self, _offset: u64, _chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        Ok(())
    }

    fn zero_at(&self, _range: Range<u64>) -> Result<(), TargetError> {
        Ok(())
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        buffer.fill(0);
        Ok(())
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
