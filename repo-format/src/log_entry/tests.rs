use super::*;
use crate::record::tests::samples;
use crate::test_kit::{REPOSITORY, broken, damage, flaw, keys, keys_of_two_epochs, other_keys};
use crate::{ErrorKind, RepositoryKeys, SessionId};

fn header() -> EntryHeader {
    EntryHeader {
        epoch: 1,
        repository: REPOSITORY,
        number: 7,
        previous: Digest::from_bytes([3; 32]),
        checkpoint: 5,
        attempt: AttemptId::from_bytes([4; 16]),
    }
}

fn entry(records: Vec<Record>) -> LogEntry {
    LogEntry { header: header(), time_ms: 1_795_500_000_000, records }
}

fn small() -> Vec<u8> {
    let close = Record::Close { session: SessionId::from_bytes([1; 16]) };
    entry(vec![close]).seal(&keys(), [5; 24]).unwrap()
}

/// `bytes` altered, with a right checksum.
fn rehashed(mut bytes: Vec<u8>, alter: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bytes.truncate(bytes.len() - HASH_BYTES);
    alter(&mut bytes);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// An entry with a right seal over whatever body.
fn with_body(body: &[u8]) -> Result<LogEntry, FormatError> {
    let mut bytes = Vec::new();
    header().put(&mut bytes, u32::try_from(body.len() + SEALED_OVERHEAD).unwrap());
    let sealed = envelope::seal(&keys(), &header().sealing(&bytes, body.len()), body, [5; 24]).unwrap();
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&[0; HASH_BYTES]);
    LogEntry::open(&rehashed(bytes, |_| {}), &keys())
}

#[test]
fn entries_with_every_record_and_with_none_read_back() {
    for entry in [entry(samples()), entry(vec![])] {
        let bytes = entry.seal(&keys(), [5; 24]).unwrap();
        assert_eq!(LogEntry::open(&bytes, &keys()).as_ref(), Ok(&entry));
        assert_eq!(EntryHeader::check_public(&bytes, &REPOSITORY), Ok(entry.header));
    }
}

#[test]
fn an_entry_reads_back_under_each_key_epoch() {
    let keys = keys_of_two_epochs();
    for epoch in [1, 2] {
        let entry = LogEntry { header: EntryHeader { epoch, ..header() }, ..entry(samples()) };
        assert_eq!(LogEntry::open(&entry.seal(&keys, [5; 24]).unwrap(), &keys), Ok(entry));
    }
}

#[test]
fn an_entry_with_any_broken_bit_or_length_is_refused_with_and_without_a_key() {
    for bytes in broken(&small()) {
        assert!(LogEntry::open(&bytes, &keys()).is_err());
        assert!(EntryHeader::check_public(&bytes, &REPOSITORY).is_err());
    }
}

#[test]
fn a_broken_bit_under_a_right_checksum_is_refused_by_the_seal() {
    let bytes = small();
    for bit in 0..(bytes.len() - HASH_BYTES) * 8 {
        let broken = rehashed(bytes.clone(), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(LogEntry::open(&broken, &keys()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_header_outside_the_rules_is_refused_without_a_key() {
    let refused = |at: usize, value: &[u8]| {
        flaw(EntryHeader::check_public(&rehashed(small(), |bytes| put(bytes, at, value)), &REPOSITORY))
    };
    let damaged = |field: &str| (ErrorKind::Damaged, field.to_owned());
    assert_eq!(refused(0, b"X"), damaged("magic"));
    assert_eq!(refused(8, &[0, 0]), damaged("format"));
    assert_eq!(refused(8, &[2, 0]), (ErrorKind::Unsupported, "format".to_owned()));
    assert_eq!(refused(11, &[1]), damaged("reserved"));
    assert_eq!(refused(12, &[0; 4]), damaged("key epoch"));
    assert_eq!(refused(16, b"another"), damaged("repository"));
    assert_eq!(refused(32, &[0; 8]), damaged("number"));
    assert_eq!(refused(96, &[0; 4]), damaged("end"));
    assert_eq!(refused(96, &[0xff; 4]), damaged("body"));
    let bytes = [small(), vec![0]].concat();
    assert_eq!(damage(EntryHeader::check_public(&bytes, &REPOSITORY)), "end");
}

#[test]
fn an_entry_of_another_repository_is_refused() {
    let other = RepositoryId::from_bytes([9; 16]);
    let others = Keyring::new(&RepositoryKeys::generate([0x42; 32]), other);
    assert_eq!(damage(LogEntry::open(&small(), &others)), "repository");
    assert_eq!(damage(EntryHeader::check_public(&small(), &other)), "repository");
    assert_eq!(flaw(entry(vec![]).seal(&others, [5; 24])).0, ErrorKind::Invalid);
}

#[test]
fn an_entry_does_not_open_with_other_keys() {
    assert!(LogEntry::open(&small(), &other_keys()).is_err());
    let keys = keys_of_two_epochs();
    let newer = LogEntry { header: EntryHeader { epoch: 2, ..header() }, ..entry(vec![]) };
    let bytes = newer.seal(&keys, [5; 24]).unwrap();
    assert_eq!(flaw(LogEntry::open(&bytes, &self::keys())).0, ErrorKind::WrongKey);
}

#[test]
fn an_entry_without_number_or_of_an_unknown_epoch_is_not_written() {
    for header in [
        EntryHeader { number: 0, ..header() },
        EntryHeader { epoch: 0, ..header() },
        EntryHeader { epoch: 2, ..header() },
    ] {
        let entry = LogEntry { header, ..entry(vec![]) };
        assert_eq!(flaw(entry.seal(&keys(), [5; 24])).0, ErrorKind::Invalid);
    }
}

#[test]
fn an_entry_longer_than_the_limit_is_neither_written_nor_read() {
    let reason = "x".repeat(ENTRY_BYTES_MAX);
    let record = Record::Forget(crate::Forget { points: vec![], reason: Some(reason) });
    assert_eq!(flaw(entry(vec![record]).seal(&keys(), [5; 24])), (ErrorKind::Invalid, "length".to_owned()));
    assert_eq!(damage(EntryHeader::check_public(&vec![0; ENTRY_BYTES_MAX + 1], &REPOSITORY)), "length");
}

#[test]
fn an_authentic_body_outside_the_rules_is_refused() {
    assert!(with_body(&[0, 0]).is_ok());
    assert_eq!(damage(with_body(&[])), "time");
    assert_eq!(damage(with_body(&[0x80, 0, 0])), "time", "not the shortest");
    assert_eq!(damage(with_body(&[0])), "records");
    assert_eq!(damage(with_body(&[0, 0, 0])), "end");
    assert_eq!(damage(with_body(&[0, 0xff, 0x7f])), "records", "a count beyond the bytes");
    assert_eq!(flaw(with_body(&[0, 1, 28, 0])), (ErrorKind::Unsupported, "kind".to_owned()));
    assert_eq!(with_body(&[0, 1, 29, 0]).unwrap().records, [Record::Skipped { kind: 29 }]);
}
