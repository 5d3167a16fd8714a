//! Entries of the log (SPEC.md section 16): the only point of order in a repository.
//!
//! ```text
//!  0  magic "SRMLOG01"   8      72  checkpoint u64           8
//!  8  format u16         2      80  attempt id16            16
//! 10  reserved u16       2      96  body length u32          4
//! 12  key epoch u32      4     100  sealed body
//! 16  repository id16   16       …  BLAKE3 of all before    32
//! 32  number u64         8
//! 40  prev id32         32
//! ```

use crate::{
    codec::{Put, Reader},
    envelope::{self, ObjectHeader, ObjectType, SEALED_OVERHEAD},
    error::FormatError,
    ids::{AttemptId, Digest, RepositoryId},
    keys::Keyring,
    record::Record,
};

#[cfg(test)]
mod tests;

/// An entry is at most this long.
pub const ENTRY_BYTES_MAX: usize = 1 << 26;

const WHAT: &str = "log entry";
const MAGIC: &[u8; 8] = b"SRMLOG01";
const HEADER_BYTES: usize = 100;
const HASH_BYTES: usize = 32;

const _: () = assert!(HEADER_BYTES == 8 + 2 + 2 + 4 + 16 + 8 + 32 + 8 + 16 + 4);

/// What an entry says of itself without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// The key epoch of the body.
    pub epoch: u32,
    /// Whose log this is.
    pub repository: RepositoryId,
    /// From 1, without gaps.
    pub number: u64,
    /// BLAKE3 of all bytes of the entry before; of `config` for entry 1.
    pub previous: Digest,
    /// The number of the newest checkpoint, 0 if there is none.
    pub checkpoint: u64,
    /// Random: tells one's own attempt from another's.
    pub attempt: AttemptId,
}

impl EntryHeader {
    /// Reads an entry without a key and checks what can be checked so: form, repository, checksum.
    pub fn check_public(bytes: &[u8], repository: &RepositoryId) -> Result<Self, FormatError> {
        split(bytes, repository).map(|parts| parts.header)
    }

    fn put(&self, out: &mut Vec<u8>, body_bytes: u32) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&crate::FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(&self.checkpoint.to_le_bytes());
        out.extend_from_slice(self.attempt.as_bytes());
        out.extend_from_slice(&body_bytes.to_le_bytes());
    }

    /// All but the body's length.
    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.magic(MAGIC)?;
        reader.format()?;
        reader.reserved("reserved", 2)?;
        let header = Self {
            epoch: reader.u32("key epoch")?,
            repository: RepositoryId::from_bytes(reader.array("repository")?),
            number: reader.u64("number")?,
            previous: Digest::from_bytes(reader.array("prev")?),
            checkpoint: reader.u64("checkpoint")?,
            attempt: AttemptId::from_bytes(reader.array("attempt")?),
        };
        if header.epoch == 0 || header.number == 0 {
            let field = if header.epoch == 0 { "key epoch" } else { "number" };
            return Err(reader.damaged(field, 0, "at least 1"));
        }
        Ok(header)
    }

    fn sealing(&self, header: &[u8], plain_bytes: usize) -> ObjectHeader {
        ObjectHeader {
            object_type: ObjectType::LogBody,
            codec: 0,
            epoch: self.epoch,
            // usize is at most 64 bits on every target.
            plain_bytes: plain_bytes as u64,
            object: *blake3::hash(header).as_bytes(),
        }
    }
}

/// An entry: what happened, all of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the log.
    pub header: EntryHeader,
    /// When the writer's clock said it was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// What happened, in this order.
    pub records: Vec<Record>,
}

impl LogEntry {
    /// The entry as it is stored.
    pub fn seal(&self, keys: &Keyring, random: [u8; 24]) -> Result<Vec<u8>, FormatError> {
        if self.header.repository != keys.repository() || self.header.number == 0 {
            let found = format_args!("number {} of repository {}", self.header.number, self.header.repository);
            return Err(FormatError::invalid(WHAT, "header", found, format_args!("from 1, {}", keys.repository())));
        }
        if !(1..=keys.epoch()).contains(&self.header.epoch) {
            return Err(FormatError::invalid(
                WHAT,
                "key epoch",
                self.header.epoch,
                format_args!("1 … {}", keys.epoch()),
            ));
        }
        let mut body = Vec::new();
        body.put_varint(self.time_ms);
        body.put_count(self.records.len());
        for record in &self.records {
            record.put(&mut body)?;
        }
        let length = HEADER_BYTES + body.len() + SEALED_OVERHEAD + HASH_BYTES;
        let body_bytes = u32::try_from(body.len() + SEALED_OVERHEAD).ok().filter(|_| length <= ENTRY_BYTES_MAX);
        let body_bytes = body_bytes
            .ok_or_else(|| FormatError::invalid(WHAT, "length", length, format_args!("at most {ENTRY_BYTES_MAX}")))?;
        let mut out = Vec::with_capacity(length);
        self.header.put(&mut out, body_bytes);
        let sealed = envelope::seal(keys, &self.header.sealing(&out, body.len()), &body, random)?;
        out.extend_from_slice(&sealed);
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        Ok(out)
    }

    /// Opens an entry of the repository whose keys these are. Whether it follows the entry before is for the caller to see.
    pub fn open(bytes: &[u8], keys: &Keyring) -> Result<Self, FormatError> {
        let Parts { header, header_bytes, sealed } = split(bytes, &keys.repository())?;
        let mut sealed = sealed.to_vec();
        let plain_bytes = sealed.len().saturating_sub(SEALED_OVERHEAD);
        let body = envelope::open_in_place(keys, &header.sealing(header_bytes, plain_bytes), &mut sealed)?;
        let mut reader = Reader::new(WHAT, body);
        let time_ms = reader.varint("time")?;
        let records = reader.list("records", 2, Record::read)?;
        reader.end()?;
        Ok(Self { header, time_ms, records })
    }
}

struct Parts<'a> {
    header: EntryHeader,
    header_bytes: &'a [u8],
    sealed: &'a [u8],
}

fn split<'a>(bytes: &'a [u8], repository: &RepositoryId) -> Result<Parts<'a>, FormatError> {
    let mut reader = Reader::new(WHAT, bytes);
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(reader.damaged("length", bytes.len(), format_args!("at most {ENTRY_BYTES_MAX}")));
    }
    let header = EntryHeader::read(&mut reader)?;
    let body_bytes = reader.u32("body length")?;
    let body_bytes = usize::try_from(body_bytes).unwrap_or(usize::MAX);
    let sealed = reader.take("body", body_bytes)?;
    let hash = reader.array::<HASH_BYTES>("checksum")?;
    let before = bytes.len() - HASH_BYTES - reader.remaining();
    reader.end()?;
    if hash != *blake3::hash(bytes.get(..before).unwrap_or(bytes)).as_bytes() {
        return Err(FormatError::damaged(WHAT, "checksum", "another", "BLAKE3 of the bytes before"));
    }
    if header.repository != *repository {
        return Err(FormatError::damaged(WHAT, "repository", header.repository, repository));
    }
    Ok(Parts { header, header_bytes: bytes.get(..HEADER_BYTES).unwrap_or(bytes), sealed })
}
