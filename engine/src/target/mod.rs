//! Where a disk is brought back to.
//!
//! **Invariant:** data enters a target only as [`HashedChunk`]: bytes that bear their name under the repository's key.

mod file;
mod memory;
mod nbd;
mod null;
mod unwritten;

use std::{io, ops::Range, path::PathBuf};

use repo_format::HashedChunk;

use crate::{error::Kind, nbd::NbdError};

pub use file::{FileTarget, FileTargetOptions, IfExists, Space, check_file_name};
pub use memory::{Ending, MemoryTarget};
pub use nbd::NbdTarget;
pub use null::NullTarget;
pub use unwritten::UnwrittenTarget;

/// What a target reads as before anything is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Zeros everywhere: holes need no writing.
    Zeros,
    /// What an earlier run of a restore left; what is right already need not be written again.
    Resumed,
    /// What the disk is to be changed from, where it lies: what is right already is not written again. It is longer than
    /// the disk by `tail_bytes`, which stay as they are.
    InPlace {
        /// Bytes beyond the disk.
        tail_bytes: u64,
    },
    /// Anything; it is longer than the disk by `tail_bytes`, which stay as they are.
    Foreign {
        /// Bytes beyond the disk.
        tail_bytes: u64,
    },
}

/// Room for a target's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The file system; targets on the same one share its room.
    pub file_system: u64,
    /// Free bytes on it.
    pub free_bytes: u64,
    /// Bytes that the target has taken already.
    pub held_bytes: u64,
}

/// A file, device or other place that takes a disk. Writes come from several threads, in any order, never overlapping.
pub trait Target: Send + Sync {
    /// How much room there is, if that can be known.
    fn room(&self) -> Result<Option<Room>, TargetError>;

    /// Makes ready for a disk of `bytes`. Called once, before anything else that writes.
    fn set_len(&self, bytes: u64) -> Result<Start, TargetError>;

    /// Writes chunks one after the other from `offset`.
    fn write_at(&self, offset: u64, chunks: &[HashedChunk<'_>]) -> Result<(), TargetError>;

    /// Makes a range read as zeros.
    fn zero_at(&self, range: Range<u64>) -> Result<(), TargetError>;

    /// Where, inside `range`, something else than zeros may be; only asked of a [`Start::InPlace`] target.
    fn holds_data(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, TargetError> {
        Ok(vec![range.clone()])
    }

    /// Fills `buffer` from `offset`; only asked of a [`Start::Resumed`] or [`Start::InPlace`] target.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), TargetError>;

    /// Brings what was written to the medium, while others go on writing.
    fn write_back(&self) -> Result<(), TargetError>;

    /// All was written: makes it durable and gives it its name.
    fn finish(&self) -> Result<(), TargetError>;

    /// Something is missing: makes what there is durable, under the name of an unfinished restore.
    fn finish_with_losses(&self) -> Result<(), TargetError>;
}

/// Why a target does not take a disk.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Something of that name is there.
    #[error("{} exists", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// Nothing is there that could be changed in place.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The name.
        path: PathBuf,
    },
    /// Links are not followed: what is written must be where its name says.
    #[error("{} is a symbolic link; name the place it leads to", path.display())]
    Link {
        /// The name.
        path: PathBuf,
    },
    /// Neither a regular file nor a block device.
    #[error("{} is {found}, not a file or block device", path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A name that could lead elsewhere.
    #[error("{name:?} is not a file name of A-Z a-z 0-9 . _ - with 1 to 128 characters")]
    Name {
        /// The name.
        name: String,
    },
    /// Another restore writes there, or the device is mounted.
    #[error("{} is in use", path.display())]
    InUse {
        /// The name.
        path: PathBuf,
    },
    /// The disk does not fit.
    #[error("{} has {found_bytes} bytes, the disk {wanted_bytes}", path.display())]
    TooSmall {
        /// The name.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// The disk's length.
        wanted_bytes: u64,
    },
    /// The file system is full.
    #[error("no space left for {}", path.display())]
    Full {
        /// The name.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{}: {operation}: {source}", path.display())]
    Io {
        /// The name.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What was answered.
        source: io::Error,
    },
    /// The server behind the target.
    #[error(transparent)]
    Nbd {
        /// What went wrong.
        #[from]
        source: NbdError,
    },
    /// The calls came in an order that has no meaning.
    #[error("{} was used before it was made ready", path.display())]
    NotReady {
        /// The name.
        path: PathBuf,
    },
}

impl TargetError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Link { .. }
            | Self::NotAFile { .. }
            | Self::Name { .. }
            | Self::InUse { .. }
            | Self::TooSmall { .. } => Kind::Invalid,
            Self::Full { .. } => Kind::Unavailable,
            Self::Io { .. } => Kind::Failed,
            Self::Nbd { source } => source.kind(),
            Self::NotReady { .. } => Kind::Bug,
        }
    }
}
