use super::*;
use crate::ErrorKind;
use crate::test_kit::{broken, chunk_id, damage, flaw};

fn disk(name: &str) -> DiskRecord {
    DiskRecord {
        name: name.to_owned(),
        uuid: Some("6000C29a".to_owned()),
        bytes: 1 << 40,
        data_bytes: Some(1 << 30),
        map_root: chunk_id(3),
        bad_bytes: 4096,
        read_bytes: Some(5),
        novel_bytes: Some(0),
        stored_bytes: Some(u64::MAX),
        changed_bytes: Some(7),
        change_id: Some("52 de c0/3".to_owned()),
        base: Some(chunk_id(6)),
        audit: Some(AuditRecord { one_in: 30, segments: 400, misses: 0 }),
    }
}

fn bare_disk(name: &str) -> DiskRecord {
    DiskRecord {
        name: name.to_owned(),
        uuid: None,
        bytes: 1,
        data_bytes: None,
        map_root: chunk_id(4),
        bad_bytes: 0,
        read_bytes: None,
        novel_bytes: None,
        stored_bytes: None,
        changed_bytes: None,
        change_id: None,
        base: None,
        audit: None,
    }
}

fn point() -> RestorePoint {
    RestorePoint {
        vm: VmIdentity::VCenter { vcenter: [1; 16], instance: [2; 16] },
        program_version: Some("0.1.0".to_owned()),
        vm_name: "db-1".to_owned(),
        tag: Some("before the update".to_owned()),
        disks: vec![disk("scsi0:0"), bare_disk("scsi0:1")],
        host: Some("backup-1".to_owned()),
        vm_home: Some(chunk_id(5)),
        started_ms: 1_795_500_000_000,
        finished_ms: 1_795_500_001_000,
        consistency: Consistency::Application,
        completeness: Completeness::Incomplete,
    }
}

fn bare_point() -> RestorePoint {
    RestorePoint {
        vm: VmIdentity::named("db-1").unwrap(),
        program_version: None,
        tag: None,
        disks: vec![],
        host: None,
        vm_home: None,
        consistency: Consistency::Unknown,
        completeness: Completeness::Whole,
        ..point()
    }
}

/// Field `tag` replaced, added or, with `None`, taken away.
fn with_field(payload: &[u8], tag: u64, value: Option<&[u8]>) -> Vec<u8> {
    let mut fields = std::collections::BTreeMap::new();
    let mut reader = Reader::new("test", payload);
    while !reader.is_empty() {
        let tag = reader.varint("tag").unwrap();
        fields.insert(tag, reader.bytes("value").unwrap().to_vec());
    }
    match value {
        Some(value) => fields.insert(tag, value.to_vec()),
        None => fields.remove(&tag),
    };
    let mut out = Vec::new();
    for (tag, value) in fields {
        out.put_varint(tag);
        out.put_bytes(&value);
    }
    out
}

fn decode(payload: &[u8]) -> Result<RestorePoint, FormatError> {
    RestorePoint::decode(&MetadataChunk::new(MetadataKind::RestorePoint, payload))
}

fn altered(tag: u64, value: Option<&[u8]>) -> Result<RestorePoint, FormatError> {
    decode(&with_field(&point().encode().bytes()[1..], tag, value))
}

#[test]
fn points_with_every_field_and_with_the_needed_ones_read_back() {
    for point in [point(), bare_point()] {
        assert_eq!(RestorePoint::decode(&point.encode()).as_ref(), Ok(&point));
    }
}

#[test]
fn every_consistency_and_completeness_reads_back() {
    for (value, consistency) in (0..).zip(Consistency::ALL) {
        assert_eq!(altered(12, Some(&[value])).unwrap().consistency, consistency);
    }
    for (value, completeness) in (0..).zip(Completeness::ALL) {
        assert_eq!(altered(14, Some(&[value])).unwrap().completeness, completeness);
    }
    assert_eq!(damage(altered(12, Some(&[5]))), "consistency");
    assert_eq!(damage(altered(14, Some(&[2]))), "completeness");
}

#[test]
fn a_point_without_a_needed_field_is_refused() {
    for tag in [0, 2, 4, 8, 10, 12, 14] {
        damage(altered(tag, None));
    }
    for tag in [1, 3, 5, 6] {
        assert!(altered(tag, None).is_ok(), "{tag}");
    }
}

#[test]
fn an_unknown_odd_field_is_skipped_and_an_unknown_even_one_is_unsupported() {
    assert_eq!(altered(17, Some(b"later")), Ok(point()));
    assert_eq!(flaw(altered(16, Some(b"later"))).0, ErrorKind::Unsupported);
}

#[test]
fn a_field_with_bytes_left_over_is_refused() {
    for (tag, value) in [(2, &b"\x01ax"[..]), (6, &[5; 33]), (8, &[1, 0]), (12, &[1, 0]), (4, &[0, 0])] {
        damage(altered(tag, Some(value)));
    }
}

#[test]
fn a_text_that_is_not_utf8_is_refused() {
    assert_eq!(damage(altered(2, Some(&[2, 0xff, 0xfe]))), "VM name");
}

#[test]
fn two_disks_of_one_name_are_refused() {
    let point = RestorePoint { disks: vec![disk("a"), disk("b"), bare_disk("a")], ..point() };
    assert_eq!(damage(RestorePoint::decode(&point.encode())), "disk name");
}

#[test]
fn a_disk_without_a_needed_field_or_with_an_unknown_even_one_is_refused() {
    let whole = disk("a").encode();
    for tag in [0, 2, 4] {
        damage(DiskRecord::decode(&with_field(&whole, tag, None)));
    }
    for tag in [1, 3, 5, 7, 9, 11, 13, 15, 17, 19] {
        assert!(DiskRecord::decode(&with_field(&whole, tag, None)).is_ok(), "{tag}");
    }
    assert!(DiskRecord::decode(&with_field(&whole, 21, Some(&[]))).is_ok());
    assert_eq!(flaw(DiskRecord::decode(&with_field(&whole, 6, Some(&[])))).0, ErrorKind::Unsupported);
}

#[test]
fn a_broken_point_is_refused_or_another_but_never_panics() {
    for point in [point(), bare_point()] {
        for payload in broken(&point.encode().bytes()[1..]) {
            if let Ok(other) = decode(&payload) {
                // An odd tag may have become an unknown one; what it held is then missing.
                assert_ne!(other, point);
            }
        }
    }
}
