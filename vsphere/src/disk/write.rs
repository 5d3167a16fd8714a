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

/// One request while a disk is looked through.
const LOOK_BYTES: usize = 1 << 20;

/// Where a disk holds something else than zeros, inside `range`: found by reading.
pub(crate) fn not_zero(disk: &dyn Target, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; LOOK_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end.saturating_sub(at)).unwrap_or(LOOK_BYTES).min(LOOK_BYTES);
        let part = buffer.get_mut(..length).unwrap_or_default();
        disk.read_at(at, part)?;
        let end = at.saturating_add(part.len() as u64);
        if part.iter().any(|byte| *byte != 0) {
            found.push(at..end);
        }
        at = end;
    }
    Ok(found)
}

/// What a disk reads as before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Zeros: it was just made, so that holes are not written.
    Zeros,
    /// Anything: what is right already is not written again.
    Anything,
}

/// A disk of a VM, open to be written.
pub struct VddkTarget {
    disk: NbdTarget,
    holds: Holds,
}

impl VddkTarget {
    pub(super) fn new_disk(disk: NbdTarget) -> Self {
        Self { disk, holds: Holds::Zeros }
    }

    pub(super) fn existing(disk: NbdTarget) -> Self {
        Self { disk, holds: Holds::Anything }
    }
}

impl Target for VddkTarget {
    fn room(&self) -> Result<Option<Room>, TargetError> {
        self.disk.room()
    }

    fn set_len(&self, bytes: u64) -> Result<Start, TargetError> {
        let start = self.disk.set_len(bytes)?;
        Ok(match (self.holds, start) {
            (Holds::Zeros, _) => Start::Zeros,
            (Holds::Anything, Start::Foreign { tail_bytes }) => Start::InPlace { tail_bytes },
            (Holds::Anything, start) => start,
        })
    }

    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError> {
        self.disk.write_at(offset, chunks)
    }

    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError> {
        self.disk.zero_at(range)
    }

    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        not_zero(&self.disk, range)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError> {
        self.disk.read_at(offset, buffer)
    }

    fn write_back(&self) -> Result<(), TargetError> {
        self.disk.write_back()
    }

    fn finish(&self) -> Result<(), TargetError> {
        self.disk.finish()
    }

    fn finish_with_losses(&self) -> Result<(), TargetError> {
        self.disk.finish_with_losses()
    }
}
