use super::*;
use crate::codec::{Put, Reader};
use crate::test_kit::{broken, chunk_id, damage, flaw};
use crate::{ErrorKind, FormatError};

const SESSION: SessionId = SessionId::from_bytes(*b"session session!");

fn packs(ordinals: &[u32]) -> Vec<PackOrdinal> {
    ordinals.iter().map(|ordinal| PackOrdinal(*ordinal)).collect()
}

fn new_pack(class: Class) -> NewPack {
    NewPack { name: PackName::from_bytes([6; 32]), class, bytes: 1 << 25 }
}

fn slot(fill: u8) -> SlotId {
    SlotId::from_bytes([fill; 16])
}

fn digest(fill: u8) -> Digest {
    Digest::from_bytes([fill; 32])
}

/// One of each kind with every field, and with the needed ones only.
pub(crate) fn samples() -> Vec<Record> {
    let commit = Commit {
        session: SESSION,
        vm_name: Some("db-1".to_owned()),
        vm: VmIdentity::VCenter { vcenter: [1; 16], instance: [2; 16] },
        completeness: Some(Completeness::Incomplete),
        number: 300,
        previous: Some(chunk_id(1)),
        point: chunk_id(2),
        new_packs: vec![new_pack(Class::Data), new_pack(Class::Metadata)],
        uses: packs(&[0, 7, 300, u32::MAX]),
    };
    let bare_commit = Commit {
        vm_name: None,
        vm: VmIdentity::named("db-1").unwrap(),
        completeness: None,
        number: 1,
        previous: None,
        new_packs: vec![],
        uses: vec![],
        ..commit.clone()
    };
    vec![
        Record::Open(Open {
            session: SESSION,
            host: Some("backup-1".to_owned()),
            adopts: vec![SessionId::from_bytes([3; 16])],
            slot: Some(slot(4)),
            program_version: Some("0.1.0".to_owned()),
        }),
        Record::Open(Open { session: SESSION, host: None, adopts: vec![], slot: None, program_version: None }),
        Record::Commit(commit),
        Record::Commit(bare_commit),
        Record::Close { session: SESSION },
        Record::KeyChange(KeyChange {
            added: vec![AddedSlot { slot: slot(1), digest: digest(2) }],
            revoked: vec![slot(3), slot(4)],
            new_epoch: Some(2),
        }),
        Record::KeyChange(KeyChange::default()),
        Record::Pin(Pin { session: SESSION, point: chunk_id(1) }),
        Record::Moved(Moved { session: SESSION, new_packs: vec![new_pack(Class::Data)], from: packs(&[5]) }),
        Record::Forget(Forget { points: vec![chunk_id(1)], reason: Some("14 days".to_owned()) }),
        Record::Forget(Forget { points: vec![], reason: None }),
        Record::Condemn(Condemn { packs: packs(&[1, 2]) }),
        Record::Delete(Delete {
            packs: packs(&[1, 2]),
            orphans: vec![Orphan { pack: PackName::from_bytes([6; 32]), owner: SESSION }],
        }),
        Record::Fence { session: SESSION },
        Record::Swept(Swept { packs: packs(&[1]), orphans: vec![PackName::from_bytes([6; 32])] }),
        Record::Damaged(Damaged { packs: packs(&[1]), reason: Some("shard 7".to_owned()) }),
        Record::Damaged(Damaged { packs: vec![], reason: None }),
        Record::Hold(Hold { point: chunk_id(1), reason: "case 7".to_owned(), until_ms: Some(u64::MAX) }),
        Record::Hold(Hold { point: chunk_id(1), reason: String::new(), until_ms: None }),
        Record::Checkpoint(Checkpoint { at: 9, digest: digest(1), parts: vec![digest(2), digest(3)] }),
        Record::Release { point: chunk_id(1) },
        Record::Verified(Verified { packs: packs(&[1]), how: VerifiedHow::Name, slot: Some(slot(1)) }),
        Record::Verified(Verified { packs: packs(&[1]), how: VerifiedHow::Contents, slot: None }),
    ]
}

fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.put(&mut out).unwrap();
    out
}

fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
    let mut reader = Reader::new("test", bytes);
    let record = Record::read(&mut reader)?;
    reader.end()?;
    Ok(record)
}

fn fields(bytes: &[u8]) -> (u64, Vec<(u64, Vec<u8>)>) {
    let mut reader = Reader::new("test", bytes);
    let kind = reader.varint("kind").unwrap();
    let mut payload = Reader::new("test", reader.bytes("payload").unwrap());
    let mut fields = Vec::new();
    while !payload.is_empty() {
        let tag = payload.varint("tag").unwrap();
        fields.push((tag, payload.bytes("value").unwrap().to_vec()));
    }
    (kind, fields)
}

fn rebuilt(kind: u64, fields: &[(u64, Vec<u8>)]) -> Result<Record, FormatError> {
    let mut payload = Vec::new();
    for (tag, value) in fields {
        payload.put_varint(*tag);
        payload.put_bytes(value);
    }
    let mut out = Vec::new();
    out.put_varint(kind);
    out.put_bytes(&payload);
    decode(&out)
}

#[test]
fn records_of_every_kind_read_back() {
    for record in samples() {
        assert_eq!(decode(&encode(&record)).as_ref(), Ok(&record));
    }
}

#[test]
fn kinds_and_tags_are_those_of_the_specification() {
    let mut kinds: Vec<u64> = samples().iter().map(|record| fields(&encode(record)).0).collect();
    kinds.dedup();
    assert_eq!(kinds, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 24, 25, 26, 27]);
    let tags: Vec<u64> = fields(&encode(&samples()[2])).1.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [0, 1, 2, 3, 4, 6, 8, 10, 12]);
}

#[test]
fn a_record_without_a_needed_field_is_refused() {
    for record in samples() {
        let (kind, fields) = fields(&encode(&record));
        for place in 0..fields.len() {
            let mut fewer = fields.clone();
            let (tag, _) = fewer.remove(place);
            let optional = match kind {
                2 => [1, 2, 3, 5].contains(&tag),
                4 => [1, 3, 6].contains(&tag),
                8 | 24 | 27 => tag == 4,
                14 | 22 => tag == 1,
                _ => false,
            };
            assert_eq!(rebuilt(kind, &fewer).is_ok(), optional, "kind {kind}, tag {tag}");
        }
    }
}

#[test]
fn an_unknown_odd_field_is_skipped_and_an_unknown_even_one_is_unsupported() {
    for record in samples() {
        let (kind, mut fields) = fields(&encode(&record));
        fields.push((101, vec![1]));
        assert_eq!(rebuilt(kind, &fields).as_ref(), Ok(&record));
        fields.push((102, vec![1]));
        assert_eq!(flaw(rebuilt(kind, &fields)).0, ErrorKind::Unsupported);
    }
}

#[test]
fn tags_that_do_not_ascend_are_refused() {
    for record in samples() {
        let (kind, mut fields) = fields(&encode(&record));
        fields.push(fields[0].clone());
        assert_eq!(damage(rebuilt(kind, &fields)), "tag");
    }
}

#[test]
fn bytes_left_over_in_a_field_are_refused() {
    for record in samples() {
        let (kind, fields) = fields(&encode(&record));
        for place in 0..fields.len() {
            let mut longer = fields.clone();
            longer[place].1.push(0);
            damage(rebuilt(kind, &longer));
        }
    }
}

#[test]
fn an_unknown_odd_kind_is_skipped_and_an_unknown_even_one_is_unsupported() {
    assert_eq!(rebuilt(29, &[(0, vec![])]), Ok(Record::Skipped { kind: 29 }));
    assert_eq!(decode(&[29, 2, 0xff, 0xff]), Ok(Record::Skipped { kind: 29 }), "its payload is not looked at");
    for kind in [0, 28] {
        assert_eq!(flaw(rebuilt(kind, &[])), (ErrorKind::Unsupported, "kind".to_owned()));
    }
}

#[test]
fn a_skipped_record_is_not_written() {
    assert_eq!(flaw(Record::Skipped { kind: 29 }.put(&mut Vec::new())).0, ErrorKind::Invalid);
}

#[test]
fn ordinals_that_do_not_ascend_strictly_are_neither_written_nor_read() {
    for ordinals in [&[1, 1][..], &[2, 1], &[0, 1, 0]] {
        let record = Record::Condemn(Condemn { packs: packs(ordinals) });
        assert_eq!(flaw(record.put(&mut Vec::new())).0, ErrorKind::Invalid);
        let mut value = Vec::new();
        value.put_count(ordinals.len());
        ordinals.iter().for_each(|ordinal| value.put_varint(u64::from(*ordinal)));
        assert_eq!(damage(rebuilt(16, &[(0, value)])), "ordinals");
    }
    assert_eq!(damage(rebuilt(16, &[(0, vec![1, 0x80, 0x80, 0x80, 0x80, 0x10])])), "ordinal", "2^32");
}

#[test]
fn values_outside_their_range_are_refused() {
    let verified = |how: u8| rebuilt(27, &[(0, vec![0]), (2, vec![how])]);
    assert!(verified(1).is_ok() && verified(2).is_ok());
    assert_eq!(damage(verified(0)), "how");
    assert_eq!(damage(verified(3)), "how");
    let class = |class: u8| {
        let pack = [&[1][..], &[6; 32], &[class, 5]].concat();
        rebuilt(12, &[(0, vec![1; 16]), (2, pack), (4, vec![0])])
    };
    assert!(class(1).is_ok() && class(2).is_ok());
    assert_eq!(damage(class(0)), "class");
    assert_eq!(damage(class(3)), "class");
}

#[test]
fn a_broken_record_is_refused_or_another_but_never_panics() {
    for record in samples() {
        for bytes in broken(&encode(&record)) {
            if let Ok(other) = decode(&bytes) {
                assert_ne!(other, record);
            }
        }
    }
}
