//! The directory of a pack: sealed, twice the same bytes.
//!
//! ```text
//! count | line | line | …  | zeros        sealed: a multiple of the shard
//! ```

use super::{footer::Footer, head::PackHead};
use crate::{
    chunk::Class,
    codec::{Put, Reader},
    envelope::{self, ObjectHeader, ObjectType, SEALED_OVERHEAD},
    error::FormatError,
    frame::FrameEntry,
    keys::Keyring,
};

const WHAT: &str = "pack directory";

/// What is in a pack, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    frames: Vec<FrameEntry>,
    offsets: Vec<u64>,
}

impl Directory {
    /// Opens either copy, in place. The frames must lie between the first shard and directory A, without a gap.
    pub fn open(sealed: &mut [u8], footer: &Footer, keys: &Keyring) -> Result<Self, FormatError> {
        if usize::try_from(footer.directory_bytes) != Ok(sealed.len()) {
            return Err(FormatError::damaged(WHAT, "sealed length", sealed.len(), footer.directory_bytes));
        }
        let header = header(&footer.head, sealed.len().saturating_sub(SEALED_OVERHEAD));
        let plain = envelope::open_in_place(keys, &header, sealed)?;
        let mut reader = Reader::new(WHAT, plain);
        let frames = read_frames(&mut reader)?;
        if frames.is_empty() {
            return Err(reader.damaged("frames", 0, "at least 1"));
        }
        let left = reader.remaining();
        if u32::try_from(left).is_ok_and(|left| left >= footer.shard_bytes) {
            return Err(reader.damaged("padding", left, format_args!("less than a shard of {}", footer.shard_bytes)));
        }
        reader.reserved("padding", left)?;
        let (offsets, end) = offsets(&frames, footer.shard_bytes);
        if end != footer.directory_a {
            let wanted = format_args!("at directory A, {}", footer.directory_a);
            return Err(FormatError::damaged(WHAT, "end of the last frame", end, wanted));
        }
        Ok(Self { frames, offsets })
    }

    /// All frames in their order.
    pub fn frames(&self) -> &[FrameEntry] {
        &self.frames
    }

    /// Frame `index`.
    pub fn frame(&self, index: usize) -> Option<&FrameEntry> {
        self.frames.get(index)
    }

    /// Where frame `index` begins in the pack.
    pub fn offset(&self, index: usize) -> Option<u64> {
        self.offsets.get(index).copied()
    }
}

fn read_frames(reader: &mut Reader<'_>) -> Result<Vec<FrameEntry>, FormatError> {
    let mut index = 0_usize;
    reader.list("frames", FrameEntry::LINE_BYTES_MIN, |reader| {
        let entry = FrameEntry::read(reader);
        let named = entry.map_err(|error| FormatError {
            what: WHAT,
            field: format!("frame {index}: {}", error.field),
            ..error
        });
        index += 1;
        named
    })
}

fn offsets(frames: &[FrameEntry], shard_bytes: u32) -> (Vec<u64>, u64) {
    let mut end = u64::from(shard_bytes);
    let offsets = frames
        .iter()
        .map(|frame| {
            let offset = end;
            // Fewer than 2^32 frames of less than 2^32 bytes each.
            end = end.saturating_add(u64::from(frame.sealed_bytes));
            offset
        })
        .collect();
    (offsets, end)
}

/// Sealed length of a directory of `frames` lines that are `lines_bytes` long.
pub(super) fn sealed_bytes(frames: usize, lines_bytes: usize, shard_bytes: usize) -> usize {
    let mut count = Vec::with_capacity(10);
    count.put_count(frames);
    (SEALED_OVERHEAD + count.len() + lines_bytes).next_multiple_of(shard_bytes)
}

/// The lines, filled up with zeros and sealed: `sealed_bytes` long.
pub(super) fn seal(
    head: &PackHead,
    frames: usize,
    lines: &[u8],
    sealed_bytes: usize,
    keys: &Keyring,
    random: [u8; 24],
) -> Result<Vec<u8>, FormatError> {
    let plain_bytes = sealed_bytes.saturating_sub(SEALED_OVERHEAD);
    let mut plain = Vec::with_capacity(plain_bytes);
    plain.put_count(frames);
    plain.extend_from_slice(lines);
    plain.resize(plain_bytes, 0);
    envelope::seal(keys, &header(head, plain_bytes), &plain, random)
}

pub(super) fn header(head: &PackHead, plain_bytes: usize) -> ObjectHeader {
    ObjectHeader {
        object_type: match head.class {
            Class::Data => ObjectType::DataDirectory,
            Class::Metadata => ObjectType::MetadataDirectory,
        },
        codec: 0,
        epoch: head.epoch,
        // usize is at most 64 bits on every target.
        plain_bytes: plain_bytes as u64,
        object: *head.salt.as_bytes(),
    }
}
