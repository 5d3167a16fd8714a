//! Checkpoints (SPEC.md section 23): copies of log entries, many in one object, and the digest of a state.
//!
//! ```text
//!  0  magic "SRMCKPT1"   8      32  first u64: number of the first entry   8
//!  8  format u16         2      40  entries u32                            4
//! 10  reserved           6      44  reserved                               4
//! 16  repository id16   16      48  per entry: length u32, the entry as it is in the log
//! ```
//!
//! **Invariant:** nothing here is believed for itself. Copies are entries of the log, byte for byte, and its chain says whether
//! they are; the digest is compared with a state that somebody has derived from entries.

use crate::{
    codec::{Put, Reader},
    error::FormatError,
    ids::{Digest, RepositoryId},
    log_entry::{ENTRY_BYTES_MAX, EntryHeader},
    vm_identity::VmIdentity,
};

#[cfg(test)]
mod tests;

/// A part holds at most this many entries.
pub const PART_ENTRIES_MAX: u32 = 1024;
/// A part that has grown this long takes no further entry.
pub const PART_BYTES_WHOLE: usize = 1 << 23;
/// A part is at most this long.
pub const PART_BYTES_MAX: usize = PART_BYTES_WHOLE + LENGTH_BYTES + ENTRY_BYTES_MAX;

const WHAT: &str = "checkpoint part";
const MAGIC: &[u8; 8] = b"SRMCKPT1";
const HEADER_BYTES: usize = 48;
const COUNT_AT: usize = 40;
const LENGTH_BYTES: usize = 4;

const _: () = assert!(HEADER_BYTES == 8 + 2 + 6 + 16 + 8 + 4 + 4);

/// Gathers entries into a part.
pub struct CheckpointPartBuilder {
    bytes: Vec<u8>,
    entries: u32,
}

impl CheckpointPartBuilder {
    /// A part that begins with entry `first`.
    pub fn new(repository: &RepositoryId, first: u64) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&crate::FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(repository.as_bytes());
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, entries: 0 }
    }

    /// Adds the next entry, as it is in the log.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), FormatError> {
        let length = u32::try_from(entry.len()).ok().filter(|_| entry.len() <= ENTRY_BYTES_MAX && !self.is_whole());
        let length = length.ok_or_else(|| FormatError::invalid(WHAT, "entry", entry.len(), "one that still fits"))?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
        Ok(())
    }

    /// Takes no further entry: such a part stays as it is for ever.
    pub fn is_whole(&self) -> bool {
        is_whole(self.entries, self.bytes.len())
    }

    /// No entry yet.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The part, and its name.
    pub fn finish(self) -> (Digest, Vec<u8>) {
        let Self { mut bytes, entries } = self;
        let count = bytes.iter_mut().skip(COUNT_AT);
        count.zip(entries.to_le_bytes()).for_each(|(place, byte)| *place = byte);
        (Digest::of(&bytes), bytes)
    }
}

fn is_whole(entries: u32, bytes: usize) -> bool {
    entries >= PART_ENTRIES_MAX || bytes >= PART_BYTES_WHOLE
}

/// A part that was read: consecutive entries of the log, or what claims to be that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPart<'a> {
    /// Number of the first entry.
    pub first: u64,
    /// The entries, at least one.
    pub entries: Vec<&'a [u8]>,
    /// Whether it takes no further entry.
    pub is_whole: bool,
}

impl<'a> CheckpointPart<'a> {
    /// Reads a part of `repository` that is called `name`. Entries are only told apart, not looked into.
    pub fn decode(bytes: &'a [u8], name: &Digest, repository: &RepositoryId) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        if bytes.len() > PART_BYTES_MAX {
            return Err(reader.damaged("length", bytes.len(), format_args!("at most {PART_BYTES_MAX}")));
        }
        reader.magic(MAGIC)?;
        reader.format()?;
        if Digest::of(bytes) != *name {
            return Err(reader.damaged("name", "another", "BLAKE3 of its bytes"));
        }
        reader.reserved("reserved", 6)?;
        let found = RepositoryId::from_bytes(reader.array("repository")?);
        if found != *repository {
            return Err(reader.damaged("repository", found, repository));
        }
        let (first, count) = (reader.u64("first")?, reader.u32("entries")?);
        reader.reserved("reserved", 4)?;
        if first == 0 || !(1..=PART_ENTRIES_MAX).contains(&count) {
            let wanted = format_args!("1 … {PART_ENTRIES_MAX} from entry 1 on");
            return Err(reader.damaged("entries", format_args!("{count} from entry {first} on"), wanted));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let length = reader.u32("entry length")?;
            entries.push(reader.take("entry", usize::try_from(length).unwrap_or(usize::MAX))?);
        }
        reader.end()?;
        Ok(Self { first, entries, is_whole: is_whole(count, bytes.len()) })
    }

    /// Follows the chain through the part without a key, from `previous` if that is known. Gives the digest of its last entry.
    pub fn check_chain(&self, previous: Option<Digest>, repository: &RepositoryId) -> Result<Digest, FormatError> {
        let mut previous = previous;
        for (number, entry) in (self.first..).zip(&self.entries) {
            let header = EntryHeader::check_public(entry, repository)?;
            if header.number != number {
                return Err(FormatError::damaged(WHAT, "entry number", header.number, number));
            }
            if let Some(wanted) = previous
                && header.previous != wanted
            {
                let field = format!("prev of entry {number}");
                return Err(FormatError::damaged(WHAT, field, header.previous, wanted));
            }
            previous = Some(Digest::of(entry));
        }
        previous.ok_or_else(|| FormatError::damaged(WHAT, "entries", 0, "at least 1"))
    }
}

/// Takes the fields of a state in their canonical order (SPEC.md section 23) and gives their digest.
#[derive(Default)]
pub struct StateDigester(blake3::Hasher);

impl StateDigester {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A `varint`.
    pub fn number(&mut self, value: u64) -> &mut Self {
        let mut bytes = Vec::new();
        bytes.put_varint(value);
        self.raw(&bytes)
    }

    /// A `varint` count.
    pub fn count(&mut self, count: usize) -> &mut Self {
        // usize is at most 64 bits on every target.
        self.number(count as u64)
    }

    /// A byte, or an id: bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// A `text`.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).raw(text.as_bytes())
    }

    /// A VM identity, as a Commit holds it.
    pub fn vm(&mut self, vm: &VmIdentity) -> &mut Self {
        let mut bytes = Vec::new();
        vm.put(&mut bytes);
        self.raw(&bytes)
    }

    /// An `option`.
    pub fn option<T>(
        &mut self,
        value: Option<T>,
        put: impl for<'a> FnOnce(&'a mut Self, T) -> &'a mut Self,
    ) -> &mut Self {
        match value {
            None => self.raw(&[0]),
            Some(value) => put(self.raw(&[1]), value),
        }
    }

    /// The digest of everything taken.
    pub fn finish(&self) -> Digest {
        Digest::from_bytes(*self.0.finalize().as_bytes())
    }
}
