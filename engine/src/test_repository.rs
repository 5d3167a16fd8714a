//! A small repository in memory for tests, with chunks, frames and packs where a test wants them. What makes it is the
//! format crate and the log, not the backup: restore and verify are tested against a second writer.

use std::sync::Arc;

use repo_format::{
    ChunkId, ChunkRef, ChunkerKind, Chunking, Class, Completeness, Compression, Compressor, Config, Consistency,
    Digest, DiskRecord, Extent, FileName, FrameBuilder, HashedChunk, KdfCost, Keyring, MapGeometry, MapNode, MapRoot,
    MetadataChunk, MetadataKind, Moved, NewPack, Nvram, PackBuilder, PackClose, PackHead, PackLayout, PackOrdinal,
    Record, RepositoryId, RestorePoint, Salt, SecretBytes, SegmentMap, SessionId, SlotSecret, Stream, VmHome,
    VmIdentity,
};

use crate::{
    clock::FixedClock,
    entropy::{SeededEntropy, random},
    log::{CommitDraft, decide_commit, decide_open},
    repository::{Environment, NewRepository, NewSlotSecret, Reader, Writer, init, open_reader},
    state_folder::StateFolder,
    store::{MemoryStore, Name, Prefix, Store},
};

/// Length of every chunk but a disk's last.
pub(crate) const CHUNK: usize = 4096;
const SEGMENT_LOG2: u8 = 14;
const CHUNKS_A_FRAME: usize = 8;
const CHUNKING: Chunking = Chunking { chunker: ChunkerKind::Block, min_log2: 12, avg_log2: 13, max_log2: 14 };

pub(crate) struct TestRepository {
    pub(crate) store: Arc<MemoryStore>,
    writer: Writer,
    session: SessionId,
    data: Vec<Vec<u8>>,
    metadata: Vec<MetadataChunk>,
    known: std::collections::HashSet<ChunkId>,
    unregistered: Vec<NewPack>,
    folder: tempfile::TempDir,
}

impl TestRepository {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new());
        let config = Config {
            shard_log2: 12,
            segment_log2: SEGMENT_LOG2,
            frame_bytes_max: 1 << 16,
            data_pack_bytes: 1 << 18,
            metadata_pack_bytes: 1 << 18,
            ..Config::new(RepositoryId::from_bytes([0; 16]), CHUNKING, 1)
        };
        let slot = NewSlotSecret { secret: secret(), label: "test".to_owned(), cost: KdfCost::default() };
        let environment = environment(Arc::clone(&store), &folder);
        let (mut writer, _) = init(environment.clone(), NewRepository { config, slots: vec![slot] }).unwrap();
        let session = SessionId::from_bytes([7; 16]);
        let slot = writer.slot();
        writer
            .0
            .log
            .append(environment.clock.as_ref(), environment.entropy.as_ref(), &mut |state| {
                decide_open(state, session, "host", slot, "test", &[])
            })
            .unwrap();
        let (data, metadata, known, unregistered) =
            (Vec::new(), Vec::new(), std::collections::HashSet::new(), Vec::new());
        Self { store, writer, session, data, metadata, known, unregistered, folder }
    }

    pub(crate) fn keys(&self) -> Arc<Keyring> {
        Arc::clone(self.writer.keys())
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        random(self.writer.environment().entropy.as_ref())
    }

    fn add_data(&mut self, bytes: &[u8]) -> ChunkRef {
        let id = HashedChunk::of_data(bytes, self.writer.keys()).id();
        if self.known.insert(id) {
            self.data.push(bytes.to_vec());
        }
        ChunkRef { id, length: u32::try_from(bytes.len()).unwrap() }
    }

    fn add_metadata(&mut self, chunk: MetadataChunk) -> ChunkId {
        let id = HashedChunk::of_metadata(&chunk, self.writer.keys()).id();
        if self.known.insert(id) {
            self.metadata.push(chunk);
        }
        id
    }

    fn add_disk(&mut self, bytes: &[u8]) -> ChunkId {
        let mut children = Vec::new();
        for segment in bytes.chunks(1 << SEGMENT_LOG2) {
            let extents = segment.chunks(CHUNK).map(|cell| {
                let length = u32::try_from(cell.len()).unwrap();
                match cell {
                    cell if cell.iter().all(|byte| *byte == 0) => Extent::Hole { length },
                    cell if cell.starts_with(BAD) => Extent::Bad { length },
                    cell => Extent::Data(self.add_data(cell)),
                }
            });
            let map = SegmentMap::new(extents.collect());
            children.push((!map.is_hole()).then(|| self.add_metadata(map.encode())));
        }
        let disk_bytes = bytes.len() as u64;
        let height = MapGeometry::of(disk_bytes, SEGMENT_LOG2).height();
        for level in 1..=height {
            let nodes = children.chunks(256).map(|children| MapNode { level, children: children.to_vec() });
            children = nodes.map(|node| (!node.is_hole()).then(|| self.add_metadata(node.encode()))).collect();
        }
        let root = MapRoot { disk_bytes, chunking: CHUNKING, segment_log2: SEGMENT_LOG2, height, children };
        self.add_metadata(root.encode())
    }

    fn add_stream(&mut self, content: &[u8]) -> Stream {
        let id = self.add_metadata(MetadataChunk::new(MetadataKind::StreamPiece, content));
        let pieces = vec![ChunkRef { id, length: u32::try_from(content.len()).unwrap() }];
        Stream { length: content.len() as u64, digest: Digest::of(content), pieces }
    }

    fn add_home(&mut self) -> ChunkId {
        let document = self.add_stream(b"{\"document\":1}");
        let content = self.add_stream(b"bytes of the NVRAM");
        let home = VmHome {
            document,
            name: None,
            instance_uuid: None,
            bios_uuid: None,
            kms_key_id: Some("0b1f".to_owned()),
            kms_provider: Some("kms-prod".to_owned()),
            guest_id: None,
            hardware_version: None,
            encryption_bundle: Some(SecretBytes::new(vec![5; 40])),
            storage_policy: None,
            firmware: Some("efi".to_owned()),
            secure_boot: Some(true),
            vtpm: Some(true),
            nvram: Some(Nvram { file_name: FileName::new("web01.nvram").unwrap(), content }),
            disks: Vec::new(),
        };
        let keys = self.keys();
        self.add_metadata(home.encode(&keys))
    }

    /// Commits a restore point with these disks.
    pub(crate) fn back_up(&mut self, vm: &str, disks: &[(&str, &[u8])], home: bool) -> ChunkId {
        let sum = |bytes: &[u8], counts: &dyn Fn(&[u8]) -> bool| -> u64 {
            bytes.chunks(CHUNK).filter(|cell| counts(cell)).map(|cell| cell.len() as u64).sum()
        };
        let mut records = Vec::new();
        for (name, bytes) in disks {
            let bad_bytes = sum(bytes, &|cell| cell.starts_with(BAD));
            let data_bytes = sum(bytes, &|cell| cell.iter().any(|byte| *byte != 0)) - bad_bytes;
            records.push(DiskRecord {
                name: (*name).to_owned(),
                uuid: None,
                bytes: bytes.len() as u64,
                data_bytes: Some(data_bytes),
                map_root: self.add_disk(bytes),
                bad_bytes,
                read_bytes: None,
                novel_bytes: None,
                stored_bytes: None,
                changed_bytes: None,
                change_id: None,
                base: None,
                audit: None,
            });
        }
        let identity = VmIdentity::named(vm).unwrap();
        let record = RestorePoint {
            vm: identity.clone(),
            program_version: None,
            vm_name: vm.to_owned(),
            tag: None,
            disks: records,
            host: None,
            vm_home: home.then(|| self.add_home()),
            started_ms: self.writer.head().number,
            finished_ms: 9,
            consistency: Consistency::Crash,
            completeness: Completeness::Whole,
        };
        let point = self.add_metadata(record.encode());
        self.flush();
        let (session, new) = (self.session, std::mem::take(&mut self.unregistered));
        let completeness = Completeness::Whole;
        let draft =
            CommitDraft { session, identity, vm_name: vm.to_owned(), point, completeness, new, uses: Vec::new() };
        self.append(&mut |state| decide_commit(state, &draft));
        point
    }

    fn append(&mut self, decide: &mut dyn FnMut(&crate::log::State) -> Result<Vec<Record>, crate::log::Refusal>) {
        self.writer.append(decide).unwrap();
        assert!(self.writer.log().voids().is_empty());
    }

    fn flush(&mut self) {
        let (data, metadata) = (std::mem::take(&mut self.data), std::mem::take(&mut self.metadata));
        let keys = self.keys();
        for chunks in data.chunks(40) {
            self.put_pack(
                Class::Data,
                &chunks.iter().map(|bytes| HashedChunk::of_data(bytes, &keys)).collect::<Vec<_>>(),
            );
        }
        for chunks in metadata.chunks(300) {
            let chunks: Vec<_> = chunks.iter().map(|chunk| HashedChunk::of_metadata(chunk, &keys)).collect();
            self.put_pack(Class::Metadata, &chunks);
        }
    }

    fn put_pack(&mut self, class: Class, chunks: &[HashedChunk<'_>]) -> PackOrdinal {
        let (keys, config) = (self.keys(), self.writer.config().clone());
        let mut compressor = Compressor::new(Compression::Zstd(1)).unwrap();
        let head = PackHead { class, epoch: 1, session: self.session, salt: Salt::from_bytes(self.random()) };
        let mut builder = PackBuilder::new(head, PackLayout::of(&config, class));
        for chunks in chunks.chunks(CHUNKS_A_FRAME) {
            let mut frame = FrameBuilder::new(class, config.frame_bytes_max);
            chunks.iter().for_each(|chunk| frame.push(*chunk).unwrap());
            let sealed = frame.take().unwrap().seal(&keys, &mut compressor, self.random()).unwrap();
            builder.push(sealed).unwrap();
        }
        let pack = builder.finish(&keys, PackClose::Early, self.random(), &mut |padding| padding.fill(0x5a)).unwrap();
        self.store.put_pack(&pack).unwrap();
        let ordinal = self.writer.state().packs().count() + self.unregistered.len();
        self.unregistered.push(NewPack { name: pack.name(), class, bytes: pack.bytes().len() as u64 });
        PackOrdinal(u32::try_from(ordinal).unwrap())
    }

    /// Adds a registered pack of copies: more places where these chunks of a disk lie.
    pub(crate) fn add_copies(&mut self, content: &[u8]) -> PackOrdinal {
        let keys = self.keys();
        let chunks: Vec<_> = content.chunks(CHUNK).map(|bytes| HashedChunk::of_data(bytes, &keys)).collect();
        let ordinal = self.put_pack(Class::Data, &chunks);
        let moved =
            Moved { session: self.session, new_packs: std::mem::take(&mut self.unregistered), from: Vec::new() };
        self.append(&mut |_| Ok(vec![Record::Moved(moved.clone())]));
        ordinal
    }

    /// A reader that knows nothing but what is in the store.
    pub(crate) fn reader(&self) -> Reader {
        open_reader(environment(Arc::clone(&self.store), &self.folder), &secret()).unwrap()
    }

    /// A reader with an index from before the damage that a test does next.
    pub(crate) fn cached_reader(&self) -> Reader {
        let cache = Some(self.folder.path().join("cache"));
        open_reader(Environment { cache, ..environment(Arc::clone(&self.store), &self.folder) }, &secret()).unwrap()
    }

    /// Brings the cached index up to date.
    pub(crate) fn fill_cache(&self) {
        self.cached_reader().locate_all(&ChunkId::from_bytes([0; 32])).unwrap();
    }

    pub(crate) fn pack_name(&self, ordinal: PackOrdinal) -> Name {
        Name::pack(self.writer.state().pack(ordinal).unwrap().name)
    }

    pub(crate) fn packs(&self) -> Vec<PackOrdinal> {
        self.writer.state().packs().map(|(ordinal, _)| ordinal).collect()
    }

    /// Every object that a check should know about.
    pub(crate) fn names(&self) -> Vec<Name> {
        let mut names = vec![Name::config(), Name::config_copy()];
        for prefix in [Prefix::Keys, Prefix::Packs, Prefix::Log, Prefix::CheckpointParts] {
            self.store
                .list(prefix, &mut |listed| {
                    names.push(listed.name);
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
        }
        names
    }

    /// Runs `check` while `name` holds other bytes, or is gone.
    pub(crate) fn while_damaged(
        &self,
        name: &Name,
        damage: impl FnOnce(&mut Vec<u8>) -> bool,
        check: impl FnOnce(&Self),
    ) {
        let before = self.store.get(name, u64::MAX).unwrap().unwrap();
        let mut bytes = before.clone();
        let stays = damage(&mut bytes);
        self.store.tamper(name, stays.then_some(bytes));
        check(self);
        self.store.tamper(name, Some(before));
    }
}

const BAD: &[u8] = b"this cell could not be read";

pub(crate) fn secret() -> SlotSecret {
    SlotSecret::key_file(zeroize::Zeroizing::new(vec![9; 64])).unwrap()
}

pub(crate) fn environment(store: Arc<MemoryStore>, folder: &tempfile::TempDir) -> Environment {
    Environment {
        store,
        cache: None,
        state: StateFolder::at(&folder.path().join("state")),
        clock: Arc::new(FixedClock::new(1_000)),
        entropy: Arc::new(SeededEntropy::new(1)),
        host: "host".to_owned(),
        program: "test".to_owned(),
        accept_rollback: None,
    }
}

/// Flips a bit.
pub(crate) fn flip(at: usize) -> impl FnOnce(&mut Vec<u8>) -> bool {
    move |bytes| {
        bytes[at] ^= 0x10;
        true
    }
}

/// The content of a disk, by seeds of its cells: 0 is a hole, 255 could not be read.
pub(crate) fn content(seeds: &[u8]) -> Vec<u8> {
    let cell = |seed: &u8| match seed {
        0 => vec![0; CHUNK],
        255 => [BAD, &vec![1; CHUNK - BAD.len()]].concat(),
        seed => {
            let mut bytes = vec![0; CHUNK];
            crate::entropy::Entropy::fill(&SeededEntropy::new(u64::from(*seed)), &mut bytes);
            bytes
        }
    };
    seeds.iter().flat_map(cell).collect()
}
