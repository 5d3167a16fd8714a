//! One line of the index: which chunk lies where.

use repo_format::{ChunkId, PackOrdinal};

/// Where a chunk lies: pack, frame of its directory, chunk of that frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The pack, by its place in the log.
    pub pack: PackOrdinal,
    /// The frame in the pack's directory, from 0.
    pub frame: u32,
    /// The chunk in the frame, from 0.
    pub position: u32,
}

/// A chunk and where it lies, as an index run holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexEntry {
    pub(crate) id: ChunkId,
    /// Pack number relative to the run's base.
    pub(crate) pack: u32,
    pub(crate) frame: u32,
    pub(crate) position: u32,
}

/// ```text
///  0  chunk id   32
/// 32  pack       u32, relative to the run's base
/// 36  frame      u32
/// 40  position   u32
/// ```
pub(crate) const ENTRY_BYTES: usize = 44;

impl IndexEntry {
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let fields = self.id.as_bytes().iter().copied();
        let numbers = [self.pack, self.frame, self.position].into_iter().flat_map(u32::to_le_bytes);
        out.iter_mut().zip(fields.chain(numbers)).for_each(|(place, byte)| *place = byte);
        out
    }

    /// The entry in `bytes`; `None` if they are not [`ENTRY_BYTES`] long.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<32>()?;
        let (pack, rest) = rest.split_first_chunk::<4>()?;
        let (frame, rest) = rest.split_first_chunk::<4>()?;
        let position: &[u8; 4] = rest.try_into().ok()?;
        Some(Self {
            id: ChunkId::from_bytes(*id),
            pack: u32::from_le_bytes(*pack),
            frame: u32::from_le_bytes(*frame),
            position: u32::from_le_bytes(*position),
        })
    }
}

/// The first eight bytes of an id as a number whose order is that of the ids: ids are keyed hashes, so this is uniform.
pub(crate) fn sort_key(id: &ChunkId) -> u64 {
    id.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back() {
        let entry = IndexEntry { id: ChunkId::from_bytes([7; 32]), pack: 1, frame: 2, position: 3 };
        assert_eq!(IndexEntry::decode(&entry.encode()), Some(entry));
        assert_eq!(IndexEntry::decode(&entry.encode()[1..]), None);
    }
}
