//! Where disks come from: something with a size, a list of what is allocated, and reads at an offset.

mod memory;
mod nbd;
mod raw_image;

use std::{io, ops::Range};

use crate::{error::Kind, nbd::NbdError};

pub use memory::MemorySource;
pub use nbd::NbdSource;
pub use raw_image::{RawImage, SourceOpenError};

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The device or file gave an error for this range; other ranges may be fine.
    #[error("read failed at byte {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The source ends before the size it had at the beginning: whoever shrinks it is still at work.
    #[error(
        "the source ends at or before byte {offset}, but it was larger when the backup began: something is changing it"
    )]
    Shrunk {
        /// Where the bytes ended.
        offset: u64,
    },
    /// The server behind the source is gone, or is not one: this says nothing about the bytes.
    #[error("{source} (at byte {offset} of the disk)")]
    Nbd {
        /// Where we were.
        offset: u64,
        /// What went wrong.
        source: NbdError,
    },
    /// The disk lies in a repository, and what is wanted of it cannot be had there. No loss of the disk itself.
    #[error("the disk cannot be read at byte {offset}: {what}")]
    Stored {
        /// Where.
        offset: u64,
        /// What it is about, and why.
        what: String,
        /// How to react.
        kind: Kind,
    },
    /// What reads the disk is of no use any more: this says nothing about the bytes.
    #[error("{source} (at byte {offset} of the disk)")]
    Reader {
        /// Where we were.
        offset: u64,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// How to react.
        kind: Kind,
    },
    /// There is no such list of what changed.
    #[error("the source has no dirty bitmap {bitmap:?}; it has {}", if there.is_empty() { "none".to_owned() } else { there.join(", ") })]
    NoBitmap {
        /// What was asked for.
        bitmap: String,
        /// What there is.
        there: Vec<String>,
    },
}

impl SourceError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Shrunk { .. } => Kind::Failed,
            Self::Nbd { source, .. } => source.kind(),
            Self::Stored { kind, .. } | Self::Reader { kind, .. } => *kind,
            Self::NoBitmap { .. } => Kind::Missing,
        }
    }
}

/// A disk to back up. Reads come from several threads at once.
///
/// **Invariant:** what is outside [`DiskSource::allocated`] reads as zeros.
pub trait DiskSource: Send + Sync {
    /// Size of the disk in bytes.
    fn bytes(&self) -> u64;

    /// Ranges that may hold something else than zeros: ascending, not overlapping, inside the disk.
    fn allocated(&self) -> Result<Vec<Range<u64>>, SourceError>;

    /// The same inside `range`, for whoever wants to know about little: ranges may reach beyond it. A source that cannot
    /// tell cheaply says that all of it may hold something.
    fn allocated_within(&self, range: &Range<u64>) -> Result<Vec<Range<u64>>, SourceError> {
        Ok(vec![range.clone()])
    }

    /// Fills `into` from `offset`; any offset and length inside the disk may be asked for.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), SourceError>;

    /// What will be read: `ranges`, ascending, in stretches that begin at multiples of `stretch_bytes`; each stretch from its
    /// beginning to its end, several at a time. A source with latency asks for it ahead.
    fn will_read(&self, ranges: &[Range<u64>], stretch_bytes: u64) {
        let _ = (ranges, stretch_bytes);
    }

    /// Ranges that changed since the dirty bitmap was begun: ascending, apart from each other, inside the disk.
    fn dirty_extents(&self, bitmap: &str) -> Result<Vec<Range<u64>>, SourceError> {
        Err(SourceError::NoBitmap { bitmap: bitmap.to_owned(), there: Vec::new() })
    }
}
