//! Chunks and their names.

use crate::{ChunkId, FormatError, Keyring};

/// What a frame or a pack holds; the two never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Content of disks.
    Data,
    /// Everything that says where content belongs.
    Metadata,
}

impl Class {
    /// The byte that stands for the class in packs and in the log.
    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Metadata => 2,
        }
    }

    /// The class that `byte` stands for.
    pub(crate) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Metadata),
            _ => None,
        }
    }
}

/// A chunk by name and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Its name.
    pub id: ChunkId,
    /// Its bytes.
    pub length: u32,
}

/// Bytes together with the name they bear under one repository's key.
///
/// **Invariant:** only hashing makes one, on the way in as on the way out.
#[derive(Clone, Copy)]
pub struct HashedChunk<'a> {
    id: ChunkId,
    bytes: &'a [u8],
}

impl<'a> HashedChunk<'a> {
    /// Names bytes of a disk.
    pub fn of_data(bytes: &'a [u8], keys: &Keyring) -> Self {
        Self { id: keys.chunk_id(Class::Data, bytes), bytes }
    }

    /// Names a metadata chunk.
    pub fn of_metadata(chunk: &'a MetadataChunk, keys: &Keyring) -> Self {
        Self { id: keys.chunk_id(Class::Metadata, chunk.bytes()), bytes: chunk.bytes() }
    }

    /// Hashes what was read and insists on the name it was read under.
    pub fn expect(class: Class, id: ChunkId, bytes: &'a [u8], keys: &Keyring) -> Result<Self, FormatError> {
        let found = keys.chunk_id(class, bytes);
        if found == id {
            return Ok(Self { id, bytes });
        }
        Err(FormatError::damaged("chunk", "hash", found, format_args!("must be its id {id}")))
    }

    /// The name.
    pub const fn id(&self) -> ChunkId {
        self.id
    }

    /// The bytes; a metadata chunk's begin with its kind.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "a chunk that could be empty is not made by any chunker")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The first byte of a metadata chunk: what the rest means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MetadataKind {
    /// The extents of one segment.
    SegmentMap = 1,
    /// Up to 256 maps of one level below.
    MapNode = 2,
    /// A whole disk.
    MapRoot = 3,
    /// One state of one VM.
    RestorePoint = 4,
    /// What surrounds the disks.
    VmHome = 5,
    /// A piece of a document or of NVRAM.
    StreamPiece = 6,
}

impl MetadataKind {
    const ALL: [Self; 6] =
        [Self::SegmentMap, Self::MapNode, Self::MapRoot, Self::RestorePoint, Self::VmHome, Self::StreamPiece];

    fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::SegmentMap => "segment map",
            Self::MapNode => "map node",
            Self::MapRoot => "map root",
            Self::RestorePoint => "restore point",
            Self::VmHome => "VM home",
            Self::StreamPiece => "piece of a stream",
        }
    }
}

/// A metadata chunk: its kind and its payload in one buffer, as they are hashed.
///
/// Without `Debug`: a VM home holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct MetadataChunk {
    kind: MetadataKind,
    bytes: Vec<u8>,
}

impl MetadataChunk {
    /// The chunk of this kind with this payload.
    pub fn new(kind: MetadataKind, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(1 + payload.len());
        bytes.push(kind as u8);
        bytes.extend_from_slice(payload);
        Self { kind, bytes }
    }

    /// Reads the kind of a chunk as it was stored.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let damaged = |found: &dyn ToString| {
            Err(FormatError::damaged("metadata chunk", "kind", found.to_string(), "a number from 1 to 6"))
        };
        let Some(byte) = bytes.first() else { return damaged(&"no bytes") };
        match MetadataKind::from_wire(*byte) {
            Some(kind) => Ok(Self { kind, bytes }),
            None => damaged(byte),
        }
    }

    /// What the payload means.
    pub const fn kind(&self) -> MetadataKind {
        self.kind
    }

    /// Kind and payload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload, for a reader who expects `kind`.
    pub fn payload_of(&self, kind: MetadataKind) -> Result<&[u8], FormatError> {
        match self.bytes.split_first() {
            Some((_, payload)) if self.kind == kind => Ok(payload),
            _ => Err(FormatError::damaged(
                "metadata chunk",
                "kind",
                self.kind.name(),
                format_args!("{} expected", kind.name()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, RepositoryId, RepositoryKeys};

    fn keys(seed: u8) -> Keyring {
        Keyring::new(&RepositoryKeys::generate([seed; 32]), RepositoryId::from_bytes([9; 16]))
    }

    #[test]
    fn a_chunk_under_another_name_is_refused() {
        let keys = keys(1);
        let id = HashedChunk::of_data(b"content", &keys).id();
        assert_eq!(HashedChunk::expect(Class::Data, id, b"content", &keys).map(|chunk| chunk.id()).ok(), Some(id));
        let error = HashedChunk::expect(Class::Data, id, b"contend", &keys).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Damaged);
        assert!(HashedChunk::expect(Class::Metadata, id, b"content", &keys).is_err());
    }

    #[test]
    fn a_name_means_nothing_under_another_key() {
        assert_ne!(HashedChunk::of_data(b"content", &keys(1)).id(), HashedChunk::of_data(b"content", &keys(2)).id());
    }

    #[test]
    fn the_kind_is_part_of_a_metadata_chunks_name() {
        let (node, root) =
            (MetadataChunk::new(MetadataKind::MapNode, b"x"), MetadataChunk::new(MetadataKind::MapRoot, b"x"));
        let keys = keys(1);
        assert_ne!(HashedChunk::of_metadata(&node, &keys).id(), HashedChunk::of_metadata(&root, &keys).id());
    }

    #[test]
    fn a_metadata_chunk_reads_back_for_its_own_kind_alone() {
        for kind in MetadataKind::ALL {
            let chunk = MetadataChunk::from_bytes(MetadataChunk::new(kind, b"payload").bytes().to_vec()).ok().unwrap();
            assert_eq!(chunk.kind(), kind);
            for wanted in MetadataKind::ALL {
                assert_eq!(chunk.payload_of(wanted).ok(), (wanted == kind).then_some(&b"payload"[..]));
            }
        }
    }

    #[test]
    fn a_metadata_chunk_without_a_known_kind_is_damaged() {
        for bytes in [&[][..], &[0], &[7], &[255, 1]] {
            assert_eq!(MetadataChunk::from_bytes(bytes.to_vec()).err().unwrap().kind, ErrorKind::Damaged);
        }
    }
}
