//! Why stored metadata or chunks could not be read.

use repo_format::{ChunkId, FormatError};

use crate::{catalog::CatalogError, error::Kind, pack_reader::PackError, store::StoreError};

/// Why something stored could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No pack that counts holds the chunk.
    #[error("chunk {id} is in no pack")]
    Missing {
        /// The chunk.
        id: ChunkId,
    },
    /// The pack that holds it cannot be read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The chunk is not what it should be.
    #[error("chunk {id}: {source}")]
    Chunk {
        /// The chunk.
        id: ChunkId,
        /// What is wrong.
        source: FormatError,
    },
    /// A context for opening frames could not be made.
    #[error(transparent)]
    Context(#[from] FormatError),
    /// The local cache cannot be used, and no temporary one can be made.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The local index cannot be written.
    #[error("local index: {0}")]
    Index(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } | Self::Chunk { .. } => Kind::Damaged,
            Self::Pack(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Context(_) => Kind::Bug,
            Self::Catalog(_) | Self::Index(_) => Kind::Unavailable,
        }
    }
}
