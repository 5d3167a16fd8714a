//! The footer block, with which a pack begins and ends: where the directories are, and a check for each shard between.
//!
//! ```text
//!  0  head                       64      88  sealed length of a directory u32   4
//! 64  shards u32                  4      92  shard bytes u32                    4
//! 68  parity shards u32           4      96  BLAKE3-96 of shard 1, 2, … n−2    12 each
//! 72  offset of directory A u64   8       …  BLAKE3 of all bytes before        32
//! 80  offset of directory B u64   8       …  zeros to the end of the shard
//! ```

use std::ops::Range;

use super::head::{PACK_HEAD_BYTES, PackHead};
use crate::{codec::Reader, error::FormatError};

const WHAT: &str = "pack footer";
pub(super) const FIXED_BYTES: usize = PACK_HEAD_BYTES + 32;
const CHECK_BYTES: usize = 12;
const HASH_BYTES: usize = 32;
/// At most one shard of so many is parity.
const PARITY_SHARE_MIN: u32 = 3;

const _: () = assert!(FIXED_BYTES == PACK_HEAD_BYTES + 4 + 4 + 8 + 8 + 4 + 4);

/// Length of the block of a pack of so many shards.
pub(super) fn footer_bytes(shards: usize) -> Option<usize> {
    shards.checked_sub(2)?.checked_mul(CHECK_BYTES)?.checked_add(FIXED_BYTES + HASH_BYTES)
}

/// BLAKE3-96 of a shard.
pub(super) type ShardCheck = [u8; CHECK_BYTES];

/// The footer block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    pub(super) head: PackHead,
    pub(super) shards: u32,
    pub(super) parity: u32,
    pub(super) directory_a: u64,
    pub(super) directory_b: u64,
    pub(super) directory_bytes: u32,
    pub(super) shard_bytes: u32,
    pub(super) checks: Vec<ShardCheck>,
}

impl Footer {
    /// Reads the whole first or the whole last shard of a pack.
    pub fn decode(shard: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, shard);
        let head = PackHead::read(&mut reader)?;
        let shards = reader.u32("shards")?;
        let parity = reader.u32("parity shards")?;
        let directory_a = reader.u64("directory A")?;
        let directory_b = reader.u64("directory B")?;
        let directory_bytes = reader.u32("directory length")?;
        let shard_bytes = reader.u32("shard bytes")?;
        if usize::try_from(shard_bytes) != Ok(shard.len()) {
            return Err(reader.damaged("shard bytes", shard_bytes, format_args!("{} bytes were given", shard.len())));
        }
        let inner = shards.checked_sub(2).ok_or_else(|| reader.damaged("shards", shards, "at least 2"))?;
        let most = reader.remaining() / CHECK_BYTES;
        let inner = usize::try_from(inner).ok().filter(|inner| *inner <= most);
        let inner = inner.ok_or_else(|| reader.damaged("shards", shards, format_args!("checks for {most} fit")))?;
        let checks = (0..inner).map(|_| reader.array("shard check")).collect::<Result<_, _>>()?;
        let hash = *blake3::hash(shard.get(..shard.len() - reader.remaining()).unwrap_or(shard)).as_bytes();
        if reader.array::<HASH_BYTES>("checksum")? != hash {
            return Err(reader.damaged("checksum", "another", "BLAKE3 of the bytes before"));
        }
        let left = reader.remaining();
        reader.reserved("end of the shard", left)?;
        let footer = Self { head, shards, parity, directory_a, directory_b, directory_bytes, shard_bytes, checks };
        footer.check_places()?;
        Ok(footer)
    }

    /// The footer of a whole pack, from either end.
    pub(super) fn find(pack: &[u8]) -> Result<Self, FormatError> {
        let lengths = || (10..=20).map(|log2| 1_usize << log2).filter(|length| *length <= pack.len());
        let first = lengths().filter_map(|length| Self::decode(pack.get(..length)?).ok());
        let last = lengths().filter_map(|length| Self::decode(pack.get(pack.len() - length..)?).ok());
        let fits = |footer: &Self| usize::try_from(footer.pack_bytes()) == Ok(pack.len());
        first.chain(last).find(fits).ok_or_else(|| FormatError::damaged(WHAT, "copies", "neither can be read", "one"))
    }

    /// Directory B ends where the last shard begins, the parity ends where B begins, A lies between the first shard and the
    /// parity.
    fn check_places(&self) -> Result<(), FormatError> {
        let shard_bytes = u64::from(self.shard_bytes);
        let directory_bytes = u64::from(self.directory_bytes);
        if directory_bytes == 0 || directory_bytes % shard_bytes != 0 {
            let wanted = format_args!("a multiple of {shard_bytes}");
            return Err(FormatError::damaged(WHAT, "directory length", directory_bytes, wanted));
        }
        let last_shard = self.pack_bytes() - shard_bytes;
        if self.directory_b.checked_add(directory_bytes) != Some(last_shard) {
            let wanted = format_args!("ends at {last_shard}");
            return Err(FormatError::damaged(WHAT, "directory B", self.directory_b, wanted));
        }
        if self.parity > self.shards / PARITY_SHARE_MIN {
            let wanted = format_args!("at most a third of {} shards", self.shards);
            return Err(FormatError::damaged(WHAT, "parity shards", self.parity, wanted));
        }
        let parity = self.directory_b.saturating_sub(u64::from(self.parity) * shard_bytes);
        let end_a = self.directory_a.checked_add(directory_bytes);
        if self.directory_a < shard_bytes || end_a.is_none_or(|end| end > parity) {
            let wanted = format_args!("{shard_bytes} … {parity} − {directory_bytes}");
            return Err(FormatError::damaged(WHAT, "directory A", self.directory_a, wanted));
        }
        Ok(())
    }

    /// The block, filled up with zeros to a shard.
    pub(super) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let length = FIXED_BYTES + self.checks.len() * CHECK_BYTES + HASH_BYTES;
        let shard_bytes = usize::try_from(self.shard_bytes).unwrap_or(usize::MAX);
        if length > shard_bytes {
            return Err(FormatError::invalid(WHAT, "length", length, format_args!("one shard of {shard_bytes} bytes")));
        }
        let mut out = Vec::with_capacity(shard_bytes);
        self.head.put(&mut out);
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.extend_from_slice(&self.parity.to_le_bytes());
        out.extend_from_slice(&self.directory_a.to_le_bytes());
        out.extend_from_slice(&self.directory_b.to_le_bytes());
        out.extend_from_slice(&self.directory_bytes.to_le_bytes());
        out.extend_from_slice(&self.shard_bytes.to_le_bytes());
        out.extend_from_slice(self.checks.as_flattened());
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        out.resize(shard_bytes, 0);
        Ok(out)
    }

    /// Whose pack this is.
    pub fn head(&self) -> &PackHead {
        &self.head
    }

    /// Length of the pack in shards.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// How many of the shards are parity: so many damaged ones can be made anew.
    pub fn parity_shards(&self) -> u32 {
        self.parity
    }

    /// Which of the shards are parity: the ones before the second copy of the directory.
    pub(super) fn parity_place(&self) -> Range<usize> {
        let end = self.directory_b.checked_div(u64::from(self.shard_bytes)).unwrap_or_default();
        let (start, end) = (end.saturating_sub(u64::from(self.parity)), end);
        // A pack has fewer than 2^32 shards.
        usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX)
    }

    /// Length of a shard.
    pub fn shard_bytes(&self) -> u32 {
        self.shard_bytes
    }

    /// Where the first copy of the directory is.
    pub fn directory_a(&self) -> u64 {
        self.directory_a
    }

    /// Where the second copy of the directory is.
    pub fn directory_b(&self) -> u64 {
        self.directory_b
    }

    /// Sealed length of either copy.
    pub fn directory_bytes(&self) -> u32 {
        self.directory_bytes
    }

    /// Length of the pack.
    pub fn pack_bytes(&self) -> u64 {
        u64::from(self.shards) * u64::from(self.shard_bytes)
    }

    /// Compares shard `index` (neither the first nor the last) with its check.
    pub fn check_shard(&self, index: u32, bytes: &[u8]) -> Result<(), FormatError> {
        let place = index.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let Some(wanted) = place.and_then(|place| self.checks.get(place)) else {
            let wanted = format_args!("above 0 and below {}", self.shards.saturating_sub(1));
            return Err(FormatError::invalid(WHAT, "shard", index, wanted));
        };
        if usize::try_from(self.shard_bytes) != Ok(bytes.len()) || shard_check(bytes) != *wanted {
            return Err(FormatError::damaged(
                "pack",
                format!("shard {index}"),
                "other bytes",
                "those its check was made of",
            ));
        }
        Ok(())
    }
}

/// BLAKE3-96 of a shard.
pub(super) fn shard_check(shard: &[u8]) -> ShardCheck {
    let mut check = [0; CHECK_BYTES];
    let hash = blake3::hash(shard);
    check.iter_mut().zip(hash.as_bytes()).for_each(|(check, byte)| *check = *byte);
    check
}
