//! Why a repair could not go on.

use crate::{
    error::Kind, frame_writer::WriteError, log::LogError, pack_sink::SinkError, pipeline::StoreDiskError,
    read_error::ReadError, session::SessionError, store::StoreError, verify::VerifyError,
};

/// Why a repair was not finished. What was mended until then stays mended; run it again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The repository cannot be looked through.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The repository cannot be read right now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What was fetched could not be stored.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A disk of the other repository could not be stored.
    #[error("fetching from the other repository: {0}")]
    Disk(StoreDiskError),
    /// Somebody asked to stop.
    #[error("interrupted; what was mended stays mended")]
    Interrupted,
}

impl From<WriteError> for RepairError {
    fn from(error: WriteError) -> Self {
        Self::Session(error.into())
    }
}

impl From<SinkError> for RepairError {
    fn from(error: SinkError) -> Self {
        Self::Session(error.into())
    }
}

impl RepairError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Verify(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::Disk(StoreDiskError::Interrupted) | Self::Interrupted => Kind::Interrupted,
            Self::Disk(StoreDiskError::Write(error)) => error.kind(),
            Self::Disk(_) => Kind::Failed,
        }
    }
}
