//! Streams: documents and NVRAM, cut into pieces (SPEC.md section 12).
//!
//! ```text
//! length varint | BLAKE3 of the content 32 | list of { length varint, chunk id 32 }
//! ```

use crate::{
    chunk::ChunkRef,
    codec::{Put, Reader},
    error::FormatError,
    ids::{ChunkId, Digest},
};

/// A content that is stored in pieces. Lengths do not count the kind byte of the pieces' chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Length of the content.
    pub length: u64,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// The pieces in their order.
    pub pieces: Vec<ChunkRef>,
}

impl Stream {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(self.length);
        out.extend_from_slice(self.digest.as_bytes());
        out.put_count(self.pieces.len());
        for piece in &self.pieces {
            out.put_varint(u64::from(piece.length));
            out.extend_from_slice(piece.id.as_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let length = reader.varint("stream length")?;
        let digest = Digest::from_bytes(reader.array("stream hash")?);
        let pieces = reader.list("pieces", 1 + ChunkId::BYTES, |reader| {
            let length = reader.varint_u32("piece length")?;
            if length == 0 {
                return Err(reader.damaged("piece length", 0, "at least 1"));
            }
            Ok(ChunkRef { id: ChunkId::from_bytes(reader.array("piece id")?), length })
        })?;
        let sum: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        if sum != length {
            return Err(reader.damaged("piece lengths", format_args!("{sum} together"), length));
        }
        Ok(Self { length, digest, pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: u32) -> ChunkRef {
        ChunkRef { id: ChunkId::from_bytes([7; 32]), length }
    }

    fn stream(length: u64, pieces: Vec<ChunkRef>) -> Stream {
        Stream { length, digest: Digest::from_bytes([9; 32]), pieces }
    }

    fn reread(stream: &Stream) -> Result<Stream, FormatError> {
        let mut bytes = Vec::new();
        stream.put(&mut bytes);
        let mut reader = Reader::new("test", &bytes);
        let stream = Stream::read(&mut reader)?;
        reader.end()?;
        Ok(stream)
    }

    #[test]
    fn a_stream_reads_back_whole_in_pieces_and_empty() {
        for stream in [stream(0, vec![]), stream(5, vec![piece(5)]), stream(300, vec![piece(100), piece(200)])] {
            assert_eq!(reread(&stream).as_ref(), Ok(&stream));
        }
    }

    #[test]
    fn pieces_that_do_not_sum_up_are_refused() {
        assert!(reread(&stream(6, vec![piece(5)])).is_err());
        assert!(reread(&stream(0, vec![piece(5)])).is_err());
    }

    #[test]
    fn an_empty_piece_is_refused() {
        assert!(reread(&stream(5, vec![piece(5), piece(0)])).is_err());
    }
}
