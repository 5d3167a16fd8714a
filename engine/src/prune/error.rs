//! Why a prune did not end well, and which of the reasons are worth another try.

use repo_format::ChunkId;

use crate::{
    error::Kind,
    frame_writer::WriteError,
    log::{LogError, Refusal},
    pack_sink::SinkError,
    read_error::ReadError,
    session::SessionError,
    state_folder::StateFolderError,
    store::{Reaction, StoreError},
};

/// Why a prune did not end well. What it had logged before stands; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What a live point needs cannot be seen.
    #[error(
        "nothing is removed, because part of what restore point {point} needs cannot be read ({source}): see what verify \
         says, then repair the repository or forget that point"
    )]
    Unreadable {
        /// The point.
        point: ChunkId,
        /// Why.
        source: ReadError,
    },
    /// Needed chunks are in no pack that is known.
    #[error(
        "nothing is removed, because {chunks} needed chunks are in no pack that can be read: see what verify says, then \
         repair the repository or forget the points that it names"
    )]
    Missing {
        /// How many.
        chunks: u64,
    },
    /// The log could not be written, or somebody else keeps changing what is needed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Something cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packs could not be rewritten.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(StateFolderError),
    /// The operator asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<WriteError> for PruneError {
    fn from(error: WriteError) -> Self {
        Self::Session(error.into())
    }
}

impl From<SinkError> for PruneError {
    fn from(error: SinkError) -> Self {
        Self::Session(error.into())
    }
}

impl From<crate::catalog::CatalogError> for PruneError {
    fn from(error: crate::catalog::CatalogError) -> Self {
        Self::Read(error.into())
    }
}

impl PruneError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { source, .. } => source.kind(),
            Self::Missing { .. } => Kind::Damaged,
            Self::Log(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Interrupted => Kind::Interrupted,
        }
    }

    /// The store has no room left.
    pub(super) fn is_full(&self) -> bool {
        let store = match self {
            Self::Store(error)
            | Self::Log(LogError::Store(error))
            | Self::Session(
                SessionError::Store(error)
                | SessionError::Log(LogError::Store(error))
                | SessionError::Sink(SinkError::Store(error))
                | SessionError::Write(WriteError::Sink(SinkError::Store(error))),
            ) => error,
            _ => return false,
        };
        store.reaction == Reaction::Full
    }

    /// What was surveyed does not hold any more.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(self, Self::Log(LogError::Refused(Refusal::Outdated(_))))
    }
}
