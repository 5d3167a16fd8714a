//! Why the log cannot be read or written.

use repo_format::{Digest, ErrorKind, FormatError};

use super::{LogHead, Refusal};
use crate::{error::Kind, store::StoreError};

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is not what was written.
    #[error("log entry {number}: {source}")]
    Entry {
        /// Its number.
        number: u64,
        /// What is wrong.
        source: FormatError,
    },
    /// An entry does not continue the one before.
    #[error("log entry {number} does not continue entry {}: it names {found}, the entry before it is {wanted}", number - 1)]
    Broken {
        /// Its number.
        number: u64,
        /// What it names.
        found: Digest,
        /// What it should name.
        wanted: Digest,
    },
    /// The log does not contain the head that this client remembers.
    #[error(
        "this repository's history does not continue what this machine has seen: remembered head {}, found head {}",
        remembered.to_full_text(),
        found.to_full_text()
    )]
    History {
        /// What the client has seen.
        remembered: LogHead,
        /// What is there.
        found: LogHead,
    },
    /// What was to be written makes no sense any more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Others write faster than this run can.
    #[error("log entry {number} could not be added in {tries} tries: other writers came first each time")]
    Contended {
        /// The number wanted last.
        number: u64,
        /// Tries made.
        tries: u32,
    },
}

impl LogError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Entry { source, .. } => match source.kind {
                ErrorKind::Unsupported => Kind::Unsupported,
                ErrorKind::Invalid => Kind::Bug,
                _ => Kind::Damaged,
            },
            Self::Broken { .. } => Kind::Damaged,
            Self::History { .. } => Kind::History,
            Self::Refused(Refusal::Superseded(_)) => Kind::Busy,
            Self::Refused(Refusal::Invalid(_)) => Kind::Invalid,
            Self::Contended { .. } => Kind::Unavailable,
        }
    }
}
