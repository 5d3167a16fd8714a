//! A disk that is written.
//!
//! **Invariant:** a process that ends while it writes ends the restore of that disk: nobody could tell what of it is durable.

use std::ops::Range;

use engine::{NbdTarget, Room, Start, Target, TargetError};

use repo_format::HashedChunk;

use super::{DiskPlace, open_in};
use crate::vddk::{Launch, Process, ProcessError};

pub(super) fn open(launch: &Launch, process: &Process, place: &DiskPlace) -> Result<NbdTarget, ProcessError> {
    let opened = open_in(launch, process, place)?;
    Ok(NbdTarget::open(&opened.uri, process.nbd_options())?)
}

/// A disk that was just made: it reads as zeros, so holes are not written.
pub struct NewDiskTarget(NbdTarget);

impl NewDiskTarget {
    pub(super) fn new(target: NbdTarget) -> Self {
        Self(target)
    }
}

impl Target for NewDiskTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        self.0.room()
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        self.0.set_len(bytes).map(|_| Start::Zeros)
    }

    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        self.0.write_at(offset, chunks)
    }

    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError> {
        self.0.zero_at(range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.0.read_at(offset, buffer)
    }

    fn write_back(&self) -> Result<(), TargetError> {
        self.0.write_back()
    }

    fn finish(&self) -> Result<(), TargetError> {
        self.0.finish()
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        self.0.finish_with_losses()
    }
}
