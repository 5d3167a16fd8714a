//! The VM home on its way in and out: its typed record, and the two contents that travel beside it as streams.

use repo_format::{ChunkId, Encryption, FileName, Nvram, Stream, VmHome};
use zeroize::Zeroizing;

use crate::{
    error::Kind,
    frame_writer::{FrameWriter, WriteError},
    session::Session,
};

/// Most bytes of a document or an NVRAM file.
pub const HOME_CONTENT_BYTES_MAX: u64 = 16 << 20;

/// A VM home as the caller captured it.
pub struct CapturedHome {
    /// The typed record. Its `document` and `nvram` are filled in from the contents below when it is stored.
    pub record: VmHome,
    /// The configuration record, byte for byte.
    pub document: Zeroizing<Vec<u8>>,
    /// The NVRAM file, byte for byte.
    pub nvram: Option<(FileName, Zeroizing<Vec<u8>>)>,
}

impl CapturedHome {
    /// Does it lack a part without which the others are worth nothing?
    pub fn is_incomplete(&self) -> bool {
        self.record.encryption() == Encryption::Incomplete
    }
}

/// Where a VM home comes from.
///
/// It is asked when the disks are stored: keys and NVRAM may have changed while they were read, and whoever captures
/// them has to see that what it hands over is of one moment.
pub trait HomeSource {
    /// The home. A second call, by the next session after one that was ended, gives the same.
    fn home(&self) -> Result<&CapturedHome, HomeSourceError>;
}

impl HomeSource for CapturedHome {
    fn home(&self) -> Result<&CapturedHome, HomeSourceError> {
        Ok(self)
    }
}

/// The VM home cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct HomeSourceError {
    what: String,
    kind: Kind,
}

impl HomeSourceError {
    /// What happened, as a sentence, and how to react.
    pub fn new(what: impl ToString, kind: Kind) -> Self {
        Self { what: what.to_string(), kind }
    }

    /// How to react.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// Why a VM home could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A content is larger than any real one.
    #[error("{what} has {bytes} bytes, at most {HOME_CONTENT_BYTES_MAX} are stored")]
    TooLarge {
        /// Document or NVRAM.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl HomeError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } => Kind::Invalid,
            Self::Write(error) => error.kind(),
        }
    }
}

/// Stores a VM home and gives its id and the record as stored.
pub(crate) fn store_home(
    session: &Session<'_>,
    home: &CapturedHome,
    metadata: &mut FrameWriter,
) -> Result<(ChunkId, VmHome), HomeError> {
    let document = store_content(session, "the VM home document", &home.document, metadata)?;
    let nvram = match &home.nvram {
        Some((file_name, content)) => {
            Some(Nvram { file_name: file_name.clone(), content: store_content(session, "NVRAM", content, metadata)? })
        }
        None => None,
    };
    let record = VmHome { document, nvram, ..home.record.clone() };
    let (id, _) = metadata.store_metadata(&record.encode(session.writer().keys()))?;
    Ok((id, record))
}

fn store_content(
    session: &Session<'_>,
    what: &'static str,
    content: &[u8],
    metadata: &mut FrameWriter,
) -> Result<Stream, HomeError> {
    if content.len() as u64 > HOME_CONTENT_BYTES_MAX {
        return Err(HomeError::TooLarge { what, bytes: content.len() });
    }
    Ok(session.store_stream(content, metadata)?)
}
