//! Entries of the log.

use repo_format::{EntryHeader, LogEntry, Record};

use super::{KEYS, with_hash};
use crate::{
    Outcome,
    seal::{Header, LOG_BODY, REPOSITORY, seal},
};

/// An entry as it is, and with a right checksum.
pub fn log_entry(bytes: &[u8]) -> Outcome {
    let as_it_is = LogEntry::open(bytes, &KEYS);
    assert!(as_it_is.is_err() || EntryHeader::check_public(bytes, &REPOSITORY).is_ok());
    let whole = with_hash(bytes.get(..bytes.len().saturating_sub(32)).unwrap_or_default());
    let _ = EntryHeader::check_public(&whole, &REPOSITORY);
    Outcome::of(&LogEntry::open(&whole, &KEYS))
}

/// The body of an entry, sealed. What is accepted survives another round, but for the records that were skipped.
pub fn log_body(bytes: &[u8]) -> Outcome {
    let mut entry = header_bytes(u32::try_from(bytes.len() + 40).unwrap_or(u32::MAX));
    let object = *blake3::hash(&entry).as_bytes();
    let header = Header { object_type: LOG_BODY, codec: 0, plain_bytes: bytes.len() as u64, object };
    entry.extend_from_slice(&seal(&header, bytes));
    let opened = LogEntry::open(&with_hash(&entry), &KEYS);
    if let Ok(opened) = &opened {
        let mut known = opened.clone();
        known.records.retain(|record| !matches!(record, Record::Skipped { .. }));
        let again = known.seal(&KEYS, [4; 24]).and_then(|bytes| LogEntry::open(&bytes, &KEYS));
        assert_eq!(again.as_ref(), Ok(&known));
    }
    Outcome::of(&opened)
}

fn header_bytes(body_bytes: u32) -> Vec<u8> {
    let mut header = [&b"SRMLOG01"[..], &[1, 0, 0, 0, 1, 0, 0, 0], REPOSITORY.as_bytes()].concat();
    header.extend_from_slice(&7_u64.to_le_bytes());
    header.extend_from_slice(&[0x99; 32]);
    header.extend_from_slice(&5_u64.to_le_bytes());
    header.extend_from_slice(&[0xaa; 16]);
    header.extend_from_slice(&body_bytes.to_le_bytes());
    header
}
