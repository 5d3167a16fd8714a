//! Why the log cannot be read or written.

use repo_format::{Digest, ErrorKind, FormatError};

use super::{LogHead, Refusal, VoidRecord};
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
        "this repository's history does not continue what this machine has seen: remembered head {}, found head {}. \
         If you know why (the repository was restored from a copy, say), accept what is there with --accept-rollback {}",
        remembered.to_full_text(),
        found.to_full_text(),
        found.digest
    )]
    History {
        /// What the client has seen.
        remembered: LogHead,
        /// What is there.
        found: LogHead,
    },
    /// There is a config, but not even the first entry.
    #[error("log entry 1 is missing: the log of this repository is lost, or the store shows only a part of it")]
    Lost,
    /// An entry is missing, yet a later one is there.
    #[error("log entry {number} is missing, yet entry {later} is there")]
    Gap {
        /// The first that is missing.
        number: u64,
        /// One that is there.
        later: u64,
    },
    /// What was just written has no effect.
    #[error("this program has written a record that has no effect: {0}")]
    OwnVoid(VoidRecord),
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
            Self::Broken { .. } | Self::Lost | Self::Gap { .. } => Kind::Damaged,
            Self::OwnVoid(_) => Kind::Bug,
            Self::History { .. } => Kind::History,
            Self::Refused(Refusal::Superseded(_)) => Kind::Busy,
            Self::Refused(Refusal::Invalid(_)) => Kind::Invalid,
            Self::Refused(Refusal::Outdated(_)) | Self::Contended { .. } => Kind::Unavailable,
        }
    }
}
