//! Brings a VM home back, byte for byte: document and NVRAM of one restore point, never of two.

use repo_format::{ChunkId, Digest, FileName, FormatError, MetadataKind, Stream, VmHome};
use zeroize::Zeroizing;

use super::read_point;
use crate::{error::Kind, read_error::ReadError, repository::Reader};

/// The longest document or NVRAM that is brought back in memory.
const STREAM_BYTES_MAX: u64 = 64 << 20;

/// A VM home as it was given.
pub struct RestoredHome {
    /// Its fields.
    pub home: VmHome,
    /// The configuration record, byte for byte.
    pub document: Zeroizing<Vec<u8>>,
    /// What the NVRAM file is called, and its bytes.
    pub nvram: Option<(FileName, Zeroizing<Vec<u8>>)>,
}

/// The same where an NVRAM that cannot be read does not keep the rest from coming back.
pub struct RestoredHomeParts {
    /// Its fields.
    pub home: VmHome,
    /// The configuration record, byte for byte.
    pub document: Zeroizing<Vec<u8>>,
    /// The bytes of the NVRAM file, or why they do not come back.
    pub nvram: Option<Result<Zeroizing<Vec<u8>>, RestoreHomeError>>,
}

/// Why a VM home does not come back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreHomeError {
    /// The point has none.
    #[error("restore point {point} has no VM home")]
    None {
        /// The point.
        point: ChunkId,
    },
    /// It cannot be read.
    #[error("VM home: {0}")]
    Read(#[from] ReadError),
    /// The document or the NVRAM is not what it was.
    #[error("VM home: {0}")]
    Stream(FormatError),
}

impl RestoreHomeError {
    /// How to react.
    pub fn kind(&self) -> Kind {
        match self {
            Self::None { .. } => Kind::Missing,
            Self::Read(error) => error.kind(),
            Self::Stream(_) => Kind::Damaged,
        }
    }
}

/// The VM home of restore point `point`, with the contents of its streams.
pub fn restore_home(reader: &Reader, point: ChunkId) -> Result<RestoredHome, RestoreHomeError> {
    let RestoredHomeParts { home, document, nvram } = restore_home_parts(reader, point)?;
    let nvram = match (&home.nvram, nvram.transpose()?) {
        (Some(file), Some(bytes)) => Some((file.file_name.clone(), bytes)),
        _ => None,
    };
    Ok(RestoredHome { home, document, nvram })
}

/// The VM home of restore point `point`, with its NVRAM or why that does not come back.
pub fn restore_home_parts(reader: &Reader, point: ChunkId) -> Result<RestoredHomeParts, RestoreHomeError> {
    let record = read_point(reader, point)?;
    let home = read_home(reader, record.vm_home.ok_or(RestoreHomeError::None { point })?)?;
    let document = read_stream(reader, "document", &home.document)?;
    let nvram = home.nvram.as_ref().map(|nvram| read_stream(reader, "NVRAM", &nvram.content));
    Ok(RestoredHomeParts { home, document, nvram })
}

/// The fields of VM home `id`; its parts belong together, or nothing of it is given.
pub(crate) fn read_home(reader: &Reader, id: ChunkId) -> Result<VmHome, ReadError> {
    let chunk = reader.metadata(id, MetadataKind::VmHome)?;
    VmHome::decode(&chunk, reader.keys()).map_err(|source| ReadError::Chunk { id, source })
}

/// The content of a stream, compared with its hash.
pub(crate) fn read_stream(
    reader: &Reader,
    what: &'static str,
    stream: &Stream,
) -> Result<Zeroizing<Vec<u8>>, RestoreHomeError> {
    let wrong = |field: &str, found: &dyn ToString, wanted: &dyn ToString| {
        RestoreHomeError::Stream(FormatError::damaged(what, field, found.to_string(), wanted.to_string()))
    };
    if stream.length > STREAM_BYTES_MAX {
        return Err(wrong("length", &stream.length, &format_args!("at most {STREAM_BYTES_MAX}")));
    }
    // Reserved once: a buffer that grows would leave copies of secrets behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(stream.length).unwrap_or_default()));
    for piece in &stream.pieces {
        let chunk = reader.metadata(piece.id, MetadataKind::StreamPiece)?;
        let payload = chunk.payload_of(MetadataKind::StreamPiece).map_err(RestoreHomeError::Stream)?;
        if usize::try_from(piece.length) != Ok(payload.len()) {
            return Err(wrong("piece length", &payload.len(), &piece.length));
        }
        content.extend_from_slice(payload);
    }
    let digest = Digest::of(&content);
    if digest != stream.digest {
        return Err(wrong("hash", &digest, &stream.digest));
    }
    Ok(content)
}
