//! What each target begins with, besides the test vectors: whole objects, so that mutations stay close to what is right.

use repo_format::{
    AddedSlot, AttemptId, AuditRecord, Checkpoint, ChunkId, ChunkRef, ChunkerKind, Chunking, Class, Commit,
    Completeness, Compression, Compressor, Condemn, Config, Consistency, Damaged, Delete, Digest, DiskHome, DiskRecord,
    EntryHeader, Extent, FileName, Forget, FrameBuilder, HashedChunk, Hold, KeyChange, LogEntry, MapGeometry, MapNode,
    MapRoot, Moved, NewPack, Nvram, Open, Orphan, PackBuilder, PackClose, PackHead, PackLayout, PackName, PackOrdinal,
    Pin, PolicyEncrypts, Record, RecoveryKey, RestorePoint, Salt, SecretBytes, SegmentMap, SessionId, SlotId,
    StoragePolicy, Stream, Swept, Verified, VerifiedHow, VmHome, VmIdentity,
};

use crate::{
    seal::REPOSITORY,
    targets::{
        KEYS,
        nbd::{nbd_session_of_a_client, nbd_session_of_a_server},
        pack::head_bytes,
        public::slot_around,
        soap, vsphere,
    },
};

const CHUNKING: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 14 };

/// Inputs for the target `name`.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "chunker_block" | "chunker_fastcdc" => vec![[&[1, 0, 0, 16, 255][..], &noise(5000)].concat(), vec![0; 9]],
        "config" => vec![Config::new(REPOSITORY, Chunking::default(), 1).encode(&KEYS), small_config().encode(&KEYS)],
        "frame" => vec![
            [&[0, 100, 0, 0, 0][..], &[7; 100]].concat(),
            zstd_frame(3000, 3),
            zstd_frame(100_000, -5),
            zstd_frame(200, 19),
        ],
        "frame_round_trip" => vec![[&[2, 30][..], &noise(500)].concat(), [&[1, 255][..], &[7; 3000]].concat()],
        "helper_control" => vsphere::messages(),
        "key_slot" => vec![slot_around(&key_list())],
        "key_slot_content" => vec![key_list()],
        "log_body" => vec![body(&records()), vec![0, 0]],
        "log_entry" => vec![entry()],
        "map_node" => vec![node(256), node(1)],
        "map_root" => vec![root(1), root(3 << 24), root(300 << 24), root(u64::MAX)],
        "metadata_chunk" | "restore_point" => vec![point(), home()],
        "nbd_client" => vec![nbd_session_of_a_server()],
        "nbd_server" => vec![nbd_session_of_a_client()],
        "pack_directory" => vec![directory()],
        "pack_footer" => footers(),
        "pack_head" => vec![head_bytes()],
        "pack_round_trip" => vec![vec![0, 0, 100, 0, 3, 200, 1], vec![1; 40]],
        "recovery_key" => vec![RecoveryKey::from_random([7; 32]).to_text().as_bytes().to_vec()],
        "segment_map" => vec![segment()],
        "soap_fault" => soap::faults(),
        "soap_xml" => vec![soap::answer()],
        "splice" => vec![
            [&[0, 0, 1, 3][..], &noise(60)].concat(),
            [&[1, 9, 0, 5][..], &noise(90)].concat(),
            [&[0, 12, 2, 2][..], &[70; 15], &noise(20)].concat(),
        ],
        "vm_home" => vec![home()],
        "vm_home_from_config" => vec![vsphere::config()],
        "vm_identity" => vec!["Mu\u{308}nchen-db-1".as_bytes().to_vec()],
        _ => Vec::new(),
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn id(fill: u8) -> ChunkId {
    ChunkId::from_bytes([fill; 32])
}

fn small_config() -> Config {
    let small = Config::new(REPOSITORY, Chunking { chunker: ChunkerKind::FastCdc, ..CHUNKING }, 1);
    Config { data_pack_bytes: 1 << 16, metadata_pack_bytes: 1 << 16, frame_bytes_max: 1 << 15, shard_log2: 10, ..small }
}

fn zstd_frame(length: u32, level: i32) -> Vec<u8> {
    let plain: Vec<u8> = (0..length).map(|place| (place / 7 % 251).to_le_bytes()[0]).collect();
    let compressed = zstd::bulk::compress(&plain, level).unwrap_or_default();
    [&[1][..], &length.to_le_bytes(), &compressed].concat()
}

fn key_list() -> Vec<u8> {
    let mut content =
        [&2_u32.to_le_bytes()[..], &1_u32.to_le_bytes(), &[1; 32], &2_u32.to_le_bytes(), &[2; 32]].concat();
    content.resize(512, 0);
    content
}

fn records() -> Vec<Record> {
    let session = SessionId::from_bytes([1; 16]);
    let packs = vec![PackOrdinal(0), PackOrdinal(300)];
    let new_packs = vec![NewPack { name: PackName::from_bytes([2; 32]), class: Class::Data, bytes: 1 << 25 }];
    let slot = SlotId::from_bytes([3; 16]);
    let digest = Digest::from_bytes([4; 32]);
    let reason = Some("a reason".to_owned());
    vec![
        Record::KeyChange(KeyChange {
            added: vec![AddedSlot { slot, digest }],
            revoked: vec![slot],
            new_epoch: Some(2),
        }),
        Record::Open(Open {
            session,
            host: Some("host".to_owned()),
            adopts: vec![session],
            slot: Some(slot),
            program_version: Some("0.1".to_owned()),
        }),
        Record::Commit(Commit {
            session,
            vm_name: Some("vm".to_owned()),
            vm: VmIdentity::VCenter { vcenter: [5; 16], instance: [6; 16] },
            completeness: Some(Completeness::Whole),
            number: 2,
            previous: Some(id(7)),
            point: id(8),
            new_packs: new_packs.clone(),
            uses: packs.clone(),
        }),
        Record::Pin(Pin { session, point: id(8) }),
        Record::Moved(Moved { session, new_packs, from: packs.clone() }),
        Record::Forget(Forget { points: vec![id(8)], reason: reason.clone() }),
        Record::Condemn(Condemn { packs: packs.clone() }),
        Record::Delete(Delete {
            packs: packs.clone(),
            orphans: vec![Orphan { pack: PackName::from_bytes([9; 32]), owner: session }],
        }),
        Record::Swept(Swept { packs: packs.clone(), orphans: vec![PackName::from_bytes([9; 32])] }),
        Record::Damaged(Damaged { packs: packs.clone(), reason }),
        Record::Hold(Hold { point: id(8), reason: "case".to_owned(), until_ms: Some(9) }),
        Record::Release { point: id(8) },
        Record::Checkpoint(Checkpoint { at: 3, digest, parts: vec![digest] }),
        Record::Verified(Verified { packs, how: VerifiedHow::Contents, slot: Some(slot) }),
        Record::Fence { session },
        Record::Close { session },
    ]
}

fn log_entry(records: &[Record]) -> LogEntry {
    let header = EntryHeader {
        epoch: 1,
        repository: REPOSITORY,
        number: 2,
        previous: Digest::from_bytes([1; 32]),
        checkpoint: 0,
        attempt: AttemptId::from_bytes([2; 16]),
    };
    LogEntry { header, time_ms: 1_795_500_000_000, records: records.to_vec() }
}

fn entry() -> Vec<u8> {
    log_entry(&records()).seal(&KEYS, [1; 24]).unwrap_or_default()
}

/// The plaintext of an entry's body: sealed and opened again by the independent cipher.
fn body(records: &[Record]) -> Vec<u8> {
    let sealed = log_entry(records).seal(&KEYS, [1; 24]).unwrap_or_default();
    let (header, rest) = sealed.split_at_checked(100).unwrap_or_default();
    let sealed = rest.get(..rest.len().saturating_sub(32)).unwrap_or_default();
    crate::seal::open_log_body(header, sealed)
}

fn segment() -> Vec<u8> {
    let data = |fill, length| Extent::Data(ChunkRef { id: id(fill), length });
    let extents = vec![
        data(1, 5000),
        data(2, 3192),
        Extent::Hole { length: 8192 },
        Extent::Bad { length: 4096 },
        data(3, 1 << 14),
        Extent::Hole { length: (1 << 16) - (1 << 14) - 20_480 },
    ];
    SegmentMap::new(extents).encode().bytes().to_vec()
}

fn node(count: usize) -> Vec<u8> {
    let children = (0..count).map(|place| (place % 3 == 0).then(|| id(1))).collect();
    MapNode { level: 1, children }.encode().bytes().to_vec()
}

fn root(disk_bytes: u64) -> Vec<u8> {
    let geometry = MapGeometry::of(disk_bytes, 24);
    let count = geometry.count_at(geometry.height());
    let children = (0..count).map(|place| (place % 3 == 0).then(|| id(1))).collect();
    let root =
        MapRoot { disk_bytes, chunking: Chunking::default(), segment_log2: 24, height: geometry.height(), children };
    root.encode().bytes().to_vec()
}

fn point() -> Vec<u8> {
    let Ok(vm) = VmIdentity::named("db-1") else { return Vec::new() };
    let disk = |name: &str| DiskRecord {
        name: name.to_owned(),
        uuid: Some("6000".to_owned()),
        bytes: 1 << 40,
        data_bytes: Some(5),
        map_root: id(1),
        bad_bytes: 4096,
        read_bytes: Some(6),
        novel_bytes: Some(7),
        stored_bytes: Some(8),
        changed_bytes: Some(9),
        change_id: Some("52/3".to_owned()),
        base: Some(id(10)),
        audit: Some(AuditRecord { one_in: 30, segments: 4, misses: 1 }),
    };
    let point = RestorePoint {
        vm,
        program_version: Some("0.1".to_owned()),
        vm_name: "db-1".to_owned(),
        tag: Some("tag".to_owned()),
        disks: vec![disk("scsi0:0"), disk("scsi0:1")],
        host: Some("host".to_owned()),
        vm_home: Some(id(2)),
        started_ms: 1,
        finished_ms: 2,
        consistency: Consistency::Crash,
        completeness: Completeness::Whole,
    };
    point.encode().bytes().to_vec()
}

fn home() -> Vec<u8> {
    let Ok(file_name) = FileName::new("db-1.nvram") else { return Vec::new() };
    let stream = |content: &[u8]| Stream {
        length: content.len() as u64,
        digest: Digest::of(content),
        pieces: vec![ChunkRef { id: id(1), length: u32::try_from(content.len()).unwrap_or(0) }],
    };
    let text = |text: &str| Some(text.to_owned());
    let policy = Some(StoragePolicy { id: "id".to_owned(), name: "name".to_owned(), encrypts: PolicyEncrypts::Yes });
    let home = VmHome {
        document: stream(b"<config/>"),
        name: text("db-1"),
        instance_uuid: text("5002"),
        bios_uuid: text("4202"),
        kms_key_id: text("key-7"),
        kms_provider: text("kms-1"),
        guest_id: text("rhel9"),
        hardware_version: text("vmx-21"),
        encryption_bundle: Some(SecretBytes::new(b"vmware:key/list".to_vec())),
        storage_policy: policy.clone(),
        firmware: text("efi"),
        secure_boot: Some(true),
        vtpm: Some(true),
        nvram: Some(Nvram { file_name, content: stream(b"nvram") }),
        disks: vec![DiskHome {
            name: "scsi0:0".to_owned(),
            kms_key_id: text("key-8"),
            kms_provider: text("kms-1"),
            storage_policy: policy,
        }],
    };
    home.encode(&KEYS).bytes().to_vec()
}

/// `directory A u16 | lines` of two frames.
fn directory() -> Vec<u8> {
    let line = |length: u8, chunks: &[u8]| {
        let mut line = vec![length + 40, length, 0, u8::try_from(chunks.len()).unwrap_or(0)];
        chunks.iter().for_each(|chunk| line.extend_from_slice(&[&[*chunk; 32][..], &[*chunk]].concat()));
        line
    };
    let directory_a = 1024 + (60 + 40) + (30 + 40);
    [&u16::to_le_bytes(directory_a)[..], &[2], &line(60, &[20, 40]), &line(30, &[30])].concat()
}

/// The first shard of a pack, and its block by itself.
fn footers() -> Vec<Vec<u8>> {
    let head = PackHead {
        class: Class::Data,
        epoch: KEYS.epoch(),
        session: SessionId::from_bytes([1; 16]),
        salt: Salt::from_bytes([2; 32]),
    };
    let mut pack = PackBuilder::new(head, PackLayout { shard_bytes: 1024, pack_bytes: 16 * 1024, parity_rate: 0 });
    let mut frame = FrameBuilder::new(Class::Data, 8192);
    let chunk = noise(5000);
    let _ = frame.push(HashedChunk::of_data(&chunk, &KEYS));
    let sealed =
        frame.take().and_then(|plain| plain.seal(&KEYS, &mut Compressor::new(Compression::Stored).ok()?, [1; 24]).ok());
    sealed.into_iter().for_each(|sealed| assert_eq!(pack.push(sealed), Ok(())));
    let Ok(pack) = pack.finish(&KEYS, PackClose::Full, [1; 24], &mut |_| {}) else { return Vec::new() };
    let block_bytes = 96 + 14 * 12;
    let shard = pack.bytes().get(..1024).unwrap_or_default().to_vec();
    let block = shard.get(..block_bytes).unwrap_or_default();
    let alone = [&u16::try_from(block_bytes).unwrap_or(0).to_le_bytes()[..], block].concat();
    vec![shard, alone]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, TARGETS};

    #[test]
    fn every_target_accepts_one_of_its_seeds() {
        for target in TARGETS {
            let outcomes: Vec<Outcome> = seeds(target.name).iter().map(|seed| (target.run)(seed)).collect();
            let cutting = target.name.starts_with("chunker_") || target.name == "splice";
            // A frame is accepted, though no bytes bear the name its chunk was given.
            assert!(cutting || outcomes.contains(&Outcome::Accepted), "{}: {outcomes:?}", target.name);
        }
    }
}
