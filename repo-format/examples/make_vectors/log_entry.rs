use crate::{
    file::{VectorFile, patched},
    wire::{Fields, Header, REPOSITORY, bytes, hex, keyed, list, seal, text, varint},
};

const SESSION: [u8; 16] = [0x51; 16];
const POINT: [u8; 32] = [0x52; 32];
const PACK: [u8; 32] = [0x53; 32];
const SLOT: [u8; 16] = [0x54; 16];
const DIGEST: [u8; 32] = [0x55; 32];
const PREVIOUS: [u8; 32] = [0x61; 32];
const ATTEMPT: [u8; 16] = [0x62; 16];
const TIME: u64 = 1_790_000_000_000;
const BODY_AT: usize = 100;

fn header(body_bytes: usize) -> Vec<u8> {
    [
        &b"SRMLOG01"[..],
        &[1, 0, 0, 0],
        &1_u32.to_le_bytes(),
        &REPOSITORY,
        &7_u64.to_le_bytes(),
        &PREVIOUS,
        &5_u64.to_le_bytes(),
        &ATTEMPT,
        &u32::try_from(body_bytes + 40).unwrap_or_default().to_le_bytes(),
    ]
    .concat()
}

fn sealed_under(header: &[u8], body: &[u8]) -> Vec<u8> {
    let sealing = Header {
        object_type: 5,
        codec: 0,
        epoch: 1,
        plain_bytes: body.len() as u64,
        object: *blake3::hash(header).as_bytes(),
    };
    hashed(&[header, &seal(sealing, body)].concat())
}

fn hashed(entry: &[u8]) -> Vec<u8> {
    [entry, blake3::hash(entry).as_bytes()].concat()
}

fn with_body(body: &[u8]) -> Vec<u8> {
    sealed_under(&header(body.len()), body)
}

fn record(kind: u64, fields: &Fields) -> Vec<u8> {
    [varint(kind), bytes(&fields.encode())].concat()
}

fn entry(records: &[Vec<u8>]) -> Vec<u8> {
    with_body(&[varint(TIME), list(records)].concat())
}

/// The entry with a record of these fields.
fn one(kind: u64, fields: &Fields) -> Vec<u8> {
    entry(&[record(kind, fields)])
}

fn accepted(name: &str, claim: &str, input: &[u8], records: &[String]) -> VectorFile {
    let file = keyed(VectorFile::new("log_entry", name, claim).accepted())
        .hex("input", input)
        .field("out.epoch", 1)
        .field("out.number", 7)
        .hex("out.previous", &PREVIOUS)
        .field("out.checkpoint", 5)
        .hex("out.attempt", &ATTEMPT)
        .field("out.time", TIME)
        .field("out.records", records.len());
    records.iter().enumerate().fold(file, |file, (index, text)| file.field(&format!("out.record.{index}"), text))
}

fn damaged(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    keyed(VectorFile::new("log_entry", name, claim).rejected("damaged")).hex("input", input)
}

fn unsupported(name: &str, claim: &str, input: &[u8]) -> VectorFile {
    keyed(VectorFile::new("log_entry", name, claim).rejected("unsupported")).hex("input", input)
}

fn ordinals(values: &[u64]) -> Vec<u8> {
    list(&values.iter().map(|value| varint(*value)).collect::<Vec<_>>())
}

fn new_packs(class: u8) -> Vec<u8> {
    list(&[[&PACK[..], &[class], &varint(1 << 25)].concat()])
}

fn fields(fields: &[(u64, Vec<u8>)]) -> Fields {
    Fields(fields.to_vec())
}

fn commit() -> Fields {
    fields(&[
        (0, SESSION.to_vec()),
        (1, text("db-1")),
        (2, [&[0][..], &text("db-1")].concat()),
        (3, vec![1]),
        (4, varint(300)),
        (6, DIGEST.to_vec()),
        (8, POINT.to_vec()),
        (10, new_packs(1)),
        (12, ordinals(&[0, 7, 300])),
    ])
}

/// A record of each kind: name, kind, fields, and what it says.
fn kinds() -> Vec<(&'static str, u64, Fields, String)> {
    let (session, point, pack, slot, digest) = (hex(&SESSION), hex(&POINT), hex(&PACK), hex(&SLOT), hex(&DIGEST));
    let only_session = fields(&[(0, SESSION.to_vec())]);
    let only_point = fields(&[(0, POINT.to_vec())]);
    let added = list(&[[&SLOT[..], &DIGEST].concat()]);
    let orphans = list(&[[&PACK[..], &SESSION].concat()]);
    let open = fields(&[
        (0, SESSION.to_vec()),
        (1, text("backup-1")),
        (2, list(&[vec![0x58; 16]])),
        (3, SLOT.to_vec()),
        (5, text("0.1.0")),
    ]);
    vec![
        (
            "open",
            2,
            open,
            format!("open {session} host=backup-1 adopts={} slot={slot} version=0.1.0", hex(&[0x58; 16])),
        ),
        ("open_bare", 2, only_session.clone(), format!("open {session} adopts=")),
        (
            "commit",
            4,
            commit(),
            format!(
                "commit {session} name=db-1 vm=db-1 completeness=1 number=300 previous={digest} point={point} new={pack}:1:33554432 uses=0,7,300"
            ),
        ),
        (
            "commit_bare",
            4,
            commit().without(1).without(3).without(6),
            format!("commit {session} vm=db-1 number=300 point={point} new={pack}:1:33554432 uses=0,7,300"),
        ),
        ("close", 6, only_session.clone(), format!("close {session}")),
        (
            "key_change",
            8,
            fields(&[(0, added), (2, list(&[SLOT.to_vec()])), (4, varint(2))]),
            format!("key_change added={slot}:{digest} revoked={slot} epoch=2"),
        ),
        ("pin", 10, fields(&[(0, SESSION.to_vec()), (2, POINT.to_vec())]), format!("pin {session} {point}")),
        (
            "moved",
            12,
            fields(&[(0, SESSION.to_vec()), (2, new_packs(2)), (4, ordinals(&[5]))]),
            format!("moved {session} new={pack}:2:33554432 from=5"),
        ),
        (
            "forget",
            14,
            fields(&[(0, list(&[POINT.to_vec()])), (1, text("14 days"))]),
            format!("forget {point} reason=14 days"),
        ),
        ("condemn", 16, fields(&[(0, ordinals(&[1, 2]))]), "condemn 1,2".to_owned()),
        ("delete", 18, fields(&[(0, ordinals(&[1])), (2, orphans)]), format!("delete 1 orphans={pack}:{session}")),
        ("fence", 20, only_session, format!("fence {session}")),
        ("swept", 21, fields(&[(0, ordinals(&[1])), (2, list(&[PACK.to_vec()]))]), format!("swept 1 orphans={pack}")),
        ("damaged", 22, fields(&[(0, ordinals(&[1])), (1, text("shard 7"))]), "damaged 1 reason=shard 7".to_owned()),
        (
            "hold",
            24,
            fields(&[(0, POINT.to_vec()), (2, text("case 7")), (4, varint(u64::MAX))]),
            format!("hold {point} reason=case 7 until={}", u64::MAX),
        ),
        (
            "checkpoint",
            25,
            fields(&[(0, varint(3)), (2, DIGEST.to_vec()), (4, list(&[PACK.to_vec()]))]),
            format!("checkpoint at=3 {digest} parts={pack}"),
        ),
        ("release", 26, only_point, format!("release {point}")),
        (
            "verified",
            27,
            fields(&[(0, ordinals(&[1])), (2, vec![2]), (4, SLOT.to_vec())]),
            format!("verified 1 how=2 slot={slot}"),
        ),
        ("unknown_odd", 29, fields(&[(0, vec![1])]), "skipped 29".to_owned()),
    ]
}

pub fn all() -> Vec<VectorFile> {
    let kinds = kinds();
    let every: Vec<_> = kinds.iter().map(|(_, kind, fields, _)| record(*kind, fields)).collect();
    let said: Vec<_> = kinds.iter().map(|(_, _, _, text)| text.clone()).collect();
    let mut files = vec![
        accepted("empty", "an entry may hold no record", &entry(&[]), &[]),
        accepted("every_kind", "records keep their order", &entry(&every), &said),
    ];
    for (name, kind, fields, text) in kinds {
        let claim = format!("a record of kind {kind}: {}", name.replace('_', " "));
        files.push(accepted(name, &claim, &one(kind, &fields), &[text]));
    }
    files.extend(wrong_entries());
    files.extend(wrong_bodies());
    files.extend(wrong_records());
    files
}

fn wrong_entries() -> Vec<VectorFile> {
    let good = entry(&[record(6, &fields(&[(0, SESSION.to_vec())]))]);
    let before = good.get(..good.len() - 32).unwrap_or_default();
    let rehashed = |at: usize, patch: &[u8]| hashed(&patched(before, at, patch));
    let flipped = |at: usize| [before.get(at).map_or(0, |byte| byte ^ 1)];
    // Sealed under the header as it is: only the rule itself refuses it.
    let body = [varint(TIME), list(&[])].concat();
    let resealed = |at: usize, patch: &[u8]| sealed_under(&patched(&header(body.len()), at, patch), &body);
    vec![
        damaged(
            "checksum",
            "an entry ends with the BLAKE3 of what is before",
            &patched(&good, BODY_AT, &flipped(BODY_AT)),
        ),
        damaged("magic", "an entry begins with its magic", &resealed(0, b"s")),
        damaged("format_0", "no format of an entry is 0", &resealed(8, &[0])),
        unsupported("format_2", "a newer format of an entry is unsupported", &resealed(8, &[2])),
        unsupported(
            "format_2_unchecked",
            "a newer format of an entry is unsupported whatever its checksum",
            &patched(&good, 8, &[2]),
        ),
        damaged("reserved", "the reserved bytes of an entry are 0", &resealed(11, &[1])),
        damaged("epoch_0", "no key epoch of an entry is 0", &resealed(12, &[0])),
        keyed(
            VectorFile::new("log_entry", "epoch_2", "a key epoch that is not there is a wrong key")
                .rejected("wrong_key"),
        )
        .hex("input", &resealed(12, &[2])),
        damaged("another_repository", "an entry of another repository is refused", &resealed(16, b"another")),
        damaged("number_0", "entries count from 1", &resealed(32, &[0])),
        damaged("number", "the seal covers the number", &rehashed(32, &[8])),
        damaged("previous", "the seal covers the hash of the entry before", &rehashed(40, &[0])),
        damaged("checkpoint", "the seal covers the number of the checkpoint", &rehashed(72, &[6])),
        damaged("attempt", "the seal covers the attempt", &rehashed(80, &[0])),
        damaged("body_length", "the body is as long as stated", &rehashed(96, &flipped(96))),
        damaged("ciphertext", "a changed body does not authenticate", &rehashed(BODY_AT + 30, &flipped(BODY_AT + 30))),
        damaged("short", "an entry is whole", before),
        damaged("long", "nothing follows an entry", &[&good[..], &[0]].concat()),
    ]
}

fn wrong_bodies() -> Vec<VectorFile> {
    let close = record(6, &fields(&[(0, SESSION.to_vec())]));
    vec![
        damaged("no_time", "a body has a time", &with_body(&[])),
        damaged("time_varint", "a time is the shortest varint", &with_body(&[0x80, 0, 0])),
        damaged("count", "the number of records is that of the list", &with_body(&[0, 2])),
        damaged("left_over", "nothing follows the records", &with_body(&[&[0, 1][..], &close, &[0]].concat())),
        damaged(
            "payload_short",
            "a payload is whole",
            &with_body(&[&[0, 1][..], close.get(..close.len() - 1).unwrap_or_default()].concat()),
        ),
        unsupported("unknown_even", "an unknown even kind needs a newer program", &one(28, &fields(&[]))),
        unsupported("kind_0", "kind 0 is an unknown even kind", &one(0, &fields(&[]))),
    ]
}

fn wrong_records() -> Vec<VectorFile> {
    let condemn = |ordinals: Vec<u8>| one(16, &fields(&[(0, ordinals)]));
    let mut backwards = commit();
    backwards.0.swap(0, 1);
    let how = |how: u8| one(27, &fields(&[(0, ordinals(&[1])), (2, vec![how])]));
    vec![
        damaged("no_session", "a record without a needed field is damaged", &one(4, &commit().without(0))),
        damaged("no_uses", "an empty list is there too", &one(4, &commit().without(12))),
        unsupported(
            "field_unknown_even",
            "an unknown even field of a record needs a newer program",
            &one(4, &commit().with(14, vec![1])),
        ),
        damaged("tags_descend", "tags of a record ascend", &one(4, &backwards)),
        damaged("session_long", "a session id has 16 bytes", &one(6, &fields(&[(0, vec![1; 17])]))),
        damaged("ordinals_equal", "no ordinal stands twice", &condemn(ordinals(&[1, 1]))),
        damaged("ordinals_descend", "ordinals ascend", &condemn(ordinals(&[2, 1]))),
        damaged("class_0", "no class of a pack is 0", &one(4, &commit().with(10, new_packs(0)))),
        damaged("class_3", "no class of a pack is 3", &one(4, &commit().with(10, new_packs(3)))),
        damaged("completeness_2", "no completeness of a commit is 2", &one(4, &commit().with(3, vec![2]))),
        damaged(
            "identity_nfd",
            "a VM's name in a commit is NFC",
            &one(4, &commit().with(2, [&[0][..], &text("Mu\u{308}")].concat())),
        ),
        damaged("how_0", "no way of verifying is 0", &how(0)),
        damaged("how_3", "no way of verifying is 3", &how(3)),
    ]
}
